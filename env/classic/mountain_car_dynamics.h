/* mountain_car_dynamics.h: one step of MountainCar-v0 for DR_LANES envs.
 *
 * Equations: A. W. Moore, "Efficient memory-based learning for robot control", PhD thesis, Cambridge, 1990, as given by
 * R. S. Sutton and A. G. Barto, "Reinforcement learning: an introduction", 2nd ed., 2018, example 10.1. Constants and
 * the order of operations are those of Gymnasium's MountainCarEnv (goal velocity 0). */
#include <drover/env.h>

#include "env/classic/lanes.h"

#define MOUNTAIN_CAR_MIN_POSITION (-1.2)
#define MOUNTAIN_CAR_MAX_POSITION 0.6
#define MOUNTAIN_CAR_MAX_SPEED    0.07
#define MOUNTAIN_CAR_GOAL         0.5
#define MOUNTAIN_CAR_FORCE        0.001
#define MOUNTAIN_CAR_GRAVITY      0.0025

/* State records: position, velocity. Row `row` of `rows` belongs to the first record; actions are 0, 1 or 2. */
static inline void mountain_car_block(double *states, const drover_env_rows *rows, int32_t row) {
  lanes s[2];
  lanes_load2(states, s);

  lanes sine, cosine;
  lanes_sincos(3.0 * s[0], &sine, &cosine);
  const lanes push = (lanes_from_ints((const int32_t *)rows->actions + row) - 1.0) * MOUNTAIN_CAR_FORCE;
  const lanes velocity =
      lanes_clip(s[1] + (push + cosine * -MOUNTAIN_CAR_GRAVITY), -MOUNTAIN_CAR_MAX_SPEED, MOUNTAIN_CAR_MAX_SPEED);
  s[0] = lanes_clip(s[0] + velocity, MOUNTAIN_CAR_MIN_POSITION, MOUNTAIN_CAR_MAX_POSITION);

  /* The left wall stops the car: after clipping, "at most the wall" is "at the wall". */
  const lanes zero = lanes_splat(0.0);
  const lanes_mask stopped =
      lanes_both(lanes_at_least(lanes_splat(MOUNTAIN_CAR_MIN_POSITION), s[0]), lanes_less(velocity, zero));
  s[1] = lanes_select(stopped, zero, velocity);

  const lanes_mask at_goal =
      lanes_both(lanes_at_least(s[0], lanes_splat(MOUNTAIN_CAR_GOAL)), lanes_at_least(s[1], zero));
  lanes_store2(states, s);
  lanes_store2_floats(rows->observations + 2 * (size_t)row, s);
  lanes_to_floats(rows->rewards + row, lanes_splat(-1.0));
  lanes_store_flags(rows->terminated + row, at_goal);
}
