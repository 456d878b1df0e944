/* subject.c: what the constructors of subjects share: batches, policies, given actions, digests. */
#define XXH_INLINE_ALL
#include "perf/subject.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

const dr_net_request dr_net_uniform = {.num_hidden = -1};
const dr_net_request dr_net_64_64 = {.num_hidden = 2, .hidden = {64, 64}};

int32_t dr_split_args(char *text, drover_env_arg *args, int32_t most) {
  int32_t count = 0;
  for (char *save = NULL, *item = text ? strtok_r(text, ",", &save) : NULL; item && count < most;
       item = strtok_r(NULL, ",", &save)) {
    char *equals = strchr(item, '=');
    if (!equals) continue;
    *equals = '\0';
    args[count++] = (drover_env_arg){item, equals + 1};
  }
  return count;
}

int dr_make_batch(drover_batch **out, dr_bench *bench, drover_runtime *runtime, const dr_batch_request *request) {
  enum { MOST_ARGS = 8 };
  drover_env_arg items[MOST_ARGS];
  char text[256];
  const drover_env_type *type;
  drover_status status = drover_env_find(request->env, &type);
  if (status != DROVER_OK) return dr_bench_fail_status(bench, request->env, status);
  drover_batch_options options;
  status = drover_batch_options_init(&options, sizeof options);
  if (status != DROVER_OK) return dr_bench_fail_status(bench, request->env, status);
  snprintf(text, sizeof text, "%s", request->args ? request->args : "");
  options.args = (drover_env_args){dr_split_args(text, items, MOST_ARGS), items};
  options.num_envs = request->num_envs;
  options.seed = DR_SUBJECT_SEED;
  options.shard = request->shard;
  options.chunk = request->chunk;
  options.scalar = request->scalar;
  status = drover_batch_create(out, runtime, type, &options);
  return status == DROVER_OK ? 0 : dr_bench_fail_status(bench, request->env, status);
}

int dr_make_policy(drover_policy **out, dr_bench *bench, drover_runtime *runtime, const drover_env_spec *spec,
                   const dr_net_request *net) {
  drover_status status;
  if (net->num_hidden < 0) {
    status = drover_policy_create_uniform(out, runtime, spec);
  } else {
    drover_mlp_options options;
    status = drover_mlp_options_init(&options, sizeof options);
    if (status == DROVER_OK) status = drover_mlp_options_fit(&options, spec);
    if (status == DROVER_OK) {
      options.num_hidden = net->num_hidden;
      for (int32_t i = 0; i < net->num_hidden; i++) options.hidden[i] = net->hidden[i];
      options.seed = DR_SUBJECT_SEED;
      status = drover_policy_create_mlp(out, runtime, &options);
    }
  }
  return status == DROVER_OK ? 0 : dr_bench_fail_status(bench, "policy", status);
}

size_t dr_action_bytes(const drover_env_spec *spec, int32_t num_envs) {
  return (size_t)num_envs * (size_t)spec->action_size * 4; /* int32 and float32 alike */
}

void *dr_make_actions(const drover_env_spec *spec, int32_t num_envs) {
  const size_t row = (size_t)spec->action_size, count = (size_t)num_envs * row * DR_NUM_GIVEN_STEPS;
  int32_t *discrete = malloc(count * sizeof *discrete);
  if (!discrete) return NULL;
  float *continuous = (float *)discrete;
  drover_random random = drover_random_at(DR_SUBJECT_SEED, 0, DROVER_RANDOM_USER, 0);
  for (size_t i = 0; i < count; i++) {
    const float uniform = drover_random_uniformf(&random);
    if (spec->action_kind == DROVER_ACTION_DISCRETE) {
      discrete[i] = (int32_t)(uniform * (float)spec->num_actions);
      continue;
    }
    const float low = spec->action_low ? spec->action_low[i % row] : -1;
    const float high = spec->action_high ? spec->action_high[i % row] : 1;
    const bool bounded = isfinite(low) && isfinite(high);
    continuous[i] = bounded ? low + (high - low) * uniform : 2 * uniform - 1;
  }
  return discrete;
}

uint64_t dr_digest_rows(const float *observations, const float *rewards, int32_t num_envs, int32_t observation_size) {
  const size_t count = (size_t)num_envs;
  const uint64_t seed = XXH3_64bits(observations, count * (size_t)observation_size * sizeof *observations);
  return XXH3_64bits_withSeed(rewards, count * sizeof *rewards, seed);
}
