/* ppo_update.c: one update: epochs of minibatches between what is prepared and what is reported. */
#include <math.h>
#include <string.h>

#include "policy/learn/ppo_update.h"
#include "runtime/error.h"
#include "runtime/runtime.h"

/* Sums over the rows of an epoch. */
typedef struct epoch_sums {
  double sums[DR_PPO_NUM_SUMS];
  double grad_norm; /* over minibatches */
  int32_t num_minibatches;
} epoch_sums;

/* ---- A minibatch --------------------------------------------------------------------------------------------- */

static void read_log_std(dr_ppo_update *u) {
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

static drover_status learn_minibatch(dr_ppo_update *u, const int32_t *rows, int32_t count, dr_ppo_normal normal,
                                     epoch_sums *epoch) {
  drover_ppo *ppo = u->ppo;
  if (atomic_load_explicit(&ppo->learner.runtime->num_cancels, memory_order_relaxed) != u->cancels_seen)
    return dr_fail(DROVER_ERROR_CANCELLED, "ppo update: cancelled; the policy and the learner are as before the call");
  read_log_std(u);
  if (ppo->options.normalize_advantages) {
    u->loss.advantage_mean = normal.mean;
    u->loss.advantage_scale = normal.scale;
  }
  u->loss.inverse_count = 1.0 / count;
  double sums[DR_MAX_LOSS_SUMS];
  drover_status status = dr_gradient_pass(ppo->gradient, u->packed ? NULL : ppo->weights, u->view->observations, count,
                                          rows, dr_ppo_loss_block, &u->loss, ppo->gradients, sums);
  u->packed = true;
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
  status = dr_gradient_step(ppo->gradient, &ppo->next.adam, u->learning_rate, scale, ppo->gradients, ppo->weights);
  for (int i = 0; i < DR_PPO_NUM_SUMS; i++) epoch->sums[i] += sums[i];
  epoch->grad_norm += norm;
  epoch->num_minibatches++;
  return status;
}

/* ---- Epochs -------------------------------------------------------------------------------------------------- */

static drover_status learn_epoch(dr_ppo_update *u, int32_t epoch_index, epoch_sums *epoch) {
  const drover_ppo *ppo = u->ppo;
  drover_status status = DROVER_OK;
  if (epoch_index == u->first_epoch + u->num_epochs) status = dr_ppo_shuffle(u, epoch_index);
  const size_t slot = (size_t)(epoch_index - u->first_epoch);
  const int32_t *order = ppo->orders + slot * ppo->order_stride;
  const dr_ppo_normal *normals = ppo->normals + slot * (size_t)ppo->options.num_minibatches;
  const int32_t num_minibatches = dr_ppo_num_minibatches(u);
  *epoch = (epoch_sums){0};
  for (int32_t i = 0; i < num_minibatches && !status; i++) {
    int32_t first;
    const int32_t count = dr_ppo_minibatch(u, i, &first);
    status = learn_minibatch(u, order + first, count, normals[i], epoch);
  }
  return status;
}

static void fill_stats(const dr_ppo_update *u, const epoch_sums *epoch, drover_ppo_stats *stats) {
  const double *sums = epoch->sums;
  stats->learning_rate = u->learning_rate;
  stats->reward_scale = u->reward_scale;
  stats->num_rows = u->num_rows;
  stats->explained_variance = u->explained_variance;
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

/* What the policy is to normalise observations by from now on. */
static void put_moments(drover_ppo *ppo) {
  const dr_moments *moments = &ppo->next.observations;
  if (moments->count == 0) return;
  for (int32_t k = 0; k < moments->size; k++) {
    ppo->weights[ppo->mlp->mean_at + (size_t)k] = (float)moments->mean[k];
    ppo->weights[ppo->mlp->std_at + (size_t)k] = (float)dr_moments_std(moments, k);
  }
}

void dr_ppo_take_observations(drover_ppo *ppo, const drover_rollout_view *view) {
  dr_moments *moments = &ppo->next.observations;
  if (moments->size == 0) return;
  dr_moments_add(moments, view->num_steps_done * view->num_envs, view->observations, view->valid);
  put_moments(ppo);
}

drover_status dr_ppo_learn(drover_ppo *ppo, const drover_rollout *rollout, uint32_t cancels_seen,
                           drover_ppo_stats *stats) {
  dr_ppo_update u = {.ppo = ppo, .rollout = rollout, .view = &rollout->view, .cancels_seen = cancels_seen};
  drover_status status = dr_ppo_prepare(&u);
  epoch_sums epoch = {0};
  for (int32_t i = 0; i < ppo->options.num_epochs && !status; i++) {
    status = learn_epoch(&u, i, &epoch);
    stats->num_epochs = i + 1;
    const double target = ppo->options.target_kl;
    if (target > 0 && epoch.sums[DR_PPO_SUM_KL] / u.num_rows > 1.5 * target) break;
  }
  if (status) return status;
  fill_stats(&u, &epoch, stats);
  put_moments(ppo);
  ppo->next.num_updates++;
  stats->num_updates = ppo->next.num_updates;
  return DROVER_OK;
}
