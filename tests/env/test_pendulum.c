/* test_pendulum.c: Pendulum-v1 against the equations, in long double. */
#include "tests/env/harness.h"

/* m l^2 / 3 theta'' = m g l / 2 sin theta + u with m = l = 1, g = 10; speed first, then angle (semi-implicit Euler).
 * Gymnasium's 3 u and 0.001 u^2 are float32 products. Returns the reward, of the state before the step. */
static long double reference_step(const double s[2], float action, long double out[2]) {
  const float u = fminf(fmaxf(action, -2.0f), 2.0f);
  const long double turn = 2 * (long double)M_PI; /* Gymnasium's pi is the double one */
  long double angle = fmodl(s[0] + (long double)M_PI, turn);
  if (angle < 0) angle += turn;
  angle -= (long double)M_PI;
  const float effort = 0.001f * (u * u);
  const long double cost = angle * angle + 0.1L * s[1] * s[1] + effort;
  const long double speed = s[1] + 0.05L * (15.0L * sinl(s[0]) + 3.0f * u);
  out[1] = fminl(fmaxl(speed, -8), 8);
  out[0] = s[0] + 0.05L * out[1];
  return -cost;
}

static void compare_steps(double angles) {
  harness h;
  harness_open(&h, "Pendulum-v1", 1);
  uint64_t random = test_seed();
  int at_top_speed = 0;
  for (int step = 0; step < 20000; step++) {
    double *s = harness_state(&h, 0);
    s[0] = test_uniform(&random, -angles, angles);
    s[1] = test_uniform(&random, -8, 8);
    const float action = (float)test_uniform(&random, -3, 3);
    long double want[2];
    const long double reward = reference_step(s, action, want);
    cr_assert_eq(harness_step_continuous(&h, 0, action), 0);
    for (int j = 0; j < 2; j++)
      cr_assert(nearly(s[j], (double)want[j]), "step %d field %d: %.17g, not %.17Lg", step, j, s[j], want[j]);
    const float *observation = harness_observation(&h, 0);
    cr_assert_float_eq(observation[0], (float)cos(s[0]), 1e-7);
    cr_assert_float_eq(observation[1], (float)sin(s[0]), 1e-7);
    cr_assert_eq(observation[2], (float)s[1]);
    cr_assert_float_eq(h.rewards[0], (float)reward, 2e-6);
    cr_assert_eq(h.terminated[0] | h.truncated[0], 0);
    at_top_speed += fabs(s[1]) == 8;
  }
  cr_assert_gt(at_top_speed, 100);
  harness_close(&h);
}

Test(pendulum, single_steps_match_the_equations) { compare_steps(M_PI); }

Test(pendulum, single_steps_match_after_many_turns) { compare_steps(1000); }

Test(pendulum, reward_angle_is_the_one_of_a_floored_modulo) {
  harness h;
  harness_open(&h, "Pendulum-v1", 1);
  uint64_t random = test_seed();
  for (int step = 0; step < 20000; step++) {
    /* On a turn's boundary or a few ulp beside it, where a quotient rounds to a whole number. */
    double theta = (2 * (double)(test_random(&random) % 2001) - 2001) * M_PI;
    const int ulps = (int)(test_random(&random) % 5) - 2;
    for (int k = 0; k < abs(ulps); k++) theta = nextafter(theta, ulps < 0 ? -INFINITY : INFINITY);
    double angle = fmod(theta + M_PI, 2 * M_PI); /* Python's %: fmod, then into the divisor's sign */
    if (angle < 0) angle += 2 * M_PI;
    angle -= M_PI;
    harness_state(&h, 0)[0] = theta;
    harness_state(&h, 0)[1] = 0;
    harness_step_continuous(&h, 0, 0);
    cr_assert_eq(h.rewards[0], (float)-(angle * angle), "theta %.17g", theta);
  }
  harness_close(&h);
}

Test(pendulum, torque_is_clipped) {
  harness h;
  harness_open(&h, "Pendulum-v1", 2);
  for (int sign = -1; sign <= 1; sign += 2) {
    for (int env = 0; env < 2; env++) harness_reset(&h, env, 3);
    memcpy(harness_state(&h, 1), harness_state(&h, 0), h.spec.state_size);
    harness_step_continuous(&h, 0, (float)sign * 2.0f);
    harness_step_continuous(&h, 1, (float)sign * INFINITY);
    cr_assert_arr_eq(harness_state(&h, 0), harness_state(&h, 1), h.spec.state_size);
    cr_assert_eq(h.rewards[0], h.rewards[1]);
  }
  harness_close(&h);
}

Test(pendulum, a_nan_action_shows_in_the_observation) {
  harness h;
  harness_open(&h, "Pendulum-v1", 1);
  harness_reset(&h, 0, 0);
  cr_assert_eq(harness_step_continuous(&h, 0, NAN), 0);
  for (int j = 0; j < 3; j++) cr_assert(isnan(harness_observation(&h, 0)[j]));
  harness_close(&h);
}

Test(pendulum, resets_are_uniform_over_the_circle) {
  harness h;
  harness_open(&h, "Pendulum-v1", 1);
  assert_uniform_resets(&h, 0, -M_PI, M_PI);
  assert_uniform_resets(&h, 1, -1, 1);
  harness_close(&h);
}
