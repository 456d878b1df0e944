/* kernels.h: the vector code of inference, one table an instruction set.
 *
 * A row's result is the same bits whatever other rows are in the call: every output adds up its products in an order
 * that depends on the layer's shape alone, and heads treat rows as independent lanes. */
#ifndef DR_POLICY_KERNELS_H
#define DR_POLICY_KERNELS_H

#include <drover/mlp.h>
#include <stdbool.h>

enum {
  DR_WIDTH_MULTIPLE = 16, /* rows of activations are this many floats apart, or a multiple */
  DR_ROWS_MULTIPLE = 16   /* and their buffers have room for a multiple of this many rows */
};

/* The distance in floats between two rows of `width` activations. */
static inline size_t dr_stride(int32_t width) {
  return ((size_t)width + DR_WIDTH_MULTIPLE - 1) / DR_WIDTH_MULTIPLE * DR_WIDTH_MULTIPLE;
}

/* A layer ready to run: y = activation(W x + b). */
typedef struct dr_dense {
  int32_t num_inputs, num_outputs;
  drover_activation activation;
  float leaky_slope;
  const float *weights; /* as dr_kernels.pack left them */
  const float *bias;    /* [dr_stride(num_outputs)], zero beyond num_outputs */
} dr_dense;

/* What a head makes of the network's outputs. */
typedef struct dr_head_rows {
  const drover_policy_rows *rows;
  int32_t first, count; /* which of rows' rows these are */
  int32_t num_outputs;
  size_t stride;            /* floats between two rows of outputs */
  const float *outputs;     /* [count rounded up to DR_ROWS_MULTIPLE x stride]; rows beyond count hold anything */
  const float *std_dev;     /* Gaussian: [num_outputs] */
  const float *inverse_std; /* Gaussian: [num_outputs], 1 / std_dev */
  double logprob_constant;  /* Gaussian: sum of -log_std - log(2 pi) / 2 */
  int32_t noise_hold;       /* Gaussian: noise is that of the counter divided by this; 0 = 1 */
  float *scratch;           /* categorical: [2 x num_outputs x DR_WIDTH_MULTIPLE] */
} dr_head_rows;

/* One step of Adam: m += follow1 (g - m), v += follow2 (g g - v), w -= rate m / (sqrt(v second_scale) + epsilon), with
 * g = scale times the gradient. */
typedef struct dr_adam_rates {
  float scale, follow1, follow2, rate, second_scale, epsilon;
} dr_adam_rates;

typedef struct dr_kernels {
  const char *name; /* "avx512", "avx2", "sse2" */

  /* Floats that `pack` writes for a layer. */
  size_t (*packed_floats)(int32_t num_inputs, int32_t num_outputs);
  /* weights [num_outputs x num_inputs] into the order in which `dense` reads them; out is 64-byte aligned. Only outputs
   * first..end - 1, where first is a multiple of `panel`, and end too unless it is num_outputs. */
  void (*pack)(int32_t num_inputs, int32_t num_outputs, int32_t first, int32_t end, const float *weights, float *out);
  int32_t panel;
  /* x [count x x_stride] -> y [count x y_stride], y_stride a multiple of DR_WIDTH_MULTIPLE; columns of y beyond
   * num_outputs receive anything. */
  void (*dense)(const dr_dense *layer, int32_t count, const float *x, size_t x_stride, float *y, size_t y_stride);

  /* Going back through layers. Strides are multiples of DR_WIDTH_MULTIPLE; a buffer that is read (a, b, d) must be
   * followed by DR_WIDTH_MULTIPLE floats of anything; padding columns may hold anything.
   *
   * pack_transposed: like pack, of the transpose of weights [num_inputs x num_outputs]; only inputs first..end - 1,
   * any. add_products: c [num_left x c_stride] += a^T b, or = if begin, for a [count x a_stride], b [count x b_stride].
   * back: d [count x stride] *= activation'(x) where y = activation(x); bias_gradient [stride] += its column sums, or =
   * if begin, unless it is NULL. Columns do not depend on each other, nor do elements of c. */
  void (*pack_transposed)(int32_t num_inputs, int32_t num_outputs, int32_t first, int32_t end, const float *weights,
                          float *out);
  void (*add_products)(int32_t count, int32_t num_left, const float *a, size_t a_stride, int32_t num_right,
                       const float *b, size_t b_stride, float *c, size_t c_stride, bool begin);
  void (*back)(drover_activation activation, float leaky_slope, int32_t count, int32_t width, const float *y, float *d,
               size_t stride, float *bias_gradient, bool begin);

  /* out = clip((x - mean) / std, -10, 10) of `count` floats in a row; mean and std repeat after `period`, a multiple of
   * DR_WIDTH_MULTIPLE. A number's bits do not depend on its place. out may be x. */
  void (*normalize)(size_t count, size_t period, const float *x, const float *mean, const float *std, float *out);

  void (*adam)(const dr_adam_rates *rates, size_t count, const float *gradients, float *first, float *second,
               float *weights);

  /* Squares of `count` numbers in double: sums[j] of those at j, j + 16, ..., added in this order. */
  void (*square_sums)(size_t count, const float *x, double sums[16]);

  void (*categorical)(const dr_head_rows *head);
  void (*gaussian)(const dr_head_rows *head);
  void (*unit)(const dr_head_rows *head);

  /* Make `count` vectors of `length` doubles (a multiple of 8 apart, zero padded) orthonormal, in order. The same bits
   * on every instruction set. Returns false if they are linearly dependent. */
  bool (*orthonormalise)(int32_t count, size_t length, double *vectors);
} dr_kernels;

/* The table of the best instruction set that this CPU has. */
const dr_kernels *dr_kernels_best(void);

/* The table of that name, or NULL if there is none or this CPU cannot run it. For tests. */
const dr_kernels *dr_kernels_named(const char *name);

extern const dr_kernels dr_kernels_avx512, dr_kernels_avx2, dr_kernels_sse2;

#endif
