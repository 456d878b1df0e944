/* inference.h: a network ready to run: how its layers are computed, its weights versions, and one context a worker.
 *
 * Narrow layers run on our own kernels (kernels.h), which take any number of rows; wide ones on oneDNN (matmul.h) in
 * tiles out of a family that gives every row the same bits. Which of the two a layer uses depends on its shape alone.
 */
#ifndef DR_POLICY_INFERENCE_H
#define DR_POLICY_INFERENCE_H

#include "policy/kernels.h"
#include "policy/matmul.h"
#include "policy/mlp.h"

/* A layer with more weights than this is wide. Below it, the cost of a call of oneDNN (0.5 us) shows; README.md has the
 * figures. */
enum { DR_NARROW_WEIGHTS = 32768 };

/* Immutable once made, shared by all workers. */
typedef struct dr_inference {
  dr_mlp mlp;
  const dr_kernels *kernels;
  dr_matmul_set *wide;                     /* NULL = every layer is narrow */
  int32_t shape[2][DROVER_MLP_MAX_LAYERS]; /* index into `wide`, -1 = narrow */
  bool has_wide[2];                        /* whether a chain has a wide layer, its shared ones among them */
  size_t period;                           /* the least multiple of observation_size that fills whole vectors */
  uint8_t next_tile[DR_MAX_TILE + 1];      /* for this many rows, the tile to begin with */
} dr_inference;

/* One version of the weights: immutable, shared; references are counted by its owner. */
typedef struct dr_weights {
  int64_t references;
  float *flat; /* [mlp.num_weights] as they were given */
  dr_dense dense[2][DROVER_MLP_MAX_LAYERS];
  dr_matmul_weights *wide[2][DROVER_MLP_MAX_LAYERS]; /* NULL where the layer is narrow */
  float *std_dev, *inverse_std;                      /* Gaussian: [num_outputs] */
  double logprob_constant;
  float *mean, *std; /* normalize_observations: [period], repeated; else NULL */
  float *packed;     /* the block behind all of these but flat and wide */
} dr_weights;

typedef struct dr_context dr_context;

/* kernels NULL = the best for this CPU; use_wide false = no oneDNN, for tests and comparisons. */
drover_status dr_inference_create(dr_inference **out, const dr_mlp *mlp, const dr_kernels *kernels, bool use_wide);
void dr_inference_destroy(dr_inference *inference);

/* A version of flat [num_weights], which is copied. Fails with DROVER_ERROR_ARGUMENT naming the first weight that is
 * not finite (or a log_std outside -20..20). references = 1. */
drover_status dr_weights_create(dr_weights **out, const dr_inference *inference, const float *flat);
void dr_weights_destroy(dr_weights *weights);

drover_status dr_context_create(dr_context **out, const dr_inference *inference);
void dr_context_destroy(dr_context *context);

/* Actions, log-probabilities and values of some rows. Allocates nothing, takes no lock, and writes to its context and
 * the rows' outputs only. 0 = success. */
int dr_inference_act(const dr_inference *inference, const dr_weights *weights, dr_context *context,
                     const drover_policy_rows *rows);

/* The value network alone. */
int dr_inference_value(const dr_inference *inference, const dr_weights *weights, dr_context *context, int32_t count,
                       const float *observations, float *values);

/* The row counts it evaluates at once, ascending, for drover_policy_spec; returns how many. Without wide layers any
 * count will do: the list then says which fill the vectors. */
int32_t dr_inference_tiles(const dr_inference *inference, int32_t tiles[8]);

#endif
