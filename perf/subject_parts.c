/* subject_parts.c: a rollout put together from its parts in one plain loop: no arena, no claims, no counters. The fused
 * rollout with one worker should cost no more than this. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "perf/rollout_buffers.h"
#include "perf/rollout_view.h"
#include "perf/table.h"

enum { BLOCK_ROWS = 256, VALUE_ROWS = 64 };

typedef struct parts_subject {
  dr_subject head;
  dr_plain plain;
  drover_policy *policy;
  dr_policy_table table;
  drover_policy_spec policy_spec;
  int32_t shard;
  int32_t num_steps;
  float gamma, gae_lambda;
  /* The rollout's buffers, shaped as in drover_rollout_view. */
  drover_rollout_view view;
  drover_episode *episodes;  /* [T x N] in the order in which they ended, then sorted */
  float *final_observations; /* [T x N x observation_size], sorted */
  float *final_values;       /* [T x N], sorted */
  /* Scratch. */
  float *ended;       /* [T x N x observation_size] final observations in the order of ending */
  int64_t *order;     /* [T x N] */
  float *clipped;     /* [shard x action_size] */
  uint8_t *failed;    /* [shard] */
  float *next_values; /* [N] */
} parts_subject;

/* ---- One step of one shard ---- */

static int parts_infer(parts_subject *parts, int32_t first, int32_t count, int32_t step) {
  drover_rollout_view *view = &parts->view;
  const size_t row = (size_t)step * (size_t)view->num_envs + (size_t)first;
  const drover_policy_rows rows = {.count = count,
                                   .first_env = first,
                                   .seed = DR_SUBJECT_SEED,
                                   .counters = parts->plain.lifetime + first,
                                   .observations = view->observations + row * (size_t)view->observation_size,
                                   .actions = (int32_t *)view->actions + row * (size_t)view->action_size,
                                   .logprobs = view->logprobs + row,
                                   .values = view->values ? view->values + row : NULL};
  return dr_policy_table_act(&parts->table, &rows);
}

/* What the envs get: discrete actions as they are, continuous ones clipped. */
static const void *parts_actions(parts_subject *parts, size_t row, int32_t count) {
  const drover_env_spec *spec = &parts->plain.spec;
  const size_t size = (size_t)spec->action_size;
  if (spec->action_kind == DROVER_ACTION_DISCRETE) return (const int32_t *)parts->view.actions + row;
  const float *raw = (const float *)parts->view.actions + row * size;
  for (size_t i = 0; i < (size_t)count * size; i++)
    parts->clipped[i] = fminf(fmaxf(raw[i], spec->action_low[i % size]), spec->action_high[i % size]);
  return parts->clipped;
}

static int parts_step(parts_subject *parts, int32_t first, int32_t count, int32_t step) {
  dr_plain *plain = &parts->plain;
  drover_rollout_view *view = &parts->view;
  const size_t num_envs = (size_t)view->num_envs, row = (size_t)step * num_envs + (size_t)first;
  const size_t size = (size_t)view->observation_size, action_bytes = dr_action_bytes(&plain->spec, 1);
  const size_t num_infos = (size_t)view->num_infos;
  const unsigned char *actions = parts_actions(parts, row, count);
  memset(view->terminated + row, 0, (size_t)count);
  memset(view->truncated + row, 0, (size_t)count);
  memset(parts->failed, 0, (size_t)count);
  if (num_infos) memset(view->infos + row * num_infos, 0, (size_t)count * num_infos * sizeof(float));
  const int32_t block = plain->type->step_many ? BLOCK_ROWS : 1;
  for (int32_t i = 0; i < count; i += block) {
    const size_t at = row + (size_t)i;
    const drover_env_rows rows = {.count = block < count - i ? block : count - i,
                                  .first_env = first + i,
                                  .seed = DR_SUBJECT_SEED,
                                  .purpose = DROVER_RANDOM_STEP,
                                  .counters = plain->lifetime + first + i,
                                  .actions = actions + (size_t)i * action_bytes,
                                  .observations = view->observations + (at + num_envs) * size,
                                  .rewards = view->rewards + at,
                                  .terminated = view->terminated + at,
                                  .truncated = view->truncated + at,
                                  .infos = num_infos ? view->infos + at * num_infos : NULL,
                                  .failed = parts->failed + i};
    void *states = plain->states + (size_t)(first + i) * plain->spec.state_size;
    const int failed = plain->type->step_many ? plain->type->step_many(plain->shared, states, &rows)
                                              : plain->type->step(plain->shared, states, &rows);
    if (failed) return -1;
  }
  return 0;
}

/* Whether every number is finite: an exponent of all ones means it is not. */
static bool all_finite(const float *values, size_t count) {
  uint32_t bad = 0;
  for (size_t i = 0; i < count; i++) {
    uint32_t bits;
    memcpy(&bits, values + i, sizeof bits);
    bad |= (uint32_t)((bits & 0x7F800000u) == 0x7F800000u);
  }
  return bad == 0;
}

static int parts_end_episode(parts_subject *parts, int32_t env, int32_t step, float *observation) {
  dr_plain *plain = &parts->plain;
  drover_rollout_view *view = &parts->view;
  const size_t row = (size_t)step * (size_t)view->num_envs + (size_t)env, size = (size_t)view->observation_size;
  parts->episodes[view->num_episodes] = (drover_episode){.step = step,
                                                         .env = env,
                                                         .episode_return = plain->episode_return[env],
                                                         .length = plain->length[env],
                                                         .terminated = view->terminated[row],
                                                         .truncated = view->truncated[row]};
  memcpy(parts->ended + (size_t)view->num_episodes * size, observation, size * sizeof(float));
  view->num_episodes++;
  return dr_plain_reset(plain, env, observation);
}

/* What is left to do for the rows: counters, checks, time limit, the ends of episodes. Each loop is over one array. */
static int parts_end_rows(parts_subject *parts, int32_t first, int32_t count, int32_t step) {
  dr_plain *plain = &parts->plain;
  drover_rollout_view *view = &parts->view;
  const size_t num_envs = (size_t)view->num_envs, size = (size_t)view->observation_size;
  const size_t row = (size_t)step * num_envs + (size_t)first;
  float *observations = view->observations + (row + num_envs) * size;
  if (memchr(parts->failed, 1, (size_t)count) || !all_finite(view->rewards + row, (size_t)count) ||
      !all_finite(observations, (size_t)count * size))
    return -1;
  memset(view->valid + row, 1, (size_t)count);
  const int32_t limit = plain->spec.max_episode_steps > 0 ? plain->spec.max_episode_steps : INT32_MAX;
  uint64_t *restrict lifetime = plain->lifetime + first;
  double *restrict returns = plain->episode_return + first;
  int32_t *restrict length = plain->length + first;
  uint8_t *restrict terminated = view->terminated + row, *restrict truncated = view->truncated + row;
  const float *restrict rewards = view->rewards + row;
  uint8_t ended = 0;
  for (int32_t i = 0; i < count; i++) lifetime[i]++;
  for (int32_t i = 0; i < count; i++) returns[i] += (double)rewards[i];
  for (int32_t i = 0; i < count; i++) length[i]++;
  for (int32_t i = 0; i < count; i++) truncated[i] |= (uint8_t)(length[i] >= limit);
  for (int32_t i = 0; i < count; i++) ended |= terminated[i] | truncated[i];
  for (int32_t i = 0; ended && i < count; i++)
    if ((terminated[i] | truncated[i]) &&
        parts_end_episode(parts, first + i, step, observations + (size_t)i * size) != 0)
      return -1;
  return 0;
}

/* ---- After the last step ---- */

static int compare_episodes(const void *a, const void *b, void *user) {
  const drover_episode *episodes = user;
  const drover_episode *x = episodes + *(const int64_t *)a, *y = episodes + *(const int64_t *)b;
  if (x->step != y->step) return x->step < y->step ? -1 : 1;
  return (x->env > y->env) - (x->env < y->env);
}

/* Episodes and their final observations in (step, env) order. */
static int parts_sort_episodes(parts_subject *parts) {
  const int64_t count = parts->view.num_episodes;
  const size_t size = (size_t)parts->view.observation_size;
  if (count == 0) return 0;
  drover_episode *sorted = malloc((size_t)count * sizeof *sorted);
  if (!sorted) return -1;
  for (int64_t i = 0; i < count; i++) parts->order[i] = i;
  qsort_r(parts->order, (size_t)count, sizeof *parts->order, compare_episodes, parts->episodes);
  for (int64_t i = 0; i < count; i++) {
    sorted[i] = parts->episodes[parts->order[i]];
    memcpy(parts->final_observations + (size_t)i * size, parts->ended + (size_t)parts->order[i] * size,
           size * sizeof(float));
  }
  memcpy(parts->episodes, sorted, (size_t)count * sizeof *sorted);
  free(sorted);
  return 0;
}

/* Values of final observations, where GAE needs them: at truncations that are no terminations. */
static int parts_final_values(parts_subject *parts) {
  const size_t size = (size_t)parts->view.observation_size;
  for (int64_t i = 0; i < parts->view.num_episodes; i++) {
    parts->final_values[i] = 0;
    if (parts->episodes[i].terminated) continue;
    if (parts->table.type.value(parts->table.self, parts->table.version, parts->table.context, 1,
                                parts->final_observations + (size_t)i * size, parts->final_values + i) != 0)
      return -1;
  }
  return 0;
}

/* Generalised advantage estimates (Schulman et al. 2016, eq. 16), from the last row to the first. */
static void parts_advantages(parts_subject *parts) {
  drover_rollout_view *view = &parts->view;
  const size_t num_envs = (size_t)view->num_envs;
  int64_t episode = view->num_episodes - 1;
  for (int32_t step = parts->num_steps - 1; step >= 0; step--) {
    const size_t row = (size_t)step * num_envs;
    memcpy(parts->next_values, view->values + row + num_envs, num_envs * sizeof(float));
    for (; episode >= 0 && parts->episodes[episode].step == step; episode--)
      parts->next_values[parts->episodes[episode].env] = parts->final_values[episode];
    for (size_t env = 0; env < num_envs; env++) {
      const bool done = view->terminated[row + env] | view->truncated[row + env];
      const float later = step + 1 < parts->num_steps && !done ? view->advantages[row + num_envs + env] : 0;
      const float delta = view->rewards[row + env] + parts->gamma * parts->next_values[env] - view->values[row + env];
      view->advantages[row + env] = delta + parts->gamma * parts->gae_lambda * later;
      view->returns[row + env] = view->advantages[row + env] + view->values[row + env];
    }
  }
}

/* ---- The rollout ---- */

static int parts_collect(parts_subject *parts) {
  drover_rollout_view *view = &parts->view;
  const size_t num_envs = (size_t)view->num_envs, size = (size_t)view->observation_size;
  float *last = view->observations + (size_t)parts->num_steps * num_envs * size;
  memcpy(view->observations, last, num_envs * size * sizeof(float));
  view->num_episodes = 0;
  for (int32_t first = 0; first < view->num_envs; first += parts->shard) {
    const int32_t left = view->num_envs - first, count = parts->shard < left ? parts->shard : left;
    for (int32_t step = 0; step < parts->num_steps; step++)
      if (parts_infer(parts, first, count, step) != 0 || parts_step(parts, first, count, step) != 0 ||
          parts_end_rows(parts, first, count, step) != 0)
        return -1;
    if (view->values && parts->table.type.value(parts->table.self, parts->table.version, parts->table.context, count,
                                                last + (size_t)first * size,
                                                view->values + (size_t)parts->num_steps * num_envs + first) != 0)
      return -1;
  }
  if (parts_sort_episodes(parts) != 0) return -1;
  if (!view->values) return 0;
  if (parts_final_values(parts) != 0) return -1;
  parts_advantages(parts);
  return 0;
}

static int parts_restore(dr_subject *subject) {
  parts_subject *parts = (parts_subject *)subject;
  const size_t last = (size_t)parts->num_steps * (size_t)parts->view.num_envs * (size_t)parts->view.observation_size;
  return dr_restore_plain(&parts->plain, subject->bench, parts->view.observations + last);
}

static int parts_run(dr_subject *subject, int64_t iterations) {
  parts_subject *parts = (parts_subject *)subject;
  for (int64_t i = 0; i < iterations; i++)
    if (parts_collect(parts) != 0) return dr_bench_fail(subject->bench, "%s: a part failed", parts->plain.type->name);
  return 0;
}

int dr_parts_subject_view(dr_subject *subject, drover_rollout_view *view) {
  *view = ((parts_subject *)subject)->view;
  return 0;
}

static int parts_result(dr_subject *subject, uint64_t *digest) {
  *digest = dr_digest_last_row(&((parts_subject *)subject)->view);
  return 0;
}

static void parts_destroy(dr_subject *subject) {
  parts_subject *parts = (parts_subject *)subject;
  dr_policy_table_close(&parts->table);
  drover_policy_destroy(parts->policy);
  dr_plain_close(&parts->plain);
  dr_rollout_buffers_free(&parts->view);
  void *const owned[] = {
      parts->episodes, parts->final_observations, parts->final_values, parts->ended, parts->order, parts->clipped,
      parts->failed,   parts->next_values};
  for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++) free(owned[i]);
  free(parts);
}

static const dr_subject_type parts_type = {parts_restore, parts_run, parts_result, parts_destroy};

static int parts_allocate(parts_subject *parts, int32_t num_envs) {
  const drover_env_spec *spec = &parts->plain.spec;
  const bool has_values = parts->policy_spec.has_values != 0;
  const size_t n = (size_t)num_envs, rows = n * (size_t)parts->num_steps;
  const size_t observation_bytes = (size_t)spec->observation_size * sizeof(float);
  const drover_status status = dr_rollout_buffers_make(&parts->view, spec, num_envs, parts->num_steps, has_values);
  /* An episode has a step at least, so there are no more of them than rows. */
  parts->episodes = dr_zeroed(rows, sizeof *parts->episodes);
  parts->final_observations = dr_zeroed(rows, observation_bytes);
  parts->final_values = dr_zeroed(has_values ? rows : 0, sizeof *parts->final_values);
  parts->ended = dr_zeroed(rows, observation_bytes);
  parts->order = dr_zeroed(rows, sizeof *parts->order);
  parts->clipped = dr_zeroed((size_t)parts->shard, dr_action_bytes(spec, 1));
  parts->failed = dr_zeroed((size_t)parts->shard, 1);
  parts->next_values = dr_zeroed(n, sizeof *parts->next_values);
  if (status != DROVER_OK || !parts->episodes || !parts->final_observations || !parts->final_values || !parts->ended ||
      !parts->order || !parts->clipped || !parts->failed || !parts->next_values)
    return dr_bench_fail(parts->head.bench, "out of memory for %zu rows", rows);
  parts->view.episodes = parts->episodes;
  parts->view.final_observations = parts->final_observations;
  parts->view.final_values = has_values ? parts->final_values : NULL;
  return 0;
}

int dr_subject_create_parts(dr_subject **out, dr_bench *bench, const dr_batch_request *request,
                            const dr_net_request *net, int32_t num_steps) {
  parts_subject *parts = calloc(1, sizeof *parts);
  if (!parts) return dr_bench_fail(bench, "out of memory");
  parts->head = (dr_subject){&parts_type, bench, (double)request->num_envs * num_steps};
  parts->shard = request->shard > 0 && request->shard < request->num_envs ? request->shard : request->num_envs;
  parts->num_steps = num_steps;
  drover_rollout_options defaults;
  drover_status status = drover_rollout_options_init(&defaults, sizeof defaults);
  if (status != DROVER_OK) {
    dr_bench_fail_status(bench, "rollout options", status);
    goto fail;
  }
  parts->gamma = defaults.gamma;
  parts->gae_lambda = defaults.gae_lambda;
  if (dr_make_plain(&parts->plain, bench, request) != 0 ||
      dr_make_policy(&parts->policy, bench, bench->one, &parts->plain.spec, net) != 0 ||
      dr_policy_table_open(&parts->table, bench, parts->policy) != 0)
    goto fail;
  status = drover_policy_get_spec(parts->policy, &parts->policy_spec);
  if (status != DROVER_OK) {
    dr_bench_fail_status(bench, "policy", status);
    goto fail;
  }
  if (parts_allocate(parts, request->num_envs) != 0) goto fail;
  *out = &parts->head;
  return 0;
fail:
  parts_destroy(&parts->head);
  return -1;
}
