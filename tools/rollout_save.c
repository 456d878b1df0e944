/* rollout_save.c: `drover rollout --save`: the buffers of a rollout as one safetensors file.
 *
 * T = the steps that were finished, N = envs, E = episodes that ended, F = faults. Every array of steps is [T, N, ...];
 * what follows the last of them is next_observation and next_value [N, ...]. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/safetensors.h"
#include "tools/rollout.h"

enum { MOST_TENSORS = 32 };

typedef struct tensor_list {
  dr_tensor items[MOST_TENSORS];
  int32_t count;
} tensor_list;

/* Add [shape[0], ..., shape[rank - 1]]; arrays that the rollout does not have (NULL) are left out unless empty. */
static void add(tensor_list *list, const char *name, dr_dtype dtype, int32_t rank, const uint64_t *shape,
                const void *data) {
  static const uint64_t nothing = 0;
  uint64_t count = 1;
  for (int32_t i = 0; i < rank; i++) count *= shape[i];
  if (!data && count > 0) return;
  dr_tensor *tensor = list->items + list->count++;
  *tensor = (dr_tensor){.name = name, .dtype = dtype, .rank = rank, .data = data ? data : &nothing};
  memcpy(tensor->shape, shape, (size_t)rank * sizeof *shape);
}

static void add_steps(tensor_list *list, const drover_rollout_view *view) {
  const uint64_t num_steps = (uint64_t)view->num_steps_done, num_envs = (uint64_t)view->num_envs;
  const uint64_t flat[2] = {num_steps, num_envs};
  const uint64_t observations[3] = {num_steps, num_envs, (uint64_t)view->observation_size};
  const uint64_t actions[3] = {num_steps, num_envs, (uint64_t)view->action_size};
  const uint64_t infos[3] = {num_steps, num_envs, (uint64_t)view->num_infos};
  const uint64_t inner_samples[3] = {num_steps, num_envs, (uint64_t)view->inner_sample_size};
  const size_t rows = (size_t)num_steps * (size_t)num_envs;
  add(list, "observations", DR_DTYPE_F32, 3, observations, view->observations);
  add(list, "actions", view->action_kind == DROVER_ACTION_DISCRETE ? DR_DTYPE_I32 : DR_DTYPE_F32, 3, actions,
      view->actions);
  add(list, "logprobs", DR_DTYPE_F32, 2, flat, view->logprobs);
  add(list, "values", DR_DTYPE_F32, 2, flat, view->values);
  add(list, "rewards", DR_DTYPE_F32, 2, flat, view->rewards);
  add(list, "terminated", DR_DTYPE_U8, 2, flat, view->terminated);
  add(list, "truncated", DR_DTYPE_U8, 2, flat, view->truncated);
  add(list, "valid", DR_DTYPE_U8, 2, flat, view->valid);
  add(list, "infos", DR_DTYPE_F32, 3, infos, view->infos);
  if (view->inner_sample_size > 0) add(list, "inner_samples", DR_DTYPE_F32, 3, inner_samples, view->inner_samples);
  add(list, "advantages", DR_DTYPE_F32, 2, flat, view->advantages);
  add(list, "returns", DR_DTYPE_F32, 2, flat, view->returns);
  add(list, "next_observation", DR_DTYPE_F32, 2, observations + 1,
      view->observations + rows * (size_t)view->observation_size);
  add(list, "next_value", DR_DTYPE_F32, 1, flat + 1, view->values ? view->values + rows : NULL);
}

/* Episodes and faults are arrays of structs in memory; in the file each field is a column. */
typedef struct columns {
  int32_t *step, *env, *length, *fault_step, *fault_env, *fault_reason;
  double *episode_return;
  uint8_t *terminated, *truncated, *faulted;
} columns;

static void free_columns(columns *c) {
  void *const owned[] = {c->step,           c->env,        c->length,    c->fault_step, c->fault_env, c->fault_reason,
                         c->episode_return, c->terminated, c->truncated, c->faulted};
  for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++) free(owned[i]);
}

/* Returns 0, or -1 without memory. */
static int make_columns(columns *c, const drover_rollout_view *view) {
  const size_t num_episodes = (size_t)view->num_episodes + 1, num_faults = (size_t)view->num_faults + 1; /* never 0 */
  *c = (columns){.step = malloc(num_episodes * sizeof(int32_t)),
                 .env = malloc(num_episodes * sizeof(int32_t)),
                 .length = malloc(num_episodes * sizeof(int32_t)),
                 .fault_step = malloc(num_faults * sizeof(int32_t)),
                 .fault_env = malloc(num_faults * sizeof(int32_t)),
                 .fault_reason = malloc(num_faults * sizeof(int32_t)),
                 .episode_return = malloc(num_episodes * sizeof(double)),
                 .terminated = malloc(num_episodes),
                 .truncated = malloc(num_episodes),
                 .faulted = malloc(num_episodes)};
  if (!c->step || !c->env || !c->length || !c->fault_step || !c->fault_env || !c->fault_reason || !c->episode_return ||
      !c->terminated || !c->truncated || !c->faulted)
    return -1;
  for (int64_t i = 0; i < view->num_episodes; i++) {
    const drover_episode *episode = view->episodes + i;
    c->step[i] = episode->step;
    c->env[i] = episode->env;
    c->length[i] = episode->length;
    c->episode_return[i] = episode->episode_return;
    c->terminated[i] = episode->terminated;
    c->truncated[i] = episode->truncated;
    c->faulted[i] = episode->faulted;
  }
  for (int64_t i = 0; i < view->num_faults; i++) {
    c->fault_step[i] = view->faults[i].step;
    c->fault_env[i] = view->faults[i].env;
    c->fault_reason[i] = view->faults[i].reason;
  }
  return 0;
}

static void add_columns(tensor_list *list, const columns *c, const drover_rollout_view *view) {
  const uint64_t episodes[2] = {(uint64_t)view->num_episodes, (uint64_t)view->observation_size};
  const uint64_t faults[1] = {(uint64_t)view->num_faults};
  add(list, "episode_step", DR_DTYPE_I32, 1, episodes, c->step);
  add(list, "episode_env", DR_DTYPE_I32, 1, episodes, c->env);
  add(list, "episode_return", DR_DTYPE_F64, 1, episodes, c->episode_return);
  add(list, "episode_length", DR_DTYPE_I32, 1, episodes, c->length);
  add(list, "episode_terminated", DR_DTYPE_U8, 1, episodes, c->terminated);
  add(list, "episode_truncated", DR_DTYPE_U8, 1, episodes, c->truncated);
  add(list, "episode_faulted", DR_DTYPE_U8, 1, episodes, c->faulted);
  add(list, "final_observations", DR_DTYPE_F32, 2, episodes, view->final_observations);
  if (view->values) add(list, "final_values", DR_DTYPE_F32, 1, episodes, view->final_values);
  add(list, "fault_step", DR_DTYPE_I32, 1, faults, c->fault_step);
  add(list, "fault_env", DR_DTYPE_I32, 1, faults, c->fault_env);
  add(list, "fault_reason", DR_DTYPE_I32, 1, faults, c->fault_reason);
}

/* "cost=20us,dist=pareto" */
static void env_args_text(const dr_options *options, char *out, size_t size) {
  out[0] = '\0';
  for (int32_t i = 0; i < options->num_env_args; i++) {
    const size_t used = strlen(out);
    snprintf(out + used, size - used, "%s%s=%s", i ? "," : "", options->env_args[i].key, options->env_args[i].value);
  }
}

drover_status dr_rollout_save(const dr_rollout_request *request, const dr_rollout_figures *figures) {
  char env_args[1024], seed[24], num_envs[16], num_steps[16], digest[17], gamma[24], gae_lambda[24];
  env_args_text(&request->common, env_args, sizeof env_args);
  snprintf(seed, sizeof seed, "%" PRIu64, request->common.seed);
  snprintf(num_envs, sizeof num_envs, "%d", figures->num_envs);
  snprintf(num_steps, sizeof num_steps, "%d", figures->view.num_steps_done);
  snprintf(digest, sizeof digest, "%016" PRIx64, figures->digest);
  snprintf(gamma, sizeof gamma, "%.9g", (double)request->gamma);
  snprintf(gae_lambda, sizeof gae_lambda, "%.9g", (double)request->gae_lambda);
  const dr_metadata metadata[] = {{"format", "drover-rollout-1"},
                                  {"drover_version", drover_version()},
                                  {"env", figures->env},
                                  {"env_args", env_args},
                                  {"num_envs", num_envs},
                                  {"num_steps", num_steps},
                                  {"seed", seed},
                                  {"policy", request->common.policy},
                                  {"deterministic", request->deterministic ? "1" : "0"},
                                  {"transform", dr_transform_names[request->common.transform]},
                                  {"autoreset", dr_autoreset_names[request->autoreset]},
                                  {"gamma", gamma},
                                  {"gae_lambda", gae_lambda},
                                  {"digest", digest},
                                  {"inner_policy", request->inner_policy.text}};
  const int32_t num_metadata = (int32_t)(sizeof metadata / sizeof *metadata) - (figures->spec.num_ticks == 0);
  columns c;
  tensor_list list = {.count = 0};
  drover_status status = DROVER_ERROR_NO_MEMORY;
  if (make_columns(&c, &figures->view) == 0) {
    add_steps(&list, &figures->view);
    add_columns(&list, &c, &figures->view);
    status = dr_safetensors_write(request->save, metadata, num_metadata, list.items, list.count);
  }
  free_columns(&c);
  return status;
}
