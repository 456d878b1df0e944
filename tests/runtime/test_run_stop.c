/* test_run_stop.c: runs that fail or are cancelled: what the scheduler still does, and no more. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#include "tests/runtime/watch.h"

/* ---- Failing -------------------------------------------------------------------------------------------------- */

static void fail_somewhere(int32_t num_workers, int32_t fail_phase, bool alone) {
  drover_runtime *runtime = watch_runtime(num_workers);
  watch *w = watch_new(40, 4, MAX_PHASES);
  w->work = 300;
  w->fail_phase = fail_phase;
  w->fail_row = 17;
  w->fail_step = 6;
  dr_run run;
  OK(dr_run_init(&run, runtime, 10));
  int64_t steps_done = -1;
  const drover_status status = watch_execute(&run, w, (watch_setting){.num_steps = 5000, .alone = alone}, &steps_done);
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
  drover_runtime *runtime = watch_runtime(3);
  dr_run run;
  OK(dr_run_init(&run, runtime, 10));
  for (int32_t i = 0; i < 10; i++) {
    watch *w = watch_new(40, 4, 2);
    w->fail_phase = i % 2 == 0 ? 0 : FAIL_NOWHERE;
    const drover_status status = watch_execute(&run, w, (watch_setting){.num_steps = 4}, NULL);
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
  drover_runtime *runtime = watch_runtime(num_workers);
  watch *w = watch_new(24, 3, 2);
  w->work = 2000;
  void *both[2] = {runtime, w};
  pthread_t thread;
  cr_assert_eq(pthread_create(&thread, NULL, cancel_when_begun, both), 0);
  dr_run run;
  OK(dr_run_init(&run, runtime, 8));
  int64_t steps_done = -1;
  const drover_status status = watch_execute(&run, w, (watch_setting){.num_steps = 1000000}, &steps_done);
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
  interrupted = watch_runtime(3);
  signal(SIGALRM, on_alarm);
  /* Again and again: a cancellation before the run has begun is forgotten. */
  const struct itimerval often = {.it_value = {.tv_usec = 30000}, .it_interval = {.tv_usec = 30000}};
  setitimer(ITIMER_REAL, &often, NULL);
  watch *w = watch_new(24, 3, 2);
  w->work = 2000;
  dr_run run;
  OK(dr_run_init(&run, interrupted, 8));
  cr_assert_eq(watch_execute(&run, w, (watch_setting){.num_steps = 1000000}, NULL), DROVER_ERROR_CANCELLED);
  setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
  dr_run_free(&run);
  free(w);
  OK(drover_runtime_destroy(interrupted));
}
