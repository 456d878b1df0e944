/* rollout_buffers.c: the buffers of a rollout that is computed by hand. */
#include "perf/rollout_buffers.h"

#include <stdlib.h>
#include <string.h>

void *dr_zeroed(size_t count, size_t size) {
  enum { LINE = 64 };
  void *memory = NULL;
  size_t bytes;
  if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX - LINE) return NULL;
  bytes = bytes > 0 ? (bytes + LINE - 1) / LINE * LINE : LINE;
  if (posix_memalign(&memory, LINE, bytes) != 0) return NULL;
  return memset(memory, 0, bytes);
}

drover_status dr_rollout_buffers_make(drover_rollout_view *view, const drover_env_spec *spec, int32_t num_envs,
                                      int32_t num_steps, bool has_values) {
  *view = (drover_rollout_view){.size = sizeof *view,
                                .num_envs = num_envs,
                                .num_steps = num_steps,
                                .num_steps_done = num_steps,
                                .observation_size = spec->observation_size,
                                .action_size = spec->action_size,
                                .num_infos = spec->num_infos,
                                .inner_sample_size = spec->inner_sample_size,
                                .action_kind = spec->action_kind};
  const size_t n = (size_t)num_envs, rows = n * (size_t)num_steps, action_bytes = (size_t)spec->action_size * 4;
  const size_t infos = (size_t)spec->num_infos, sample_size = (size_t)spec->inner_sample_size;
  view->observations = dr_zeroed(rows + n, (size_t)spec->observation_size * sizeof(float));
  view->actions = dr_zeroed(rows, action_bytes);
  view->logprobs = dr_zeroed(rows, sizeof(float));
  view->rewards = dr_zeroed(rows, sizeof(float));
  view->terminated = dr_zeroed(rows, 1);
  view->truncated = dr_zeroed(rows, 1);
  view->valid = dr_zeroed(rows, 1);
  if (!view->observations || !view->actions || !view->logprobs || !view->rewards || !view->terminated ||
      !view->truncated || !view->valid)
    return DROVER_ERROR_NO_MEMORY;
  if (infos > 0 && !(view->infos = dr_zeroed(rows, infos * sizeof(float)))) return DROVER_ERROR_NO_MEMORY;
  if (sample_size > 0 && !(view->inner_samples = dr_zeroed(rows, sample_size * sizeof(float))))
    return DROVER_ERROR_NO_MEMORY;
  if (!has_values) return DROVER_OK;
  view->values = dr_zeroed(rows + n, sizeof(float));
  view->advantages = dr_zeroed(rows, sizeof(float));
  view->returns = dr_zeroed(rows, sizeof(float));
  return view->values && view->advantages && view->returns ? DROVER_OK : DROVER_ERROR_NO_MEMORY;
}

void dr_rollout_buffers_free(drover_rollout_view *view) {
  void *const owned[] = {view->observations, view->actions,       view->logprobs,   view->values,
                         view->rewards,      view->terminated,    view->truncated,  view->valid,
                         view->infos,        view->inner_samples, view->advantages, view->returns};
  for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++) free(owned[i]);
}
