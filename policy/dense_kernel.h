/* dense_kernel.h: one dense layer on any number of rows, for the kernel files only.
 *
 * Layers of one to four outputs (most heads, every value) are inner products along k: their weights stay as they are.
 *
 * For the others, packed weights: panels of up to PANEL neighbouring outputs; within a panel the weights of input 0,
 * then of input 1,
 * ... each a run of whole vectors (zeros beyond the last output). A block of rows times a panel stays in registers
 * while k runs; where the inputs are many, k runs in pieces whose weights fit the first-level cache, and the sums rest
 * in y between pieces, which rounds nothing. So each output is one chain of multiply-adds in ascending k, whatever the
 * rows around it. */
#ifndef DR_POLICY_DENSE_KERNEL_H
#define DR_POLICY_DENSE_KERNEL_H

#include "policy/kernels.h"
#include "policy/simd.h"

enum {
  PANEL_VECTORS = DR_ISA == 512 ? 4 : 2,
  PANEL = PANEL_VECTORS * DR_LANES,
  MAX_BLOCK_ROWS = 14,
  PIECE = 32 * 1024 / (PANEL * 4), /* inputs whose weights of one panel take 32 KB */
  ROWS_AT_ONCE = 96                /* rows whose activations stay near while all panels pass over them */
};

/* A layer with so few outputs that panels would leave most lanes idle. */
DR_INLINE bool is_thin(int32_t num_outputs) { return num_outputs <= 4; }

static size_t packed_floats(int32_t num_inputs, int32_t num_outputs) {
  if (is_thin(num_outputs)) return (size_t)num_inputs * (size_t)num_outputs;
  const size_t vectors = ((size_t)num_outputs + DR_LANES - 1) / DR_LANES;
  return vectors * DR_LANES * (size_t)num_inputs;
}

/* Vectors in the panel that begins at output n. */
DR_INLINE int32_t panel_vectors(int32_t num_outputs, int32_t n) {
  const int32_t vectors = (num_outputs - n + DR_LANES - 1) / DR_LANES;
  return vectors < PANEL_VECTORS ? vectors : PANEL_VECTORS;
}

DR_INLINE void pack_one(int32_t num_inputs, int32_t num_rows, int32_t width, const float *weights, float *out,
                        int32_t j, int32_t k) {
  out[(size_t)k * (size_t)width + (size_t)j] =
      j < num_rows ? weights[(size_t)j * (size_t)num_inputs + (size_t)k] : 0.0f;
}

/* A panel, from rows of weights to runs of one input's: squares of 4 x 4, a cache line of four rows at a time. */
static void pack_panel(int32_t num_inputs, int32_t num_rows, int32_t width, const float *weights, float *out) {
  const int32_t whole_rows = num_rows / 4 * 4, whole_inputs = num_inputs / 4 * 4;
  const size_t inputs = (size_t)num_inputs, stride = (size_t)width;
  for (int32_t line = 0; line < whole_inputs; line += 16)
    for (int32_t j = 0; j < whole_rows; j += 4)
      for (int32_t k = line; k < whole_inputs && k < line + 16; k += 4) {
        const float *from = weights + (size_t)j * inputs + (size_t)k;
        float *to = out + (size_t)k * stride + (size_t)j;
        __m128 a = _mm_loadu_ps(from), b = _mm_loadu_ps(from + inputs), c = _mm_loadu_ps(from + 2 * inputs),
               d = _mm_loadu_ps(from + 3 * inputs);
        _MM_TRANSPOSE4_PS(a, b, c, d);
        _mm_storeu_ps(to, a);
        _mm_storeu_ps(to + stride, b);
        _mm_storeu_ps(to + 2 * stride, c);
        _mm_storeu_ps(to + 3 * stride, d);
      }
  for (int32_t k = 0; k < num_inputs; k++)
    for (int32_t j = k < whole_inputs ? whole_rows : 0; j < width; j++)
      pack_one(num_inputs, num_rows, width, weights, out, j, k);
}

static void pack(int32_t num_inputs, int32_t num_outputs, int32_t first, int32_t end, const float *weights,
                 float *out) {
  const size_t inputs = (size_t)num_inputs;
  if (is_thin(num_outputs)) {
    memcpy(out + (size_t)first * inputs, weights + (size_t)first * inputs,
           (size_t)(end - first) * inputs * sizeof *out);
    return;
  }
  for (int32_t n = first; n < end; n += PANEL) {
    const int32_t width = panel_vectors(num_outputs, n) * DR_LANES, left = num_outputs - n;
    pack_panel(num_inputs, left < width ? left : width, width, weights + (size_t)n * inputs, out + (size_t)n * inputs);
  }
}

/* What a block call does besides multiplying. */
typedef struct piece {
  const float *weights;
  const float *bias; /* begin with the bias; NULL = go on from what y holds */
  int32_t num_inputs;
  drover_activation activation; /* applied when storing: relu, leaky relu, else nothing */
  float leaky_slope;
} piece;

/* `rows` x `vectors` accumulators; both are constants where this is inlined. Rows beyond count repeat the last one:
 * they compute and store the same bits again. */
DR_INLINE void block(const int rows, const int vectors, const piece *p, int32_t count, const float *x, size_t x_stride,
                     float *y, size_t y_stride) {
  dr_floats sum[MAX_BLOCK_ROWS][PANEL_VECTORS];
  const float *from[MAX_BLOCK_ROWS];
  float *to[MAX_BLOCK_ROWS];
#pragma GCC unroll 16
  for (int r = 0; r < rows; r++) {
    const size_t row = (size_t)(r < count ? r : count - 1);
    from[r] = x + row * x_stride;
    to[r] = y + row * y_stride;
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) sum[r][v] = load(p->bias ? p->bias + v * DR_LANES : to[r] + v * DR_LANES);
  }
  const float *weights = p->weights;
  const int32_t num_inputs = p->num_inputs;
  for (int32_t k = 0; k < num_inputs; k++, weights += vectors * DR_LANES) {
    dr_floats weight[PANEL_VECTORS];
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) weight[v] = load(weights + v * DR_LANES);
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
      const dr_floats input = splat(from[r][k]);
#pragma GCC unroll 4
      for (int v = 0; v < vectors; v++) sum[r][v] = DR_FMA(input, weight[v], sum[r][v]);
    }
  }
  const bool relu = p->activation == DROVER_ACTIVATION_RELU, leaky = p->activation == DROVER_ACTIVATION_LEAKY_RELU;
  const dr_floats slope = splat(p->leaky_slope);
#pragma GCC unroll 16
  for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) {
      dr_floats out = sum[r][v];
      if (relu) out = at_least(0.0f, out);
      if (leaky) out = DR_MM(max_ps)(out * slope, out);
      store(to[r] + v * DR_LANES, out);
    }
}

#define DR_BLOCK(rows, vectors)                                                                                 \
  static __attribute__((noinline)) void block_##rows##x##vectors(const piece *p, int32_t count, const float *x, \
                                                                 size_t x_stride, float *y, size_t y_stride) {  \
    block(rows, vectors, p, count, x, x_stride, y, y_stride);                                                   \
  }

/* How many rows a block takes, for panels of 1, 2, ... vectors: as many as the registers hold, or half of them where
 * fewer rows are left. */
typedef void (*block_function)(const piece *, int32_t, const float *, size_t, float *, size_t);
#if DR_ISA == 512
DR_BLOCK(14, 1)
DR_BLOCK(12, 2)
DR_BLOCK(8, 3)
DR_BLOCK(6, 4)
DR_BLOCK(7, 1)
DR_BLOCK(6, 2) DR_BLOCK(4, 3) DR_BLOCK(3, 4) static const int32_t block_rows[PANEL_VECTORS] = {14, 12, 8, 6};
static const block_function blocks[PANEL_VECTORS] = {block_14x1, block_12x2, block_8x3, block_6x4};
static const block_function half_blocks[PANEL_VECTORS] = {block_7x1, block_6x2, block_4x3, block_3x4};
#elif DR_ISA == 256
DR_BLOCK(12, 1) DR_BLOCK(6, 2) DR_BLOCK(6, 1) DR_BLOCK(3, 2) static const int32_t block_rows[PANEL_VECTORS] = {12, 6};
static const block_function blocks[PANEL_VECTORS] = {block_12x1, block_6x2};
static const block_function half_blocks[PANEL_VECTORS] = {block_6x1, block_3x2};
#else
DR_BLOCK(8, 1) DR_BLOCK(6, 2) DR_BLOCK(4, 1) DR_BLOCK(3, 2) static const int32_t block_rows[PANEL_VECTORS] = {8, 6};
static const block_function blocks[PANEL_VECTORS] = {block_8x1, block_6x2};
static const block_function half_blocks[PANEL_VECTORS] = {block_4x1, block_3x2};
#endif

/* One activation over whole rows [count x y_stride] that were just written, while they are near. */
DR_INLINE void activate_rows(drover_activation activation, const dr_dense *layer, int32_t count, float *y,
                             size_t y_stride) {
  const dr_floats slope = splat(layer->leaky_slope);
  float *const end = y + (size_t)count * y_stride;
  for (; y < end; y += DR_LANES) {
    dr_floats x = load(y);
    if (activation == DROVER_ACTIVATION_RELU) x = at_least(0.0f, x);
    if (activation == DROVER_ACTIVATION_TANH) x = vector_tanh(x);
    if (activation == DROVER_ACTIVATION_ELU) x = select_float(x > splat(0.0f), x, vector_expm1(x));
    if (activation == DROVER_ACTIVATION_LEAKY_RELU) x = DR_MM(max_ps)(x * slope, x);
    store(y, x);
  }
}

static void activate(const dr_dense *layer, int32_t count, float *y, size_t y_stride) {
  switch (layer->activation) {
    case DROVER_ACTIVATION_RELU:
      activate_rows(DROVER_ACTIVATION_RELU, layer, count, y, y_stride);
      break;
    case DROVER_ACTIVATION_TANH:
      activate_rows(DROVER_ACTIVATION_TANH, layer, count, y, y_stride);
      break;
    case DROVER_ACTIVATION_ELU:
      activate_rows(DROVER_ACTIVATION_ELU, layer, count, y, y_stride);
      break;
    case DROVER_ACTIVATION_LEAKY_RELU:
      activate_rows(DROVER_ACTIVATION_LEAKY_RELU, layer, count, y, y_stride);
      break;
    case DROVER_ACTIVATION_IDENTITY:
      break;
  }
}

/* `outputs` inner products a row, each DR_LANES partial sums, then their sum: the same order for every row. */
DR_INLINE void inner_products(const int outputs, const dr_dense *layer, int32_t count, const float *x, size_t x_stride,
                              float *y, size_t y_stride) {
  const size_t num_inputs = (size_t)layer->num_inputs, whole = num_inputs / DR_LANES * DR_LANES;
  float last[4][DR_LANES] = {{0}}; /* the weights of the inputs behind the last whole vector */
  for (int n = 0; n < outputs; n++)
    memcpy(last[n], layer->weights + (size_t)n * num_inputs + whole, (num_inputs - whole) * sizeof(float));
  for (int32_t r = 0; r < count; r++, x += x_stride, y += y_stride) {
    dr_floats sum[4] = {splat(0.0f), splat(0.0f), splat(0.0f), splat(0.0f)};
    for (size_t k = 0; k < whole; k += DR_LANES) {
      const dr_floats input = load(x + k);
#pragma GCC unroll 4
      for (int n = 0; n < outputs; n++)
        sum[n] = DR_FMA(input, load(layer->weights + (size_t)n * num_inputs + k), sum[n]);
    }
    if (whole < num_inputs) {
      float inputs[DR_LANES] = {0};
      for (size_t k = whole; k < num_inputs; k++) inputs[k - whole] = x[k];
#pragma GCC unroll 4
      for (int n = 0; n < outputs; n++) sum[n] = DR_FMA(load(inputs), load(last[n]), sum[n]);
    }
#pragma GCC unroll 4
    for (int n = 0; n < outputs; n++) y[n] = sum_lanes(sum[n]) + layer->bias[n];
  }
}

static void thin(const dr_dense *layer, int32_t count, const float *x, size_t x_stride, float *y, size_t y_stride) {
  if (layer->num_outputs == 1) inner_products(1, layer, count, x, x_stride, y, y_stride);
  if (layer->num_outputs == 2) inner_products(2, layer, count, x, x_stride, y, y_stride);
  if (layer->num_outputs == 3) inner_products(3, layer, count, x, x_stride, y, y_stride);
  if (layer->num_outputs == 4) inner_products(4, layer, count, x, x_stride, y, y_stride);
  activate(layer, count, y, y_stride);
}

static void dense(const dr_dense *layer, int32_t count, const float *x, size_t x_stride, float *y, size_t y_stride) {
  if (is_thin(layer->num_outputs)) {
    thin(layer, count, x, x_stride, y, y_stride);
    return;
  }
  const bool separate = layer->activation == DROVER_ACTIVATION_TANH || layer->activation == DROVER_ACTIVATION_ELU;
  for (int32_t first = 0; first < count; first += ROWS_AT_ONCE) {
    const int32_t rows = count - first < ROWS_AT_ONCE ? count - first : ROWS_AT_ONCE;
    const float *rows_x = x + (size_t)first * x_stride;
    float *rows_y = y + (size_t)first * y_stride;
    for (int32_t n = 0; n < layer->num_outputs; n += PANEL) {
      const int32_t vectors = panel_vectors(layer->num_outputs, n), at_once = block_rows[vectors - 1];
      for (int32_t k = 0; k < layer->num_inputs; k += PIECE) {
        const int32_t left = layer->num_inputs - k;
        const piece p = {
            .weights = layer->weights + (size_t)n * (size_t)layer->num_inputs + (size_t)(k * vectors * DR_LANES),
            .bias = k == 0 ? layer->bias + n : NULL,
            .num_inputs = left < PIECE ? left : PIECE,
            .activation = left <= PIECE ? layer->activation : DROVER_ACTIVATION_IDENTITY,
            .leaky_slope = layer->leaky_slope,
        };
        for (int32_t r = 0; r < rows; r += at_once) {
          const int32_t some = rows - r < at_once ? rows - r : at_once;
          const block_function run = some <= at_once / 2 ? half_blocks[vectors - 1] : blocks[vectors - 1];
          run(&p, some, rows_x + (size_t)r * x_stride + k, x_stride, rows_y + (size_t)r * y_stride + n, y_stride);
        }
      }
    }
    if (separate) activate(layer, rows, rows_y, y_stride);
  }
}

/* Eight partial sums, added up in one fixed order: the same bits for every vector width. */
typedef double eight_doubles __attribute__((vector_size(64), aligned(8)));

static double inner_product(size_t length, const double *a, const double *b) {
  eight_doubles sum = {0};
  for (size_t i = 0; i < length; i += 8) sum += *(const eight_doubles *)(a + i) * *(const eight_doubles *)(b + i);
  return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

/* Modified Gram-Schmidt (Golub and Van Loan, Matrix Computations, algorithm 5.2.6). */
static bool orthonormalise(int32_t count, size_t length, double *vectors) {
  for (int32_t i = 0; i < count; i++) {
    double *unit_vector = vectors + (size_t)i * length;
    const double square = inner_product(length, unit_vector, unit_vector);
    if (!(square > 1e-24)) return false;
    const double scale = 1.0 / __builtin_sqrt(square);
    for (size_t j = 0; j < length; j++) unit_vector[j] *= scale;
    for (int32_t later = i + 1; later < count; later++) {
      double *vector = vectors + (size_t)later * length;
      const double along = inner_product(length, unit_vector, vector);
      for (size_t j = 0; j < length; j += 8)
        *(eight_doubles *)(vector + j) -= along * *(const eight_doubles *)(unit_vector + j);
    }
  }
  return true;
}

#endif
