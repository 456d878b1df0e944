/* mountain_car.c: MountainCar-v0, as in Gymnasium 1.x. The equations and their source are in mountain_car_dynamics.h.
 */
#define DR_LANES 1
#include "env/classic/mountain_car_dynamics.h"
#include "env/registry.h"

enum { NUM_ACTIONS = 3, STATE_DOUBLES = 2, STATE_BYTES = STATE_DOUBLES * sizeof(double) };

static const float observation_low[] = {(float)MOUNTAIN_CAR_MIN_POSITION, (float)-MOUNTAIN_CAR_MAX_SPEED};
static const float observation_high[] = {(float)MOUNTAIN_CAR_MAX_POSITION, (float)MOUNTAIN_CAR_MAX_SPEED};

static int mountain_car_open(const drover_env_args *args, drover_env_spec *spec, void **shared, char *message,
                             size_t message_size) {
  (void)args, (void)shared, (void)message, (void)message_size;
  spec->observation_size = 2;
  spec->observation_low = observation_low;
  spec->observation_high = observation_high;
  spec->action_kind = DROVER_ACTION_DISCRETE;
  spec->action_size = 1;
  spec->num_actions = NUM_ACTIONS;
  spec->max_episode_steps = 200;
  spec->state_size = STATE_BYTES;
  spec->state_align = 16;
  spec->lanes = 8;
  spec->save_size = STATE_BYTES;
  return 0;
}

static int mountain_car_reset(void *shared, void *state, const drover_env_rows *rows) {
  (void)shared;
  double *s = (double *)state;
  drover_random random = drover_env_random(rows, 0);
  s[0] = drover_random_range(&random, -0.6, -0.4);
  s[1] = 0.0;
  rows->observations[0] = (float)s[0];
  rows->observations[1] = 0.0f;
  return 0;
}

static int mountain_car_step(void *shared, void *state, const drover_env_rows *rows) {
  (void)shared;
  if (!dr_action_valid(rows, 0, NUM_ACTIONS)) return -1;
  mountain_car_block((double *)state, rows, 0);
  return 0;
}

static int mountain_car_step_many(void *shared, void *states, const drover_env_rows *rows) {
  (void)shared;
  double *s = (double *)states;
  const bool all_valid = dr_actions_valid(rows, NUM_ACTIONS);
  int32_t i = all_valid ? dr_step_blocks(dr_mountain_car_blocks8, dr_mountain_car_blocks4, s, rows) : 0;
  for (; i < rows->count; i++) {
    if (all_valid || dr_action_valid(rows, i, NUM_ACTIONS))
      mountain_car_block(s + STATE_DOUBLES * (size_t)i, rows, i);
    else
      rows->failed[i] = 1;
  }
  return 0;
}

static int mountain_car_save(void *shared, const void *state, void *bytes) {
  (void)shared;
  memcpy(bytes, state, STATE_BYTES);
  return 0;
}

static int mountain_car_load(void *shared, void *state, const void *bytes) {
  (void)shared;
  memcpy(state, bytes, STATE_BYTES);
  return 0;
}

const drover_env_type dr_env_mountain_car = {
    .abi_version = DROVER_ENV_ABI_VERSION,
    .size = sizeof(drover_env_type),
    .name = "MountainCar-v0",
    .summary = "drive an underpowered car up a hill: left, coast or right (Gymnasium's)",
    .open = mountain_car_open,
    .reset = mountain_car_reset,
    .step = mountain_car_step,
    .step_many = mountain_car_step_many,
    .save = mountain_car_save,
    .load = mountain_car_load,
};
