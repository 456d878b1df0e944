/* inner_update.c: the inner learner's steps, and its losses on samples that it does not learn from. */
#include <math.h>
#include <string.h>

#include "policy/learn/inner.h"
#include "runtime/error.h"
#include "runtime/policy.h"
#include "runtime/runtime.h"

/* The rate of the learner's next step. */
static double present_rate(const drover_inner *inner) {
  const drover_inner_options *o = &inner->options;
  if (o->num_decay_steps == 0) return o->learning_rate;
  const double done = fmin(1.0, (double)inner->adam.num_steps / (double)o->num_decay_steps);
  return o->learning_rate + done * (o->final_learning_rate - o->learning_rate);
}

/* To +-limit; what is not a number stays that. */
static void limit_elements(float *gradients, size_t count, float limit) {
  for (size_t i = 0; i < count; i++) {
    const float low = gradients[i] < -limit ? -limit : gradients[i];
    gradients[i] = low > limit ? limit : low;
  }
}

/* One minibatch, one Adam step; the first of an update, or one that goes on from the weights the last one left. */
static drover_status make_step(drover_inner *inner, bool first, dr_inner_losses *losses) {
  dr_replay *replay = &inner->replay;
  const int32_t num_rows = replay->count < inner->options.minibatch ? (int32_t)replay->count : inner->options.minibatch;
  const size_t offset = (size_t)inner->layout.observation_size;
  dr_inner_target target = {.layout = &inner->layout,
                            .samples = replay->samples,
                            .stride = inner->layout.size - offset,
                            .offset = offset,
                            .torque_scale = inner->options.torque_scale,
                            .effort_coef = inner->options.effort_coef,
                            .num_rows = num_rows};
  double sums[DR_MAX_LOSS_SUMS];
  dr_replay_draw(replay, num_rows, inner->rows);
  const drover_status status = dr_gradient_pass(inner->gradient, first ? inner->weights : NULL, replay->observations,
                                                num_rows, inner->rows, dr_inner_loss, &target, inner->gradients, sums);
  if (status) return status;
  const double torque = sums[DR_SUM_TORQUE] / num_rows, effort = sums[DR_SUM_EFFORT] / num_rows;
  if (!isfinite(torque + effort))
    return dr_fail(DROVER_ERROR_DIVERGED, "inner update: the loss of step %lld is %g: learn at a lower rate than %g",
                   (long long)inner->adam.num_steps + 1, torque + effort, present_rate(inner));
  losses->torque += torque;
  losses->effort += effort;
  if (inner->options.grad_limit > 0)
    limit_elements(inner->gradients, inner->num_trainable, (float)inner->options.grad_limit);
  return dr_gradient_step(inner->gradient, &inner->adam, present_rate(inner), 1.0, inner->gradients, inner->weights);
}

/* The policy's weights, stepped num_steps times, become its new version. */
static drover_status make_steps(drover_inner *inner, int64_t num_steps, dr_inner_losses *losses) {
  const drover_runtime *runtime = inner->learner.runtime;
  const uint32_t cancels_seen = dr_runtime_begin_call(inner->learner.runtime);
  drover_status status = DROVER_OK;
  for (int64_t i = 0; !status && i < num_steps; i++) {
    status = make_step(inner, i == 0, losses);
    if (!status && atomic_load_explicit(&runtime->num_cancels, memory_order_relaxed) != cancels_seen)
      status = dr_fail(DROVER_ERROR_CANCELLED, "inner update: cancelled after %lld of %lld steps, which are undone",
                       (long long)i + 1, (long long)num_steps);
  }
  dr_runtime_end_call(inner->learner.runtime);
  return status;
}

/* A version needs finite weights: the last step is checked here, those before it by the losses after them. */
static drover_status publish(drover_inner *inner) {
  for (size_t i = 0; i < inner->num_weights; i++) {
    if (isfinite(inner->weights[i])) continue;
    char name[64];
    dr_mlp_describe_weight(&inner->self->inference->mlp, i, name, sizeof name);
    return dr_fail(DROVER_ERROR_DIVERGED, "inner update: %s is %g after step %lld: learn at a lower rate than %g", name,
                   (double)inner->weights[i], (long long)inner->adam.num_steps, present_rate(inner));
  }
  return dr_mlp_policy_replace(inner->self, inner->weights);
}

static void get_weights(drover_inner *inner) {
  dr_weights *present = dr_mlp_policy_acquire(inner->self);
  memcpy(inner->weights, present->flat, inner->num_weights * sizeof *inner->weights);
  dr_mlp_policy_release(inner->self, present);
}

/* The moments that the policy is to normalise by from now on. */
static void put_moments(drover_inner *inner) {
  const dr_mlp *mlp = &inner->self->inference->mlp;
  const dr_moments *moments = &inner->observations;
  for (int32_t i = 0; i < moments->size && moments->count > 0; i++) {
    inner->weights[mlp->mean_at + (size_t)i] = (float)moments->mean[i];
    inner->weights[mlp->std_at + (size_t)i] = (float)dr_moments_std(moments, i);
  }
}

/* An update that leaves no trace if it fails. */
drover_status dr_inner_learn(drover_inner *inner, int64_t num_steps, dr_inner_losses *losses) {
  const dr_float_mode mode = dr_float_mode_enter();
  const size_t bytes = inner->num_trainable * sizeof(float);
  const int64_t steps_before = inner->adam.num_steps, order_before = inner->replay.num_orders,
                position_before = inner->replay.position;
  memcpy(inner->first_before, inner->adam.first, bytes);
  memcpy(inner->second_before, inner->adam.second, bytes);
  get_weights(inner);
  put_moments(inner);
  drover_status status = make_steps(inner, num_steps, losses);
  if (!status) status = publish(inner);
  if (status) {
    memcpy(inner->adam.first, inner->first_before, bytes);
    memcpy(inner->adam.second, inner->second_before, bytes);
    inner->adam.num_steps = steps_before;
    dr_replay_seek(&inner->replay, order_before, position_before);
  }
  dr_float_mode_leave(mode);
  return status;
}

/* The losses of the valid ones among count <= DR_EVALUATE_ROWS samples are added to sums. */
static drover_status evaluate_some(drover_inner *inner, int32_t count, const float *samples, float *relative_errors,
                                   int64_t *num_valid, dr_inner_losses *losses) {
  const dr_sample_layout *layout = &inner->layout;
  const size_t observation_size = (size_t)layout->observation_size;
  int32_t num_rows = 0;
  for (int32_t i = 0; i < count; i++) {
    const float *sample = samples + (size_t)i * layout->size;
    if (relative_errors) relative_errors[i] = 0.0f;
    if (sample[layout->valid_at] == 0.0f) continue;
    memcpy(inner->gathered + (size_t)i * observation_size, sample, observation_size * sizeof *sample);
    inner->rows[num_rows++] = i;
  }
  if (num_rows == 0) return DROVER_OK;
  dr_inner_target target = {.layout = layout,
                            .samples = samples,
                            .stride = layout->size,
                            .torque_scale = inner->options.torque_scale,
                            .effort_coef = inner->options.effort_coef,
                            .num_rows = num_rows,
                            .relative_errors = relative_errors};
  double sums[DR_MAX_LOSS_SUMS];
  const drover_status status = dr_gradient_pass(inner->gradient, inner->weights, inner->gathered, num_rows, inner->rows,
                                                dr_inner_loss, &target, NULL, sums);
  if (status) return status;
  losses->torque += sums[DR_SUM_TORQUE];
  losses->effort += sums[DR_SUM_EFFORT];
  *num_valid += num_rows;
  return DROVER_OK;
}

drover_status dr_inner_evaluate(drover_inner *inner, int64_t count, const float *samples, float *relative_errors,
                                int64_t *num_valid, dr_inner_losses *losses) {
  const dr_float_mode mode = dr_float_mode_enter();
  drover_status status = DROVER_OK;
  *num_valid = 0;
  get_weights(inner);
  dr_runtime_begin_call(inner->learner.runtime);
  for (int64_t at = 0; !status && at < count; at += DR_EVALUATE_ROWS) {
    const int32_t some = count - at < DR_EVALUATE_ROWS ? (int32_t)(count - at) : DR_EVALUATE_ROWS;
    status = evaluate_some(inner, some, samples + (size_t)at * inner->layout.size,
                           relative_errors ? relative_errors + at : NULL, num_valid, losses);
  }
  dr_runtime_end_call(inner->learner.runtime);
  dr_float_mode_leave(mode);
  return status;
}
