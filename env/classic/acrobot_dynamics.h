/* acrobot_dynamics.h: one step of Acrobot-v1 for DR_LANES envs.
 *
 * Equations: R. S. Sutton and A. G. Barto, "Reinforcement learning: an introduction", 1998, section 11.3 (figure 11.4),
 * after M. W. Spong, "Swing up control of the acrobot", ICRA 1994; one classical Runge-Kutta step of 0.2 s. Constants,
 * the "book" form of the equations and the order of operations are those of Gymnasium's AcrobotEnv. */
#include <drover/env.h>

#include "env/classic/lanes.h"

/* Both links have mass 1, length 1, centre of mass at 0.5 and moment of inertia 1; products with 1 are left out. */
#define ACROBOT_CENTRE    0.5
#define ACROBOT_GRAVITY   9.8
#define ACROBOT_DT        0.2 /* seconds a step */
#define ACROBOT_MAX_VEL_1 (4 * M_PI)
#define ACROBOT_MAX_VEL_2 (9 * M_PI)
#define ACROBOT_MAX_TURNS 1000

/* The time derivative of s = theta1, theta2, theta1_dot, theta2_dot under a torque on the second joint. */
static inline void acrobot_derivative(const lanes s[4], lanes torque, lanes out[4]) {
  lanes sin2, cos2, cos1, cos12, unused;
  lanes_sincos(s[1], &sin2, &cos2);
  lanes_sincos(s[0] - M_PI / 2.0, &unused, &cos1);
  lanes_sincos(s[0] + s[1] - M_PI / 2.0, &unused, &cos12);

  const double centre2 = ACROBOT_CENTRE * ACROBOT_CENTRE;
  const lanes d1 = centre2 + (1.0 + centre2 + 2.0 * ACROBOT_CENTRE * cos2) + 1.0 + 1.0;
  const lanes d2 = (centre2 + ACROBOT_CENTRE * cos2) + 1.0;
  const lanes phi2 = ACROBOT_CENTRE * ACROBOT_GRAVITY * cos12;
  const lanes phi1 = -ACROBOT_CENTRE * (s[3] * s[3]) * sin2 - 2.0 * ACROBOT_CENTRE * s[3] * s[2] * sin2 +
                     (ACROBOT_CENTRE + 1.0) * ACROBOT_GRAVITY * cos1 + phi2;
  out[0] = s[2];
  out[1] = s[3];
  out[3] = (torque + d2 / d1 * phi1 - ACROBOT_CENTRE * (s[2] * s[2]) * sin2 - phi2) / (centre2 + 1.0 - d2 * d2 / d1);
  out[2] = -(d2 * out[3] + phi1) / d1;
}

/* s becomes the state ACROBOT_DT later: a table of the fourth-order Runge-Kutta method. */
static inline void acrobot_advance(lanes s[4], lanes torque) {
  lanes k1[4], k2[4], k3[4], k4[4], probe[4];
  acrobot_derivative(s, torque, k1);
  for (int j = 0; j < 4; j++) probe[j] = s[j] + ACROBOT_DT / 2.0 * k1[j];
  acrobot_derivative(probe, torque, k2);
  for (int j = 0; j < 4; j++) probe[j] = s[j] + ACROBOT_DT / 2.0 * k2[j];
  acrobot_derivative(probe, torque, k3);
  for (int j = 0; j < 4; j++) probe[j] = s[j] + ACROBOT_DT * k3[j];
  acrobot_derivative(probe, torque, k4);
  for (int j = 0; j < 4; j++) s[j] = s[j] + ACROBOT_DT / 6.0 * (k1[j] + 2.0 * k2[j] + 2.0 * k3[j] + k4[j]);
}

/* Whole turns off until -pi <= x <= pi. A step from a state within the speed limits needs very few; the bound keeps a
 * state that is not (loaded from a damaged file, say) from turning for ever. */
static inline lanes acrobot_wrap(lanes x) {
  const lanes pi = lanes_splat(M_PI);
  for (int turn = 0; turn < ACROBOT_MAX_TURNS; turn++) {
    const lanes_mask above = lanes_greater(x, pi), below = lanes_less(x, -pi);
    if (!lanes_bits(lanes_either(above, below))) break;
    x = lanes_select(above, x - 2.0 * M_PI, lanes_select(below, x + 2.0 * M_PI, x));
  }
  return x;
}

/* The observation of DR_LANES envs; returns which of them have their tip above the line. */
static inline lanes_mask acrobot_observe(const lanes s[4], float *observations) {
  lanes sin1, cos1, sin2, cos2, unused, cos12;
  lanes_sincos(s[0], &sin1, &cos1);
  lanes_sincos(s[1], &sin2, &cos2);
  lanes_sincos(s[1] + s[0], &unused, &cos12);
  const lanes columns[6] = {cos1, sin1, cos2, sin2, s[2], s[3]};
  for (int j = 0; j < 6; j++) lanes_store_column(observations, 6, j, columns[j]);
  return lanes_greater(-cos1 - cos12, lanes_splat(1.0));
}

/* State records: theta1, theta2, theta1_dot, theta2_dot. Row `row` of `rows` belongs to the first record; actions are
 * 0, 1 or 2. */
static inline void acrobot_block(double *states, const drover_env_rows *rows, int32_t row) {
  lanes s[4];
  lanes_load4(states, s);
  acrobot_advance(s, lanes_from_ints((const int32_t *)rows->actions + row) - 1.0);
  s[0] = acrobot_wrap(s[0]);
  s[1] = acrobot_wrap(s[1]);
  s[2] = lanes_clip(s[2], -ACROBOT_MAX_VEL_1, ACROBOT_MAX_VEL_1);
  s[3] = lanes_clip(s[3], -ACROBOT_MAX_VEL_2, ACROBOT_MAX_VEL_2);

  lanes_store4(states, s);
  const lanes_mask up = acrobot_observe(s, rows->observations + 6 * (size_t)row);
  lanes_to_floats(rows->rewards + row, lanes_select(up, lanes_splat(0.0), lanes_splat(-1.0)));
  lanes_store_flags(rows->terminated + row, up);
}
