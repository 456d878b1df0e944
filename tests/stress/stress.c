/* stress.c: a seeded mix of everything that a process may do with the library at once: several runtimes, several
 * callers on each, batches of different types, step, send/recv, rollouts, failures, cancellation, statistics, runtimes
 * that come and go. Whatever the mix, every result must be the one that one worker computes.
 *
 *   stress [--seconds S] [--seed K] [--workers W] */
#include <inttypes.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "tests/stress/cases.h"
#include "tests/stress/jobs.h"
#include "tests/stress/toy.h"
#include "tests/stress/watch.h"

enum { MAX_RUNTIMES = 2, MAX_CALLERS = 5 };
static const double ROUND_SECONDS = 0.8;

typedef struct request {
  double seconds;
  uint64_t seed;
  int32_t workers;
} request;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void parse(int argc, char **argv, request *r) {
  for (int i = 1; i < argc; i += 2) {
    char *end = NULL;
    const char *value = i + 1 < argc ? argv[i + 1] : "";
    if (strcmp(argv[i], "--seconds") == 0) r->seconds = strtod(value, &end);
    if (strcmp(argv[i], "--seed") == 0) r->seed = strtoull(value, &end, 10);
    if (strcmp(argv[i], "--workers") == 0) r->workers = (int32_t)strtol(value, &end, 10);
    if (end && end != value && *end == '\0' && r->workers >= 1 && r->workers <= 256 && r->seconds > 0) continue;
    fprintf(stderr, "usage: stress [--seconds S] [--seed K] [--workers 1..256]\n");
    exit(2);
  }
}

/* ---- A round: some runtimes, some callers, until time is up ----------------------------------------------------- */

typedef struct round_state {
  drover_runtime *runtimes[MAX_RUNTIMES];
  int32_t num_runtimes;
  bool cancels;
  _Atomic bool over;
} round_state;

typedef struct thread_args {
  round_state *round;
  stress_caller caller;
} thread_args;

static void *call(void *arg) {
  thread_args *a = arg;
  while (!atomic_load(&a->round->over)) stress_do_job(&a->caller);
  watch_note("this round's work is done");
  return NULL;
}

static drover_runtime *make_runtime(int32_t num_workers) {
  drover_runtime_options options;
  drover_runtime_options_init(&options, sizeof options);
  options.num_workers = num_workers;
  drover_runtime *runtime = NULL;
  if (drover_runtime_create(&runtime, &options) == DROVER_OK) return runtime;
  fprintf(stderr, "stress: no runtime: %s\n", drover_last_error());
  exit(1);
}

/* Look at the runtimes, and cancel now and then, while the callers work. */
static void disturb(round_state *round, drover_random *r, double until) {
  while (now() < until) {
    drover_runtime *runtime = round->runtimes[stress_pick(r, 0, round->num_runtimes - 1)];
    drover_runtime_stats stats = {.size = sizeof stats};
    drover_worker_stats worker;
    drover_runtime_get_stats(runtime, &stats);
    drover_runtime_get_worker_stats(runtime, stress_pick(r, 0, stats.num_workers - 1), &worker);
    if (stress_pick(r, 0, 9) == 0) drover_runtime_reset_stats(runtime);
    if (round->cancels) drover_runtime_cancel(runtime);
    usleep((unsigned)stress_pick(r, 200, 5000));
  }
}

static void do_round(const request *q, drover_random *r, double until) {
  const int32_t sizes[] = {1, 2, 3, q->workers};
  round_state round = {.num_runtimes = stress_pick(r, 1, MAX_RUNTIMES), .cancels = stress_pick(r, 0, 3) == 0};
  for (int32_t i = 0; i < round.num_runtimes; i++) round.runtimes[i] = make_runtime(sizes[stress_pick(r, 0, 3)]);
  const int32_t num_callers = stress_pick(r, 1, MAX_CALLERS);
  thread_args args[MAX_CALLERS];
  pthread_t threads[MAX_CALLERS];
  for (int32_t i = 0; i < num_callers; i++) {
    args[i] = (thread_args){
        .round = &round,
        .caller = {.runtime = round.runtimes[i % round.num_runtimes],
                   .most_workers = q->workers,
                   .id = i,
                   .may_be_cancelled = round.cancels,
                   .random = drover_random_at(q->seed, (uint32_t)i, DROVER_RANDOM_USER + 1, drover_random_u32(r))}};
    if (pthread_create(&threads[i], NULL, call, &args[i]) != 0) exit(1);
  }
  disturb(&round, r, until);
  atomic_store(&round.over, true);
  for (int32_t i = 0; i < num_callers; i++) pthread_join(threads[i], NULL);
  for (int32_t i = 0; i < round.num_runtimes; i++)
    if (drover_runtime_destroy(round.runtimes[i]) != DROVER_OK) {
      atomic_fetch_add(&num_failed, 1);
      fprintf(stderr, "stress: FAILED: runtime destroy: %s\n", drover_last_error());
    }
}

int main(int argc, char **argv) {
  request q = {.seconds = 5, .seed = (uint64_t)time(NULL) * 1000003u + (uint64_t)getpid(), .workers = 8};
  parse(argc, argv, &q);
  printf("stress: seed %" PRIu64 ", %g s, up to %d workers\n", q.seed, q.seconds, (int)q.workers);
  fflush(stdout);
  watch_start("stress");
  cases_create(q.seed);
  drover_random r = drover_random_at(q.seed, 0, DROVER_RANDOM_USER + 2, 0);
  const double begin = now();
  double reported = begin;
  for (int32_t rounds = 1; now() < begin + q.seconds; rounds++) {
    do_round(&q, &r, now() + ROUND_SECONDS);
    if (now() < reported + 5) continue;
    reported = now();
    fprintf(stderr, "stress: %.0f s, %d rounds, %" PRId64 " checks passed, %" PRId64 " failed\n", reported - begin,
            (int)rounds, atomic_load(&num_passed), atomic_load(&num_failed));
  }
  cases_destroy();
  watch_stop();
  const int64_t failed = atomic_load(&num_failed) + atomic_load(&toy_violations);
  if (failed > 0) printf("stress: run again with --seed %" PRIu64 " --workers %d\n", q.seed, (int)q.workers);
  printf("%" PRId64 " passed, %" PRId64 " failed\n", atomic_load(&num_passed), failed);
  return failed > 0;
}
