/* ppo.h: the inside of a PPO learner: what training carries from update to update, and what an update works on. */
#ifndef DR_POLICY_LEARN_PPO_H
#define DR_POLICY_LEARN_PPO_H

#include <drover/ppo.h>

#include "policy/learn/adam.h"
#include "policy/learn/gradient.h"
#include "policy/learn/learner.h"
#include "policy/learn/moments.h"
#include "policy/mlp_policy.h"
#include "runtime/rollout.h"

/* Everything that the next update depends on besides weights, rollout and options; what save and load are about. */
typedef struct dr_ppo_state {
  int64_t num_updates;
  dr_adam adam;
  dr_moments observations; /* of no columns if the policy does not normalise them */
  dr_moments returns;      /* of the discounted return of raw rewards, one column; empty unless scale_rewards */
  int32_t num_envs;
  double *running_returns; /* [num_envs] of the episodes in progress */
} dr_ppo_state;

/* By which the advantages of a minibatch get mean 0 and deviation 1. */
typedef struct dr_ppo_normal {
  double mean, scale;
} dr_ppo_normal;

/* Most tasks of a fork before the passes; most epochs whose orders are made at once. */
enum { DR_PPO_PREPARE_TASKS = 128, DR_PPO_MAX_ORDERS = 16 };

/* An update works on `next` and `weights`; when it has succeeded, `next` becomes `state` and the policy gets the
 * weights. So whatever fails changes nothing. */
struct drover_ppo {
  dr_learner learner;
  dr_mlp_policy *mlp_policy; /* the learner's policy */
  const dr_mlp *mlp;
  drover_ppo_options options;
  int32_t num_envs, num_steps; /* of the rollouts */
  dr_ppo_state state, next;
  dr_gradient *gradient;
  float *weights, *gradients;                       /* [num_weights] */
  float *rewards, *advantages, *returns, *logprobs; /* [T x N]: scaled rewards; log pi_old of the raw samples */
  int32_t *valid_rows;                              /* [T x N] rows with valid = 1 */
  int32_t num_orders;                               /* epochs whose orders are made at once */
  size_t order_stride;                              /* T x N */
  int32_t *orders;                                  /* [num_orders x order_stride] valid rows, shuffled */
  dr_ppo_normal *normals;                           /* [num_orders x num_minibatches] */
  dr_run tasks_run;                                 /* of what comes before the passes */
  double *inverse_std;                              /* [num_outputs] exp(-log_std) */
};

/* ppo_state.c. observation_size 0: observations are not normalised. */
drover_status dr_ppo_state_init(dr_ppo_state *state, const drover_ppo_options *options, size_t num_weights,
                                int32_t observation_size, int32_t num_envs);
void dr_ppo_state_free(dr_ppo_state *state);
void dr_ppo_state_copy(dr_ppo_state *to, const dr_ppo_state *from); /* of the same shape */
size_t dr_ppo_state_bytes(const dr_ppo_state *state);
void dr_ppo_state_save(const dr_ppo_state *state, unsigned char *bytes);
/* DROVER_ERROR_FORMAT if the bytes are not of a state of this shape; nothing is changed then. */
drover_status dr_ppo_state_load(dr_ppo_state *state, const unsigned char *bytes, size_t num_bytes);

/* ppo_returns.c: take the discounted returns of a rollout into the moments, in (step, env) order over valid rows. */
void dr_ppo_take_returns(dr_ppo_state *state, const drover_rollout_view *view, double gamma);

/* ppo_returns.c: fill ppo's rewards, advantages and returns of envs first..first + count - 1 from a rollout; rewards
 * are divided by `scale`. Before that, once for all envs: put the final values where it looks for them. */
void dr_ppo_place_finals(drover_ppo *ppo, const drover_rollout_view *view);
void dr_ppo_estimate(drover_ppo *ppo, const drover_rollout_view *view, double scale, int32_t first, int32_t count);

/* ppo_update.c: an update of ppo->next and ppo->weights from a rollout that fits. */
drover_status dr_ppo_learn(drover_ppo *ppo, const drover_rollout *rollout, uint32_t cancels_seen,
                           drover_ppo_stats *stats);

/* ppo_update.c: take the rollout's observations into next's moments and set the weights' mean and std from them. */
void dr_ppo_take_observations(drover_ppo *ppo, const drover_rollout_view *view);

#endif
