/* test_moments.c: running mean and variance against two passes in long double. */
#include "policy/learn/moments.h"

#include "tests/policy/reference.h"

enum { SIZE = 7, NUM_ROWS = 1000 };

static dr_moments moments;

static void open_moments(void) { cr_assert_eq(dr_moments_init(&moments, SIZE), DROVER_OK); }
static void close_moments(void) { dr_moments_free(&moments); }

TestSuite(moments, .init = open_moments, .fini = close_moments);

static void check_column(const dr_moments *m, int32_t column, const float *rows, const uint8_t *valid, int64_t count,
                         double tolerance) {
  long double mean = 0, squares = 0, taken = 0;
  for (int64_t i = 0; i < count; i++)
    if (!valid || valid[i]) {
      mean += (long double)rows[i * m->size + column];
      taken++;
    }
  mean /= taken;
  for (int64_t i = 0; i < count; i++)
    if (!valid || valid[i]) {
      const long double delta = (long double)rows[i * m->size + column] - mean;
      squares += delta * delta;
    }
  const double std = (double)sqrtl(squares / taken + 1e-8L);
  cr_assert_eq(m->count, (int64_t)taken);
  cr_assert(fabs(m->mean[column] - (double)mean) <= tolerance * (fabs((double)mean) + 1), "mean %.17g, expected %.17g",
            m->mean[column], (double)mean);
  cr_assert(fabs(dr_moments_std(m, column) - std) <= tolerance * std, "std %.17g, expected %.17g",
            dr_moments_std(m, column), std);
}

Test(moments, are_those_of_two_passes) {
  uint64_t random = test_seed();
  float *rows = test_floats(&random, SIZE * NUM_ROWS, 3);
  dr_moments_add(&moments, NUM_ROWS, rows, NULL);
  for (int32_t k = 0; k < SIZE; k++) check_column(&moments, k, rows, NULL, NUM_ROWS, 1e-13);
  free(rows);
}

Test(moments, keep_their_digits_far_from_zero) {
  uint64_t random = test_seed();
  float *rows = test_floats(&random, SIZE * NUM_ROWS, 3);
  for (int32_t i = 0; i < SIZE * NUM_ROWS; i++) rows[i] += 1e6f;
  dr_moments_add(&moments, NUM_ROWS, rows, NULL);
  for (int32_t k = 0; k < SIZE; k++) check_column(&moments, k, rows, NULL, NUM_ROWS, 1e-9);
  free(rows);
}

Test(moments, leave_invalid_rows_out) {
  uint64_t random = test_seed();
  float *rows = test_floats(&random, SIZE * NUM_ROWS, 3);
  uint8_t valid[NUM_ROWS];
  for (int32_t i = 0; i < NUM_ROWS; i++) {
    valid[i] = test_random(&random) % 4 != 0;
    if (!valid[i]) rows[i * SIZE] = 1e30f;
  }
  dr_moments_add(&moments, NUM_ROWS, rows, valid);
  for (int32_t k = 0; k < SIZE; k++) check_column(&moments, k, rows, valid, NUM_ROWS, 1e-13);
  free(rows);
}

Test(moments, do_not_depend_on_how_the_rows_are_cut) {
  uint64_t random = test_seed();
  float *rows = test_floats(&random, SIZE * NUM_ROWS, 3);
  dr_moments other, column;
  cr_assert_eq(dr_moments_init(&other, SIZE), DROVER_OK);
  cr_assert_eq(dr_moments_init(&column, 1), DROVER_OK);
  dr_moments_add(&moments, NUM_ROWS, rows, NULL);
  dr_moments_add(&other, 137, rows, NULL);
  dr_moments_add(&other, NUM_ROWS - 137, rows + (size_t)137 * SIZE, NULL);
  dr_moments by_column;
  cr_assert_eq(dr_moments_init(&by_column, SIZE), DROVER_OK);
  for (int32_t k = 0; k < SIZE; k += 3)
    dr_moments_add_columns(&by_column, k, SIZE - k < 3 ? SIZE - k : 3, NUM_ROWS, rows, NULL);
  cr_assert_eq(by_column.count, 0);
  cr_assert_eq(compare_bytes(by_column.mean, moments.mean, SIZE * sizeof(double)), 0);
  cr_assert_eq(compare_bytes(by_column.squares, moments.squares, SIZE * sizeof(double)), 0);
  dr_moments_free(&by_column);
  for (int32_t i = 0; i < NUM_ROWS; i++) dr_moments_add_one(&column, (double)rows[i * SIZE + 3]);
  cr_assert_eq(other.count, moments.count);
  cr_assert_eq(compare_bytes(other.mean, moments.mean, SIZE * sizeof(double)), 0);
  cr_assert_eq(compare_bytes(other.squares, moments.squares, SIZE * sizeof(double)), 0);
  cr_assert_eq(column.count, NUM_ROWS);
  cr_assert_float_eq(column.mean[0], moments.mean[3], 1e-13);
  cr_assert_float_eq(dr_moments_std(&column, 0), dr_moments_std(&moments, 3), 1e-13);
  dr_moments_copy(&other, &moments);
  cr_assert_eq(compare_bytes(other.mean, moments.mean, SIZE * sizeof(double)), 0);
  dr_moments_free(&other);
  dr_moments_free(&column);
  free(rows);
}

Test(moments, of_nothing_leave_numbers_as_they_are) {
  cr_assert_eq(dr_moments_std(&moments, 0), 1.0);
  cr_assert_eq(moments.mean[0], 0.0);
}
