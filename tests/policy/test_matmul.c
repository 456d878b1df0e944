/* test_matmul.c: oneDNN's tiles: which may be mixed, and that they really agree. */
#include "policy/matmul.h"

#include "tests/policy/reference.h"

static const dr_matmul_shape shapes[] = {
    {506, 512, 506, 512, DROVER_ACTIVATION_RELU, 0.2f},
    {200, 201, 208, 208, DROVER_ACTIVATION_TANH, 0.2f},
    {376, 256, 376, 256, DROVER_ACTIVATION_LEAKY_RELU, 0.1f},
};
enum { NUM_SHAPES = sizeof shapes / sizeof shapes[0] };

Test(matmul, every_tile_of_the_family_gives_a_row_the_same_bits_at_every_position) {
  uint64_t random = test_seed();
  dr_matmul_set *set = NULL;
  cr_assert_eq(dr_matmul_set_create(&set, shapes, NUM_SHAPES), DROVER_OK, "%s", drover_last_error());
  if (!set) cr_skip_test("oneDNN has no suitable kernel on this CPU");
  cr_assert(dr_matmul_set_has_tile(set, 2), "the reference tile of 16 is in every family");
  dr_matmul_runner *runner = NULL;
  cr_assert_eq(dr_matmul_runner_create(&runner, set), DROVER_OK);
  for (int32_t s = 0; s < NUM_SHAPES; s++) {
    const dr_matmul_shape *shape = &shapes[s];
    float *weights = test_floats(&random, (size_t)shape->num_inputs * (size_t)shape->num_outputs, 0.2);
    float *bias = test_floats(&random, (size_t)shape->num_outputs, 1);
    float *x = test_floats(&random, 512 * shape->x_stride, 1), *y = test_floats(&random, 512 * shape->y_stride, 1);
    float *want = calloc(512, shape->y_stride * sizeof *want);
    dr_matmul_weights *packed = NULL;
    cr_assert_eq(dr_matmul_weights_create(&packed, set, s, weights, bias), DROVER_OK);
    for (size_t row = 0; row < 512; row += 16)
      cr_assert_eq(dr_matmul_run(runner, s, 2, packed, x + row * shape->x_stride, want + row * shape->y_stride), 0);
    for (int32_t tile = 0; tile < DR_NUM_TILES; tile++) {
      if (!dr_matmul_set_has_tile(set, tile)) continue;
      cr_assert_gt(dr_matmul_set_seconds(set, s, tile), 0.0);
      const size_t size = (size_t)dr_tile_sizes[tile];
      for (int cut = 0; cut < 20; cut++) {
        const size_t first = test_random(&random) % (512 - size + 1);
        cr_assert_eq(dr_matmul_run(runner, s, tile, packed, x + first * shape->x_stride, y), 0);
        for (size_t row = 0; row < size; row++)
          cr_assert_eq(compare_bytes(y + row * shape->y_stride, want + (first + row) * shape->y_stride,
                                     (size_t)shape->num_outputs * sizeof *y),
                       0, "shape %d, tile of %zu, row %zu at position %zu", s, size, first + row, row);
      }
    }
    dr_matmul_weights_destroy(packed);
    free(weights);
    free(bias);
    free(x);
    free(y);
    free(want);
  }
  dr_matmul_runner_destroy(runner);
  dr_matmul_set_destroy(set);
}

Test(matmul, nothing_is_written_behind_the_outputs_of_a_row) {
  uint64_t random = test_seed();
  dr_matmul_set *set = NULL;
  cr_assert_eq(dr_matmul_set_create(&set, &shapes[1], 1), DROVER_OK);
  if (!set) cr_skip_test("oneDNN has no suitable kernel on this CPU");
  dr_matmul_runner *runner = NULL;
  dr_matmul_weights *packed = NULL;
  float *weights = test_floats(&random, 200 * 201, 0.2), *x = test_floats(&random, 16 * 208, 1), y[17 * 208];
  cr_assert_eq(dr_matmul_runner_create(&runner, set), DROVER_OK);
  cr_assert_eq(dr_matmul_weights_create(&packed, set, 0, weights, weights), DROVER_OK);
  for (int i = 0; i < 17 * 208; i++) y[i] = 777;
  cr_assert_eq(dr_matmul_run(runner, 0, 2, packed, x, y), 0);
  for (int row = 0; row < 17; row++)
    for (int n = row < 16 ? 201 : 0; n < 208; n++) cr_assert_eq(y[row * 208 + n], 777.0f, "row %d column %d", row, n);
  dr_matmul_weights_destroy(packed);
  dr_matmul_runner_destroy(runner);
  dr_matmul_set_destroy(set);
  free(weights);
  free(x);
}

Test(matmul, destroying_nothing_is_accepted) {
  dr_matmul_set_destroy(NULL);
  dr_matmul_weights_destroy(NULL);
  dr_matmul_runner_destroy(NULL);
}
