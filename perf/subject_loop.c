/* subject_loop.c: a plain C loop over the scalar env: what Drover is measured against. */
#include <stdlib.h>
#include <string.h>

#include "perf/plain_inner.h"
#include "perf/subject.h"

typedef struct loop_subject {
  dr_subject head;
  dr_plain plain;
  float *observations;       /* [N x observation_size] */
  float *final_observations; /* [N x observation_size] */
  float *rewards;            /* [N] */
  uint8_t *flags;            /* [3 x N] terminated, truncated, failed */
  float *infos;              /* [N x num_infos] */
  unsigned char *actions;    /* [DR_NUM_GIVEN_STEPS or 1 x N x action_size] */
  drover_policy *policy;     /* of its own, or NULL */
  dr_policy_table table;     /* not open: actions are given */
  dr_plain_inner inner;      /* not open: there is no inner loop */
  float *logprobs;           /* [N] */
  float *values;             /* [N], if the policy has them */
  float *clipped;            /* [N x action_size], or NULL: actions go to the env as they are */
} loop_subject;

static int loop_restore(dr_subject *subject) {
  loop_subject *loop = (loop_subject *)subject;
  return dr_restore_plain(&loop->plain, subject->bench, loop->observations);
}

/* Raw actions within the env's bounds, as collect hands them on. */
static const unsigned char *clip(const loop_subject *loop) {
  const drover_env_spec *spec = &loop->plain.spec;
  const float *raw = (const float *)(const void *)loop->actions;
  const int32_t size = spec->action_size;
  for (int32_t i = 0; i < loop->plain.num_envs * size; i++) {
    const float low = spec->action_low[i % size], high = spec->action_high[i % size];
    loop->clipped[i] = raw[i] < low ? low : raw[i] > high ? high : raw[i];
  }
  return (const unsigned char *)loop->clipped;
}

/* The actions of all envs for this step: given, or the policy's. */
static const unsigned char *loop_actions(loop_subject *loop, int64_t step) {
  if (!loop->table.opened)
    return loop->actions +
           (size_t)(step % DR_NUM_GIVEN_STEPS) * dr_action_bytes(&loop->plain.spec, loop->plain.num_envs);
  const drover_policy_rows rows = {.count = loop->plain.num_envs,
                                   .first_env = loop->plain.first_env,
                                   .seed = DR_SUBJECT_SEED,
                                   .counters = loop->plain.lifetime,
                                   .observations = loop->observations,
                                   .actions = loop->actions,
                                   .logprobs = loop->logprobs,
                                   .values = loop->values};
  if (dr_policy_table_act(&loop->table, &rows) != 0) return NULL;
  return loop->clipped ? clip(loop) : loop->actions;
}

/* One step of envs first..first+count-1: the loop itself. */
static int loop_step(loop_subject *loop, int32_t first, int32_t count, const unsigned char *actions) {
  dr_plain *plain = &loop->plain;
  const drover_env_type *type = plain->type;
  const int32_t limit = plain->spec.max_episode_steps;
  const size_t num_envs = (size_t)plain->num_envs;
  const size_t state_size = plain->spec.state_size, action_bytes = dr_action_bytes(&plain->spec, 1);
  const size_t observation_size = (size_t)plain->spec.observation_size, num_infos = (size_t)plain->spec.num_infos;
  for (size_t flag = 0; flag < 3; flag++) memset(loop->flags + flag * num_envs + first, 0, (size_t)count);
  if (num_infos) memset(loop->infos + (size_t)first * num_infos, 0, (size_t)count * num_infos * sizeof *loop->infos);
  drover_env_rows rows = {.count = 1, .seed = DR_SUBJECT_SEED, .purpose = DROVER_RANDOM_STEP};
  for (int32_t env = first; env < first + count; env++) {
    const size_t i = (size_t)env;
    rows.first_env = plain->first_env + env;
    rows.counters = plain->lifetime + i;
    rows.actions = actions + i * action_bytes;
    rows.observations = loop->observations + i * observation_size;
    rows.rewards = loop->rewards + i;
    rows.terminated = loop->flags + i;
    rows.truncated = loop->flags + num_envs + i;
    rows.failed = loop->flags + 2 * num_envs + i;
    rows.infos = num_infos ? loop->infos + i * num_infos : NULL;
    if (type->step(plain->shared, plain->states + i * state_size, &rows) != 0) return -1;
    plain->lifetime[i]++;
    plain->episode_return[i] += (double)*rows.rewards;
    if (++plain->length[i] == limit) *rows.truncated = 1;
    if (!*rows.terminated && !*rows.truncated) continue;
    memcpy(loop->final_observations + i * observation_size, rows.observations, observation_size * sizeof(float));
    if (dr_plain_reset(plain, env, rows.observations) != 0) return -1;
  }
  return 0;
}

/* One step of every env; with an inner loop block by block, while a block's states are near. */
static int loop_step_all(loop_subject *loop, const unsigned char *actions) {
  const int32_t num_envs = loop->plain.num_envs;
  if (!loop->inner.plain) return loop_step(loop, 0, num_envs, actions);
  for (int32_t first = 0; first < num_envs; first += DR_PLAIN_BLOCK) {
    const int32_t count = num_envs - first < DR_PLAIN_BLOCK ? num_envs - first : DR_PLAIN_BLOCK;
    const unsigned char *given = actions + dr_action_bytes(&loop->plain.spec, first);
    if (dr_plain_inner_run(&loop->inner, first, count, given) != 0 || loop_step(loop, first, count, actions) != 0)
      return -1;
  }
  return 0;
}

static int loop_run(dr_subject *subject, int64_t iterations) {
  loop_subject *loop = (loop_subject *)subject;
  for (int64_t step = 0; step < iterations; step++) {
    const unsigned char *actions = loop_actions(loop, step);
    if (!actions || loop_step_all(loop, actions) != 0)
      return dr_bench_fail(subject->bench, "%s: an env failed at step %lld", loop->plain.type->name, (long long)step);
  }
  return 0;
}

static int loop_result(dr_subject *subject, uint64_t *digest) {
  const loop_subject *loop = (const loop_subject *)subject;
  *digest = dr_digest_rows(loop->observations, loop->rewards, loop->plain.num_envs, loop->plain.spec.observation_size);
  return 0;
}

static void loop_destroy(dr_subject *subject) {
  loop_subject *loop = (loop_subject *)subject;
  dr_plain_inner_close(&loop->inner);
  dr_policy_table_close(&loop->table);
  drover_policy_destroy(loop->policy);
  dr_plain_close(&loop->plain);
  free(loop->observations);
  free(loop->final_observations);
  free(loop->rewards);
  free(loop->flags);
  free(loop->infos);
  free(loop->actions);
  free(loop->logprobs);
  free(loop->values);
  free(loop->clipped);
  free(loop);
}

static const dr_subject_type loop_type = {loop_restore, loop_run, loop_result, loop_destroy};

static int loop_allocate(loop_subject *loop, bool acts) {
  const drover_env_spec *spec = &loop->plain.spec;
  const size_t count = (size_t)loop->plain.num_envs, size = (size_t)spec->observation_size;
  loop->observations = calloc(count * size, sizeof(float));
  loop->final_observations = calloc(count * size, sizeof(float));
  loop->rewards = calloc(count, sizeof(float));
  loop->flags = calloc(count, 3);
  loop->infos = calloc(count * (size_t)spec->num_infos + 1, sizeof(float));
  loop->logprobs = calloc(count, sizeof(float));
  loop->actions =
      acts ? calloc(1, dr_action_bytes(spec, loop->plain.num_envs)) : dr_make_actions(spec, loop->plain.num_envs);
  if (loop->observations && loop->final_observations && loop->rewards && loop->flags && loop->infos && loop->logprobs &&
      loop->actions)
    return 0;
  return dr_bench_fail(loop->head.bench, "out of memory for %d envs", loop->plain.num_envs);
}

int dr_subject_create_loop(dr_subject **out, dr_bench *bench, const dr_batch_request *request, bool acts) {
  loop_subject *loop = calloc(1, sizeof *loop);
  if (!loop) return dr_bench_fail(bench, "out of memory");
  loop->head = (dr_subject){&loop_type, bench, request->num_envs};
  if (dr_make_plain(&loop->plain, bench, request) != 0 || loop_allocate(loop, acts) != 0) goto fail;
  if (acts && (dr_make_policy(&loop->policy, bench, bench->one, &loop->plain.spec, &dr_net_uniform) != 0 ||
               dr_policy_table_open(&loop->table, bench, loop->policy) != 0))
    goto fail;
  *out = &loop->head;
  return 0;
fail:
  loop_destroy(&loop->head);
  return -1;
}

/* What a rollout has too: values, if the policy gives them, and clipped actions. */
static int allocate_for_policy(loop_subject *loop, drover_policy *policy) {
  const drover_env_spec *spec = &loop->plain.spec;
  const size_t count = (size_t)loop->plain.num_envs;
  drover_policy_spec policy_spec = {0};
  const drover_status status = drover_policy_get_spec(policy, &policy_spec);
  if (status != DROVER_OK) return dr_bench_fail_status(loop->head.bench, "policy", status);
  const bool has_values = policy_spec.has_values != 0;
  const bool clips = spec->action_kind == DROVER_ACTION_CONTINUOUS;
  if (has_values) loop->values = calloc(count, sizeof *loop->values);
  if (clips) loop->clipped = calloc(count * (size_t)spec->action_size, sizeof *loop->clipped);
  if ((has_values && !loop->values) || (clips && !loop->clipped))
    return dr_bench_fail(loop->head.bench, "out of memory for %d envs", loop->plain.num_envs);
  return 0;
}

int dr_subject_create_policy_loop(dr_subject **out, dr_bench *bench, const dr_plain_request *request,
                                  drover_policy *policy, drover_policy *inner_policy) {
  loop_subject *loop = calloc(1, sizeof *loop);
  if (!loop) return dr_bench_fail(bench, "out of memory");
  loop->head = (dr_subject){&loop_type, bench, request->num_envs};
  if (dr_plain_open(&loop->plain, request, bench->message, sizeof bench->message) != DROVER_OK ||
      loop_allocate(loop, true) != 0 || allocate_for_policy(loop, policy) != 0 ||
      dr_policy_table_open(&loop->table, bench, policy) != 0 ||
      (inner_policy && dr_plain_inner_open(&loop->inner, bench, &loop->plain, inner_policy) != 0)) {
    loop_destroy(&loop->head);
    return -1;
  }
  *out = &loop->head;
  return 0;
}

void dr_loop_subject_rows(const dr_subject *subject, const float **observations, const float **rewards) {
  const loop_subject *loop = (const loop_subject *)subject;
  *observations = loop->observations;
  *rewards = loop->rewards;
}
