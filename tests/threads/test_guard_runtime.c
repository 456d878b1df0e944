/* test_guard_runtime.c: the guard in the runtime: envs that open OpenMP regions get one thread each in every worker,
 * host threads keep theirs, and the process's number of threads stands still. */
#include <drover/drover.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>

#include "runtime/threads/census.h"
#include "tests/threads/loaded.h"

enum { NUM_ENVS = 32, NUM_STEPS = 50, NUM_WORKERS = 2 };

/* ---- An env whose step opens two regions and is paid by the number of threads that they got ---------------------- */

static int_int_call region_threads; /* NULL: the env does nothing but count */

static int region_open(const drover_env_args *args, drover_env_spec *spec, void **shared, char *message,
                       size_t message_size) {
  (void)args, (void)shared, (void)message, (void)message_size;
  static const float low[1] = {-1.0f}, high[1] = {1.0f};
  spec->observation_size = 8;
  spec->action_kind = DROVER_ACTION_CONTINUOUS;
  spec->action_size = 1;
  spec->action_low = low;
  spec->action_high = high;
  spec->state_size = 16;
  return 0;
}

static int region_reset(void *shared, void *state, const drover_env_rows *rows) {
  (void)shared, (void)state;
  memset(rows->observations, 0, 8 * sizeof *rows->observations);
  return 0;
}

static int region_step(void *shared, void *state, const drover_env_rows *rows) {
  const int threads = region_threads == NULL ? 2 : region_threads(0) + region_threads(4);
  rows->rewards[0] = (float)threads; /* 2: one thread in each region */
  return region_reset(shared, state, rows);
}

static const drover_env_type region_type = {
    .abi_version = DROVER_ENV_ABI_VERSION,
    .size = sizeof(drover_env_type),
    .name = "Region",
    .summary = "opens OpenMP regions",
    .open = region_open,
    .reset = region_reset,
    .step = region_step,
};

typedef struct scene {
  drover_runtime *runtime;
  drover_batch *batch;
  drover_policy *policy;
  drover_rollout *rollout;
} scene;

static bool make_runtime(scene *s) {
  drover_runtime_options options;
  if (drover_runtime_options_init(&options, sizeof options) != DROVER_OK) return false;
  options.num_workers = NUM_WORKERS;
  return drover_runtime_create(&s->runtime, &options) == DROVER_OK;
}

static bool make_rollout(scene *s) {
  drover_batch_options batch;
  drover_mlp_options mlp;
  drover_rollout_options rollout;
  drover_batch_view view = {.size = sizeof view};
  if (drover_batch_options_init(&batch, sizeof batch) != DROVER_OK) return false;
  batch.num_envs = NUM_ENVS;
  if (drover_batch_create(&s->batch, s->runtime, &region_type, &batch) != DROVER_OK ||
      drover_batch_get_view(s->batch, &view) != DROVER_OK || drover_mlp_options_init(&mlp, sizeof mlp) != DROVER_OK ||
      drover_mlp_options_fit(&mlp, view.spec) != DROVER_OK)
    return false;
  mlp.num_hidden = 2;
  mlp.hidden[0] = mlp.hidden[1] = 256;
  if (drover_policy_create_mlp(&s->policy, s->runtime, &mlp) != DROVER_OK ||
      drover_rollout_options_init(&rollout, sizeof rollout) != DROVER_OK)
    return false;
  rollout.num_steps = NUM_STEPS;
  return drover_rollout_create(&s->rollout, s->batch, s->policy, &rollout) == DROVER_OK;
}

static void end(scene *s) {
  drover_rollout_destroy(s->rollout);
  drover_policy_destroy(s->policy);
  drover_batch_destroy(s->batch);
  drover_runtime_destroy(s->runtime);
}

static void load_region(void) {
#ifndef HAS_LIBGOMP
  cr_skip_test("the tests were not compiled by GCC, whose OpenMP runtime this needs");
#endif
  void *found = symbol(load("libregion_gomp.so"), "region_threads");
  memcpy(&region_threads, &found, sizeof region_threads);
}

typedef struct host_thread {
  atomic_int stop, num_regions, num_disturbed;
} host_thread;

static void *host_main(void *user) {
  host_thread *host = user;
  while (!host->stop) {
    if (region_threads(2) != 2) host->num_disturbed++;
    host->num_regions++;
  }
  return NULL;
}

/* Rollouts while a host thread runs regions of two threads. */
static void run_beside_a_host(scene *s) {
  host_thread host = {.stop = 0};
  pthread_t thread;
  cr_assert(pthread_create(&thread, NULL, host_main, &host) == 0);
  for (int round = 0; round < 5; round++) {
    drover_rollout_view view = {.size = sizeof view};
    cr_assert(eq(int, drover_rollout_collect(s->rollout), DROVER_OK), "%s", drover_last_error());
    cr_assert(eq(int, drover_rollout_get_view(s->rollout, &view), DROVER_OK));
    int num_wide = 0;
    for (int i = 0; i < NUM_ENVS * NUM_STEPS; i++) num_wide += view.rewards[i] != 2.0f;
    cr_expect(eq(int, num_wide, 0), "of %d steps had a region with more than one thread", NUM_ENVS * NUM_STEPS);
    cr_expect(eq(int, region_threads(2), 2), "the caller's own regions, between rollouts");
  }
  host.stop = 1;
  pthread_join(thread, NULL);
  cr_expect(host.num_regions > 0);
  cr_expect(eq(int, host.num_disturbed, 0), "of %d regions of the host's thread", host.num_regions);
}

Test(guard_runtime, library_loaded_before_the_runtime) {
  scene s = {NULL, NULL, NULL, NULL};
  load_region();
  cr_assert(make_runtime(&s) && make_rollout(&s), "%s", drover_last_error());
  run_beside_a_host(&s);
  end(&s);
}

Test(guard_runtime, library_loaded_after_the_rollout_was_made) {
  scene s = {NULL, NULL, NULL, NULL};
  cr_assert(make_runtime(&s) && make_rollout(&s), "%s", drover_last_error());
  cr_assert(eq(int, drover_rollout_collect(s.rollout), DROVER_OK), "%s", drover_last_error());
  load_region();
  run_beside_a_host(&s);
  end(&s);
}

Test(guard_runtime, step_by_step_too) {
  scene s = {NULL, NULL, NULL, NULL};
  load_region();
  cr_assert(make_runtime(&s) && make_rollout(&s), "%s", drover_last_error());
  for (int i = 0; i < 20; i++) {
    float actions[NUM_ENVS] = {0};
    drover_batch_view view = {.size = sizeof view};
    cr_assert(eq(int, drover_batch_step(s.batch, actions), DROVER_OK));
    cr_assert(eq(int, drover_batch_get_view(s.batch, &view), DROVER_OK));
    for (int e = 0; e < NUM_ENVS; e++) cr_expect(view.rewards[e] == 2.0f, "%g threads in two regions", view.rewards[e]);
  }
  end(&s);
}

/* ---- The number of threads, from outside ------------------------------------------------------------------------- */

static double now_s(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* A training program: rollouts, and a learner's phase of matrix products in the same arena, in turns. Says 'b' when it
 * is warm, and ends when the other end of `in` is closed. */
static int train(int out, int in) {
  static float actions[NUM_ENVS], logprobs[NUM_ENVS], values[NUM_ENVS];
  scene s = {NULL, NULL, NULL, NULL};
  if (!make_runtime(&s) || !make_rollout(&s)) return 1;
  bool good = true, is_warm = false;
  struct pollfd closed = {.fd = in, .events = POLLIN};
  for (double begin = now_s(); good && poll(&closed, 1, 0) == 0;) {
    good = drover_rollout_collect(s.rollout) == DROVER_OK;
    for (int i = 0; i < 50 && good; i++)
      good = drover_policy_act(s.policy, s.batch, 0, actions, logprobs, values) == DROVER_OK;
    /* On a busy machine a thread may come late. One too many is for the parent to see. */
    if (is_warm || (count_threads() < NUM_WORKERS && now_s() - begin < 20)) continue;
    is_warm = write(out, "b", 1) == 1;
    good = good && is_warm;
  }
  end(&s);
  return good ? 0 : 1;
}

static void expect_constant(void) {
  enum { NUM_SAMPLES = 150 };
  int up[2], down[2];
  cr_assert(pipe(up) == 0 && pipe(down) == 0);
  const pid_t pid = fork();
  if (pid == 0) {
    close(down[1]);
    _exit(train(up[1], down[0]));
  }
  char said = 0;
  close(up[1]);
  close(down[0]);
  cr_assert(read(up[0], &said, 1) == 1 && said == 'b', "the child could not begin");
  dr_census census = {0, 0, NULL};
  size_t most = 0, least = 1000;
  for (int i = 0; i < NUM_SAMPLES; i++) {
    cr_assert(eq(int, dr_census_take(NULL, pid, false, &census), DROVER_OK));
    if (census.count > most) most = census.count;
    if (census.count < least) least = census.count;
    usleep(10000);
  }
  close(down[1]);
  int code = 1;
  waitpid(pid, &code, 0);
  cr_expect(eq(int, code, 0));
  cr_expect(eq(sz, most, least), "the number of threads moved in %d samples", NUM_SAMPLES);
  cr_expect(eq(sz, most, NUM_WORKERS));
  dr_census_free(&census);
}

Test(guard_runtime, the_number_of_threads_is_constant) { expect_constant(); }

Test(guard_runtime, the_number_of_threads_is_constant_with_openmp_inside_steps) {
  load_region();
  expect_constant();
}
