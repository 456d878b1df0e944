/* scaling.c: setting up, warming and timing the ways of scaling.h. */
#include "perf/scaling.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "perf/clock.h"
#include "perf/loops.h"
#include "perf/rollout_view.h"
#include "perf/subject.h"

enum { CHECK_STEPS = 4, MAX_SIDES = DR_SCALING_MAX_WORKERS + 1 };

/* A runtime and its policies: side 0 has one worker, side 1 + i has request->workers[i]. */
typedef struct side {
  int32_t num_workers;
  drover_runtime *runtime;
  drover_policy *policy, *inner_policy; /* inner_policy: NULL without an inner loop */
} side;

/* The batch of a side at one N, with what it is timed by. */
typedef struct runner {
  drover_batch *batch;
  drover_rollout *rollout;
  drover_rollout *barrier; /* or NULL */
  int32_t num_steps;       /* of both */
  int64_t iterations;      /* collects of a figure */
  double rate;             /* env steps a second, roughly */
} runner;

typedef struct loop_runner {
  dr_loops *loops;                   /* NULL: not measured */
  int64_t steps_apart, steps_serial; /* of a figure; serial: of the last one only */
} loop_runner;

/* Everything at one N. */
typedef struct stage {
  int32_t num_envs;
  runner runners[MAX_SIDES];
  loop_runner loops[MAX_SIDES]; /* as many threads as side; the plain loop runs on the last that is there */
  int32_t serial;               /* which */
} stage;

typedef struct experiment {
  dr_bench *bench;
  const dr_scaling_request *request;
  int32_t num_sides;
  side sides[MAX_SIDES];
  stage stages[DR_SCALING_MAX_POINTS];
} experiment;

static int stopped(const experiment *x) {
  return x->bench->stop && x->bench->stop() ? dr_bench_fail(x->bench, "interrupted") : 0;
}

static int fail_status(experiment *x, const char *what, drover_status status) {
  dr_bench_fail_status(x->bench, what, status);
  return -1;
}

/* ---- Rollouts ---- */

static int open_batch(experiment *x, const side *s, int32_t num_envs, drover_batch **out, drover_batch_view *view) {
  drover_batch_options options;
  drover_status status = drover_batch_options_init(&options, sizeof options);
  options.num_envs = num_envs;
  options.seed = DR_SUBJECT_SEED;
  options.args = x->request->args;
  if (status == DROVER_OK) status = drover_batch_create(out, s->runtime, x->request->type, &options);
  if (status == DROVER_OK && s->inner_policy) status = drover_batch_set_inner_policy(*out, s->inner_policy);
  view->size = sizeof *view;
  if (status == DROVER_OK) status = drover_batch_get_view(*out, view);
  return status == DROVER_OK ? 0 : fail_status(x, x->request->type->name, status);
}

static int open_rollout(experiment *x, const side *s, drover_batch *batch, int32_t num_steps, bool barrier,
                        drover_rollout **out) {
  drover_rollout_options options;
  drover_status status = drover_rollout_options_init(&options, sizeof options);
  options.num_steps = num_steps;
  options.barrier = barrier;
  if (status == DROVER_OK) status = drover_rollout_create(out, batch, s->policy, &options);
  return status == DROVER_OK ? 0 : fail_status(x, "rollout", status);
}

static int collect(experiment *x, drover_rollout *rollout, int64_t times) {
  drover_status status = DROVER_OK;
  for (int64_t i = 0; i < times && status == DROVER_OK; i++) status = drover_rollout_collect(rollout);
  return status == DROVER_OK ? 0 : fail_status(x, "collect", status);
}

/* One rollout that is not kept; *digest (may be NULL) of where it ends. */
static int advance(experiment *x, const side *s, drover_batch *batch, int32_t num_steps, uint64_t *digest) {
  drover_rollout *rollout;
  if (num_steps <= 0) return 0;
  if (open_rollout(x, s, batch, num_steps, false, &rollout) != 0) return -1;
  int failed = collect(x, rollout, 1);
  drover_rollout_view view = {.size = sizeof view};
  if (!failed && digest) {
    const drover_status status = drover_rollout_get_view(rollout, &view);
    failed = status == DROVER_OK ? 0 : fail_status(x, "rollout", status);
    if (!failed) *digest = dr_digest_last_row(&view);
  }
  drover_rollout_destroy(rollout);
  return failed;
}

/* Put the state of one batch into all others. Returns 1 if the env type cannot, -1 if it fails. */
static int share_state(experiment *x, const stage *st, int32_t from) {
  size_t num_bytes = 0;
  drover_status status = drover_batch_save(st->runners[from].batch, NULL, &num_bytes);
  if (status == DROVER_ERROR_UNSUPPORTED) return 1;
  void *bytes = status == DROVER_OK ? malloc(num_bytes) : NULL;
  if (status == DROVER_OK && !bytes) status = DROVER_ERROR_NO_MEMORY;
  if (status == DROVER_OK) status = drover_batch_save(st->runners[from].batch, bytes, &num_bytes);
  for (int32_t i = 0; i < x->num_sides && status == DROVER_OK; i++)
    if (i != from) status = drover_batch_load(st->runners[i].batch, bytes, num_bytes);
  free(bytes);
  return status == DROVER_OK ? 0 : fail_status(x, "checkpoint", status);
}

/* ---- Setting up one N ---- */

/* Every way makes a few steps from the beginning: all must leave the same bytes. */
static int check(experiment *x, const stage *st) {
  uint64_t first = 0;
  for (int32_t i = 0; i < x->num_sides; i++) {
    uint64_t digest = 0;
    if (advance(x, x->sides + i, st->runners[i].batch, CHECK_STEPS, &digest) != 0) return -1;
    if (i == 0) first = digest;
    if (digest != first)
      return dr_bench_fail(x->bench, "%d workers left other bytes than one; see drover verify",
                           x->sides[i].num_workers);
  }
  for (int32_t i = 0; i < x->num_sides; i++) {
    double seconds;
    uint64_t digest;
    if (!st->loops[i].loops) continue;
    if (dr_loops_restore(st->loops[i].loops) != 0 ||
        dr_loops_run(st->loops[i].loops, true, CHECK_STEPS, &seconds) != 0 ||
        dr_loops_digest(st->loops[i].loops, &digest) != 0)
      return -1;
    if (digest != first) return dr_bench_fail(x->bench, "a plain loop left other bytes; see drover verify");
  }
  return 0;
}

static int warm(experiment *x, stage *st) {
  const int32_t fastest = x->num_sides - 1, more = x->request->warm_steps - CHECK_STEPS;
  if (advance(x, x->sides + fastest, st->runners[fastest].batch, more, NULL) != 0) return -1;
  const int refused = share_state(x, st, fastest);
  for (int32_t i = 0; refused == 1 && i < fastest; i++)
    if (advance(x, x->sides + i, st->runners[i].batch, more, NULL) != 0) return -1;
  for (int32_t i = 0; i < x->num_sides; i++) {
    double seconds;
    if (more > 0 && st->loops[i].loops && dr_loops_run(st->loops[i].loops, true, more, &seconds) != 0) return -1;
  }
  return refused < 0 ? -1 : stopped(x);
}

/* How many steps of the loops last request->seconds. */
static int calibrate_loops(experiment *x, dr_loops *loops, bool apart, int64_t *num_steps) {
  const double wanted = x->request->seconds;
  double seconds = 0;
  int64_t count = 1;
  while (dr_loops_run(loops, apart, count, &seconds) == 0) {
    const double factor = seconds > 0 ? wanted / seconds : 1e3;
    if (seconds >= wanted / 4) {
      *num_steps = (int64_t)ceil((double)count * factor);
      return stopped(x);
    }
    count = (int64_t)ceil((double)count * fmin(fmax(factor / 2, 2), 100));
  }
  return -1;
}

static int make_loops(experiment *x, stage *st) {
  const dr_scaling_request *request = x->request;
  for (int32_t i = 0; i < x->num_sides; i++) {
    /* The plain loop is made of the parts of the most threads there are; it needs loops of its own only without. */
    const int32_t threads = x->sides[i].num_workers;
    const bool last = i + 1 == x->num_sides || x->sides[i + 1].num_workers > st->num_envs;
    if (threads > st->num_envs || (threads == 1 && !last)) continue;
    const dr_loops_request loops = {.type = request->type,
                                    .args = request->args,
                                    .policy = x->sides[0].policy,
                                    .inner_policy = x->sides[0].inner_policy,
                                    .num_envs = st->num_envs,
                                    .num_threads = threads};
    if (dr_loops_create(&st->loops[i].loops, x->bench, &loops) != 0) return -1;
    st->serial = i;
  }
  return 0;
}

/* Steps of a rollout on one worker: no longer than a figure should last, as nobody waits at its end. */
static int32_t steps_of(const experiment *x, const stage *st, int32_t index) {
  const dr_scaling_request *request = x->request;
  const int32_t last = x->num_sides - 1;
  if (index > 0 || last == 0) return request->num_steps;
  const double fitting = st->runners[last].rate / x->sides[last].num_workers * request->seconds / st->num_envs;
  return fitting < 1 ? 1 : fitting > request->num_steps ? request->num_steps : (int32_t)fitting;
}

static int make_runner(experiment *x, stage *st, int32_t index) {
  runner *r = st->runners + index;
  const side *s = x->sides + index;
  double begin, seconds = 0;
  r->num_steps = steps_of(x, st, index);
  if (open_rollout(x, s, r->batch, r->num_steps, false, &r->rollout) != 0) return -1;
  if (x->request->barrier && index > 0 && open_rollout(x, s, r->batch, r->num_steps, true, &r->barrier) != 0) return -1;
  for (r->iterations = 1; seconds < x->request->seconds / 4; r->iterations *= 4) {
    begin = dr_seconds_now();
    if (collect(x, r->rollout, r->iterations) != 0) return -1;
    seconds = dr_seconds_now() - begin;
  }
  r->iterations /= 4;
  r->rate = (double)r->iterations * r->num_steps * st->num_envs / seconds;
  r->iterations = (int64_t)ceil((double)r->iterations * x->request->seconds / seconds);
  return stopped(x);
}

static int make_stage(experiment *x, stage *st, int32_t num_envs) {
  st->num_envs = num_envs;
  for (int32_t i = 0; i < x->num_sides; i++) {
    drover_batch_view view;
    if (open_batch(x, x->sides + i, num_envs, &st->runners[i].batch, &view) != 0) return -1;
  }
  if (make_loops(x, st) != 0 || check(x, st) != 0 || warm(x, st) != 0) return -1;
  for (int32_t i = 0; i < x->num_sides; i++) {
    loop_runner *l = st->loops + i;
    if (i > 0 && l->loops && calibrate_loops(x, l->loops, true, &l->steps_apart) != 0) return -1;
    if (i == st->serial && calibrate_loops(x, l->loops, false, &l->steps_serial) != 0) return -1;
  }
  for (int32_t i = x->num_sides - 1; i >= 0; i--)
    if (make_runner(x, st, i) != 0) return -1;
  return 0;
}

/* ---- Timing ---- */

static int announce(const experiment *x, const stage *st, int32_t round, const char *what, int32_t count) {
  char text[96];
  snprintf(text, sizeof text, "round %d of %d: %d envs, %d %s", round + 1, x->request->num_rounds, st->num_envs, count,
           what);
  if (x->request->progress) x->request->progress(x->request->progress_user, text);
  return stopped(x);
}

static int time_loops(experiment *x, const stage *st, int32_t index, bool apart, int32_t round, dr_rates *rates) {
  const loop_runner *l = st->loops + index;
  const int64_t num_steps = apart ? l->steps_apart : l->steps_serial;
  double seconds;
  if (announce(x, st, round, "plain loop(s)", apart ? x->sides[index].num_workers : 1) != 0 ||
      dr_loops_run(l->loops, apart, num_steps, &seconds) != 0)
    return -1;
  rates->values[round] = (double)num_steps * st->num_envs / seconds;
  return 0;
}

static int time_rollout(experiment *x, const stage *st, int32_t index, bool barrier, int32_t round, dr_rates *rates) {
  const runner *r = st->runners + index;
  if (announce(x, st, round, barrier ? "worker(s), barrier" : "worker(s)", x->sides[index].num_workers) != 0) return -1;
  const double begin = dr_seconds_now();
  if (collect(x, barrier ? r->barrier : r->rollout, r->iterations) != 0) return -1;
  rates->values[round] = (double)r->iterations * r->num_steps * st->num_envs / (dr_seconds_now() - begin);
  return 0;
}

/* What is compared with each other is timed one right after the other. */
static int time_point(experiment *x, const stage *st, int32_t round, dr_scaling_point *point) {
  if (time_loops(x, st, st->serial, false, round, &point->loop) != 0 ||
      time_rollout(x, st, 0, false, round, &point->one) != 0)
    return -1;
  for (int32_t i = 1; i < x->num_sides; i++) {
    if (time_rollout(x, st, i, false, round, point->all + i - 1) != 0) return -1;
    if (st->loops[i].loops && time_loops(x, st, i, true, round, point->apart + i - 1) != 0) return -1;
    if (st->runners[i].barrier && time_rollout(x, st, i, true, round, point->barrier + i - 1) != 0) return -1;
  }
  return 0;
}

/* Only now are the round's figures complete. */
static void count_round(const experiment *x, dr_scaling *out) {
  out->num_rounds++;
  for (int32_t p = 0; p < x->request->num_points; p++) {
    dr_scaling_point *point = out->points + p;
    point->loop.count = point->one.count = out->num_rounds;
    for (int32_t i = 1; i < x->num_sides; i++) {
      point->all[i - 1].count = out->num_rounds;
      if (x->stages[p].loops[i].loops) point->apart[i - 1].count = out->num_rounds;
      if (x->stages[p].runners[i].barrier) point->barrier[i - 1].count = out->num_rounds;
    }
  }
}

static int time_rounds(experiment *x, dr_scaling *out) {
  const int32_t count = x->request->num_points;
  for (int32_t round = 0; round < x->request->num_rounds; round++) {
    for (int32_t i = 0; i < count; i++) {
      const int32_t p = round % 2 ? count - 1 - i : i;
      if (time_point(x, x->stages + p, round, out->points + p) != 0) return -1;
    }
    count_round(x, out);
  }
  return 0;
}

/* ---- The whole ---- */

static int open_side(experiment *x, int32_t num_workers, dr_scaling *out) {
  side *s = x->sides + x->num_sides++;
  drover_runtime_options options;
  drover_status status = drover_runtime_options_init(&options, sizeof options);
  s->num_workers = options.num_workers = num_workers;
  if (status == DROVER_OK) status = drover_runtime_create(&s->runtime, &options);
  if (status != DROVER_OK) return fail_status(x, "runtime", status);
  /* A batch that lives for a moment tells what the policies have to fit. */
  drover_batch *batch = NULL;
  drover_batch_view view;
  if (open_batch(x, s, 1, &batch, &view) != 0) {
    drover_batch_destroy(batch);
    return -1;
  }
  const drover_env_spec *spec = view.spec;
  const int64_t numbers =
      (int64_t)spec->observation_size + spec->action_size + spec->num_infos + spec->inner_sample_size;
  out->num_ticks = spec->num_ticks;
  out->state_bytes = (int64_t)spec->state_size + (int64_t)spec->memory_bytes;
  /* Also log-probability, value, reward, advantage, return; three flags. */
  out->row_bytes = 4 * (numbers + 5) + 3;
  status = x->request->make_policy(x->request->policy_user, &s->policy, s->runtime, spec);
  if (status == DROVER_OK)
    status = x->request->give_inner(x->request->policy_user, &s->inner_policy, s->runtime, batch);
  drover_batch_destroy(batch);
  return status == DROVER_OK ? 0 : fail_status(x, "policy", status);
}

static void close_all(experiment *x) {
  for (int32_t p = 0; p < DR_SCALING_MAX_POINTS; p++)
    for (int32_t i = 0; i < MAX_SIDES; i++) {
      dr_loops_destroy(x->stages[p].loops[i].loops);
      drover_rollout_destroy(x->stages[p].runners[i].rollout);
      drover_rollout_destroy(x->stages[p].runners[i].barrier);
      drover_batch_destroy(x->stages[p].runners[i].batch);
    }
  for (int32_t i = 0; i < MAX_SIDES; i++) {
    drover_policy_destroy(x->sides[i].policy);
    drover_policy_destroy(x->sides[i].inner_policy);
    drover_runtime_destroy(x->sides[i].runtime);
  }
  free(x);
}

int dr_scaling_measure(dr_scaling *out, dr_bench *bench, const dr_scaling_request *request) {
  memset(out, 0, sizeof *out);
  experiment *x = calloc(1, sizeof *x);
  if (!x) return dr_bench_fail(bench, "out of memory");
  x->bench = bench;
  x->request = request;
  int failed = open_side(x, 1, out);
  for (int32_t i = 0; i < request->num_workers && !failed; i++) failed = open_side(x, request->workers[i], out);
  for (int32_t p = 0; p < request->num_points && !failed; p++) {
    char text[64];
    snprintf(text, sizeof text, "warming up %d envs", request->num_envs[p]);
    if (request->progress) request->progress(request->progress_user, text);
    out->points[p].num_envs = request->num_envs[p];
    failed = stopped(x) != 0 || make_stage(x, x->stages + p, request->num_envs[p]) != 0;
  }
  if (!failed) failed = time_rounds(x, out);
  close_all(x);
  return failed ? -1 : 0;
}
