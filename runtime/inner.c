/* inner.c: the ticks inside a step: begin, the inner policy on rows of many envs at once, tick. */
#include "runtime/inner.h"

#include <stdlib.h>

#include "runtime/clock.h"
#include "runtime/error.h"
#include "runtime/fault.h"
#include "runtime/memory.h"
#include "runtime/policy.h"
#include "runtime/runtime.h"

/* ---- Memory and the policy ----------------------------------------------------------------------------------- */

drover_status dr_inner_allocate(drover_batch *batch) {
  if (!dr_has_inner(batch)) return DROVER_OK;
  const drover_env_spec *spec = &batch->spec;
  dr_inner *inner = &batch->inner;
  const size_t n = (size_t)batch->num_envs;
  inner->observations = dr_slab_alloc(n, (size_t)spec->inner_observation_size * sizeof(float));
  inner->actions = dr_slab_alloc(n, (size_t)spec->inner_action_size * sizeof(float));
  inner->sample_ticks = dr_slab_alloc(n, sizeof *inner->sample_ticks);
  if (spec->inner_sample_size > 0) inner->samples = dr_slab_alloc(n, (size_t)spec->inner_sample_size * sizeof(float));
  if (inner->observations && inner->actions && inner->sample_ticks && (inner->samples || spec->inner_sample_size == 0))
    return DROVER_OK;
  return dr_fail(DROVER_ERROR_NO_MEMORY, "batch: no memory for the inner rows of %d envs of %s", (int)batch->num_envs,
                 batch->type->name);
}

static void let_go(drover_batch *batch) {
  /* release: drover_policy_destroy, which acquires, must see the batch's calls done. */
  if (batch->inner.policy) atomic_fetch_sub_explicit(&batch->inner.policy->num_users, 1, memory_order_release);
  batch->inner.policy = NULL;
}

void dr_inner_free(drover_batch *batch) {
  let_go(batch);
  free(batch->inner.observations);
  free(batch->inner.actions);
  free(batch->inner.sample_ticks);
  free(batch->inner.samples);
}

/* The first time this is also the first touch of the rows' memory. */
void dr_inner_reset(drover_batch *batch, int32_t first, int32_t count) {
  if (!dr_has_inner(batch)) return;
  const drover_env_spec *spec = &batch->spec;
  const dr_inner *inner = &batch->inner;
  const size_t f = (size_t)first, n = (size_t)count, width = (size_t)spec->inner_observation_size,
               size = (size_t)spec->inner_action_size, sample = (size_t)spec->inner_sample_size;
  memset(inner->observations + f * width, 0, n * width * sizeof(float));
  memset(inner->actions + f * size, 0, n * size * sizeof(float));
  memset(inner->sample_ticks + f, 0, n * sizeof *inner->sample_ticks);
  if (inner->samples) memset(inner->samples + f * sample, 0, n * sample * sizeof(float));
}

static drover_status check_fit(const drover_batch *batch, const drover_policy *policy) {
  const drover_env_spec *spec = &batch->spec;
  const drover_policy_spec *p = &policy->spec;
  const char *name = policy->type.name, *env = batch->type->name;
  if (policy->runtime != batch->runtime)
    return dr_fail(DROVER_ERROR_ARGUMENT,
                   "batch set_inner_policy: the policy and the batch belong to different runtimes");
  if (p->action_kind != DROVER_ACTION_CONTINUOUS)
    return dr_fail(DROVER_ERROR_POLICY, "inner policy %s gives discrete actions, the inner loop of %s takes %d numbers",
                   name, env, (int)spec->inner_action_size);
  if (p->observation_size != spec->inner_observation_size)
    return dr_fail(DROVER_ERROR_POLICY,
                   "inner policy %s takes observations of %d numbers, the inner loop of %s gives %d", name,
                   (int)p->observation_size, env, (int)spec->inner_observation_size);
  if (p->action_size != spec->inner_action_size)
    return dr_fail(DROVER_ERROR_POLICY, "inner policy %s gives %d numbers an action, the inner loop of %s takes %d",
                   name, (int)p->action_size, env, (int)spec->inner_action_size);
  return DROVER_OK;
}

static drover_status set_policy(drover_batch *batch, drover_policy *policy) {
  if (!dr_has_inner(batch))
    return dr_fail(DROVER_ERROR_UNSUPPORTED, "batch set_inner_policy: env type %s has no inner loop",
                   batch->type->name);
  const drover_status status = policy ? check_fit(batch, policy) : DROVER_OK;
  if (status != DROVER_OK) return status;
  if (policy) atomic_fetch_add_explicit(&policy->num_users, 1, memory_order_relaxed);
  let_go(batch);
  batch->inner.policy = policy;
  return DROVER_OK;
}

drover_status drover_batch_set_inner_policy(drover_batch *batch, drover_policy *policy) {
  drover_status status = DROVER_OK;
  if (policy) status = dr_handle_check(policy, DR_HANDLE_POLICY, "batch set_inner_policy");
  if (status == DROVER_OK) status = dr_batch_enter(batch, "batch set_inner_policy", false);
  if (status != DROVER_OK) return status;
  status = set_policy(batch, policy);
  dr_batch_leave(batch);
  return status;
}

drover_status dr_inner_check(const drover_batch *batch, const char *what) {
  if (!dr_has_inner(batch) || batch->inner.policy) return DROVER_OK;
  return dr_fail(DROVER_ERROR_STATE,
                 "%s: a step of %s has %d ticks of an inner policy, and the batch has none: call "
                 "drover_batch_set_inner_policy first",
                 what, batch->type->name, (int)batch->spec.num_ticks);
}

const void *dr_inner_acquire(drover_batch *batch) {
  return batch->inner.policy ? dr_policy_acquire(batch->inner.policy) : NULL;
}

void dr_inner_release(drover_batch *batch, const void *version) {
  if (batch->inner.policy) dr_policy_release(batch->inner.policy, version);
}

/* ---- One env's tick ------------------------------------------------------------------------------------------ */

/* Where env e's inner rows are in this step. */
typedef struct place {
  drover_batch *batch;
  const dr_rows *rows;
  int32_t e;
  void *state;
  float *observation, *action, *sample; /* sample may be NULL */
} place;

static place place_of(drover_batch *batch, const dr_rows *rows, int32_t e) {
  const drover_env_spec *spec = &batch->spec;
  const size_t at = (size_t)e;
  return (place){.batch = batch,
                 .rows = rows,
                 .e = e,
                 .state = batch->states + at * spec->state_size,
                 .observation = batch->inner.observations + at * (size_t)spec->inner_observation_size,
                 .action = batch->inner.actions + at * (size_t)spec->inner_action_size,
                 .sample = rows->inner_samples ? rows->inner_samples + at * (size_t)spec->inner_sample_size : NULL};
}

static void clear_sample(const place *p) {
  if (p->sample) memset(p->sample, 0, (size_t)p->batch->spec.inner_sample_size * sizeof(float));
}

/* Leave the env out of the rest of this step. Its inner row becomes zero, so that it is harmless to the policy. */
static void leave_out(const place *p, int32_t why) {
  p->batch->inner.sample_ticks[p->e] = why;
  memset(p->observation, 0, (size_t)p->batch->spec.inner_observation_size * sizeof(float));
  clear_sample(p);
}

/* Not finite: kept as the fault's sentence. */
static bool is_bad(const place *p, const char *what, const float *numbers, int32_t count) {
  return dr_fault_find(p->batch, p->e, DR_FAULT_OF_STEP, what, numbers, (size_t)count);
}

/* Call `begin` (tick -1) or `tick` of one env, and judge what it wrote. */
static void call(const place *p, int32_t tick) {
  drover_batch *batch = p->batch;
  const drover_env_spec *spec = &batch->spec;
  const bool last = tick + 1 == spec->num_ticks;
  const bool kept = p->sample && batch->inner.sample_ticks[p->e] == tick + 1;
  const drover_env_tick call = {
      .env = p->e,
      .tick = tick,
      .seed = batch->seed,
      .counter = batch->lifetime_steps[p->e],
      .action = (const unsigned char *)p->rows->actions + (size_t)p->e * (size_t)spec->action_size * 4,
      .inner_action = tick < 0 ? NULL : p->action,
      .inner_observation = last ? NULL : p->observation,
      .sample = kept ? p->sample : NULL};
  const int failed =
      tick < 0 ? batch->type->begin(batch->shared, p->state, &call) : batch->type->tick(batch->shared, p->state, &call);
  if (failed)
    dr_fault_ask(batch, p->e, DR_FAULT_OF_STEP,
                 tick < 0 ? "its begin returned an error" : "its tick returned an error");
  if (failed || (!last && is_bad(p, "inner_observation", p->observation, spec->inner_observation_size)) ||
      (kept && is_bad(p, "inner_sample", p->sample, spec->inner_sample_size)))
    leave_out(p, DR_INNER_FAILED);
}

/* ---- The parts of a step ------------------------------------------------------------------------------------- */

/* Each of the K ticks is equally likely, whoever steps the env. */
static int32_t draw_sample_tick(const drover_batch *batch, int32_t e) {
  drover_random random = drover_random_at(batch->seed, (uint32_t)e, DROVER_RANDOM_SAMPLE, batch->lifetime_steps[e]);
  return (int32_t)(drover_random_u32(&random) % (uint32_t)batch->spec.num_ticks);
}

void dr_inner_begin(drover_batch *batch, const dr_rows *rows, int32_t first, int32_t count) {
  for (int32_t e = first; e < first + count; e++) {
    const place p = place_of(batch, rows, e);
    if (batch->special[e]) {
      leave_out(&p, DR_INNER_SKIPPED);
      continue;
    }
    clear_sample(&p);
    batch->inner.sample_ticks[e] = p.sample ? draw_sample_tick(batch, e) : 0;
    call(&p, -1);
  }
}

drover_status dr_inner_infer(drover_batch *batch, dr_worker *worker, const void *version, int32_t first,
                             int32_t count) {
  const dr_inner *inner = &batch->inner;
  const drover_policy_rows rows = {
      .count = count,
      .first_env = first,
      .seed = batch->seed,
      .counters = batch->lifetime_steps + first,
      .deterministic = 1,
      .observations = inner->observations + (size_t)first * (size_t)batch->spec.inner_observation_size,
      .actions = inner->actions + (size_t)first * (size_t)batch->spec.inner_action_size};
  return dr_policy_act(inner->policy, version, worker, &rows);
}

drover_status dr_inner_tick(drover_batch *batch, dr_worker *worker, const dr_rows *rows, int32_t first, int32_t count,
                            int32_t tick) {
  const size_t size = (size_t)batch->spec.inner_action_size;
  const bool sound = dr_all_finite(batch->inner.actions + (size_t)first * size, (size_t)count * size);
  for (int32_t e = first; e < first + count; e++) {
    if (batch->inner.sample_ticks[e] < 0) continue;
    const place p = place_of(batch, rows, e);
    if (!sound && is_bad(&p, "inner_action", p.action, batch->spec.inner_action_size))
      leave_out(&p, DR_INNER_FAILED);
    else
      call(&p, tick);
  }
  if (tick + 1 < batch->spec.num_ticks) return DROVER_OK;
  return dr_batch_advance(batch, worker, rows, first, count);
}

drover_status dr_inner_step(drover_batch *batch, dr_worker *worker, const void *version, const dr_rows *rows,
                            int32_t first, int32_t count, uint64_t *infer_ticks) {
  if (!dr_has_inner(batch)) return dr_batch_advance(batch, worker, rows, first, count);
  dr_inner_begin(batch, rows, first, count);
  drover_status status = DROVER_OK;
  for (int32_t tick = 0; tick < batch->spec.num_ticks && status == DROVER_OK; tick++) {
    const uint64_t begin = dr_ticks();
    status = dr_inner_infer(batch, worker, version, first, count);
    *infer_ticks += dr_ticks() - begin;
    if (status == DROVER_OK) status = dr_inner_tick(batch, worker, rows, first, count, tick);
  }
  return status;
}

void dr_inner_set_phases(const drover_batch *batch, dr_phase phases[DR_INNER_PHASES]) {
  phases[DR_INNER_BEGIN] = (dr_phase){.kind = DR_KIND_STEP, .chunk = batch->options.chunk, .cost = DR_COST_BEGIN};
  phases[DR_INNER_INFER] = (dr_phase){
      .kind = DR_KIND_INFER, .multiple = dr_policy_row_multiple(batch->inner.policy), .cost = DR_COST_INNER_INFER};
  phases[DR_INNER_TICK] = (dr_phase){.kind = DR_KIND_STEP, .chunk = batch->options.chunk, .cost = DR_COST_TICK};
}

double dr_inner_row_ns(const dr_run *run, int32_t num_ticks) {
  return dr_run_row_ns(run, DR_COST_BEGIN) +
         num_ticks * (dr_run_row_ns(run, DR_COST_INNER_INFER) + dr_run_row_ns(run, DR_COST_TICK));
}
