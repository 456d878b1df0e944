/* inner_loss.c: the loss of the inner learner and its derivatives by the network's outputs. */
#include <math.h>

#include "policy/learn/inner.h"

/* The output's action: the unit head's. */
static double sigmoid(double x) { return 1.0 / (1.0 + exp(-x)); }

typedef struct sample_loss {
  double torque, effort;  /* means over joints, and over actions with the factor */
  double residual_square; /* |JtA a + b - tau|^2, N^2 m^2 */
  double wanted_square;   /* |tau|^2 */
} sample_loss;

/* One sample with the actions a that outputs give; gradients: d (torque + effort) / d output, times `weight`. */
static sample_loss take_sample(const dr_inner_target *target, const float *sample, const float *outputs, double weight,
                               float *gradients) {
  const dr_sample_layout *layout = target->layout;
  const size_t num_actions = (size_t)layout->num_actions, num_joints = (size_t)layout->num_joints;
  const double per_joint = 1.0 / (target->torque_scale * target->torque_scale * (double)num_joints);
  const double per_action = target->effort_coef / (double)num_actions;
  double actions[DR_MAX_INNER_ACTIONS], by_action[DR_MAX_INNER_ACTIONS]; /* a, d loss / d a */
  sample_loss loss = {0};
  for (size_t i = 0; i < num_actions; i++) {
    actions[i] = sigmoid((double)outputs[i]);
    loss.effort += per_action * actions[i] * actions[i];
    by_action[i] = 2.0 * per_action * actions[i];
  }
  for (size_t j = 0; j < num_joints; j++) {
    const float *row = sample + layout->jacobian_at + j * num_actions;
    const double wanted = (double)sample[layout->torque_at + j];
    double residual = (double)sample[layout->bias_at + j] - wanted;
    for (size_t i = 0; i < num_actions; i++) residual += (double)row[i] * actions[i];
    loss.residual_square += residual * residual;
    loss.wanted_square += wanted * wanted;
    const double slope = 2.0 * per_joint * residual;
    for (size_t i = 0; i < num_actions; i++) by_action[i] += slope * (double)row[i];
  }
  loss.torque = per_joint * loss.residual_square;
  for (size_t i = 0; i < num_actions; i++)
    gradients[i] = (float)(weight * by_action[i] * actions[i] * (1.0 - actions[i]));
  return loss;
}

int dr_inner_loss(void *object, const dr_loss_block *block) {
  const dr_inner_target *target = object;
  const size_t num_actions = (size_t)target->layout->num_actions;
  for (int32_t i = 0; i < block->num_rows; i++) {
    const size_t row = (size_t)block->rows[i], at = (size_t)i * num_actions;
    const float *sample = target->samples + row * target->stride - target->offset;
    const sample_loss loss =
        take_sample(target, sample, block->outputs + at, 1.0 / target->num_rows, block->output_gradients + at);
    block->sums[DR_SUM_TORQUE] += loss.torque;
    block->sums[DR_SUM_EFFORT] += loss.effort;
    if (target->relative_errors)
      target->relative_errors[row] =
          loss.wanted_square > 0 ? (float)sqrt(loss.residual_square / loss.wanted_square) : 0.0f;
  }
  return 0;
}
