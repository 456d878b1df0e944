/* test_trace.c: what a runtime tells of its workers: counters that add up, and a trace that other programs can read. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <pthread.h>
#include <unistd.h>

#include "tests/support/world.h"

/* A world whose envs sleep, so that all workers have time to come. */
static void init_slow(world *w, int32_t num_workers) {
  world_init(w);
  w->runtime_options.num_workers = num_workers;
  w->config.sleep_us = 200;
}

/* ---- Statistics ----------------------------------------------------------------------------------------------- */

static double busy_seconds(drover_worker_stats s) {
  return (double)(s.step_ns + s.infer_ns + s.other_ns + s.idle_ns) * 1e-9;
}

Test(trace, the_times_of_a_worker_add_up_to_the_time_of_the_call) {
  for (int32_t workers = 1; workers <= 3; workers += 2) {
    world w;
    init_slow(&w, workers);
    toy_policy_init(&w.toy, &w.config, true);
    w.toy.work = 20000;
    world_open(&w);
    OK(drover_rollout_collect(w.rollout));
    double wall = 0, busy = 0;
    drover_runtime_stats s = {0};
    /* Again where the machine stood still between two readings of a clock. */
    for (int32_t i = 0; i < 20 && (i == 0 || busy < wall * 0.9 - 2e-3); i++) {
      OK(drover_runtime_reset_stats(w.runtime));
      const double from = seconds();
      OK(drover_rollout_collect(w.rollout));
      wall = seconds() - from;
      s = runtime_stats(w.runtime);
      busy = busy_seconds(worker_stats(w.runtime, 0));
      cr_assert_leq(busy, wall * 1.02 + 1e-4);
    }
    cr_assert_geq(busy, wall * 0.9 - 2e-3, "%g s of %g s", busy, wall);
    cr_assert_leq(busy_seconds(s.total), wall * s.num_joined * 1.02 + 1e-4);
    /* What slept is in step, what looped in infer. */
    cr_assert_geq((double)s.total.step_ns * 1e-9, 320 * 200e-6);
    cr_assert_gt(s.total.infer_ns, 0);
    world_close(&w);
  }
}

Test(trace, totals_are_the_sums_over_the_workers_and_steps_are_counted) {
  world w;
  init_slow(&w, 4);
  world_open(&w);
  OK(drover_runtime_reset_stats(w.runtime));
  OK(drover_rollout_collect(w.rollout));
  int32_t actions[16] = {0}, joined = 0;
  OK(drover_batch_step(w.batch, actions));
  const drover_runtime_stats s = runtime_stats(w.runtime);
  drover_worker_stats sum = {0};
  for (int32_t i = 0; i < 4; i++) {
    const drover_worker_stats x = worker_stats(w.runtime, i);
    sum.step_ns += x.step_ns;
    sum.infer_ns += x.infer_ns;
    sum.other_ns += x.other_ns;
    sum.idle_ns += x.idle_ns;
    sum.num_tasks += x.num_tasks;
    sum.num_claims += x.num_claims;
    sum.num_stolen += x.num_stolen;
    sum.num_env_steps += x.num_env_steps;
    sum.allocated_bytes += x.allocated_bytes;
    joined += x.num_tasks > 0;
  }
  cr_assert_eq(memcmp(&sum, &s.total, sizeof sum), 0);
  cr_assert_eq(joined, s.num_joined);
  cr_assert_eq(s.total.num_env_steps, 21 * 16);
  cr_assert_geq(s.total.num_claims, 40);
  cr_assert_leq(s.total.num_stolen, s.total.num_claims);
  world_close(&w);
}

Test(trace, counters_can_be_reset_between_runs) {
  world w;
  init_slow(&w, 3);
  world_open(&w);
  OK(drover_rollout_collect(w.rollout));
  OK(drover_runtime_reset_stats(w.runtime));
  const drover_runtime_stats s = runtime_stats(w.runtime);
  const drover_worker_stats zero = {0};
  cr_assert_eq(memcmp(&s.total, &zero, sizeof zero), 0);
  cr_assert_eq(s.num_joined, 0);
  cr_assert_eq(s.num_workers, 3);
  world_close(&w);
}

Test(trace, bad_arguments_of_the_statistics_are_refused) {
  world w;
  world_init(&w);
  OK(drover_runtime_create(&w.runtime, &w.runtime_options));
  drover_runtime_stats s = {.size = 1};
  drover_worker_stats x;
  cr_assert_eq(drover_runtime_get_stats(w.runtime, &s), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_runtime_get_stats(w.runtime, NULL), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_runtime_get_worker_stats(w.runtime, 2, &x), DROVER_ERROR_ARGUMENT);
  cr_assert(strstr(drover_last_error(), "0..1, got 2"), "%s", drover_last_error());
  cr_assert_eq(drover_runtime_get_worker_stats(w.runtime, -1, &x), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_runtime_get_worker_stats(w.runtime, 0, NULL), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_runtime_save_trace(w.runtime, "unused"), DROVER_ERROR_STATE);
  cr_assert(strstr(drover_last_error(), "trace_events"), "%s", drover_last_error());
  OK(drover_runtime_destroy(w.runtime));
}

static void *collect(void *arg) {
  OK(drover_rollout_collect(((world *)arg)->rollout));
  return NULL;
}

Test(trace, statistics_can_be_read_but_not_reset_or_traced_while_a_run_is_in_progress, .timeout = 100) {
  for (int32_t workers = 1; workers <= 3; workers++) {
    toy_gate gate = {0};
    const toy_trouble hold = {TOY_GATE, 3, 10};
    world w;
    world_init(&w);
    w.runtime_options.num_workers = workers;
    w.runtime_options.trace_events = 100;
    w.config.gate = &gate;
    w.config.troubles = &hold;
    w.config.num_troubles = 1;
    world_open(&w);
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, collect, &w), 0);
    toy_gate_wait_for(&gate, 1);
    cr_assert_geq(runtime_stats(w.runtime).num_joined, 1);
    cr_assert_eq(drover_runtime_reset_stats(w.runtime), DROVER_ERROR_STATE);
    cr_assert(strstr(drover_last_error(), "in progress"), "%s", drover_last_error());
    cr_assert_eq(drover_runtime_save_trace(w.runtime, "/dev/null"), DROVER_ERROR_STATE);
    toy_gate_open(&gate);
    pthread_join(thread, NULL);
    OK(drover_runtime_reset_stats(w.runtime));
    world_close(&w);
  }
}

Test(trace, counters_are_not_reset_while_sent_envs_are_stepped, .timeout = 100) {
  toy_gate gate = {0};
  const toy_trouble hold = {TOY_GATE, 3, 0};
  world w;
  world_init(&w);
  w.runtime_options.num_workers = 2;
  w.config.gate = &gate;
  w.config.troubles = &hold;
  w.config.num_troubles = 1;
  world_open(&w);
  int32_t id = 3, got;
  const int32_t action = 0;
  OK(drover_batch_send(w.batch, 1, &id, &action));
  toy_gate_wait_for(&gate, 1);
  cr_assert_eq(drover_runtime_reset_stats(w.runtime), DROVER_ERROR_STATE);
  toy_gate_open(&gate);
  OK(drover_batch_recv(w.batch, 1, -1, &id, &got));
  while (drover_runtime_reset_stats(w.runtime) != DROVER_OK) usleep(100); /* until the worker has left */
  world_close(&w);
}

/* ---- Trace ---------------------------------------------------------------------------------------------------- */

static void check_trace(int32_t trace_events) {
  char path[] = "/tmp/drover-trace-XXXXXX";
  cr_assert_geq(close(mkstemp(path)), 0);
  world w;
  init_slow(&w, 3);
  w.runtime_options.trace_events = trace_events;
  world_open(&w);
  OK(drover_runtime_save_trace(w.runtime, path)); /* of nothing: valid all the same */
  json_error_t error;
  json_t *root = json_load_file(path, 0, &error);
  cr_assert_not_null(root, "%s", error.text);
  json_decref(root);
  OK(drover_rollout_collect(w.rollout));
  OK(drover_runtime_save_trace(w.runtime, path));
  root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
  cr_assert_not_null(root, "line %d: %s", error.line, error.text);
  json_t *events = json_object_get(root, "traceEvents");
  cr_assert(json_is_array(events));
  int32_t counts[2] = {0}, rows[2] = {0}, names = 0;
  double last_end[3] = {0};
  for (size_t i = 0; i < json_array_size(events); i++) {
    const json_t *e = json_array_get(events, i);
    const char *ph = json_string_value(json_object_get(e, "ph"));
    if (strcmp(ph, "M") == 0) {
      names += strcmp(json_string_value(json_object_get(e, "name")), "thread_name") == 0;
      continue;
    }
    cr_assert_str_eq(ph, "X");
    const char *name = json_string_value(json_object_get(e, "name"));
    const json_int_t worker = json_integer_value(json_object_get(e, "tid"));
    const double ts = json_number_value(json_object_get(e, "ts")), dur = json_number_value(json_object_get(e, "dur"));
    const json_t *args = json_object_get(e, "args");
    cr_assert(worker >= 0 && worker < 3);
    cr_assert(ts >= 0 && dur >= 0 && ts < 6e7);
    cr_assert_geq(ts, last_end[worker] - 0.01, "events of worker %d overlap", (int)worker);
    last_end[worker] = ts + dur;
    const int32_t kind = strcmp(name, "step") == 0 ? 0 : strcmp(name, "infer") == 0 ? 1 : -1;
    if (kind < 0) continue;
    counts[kind]++;
    rows[kind] += (int32_t)json_integer_value(json_object_get(args, "rows"));
    cr_assert(json_integer_value(json_object_get(args, "shard")) >= 0);
    cr_assert(json_is_integer(json_object_get(args, "step")));
  }
  cr_assert_eq(names, 3);
  cr_assert(counts[0] > 0 && counts[1] > 0, "%d step and %d infer events", counts[0], counts[1]);
  if (trace_events > 1000) {
    cr_assert_eq(rows[0], 320);
    cr_assert_geq(rows[1], 320);
  } else {
    cr_assert_leq(counts[0] + counts[1], 3 * trace_events);
  }
  json_decref(root);
  cr_assert_eq(drover_runtime_save_trace(w.runtime, NULL), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_runtime_save_trace(w.runtime, "/nonexistent/trace.json"), DROVER_ERROR_IO);
  cr_assert(strstr(drover_last_error(), "/nonexistent/trace.json"), "%s", drover_last_error());
  world_close(&w);
  unlink(path);
}

Test(trace, the_trace_is_json_with_every_row_of_every_phase) { check_trace(100000); }
Test(trace, a_trace_that_overflows_keeps_the_latest_events) { check_trace(10); }
