/* gradient_memory.h: what a gradient consists of, and where it lies.
 *
 *   block   DR_LOSS_MAX_ROWS rows, or what is left: forward, loss and backward at once, in a worker's scratch memory
 *   group   neighbouring blocks, one after the other into one gradient: what a worker takes
 *   piece   a part of the gradient whose groups are added, in their order, and written to the flat vector
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

/* One worker's memory for a block. */
typedef struct dr_gradient_scratch {
  float *x;                           /* [rows x observation stride] */
  float *y[2][DROVER_MLP_MAX_LAYERS]; /* [rows x stride] what each layer gave */
  float *d[2];                        /* [rows x widest stride] derivatives; a layer reads one, writes the other */
  float *d_shared;                    /* [rows x stride] by the value layer, with shared_values */
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
  int32_t max_rows, max_groups, num_pieces;
  dr_layer_gradient layers[2][DROVER_MLP_MAX_LAYERS];
  size_t group_floats; /* of one group's gradient */
  float *groups;       /* [max_groups x group_floats] */
  dr_gradient_piece *pieces;
  double *sums;         /* [max_blocks x DR_MAX_LOSS_SUMS] */
  double *log_std_sums; /* [max_blocks x num_outputs] */
  /* Weights of this pass, packed: layers, and their transposes for going back. */
  dr_dense forward[2][DROVER_MLP_MAX_LAYERS], backward[2][DROVER_MLP_MAX_LAYERS];
  float *packed, *zeros, *mean, *std;
  dr_gradient_scratch *scratch; /* [num_workers] */
  float *scratch_floats;
  dr_run blocks_run, pieces_run;
  /* The present pass. */
  const float *weights, *observations;
  const int32_t *rows;
  int32_t num_rows, num_blocks, num_groups;
  dr_loss loss;
  void *loss_object;
  float *gradients; /* NULL = forward only */
};

/* Lay out and allocate everything that depends on self->mlp, self->max_rows and self->runtime. */
drover_status dr_gradient_allocate(dr_gradient *self);
void dr_gradient_release(dr_gradient *self);

#endif
