/* ppo_update.h: an update in progress: what its parts share. */
#ifndef DR_POLICY_LEARN_PPO_UPDATE_H
#define DR_POLICY_LEARN_PPO_UPDATE_H

#include "policy/learn/loss.h"
#include "policy/learn/ppo.h"

typedef struct dr_ppo_update {
  drover_ppo *ppo;
  const drover_rollout *rollout;
  const drover_rollout_view *view; /* the rollout's */
  uint32_t cancels_seen;
  dr_ppo_loss loss;
  double learning_rate;
  double reward_scale;
  int32_t num_rows; /* with valid = 1 */
  double explained_variance;
  int32_t first_epoch, num_epochs; /* whose orders are there: at ppo->orders, one after the other */
  bool packed;                     /* ppo->gradient has the present weights */
} dr_ppo_update;

/* Rows of minibatch i: *first .. *first + the number returned - 1 of an epoch's order. They are of equal size; the
 * first ones get the rows left over. */
int32_t dr_ppo_minibatch(const dr_ppo_update *u, int32_t i, int32_t *first);
int32_t dr_ppo_num_minibatches(const dr_ppo_update *u);

/* ppo_prepare.c: everything before the first pass: rewards scaled, advantages, log-probabilities, the first orders,
 * what the loss reads; and next's moments of observations, which the weights do not get yet. */
drover_status dr_ppo_prepare(dr_ppo_update *u);

/* ppo_prepare.c: the orders from epoch `first` on, as many as there is room for. */
drover_status dr_ppo_shuffle(dr_ppo_update *u, int32_t first);

#endif
