/* test_no_memory.c: a plain program in which malloc and its relatives fail at the k-th call, for k = 1, 2, ... until
 * the call under test succeeds. Every failure before that must be a status with a sentence; nothing may leak or crash,
 * and what existed before must still work.
 *
 * It defines malloc itself, so it cannot run under a sanitizer that brings one of its own. */
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>

#include "tests/support/world.h"

/* ---- An allocator that counts and fails ----------------------------------------------------------------------- */

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);
void *__libc_memalign(size_t align, size_t size);
void __libc_free(void *memory);

static _Atomic int64_t num_live;               /* blocks alive, of all threads */
static _Thread_local int64_t calls_to_go = -1; /* this thread's: the call that makes it 0 fails; -1 = none fails */
static _Thread_local bool has_failed;
static _Thread_local bool keeps_failing; /* all calls after the first failure fail too */

static bool fails(void) {
  if (has_failed && keeps_failing) return true;
  if (calls_to_go < 0 || --calls_to_go > 0) return false;
  calls_to_go = -1;
  has_failed = true;
  return true;
}

static void *made(void *memory) {
  if (memory) atomic_fetch_add_explicit(&num_live, 1, memory_order_relaxed);
  return memory;
}

void *malloc(size_t size) {
  if (!fails()) return made(__libc_malloc(size));
  errno = ENOMEM;
  return NULL;
}
void *calloc(size_t count, size_t size) {
  if (!fails()) return made(__libc_calloc(count, size));
  errno = ENOMEM;
  return NULL;
}
void *realloc(void *memory, size_t size) {
  if (fails()) {
    errno = ENOMEM;
    return NULL;
  }
  void *moved = __libc_realloc(memory, size);
  if (!memory) made(moved);
  return moved;
}
void *aligned_alloc(size_t align, size_t size) {
  if (!fails()) return made(__libc_memalign(align, size));
  errno = ENOMEM;
  return NULL;
}
void *memalign(size_t align, size_t size) { return aligned_alloc(align, size); }
int posix_memalign(void **out, size_t align, size_t size) {
  if (fails()) return ENOMEM;
  *out = made(__libc_memalign(align, size));
  return *out ? 0 : ENOMEM;
}
void free(void *memory) {
  if (memory) atomic_fetch_sub_explicit(&num_live, 1, memory_order_relaxed);
  __libc_free(memory);
}

/* ---- Trying a call -------------------------------------------------------------------------------------------- */

static int num_failures; /* of this program */
static const char *now_testing;
static int64_t now_at;

#define EXPECT(condition, ...)                                              \
  do {                                                                      \
    if (condition) break;                                                   \
    fprintf(stderr, "%s, allocation %d fails: ", now_testing, (int)now_at); \
    fprintf(stderr, __VA_ARGS__);                                           \
    fprintf(stderr, "\n");                                                  \
    num_failures++;                                                         \
  } while (0)

/* The allocation that is to fail, and what came of it. */
static struct outcome {
  int64_t at;
  bool keeps;
  bool failed; /* an allocation did fail */
  drover_status status;
  char message[256];
} outcome;

/* The call under test, and only it, meets the failure. */
#define SCARCE(call)                                                              \
  do {                                                                            \
    has_failed = false;                                                           \
    keeps_failing = outcome.keeps;                                                \
    calls_to_go = outcome.at;                                                     \
    outcome.status = (call);                                                      \
    calls_to_go = -1;                                                             \
    outcome.failed = has_failed;                                                  \
    has_failed = keeps_failing = false;                                           \
    snprintf(outcome.message, sizeof outcome.message, "%s", drover_last_error()); \
  } while (0)

/* What is tried: a function that puts one call into SCARCE, and what to do after a success. */
typedef struct attempt {
  const char *name;
  void (*call)(world *w);
  void (*undo)(world *w);
  bool may_cache; /* oneTBB or the graveyard of handles keep some blocks: no exact count of live ones */
} attempt;

/* Let the k-th allocation of the call fail for k = 1, 2, ...; returns how many failures there were. */
static int try_all(world *w, const attempt *a, bool keeps) {
  now_testing = a->name;
  outcome.keeps = keeps;
  int num_failed = 0;
  for (int64_t k = 1; k < 10000; k++) {
    now_at = outcome.at = k;
    const int64_t live = num_live;
    a->call(w);
    const drover_status status = outcome.status;
    if (status == DROVER_OK) {
      if (a->undo) a->undo(w);
      if (outcome.failed) continue; /* it could do without */
      return num_failed;
    }
    num_failed++;
    EXPECT(outcome.failed, "%s without a failing allocation: %s", drover_status_name(status), outcome.message);
    /* The env's and the policy's own allocations fail as what they are; everything else says memory. */
    EXPECT(status == DROVER_ERROR_NO_MEMORY || status == DROVER_ERROR_ENV || status == DROVER_ERROR_POLICY ||
               strstr(outcome.message, "memory"),
           "%s: %s", drover_status_name(status), outcome.message);
    EXPECT(a->may_cache || num_live == live, "%d blocks leaked (%s)", (int)(num_live - live), outcome.message);
    if (!outcome.failed) return num_failed;
  }
  EXPECT(false, "it never succeeds");
  return num_failed;
}

/* Both kinds of scarcity: one allocation fails, and all from one on. */
static void try_both(world *w, const attempt *a, int min_failures) {
  for (int keeps = 0; keeps <= 1; keeps++) {
    const int num_failed = try_all(w, a, keeps);
    printf("  %-24s %s: %d failures\n", a->name, keeps ? "all from one on" : "one at a time  ", num_failed);
    EXPECT(num_failed >= min_failures, "only %d failures: nothing was tested", num_failed);
  }
}

/* ---- The calls ------------------------------------------------------------------------------------------------ */

static void create_runtime(world *w) { SCARCE(drover_runtime_create(&w->runtime, &w->runtime_options)); }
static void destroy_runtime(world *w) { OK(drover_runtime_destroy(w->runtime)); }

static void create_batch(world *w) { SCARCE(toy_batch_create(&w->batch, w->runtime, &w->config, &w->batch_options)); }
static void destroy_batch(world *w) { OK(drover_batch_destroy(w->batch)); }

static void create_policy(world *w) { SCARCE(toy_policy_create(&w->policy, w->runtime, &w->toy)); }
static void destroy_policy(world *w) { OK(drover_policy_destroy(w->policy)); }

static void create_uniform(world *w) {
  drover_batch_view view = {.size = sizeof view};
  OK(drover_batch_get_view(w->batch, &view));
  SCARCE(drover_policy_create_uniform(&w->policy, w->runtime, view.spec));
}

static void create_rollout(world *w) {
  SCARCE(drover_rollout_create(&w->rollout, w->batch, w->policy, &w->rollout_options));
}
static void destroy_rollout(world *w) { OK(drover_rollout_destroy(w->rollout)); }

/* What a rollout holds agrees with itself: an episode for every row that ends one. */
static void check_rollout(drover_rollout *rollout) {
  drover_rollout_view v = {.size = sizeof v};
  uint64_t digest;
  OK(drover_rollout_get_view(rollout, &v));
  OK(drover_rollout_digest(rollout, &digest));
  int64_t num_ends = 0;
  for (int32_t i = 0; i < v.num_steps_done * v.num_envs; i++) num_ends += v.terminated[i] || v.truncated[i];
  EXPECT(outcome.status == DROVER_ERROR_NO_MEMORY || v.num_steps_done == v.num_steps, "%d steps", v.num_steps_done);
  /* Where the lists themselves had no room nothing is said to be there. */
  EXPECT(num_ends == v.num_episodes || v.num_episodes == 0, "%d rows end an episode, %d are listed", (int)num_ends,
         (int)v.num_episodes);
}

/* A collect in a new rollout, so that its lists have to grow. */
static void collect(world *w) {
  OK(drover_batch_reset(w->batch, 7));
  OK(drover_rollout_create(&w->rollout, w->batch, w->policy, &w->rollout_options));
  SCARCE(drover_rollout_collect(w->rollout));
  check_rollout(w->rollout);
  OK(drover_rollout_collect(w->rollout)); /* it works again */
  OK(drover_rollout_destroy(w->rollout));
}

static void send_and_recv(world *w) {
  int32_t ids[16], actions[16] = {0}, got;
  for (int32_t e = 0; e < 16; e++) ids[e] = e;
  OK(toy_batch_create(&w->batch, w->runtime, &w->config, &w->batch_options));
  SCARCE(drover_batch_send(w->batch, 16, ids, actions));
  if (outcome.status != DROVER_OK) OK(drover_batch_send(w->batch, 16, ids, actions));
  OK(drover_batch_recv(w->batch, 16, -1, ids, &got));
  EXPECT(got == 16, "%d envs came back", got);
  OK(drover_batch_destroy(w->batch));
}

static void step(world *w) {
  const int32_t actions[16] = {0};
  SCARCE(drover_batch_step(w->batch, actions));
}

static void draw(world *w) {
  float samples[20 * 6];
  SCARCE(drover_batch_draw_samples(w->batch, 1, 20, samples));
}

/* ---- The program ---------------------------------------------------------------------------------------------- */

static void with_workers(int32_t num_workers) {
  printf("%d workers\n", num_workers);
  world w;
  world_init(&w);
  w.runtime_options.num_workers = num_workers;
  w.runtime_options.trace_events = 10;
  w.batch_options.args = (drover_env_args){.count = 1, .items = &(drover_env_arg){"length", "1"}};
  w.rollout_options.num_steps = 60;
  const bool shared = num_workers > 1;
  OK(drover_runtime_create(&w.runtime, &w.runtime_options)); /* what is made once a process is there from now on */
  destroy_runtime(&w);
  try_both(&w, &(attempt){"create a runtime", create_runtime, destroy_runtime, shared}, 3);
  OK(drover_runtime_create(&w.runtime, &w.runtime_options));
  toy_policy_init(&w.toy, &w.config, true);
  try_both(&w, &(attempt){"create a batch", create_batch, destroy_batch, shared}, 15);
  try_both(&w, &(attempt){"create a policy", create_policy, destroy_policy, shared}, 2 + num_workers);
  OK(toy_batch_create(&w.batch, w.runtime, &w.config, &w.batch_options));
  try_both(&w, &(attempt){"create a uniform policy", create_uniform, destroy_policy, shared}, 3);
  OK(toy_policy_create(&w.policy, w.runtime, &w.toy));
  try_both(&w, &(attempt){"create a rollout", create_rollout, destroy_rollout, shared}, 10);
  try_both(&w, &(attempt){"collect", collect, NULL, true}, shared ? 1 : 5);
  try_both(&w, &(attempt){"step", step, NULL, true}, 0);
  OK(drover_batch_destroy(w.batch));
  try_both(&w, &(attempt){"send and receive", send_and_recv, NULL, true}, 4);
  OK(drover_policy_destroy(w.policy));
  EXPECT(w.config.num_creates == w.config.num_destroys, "%d envs created, %d destroyed", (int)w.config.num_creates,
         (int)w.config.num_destroys);
  EXPECT(w.config.num_opens == w.config.num_closes, "%d types opened, %d closed", (int)w.config.num_opens,
         (int)w.config.num_closes);
  EXPECT(w.toy.num_contexts == 0, "%d contexts are open", w.toy.num_contexts);
  EXPECT(w.toy.num_versions == 0, "%d versions are held", w.toy.num_versions);
  OK(drover_runtime_destroy(w.runtime));
}

/* Rows and samples of an inner loop are memory too. */
static void with_an_inner_loop(int32_t num_workers) {
  printf("%d workers, envs with an inner loop\n", num_workers);
  world w;
  world_init(&w);
  toy_init_inner(&w.config);
  w.runtime_options.num_workers = num_workers;
  w.rollout_options.num_steps = 60;
  const bool shared = num_workers > 1;
  OK(drover_runtime_create(&w.runtime, &w.runtime_options));
  toy_policy_init(&w.toy, &w.config, true);
  toy_inner_policy_init(&w.toy_inside, &w.config);
  try_both(&w, &(attempt){"create a batch", create_batch, destroy_batch, shared}, 19);
  OK(toy_batch_create(&w.batch, w.runtime, &w.config, &w.batch_options));
  OK(toy_policy_create(&w.policy, w.runtime, &w.toy));
  OK(toy_policy_create(&w.inner_policy, w.runtime, &w.toy_inside));
  OK(drover_batch_set_inner_policy(w.batch, w.inner_policy));
  try_both(&w, &(attempt){"create a rollout", create_rollout, destroy_rollout, shared}, 11);
  try_both(&w, &(attempt){"collect", collect, NULL, true}, shared ? 1 : 5);
  try_both(&w, &(attempt){"step", step, NULL, true}, 0);
  try_both(&w, &(attempt){"draw samples", draw, NULL, true}, 0);
  OK(drover_batch_destroy(w.batch));
  OK(drover_policy_destroy(w.policy));
  OK(drover_policy_destroy(w.inner_policy));
  EXPECT(w.config.num_creates == w.config.num_destroys, "%d envs created, %d destroyed", (int)w.config.num_creates,
         (int)w.config.num_destroys);
  EXPECT(w.config.num_bad_ticks == 0, "%d ticks out of their turn", (int)w.config.num_bad_ticks);
  EXPECT(w.toy_inside.num_versions == 0, "%d versions are held", w.toy_inside.num_versions);
  OK(drover_runtime_destroy(w.runtime));
}

int main(void) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  with_workers(1);
  with_workers(3);
  with_an_inner_loop(1);
  with_an_inner_loop(3);
  return num_failures > 0;
}
