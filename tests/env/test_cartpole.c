/* test_cartpole.c: CartPole-v1 against the equations, in long double. */
#include "tests/env/harness.h"

static const double x_limit = 2.4, theta_limit = 12 * 2 * M_PI / 360;

/* Florian 2007, (23) and (24) without friction: pole of mass 0.1 and half length 0.5 on a cart of mass 1; Euler. */
static void reference_step(const double s[4], int action, long double out[4]) {
  const long double g = 9.8L, mass = 1.1L, mass_pole = 0.1L, length = 0.5L, dt = 0.02L;
  const long double force = action == 1 ? 10 : -10, theta = s[2], rate = s[3];
  const long double theta_acc =
      (g * sinl(theta) + cosl(theta) * (-force - mass_pole * length * rate * rate * sinl(theta)) / mass) /
      (length * (4.0L / 3 - mass_pole * cosl(theta) * cosl(theta) / mass));
  const long double x_acc = (force + mass_pole * length * (rate * rate * sinl(theta) - theta_acc * cosl(theta))) / mass;
  out[0] = s[0] + dt * s[1];
  out[1] = s[1] + dt * x_acc;
  out[2] = theta + dt * rate;
  out[3] = rate + dt * theta_acc;
}

Test(cartpole, single_steps_match_the_equations) {
  harness h;
  harness_open(&h, "CartPole-v1", 1);
  uint64_t random = test_seed();
  int ended = 0;
  enum { STEPS = 20000 };
  for (int step = 0; step < STEPS; step++) {
    double *s = harness_state(&h, 0);
    const double limits[4] = {2.6, 4, 0.25, 4};
    for (int j = 0; j < 4; j++) s[j] = test_uniform(&random, -limits[j], limits[j]);
    const int action = (int)(test_random(&random) & 1);
    long double want[4];
    reference_step(s, action, want);
    cr_assert_eq(harness_step_discrete(&h, 0, action), 0);
    for (int j = 0; j < 4; j++) {
      cr_assert(nearly(s[j], (double)want[j]), "step %d field %d: %.17g, not %.17Lg", step, j, s[j], want[j]);
      cr_assert_eq(harness_observation(&h, 0)[j], (float)s[j]);
    }
    cr_assert_eq(h.terminated[0], fabs(s[0]) > x_limit || fabs(s[2]) > theta_limit);
    cr_assert_eq(h.rewards[0], 1.0f);
    cr_assert_eq(h.truncated[0], 0);
    ended += h.terminated[0];
  }
  cr_assert(ended > STEPS / 100 && ended < STEPS * 99 / 100, "%d of %d steps ended", ended, STEPS);
  harness_close(&h);
}

/* With zero velocities the position that is tested is the one that was set. */
static int ends_at(double x, double theta) {
  harness h;
  harness_open(&h, "CartPole-v1", 1);
  double *s = harness_state(&h, 0);
  s[0] = x;
  s[2] = theta;
  cr_assert_eq(harness_step_discrete(&h, 0, 1), 0);
  cr_assert_eq(h.rewards[0], 1.0f);
  const int ended = h.terminated[0];
  harness_close(&h);
  return ended;
}

Test(cartpole, ends_beyond_each_limit_and_not_on_it) {
  cr_assert_eq(ends_at(0, 0), 0);
  for (int sign = -1; sign <= 1; sign += 2) {
    cr_assert_eq(ends_at(sign * x_limit, 0), 0);
    cr_assert_eq(ends_at(sign * nextafter(x_limit, 9), 0), 1);
    cr_assert_eq(ends_at(0, sign * theta_limit), 0);
    cr_assert_eq(ends_at(0, sign * nextafter(theta_limit, 9)), 1);
  }
}

Test(cartpole, resets_are_uniform_around_upright) {
  harness h;
  harness_open(&h, "CartPole-v1", 1);
  for (int field = 0; field < 4; field++) assert_uniform_resets(&h, field, -0.05, 0.05);
  harness_close(&h);
}
