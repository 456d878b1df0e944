/* subject_step.c: drover_batch_step with given actions. */
#include <stdlib.h>

#include "perf/subject.h"

typedef struct step_subject {
  dr_subject head;
  drover_batch *batch;
  unsigned char *actions; /* [DR_NUM_GIVEN_STEPS x N x action_size] */
  size_t action_bytes;    /* of one step */
} step_subject;

static int step_restore(dr_subject *subject) {
  step_subject *step = (step_subject *)subject;
  const drover_status status = drover_batch_reset(step->batch, DR_SUBJECT_SEED);
  return status == DROVER_OK ? 0 : dr_bench_fail_status(subject->bench, "reset", status);
}

static int step_run(dr_subject *subject, int64_t iterations) {
  step_subject *step = (step_subject *)subject;
  for (int64_t i = 0; i < iterations; i++) {
    const void *actions = step->actions + (size_t)(i % DR_NUM_GIVEN_STEPS) * step->action_bytes;
    const drover_status status = drover_batch_step(step->batch, actions);
    if (status != DROVER_OK) return dr_bench_fail_status(subject->bench, "step", status);
  }
  return 0;
}

static int step_result(dr_subject *subject, uint64_t *digest) {
  step_subject *step = (step_subject *)subject;
  drover_batch_view view = {.size = sizeof view};
  const drover_status status = drover_batch_get_view(step->batch, &view);
  if (status != DROVER_OK) return dr_bench_fail_status(subject->bench, "view", status);
  if (view.num_faults > 0) return dr_bench_fail(subject->bench, "%lld envs failed", (long long)view.num_faults);
  *digest = dr_digest_rows(view.observations, view.rewards, view.num_envs, view.spec->observation_size);
  return 0;
}

static void step_destroy(dr_subject *subject) {
  step_subject *step = (step_subject *)subject;
  drover_batch_destroy(step->batch);
  free(step->actions);
  free(step);
}

static const dr_subject_type step_type = {step_restore, step_run, step_result, step_destroy};

int dr_subject_create_step(dr_subject **out, dr_bench *bench, drover_runtime *runtime,
                           const dr_batch_request *request) {
  step_subject *step = calloc(1, sizeof *step);
  if (!step) return dr_bench_fail(bench, "out of memory");
  step->head = (dr_subject){&step_type, bench, request->num_envs};
  drover_batch_view view = {.size = sizeof view};
  if (dr_make_batch(&step->batch, bench, runtime, request) != 0) goto fail;
  drover_batch_get_view(step->batch, &view);
  step->action_bytes = dr_action_bytes(view.spec, request->num_envs);
  step->actions = dr_make_actions(view.spec, request->num_envs);
  if (!step->actions) {
    dr_bench_fail(bench, "out of memory for %d envs", request->num_envs);
    goto fail;
  }
  *out = &step->head;
  return 0;
fail:
  step_destroy(&step->head);
  return -1;
}
