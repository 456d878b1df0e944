/* digest.c: a 64-bit fingerprint of everything a rollout holds. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "runtime/error.h"
#include "runtime/rollout.h"
#include "runtime/runtime.h"

static void add(XXH3_state_t *state, const void *data, size_t bytes) {
  const uint64_t length = data ? bytes : UINT64_MAX; /* so that a missing buffer differs from an empty one */
  XXH3_64bits_update(state, &length, sizeof length);
  if (data && bytes) XXH3_64bits_update(state, data, bytes);
}

/* Structs are added field by field: their padding is nobody's. */
static void add_episodes(XXH3_state_t *state, const drover_rollout_view *v) {
  for (int64_t i = 0; i < v->num_episodes; i++) {
    const drover_episode *e = &v->episodes[i];
    const int32_t numbers[6] = {e->step, e->env, e->length, e->terminated, e->truncated, e->faulted};
    XXH3_64bits_update(state, numbers, sizeof numbers);
    XXH3_64bits_update(state, &e->episode_return, sizeof e->episode_return);
  }
  for (int64_t i = 0; i < v->num_faults; i++) {
    const int32_t numbers[3] = {v->faults[i].step, v->faults[i].env, v->faults[i].reason};
    XXH3_64bits_update(state, numbers, sizeof numbers);
  }
}

drover_status drover_rollout_digest(drover_rollout *rollout, uint64_t *out) {
  drover_status status = dr_handle_check(rollout, DR_HANDLE_ROLLOUT, "rollout digest");
  if (status == DROVER_OK) status = dr_runtime_check_fork(rollout->batch->runtime, "rollout digest");
  if (status != DROVER_OK) return status;
  if (!out) return dr_fail(DROVER_ERROR_ARGUMENT, "rollout digest: out must not be NULL");
  if (rollout->state != DR_ROLLOUT_FULL)
    return dr_fail(DROVER_ERROR_STATE, "rollout digest: nothing was collected yet");
  const drover_rollout_view *v = &rollout->view;
  const size_t n = (size_t)v->num_envs, rows = n * (size_t)v->num_steps_done;
  const size_t width = (size_t)v->observation_size;
  XXH3_state_t *state = XXH3_createState();
  if (!state) return dr_fail(DROVER_ERROR_NO_MEMORY, "rollout digest: out of memory");
  XXH3_64bits_reset(state);
  const int64_t shape[] = {v->num_envs,  v->num_steps_done,       v->observation_size, v->action_size,
                           v->num_infos, (int64_t)v->action_kind, v->num_episodes,     v->num_faults};
  add(state, shape, sizeof shape);
  add(state, v->observations, (rows + n) * width * sizeof(float));
  add(state, v->actions, rows * (size_t)v->action_size * 4);
  add(state, v->logprobs, rows * sizeof(float));
  add(state, v->values, (rows + n) * sizeof(float));
  add(state, v->rewards, rows * sizeof(float));
  add(state, v->terminated, rows);
  add(state, v->truncated, rows);
  add(state, v->valid, rows);
  add(state, v->infos, rows * (size_t)v->num_infos * sizeof(float));
  if (v->inner_sample_size > 0) add(state, v->inner_samples, rows * (size_t)v->inner_sample_size * sizeof(float));
  add(state, v->advantages, rows * sizeof(float));
  add(state, v->returns, rows * sizeof(float));
  add_episodes(state, v);
  /* Without episodes these pointers depend on what the rollout held before. */
  const bool any = v->num_episodes > 0;
  add(state, any ? (const void *)v->final_observations : "", (size_t)v->num_episodes * width * sizeof(float));
  add(state, any ? (const void *)v->final_values : "", (size_t)v->num_episodes * sizeof(float));
  *out = XXH3_64bits_digest(state);
  XXH3_freeState(state);
  return DROVER_OK;
}
