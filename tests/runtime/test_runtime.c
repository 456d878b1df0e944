/* test_runtime.c: the runtime: options, how many workers join, what their threads are like, calls from inside. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/meeting.h"
#include "tests/support/world.h"

/* ---- Options -------------------------------------------------------------------------------------------------- */

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
  cr_assert_eq(runtime_stats(runtime).num_workers, cores.num_cores);
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

/* ---- Workers -------------------------------------------------------------------------------------------------- */

/* A world whose envs sleep, so that all workers get some. */
static void init_slow(world *w, int32_t num_workers) {
  world_init(w);
  w->runtime_options.num_workers = num_workers;
  w->config.sleep_us = 200;
}

/* And whose first steps wait for that many of them. */
static void init_meeting(world *w, meeting *m, int32_t num_workers, int32_t num_wanted) {
  init_slow(w, num_workers);
  meeting_init(m, num_wanted);
  w->config.probe = meet;
  w->config.probe_user = m;
}

Test(runtime, as_many_workers_join_as_were_asked_for_also_above_the_cores) {
  world w;
  meeting m;
  init_meeting(&w, &m, 8, 8);
  w.batch_options.num_envs = 64;
  world_open(&w);
  OK(drover_rollout_collect(w.rollout));
  cr_assert_eq(runtime_stats(w.runtime).num_workers, 8);
  cr_assert_eq(runtime_stats(w.runtime).num_joined, 8, "%d joined", runtime_stats(w.runtime).num_joined);
  world_close(&w);
}

Test(runtime, a_runtime_keeps_its_workers_when_another_one_is_destroyed) {
  world w;
  meeting m;
  init_meeting(&w, &m, 8, 6);
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
  cr_assert_geq(runtime_stats(w.runtime).num_joined, 6, "%d joined", runtime_stats(w.runtime).num_joined);
  world_close(&w);
}

Test(runtime, the_process_has_workers_plus_the_threads_it_came_with_and_no_more) {
  const int32_t before = count_threads();
  world w;
  meeting m;
  init_meeting(&w, &m, 6, 6);
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
  cr_assert_eq(runtime_stats(w.runtime).max_threads, during, "max_threads is %d, there are %d",
               runtime_stats(w.runtime).max_threads, during);
  world_close(&w);
}

Test(runtime, many_runtimes_one_after_the_other_leave_no_threads_behind) {
  world w;
  meeting m;
  init_meeting(&w, &m, 4, 4);
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
  meeting meeting;
  pthread_t caller;
  _Atomic int32_t num_elsewhere;    /* steps not on the caller's thread */
  _Atomic int32_t num_open_signals; /* of them, with a signal not blocked */
  _Atomic int32_t num_blocked_here; /* steps on the caller's thread with SIGINT blocked */
  _Atomic int32_t num_wrong_masks;  /* steps on more than one CPU */
  _Atomic uint64_t cpus;            /* bits of the CPUs that steps were pinned to */
} witness;

static void watch_signals(void *user, int32_t env, uint64_t step) {
  witness *x = user;
  meet(&x->meeting, env, step);
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
  meeting_init(&x.meeting, 2);
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
  witness *x = user;
  meet(&x->meeting, env, step);
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
  meeting_init(&x.meeting, 4);
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

/* A file system with one NUMA node, number 3, that has one CPU of this process. */
static void make_node(const char *root, int32_t cpu) {
  char path[256];
  const char *const folders[] = {"sys", "sys/devices", "sys/devices/system", "sys/devices/system/node",
                                 "sys/devices/system/node/node3"};
  for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
    snprintf(path, sizeof path, "%s/%s", root, folders[i]);
    cr_assert_eq(mkdir(path, 0700), 0);
  }
  snprintf(path, sizeof path, "%s/sys/devices/system/node/node3/cpulist", root);
  FILE *file = fopen(path, "w");
  cr_assert_not_null(file);
  fprintf(file, "%d\n", cpu);
  fclose(file);
}

Test(runtime, a_numa_node_keeps_the_workers_on_its_cpus) {
  char root[] = "/tmp/drover-node-XXXXXX";
  cr_assert_not_null(mkdtemp(root));
  cpu_set_t before, after;
  sched_getaffinity(0, sizeof before, &before);
  int32_t cpu = 63;
  while (!CPU_ISSET((size_t)cpu, &before)) cpu--;
  make_node(root, cpu);
  witness x = {.num_wrong_masks = 0};
  world w;
  init_slow(&w, 3);
  w.config.probe = watch_masks;
  w.config.probe_user = &x;
  w.runtime_options.numa_node = 3;
  w.runtime_options.filesystem_root = root;
  world_open(&w);
  OK(drover_rollout_collect(w.rollout));
  world_close(&w);
  cr_assert_eq(x.num_wrong_masks, 0);
  cr_assert_eq(x.cpus, 1ull << cpu);
  sched_getaffinity(0, sizeof after, &after);
  cr_assert(CPU_EQUAL(&before, &after));
  w.runtime_options.num_workers = 0; /* as many as the node has CPUs */
  OK(drover_runtime_create(&w.runtime, &w.runtime_options));
  cr_assert_eq(runtime_stats(w.runtime).num_workers, 1);
  OK(drover_runtime_destroy(w.runtime));
  w.runtime_options.numa_node = 4;
  cr_assert_eq(drover_runtime_create(&w.runtime, &w.runtime_options), DROVER_ERROR_NOT_FOUND);
  char command[64];
  snprintf(command, sizeof command, "rm -r %s", root);
  cr_assert_eq(system(command), 0);
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

/* ---- Calls from inside a task --------------------------------------------------------------------------------- */

typedef struct inside {
  drover_batch *other;
  drover_runtime *runtime;
  toy_config *config;
  drover_batch_options options;
  _Atomic int32_t num_refused, num_accepted;
} inside;

static void call_from_inside(void *user, int32_t env, uint64_t step) {
  (void)env, (void)step;
  inside *x = user;
  const int32_t actions[16] = {0};
  if (!x->other) return;
  drover_batch *batch;
  const bool refused = drover_batch_step(x->other, actions) == DROVER_ERROR_STATE &&
                       toy_batch_create(&batch, x->runtime, x->config, &x->options) == DROVER_ERROR_STATE;
  atomic_fetch_add(refused ? &x->num_refused : &x->num_accepted, 1);
}

Test(runtime, a_call_from_inside_an_env_is_refused, .timeout = 100) {
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
    x.runtime = w.runtime;
    x.config = &config;
    x.options = w.batch_options;
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

/* ---- Statuses ------------------------------------------------------------------------------------------------- */

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
