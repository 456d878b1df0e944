/* plain.c: opening, resetting, ticking and closing of envs without Drover. */
#include "perf/plain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static drover_status allocate(dr_plain *plain) {
  const size_t count = (size_t)plain->num_envs;
  const size_t state_bytes = (count * plain->spec.state_size + 63) / 64 * 64;
  plain->states = aligned_alloc(64, state_bytes > 0 ? state_bytes : 64);
  plain->lifetime = calloc(count, sizeof *plain->lifetime);
  plain->episode = calloc(count, sizeof *plain->episode);
  plain->length = calloc(count, sizeof *plain->length);
  plain->episode_return = calloc(count, sizeof *plain->episode_return);
  if (!plain->states || !plain->lifetime || !plain->episode || !plain->length || !plain->episode_return)
    return DROVER_ERROR_NO_MEMORY;
  memset(plain->states, 0, state_bytes);
  return DROVER_OK;
}

drover_status dr_plain_open(dr_plain *plain, const dr_plain_request *request, char *message, size_t size) {
  const drover_env_type *type = request->type;
  char reason[256] = "open failed";
  *plain = (dr_plain){.type = type,
                      .spec = {.size = sizeof plain->spec},
                      .num_envs = request->num_envs,
                      .first_env = request->first_env,
                      .seed = request->seed};
  if (type->open(&request->args, &plain->spec, &plain->shared, reason, sizeof reason) != 0) {
    snprintf(message, size, "%s: %s", type->name, reason);
    return DROVER_ERROR_ENV;
  }
  plain->opened = true;
  if (allocate(plain) != DROVER_OK) {
    snprintf(message, size, "out of memory for %d envs", (int)plain->num_envs);
    return DROVER_ERROR_NO_MEMORY;
  }
  for (int32_t env = 0; env < plain->num_envs; env++) {
    if (type->create && type->create(plain->shared, dr_plain_state(plain, env), plain->first_env + env) != 0) {
      snprintf(message, size, "%s: env %d could not be created", type->name, (int)(plain->first_env + env));
      return DROVER_ERROR_ENV;
    }
    plain->num_created++;
  }
  return DROVER_OK;
}

void dr_plain_close(dr_plain *plain) {
  if (plain->opened && plain->type->destroy)
    for (int32_t env = 0; env < plain->num_created; env++)
      plain->type->destroy(plain->shared, dr_plain_state(plain, env));
  if (plain->opened && plain->type->close) plain->type->close(plain->shared);
  free(plain->states);
  free(plain->lifetime);
  free(plain->episode);
  free(plain->length);
  free(plain->episode_return);
  memset(plain, 0, sizeof *plain);
}

int dr_plain_reset(dr_plain *plain, int32_t env, float *observation) {
  uint8_t failed = 0;
  const drover_env_rows rows = {.count = 1,
                                .first_env = plain->first_env + env,
                                .seed = plain->seed,
                                .purpose = DROVER_RANDOM_RESET,
                                .counters = plain->episode + env,
                                .observations = observation,
                                .failed = &failed};
  const int status = plain->type->reset(plain->shared, dr_plain_state(plain, env), &rows);
  plain->episode[env]++;
  plain->length[env] = 0;
  plain->episode_return[env] = 0;
  return status != 0 ? status : failed;
}

int32_t dr_plain_restore(dr_plain *plain, float *observations) {
  const size_t count = (size_t)plain->num_envs;
  memset(plain->lifetime, 0, count * sizeof *plain->lifetime);
  memset(plain->episode, 0, count * sizeof *plain->episode);
  for (int32_t env = 0; env < plain->num_envs; env++)
    if (dr_plain_reset(plain, env, observations + (size_t)env * (size_t)plain->spec.observation_size) != 0) return env;
  return -1;
}

int32_t dr_plain_sample_tick(const dr_plain *plain, int32_t env) {
  drover_random random =
      drover_random_at(plain->seed, (uint32_t)(plain->first_env + env), DROVER_RANDOM_SAMPLE, plain->lifetime[env]);
  return (int32_t)(drover_random_u32(&random) % (uint32_t)plain->spec.num_ticks);
}

int dr_plain_tick(dr_plain *plain, int32_t env, int32_t tick, const void *action, const float *inner_action,
                  float *inner_observation, float *sample) {
  const bool last = tick + 1 == plain->spec.num_ticks;
  const drover_env_tick call = {.env = plain->first_env + env,
                                .tick = tick,
                                .seed = plain->seed,
                                .counter = plain->lifetime[env],
                                .action = action,
                                .inner_action = tick < 0 ? NULL : inner_action,
                                .inner_observation = last ? NULL : inner_observation,
                                .sample = sample};
  void *state = dr_plain_state(plain, env);
  return tick < 0 ? plain->type->begin(plain->shared, state, &call) : plain->type->tick(plain->shared, state, &call);
}
