/* gradient_memory.h: what a gradient consists of, and where it lies.
 *
 *   block   DR_LOSS_MAX_ROWS rows, or what is left: forward, loss, back, gradient
 *   group   neighbouring blocks, one after the other into one gradient: a chain of the scheduler
 *   unit    what a worker claims of a phase of a block: DR_UNIT_ROWS of its rows, or as large a share of the weights
 *   piece   a part of the gradient whose groups are added, in their order, and written to the flat vector
 *   slab    neighbouring outputs of a layer, whose weights are stepped and packed together
 *
 * How many blocks and groups there are depends on the network and the number of rows. Gradients of a group are padded:
 * a row of a layer's matrix begins at a multiple of DR_WIDTH_MULTIPLE floats. */
#ifndef DR_POLICY_LEARN_GRADIENT_MEMORY_H
#define DR_POLICY_LEARN_GRADIENT_MEMORY_H

#include "policy/kernels.h"
#include "policy/learn/gradient.h"
#include "runtime/run.h"

/* Columns of a piece that are added at once: so many floats behind a gradient's end may be read. */
enum { DR_SUM_COLUMNS = 64 };

enum { DR_UNIT_ROWS = 16, DR_BLOCK_UNITS = DR_LOSS_MAX_ROWS / DR_UNIT_ROWS };

/* Where a layer's gradient is in a group's. Transposed, [num_inputs x outputs' stride], where that has less padding. */
typedef struct dr_layer_gradient {
  size_t at, stride, bias_at;
  bool transposed;
} dr_layer_gradient;

typedef struct dr_gradient_piece {
  size_t from, from_stride; /* in a group's gradient */
  int32_t num_rows, num_columns;
  size_t to, to_row_step, to_column_step; /* in the flat vector */
} dr_gradient_piece;

typedef struct dr_gradient_slab {
  int32_t chain, layer, first, end; /* outputs first..end - 1 */
} dr_gradient_slab;

/* Memory for a block in progress. */
typedef struct dr_gradient_scratch {
  float *x;                           /* [rows x observation stride] */
  float *y[2][DROVER_MLP_MAX_LAYERS]; /* [rows x stride] what each layer gave */
  float *d[2][DROVER_MLP_MAX_LAYERS]; /* the same shape: derivatives by what each layer gave */
  float *d_shared;                    /* of the layer before the last, by the value layer, with shared_values */
  float *outputs, *output_gradients;  /* [rows x num_outputs] */
  float *values, *value_gradients;    /* [rows] */
} dr_gradient_scratch;

/* The distance in floats between two rows of `width` in scratch memory: an odd number of cache lines, so that a column
 * of rows spreads over all sets of the first-level cache. */
static inline size_t dr_row_stride(int32_t width) {
  const size_t stride = dr_stride(width);
  return stride / DR_WIDTH_MULTIPLE % 2 ? stride : stride + DR_WIDTH_MULTIPLE;
}

struct dr_gradient {
  drover_runtime *runtime;
  dr_mlp mlp;
  const dr_kernels *kernels;
  int32_t max_rows, max_groups, num_pieces, num_slabs, num_scratch;
  dr_layer_gradient layers[2][DROVER_MLP_MAX_LAYERS];
  size_t group_floats; /* of one group's gradient */
  float *groups;       /* [max_groups x group_floats] */
  dr_gradient_piece *pieces;
  dr_gradient_slab *slabs;
  double *sums;         /* [max_blocks x DR_MAX_LOSS_SUMS] */
  double *log_std_sums; /* [max_blocks x num_outputs] */
  /* Weights of this pass, packed: layers, and their transposes for going back. */
  dr_dense forward[2][DROVER_MLP_MAX_LAYERS], backward[2][DROVER_MLP_MAX_LAYERS];
  float *packed, *zeros, *mean, *std;
  /* A group has one of num_scratch from its first block to its last; a group in progress has a worker, so that there is
   * always one left. Bit i of scratch_taken: scratch i is some group's. */
  dr_gradient_scratch *scratch;
  dr_gradient_scratch **group_scratch; /* [max_groups] */
  bool *group_whole;                   /* [max_groups] gradient.c's claim.whole */
  float *scratch_floats;
  _Atomic uint32_t scratch_taken;
  dr_run blocks_run, pieces_run, slabs_run;
  /* The present pass. */
  const float *weights, *observations;
  const int32_t *rows;
  int32_t num_rows, num_blocks, num_groups;
  dr_loss loss;
  void *loss_object;
  float *gradients; /* NULL = forward only */
  /* The present step; adam NULL = pack only. */
  const dr_adam *adam;
  const dr_adam_rates *rates;
  const float *step_gradients;
  float *step_weights;
};

/* Lay out and allocate everything that depends on self->mlp, self->max_rows and self->runtime. */
drover_status dr_gradient_allocate(dr_gradient *self);
void dr_gradient_release(dr_gradient *self);

/* gradient_weights.c: what is done weight by weight, in parallel where they are many.
 * Add the groups' gradients into self->gradients. */
drover_status dr_gradient_sum(dr_gradient *self);
/* Pack self->weights. */
drover_status dr_gradient_pack(dr_gradient *self);

#endif
