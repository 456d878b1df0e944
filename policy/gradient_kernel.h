/* gradient_kernel.h: what a backward pass and the optimiser do besides dense layers, for the kernel files only.
 *
 * A gradient block of rows x vectors stays in registers while the rows of a batch run past it, as the sums of a dense
 * layer do (dense_kernel.h). Its order of additions depends on the shape and the rows, on nothing else. */
#ifndef DR_POLICY_GRADIENT_KERNEL_H
#define DR_POLICY_GRADIENT_KERNEL_H

#include "policy/dense_kernel.h"

/* The transpose of weights [num_inputs x num_outputs], packed: the layer that goes back through such a layer. */
static void pack_transposed(int32_t num_inputs, int32_t num_outputs, int32_t first, int32_t end, const float *weights,
                            float *out) {
  const size_t inputs = (size_t)num_inputs, outputs = (size_t)num_outputs;
  if (is_thin(num_outputs)) {
    for (size_t n = 0; n < outputs; n++)
      for (size_t k = (size_t)first; k < (size_t)end; k++) out[n * inputs + k] = weights[k * outputs + n];
    return;
  }
  for (int32_t n = 0; n < num_outputs; n += PANEL) {
    const size_t width = (size_t)panel_vectors(num_outputs, n) * DR_LANES, left = outputs - (size_t)n;
    const size_t used = left < width ? left : width;
    for (size_t k = (size_t)first; k < (size_t)end; k++) {
      float *to = out + (size_t)n * inputs + k * width;
      memcpy(to, weights + k * outputs + (size_t)n, used * sizeof *to);
      for (size_t j = used; j < width; j++) to[j] = 0.0f;
    }
  }
}

/* ---- products ---- */

/* `rows` x `vectors` sums over count rows of a and b; both are constants where this is inlined. Stores the first
 * num_rows of them, added to c unless begin. */
DR_INLINE void outer(const int rows, const int vectors, int32_t num_rows, int32_t count, const float *a,
                     size_t a_stride, const float *b, size_t b_stride, float *c, size_t c_stride, bool begin) {
  dr_floats sum[MAX_BLOCK_ROWS][PANEL_VECTORS];
#pragma GCC unroll 16
  for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) sum[i][v] = splat(0.0f);
  for (int32_t r = 0; r < count; r++, a += a_stride, b += b_stride) {
    dr_floats right[PANEL_VECTORS];
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) right[v] = load(b + v * DR_LANES);
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) {
      const dr_floats left = splat(a[i]);
#pragma GCC unroll 4
      for (int v = 0; v < vectors; v++) sum[i][v] = DR_FMA(left, right[v], sum[i][v]);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < rows; i++) {
    if (i >= num_rows) break;
    float *const to = c + (size_t)i * c_stride;
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) store(to + v * DR_LANES, begin ? sum[i][v] : load(to + v * DR_LANES) + sum[i][v]);
  }
}

#define DR_OUTER(rows, vectors)                                                                                    \
  static __attribute__((noinline)) void outer_##rows##x##vectors(int32_t num_rows, int32_t count, const float *a,  \
                                                                 size_t a_stride, const float *b, size_t b_stride, \
                                                                 float *c, size_t c_stride, bool begin) {          \
    outer(rows, vectors, num_rows, count, a, a_stride, b, b_stride, c, c_stride, begin);                           \
  }                                                                                                                \
  _Static_assert((rows) <= MAX_BLOCK_ROWS, "outer's sums")

/* Rows of a block as in dense_kernel.h, half of them, and one. */
typedef void (*outer_function)(int32_t, int32_t, const float *, size_t, const float *, size_t, float *, size_t, bool);
#if DR_ISA == 512
DR_OUTER(14, 1);
DR_OUTER(12, 2);
DR_OUTER(8, 3);
DR_OUTER(6, 4);
DR_OUTER(7, 1);
DR_OUTER(6, 2);
DR_OUTER(4, 3);
DR_OUTER(3, 4);
DR_OUTER(1, 1);
DR_OUTER(1, 2);
DR_OUTER(1, 3);
DR_OUTER(1, 4);
static const outer_function outers[PANEL_VECTORS] = {outer_14x1, outer_12x2, outer_8x3, outer_6x4};
static const outer_function half_outers[PANEL_VECTORS] = {outer_7x1, outer_6x2, outer_4x3, outer_3x4};
static const outer_function single_outers[PANEL_VECTORS] = {outer_1x1, outer_1x2, outer_1x3, outer_1x4};
#elif DR_ISA == 256
DR_OUTER(12, 1);
DR_OUTER(6, 2);
DR_OUTER(6, 1);
DR_OUTER(3, 2);
DR_OUTER(1, 1);
DR_OUTER(1, 2);
static const outer_function outers[PANEL_VECTORS] = {outer_12x1, outer_6x2};
static const outer_function half_outers[PANEL_VECTORS] = {outer_6x1, outer_3x2};
static const outer_function single_outers[PANEL_VECTORS] = {outer_1x1, outer_1x2};
#else
DR_OUTER(8, 1);
DR_OUTER(6, 2);
DR_OUTER(4, 1);
DR_OUTER(3, 2);
DR_OUTER(1, 1);
DR_OUTER(1, 2);
static const outer_function outers[PANEL_VECTORS] = {outer_8x1, outer_6x2};
static const outer_function half_outers[PANEL_VECTORS] = {outer_4x1, outer_3x2};
static const outer_function single_outers[PANEL_VECTORS] = {outer_1x1, outer_1x2};
#endif

static void add_products(int32_t count, int32_t num_left, const float *a, size_t a_stride, int32_t num_right,
                         const float *b, size_t b_stride, float *c, size_t c_stride, bool begin) {
  for (int32_t n = 0; n < num_right; n += PANEL) {
    const int32_t vectors = panel_vectors(num_right, n), at_once = block_rows[vectors - 1];
    for (int32_t i = 0; i < num_left; i += at_once) {
      const int32_t rows = num_left - i < at_once ? num_left - i : at_once;
      const outer_function run = rows == 1             ? single_outers[vectors - 1]
                                 : rows <= at_once / 2 ? half_outers[vectors - 1]
                                                       : outers[vectors - 1];
      run(rows, count, a + i, a_stride, b + n, b_stride, c + (size_t)i * c_stride + n, c_stride, begin);
    }
  }
}

/* ---- through an activation ---- */

/* d y / d x where y = activation(x), from y. */
DR_INLINE dr_floats slope_at(drover_activation activation, dr_floats leaky_slope, dr_floats y) {
  const dr_floats one = splat(1.0f), zero = splat(0.0f);
  if (activation == DROVER_ACTIVATION_TANH) return one - y * y;
  if (activation == DROVER_ACTIVATION_RELU) return select_float(y > zero, one, zero);
  if (activation == DROVER_ACTIVATION_LEAKY_RELU) return select_float(y > zero, one, leaky_slope);
  if (activation == DROVER_ACTIVATION_ELU) return select_float(y > zero, one, y + one);
  return one;
}

/* One vector of columns: its rows' derivatives through the activation, and their sum. */
DR_INLINE void back_columns(drover_activation activation, float leaky_slope, int32_t count, const float *y, float *d,
                            size_t stride, float *bias_gradient, bool begin) {
  const dr_floats slope = splat(leaky_slope);
  dr_floats sum[2] = {splat(0.0f), splat(0.0f)};
  int32_t r = 0;
  for (; r + 2 <= count; r += 2)
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++, y += stride, d += stride) {
      dr_floats through = load(d);
      if (activation != DROVER_ACTIVATION_IDENTITY) {
        through *= slope_at(activation, slope, load(y));
        store(d, through);
      }
      sum[i] += through;
    }
  if (r < count) {
    dr_floats through = load(d);
    if (activation != DROVER_ACTIVATION_IDENTITY) {
      through *= slope_at(activation, slope, load(y));
      store(d, through);
    }
    sum[0] += through;
  }
  const dr_floats both = sum[0] + sum[1];
  if (bias_gradient) store(bias_gradient, begin ? both : load(bias_gradient) + both);
}

static void back(drover_activation activation, float leaky_slope, int32_t count, int32_t width, const float *y,
                 float *d, size_t stride, float *bias_gradient, bool begin) {
  for (int32_t n = 0; n < width; n += DR_LANES, y += DR_LANES, d += DR_LANES) {
    float *const sums = bias_gradient ? bias_gradient + n : NULL;
#define DR_BACK(name)                                                  \
  case name:                                                           \
    back_columns(name, leaky_slope, count, y, d, stride, sums, begin); \
    break
    switch (activation) {
      DR_BACK(DROVER_ACTIVATION_RELU);
      DR_BACK(DROVER_ACTIVATION_TANH);
      DR_BACK(DROVER_ACTIVATION_ELU);
      DR_BACK(DROVER_ACTIVATION_LEAKY_RELU);
      DR_BACK(DROVER_ACTIVATION_IDENTITY);
    }
#undef DR_BACK
  }
}

/* ---- elementwise ---- */

DR_INLINE dr_floats normal_of(const float *x, const float *mean, const float *std) {
  return at_most(10.0f, at_least(-10.0f, (load(x) - load(mean)) / load(std)));
}

static void normalize(size_t count, size_t period, const float *x, const float *mean, const float *std, float *out) {
  size_t at = 0, i = 0;
  for (; i + DR_LANES <= count; i += DR_LANES, at += DR_LANES) {
    if (at == period) at = 0;
    store(out + i, normal_of(x + i, mean + at, std + at));
  }
  if (i == count) return;
  if (at == period) at = 0;
  float last[DR_LANES] = {0}, normal[DR_LANES];
  memcpy(last, x + i, (count - i) * sizeof *last);
  store(normal, normal_of(last, mean + at, std + at));
  memcpy(out + i, normal, (count - i) * sizeof *out);
}

DR_INLINE void adam_lanes(const dr_adam_rates *rates, const float *gradients, float *first, float *second,
                          float *weights) {
  const dr_floats gradient = splat(rates->scale) * load(gradients);
  const dr_floats m = load(first) + splat(rates->follow1) * (gradient - load(first));
  const dr_floats v = load(second) + splat(rates->follow2) * (gradient * gradient - load(second));
  store(first, m);
  store(second, v);
  const dr_floats root = vector_sqrt(v * splat(rates->second_scale)) + splat(rates->epsilon);
  store(weights, load(weights) - splat(rates->rate) * m / root);
}

static void adam(const dr_adam_rates *rates, size_t count, const float *gradients, float *first, float *second,
                 float *weights) {
  size_t i = 0;
  for (; i + DR_LANES <= count; i += DR_LANES) adam_lanes(rates, gradients + i, first + i, second + i, weights + i);
  if (i == count) return;
  const size_t bytes = (count - i) * sizeof(float);
  float last[4][DR_LANES] = {{0}};
  const float *const from[4] = {gradients + i, first + i, second + i, weights + i};
  for (int part = 0; part < 4; part++) memcpy(last[part], from[part], bytes);
  adam_lanes(rates, last[0], last[1], last[2], last[3]);
  memcpy(first + i, last[1], bytes);
  memcpy(second + i, last[2], bytes);
  memcpy(weights + i, last[3], bytes);
}

/* The sums are two vectors of eight, whatever the compiler makes of them: no order but the lanes' own. */
static void square_sums(size_t count, const float *x, double sums[16]) {
  typedef float floats8 __attribute__((vector_size(32)));
  typedef double doubles8 __attribute__((vector_size(64)));
  doubles8 sum[2] = {{0}, {0}};
  size_t i = 0;
  for (; i + 16 <= count; i += 16)
    for (size_t half = 0; half < 2; half++) {
      floats8 some;
      memcpy(&some, x + i + 8 * half, sizeof some);
      const doubles8 wide = __builtin_convertvector(some, doubles8);
      sum[half] += wide * wide;
    }
  memcpy(sums, sum, sizeof sum);
  for (size_t j = 0; i + j < count; j++) sums[j] += (double)x[i + j] * (double)x[i + j];
}

#endif
