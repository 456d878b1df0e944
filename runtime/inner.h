/* inner.h: the loop inside the step of env types that declare one: K ticks, each after a call of the inner policy.
 *
 *   step = begin, then K x (infer -> tick), and with the last tick the env's own step and all that dr_batch_advance
 * does
 *
 * Each part covers the rows of a shard, so that the inner network is evaluated on tiles of rows. An env that fails on
 * the way skips what is left of its step and becomes a fault there; the inner rows of envs that are skipped are zero.
 */
#ifndef DR_RUNTIME_INNER_H
#define DR_RUNTIME_INNER_H

#include "runtime/batch.h"

/* What dr_inner.sample_ticks holds of an env besides a tick, in the step in progress. */
enum {
  DR_INNER_SKIPPED = -1, /* broken or finished: this step begins an episode instead */
  DR_INNER_FAILED = -2   /* begin or tick failed, or a number was not finite: the step will be a fault */
};

static inline bool dr_has_inner(const drover_batch *batch) { return batch->spec.num_ticks > 0; }

static inline bool dr_inner_failed(const drover_batch *batch, int32_t e) {
  return dr_has_inner(batch) && batch->inner.sample_ticks[e] == DR_INNER_FAILED;
}

/* Rows a claim of the inner inference should be a multiple of. */
enum { DR_INNER_TILE = 16 };

/* Memory for the inner rows, touched by dr_inner_reset; nothing where there is no inner loop. */
drover_status dr_inner_allocate(drover_batch *batch);
/* Frees it and lets the inner policy go. */
void dr_inner_free(drover_batch *batch);
void dr_inner_reset(drover_batch *batch, int32_t first, int32_t count);

/* DROVER_ERROR_STATE if the env type has an inner loop and the batch no inner policy. `what` begins the message. */
drover_status dr_inner_check(const drover_batch *batch, const char *what);

/* Around all steps of a call: which weights they use. Nothing where there is no inner loop. */
const void *dr_inner_acquire(drover_batch *batch);
void dr_inner_release(drover_batch *batch, const void *version);

/* The parts of a step of envs first..first + count - 1, count <= DR_BLOCK_ROWS; by the worker that claimed these rows.
 * Only a failing policy fails a part; the last tick may fail as dr_batch_advance does. */
void dr_inner_begin(drover_batch *batch, const dr_rows *rows, int32_t first, int32_t count);
drover_status dr_inner_infer(drover_batch *batch, dr_worker *worker, const void *version, int32_t first, int32_t count);
drover_status dr_inner_tick(drover_batch *batch, dr_worker *worker, const dr_rows *rows, int32_t first, int32_t count,
                            int32_t tick);

/* A whole step of these envs on this worker: all parts if there is an inner loop, else dr_batch_advance. Adds the clock
 * ticks that the inner policy took to *infer_ticks. */
drover_status dr_inner_step(drover_batch *batch, dr_worker *worker, const void *version, const dr_rows *rows,
                            int32_t first, int32_t count, uint64_t *infer_ticks);

/* Set the kinds and sizes of the three phases of an inner loop; their functions are the caller's. With a program whose
 * last DR_INNER_REPEATED phases are repeated num_ticks times. */
enum { DR_INNER_BEGIN = 0, DR_INNER_INFER = 1, DR_INNER_TICK = 2, DR_INNER_PHASES = 3, DR_INNER_REPEATED = 2 };
void dr_inner_set_phases(const drover_batch *batch, dr_phase phases[DR_INNER_PHASES]);

/* The smoothed cost of a whole step of one row, in nanoseconds, from a run of these phases; 0 if not known. */
double dr_inner_row_ns(const dr_run *run, int32_t num_ticks);

#endif
