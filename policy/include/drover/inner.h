/* inner.h: the inner learner: supervised learning of the policy inside the steps, from samples that rollouts kept.
 *
 * A sample (float32, in this order) says what joint torques the inner actions a make at one moment:
 *   observation [O], JtA [J x A] (row-major), b [J], tau [J], valid
 * so that the torques are JtA a + b and tau are the wanted ones; J = (sample_size - O - 1) / (A + 2). Loss:
 *   mean over samples and joints ((JtA a + b - tau) / torque_scale)^2 + effort_coef mean over samples and actions a^2
 * (Lee et al. 2019, "Scalable muscle-actuated human simulation and control", section 4.2), by Adam with each element of
 * the gradient limited to +-grad_limit. Bits do not depend on the number of workers. */
#ifndef DROVER_INNER_H
#define DROVER_INNER_H

#include <drover/base.h>
#include <drover/mlp.h>
#include <drover/rollout.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct drover_inner drover_inner;

typedef struct drover_inner_options {
  size_t size;                                 /* set by init */
  int32_t sample_size;                         /* float32 a sample, as above: the env's spec.inner_sample_size */
  int64_t capacity;                            /* samples kept for replay, the latest ones; default 65,536 */
  int32_t minibatch;                           /* samples an Adam step; default 256 */
  double learning_rate;                        /* default 1e-4 */
  double adam_beta1, adam_beta2, adam_epsilon; /* default 0.9, 0.999, 1e-8 */
  double grad_limit;                           /* default 0.5; 0 = off */
  double torque_scale;                         /* N m; default 100 */
  double effort_coef;                          /* default 0.01 */
  uint64_t seed;                               /* of the choice of samples */
} drover_inner_options;

typedef struct drover_inner_stats {
  size_t size;         /* set by the caller to sizeof(drover_inner_stats) */
  int64_t num_samples; /* in the replay memory */
  int64_t num_steps;   /* Adam steps made so far */
  double loss;         /* mean over the steps of this update */
  double torque_loss;  /* its first term */
  double effort_loss;  /* its second, with the factor */
} drover_inner_stats;

DROVER_API drover_status drover_inner_options_init(drover_inner_options *options, size_t size);

/* A learner of `policy`: an MLP with the unit head and without values. The policy must outlive it. */
DROVER_API drover_status drover_inner_create(drover_inner **out, drover_policy *policy,
                                             const drover_inner_options *options);
DROVER_API drover_status drover_inner_destroy(drover_inner *inner);

/* Add samples [count x sample_size] to the replay memory; those whose last number (valid) is 0 are left out. Copied. */
DROVER_API drover_status drover_inner_add(drover_inner *inner, int64_t count, const float *samples);

/* Add what a rollout holds, in its order. */
DROVER_API drover_status drover_inner_add_rollout(drover_inner *inner, drover_rollout *rollout);

/* `num_steps` Adam steps on minibatches drawn from the replay memory by a counter-based permutation; the policy gets
 * the new version. The caller's thread is one of the workers. stats may be NULL. DROVER_ERROR_STATE without samples;
 * DROVER_ERROR_DIVERGED if a loss is not finite: policy and learner stay as they were. */
DROVER_API drover_status drover_inner_update(drover_inner *inner, int64_t num_steps, drover_inner_stats *stats);

/* The loss of samples [count x sample_size] under the present weights, and the torques' relative error of each,
 * |JtA a + b - tau| / |tau| ([count], may be NULL; 0 where tau is 0). Valid samples only; others give 0. */
DROVER_API drover_status drover_inner_evaluate(drover_inner *inner, int64_t count, const float *samples,
                                               drover_inner_stats *stats, float *relative_errors);

/* Optimiser, replay memory, counters; as drover_ppo_save and drover_ppo_load. */
DROVER_API drover_status drover_inner_save(drover_inner *inner, void *bytes, size_t *num_bytes);
DROVER_API drover_status drover_inner_load(drover_inner *inner, const void *bytes, size_t num_bytes);

#ifdef __cplusplus
}
#endif
#endif
