/* inner.h: the inside of an inner learner: its replay memory, its loss, its optimiser. */
#ifndef DR_POLICY_LEARN_INNER_H
#define DR_POLICY_LEARN_INNER_H

#include <drover/inner.h>

#include "policy/learn/adam.h"
#include "policy/learn/gradient.h"
#include "policy/learn/learner.h"
#include "policy/learn/moments.h"
#include "policy/mlp_policy.h"

enum {
  DR_MAX_INNER_ACTIONS = 4096, /* of a policy that can be learnt: bounds stack memory */
  DR_EVALUATE_ROWS = 1024      /* most samples one pass of an evaluation takes */
};

/* Where the numbers of a sample lie, in floats. */
typedef struct dr_sample_layout {
  int32_t observation_size, num_actions, num_joints;
  size_t jacobian_at, bias_at, torque_at, valid_at; /* JtA, b, tau, valid */
  size_t size;
} dr_sample_layout;

/* The latest `capacity` samples, and an order in which they are drawn. count > 0: position 0..count says how many of
 * the present order were drawn; order [count] is a permutation of the samples' places while position < count. */
typedef struct dr_replay {
  dr_sample_layout layout;
  int64_t capacity;
  float *observations; /* [capacity x observation_size] */
  float *samples;      /* [capacity x (size - observation_size)]: what follows the observation */
  int64_t count;
  int64_t next; /* the place that is written next */
  uint64_t seed;
  int64_t num_orders; /* begun so far; the present order is a function of (seed, num_orders, count) */
  int64_t position;
  int32_t *order; /* [capacity] */
} dr_replay;

/* sample_size against an observation of O and an action of A numbers. */
drover_status dr_sample_layout_init(dr_sample_layout *layout, int32_t sample_size, int32_t observation_size,
                                    int32_t num_actions);

drover_status dr_replay_init(dr_replay *replay, const dr_sample_layout *layout, int64_t capacity, uint64_t seed);
void dr_replay_free(dr_replay *replay);

/* Valid ones of samples [count x layout.size], which must be finite. */
void dr_replay_add(dr_replay *replay, int64_t count, const float *samples);

/* The places of the next `count` samples, 1 .. replay->count of them. */
void dr_replay_draw(dr_replay *replay, int32_t count, int32_t *places);

/* Go back, or forward, to a place in an order. */
void dr_replay_seek(dr_replay *replay, int64_t num_orders, int64_t position);

/* What dr_inner_loss works on: the numbers of row i begin at samples + i * stride - offset. */
typedef struct dr_inner_target {
  const dr_sample_layout *layout;
  const float *samples;
  size_t stride, offset; /* offset: how many of the sample's first numbers are kept elsewhere */
  double torque_scale, effort_coef;
  double num_rows;        /* what the sums are to be divided by, for the gradient */
  float *relative_errors; /* out, by sample; or NULL */
} dr_inner_target;

enum { DR_SUM_TORQUE = 0, DR_SUM_EFFORT = 1 }; /* of the losses of samples, as dr_inner_loss adds them up */

/* A dr_loss; object is a dr_inner_target. The outputs go through the unit head's sigmoid. */
int dr_inner_loss(void *object, const dr_loss_block *block);

struct drover_inner {
  dr_learner learner;
  dr_mlp_policy *self; /* the learner's policy */
  drover_inner_options options;
  dr_sample_layout layout;
  size_t num_weights, num_trainable; /* of the network */
  dr_gradient *gradient;
  dr_adam adam; /* adam.num_steps counts the learner's steps */
  dr_replay replay;
  dr_moments observations;    /* of all valid samples that were ever added; no columns unless the policy normalises */
  float *weights, *gradients; /* [num_weights] of an update in progress */
  float *first_before, *second_before; /* [num_trainable] the moments that an update began with */
  int32_t *rows;                       /* [max(minibatch, DR_EVALUATE_ROWS)] */
  float *gathered;                     /* [DR_EVALUATE_ROWS x observation_size] of an evaluation */
};

/* Sums of what the steps, or the samples, lost. */
typedef struct dr_inner_losses {
  double torque, effort;
} dr_inner_losses;

/* inner_update.c: num_steps steps; after an error everything is as before. There must be samples. */
drover_status dr_inner_learn(drover_inner *inner, int64_t num_steps, dr_inner_losses *losses);

/* The sums over the valid ones among samples [count x layout.size], under the policy's present weights. */
drover_status dr_inner_evaluate(drover_inner *inner, int64_t count, const float *samples, float *relative_errors,
                                int64_t *num_valid, dr_inner_losses *losses);

/* inner_save.c: the checks of a public call's handle are the caller's. */
drover_status dr_inner_save(const drover_inner *inner, unsigned char *bytes, size_t *num_bytes);
drover_status dr_inner_load(drover_inner *inner, const unsigned char *bytes, size_t num_bytes);

#endif
