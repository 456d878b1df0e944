/* test_inner_replay.c: the replay memory: what is kept, and in which order it is drawn. */
#include "policy/learn/inner.h"

#include "tests/policy/reference.h"
#include "tests/policy/samples.h"

static dr_sample_layout layout;
static dr_replay replay;

/* Samples of one observation, one joint and one action: observation, JtA, b, tau, valid. */
enum { SIZE = 5, CAPACITY = 10 };

static void make_replay(void) {
  cr_assert_eq(dr_sample_layout_init(&layout, SIZE, 1, 1), DROVER_OK);
  cr_assert_eq(dr_replay_init(&replay, &layout, CAPACITY, 3), DROVER_OK);
}

static void end_replay(void) { dr_replay_free(&replay); }

TestSuite(inner_replay, .init = make_replay, .fini = end_replay);

/* Samples numbered first, first + 1, ... in every part. */
static void add(int32_t first, int32_t count, float valid) {
  for (int32_t i = first; i < first + count; i++) {
    const float x = (float)i;
    const float sample[SIZE] = {x, x + 0.1f, x + 0.2f, x + 0.3f, valid};
    dr_replay_add(&replay, 1, sample);
  }
}

static bool holds(int32_t number) {
  for (int64_t place = 0; place < replay.count; place++)
    if (replay.observations[place] == (float)number && replay.samples[place * 4 + 2] == (float)number + 0.3f)
      return true;
  return false;
}

Test(inner_replay, the_layout_follows_from_the_sizes) {
  cr_assert_eq(dr_sample_layout_init(&layout, LEGS_SAMPLE, LEGS_OBSERVATION, LEGS_MUSCLES), DROVER_OK);
  cr_assert_eq(layout.num_joints, LEGS_JOINTS);
  cr_assert_eq(layout.jacobian_at, 30);
  cr_assert_eq(layout.bias_at, 30 + 108);
  cr_assert_eq(layout.torque_at, 30 + 108 + 6);
  cr_assert_eq(layout.valid_at, LEGS_SAMPLE - 1);
}

Test(inner_replay, a_sample_size_that_fits_no_number_of_joints_is_refused) {
  cr_assert_eq(dr_sample_layout_init(&layout, LEGS_SAMPLE + 1, LEGS_OBSERVATION, LEGS_MUSCLES), DROVER_ERROR_ARGUMENT);
  cr_assert_str_eq(drover_last_error(),
                   "inner: sample_size must be 31 + J x 20 for some J >= 1 (an observation of 30, JtA of J x 18, b, "
                   "tau, valid), got 152");
  cr_assert_eq(dr_sample_layout_init(&layout, LEGS_OBSERVATION + 1, LEGS_OBSERVATION, LEGS_MUSCLES),
               DROVER_ERROR_ARGUMENT);
  cr_assert_eq(dr_sample_layout_init(&layout, 0, LEGS_OBSERVATION, LEGS_MUSCLES), DROVER_ERROR_ARGUMENT);
}

Test(inner_replay, the_latest_samples_are_kept) {
  add(0, 7, 1);
  cr_assert_eq(replay.count, 7);
  add(7, 8, 1);
  cr_assert_eq(replay.count, CAPACITY);
  for (int32_t i = 0; i < 15; i++) cr_assert_eq(holds(i), i >= 5, "sample %d", (int)i);
}

Test(inner_replay, invalid_samples_are_left_out) {
  add(0, 3, 1);
  add(3, 3, 0);
  add(6, 1, 1);
  cr_assert_eq(replay.count, 4);
  for (int32_t i = 0; i < 7; i++) cr_assert_eq(holds(i), i < 3 || i == 6, "sample %d", (int)i);
}

Test(inner_replay, an_order_takes_every_sample_once) {
  int32_t places[3 * CAPACITY];
  add(0, CAPACITY, 1);
  dr_replay_draw(&replay, 3 * CAPACITY, places);
  for (int32_t round = 0; round < 3; round++) {
    int32_t seen[CAPACITY] = {0};
    for (int32_t i = 0; i < CAPACITY; i++) seen[places[round * CAPACITY + i]]++;
    for (int32_t i = 0; i < CAPACITY; i++) cr_assert_eq(seen[i], 1);
  }
  cr_assert_neq(compare_bytes(places, places + CAPACITY, CAPACITY * sizeof *places), 0, "the orders differ");
}

Test(inner_replay, draws_do_not_depend_on_how_many_are_taken_at_once) {
  int32_t at_once[25], apart[25];
  add(0, CAPACITY, 1);
  dr_replay_draw(&replay, 25, at_once);
  dr_replay_seek(&replay, 0, CAPACITY);
  for (int32_t i = 0; i < 25; i += 5) dr_replay_draw(&replay, 5, apart + i);
  cr_assert_eq(compare_bytes(at_once, apart, sizeof apart), 0);
}

Test(inner_replay, new_samples_begin_a_new_order) {
  int32_t places[CAPACITY];
  add(0, 6, 1);
  dr_replay_draw(&replay, 2, places);
  add(6, 4, 1);
  dr_replay_draw(&replay, CAPACITY, places);
  int32_t seen[CAPACITY] = {0};
  for (int32_t i = 0; i < CAPACITY; i++) seen[places[i]]++;
  for (int32_t i = 0; i < CAPACITY; i++) cr_assert_eq(seen[i], 1);
}

Test(inner_replay, seeking_gives_the_rest_of_an_order_again) {
  int32_t first[8], again[8];
  add(0, CAPACITY, 1);
  dr_replay_draw(&replay, 6, first);
  const int64_t num_orders = replay.num_orders, position = replay.position;
  dr_replay_draw(&replay, 8, first);
  dr_replay_seek(&replay, num_orders, position);
  dr_replay_draw(&replay, 8, again);
  cr_assert_eq(compare_bytes(first, again, sizeof first), 0);
}

Test(inner_replay, each_sample_is_as_likely_at_every_position) {
  int32_t counts[CAPACITY][CAPACITY] = {0}, places[CAPACITY];
  add(0, CAPACITY, 1);
  enum { ROUNDS = 20000 };
  for (int32_t round = 0; round < ROUNDS; round++) {
    dr_replay_draw(&replay, CAPACITY, places);
    for (int32_t i = 0; i < CAPACITY; i++) counts[i][places[i]]++;
  }
  const double expected = (double)ROUNDS / CAPACITY;
  for (int32_t i = 0; i < CAPACITY; i++)
    for (int32_t j = 0; j < CAPACITY; j++)
      cr_assert_lt(fabs(counts[i][j] - expected), 5 * sqrt(expected), "place %d at position %d: %d times", (int)j,
                   (int)i, (int)counts[i][j]);
}
