/* acrobot.c: Acrobot-v1, as in Gymnasium 1.x. The equations and their source are in acrobot_dynamics.h. */
#define DR_LANES 1
#include "env/classic/acrobot_dynamics.h"
#include "env/registry.h"

enum { NUM_ACTIONS = 3, STATE_DOUBLES = 4, STATE_BYTES = STATE_DOUBLES * sizeof(double) };

static const float observation_high[] = {1, 1, 1, 1, (float)ACROBOT_MAX_VEL_1, (float)ACROBOT_MAX_VEL_2};
static const float observation_low[] = {-1, -1, -1, -1, (float)-ACROBOT_MAX_VEL_1, (float)-ACROBOT_MAX_VEL_2};

static int acrobot_open(const drover_env_args *args, drover_env_spec *spec, void **shared, char *message,
                        size_t message_size) {
  (void)args, (void)shared, (void)message, (void)message_size;
  spec->observation_size = 6;
  spec->observation_low = observation_low;
  spec->observation_high = observation_high;
  spec->action_kind = DROVER_ACTION_DISCRETE;
  spec->action_size = 1;
  spec->num_actions = NUM_ACTIONS;
  spec->max_episode_steps = 500;
  spec->state_size = STATE_BYTES;
  spec->state_align = 32;
  spec->lanes = 8;
  spec->save_size = STATE_BYTES;
  return 0;
}

static int acrobot_reset(void *shared, void *state, const drover_env_rows *rows) {
  (void)shared;
  double *s = (double *)state;
  drover_random random = drover_env_random(rows, 0);
  for (int j = 0; j < STATE_DOUBLES; j++) s[j] = (float)drover_random_range(&random, -0.1, 0.1); /* float32, as there */
  acrobot_observe(s, rows->observations);
  return 0;
}

/* Gymnasium indexes a Python list with the action, so that it takes -1 as 2; here that is a failure as 3 is there. */
static int acrobot_step(void *shared, void *state, const drover_env_rows *rows) {
  (void)shared;
  if (!dr_action_valid(rows, 0, NUM_ACTIONS)) return -1;
  acrobot_block((double *)state, rows, 0);
  return 0;
}

static int acrobot_step_many(void *shared, void *states, const drover_env_rows *rows) {
  (void)shared;
  double *s = (double *)states;
  const bool all_valid = dr_actions_valid(rows, NUM_ACTIONS);
  int32_t i = all_valid ? dr_step_blocks(dr_acrobot_blocks8, dr_acrobot_blocks4, s, rows) : 0;
  for (; i < rows->count; i++) {
    if (all_valid || dr_action_valid(rows, i, NUM_ACTIONS))
      acrobot_block(s + STATE_DOUBLES * (size_t)i, rows, i);
    else
      rows->failed[i] = 1;
  }
  return 0;
}

static int acrobot_save(void *shared, const void *state, void *bytes) {
  (void)shared;
  memcpy(bytes, state, STATE_BYTES);
  return 0;
}

static int acrobot_load(void *shared, void *state, const void *bytes) {
  (void)shared;
  memcpy(state, bytes, STATE_BYTES);
  return 0;
}

const drover_env_type dr_env_acrobot = {
    .abi_version = DROVER_ENV_ABI_VERSION,
    .size = sizeof(drover_env_type),
    .name = "Acrobot-v1",
    .summary = "swing the tip of a two-link arm above a line by its elbow (Gymnasium's)",
    .open = acrobot_open,
    .reset = acrobot_reset,
    .step = acrobot_step,
    .step_many = acrobot_step_many,
    .save = acrobot_save,
    .load = acrobot_load,
};
