/* step.c: drover_batch_step: one pass over the shards with the caller's actions. */
#include "runtime/batch.h"
#include "runtime/clock.h"
#include "runtime/error.h"
#include "runtime/inner.h"
#include "runtime/runtime.h"

/* What the phase below works on: the caller's actions and the batch's own rows. */
typedef struct stepping {
  drover_batch *batch;
  dr_rows rows;
  const void *version; /* of the inner policy's weights, where there is an inner loop */
} stepping;

static drover_status step_rows(void *object, dr_worker *worker, int32_t first, int32_t count, int64_t step) {
  (void)step;
  stepping *s = object;
  return dr_batch_advance(s->batch, worker, &s->rows, first, count);
}

static drover_status begin_rows(void *object, dr_worker *worker, int32_t first, int32_t count, int64_t step) {
  (void)worker, (void)step;
  stepping *s = object;
  dr_inner_begin(s->batch, &s->rows, first, count);
  return DROVER_OK;
}

static drover_status infer_rows(void *object, dr_worker *worker, int32_t first, int32_t count, int64_t step) {
  (void)step;
  stepping *s = object;
  return dr_inner_infer(s->batch, worker, s->version, first, count);
}

static drover_status tick_rows(void *object, dr_worker *worker, int32_t first, int32_t count, int64_t step,
                               int32_t repeat) {
  (void)step;
  stepping *s = object;
  return dr_inner_tick(s->batch, worker, &s->rows, first, count, repeat);
}

/* All rows in blocks on the calling thread, as worker 0: no chains, no claims. The cost is noted for the
 * decision that the next call takes. */
static drover_status step_alone(stepping *s) {
  drover_batch *batch = s->batch;
  dr_worker *worker = &batch->runtime->workers[0];
  dr_entry entry;
  dr_worker_enter(worker, &entry);
  const uint64_t begin = dr_ticks();
  uint64_t infer_ticks = 0;
  drover_status status = DROVER_OK;
  for (int32_t first = 0; first < batch->num_envs && status == DROVER_OK; first += DR_BLOCK_ROWS) {
    const int32_t rest = batch->num_envs - first;
    status = dr_inner_step(batch, worker, s->version, &s->rows, first, rest < DR_BLOCK_ROWS ? rest : DR_BLOCK_ROWS,
                           &infer_ticks);
  }
  const uint64_t end = dr_ticks();
  dr_count(&worker->counters.ticks[DR_KIND_STEP], end - begin - infer_ticks);
  dr_count(&worker->counters.ticks[DR_KIND_INFER], infer_ticks);
  dr_count(&worker->counters.num_env_steps, (uint64_t)batch->num_envs);
  dr_trace_add(&worker->trace, DR_KIND_STEP, begin, end, 0, batch->num_envs, 0);
  const double seen = (double)dr_ticks_to_ns(end - begin) / batch->num_envs;
  batch->step_row_ns += (seen - batch->step_row_ns) * (batch->step_row_ns > 0 ? 0.125 : 1.0);
  dr_worker_leave(worker, &entry);
  return status;
}

/* A step with an inner loop, by all workers. */
static drover_status step_shared_inner(stepping *s) {
  drover_batch *batch = s->batch;
  dr_phase phases[DR_INNER_PHASES];
  dr_inner_set_phases(batch, phases);
  phases[DR_INNER_BEGIN].rows = begin_rows;
  phases[DR_INNER_INFER].rows = infer_rows;
  phases[DR_INNER_TICK].repeat_rows = tick_rows;
  const dr_program program = {.phases = phases,
                              .num_phases = DR_INNER_PHASES,
                              .num_repeated = DR_INNER_REPEATED,
                              .num_repeats = batch->spec.num_ticks};
  const drover_status status = dr_run_execute(&batch->run, &program, s, 0, 1, false, NULL);
  batch->step_row_ns = dr_inner_row_ns(&batch->run, batch->spec.num_ticks);
  return status;
}

static drover_status step_shared(stepping *s) {
  drover_batch *batch = s->batch;
  if (dr_has_inner(batch)) return step_shared_inner(s);
  const dr_phase phase = {.kind = DR_KIND_STEP,
                          .multiple = batch->spec.lanes,
                          .chunk = batch->options.chunk,
                          .cost = DR_COST_STEP,
                          .rows = step_rows};
  const dr_program program = {.phases = &phase, .num_phases = 1};
  const drover_status status = dr_run_execute(&batch->run, &program, s, 0, 1, false, NULL);
  batch->step_row_ns = dr_run_row_ns(&batch->run, DR_COST_STEP);
  return status;
}

/* Alone where that is faster, if nobody else is worker 0 for the moment. */
static drover_status step_all(stepping *s) {
  drover_batch *batch = s->batch;
  drover_runtime *runtime = batch->runtime;
  if (runtime->num_workers > 1 && !dr_batch_better_alone(batch, batch->step_row_ns)) return step_shared(s);
  if (runtime->num_workers == 1)
    pthread_mutex_lock(&runtime->caller_lock);
  else if (pthread_mutex_trylock(&runtime->caller_lock) != 0)
    return step_shared(s);
  const drover_status status = step_alone(s);
  pthread_mutex_unlock(&runtime->caller_lock);
  return status;
}

static drover_status check_finished(const drover_batch *batch) {
  if (batch->options.autoreset != DROVER_AUTORESET_DISABLED) return DROVER_OK;
  const uint8_t *found = memchr(batch->special, DR_SPECIAL_FINISHED, (size_t)batch->num_envs);
  if (!found) return DROVER_OK;
  return dr_fail(DROVER_ERROR_STATE,
                 "batch step: the episode of env %d has ended and autoreset is disabled: call drover_batch_reset_some",
                 (int)(found - batch->special));
}

drover_status drover_batch_step(drover_batch *batch, const void *actions) {
  drover_status status = dr_batch_enter(batch, "batch step", false);
  if (status != DROVER_OK) return status;
  if (!actions) status = dr_fail(DROVER_ERROR_ARGUMENT, "batch step: actions must not be NULL");
  if (status == DROVER_OK) status = check_finished(batch);
  if (status == DROVER_OK) status = dr_inner_check(batch, "batch step");
  if (status == DROVER_OK) {
    stepping s = {.batch = batch, .rows = dr_batch_rows(batch, actions)};
    batch->run.cancels_seen = dr_runtime_begin_call(batch->runtime);
    s.version = dr_inner_acquire(batch);
    status = step_all(&s);
    dr_inner_release(batch, s.version);
    dr_runtime_end_call(batch->runtime);
  }
  dr_batch_leave(batch);
  return status;
}
