/* options_structs.c: the option structs, and what is done with each. */
#include <math.h>
#include <stdlib.h>

#include "tests/fuzz/options.h"
#include "tests/support/check.h"

/* Above this much memory or work a right value is not used: the wrong ones are the test. */
static const double MOST_WORK = 1e5;

void runtime_init(void *o) {
  OK(drover_runtime_options_init(o, sizeof(drover_runtime_options)));
  ((drover_runtime_options *)o)->num_workers = 1;
}
static drover_status runtime_use(void *o) {
  drover_runtime *made = NULL;
  const drover_runtime_options *options = o;
  if (options->num_workers > 8 && options->num_workers <= 1024) return DROVER_OK;
  if (options->trace_events > MOST_WORK && options->trace_events <= 16777216) return DROVER_OK;
  const drover_status status = drover_runtime_create(&made, o);
  return status ? status : drover_runtime_destroy(made);
}
static const field runtime_fields[] = {FIELD(drover_runtime_options, size, SIZE),
                                       FIELD(drover_runtime_options, num_workers, INT32),
                                       FIELD(drover_runtime_options, numa_node, INT32),
                                       FIELD(drover_runtime_options, trace_events, INT32),
                                       FIELD(drover_runtime_options, forbid_oversubscription, INT32),
                                       {0}};

void batch_init(void *o) { OK(drover_batch_options_init(o, sizeof(drover_batch_options))); }
static drover_status batch_use(void *o) {
  drover_batch *made = NULL;
  const drover_batch_options *options = o;
  if (options->num_envs > MOST_WORK && options->num_envs <= DROVER_MAX_ENVS) return DROVER_OK;
  const drover_status status = toy_batch_create(&made, world.runtime, &world.config, options);
  if (status) return status;
  int32_t *actions = calloc((size_t)options->num_envs, sizeof *actions);
  if (actions && options->num_envs < MOST_WORK) {
    const drover_status stepped = drover_batch_step(made, actions);
    if (stepped) check_refusal(stepped, NULL);
  }
  free(actions);
  return drover_batch_destroy(made);
}
static const field batch_fields[] = {FIELD(drover_batch_options, size, SIZE),
                                     FIELD(drover_batch_options, num_envs, INT32),
                                     FIELD(drover_batch_options, seed, INT64),
                                     FIELD(drover_batch_options, shard, INT32),
                                     FIELD(drover_batch_options, chunk, INT32),
                                     FIELD(drover_batch_options, autoreset, INT32),
                                     FIELD(drover_batch_options, max_episode_steps, INT32),
                                     FIELD(drover_batch_options, fault_limit, INT64),
                                     FIELD(drover_batch_options, scalar, INT32),
                                     FIELD(drover_batch_options, args.count, INT32),
                                     {0}};

void rollout_init(void *o) {
  OK(drover_rollout_options_init(o, sizeof(drover_rollout_options)));
  ((drover_rollout_options *)o)->num_steps = NUM_STEPS;
}
static drover_status rollout_use(void *o) {
  drover_rollout *made = NULL;
  const drover_rollout_options *options = o;
  const drover_status status = drover_rollout_create(&made, world.batch, world.policy, options);
  if (status) return status;
  if (options->num_steps < MOST_WORK) {
    const drover_status collected = drover_rollout_collect(made);
    if (collected) check_refusal(collected, NULL);
  }
  return drover_rollout_destroy(made);
}
static const field rollout_fields[] = {
    FIELD(drover_rollout_options, size, SIZE),           FIELD(drover_rollout_options, num_steps, INT32),
    FIELD(drover_rollout_options, deterministic, INT32), FIELD(drover_rollout_options, transform, INT32),
    FIELD(drover_rollout_options, gamma, FLOAT),         FIELD(drover_rollout_options, gae_lambda, FLOAT),
    FIELD(drover_rollout_options, barrier, INT32),       {0}};

void mlp_init(void *o) {
  OK(drover_mlp_options_init(o, sizeof(drover_mlp_options)));
  OK(drover_mlp_options_fit(o, world.spec));
  drover_mlp_options *options = o;
  options->hidden[0] = options->hidden[1] = 4;
}
static drover_status mlp_use(void *o) {
  /* Initial weights of 65536 x 65536 take minutes: they are made for one wide layer at most. */
  const drover_mlp_options *options = o;
  double weights = 0, width = options->observation_size;
  for (int32_t i = 0; i < options->num_hidden && i < DROVER_MLP_MAX_LAYERS; i++) {
    weights += width * options->hidden[i];
    width = options->hidden[i];
  }
  weights += width * options->num_outputs;
  if (weights > 1e6 && weights < 1e11) return DROVER_OK;
  drover_policy *made = NULL;
  const drover_status status = drover_policy_create_mlp(&made, world.runtime, options);
  if (status) return status;
  drover_policy_spec made_spec;
  OK(drover_policy_get_spec(made, &made_spec));
  if (made_spec.observation_size == world.spec->observation_size) {
    int32_t actions[NUM_ENVS * 8];
    const drover_status acted = drover_policy_act(made, world.batch, 0, actions, NULL, NULL);
    if (acted) check_refusal(acted, NULL);
  }
  return drover_policy_destroy(made);
}
static const field mlp_fields[] = {FIELD(drover_mlp_options, size, SIZE),
                                   FIELD(drover_mlp_options, observation_size, INT32),
                                   FIELD(drover_mlp_options, num_outputs, INT32),
                                   FIELD(drover_mlp_options, num_hidden, INT32),
                                   FIELD(drover_mlp_options, hidden, INT32),
                                   FIELD(drover_mlp_options, activation, INT32),
                                   FIELD(drover_mlp_options, leaky_slope, FLOAT),
                                   FIELD(drover_mlp_options, head, INT32),
                                   FIELD(drover_mlp_options, has_values, INT32),
                                   FIELD(drover_mlp_options, seed, INT64),
                                   FIELD(drover_mlp_options, initial_log_std, FLOAT),
                                   FIELD(drover_mlp_options, shared_values, INT32),
                                   FIELD(drover_mlp_options, normalize_observations, INT32),
                                   FIELD(drover_mlp_options, noise_hold, INT32),
                                   {0}};

void ppo_init(void *o) {
  OK(drover_ppo_options_init(o, sizeof(drover_ppo_options)));
  ((drover_ppo_options *)o)->num_epochs = 1;
}
static drover_status ppo_use(void *o) {
  drover_ppo *made = NULL;
  const drover_status status = drover_ppo_create(&made, world.policy, world.rollout, o);
  if (status) return status;
  size_t count = 0;
  OK(drover_policy_num_weights(world.policy, &count));
  float *weights = malloc(count * sizeof *weights), *after = malloc(count * sizeof *weights);
  OK(drover_policy_get_weights(world.policy, weights, count));
  OK(drover_batch_reset(world.batch, 1));
  OK(drover_rollout_collect(world.rollout));
  const drover_status updated = drover_ppo_update(made, world.rollout, NULL);
  if (updated) check_refusal(updated, NULL);
  OK(drover_policy_get_weights(world.policy, after, count));
  for (size_t i = 0; i < count; i++)
    if (!isfinite(after[i])) fail("an update gave weights that are not finite");
  OK(drover_policy_set_weights(world.policy, weights, count));
  free(weights);
  free(after);
  return drover_ppo_destroy(made);
}
static const field ppo_fields[] = {FIELD(drover_ppo_options, size, SIZE),
                                   FIELD(drover_ppo_options, learning_rate, DOUBLE),
                                   FIELD(drover_ppo_options, final_learning_rate, DOUBLE),
                                   FIELD(drover_ppo_options, num_updates, INT64),
                                   FIELD(drover_ppo_options, adam_beta1, DOUBLE),
                                   FIELD(drover_ppo_options, adam_beta2, DOUBLE),
                                   FIELD(drover_ppo_options, adam_epsilon, DOUBLE),
                                   FIELD(drover_ppo_options, num_epochs, INT32),
                                   FIELD(drover_ppo_options, num_minibatches, INT32),
                                   FIELD(drover_ppo_options, clip_range, DOUBLE),
                                   FIELD(drover_ppo_options, value_clip_range, DOUBLE),
                                   FIELD(drover_ppo_options, value_coef, DOUBLE),
                                   FIELD(drover_ppo_options, entropy_coef, DOUBLE),
                                   FIELD(drover_ppo_options, max_grad_norm, DOUBLE),
                                   FIELD(drover_ppo_options, target_kl, DOUBLE),
                                   FIELD(drover_ppo_options, gamma, DOUBLE),
                                   FIELD(drover_ppo_options, gae_lambda, DOUBLE),
                                   FIELD(drover_ppo_options, normalize_advantages, INT32),
                                   FIELD(drover_ppo_options, scale_rewards, INT32),
                                   FIELD(drover_ppo_options, seed, INT64),
                                   {0}};

void inner_init(void *o) {
  OK(drover_inner_options_init(o, sizeof(drover_inner_options)));
  drover_inner_options *options = o;
  options->sample_size = SAMPLE;
  options->capacity = 10;
  options->minibatch = 4;
}
static drover_status inner_use(void *o) {
  const drover_inner_options *options = o;
  if (options->capacity > MOST_WORK && options->capacity <= 1 << 30 && options->sample_size > 0) {
    /* Some GB that are touched: only their refusal is tried. */
    if ((double)options->capacity * options->sample_size < 1e11) return DROVER_OK;
  }
  drover_inner *made = NULL;
  const drover_status status = drover_inner_create(&made, world.unit_policy, options);
  if (status) return status;
  size_t count = 0;
  OK(drover_policy_num_weights(world.unit_policy, &count));
  float *weights = malloc(count * sizeof *weights);
  OK(drover_policy_get_weights(world.unit_policy, weights, count));
  float *samples = malloc(5 * (size_t)options->sample_size * sizeof *samples);
  for (int32_t i = 0; i < 5 * options->sample_size; i++) samples[i] = 1;
  OK(drover_inner_add(made, 5, samples));
  const drover_status updated = drover_inner_update(made, 3, NULL);
  if (updated) check_refusal(updated, NULL);
  OK(drover_policy_set_weights(world.unit_policy, weights, count));
  free(weights);
  free(samples);
  return drover_inner_destroy(made);
}
static const field inner_fields[] = {FIELD(drover_inner_options, size, SIZE),
                                     FIELD(drover_inner_options, sample_size, INT32),
                                     FIELD(drover_inner_options, capacity, INT64),
                                     FIELD(drover_inner_options, minibatch, INT32),
                                     FIELD(drover_inner_options, learning_rate, DOUBLE),
                                     FIELD(drover_inner_options, final_learning_rate, DOUBLE),
                                     FIELD(drover_inner_options, num_decay_steps, INT64),
                                     FIELD(drover_inner_options, adam_beta1, DOUBLE),
                                     FIELD(drover_inner_options, adam_beta2, DOUBLE),
                                     FIELD(drover_inner_options, adam_epsilon, DOUBLE),
                                     FIELD(drover_inner_options, grad_limit, DOUBLE),
                                     FIELD(drover_inner_options, torque_scale, DOUBLE),
                                     FIELD(drover_inner_options, effort_coef, DOUBLE),
                                     FIELD(drover_inner_options, seed, INT64),
                                     {0}};

const subject option_subjects[] = {
    {"runtime options", sizeof(drover_runtime_options), runtime_fields, runtime_init, runtime_use},
    {"batch options", sizeof(drover_batch_options), batch_fields, batch_init, batch_use},
    {"rollout options", sizeof(drover_rollout_options), rollout_fields, rollout_init, rollout_use},
    {"mlp options", sizeof(drover_mlp_options), mlp_fields, mlp_init, mlp_use},
    {"ppo options", sizeof(drover_ppo_options), ppo_fields, ppo_init, ppo_use},
    {"inner options", sizeof(drover_inner_options), inner_fields, inner_init, inner_use},
    {0}};
