/* ppo_race.c: a learner at work while another thread copies its policy's weights and its state and steps other envs of
 * the same runtime. What is copied must be whole: some update's weights. Runs under ThreadSanitizer too. */
#include <drover/drover.h>
#include <drover/mlp.h>
#include <drover/ppo.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "tests/support/check.h"

enum { NUM_UPDATES = 10 };

static drover_runtime *runtime;
static drover_policy *policy;
static drover_ppo *ppo;
static atomic_bool stop;
static atomic_int num_copies, num_failures;

static void fail(const char *what) {
  fprintf(stderr, "ppo_race: %s\n", what);
  atomic_fetch_add(&num_failures, 1);
}

static drover_batch *make_batch(int32_t num_envs) {
  const drover_env_type *type;
  OK(drover_env_find("CartPole-v1", &type));
  drover_batch_options options;
  OK(drover_batch_options_init(&options, sizeof options));
  options.num_envs = num_envs;
  drover_batch *batch;
  OK(drover_batch_create(&batch, runtime, type, &options));
  return batch;
}

/* The moments' std is above 0 in every version; a state can be saved between updates only. */
static void copy_once(float *weights, size_t count, void *state, size_t state_bytes) {
  OK(drover_policy_get_weights(policy, weights, count));
  for (size_t i = 0; i < count; i++)
    if (!isfinite(weights[i]) || (i >= count - 4 && weights[i] <= 0)) fail("a weight is not one of any version");
  size_t num_bytes = state_bytes;
  const drover_status status = drover_ppo_save(ppo, state, &num_bytes);
  if (status != DROVER_OK && status != DROVER_ERROR_STATE) fail(drover_last_error());
  if (drover_ppo_update(ppo, NULL, NULL) == DROVER_OK) fail("an update without a rollout was made");
  atomic_fetch_add(&num_copies, 1);
}

static void *copy(void *unused) {
  (void)unused;
  drover_batch *batch = make_batch(16);
  size_t count = 0, state_bytes = 0;
  OK(drover_policy_num_weights(policy, &count));
  while (drover_ppo_save(ppo, NULL, &state_bytes) != DROVER_OK) continue;
  float *weights = malloc(count * sizeof *weights);
  void *state = malloc(state_bytes);
  const int32_t actions[16] = {0};
  while (!atomic_load(&stop)) {
    copy_once(weights, count, state, state_bytes);
    OK(drover_batch_step(batch, actions));
  }
  free(weights);
  free(state);
  OK(drover_batch_destroy(batch));
  return NULL;
}

/* Collect and learn; the other thread's calls on the learner may be in the way. */
static void train(drover_rollout *rollout) {
  for (int i = 0; i < NUM_UPDATES; i++) {
    OK(drover_rollout_collect(rollout));
    drover_status status;
    while ((status = drover_ppo_update(ppo, rollout, NULL)) == DROVER_ERROR_STATE) continue;
    OK(status);
  }
}

int main(void) {
  drover_runtime_options runtime_options;
  OK(drover_runtime_options_init(&runtime_options, sizeof runtime_options));
  runtime_options.num_workers = 3;
  OK(drover_runtime_create(&runtime, &runtime_options));
  drover_batch *batch = make_batch(16);
  drover_batch_view view = {.size = sizeof view};
  OK(drover_batch_get_view(batch, &view));
  drover_mlp_options mlp;
  OK(drover_mlp_options_init(&mlp, sizeof mlp));
  OK(drover_mlp_options_fit(&mlp, view.spec));
  mlp.normalize_observations = 1;
  OK(drover_policy_create_mlp(&policy, runtime, &mlp));
  drover_rollout_options rollout_options;
  OK(drover_rollout_options_init(&rollout_options, sizeof rollout_options));
  rollout_options.num_steps = 256; /* so many that what comes before the passes is shared too */
  drover_rollout *rollout;
  OK(drover_rollout_create(&rollout, batch, policy, &rollout_options));
  drover_ppo_options options;
  OK(drover_ppo_options_init(&options, sizeof options));
  options.scale_rewards = 1;
  OK(drover_ppo_create(&ppo, policy, rollout, &options));

  pthread_t thread;
  if (pthread_create(&thread, NULL, copy, NULL) != 0) return 1;
  train(rollout);
  atomic_store(&stop, true);
  pthread_join(thread, NULL);
  OK(drover_ppo_destroy(ppo));
  OK(drover_rollout_destroy(rollout));
  OK(drover_policy_destroy(policy));
  OK(drover_batch_destroy(batch));
  OK(drover_runtime_destroy(runtime));
  printf("%d copies beside %d updates\n", atomic_load(&num_copies), NUM_UPDATES);
  return atomic_load(&num_failures) > 0 || atomic_load(&num_copies) == 0;
}
