/* inner.h: the inner learner: supervised learning of the policy inside the steps, from samples that rollouts kept.
 *
 * A sample (float32, in this order) says what joint torques the inner actions a make at one moment:
 *   observation [O], JtA [J x A] (row-major, N m), b [J] (N m), tau [J] (N m), valid (0 or 1)
 * so that the torques are JtA a + b and tau are the wanted ones; J = (sample_size - O - 1) / (A + 2). Loss:
 *   mean over samples and joints ((JtA a + b - tau) / torque_scale)^2 + effort_coef mean over samples and actions a^2
 * (Lee et al. 2019, "Scalable muscle-actuated human simulation and control", section 4.2), by Adam with each element of
 * the gradient limited to +-grad_limit.
 *
 * The weights after an update are a function of the weights before it, the samples added and their order, the options
 * and the number of steps made; not of the number of workers, nor of how the steps are shared out among updates.
 *
 * If the policy normalises observations, each update begins by setting their mean and deviation to those of all valid
 * samples ever added; those that a trained policy brings count as 2^20 samples. Calls on one learner must not overlap
 * (DROVER_ERROR_STATE if they do), nor be made by a worker (from an env's or a policy's function).
 */
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
  size_t size;                /* set by init */
  int32_t sample_size;        /* float32 a sample, as above: the env's spec.inner_sample_size */
  int64_t capacity;           /* samples kept for replay, the latest ones, 1..2^30; default 65,536 */
  int32_t minibatch;          /* samples an Adam step (fewer while the memory holds fewer), 1..2^20; default 256 */
  double learning_rate;       /* Adam's, > 0; default 1e-4 */
  double final_learning_rate; /* reached linearly after num_decay_steps, and kept; may be 0. Default 1e-4 */
  int64_t num_decay_steps;    /* of the learner's steps, over which the rate goes from one to the other; 0 (default) =
                                 constant */
  double adam_beta1, adam_beta2, adam_epsilon; /* default 0.9, 0.999, 1e-8 */
  double grad_limit;                           /* default 0.5; 0 = off */
  double torque_scale;                         /* N m, > 0; default 100 */
  double effort_coef;                          /* >= 0; default 0.01 */
  uint64_t seed;                               /* of the order of samples */
} drover_inner_options;

typedef struct drover_inner_stats {
  size_t size;         /* set by the caller to sizeof(drover_inner_stats) */
  int64_t num_samples; /* update: in the replay memory; evaluate: valid ones given */
  int64_t num_steps;   /* Adam steps made so far */
  double loss;         /* update: mean over its steps, each before the step; evaluate: of the samples given */
  double torque_loss;  /* its first term */
  double effort_loss;  /* its second, with the factor */
} drover_inner_stats;

/* Defaults; sample_size is left at 0 and must be set. */
DROVER_API drover_status drover_inner_options_init(drover_inner_options *options, size_t size);

/* A learner of `policy`: an MLP with the unit head and without values. The policy must outlive it. Allocates everything
 * that updates need: capacity x sample_size floats, and about seven times the network. */
DROVER_API drover_status drover_inner_create(drover_inner **out, drover_policy *policy,
                                             const drover_inner_options *options);
/* NULL is accepted. */
DROVER_API drover_status drover_inner_destroy(drover_inner *inner);

/* Add samples [count x sample_size] to the replay memory, the first ones first; beyond `capacity` each takes the place
 * of the oldest. Those whose last number (valid) is 0 are left out. Copied. DROVER_ERROR_ARGUMENT, and none is added,
 * if a number in a valid one is not finite. */
DROVER_API drover_status drover_inner_add(drover_inner *inner, int64_t count, const float *samples);

/* Add what a rollout holds, in its order: the steps that were completed. */
DROVER_API drover_status drover_inner_add_rollout(drover_inner *inner, drover_rollout *rollout);

/* `num_steps` Adam steps. Minibatches go through the replay memory in a random order, without repetition until all
 * samples were used, and then in another; adding samples begins a new order. The policy gets the new version at the
 * end. The caller's thread is one of the workers. stats may be NULL. DROVER_ERROR_STATE without samples;
 * DROVER_ERROR_DIVERGED if a loss or a weight is not finite; DROVER_ERROR_CANCELLED. After an error policy and learner
 * are as they were. */
DROVER_API drover_status drover_inner_update(drover_inner *inner, int64_t num_steps, drover_inner_stats *stats);

/* The loss of samples [count x sample_size] under the policy's present weights, and the torques' relative error of
 * each, |JtA a + b - tau| / |tau| ([count], may be NULL; 0 where tau is 0). Samples that are not valid count for
 * nothing and have error 0. The replay memory is not touched. stats may be NULL. */
DROVER_API drover_status drover_inner_evaluate(drover_inner *inner, int64_t count, const float *samples,
                                               drover_inner_stats *stats, float *relative_errors);

/* Everything that the next update depends on besides the policy's weights: optimiser, replay memory, counters.
 * *num_bytes is the size needed (bytes may be NULL to ask), or filled in. Loading needs the same network, sample size
 * and capacity; rates and coefficients are those of the learner that loads. */
DROVER_API drover_status drover_inner_save(drover_inner *inner, void *bytes, size_t *num_bytes);
DROVER_API drover_status drover_inner_load(drover_inner *inner, const void *bytes, size_t num_bytes);

#ifdef __cplusplus
}
#endif
#endif
