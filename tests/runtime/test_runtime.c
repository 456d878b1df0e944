/* test_runtime.c: the runtime handle: options, workers, pinning, signals, threads, statistics, trace, fork, closed
 * handles. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/world.h"

static drover_runtime_stats stats_of(drover_runtime *runtime) {
  drover_runtime_stats stats = {.size = sizeof stats};
  OK(drover_runtime_get_stats(runtime, &stats));
  return stats;
}

static drover_worker_stats worker_of(drover_runtime *runtime, int32_t worker) {
  drover_worker_stats stats;
  OK(drover_runtime_get_worker_stats(runtime, worker, &stats));
  return stats;
}

/* ---- Options
 * ---------------------------------------------------------------------------------------------------------------- */

static void refuse(drover_runtime_options o, drover_status status, const char *const words[]) {
  drover_runtime *runtime = (drover_runtime *)&o;
  const drover_status got = drover_runtime_create(&runtime, &o);
  cr_assert_eq(got, status, "got %s: %s", drover_status_name(got), drover_last_error());
  cr_assert_null(runtime);
  for (; *words; words++)
    cr_assert(strstr(drover_last_error(), *words), "'%s' does not say '%s'", drover_last_error(), *words);
}
#define REFUSE(field, value, status, ...)                                                 \
  do {                                                                                    \
    drover_runtime_options options;                                                       \
    OK(drover_runtime_options_init(&options, sizeof options));                            \
    options.field = value;                                                                \
    refuse(options, status, (const char *const[]){"runtime", #field, __VA_ARGS__, NULL}); \
  } while (0)

Test(runtime, options_out_of_range_are_refused_by_name_range_and_value) {
  REFUSE(num_workers, -1, DROVER_ERROR_ARGUMENT, "1..1024", "got -1");
  REFUSE(num_workers, 1025, DROVER_ERROR_ARGUMENT, "1..1024", "got 1025");
  REFUSE(numa_node, -2, DROVER_ERROR_ARGUMENT, "got -2");
  REFUSE(numa_node, 4711, DROVER_ERROR_NOT_FOUND, "4711");
  REFUSE(trace_events, -1, DROVER_ERROR_ARGUMENT, "0..16777216", "got -1");
  REFUSE(trace_events, 16777217, DROVER_ERROR_ARGUMENT, "got 16777217");
  REFUSE(size, 3, DROVER_ERROR_ARGUMENT, "drover_runtime_options_init");
  REFUSE(cpus, "", DROVER_ERROR_ARGUMENT, "''");
  REFUSE(cpus, "0-", DROVER_ERROR_ARGUMENT, "'0-'");
  REFUSE(cpus, "3-1", DROVER_ERROR_ARGUMENT, "'3-1'");
  REFUSE(cpus, "zero", DROVER_ERROR_ARGUMENT, "'zero'");
  REFUSE(cpus, "0;1", DROVER_ERROR_ARGUMENT, "'0;1'");
  REFUSE(cpus, "99999999999999999999", DROVER_ERROR_ARGUMENT, "99999999999999999999");
  REFUSE(cpus, "-1", DROVER_ERROR_ARGUMENT, "'-1'");
  REFUSE(cpus, "1023", DROVER_ERROR_ARGUMENT, "1023"); /* no such CPU here */
  drover_runtime_options o;
  cr_assert_eq(drover_runtime_options_init(&o, 1), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_runtime_options_init(NULL, sizeof o), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_runtime_create(NULL, NULL), DROVER_ERROR_ARGUMENT);
}

Test(runtime, without_options_it_has_the_usable_cores) {
  drover_runtime *runtime;
  OK(drover_runtime_create(&runtime, NULL));
  drover_cores cores = {.size = sizeof cores};
  OK(drover_threads_get_cores(NULL, &cores));
  cr_assert_eq(stats_of(runtime).num_workers, cores.num_cores);
  OK(drover_runtime_destroy(runtime));
}

Test(runtime, oversubscription_is_refused_where_it_is_forbidden) {
  drover_cores cores = {.size = sizeof cores};
  OK(drover_threads_get_cores(NULL, &cores));
  char asked[16], usable[32];
  snprintf(asked, sizeof asked, "%d", cores.num_cores + 1);
  snprintf(usable, sizeof usable, "may use %d cores", cores.num_cores);
  drover_runtime_options o;
  OK(drover_runtime_options_init(&o, sizeof o));
  o.forbid_oversubscription = 1;
  o.num_workers = cores.num_cores + 1;
  refuse(o, DROVER_ERROR_OVERSUBSCRIBED, (const char *const[]){asked, usable, NULL});
  o.num_workers = cores.num_cores;
  drover_runtime *runtime;
  OK(drover_runtime_create(&runtime, &o));
  OK(drover_runtime_destroy(runtime));
}

/* ---- Workers
 * ---------------------------------------------------------------------------------------------------------------- */

/* A world whose envs sleep, so that all workers have time to come. */
static void init_slow(world *w, int32_t num_workers) {
  world_init(w);
  w->runtime_options.num_workers = num_workers;
  w->config.sleep_us = 200;
}

Test(runtime, as_many_workers_join_as_were_asked_for_also_above_the_cores) {
  world w;
  init_slow(&w, 8);
  w.batch_options.num_envs = 64;
  world_open(&w);
  OK(drover_rollout_collect(w.rollout));
  cr_assert_eq(stats_of(w.runtime).num_workers, 8);
  cr_assert_eq(stats_of(w.runtime).num_joined, 8, "%d joined", stats_of(w.runtime).num_joined);
  world_close(&w);
}

Test(runtime, a_runtime_keeps_its_workers_when_another_one_is_destroyed) {
  world w;
  init_slow(&w, 8);
  w.batch_options.num_envs = 64;
  drover_runtime_options o = w.runtime_options;
  drover_runtime *first, *larger;
  OK(drover_runtime_create(&first, &o));
  world_open(&w);
  o.num_workers = 12;
  OK(drover_runtime_create(&larger, &o));
  OK(drover_runtime_destroy(first));
  OK(drover_runtime_destroy(larger));
  OK(drover_rollout_collect(w.rollout));
  cr_assert_geq(stats_of(w.runtime).num_joined, 6, "%d joined", stats_of(w.runtime).num_joined);
  world_close(&w);
}

Test(runtime, the_process_has_workers_plus_the_threads_it_came_with_and_no_more) {
  const int32_t before = count_threads();
  world w;
  init_slow(&w, 6);
  world_open(&w);
  OK(drover_rollout_collect(w.rollout));
  const int32_t during = count_threads();
  cr_assert_leq(during, before + 5, "%d threads with 6 workers and %d before", during, before);
  cr_assert_geq(during, before + 5);
  int32_t actions[16] = {0}, ids[16], got;
  for (int32_t i = 0; i < 20; i++) {
    OK(drover_rollout_collect(w.rollout));
    OK(drover_batch_step(w.batch, actions));
    for (int32_t e = 0; e < 16; e++) ids[e] = e;
    OK(drover_batch_send(w.batch, 16, ids, actions));
    OK(drover_batch_recv(w.batch, 16, -1, ids, &got));
    cr_assert_eq(count_threads(), during, "the number of threads moved");
  }
  cr_assert_eq(stats_of(w.runtime).max_threads, during, "max_threads is %d, there are %d",
               stats_of(w.runtime).max_threads, during);
  world_close(&w);
}

Test(runtime, many_runtimes_one_after_the_other_leave_no_threads_behind) {
  world w;
  init_slow(&w, 4);
  world_open(&w);
  OK(drover_rollout_collect(w.rollout));
  const int32_t threads = count_threads();
  world_close(&w);
  for (int32_t i = 0; i < 30; i++) {
    init_slow(&w, 4);
    w.config.sleep_us = 0;
    world_open(&w);
    OK(drover_rollout_collect(w.rollout));
    world_close(&w);
  }
  cr_assert_leq(count_threads(), threads);
}

/* What envs see of the threads that step them. */
typedef struct witness {
  pthread_t caller;
  _Atomic int32_t num_elsewhere;    /* steps not on the caller's thread */
  _Atomic int32_t num_open_signals; /* of them, with a signal not blocked */
  _Atomic int32_t num_blocked_here; /* steps on the caller's thread with SIGINT blocked */
  _Atomic int32_t num_wrong_masks;  /* steps on more than one CPU */
  _Atomic uint64_t cpus;            /* bits of the CPUs that steps were pinned to */
} witness;

static void watch_signals(void *user, int32_t env, uint64_t step) {
  (void)env, (void)step;
  witness *x = user;
  sigset_t mask;
  pthread_sigmask(SIG_BLOCK, NULL, &mask);
  if (pthread_equal(pthread_self(), x->caller)) {
    if (sigismember(&mask, SIGINT)) atomic_fetch_add(&x->num_blocked_here, 1);
    return;
  }
  atomic_fetch_add(&x->num_elsewhere, 1);
  static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGALRM, SIGUSR1, SIGCHLD, SIGPROF};
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
    if (!sigismember(&mask, signals[i])) {
      atomic_fetch_add(&x->num_open_signals, 1);
      break;
    }
}

Test(runtime, workers_take_no_signals_and_the_callers_mask_is_its_own) {
  witness x = {.caller = pthread_self()};
  world w;
  init_slow(&w, 4);
  w.config.probe = watch_signals;
  w.config.probe_user = &x;
  sigset_t before, after;
  pthread_sigmask(SIG_BLOCK, NULL, &before);
  world_open(&w);
  OK(drover_rollout_collect(w.rollout));
  world_close(&w);
  pthread_sigmask(SIG_BLOCK, NULL, &after);
  for (int s = 1; s < 32; s++) cr_assert_eq(sigismember(&before, s), sigismember(&after, s), "signal %d", s);
  cr_assert_gt(x.num_elsewhere, 0, "no other worker came");
  cr_assert_eq(x.num_open_signals, 0);
  cr_assert_eq(x.num_blocked_here, 0);
}

static void watch_masks(void *user, int32_t env, uint64_t step) {
  (void)env, (void)step;
  witness *x = user;
  cpu_set_t mask;
  pthread_getaffinity_np(pthread_self(), sizeof mask, &mask);
  if (CPU_COUNT(&mask) != 1) atomic_fetch_add(&x->num_wrong_masks, 1);
  for (int c = 0; c < 64; c++)
    if (CPU_ISSET((size_t)c, &mask)) atomic_fetch_or(&x->cpus, 1ull << c);
}

Test(runtime, pinned_workers_run_on_their_cpus_and_the_callers_mask_is_restored) {
  cpu_set_t before, after;
  sched_getaffinity(0, sizeof before, &before);
  int32_t cpus[2] = {-1, -1}, count = 0;
  for (int32_t c = 0; c < 64 && count < 2; c++)
    if (CPU_ISSET((size_t)c, &before)) cpus[count++] = c;
  if (count < 2) cr_skip_test("one CPU only");
  char list[32];
  snprintf(list, sizeof list, "%d,%d", cpus[0], cpus[1]);
  witness x = {.num_wrong_masks = 0};
  world w;
  init_slow(&w, 4);
  w.config.probe = watch_masks;
  w.config.probe_user = &x;
  w.runtime_options.cpus = list;
  world_open(&w);
  OK(drover_rollout_collect(w.rollout));
  int32_t actions[16] = {0}, ids[16], got;
  for (int32_t e = 0; e < 16; e++) ids[e] = e;
  OK(drover_batch_step(w.batch, actions));
  OK(drover_batch_send(w.batch, 16, ids, actions));
  OK(drover_batch_recv(w.batch, 16, -1, ids, &got));
  sched_getaffinity(0, sizeof after, &after);
  cr_assert(CPU_EQUAL(&before, &after), "the caller's mask was not restored");
  cr_assert_eq(x.num_wrong_masks, 0);
  cr_assert_eq(x.cpus, 1ull << cpus[0] | 1ull << cpus[1]);
  world_close(&w);
}

typedef struct guard_log {
  _Atomic int32_t num_inside, num_entered, num_wrong, num_outside_steps;
} guard_log;

static void guard_enter(void *user, void *saved) {
  guard_log *log = user;
  memset(saved, 0x5A, 256);
  if ((uintptr_t)saved % 16 != 0) atomic_fetch_add(&log->num_wrong, 1);
  atomic_fetch_add(&log->num_inside, 1);
  atomic_fetch_add(&log->num_entered, 1);
}

static void guard_leave(void *user, void *saved) {
  guard_log *log = user;
  for (int32_t i = 0; i < 256; i++)
    if (((unsigned char *)saved)[i] != 0x5A) atomic_fetch_add(&log->num_wrong, 1);
  atomic_fetch_sub(&log->num_inside, 1);
}

static void watch_guard(void *user, int32_t env, uint64_t step) {
  (void)env, (void)step;
  guard_log *log = user;
  if (log->num_inside < 1) atomic_fetch_add(&log->num_outside_steps, 1);
}

Test(runtime, a_guard_of_ones_own_is_around_every_step) {
  guard_log log = {0};
  const drover_task_guard guard = {guard_enter, guard_leave, &log};
  world w;
  init_slow(&w, 3);
  w.runtime_options.guard = &guard;
  w.config.probe = watch_guard;
  w.config.probe_user = &log;
  world_open(&w);
  OK(drover_rollout_collect(w.rollout));
  world_fill(&w, WORLD_STEPPED);
  world_close(&w);
  cr_assert_gt(log.num_entered, 0);
  cr_assert_eq(log.num_inside, 0);
  cr_assert_eq(log.num_wrong, 0);
  cr_assert_eq(log.num_outside_steps, 0);
}

/* ---- Statistics
 * --------------------------------------------------------------------------------------------------------------- */

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double busy_seconds(drover_worker_stats s) {
  return (double)(s.step_ns + s.infer_ns + s.other_ns + s.idle_ns) * 1e-9;
}

Test(runtime, the_times_of_a_worker_add_up_to_the_time_of_the_call) {
  for (int32_t workers = 1; workers <= 3; workers += 2) {
    world w;
    init_slow(&w, workers);
    toy_policy_init(&w.toy, &w.config, true);
    w.toy.work = 20000;
    world_open(&w);
    OK(drover_rollout_collect(w.rollout));
    OK(drover_runtime_reset_stats(w.runtime));
    const double from = seconds();
    OK(drover_rollout_collect(w.rollout));
    const double wall = seconds() - from;
    const drover_runtime_stats s = stats_of(w.runtime);
    const drover_worker_stats caller = worker_of(w.runtime, 0);
    cr_assert_leq(busy_seconds(caller), wall * 1.02 + 1e-4);
    cr_assert_geq(busy_seconds(caller), wall * 0.9 - 2e-3, "%g s of %g s", busy_seconds(caller), wall);
    cr_assert_leq(busy_seconds(s.total), wall * s.num_joined * 1.02 + 1e-4);
    /* What slept is in step, what looped in infer. */
    cr_assert_geq((double)s.total.step_ns * 1e-9, 320 * 200e-6);
    cr_assert_gt(s.total.infer_ns, 0);
    world_close(&w);
  }
}

Test(runtime, totals_are_the_sums_over_the_workers_and_steps_are_counted) {
  world w;
  init_slow(&w, 4);
  world_open(&w);
  OK(drover_runtime_reset_stats(w.runtime));
  OK(drover_rollout_collect(w.rollout));
  int32_t actions[16] = {0}, joined = 0;
  OK(drover_batch_step(w.batch, actions));
  const drover_runtime_stats s = stats_of(w.runtime);
  drover_worker_stats sum = {0};
  for (int32_t i = 0; i < 4; i++) {
    const drover_worker_stats x = worker_of(w.runtime, i);
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

Test(runtime, counters_can_be_reset_between_runs) {
  world w;
  init_slow(&w, 3);
  world_open(&w);
  OK(drover_rollout_collect(w.rollout));
  OK(drover_runtime_reset_stats(w.runtime));
  const drover_runtime_stats s = stats_of(w.runtime);
  const drover_worker_stats zero = {0};
  cr_assert_eq(memcmp(&s.total, &zero, sizeof zero), 0);
  cr_assert_eq(s.num_joined, 0);
  cr_assert_eq(s.num_workers, 3);
  world_close(&w);
}

Test(runtime, bad_arguments_of_the_statistics_are_refused) {
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

Test(runtime, statistics_can_be_read_but_not_reset_or_traced_while_a_run_is_in_progress, .timeout = 10) {
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
    cr_assert_geq(stats_of(w.runtime).num_joined, 1);
    cr_assert_eq(drover_runtime_reset_stats(w.runtime), DROVER_ERROR_STATE);
    cr_assert(strstr(drover_last_error(), "in progress"), "%s", drover_last_error());
    cr_assert_eq(drover_runtime_save_trace(w.runtime, "/dev/null"), DROVER_ERROR_STATE);
    toy_gate_open(&gate);
    pthread_join(thread, NULL);
    OK(drover_runtime_reset_stats(w.runtime));
    world_close(&w);
  }
}

Test(runtime, counters_are_not_reset_while_sent_envs_are_stepped, .timeout = 10) {
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

/* ---- Trace
 * --------------------------------------------------------------------------------------------------------------------
 */

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

Test(runtime, the_trace_is_json_with_every_row_of_every_phase) { check_trace(100000); }
Test(runtime, a_trace_that_overflows_keeps_the_latest_events) { check_trace(10); }

/* ---- Fork
 * ---------------------------------------------------------------------------------------------------------------------
 */

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

/* Run body in a forked child; its exit status, or 99 if it does not end within 10 s. */
static int in_child(void (*body)(world *), world *w) {
  const pid_t child = fork();
  if (child == 0) {
    body(w);
    _exit(num_unforked > 0);
  }
  for (int32_t i = 0; i < 1000; i++) {
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

Test(runtime, after_fork_every_call_in_the_child_says_so_and_destroy_returns_at_once) {
  world w;
  init_slow(&w, 3);
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

Test(runtime, after_fork_the_child_can_make_a_runtime_of_its_own) {
  world w;
  init_slow(&w, 3);
  world_open(&w);
  OK(drover_rollout_collect(w.rollout));
  cr_assert_eq(in_child(use_a_runtime_of_its_own, &w), 0);
  world_close(&w);
}

/* ---- Handles
 * ------------------------------------------------------------------------------------------------------------------ */

Test(runtime, a_call_on_a_closed_handle_says_closed) {
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

Test(runtime, null_handles_are_refused_and_destroying_null_is_fine) {
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

Test(runtime, handles_of_the_wrong_kind_are_refused) {
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

Test(runtime, what_others_still_use_cannot_be_destroyed) {
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

Test(runtime, two_thousand_closed_handles_are_no_leak_of_memory_and_the_latest_are_known) {
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

/* ---- Calls from inside a task
 * ---------------------------------------------------------------------------------------------------- */

typedef struct inside {
  drover_batch *other;
  _Atomic int32_t num_refused, num_accepted;
} inside;

static void call_from_inside(void *user, int32_t env, uint64_t step) {
  (void)env, (void)step;
  inside *x = user;
  const int32_t actions[16] = {0};
  if (!x->other) return;
  atomic_fetch_add(drover_batch_step(x->other, actions) == DROVER_ERROR_STATE ? &x->num_refused : &x->num_accepted, 1);
}

Test(runtime, a_call_from_inside_an_env_is_refused, .timeout = 10) {
  for (int32_t workers = 1; workers <= 3; workers += 2) {
    inside x = {0};
    toy_config config;
    toy_init(&config);
    world w;
    world_init(&w);
    w.runtime_options.num_workers = workers;
    w.config.probe = call_from_inside;
    w.config.probe_user = &x;
    world_open(&w);
    drover_batch *other;
    OK(toy_batch_create(&other, w.runtime, &config, &w.batch_options));
    x.other = other;
    OK(drover_rollout_collect(w.rollout));
    cr_assert_eq(x.num_refused, 320);
    cr_assert_eq(x.num_accepted, 0);
    x.other = NULL;
    int32_t actions[16] = {0};
    OK(drover_batch_step(other, actions)); /* from outside it works */
    OK(drover_batch_destroy(other));
    world_close(&w);
  }
}

/* ---- Statuses
 * -------------------------------------------------------------------------------------------------------------------
 */

Test(runtime, statuses_have_names_and_meanings) {
  cr_assert_str_eq(drover_status_name(DROVER_OK), "DROVER_OK");
  cr_assert_str_eq(drover_status_name(DROVER_ERROR_TIMEOUT), "DROVER_ERROR_TIMEOUT");
  cr_assert_str_eq(drover_status_meaning(DROVER_ERROR_CLOSED), "the handle was destroyed");
  cr_assert_str_eq(drover_status_name((drover_status)-999), "unknown status");
  cr_assert_str_eq(drover_status_name((drover_status)7), "unknown status");
}

static void *read_own_message(void *arg) {
  (void)arg;
  cr_assert_str_eq(drover_last_error(), "");
  drover_runtime_create(NULL, NULL);
  cr_assert(strstr(drover_last_error(), "out must not be NULL"));
  return NULL;
}

Test(runtime, messages_belong_to_the_thread_whose_call_failed) {
  cr_assert_str_eq(drover_last_error(), "");
  cr_assert_eq(drover_batch_destroy((drover_batch *)NULL), DROVER_OK);
  drover_batch_step(NULL, NULL);
  pthread_t thread;
  cr_assert_eq(pthread_create(&thread, NULL, read_own_message, NULL), 0);
  pthread_join(thread, NULL);
  cr_assert(strstr(drover_last_error(), "batch step"), "%s", drover_last_error());
}
