/* cases_inner.c: the policy inside a step, on tiles of a shard's rows against one row at a time, as it is where every
 * env calls its own network: time in the network an env step, and time of the whole step. */
#include <stdlib.h>

#include "perf/subject.h"
#include "perf/table.h"

enum { NUM_ENVS = 64, NUM_STEPS = 16, MOST_PAIRS = 15 };

/* ---- A network called row by row ---- */

/* The self of a policy that hands its rows to another one singly. */
typedef struct row_by_row {
  dr_policy_table table; /* type and self of the network; its context and version are not used */
} row_by_row;

static int get_spec(void *self, drover_policy_spec *spec) {
  const row_by_row *rows = self;
  const int failed = rows->table.type.get_spec(rows->table.self, spec);
  spec->num_tiles = 0;
  return failed;
}

static int open_context(void *self, void **context) {
  const row_by_row *rows = self;
  return rows->table.type.open_context(rows->table.self, context);
}

static void close_context(void *self, void *context) {
  const row_by_row *rows = self;
  rows->table.type.close_context(rows->table.self, context);
}

static const void *acquire(void *self) {
  const row_by_row *rows = self;
  return rows->table.type.acquire(rows->table.self);
}

static void release(void *self, const void *version) {
  const row_by_row *rows = self;
  rows->table.type.release(rows->table.self, version);
}

static int act(void *self, const void *version, void *context, const drover_policy_rows *all) {
  const row_by_row *rows = self;
  drover_policy_spec spec;
  if (rows->table.type.get_spec(rows->table.self, &spec) != 0) return -1;
  drover_policy_rows one = *all;
  one.count = 1;
  int failed = 0;
  for (int32_t i = 0; i < all->count && !failed; i++) {
    failed = rows->table.type.act(rows->table.self, version, context, &one);
    one.first_env++;
    one.counters++;
    one.observations += spec.observation_size;
    one.actions = (float *)one.actions + spec.action_size;
  }
  return failed;
}

static const drover_policy_type row_by_row_type = {.abi_version = DROVER_POLICY_ABI_VERSION,
                                                   .size = sizeof row_by_row_type,
                                                   .name = "row by row",
                                                   .get_spec = get_spec,
                                                   .open_context = open_context,
                                                   .close_context = close_context,
                                                   .acquire = acquire,
                                                   .release = release,
                                                   .act = act};

/* ---- A rollout with it, or with the network itself ---- */

typedef struct inner_subject {
  dr_subject head;
  drover_runtime *runtime;
  drover_batch *batch;
  drover_policy *policy, *network, *single;
  drover_rollout *rollout;
  row_by_row rows;
} inner_subject;

/* The statistics begin anew too: what they hold afterwards is of the run alone. */
static int inner_restore(dr_subject *subject) {
  inner_subject *inner = (inner_subject *)subject;
  drover_status status = drover_batch_reset(inner->batch, DR_SUBJECT_SEED);
  if (status == DROVER_OK) status = drover_runtime_reset_stats(inner->runtime);
  return status == DROVER_OK ? 0 : dr_bench_fail_status(subject->bench, "reset", status);
}

static int inner_run(dr_subject *subject, int64_t iterations) {
  inner_subject *inner = (inner_subject *)subject;
  for (int64_t i = 0; i < iterations; i++) {
    const drover_status status = drover_rollout_collect(inner->rollout);
    if (status != DROVER_OK) return dr_bench_fail_status(subject->bench, "collect", status);
  }
  return 0;
}

static int inner_result(dr_subject *subject, uint64_t *digest) {
  const inner_subject *inner = (const inner_subject *)subject;
  const drover_status status = drover_rollout_digest(inner->rollout, digest);
  return status == DROVER_OK ? 0 : dr_bench_fail_status(subject->bench, "digest", status);
}

static void inner_destroy(dr_subject *subject) {
  inner_subject *inner = (inner_subject *)subject;
  drover_rollout_destroy(inner->rollout);
  drover_policy_destroy(inner->policy);
  drover_batch_destroy(inner->batch);
  drover_policy_destroy(inner->single);
  dr_policy_table_close(&inner->rows.table);
  drover_policy_destroy(inner->network);
  free(inner);
}

static const dr_subject_type inner_type = {inner_restore, inner_run, inner_result, inner_destroy};

/* The outer policy is the uniform one, which costs next to nothing: what is counted as inference is the inner one's. */
static int make(dr_bench *bench, const dr_case *c, bool single, dr_subject **out) {
  inner_subject *inner = calloc(1, sizeof *inner);
  if (!inner) {
    dr_bench_fail(bench, "out of memory");
    return -1;
  }
  inner->head = (dr_subject){&inner_type, bench, (double)c->num_envs * c->num_steps};
  inner->runtime = c->all_workers ? bench->all : bench->one;
  const dr_batch_request request = {.env = c->env, .num_envs = c->num_envs};
  drover_batch_view view = {.size = sizeof view};
  drover_rollout_options options;
  if (dr_make_batch(&inner->batch, bench, inner->runtime, &request) != 0) goto fail;
  drover_status status = drover_batch_get_view(inner->batch, &view);
  if (status == DROVER_OK) status = drover_policy_create_uniform(&inner->policy, inner->runtime, view.spec);
  if (status == DROVER_OK) status = dr_make_inner_policy(&inner->network, inner->runtime, view.spec);
  if (status == DROVER_OK && single) {
    if (dr_policy_table_open(&inner->rows.table, bench, inner->network) != 0) goto fail;
    status = drover_policy_create(&inner->single, inner->runtime, &row_by_row_type, &inner->rows);
  }
  if (status == DROVER_OK)
    status = drover_batch_set_inner_policy(inner->batch, single ? inner->single : inner->network);
  if (status == DROVER_OK) status = drover_rollout_options_init(&options, sizeof options);
  if (status == DROVER_OK) {
    options.num_steps = c->num_steps;
    status = drover_rollout_create(&inner->rollout, inner->batch, inner->policy, &options);
  }
  if (status == DROVER_OK) {
    *out = &inner->head;
    return 0;
  }
  dr_bench_fail_status(bench, c->env, status);
fail:
  inner_destroy(&inner->head);
  return -1;
}

/* ---- Cases ---- */

/* One run from the beginning: microseconds of inference an env step, summed over the workers. */
static int time_inference(dr_subject *subject, int64_t iterations, double *us, uint64_t *digest) {
  double seconds;
  drover_runtime_stats stats = {.size = sizeof stats};
  if (dr_time_run(subject, iterations, &seconds, digest) != 0) return -1;
  const drover_status status = drover_runtime_get_stats(((inner_subject *)subject)->runtime, &stats);
  if (status != DROVER_OK) return dr_bench_fail_status(subject->bench, "stats", status);
  *us = (double)stats.total.infer_ns * 1e-3 / (double)stats.total.num_env_steps;
  return 0;
}

static int run_inference(dr_bench *bench, const dr_case *c, dr_samples *samples) {
  dr_subject *subject;
  int64_t iterations = 0;
  uint64_t digest;
  if (make(bench, c, c->parts, &subject) != 0) return -1;
  int failed = dr_calibrate(subject, &iterations) != 0;
  for (samples->count = 0; !failed && samples->count < bench->num_samples; samples->count++)
    failed = time_inference(subject, iterations, &samples->values[samples->count], &digest) != 0;
  dr_subject_destroy(subject);
  return failed ? -1 : 0;
}

/* Inference time row by row over that on tiles: pairs, one right after the other. */
static int compare_inference(dr_bench *bench, dr_subject *tiles, dr_subject *rows, dr_samples *samples) {
  int64_t iterations = 0;
  uint64_t a = 0, b = 0;
  if (dr_calibrate(tiles, &iterations) != 0) return -1;
  const int32_t num_pairs = bench->num_pairs < MOST_PAIRS ? bench->num_pairs : MOST_PAIRS;
  for (samples->count = 0; samples->count < num_pairs; samples->count++) {
    double tiles_us = 0, rows_us = 0;
    if (time_inference(tiles, iterations, &tiles_us, &a) != 0 || time_inference(rows, iterations, &rows_us, &b) != 0)
      return -1;
    if (a != b) return dr_bench_fail(bench, "tiles and single rows left different bytes");
    samples->values[samples->count] = rows_us / tiles_us;
  }
  return 0;
}

static int run_ratio(dr_bench *bench, const dr_case *c, dr_samples *samples) {
  dr_subject *tiles = NULL, *rows = NULL;
  const int failed =
      make(bench, c, false, &tiles) != 0 || make(bench, c, true, &rows) != 0 ||
      (c->barrier ? dr_measure_ratio(rows, tiles, true, samples) : compare_inference(bench, tiles, rows, samples)) != 0;
  dr_subject_destroy(tiles);
  dr_subject_destroy(rows);
  return failed ? -1 : 0;
}

void dr_cases_add_inner(dr_case_list *list) {
  const drover_env_type *type;
  if (drover_env_find("gait2d", &type) != DROVER_OK) return; /* built without MuJoCo */
  dr_case c = {.unit = "us/step",
               .run = run_inference,
               .env = "gait2d",
               .num_envs = NUM_ENVS,
               .num_steps = NUM_STEPS,
               .all_workers = true};
  dr_case_add(list, c, "inner/infer/tiles/%s/%d", c.env, c.num_envs);
  c.parts = true; /* row by row */
  dr_case_add(list, c, "inner/infer/rows/%s/%d", c.env, c.num_envs);
  c.unit = "times faster";
  c.run = run_ratio;
  c.higher_is_better = c.has_target = true;
  c.target = 2.5;
  dr_case_add(list, c, "inner/ratio/infer/%s/%d", c.env, c.num_envs);
  c.barrier = true; /* the whole step */
  c.target = 1;
  dr_case_add(list, c, "inner/ratio/step/%s/%d", c.env, c.num_envs);
}
