/* test_permutation.c: shuffles are permutations, repeatable, and favour none. */
#include "policy/learn/permutation.h"

#include "tests/policy/reference.h"

static void shuffle(uint64_t seed, int64_t update, int32_t epoch, int32_t *items, int32_t count) {
  for (int32_t i = 0; i < count; i++) items[i] = i;
  dr_permute(seed, update, epoch, items, count);
}

Test(permutation, has_every_item_once) {
  enum { MOST = 5000 };
  static int32_t items[MOST];
  const int32_t counts[] = {1, 2, 3, 1000, MOST};
  for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
    uint8_t seen[MOST] = {0};
    shuffle(9, 3, 1, items, counts[c]);
    for (int32_t i = 0; i < counts[c]; i++) {
      cr_assert(items[i] >= 0 && items[i] < counts[c]);
      cr_assert_eq(seen[items[i]]++, 0);
    }
  }
  shuffle(9, 3, 1, items, 0);
}

Test(permutation, is_a_function_of_seed_update_and_epoch) {
  enum { COUNT = 64 };
  int32_t first[COUNT], other[COUNT];
  shuffle(1, 2, 3, first, COUNT);
  shuffle(1, 2, 3, other, COUNT);
  cr_assert_eq(compare_bytes(first, other, sizeof first), 0);
  const struct {
    uint64_t seed;
    int64_t update;
    int32_t epoch;
  } others[] = {{2, 2, 3}, {1, 3, 3}, {1, 2, 4}, {1, 3, 2}};
  for (size_t i = 0; i < 4; i++) {
    shuffle(others[i].seed, others[i].update, others[i].epoch, other, COUNT);
    cr_assert_neq(compare_bytes(first, other, sizeof first), 0);
  }
}

/* Pearson's chi-square of equally likely cells: about cells - 1, with deviation sqrt(2 (cells - 1)). */
static void check_uniform(const int32_t *counts, int32_t num_cells, int32_t total) {
  const double expected = (double)total / num_cells;
  double chi_square = 0;
  for (int32_t i = 0; i < num_cells; i++)
    chi_square += ((double)counts[i] - expected) * ((double)counts[i] - expected) / expected;
  cr_assert_lt(chi_square, num_cells - 1 + 5 * sqrt(2.0 * (num_cells - 1)));
}

Test(permutation, of_five_is_any_of_the_120_equally_often) {
  enum { TOTAL = 24000 };
  int32_t counts[3125] = {0}, compact[120] = {0}, items[5], num_seen = 0;
  const uint64_t seed = test_seed();
  for (int32_t i = 0; i < TOTAL; i++) {
    shuffle(seed, i / 10, i % 10, items, 5);
    int32_t code = 0;
    for (int32_t k = 0; k < 5; k++) code = code * 5 + items[k];
    counts[code]++;
  }
  for (int32_t i = 0; i < 3125; i++)
    if (counts[i]) {
      cr_assert_lt(num_seen, 120);
      compact[num_seen++] = counts[i];
    }
  cr_assert_eq(num_seen, 120);
  check_uniform(compact, 120, TOTAL);
}

Test(permutation, puts_an_item_anywhere_equally_often) {
  enum { COUNT = 1000, TOTAL = 20000, CELLS = 50 };
  int32_t items[COUNT], first[CELLS] = {0}, last[CELLS] = {0};
  const uint64_t seed = test_seed();
  for (int32_t i = 0; i < TOTAL; i++) {
    shuffle(seed, i, 0, items, COUNT);
    first[items[0] * CELLS / COUNT]++;
    last[items[COUNT - 1] * CELLS / COUNT]++;
  }
  check_uniform(first, CELLS, TOTAL);
  check_uniform(last, CELLS, TOTAL);
}
