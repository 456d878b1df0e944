/* loss.h: the clipped loss of proximal policy optimisation, and its derivatives at the network's outputs. */
#ifndef DR_POLICY_LEARN_LOSS_H
#define DR_POLICY_LEARN_LOSS_H

#include <drover/mlp.h>

#include "policy/learn/gradient.h"

/* What the loss of a minibatch is made of; the arrays are by row of the rollout. For dr_gradient_pass. */
typedef struct dr_ppo_loss {
  drover_head head; /* categorical or Gaussian */
  int32_t num_outputs;
  const void *actions;       /* [rows x action_size]: int32, or float32 raw samples */
  const float *old_logprobs; /* of the raw samples, without the transform's log-determinant */
  const float *old_values;
  const float *advantages;
  const float *returns;
  double advantage_mean, advantage_scale; /* A = (advantage - mean) * scale */
  double clip_range, value_clip_range;    /* the latter 0 = off */
  double value_coef, entropy_coef;
  double inverse_count;      /* 1 / rows of the minibatch */
  const double *inverse_std; /* Gaussian: [num_outputs] exp(-log_std) */
  double log_std_sum;        /* Gaussian: sum over outputs of log_std */
} dr_ppo_loss;

/* Where a block's sums over rows are. */
enum {
  DR_PPO_SUM_POLICY = 0, /* -min(r A, clip(r) A) */
  DR_PPO_SUM_VALUE,      /* (V - R)^2 / 2, or its clipped form */
  DR_PPO_SUM_ENTROPY,
  DR_PPO_SUM_KL,      /* (r - 1) - ln r */
  DR_PPO_SUM_CLIPPED, /* rows with |r - 1| > clip_range */
  DR_PPO_NUM_SUMS
};

/* A dr_loss; object: const dr_ppo_loss *. */
int dr_ppo_loss_block(void *object, const dr_loss_block *block);

#endif
