/* env_stepper.c: single steps of the built-in envs for gymnasium_parity.py, which compiles this file with env/ into a
 * shared object and calls it by ctypes: states go in and out as the bytes that the env keeps. */
#include "env/registry.h"

#define EXPORT __attribute__((visibility("default")))

EXPORT const drover_env_type *stepper_find(const char *name);
EXPORT int stepper_state_size(const drover_env_type *type);
EXPORT int stepper_step(const drover_env_type *type, void *state, const void *action, float *observation, float *reward,
                        uint8_t *terminated, uint8_t *truncated);

#define TABLE_ENTRY(table) &table,
static const drover_env_type *const types[] = {DR_BUILTIN_ENVS(TABLE_ENTRY)};

const drover_env_type *stepper_find(const char *name) {
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    if (strcmp(types[i]->name, name) == 0) return types[i];
  return NULL;
}

/* Bytes of a state; -1 if the type cannot be opened without arguments, or keeps data outside it. */
int stepper_state_size(const drover_env_type *type) {
  drover_env_spec spec = {.size = sizeof spec};
  const drover_env_args none = {0, NULL};
  void *shared = NULL;
  char message[256];
  if (type->open(&none, &spec, &shared, message, sizeof message) || shared || spec.state_size > 256) return -1;
  return (int)spec.state_size;
}

int stepper_step(const drover_env_type *type, void *state, const void *action, float *observation, float *reward,
                 uint8_t *terminated, uint8_t *truncated) {
  _Alignas(64) unsigned char aligned[256] = {0};
  const size_t bytes = (size_t)stepper_state_size(type);
  const uint64_t counter = 0;
  *terminated = *truncated = 0;
  const drover_env_rows rows = {.count = 1,
                                .counters = &counter,
                                .actions = action,
                                .observations = observation,
                                .rewards = reward,
                                .terminated = terminated,
                                .truncated = truncated};
  memcpy(aligned, state, bytes);
  const int failed = type->step(NULL, aligned, &rows);
  memcpy(state, aligned, bytes);
  return failed;
}
