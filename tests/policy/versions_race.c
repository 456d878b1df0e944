/* versions_race.c: workers act on versions of the weights while another thread replaces them.
 *
 * Weights are 0 and biases v, so every value of version v is v: rows of one call that differ, or a version that
 * changes while it is held, show. Runs under ThreadSanitizer too. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "policy/mlp_policy.h"

enum { NUM_THREADS = 3, NUM_ROWS = 37, NUM_VERSIONS = 150, MAX_OBSERVATION = 200 };

static dr_mlp_policy *self;
static atomic_bool stop;
static atomic_int num_failures, num_acts;

static void fail(const char *what) {
  fprintf(stderr, "versions_race: %s\n", what);
  atomic_fetch_add(&num_failures, 1);
}

static void *work(void *unused) {
  (void)unused;
  static const float observations[NUM_ROWS * MAX_OBSERVATION];
  static const uint64_t counters[NUM_ROWS];
  float actions[NUM_ROWS * 2], values[NUM_ROWS];
  const drover_policy_rows rows = {
      .count = NUM_ROWS, .counters = counters, .observations = observations, .actions = actions, .values = values};
  void *context = NULL;
  if (dr_mlp_policy_type.open_context(self, &context)) fail("no context");
  while (!atomic_load(&stop) && context) {
    const void *version = dr_mlp_policy_type.acquire(self);
    float first = -1;
    for (int repeat = 0; repeat < 3; repeat++) {
      if (dr_mlp_policy_type.act(self, version, context, &rows)) fail("act failed");
      if (repeat == 0) first = values[0];
      for (int i = 0; i < NUM_ROWS; i++)
        if (values[i] != first) fail("a row of another version");
    }
    dr_mlp_policy_type.release(self, version);
    atomic_fetch_add(&num_acts, 1);
  }
  dr_mlp_policy_type.close_context(self, context);
  return NULL;
}

static void race(int32_t observation_size, int32_t width) {
  drover_mlp_options options;
  drover_mlp_options_init(&options, sizeof options);
  options.observation_size = observation_size;
  options.num_hidden = 1;
  options.hidden[0] = width;
  options.num_outputs = 2;
  options.head = DROVER_HEAD_UNIT;
  if (dr_mlp_policy_new(&self, &options, NULL)) {
    fail(drover_last_error());
    return;
  }
  const dr_mlp *mlp = &self->inference->mlp;
  float *weights = calloc(mlp->num_weights, sizeof *weights);
  float *const value_bias = weights + mlp->layers[DR_CHAIN_VALUE][1].bias_at;
  dr_mlp_policy_replace(self, weights);
  atomic_store(&stop, false);
  pthread_t threads[NUM_THREADS];
  for (int i = 0; i < NUM_THREADS; i++) pthread_create(&threads[i], NULL, work, NULL);
  for (int version = 1; version <= NUM_VERSIONS; version++) {
    *value_bias = (float)version;
    if (dr_mlp_policy_replace(self, weights)) fail(drover_last_error());
  }
  while (atomic_load(&num_acts) < 10 && atomic_load(&num_failures) == 0) sched_yield();
  atomic_store(&stop, true);
  for (int i = 0; i < NUM_THREADS; i++) pthread_join(threads[i], NULL);
  if (self->present->references != 1) fail("versions are still held");
  free(weights);
  dr_mlp_policy_free(self);
}

int main(void) {
  race(4, 64);
  atomic_store(&num_acts, 0);
  race(MAX_OBSERVATION, 200); /* a wide first layer */
  printf("versions_race: %d failures\n", atomic_load(&num_failures));
  return atomic_load(&num_failures) ? 1 : 0;
}
