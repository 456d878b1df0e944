/* test_cancel.c: what a caller sees of a collect while it runs, and what a cancelled one leaves. */
#include <criterion/criterion.h>
#include <math.h>
#include <pthread.h>
#include <unistd.h>

#include "tests/support/model.h"
#include "tests/support/random.h"
#include "tests/support/world.h"

static void assert_like_model(const world *w, int32_t skip) {
  const char *wrong = world_differs_from_model(w, skip);
  cr_assert_null(wrong, "%s", wrong);
}

/* ---- Progress ------------------------------------------------------------------------------------------------- */

typedef struct progress_log {
  _Atomic int32_t count;
  drover_progress latest;
  _Atomic int32_t num_wrong;
} progress_log;

static void on_progress(void *user, const drover_progress *p) {
  progress_log *log = user;
  if (p->env_steps_done < log->latest.env_steps_done || p->env_steps_done > p->env_steps_total ||
      p->seconds < log->latest.seconds)
    atomic_fetch_add(&log->num_wrong, 1);
  log->latest = *p;
  atomic_fetch_add(&log->count, 1);
}

Test(cancel, progress_grows_and_comes_about_every_100_ms) {
  for (int32_t barrier = 0; barrier <= 1; barrier++) {
    progress_log log = {0};
    world w;
    world_init(&w);
    w.config.sleep_us = 400;
    w.batch_options.num_envs = 4;
    w.rollout_options.num_steps = 500;
    w.rollout_options.barrier = barrier;
    w.rollout_options.progress = on_progress;
    w.rollout_options.progress_user = &log;
    world_open(&w);
    OK(drover_rollout_collect(w.rollout)); /* at least 0.4 s, whatever stands still meanwhile */
    cr_assert_geq(log.count, 2);
    cr_assert_eq(log.num_wrong, 0);
    cr_assert_eq(log.latest.env_steps_total, 2000);
    cr_assert_gt(log.latest.env_steps_done, 100);
    cr_assert_gt(log.latest.seconds, 0.09);
    cr_assert_leq(log.count, (int32_t)(log.latest.seconds * 10) + 2);
    world_close(&w);
  }
}

static void *step_beside(void *arg) {
  world *w = arg;
  const int32_t actions[16] = {0};
  for (int32_t i = 0; i < 400; i++) OK(drover_batch_step(w->batch, actions));
  return NULL;
}

Test(cancel, progress_counts_its_own_steps_only) {
  progress_log log = {0};
  world w, beside;
  world_init(&w);
  world_init(&beside);
  w.config.sleep_us = 500;
  w.batch_options.num_envs = 4;
  w.rollout_options.num_steps = 250;
  w.rollout_options.progress = on_progress;
  w.rollout_options.progress_user = &log;
  world_open(&w);
  OK(toy_batch_create(&beside.batch, w.runtime, &beside.config, &beside.batch_options));
  pthread_t thread;
  cr_assert_eq(pthread_create(&thread, NULL, step_beside, &beside), 0);
  OK(drover_rollout_collect(w.rollout));
  pthread_join(thread, NULL);
  /* A step of the 4 envs takes 1 ms at least with 2 workers: the count cannot be ahead of the time. */
  cr_assert_leq((double)log.latest.env_steps_done, log.latest.seconds / 500e-6 * 2 + 8, "%d steps in %g s",
                (int)log.latest.env_steps_done, log.latest.seconds);
  OK(drover_batch_destroy(beside.batch));
  world_close(&w);
}

/* ---- Cancelling ----------------------------------------------------------------------------------------------- */

/* Cancels once, within the 500th step of an env: the run is in progress, however slow the machine is. */
typedef struct canceller {
  world *world;
  _Atomic int32_t has_cancelled;
} canceller;

static void cancel_in_a_step(void *user, int32_t env, uint64_t step) {
  (void)env, (void)step;
  canceller *c = user;
  if (c->world->config.num_steps >= 500 && atomic_exchange(&c->has_cancelled, 1) == 0)
    drover_runtime_cancel(c->world->runtime);
}

static void init_cancelled(world *w, canceller *c) {
  world_init(w);
  *c = (canceller){.world = w};
  w->config.work = 3000;
  w->config.probe = cancel_in_a_step;
  w->config.probe_user = c;
}

static void cancel(int32_t workers, int32_t barrier) {
  world w;
  canceller c;
  init_cancelled(&w, &c);
  w.runtime_options.num_workers = workers;
  w.batch_options.shard = 2;
  w.rollout_options.num_steps = 100000;
  w.rollout_options.barrier = barrier;
  world_open(&w);
  cr_assert_eq(drover_rollout_collect(w.rollout), DROVER_ERROR_CANCELLED);
  const drover_rollout_view v = rollout_view(w.rollout);
  cr_assert_lt(v.num_steps_done, 100000);
  /* What all shards completed is good, lists, values and advantages included. */
  assert_like_model(&w, 0);
  const uint64_t digest = rollout_digest(w.rollout);
  cr_assert_eq(digest, rollout_digest(w.rollout));
  /* The batch goes on from where each env stands: its observation is that of its own last step. */
  drover_batch_view b = {.size = sizeof b};
  OK(drover_batch_get_view(w.batch, &b));
  model envs[16];
  for (int32_t e = 0; e < 16; e++) {
    model_open(&envs[e], &w.config, DROVER_AUTORESET_SAME_STEP, -1, 7, e);
    while (envs[e].lifetime_steps < b.lifetime_steps[e]) {
      int32_t action;
      toy_policy_act_one(&w.toy, 7, e, envs[e].lifetime_steps, envs[e].observation, false, &action);
      model_step(&envs[e], &action);
    }
    cr_assert_geq(b.lifetime_steps[e], v.num_steps_done);
    cr_assert_eq(memcmp(b.observations + 3 * e, envs[e].observation, 12), 0, "env %d is at another observation", e);
  }
  int32_t actions[16] = {0};
  OK(drover_batch_step(w.batch, actions));
  for (int32_t e = 0; e < 16; e++) {
    model_step(&envs[e], &actions[e]);
    cr_assert_eq(memcmp(b.observations + 3 * e, envs[e].observation, 12), 0, "env %d", e);
    model_close(&envs[e]);
  }
  world_close(&w);
}

Test(cancel, a_cancelled_collect_keeps_what_all_shards_completed_and_the_batch_goes_on) {
  cancel(1, 0);
  cancel(3, 0);
  cancel(8, 0);
}

Test(cancel, a_cancelled_collect_with_barriers_too) {
  cancel(1, 1);
  cancel(3, 1);
}

Test(cancel, after_a_cancelled_collect_the_next_one_is_whole) {
  world w;
  canceller c;
  init_cancelled(&w, &c);
  w.rollout_options.num_steps = 2000;
  world_open(&w);
  cr_assert_eq(drover_rollout_collect(w.rollout), DROVER_ERROR_CANCELLED);
  w.config.work = 0;
  OK(drover_batch_reset(w.batch, 7));
  OK(drover_rollout_collect(w.rollout));
  cr_assert_eq(rollout_view(w.rollout).num_steps_done, 2000);
  world_close(&w);
}

static void *collect_forever(void *arg) {
  world *w = arg;
  cr_assert_eq(drover_rollout_collect(w->rollout), DROVER_ERROR_CANCELLED);
  return NULL;
}

Test(cancel, one_cancel_stops_every_caller, .timeout = 100) {
  for (int32_t workers = 1; workers <= 3; workers += 2) {
    world w[3];
    pthread_t threads[3];
    for (int32_t i = 0; i < 3; i++) {
      world_init(&w[i]);
      w[i].config.work = 20000;
      w[i].rollout_options.num_steps = 1000000;
      w[i].runtime_options.num_workers = workers;
      w[i].has_values = false;
      toy_policy_init(&w[i].toy, &w[i].config, false);
    }
    OK(drover_runtime_create(&w[0].runtime, &w[0].runtime_options));
    for (int32_t i = 0; i < 3; i++) {
      w[i].runtime = w[0].runtime;
      OK(toy_batch_create(&w[i].batch, w[i].runtime, &w[i].config, &w[i].batch_options));
      OK(toy_policy_create(&w[i].policy, w[i].runtime, &w[i].toy));
      OK(drover_rollout_create(&w[i].rollout, w[i].batch, w[i].policy, &w[i].rollout_options));
    }
    for (int32_t i = 0; i < 3; i++) cr_assert_eq(pthread_create(&threads[i], NULL, collect_forever, &w[i]), 0);
    while (w[0].config.num_steps + w[1].config.num_steps + w[2].config.num_steps < 300) usleep(200);
    usleep(200000); /* all three are in their calls, running or waiting */
    drover_runtime_cancel(w[0].runtime);
    for (int32_t i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    for (int32_t i = 0; i < 3; i++) {
      OK(drover_rollout_destroy(w[i].rollout));
      OK(drover_policy_destroy(w[i].policy));
      OK(drover_batch_destroy(w[i].batch));
    }
    OK(drover_runtime_destroy(w[0].runtime));
  }
}

Test(cancel, a_cancel_between_calls_is_forgotten) {
  world w;
  world_init(&w);
  world_open(&w);
  drover_runtime_cancel(w.runtime);
  OK(drover_rollout_collect(w.rollout));
  drover_runtime_cancel(NULL);
  world_close(&w);
}

/* Cancelled at any moment, also while bootstrap values and advantages are computed: the view is whole. */
static void *cancel_at_random(void *arg) {
  world *w = arg;
  uint64_t seed = 1;
  while (w->config.num_steps < INT64_MAX / 2) {
    usleep((useconds_t)test_range(&seed, 50, 900));
    drover_runtime_cancel(w->runtime);
  }
  return NULL;
}

Test(cancel, a_cancel_at_any_moment_leaves_a_whole_view) {
  world w;
  world_init(&w);
  w.config.length = 3;
  w.batch_options.num_envs = 64;
  w.runtime_options.num_workers = 3;
  world_open(&w);
  pthread_t thread;
  cr_assert_eq(pthread_create(&thread, NULL, cancel_at_random, &w), 0);
  int32_t num_cancelled = 0;
  for (int32_t i = 0; i < 300; i++) {
    const drover_status status = drover_rollout_collect(w.rollout);
    cr_assert(status == DROVER_OK || status == DROVER_ERROR_CANCELLED, "%s", drover_last_error());
    num_cancelled += status != DROVER_OK;
    const drover_rollout_view v = rollout_view(w.rollout);
    if (status == DROVER_OK) cr_assert_eq(v.num_steps_done, 20);
    const char *wrong = model_advantages_differ(&v, (double)0.99f, (double)0.95f);
    cr_assert_null(wrong, "%s", wrong);
    for (int32_t r = 0; r < (v.num_steps_done + 1) * 64; r++)
      cr_assert_eq(v.values[r], toy_policy_value_one(&w.toy, v.observations + 3 * r));
  }
  fprintf(stderr, "%d of 300 were cancelled\n", num_cancelled);
  atomic_store(&w.config.num_steps, INT64_MAX / 2);
  pthread_join(thread, NULL);
  world_close(&w);
}
