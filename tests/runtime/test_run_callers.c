/* test_run_callers.c: several threads that run programs on one runtime at once. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <unistd.h>

#include "tests/runtime/watch.h"
#include "tests/support/random.h"

/* ---- Several callers ------------------------------------------------------------------------------------------ */

typedef struct caller {
  drover_runtime *runtime;
  int32_t num_runs;
  watch_setting setting;
  uint64_t seed;
  pthread_t thread;
} caller;

static void *call_often(void *arg) {
  caller *c = arg;
  for (int32_t i = 0; i < c->num_runs; i++) {
    const int32_t num_rows = test_range(&c->seed, 1, 60);
    watch *w = watch_new(num_rows, test_range(&c->seed, 1, num_rows), 2);
    w->work = 500;
    watch_setting s = c->setting;
    s.alone = test_range(&c->seed, 0, 3) == 0;
    watch_run(c->runtime, w, s);
    free(w);
  }
  return NULL;
}

static void call_together(int32_t num_workers, int32_t num_callers, int32_t num_runs) {
  drover_runtime *runtime = watch_runtime(num_workers);
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
  OK(watch_execute(&run, both[1], (watch_setting){.num_steps = 2}, NULL));
  dr_run_free(&run);
  return NULL;
}

static void run_beside_a_held_run(bool alone) {
  drover_runtime *runtime = watch_runtime(3);
  toy_gate gate = {0};
  watch *held = watch_new(1, 1, 1), *w = watch_new(20, 4, 2);
  held->gate = &gate;
  void *both[2] = {runtime, held};
  pthread_t thread;
  cr_assert_eq(pthread_create(&thread, NULL, run_held, both), 0);
  toy_gate_wait_for(&gate, 1);
  watch_run(runtime, w, (watch_setting){.num_steps = 5, .alone = alone}); /* must end although the gate is closed */
  toy_gate_open(&gate);
  pthread_join(thread, NULL);
  free(held);
  free(w);
  OK(drover_runtime_destroy(runtime));
}

Test(run, a_caller_is_served_while_another_one_is_in_a_long_run, .timeout = 100) { run_beside_a_held_run(false); }
Test(run, a_caller_who_would_run_alone_does_not_wait_for_another_ones_long_run, .timeout = 100) {
  run_beside_a_held_run(true);
}

static void *run_until_cancelled(void *arg) {
  void **both = arg;
  dr_run run;
  OK(dr_run_init(&run, both[0], 8));
  cr_assert_eq(watch_execute(&run, both[1], (watch_setting){.num_steps = 100000000}, NULL), DROVER_ERROR_CANCELLED);
  dr_run_free(&run);
  return NULL;
}

static int64_t rows_done(const watch *w) {
  int64_t done = 0;
  for (int32_t r = 0; r < w->num_rows; r++) done += w->done[r];
  return done;
}

Test(run, long_runs_of_several_callers_advance_together, .timeout = 100) {
  drover_runtime *runtime = watch_runtime(3);
  watch *watches[3];
  void *both[3][2];
  pthread_t threads[3];
  for (int32_t i = 0; i < 3; i++) {
    watches[i] = watch_new(32, 4, 2);
    watches[i]->work = 500;
    both[i][0] = runtime;
    both[i][1] = watches[i];
    cr_assert_eq(pthread_create(&threads[i], NULL, run_until_cancelled, both[i]), 0);
  }
  for (int32_t i = 0; i < 3; i++)
    while (rows_done(watches[i]) == 0) usleep(500);
  /* A machine that is busy may hold one of them for a while, but not whenever it is looked at. */
  int64_t least = 0, most = INT64_MAX;
  for (int32_t look = 0; look < 20 && least * 50 < most; look++) {
    int64_t before[3];
    for (int32_t i = 0; i < 3; i++) before[i] = rows_done(watches[i]);
    usleep(400000);
    least = INT64_MAX;
    most = 0;
    for (int32_t i = 0; i < 3; i++) {
      const int64_t done = rows_done(watches[i]) - before[i];
      least = done < least ? done : least;
      most = done > most ? done : most;
    }
  }
  drover_runtime_cancel(runtime);
  for (int32_t i = 0; i < 3; i++) {
    pthread_join(threads[i], NULL);
    cr_assert_eq(watches[i]->num_wrong, 0);
    free(watches[i]);
  }
  cr_assert_geq(least * 50, most, "one caller's run did %d rows, another's %d", (int)least, (int)most);
  OK(drover_runtime_destroy(runtime));
}
