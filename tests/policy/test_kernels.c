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
      kernels->pack(INPUTS, outputs, weights, packed);
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
