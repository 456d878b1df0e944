/* plain.c: opening and closing of envs without Drover. */
#include "perf/plain.h"

#include <stdlib.h>
#include <string.h>

int dr_plain_open(dr_plain *plain, dr_bench *bench, const dr_batch_request *request) {
  enum { MOST_ARGS = 8 };
  drover_env_arg items[MOST_ARGS];
  char text[256];
  const drover_env_type *type;
  memset(plain, 0, sizeof *plain);
  const drover_status status = drover_env_find(request->env, &type);
  if (status != DROVER_OK) return dr_bench_fail_status(bench, request->env, status);
  snprintf(text, sizeof text, "%s", request->args ? request->args : "");
  const drover_env_args args = {dr_split_args(text, items, MOST_ARGS), items};
  return dr_plain_open_type(plain, bench, type, &args, request);
}

int dr_plain_open_type(dr_plain *plain, dr_bench *bench, const drover_env_type *type, const drover_env_args *args,
                       const dr_batch_request *request) {
  char message[256] = "";
  memset(plain, 0, sizeof *plain);
  plain->type = type;
  plain->spec.size = sizeof plain->spec;
  if (type->open(args, &plain->spec, &plain->shared, message, sizeof message) != 0)
    return dr_bench_fail(bench, "%s: %s", type->name, message);
  plain->opened = true;
  plain->num_envs = request->num_envs;
  plain->first_env = request->first_env;

  const size_t count = (size_t)request->num_envs;
  const size_t state_bytes = (count * plain->spec.state_size + 63) / 64 * 64;
  plain->states = aligned_alloc(64, state_bytes);
  plain->lifetime = calloc(count, sizeof *plain->lifetime);
  plain->episode = calloc(count, sizeof *plain->episode);
  plain->length = calloc(count, sizeof *plain->length);
  plain->episode_return = calloc(count, sizeof *plain->episode_return);
  if (!plain->states || !plain->lifetime || !plain->episode || !plain->length || !plain->episode_return)
    return dr_bench_fail(bench, "out of memory for %d envs", request->num_envs);
  memset(plain->states, 0, state_bytes);
  for (int32_t env = 0; env < request->num_envs; env++) {
    void *state = plain->states + (size_t)env * plain->spec.state_size;
    if (type->create && type->create(plain->shared, state, plain->first_env + env) != 0)
      return dr_bench_fail(bench, "%s: env %d could not be created", type->name, plain->first_env + env);
    plain->num_created++;
  }
  return 0;
}

void dr_plain_close(dr_plain *plain) {
  if (plain->opened && plain->type->destroy)
    for (int32_t env = 0; env < plain->num_created; env++)
      plain->type->destroy(plain->shared, plain->states + (size_t)env * plain->spec.state_size);
  if (plain->opened && plain->type->close) plain->type->close(plain->shared);
  free(plain->states);
  free(plain->lifetime);
  free(plain->episode);
  free(plain->length);
  free(plain->episode_return);
  memset(plain, 0, sizeof *plain);
}

int dr_plain_restore(dr_plain *plain, dr_bench *bench, float *observations) {
  const size_t count = (size_t)plain->num_envs;
  memset(plain->lifetime, 0, count * sizeof *plain->lifetime);
  memset(plain->episode, 0, count * sizeof *plain->episode);
  for (int32_t env = 0; env < plain->num_envs; env++)
    if (dr_plain_reset(plain, env, observations + (size_t)env * (size_t)plain->spec.observation_size) != 0)
      return dr_bench_fail(bench, "%s: env %d failed in reset", plain->type->name, env);
  return 0;
}
