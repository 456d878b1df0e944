/* collect.c: filling a rollout: collect (in the workers) and record (by a caller that steps itself). */
#include <stdio.h>

#include "runtime/clock.h"
#include "runtime/error.h"
#include "runtime/inner.h"
#include "runtime/rollout.h"
#include "runtime/runtime.h"

/* ---- Rows of a step ------------------------------------------------------------------------------------------ */

/* Where step t's rows go. */
static dr_rows rows_at(const drover_rollout *r, int64_t step) {
  const drover_rollout_view *v = &r->view;
  const size_t n = (size_t)v->num_envs, t = (size_t)step, width = (size_t)v->observation_size;
  const unsigned char *raw = (const unsigned char *)v->actions + t * n * (size_t)v->action_size * 4;
  return (dr_rows){.actions = r->transforms ? (const void *)r->batch->actions : raw,
                   .previous_observations = v->observations + t * n * width,
                   .observations = v->observations + (t + 1) * n * width,
                   .rewards = v->rewards + t * n,
                   .terminated = v->terminated + t * n,
                   .truncated = v->truncated + t * n,
                   .valid = v->valid + t * n,
                   .infos = v->infos ? v->infos + t * n * (size_t)v->num_infos : NULL,
                   .inner_samples = v->inner_samples ? v->inner_samples + t * n * (size_t)v->inner_sample_size : NULL};
}

static drover_status act_rows(void *object, dr_worker *worker, int32_t first, int32_t count, int64_t step) {
  drover_rollout *r = object;
  drover_batch *batch = r->batch;
  const drover_rollout_view *v = &r->view;
  const size_t at = (size_t)step * (size_t)v->num_envs + (size_t)first;
  const size_t action_bytes = (size_t)v->action_size * 4;
  const drover_policy_rows rows = {
      .count = count,
      .first_env = first,
      .seed = batch->seed,
      .counters = batch->lifetime_steps + first,
      .deterministic = r->options.deterministic,
      .observations = v->observations + at * (size_t)v->observation_size,
      .actions = (unsigned char *)v->actions + at * action_bytes,
      .logprobs = v->logprobs + at,
      .values = v->values ? v->values + at : NULL,
  };
  const drover_status status = dr_policy_act(r->policy, r->version, worker, &rows);
  if (!r->transforms || status != DROVER_OK) return status;
  float *actions = (float *)(void *)(batch->actions + (size_t)first * action_bytes);
  dr_transform_actions(r->options.transform, &batch->spec, rows.actions, actions, rows.logprobs, count);
  return DROVER_OK;
}

static drover_status step_rows(void *object, dr_worker *worker, int32_t first, int32_t count, int64_t step) {
  const drover_rollout *r = object;
  const dr_rows rows = rows_at(r, step);
  return dr_batch_advance(r->batch, worker, &rows, first, count);
}

static drover_status begin_ticks_rows(void *object, dr_worker *worker, int32_t first, int32_t count, int64_t step) {
  (void)worker;
  const drover_rollout *r = object;
  const dr_rows rows = rows_at(r, step);
  dr_inner_begin(r->batch, &rows, first, count);
  return DROVER_OK;
}

static drover_status inner_infer_rows(void *object, dr_worker *worker, int32_t first, int32_t count, int64_t step) {
  (void)step;
  const drover_rollout *r = object;
  return dr_inner_infer(r->batch, worker, r->inner_version, first, count);
}

static drover_status tick_rows(void *object, dr_worker *worker, int32_t first, int32_t count, int64_t step,
                               int32_t repeat) {
  const drover_rollout *r = object;
  const dr_rows rows = rows_at(r, step);
  return dr_inner_tick(r->batch, worker, &rows, first, count, repeat);
}

static drover_status end_step(void *object, dr_worker *worker, int32_t chain, int32_t first, int32_t count,
                              int64_t step) {
  (void)worker;
  drover_rollout *r = object;
  const dr_rows rows = rows_at(r, step);
  const drover_status status =
      dr_log_step(&r->logs[chain], r->batch, rows.terminated, rows.truncated, first, count, (int32_t)step);
  if (status == DROVER_OK) return status;
  int64_t least = atomic_load_explicit(&r->num_logged, memory_order_relaxed);
  while (step < least && !atomic_compare_exchange_weak_explicit(&r->num_logged, &least, step, memory_order_relaxed,
                                                                memory_order_relaxed))
    continue;
  return status;
}

/* ---- The two ends of a chain --------------------------------------------------------------------------------- */

static drover_status begin_rows(void *object, dr_worker *worker, int32_t first, int32_t count) {
  (void)worker;
  const drover_rollout *r = object;
  const size_t width = (size_t)r->view.observation_size, at = (size_t)first * width;
  memcpy(r->view.observations + at, r->batch->observations + at, (size_t)count * width * sizeof(float));
  return DROVER_OK;
}

/* Hand the last observations back to the batch. */
static drover_status hand_back_rows(void *object, dr_worker *worker, int32_t first, int32_t count, int64_t next_step) {
  (void)worker;
  const drover_rollout *r = object;
  const size_t width = (size_t)r->view.observation_size;
  const size_t row = (size_t)next_step * (size_t)r->view.num_envs + (size_t)first;
  memcpy(r->batch->observations + (size_t)first * width, r->view.observations + row * width,
         (size_t)count * width * sizeof(float));
  return DROVER_OK;
}

/* Value the observations of a row. */
static drover_status value_rows(void *object, dr_worker *worker, int32_t first, int32_t count, int64_t step) {
  const drover_rollout *r = object;
  const size_t width = (size_t)r->view.observation_size;
  const size_t row = (size_t)step * (size_t)r->view.num_envs + (size_t)first;
  const float *last = r->view.observations + row * width;
  drover_status status = DROVER_OK;
  for (int32_t done = 0; r->view.values && done < count && status == DROVER_OK; done += DR_BLOCK_ROWS) {
    const int32_t block = count - done < DR_BLOCK_ROWS ? count - done : DR_BLOCK_ROWS;
    status =
        dr_policy_value(r->policy, r->version, worker, block, last + (size_t)done * width, r->view.values + row + done);
  }
  return status;
}

static drover_status end_rows(void *object, dr_worker *worker, int32_t first, int32_t count, int64_t next_step) {
  hand_back_rows(object, worker, first, count, next_step);
  return value_rows(object, worker, first, count, next_step);
}

/* Bootstrap values of row `step`, by a run of their own: where the steps were not one run. */
static drover_status value_all(drover_rollout *r, int64_t step) {
  if (!r->view.values) return DROVER_OK;
  const dr_phase phase = {
      .kind = DR_KIND_INFER, .multiple = dr_policy_row_multiple(r->policy), .cost = DR_COST_VALUE, .rows = value_rows};
  const dr_program program = {.phases = &phase, .num_phases = 1, .uncancellable = true};
  return dr_run_execute(&r->run, &program, r, step, 1,
                        dr_batch_better_alone(r->batch, dr_run_row_ns(&r->run, DR_COST_VALUE)), NULL);
}

/* ---- Collect ------------------------------------------------------------------------------------------------- */

static void tick(void *object) {
  const drover_rollout *r = object;
  if (!r->options.progress) return;
  const drover_progress progress = {.env_steps_done = r->steps_before + dr_run_rows_done(&r->run),
                                    .env_steps_total = (int64_t)r->view.num_steps * r->view.num_envs,
                                    .seconds = (double)(dr_monotonic_ns() - r->begin_ns) * 1e-9};
  r->options.progress(r->options.progress_user, &progress);
}

/* Every step a run of its own: all shards wait for the slowest. For comparisons. */
static drover_status run_with_barriers(drover_rollout *r, dr_program *program, int64_t *steps_done) {
  begin_rows(r, NULL, 0, r->view.num_envs);
  program->end = hand_back_rows;
  drover_status status = DROVER_OK;
  int64_t t = 0;
  for (; t < r->options.num_steps && status == DROVER_OK; t += status == DROVER_OK) {
    r->steps_before = t * r->view.num_envs;
    status = dr_run_execute(&r->run, program, r, t, 1, false, NULL);
  }
  *steps_done = t;
  char message[DR_MESSAGE_BYTES];
  snprintf(message, sizeof message, "%s", drover_last_error());
  const drover_status valued = value_all(r, t);
  return status != DROVER_OK ? dr_fail_with(status, message) : valued;
}

/* Phase 0 is the policy's; then the env's own step, or the loop inside it. */
static dr_program list_phases(const drover_rollout *r, dr_phase phases[1 + DR_INNER_PHASES]) {
  phases[0] = (dr_phase){
      .kind = DR_KIND_INFER, .multiple = dr_policy_row_multiple(r->policy), .cost = DR_COST_INFER, .rows = act_rows};
  dr_program program = {.phases = phases, .num_phases = 2, .end_step = end_step, .tick = tick};
  if (!dr_has_inner(r->batch)) {
    phases[1] = (dr_phase){.kind = DR_KIND_STEP,
                           .multiple = r->batch->spec.lanes,
                           .chunk = r->batch->options.chunk,
                           .cost = DR_COST_STEP,
                           .rows = step_rows};
    return program;
  }
  dr_phase *inner = phases + 1;
  dr_inner_set_phases(r->batch, inner);
  inner[DR_INNER_BEGIN].rows = begin_ticks_rows;
  inner[DR_INNER_INFER].rows = inner_infer_rows;
  inner[DR_INNER_TICK].repeat_rows = tick_rows;
  program.num_phases = 1 + DR_INNER_PHASES;
  program.num_repeated = DR_INNER_REPEATED;
  program.num_repeats = r->batch->spec.num_ticks;
  return program;
}

static drover_status run_steps(drover_rollout *r, int64_t *steps_done) {
  dr_phase phases[1 + DR_INNER_PHASES];
  dr_program program = list_phases(r, phases);
  if (r->options.barrier) return run_with_barriers(r, &program, steps_done);
  program.begin = begin_rows;
  program.end = end_rows;
  return dr_run_execute(&r->run, &program, r, 0, r->options.num_steps, false, steps_done);
}

/* Lists, bootstrap values and advantages of the steps that all shards completed. */
static drover_status complete(drover_rollout *r, int64_t steps_done) {
  const int64_t num_logged = atomic_load_explicit(&r->num_logged, memory_order_relaxed);
  if (num_logged < steps_done) steps_done = num_logged;
  r->view.num_steps_done = (int32_t)steps_done;
  r->state = DR_ROLLOUT_FULL;
  drover_status status = dr_log_merge(r, (int32_t)steps_done);
  if (status == DROVER_OK) status = dr_rollout_estimate(r);
  return status;
}

static void clear(drover_rollout *r) {
  r->state = DR_ROLLOUT_EMPTY;
  r->view.num_steps_done = 0;
  r->view.num_episodes = r->view.num_faults = 0;
  atomic_store_explicit(&r->num_logged, INT64_MAX, memory_order_relaxed);
  for (int32_t c = 0; c < r->run.num_chains; c++) dr_log_clear(&r->logs[c]);
}

static drover_status enter(drover_rollout *r, const char *what) {
  const drover_status status = dr_handle_check(r, DR_HANDLE_ROLLOUT, what);
  return status != DROVER_OK ? status : dr_batch_enter(r->batch, what, false);
}

drover_status drover_rollout_collect(drover_rollout *r) {
  drover_status status = enter(r, "rollout collect");
  if (status != DROVER_OK) return status;
  if ((status = dr_inner_check(r->batch, "rollout collect")) != DROVER_OK) {
    dr_batch_leave(r->batch);
    return status;
  }
  clear(r);
  r->run.cancels_seen = dr_runtime_begin_call(r->batch->runtime);
  r->begin_ns = dr_monotonic_ns();
  r->steps_before = 0;
  r->version = dr_policy_acquire(r->policy);
  r->inner_version = dr_inner_acquire(r->batch);
  int64_t steps_done = 0;
  char message[DR_MESSAGE_BYTES] = "";
  status = run_steps(r, &steps_done);
  if (status != DROVER_OK) strncpy(message, drover_last_error(), sizeof message - 1);
  const drover_status completed = complete(r, steps_done);
  dr_inner_release(r->batch, r->inner_version);
  dr_policy_release(r->policy, r->version);
  dr_runtime_end_call(r->batch->runtime);
  dr_batch_leave(r->batch);
  return status != DROVER_OK ? dr_fail_with(status, message) : completed;
}

/* ---- Record -------------------------------------------------------------------------------------------------- */

drover_status drover_rollout_begin(drover_rollout *r) {
  drover_status status = enter(r, "rollout begin");
  if (status != DROVER_OK) return status;
  clear(r);
  begin_rows(r, NULL, 0, r->view.num_envs);
  r->state = DR_ROLLOUT_RECORDING;
  dr_batch_leave(r->batch);
  return DROVER_OK;
}

static drover_status record(drover_rollout *r, const void *actions, const float *logprobs, const float *values) {
  drover_rollout_view *v = &r->view;
  const drover_batch *batch = r->batch;
  if (r->state != DR_ROLLOUT_RECORDING)
    return dr_fail(DROVER_ERROR_STATE, "rollout record: call drover_rollout_begin first");
  if (v->num_steps_done >= v->num_steps)
    return dr_fail(DROVER_ERROR_STATE, "rollout record: all %d steps are recorded; call drover_rollout_finish",
                   (int)v->num_steps);
  if (!actions || (v->values && !values))
    return dr_fail(DROVER_ERROR_ARGUMENT, "rollout record: actions%s must not be NULL", v->values ? " and values" : "");
  const size_t n = (size_t)v->num_envs, width = (size_t)v->observation_size;
  const dr_rows rows = rows_at(r, v->num_steps_done);
  const size_t at = (size_t)v->num_steps_done * n, action_bytes = (size_t)v->action_size * 4;
  memcpy((unsigned char *)v->actions + at * action_bytes, actions, n * action_bytes);
  if (logprobs)
    memcpy(v->logprobs + at, logprobs, n * sizeof(float));
  else
    memset(v->logprobs + at, 0, n * sizeof(float));
  if (values && v->values) memcpy(v->values + at, values, n * sizeof(float));
  memcpy(rows.observations, batch->observations, n * width * sizeof(float));
  memcpy(rows.rewards, batch->rewards, n * sizeof(float));
  memcpy(rows.terminated, batch->terminated, n);
  memcpy(rows.truncated, batch->truncated, n);
  memcpy(rows.valid, batch->valid, n);
  if (rows.infos) memcpy(rows.infos, batch->infos, n * (size_t)v->num_infos * sizeof(float));
  if (rows.inner_samples)
    memcpy(rows.inner_samples, batch->inner.samples, n * (size_t)v->inner_sample_size * sizeof(float));
  drover_status status = DROVER_OK;
  for (int32_t c = 0; c < r->run.num_chains && status == DROVER_OK; c++)
    status = end_step(r, NULL, c, r->run.chains[c].first_row, r->run.chains[c].num_rows, v->num_steps_done);
  v->num_steps_done++;
  return status;
}

drover_status drover_rollout_record(drover_rollout *r, const void *actions, const float *logprobs,
                                    const float *values) {
  drover_status status = enter(r, "rollout record");
  if (status != DROVER_OK) return status;
  status = record(r, actions, logprobs, values);
  dr_batch_leave(r->batch);
  return status;
}

static drover_status finish(drover_rollout *r) {
  if (r->state != DR_ROLLOUT_RECORDING)
    return dr_fail(DROVER_ERROR_STATE, "rollout finish: call drover_rollout_begin first");
  if (r->view.num_steps_done == 0) return dr_fail(DROVER_ERROR_STATE, "rollout finish: no step was recorded");
  r->run.cancels_seen = dr_runtime_begin_call(r->batch->runtime);
  r->version = dr_policy_acquire(r->policy);
  drover_status status = value_all(r, r->view.num_steps_done);
  if (status == DROVER_OK) status = complete(r, r->view.num_steps_done);
  dr_policy_release(r->policy, r->version);
  dr_runtime_end_call(r->batch->runtime);
  return status;
}

drover_status drover_rollout_finish(drover_rollout *r) {
  drover_status status = enter(r, "rollout finish");
  if (status != DROVER_OK) return status;
  status = finish(r);
  dr_batch_leave(r->batch);
  return status;
}
