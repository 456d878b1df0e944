/* cartpole.c: CartPole-v1, as in Gymnasium 1.x. The equations and their source are in cartpole_dynamics.h. */
#define DR_LANES 1
#include "env/classic/cartpole_dynamics.h"
#include "env/registry.h"

enum { NUM_ACTIONS = 2, STATE_DOUBLES = 4, STATE_BYTES = STATE_DOUBLES * sizeof(double) };

/* Twice the limits at which an episode ends, so that the last observation lies within. */
static const float observation_high[] = {(float)(2 * CARTPOLE_X_LIMIT), INFINITY, (float)(2 * CARTPOLE_THETA_LIMIT),
                                         INFINITY};
static const float observation_low[] = {(float)(-2 * CARTPOLE_X_LIMIT), -INFINITY, (float)(-2 * CARTPOLE_THETA_LIMIT),
                                        -INFINITY};

static int cartpole_open(const drover_env_args *args, drover_env_spec *spec, void **shared, char *message,
                         size_t message_size) {
  (void)args, (void)shared, (void)message, (void)message_size;
  spec->observation_size = 4;
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

static int cartpole_reset(void *shared, void *state, const drover_env_rows *rows) {
  (void)shared;
  double *s = (double *)state;
  drover_random random = drover_env_random(rows, 0);
  for (int j = 0; j < STATE_DOUBLES; j++) {
    s[j] = drover_random_range(&random, -0.05, 0.05);
    rows->observations[j] = (float)s[j];
  }
  return 0;
}

static int cartpole_step(void *shared, void *state, const drover_env_rows *rows) {
  (void)shared;
  if (!dr_action_valid(rows, 0, NUM_ACTIONS)) return -1;
  cartpole_block((double *)state, rows, 0);
  return 0;
}

static int cartpole_step_many(void *shared, void *states, const drover_env_rows *rows) {
  (void)shared;
  double *s = (double *)states;
  const bool all_valid = dr_actions_valid(rows, NUM_ACTIONS);
  int32_t i = all_valid ? dr_step_blocks(dr_cartpole_blocks8, dr_cartpole_blocks4, s, rows) : 0;
  for (; i < rows->count; i++) {
    if (all_valid || dr_action_valid(rows, i, NUM_ACTIONS))
      cartpole_block(s + STATE_DOUBLES * (size_t)i, rows, i);
    else
      rows->failed[i] = 1;
  }
  return 0;
}

static int cartpole_save(void *shared, const void *state, void *bytes) {
  (void)shared;
  memcpy(bytes, state, STATE_BYTES);
  return 0;
}

static int cartpole_load(void *shared, void *state, const void *bytes) {
  (void)shared;
  memcpy(state, bytes, STATE_BYTES);
  return 0;
}

const drover_env_type dr_env_cartpole = {
    .abi_version = DROVER_ENV_ABI_VERSION,
    .size = sizeof(drover_env_type),
    .name = "CartPole-v1",
    .summary = "balance a pole on a cart by pushing left or right (Gymnasium's)",
    .open = cartpole_open,
    .reset = cartpole_reset,
    .step = cartpole_step,
    .step_many = cartpole_step_many,
    .save = cartpole_save,
    .load = cartpole_load,
};
