/* subject_infer.c: one network on some rows, on this thread, through its function table. */
#include <stdlib.h>

#include "perf/subject.h"
#include "perf/table.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

typedef struct infer_subject {
  dr_subject head;
  drover_policy *policy;
  dr_policy_table table;
  int32_t num_rows;
  int32_t action_size;
  float *observations; /* [num_rows x observation_size] */
  uint64_t *counters;  /* [num_rows] */
  float *actions;      /* [num_rows x action_size], int32 or float32 */
  float *logprobs;     /* [num_rows] */
  float *values;       /* [num_rows] */
} infer_subject;

static int infer_restore(dr_subject *subject) {
  infer_subject *infer = (infer_subject *)subject;
  for (int32_t i = 0; i < infer->num_rows; i++) infer->counters[i] = 0;
  return 0;
}

static int infer_run(dr_subject *subject, int64_t iterations) {
  infer_subject *infer = (infer_subject *)subject;
  const drover_policy_rows rows = {.count = infer->num_rows,
                                   .seed = DR_SUBJECT_SEED,
                                   .counters = infer->counters,
                                   .observations = infer->observations,
                                   .actions = infer->actions,
                                   .logprobs = infer->logprobs,
                                   .values = infer->values};
  for (int64_t i = 0; i < iterations; i++)
    if (dr_policy_table_act(&infer->table, &rows) != 0) return dr_bench_fail(subject->bench, "the network failed");
  return 0;
}

static int infer_result(dr_subject *subject, uint64_t *digest) {
  const infer_subject *infer = (const infer_subject *)subject;
  const size_t count = (size_t)infer->num_rows;
  uint64_t hash = XXH3_64bits(infer->actions, count * (size_t)infer->action_size * sizeof(float));
  hash = XXH3_64bits_withSeed(infer->logprobs, count * sizeof(float), hash);
  *digest = XXH3_64bits_withSeed(infer->values, count * sizeof(float), hash);
  return 0;
}

static void infer_destroy(dr_subject *subject) {
  infer_subject *infer = (infer_subject *)subject;
  dr_policy_table_close(&infer->table);
  drover_policy_destroy(infer->policy);
  free(infer->observations);
  free(infer->counters);
  free(infer->actions);
  free(infer->logprobs);
  free(infer->values);
  free(infer);
}

static const dr_subject_type infer_type = {infer_restore, infer_run, infer_result, infer_destroy};

/* Rows like normalised observations: uniform in [-1, 1). */
static int infer_allocate(infer_subject *infer, int32_t observation_size) {
  const size_t count = (size_t)infer->num_rows, size = (size_t)observation_size;
  infer->observations = malloc(count * size * sizeof(float));
  infer->counters = calloc(count, sizeof *infer->counters);
  infer->actions = calloc(count * (size_t)infer->action_size, sizeof(float));
  infer->logprobs = calloc(count, sizeof(float));
  infer->values = calloc(count, sizeof(float));
  if (!infer->observations || !infer->counters || !infer->actions || !infer->logprobs || !infer->values)
    return dr_bench_fail(infer->head.bench, "out of memory for %d rows", infer->num_rows);
  drover_random random = drover_random_at(DR_SUBJECT_SEED, 1, DROVER_RANDOM_USER, 0);
  for (size_t i = 0; i < count * size; i++) infer->observations[i] = 2 * drover_random_uniformf(&random) - 1;
  return 0;
}

int dr_subject_create_infer(dr_subject **out, dr_bench *bench, int32_t observation_size, int32_t num_outputs,
                            bool discrete, const dr_net_request *net, int32_t num_rows) {
  infer_subject *infer = calloc(1, sizeof *infer);
  if (!infer) return dr_bench_fail(bench, "out of memory");
  infer->head = (dr_subject){&infer_type, bench, num_rows};
  infer->num_rows = num_rows;
  infer->action_size = discrete ? 1 : num_outputs;
  const drover_env_spec spec = {.size = sizeof spec,
                                .observation_size = observation_size,
                                .action_kind = discrete ? DROVER_ACTION_DISCRETE : DROVER_ACTION_CONTINUOUS,
                                .action_size = infer->action_size,
                                .num_actions = discrete ? num_outputs : 0};
  if (infer_allocate(infer, observation_size) != 0 ||
      dr_make_policy(&infer->policy, bench, bench->one, &spec, net) != 0 ||
      dr_policy_table_open(&infer->table, bench, infer->policy) != 0) {
    infer_destroy(&infer->head);
    return -1;
  }
  *out = &infer->head;
  return 0;
}
