/* watch.c: see watch.h. */
#include "tests/runtime/watch.h"

#include <criterion/criterion.h>
#include <unistd.h>

#include "runtime/clock.h"

static int32_t shard_begin(const watch *w, int32_t row) { return row / w->shard * w->shard; }
static int32_t shard_end(const watch *w, int32_t row) {
  const int32_t end = shard_begin(w, row) + w->shard;
  return end < w->num_rows ? end : w->num_rows;
}

static void wrong_if(watch *w, bool condition) {
  if (condition) atomic_fetch_add(&w->num_wrong, 1);
}

static drover_status rows(watch *w, int32_t phase, int32_t first, int32_t count, int64_t step) {
  const int64_t before = (step - w->first_step) * w->num_phases + phase;
  const int32_t begin = shard_begin(w, first), end = shard_end(w, first);
  wrong_if(w, count < 1 || first + count > end);
  wrong_if(w, w->multiple > 1 && (first - begin) % w->multiple != 0);
  for (int32_t seen = w->largest_call; count > seen && !atomic_compare_exchange_weak(&w->largest_call, &seen, count);)
    continue;
  /* All of the shard has been through the phase before; nobody is in the one after. */
  for (int32_t r = begin; r < end; r++)
    wrong_if(w, w->done[r] < before || w->done[r] > before + 1 || !w->begun[r] || w->ended[r] ||
                    w->steps_ended[r] != step - w->first_step);
  bool fails = false;
  static _Thread_local const watch *come_to;
  if (w->wanted_threads > 0 && come_to != w) {
    come_to = w;
    atomic_fetch_add(&w->num_threads, 1);
    for (int32_t i = 0; i < 30000 && w->num_threads < w->wanted_threads; i++) usleep(1000);
  }
  for (int32_t r = first; r < first + count; r++) {
    if (w->gate && r == 0 && step == w->gate_step && phase == 0) {
      atomic_fetch_add(&w->gate->num_arrived, 1);
      while (!w->gate->open) usleep(200);
    }
    if (w->sleep_us > 0 && (w->slow_every == 0 || r % w->slow_every == 0)) usleep((useconds_t)w->sleep_us);
    if (w->work > 0) toy_work(w->work);
    fails = fails || (phase == w->fail_phase && step == w->fail_step && r == w->fail_row);
    wrong_if(w, atomic_fetch_add(&w->done[r], 1) != before);
    if (step == w->fail_step && phase > w->fail_phase && w->fail_phase >= 0 &&
        shard_begin(w, r) == shard_begin(w, w->fail_row))
      atomic_fetch_add(&w->num_after_failure, 1);
  }
  return fails ? dr_fail(DROVER_ERROR_ENV, "row %d of step %d fails", (int)w->fail_row, (int)step) : DROVER_OK;
}

static drover_status rows_0(void *object, dr_worker *worker, int32_t first, int32_t count, int64_t step) {
  (void)worker;
  return rows(object, 0, first, count, step);
}
static drover_status rows_1(void *object, dr_worker *worker, int32_t first, int32_t count, int64_t step) {
  (void)worker;
  return rows(object, 1, first, count, step);
}
static drover_status rows_2(void *object, dr_worker *worker, int32_t first, int32_t count, int64_t step) {
  (void)worker;
  return rows(object, 2, first, count, step);
}

/* The two phases that are repeated, if any are. */
static drover_status repeat_1(void *object, dr_worker *worker, int32_t first, int32_t count, int64_t step,
                              int32_t repeat) {
  (void)worker;
  return rows(object, 1 + 2 * repeat, first, count, step);
}
static drover_status repeat_2(void *object, dr_worker *worker, int32_t first, int32_t count, int64_t step,
                              int32_t repeat) {
  (void)worker;
  return rows(object, 2 + 2 * repeat, first, count, step);
}

static drover_status begin(void *object, dr_worker *worker, int32_t first, int32_t count) {
  (void)worker;
  watch *w = object;
  wrong_if(w, first != shard_begin(w, first) || first + count != shard_end(w, first));
  for (int32_t r = first; r < first + count; r++)
    wrong_if(w, atomic_fetch_add(&w->begun[r], 1) != 0 || w->done[r] != 0);
  return DROVER_OK;
}

static drover_status end_step(void *object, dr_worker *worker, int32_t chain, int32_t first, int32_t count,
                              int64_t step) {
  (void)worker;
  watch *w = object;
  wrong_if(w, chain != first / w->shard || first != shard_begin(w, first) || first + count != shard_end(w, first));
  for (int32_t r = first; r < first + count; r++) {
    wrong_if(w, w->done[r] != (step - w->first_step + 1) * w->num_phases);
    wrong_if(w, atomic_fetch_add(&w->steps_ended[r], 1) != step - w->first_step);
  }
  const bool fails =
      w->fail_phase == w->num_phases && step == w->fail_step && w->fail_row >= first && w->fail_row < first + count;
  return fails ? dr_fail(DROVER_ERROR_ENV, "the end of step %d fails", (int)step) : DROVER_OK;
}

static drover_status end(void *object, dr_worker *worker, int32_t first, int32_t count, int64_t next_step) {
  (void)worker;
  watch *w = object;
  for (int32_t r = first; r < first + count; r++) {
    wrong_if(w, atomic_fetch_add(&w->ended[r], 1) != 0 || w->steps_ended[r] != next_step - w->first_step);
    w->next_step[r] = next_step;
  }
  return DROVER_OK;
}

static void count_tick(void *object) { atomic_fetch_add(&((watch *)object)->num_ticks, 1); }

watch *watch_new(int32_t num_rows, int32_t shard, int32_t num_phases) {
  cr_assert(num_rows <= MAX_ROWS);
  watch *w = calloc(1, sizeof *w);
  w->num_rows = num_rows;
  w->shard = shard;
  w->num_phases = num_phases;
  w->fail_phase = FAIL_NOWHERE;
  return w;
}

drover_status watch_execute(dr_run *run, watch *w, watch_setting s, int64_t *steps_done) {
  dr_phase phases[MAX_PHASES] = {
      {.kind = DR_KIND_INFER, .multiple = s.multiple, .chunk = s.chunk, .cost = 0, .rows = rows_0},
      {.kind = DR_KIND_STEP, .multiple = s.multiple, .chunk = s.chunk, .cost = 1, .rows = rows_1},
      {.kind = DR_KIND_OTHER, .multiple = s.multiple, .chunk = s.chunk, .cost = 2, .rows = rows_2}};
  dr_program program = {.phases = phases,
                        .num_phases = w->num_phases,
                        .begin = begin,
                        .end_step = end_step,
                        .end = end,
                        .tick = count_tick};
  if (w->num_repeats > 0) {
    program.num_phases = 3;
    program.num_repeated = 2;
    program.num_repeats = w->num_repeats;
    phases[1].repeat_rows = repeat_1;
    phases[2].repeat_rows = repeat_2;
    phases[2].kind = DR_KIND_STEP;
  }
  /* A claim of more rows than a block is cut into blocks, whatever the multiple. */
  const bool may_be_cut = w->shard > DR_BLOCK_ROWS && s.multiple > 1 && DR_BLOCK_ROWS % s.multiple != 0;
  w->multiple = s.chunk > 0 || may_be_cut ? 0 : s.multiple;
  dr_run_set_shards(run, w->num_rows, w->shard);
  return dr_run_execute(run, &program, w, w->first_step, s.num_steps, s.alone, steps_done);
}

void watch_assert_complete(const watch *w, int64_t num_steps, const char *where) {
  cr_assert_eq(w->num_wrong, 0, "%d wrong calls: %s", w->num_wrong, where);
  for (int32_t r = 0; r < w->num_rows; r++) {
    cr_assert_eq(w->done[r], num_steps * w->num_phases, "row %d was run %d times: %s", r, (int)w->done[r], where);
    cr_assert_eq(w->begun[r], 1, "row %d: %s", r, where);
    cr_assert_eq(w->ended[r], 1, "row %d: %s", r, where);
    cr_assert_eq(w->next_step[r], w->first_step + num_steps, "row %d: %s", r, where);
  }
}

drover_runtime *watch_runtime(int32_t num_workers) {
  drover_runtime_options o;
  OK(drover_runtime_options_init(&o, sizeof o));
  o.num_workers = num_workers;
  drover_runtime *runtime;
  OK(drover_runtime_create(&runtime, &o));
  return runtime;
}

void watch_run(drover_runtime *runtime, watch *w, watch_setting s) {
  char where[128];
  snprintf(where, sizeof where, "workers %d, rows %d, shard %d, phases %d, chunk %d, multiple %d, steps %d, alone %d",
           runtime->num_workers, w->num_rows, w->shard, w->num_phases, s.chunk, s.multiple, (int)s.num_steps, s.alone);
  dr_run run;
  OK(dr_run_init(&run, runtime, (w->num_rows + w->shard - 1) / w->shard));
  int64_t steps_done = -1;
  const drover_status status = watch_execute(&run, w, s, &steps_done);
  cr_assert_eq(status, DROVER_OK, "%s: %s", drover_last_error(), where);
  cr_assert_eq(steps_done, s.num_steps, "%s", where);
  watch_assert_complete(w, s.num_steps, where);
  dr_run_free(&run);
}
