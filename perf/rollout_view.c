/* rollout_view.c: comparing the buffers of two rollouts. */
#include "perf/rollout_view.h"

#include <math.h>
#include <string.h>

uint64_t dr_digest_last_row(const drover_rollout_view *view) {
  const size_t num_envs = (size_t)view->num_envs, num_steps = (size_t)view->num_steps;
  return dr_digest_rows(view->observations + num_steps * num_envs * (size_t)view->observation_size,
                        view->rewards + (num_steps - 1) * num_envs, view->num_envs, view->observation_size);
}

static int compare_bytes(dr_bench *bench, const char *name, const void *a, const void *b, size_t num_bytes) {
  if (num_bytes == 0) return 0;
  if (!a != !b) return dr_bench_fail(bench, "%s: only one side has them", name);
  if (!a || memcmp(a, b, num_bytes) == 0) return 0;
  size_t at = 0;
  while (((const unsigned char *)a)[at] == ((const unsigned char *)b)[at]) at++;
  return dr_bench_fail(bench, "%s differ at byte %zu of %zu", name, at, num_bytes);
}

static int compare_near(dr_bench *bench, const char *name, const float *a, const float *b, size_t count) {
  if (!a != !b) return dr_bench_fail(bench, "%s: only one side has them", name);
  for (size_t i = 0; a && i < count; i++)
    if (!(fabsf(a[i] - b[i]) <= 1e-4f * (1 + fabsf(a[i]))))
      return dr_bench_fail(bench, "%s differ at row %zu: %g and %g", name, i, (double)a[i], (double)b[i]);
  return 0;
}

static int compare_episodes(dr_bench *bench, const drover_rollout_view *a, const drover_rollout_view *b) {
  if (a->num_episodes != b->num_episodes)
    return dr_bench_fail(bench, "episodes: %lld and %lld", (long long)a->num_episodes, (long long)b->num_episodes);
  for (int64_t i = 0; i < a->num_episodes; i++) {
    const drover_episode *x = a->episodes + i, *y = b->episodes + i;
    if (x->step != y->step || x->env != y->env || x->episode_return != y->episode_return || x->length != y->length ||
        x->terminated != y->terminated || x->truncated != y->truncated)
      return dr_bench_fail(bench, "episode %lld differs", (long long)i);
  }
  const size_t count = (size_t)a->num_episodes;
  if (compare_bytes(bench, "final observations", a->final_observations, b->final_observations,
                    count * (size_t)a->observation_size * sizeof(float)) != 0)
    return -1;
  return compare_bytes(bench, "final values", a->final_values, b->final_values, count * sizeof(float));
}

int dr_compare_views(dr_bench *bench, const drover_rollout_view *a, const drover_rollout_view *b) {
  const size_t num_envs = (size_t)a->num_envs, rows = num_envs * (size_t)a->num_steps;
  const size_t observation_bytes = (size_t)a->observation_size * sizeof(float);
  if (compare_bytes(bench, "observations", a->observations, b->observations, (rows + num_envs) * observation_bytes) ||
      compare_bytes(bench, "actions", a->actions, b->actions, rows * (size_t)a->action_size * 4) ||
      compare_bytes(bench, "logprobs", a->logprobs, b->logprobs, rows * sizeof(float)) ||
      compare_bytes(bench, "values", a->values, b->values, (rows + num_envs) * sizeof(float)) ||
      compare_bytes(bench, "rewards", a->rewards, b->rewards, rows * sizeof(float)) ||
      compare_bytes(bench, "terminated", a->terminated, b->terminated, rows) ||
      compare_bytes(bench, "truncated", a->truncated, b->truncated, rows) ||
      compare_bytes(bench, "valid", a->valid, b->valid, rows) || compare_episodes(bench, a, b))
    return -1;
  if (compare_near(bench, "advantages", a->advantages, b->advantages, rows) != 0) return -1;
  return compare_near(bench, "returns", a->returns, b->returns, rows);
}
