/* train.c: train a policy for CartPole-v1 until it is solved, then play a hundred whole episodes with it. */
#include <drover/drover.h>
#include <stdio.h>
#include <stdlib.h>

static void check(drover_status status) {
  if (status == DROVER_OK) return;
  fprintf(stderr, "%s: %s\n", drover_status_name(status), drover_last_error());
  exit(1);
}

int main(void) {
  enum { NUM_ENVS = 32, NUM_STEPS = 64, NUM_UPDATES = 49, NUM_EPISODES = 100, TIME_LIMIT = 500 };
  drover_runtime *runtime;
  check(drover_runtime_create(&runtime, NULL)); /* as many workers as there are usable cores */

  const drover_env_type *type;
  check(drover_env_find("CartPole-v1", &type));
  drover_batch_options envs;
  check(drover_batch_options_init(&envs, sizeof envs));
  envs.num_envs = NUM_ENVS;
  drover_batch *batch;
  check(drover_batch_create(&batch, runtime, type, &envs));

  drover_batch_view rows = {.size = sizeof rows};
  check(drover_batch_get_view(batch, &rows));
  drover_mlp_options network;
  check(drover_mlp_options_init(&network, sizeof network)); /* 64-64 tanh, with a value network */
  check(drover_mlp_options_fit(&network, rows.spec));
  drover_policy *policy;
  check(drover_policy_create_mlp(&policy, runtime, &network));

  drover_rollout_options steps;
  check(drover_rollout_options_init(&steps, sizeof steps));
  steps.num_steps = NUM_STEPS;
  drover_rollout *rollout;
  check(drover_rollout_create(&rollout, batch, policy, &steps));

  drover_ppo_options learner;
  check(drover_ppo_options_init(&learner, sizeof learner));
  learner.learning_rate = 2e-3, learner.num_epochs = 10, learner.num_minibatches = 8;
  learner.num_updates = NUM_UPDATES; /* the rate falls to 0 over these */
  drover_ppo *ppo;
  check(drover_ppo_create(&ppo, policy, rollout, &learner));
  for (int i = 0; i < NUM_UPDATES; i++) {
    drover_ppo_stats stats = {.size = sizeof stats};
    check(drover_rollout_collect(rollout));
    check(drover_ppo_update(ppo, rollout, &stats));
    if (i % 8 == 0)
      printf("update %2d  KL %.4f  explained variance %5.2f\n", i, stats.approx_kl, stats.explained_variance);
  }
  check(drover_policy_save(policy, "cartpole.safetensors"));

  /* One episode each of a hundred other envs, with the most likely action at every step. */
  envs.num_envs = NUM_EPISODES, envs.seed = 12345;
  drover_batch *fresh;
  check(drover_batch_create(&fresh, runtime, type, &envs));
  steps.num_steps = TIME_LIMIT, steps.deterministic = 1;
  drover_rollout *play;
  check(drover_rollout_create(&play, fresh, policy, &steps));
  check(drover_rollout_collect(play));
  drover_rollout_view view = {.size = sizeof view};
  check(drover_rollout_get_view(play, &view));
  double sum = 0;
  char seen[NUM_EPISODES] = {0};
  int n = 0;
  for (int64_t i = 0; i < view.num_episodes; i++)
    if (!seen[view.episodes[i].env]++) sum += view.episodes[i].episode_return, n++;
  printf("mean return of %d episodes: %.1f\n", n, sum / n);

  check(drover_rollout_destroy(play));
  check(drover_batch_destroy(fresh));
  check(drover_ppo_destroy(ppo));
  check(drover_rollout_destroy(rollout));
  check(drover_batch_destroy(batch));
  check(drover_policy_destroy(policy));
  check(drover_runtime_destroy(runtime));
  return sum / n >= 475 ? 0 : 1;
}
