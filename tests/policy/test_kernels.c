/* test_kernels.c: instruction sets, packing, orthonormal vectors. */
#include "policy/kernels.h"

#include "tests/policy/reference.h"

Test(kernels, the_best_table_is_one_of_those_that_this_cpu_can_run) {
  const dr_kernels *best = dr_kernels_best();
  cr_assert_eq(dr_kernels_named(best->name), best);
  cr_assert_not_null(dr_kernels_named("sse2"));
  cr_assert_null(dr_kernels_named("mmx"));
}

static const char *const instruction_sets[] = {"avx512", "avx2", "sse2"};

/* Every number of outputs has panels of other widths; every number of rows other blocks. */
Test(kernels, dense_layers_of_every_width_match_a_double_reference) {
  uint64_t random = test_seed();
  enum { INPUTS = 13, ROWS = 29, WIDEST = 140 };
  float *weights = test_floats(&random, INPUTS * WIDEST, 1), *bias = test_floats(&random, WIDEST + 16, 1);
  float *x = test_floats(&random, ROWS * INPUTS, 1), *y = test_floats(&random, (ROWS + 1) * 160, 1);
  for (int set = 0; set < 3; set++) {
    const dr_kernels *kernels = dr_kernels_named(instruction_sets[set]);
    if (!kernels) continue;
    for (int32_t outputs = 1; outputs <= WIDEST; outputs++) {
      float *packed = aligned_alloc(64, (kernels->packed_floats(INPUTS, outputs) * 4 + 63) / 64 * 64);
      for (int32_t n = 0; n < outputs; n += kernels->panel) { /* in parts, as workers do it */
        const int32_t end = n + kernels->panel < outputs ? n + kernels->panel : outputs;
        kernels->pack(INPUTS, outputs, n, end, weights, packed);
      }
      const dr_dense layer = {INPUTS, outputs, DROVER_ACTIVATION_IDENTITY, 0, packed, bias};
      const size_t stride = dr_stride(outputs);
      for (int32_t rows = 1; rows <= ROWS; rows += outputs % 16 == 3 ? 1 : 7) {
        y[(size_t)rows * stride] = 12345;
        kernels->dense(&layer, rows, x, INPUTS, y, stride);
        cr_assert_eq(y[(size_t)rows * stride], 12345.0f, "wrote behind row %d of %d outputs", rows, outputs);
        for (int32_t r = 0; r < rows; r++)
          for (int32_t n = 0; n < outputs; n++) {
            double want = (double)bias[n];
            for (int k = 0; k < INPUTS; k++) want += (double)x[r * INPUTS + k] * (double)weights[n * INPUTS + k];
            cr_assert(nearly((double)y[(size_t)r * stride + (size_t)n], want),
                      "%s: %d outputs, row %d of %d, output %d", kernels->name, outputs, r, rows, n);
          }
      }
      free(packed);
    }
  }
  free(weights);
  free(bias);
  free(x);
  free(y);
}

Test(kernels, orthonormal_vectors_have_the_same_bits_on_every_instruction_set) {
  uint64_t random = test_seed();
  enum { COUNT = 20, LENGTH = 48 };
  double first[COUNT * LENGTH], vectors[COUNT * LENGTH], raw[COUNT * LENGTH];
  for (int i = 0; i < COUNT * LENGTH; i++) raw[i] = test_uniform(&random, -1, 1);
  bool have_first = false;
  for (int set = 0; set < 3; set++) {
    const dr_kernels *kernels = dr_kernels_named(instruction_sets[set]);
    if (!kernels) continue;
    memcpy(vectors, raw, sizeof vectors);
    cr_assert(kernels->orthonormalise(COUNT, LENGTH, vectors));
    for (int i = 0; i < COUNT; i++)
      for (int j = 0; j <= i; j++) {
        double product = 0;
        for (int k = 0; k < LENGTH; k++) product += vectors[i * LENGTH + k] * vectors[j * LENGTH + k];
        cr_assert_float_eq(product, i == j ? 1 : 0, 1e-13);
      }
    if (have_first) cr_assert_eq(compare_bytes(first, vectors, sizeof first), 0, "%s", kernels->name);
    memcpy(first, vectors, sizeof first);
    have_first = true;
  }
}

Test(kernels, dependent_vectors_are_refused) {
  double vectors[3 * 8] = {1, 2, 3, 4, 5, 6, 7, 8, 2, 4, 6, 8, 10, 12, 14, 16, 0};
  cr_assert_not(dr_kernels_best()->orthonormalise(2, 8, vectors));
}

Test(kernels, a_layer_packed_transposed_is_the_transpose) {
  uint64_t random = test_seed();
  enum { ROWS = 9, WIDEST = 70 };
  float *weights = test_floats(&random, WIDEST * WIDEST, 1), *x = test_floats(&random, ROWS * WIDEST, 1);
  static const float zeros[WIDEST + 32];
  static float y[ROWS * 80];
  for (int set = 0; set < 3; set++) {
    const dr_kernels *kernels = dr_kernels_named(instruction_sets[set]);
    for (int32_t in = 1; kernels && in <= WIDEST; in += 6)
      for (int32_t out = 1; out <= WIDEST; out++) {
        float *packed = aligned_alloc(64, (kernels->packed_floats(in, out) * 4 + 63) / 64 * 64);
        kernels->pack_transposed(in, out, 0, in / 3, weights, packed);
        kernels->pack_transposed(in, out, in / 3, in, weights, packed);
        const dr_dense layer = {in, out, DROVER_ACTIVATION_IDENTITY, 0, packed, zeros};
        kernels->dense(&layer, ROWS, x, WIDEST, y, 80);
        for (int32_t r = 0; r < ROWS; r++)
          for (int32_t n = 0; n < out; n++) {
            double want = 0;
            for (int32_t k = 0; k < in; k++) want += (double)x[r * WIDEST + k] * (double)weights[k * out + n];
            cr_assert(nearly((double)y[r * 80 + n], want), "%s: %d x %d", kernels->name, in, out);
          }
        free(packed);
      }
  }
  free(weights);
  free(x);
}

Test(kernels, products_of_every_shape_match_a_double_reference_and_touch_no_other_row) {
  uint64_t random = test_seed();
  enum { STRIDE = 144, ROWS = 5 };
  float *a = test_floats(&random, ROWS * STRIDE + 16, 1), *b = test_floats(&random, ROWS * STRIDE + 16, 1);
  static float c[41 * STRIDE], before[41 * STRIDE];
  for (int set = 0; set < 3; set++) {
    const dr_kernels *kernels = dr_kernels_named(instruction_sets[set]);
    for (int32_t left = 1; kernels && left <= 40; left++)
      for (int32_t right = 1; right <= 140; right += left % 7 == 0 ? 1 : 11)
        for (int begin = 0; begin < 2; begin++) {
          for (size_t i = 0; i < sizeof c / sizeof *c; i++) before[i] = c[i] = (float)test_uniform(&random, -1, 1);
          kernels->add_products(ROWS, left, a, STRIDE, right, b, STRIDE, c, STRIDE, begin);
          for (int32_t i = 0; i < left; i++)
            for (int32_t j = 0; j < right; j++) {
              double want = begin ? 0 : (double)before[i * STRIDE + j];
              for (int r = 0; r < ROWS; r++) want += (double)a[r * STRIDE + i] * (double)b[r * STRIDE + j];
              cr_assert(nearly((double)c[i * STRIDE + j], want), "%s: %d x %d, begin %d", kernels->name, left, right,
                        begin);
            }
          cr_assert_eq(compare_bytes(c + left * STRIDE, before + left * STRIDE, STRIDE * sizeof *c), 0,
                       "wrote behind row %d", left);
        }
  }
  free(a);
  free(b);
}

Test(kernels, going_back_through_an_activation_matches_its_derivative) {
  uint64_t random = test_seed();
  enum { STRIDE = 48, ROWS = 7, WIDTH = 37 };
  for (int set = 0; set < 3; set++) {
    const dr_kernels *kernels = dr_kernels_named(instruction_sets[set]);
    for (int activation = 0; kernels && activation <= DROVER_ACTIVATION_IDENTITY; activation++)
      for (int32_t rows = 1; rows <= ROWS; rows++) {
        float y[ROWS * STRIDE + 16], d[ROWS * STRIDE + 16], before[ROWS * STRIDE + 16], bias[STRIDE],
            bias_before[STRIDE];
        double x[ROWS * STRIDE];
        for (int i = 0; i < ROWS * STRIDE; i++) {
          x[i] = test_uniform(&random, -2, 2);
          y[i] = (float)reference_activation((drover_activation)activation, 0.3, x[i]);
          before[i] = d[i] = (float)test_uniform(&random, -1, 1);
        }
        for (int j = 0; j < STRIDE; j++) bias_before[j] = bias[j] = (float)test_uniform(&random, -1, 1);
        const bool begin = rows % 2 == 0;
        kernels->back((drover_activation)activation, 0.3f, rows, WIDTH, y, d, STRIDE, bias, begin);
        for (int j = 0; j < WIDTH; j++) {
          double sum = begin ? 0 : (double)bias_before[j];
          for (int r = 0; r < rows; r++) {
            const int at = r * STRIDE + j;
            const double step = 1e-6, slope = (reference_activation((drover_activation)activation, 0.3, x[at] + step) -
                                               reference_activation((drover_activation)activation, 0.3, x[at] - step)) /
                                              (2 * step);
            cr_assert(nearly((double)d[at], (double)before[at] * slope), "%s: activation %d", kernels->name,
                      activation);
            sum += (double)before[at] * slope;
          }
          cr_assert(nearly((double)bias[j], sum), "%s: activation %d, column %d", kernels->name, activation, j);
        }
      }
  }
}

/* Division and subtraction are exact to the last bit everywhere, so this is an equality. */
Test(kernels, normal_observations_have_the_bits_of_float_arithmetic_at_any_place) {
  uint64_t random = test_seed();
  enum { PERIOD = 48, MOST = 150 };
  float *x = test_floats(&random, MOST + 16, 30), *mean = test_floats(&random, PERIOD, 1), std[PERIOD];
  for (int i = 0; i < PERIOD; i++) std[i] = (float)test_uniform(&random, 0.1, 4);
  x[7] = NAN;
  for (int set = 0; set < 3; set++) {
    const dr_kernels *kernels = dr_kernels_named(instruction_sets[set]);
    for (size_t count = 0; kernels && count <= MOST; count++) {
      float out[MOST + 1];
      out[count] = 12345;
      kernels->normalize(count, PERIOD, x, mean, std, out);
      cr_assert_eq(out[count], 12345.0f, "wrote behind %zu numbers", count);
      for (size_t i = 0; i < count; i++) {
        const float z = (x[i] - mean[i % PERIOD]) / std[i % PERIOD];
        const float want = z < -10 ? -10 : z > 10 ? 10 : z;
        cr_assert(i == 7 ? isnan(out[i]) : out[i] == want, "%s: number %zu of %zu", kernels->name, i, count);
      }
    }
  }
  free(x);
  free(mean);
}
