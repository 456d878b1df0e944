/* matmul.h: wide layers by oneDNN: one primitive a layer shape and tile size, shared by all workers.
 *
 * oneDNN may round a row differently in batches of different size, so the sizes are probed when the set is made: only
 * those that give every row, at every position, the bits of a tile of 16 are kept. */
#ifndef DR_POLICY_MATMUL_H
#define DR_POLICY_MATMUL_H

#include <drover/mlp.h>
#include <stdbool.h>

enum { DR_NUM_TILES = 7, DR_MAX_TILE = 256 };

/* Ascending: 4, 8, 16, 32, 64, 128, 256. */
extern const int32_t dr_tile_sizes[DR_NUM_TILES];

/* Layers of the same shape share primitives. */
typedef struct dr_matmul_shape {
  int32_t num_inputs, num_outputs;
  size_t x_stride, y_stride; /* floats between two rows */
  drover_activation activation;
  float leaky_slope;
} dr_matmul_shape;

typedef struct dr_matmul_set dr_matmul_set;         /* the primitives; immutable, shared */
typedef struct dr_matmul_runner dr_matmul_runner;   /* one worker's stream and memory objects */
typedef struct dr_matmul_weights dr_matmul_weights; /* one layer's packed weights; immutable, shared */

/* *out becomes NULL, with DROVER_OK, where oneDNN has no kernel on this CPU whose rows can be relied on for every
 * shape: the caller's own kernels must do. Takes about 10 ms a shape. */
drover_status dr_matmul_set_create(dr_matmul_set **out, const dr_matmul_shape *shapes, int32_t num_shapes);
void dr_matmul_set_destroy(dr_matmul_set *set);

/* Whether tile size dr_tile_sizes[tile] may be used with every shape. */
bool dr_matmul_set_has_tile(const dr_matmul_set *set, int32_t tile);

/* What one call took when probed, the fastest of some. */
double dr_matmul_set_seconds(const dr_matmul_set *set, int32_t shape, int32_t tile);

/* Reorder weights [num_outputs x num_inputs] and bias [num_outputs] once for all tiles. Any thread, one at a time. */
drover_status dr_matmul_weights_create(dr_matmul_weights **out, const dr_matmul_set *set, int32_t shape,
                                       const float *weights, const float *bias);
void dr_matmul_weights_destroy(dr_matmul_weights *weights);

drover_status dr_matmul_runner_create(dr_matmul_runner **out, const dr_matmul_set *set);
void dr_matmul_runner_destroy(dr_matmul_runner *runner);

/* y = activation(W x + b) for dr_tile_sizes[tile] rows. Allocates nothing, takes no lock. 0 = success. */
int dr_matmul_run(dr_matmul_runner *runner, int32_t shape, int32_t tile, const dr_matmul_weights *weights,
                  const float *x, float *y);

#endif
