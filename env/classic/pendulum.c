/* pendulum.c: Pendulum-v1, as in Gymnasium 1.x. The equations and their source are in pendulum_dynamics.h. */
#define DR_LANES 1
#include "env/classic/pendulum_dynamics.h"
#include "env/registry.h"

enum { STATE_DOUBLES = 2, STATE_BYTES = STATE_DOUBLES * sizeof(double) };

static const float observation_high[] = {1, 1, (float)PENDULUM_MAX_SPEED};
static const float observation_low[] = {-1, -1, (float)-PENDULUM_MAX_SPEED};
static const float action_high[] = {(float)PENDULUM_MAX_TORQUE};
static const float action_low[] = {(float)-PENDULUM_MAX_TORQUE};

static int pendulum_open(const drover_env_args *args, drover_env_spec *spec, void **shared, char *message,
                         size_t message_size) {
  (void)args, (void)shared, (void)message, (void)message_size;
  spec->observation_size = 3;
  spec->observation_low = observation_low;
  spec->observation_high = observation_high;
  spec->action_kind = DROVER_ACTION_CONTINUOUS;
  spec->action_size = 1;
  spec->action_low = action_low;
  spec->action_high = action_high;
  spec->max_episode_steps = 200;
  spec->state_size = STATE_BYTES;
  spec->state_align = 16;
  spec->lanes = 8;
  spec->save_size = STATE_BYTES;
  return 0;
}

static int pendulum_reset(void *shared, void *state, const drover_env_rows *rows) {
  (void)shared;
  double *s = (double *)state;
  drover_random random = drover_env_random(rows, 0);
  s[0] = drover_random_range(&random, -M_PI, M_PI);
  s[1] = drover_random_range(&random, -1.0, 1.0);
  pendulum_observe(s[0], s[1], rows->observations);
  return 0;
}

static int pendulum_step(void *shared, void *state, const drover_env_rows *rows) {
  (void)shared;
  pendulum_block((double *)state, rows, 0);
  return 0;
}

static int pendulum_step_many(void *shared, void *states, const drover_env_rows *rows) {
  (void)shared;
  double *s = (double *)states;
  int32_t i = dr_step_blocks(dr_pendulum_blocks8, dr_pendulum_blocks4, s, rows);
  for (; i < rows->count; i++) pendulum_block(s + STATE_DOUBLES * (size_t)i, rows, i);
  return 0;
}

static int pendulum_save(void *shared, const void *state, void *bytes) {
  (void)shared;
  memcpy(bytes, state, STATE_BYTES);
  return 0;
}

static int pendulum_load(void *shared, void *state, const void *bytes) {
  (void)shared;
  memcpy(state, bytes, STATE_BYTES);
  return 0;
}

const drover_env_type dr_env_pendulum = {
    .abi_version = DROVER_ENV_ABI_VERSION,
    .size = sizeof(drover_env_type),
    .name = "Pendulum-v1",
    .summary = "swing a pendulum up and hold it with a limited torque (Gymnasium's)",
    .open = pendulum_open,
    .reset = pendulum_reset,
    .step = pendulum_step,
    .step_many = pendulum_step_many,
    .save = pendulum_save,
    .load = pendulum_load,
};
