/* gradient.h: forward and backward passes of an MLP over many rows, and the optimiser's step, spread over the workers.
 *
 * The rows of a pass are cut into blocks of a fixed size. A block gathers its rows, runs both chains forward, asks the
 * loss for the derivatives of the outputs, runs them back, and adds the gradient of its weights to that of its group;
 * the groups' gradients are then added in one fixed order. So the sum's bits depend on the rows and not on the workers,
 * and a pass forks once, not once a layer. Where there are more workers than groups, several share a block: forward and
 * back by rows, the gradient by weights, which changes no sum. */
#ifndef DR_POLICY_LEARN_GRADIENT_H
#define DR_POLICY_LEARN_GRADIENT_H

#include <drover/runtime.h>

#include "policy/learn/adam.h"
#include "policy/mlp.h"

enum {
  DR_MAX_LOSS_SUMS = 16,
  DR_LOSS_MAX_ROWS = 128 /* most rows of a block */
};

/* One block, in the hands of a loss. Row i of the block is row rows[i] of the caller's arrays. */
typedef struct dr_loss_block {
  int32_t index;           /* of the block in this pass, in the order of its rows */
  int32_t num_rows;        /* 1..DR_LOSS_MAX_ROWS */
  const int32_t *rows;     /* [num_rows] */
  const float *outputs;    /* [num_rows x num_outputs] of the policy's last layer, before the head */
  const float *values;     /* [num_rows], or NULL without a value network */
  const float *log_std;    /* [num_outputs], or NULL */
  float *output_gradients; /* out, like outputs: d loss / d output, summed losses (divide by the row count yourself) */
  float *value_gradients;  /* out, like values */
  double *log_std_gradients; /* [num_outputs], zero before; add to it; or NULL */
  double *sums; /* [DR_MAX_LOSS_SUMS], zero before; add to it: whatever the caller wants summed over rows */
} dr_loss_block;

/* Called by several workers at once, each for a block of its own. 0 = success. */
typedef int (*dr_loss)(void *object, const dr_loss_block *block);

typedef struct dr_gradient dr_gradient;

/* Memory and kernels for passes of at most max_rows rows (1 or more). */
drover_status dr_gradient_create(dr_gradient **out, drover_runtime *runtime, const dr_mlp *mlp, int32_t max_rows);
void dr_gradient_destroy(dr_gradient *self);

/* One pass over `num_rows` rows of observations [any x observation_size], chosen by `rows` [num_rows]. weights and
 * gradients: [mlp->num_weights]; gradients of mean and std (normalize_observations) are 0. sums [DR_MAX_LOSS_SUMS]:
 * over all blocks, in order. weights NULL: those of the pass before, as dr_gradient_step left them; they are packed
 * then. gradients NULL: forward and loss only. Allocates nothing.
 *
 * The caller's thread is one of the workers: call it between dr_runtime_begin_call and dr_runtime_end_call, one pass of
 * a gradient at a time. A pass is not cancelled. Numbers that are not finite are no error here: they come out in sums
 * and gradients, where dr_gradient_norm shows them. */
drover_status dr_gradient_pass(dr_gradient *self, const float *weights, const float *observations, int32_t num_rows,
                               const int32_t *rows, dr_loss loss, void *object, float *gradients, double *sums);

/* A step of Adam on `weights`, those of the last pass, after which they are packed for the next one. The same bits as
 * dr_adam_step's. To be called where passes are. */
drover_status dr_gradient_step(dr_gradient *self, dr_adam *adam, double rate, double scale, const float *gradients,
                               float *weights);

#endif
