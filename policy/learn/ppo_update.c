/* ppo_update.c: one update: advantages, epochs of minibatches, moments. */
#include <math.h>
#include <string.h>

#include "policy/learn/loss.h"
#include "policy/learn/permutation.h"
#include "policy/learn/ppo.h"
#include "runtime/error.h"
#include "runtime/runtime.h"

/* Sums over the rows of an epoch. */
typedef struct epoch_sums {
  double sums[DR_PPO_NUM_SUMS];
  double grad_norm; /* over minibatches */
  int32_t num_minibatches;
} epoch_sums;

/* What does not change within an update. */
typedef struct update {
  drover_ppo *ppo;
  const drover_rollout_view *view;
  dr_ppo_loss loss;
  uint32_t cancels_seen;
  double learning_rate;
  int32_t num_rows; /* with valid = 1 */
} update;

/* ---- Before the first epoch ---------------------------------------------------------------------------------- */

static double learning_rate_of(const drover_ppo_options *options, int64_t num_updates) {
  if (options->num_updates == 0) return options->learning_rate;
  const double done = fmin((double)num_updates / (double)options->num_updates, 1.0);
  return options->learning_rate + (options->final_learning_rate - options->learning_rate) * done;
}

static int32_t list_valid_rows(const drover_rollout_view *view, int32_t *rows) {
  const int32_t count = view->num_steps_done * view->num_envs;
  int32_t num_rows = 0;
  for (int32_t row = 0; row < count; row++)
    if (view->valid[row]) rows[num_rows++] = row;
  return num_rows;
}

/* The rollout's log-probabilities count the log-determinant of a tanh, which is the same in pi and pi_old: take it out,
 * so that the loss need not know of it. */
static const float *raw_logprobs(drover_ppo *ppo, const drover_rollout *rollout, int32_t num_rows) {
  if (!rollout->transforms || rollout->options.transform != DROVER_ACTION_TANH) return rollout->view.logprobs;
  const float *actions = rollout->view.actions;
  for (int32_t i = 0; i < num_rows; i++) {
    const size_t row = (size_t)ppo->valid_rows[i];
    const float *raw = actions + row * (size_t)rollout->view.action_size;
    ppo->logprobs[row] = (float)((double)rollout->view.logprobs[row] + dr_squash_log_det(&rollout->batch->spec, raw));
  }
  return ppo->logprobs;
}

/* 1 - var(R - V) / var(R) over valid rows; 0 where R does not vary. */
static double explained_variance(const update *u) {
  const drover_ppo *ppo = u->ppo;
  double mean_return = 0, mean_error = 0, returns = 0, errors = 0;
  for (int32_t i = 0; i < u->num_rows; i++) {
    const int32_t row = ppo->valid_rows[i];
    mean_return += (double)ppo->returns[row];
    mean_error += (double)ppo->advantages[row]; /* = R - V */
  }
  mean_return /= u->num_rows;
  mean_error /= u->num_rows;
  for (int32_t i = 0; i < u->num_rows; i++) {
    const int32_t row = ppo->valid_rows[i];
    const double r = (double)ppo->returns[row] - mean_return, e = (double)ppo->advantages[row] - mean_error;
    returns += r * r;
    errors += e * e;
  }
  return returns > 0 ? 1 - errors / returns : 0;
}

/* Scale rewards, estimate advantages, and set up what the loss reads. */
static drover_status prepare(update *u, const drover_rollout *rollout, drover_ppo_stats *stats) {
  drover_ppo *ppo = u->ppo;
  const drover_ppo_options *options = &ppo->options;
  u->num_rows = list_valid_rows(u->view, ppo->valid_rows);
  if (u->num_rows == 0)
    return dr_fail(DROVER_ERROR_STATE, "ppo update: the rollout has no valid row: every env failed in every step");
  double scale = 1;
  if (options->scale_rewards) {
    dr_ppo_take_returns(&ppo->next, u->view, options->gamma);
    scale = dr_moments_std(&ppo->next.returns, 0);
  }
  dr_ppo_estimate(ppo, u->view, scale);
  u->learning_rate = learning_rate_of(options, ppo->state.num_updates);
  u->loss = (dr_ppo_loss){.head = ppo->mlp->options.head,
                          .num_outputs = ppo->mlp->options.num_outputs,
                          .actions = u->view->actions,
                          .old_logprobs = raw_logprobs(ppo, rollout, u->num_rows),
                          .old_values = u->view->values,
                          .advantages = ppo->advantages,
                          .returns = ppo->returns,
                          .advantage_scale = 1,
                          .clip_range = options->clip_range,
                          .value_clip_range = options->value_clip_range,
                          .value_coef = options->value_coef,
                          .entropy_coef = options->entropy_coef,
                          .inverse_std = ppo->inverse_std};
  stats->learning_rate = u->learning_rate;
  stats->reward_scale = scale;
  stats->num_rows = u->num_rows;
  stats->explained_variance = explained_variance(u);
  return DROVER_OK;
}

/* ---- A minibatch --------------------------------------------------------------------------------------------- */

/* To mean 0 and deviation 1 over these rows. */
static void normalize_advantages(dr_ppo_loss *loss, const int32_t *rows, int32_t count) {
  double mean = 0, squares = 0;
  for (int32_t i = 0; i < count; i++) mean += (double)loss->advantages[rows[i]];
  mean /= count;
  for (int32_t i = 0; i < count; i++) {
    const double delta = (double)loss->advantages[rows[i]] - mean;
    squares += delta * delta;
  }
  loss->advantage_mean = mean;
  loss->advantage_scale = 1 / (sqrt(squares / count) + 1e-8);
}

static void read_log_std(update *u) {
  const dr_mlp *mlp = u->ppo->mlp;
  if (mlp->options.head != DROVER_HEAD_GAUSSIAN) return;
  const float *log_std = u->ppo->weights + mlp->log_std_at;
  u->loss.log_std_sum = 0;
  for (int32_t j = 0; j < mlp->options.num_outputs; j++) {
    u->loss.log_std_sum += (double)log_std[j];
    u->ppo->inverse_std[j] = exp(-(double)log_std[j]);
  }
}

static bool all_finite(const double *numbers, int count) {
  for (int i = 0; i < count; i++)
    if (!isfinite(numbers[i])) return false;
  return true;
}

static drover_status learn_minibatch(update *u, const int32_t *rows, int32_t count, epoch_sums *epoch) {
  drover_ppo *ppo = u->ppo;
  if (atomic_load_explicit(&ppo->runtime->num_cancels, memory_order_relaxed) != u->cancels_seen)
    return dr_fail(DROVER_ERROR_CANCELLED, "ppo update: cancelled; the policy and the learner are as before the call");
  read_log_std(u);
  if (ppo->options.normalize_advantages) normalize_advantages(&u->loss, rows, count);
  u->loss.inverse_count = 1.0 / count;
  double sums[DR_MAX_LOSS_SUMS];
  const drover_status status = dr_gradient_pass(ppo->gradient, ppo->weights, u->view->observations, count, rows,
                                                dr_ppo_loss_block, &u->loss, ppo->gradients, sums);
  if (status) return status;
  const double norm = dr_gradient_norm(ppo->gradients, ppo->mlp->num_trainable);
  if (!all_finite(sums, DR_PPO_NUM_SUMS) || !isfinite(norm))
    return dr_fail(DROVER_ERROR_DIVERGED,
                   "ppo update %lld: the loss (policy %g, value %g, entropy %g) or the gradient's norm (%g) is not "
                   "finite; try a smaller learning_rate",
                   (long long)ppo->state.num_updates + 1, sums[DR_PPO_SUM_POLICY] / count,
                   sums[DR_PPO_SUM_VALUE] / count, sums[DR_PPO_SUM_ENTROPY] / count, norm);
  const double limit = ppo->options.max_grad_norm;
  const double scale = limit > 0 && norm > limit ? limit / norm : 1;
  dr_adam_step(&ppo->next.adam, u->learning_rate, scale, ppo->gradients, ppo->weights);
  for (int i = 0; i < DR_PPO_NUM_SUMS; i++) epoch->sums[i] += sums[i];
  epoch->grad_norm += norm;
  epoch->num_minibatches++;
  return DROVER_OK;
}

/* ---- Epochs -------------------------------------------------------------------------------------------------- */

/* All rows once, in an order of the epoch's own, in minibatches of equal size; the first ones get the rows left over.
 */
static drover_status learn_epoch(update *u, int32_t index, epoch_sums *epoch) {
  drover_ppo *ppo = u->ppo;
  int32_t *order = ppo->order;
  memcpy(order, ppo->valid_rows, (size_t)u->num_rows * sizeof *order);
  dr_permute(ppo->options.seed, ppo->state.num_updates, index, order, u->num_rows);
  *epoch = (epoch_sums){0};
  const int32_t most = ppo->options.num_minibatches, num_minibatches = most < u->num_rows ? most : u->num_rows;
  const int32_t size = u->num_rows / num_minibatches, num_larger = u->num_rows % num_minibatches;
  drover_status status = DROVER_OK;
  for (int32_t i = 0; i < num_minibatches && !status; i++) {
    const int32_t count = size + (i < num_larger ? 1 : 0);
    status = learn_minibatch(u, order, count, epoch);
    order += count;
  }
  return status;
}

static void fill_stats(const update *u, const epoch_sums *epoch, drover_ppo_stats *stats) {
  const double *sums = epoch->sums;
  stats->policy_loss = sums[DR_PPO_SUM_POLICY] / u->num_rows;
  stats->value_loss = sums[DR_PPO_SUM_VALUE] / u->num_rows;
  stats->entropy = sums[DR_PPO_SUM_ENTROPY] / u->num_rows;
  stats->approx_kl = sums[DR_PPO_SUM_KL] / u->num_rows;
  stats->clip_fraction = sums[DR_PPO_SUM_CLIPPED] / u->num_rows;
  stats->grad_norm = epoch->grad_norm / epoch->num_minibatches;
  const dr_mlp *mlp = u->ppo->mlp;
  if (mlp->options.head != DROVER_HEAD_GAUSSIAN) return;
  for (int32_t j = 0; j < mlp->options.num_outputs; j++)
    stats->mean_std += exp((double)u->ppo->weights[mlp->log_std_at + (size_t)j]) / mlp->options.num_outputs;
}

void dr_ppo_take_observations(drover_ppo *ppo, const drover_rollout_view *view) {
  dr_moments *moments = &ppo->next.observations;
  if (moments->size == 0) return;
  dr_moments_add(moments, view->num_steps_done * view->num_envs, view->observations, view->valid);
  if (moments->count == 0) return;
  for (int32_t k = 0; k < moments->size; k++) {
    ppo->weights[ppo->mlp->mean_at + (size_t)k] = (float)moments->mean[k];
    ppo->weights[ppo->mlp->std_at + (size_t)k] = (float)dr_moments_std(moments, k);
  }
}

drover_status dr_ppo_learn(drover_ppo *ppo, const drover_rollout *rollout, uint32_t cancels_seen,
                           drover_ppo_stats *stats) {
  update u = {.ppo = ppo, .view = &rollout->view, .cancels_seen = cancels_seen};
  drover_status status = prepare(&u, rollout, stats);
  epoch_sums epoch = {0};
  for (int32_t i = 0; i < ppo->options.num_epochs && !status; i++) {
    status = learn_epoch(&u, i, &epoch);
    stats->num_epochs = i + 1;
    const double target = ppo->options.target_kl;
    if (target > 0 && epoch.sums[DR_PPO_SUM_KL] / u.num_rows > 1.5 * target) break;
  }
  if (status) return status;
  fill_stats(&u, &epoch, stats);
  dr_ppo_take_observations(ppo, &rollout->view);
  ppo->next.num_updates++;
  stats->num_updates = ppo->next.num_updates;
  return DROVER_OK;
}
