/* callers.c: what several callers of the same workers may rely on: everybody is served while others are busy, time
 * limits are kept, a cancellation reaches all whom it is meant for. Most scenarios have an endless run in the
 * background; what must get past it has as long as that lasts, half a minute at the least. A plain program: also run
 * under ThreadSanitizer. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>
#include <unistd.h>

#include "tests/stress/toy.h"
#include "tests/stress/watch.h"

static int num_passed, num_failed;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Where nothing else tells "late" from "never": longer than any machine stands still. */
static double patience(void) { return 60.0 + watch_slowness(); }

static void must(drover_status status, const char *what) {
  if (status == DROVER_OK) return;
  fprintf(stderr, "callers: %s: %s: %s\n", what, drover_status_name(status), drover_last_error());
  exit(1);
}

static void report(const char *name, bool good, const char *detail) {
  *(good ? &num_passed : &num_failed) += 1;
  printf("%s: %s%s%s\n", good ? "ok" : "FAILED", name, detail[0] ? ": " : "", detail);
  fflush(stdout);
  watch_beat();
}

/* ---- A caller with objects of its own ------------------------------------------------------------------------ */

typedef struct party {
  drover_runtime *runtime;
  drover_batch *batch;
  drover_policy *policy;
  drover_rollout *rollout;
  int32_t num_envs;
  _Atomic int64_t num_acts; /* calls of its policy: it has begun */
  pthread_t thread;
  drover_status status; /* of its call, once done */
  double seconds;       /* that it took */
  _Atomic bool done;
} party;

static drover_runtime *make_runtime(int32_t num_workers) {
  drover_runtime_options options;
  drover_runtime_options_init(&options, sizeof options);
  options.num_workers = num_workers;
  drover_runtime *runtime = NULL;
  must(drover_runtime_create(&runtime, &options), "runtime create");
  return runtime;
}

/* ---- A policy that always does the same, and counts */

static int get_spec(void *self, drover_policy_spec *spec) {
  (void)self;
  *spec = (drover_policy_spec){.observation_size = TOY_OBSERVATION_SIZE, .action_size = 1, .num_actions = 4};
  return 0;
}

static int act(void *self, const void *version, void *context, const drover_policy_rows *rows) {
  (void)version, (void)context;
  memset(rows->actions, 0, (size_t)rows->count * sizeof(int32_t));
  if (rows->logprobs) memset(rows->logprobs, 0, (size_t)rows->count * sizeof(float));
  atomic_fetch_add_explicit(&((party *)self)->num_acts, 1, memory_order_relaxed);
  return 0;
}

static const drover_policy_type counting_policy = {.abi_version = DROVER_POLICY_ABI_VERSION,
                                                   .size = sizeof counting_policy,
                                                   .name = "counting",
                                                   .get_spec = get_spec,
                                                   .act = act};

static party *make_party(drover_runtime *runtime, int32_t num_envs, int32_t num_steps, const char *work) {
  party *p = calloc(1, sizeof *p);
  if (!p) exit(1);
  p->runtime = runtime;
  p->num_envs = num_envs;
  const drover_env_arg args[] = {{"work", work}};
  drover_batch_options batch;
  drover_batch_options_init(&batch, sizeof batch);
  batch.num_envs = num_envs;
  batch.shard = 1;
  batch.args = (drover_env_args){1, args};
  must(drover_batch_create(&p->batch, runtime, &toy_discrete, &batch), "batch create");
  must(drover_policy_create(&p->policy, runtime, &counting_policy, p), "policy create");
  drover_rollout_options rollout;
  drover_rollout_options_init(&rollout, sizeof rollout);
  rollout.num_steps = num_steps;
  must(drover_rollout_create(&p->rollout, p->batch, p->policy, &rollout), "rollout create");
  return p;
}

static void end_party(party *p) {
  must(drover_rollout_destroy(p->rollout), "rollout destroy");
  must(drover_policy_destroy(p->policy), "policy destroy");
  must(drover_batch_destroy(p->batch), "batch destroy");
  free(p);
}

static void *collect(void *arg) {
  party *p = arg;
  watch_note("collect of %d envs", (int)p->num_envs);
  const double begin = now();
  do { /* wait_begun may be on the batch just then */
    p->status = drover_rollout_collect(p->rollout);
  } while (p->status == DROVER_ERROR_STATE);
  p->seconds = now() - begin;
  atomic_store(&p->done, true);
  return NULL;
}

static void begin(party *p, void *(*call)(void *)) {
  atomic_store(&p->done, false);
  if (pthread_create(&p->thread, NULL, call, p) != 0) exit(1);
}

/* Until a collect of this party has made so many calls of its policy, or has failed. */
static void wait_acts(const party *p, int64_t num_acts) {
  while (atomic_load_explicit(&p->num_acts, memory_order_relaxed) < num_acts && !atomic_load(&p->done)) usleep(500);
}

/* Until a call on each party's batch is in progress, though it may still wait for its turn. */
static void wait_begun(party *const *parties, int count) {
  for (int i = 0; i < count; i++)
    while (drover_batch_set_param(parties[i]->batch, "none", NULL, 0) != DROVER_ERROR_STATE &&
           !atomic_load(&parties[i]->done))
      usleep(500);
  usleep(150000);
}

/* A collect that only a cancellation ends; returns when it is well on its way. Few envs: long chains, some 20 us a
 * step. Many: each worker has thousands of chains that it puts aside again and again. */
static party *begin_run(drover_runtime *runtime, int32_t num_envs, int32_t num_steps) {
  party *p = make_party(runtime, num_envs, num_steps, "20000");
  begin(p, collect);
  wait_acts(p, 200);
  usleep(20000); /* and all workers are in it */
  return p;
}

static party *begin_endless(drover_runtime *runtime) { return begin_run(runtime, 8, 500000); }

/* Cancel until it has ended; false if it had ended by itself or takes too long. */
static bool end_endless(party *p) {
  const bool was_running = !atomic_load(&p->done);
  drover_runtime_cancel(p->runtime);
  pthread_join(p->thread, NULL);
  const bool good = was_running && p->status == DROVER_ERROR_CANCELLED;
  end_party(p);
  return good;
}

static bool wait_done(const party *p, double seconds) {
  const double until = now() + seconds;
  while (!atomic_load(&p->done) && now() < until) usleep(500);
  return atomic_load(&p->done);
}

/* Whether p is done before the endless run is: half a minute of work for all processors, however slow they are. */
static bool wait_done_before(const party *p, const party *endless) {
  while (!atomic_load(&p->done) && !atomic_load(&endless->done)) usleep(500);
  return atomic_load(&p->done);
}

/* ---- Scenarios ----------------------------------------------------------------------------------------------- */

/* `call` of a small party must end well while an endless run is on. */
static void served_beside_an_endless_run(const char *name, int32_t num_workers, int32_t num_envs, void *(*call)(void *),
                                         bool many_chains) {
  watch_note("%s", name);
  drover_runtime *runtime = make_runtime(num_workers);
  party *small = make_party(runtime, num_envs, 16, "1000");
  party *endless = many_chains ? begin_run(runtime, 50000, 64) : begin_endless(runtime);
  begin(small, call);
  const bool served = wait_done_before(small, endless);
  const bool endless_was_on = !atomic_load(&endless->done);
  end_endless(endless);
  pthread_join(small->thread, NULL);
  char detail[96];
  snprintf(detail, sizeof detail, "%.3f s, %s", small->seconds,
           served ? drover_status_name(small->status) : "only after the endless run");
  report(name, served && endless_was_on && small->status == DROVER_OK, detail);
  end_party(small);
  must(drover_runtime_destroy(runtime), "runtime destroy");
}

static void *step_few(void *arg) {
  party *p = arg;
  int32_t actions[64] = {0};
  watch_note("20 steps of %d envs", (int)p->num_envs);
  const double begun = now();
  for (int i = 0; i < 20 && p->status == DROVER_OK; i++) p->status = drover_batch_step(p->batch, actions);
  p->seconds = now() - begun;
  atomic_store(&p->done, true);
  return NULL;
}

/* Send all envs and receive them, `rounds` times. */
static void exchange(party *p, int rounds, double timeout_s) {
  int32_t actions[64] = {0}, ids[64];
  for (int32_t i = 0; i < 64; i++) ids[i] = i;
  for (int round = 0; round < rounds && p->status == DROVER_OK; round++) {
    p->status = drover_batch_send(p->batch, p->num_envs, ids, actions);
    for (int32_t got = 0, count; p->status == DROVER_OK && got < p->num_envs; got += count)
      p->status = drover_batch_recv(p->batch, p->num_envs, timeout_s, ids + got, &count);
  }
}

static void *exchange_few(void *arg) {
  party *p = arg;
  watch_note("10 sends and receives of %d envs", (int)p->num_envs);
  const double begun = now();
  exchange(p, 10, -1);
  p->seconds = now() - begun;
  atomic_store(&p->done, true);
  return NULL;
}

static _Atomic bool keep_exchanging;

static void *exchange_on(void *arg) {
  party *p = arg;
  watch_note("sends and receives without end");
  int32_t actions[64] = {0}, ids[64], count = p->num_envs;
  for (int32_t i = 0; i < 64; i++) ids[i] = i;
  while (p->status == DROVER_OK && atomic_load(&keep_exchanging)) { /* there is always something left to step */
    p->status = drover_batch_send(p->batch, count, ids, actions);
    if (p->status == DROVER_OK) p->status = drover_batch_recv(p->batch, p->num_envs / 4, -1, ids, &count);
  }
  atomic_store(&p->done, true);
  return NULL;
}

static void a_run_is_served_beside_an_endless_exchange(void) {
  const char *name = "a_run_is_served_beside_an_endless_exchange";
  watch_note("%s", name);
  drover_runtime *runtime = make_runtime(2);
  party *sender = make_party(runtime, 32, 1, "20000"), *small = make_party(runtime, 8, 16, "1000");
  atomic_store(&keep_exchanging, true);
  begin(sender, exchange_on);
  usleep(50000);
  double worst = 0;
  bool served = true;
  for (int i = 0; i < 50 && served; i++) { /* in most of them the sender is worker 0 */
    begin(small, collect);
    served = wait_done(small, patience());
    if (!served) atomic_store(&keep_exchanging, false);
    pthread_join(small->thread, NULL);
    served = served && small->status == DROVER_OK;
    if (small->seconds > worst) worst = small->seconds;
    watch_beat();
  }
  atomic_store(&keep_exchanging, false);
  pthread_join(sender->thread, NULL);
  char detail[64];
  snprintf(detail, sizeof detail, "worst of 50: %.3f s", worst);
  report(name, served && sender->status == DROVER_OK, detail);
  end_party(small);
  end_party(sender);
  must(drover_runtime_destroy(runtime), "runtime destroy");
}

/* oneTBB's only other thread is in another runtime's endless run: a caller that came second must go on by itself as
 * soon as the first one has left. */
static void a_second_caller_needs_no_other_thread(void) {
  const char *name = "a_second_caller_needs_no_other_thread";
  watch_note("%s", name);
  drover_runtime *occupied = make_runtime(2), *runtime = make_runtime(2);
  party *endless = begin_endless(occupied);
  party *first = make_party(runtime, 8, 500, "20000"), *second = make_party(runtime, 8, 16, "1000");
  begin(first, collect);
  wait_acts(first, 100);
  begin(second, collect);
  const bool both = wait_done_before(first, endless) && wait_done_before(second, endless);
  const bool endless_was_on = !atomic_load(&endless->done);
  end_endless(endless);
  pthread_join(first->thread, NULL);
  pthread_join(second->thread, NULL);
  char detail[96];
  snprintf(detail, sizeof detail, "first %.3f s, second %.3f s", first->seconds, second->seconds);
  report(name, both && endless_was_on && first->status == DROVER_OK && second->status == DROVER_OK, detail);
  end_party(first);
  end_party(second);
  must(drover_runtime_destroy(runtime), "runtime destroy");
  must(drover_runtime_destroy(occupied), "runtime destroy");
}

static void cancel_reaches_every_caller(int32_t num_workers) {
  watch_note("cancel_reaches_every_caller, %d workers", (int)num_workers);
  drover_runtime *runtime = make_runtime(num_workers);
  bool good = true;
  for (int round = 0; round < 10 && good; round++) {
    party *parties[3];
    for (int i = 0; i < 3; i++) parties[i] = make_party(runtime, 8, 500000, "20000");
    for (int i = 0; i < 3; i++) begin(parties[i], collect);
    wait_begun(parties, 3);
    for (int i = 0; i < 3 && num_workers > 1; i++) wait_acts(parties[i], 1);
    drover_runtime_cancel(runtime);
    for (int i = 0; i < 3; i++)
      good = wait_done(parties[i], patience()) && parties[i]->status == DROVER_ERROR_CANCELLED && good;
    for (int i = 0; i < 3; i++) {
      while (!atomic_load(&parties[i]->done)) { /* failed already: only to end it */
        drover_runtime_cancel(runtime);
        usleep(1000);
      }
      pthread_join(parties[i]->thread, NULL);
      end_party(parties[i]);
    }
    watch_beat();
  }
  char name[64];
  snprintf(name, sizeof name, "cancel_reaches_every_caller_of_%d_workers", (int)num_workers);
  report(name, good, "");
  must(drover_runtime_destroy(runtime), "runtime destroy");
}

static _Atomic bool keep_stepping;

static void *step_on(void *arg) {
  party *p = arg;
  int32_t actions[64] = {0};
  while (atomic_load(&keep_stepping)) drover_batch_step(p->batch, actions);
  atomic_store(&p->done, true);
  return NULL;
}

/* Short calls that begin and end all the time must not wipe out a cancellation meant for a long one. */
static void a_cancel_outlives_calls_of_others(int32_t num_workers) {
  watch_note("a_cancel_outlives_calls_of_others, %d workers", (int)num_workers);
  drover_runtime *runtime = make_runtime(num_workers);
  party *small = make_party(runtime, 2, 1, "0");
  atomic_store(&keep_stepping, true);
  begin(small, step_on);
  bool good = true;
  for (int round = 0; round < 20 && good; round++) {
    party *endless = begin_endless(runtime);
    drover_runtime_cancel(runtime);
    good = wait_done(endless, patience());
    while (!atomic_load(&endless->done)) drover_runtime_cancel(runtime);
    pthread_join(endless->thread, NULL);
    end_party(endless);
    watch_beat();
  }
  atomic_store(&keep_stepping, false);
  pthread_join(small->thread, NULL);
  char name[64];
  snprintf(name, sizeof name, "a_cancel_outlives_calls_of_others_on_%d_workers", (int)num_workers);
  report(name, good, "");
  end_party(small);
  must(drover_runtime_destroy(runtime), "runtime destroy");
}

/* A caller that only ever polls, on a runtime without other workers. */
static void polling_recv_makes_progress(int32_t num_workers) {
  drover_runtime *runtime = make_runtime(num_workers);
  party *p = make_party(runtime, 8, 1, "1000");
  int32_t actions[8] = {0}, ids[8] = {0, 1, 2, 3, 4, 5, 6, 7}, got = 0;
  must(drover_batch_send(p->batch, 8, ids, actions), "send");
  const double until = now() + patience();
  drover_status status = DROVER_OK;
  while (got < 8 && now() < until && (status == DROVER_OK || status == DROVER_ERROR_TIMEOUT)) {
    int32_t count = 0;
    status = drover_batch_recv(p->batch, 8 - got, 0, ids, &count);
    got += count;
  }
  char name[64], detail[64];
  snprintf(name, sizeof name, "polling_recv_makes_progress_on_%d_workers", (int)num_workers);
  snprintf(detail, sizeof detail, "%d of 8", (int)got);
  report(name, got == 8, detail);
  end_party(p);
  must(drover_runtime_destroy(runtime), "runtime destroy");
}

static void recv_keeps_its_time_limit(int32_t num_workers) {
  drover_runtime *runtime = make_runtime(num_workers);
  party *p = make_party(runtime, 8, 1, "1000000"); /* 1 ms an env and more */
  party *endless = begin_endless(runtime);
  int32_t actions[8] = {0}, ids[8] = {0, 1, 2, 3, 4, 5, 6, 7}, count = 0;
  must(drover_batch_send(p->batch, 8, ids, actions), "send");
  const double begun = now();
  const drover_status status = drover_batch_recv(p->batch, 8, 0.001, ids, &count);
  const double seconds = now() - begun;
  const bool endless_was_on = end_endless(endless);
  char name[64], detail[64];
  snprintf(name, sizeof name, "recv_keeps_its_time_limit_on_%d_workers", (int)num_workers);
  snprintf(detail, sizeof detail, "%s after %.3f s", drover_status_name(status), seconds);
  report(name, endless_was_on && seconds < patience() && (status == DROVER_ERROR_TIMEOUT || status == DROVER_OK),
         detail);
  end_party(p);
  must(drover_runtime_destroy(runtime), "runtime destroy");
}

/* An explicit number of workers wins, whatever other runtimes there are. */
static void sizes_of_runtimes_do_not_limit_each_other(void) {
  drover_runtime *small = make_runtime(3), *large = make_runtime(8), *middle = make_runtime(5);
  must(drover_runtime_destroy(small), "runtime destroy");
  must(drover_runtime_destroy(middle), "runtime destroy");
  party *p = begin_endless(large);
  drover_runtime_stats stats = {.size = sizeof stats};
  const double until = now() + patience();
  do {
    must(drover_runtime_get_stats(large, &stats), "get_stats");
    usleep(1000);
  } while (stats.num_joined < 8 && now() < until);
  end_endless(p);
  char detail[64];
  snprintf(detail, sizeof detail, "%d of 8 joined", (int)stats.num_joined);
  report("sizes_of_runtimes_do_not_limit_each_other", stats.num_joined == 8, detail);
  must(drover_runtime_destroy(large), "runtime destroy");
}

/* Overlapping calls on one batch: refused, and the call in progress does not notice. */
static void overlapping_calls_are_refused(void) {
  drover_runtime *runtime = make_runtime(2);
  party *p = begin_endless(runtime);
  int32_t actions[8] = {0}, id = 0, count;
  bool good = drover_batch_step(p->batch, actions) == DROVER_ERROR_STATE;
  good = drover_rollout_collect(p->rollout) == DROVER_ERROR_STATE && good;
  good = drover_batch_send(p->batch, 1, &id, actions) == DROVER_ERROR_STATE && good;
  good = drover_batch_recv(p->batch, 1, 0, &id, &count) == DROVER_ERROR_STATE && good;
  good = drover_batch_reset(p->batch, 0) == DROVER_ERROR_STATE && good;
  good = drover_rollout_destroy(p->rollout) == DROVER_ERROR_STATE && good;
  good = drover_batch_destroy(p->batch) == DROVER_ERROR_STATE && good;
  good = drover_runtime_destroy(runtime) == DROVER_ERROR_STATE && good;
  good = drover_runtime_reset_stats(runtime) == DROVER_ERROR_STATE && good;
  good = end_endless(p) && good;
  report("overlapping_calls_are_refused", good, "");
  must(drover_runtime_destroy(runtime), "runtime destroy");
}

int main(void) {
  watch_start("callers");
  served_beside_an_endless_run("a_rollout_is_served_beside_an_endless_one", 2, 8, collect, false);
  served_beside_an_endless_run("a_rollout_is_served_beside_an_endless_one_with_3_workers", 3, 8, collect, false);
  served_beside_an_endless_run("a_rollout_is_served_beside_very_many_chains", 2, 8, collect, true);
  served_beside_an_endless_run("an_exchange_is_served_beside_very_many_chains", 2, 8, exchange_few, true);
  served_beside_an_endless_run("a_step_of_one_env_is_served_beside_an_endless_run", 2, 1, step_few, false);
  served_beside_an_endless_run("a_step_of_many_envs_is_served_beside_an_endless_run", 2, 64, step_few, false);
  served_beside_an_endless_run("an_exchange_is_served_beside_an_endless_run", 2, 8, exchange_few, false);
  a_run_is_served_beside_an_endless_exchange();
  a_second_caller_needs_no_other_thread();
  cancel_reaches_every_caller(1);
  cancel_reaches_every_caller(3);
  a_cancel_outlives_calls_of_others(1);
  a_cancel_outlives_calls_of_others(3);
  polling_recv_makes_progress(1);
  polling_recv_makes_progress(2);
  recv_keeps_its_time_limit(1);
  recv_keeps_its_time_limit(2);
  sizes_of_runtimes_do_not_limit_each_other();
  overlapping_calls_are_refused();
  watch_stop();
  num_failed += atomic_load(&toy_violations) > 0;
  printf("%d passed, %d failed\n", num_passed, num_failed);
  return num_failed > 0;
}
