/* pendulum_dynamics.h: one step of Pendulum-v1 for DR_LANES envs.
 *
 * Equations: the torque-driven rigid pendulum of unit mass and length (moment m l^2 / 3 about its pivot), semi-implicit
 * Euler steps; constants, the cost and the order of operations are those of Gymnasium's PendulumEnv (g = 10). NumPy 2
 * computes what involves only the float32 action in float32: so do we (lanes_narrow). */
#include <drover/env.h>

#include "env/classic/lanes.h"

#define PENDULUM_MAX_SPEED  8.0
#define PENDULUM_MAX_TORQUE 2.0
#define PENDULUM_DT         0.05 /* seconds a step */
#define PENDULUM_GRAVITY    10.0

/* Rounded to float32, as NumPy's float32 operation would be (a product of two float32 is exact in double). */
static inline lanes pendulum_float32(lanes x) { return lanes_widen(lanes_narrow(x)); }

/* ((x + pi) mod 2 pi) - pi with Python's floored mod, whose bits one fused multiply-add gives as long as the quotient
 * is exact too (|x| < 10^15). Where x / 2 pi rounds up to a whole number the result lies just beside -pi instead of pi:
 * only its square is used. */
static inline lanes pendulum_normalize(lanes x) {
  const lanes turn = lanes_splat(2.0 * M_PI);
  x = x + M_PI;
  return lanes_fma(-lanes_floor(x / turn), turn, x) - M_PI;
}

/* The observation of DR_LANES envs: cos theta, sin theta, theta_dot. */
static inline void pendulum_observe(lanes theta, lanes theta_dot, float *observations) {
  lanes sine, cosine;
  lanes_sincos(theta, &sine, &cosine);
  lanes_store_column(observations, 3, 0, cosine);
  lanes_store_column(observations, 3, 1, sine);
  lanes_store_column(observations, 3, 2, theta_dot);
}

/* State records: theta, theta_dot. Row `row` of `rows` belongs to the first record; torques are clipped. */
static inline void pendulum_block(double *states, const drover_env_rows *rows, int32_t row) {
  lanes s[2];
  lanes_load2(states, s);
  const lanes theta = s[0], theta_dot = s[1];
  const lanes torque =
      lanes_clip(lanes_from_floats((const float *)rows->actions + row), -PENDULUM_MAX_TORQUE, PENDULUM_MAX_TORQUE);

  const lanes angle = pendulum_normalize(theta);
  const lanes effort = pendulum_float32((double)0.001f * pendulum_float32(torque * torque));
  const lanes cost = angle * angle + 0.1 * (theta_dot * theta_dot) + effort;

  lanes sine, cosine;
  lanes_sincos(theta, &sine, &cosine);
  const lanes acceleration = 3.0 * PENDULUM_GRAVITY / 2.0 * sine + pendulum_float32(3.0 * torque);
  s[1] = lanes_clip(theta_dot + acceleration * PENDULUM_DT, -PENDULUM_MAX_SPEED, PENDULUM_MAX_SPEED);
  s[0] = theta + s[1] * PENDULUM_DT;

  lanes_store2(states, s);
  pendulum_observe(s[0], s[1], rows->observations + 3 * (size_t)row);
  lanes_to_floats(rows->rewards + row, -cost);
}
