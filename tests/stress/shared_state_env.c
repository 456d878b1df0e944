/* shared_state_env.c: an env that breaks the contract: it counts the steps of all envs in one place, so what it
 * observes depends on who else was stepped, and when. `drover verify` must find it. */
#include <drover/env.h>

static int num_steps; /* of all envs */

static int open(const drover_env_args *args, drover_env_spec *spec, void **shared, char *message, size_t size) {
  (void)args, (void)message, (void)size;
  spec->observation_size = 2;
  spec->action_kind = DROVER_ACTION_DISCRETE;
  spec->action_size = 1;
  spec->num_actions = 2;
  spec->state_size = 16;
  *shared = NULL;
  return 0;
}

static int reset(void *shared, void *state, const drover_env_rows *rows) {
  (void)shared, (void)state;
  rows->observations[0] = rows->observations[1] = 0;
  return 0;
}

static int step(void *shared, void *state, const drover_env_rows *rows) {
  (void)shared, (void)state;
  rows->observations[0] = (float)rows->first_env;
  rows->observations[1] = (float)__atomic_add_fetch(&num_steps, 1, __ATOMIC_RELAXED);
  rows->rewards[0] = 1;
  return 0;
}

static const drover_env_type type = {.abi_version = DROVER_ENV_ABI_VERSION,
                                     .size = sizeof type,
                                     .name = "SharedState-v0",
                                     .summary = "keeps state outside its own",
                                     .open = open,
                                     .reset = reset,
                                     .step = step};

const drover_env_type *drover_env_plugin(void);
const drover_env_type *drover_env_plugin(void) { return &type; }
