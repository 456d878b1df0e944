/* verify_ask.c: echo envs, which observe what they are told. */
#include "tools/verify_ask.h"

#include <stdlib.h>
#include <string.h>

static dr_ask *opening; /* handed over through `open`, which has no other way in; used by one thread */

static int echo_open(const drover_env_args *args, drover_env_spec *spec, void **shared, char *message, size_t size) {
  (void)args, (void)message, (void)size;
  spec->observation_size = opening->spec.observation_size;
  spec->action_kind = opening->spec.action_kind;
  spec->action_size = opening->spec.action_size;
  spec->num_actions = opening->spec.num_actions;
  spec->action_low = opening->spec.action_low;
  spec->action_high = opening->spec.action_high;
  *shared = opening;
  return 0;
}

static int echo_reset(void *shared, void *state, const drover_env_rows *rows) {
  (void)state;
  const dr_ask *ask = shared;
  const size_t width = (size_t)ask->spec.observation_size;
  memcpy(rows->observations, ask->observations + (size_t)rows->first_env * width, width * sizeof(float));
  return 0;
}

static int echo_step(void *shared, void *state, const drover_env_rows *rows) {
  rows->rewards[0] = 0;
  return echo_reset(shared, state, rows);
}

static const drover_env_type echo_type = {.abi_version = DROVER_ENV_ABI_VERSION,
                                          .size = sizeof echo_type,
                                          .name = "echo",
                                          .summary = "observes what it is told",
                                          .open = echo_open,
                                          .reset = echo_reset,
                                          .step = echo_step};

drover_status dr_ask_open(dr_ask *ask, drover_runtime *runtime, drover_policy *policy, const drover_env_spec *spec,
                          int32_t num_rows, uint64_t seed, const float *observations) {
  *ask = (dr_ask){.spec = *spec, .observations = observations, .policy = policy};
  drover_batch_options options;
  const drover_status status = drover_batch_options_init(&options, sizeof options);
  if (status != DROVER_OK) return status;
  options.num_envs = num_rows;
  options.seed = seed;
  ask->no_actions = calloc((size_t)num_rows * (size_t)spec->action_size, 4);
  if (!ask->no_actions) return DROVER_ERROR_NO_MEMORY;
  opening = ask;
  return drover_batch_create(&ask->batch, runtime, &echo_type, &options);
}

void dr_ask_close(dr_ask *ask) {
  drover_batch_destroy(ask->batch);
  free(ask->no_actions);
  *ask = (dr_ask){0};
}

drover_status dr_ask_look(dr_ask *ask) { return drover_batch_step(ask->batch, ask->no_actions); }

drover_status dr_ask_act(const dr_ask *ask, int32_t deterministic, void *actions, float *logprobs, float *values) {
  return drover_policy_act(ask->policy, ask->batch, deterministic, actions, logprobs, values);
}
