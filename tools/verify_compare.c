/* verify_compare.c: a rollout's buffers against those of the plain loop, byte for byte. */
#include <string.h>

#include "tools/verify.h"

typedef enum kind { KIND_FLOAT, KIND_INT, KIND_BYTE } kind;

static double read_element(kind k, const void *array, size_t i, uint64_t *bits) {
  *bits = 0;
  if (k == KIND_BYTE) return (double)(*bits = ((const uint8_t *)array)[i]);
  memcpy(bits, (const char *)array + 4 * i, 4);
  return k == KIND_INT ? (double)((const int32_t *)array)[i] : (double)((const float *)array)[i];
}

static void note_difference(dr_verify_grid *g, const dr_verify_run *r, const char *field, kind k, int64_t step,
                            int64_t env, int64_t element, const void *expected, size_t at, const void *got,
                            size_t other) {
  if (g->first.found) return;
  dr_verify_difference *d = &g->first;
  *d = (dr_verify_difference){.found = true, .where = *r, .field = field, .step = step, .env = env, .element = element};
  d->where.equal = false;
  d->expected = read_element(k, expected, at, &d->expected_bits);
  d->got = read_element(k, got, other, &d->got_bits);
}

void dr_verify_note_digest(dr_verify_grid *g, const dr_verify_run *r) {
  const int32_t halves[2] = {(int32_t)(g->runs[0].digest >> 32), (int32_t)(r->digest >> 32)};
  note_difference(g, r, "digest", KIND_INT, -1, -1, -1, halves, 0, halves, 1);
}

/* [steps x N x width] of the loop against the run's. */
static bool compare_rows(dr_verify_grid *g, const dr_verify_run *r, const char *field, kind k,
                         const dr_verify_window *w, int32_t num_steps, int32_t width, const void *expected,
                         const void *got) {
  if (!expected && !got) return true;
  const size_t n = (size_t)g->loop.num_envs, size = k == KIND_BYTE ? 1 : 4, wide = (size_t)width;
  if (!expected || !got) {
    const uint8_t has_none = 0, has = 1;
    note_difference(g, r, field, KIND_BYTE, -1, -1, -1, expected ? &has : &has_none, 0, got ? &has : &has_none, 0);
    return false;
  }
  for (int32_t t = 0; t < num_steps; t++) {
    const size_t at = (size_t)(t + w->first_step) * n * wide, other = (size_t)t * (size_t)w->num_envs * wide;
    if (memcmp((const char *)expected + at * size, (const char *)got + other * size, n * wide * size) == 0) continue;
    for (size_t i = 0; i < n * wide; i++)
      if (memcmp((const char *)expected + (at + i) * size, (const char *)got + (other + i) * size, size) != 0) {
        note_difference(g, r, field, k, t + w->first_step, (int64_t)(i / wide), (int64_t)(i % wide), expected, at + i,
                        got, other + i);
        return false;
      }
  }
  return true;
}

/* A list of `count` items against the loop's, as numbers of four bytes. */
static bool compare_list(dr_verify_grid *g, const dr_verify_run *r, const char *field, kind k, int64_t count,
                         int64_t other_count, size_t width, const void *expected, const void *got) {
  if (count != other_count) {
    const int32_t counts[2] = {(int32_t)count, (int32_t)other_count};
    note_difference(g, r, field, KIND_INT, -1, -1, -1, counts, 0, counts, 1);
    return false;
  }
  for (size_t i = 0; i < (size_t)count * width; i++)
    if (memcmp((const char *)expected + 4 * i, (const char *)got + 4 * i, 4) != 0) {
      note_difference(g, r, field, k, (int64_t)(i / width), -1, (int64_t)(i % width), expected, i, got, i);
      return false;
    }
  return true;
}

static bool compare_lists(dr_verify_grid *g, const dr_verify_run *r, const drover_rollout_view *v) {
  const drover_rollout_view *l = &g->loop;
  _Static_assert(sizeof(drover_episode) == 24 && sizeof(drover_fault) == 16,
                 "lists are compared in words of four bytes");
  return compare_list(g, r, "episodes", KIND_INT, l->num_episodes, v->num_episodes, 6, l->episodes, v->episodes) &&
         compare_list(g, r, "faults", KIND_INT, l->num_faults, v->num_faults, 4, l->faults, v->faults) &&
         compare_list(g, r, "final_observations", KIND_FLOAT, l->num_episodes, v->num_episodes,
                      (size_t)l->observation_size, l->final_observations, v->final_observations) &&
         (!l->values || compare_list(g, r, "final_values", KIND_FLOAT, l->num_episodes, v->num_episodes, 1,
                                     l->final_values, v->final_values));
}

bool dr_verify_compare(dr_verify_grid *g, const dr_verify_run *r, const drover_rollout_view *v,
                       const dr_verify_window *w) {
  const drover_rollout_view *l = &g->loop;
  const int32_t t = w->num_steps;
  const kind action = l->action_kind == DROVER_ACTION_DISCRETE ? KIND_INT : KIND_FLOAT;
  const bool rows_equal =
      compare_rows(g, r, "observations", KIND_FLOAT, w, t + 1, l->observation_size, l->observations, v->observations) &&
      compare_rows(g, r, "actions", action, w, t, l->action_size, l->actions, v->actions) &&
      compare_rows(g, r, "logprobs", KIND_FLOAT, w, t, 1, l->logprobs, v->logprobs) &&
      compare_rows(g, r, "values", KIND_FLOAT, w, t + 1, 1, l->values, v->values) &&
      compare_rows(g, r, "rewards", KIND_FLOAT, w, t, 1, l->rewards, v->rewards) &&
      compare_rows(g, r, "terminated", KIND_BYTE, w, t, 1, l->terminated, v->terminated) &&
      compare_rows(g, r, "truncated", KIND_BYTE, w, t, 1, l->truncated, v->truncated) &&
      compare_rows(g, r, "valid", KIND_BYTE, w, t, 1, l->valid, v->valid) &&
      compare_rows(g, r, "infos", KIND_FLOAT, w, t, l->num_infos, l->infos, v->infos) &&
      compare_rows(g, r, "inner_samples", KIND_FLOAT, w, t, l->inner_sample_size, l->inner_samples, v->inner_samples);
  if (!rows_equal || t != l->num_steps) return rows_equal; /* half a rollout has other advantages */
  return compare_rows(g, r, "advantages", KIND_FLOAT, w, t, 1, l->advantages, v->advantages) &&
         compare_rows(g, r, "returns", KIND_FLOAT, w, t, 1, l->returns, v->returns) &&
         (w->num_envs != l->num_envs || compare_lists(g, r, v));
}
