/* subject.c: what the constructors of subjects share: batches, policies, given actions, digests. */
#define XXH_INLINE_ALL
#include "perf/subject.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

const dr_net_request dr_net_uniform = {.num_hidden = -1};
const dr_net_request dr_net_64_64 = {.num_hidden = 2, .hidden = {64, 64}};

enum { MOST_ARGS = 8, ARGS_BYTES = 256 };

/* A request's env type and arguments; `text` holds the latter's. */
typedef struct named_env {
  const drover_env_type *type;
  drover_env_args args;
  drover_env_arg items[MOST_ARGS];
  char text[ARGS_BYTES];
} named_env;

static int find_env(named_env *out, dr_bench *bench, const dr_batch_request *request) {
  const drover_status status = drover_env_find(request->env, &out->type);
  if (status != DROVER_OK) return dr_bench_fail_status(bench, request->env, status);
  out->args = (drover_env_args){0, out->items};
  snprintf(out->text, sizeof out->text, "%s", request->args ? request->args : "");
  for (char *save = NULL, *item = strtok_r(out->text, ",", &save); item && out->args.count < MOST_ARGS;
       item = strtok_r(NULL, ",", &save)) {
    char *equals = strchr(item, '=');
    if (!equals) continue;
    *equals = '\0';
    out->items[out->args.count++] = (drover_env_arg){item, equals + 1};
  }
  return 0;
}

int dr_make_batch(drover_batch **out, dr_bench *bench, drover_runtime *runtime, const dr_batch_request *request) {
  named_env env;
  drover_batch_options options;
  if (find_env(&env, bench, request) != 0) return -1;
  drover_status status = drover_batch_options_init(&options, sizeof options);
  if (status != DROVER_OK) return dr_bench_fail_status(bench, request->env, status);
  options.args = env.args;
  options.num_envs = request->num_envs;
  options.seed = DR_SUBJECT_SEED;
  options.shard = request->shard;
  options.chunk = request->chunk;
  options.scalar = request->scalar;
  status = drover_batch_create(out, runtime, env.type, &options);
  return status == DROVER_OK ? 0 : dr_bench_fail_status(bench, request->env, status);
}

int dr_make_plain(dr_plain *out, dr_bench *bench, const dr_batch_request *request) {
  named_env env;
  if (find_env(&env, bench, request) != 0) return -1;
  const dr_plain_request plain = {
      .type = env.type, .args = env.args, .num_envs = request->num_envs, .seed = DR_SUBJECT_SEED};
  return dr_plain_open(out, &plain, bench->message, sizeof bench->message) == DROVER_OK ? 0 : -1;
}

int dr_restore_plain(dr_plain *plain, dr_bench *bench, float *observations) {
  const int32_t failed = dr_plain_restore(plain, observations);
  return failed < 0 ? 0 : dr_bench_fail(bench, "%s: env %d failed in reset", plain->type->name, (int)failed);
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

drover_status dr_make_inner_policy(drover_policy **out, drover_runtime *runtime, const drover_env_spec *spec) {
  drover_mlp_options options;
  drover_status status = drover_mlp_options_init(&options, sizeof options);
  if (status == DROVER_OK) status = drover_mlp_options_fit_inner(&options, spec);
  if (status != DROVER_OK) return status;
  options.num_hidden = 3;
  for (int32_t i = 0; i < 3; i++) options.hidden[i] = 256;
  options.activation = DROVER_ACTIVATION_LEAKY_RELU;
  options.seed = DR_SUBJECT_SEED;
  return drover_policy_create_mlp(out, runtime, &options);
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
