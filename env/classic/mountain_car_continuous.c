/* mountain_car_continuous.c: MountainCarContinuous-v0, as in Gymnasium 1.x.
 *
 * Equations: A. W. Moore, "Efficient memory-based learning for robot control", PhD thesis, Cambridge, 1990, with a
 * continuous force; constants and the order of operations are those of Gymnasium's Continuous_MountainCarEnv (goal
 * velocity 0).
 *
 * Gymnasium keeps the state in float32 from the first step of an episode on, and NumPy 2 then computes in float32
 * wherever a state or an action that is not clipped takes part. Both roundings are reproduced: with them the states
 * are Gymnasium's bit for bit but for the last bit of a cosine, without them velocities drift by 1e-7 a step. */
#include <math.h>

#include "env/classic/simd.h"
#include "env/registry.h"

/* Right after a reset the position is a double, from the first step on a float32, as Gymnasium's. The velocity is 0 and
 * then a float32. (Two doubles side by side that are rounded to float32 and widened again would fall into a trap of GCC
 * 12: its SLP vectoriser drops the rounding of such pairs.) */
typedef struct {
  double position;
  float velocity;
  int32_t is_float32;
} car;

static const double power = 0.0015, gravity = 0.0025, max_speed = 0.07;
static const double min_position = -1.2, max_position = 0.6, goal_position = 0.45;

static const float observation_low[] = {-1.2f, -0.07f}, observation_high[] = {0.6f, 0.07f};
static const float action_low[] = {-1.0f}, action_high[] = {1.0f};

static int mountain_car_continuous_open(const drover_env_args *args, drover_env_spec *spec, void **shared,
                                        char *message, size_t message_size) {
  (void)args, (void)shared, (void)message, (void)message_size;
  spec->observation_size = 2;
  spec->observation_low = observation_low;
  spec->observation_high = observation_high;
  spec->action_kind = DROVER_ACTION_CONTINUOUS;
  spec->action_size = 1;
  spec->action_low = action_low;
  spec->action_high = action_high;
  spec->max_episode_steps = 999;
  spec->state_size = sizeof(car);
  spec->state_align = sizeof(car);
  spec->save_size = sizeof(car);
  return 0;
}

static int mountain_car_continuous_reset(void *shared, void *state, const drover_env_rows *rows) {
  (void)shared;
  drover_random random = drover_env_random(rows, 0);
  const car start = {.position = drover_random_range(&random, -0.6, -0.4)};
  *(car *)state = start;
  rows->observations[0] = (float)start.position;
  rows->observations[1] = 0.0f;
  return 0;
}

/* What NumPy keeps of a result that a state takes part in: float32 once the state is float32. (A float32 operation is
 * the double one, rounded: double has more than twice the digits.) */
static double kept(const car *c, double x) { return c->is_float32 ? (double)(float)x : x; }

/* The change of velocity under a float32 action. An action in [-1, 1] is still a float32 when it is used and makes the
 * change one; one that is clipped has become a Python float. */
static double velocity_change(const car *c, float action) {
  const double pull = gravity * dr_sincos(kept(c, 3.0 * c->position)).y;
  if (action < -1.0f) return kept(c, -power - pull);
  if (action > 1.0f) return kept(c, power - pull);
  return (float)(action * (float)power) - (float)pull;
}

static int mountain_car_continuous_step(void *shared, void *state, const drover_env_rows *rows) {
  (void)shared;
  car *c = (car *)state;
  const float action = *(const float *)rows->actions;

  double velocity = kept(c, c->velocity + velocity_change(c, action));
  if (velocity > kept(c, max_speed)) velocity = kept(c, max_speed);
  if (velocity < kept(c, -max_speed)) velocity = kept(c, -max_speed);
  double position = kept(c, c->position + velocity);
  if (position > kept(c, max_position)) position = kept(c, max_position);
  if (position < kept(c, min_position)) position = kept(c, min_position);
  if (position == kept(c, min_position) && velocity < 0) velocity = 0;

  const bool at_goal = position >= kept(c, goal_position) && velocity >= 0;
  rows->terminated[0] = at_goal;
  rows->rewards[0] = (float)((at_goal ? 100.0 : 0.0) - (double)action * (double)action * 0.1); /* not clipped there */

  rows->observations[0] = (float)position;
  rows->observations[1] = (float)velocity;
  *c = (car){.position = rows->observations[0], .velocity = rows->observations[1], .is_float32 = 1};
  return 0;
}

static int mountain_car_continuous_save(void *shared, const void *state, void *bytes) {
  (void)shared;
  memcpy(bytes, state, sizeof(car));
  return 0;
}

static int mountain_car_continuous_load(void *shared, void *state, const void *bytes) {
  (void)shared;
  memcpy(state, bytes, sizeof(car));
  return 0;
}

const drover_env_type dr_env_mountain_car_continuous = {
    .abi_version = DROVER_ENV_ABI_VERSION,
    .size = sizeof(drover_env_type),
    .name = "MountainCarContinuous-v0",
    .summary = "drive an underpowered car up a hill with a continuous force (Gymnasium's)",
    .open = mountain_car_continuous_open,
    .reset = mountain_car_continuous_reset,
    .step = mountain_car_continuous_step,
    .save = mountain_car_continuous_save,
    .load = mountain_car_continuous_load,
};
