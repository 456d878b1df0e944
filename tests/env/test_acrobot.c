/* test_acrobot.c: Acrobot-v1 against the equations of motion, solved as a 2 x 2 system in long double. */
#include "tests/env/harness.h"

/* Sutton and Barto 1998, figure 11.4, angles from hanging down: d1 a1 + d2 a2 = -phi1 and
 * d2 a1 + (m lc^2 + I) a2 = torque - m l lc v1^2 sin t2 - phi2, by Cramer's rule. Links: m = l = I = 1, lc = 0.5. */
static void accelerations(const long double s[4], long double torque, long double out[4]) {
  const long double g = 9.8L, sin2 = sinl(s[1]), cos2 = cosl(s[1]), v1 = s[2], v2 = s[3];
  const long double d1 = 0.25L + (1 + 0.25L + cos2) + 2, d2 = 0.25L + 0.5L * cos2 + 1, d3 = 0.25L + 1;
  const long double phi2 = 0.5L * g * sinl(s[0] + s[1]);
  const long double phi1 = -0.5L * v2 * v2 * sin2 - v2 * v1 * sin2 + 1.5L * g * sinl(s[0]) + phi2;
  const long double right1 = -phi1, right2 = torque - 0.5L * v1 * v1 * sin2 - phi2;
  const long double determinant = d1 * d3 - d2 * d2;
  out[0] = v1;
  out[1] = v2;
  out[2] = (right1 * d3 - d2 * right2) / determinant;
  out[3] = (d1 * right2 - d2 * right1) / determinant;
}

/* One classical Runge-Kutta step of 0.2 s, by its Butcher tableau. */
static void reference_step(const double start[4], int action, long double out[4]) {
  static const long double nodes[4] = {0, 0.5L, 0.5L, 1}, weights[4] = {1 / 6.0L, 1 / 3.0L, 1 / 3.0L, 1 / 6.0L};
  long double slope[4] = {0}, sum[4] = {0};
  for (int stage = 0; stage < 4; stage++) {
    long double s[4];
    for (int j = 0; j < 4; j++) s[j] = start[j] + 0.2L * nodes[stage] * slope[j];
    accelerations(s, action - 1, slope);
    for (int j = 0; j < 4; j++) sum[j] += weights[stage] * slope[j];
  }
  for (int j = 0; j < 4; j++) out[j] = start[j] + 0.2L * sum[j];
  for (int j = 0; j < 2; j++) out[j] -= 2 * (long double)M_PI * roundl(out[j] / (2 * (long double)M_PI));
  out[2] = fminl(fmaxl(out[2], -4 * (long double)M_PI), 4 * (long double)M_PI);
  out[3] = fminl(fmaxl(out[3], -9 * (long double)M_PI), 9 * (long double)M_PI);
}

/* A difference of angles, without whole turns: at the seam both ends of the range are right. */
static double turned(double difference) { return remainder(difference, 2 * M_PI); }

/* Steps from states with speeds up to `fast` of the limits, to `tolerance`, absolute plus relative. */
static void compare_steps(double fast, double tolerance, int *up, int *at_top_speed, int *wrapped) {
  harness h;
  harness_open(&h, "Acrobot-v1", 1);
  uint64_t random = test_seed();
  *up = *at_top_speed = *wrapped = 0;
  for (int step = 0; step < 20000; step++) {
    double *s = harness_state(&h, 0);
    const double limits[4] = {M_PI, M_PI, 4 * M_PI, 9 * M_PI};
    for (int j = 0; j < 4; j++) s[j] = test_uniform(&random, -limits[j], limits[j]) * (j < 2 ? 1 : fast);
    const double before = s[0];
    const int action = (int)(test_random(&random) % 3);
    long double want[4];
    reference_step(s, action, want);
    cr_assert_eq(harness_step_discrete(&h, 0, action), 0);
    for (int j = 0; j < 4; j++) {
      const double off = j < 2 ? turned(s[j] - (double)want[j]) : s[j] - (double)want[j];
      cr_assert_leq(fabs(off), tolerance + tolerance * fabs((double)want[j]), "step %d field %d: %.17g, not %.17Lg",
                    step, j, s[j], want[j]);
      cr_assert_leq(fabs(s[j]), limits[j]);
    }
    const float *observation = harness_observation(&h, 0);
    const double seen[6] = {cos(s[0]), sin(s[0]), cos(s[1]), sin(s[1]), s[2], s[3]};
    for (int j = 0; j < 6; j++) cr_assert_float_eq(observation[j], (float)seen[j], 1e-7);
    const double height = -cos(s[0]) - cos(s[0] + s[1]);
    if (fabs(height - 1) > 1e-9) cr_assert_eq(h.terminated[0], height > 1);
    cr_assert_eq(h.rewards[0], h.terminated[0] ? 0.0f : -1.0f);
    *up += h.terminated[0];
    *at_top_speed += fabs(s[2]) == limits[2] || fabs(s[3]) == limits[3];
    *wrapped += fabs(s[0] - before) > M_PI;
  }
  harness_close(&h);
}

Test(acrobot, single_steps_match_the_equations) {
  int up, at_top_speed, wrapped;
  compare_steps(0.5, 1e-12, &up, &at_top_speed, &wrapped);
  cr_assert(up > 100 && wrapped > 100, "%d %d", up, wrapped);
}

/* So fast that the method is out of its depth: a stage's rounding error is amplified a thousandfold by the next, in
 * Gymnasium's double arithmetic as in ours (2 million such steps were up to 1.1e-11 from long double). */
Test(acrobot, single_steps_match_up_to_the_speed_limits) {
  int up, at_top_speed, wrapped;
  compare_steps(1, 1e-9, &up, &at_top_speed, &wrapped);
  cr_assert(up > 100 && at_top_speed > 100 && wrapped > 100, "%d %d %d", up, at_top_speed, wrapped);
}

Test(acrobot, height_of_exactly_one_is_not_enough) {
  harness h;
  harness_open(&h, "Acrobot-v1", 1);
  /* Hanging straight down without torque is an equilibrium (but for sin(pi/2 - pi/2) = 6e-17): height -2. */
  harness_step_discrete(&h, 0, 1);
  cr_assert_eq(h.terminated[0], 0);
  cr_assert_eq(h.rewards[0], -1.0f);
  double *s = harness_state(&h, 0);
  s[0] = M_PI; /* upright and at rest: height 2 */
  s[1] = s[2] = s[3] = 0;
  harness_step_discrete(&h, 0, 1);
  cr_assert_eq(h.terminated[0], 1);
  cr_assert_eq(h.rewards[0], 0.0f);
  harness_close(&h);
}

Test(acrobot, resets_are_uniform_and_float32) {
  harness h;
  harness_open(&h, "Acrobot-v1", 1);
  const double edge = (double)0.1f; /* rounding can reach it */
  for (int field = 0; field < 4; field++) {
    assert_uniform_resets(&h, field, -edge, edge);
    const double x = harness_state(&h, 0)[field];
    cr_assert_eq(x, (double)(float)x);
  }
  harness_close(&h);
}

Test(acrobot, a_state_far_outside_ends_in_finite_time) {
  harness h;
  harness_open(&h, "Acrobot-v1", 1);
  const double damaged[] = {1e300, INFINITY, NAN, -1e18};
  for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
    for (int j = 0; j < 4; j++) harness_state(&h, 0)[j] = damaged[i];
    harness_step_discrete(&h, 0, 2); /* the runtime looks at the observation */
  }
  harness_close(&h);
}
