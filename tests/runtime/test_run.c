/* test_run.c: the scheduler by itself: whatever the workers, shards, chunks and costs, every row of every phase of
 * every step is run exactly once, in order within its shard. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#include "runtime/clock.h"
#include "runtime/run.h"
#include "runtime/runtime.h"
#include "tests/support/random.h"
#include "tests/support/world.h"

/* ---- A program that checks its own order ---------------------------------------------------------------------- */

enum { MAX_ROWS = 1200, MAX_PHASES = 3, FAIL_NOWHERE = -1 };

/* Everything is counted by row: `done` is how many phases of all steps the row has been through. */
typedef struct watch {
  int32_t num_rows, shard, num_phases; /* num_phases: of a whole step, repeated ones counted again */
  int32_t num_repeats;                 /* 0, or how often the last two of three phases come in a step */
  int64_t first_step;
  _Atomic int64_t done[MAX_ROWS];
  _Atomic int32_t begun[MAX_ROWS], ended[MAX_ROWS];
  _Atomic int64_t steps_ended[MAX_ROWS]; /* end_step calls that covered the row */
  _Atomic int64_t next_step[MAX_ROWS];   /* what `end` was told */
  _Atomic int32_t num_wrong;             /* order violations */
  _Atomic int32_t largest_call;
  int32_t multiple;
  /* Costs: rows that are multiples of slow_every sleep; all rows loop. */
  int32_t slow_every, sleep_us, work;
  /* Failure: in phase fail_phase (num_phases: end_step) of step fail_step, the call that holds fail_row. */
  int32_t fail_phase, fail_row;
  int64_t fail_step;
  _Atomic int32_t num_after_failure; /* rows of the failing shard that a later phase was called for */
  toy_gate *gate;                    /* held at row 0 of step gate_step */
  int64_t gate_step;
  _Atomic int32_t num_ticks;
} watch;

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

/* A watch over num_rows rows in shards; free() it. */
static watch *new_watch(int32_t num_rows, int32_t shard, int32_t num_phases) {
  cr_assert(num_rows <= MAX_ROWS);
  watch *w = calloc(1, sizeof *w);
  w->num_rows = num_rows;
  w->shard = shard;
  w->num_phases = num_phases;
  w->fail_phase = FAIL_NOWHERE;
  return w;
}

/* What is asked of the scheduler. */
typedef struct setting {
  int32_t chunk, multiple;
  int64_t num_steps;
  bool alone;
} setting;

/* The same watch may be run once only. */
static drover_status execute(dr_run *run, watch *w, setting s, int64_t *steps_done) {
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
  w->multiple = s.chunk > 0 ? 0 : s.multiple;
  dr_run_set_shards(run, w->num_rows, w->shard);
  return dr_run_execute(run, &program, w, w->first_step, s.num_steps, s.alone, steps_done);
}

static void assert_complete(const watch *w, int64_t num_steps, const char *where) {
  cr_assert_eq(w->num_wrong, 0, "%d wrong calls: %s", w->num_wrong, where);
  for (int32_t r = 0; r < w->num_rows; r++) {
    cr_assert_eq(w->done[r], num_steps * w->num_phases, "row %d was run %d times: %s", r, (int)w->done[r], where);
    cr_assert_eq(w->begun[r], 1, "row %d: %s", r, where);
    cr_assert_eq(w->ended[r], 1, "row %d: %s", r, where);
    cr_assert_eq(w->next_step[r], w->first_step + num_steps, "row %d: %s", r, where);
  }
}

static drover_runtime *new_runtime(int32_t num_workers) {
  drover_runtime_options o;
  OK(drover_runtime_options_init(&o, sizeof o));
  o.num_workers = num_workers;
  drover_runtime *runtime;
  OK(drover_runtime_create(&runtime, &o));
  return runtime;
}

/* Run one watch from beginning to end and check all of it. */
static void run_and_check(drover_runtime *runtime, watch *w, setting s) {
  char where[128];
  snprintf(where, sizeof where, "workers %d, rows %d, shard %d, phases %d, chunk %d, multiple %d, steps %d, alone %d",
           runtime->num_workers, w->num_rows, w->shard, w->num_phases, s.chunk, s.multiple, (int)s.num_steps, s.alone);
  dr_run run;
  OK(dr_run_init(&run, runtime, (w->num_rows + w->shard - 1) / w->shard));
  int64_t steps_done = -1;
  const drover_status status = execute(&run, w, s, &steps_done);
  cr_assert_eq(status, DROVER_OK, "%s: %s", drover_last_error(), where);
  cr_assert_eq(steps_done, s.num_steps, "%s", where);
  assert_complete(w, s.num_steps, where);
  dr_run_free(&run);
}

/* ---- Once each, in order -------------------------------------------------------------------------------------- */

Test(run, every_row_of_every_phase_of_every_step_once_for_any_workers_shards_and_chunks) {
  const int32_t workers[] = {1, 2, 3, 8}, shards[] = {1, 3, 16, 37}, chunks[] = {0, 1, 5};
  for (size_t i = 0; i < 4; i++) {
    drover_runtime *runtime = new_runtime(workers[i]);
    for (size_t j = 0; j < 4; j++)
      for (size_t k = 0; k < 3; k++)
        for (int32_t phases = 1; phases <= MAX_PHASES; phases++) {
          watch *w = new_watch(37, shards[j], phases);
          w->work = 200;
          run_and_check(runtime, w, (setting){.chunk = chunks[k], .num_steps = 12});
          free(w);
        }
    OK(drover_runtime_destroy(runtime));
  }
}

Test(run, every_row_once_for_random_settings_and_costs) {
  uint64_t seed = test_seed();
  for (int32_t round = 0; round < 12; round++) {
    drover_runtime *runtime = new_runtime(test_range(&seed, 1, 8));
    for (int32_t i = 0; i < 8; i++) {
      const int32_t num_rows = test_range(&seed, 1, 300);
      watch *w = new_watch(num_rows, test_range(&seed, 1, num_rows), test_range(&seed, 1, MAX_PHASES));
      w->first_step = test_range(&seed, 0, 1000);
      w->work = test_range(&seed, 0, 1) * 300;
      if (test_range(&seed, 0, 2) == 0) {
        w->slow_every = test_range(&seed, 20, 100);
        w->sleep_us = 20;
      }
      run_and_check(runtime, w,
                    (setting){.chunk = test_range(&seed, 0, 1) * test_range(&seed, 1, 40),
                              .multiple = test_range(&seed, 0, 16),
                              .num_steps = test_range(&seed, 1, 10),
                              .alone = test_range(&seed, 0, 5) == 0});
      free(w);
    }
    OK(drover_runtime_destroy(runtime));
  }
}

Test(run, more_chains_than_a_lane_has_cells) {
  drover_runtime *runtime = new_runtime(2);
  watch *w = new_watch(400, 1, 2); /* 200 chains a lane, 64 cells; slow enough that chains are put aside */
  w->work = 4000;
  run_and_check(runtime, w, (setting){.num_steps = 30});
  free(w);
  OK(drover_runtime_destroy(runtime));
}

Test(run, calls_cover_at_most_a_block_of_rows) {
  drover_runtime *runtime = new_runtime(1);
  watch *w = new_watch(1200, 1200, 2);
  run_and_check(runtime, w, (setting){.num_steps = 3});
  cr_assert_eq(w->largest_call, DR_BLOCK_ROWS);
  free(w);
  OK(drover_runtime_destroy(runtime));
}

Test(run, a_chunk_of_one_row_is_claimed_row_by_row) {
  drover_runtime *runtime = new_runtime(1);
  watch *w = new_watch(24, 12, 1);
  OK(drover_runtime_reset_stats(runtime));
  run_and_check(runtime, w, (setting){.chunk = 1, .num_steps = 5});
  cr_assert_eq(w->largest_call, 1);
  cr_assert_eq(runtime_stats(runtime).total.num_claims, 24 * 5);
  free(w);
  OK(drover_runtime_destroy(runtime));
}

Test(run, a_run_of_no_steps_begins_and_ends_every_chain) {
  drover_runtime *runtime = new_runtime(3);
  watch *w = new_watch(20, 3, 2);
  run_and_check(runtime, w, (setting){.num_steps = 0});
  free(w);
  OK(drover_runtime_destroy(runtime));
}

Test(run, the_same_run_again_and_again) {
  drover_runtime *runtime = new_runtime(8);
  dr_run run;
  OK(dr_run_init(&run, runtime, 40));
  for (int32_t i = 0; i < 300; i++) {
    watch *w = new_watch(40, 1 + i % 7, 1 + i % MAX_PHASES);
    w->work = i % 3 * 300;
    OK(execute(&run, w, (setting){.num_steps = 1 + i % 4}, NULL));
    assert_complete(w, 1 + i % 4, "one run used again");
    free(w);
  }
  dr_run_free(&run);
  OK(drover_runtime_destroy(runtime));
}

/* ---- Sharing -------------------------------------------------------------------------------------------------- */

Test(run, a_single_chain_is_split_among_the_workers) {
  drover_runtime *runtime = new_runtime(8);
  OK(drover_runtime_reset_stats(runtime));
  watch *w = new_watch(64, 64, 1);
  w->sleep_us = 200;
  run_and_check(runtime, w, (setting){.num_steps = 8});
  const drover_runtime_stats stats = runtime_stats(runtime);
  cr_assert_geq(stats.num_joined, 4, "%d joined", stats.num_joined);
  cr_assert_gt(stats.total.num_stolen, 0);
  free(w);
  OK(drover_runtime_destroy(runtime));
}

/* Opens the gate only when all other shards are through all their steps. */
static void *open_late(void *arg) {
  watch *w = arg;
  for (int32_t r = w->shard; r < w->num_rows; r++)
    while (!w->ended[r]) usleep(200);
  toy_gate_open(w->gate);
  return NULL;
}

Test(run, chains_of_a_worker_that_is_held_up_are_taken_by_others, .timeout = 10) {
  drover_runtime *runtime = new_runtime(2);
  toy_gate gate = {0};
  watch *w = new_watch(20, 1, 2); /* 10 chains a lane; row 0 is in the first lane */
  w->gate = &gate;
  pthread_t thread;
  cr_assert_eq(pthread_create(&thread, NULL, open_late, w), 0);
  run_and_check(runtime, w, (setting){.num_steps = 5});
  pthread_join(thread, NULL);
  free(w);
  OK(drover_runtime_destroy(runtime));
}

Test(run, while_one_row_is_held_the_other_shards_go_on_to_the_end, .timeout = 10) {
  drover_runtime *runtime = new_runtime(3);
  toy_gate gate = {0};
  watch *w = new_watch(30, 5, 2);
  w->gate = &gate;
  w->gate_step = 3;
  dr_run run;
  OK(dr_run_init(&run, runtime, 6));
  pthread_t thread;
  cr_assert_eq(pthread_create(&thread, NULL, open_late, w), 0);
  OK(execute(&run, w, (setting){.num_steps = 20}, NULL)); /* with a barrier this would never end */
  pthread_join(thread, NULL);
  assert_complete(w, 20, "with a gate");
  dr_run_free(&run);
  free(w);
  OK(drover_runtime_destroy(runtime));
}

/* ---- Repeated phases ------------------------------------------------------------------------------------------ */

static watch *new_repeating_watch(int32_t num_rows, int32_t shard, int32_t num_repeats) {
  watch *w = new_watch(num_rows, shard, 1 + 2 * num_repeats);
  w->num_repeats = num_repeats;
  return w;
}

Test(run, repeated_phases_come_in_turn_and_as_often_as_asked) {
  const int32_t repeats[] = {1, 2, 16, 301}, workers[] = {1, 3, 8};
  for (size_t i = 0; i < 4; i++)
    for (size_t k = 0; k < 3; k++) {
      drover_runtime *runtime = new_runtime(workers[k]);
      watch *w = new_repeating_watch(60, 7, repeats[i]);
      w->work = 200;
      w->first_step = 5;
      run_and_check(runtime, w, (setting){.num_steps = 6, .chunk = (int32_t)k});
      cr_assert_eq(runtime_stats(runtime).total.num_env_steps, 60 * 6, "a row is an env step once a step");
      free(w);
      OK(drover_runtime_destroy(runtime));
    }
}

/* Where a shard fails in the middle of a step, it stops there, and the others only between steps. */
Test(run, a_failure_in_a_repeated_phase_leaves_no_other_shard_within_a_step) {
  for (int32_t num_workers = 1; num_workers <= 8; num_workers += 7) {
    drover_runtime *runtime = new_runtime(num_workers);
    watch *w = new_repeating_watch(40, 4, 10);
    w->work = 300;
    w->fail_phase = 7;
    w->fail_row = 17;
    w->fail_step = 6;
    dr_run run;
    OK(dr_run_init(&run, runtime, 10));
    int64_t steps_done = -1;
    cr_assert_eq(execute(&run, w, (setting){.num_steps = 5000}, &steps_done), DROVER_ERROR_ENV);
    cr_assert_leq(steps_done, 6);
    cr_assert_eq(w->num_wrong, 0);
    cr_assert_eq(w->num_after_failure, 0);
    for (int32_t r = 0; r < w->num_rows; r++)
      cr_assert_eq(w->done[r] % w->num_phases, shard_begin(w, r) == 16 ? 8 : 0, "row %d", r);
    dr_run_free(&run);
    free(w);
    OK(drover_runtime_destroy(runtime));
  }
}

/* ---- Failing -------------------------------------------------------------------------------------------------- */

static void fail_somewhere(int32_t num_workers, int32_t fail_phase, bool alone) {
  drover_runtime *runtime = new_runtime(num_workers);
  watch *w = new_watch(40, 4, MAX_PHASES);
  w->work = 300;
  w->fail_phase = fail_phase;
  w->fail_row = 17;
  w->fail_step = 6;
  dr_run run;
  OK(dr_run_init(&run, runtime, 10));
  int64_t steps_done = -1;
  const drover_status status = execute(&run, w, (setting){.num_steps = 5000, .alone = alone}, &steps_done);
  cr_assert_eq(status, DROVER_ERROR_ENV);
  cr_assert_str_eq(drover_last_error(),
                   fail_phase == MAX_PHASES ? "the end of step 6 fails" : "row 17 of step 6 fails");
  int64_t least = INT64_MAX;
  for (int32_t r = 0; r < w->num_rows; r++) {
    cr_assert_eq(w->ended[r], 1, "row %d was ended %d times", r, w->ended[r]);
    cr_assert_eq(w->next_step[r], w->steps_ended[r]);
    if (w->steps_ended[r] < least) least = w->steps_ended[r];
  }
  cr_assert_eq(steps_done, least, "steps_done is %d, all shards completed %d", (int)steps_done, (int)least);
  cr_assert_leq(steps_done, 7);
  cr_assert_lt(w->steps_ended[0], 5000, "the failure stopped nobody");
  cr_assert_eq(w->num_wrong, 0);
  cr_assert_eq(w->num_after_failure, 0, "%d rows of the failed step went on to its next phase", w->num_after_failure);
  dr_run_free(&run);
  free(w);
  OK(drover_runtime_destroy(runtime));
}

Test(run, a_failing_row_in_the_first_phase_stops_the_run_with_its_message) {
  fail_somewhere(1, 0, false);
  fail_somewhere(3, 0, false);
  fail_somewhere(3, 0, true);
}
Test(run, a_failing_row_in_the_second_phase_stops_the_run_with_its_message) {
  fail_somewhere(1, 1, false);
  fail_somewhere(8, 1, false);
}
Test(run, a_failing_row_in_the_last_phase_stops_the_run_with_its_message) {
  fail_somewhere(1, 2, false);
  fail_somewhere(8, 2, false);
}
Test(run, a_failing_end_of_step_stops_the_run_with_its_message) {
  fail_somewhere(1, MAX_PHASES, false);
  fail_somewhere(3, MAX_PHASES, false);
}

Test(run, after_a_failed_run_the_next_one_works) {
  drover_runtime *runtime = new_runtime(3);
  dr_run run;
  OK(dr_run_init(&run, runtime, 10));
  for (int32_t i = 0; i < 10; i++) {
    watch *w = new_watch(40, 4, 2);
    w->fail_phase = i % 2 == 0 ? 0 : FAIL_NOWHERE;
    const drover_status status = execute(&run, w, (setting){.num_steps = 4}, NULL);
    cr_assert_eq(status, i % 2 == 0 ? DROVER_ERROR_ENV : DROVER_OK);
    free(w);
  }
  dr_run_free(&run);
  OK(drover_runtime_destroy(runtime));
}

/* ---- Cancelling ----------------------------------------------------------------------------------------------- */

static void *cancel_when_begun(void *arg) {
  void **both = arg;
  watch *w = both[1];
  while (w->steps_ended[0] < 3) usleep(200);
  drover_runtime_cancel(both[0]);
  return NULL;
}

static void cancel_from_a_thread(int32_t num_workers) {
  drover_runtime *runtime = new_runtime(num_workers);
  watch *w = new_watch(24, 3, 2);
  w->work = 2000;
  void *both[2] = {runtime, w};
  pthread_t thread;
  cr_assert_eq(pthread_create(&thread, NULL, cancel_when_begun, both), 0);
  dr_run run;
  OK(dr_run_init(&run, runtime, 8));
  int64_t steps_done = -1;
  const drover_status status = execute(&run, w, (setting){.num_steps = 1000000}, &steps_done);
  cr_assert_eq(status, DROVER_ERROR_CANCELLED);
  pthread_join(thread, NULL);
  int64_t least = INT64_MAX;
  for (int32_t r = 0; r < w->num_rows; r++) {
    cr_assert_eq(w->ended[r], 1);
    cr_assert_eq(w->next_step[r], w->steps_ended[r]);
    if (w->steps_ended[r] < least) least = w->steps_ended[r];
  }
  cr_assert_eq(steps_done, least);
  cr_assert_eq(w->num_wrong, 0);
  dr_run_free(&run);
  free(w);
  OK(drover_runtime_destroy(runtime));
}

Test(run, cancel_from_another_thread_ends_a_run_at_its_next_step) {
  cancel_from_a_thread(1);
  cancel_from_a_thread(2);
  cancel_from_a_thread(8);
}

static drover_runtime *interrupted;
static void on_alarm(int signal) {
  (void)signal;
  drover_runtime_cancel(interrupted);
}

Test(run, cancel_from_a_signal_handler) {
  interrupted = new_runtime(3);
  signal(SIGALRM, on_alarm);
  const struct itimerval soon = {.it_value = {.tv_usec = 30000}};
  setitimer(ITIMER_REAL, &soon, NULL);
  watch *w = new_watch(24, 3, 2);
  w->work = 2000;
  dr_run run;
  OK(dr_run_init(&run, interrupted, 8));
  cr_assert_eq(execute(&run, w, (setting){.num_steps = 1000000}, NULL), DROVER_ERROR_CANCELLED);
  dr_run_free(&run);
  free(w);
  OK(drover_runtime_destroy(interrupted));
}

/* ---- Several callers ------------------------------------------------------------------------------------------ */

typedef struct caller {
  drover_runtime *runtime;
  int32_t num_runs;
  setting setting;
  uint64_t seed;
  pthread_t thread;
} caller;

static void *call_often(void *arg) {
  caller *c = arg;
  for (int32_t i = 0; i < c->num_runs; i++) {
    const int32_t num_rows = test_range(&c->seed, 1, 60);
    watch *w = new_watch(num_rows, test_range(&c->seed, 1, num_rows), 2);
    w->work = 500;
    setting s = c->setting;
    s.alone = test_range(&c->seed, 0, 3) == 0;
    run_and_check(c->runtime, w, s);
    free(w);
  }
  return NULL;
}

static void call_together(int32_t num_workers, int32_t num_callers, int32_t num_runs) {
  drover_runtime *runtime = new_runtime(num_workers);
  caller *callers = calloc((size_t)num_callers, sizeof *callers);
  for (int32_t i = 0; i < num_callers; i++) {
    callers[i] = (caller){.runtime = runtime, .num_runs = num_runs, .setting = {.num_steps = 6}, .seed = (uint64_t)i};
    cr_assert_eq(pthread_create(&callers[i].thread, NULL, call_often, &callers[i]), 0);
  }
  for (int32_t i = 0; i < num_callers; i++) pthread_join(callers[i].thread, NULL);
  free(callers);
  OK(drover_runtime_destroy(runtime));
}

Test(run, several_callers_at_once_share_one_worker) { call_together(1, 4, 15); }
Test(run, several_callers_at_once_share_two_workers) { call_together(2, 6, 15); }
Test(run, several_callers_at_once_share_eight_workers) { call_together(8, 6, 15); }
Test(run, more_callers_than_the_board_has_places) { call_together(2, DR_BOARD_PLACES + 10, 2); }

/* One caller is worker 0 in a run that is held at a gate; `alone` or not, another one is served meanwhile. */
static void *run_held(void *arg) {
  void **both = arg;
  dr_run run;
  OK(dr_run_init(&run, both[0], 1));
  OK(execute(&run, both[1], (setting){.num_steps = 2}, NULL));
  dr_run_free(&run);
  return NULL;
}

static void run_beside_a_held_run(bool alone) {
  drover_runtime *runtime = new_runtime(3);
  toy_gate gate = {0};
  watch *held = new_watch(1, 1, 1), *w = new_watch(20, 4, 2);
  held->gate = &gate;
  void *both[2] = {runtime, held};
  pthread_t thread;
  cr_assert_eq(pthread_create(&thread, NULL, run_held, both), 0);
  toy_gate_wait_for(&gate, 1);
  run_and_check(runtime, w, (setting){.num_steps = 5, .alone = alone}); /* must end although the gate is closed */
  toy_gate_open(&gate);
  pthread_join(thread, NULL);
  free(held);
  free(w);
  OK(drover_runtime_destroy(runtime));
}

Test(run, a_caller_is_served_while_another_one_is_in_a_long_run, .timeout = 10) { run_beside_a_held_run(false); }
Test(run, a_caller_who_would_run_alone_does_not_wait_for_another_ones_long_run, .timeout = 10) {
  run_beside_a_held_run(true);
}

static void *run_until_cancelled(void *arg) {
  void **both = arg;
  dr_run run;
  OK(dr_run_init(&run, both[0], 8));
  cr_assert_eq(execute(&run, both[1], (setting){.num_steps = 100000000}, NULL), DROVER_ERROR_CANCELLED);
  dr_run_free(&run);
  return NULL;
}

Test(run, long_runs_of_several_callers_advance_together, .timeout = 20) {
  drover_runtime *runtime = new_runtime(3);
  watch *watches[3];
  void *both[3][2];
  pthread_t threads[3];
  for (int32_t i = 0; i < 3; i++) {
    watches[i] = new_watch(32, 4, 2);
    watches[i]->work = 500;
    both[i][0] = runtime;
    both[i][1] = watches[i];
    cr_assert_eq(pthread_create(&threads[i], NULL, run_until_cancelled, both[i]), 0);
  }
  usleep(400000);
  drover_runtime_cancel(runtime);
  int64_t least = INT64_MAX, most = 0;
  for (int32_t i = 0; i < 3; i++) {
    pthread_join(threads[i], NULL);
    int64_t done = 0;
    for (int32_t r = 0; r < 32; r++) done += watches[i]->done[r];
    least = done < least ? done : least;
    most = done > most ? done : most;
    cr_assert_eq(watches[i]->num_wrong, 0);
    free(watches[i]);
  }
  cr_assert_geq(least * 50, most, "one caller's run did %d rows, another's %d", (int)least, (int)most);
  OK(drover_runtime_destroy(runtime));
}

/* ---- Ticks ---------------------------------------------------------------------------------------------------- */

Test(run, ticks_come_at_most_every_100_ms) {
  drover_runtime *runtime = new_runtime(3);
  watch *w = new_watch(6, 1, 1);
  w->sleep_us = 500;
  const uint64_t from = dr_monotonic_ns();
  run_and_check(runtime, w, (setting){.num_steps = 250});
  const double tenths = (double)(dr_monotonic_ns() - from) / 1e8;
  cr_assert_geq(w->num_ticks, 1);
  cr_assert_leq(w->num_ticks, (int32_t)tenths + 1, "%d ticks in %g s", w->num_ticks, tenths / 10);
  free(w);
  OK(drover_runtime_destroy(runtime));
}
