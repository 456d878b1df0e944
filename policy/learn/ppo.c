/* ppo.c: the learner's handle: options, creating, and the public calls. */
#include "policy/learn/ppo.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/error.h"
#include "runtime/memory.h"
#include "runtime/runtime.h"

/* ---- Options ------------------------------------------------------------------------------------------------- */

drover_status drover_ppo_options_init(drover_ppo_options *options, size_t size) {
  if (!options || size != sizeof *options)
    return dr_fail(DROVER_ERROR_ARGUMENT, "ppo options: size must be %zu (sizeof drover_ppo_options), got %zu",
                   sizeof *options, size);
  *options = (drover_ppo_options){.size = size,
                                  .learning_rate = 3e-4,
                                  .adam_beta1 = 0.9,
                                  .adam_beta2 = 0.999,
                                  .adam_epsilon = 1e-5,
                                  .num_epochs = 4,
                                  .num_minibatches = 4,
                                  .clip_range = 0.2,
                                  .value_coef = 0.5,
                                  .max_grad_norm = 0.5,
                                  .gamma = 0.99,
                                  .gae_lambda = 0.95,
                                  .normalize_advantages = 1};
  return DROVER_OK;
}

enum { ABOVE_0, FROM_0, FROM_0_TO_1, FROM_0_BELOW_1 };

static drover_status check_number(const char *field, double x, int interval) {
  const char *const texts[] = {"above 0 and finite", "0 or above and finite", "0..1", "0 or above and below 1"};
  const bool good = isfinite(x) && (interval == ABOVE_0 ? x > 0 : x >= 0) && (interval != FROM_0_TO_1 || x <= 1) &&
                    (interval != FROM_0_BELOW_1 || x < 1);
  return good ? DROVER_OK : dr_fail(DROVER_ERROR_ARGUMENT, "ppo: %s must be %s, got %g", field, texts[interval], x);
}

static drover_status check_count(const char *field, int64_t x, int64_t low, int64_t high) {
  if (x >= low && x <= high) return DROVER_OK;
  return dr_fail(DROVER_ERROR_ARGUMENT, "ppo: %s must be %lld..%lld, got %lld", field, (long long)low, (long long)high,
                 (long long)x);
}

static drover_status check_options(const drover_ppo_options *o) {
  if (!o || o->size != sizeof *o)
    return dr_fail(DROVER_ERROR_ARGUMENT, "ppo: options must be filled with drover_ppo_options_init first");
  const struct {
    const char *field;
    double x;
    int interval;
  } numbers[] = {{"learning_rate", o->learning_rate, ABOVE_0},
                 {"final_learning_rate", o->final_learning_rate, FROM_0},
                 {"adam_beta1", o->adam_beta1, FROM_0_BELOW_1},
                 {"adam_beta2", o->adam_beta2, FROM_0_BELOW_1},
                 {"adam_epsilon", o->adam_epsilon, ABOVE_0},
                 {"clip_range", o->clip_range, ABOVE_0},
                 {"value_clip_range", o->value_clip_range, FROM_0},
                 {"value_coef", o->value_coef, FROM_0},
                 {"entropy_coef", o->entropy_coef, FROM_0},
                 {"max_grad_norm", o->max_grad_norm, FROM_0},
                 {"target_kl", o->target_kl, FROM_0},
                 {"gamma", o->gamma, FROM_0_TO_1},
                 {"gae_lambda", o->gae_lambda, FROM_0_TO_1}};
  drover_status status = DROVER_OK;
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers && !status; i++)
    status = check_number(numbers[i].field, numbers[i].x, numbers[i].interval);
  if (!status) status = check_count("num_updates", o->num_updates, 0, INT64_MAX);
  if (!status) status = check_count("num_epochs", o->num_epochs, 1, 1000);
  if (!status) status = check_count("num_minibatches", o->num_minibatches, 1, INT32_MAX);
  if (!status) status = check_count("normalize_advantages", o->normalize_advantages, 0, 1);
  if (!status) status = check_count("scale_rewards", o->scale_rewards, 0, 1);
  return status;
}

/* ---- Creating ------------------------------------------------------------------------------------------------ */

static drover_status check_network(const dr_mlp *mlp) {
  if (mlp->options.head == DROVER_HEAD_UNIT)
    return dr_fail(DROVER_ERROR_UNSUPPORTED,
                   "ppo: the policy's head is 'unit', which has no probabilities; it must be categorical or gaussian");
  if (!mlp->options.has_values)
    return dr_fail(DROVER_ERROR_ARGUMENT, "ppo: the policy has no value network: make it with has_values = 1");
  return DROVER_OK;
}

static drover_status check_rollout(const drover_policy *policy, const drover_rollout *rollout,
                                   const drover_ppo_options *options) {
  const drover_rollout_view *view = &rollout->view;
  if (rollout->batch->runtime != policy->runtime)
    return dr_fail(DROVER_ERROR_ARGUMENT, "ppo: the policy and the rollout belong to different runtimes");
  if (rollout->options.deterministic)
    return dr_fail(DROVER_ERROR_ARGUMENT,
                   "ppo: the rollout is deterministic; learning needs samples: make it with deterministic = 0");
  const int64_t num_rows = (int64_t)view->num_envs * view->num_steps;
  if (num_rows > INT32_MAX)
    return dr_fail(DROVER_ERROR_ARGUMENT, "ppo: num_envs x num_steps must be at most %d, got %lld", INT32_MAX,
                   (long long)num_rows);
  if (options->num_minibatches > num_rows)
    return dr_fail(DROVER_ERROR_ARGUMENT,
                   "ppo: num_minibatches must be at most num_envs x num_steps, which is %lld, got %d",
                   (long long)num_rows, (int)options->num_minibatches);
  return dr_policy_check_fit(policy, &rollout->batch->spec);
}

static drover_status allocate(drover_ppo *ppo) {
  const dr_mlp *mlp = ppo->mlp;
  const size_t num_rows = (size_t)ppo->num_envs * (size_t)ppo->num_steps;
  const int32_t observation_size = mlp->options.normalize_observations ? mlp->options.observation_size : 0;
  drover_status status =
      dr_ppo_state_init(&ppo->state, &ppo->options, mlp->num_trainable, observation_size, ppo->num_envs);
  if (!status)
    status = dr_ppo_state_init(&ppo->next, &ppo->options, mlp->num_trainable, observation_size, ppo->num_envs);
  if (status) return status;
  ppo->weights = dr_slab_alloc(mlp->num_weights, sizeof(float));
  ppo->gradients = dr_slab_alloc(mlp->num_weights, sizeof(float));
  ppo->rewards = dr_slab_alloc(num_rows, sizeof(float));
  ppo->advantages = dr_slab_alloc(num_rows, sizeof(float));
  ppo->returns = dr_slab_alloc(num_rows, sizeof(float));
  ppo->logprobs = dr_slab_alloc(num_rows, sizeof(float));
  ppo->valid_rows = dr_slab_alloc(num_rows, sizeof(int32_t));
  const int32_t num_workers = ppo->learner.runtime->num_workers, num_epochs = ppo->options.num_epochs;
  ppo->num_orders = num_workers < DR_PPO_MAX_ORDERS ? num_workers : DR_PPO_MAX_ORDERS;
  if (num_epochs < ppo->num_orders) ppo->num_orders = num_epochs;
  ppo->order_stride = num_rows;
  ppo->orders = dr_slab_alloc((size_t)ppo->num_orders * num_rows, sizeof(int32_t));
  ppo->normals = dr_slab_zalloc((size_t)ppo->num_orders * (size_t)ppo->options.num_minibatches, sizeof *ppo->normals);
  ppo->inverse_std = dr_slab_alloc((size_t)mlp->options.num_outputs, sizeof(double));
  if (!ppo->weights || !ppo->gradients || !ppo->rewards || !ppo->advantages || !ppo->returns || !ppo->logprobs ||
      !ppo->valid_rows || !ppo->orders || !ppo->normals || !ppo->inverse_std)
    return dr_fail(DROVER_ERROR_NO_MEMORY, "ppo: no memory for %zu rows and %zu weights", num_rows, mlp->num_weights);
  status = dr_run_init(&ppo->tasks_run, ppo->learner.runtime, DR_PPO_PREPARE_TASKS);
  if (status) return status;
  const int32_t num_minibatches = ppo->options.num_minibatches;
  const int32_t max_rows = (int32_t)num_rows / num_minibatches + ((int32_t)num_rows % num_minibatches != 0);
  return dr_gradient_create(&ppo->gradient, ppo->learner.runtime, mlp, max_rows);
}

/* A policy that was trained before brings a mean and a std: go on from there, not from the first rollout's. */
static void adopt_moments(drover_ppo *ppo) {
  const dr_mlp *mlp = ppo->mlp;
  dr_weights *present = dr_mlp_policy_acquire(ppo->mlp_policy);
  dr_moments_adopt(&ppo->state.observations, present->flat + mlp->mean_at, present->flat + mlp->std_at);
  dr_mlp_policy_release(ppo->mlp_policy, present);
}

static void free_ppo(drover_ppo *ppo) {
  dr_gradient_destroy(ppo->gradient);
  dr_run_free(&ppo->tasks_run);
  dr_ppo_state_free(&ppo->state);
  dr_ppo_state_free(&ppo->next);
  void *const arrays[] = {ppo->weights,  ppo->gradients,  ppo->rewards, ppo->advantages, ppo->returns,
                          ppo->logprobs, ppo->valid_rows, ppo->orders,  ppo->normals,    ppo->inverse_std};
  for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) free(arrays[i]);
}

static drover_status create(drover_ppo **out, drover_policy *policy, const drover_rollout *rollout,
                            const drover_ppo_options *options) {
  void *self = NULL;
  drover_status status = dr_policy_self(policy, &dr_mlp_policy_type, "ppo create", &self);
  if (!status) status = check_options(options);
  if (status) return status;
  dr_mlp_policy *const mlp_policy = self;
  status = check_network(&mlp_policy->inference->mlp);
  if (!status) status = check_rollout(policy, rollout, options);
  if (status) return status;
  drover_ppo *ppo = dr_slab_zalloc(1, sizeof *ppo);
  if (!ppo) return dr_fail(DROVER_ERROR_NO_MEMORY, "ppo: out of memory");
  ppo->learner.policy = policy;
  ppo->learner.runtime = policy->runtime;
  ppo->mlp_policy = mlp_policy;
  ppo->mlp = &mlp_policy->inference->mlp;
  ppo->options = *options;
  ppo->num_envs = rollout->view.num_envs;
  ppo->num_steps = rollout->view.num_steps;
  status = allocate(ppo);
  if (status) {
    free_ppo(ppo);
    free(ppo);
    return status;
  }
  adopt_moments(ppo);
  dr_learner_open(&ppo->learner, DR_HANDLE_PPO);
  *out = ppo;
  return DROVER_OK;
}

drover_status drover_ppo_create(drover_ppo **out, drover_policy *policy, drover_rollout *rollout,
                                const drover_ppo_options *options) {
  if (!out) return dr_fail(DROVER_ERROR_ARGUMENT, "ppo create: out must not be NULL");
  *out = NULL;
  drover_status status = dr_handle_check(rollout, DR_HANDLE_ROLLOUT, "ppo create");
  if (!status) status = dr_batch_enter(rollout->batch, "ppo create", true);
  if (status) return status;
  status = create(out, policy, rollout, options);
  dr_batch_leave(rollout->batch);
  return status;
}

/* ---- Calls --------------------------------------------------------------------------------------------------- */

static drover_status enter(drover_ppo *ppo, const char *what) {
  return dr_learner_enter((dr_learner *)ppo, DR_HANDLE_PPO, what);
}

static void leave(drover_ppo *ppo) { dr_learner_leave(&ppo->learner); }

static void release(dr_learner *learner) { free_ppo((drover_ppo *)learner); }

drover_status drover_ppo_destroy(drover_ppo *ppo) {
  return dr_learner_destroy((dr_learner *)ppo, DR_HANDLE_PPO, "ppo destroy", release);
}

/* A call with a rollout: neither it nor its batch may change meanwhile. */
static drover_status enter_with(drover_ppo *ppo, const drover_rollout *rollout, const char *what) {
  drover_status status = enter(ppo, what);
  if (status) return status;
  status = dr_handle_check(rollout, DR_HANDLE_ROLLOUT, what);
  if (!status) status = dr_batch_enter(rollout->batch, what, true);
  if (status) leave(ppo);
  return status;
}

static void leave_with(drover_ppo *ppo, const drover_rollout *rollout) {
  dr_batch_leave(rollout->batch);
  leave(ppo);
}

static drover_status check_filled(const drover_ppo *ppo, const drover_rollout *rollout, const char *what) {
  const drover_rollout_view *view = &rollout->view;
  if (rollout->batch->runtime != ppo->learner.runtime)
    return dr_fail(DROVER_ERROR_ARGUMENT, "%s: the learner and the rollout belong to different runtimes", what);
  if (rollout->state != DR_ROLLOUT_FULL)
    return dr_fail(DROVER_ERROR_STATE, "%s: the rollout holds nothing: collect, or record and finish, first", what);
  if (view->num_envs != ppo->num_envs || view->observation_size != ppo->mlp->options.observation_size)
    return dr_fail(DROVER_ERROR_ARGUMENT,
                   "%s: the rollout has %d envs and observations of %d, the learner was made for %d and %d", what,
                   (int)view->num_envs, (int)view->observation_size, (int)ppo->num_envs,
                   (int)ppo->mlp->options.observation_size);
  return DROVER_OK;
}

static drover_status check_update(const drover_ppo *ppo, const drover_rollout *rollout, const drover_ppo_stats *stats) {
  const drover_rollout_view *view = &rollout->view;
  if (stats && stats->size != sizeof *stats)
    return dr_fail(DROVER_ERROR_ARGUMENT, "ppo update: set stats->size to sizeof(drover_ppo_stats), %zu",
                   sizeof *stats);
  const drover_status status = check_filled(ppo, rollout, "ppo update");
  if (status) return status;
  if (rollout->policy != ppo->learner.policy)
    return dr_fail(DROVER_ERROR_ARGUMENT, "ppo update: the rollout was made with another policy than the learner");
  if (view->num_steps != ppo->num_steps)
    return dr_fail(DROVER_ERROR_ARGUMENT, "ppo update: the rollout has %d steps, the learner was made for %d",
                   (int)view->num_steps, (int)ppo->num_steps);
  if (rollout->options.deterministic)
    return dr_fail(DROVER_ERROR_ARGUMENT, "ppo update: the rollout is deterministic; learning needs samples");
  if (view->num_steps_done < view->num_steps)
    return dr_fail(DROVER_ERROR_STATE,
                   "ppo update: the rollout holds %d of %d steps, because it was stopped; collect a whole one",
                   (int)view->num_steps_done, (int)view->num_steps);
  return DROVER_OK;
}

/* Work on copies: the present weights and state. */
static void begin_change(drover_ppo *ppo) {
  dr_weights *present = dr_mlp_policy_acquire(ppo->mlp_policy);
  memcpy(ppo->weights, present->flat, ppo->mlp->num_weights * sizeof *ppo->weights);
  dr_mlp_policy_release(ppo->mlp_policy, present);
  dr_ppo_state_copy(&ppo->next, &ppo->state);
}

/* Give the policy the changed weights; only then is the changed state the learner's. */
static drover_status commit_change(drover_ppo *ppo) {
  const drover_status status = dr_mlp_policy_replace(ppo->mlp_policy, ppo->weights);
  if (status == DROVER_ERROR_ARGUMENT) { /* a weight left its range */
    char reason[DR_MESSAGE_BYTES];
    snprintf(reason, sizeof reason, "%s", drover_last_error());
    return dr_fail(DROVER_ERROR_DIVERGED, "ppo update %lld: %.300s; try a smaller learning_rate",
                   (long long)ppo->next.num_updates, reason);
  }
  if (status) return status;
  const dr_ppo_state previous = ppo->state;
  ppo->state = ppo->next;
  ppo->next = previous;
  return DROVER_OK;
}

drover_status drover_ppo_observe(drover_ppo *ppo, drover_rollout *rollout) {
  drover_status status = enter_with(ppo, rollout, "ppo observe");
  if (status) return status;
  status = check_filled(ppo, rollout, "ppo observe");
  if (!status && (ppo->options.scale_rewards || ppo->mlp->options.normalize_observations)) {
    const dr_float_mode mode = dr_float_mode_enter();
    begin_change(ppo);
    if (ppo->options.scale_rewards) dr_ppo_take_returns(&ppo->next, &rollout->view, ppo->options.gamma);
    memset(ppo->next.running_returns, 0, (size_t)ppo->num_envs * sizeof(double));
    dr_ppo_take_observations(ppo, &rollout->view);
    status = commit_change(ppo);
    dr_float_mode_leave(mode);
  }
  leave_with(ppo, rollout);
  return status;
}

static drover_status update(drover_ppo *ppo, const drover_rollout *rollout, drover_ppo_stats *stats) {
  const dr_float_mode mode = dr_float_mode_enter();
  const uint32_t cancels_seen = dr_runtime_begin_call(ppo->learner.runtime);
  begin_change(ppo);
  drover_status status = dr_ppo_learn(ppo, rollout, cancels_seen, stats);
  if (!status) status = commit_change(ppo);
  dr_runtime_end_call(ppo->learner.runtime);
  dr_float_mode_leave(mode);
  return status;
}

drover_status drover_ppo_update(drover_ppo *ppo, drover_rollout *rollout, drover_ppo_stats *stats) {
  drover_status status = enter_with(ppo, rollout, "ppo update");
  if (status) return status;
  drover_ppo_stats made = {.size = sizeof made};
  status = check_update(ppo, rollout, stats);
  if (!status) status = update(ppo, rollout, &made);
  if (!status && stats) *stats = made;
  leave_with(ppo, rollout);
  return status;
}

drover_status drover_ppo_save(drover_ppo *ppo, void *bytes, size_t *num_bytes) {
  drover_status status = enter(ppo, "ppo save");
  if (status) return status;
  const size_t needed = dr_ppo_state_bytes(&ppo->state);
  if (!num_bytes)
    status = dr_fail(DROVER_ERROR_ARGUMENT, "ppo save: num_bytes must not be NULL");
  else if (bytes && *num_bytes < needed)
    status = dr_fail(DROVER_ERROR_ARGUMENT, "ppo save: %zu bytes are needed, got %zu", needed, *num_bytes);
  else if (bytes)
    dr_ppo_state_save(&ppo->state, bytes);
  if (num_bytes) *num_bytes = needed;
  leave(ppo);
  return status;
}

drover_status drover_ppo_load(drover_ppo *ppo, const void *bytes, size_t num_bytes) {
  drover_status status = enter(ppo, "ppo load");
  if (status) return status;
  status = dr_ppo_state_load(&ppo->state, bytes, num_bytes);
  leave(ppo);
  return status;
}
