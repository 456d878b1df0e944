/* cartpole_dynamics.h: one step of CartPole-v1 for DR_LANES envs.
 *
 * Equations: A. G. Barto, R. S. Sutton, C. W. Anderson, "Neuronlike adaptive elements that can solve difficult learning
 * control problems", IEEE Trans. SMC 13(5), 1983, in the frictionless form of R. V. Florian, "Correct equations for the
 * dynamics of the cart-pole system", 2007, (23) and (24). Constants, explicit Euler steps and the order of operations
 * are those of Gymnasium's CartPoleEnv. */
#include <drover/env.h>

#include "env/classic/lanes.h"

#define CARTPOLE_GRAVITY     9.8
#define CARTPOLE_MASS_POLE   0.1
#define CARTPOLE_MASS        (CARTPOLE_MASS_POLE + 1.0)
#define CARTPOLE_HALF_LENGTH 0.5 /* of the pole, m */
#define CARTPOLE_POLE_MOMENT (CARTPOLE_MASS_POLE * CARTPOLE_HALF_LENGTH)
#define CARTPOLE_FORCE       10.0
#define CARTPOLE_TAU         0.02 /* seconds a step */
#define CARTPOLE_X_LIMIT     2.4
#define CARTPOLE_THETA_LIMIT (12 * 2 * M_PI / 360)

/* State records: x, x_dot, theta, theta_dot. Row `row` of `rows` belongs to the first record; actions are 0 or 1. */
static inline void cartpole_block(double *states, const drover_env_rows *rows, int32_t row) {
  lanes s[4];
  lanes_load4(states, s);
  const lanes x = s[0], x_dot = s[1], theta = s[2], theta_dot = s[3];

  const lanes force = CARTPOLE_FORCE * (2.0 * lanes_from_ints((const int32_t *)rows->actions + row) - 1.0);
  lanes sine, cosine;
  lanes_sincos(theta, &sine, &cosine);
  const lanes temp = (force + CARTPOLE_POLE_MOMENT * (theta_dot * theta_dot) * sine) / CARTPOLE_MASS;
  const lanes theta_acc = (CARTPOLE_GRAVITY * sine - cosine * temp) /
                          (CARTPOLE_HALF_LENGTH * (4.0 / 3.0 - CARTPOLE_MASS_POLE * (cosine * cosine) / CARTPOLE_MASS));
  const lanes x_acc = temp - CARTPOLE_POLE_MOMENT * theta_acc * cosine / CARTPOLE_MASS;

  s[0] = x + CARTPOLE_TAU * x_dot;
  s[1] = x_dot + CARTPOLE_TAU * x_acc;
  s[2] = theta + CARTPOLE_TAU * theta_dot;
  s[3] = theta_dot + CARTPOLE_TAU * theta_acc;

  const lanes x_limit = lanes_splat(CARTPOLE_X_LIMIT), theta_limit = lanes_splat(CARTPOLE_THETA_LIMIT);
  const lanes_mask x_out = lanes_either(lanes_less(s[0], -x_limit), lanes_greater(s[0], x_limit));
  const lanes_mask theta_out = lanes_either(lanes_less(s[2], -theta_limit), lanes_greater(s[2], theta_limit));

  lanes_store4(states, s);
  lanes_store4_floats(rows->observations + 4 * (size_t)row, s);
  lanes_to_floats(rows->rewards + row, lanes_splat(1.0)); /* the step that falls is rewarded too */
  lanes_store_flags(rows->terminated + row, lanes_either(x_out, theta_out));
}
