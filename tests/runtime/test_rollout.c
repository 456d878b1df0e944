/* test_rollout.c: the buffers of a rollout: advantages, lists, transforms, progress, what cancelling leaves, digests.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <pthread.h>
#include <unistd.h>

#include "tests/support/model.h"
#include "tests/support/random.h"
#include "tests/support/world.h"

static drover_rollout_view view_of(drover_rollout *rollout) {
  drover_rollout_view view = {.size = sizeof view};
  OK(drover_rollout_get_view(rollout, &view));
  return view;
}

static uint64_t digest_of(drover_rollout *rollout) {
  uint64_t digest;
  OK(drover_rollout_digest(rollout, &digest));
  return digest;
}

/* Compare the world's rollout with models that have done `skip` steps before. */
static void assert_like_model(world *w, int32_t skip) {
  const drover_rollout_view view = view_of(w->rollout);
  drover_rollout_options o = w->rollout_options;
  o.num_steps = view.num_steps_done;
  model_rollout m;
  model_rollout_make(&m, &w->config, &w->batch_options, &w->toy, &o, skip);
  const char *wrong = model_rollout_differs(&m, &view);
  cr_assert_null(wrong, "%s", wrong);
  model_rollout_free(&m);
}

/* ---- Advantages
 * ---------------------------------------------------------------------------------------------------------- */

/* The advantages of what the view's buffers hold, in double, one row after the other by the textbook recursion. */
static void assert_advantages(const drover_rollout_view *v, double gamma, double lambda) {
  const int32_t n = v->num_envs, last = v->num_steps_done - 1;
  for (int32_t e = 0; e < n; e++) {
    double next = 0;
    for (int32_t t = last; t >= 0; t--) {
      const int32_t row = t * n + e;
      double follow = (double)v->values[row + n];
      for (int64_t i = 0; i < v->num_episodes; i++)
        if (v->episodes[i].step == t && v->episodes[i].env == e) follow = (double)v->final_values[i];
      if (v->terminated[row]) follow = 0;
      if (v->terminated[row] || v->truncated[row]) next = 0;
      double a = (double)v->rewards[row] + gamma * follow - (double)v->values[row] + gamma * lambda * next;
      if (!v->valid[row]) a = 0;
      cr_assert_float_eq(v->advantages[row], a, 2e-5 * (1 + fabs(a)), "step %d, env %d: %g, expected %g", t, e,
                         (double)v->advantages[row], a);
      cr_assert_float_eq(v->returns[row], a + (double)v->values[row], 2e-5 * (1 + fabs(a)), "step %d, env %d", t, e);
      next = a;
    }
  }
}

/* Ends of every kind, at the first row, at the last row and in between. */
static const toy_trouble ends[] = {
    {TOY_TERMINATE, 0, 0},        {TOY_TRUNCATE, 1, 0},   {TOY_TERMINATE, 2, 0},   {TOY_TRUNCATE, 2, 0},
    {TOY_FAIL_STEP, 3, 0},        {TOY_TERMINATE, 4, 9},  {TOY_TRUNCATE, 5, 9},    {TOY_TERMINATE, 6, 9},
    {TOY_TRUNCATE, 6, 9},         {TOY_NAN_REWARD, 7, 9}, {TOY_TERMINATE, 8, 19},  {TOY_TRUNCATE, 9, 19},
    {TOY_TERMINATE, 10, 19},      {TOY_TRUNCATE, 10, 19}, {TOY_FAIL_STEP, 11, 19}, {TOY_TERMINATE, 12, 5},
    {TOY_FAIL_RESET, 12, 1},      {TOY_NAN_RESET, 12, 2}, {TOY_TRUNCATE, 13, 5},   {TOY_TRUNCATE, 13, 6},
    {TOY_NAN_OBSERVATION, 14, 7}, {TOY_FAIL_STEP, 14, 8}, {TOY_FAIL_RESET, 15, 0}};

static void estimate(int32_t num_steps, drover_autoreset mode, float gamma, float lambda, bool random_ends) {
  for (world_way way = WORLD_FUSED; way <= WORLD_STEPPED; way++) {
    world w;
    world_init(&w);
    w.config.troubles = ends;
    w.config.num_troubles = sizeof ends / sizeof *ends;
    if (!random_ends) w.config.terminate = w.config.truncate = 0;
    w.runtime_options.num_workers = 3;
    w.batch_options.autoreset = mode;
    w.rollout_options.num_steps = num_steps;
    w.rollout_options.gamma = gamma;
    w.rollout_options.gae_lambda = lambda;
    world_set_way(&w, way);
    world_open(&w);
    world_fill(&w, way);
    const drover_rollout_view v = view_of(w.rollout);
    assert_advantages(&v, (double)gamma, (double)lambda);
    assert_like_model(&w, 0);
    world_close(&w);
  }
}

Test(rollout, advantages_of_every_kind_of_end_with_same_step_reset) {
  estimate(20, DROVER_AUTORESET_SAME_STEP, 0.99f, 0.95f, false);
}
Test(rollout, advantages_of_every_kind_of_end_with_next_step_reset) {
  estimate(20, DROVER_AUTORESET_NEXT_STEP, 0.99f, 0.95f, false);
}
Test(rollout, advantages_of_random_ends) {
  estimate(37, DROVER_AUTORESET_SAME_STEP, 0.9f, 0.8f, true);
  estimate(37, DROVER_AUTORESET_NEXT_STEP, 0.9f, 0.8f, true);
}
Test(rollout, advantages_of_one_step) { estimate(1, DROVER_AUTORESET_SAME_STEP, 0.99f, 0.95f, false); }
Test(rollout, advantages_for_the_ends_of_the_ranges_of_gamma_and_lambda) {
  const float numbers[3] = {0, 0.5f, 1};
  for (int32_t i = 0; i < 9; i++) estimate(12, DROVER_AUTORESET_SAME_STEP, numbers[i / 3], numbers[i % 3], true);
}

Test(rollout, a_terminated_and_truncated_episode_bootstraps_with_0) {
  world w;
  world_init(&w);
  w.config.troubles = ends;
  w.config.num_troubles = sizeof ends / sizeof *ends;
  w.config.terminate = w.config.truncate = 0;
  world_open(&w);
  OK(drover_rollout_collect(w.rollout));
  const drover_rollout_view v = view_of(w.rollout);
  for (int64_t i = 0; i < v.num_episodes; i++) {
    const float expected = v.episodes[i].terminated ? 0 : toy_policy_value_one(&w.toy, v.final_observations + i * 3);
    cr_assert_eq(v.final_values[i], expected, "episode %d of env %d", (int)i, v.episodes[i].env);
  }
  world_close(&w);
}

/* ---- Lists
 * --------------------------------------------------------------------------------------------------------------- */

Test(rollout, episodes_and_faults_are_a_scan_of_the_buffers_in_step_and_env_order) {
  for (int32_t shard = 0; shard <= 5; shard += 5) {
    world w;
    world_init(&w);
    w.config.troubles = ends;
    w.config.num_troubles = sizeof ends / sizeof *ends;
    w.batch_options.num_envs = 61;
    w.batch_options.shard = shard;
    w.runtime_options.num_workers = 8;
    w.config.work = 500;
    w.rollout_options.num_steps = 50;
    world_open(&w);
    OK(drover_rollout_collect(w.rollout));
    const drover_rollout_view v = view_of(w.rollout);
    int64_t episode = 0;
    double sums[61] = {0};
    int32_t lengths[61] = {0};
    for (int32_t t = 0; t < 50; t++)
      for (int32_t e = 0; e < 61; e++) {
        const int32_t row = t * 61 + e;
        sums[e] += (double)v.rewards[row];
        lengths[e] += v.valid[row];
        if (!v.terminated[row] && !v.truncated[row]) continue;
        cr_assert_lt(episode, v.num_episodes);
        const drover_episode *x = &v.episodes[episode++];
        cr_assert(x->step == t && x->env == e, "episode %d is at step %d, env %d", (int)episode - 1, x->step, x->env);
        cr_assert(x->terminated == v.terminated[row] && x->truncated == v.truncated[row] &&
                  x->faulted == !v.valid[row]);
        cr_assert_float_eq(x->episode_return, sums[e], 0);
        cr_assert_eq(x->length, lengths[e]);
        sums[e] = 0;
        lengths[e] = 0;
      }
    cr_assert_eq(episode, v.num_episodes);
    for (int64_t i = 1; i < v.num_faults; i++)
      cr_assert(v.faults[i - 1].step * 61 + v.faults[i - 1].env <= v.faults[i].step * 61 + v.faults[i].env);
    cr_assert_geq(v.num_faults, 7);
    world_close(&w);
  }
}

Test(rollout, lists_grow_when_every_step_ends_an_episode) {
  world w;
  world_init(&w);
  w.config.length = 1;
  w.batch_options.num_envs = 40;
  w.runtime_options.num_workers = 3;
  w.rollout_options.num_steps = 200;
  world_open(&w);
  for (int32_t i = 0; i < 2; i++) {
    OK(drover_rollout_collect(w.rollout));
    const drover_rollout_view v = view_of(w.rollout);
    cr_assert_eq(v.num_episodes, 200 * 40);
    for (int64_t k = 0; k < v.num_episodes; k++) {
      cr_assert(v.episodes[k].step == k / 40 && v.episodes[k].env == k % 40 && v.episodes[k].length == 1);
      cr_assert_float_eq(v.final_observations[k * 3 + 1], 1, 0);
    }
  }
  world_close(&w);
}

Test(rollout, an_episode_that_began_before_counts_whole) {
  world w;
  world_init(&w);
  w.config.terminate = w.config.truncate = 0;
  w.config.length = 30;
  world_open(&w);
  OK(drover_rollout_collect(w.rollout));
  cr_assert_eq(view_of(w.rollout).num_episodes, 0);
  double sum = 0;
  for (int32_t t = 0; t < 20; t++) sum += (double)view_of(w.rollout).rewards[t * 16];
  OK(drover_rollout_collect(w.rollout));
  const drover_rollout_view v = view_of(w.rollout);
  for (int32_t t = 0; t < 10; t++) sum += (double)v.rewards[t * 16];
  cr_assert_eq(v.num_episodes, 16);
  cr_assert(v.episodes[0].step == 9 && v.episodes[0].length == 30);
  cr_assert_float_eq(v.episodes[0].episode_return, sum, 0);
  world_close(&w);
}

/* ---- Transforms
 * ------------------------------------------------------------------------------------------------------------ */

/* What the env was given, as its info column "push" tells: a[0] + 2 a[1]. */
static void open_continuous(world *w, drover_action_transform transform) {
  world_init(w);
  toy_init_continuous(&w->config);
  w->config.num_infos = 4;
  w->rollout_options.transform = transform;
  w->runtime_options.num_workers = 3;
  world_open(w);
  OK(drover_rollout_collect(w->rollout));
}

Test(rollout, clip_gives_the_env_the_action_within_its_bounds_and_keeps_the_raw_one) {
  world w;
  open_continuous(&w, DROVER_ACTION_CLIP);
  const drover_rollout_view v = view_of(w.rollout);
  const float *u = v.actions;
  int32_t outside = 0;
  for (int32_t i = 0; i < 320; i++) {
    const double a = fmin(fmax((double)u[2 * i], -1), 1), b = fmin(fmax((double)u[2 * i + 1], 0), 3);
    cr_assert_float_eq(v.infos[4 * i + 3], v.valid[i] ? a + 2 * b : 0, 1e-6);
    outside += a != (double)u[2 * i] || b != (double)u[2 * i + 1];
  }
  cr_assert_gt(outside, 50, "the raw samples were not kept");
  cr_assert_eq(w.config.num_bad_actions, 0);
  world_close(&w);
}

Test(rollout, none_gives_the_env_the_raw_action) {
  world w;
  open_continuous(&w, DROVER_ACTION_NONE);
  const drover_rollout_view v = view_of(w.rollout);
  const float *u = v.actions;
  for (int32_t i = 0; i < 320; i++)
    cr_assert_float_eq(v.infos[4 * i + 3], v.valid[i] ? (double)u[2 * i] + 2 * (double)u[2 * i + 1] : 0, 1e-6);
  world_close(&w);
}

/* The transform by itself, for numeric derivatives. */
static double squash(double u, double low, double high) { return low + (high - low) * (tanh(u) + 1) / 2; }

Test(rollout, tanh_squashes_and_corrects_the_logprob_by_the_numeric_log_determinant) {
  world w;
  open_continuous(&w, DROVER_ACTION_TANH);
  const drover_rollout_view v = view_of(w.rollout);
  const float *u = v.actions;
  for (int32_t i = 0; i < 320; i++) {
    const int32_t env = i % 16;
    float raw[2];
    const double logprob =
        (double)toy_policy_act_one(&w.toy, 7, env, (uint64_t)(i / 16), v.observations + 3 * i, false, raw);
    cr_assert_eq(memcmp(raw, u + 2 * i, 8), 0);
    const double u0 = (double)raw[0], u1 = (double)raw[1], h = 1e-5;
    const double d0 = (squash(u0 + h, -1, 1) - squash(u0 - h, -1, 1)) / (2 * h);
    const double d1 = (squash(u1 + h, 0, 3) - squash(u1 - h, 0, 3)) / (2 * h);
    cr_assert_float_eq(v.logprobs[i], logprob - log(d0) - log(d1), 1e-4, "row %d", i);
    if (v.valid[i]) cr_assert_float_eq(v.infos[4 * i + 3], squash(u0, -1, 1) + 2 * squash(u1, 0, 3), 1e-5);
  }
  cr_assert_eq(w.config.num_bad_actions, 0);
  world_close(&w);
}

static int far_out(void *self, const void *version, void *context, const drover_policy_rows *rows) {
  (void)self, (void)version, (void)context;
  static const float far[4] = {-200, 200, -40, 40};
  for (int32_t i = 0; i < rows->count; i++) {
    ((float *)rows->actions)[2 * i] = far[(rows->first_env + i) % 4];
    ((float *)rows->actions)[2 * i + 1] = far[(rows->first_env + i + 1) % 4];
    rows->logprobs[i] = 0;
    if (rows->values) rows->values[i] = 0;
  }
  return 0;
}

Test(rollout, tanh_of_samples_far_out_stays_finite) {
  world w;
  world_init(&w);
  toy_init_continuous(&w.config);
  toy_policy_init(&w.toy, &w.config, true);
  w.toy.type.act = far_out;
  w.rollout_options.transform = DROVER_ACTION_TANH;
  world_open(&w);
  OK(drover_rollout_collect(w.rollout));
  const drover_rollout_view v = view_of(w.rollout);
  const float *u = v.actions;
  for (int32_t i = 0; i < 320; i++) {
    /* log(1 - tanh(u)^2) is log 4 - 2 |u| far out. */
    const double expected =
        -(2 * log(4) - 2 * fabs((double)u[2 * i]) - 2 * fabs((double)u[2 * i + 1]) + log(1) + log(1.5));
    cr_assert_float_eq(v.logprobs[i], expected, 1e-4 * fabs(expected), "row %d: %g, expected %g", i,
                       (double)v.logprobs[i], expected);
  }
  cr_assert_eq(w.config.num_bad_actions, 0);
  world_close(&w);
}

Test(rollout, tanh_without_finite_bounds_is_refused) {
  static const float low[2] = {-1, -INFINITY}, high[2] = {1, INFINITY};
  world w;
  world_init(&w);
  toy_init_continuous(&w.config);
  w.config.action_low = low;
  w.config.action_high = high;
  w.rollout_options.transform = DROVER_ACTION_CLIP;
  world_open(&w); /* clipping to them is fine */
  OK(drover_rollout_collect(w.rollout));
  w.rollout_options.transform = DROVER_ACTION_TANH;
  drover_rollout *second;
  cr_assert_eq(drover_rollout_create(&second, w.batch, w.policy, &w.rollout_options), DROVER_ERROR_ARGUMENT);
  cr_assert(strstr(drover_last_error(), "finite bounds") && strstr(drover_last_error(), "action 1"), "%s",
            drover_last_error());
  world_close(&w);
}

/* ---- Options
 * ---------------------------------------------------------------------------------------------------------------- */

#define REFUSE_OPTION(field, value, ...)                                                                         \
  do {                                                                                                           \
    drover_rollout_options o = w.rollout_options;                                                                \
    o.field = value;                                                                                             \
    drover_rollout *second = w.rollout;                                                                          \
    cr_assert_eq(drover_rollout_create(&second, w.batch, w.policy, &o), DROVER_ERROR_ARGUMENT);                  \
    cr_assert_null(second);                                                                                      \
    const char *const words[] = {#field, __VA_ARGS__};                                                           \
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)                                                    \
      cr_assert(strstr(drover_last_error(), words[i]), "'%s' does not say '%s'", drover_last_error(), words[i]); \
  } while (0)

Test(rollout, options_out_of_range_are_refused_by_name_range_and_value) {
  world w;
  world_init(&w);
  world_open(&w);
  REFUSE_OPTION(num_steps, 0, "1..16777216", "got 0");
  REFUSE_OPTION(num_steps, 16777217, "got 16777217");
  REFUSE_OPTION(transform, (drover_action_transform)3, "got 3");
  REFUSE_OPTION(gamma, -0.5f, "[0, 1]", "-0.5");
  REFUSE_OPTION(gamma, 1.5f, "1.5");
  REFUSE_OPTION(gamma, NAN, "nan");
  REFUSE_OPTION(gae_lambda, 7, "7");
  drover_rollout_options o = w.rollout_options;
  drover_rollout *second;
  o.size = 1;
  cr_assert_eq(drover_rollout_create(&second, w.batch, w.policy, &o), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_rollout_create(&second, w.batch, w.policy, NULL), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_rollout_create(NULL, w.batch, w.policy, &w.rollout_options), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_rollout_create(&second, NULL, w.policy, &w.rollout_options), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_rollout_create(&second, w.batch, NULL, &w.rollout_options), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_rollout_options_init(&o, 3), DROVER_ERROR_ARGUMENT);
  world_close(&w);
}

#if defined(__SANITIZE_ADDRESS__)
/* So that its malloc, too, returns NULL for what nobody has. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "allocator_may_return_null=1"; }
#endif

Test(rollout, buffers_that_no_machine_has_are_refused) {
  world w;
  world_init(&w);
  world_open(&w);
  toy_config wide;
  toy_init(&wide);
  wide.observation_size = 1048576;
  drover_batch *batch;
  drover_batch_options bo = w.batch_options;
  bo.num_envs = 2;
  OK(toy_batch_create(&batch, w.runtime, &wide, &bo));
  toy_policy self;
  drover_policy *policy;
  toy_policy_init(&self, &wide, true);
  OK(toy_policy_create(&policy, w.runtime, &self));
  drover_rollout_options o = w.rollout_options;
  o.num_steps = 16777216;
  drover_rollout *rollout;
  cr_assert_eq(drover_rollout_create(&rollout, batch, policy, &o), DROVER_ERROR_NO_MEMORY);
  cr_assert(strstr(drover_last_error(), "16777216 steps of 2 envs"), "%s", drover_last_error());
  OK(drover_policy_destroy(policy));
  OK(drover_batch_destroy(batch));
  world_close(&w);
}

Test(rollout, a_batch_without_autoreset_is_refused) {
  world w;
  world_init(&w);
  world_open(&w);
  w.batch_options.autoreset = DROVER_AUTORESET_DISABLED;
  drover_batch *batch;
  drover_rollout *rollout;
  OK(toy_batch_create(&batch, w.runtime, &w.config, &w.batch_options));
  cr_assert_eq(drover_rollout_create(&rollout, batch, w.policy, &w.rollout_options), DROVER_ERROR_ARGUMENT);
  cr_assert(strstr(drover_last_error(), "autoreset"), "%s", drover_last_error());
  OK(drover_batch_destroy(batch));
  world_close(&w);
}

Test(rollout, deterministic_asks_the_policy_for_its_mode) {
  world w;
  world_init(&w);
  w.rollout_options.deterministic = 1;
  world_open(&w);
  OK(drover_rollout_collect(w.rollout));
  assert_like_model(&w, 0);
  const float *logprobs = view_of(w.rollout).logprobs;
  for (int32_t i = 1; i < 320; i++) cr_assert_eq(logprobs[i], logprobs[0]);
  world_close(&w);
}

/* ---- Progress
 * ---------------------------------------------------------------------------------------------------------------- */

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

Test(rollout, progress_grows_and_comes_about_every_100_ms) {
  for (int32_t barrier = 0; barrier <= 1; barrier++) {
    progress_log log = {0};
    world w;
    world_init(&w);
    w.config.sleep_us = 400;
    w.batch_options.num_envs = 4;
    w.rollout_options.num_steps = 250;
    w.rollout_options.barrier = barrier;
    w.rollout_options.progress = on_progress;
    w.rollout_options.progress_user = &log;
    world_open(&w);
    OK(drover_rollout_collect(w.rollout)); /* at least 0.2 s */
    cr_assert_geq(log.count, 2);
    cr_assert_eq(log.num_wrong, 0);
    cr_assert_eq(log.latest.env_steps_total, 1000);
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

Test(rollout, progress_counts_its_own_steps_only) {
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

/* ---- Cancelling
 * ----------------------------------------------------------------------------------------------------------------- */

static void *cancel_soon(void *arg) {
  world *w = arg;
  while (w->config.num_steps < 500) usleep(100);
  drover_runtime_cancel(w->runtime);
  return NULL;
}

static void cancel(int32_t workers, int32_t barrier) {
  world w;
  world_init(&w);
  w.config.work = 3000;
  w.runtime_options.num_workers = workers;
  w.batch_options.shard = 2;
  w.rollout_options.num_steps = 100000;
  w.rollout_options.barrier = barrier;
  world_open(&w);
  pthread_t thread;
  cr_assert_eq(pthread_create(&thread, NULL, cancel_soon, &w), 0);
  cr_assert_eq(drover_rollout_collect(w.rollout), DROVER_ERROR_CANCELLED);
  pthread_join(thread, NULL);
  const drover_rollout_view v = view_of(w.rollout);
  cr_assert_lt(v.num_steps_done, 100000);
  /* What all shards completed is good, lists, values and advantages included. */
  assert_like_model(&w, 0);
  const uint64_t digest = digest_of(w.rollout);
  cr_assert_eq(digest, digest_of(w.rollout));
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

Test(rollout, a_cancelled_collect_keeps_what_all_shards_completed_and_the_batch_goes_on) {
  cancel(1, 0);
  cancel(3, 0);
  cancel(8, 0);
}

Test(rollout, a_cancelled_collect_with_barriers_too) {
  cancel(1, 1);
  cancel(3, 1);
}

Test(rollout, after_a_cancelled_collect_the_next_one_is_whole) {
  world w;
  world_init(&w);
  w.config.work = 3000;
  w.rollout_options.num_steps = 2000;
  world_open(&w);
  pthread_t thread;
  cr_assert_eq(pthread_create(&thread, NULL, cancel_soon, &w), 0);
  cr_assert_eq(drover_rollout_collect(w.rollout), DROVER_ERROR_CANCELLED);
  pthread_join(thread, NULL);
  w.config.work = 0;
  OK(drover_batch_reset(w.batch, 7));
  OK(drover_rollout_collect(w.rollout));
  cr_assert_eq(view_of(w.rollout).num_steps_done, 2000);
  world_close(&w);
}

static void *collect_forever(void *arg) {
  world *w = arg;
  cr_assert_eq(drover_rollout_collect(w->rollout), DROVER_ERROR_CANCELLED);
  return NULL;
}

Test(rollout, one_cancel_stops_every_caller, .timeout = 30) {
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
    usleep(20000); /* all three are in their calls, running or waiting */
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

Test(rollout, a_cancel_between_calls_is_forgotten) {
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

Test(rollout, a_cancel_at_any_moment_leaves_a_whole_view) {
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
    const drover_rollout_view v = view_of(w.rollout);
    if (status == DROVER_OK) cr_assert_eq(v.num_steps_done, 20);
    assert_advantages(&v, (double)0.99f, (double)0.95f);
    for (int32_t r = 0; r < (v.num_steps_done + 1) * 64; r++)
      cr_assert_eq(v.values[r], toy_policy_value_one(&w.toy, v.observations + 3 * r));
  }
  fprintf(stderr, "%d of 300 were cancelled\n", num_cancelled);
  atomic_store(&w.config.num_steps, INT64_MAX / 2);
  pthread_join(thread, NULL);
  world_close(&w);
}

/* ---- Recording
 * -------------------------------------------------------------------------------------------------------------------
 */

Test(rollout, misuse_of_begin_record_and_finish_is_refused) {
  world w;
  world_init(&w);
  w.rollout_options.num_steps = 2;
  world_open(&w);
  int32_t actions[16] = {0};
  float numbers[16] = {0};
  uint64_t digest;
  cr_assert_eq(drover_rollout_digest(w.rollout, &digest), DROVER_ERROR_STATE);
  cr_assert_eq(drover_rollout_record(w.rollout, actions, numbers, numbers), DROVER_ERROR_STATE);
  cr_assert(strstr(drover_last_error(), "drover_rollout_begin"), "%s", drover_last_error());
  cr_assert_eq(drover_rollout_finish(w.rollout), DROVER_ERROR_STATE);
  OK(drover_rollout_begin(w.rollout));
  cr_assert_eq(drover_rollout_finish(w.rollout), DROVER_ERROR_STATE);
  cr_assert_eq(drover_rollout_digest(w.rollout, &digest), DROVER_ERROR_STATE);
  OK(drover_batch_step(w.batch, actions));
  cr_assert_eq(drover_rollout_record(w.rollout, NULL, numbers, numbers), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_rollout_record(w.rollout, actions, numbers, NULL), DROVER_ERROR_ARGUMENT);
  cr_assert(strstr(drover_last_error(), "values"), "%s", drover_last_error());
  OK(drover_rollout_record(w.rollout, actions, NULL, numbers));
  OK(drover_batch_step(w.batch, actions));
  OK(drover_rollout_record(w.rollout, actions, numbers, numbers));
  cr_assert_eq(drover_rollout_record(w.rollout, actions, numbers, numbers), DROVER_ERROR_STATE);
  cr_assert(strstr(drover_last_error(), "all 2 steps") && strstr(drover_last_error(), "drover_rollout_finish"), "%s",
            drover_last_error());
  OK(drover_rollout_finish(w.rollout));
  cr_assert_eq(drover_rollout_finish(w.rollout), DROVER_ERROR_STATE);
  OK(drover_rollout_digest(w.rollout, &digest));
  cr_assert_eq(drover_rollout_digest(w.rollout, NULL), DROVER_ERROR_ARGUMENT);
  drover_rollout_view small = {.size = 8};
  cr_assert_eq(drover_rollout_get_view(w.rollout, &small), DROVER_ERROR_ARGUMENT);
  world_close(&w);
}

Test(rollout, finishing_early_gives_the_steps_that_were_recorded) {
  world w;
  world_init(&w);
  world_open(&w);
  int32_t actions[16];
  float logprobs[16], values[16];
  OK(drover_rollout_begin(w.rollout));
  for (int32_t t = 0; t < 13; t++) {
    OK(drover_policy_act(w.policy, w.batch, 0, actions, logprobs, values));
    OK(drover_batch_step(w.batch, actions));
    OK(drover_rollout_record(w.rollout, actions, logprobs, values));
  }
  OK(drover_rollout_finish(w.rollout));
  cr_assert_eq(view_of(w.rollout).num_steps_done, 13);
  assert_like_model(&w, 0);
  world_close(&w);
}

Test(rollout, collect_after_begin_starts_over) {
  world w;
  world_init(&w);
  world_open(&w);
  int32_t actions[16] = {1};
  float zeros[16] = {0};
  OK(drover_rollout_begin(w.rollout));
  OK(drover_batch_step(w.batch, actions));
  OK(drover_rollout_record(w.rollout, actions, zeros, zeros));
  OK(drover_batch_reset(w.batch, 7));
  OK(drover_rollout_collect(w.rollout));
  assert_like_model(&w, 0);
  world_close(&w);
}

Test(rollout, collects_go_on_where_steps_and_collects_ended) {
  world w;
  world_init(&w);
  w.runtime_options.num_workers = 3;
  world_open(&w);
  OK(drover_rollout_collect(w.rollout));
  OK(drover_rollout_collect(w.rollout));
  assert_like_model(&w, 20);
  int32_t actions[16];
  for (int32_t t = 0; t < 5; t++) {
    OK(drover_policy_act(w.policy, w.batch, 0, actions, NULL, NULL));
    OK(drover_batch_step(w.batch, actions));
  }
  OK(drover_rollout_collect(w.rollout));
  assert_like_model(&w, 45);
  world_close(&w);
}

Test(rollout, two_rollouts_of_one_batch_take_turns) {
  world w;
  world_init(&w);
  world_open(&w);
  drover_rollout *second, *first = w.rollout;
  OK(drover_rollout_create(&second, w.batch, w.policy, &w.rollout_options));
  OK(drover_rollout_collect(first));
  OK(drover_rollout_collect(second));
  assert_like_model(&w, 0);
  w.rollout = second;
  assert_like_model(&w, 20);
  OK(drover_rollout_destroy(first));
  world_close(&w);
}

/* ---- Digests
 * ---------------------------------------------------------------------------------------------------------------------
 */

/* A flipped bit anywhere in a buffer gives another digest. */
static void flip(drover_rollout *rollout, const void *buffer, size_t bytes, uint64_t before, const char *what) {
  const size_t places[] = {0, bytes / 2, bytes - 1};
  for (size_t i = 0; i < 3; i++) {
    unsigned char *byte = (unsigned char *)(uintptr_t)buffer + places[i];
    *byte ^= 1;
    cr_assert_neq(digest_of(rollout), before, "%s is not in the digest", what);
    *byte ^= 1;
  }
  cr_assert_eq(digest_of(rollout), before);
}

Test(rollout, the_digest_changes_with_any_buffer) {
  world w;
  world_init(&w);
  w.config.troubles = ends;
  w.config.num_troubles = sizeof ends / sizeof *ends;
  world_open(&w);
  OK(drover_rollout_collect(w.rollout));
  const drover_rollout_view v = view_of(w.rollout);
  const uint64_t digest = digest_of(w.rollout);
  const size_t rows = 320, n = 16;
  flip(w.rollout, v.observations, (rows + n) * 12, digest, "observations");
  flip(w.rollout, v.actions, rows * 4, digest, "actions");
  flip(w.rollout, v.logprobs, rows * 4, digest, "logprobs");
  flip(w.rollout, v.values, (rows + n) * 4, digest, "values");
  flip(w.rollout, v.rewards, rows * 4, digest, "rewards");
  flip(w.rollout, v.terminated, rows, digest, "terminated");
  flip(w.rollout, v.truncated, rows, digest, "truncated");
  flip(w.rollout, v.valid, rows, digest, "valid");
  flip(w.rollout, v.infos, rows * 8, digest, "infos");
  flip(w.rollout, v.advantages, rows * 4, digest, "advantages");
  flip(w.rollout, v.returns, rows * 4, digest, "returns");
  flip(w.rollout, v.final_observations, (size_t)v.num_episodes * 12, digest, "final_observations");
  flip(w.rollout, v.final_values, (size_t)v.num_episodes * 4, digest, "final_values");
  const drover_episode *e = &v.episodes[v.num_episodes - 1];
  flip(w.rollout, &e->step, 4, digest, "episode.step");
  flip(w.rollout, &e->env, 4, digest, "episode.env");
  flip(w.rollout, &e->episode_return, 8, digest, "episode.episode_return");
  flip(w.rollout, &e->length, 4, digest, "episode.length");
  flip(w.rollout, &e->terminated, 1, digest, "episode.terminated");
  flip(w.rollout, &e->truncated, 1, digest, "episode.truncated");
  flip(w.rollout, &e->faulted, 1, digest, "episode.faulted");
  const drover_fault *f = &v.faults[v.num_faults - 1];
  flip(w.rollout, &f->step, 4, digest, "fault.step");
  flip(w.rollout, &f->env, 4, digest, "fault.env");
  flip(w.rollout, &f->reason, 4, digest, "fault.reason");
  world_close(&w);
}

Test(rollout, the_digest_knows_shapes) {
  /* 8 envs for 40 steps and 16 for 20, without any difference that numbers of the buffers' bytes could show. */
  uint64_t digests[2];
  for (int32_t i = 0; i < 2; i++) {
    world w;
    world_init(&w);
    w.batch_options.num_envs = i ? 8 : 16;
    w.rollout_options.num_steps = i ? 40 : 20;
    w.has_values = false;
    w.config.num_infos = 0;
    world_open(&w);
    OK(drover_rollout_collect(w.rollout));
    const drover_rollout_view v = view_of(w.rollout);
    memset(v.observations, 0, 12 * (size_t)(v.num_steps + 1) * (size_t)v.num_envs);
    memset(v.actions, 0, 320 * 4);
    memset(v.logprobs, 0, 320 * 4);
    memset(v.rewards, 0, 320 * 4);
    memset(v.terminated, 0, 320);
    memset(v.truncated, 0, 320);
    memset(v.valid, 0, 320);
    digests[i] = digest_of(w.rollout);
    world_close(&w);
  }
  cr_assert_neq(digests[0], digests[1]);
}

Test(rollout, buffers_begin_on_cache_lines_and_stay_where_they_are) {
  world w;
  world_init(&w);
  world_open(&w);
  OK(drover_rollout_collect(w.rollout));
  const drover_rollout_view a = view_of(w.rollout);
  OK(drover_rollout_collect(w.rollout));
  const drover_rollout_view b = view_of(w.rollout);
  cr_assert(a.observations == b.observations && a.advantages == b.advantages && a.valid == b.valid);
  cr_assert_eq((uintptr_t)a.observations % 64 + (uintptr_t)a.actions % 64 + (uintptr_t)a.rewards % 64, 0);
  world_close(&w);
}
