/* act_allocates_nothing.c: no call of malloc and its family while a policy acts, narrow or wide, on any thread. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "policy/mlp_policy.h"
#include "tests/policy/count_allocations.h"

enum { MAX_ROWS = 300, MAX_OBSERVATION = 300, MAX_OUTPUTS = 40 };
static float observations[MAX_ROWS * MAX_OBSERVATION], actions[MAX_ROWS * MAX_OUTPUTS], logprobs[MAX_ROWS],
    values[MAX_ROWS];
static uint64_t counters[MAX_ROWS];
static int num_failures;

typedef struct job {
  dr_mlp_policy *self;
  void *context;
} job;

/* Every number of rows, so every mix of tiles; counts from the very first call on. */
static void *act_often(void *object) {
  const job *j = object;
  const void *version = dr_mlp_policy_type.acquire(j->self);
  const long before = atomic_load(&num_allocations);
  for (int32_t count = 1; count <= MAX_ROWS; count++) {
    const drover_policy_rows rows = {.count = count,
                                     .counters = counters,
                                     .observations = observations,
                                     .actions = actions,
                                     .logprobs = logprobs,
                                     .values = values};
    if (dr_mlp_policy_type.act(j->self, version, j->context, &rows)) num_failures++;
    if (dr_mlp_policy_type.value(j->self, version, j->context, count, observations, values)) num_failures++;
  }
  const long made = atomic_load(&num_allocations) - before;
  dr_mlp_policy_type.release(j->self, version);
  if (made != 0) {
    fprintf(stderr, "%ld allocations while acting, expected 0\n", made);
    num_failures++;
  }
  return NULL;
}

static void check(int32_t observation_size, int32_t width, drover_head head, drover_activation activation,
                  int32_t variant) {
  drover_mlp_options options;
  drover_mlp_options_init(&options, sizeof options);
  options.observation_size = observation_size;
  options.hidden[0] = options.hidden[1] = width;
  options.num_outputs = MAX_OUTPUTS;
  options.head = head;
  options.activation = activation;
  options.shared_values = options.normalize_observations = variant;
  job j = {NULL, NULL};
  if (dr_mlp_policy_new(&j.self, &options, NULL) || dr_mlp_policy_type.open_context(j.self, &j.context)) {
    fprintf(stderr, "%s\n", drover_last_error());
    num_failures++;
    return;
  }
  act_often(&j);
  pthread_t thread; /* one that has never run a primitive */
  pthread_create(&thread, NULL, act_often, &j);
  pthread_join(thread, NULL);
  dr_mlp_policy_type.close_context(j.self, j.context);
  dr_mlp_policy_free(j.self);
}

int main(void) {
  const long before = atomic_load(&num_allocations);
  free(malloc(1));
  if (atomic_load(&num_allocations) == before) num_failures++; /* else nothing here would count */
  check(4, 64, DROVER_HEAD_CATEGORICAL, DROVER_ACTIVATION_TANH, 0);
  check(17, 100, DROVER_HEAD_GAUSSIAN, DROVER_ACTIVATION_ELU, 0);
  check(300, 256, DROVER_HEAD_GAUSSIAN, DROVER_ACTIVATION_RELU, 0);
  check(300, 201, DROVER_HEAD_UNIT, DROVER_ACTIVATION_TANH, 0);
  check(17, 64, DROVER_HEAD_GAUSSIAN, DROVER_ACTIVATION_TANH, 1);
  check(299, 256, DROVER_HEAD_GAUSSIAN, DROVER_ACTIVATION_TANH, 1);
  printf("act_allocates_nothing: %d failures\n", num_failures);
  return num_failures ? 1 : 0;
}
