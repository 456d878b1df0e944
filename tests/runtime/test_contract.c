/* test_contract.c: one seed, one trajectory: the bytes of a rollout do not depend on how it was computed. */
#include <criterion/criterion.h>
#include <fenv.h>
#include <pthread.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "tests/support/meeting.h"
#include "tests/support/model.h"
#include "tests/support/random.h"
#include "tests/support/world.h"

/* Trouble of every kind, so that faults are part of what has to agree. */
static const toy_trouble troubles[] = {
    {TOY_FAIL_STEP, 3, 4},   {TOY_NAN_OBSERVATION, 5, 7}, {TOY_INF_OBSERVATION, 9, 2}, {TOY_NAN_REWARD, 0, 11},
    {TOY_INF_REWARD, 12, 0}, {TOY_FAIL_RESET, 2, 1},      {TOY_FAIL_RESET, 2, 2},      {TOY_NAN_RESET, 14, 0},
    {TOY_TERMINATE, 2, 5},   {TOY_TRUNCATE, 2, 5},        {TOY_FAIL_STEP, 15, 19},     {TOY_TERMINATE, 7, 19}};

static void give_trouble(world *w) {
  w->config.troubles = troubles;
  w->config.num_troubles = sizeof troubles / sizeof *troubles;
}

/* What the default world's rollout is with one worker: what everything else is compared with. */
static world_bytes reference(drover_autoreset autoreset, uint64_t *digest) {
  world w;
  world_init(&w);
  give_trouble(&w);
  w.runtime_options.num_workers = 1;
  w.batch_options.autoreset = autoreset;
  return world_run(&w, WORLD_FUSED, digest, NULL);
}

/* Run this world and compare it with the reference. */
static void assert_same_as_reference(world *w, world_way way, int32_t min_joined, const char *what, int32_t number) {
  give_trouble(w);
  uint64_t want, got;
  int32_t num_joined;
  meeting m;
  if (min_joined > 1) {
    meeting_init(&m, min_joined);
    w->config.probe = meet;
    w->config.probe_user = &m;
  }
  const world_bytes expected = reference(w->batch_options.autoreset, &want);
  const world_bytes bytes = world_run(w, way, &got, &num_joined);
  cr_assert(world_same(expected, bytes), "%s %d gives other bytes", what, number);
  cr_assert_eq(want, got, "%s %d gives another digest", what, number);
  cr_assert_geq(num_joined, min_joined, "%s %d: only %d workers joined", what, number, num_joined);
  cr_assert_eq(w->config.num_overlaps, 0);
  cr_assert_eq(w->config.num_dirty_rows, 0);
  cr_assert_eq(w->config.num_bad_actions, 0);
  cr_assert_eq(w->toy.num_overlaps, 0);
  free(expected.data);
  free(bytes.data);
}

/* ---- Against a model that knows nothing of workers ------------------------------------------------------------ */

static void assert_like_model(world *w, world_way way) {
  give_trouble(w);
  world_set_way(w, way);
  world_open(w);
  world_fill(w, way);
  model_rollout m;
  model_rollout_make(&m, &w->config, &w->batch_options, &w->toy, &w->rollout_options, 0);
  drover_rollout_view view = {.size = sizeof view};
  OK(drover_rollout_get_view(w->rollout, &view));
  const char *wrong = model_rollout_differs(&m, &view);
  cr_assert(wrong == NULL, "%s", wrong);
  cr_assert_gt(m.num_episodes, 5, "too few episodes to say anything");
  cr_assert_geq(m.num_faults, 7);
  model_rollout_free(&m);
  world_close(w);
}

Test(contract, a_rollout_is_what_a_serial_loop_over_the_envs_gives) {
  for (world_way way = WORLD_FUSED; way <= WORLD_STEPPED; way++)
    for (drover_autoreset mode = DROVER_AUTORESET_SAME_STEP; mode <= DROVER_AUTORESET_NEXT_STEP; mode++)
      for (int32_t workers = 1; workers <= 8; workers += 7) {
        world w;
        world_init(&w);
        w.batch_options.autoreset = mode;
        w.runtime_options.num_workers = workers;
        assert_like_model(&w, way);
      }
}

Test(contract, a_continuous_rollout_is_what_a_serial_loop_gives) {
  for (int32_t transform = DROVER_ACTION_CLIP; transform <= DROVER_ACTION_NONE; transform += DROVER_ACTION_NONE) {
    world w;
    world_init(&w);
    toy_init_continuous(&w.config);
    w.runtime_options.num_workers = 3;
    w.rollout_options.transform = (drover_action_transform)transform;
    assert_like_model(&w, WORLD_FUSED);
    if (transform == DROVER_ACTION_CLIP) cr_assert_eq(w.config.num_bad_actions, 0);
    if (transform == DROVER_ACTION_NONE)
      cr_assert_gt(w.config.num_bad_actions, 0, "the raw actions never left the bounds");
  }
}

Test(contract, a_rollout_without_values_or_infos_is_what_a_serial_loop_gives) {
  world w;
  world_init(&w);
  w.has_values = false;
  w.config.num_infos = 0;
  w.config.observation_size = 7;
  w.runtime_options.num_workers = 3;
  assert_like_model(&w, WORLD_FUSED);
}

/* ---- How it is computed --------------------------------------------------------------------------------------- */

Test(contract, rollout_is_identical_for_any_number_of_workers) {
  const int32_t workers[] = {2, 3, 8};
  for (size_t i = 0; i < 3; i++) {
    world w;
    world_init(&w);
    w.config.sleep_us = 100;
    w.runtime_options.num_workers = workers[i];
    assert_same_as_reference(&w, WORLD_FUSED, workers[i] < 4 ? workers[i] : 4, "workers", workers[i]);
  }
}

Test(contract, rollout_is_identical_for_any_shard) {
  const int32_t shards[] = {0, 1, 3, 15, 16, 1000};
  for (size_t i = 0; i < 6; i++)
    for (int32_t workers = 1; workers <= 3; workers += 2) {
      world w;
      world_init(&w);
      w.batch_options.shard = shards[i];
      w.runtime_options.num_workers = workers;
      assert_same_as_reference(&w, WORLD_FUSED, 1, "shard", shards[i]);
    }
}

Test(contract, rollout_is_identical_for_any_chunk) {
  const int32_t chunks[] = {0, 1, 5, 1000};
  for (size_t i = 0; i < 4; i++)
    for (int32_t workers = 1; workers <= 8; workers += 7) {
      world w;
      world_init(&w);
      w.batch_options.chunk = chunks[i];
      w.batch_options.shard = 16;
      w.config.work = 2000;
      w.runtime_options.num_workers = workers;
      assert_same_as_reference(&w, WORLD_FUSED, 1, "chunk", chunks[i]);
    }
}

Test(contract, rollout_is_identical_for_scalar_step_and_step_many) {
  for (int32_t scalar = 0; scalar <= 1; scalar++) {
    world w;
    world_init(&w);
    w.batch_options.scalar = scalar;
    w.config.lanes = 4;
    assert_same_as_reference(&w, WORLD_FUSED, 1, "scalar", scalar);
    cr_assert(scalar ? w.config.num_joint_steps == 0 : w.config.num_joint_steps > 0);
  }
}

Test(contract, rollout_is_identical_fused_or_with_barriers_or_driven_by_step) {
  for (world_way way = WORLD_FUSED; way <= WORLD_STEPPED; way++)
    for (drover_autoreset mode = DROVER_AUTORESET_SAME_STEP; mode <= DROVER_AUTORESET_NEXT_STEP; mode++)
      for (int32_t workers = 1; workers <= 3; workers += 2) {
        world w;
        world_init(&w);
        w.batch_options.autoreset = mode;
        w.runtime_options.num_workers = workers;
        w.config.work = 1000;
        assert_same_as_reference(&w, way, 1, "way", (int32_t)way);
      }
}

Test(contract, rollout_is_identical_driven_by_step_on_slow_envs_that_many_workers_share) {
  world w;
  world_init(&w);
  w.runtime_options.num_workers = 8;
  w.config.sleep_us = 100;
  assert_same_as_reference(&w, WORLD_STEPPED, 3, "way", WORLD_STEPPED);
}

Test(contract, rollout_is_identical_for_random_settings) {
  uint64_t seed = test_seed();
  for (int32_t i = 0; i < 25; i++) {
    world w;
    world_init(&w);
    w.batch_options.autoreset = (drover_autoreset)test_range(&seed, 0, 1);
    w.batch_options.shard = test_range(&seed, 0, 20);
    w.batch_options.chunk = test_range(&seed, 0, 20);
    w.batch_options.scalar = test_range(&seed, 0, 1);
    w.config.lanes = test_range(&seed, 0, 8);
    w.config.work = test_range(&seed, 0, 1) * 3000;
    w.config.sleep_us = test_range(&seed, 0, 3) == 0 ? 50 : 0;
    w.config.slow_every = test_range(&seed, 0, 5);
    w.runtime_options.num_workers = test_range(&seed, 1, 8);
    assert_same_as_reference(&w, (world_way)test_range(&seed, 0, 2), 1, "random setting", i);
  }
}

/* ---- What it is part of --------------------------------------------------------------------------------------- */

Test(contract, another_seed_gives_other_bytes) {
  uint64_t a, b;
  world w;
  world_init(&w);
  const world_bytes first = world_run(&w, WORLD_FUSED, &a, NULL);
  world_init(&w);
  w.batch_options.seed++;
  const world_bytes second = world_run(&w, WORLD_FUSED, &b, NULL);
  cr_assert(!world_same(first, second));
  cr_assert_neq(a, b);
  free(first.data);
  free(second.data);
}

/* Rows row_bytes wide: does `part` hold the same as `whole` from step `first` on? */
static bool same_rows(const void *whole, const void *part, size_t row_bytes, int32_t n, int32_t first, int32_t count) {
  return memcmp((const char *)whole + (size_t)first * (size_t)n * row_bytes, part,
                (size_t)count * (size_t)n * row_bytes) == 0;
}

Test(contract, two_collects_of_T_give_the_bytes_of_one_of_2T) {
  enum { T = 15, N = 16 };
  for (drover_autoreset mode = DROVER_AUTORESET_SAME_STEP; mode <= DROVER_AUTORESET_NEXT_STEP; mode++) {
    world one, two;
    world_init(&one);
    world_init(&two);
    give_trouble(&one);
    give_trouble(&two);
    one.batch_options.autoreset = two.batch_options.autoreset = mode;
    one.rollout_options.num_steps = 2 * T;
    two.rollout_options.num_steps = T;
    two.runtime_options.num_workers = 3;
    world_open(&one);
    world_open(&two);
    OK(drover_rollout_collect(one.rollout));
    drover_rollout_view a = {.size = sizeof a}, b = {.size = sizeof b};
    OK(drover_rollout_get_view(one.rollout, &a));
    int64_t episode = 0, fault = 0;
    for (int32_t half = 0; half < 2; half++) {
      OK(drover_rollout_collect(two.rollout));
      OK(drover_rollout_get_view(two.rollout, &b));
      const int32_t from = half * T;
      cr_assert(same_rows(a.observations, b.observations, 12, N, from, T + 1));
      cr_assert(same_rows(a.actions, b.actions, 4, N, from, T));
      cr_assert(same_rows(a.logprobs, b.logprobs, 4, N, from, T));
      cr_assert(same_rows(a.values, b.values, 4, N, from, T + 1));
      cr_assert(same_rows(a.rewards, b.rewards, 4, N, from, T));
      cr_assert(same_rows(a.terminated, b.terminated, 1, N, from, T));
      cr_assert(same_rows(a.truncated, b.truncated, 1, N, from, T));
      cr_assert(same_rows(a.valid, b.valid, 1, N, from, T));
      cr_assert(same_rows(a.infos, b.infos, 8, N, from, T));
      if (half == 1) cr_assert(same_rows(a.advantages, b.advantages, 4, N, from, T));
      for (int64_t i = 0; i < b.num_episodes; i++, episode++) {
        drover_episode e = b.episodes[i];
        e.step += from;
        cr_assert_eq(memcmp(&e, &a.episodes[episode], sizeof e), 0, "episode %d", (int)episode);
        cr_assert_eq(memcmp(a.final_observations + episode * 3, b.final_observations + i * 3, 12), 0);
        cr_assert_eq(memcmp(a.final_values + episode, b.final_values + i, 4), 0);
      }
      for (int64_t i = 0; i < b.num_faults; i++, fault++) {
        cr_assert_eq(b.faults[i].step + from, a.faults[fault].step);
        cr_assert_eq(b.faults[i].env, a.faults[fault].env);
        cr_assert_eq(b.faults[i].reason, a.faults[fault].reason);
      }
    }
    cr_assert_eq(episode, a.num_episodes);
    cr_assert_eq(fault, a.num_faults);
    world_close(&one);
    world_close(&two);
  }
}

Test(contract, advantages_of_an_episode_that_ends_in_the_first_half_do_not_depend_on_T) {
  enum { N = 16 };
  world a, b;
  world_init(&a);
  world_init(&b);
  b.rollout_options.num_steps = 2 * a.rollout_options.num_steps;
  world_open(&a);
  world_open(&b);
  OK(drover_rollout_collect(a.rollout));
  OK(drover_rollout_collect(b.rollout));
  drover_rollout_view va = {.size = sizeof va}, vb = {.size = sizeof vb};
  OK(drover_rollout_get_view(a.rollout, &va));
  OK(drover_rollout_get_view(b.rollout, &vb));
  int32_t last_end[N];
  for (int32_t e = 0; e < N; e++) last_end[e] = -1;
  for (int64_t i = 0; i < va.num_episodes; i++) last_end[va.episodes[i].env] = va.episodes[i].step;
  int32_t compared = 0;
  for (int32_t e = 0; e < N; e++)
    for (int32_t t = 0; t <= last_end[e]; t++, compared++)
      cr_assert_eq(memcmp(&va.advantages[t * N + e], &vb.advantages[t * N + e], 4), 0, "step %d, env %d", t, e);
  cr_assert_gt(compared, 50);
  world_close(&a);
  world_close(&b);
}

Test(contract, the_rows_of_an_env_do_not_depend_on_how_many_others_there_are) {
  enum { FEW = 5, MANY = 64, T = 20 };
  world few, many;
  world_init(&few);
  world_init(&many);
  few.batch_options.num_envs = FEW;
  many.batch_options.num_envs = MANY;
  many.runtime_options.num_workers = 8;
  give_trouble(&few);
  give_trouble(&many);
  world_open(&few);
  world_open(&many);
  OK(drover_rollout_collect(few.rollout));
  OK(drover_rollout_collect(many.rollout));
  drover_rollout_view a = {.size = sizeof a}, b = {.size = sizeof b};
  OK(drover_rollout_get_view(few.rollout, &a));
  OK(drover_rollout_get_view(many.rollout, &b));
  for (int32_t t = 0; t < T; t++) {
    const int32_t i = t * FEW, j = t * MANY;
    cr_assert_eq(memcmp(a.observations + i * 3, b.observations + j * 3, FEW * 12), 0, "step %d", t);
    cr_assert_eq(memcmp((int32_t *)a.actions + i, (int32_t *)b.actions + j, FEW * 4), 0, "step %d", t);
    cr_assert_eq(memcmp(a.logprobs + i, b.logprobs + j, FEW * 4), 0, "step %d", t);
    cr_assert_eq(memcmp(a.values + i, b.values + j, FEW * 4), 0, "step %d", t);
    cr_assert_eq(memcmp(a.rewards + i, b.rewards + j, FEW * 4), 0, "step %d", t);
    cr_assert_eq(memcmp(a.terminated + i, b.terminated + j, FEW), 0, "step %d", t);
    cr_assert_eq(memcmp(a.truncated + i, b.truncated + j, FEW), 0, "step %d", t);
    cr_assert_eq(memcmp(a.valid + i, b.valid + j, FEW), 0, "step %d", t);
    cr_assert_eq(memcmp(a.advantages + i, b.advantages + j, FEW * 4), 0, "step %d", t);
    cr_assert_eq(memcmp(a.infos + i * 2, b.infos + j * 2, FEW * 8), 0, "step %d", t);
  }
  world_close(&few);
  world_close(&many);
}

Test(contract, the_digest_does_not_depend_on_what_the_rollout_held_before) {
  /* First collect: episodes; then reset to a time without any. Against a fresh rollout that never had one. */
  uint64_t digests[2];
  for (int32_t i = 0; i < 2; i++) {
    world w;
    world_init(&w);
    w.config.terminate = w.config.truncate = 0;
    const toy_trouble end = {TOY_TERMINATE, 3, 25};
    w.config.troubles = &end;
    w.config.num_troubles = 1;
    world_open(&w);
    for (int32_t k = 0; i == 1 && k < 2; k++) OK(drover_rollout_collect(w.rollout)); /* the second holds an episode */
    OK(drover_batch_reset(w.batch, 7));
    OK(drover_rollout_collect(w.rollout));
    OK(drover_rollout_digest(w.rollout, &digests[i]));
    world_close(&w);
  }
  cr_assert_eq(digests[0], digests[1]);
}

/* ---- The caller's floating-point mode ------------------------------------------------------------------------- */

#if defined(__x86_64__)
/* Everything a caller does, under an MXCSR (and x87 mode) of its own, against the same under the default one. */
typedef struct everything {
  bool long_double;
  int rounding;
  unsigned mxcsr; /* 0 = leave */
  int32_t num_workers;
  world_bytes rollout, stepped;
  float after_some[16 * 3], received[16 * 3];
  float logprob;
} everything;

static void *do_everything(void *arg) {
  everything *x = arg;
  fesetround(x->rounding);
  if (x->mxcsr) _mm_setcsr(x->mxcsr);
  const unsigned mode = _mm_getcsr() & ~0x3Fu;
  world w;
  world_init(&w);
  w.config.long_double = x->long_double;
  w.runtime_options.num_workers = x->num_workers;
  world_open(&w);
  OK(drover_rollout_collect(w.rollout));
  x->rollout = world_read(&w, true);
  world_fill(&w, WORLD_STEPPED);
  x->stepped = world_read(&w, true);
  uint8_t mask[16] = {1, 0, 1, 1};
  OK(drover_batch_reset_some(w.batch, mask));
  drover_batch_view view = {.size = sizeof view};
  OK(drover_batch_get_view(w.batch, &view));
  memcpy(x->after_some, view.observations, sizeof x->after_some);
  int32_t actions[16], ids[16], num_ready;
  for (int32_t e = 0; e < 16; e++) ids[e] = e, actions[e] = e % 3;
  OK(drover_batch_send(w.batch, 16, ids, actions));
  OK(drover_batch_recv(w.batch, 16, -1, ids, &num_ready));
  memcpy(x->received, view.observations, sizeof x->received);
  const float low[3] = {-1.1f, 0.1f, -0.7f}, high[3] = {0.3f, 0.77f, 9.3f};
  const drover_env_spec spec = {.observation_size = 1,
                                .action_kind = DROVER_ACTION_CONTINUOUS,
                                .action_size = 3,
                                .action_low = low,
                                .action_high = high};
  drover_policy *uniform;
  OK(drover_policy_create_uniform(&uniform, w.runtime, &spec));
  toy_config one;
  toy_init_continuous(&one);
  one.observation_size = 1;
  one.action_size = 3;
  one.action_low = low;
  one.action_high = high;
  drover_batch_options o = w.batch_options;
  o.num_envs = 1;
  drover_batch *batch;
  OK(toy_batch_create(&batch, w.runtime, &one, &o));
  float three[3];
  OK(drover_policy_act(uniform, batch, 0, three, &x->logprob, NULL));
  OK(drover_policy_destroy(uniform));
  OK(drover_batch_destroy(batch));
  cr_assert_eq(_mm_getcsr() & ~0x3Fu, mode, "the caller's MXCSR was 0x%x and is 0x%x", mode, _mm_getcsr());
  cr_assert_eq(fegetround(), x->rounding);
  world_close(&w);
  return NULL;
}

static void compare_modes(everything changed) {
  everything normal = {.rounding = FE_TONEAREST, .num_workers = 1, .long_double = changed.long_double};
  do_everything(&normal);
  pthread_t thread;
  cr_assert_eq(pthread_create(&thread, NULL, do_everything, &changed), 0);
  pthread_join(thread, NULL);
  cr_assert(world_same(normal.rollout, changed.rollout), "collect");
  cr_assert(world_same(normal.stepped, changed.stepped), "step, act and finish");
  cr_assert_eq(memcmp(normal.after_some, changed.after_some, sizeof normal.after_some), 0, "reset_some");
  cr_assert_eq(memcmp(normal.received, changed.received, sizeof normal.received), 0, "send and recv");
  cr_assert_eq(memcmp(&normal.logprob, &changed.logprob, 4), 0, "the uniform policy");
  free(normal.rollout.data);
  free(normal.stepped.data);
  free(changed.rollout.data);
  free(changed.stepped.data);
}

Test(contract, a_caller_who_flushes_denormals_gets_the_same_bytes_and_its_mode_back) {
  for (int32_t workers = 1; workers <= 3; workers++)
    compare_modes((everything){.rounding = FE_TONEAREST, .mxcsr = 0x1F80 | 0x8040, .num_workers = workers});
}

Test(contract, a_caller_with_another_rounding_mode_gets_the_same_bytes_and_its_mode_back) {
  const int modes[] = {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
  for (int32_t i = 0; i < 3; i++) compare_modes((everything){.rounding = modes[i], .num_workers = 1 + i});
}

Test(contract, an_env_that_computes_in_long_double_gives_the_same_bytes_for_any_rounding_mode_of_the_caller) {
  compare_modes((everything){.rounding = FE_UPWARD, .num_workers = 1, .long_double = true});
  compare_modes((everything){.rounding = FE_DOWNWARD, .num_workers = 3, .long_double = true});
}

/* The tests above can fail: the toy env and policy do give other bytes in another mode. */
Test(contract, the_toy_env_feels_the_floating_point_mode) {
  world w;
  world_init(&w);
  model_rollout a, b, c;
  toy_policy_init(&w.toy, &w.config, true);
  model_rollout_make(&a, &w.config, &w.batch_options, &w.toy, &w.rollout_options, 0);
  _mm_setcsr(0x1F80 | 0x8040);
  model_rollout_make(&b, &w.config, &w.batch_options, &w.toy, &w.rollout_options, 0);
  _mm_setcsr(0x1F80);
  fesetround(FE_UPWARD);
  model_rollout_make(&c, &w.config, &w.batch_options, &w.toy, &w.rollout_options, 0);
  fesetround(FE_TONEAREST);
  const size_t bytes = 16 * 20 * 3 * sizeof(float);
  cr_assert_neq(memcmp(a.observations, b.observations, bytes), 0);
  cr_assert_neq(memcmp(a.observations, c.observations, bytes), 0);
  model_rollout_free(&a);
  model_rollout_free(&b);
  model_rollout_free(&c);
}
#endif
