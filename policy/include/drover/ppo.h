/* ppo.h: proximal policy optimisation of an MLP policy from finished rollouts, in the runtime's own workers.
 *
 * Objective (Schulman et al. 2017, "Proximal policy optimization algorithms", eq. 7 and 9): with r = pi(a|s) /
 * pi_old(a|s), loss = mean(-min(r A, clip(r, 1 - c, 1 + c) A)) + value_coef mean((V - R)^2) / 2 - entropy_coef
 * mean(entropy) over the rows with valid = 1. Advantages are generalised advantage estimates (Schulman et al. 2016),
 * made by the learner with its own gamma and lambda from the rollout's rewards, values and final values; with
 * scale_rewards each reward is first divided by the running standard deviation of the envs' discounted return, so that
 * the value network learns numbers near 1. The rollout's buffers stay as they are.
 *
 * With normalize_observations (mlp.h) the learner also keeps the running mean and standard deviation of observations,
 * in double and in (step, env) order, and puts them into the policy's weights after each update: they are frozen during
 * a rollout, and actor and learner see the same numbers. A policy that comes with a mean and a std (from a file) keeps
 * them as the moments of 2^20 rows seen before.
 *
 * The policy needs a value network and a categorical or Gaussian head. Under the transform tanh (rollout.h) the
 * log-determinant is the same in pi and pi_old and leaves r; the entropy is that of the Gaussian before it.
 *
 * Calls on one learner must not overlap, nor with calls on the rollout's batch (DROVER_ERROR_STATE if they do).
 *
 * Training has the contract of rollouts: the weights after an update are a function of the weights and the rollout
 * before it, the options and the number of updates made; not of the number of workers. */
#ifndef DROVER_PPO_H
#define DROVER_PPO_H

#include <drover/base.h>
#include <drover/mlp.h>
#include <drover/rollout.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct drover_ppo drover_ppo;

typedef struct drover_ppo_options {
  size_t size;                /* set by init */
  double learning_rate;       /* Adam's, > 0; default 3e-4 */
  double final_learning_rate; /* >= 0; reached linearly after num_updates updates, then kept; default 0 */
  int64_t num_updates;        /* over which the rate goes from one to the other; default 0 = constant */
  double adam_beta1, adam_beta2, adam_epsilon; /* default 0.9, 0.999, 1e-5 */
  int32_t num_epochs;                          /* passes over a rollout, 1..1000; default 4 */
  int32_t num_minibatches;  /* of equal size (the first ones one row larger where it does not divide); default 4 */
  double clip_range;        /* c above, > 0; default 0.2 */
  double value_clip_range;  /* > 0: V is clipped around its old value likewise; default 0 = off */
  double value_coef;        /* default 0.5 */
  double entropy_coef;      /* default 0 */
  double max_grad_norm;     /* gradient's L2 norm is limited to this; 0 = off; default 0.5 */
  double target_kl;         /* an update stops after the epoch whose mean((r - 1) - ln r) is over 1.5 x this; 0 = off */
  double gamma, gae_lambda; /* default 0.99, 0.95 */
  int32_t normalize_advantages; /* 1 (default): to mean 0, deviation 1 over a minibatch */
  int32_t scale_rewards;        /* 1: see above; default 0 */
  uint64_t seed;                /* of the minibatch permutations */
} drover_ppo_options;

/* What an update did. Means are over rows and minibatches of the last epoch unless said otherwise. */
typedef struct drover_ppo_stats {
  size_t size;          /* set by the caller to sizeof(drover_ppo_stats) */
  int64_t num_updates;  /* made so far, this one included */
  int32_t num_epochs;   /* made in this one */
  int32_t num_rows;     /* that were learnt from: the rollout's with valid = 1 */
  double learning_rate; /* of this one */
  double policy_loss, value_loss, entropy;
  double approx_kl;          /* mean((r - 1) - ln r) */
  double clip_fraction;      /* rows with |r - 1| > clip_range */
  double grad_norm;          /* before clipping, mean */
  double explained_variance; /* 1 - var(R - V) / var(R), of the rollout's values; 0 if R does not vary */
  double mean_std;           /* Gaussian: mean of exp(log_std); else 0 */
  double reward_scale;       /* what rewards were divided by; 1 = unscaled */
} drover_ppo_stats;

DROVER_API drover_status drover_ppo_options_init(drover_ppo_options *options, size_t size);

/* A learner for an MLP policy from rollouts of this shape (N, T, observation size); allocates everything that updates
 * need. The policy must outlive it: it cannot be destroyed before. The rollout may end earlier. */
DROVER_API drover_status drover_ppo_create(drover_ppo **out, drover_policy *policy, drover_rollout *rollout,
                                           const drover_ppo_options *options);
/* NULL is accepted. */
DROVER_API drover_status drover_ppo_destroy(drover_ppo *ppo);

/* Take the observations (and rewards, if scale_rewards) of a rollout into the running moments, and give the policy the
 * new version, without learning: to be called once before training, with a rollout of random actions
 * (drover_policy_create_uniform) of the same N and any T. The next rollout is taken to begin with new episodes. A no-op
 * if neither the policy normalises observations nor rewards are scaled. */
DROVER_API drover_status drover_ppo_observe(drover_ppo *ppo, drover_rollout *rollout);

/* One update from what the rollout holds now: advantages, num_epochs x num_minibatches Adam steps, then the moments;
 * the policy gets the new version. To be called once a rollout, which must be of this policy, sampled, and whole: one
 * that was cancelled is refused (DROVER_ERROR_STATE). The caller's thread is one of the workers. stats may be NULL.
 * On an error policy and learner stay as they were: DROVER_ERROR_DIVERGED for a loss, gradient or weight that is not
 * finite, DROVER_ERROR_CANCELLED after drover_runtime_cancel (the same rollout may be given again). */
DROVER_API drover_status drover_ppo_update(drover_ppo *ppo, drover_rollout *rollout, drover_ppo_stats *stats);

/* Everything that the next update depends on besides the policy's weights and the options: optimiser, moments, running
 * returns, counters. *num_bytes is the size needed (bytes may be NULL to ask), or filled in. Loading needs the same
 * network and number of envs, else DROVER_ERROR_FORMAT and nothing is changed. */
DROVER_API drover_status drover_ppo_save(drover_ppo *ppo, void *bytes, size_t *num_bytes);
DROVER_API drover_status drover_ppo_load(drover_ppo *ppo, const void *bytes, size_t num_bytes);

#ifdef __cplusplus
}
#endif
#endif
