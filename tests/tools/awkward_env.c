/* awkward_env.c: an env that misbehaves as it is told: for testing what the command says about it.
 *
 * mode=error   env 3 fails at every step whose number is divisible by 10
 * mode=nan     the same envs and steps give an observation that is not a number
 * mode=restless  observations depend on how often step was ever called: a second run gives other bytes
 * mode=stuck   a step says so on standard error and never returns */
#include <drover/env.h>
#include <unistd.h>

typedef enum awkward_mode { MODE_GOOD, MODE_ERROR, MODE_NAN, MODE_RESTLESS, MODE_STUCK } awkward_mode;

static const char *const mode_names[] = {"good", "error", "nan", "restless", "stuck"};
static const drover_env_arg_info arg_infos[] = {{"mode", "good", "good, error, nan, restless or stuck"},
                                                {NULL, NULL, NULL}};
static awkward_mode modes[] = {MODE_GOOD, MODE_ERROR, MODE_NAN, MODE_RESTLESS, MODE_STUCK};
static uint32_t num_calls; /* what an env must not have: state outside its own */

static int awkward_open(const drover_env_args *args, drover_env_spec *spec, void **shared, char *message, size_t size) {
  const char *text = drover_env_arg_string(args, "mode", "good");
  for (int i = 0; i < 5; i++)
    if (strcmp(text, mode_names[i]) == 0) *shared = &modes[i];
  if (!*shared) {
    snprintf(message, size, "mode must be good, error, nan, restless or stuck, got '%s'", text);
    return -1;
  }
  spec->observation_size = 1;
  spec->action_kind = DROVER_ACTION_DISCRETE;
  spec->action_size = 1;
  spec->num_actions = 2;
  spec->max_episode_steps = 20;
  spec->state_size = sizeof(uint64_t);
  return 0;
}

static int awkward_reset(void *shared, void *state, const drover_env_rows *rows) {
  (void)shared;
  *(uint64_t *)state = 0;
  rows->observations[0] = 0;
  return 0;
}

static int awkward_step(void *shared, void *state, const drover_env_rows *rows) {
  const awkward_mode mode = *(const awkward_mode *)shared;
  const int is_due = rows->first_env == 3 && rows->counters[0] % 10 == 9;
  if (mode == MODE_STUCK) {
    fputs("awkward: stuck\n", stderr);
    for (;;) pause();
  }
  *(uint64_t *)state += 1;
  rows->observations[0] = (float)*(uint64_t *)state;
  rows->rewards[0] = 1;
  if (mode == MODE_ERROR && is_due) return -1;
  if (mode == MODE_NAN && is_due) rows->observations[0] = NAN;
  if (mode == MODE_RESTLESS) rows->observations[0] = (float)__atomic_add_fetch(&num_calls, 1, __ATOMIC_RELAXED);
  return 0;
}

static const drover_env_type type = {.abi_version = DROVER_ENV_ABI_VERSION,
                                     .size = sizeof type,
                                     .name = "Awkward-v0",
                                     .summary = "misbehaves as it is told",
                                     .arg_infos = arg_infos,
                                     .open = awkward_open,
                                     .reset = awkward_reset,
                                     .step = awkward_step};

__attribute__((visibility("default"))) const drover_env_type *drover_env_plugin(void);
const drover_env_type *drover_env_plugin(void) { return &type; }
