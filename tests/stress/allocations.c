/* allocations.c: a step in steady state allocates nothing. malloc and its relatives are interposed here; after a
 * warm-up the same call is made with T and with 2T steps, by all workers: what it allocates must not grow with T.
 *
 * oneTBB takes the memory of its task objects from libtbbmalloc where that is installed: it does not pass here. Its
 * tasks are a few a call, not a step, and their objects are used again. */
#include <drover/drover.h>
#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <unistd.h>

#include "tests/stress/toy.h"

/* ---- The interposed functions -------------------------------------------------------------------------------- */

static _Atomic int64_t num_allocations;
static _Atomic bool counting;

static void count(void) {
  if (atomic_load_explicit(&counting, memory_order_relaxed))
    atomic_fetch_add_explicit(&num_allocations, 1, memory_order_relaxed);
}

/* glibc's own names for its allocator: no dlsym, which allocates itself. */
extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t count, size_t bytes);
extern void *__libc_realloc(void *memory, size_t bytes);
extern void *__libc_memalign(size_t alignment, size_t bytes);

void *malloc(size_t bytes) {
  count();
  return __libc_malloc(bytes);
}

void *calloc(size_t items, size_t bytes) {
  count();
  return __libc_calloc(items, bytes);
}

void *realloc(void *memory, size_t bytes) {
  count();
  return __libc_realloc(memory, bytes);
}

void *memalign(size_t alignment, size_t bytes) {
  count();
  return __libc_memalign(alignment, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes) {
  count();
  return __libc_memalign(alignment, bytes);
}

int posix_memalign(void **out, size_t alignment, size_t bytes) {
  count();
  void *memory = __libc_memalign(alignment, bytes);
  if (!memory) return ENOMEM;
  *out = memory;
  return 0;
}

/* ---- What is measured ---------------------------------------------------------------------------------------- */

typedef enum mode { MODE_COLLECT, MODE_RECORD, MODE_STEP, MODE_EXCHANGE } mode;

enum { NUM_STEPS = 50, NUM_REPEATS = 5, MAX_ENVS = 256 };

typedef struct bench {
  drover_batch *batch;
  drover_policy *policy, *inner_policy;
  drover_rollout *rollouts[2]; /* of NUM_STEPS and of twice as many */
  int32_t num_envs;
  bool has_values;
} bench;

static unsigned char actions[MAX_ENVS * 8], echo[MAX_ENVS * 8];
static float logprobs[MAX_ENVS], values[MAX_ENVS];
static int32_t ids[MAX_ENVS];

static void must(drover_status status, const char *what) {
  if (status == DROVER_OK) return;
  fprintf(stderr, "allocations: %s: %s: %s\n", what, drover_status_name(status), drover_last_error());
  exit(1);
}

static void record_all(const bench *b, drover_rollout *rollout, int32_t num_steps) {
  must(drover_rollout_begin(rollout), "begin");
  for (int32_t t = 0; t < num_steps; t++) {
    must(drover_policy_act(b->policy, b->batch, 0, actions, logprobs, b->has_values ? values : NULL), "act");
    must(drover_batch_step(b->batch, actions), "step");
    must(drover_rollout_record(rollout, actions, logprobs, b->has_values ? values : NULL), "record");
  }
  must(drover_rollout_finish(rollout), "finish");
}

static void exchange_all(const bench *b, int32_t num_steps) {
  for (int32_t t = 0; t < num_steps; t++) {
    for (int32_t e = 0; e < b->num_envs; e++) ids[e] = e;
    must(drover_batch_send(b->batch, b->num_envs, ids, echo), "send");
    for (int32_t got = 0, count; got < b->num_envs; got += count)
      must(drover_batch_recv(b->batch, b->num_envs / 2, -1, ids + got, &count), "recv");
  }
}

/* What one call, or num_steps calls, allocate. */
static int64_t allocations_of(const bench *b, mode what, int which) {
  const int32_t num_steps = NUM_STEPS * (which + 1);
  atomic_store(&num_allocations, 0);
  atomic_store(&counting, true);
  switch (what) {
    case MODE_COLLECT:
      must(drover_rollout_collect(b->rollouts[which]), "collect");
      break;
    case MODE_RECORD:
      record_all(b, b->rollouts[which], num_steps);
      break;
    case MODE_STEP:
      for (int32_t t = 0; t < num_steps; t++) must(drover_batch_step(b->batch, echo), "step");
      break;
    case MODE_EXCHANGE:
      exchange_all(b, num_steps);
      break;
  }
  atomic_store(&counting, false);
  return atomic_load(&num_allocations);
}

static int num_passed, num_failed;

/* The most of some repetitions from the same seed. The first one warms up: the lists of episodes grow in it. */
static void measure(const bench *b, mode what, const char *name, int32_t workers, const char *policy) {
  int64_t most[2] = {0, 0};
  for (int which = 0; which < 2; which++)
    for (int i = 0; i <= NUM_REPEATS; i++) {
      must(drover_batch_reset(b->batch, 7), "reset");
      const int64_t seen = allocations_of(b, what, which);
      if (i > 0 && seen > most[which]) most[which] = seen;
    }
  const bool good = most[1] <= most[0];
  *(good ? &num_passed : &num_failed) += 1;
  printf("%s: %s, %spolicy %s, %d workers: %" PRId64 " allocations for %d steps, %" PRId64 " for %d: %g a step\n",
         good ? "ok" : "FAILED", name, b->inner_policy ? "an inner loop, " : "", policy, (int)workers, most[0],
         NUM_STEPS, most[1], 2 * NUM_STEPS, (double)(most[1] - most[0]) / NUM_STEPS);
  fflush(stdout);
}

static void make_policy(bench *b, drover_runtime *runtime, const drover_env_type *type, const char *policy) {
  drover_batch_view view = {.size = sizeof view};
  must(drover_batch_get_view(b->batch, &view), "view");
  if (policy[0] == 'u') must(drover_policy_create_uniform(&b->policy, runtime, view.spec), "uniform policy");
  if (policy[0] == 't') must(toy_policy_create(&b->policy, runtime, type, -1, 0), "toy policy");
  if (policy[0] != 'm') return;
#ifdef HAS_MLP
  drover_mlp_options options;
  drover_mlp_options_init(&options, sizeof options);
  must(drover_mlp_options_fit(&options, view.spec), "mlp options");
  options.num_hidden = 2;
  options.hidden[0] = options.hidden[1] = 64;
  must(drover_policy_create_mlp(&b->policy, runtime, &options), "mlp policy");
#endif
}

/* For toy-ticking: a network where there are networks, so that its tiles are measured too. */
static void make_inner_policy(bench *b, drover_runtime *runtime, const drover_env_type *type) {
  if (type != &toy_ticking) return;
#ifdef HAS_MLP
  drover_batch_view view = {.size = sizeof view};
  must(drover_batch_get_view(b->batch, &view), "view");
  drover_mlp_options options;
  drover_mlp_options_init(&options, sizeof options);
  must(drover_mlp_options_fit_inner(&options, view.spec), "inner mlp options");
  options.hidden[0] = 256;
  must(drover_policy_create_mlp(&b->inner_policy, runtime, &options), "inner mlp policy");
#else
  must(toy_inner_policy_create(&b->inner_policy, runtime), "inner policy");
#endif
  must(drover_batch_set_inner_policy(b->batch, b->inner_policy), "set_inner_policy");
}

static void measure_all(int32_t workers, const drover_env_type *type, const char *policy) {
  drover_runtime_options runtime_options;
  drover_runtime_options_init(&runtime_options, sizeof runtime_options);
  runtime_options.num_workers = workers;
  drover_runtime *runtime;
  must(drover_runtime_create(&runtime, &runtime_options), "runtime");
  bench b = {.num_envs = MAX_ENVS};
  drover_batch_options options;
  drover_batch_options_init(&options, sizeof options);
  options.num_envs = b.num_envs;
  must(drover_batch_create(&b.batch, runtime, type, &options), "batch");
  make_policy(&b, runtime, type, policy);
  make_inner_policy(&b, runtime, type);
  drover_policy_spec spec;
  must(drover_policy_get_spec(b.policy, &spec), "policy spec");
  b.has_values = spec.has_values != 0;
  for (int which = 0; which < 2; which++) {
    drover_rollout_options rollout;
    drover_rollout_options_init(&rollout, sizeof rollout);
    rollout.num_steps = NUM_STEPS * (which + 1);
    must(drover_rollout_create(&b.rollouts[which], b.batch, b.policy, &rollout), "rollout");
  }
  measure(&b, MODE_COLLECT, "collect", workers, policy);
  measure(&b, MODE_RECORD, "act, step, record", workers, policy);
  measure(&b, MODE_STEP, "step", workers, policy);
  measure(&b, MODE_EXCHANGE, "send, recv", workers, policy);
  for (int which = 0; which < 2; which++) must(drover_rollout_destroy(b.rollouts[which]), "destroy");
  must(drover_policy_destroy(b.policy), "destroy");
  must(drover_batch_destroy(b.batch), "destroy");
  must(drover_policy_destroy(b.inner_policy), "destroy");
  must(drover_runtime_destroy(runtime), "destroy");
}

/* A test that cannot fail is a bug: this much must have been counted. */
static void check_counter(void) {
  atomic_store(&num_allocations, 0);
  atomic_store(&counting, true);
  void *volatile memory = malloc(100);
  free(memory);
  memory = calloc(1, 100);
  memory = realloc(memory, 200);
  free(memory);
  void *aligned = NULL;
  if (posix_memalign(&aligned, 64, 100) == 0) free(aligned);
  atomic_store(&counting, false);
  const bool good = atomic_load(&num_allocations) == 4;
  *(good ? &num_passed : &num_failed) += 1;
  printf("%s: the counter sees allocations\n", good ? "ok" : "FAILED");
}

int main(void) {
  check_counter();
  for (int32_t workers = 1; workers <= 4; workers += 3) {
    measure_all(workers, &toy_discrete, "uniform");
    measure_all(workers, &toy_discrete, "toy");
    measure_all(workers, &toy_ticking, "toy");
#ifdef HAS_MLP
    measure_all(workers, &toy_discrete, "mlp");
#endif
  }
  printf("%d passed, %d failed\n", num_passed, num_failed);
  return num_failed > 0;
}
