/* model_differs.c: a rollout's buffers against the model's, and what differs first in words. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/model.h"

static char sentence[256];

static const char *differs(const char *name, const void *want, const void *got, size_t rows, size_t row_bytes,
                           int32_t n) {
  for (size_t i = 0; i < rows; i++) {
    if (memcmp((const char *)want + i * row_bytes, (const char *)got + i * row_bytes, row_bytes) == 0) continue;
    float a, b;
    memcpy(&a, (const char *)want + i * row_bytes, row_bytes < 4 ? row_bytes : 4);
    memcpy(&b, (const char *)got + i * row_bytes, row_bytes < 4 ? row_bytes : 4);
    snprintf(sentence, sizeof sentence, "%s of step %zu, env %zu: the model has %g, the rollout %g", name,
             i / (size_t)n, i % (size_t)n, (double)a, (double)b);
    return sentence;
  }
  return NULL;
}

static const char *differs_much(const char *name, const double *want, const float *got, size_t rows, int32_t n) {
  for (size_t i = 0; i < rows; i++)
    if (!(fabs(want[i] - (double)got[i]) <= 1e-4 * (1 + fabs(want[i])))) {
      snprintf(sentence, sizeof sentence, "%s of step %zu, env %zu: the model has %g, the rollout %g", name,
               i / (size_t)n, i % (size_t)n, want[i], (double)got[i]);
      return sentence;
    }
  return NULL;
}

static const char *lists_differ(const model_rollout *r, const drover_rollout_view *v) {
  if (r->num_episodes != v->num_episodes || r->num_faults != v->num_faults) {
    snprintf(sentence, sizeof sentence, "the model has %d episodes and %d faults, the rollout %d and %d",
             (int)r->num_episodes, (int)r->num_faults, (int)v->num_episodes, (int)v->num_faults);
    return sentence;
  }
  for (int64_t i = 0; i < r->num_episodes; i++) {
    const drover_episode *a = &r->episodes[i], *b = &v->episodes[i];
    if (a->step == b->step && a->env == b->env && a->length == b->length && a->terminated == b->terminated &&
        a->truncated == b->truncated && a->faulted == b->faulted &&
        memcmp(&a->episode_return, &b->episode_return, 8) == 0)
      continue;
    snprintf(sentence, sizeof sentence,
             "episode %d: the model has step %d, env %d, length %d, return %g; the rollout %d, %d, %d, %g", (int)i,
             a->step, a->env, a->length, a->episode_return, b->step, b->env, b->length, b->episode_return);
    return sentence;
  }
  for (int64_t i = 0; i < r->num_faults; i++) {
    const drover_fault *a = &r->faults[i], *b = &v->faults[i];
    if (a->step == b->step && a->env == b->env && a->reason == b->reason) continue;
    snprintf(sentence, sizeof sentence, "fault %d: the model has step %d, env %d, reason %d; the rollout %d, %d, %d",
             (int)i, a->step, a->env, a->reason, b->step, b->env, b->reason);
    return sentence;
  }
  return NULL;
}

const char *model_rollout_differs(const model_rollout *r, const drover_rollout_view *v) {
  const int32_t n = r->num_envs;
  const size_t rows = (size_t)n * (size_t)r->num_steps, width = (size_t)r->observation_size;
  if (v->num_envs != n || v->num_steps_done != r->num_steps) return "num_envs or num_steps_done";
  const char *wrong = differs("observations", r->observations, v->observations, rows + (size_t)n, width * 4, n);
  if (!wrong) wrong = differs("actions", r->actions, v->actions, rows, (size_t)r->action_size * 4, n);
  if (!wrong) wrong = differs("logprobs", r->logprobs, v->logprobs, rows, 4, n);
  if (!wrong) wrong = differs("rewards", r->rewards, v->rewards, rows, 4, n);
  if (!wrong) wrong = differs("terminated", r->terminated, v->terminated, rows, 1, n);
  if (!wrong) wrong = differs("truncated", r->truncated, v->truncated, rows, 1, n);
  if (!wrong) wrong = differs("valid", r->valid, v->valid, rows, 1, n);
  if (!wrong && r->num_infos) wrong = differs("infos", r->infos, v->infos, rows, (size_t)r->num_infos * 4, n);
  if (!wrong && r->inner_sample_size != v->inner_sample_size) wrong = "inner_sample_size";
  if (!wrong && r->inner_sample_size)
    wrong = differs("inner samples", r->inner_samples, v->inner_samples, rows, (size_t)r->inner_sample_size * 4, n);
  if (!wrong) wrong = lists_differ(r, v);
  if (!wrong && r->num_episodes)
    wrong = differs("final observations", r->final_observations, v->final_observations, (size_t)r->num_episodes,
                    width * 4, n);
  if (wrong || !v->values) return wrong;
  wrong = differs("values", r->values, v->values, rows + (size_t)n, 4, n);
  if (!wrong && r->num_episodes)
    wrong = differs("final values", r->final_values, v->final_values, (size_t)r->num_episodes, 4, n);
  if (!wrong) wrong = differs_much("advantages", r->advantages, v->advantages, rows, n);
  if (!wrong) wrong = differs_much("returns", r->returns, v->returns, rows, n);
  return wrong;
}

/* The textbook recursion, one env after the other, in double. */
const char *model_advantages_differ(const drover_rollout_view *v, double gamma, double lambda) {
  const int32_t n = v->num_envs, steps = v->num_steps_done;
  double *follow = calloc((size_t)steps * (size_t)n + 1, sizeof *follow);
  if (!follow) abort();
  for (int32_t i = 0; i < steps * n; i++) follow[i] = (double)v->values[i + n];
  for (int64_t i = 0; i < v->num_episodes; i++)
    follow[v->episodes[i].step * n + v->episodes[i].env] = (double)v->final_values[i];
  const char *wrong = NULL;
  for (int32_t e = 0; e < n; e++) {
    double next = 0;
    for (int32_t t = steps - 1; t >= 0; t--) {
      const int32_t row = t * n + e;
      if (v->terminated[row]) follow[row] = 0;
      if (v->terminated[row] || v->truncated[row]) next = 0;
      next = (double)v->rewards[row] + gamma * follow[row] - (double)v->values[row] + gamma * lambda * next;
      if (!v->valid[row]) next = 0;
      const double a = (double)v->advantages[row], r = (double)v->returns[row] - (double)v->values[row];
      if (fabs(a - next) <= 2e-5 * (1 + fabs(next)) && fabs(r - next) <= 2e-5 * (1 + fabs(next))) continue;
      snprintf(sentence, sizeof sentence, "step %d, env %d: advantage %g, return - value %g, expected %g", t, e, a, r,
               next);
      wrong = sentence;
    }
  }
  free(follow);
  return wrong;
}
