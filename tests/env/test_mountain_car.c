/* test_mountain_car.c: MountainCar-v0 against the equations, in long double. */
#include "tests/env/harness.h"

/* Sutton and Barto 2018, example 10.1, with the action numbered 0, 1, 2. The left wall is inelastic. */
static void reference_step(const double s[2], int action, long double out[2]) {
  long double velocity = s[1] + 0.001L * (action - 1) - 0.0025L * cosl(3.0L * s[0]);
  velocity = fminl(fmaxl(velocity, -0.07L), 0.07L);
  const long double position = fminl(fmaxl(s[0] + velocity, -1.2L), 0.6L);
  out[0] = position;
  out[1] = position <= -1.2L && velocity < 0 ? 0 : velocity;
}

Test(mountain_car, single_steps_match_the_equations) {
  harness h;
  harness_open(&h, "MountainCar-v0", 1);
  uint64_t random = test_seed();
  int at_goal = 0, at_wall = 0, at_top_speed = 0;
  for (int step = 0; step < 20000; step++) {
    double *s = harness_state(&h, 0);
    s[0] = test_uniform(&random, -1.2, 0.6);
    s[1] = test_uniform(&random, -0.07, 0.07);
    const int action = (int)(test_random(&random) % 3);
    long double want[2];
    reference_step(s, action, want);
    cr_assert_eq(harness_step_discrete(&h, 0, action), 0);
    for (int j = 0; j < 2; j++) {
      cr_assert(nearly(s[j], (double)want[j]), "step %d field %d: %.17g, not %.17Lg", step, j, s[j], want[j]);
      cr_assert_eq(harness_observation(&h, 0)[j], (float)s[j]);
    }
    cr_assert_eq(h.terminated[0], s[0] >= 0.5 && s[1] >= 0);
    cr_assert_eq(h.rewards[0], -1.0f);
    at_goal += h.terminated[0];
    at_wall += s[0] == -1.2 && s[1] == 0;
    at_top_speed += fabs(s[1]) == 0.07;
  }
  cr_assert(at_goal > 100 && at_wall > 100 && at_top_speed > 100);
  harness_close(&h);
}

/* One step from (position, velocity); returns terminated. */
static int step_from(double position, double velocity, int action, double *s) {
  harness h;
  harness_open(&h, "MountainCar-v0", 1);
  harness_state(&h, 0)[0] = position;
  harness_state(&h, 0)[1] = velocity;
  cr_assert_eq(harness_step_discrete(&h, 0, action), 0);
  memcpy(s, harness_state(&h, 0), 2 * sizeof *s);
  const int terminated = h.terminated[0];
  harness_close(&h);
  return terminated;
}

Test(mountain_car, goal_is_reached_on_the_line_and_not_before) {
  /* At 0.07 and pushing right, the speed stays clipped: the position becomes exactly start + 0.07. */
  double start = 0.5 - 0.07, s[2];
  while (start + 0.07 < 0.5) start = nextafter(start, 1);
  while (nextafter(start, 0) + 0.07 >= 0.5) start = nextafter(start, 0);
  cr_assert_eq(step_from(start, 0.07, 2, s), 1);
  cr_assert_eq(s[1], 0.07);
  cr_assert_eq(step_from(nextafter(start, 0), 0.07, 2, s), 0);
  cr_assert_lt(s[0], 0.5);
}

Test(mountain_car, goal_needs_a_velocity_that_is_not_negative) {
  double s[2];
  cr_assert_eq(step_from(0.58, -0.02, 0, s), 0);
  cr_assert(s[0] > 0.5 && s[1] < 0);
  cr_assert_eq(step_from(0.58, 0.05, 2, s), 1);
  cr_assert_eq(s[0], 0.6); /* the right edge clips the position and keeps the velocity */
  cr_assert_gt(s[1], 0);
}

Test(mountain_car, left_wall_stops_the_car) {
  double s[2];
  cr_assert_eq(step_from(-1.19, -0.05, 0, s), 0);
  cr_assert_eq(s[0], -1.2);
  cr_assert_eq(s[1], 0);
  cr_assert_eq(signbit(s[1]), 0);
  step_from(-1.2, 0, 2, s); /* and lets it go again */
  cr_assert(s[0] > -1.2 && s[1] > 0);
}

Test(mountain_car, resets_are_uniform_in_the_valley) {
  harness h;
  harness_open(&h, "MountainCar-v0", 1);
  assert_uniform_resets(&h, 0, -0.6, -0.4);
  cr_assert_eq(harness_state(&h, 0)[1], 0);
  harness_close(&h);
}
