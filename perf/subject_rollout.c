/* subject_rollout.c: a fused rollout. */
#include <stdlib.h>

#include "perf/rollout_view.h"
#include "perf/subject.h"

typedef struct rollout_subject {
  dr_subject head;
  drover_batch *batch;
  drover_policy *policy;
  drover_rollout *rollout;
} rollout_subject;

static int rollout_restore(dr_subject *subject) {
  rollout_subject *rollout = (rollout_subject *)subject;
  const drover_status status = drover_batch_reset(rollout->batch, DR_SUBJECT_SEED);
  return status == DROVER_OK ? 0 : dr_bench_fail_status(subject->bench, "reset", status);
}

static int rollout_run(dr_subject *subject, int64_t iterations) {
  rollout_subject *rollout = (rollout_subject *)subject;
  for (int64_t i = 0; i < iterations; i++) {
    const drover_status status = drover_rollout_collect(rollout->rollout);
    if (status != DROVER_OK) return dr_bench_fail_status(subject->bench, "collect", status);
  }
  return 0;
}

int dr_rollout_subject_view(dr_subject *subject, drover_rollout_view *view) {
  rollout_subject *rollout = (rollout_subject *)subject;
  view->size = sizeof *view;
  const drover_status status = drover_rollout_get_view(rollout->rollout, view);
  if (status != DROVER_OK) return dr_bench_fail_status(subject->bench, "view", status);
  if (view->num_faults > 0) return dr_bench_fail(subject->bench, "%lld envs failed", (long long)view->num_faults);
  return 0;
}

static int rollout_result(dr_subject *subject, uint64_t *digest) {
  drover_rollout_view view;
  if (dr_rollout_subject_view(subject, &view) != 0) return -1;
  *digest = dr_digest_last_row(&view);
  return 0;
}

static void rollout_destroy(dr_subject *subject) {
  rollout_subject *rollout = (rollout_subject *)subject;
  drover_rollout_destroy(rollout->rollout);
  drover_policy_destroy(rollout->policy);
  drover_batch_destroy(rollout->batch);
  free(rollout);
}

static const dr_subject_type rollout_type = {rollout_restore, rollout_run, rollout_result, rollout_destroy};

int dr_subject_create_rollout(dr_subject **out, dr_bench *bench, drover_runtime *runtime,
                              const dr_batch_request *request, const dr_net_request *net, int32_t num_steps,
                              bool barrier) {
  rollout_subject *rollout = calloc(1, sizeof *rollout);
  if (!rollout) return dr_bench_fail(bench, "out of memory");
  rollout->head = (dr_subject){&rollout_type, bench, (double)request->num_envs * num_steps};
  drover_batch_view view = {.size = sizeof view};
  drover_rollout_options options;
  if (dr_make_batch(&rollout->batch, bench, runtime, request) != 0) goto fail;
  drover_batch_get_view(rollout->batch, &view);
  if (dr_make_policy(&rollout->policy, bench, runtime, view.spec, net) != 0) goto fail;
  drover_status status = drover_rollout_options_init(&options, sizeof options);
  options.num_steps = num_steps;
  options.barrier = barrier;
  if (status == DROVER_OK) status = drover_rollout_create(&rollout->rollout, rollout->batch, rollout->policy, &options);
  if (status != DROVER_OK) {
    dr_bench_fail_status(bench, "rollout", status);
    goto fail;
  }
  *out = &rollout->head;
  return 0;
fail:
  rollout_destroy(&rollout->head);
  return -1;
}
