/* test_rollout.c: what a rollout is asked for and gives: options, action transforms, recording, buffers, digests. */
#include <criterion/criterion.h>
#include <math.h>

#include "tests/support/ends.h"
#include "tests/support/world.h"

static void assert_like_model(const world *w, int32_t skip) {
  const char *wrong = world_differs_from_model(w, skip);
  cr_assert_null(wrong, "%s", wrong);
}

/* ---- Transforms ----------------------------------------------------------------------------------------------- */

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
  const drover_rollout_view v = rollout_view(w.rollout);
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
  const drover_rollout_view v = rollout_view(w.rollout);
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
  const drover_rollout_view v = rollout_view(w.rollout);
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
  const drover_rollout_view v = rollout_view(w.rollout);
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

/* ---- Options -------------------------------------------------------------------------------------------------- */

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
  const float *logprobs = rollout_view(w.rollout).logprobs;
  for (int32_t i = 1; i < 320; i++) cr_assert_eq(logprobs[i], logprobs[0]);
  world_close(&w);
}

/* ---- Recording ------------------------------------------------------------------------------------------------ */

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
  cr_assert_eq(rollout_view(w.rollout).num_steps_done, 13);
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

/* ---- Digests -------------------------------------------------------------------------------------------------- */

/* A flipped bit anywhere in a buffer gives another digest. */
static void flip(drover_rollout *rollout, const void *buffer, size_t bytes, uint64_t before, const char *what) {
  const size_t places[] = {0, bytes / 2, bytes - 1};
  for (size_t i = 0; i < 3; i++) {
    unsigned char *byte = (unsigned char *)(uintptr_t)buffer + places[i];
    *byte ^= 1;
    cr_assert_neq(rollout_digest(rollout), before, "%s is not in the digest", what);
    *byte ^= 1;
  }
  cr_assert_eq(rollout_digest(rollout), before);
}

Test(rollout, the_digest_changes_with_any_buffer) {
  world w;
  world_init(&w);
  w.config.troubles = ends;
  w.config.num_troubles = sizeof ends / sizeof *ends;
  world_open(&w);
  OK(drover_rollout_collect(w.rollout));
  const drover_rollout_view v = rollout_view(w.rollout);
  const uint64_t digest = rollout_digest(w.rollout);
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
    const drover_rollout_view v = rollout_view(w.rollout);
    memset(v.observations, 0, 12 * (size_t)(v.num_steps + 1) * (size_t)v.num_envs);
    memset(v.actions, 0, 320 * 4);
    memset(v.logprobs, 0, 320 * 4);
    memset(v.rewards, 0, 320 * 4);
    memset(v.terminated, 0, 320);
    memset(v.truncated, 0, 320);
    memset(v.valid, 0, 320);
    digests[i] = rollout_digest(w.rollout);
    world_close(&w);
  }
  cr_assert_neq(digests[0], digests[1]);
}

Test(rollout, buffers_begin_on_cache_lines_and_stay_where_they_are) {
  world w;
  world_init(&w);
  world_open(&w);
  OK(drover_rollout_collect(w.rollout));
  const drover_rollout_view a = rollout_view(w.rollout);
  OK(drover_rollout_collect(w.rollout));
  const drover_rollout_view b = rollout_view(w.rollout);
  cr_assert(a.observations == b.observations && a.advantages == b.advantages && a.valid == b.valid);
  cr_assert_eq((uintptr_t)a.observations % 64 + (uintptr_t)a.actions % 64 + (uintptr_t)a.rewards % 64, 0);
  world_close(&w);
}
