/* loss.c: the clipped loss row by row. With r = exp(log pi - log pi_old):
 *
 *   L = mean(-min(r A, clip(r, 1 - c, 1 + c) A)) + value_coef mean((V - R)^2) / 2 - entropy_coef mean(H)
 *
 * (Schulman et al. 2017, "Proximal policy optimization algorithms", eqs. 7 and 9). Everything is in double: a row costs
 * a few exponentials, which the network's own work hides. */
#include "policy/learn/loss.h"

#include <math.h>

/* One instruction each, where fmin and fmax are calls. */
static inline double smaller(double a, double b) { return a < b ? a : b; }
static inline double larger(double a, double b) { return a > b ? a : b; }

/* The row's policy term into the sums; returns its derivative by the log-probability. */
static double policy_term(const dr_ppo_loss *loss, int32_t row, double logprob, double *sums) {
  const double log_ratio = logprob - (double)loss->old_logprobs[row], ratio = exp(log_ratio);
  const double clip = loss->clip_range;
  const double advantage = ((double)loss->advantages[row] - loss->advantage_mean) * loss->advantage_scale;
  const double plain = ratio * advantage, limited = smaller(larger(ratio, 1 - clip), 1 + clip) * advantage;
  sums[DR_PPO_SUM_POLICY] -= smaller(plain, limited);
  sums[DR_PPO_SUM_KL] += ratio - 1 - log_ratio;
  sums[DR_PPO_SUM_CLIPPED] += fabs(ratio - 1) > clip ? 1 : 0;
  return plain <= limited ? -plain : 0;
}

/* log p_j = x_j - log sum exp x; d log p_a / d x_j = (j = a) - p_j; d H / d x_j = -p_j (log p_j + H). */
static void categorical_row(const dr_ppo_loss *loss, int32_t row, const float *logits, float *gradients, double *sums) {
  const int32_t count = loss->num_outputs, action = ((const int32_t *)loss->actions)[row];
  double most = (double)logits[0], total = 0, weighted = 0;
  for (int32_t j = 1; j < count; j++) most = larger(most, (double)logits[j]);
  for (int32_t j = 0; j < count; j++) {
    const double x = (double)logits[j] - most, e = exp(x);
    total += e;
    weighted += e * x;
    gradients[j] = (float)e;
  }
  const double log_total = log(total), entropy = log_total - weighted / total;
  sums[DR_PPO_SUM_ENTROPY] += entropy;
  const double slope = policy_term(loss, row, (double)logits[action] - most - log_total, sums) * loss->inverse_count;
  const double bonus = loss->entropy_coef * loss->inverse_count;
  for (int32_t j = 0; j < count; j++) {
    const double p = (double)gradients[j] / total, logprob = (double)logits[j] - most - log_total;
    gradients[j] = (float)(slope * ((j == action ? 1.0 : 0.0) - p) + bonus * p * (logprob + entropy));
  }
}

/* With z = (u - mean) / std: log pi = sum(-z^2 / 2 - log std - log(2 pi) / 2); H = sum(log std + log(2 pi e) / 2). */
static void gaussian_row(const dr_ppo_loss *loss, int32_t row, const float *means, float *gradients,
                         double *log_std_gradients, double *sums) {
  const double half_log_two_pi = 0.91893853320467274178;
  const int32_t count = loss->num_outputs;
  const float *actions = (const float *)loss->actions + (size_t)row * (size_t)count;
  double squares = 0;
  for (int32_t j = 0; j < count; j++) {
    const double z = ((double)actions[j] - (double)means[j]) * loss->inverse_std[j];
    squares += z * z;
  }
  const double constant = loss->log_std_sum + count * half_log_two_pi;
  sums[DR_PPO_SUM_ENTROPY] += constant + 0.5 * count;
  const double slope = policy_term(loss, row, -0.5 * squares - constant, sums) * loss->inverse_count;
  const double bonus = loss->entropy_coef * loss->inverse_count;
  for (int32_t j = 0; j < count; j++) {
    const double z = ((double)actions[j] - (double)means[j]) * loss->inverse_std[j];
    gradients[j] = (float)(slope * z * loss->inverse_std[j]);
    log_std_gradients[j] += slope * (z * z - 1) - bonus;
  }
}

/* (V - R)^2 / 2; clipped: the larger of it and ((V_old + clip(V - V_old)) - R)^2 / 2. Returns the derivative by V. */
static double value_term(const dr_ppo_loss *loss, int32_t row, double value, double *sums) {
  const double error = value - (double)loss->returns[row], clip = loss->value_clip_range;
  double square = error * error, slope = error;
  if (clip > 0) {
    const double old = (double)loss->old_values[row], moved = smaller(larger(value - old, -clip), clip);
    const double clipped = old + moved - (double)loss->returns[row];
    /* Where the clipped form is the larger one, V has left the range and moves nothing. */
    if (fabs(value - old) > clip && clipped * clipped > square) {
      square = clipped * clipped;
      slope = 0;
    }
  }
  sums[DR_PPO_SUM_VALUE] += square / 2;
  return slope;
}

int dr_ppo_loss_block(void *object, const dr_loss_block *block) {
  const dr_ppo_loss *loss = object;
  const size_t width = (size_t)loss->num_outputs;
  for (int32_t i = 0; i < block->num_rows; i++) {
    const int32_t row = block->rows[i];
    const float *outputs = block->outputs + (size_t)i * width;
    float *gradients = block->output_gradients + (size_t)i * width;
    if (loss->head == DROVER_HEAD_CATEGORICAL)
      categorical_row(loss, row, outputs, gradients, block->sums);
    else
      gaussian_row(loss, row, outputs, gradients, block->log_std_gradients, block->sums);
    block->value_gradients[i] =
        (float)(loss->value_coef * loss->inverse_count * value_term(loss, row, (double)block->values[i], block->sums));
  }
  return 0;
}
