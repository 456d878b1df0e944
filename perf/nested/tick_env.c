/* tick_env.c: the experiment's other env: one step is one tick, and the inner network is the policy, so that Drover
 * evaluates it on tiles of rows in its workers. */
#include "perf/nested/tick_env.h"

#include "perf/nested/network.h"

typedef struct tick_state {
  float input[NESTED_INPUTS];
} tick_state;

static float low[NESTED_OUTPUTS], high[NESTED_OUTPUTS]; /* activations: 0 and 1 */

static int tick_open(const drover_env_args *args, drover_env_spec *spec, void **shared, char *message,
                     size_t message_size) {
  (void)args, (void)shared, (void)message, (void)message_size;
  for (int i = 0; i < NESTED_OUTPUTS; i++) high[i] = 1.0f;
  spec->observation_size = NESTED_INPUTS;
  spec->action_kind = DROVER_ACTION_CONTINUOUS;
  spec->action_size = NESTED_OUTPUTS;
  spec->action_low = low;
  spec->action_high = high;
  spec->state_size = sizeof(tick_state);
  spec->state_align = 4;
  return 0;
}

static int tick_reset(void *shared, void *state, const drover_env_rows *rows) {
  (void)shared;
  tick_state *s = state;
  memset(s, 0, sizeof *s);
  nested_want(s->input, rows->seed, (uint32_t)rows->first_env, 0);
  memcpy(rows->observations, s->input, sizeof s->input);
  return 0;
}

static int tick_step(void *shared, void *state, const drover_env_rows *rows) {
  (void)shared;
  tick_state *s = state;
  rows->rewards[0] = nested_advance(s->input, rows->actions);
  const uint64_t next = rows->counters[0] + 1;
  if (next % NESTED_TICKS == 0) nested_want(s->input, rows->seed, (uint32_t)rows->first_env, next / NESTED_TICKS);
  memcpy(rows->observations, s->input, sizeof s->input);
  return 0;
}

const drover_env_type *dr_nested_tick_type(void) {
  static const drover_env_type type = {
      .abi_version = DROVER_ENV_ABI_VERSION,
      .size = sizeof(drover_env_type),
      .name = "NestedTick",
      .summary = "one tick a step, the inner network is the policy (perf/nested)",
      .open = tick_open,
      .reset = tick_reset,
      .step = tick_step,
  };
  return &type;
}
