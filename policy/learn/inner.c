/* inner.c: the inner learner: its public calls, and an update. */
#include "policy/learn/inner.h"

#include <math.h>
#include <stdlib.h>

#include "runtime/error.h"
#include "runtime/memory.h"
#include "runtime/runtime.h"

/* ---- Options ------------------------------------------------------------------------------------------------- */

drover_status drover_inner_options_init(drover_inner_options *options, size_t size) {
  if (!options || size != sizeof *options)
    return dr_fail(DROVER_ERROR_ARGUMENT, "inner options: size must be %zu (sizeof drover_inner_options), got %zu",
                   sizeof *options, size);
  *options = (drover_inner_options){.size = size,
                                    .capacity = 65536,
                                    .minibatch = 256,
                                    .learning_rate = 1e-4,
                                    .final_learning_rate = 1e-4,
                                    .adam_beta1 = 0.9,
                                    .adam_beta2 = 0.999,
                                    .adam_epsilon = 1e-8,
                                    .grad_limit = 0.5,
                                    .torque_scale = 100.0,
                                    .effort_coef = 0.01};
  return DROVER_OK;
}

static drover_status check_count(const char *field, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return DROVER_OK;
  return dr_fail(DROVER_ERROR_ARGUMENT, "inner: %s must be %lld..%lld, got %lld", field, (long long)low,
                 (long long)high, (long long)value);
}

/* Finite and above 0, or 0 itself where that is allowed. */
static drover_status check_number(const char *field, double value, bool may_be_zero) {
  if (isfinite(value) && (value > 0.0 || (may_be_zero && value == 0.0))) return DROVER_OK;
  return dr_fail(DROVER_ERROR_ARGUMENT, "inner: %s must be finite and %s 0, got %g", field,
                 may_be_zero ? "not below" : "above", value);
}

static drover_status check_beta(const char *field, double value) {
  if (value >= 0.0 && value < 1.0) return DROVER_OK;
  return dr_fail(DROVER_ERROR_ARGUMENT, "inner: %s must be at least 0 and below 1, got %g", field, value);
}

static drover_status check_options(const drover_inner_options *o) {
  if (!o || o->size != sizeof *o)
    return dr_fail(DROVER_ERROR_ARGUMENT, "inner: options must be filled by drover_inner_options_init first");
  drover_status status = check_count("capacity", o->capacity, 1, 1 << 30);
  if (!status) status = check_count("minibatch", o->minibatch, 1, 1 << 20);
  if (!status) status = check_count("num_decay_steps", o->num_decay_steps, 0, INT64_MAX);
  if (!status) status = check_number("learning_rate", o->learning_rate, false);
  if (!status) status = check_number("final_learning_rate", o->final_learning_rate, true);
  if (!status) status = check_beta("adam_beta1", o->adam_beta1);
  if (!status) status = check_beta("adam_beta2", o->adam_beta2);
  if (!status) status = check_number("adam_epsilon", o->adam_epsilon, false);
  if (!status) status = check_number("grad_limit", o->grad_limit, true);
  if (!status) status = check_number("torque_scale", o->torque_scale, false);
  if (!status) status = check_number("effort_coef", o->effort_coef, true);
  return status;
}

/* ---- Making and ending --------------------------------------------------------------------------------------- */

/* Can this policy be learnt from such samples? */
static drover_status check_policy(const drover_mlp_options *mlp) {
  if (mlp->head != DROVER_HEAD_UNIT || mlp->has_values)
    return dr_fail(DROVER_ERROR_ARGUMENT,
                   "inner: the policy must have the unit head and no values, it has the %s head%s",
                   dr_head_name(mlp->head), mlp->has_values ? " and values" : "");
  return check_count("the policy's num_outputs", mlp->num_outputs, 1, DR_MAX_INNER_ACTIONS);
}

static void free_inner(drover_inner *inner) {
  dr_gradient_destroy(inner->gradient);
  dr_adam_free(&inner->adam);
  dr_replay_free(&inner->replay);
  dr_moments_free(&inner->observations);
  free(inner->weights);
  free(inner->gradients);
  free(inner->first_before);
  free(inner->second_before);
  free(inner->rows);
  free(inner->gathered);
}

/* A policy that was trained before brings a mean and a std: go on from there. */
static void adopt_moments(drover_inner *inner, const dr_mlp *mlp) {
  dr_weights *present = dr_mlp_policy_acquire(inner->self);
  dr_moments_adopt(&inner->observations, present->flat + mlp->mean_at, present->flat + mlp->std_at);
  dr_mlp_policy_release(inner->self, present);
}

static drover_status allocate(drover_inner *inner, const dr_mlp *mlp) {
  const drover_inner_options *o = &inner->options;
  const int32_t max_rows = o->minibatch > DR_EVALUATE_ROWS ? o->minibatch : DR_EVALUATE_ROWS;
  inner->num_weights = mlp->num_weights;
  inner->num_trainable = mlp->num_trainable;
  inner->weights = dr_slab_zalloc(mlp->num_weights, sizeof(float));
  inner->gradients = dr_slab_zalloc(mlp->num_weights, sizeof(float));
  inner->first_before = dr_slab_zalloc(mlp->num_weights, sizeof(float));
  inner->second_before = dr_slab_zalloc(mlp->num_weights, sizeof(float));
  inner->rows = dr_slab_zalloc((size_t)max_rows, sizeof *inner->rows);
  inner->gathered = dr_slab_zalloc(DR_EVALUATE_ROWS, (size_t)mlp->options.observation_size * sizeof(float));
  if (!inner->weights || !inner->gradients || !inner->first_before || !inner->second_before || !inner->rows ||
      !inner->gathered)
    return dr_fail(DROVER_ERROR_NO_MEMORY, "inner: no memory for a learner of %zu weights", mlp->num_weights);
  drover_status status = dr_replay_init(&inner->replay, &inner->layout, o->capacity, o->seed);
  if (!status) status = dr_adam_init(&inner->adam, inner->num_trainable, o->adam_beta1, o->adam_beta2, o->adam_epsilon);
  if (!status)
    status =
        dr_moments_init(&inner->observations, mlp->options.normalize_observations ? mlp->options.observation_size : 0);
  if (!status) adopt_moments(inner, mlp);
  if (!status) status = dr_gradient_create(&inner->gradient, inner->learner.runtime, mlp, max_rows);
  return status;
}

drover_status drover_inner_create(drover_inner **out, drover_policy *policy, const drover_inner_options *options) {
  if (!out) return dr_fail(DROVER_ERROR_ARGUMENT, "inner create: out must not be NULL");
  *out = NULL;
  void *self = NULL;
  drover_status status = dr_policy_self(policy, &dr_mlp_policy_type, "inner create", &self);
  if (!status) status = dr_runtime_check(policy->runtime, "inner create");
  if (!status) status = check_options(options);
  if (status) return status;
  const dr_mlp *mlp = &((dr_mlp_policy *)self)->inference->mlp;
  status = check_policy(&mlp->options);
  if (status) return status;
  drover_inner *inner = dr_slab_zalloc(1, sizeof *inner);
  if (!inner) return dr_fail(DROVER_ERROR_NO_MEMORY, "inner: no memory for a learner");
  inner->learner.policy = policy;
  inner->learner.runtime = policy->runtime;
  inner->self = self;
  inner->options = *options;
  status = dr_sample_layout_init(&inner->layout, options->sample_size, mlp->options.observation_size,
                                 mlp->options.num_outputs);
  if (!status) status = allocate(inner, mlp);
  if (status) {
    free_inner(inner);
    free(inner);
    return status;
  }
  dr_learner_open(&inner->learner, DR_HANDLE_INNER);
  *out = inner;
  return DROVER_OK;
}

static drover_status enter(drover_inner *inner, const char *what) {
  return dr_learner_enter((dr_learner *)inner, DR_HANDLE_INNER, what);
}

/* The end of a public call, which returns `status`. */
static drover_status leave(drover_inner *inner, drover_status status) {
  dr_learner_leave(&inner->learner);
  return status;
}

static void release(dr_learner *learner) { free_inner((drover_inner *)learner); }

drover_status drover_inner_destroy(drover_inner *inner) {
  return dr_learner_destroy((dr_learner *)inner, DR_HANDLE_INNER, "inner destroy", release);
}

/* ---- Samples ------------------------------------------------------------------------------------------------- */

static drover_status check_samples(const drover_inner *inner, const char *what, int64_t count, const float *samples) {
  const size_t size = inner->layout.size;
  if (count < 0 || (count > 0 && !samples))
    return dr_fail(DROVER_ERROR_ARGUMENT, "%s: count must not be negative and samples not NULL, got %lld", what,
                   (long long)count);
  for (int64_t i = 0; i < count; i++) {
    const float *sample = samples + (size_t)i * size;
    if (sample[inner->layout.valid_at] == 0.0f) continue;
    for (size_t k = 0; k < size; k++)
      if (!isfinite(sample[k]))
        return dr_fail(DROVER_ERROR_ARGUMENT, "%s: number %zu of sample %lld must be finite, got %g", what, k,
                       (long long)i, (double)sample[k]);
  }
  return DROVER_OK;
}

static drover_status add(drover_inner *inner, int64_t count, const float *samples) {
  const drover_status status = check_samples(inner, "inner add", count, samples);
  if (status) return status;
  dr_replay_add(&inner->replay, count, samples);
  const dr_float_mode mode = dr_float_mode_enter();
  for (int64_t i = 0; inner->observations.size > 0 && i < count; i++) {
    const float *sample = samples + (size_t)i * inner->layout.size;
    if (sample[inner->layout.valid_at] != 0.0f) dr_moments_add(&inner->observations, 1, sample, NULL);
  }
  dr_float_mode_leave(mode);
  return DROVER_OK;
}

drover_status drover_inner_add(drover_inner *inner, int64_t count, const float *samples) {
  const drover_status status = enter(inner, "inner add");
  return status ? status : leave(inner, add(inner, count, samples));
}

static drover_status add_rollout(drover_inner *inner, drover_rollout *rollout) {
  drover_rollout_view view = {.size = sizeof view};
  const drover_status status = drover_rollout_get_view(rollout, &view);
  if (status) return status;
  if (!view.inner_samples || (size_t)view.inner_sample_size != inner->layout.size)
    return dr_fail(DROVER_ERROR_ARGUMENT,
                   "inner add_rollout: the rollout's samples have %d numbers, the learner was made for %zu",
                   view.inner_samples ? (int)view.inner_sample_size : 0, inner->layout.size);
  return add(inner, (int64_t)view.num_steps_done * view.num_envs, view.inner_samples);
}

drover_status drover_inner_add_rollout(drover_inner *inner, drover_rollout *rollout) {
  const drover_status status = enter(inner, "inner add_rollout");
  return status ? status : leave(inner, add_rollout(inner, rollout));
}

/* ---- Learning ------------------------------------------------------------------------------------------------ */

static drover_status check_stats(const drover_inner_stats *stats, const char *what) {
  if (!stats || stats->size == sizeof *stats) return DROVER_OK;
  return dr_fail(DROVER_ERROR_ARGUMENT, "%s: set stats->size to sizeof(drover_inner_stats), %zu", what, sizeof *stats);
}

/* Sums of losses, divided by what they were summed over. */
static void put_stats(const drover_inner *inner, int64_t num_samples, const dr_inner_losses *losses, int64_t divisor,
                      drover_inner_stats *stats) {
  if (!stats) return;
  const double share = 1.0 / (double)(divisor > 0 ? divisor : 1);
  *stats = (drover_inner_stats){.size = sizeof *stats,
                                .num_samples = num_samples,
                                .num_steps = inner->adam.num_steps,
                                .loss = (losses->torque + losses->effort) * share,
                                .torque_loss = losses->torque * share,
                                .effort_loss = losses->effort * share};
}

static drover_status update(drover_inner *inner, int64_t num_steps, drover_inner_stats *stats) {
  drover_status status = check_stats(stats, "inner update");
  if (!status) status = check_count("num_steps of an update", num_steps, 1, INT64_MAX);
  if (status) return status;
  if (inner->replay.count == 0)
    return dr_fail(DROVER_ERROR_STATE, "inner update: there are no samples: add some first");
  dr_inner_losses losses = {0};
  status = dr_inner_learn(inner, num_steps, &losses);
  if (!status) put_stats(inner, inner->replay.count, &losses, num_steps, stats);
  return status;
}

drover_status drover_inner_update(drover_inner *inner, int64_t num_steps, drover_inner_stats *stats) {
  const drover_status status = enter(inner, "inner update");
  return status ? status : leave(inner, update(inner, num_steps, stats));
}

static drover_status evaluate(drover_inner *inner, int64_t count, const float *samples, drover_inner_stats *stats,
                              float *relative_errors) {
  drover_status status = check_stats(stats, "inner evaluate");
  if (!status) status = check_samples(inner, "inner evaluate", count, samples);
  if (status) return status;
  int64_t num_valid = 0;
  dr_inner_losses losses = {0};
  status = dr_inner_evaluate(inner, count, samples, relative_errors, &num_valid, &losses);
  if (!status) put_stats(inner, num_valid, &losses, num_valid, stats);
  return status;
}

drover_status drover_inner_evaluate(drover_inner *inner, int64_t count, const float *samples, drover_inner_stats *stats,
                                    float *relative_errors) {
  const drover_status status = enter(inner, "inner evaluate");
  return status ? status : leave(inner, evaluate(inner, count, samples, stats, relative_errors));
}

/* ---- Checkpoints --------------------------------------------------------------------------------------------- */

drover_status drover_inner_save(drover_inner *inner, void *bytes, size_t *num_bytes) {
  const drover_status status = enter(inner, "inner save");
  return status ? status : leave(inner, dr_inner_save(inner, bytes, num_bytes));
}

drover_status drover_inner_load(drover_inner *inner, const void *bytes, size_t num_bytes) {
  const drover_status status = enter(inner, "inner load");
  return status ? status : leave(inner, dr_inner_load(inner, bytes, num_bytes));
}
