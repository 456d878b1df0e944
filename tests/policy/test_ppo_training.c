/* test_ppo_training.c: a task is learnt through the public API alone. */
#include <criterion/criterion.h>
#include <drover/drover.h>
#include <drover/mlp.h>
#include <drover/ppo.h>

#include "tests/support/check.h"

enum { NUM_ENVS = 32, NUM_STEPS = 64, NUM_UPDATES = 30, NUM_LATEST = 100 };

/* The latest returns, of which the mean is taken. */
typedef struct latest {
  double returns[NUM_LATEST];
  int64_t count;
} latest;

static double mean_of(const latest *l) {
  const int64_t count = l->count < NUM_LATEST ? l->count : NUM_LATEST;
  double sum = 0;
  for (int64_t i = 0; i < count; i++) sum += l->returns[i];
  return count > 0 ? sum / (double)count : 0;
}

static drover_policy *make_policy(drover_runtime *runtime, drover_batch *batch, int32_t shared_values,
                                  int32_t normalize_observations) {
  drover_batch_view view = {.size = sizeof view};
  OK(drover_batch_get_view(batch, &view));
  drover_mlp_options options;
  OK(drover_mlp_options_init(&options, sizeof options));
  OK(drover_mlp_options_fit(&options, view.spec));
  options.seed = 1;
  options.shared_values = shared_values;
  options.normalize_observations = normalize_observations;
  drover_policy *policy;
  OK(drover_policy_create_mlp(&policy, runtime, &options));
  return policy;
}

static drover_ppo *make_learner(drover_policy *policy, drover_rollout *rollout, int32_t scale_rewards) {
  drover_ppo_options options;
  OK(drover_ppo_options_init(&options, sizeof options));
  options.learning_rate = 2e-3;
  options.num_updates = NUM_UPDATES;
  options.num_epochs = 10;
  options.num_minibatches = 8;
  options.scale_rewards = scale_rewards;
  options.seed = 1;
  drover_ppo *ppo;
  OK(drover_ppo_create(&ppo, policy, rollout, &options));
  return ppo;
}

/* The mean return of the last 100 episodes of 61,440 steps in CartPole-v1. */
static double train(int32_t shared_values, int32_t normalize_observations, int32_t scale_rewards) {
  drover_runtime *runtime;
  drover_batch *batch;
  drover_rollout *rollout;
  const drover_env_type *type;
  OK(drover_runtime_create(&runtime, NULL));
  OK(drover_env_find("CartPole-v1", &type));
  drover_batch_options batch_options;
  OK(drover_batch_options_init(&batch_options, sizeof batch_options));
  batch_options.num_envs = NUM_ENVS;
  batch_options.seed = 1;
  OK(drover_batch_create(&batch, runtime, type, &batch_options));
  drover_policy *policy = make_policy(runtime, batch, shared_values, normalize_observations);
  drover_rollout_options rollout_options;
  OK(drover_rollout_options_init(&rollout_options, sizeof rollout_options));
  rollout_options.num_steps = NUM_STEPS;
  OK(drover_rollout_create(&rollout, batch, policy, &rollout_options));
  drover_ppo *ppo = make_learner(policy, rollout, scale_rewards);
  latest l = {0};
  for (int i = 0; i < NUM_UPDATES; i++) {
    OK(drover_rollout_collect(rollout));
    drover_rollout_view view = {.size = sizeof view};
    OK(drover_rollout_get_view(rollout, &view));
    for (int64_t k = 0; k < view.num_episodes; k++) l.returns[l.count++ % NUM_LATEST] = view.episodes[k].episode_return;
    OK(drover_ppo_update(ppo, rollout, NULL));
  }
  OK(drover_ppo_destroy(ppo));
  OK(drover_rollout_destroy(rollout));
  OK(drover_policy_destroy(policy));
  OK(drover_batch_destroy(batch));
  OK(drover_runtime_destroy(runtime));
  cr_log_info("mean return %g", mean_of(&l));
  return mean_of(&l);
}

Test(ppo_training, learns_to_balance_a_pole) { cr_assert_geq(train(0, 0, 0), 300); }

Test(ppo_training, learns_with_a_shared_value_network_and_scaled_rewards) { cr_assert_geq(train(1, 0, 1), 195); }

Test(ppo_training, learns_with_normalised_observations_and_scaled_rewards) { cr_assert_geq(train(0, 1, 1), 195); }
