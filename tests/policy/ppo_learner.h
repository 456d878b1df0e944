/* ppo_learner.h: toy envs, an MLP policy, a rollout and a PPO learner, made from options that a test changes first. */
#ifndef DR_TESTS_POLICY_PPO_LEARNER_H
#define DR_TESTS_POLICY_PPO_LEARNER_H

#include <criterion/criterion.h>
#include <drover/mlp.h>
#include <drover/ppo.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/check.h"
#include "tests/support/ends.h"

typedef struct learner {
  toy_config config;
  drover_runtime_options runtime_options;
  drover_batch_options batch_options;
  drover_mlp_options mlp_options;
  drover_rollout_options rollout_options;
  drover_ppo_options ppo_options;
  drover_runtime *runtime;
  drover_batch *batch;
  drover_policy *policy;
  drover_rollout *rollout;
  drover_ppo *ppo;
} learner;

/* Defaults: 2 workers, 13 envs, 23 steps, two layers of 16; continuous: Gaussian actions of two numbers. Episodes end
 * in every way, now and then by a fault. */
static inline void learner_init(learner *l, bool continuous) {
  memset(l, 0, sizeof *l);
  if (continuous)
    toy_init_continuous(&l->config);
  else
    toy_init(&l->config);
  l->config.troubles = ends;
  l->config.num_troubles = sizeof ends / sizeof *ends;
  OK(drover_runtime_options_init(&l->runtime_options, sizeof l->runtime_options));
  OK(drover_batch_options_init(&l->batch_options, sizeof l->batch_options));
  OK(drover_mlp_options_init(&l->mlp_options, sizeof l->mlp_options));
  OK(drover_rollout_options_init(&l->rollout_options, sizeof l->rollout_options));
  OK(drover_ppo_options_init(&l->ppo_options, sizeof l->ppo_options));
  l->runtime_options.num_workers = 2;
  l->batch_options.num_envs = 13;
  l->batch_options.seed = 7;
  l->mlp_options.hidden[0] = l->mlp_options.hidden[1] = 16;
  l->mlp_options.seed = 3;
  l->rollout_options.num_steps = 23;
  l->ppo_options.learning_rate = 3e-3;
  l->ppo_options.seed = 5;
}

/* As learner_init, with all that a learner can carry from update to update. */
static inline void learner_init_full(learner *l, bool continuous) {
  learner_init(l, continuous);
  l->mlp_options.normalize_observations = 1;
  l->mlp_options.shared_values = !continuous;
  l->ppo_options.scale_rewards = 1;
  l->ppo_options.value_clip_range = 0.2;
  l->ppo_options.entropy_coef = 0.01;
  l->ppo_options.num_minibatches = 5;
  l->ppo_options.num_updates = 10;
}

/* Everything but the learner. */
static inline void learner_open_policy(learner *l) {
  OK(drover_runtime_create(&l->runtime, &l->runtime_options));
  OK(toy_batch_create(&l->batch, l->runtime, &l->config, &l->batch_options));
  drover_batch_view view = {.size = sizeof view};
  OK(drover_batch_get_view(l->batch, &view));
  OK(drover_mlp_options_fit(&l->mlp_options, view.spec));
  OK(drover_policy_create_mlp(&l->policy, l->runtime, &l->mlp_options));
  OK(drover_rollout_create(&l->rollout, l->batch, l->policy, &l->rollout_options));
}

static inline void learner_open(learner *l) {
  learner_open_policy(l);
  OK(drover_ppo_create(&l->ppo, l->policy, l->rollout, &l->ppo_options));
}

static inline void learner_close(learner *l) {
  OK(drover_ppo_destroy(l->ppo));
  OK(drover_rollout_destroy(l->rollout));
  OK(drover_policy_destroy(l->policy));
  OK(drover_batch_destroy(l->batch));
  OK(drover_runtime_destroy(l->runtime));
}

static inline drover_rollout_view learner_view(const learner *l) {
  drover_rollout_view view = {.size = sizeof view};
  OK(drover_rollout_get_view(l->rollout, &view));
  return view;
}

/* Collect and learn once. */
static inline drover_ppo_stats learner_update(learner *l) {
  drover_ppo_stats stats = {.size = sizeof stats};
  OK(drover_rollout_collect(l->rollout));
  OK(drover_ppo_update(l->ppo, l->rollout, &stats));
  return stats;
}

/* A rollout of random actions into the moments. */
static inline void learner_observe(learner *l) {
  drover_batch_view view = {.size = sizeof view};
  OK(drover_batch_get_view(l->batch, &view));
  drover_rollout_options options = l->rollout_options;
  options.transform = DROVER_ACTION_NONE;
  drover_policy *uniform;
  drover_rollout *rollout;
  OK(drover_policy_create_uniform(&uniform, l->runtime, view.spec));
  OK(drover_rollout_create(&rollout, l->batch, uniform, &options));
  OK(drover_rollout_collect(rollout));
  OK(drover_ppo_observe(l->ppo, rollout));
  OK(drover_rollout_destroy(rollout));
  OK(drover_policy_destroy(uniform));
}

/* Bytes that free() ends. */
typedef struct copy {
  void *data;
  size_t size;
} copy;

static inline copy learner_weights(const learner *l) {
  size_t count;
  OK(drover_policy_num_weights(l->policy, &count));
  copy c = {malloc(count * sizeof(float)), count * sizeof(float)};
  OK(drover_policy_get_weights(l->policy, c.data, count));
  return c;
}

static inline copy learner_state(const learner *l) {
  copy c = {0};
  OK(drover_ppo_save(l->ppo, NULL, &c.size));
  c.data = malloc(c.size);
  OK(drover_ppo_save(l->ppo, c.data, &c.size));
  return c;
}

static inline copy learner_envs(const learner *l) {
  copy c = {0};
  OK(drover_batch_save(l->batch, NULL, &c.size));
  c.data = malloc(c.size);
  OK(drover_batch_save(l->batch, c.data, &c.size));
  return c;
}

/* Frees both. */
static inline bool same_copies(copy a, copy b) {
  const bool same = a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
  free(a.data);
  free(b.data);
  return same;
}

#endif
