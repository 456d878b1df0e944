/* draw.c: drover_batch_draw_samples: the env type's own samples for pretraining an inner policy. */
#include <stdio.h>

#include "runtime/batch.h"
#include "runtime/error.h"
#include "runtime/runtime.h"

/* Sample i is drawn by env i mod N in step i / N. */
typedef struct drawing {
  drover_batch *batch;
  uint64_t seed;
  int64_t count;
  float *samples;
} drawing;

static drover_status draw_rows(void *object, dr_worker *worker, int32_t first, int32_t count, int64_t step) {
  (void)worker;
  const drawing *d = object;
  const drover_batch *batch = d->batch;
  const size_t size = (size_t)batch->spec.inner_sample_size;
  for (int32_t e = first; e < first + count; e++) {
    const int64_t i = step * batch->num_envs + e;
    if (i >= d->count) break;
    float *sample = d->samples + (size_t)i * size;
    memset(sample, 0, size * sizeof *sample);
    drover_random random = drover_random_at(d->seed, 0, DROVER_RANDOM_DRAW, (uint64_t)i);
    void *state = batch->states + (size_t)e * batch->spec.state_size;
    if (batch->type->draw_sample(batch->shared, state, &random, sample) != 0)
      return dr_fail(DROVER_ERROR_ENV, "batch draw_samples: %s could not draw sample %lld", batch->type->name,
                     (long long)i);
    if (!dr_all_finite(sample, size))
      return dr_fail(DROVER_ERROR_ENV, "batch draw_samples: sample %lld of %s is not finite", (long long)i,
                     batch->type->name);
  }
  return DROVER_OK;
}

static drover_status check(const drover_batch *batch, int64_t count, const float *samples) {
  if (batch->spec.inner_sample_size == 0 || !batch->type->draw_sample)
    return dr_fail(DROVER_ERROR_UNSUPPORTED, "batch draw_samples: env type %s has no draw_sample", batch->type->name);
  if (count < 1 || count > INT64_MAX / 8 || !samples)
    return dr_fail(DROVER_ERROR_ARGUMENT, "batch draw_samples: count must be 1 or more, with samples, got %lld",
                   (long long)count);
  return DROVER_OK;
}

static drover_status draw(drawing *d) {
  drover_batch *batch = d->batch;
  const dr_phase phase = {.kind = DR_KIND_OTHER, .cost = DR_COST_DRAW, .rows = draw_rows};
  const dr_program program = {.phases = &phase, .num_phases = 1};
  batch->run.cancels_seen = dr_runtime_begin_call(batch->runtime);
  drover_status status = dr_run_execute(&batch->run, &program, d, 0, (d->count - 1) / batch->num_envs + 1, false, NULL);
  dr_runtime_end_call(batch->runtime);
  char message[DR_MESSAGE_BYTES] = "";
  if (status != DROVER_OK) snprintf(message, sizeof message, "%s", drover_last_error());
  /* The states were scratch memory, whatever became of the samples. */
  const drover_status reset = dr_batch_reset_all(batch, batch->seed);
  return status != DROVER_OK ? dr_fail_with(status, message) : reset;
}

drover_status drover_batch_draw_samples(drover_batch *batch, uint64_t seed, int64_t count, float *samples) {
  drover_status status = dr_batch_enter(batch, "batch draw_samples", false);
  if (status != DROVER_OK) return status;
  drawing d = {.batch = batch, .seed = seed, .count = count, .samples = samples};
  status = check(batch, count, samples);
  if (status == DROVER_OK) status = draw(&d);
  dr_batch_leave(batch);
  return status;
}
