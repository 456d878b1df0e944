/* test_handle.c: handles that are closed, NULL, of another kind, still in use, or of the parent of a fork. */
#include <criterion/criterion.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/world.h"

/* Three workers, and envs slow enough that all of them have work. */
static void init(world *w) {
  world_init(w);
  w->runtime_options.num_workers = 3;
  w->config.sleep_us = 200;
}

/* ---- Fork ----------------------------------------------------------------------------------------------------- */

static int32_t num_unforked; /* calls that did not say FORKED */

static void expect_forked(drover_status status, const char *call) {
  if (status == DROVER_ERROR_FORKED) return;
  fprintf(stderr, "%s returned %s\n", call, drover_status_name(status));
  num_unforked++;
}
#define FORKED(call) expect_forked(call, #call)

static void call_everything(world *w) {
  int32_t ids[16] = {0}, actions[16] = {0}, got;
  float numbers[16] = {0};
  uint8_t mask[16] = {0};
  size_t size = 0;
  uint64_t digest;
  drover_runtime_stats stats = {.size = sizeof stats};
  drover_worker_stats worker;
  drover_batch_view batch_view = {.size = sizeof batch_view};
  drover_rollout_view rollout_view = {.size = sizeof rollout_view};
  drover_policy_spec spec;
  drover_batch *batch;
  drover_policy *policy;
  drover_rollout *rollout;
  FORKED(drover_runtime_get_stats(w->runtime, &stats));
  FORKED(drover_runtime_get_worker_stats(w->runtime, 0, &worker));
  FORKED(drover_runtime_reset_stats(w->runtime));
  FORKED(drover_runtime_save_trace(w->runtime, "/dev/null"));
  FORKED(toy_batch_create(&batch, w->runtime, &w->config, &w->batch_options));
  FORKED(drover_batch_reset(w->batch, 1));
  FORKED(drover_batch_reset_some(w->batch, mask));
  FORKED(drover_batch_step(w->batch, actions));
  FORKED(drover_batch_send(w->batch, 1, ids, actions));
  FORKED(drover_batch_recv(w->batch, 1, 0, ids, &got));
  FORKED(drover_batch_get_view(w->batch, &batch_view));
  FORKED(drover_batch_get_sizes(w->batch, &got, &got));
  FORKED(drover_batch_set_param(w->batch, "gain", NULL, 1));
  FORKED(drover_batch_save(w->batch, NULL, &size));
  FORKED(drover_batch_load(w->batch, numbers, sizeof numbers));
  FORKED(toy_policy_create(&policy, w->runtime, &w->toy));
  FORKED(drover_policy_get_spec(w->policy, &spec));
  FORKED(drover_policy_act(w->policy, w->batch, 0, actions, numbers, numbers));
  FORKED(drover_rollout_create(&rollout, w->batch, w->policy, &w->rollout_options));
  FORKED(drover_rollout_collect(w->rollout));
  FORKED(drover_rollout_begin(w->rollout));
  FORKED(drover_rollout_record(w->rollout, actions, numbers, numbers));
  FORKED(drover_rollout_finish(w->rollout));
  FORKED(drover_rollout_get_view(w->rollout, &rollout_view));
  FORKED(drover_rollout_digest(w->rollout, &digest));
  drover_runtime_cancel(w->runtime);
}

/* Run body in a forked child; its exit status, or 99 if it does not end within 100 s. */
static int in_child(void (*body)(world *), world *w) {
  const pid_t child = fork();
  if (child == 0) {
    body(w);
    _exit(num_unforked > 0);
  }
  for (int32_t i = 0; i < 10000; i++) {
    int status;
    if (waitpid(child, &status, WNOHANG) == child) return WIFEXITED(status) ? WEXITSTATUS(status) : 98;
    usleep(10000);
  }
  kill(child, SIGKILL);
  return 99;
}

static void destroy_everything(world *w) {
  call_everything(w);
  world_close(w); /* in any order, at once */
}

static void destroy_runtime_first(world *w) {
  OK(drover_runtime_destroy(w->runtime));
  OK(drover_batch_destroy(w->batch));
  OK(drover_policy_destroy(w->policy));
  OK(drover_rollout_destroy(w->rollout));
}

Test(handle, after_fork_every_call_in_the_child_says_so_and_destroy_returns_at_once) {
  world w;
  init(&w);
  w.runtime_options.trace_events = 100;
  world_open(&w);
  OK(drover_rollout_collect(w.rollout));
  cr_assert_eq(in_child(destroy_everything, &w), 0);
  cr_assert_eq(in_child(destroy_runtime_first, &w), 0);
  OK(drover_rollout_collect(w.rollout)); /* the parent does not notice */
  world_close(&w);
}

static void use_a_runtime_of_its_own(world *parents) {
  (void)parents;
  world w;
  world_init(&w);
  w.runtime_options.num_workers = 3;
  world_open(&w);
  OK(drover_rollout_collect(w.rollout));
  world_close(&w);
}

Test(handle, after_fork_the_child_can_make_a_runtime_of_its_own) {
  world w;
  init(&w);
  world_open(&w);
  OK(drover_rollout_collect(w.rollout));
  cr_assert_eq(in_child(use_a_runtime_of_its_own, &w), 0);
  world_close(&w);
}

/* ---- Handles -------------------------------------------------------------------------------------------------- */

Test(handle, a_call_on_a_closed_handle_says_closed) {
  world w, closed;
  world_init(&w);
  world_open(&w);
  closed = w;
  world_close(&w);
  int32_t actions[16] = {0};
  drover_runtime_stats stats = {.size = sizeof stats};
  drover_batch *batch;
  drover_policy_spec spec;
  drover_rollout_view view = {.size = sizeof view};
  cr_assert_eq(drover_runtime_get_stats(closed.runtime, &stats), DROVER_ERROR_CLOSED);
  cr_assert(strstr(drover_last_error(), "destroyed"), "%s", drover_last_error());
  cr_assert_eq(toy_batch_create(&batch, closed.runtime, &w.config, &w.batch_options), DROVER_ERROR_CLOSED);
  cr_assert_eq(drover_runtime_destroy(closed.runtime), DROVER_ERROR_CLOSED);
  cr_assert_eq(drover_batch_step(closed.batch, actions), DROVER_ERROR_CLOSED);
  cr_assert_eq(drover_batch_destroy(closed.batch), DROVER_ERROR_CLOSED);
  cr_assert_eq(drover_policy_get_spec(closed.policy, &spec), DROVER_ERROR_CLOSED);
  cr_assert_eq(drover_policy_destroy(closed.policy), DROVER_ERROR_CLOSED);
  cr_assert_eq(drover_rollout_get_view(closed.rollout, &view), DROVER_ERROR_CLOSED);
  cr_assert_eq(drover_rollout_collect(closed.rollout), DROVER_ERROR_CLOSED);
  cr_assert_eq(drover_rollout_destroy(closed.rollout), DROVER_ERROR_CLOSED);
  drover_runtime_cancel(closed.runtime);
}

Test(handle, null_handles_are_refused_and_destroying_null_is_fine) {
  int32_t actions[16] = {0};
  drover_runtime_stats stats = {.size = sizeof stats};
  drover_rollout_view view = {.size = sizeof view};
  OK(drover_runtime_destroy(NULL));
  OK(drover_batch_destroy(NULL));
  OK(drover_policy_destroy(NULL));
  OK(drover_rollout_destroy(NULL));
  cr_assert_eq(drover_runtime_get_stats(NULL, &stats), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_batch_step(NULL, actions), DROVER_ERROR_ARGUMENT);
  cr_assert(strstr(drover_last_error(), "batch step: the handle is NULL"), "%s", drover_last_error());
  cr_assert_eq(drover_rollout_collect(NULL), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_rollout_get_view(NULL, &view), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_policy_act(NULL, NULL, 0, actions, NULL, NULL), DROVER_ERROR_ARGUMENT);
}

Test(handle, handles_of_the_wrong_kind_are_refused) {
  world w;
  world_init(&w);
  world_open(&w);
  int32_t actions[16] = {0};
  cr_assert_eq(drover_batch_step((drover_batch *)w.runtime, actions), DROVER_ERROR_ARGUMENT);
  cr_assert(strstr(drover_last_error(), "another kind"), "%s", drover_last_error());
  cr_assert_eq(drover_rollout_collect((drover_rollout *)w.batch), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_batch_destroy((drover_batch *)w.rollout), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_runtime_destroy((drover_runtime *)w.policy), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_policy_act((drover_policy *)w.batch, w.batch, 0, actions, NULL, NULL), DROVER_ERROR_ARGUMENT);
  world_close(&w);
}

Test(handle, what_others_still_use_cannot_be_destroyed) {
  world w;
  world_init(&w);
  world_open(&w);
  cr_assert_eq(drover_runtime_destroy(w.runtime), DROVER_ERROR_STATE);
  cr_assert(strstr(drover_last_error(), "3 batches, policies or rollouts"), "%s", drover_last_error());
  cr_assert_eq(drover_batch_destroy(w.batch), DROVER_ERROR_STATE);
  cr_assert(strstr(drover_last_error(), "rollout"), "%s", drover_last_error());
  cr_assert_eq(drover_policy_destroy(w.policy), DROVER_ERROR_STATE);
  OK(drover_rollout_collect(w.rollout)); /* nothing was broken */
  OK(drover_rollout_destroy(w.rollout));
  cr_assert_eq(drover_runtime_destroy(w.runtime), DROVER_ERROR_STATE);
  OK(drover_policy_destroy(w.policy));
  cr_assert_eq(drover_runtime_destroy(w.runtime), DROVER_ERROR_STATE);
  OK(drover_batch_destroy(w.batch));
  OK(drover_runtime_destroy(w.runtime));
}

Test(handle, two_thousand_closed_handles_are_no_leak_of_memory_and_the_latest_are_known) {
  drover_runtime *runtimes[2000];
  drover_runtime_options o;
  OK(drover_runtime_options_init(&o, sizeof o));
  o.num_workers = 1;
  drover_runtime_stats stats = {.size = sizeof stats};
  for (int32_t i = 0; i < 2000; i++) {
    OK(drover_runtime_create(&runtimes[i], &o));
    OK(drover_runtime_destroy(runtimes[i]));
    cr_assert_eq(drover_runtime_get_stats(runtimes[i], &stats), DROVER_ERROR_CLOSED);
  }
}
