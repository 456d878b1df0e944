/* race.c: for ThreadSanitizer: each scenario repeats one hand-over between threads as often as it can, without the
 * checks that would order things by themselves. Without the sanitizer it still has toy.h's checks and the watchdog. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>
#include <unistd.h>

#include "tests/stress/toy.h"
#include "tests/stress/watch.h"

static int num_passed, num_failed;
static const double SECONDS = 0.4; /* a scenario */
enum { MAX_ENVS = 64 };

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void must(drover_status status, const char *what) {
  if (status == DROVER_OK) return;
  fprintf(stderr, "race: %s: %s: %s\n", what, drover_status_name(status), drover_last_error());
  exit(1);
}

static drover_runtime *make_runtime(int32_t num_workers, int32_t trace_events) {
  drover_runtime_options options;
  drover_runtime_options_init(&options, sizeof options);
  options.num_workers = num_workers;
  options.trace_events = trace_events;
  drover_runtime *runtime = NULL;
  must(drover_runtime_create(&runtime, &options), "runtime create");
  return runtime;
}

static drover_batch *make_batch(drover_runtime *runtime, int32_t num_envs, int32_t shard, int32_t chunk,
                                const char *work) {
  const drover_env_arg args[] = {{"work", work}};
  drover_batch_options options;
  drover_batch_options_init(&options, sizeof options);
  options.num_envs = num_envs;
  options.shard = shard;
  options.chunk = chunk;
  options.args = (drover_env_args){1, args};
  drover_batch *batch = NULL;
  must(drover_batch_create(&batch, runtime, &toy_discrete, &options), "batch create");
  return batch;
}

static drover_rollout *make_rollout(drover_batch *batch, drover_policy *policy, int32_t num_steps) {
  drover_rollout_options options;
  drover_rollout_options_init(&options, sizeof options);
  options.num_steps = num_steps;
  drover_rollout *rollout = NULL;
  must(drover_rollout_create(&rollout, batch, policy, &options), "rollout create");
  return rollout;
}

/* ---- Callers ------------------------------------------------------------------------------------------------- */

/* One thread and what it works on; the scenario fills in what its function uses. */
typedef struct caller {
  drover_runtime *runtime;
  drover_batch *batch;
  drover_rollout *rollout;
  int32_t num_envs;
  double until;
  int64_t rounds;
  pthread_t thread;
} caller;

static bool go_on(caller *c) {
  watch_beat();
  c->rounds++;
  return now() < c->until;
}

static void *collect(void *arg) {
  caller *c = arg;
  while (go_on(c)) must(drover_rollout_collect(c->rollout), "collect");
  return NULL;
}

static void *step(void *arg) {
  caller *c = arg;
  const int32_t actions[MAX_ENVS] = {0};
  while (go_on(c)) must(drover_batch_step(c->batch, actions), "step");
  return NULL;
}

static void *exchange(void *arg) {
  caller *c = arg;
  const int32_t actions[MAX_ENVS] = {0};
  int32_t ids[MAX_ENVS], count = c->num_envs;
  for (int32_t e = 0; e < MAX_ENVS; e++) ids[e] = e;
  while (go_on(c)) { /* the ready ones are read here while the others are stepped */
    must(drover_batch_send(c->batch, count, ids, actions), "send");
    must(drover_batch_recv(c->batch, 1 + c->num_envs / 3, -1, ids, &count), "recv");
    drover_batch_view view = {.size = sizeof view};
    must(drover_batch_get_view(c->batch, &view), "view");
    for (int32_t i = 0; i < count; i++)
      if (!(view.observations[(size_t)ids[i] * TOY_OBSERVATION_SIZE] > 0))
        must(DROVER_ERROR_INTERNAL, "an env came back unstepped");
  }
  return NULL;
}

static void *look(void *arg) {
  caller *c = arg;
  while (go_on(c)) {
    drover_runtime_stats stats = {.size = sizeof stats};
    drover_worker_stats worker;
    must(drover_runtime_get_stats(c->runtime, &stats), "get_stats");
    must(drover_runtime_get_worker_stats(c->runtime, stats.num_workers - 1, &worker), "get_worker_stats");
    drover_runtime_reset_stats(c->runtime); /* refused while a run is on */
    drover_runtime_save_trace(c->runtime, "/dev/null");
    drover_batch_view view = {.size = sizeof view};
    if (c->batch) must(drover_batch_get_view(c->batch, &view), "view");
    if (c->rounds % 16 == 0) usleep(200);
  }
  return NULL;
}

static void *cancel(void *arg) {
  caller *c = arg;
  while (go_on(c)) {
    drover_runtime_cancel(c->runtime);
    usleep(300);
  }
  return NULL;
}

static void *collect_cancelled(void *arg) {
  caller *c = arg;
  while (go_on(c)) {
    const drover_status status = drover_rollout_collect(c->rollout);
    if (status != DROVER_ERROR_CANCELLED) must(status, "collect");
  }
  return NULL;
}

static void *come_and_go(void *arg) {
  caller *c = arg;
  const int32_t actions[MAX_ENVS] = {0};
  while (go_on(c)) { /* roots and envs are still on their way when everything is destroyed */
    drover_runtime *runtime = make_runtime(2 + (int32_t)(c->rounds % 5), 0);
    drover_batch *batch = make_batch(runtime, 16, 1, 0, "2000");
    const int32_t ids[4] = {0, 1, 2, 3};
    must(drover_batch_step(batch, actions), "step");
    must(drover_batch_send(batch, 4, ids, actions), "send");
    must(drover_batch_destroy(batch), "batch destroy");
    must(drover_runtime_destroy(runtime), "runtime destroy");
  }
  return NULL;
}

static void run_callers(const char *name, caller *callers, void *(*const *functions)(void *), int count) {
  watch_note("%s", name);
  const int64_t violations = atomic_load(&toy_violations);
  for (int i = 0; i < count; i++) {
    callers[i].until = now() + SECONDS;
    if (pthread_create(&callers[i].thread, NULL, functions[i], &callers[i]) != 0) exit(1);
  }
  int64_t rounds = 0;
  for (int i = 0; i < count; i++) {
    pthread_join(callers[i].thread, NULL);
    rounds += callers[i].rounds;
  }
  const bool good = atomic_load(&toy_violations) == violations;
  *(good ? &num_passed : &num_failed) += 1;
  printf("%s: %s (%d calls)\n", good ? "ok" : "FAILED", name, (int)rounds);
  fflush(stdout);
}

/* ---- Scenarios ----------------------------------------------------------------------------------------------- */

/* Rows of one chain are claimed one by one by all workers, phase after phase: the claim word and the countdown. */
static void a_chain_is_shared(void) {
  drover_runtime *runtime = make_runtime(4, 0);
  drover_batch *batch = make_batch(runtime, 16, 16, 1, "6000");
  drover_policy *policy;
  must(toy_policy_create(&policy, runtime, &toy_discrete, -1, 0), "policy");
  drover_rollout *rollout = make_rollout(batch, policy, 50);
  caller callers[] = {{.runtime = runtime, .rollout = rollout}};
  run_callers("the rows of one chain are shared", callers, (void *(*const[])(void *)){collect}, 1);
  must(drover_rollout_destroy(rollout), "destroy");
  must(drover_policy_destroy(policy), "destroy");
  must(drover_batch_destroy(batch), "destroy");
  must(drover_runtime_destroy(runtime), "destroy");
}

/* Runs of some 100 us: most roots come too late, to a place that has been used again. */
static void short_runs(void) {
  drover_runtime *runtime = make_runtime(5, 0);
  drover_batch *batches[3];
  caller callers[3];
  for (int i = 0; i < 3; i++) {
    batches[i] = make_batch(runtime, 16, 1, 0, "3000");
    callers[i] = (caller){.runtime = runtime, .batch = batches[i], .num_envs = 16};
  }
  run_callers("short runs of one caller", callers, (void *(*const[])(void *)){step}, 1);
  run_callers("short runs of three callers", callers, (void *(*const[])(void *)){step, step, step}, 3);
  for (int i = 0; i < 3; i++) must(drover_batch_destroy(batches[i]), "destroy");
  must(drover_runtime_destroy(runtime), "destroy");
}

/* Workers go from the rollout of one caller to that of another, which use one policy: its contexts change threads. */
static void one_policy_for_two_callers(void) {
  drover_runtime *runtime = make_runtime(4, 100);
  drover_policy *policy;
  must(toy_policy_create(&policy, runtime, &toy_discrete, -1, 0), "policy");
  drover_batch *batches[3];
  caller callers[4];
  for (int i = 0; i < 3; i++) {
    batches[i] = make_batch(runtime, 40, 1, i, "300");
    callers[i] = (caller){.runtime = runtime, .rollout = make_rollout(batches[i], policy, 64)};
  }
  callers[3] = (caller){.runtime = runtime};
  run_callers("one policy in the rollouts of three callers", callers,
              (void *(*const[])(void *)){collect, collect, collect}, 3);
  run_callers("rollouts that are cancelled", callers,
              (void *(*const[])(void *)){collect_cancelled, collect_cancelled, collect_cancelled, cancel}, 4);
  for (int i = 0; i < 3; i++) {
    must(drover_rollout_destroy(callers[i].rollout), "destroy");
    must(drover_batch_destroy(batches[i]), "destroy");
  }
  must(drover_policy_destroy(policy), "destroy");
  must(drover_runtime_destroy(runtime), "destroy");
}

static void exchanges(void) {
  drover_runtime *runtime = make_runtime(4, 100);
  drover_batch *batches[2] = {make_batch(runtime, 24, 0, 0, "500"), make_batch(runtime, 9, 0, 0, "0")};
  caller callers[3] = {{.runtime = runtime, .batch = batches[0], .num_envs = 24},
                       {.runtime = runtime, .batch = batches[1], .num_envs = 9},
                       {.runtime = runtime}};
  run_callers("send and receive", callers, (void *(*const[])(void *)){exchange}, 1);
  int32_t ids[MAX_ENVS], count; /* all back, so that the next scenario begins with none in flight */
  must(drover_batch_recv(batches[0], 24, -1, ids, &count), "recv");
  run_callers("send and receive on two batches, with somebody looking", callers,
              (void *(*const[])(void *)){exchange, exchange, look}, 3);
  for (int i = 0; i < 2; i++) must(drover_batch_destroy(batches[i]), "destroy");
  must(drover_runtime_destroy(runtime), "destroy");
}

/* Statistics and traces are read and reset while short runs come and go. */
static void looking_on(void) {
  drover_runtime *runtime = make_runtime(3, 50);
  drover_batch *batch = make_batch(runtime, 16, 1, 0, "1000");
  caller callers[3] = {
      {.runtime = runtime, .batch = batch, .num_envs = 16}, {.runtime = runtime}, {.runtime = runtime}};
  run_callers("statistics are read and reset", callers, (void *(*const[])(void *)){step, look, look}, 3);
  must(drover_batch_destroy(batch), "destroy");
  must(drover_runtime_destroy(runtime), "destroy");
}

static void runtimes_come_and_go(void) {
  caller callers[2] = {{0}, {0}};
  run_callers("runtimes come and go", callers, (void *(*const[])(void *)){come_and_go, come_and_go}, 2);
}

#ifdef HAS_MLP
static drover_policy *learning;

static void *set_weights(void *arg) {
  caller *c = arg;
  size_t count = 0;
  must(drover_policy_num_weights(learning, &count), "num_weights");
  float *weights = calloc(count, sizeof *weights);
  if (!weights) exit(1);
  must(drover_policy_get_weights(learning, weights, count), "get_weights");
  while (go_on(c)) must(drover_policy_set_weights(learning, weights, count), "set_weights");
  free(weights);
  return NULL;
}

/* New weights arrive while rollouts are on: each uses the version it began with. */
static void weights_change(void) {
  drover_runtime *runtime = make_runtime(3, 0);
  drover_batch *batches[2];
  caller callers[3] = {{0}, {0}, {0}};
  for (int i = 0; i < 2; i++) batches[i] = make_batch(runtime, 33, 0, 0, "100");
  drover_batch_view view = {.size = sizeof view};
  must(drover_batch_get_view(batches[0], &view), "view");
  drover_mlp_options options;
  drover_mlp_options_init(&options, sizeof options);
  must(drover_mlp_options_fit(&options, view.spec), "fit");
  options.num_hidden = 1;
  options.hidden[0] = 16;
  must(drover_policy_create_mlp(&learning, runtime, &options), "mlp");
  for (int i = 0; i < 2; i++)
    callers[i] = (caller){.runtime = runtime, .rollout = make_rollout(batches[i], learning, 20)};
  run_callers("weights change under two rollouts", callers, (void *(*const[])(void *)){collect, collect, set_weights},
              3);
  for (int i = 0; i < 2; i++) {
    must(drover_rollout_destroy(callers[i].rollout), "destroy");
    must(drover_batch_destroy(batches[i]), "destroy");
  }
  must(drover_policy_destroy(learning), "destroy");
  must(drover_runtime_destroy(runtime), "destroy");
}
#endif

int main(void) {
  watch_start("race");
  a_chain_is_shared();
  short_runs();
  one_policy_for_two_callers();
  exchanges();
  looking_on();
  runtimes_come_and_go();
#ifdef HAS_MLP
  weights_change();
#endif
  watch_stop();
  printf("%d passed, %d failed\n", num_passed, num_failed);
  return num_failed > 0;
}
