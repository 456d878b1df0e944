/* test_inner_loop.c: the loop inside a step: what a rollout of envs with one holds, whoever computes it. */
#include <criterion/criterion.h>
#include <math.h>

#include "tests/support/model.h"
#include "tests/support/random.h"
#include "tests/support/world.h"

enum { N = 16, T = 20 };

/* Trouble in every part of a step, so that faults are part of what has to agree. */
static const toy_trouble troubles[] = {
    {TOY_FAIL_BEGIN, 3, 4},  {TOY_NAN_BEGIN, 5, 7},  {TOY_FAIL_TICK, 9, 2},        {TOY_NAN_TICK, 0, 11},
    {TOY_INF_SAMPLE, 12, 0}, {TOY_INF_SAMPLE, 1, 6}, {TOY_NAN_INNER_ACTION, 2, 8}, {TOY_FAIL_STEP, 15, 19},
    {TOY_NAN_REWARD, 14, 3}, {TOY_FAIL_RESET, 2, 1}, {TOY_NAN_OBSERVATION, 6, 6},  {TOY_TERMINATE, 7, 19}};

static void init(world *w) {
  world_init(w);
  toy_init_inner(&w->config);
}

static void give_trouble(world *w) {
  w->config.troubles = troubles;
  w->config.num_troubles = sizeof troubles / sizeof *troubles;
  w->config.trouble_tick = 2;
}

static void assert_nothing_odd(const world *w) {
  cr_assert_eq(w->config.num_bad_ticks, 0, "%d calls of begin, tick or step were not what env.h says",
               (int)w->config.num_bad_ticks);
  cr_assert_eq(w->config.num_overlaps, 0);
  cr_assert_eq(w->config.num_dirty_rows, 0);
  cr_assert_eq(w->config.num_joint_steps, 0, "step_many was called");
  cr_assert_eq(w->toy.num_overlaps, 0);
  cr_assert_eq(w->toy_inside.num_overlaps, 0);
  cr_assert_eq(w->toy_inside.num_versions, 0, "a version of the inner policy was not released");
}

/* ---- Against a serial loop ------------------------------------------------------------------------------------ */

static void assert_like_model(world *w, world_way way, int32_t num_faults) {
  world_set_way(w, way);
  world_open(w);
  world_fill(w, way);
  const char *wrong = world_differs_from_model(w, 0);
  cr_assert(wrong == NULL, "%s", wrong);
  cr_assert_geq(rollout_view(w->rollout).num_faults, num_faults);
  world_close(w);
  assert_nothing_odd(w);
}

Test(inner, a_rollout_is_what_a_serial_loop_of_ticks_gives) {
  for (world_way way = WORLD_FUSED; way <= WORLD_STEPPED; way++)
    for (drover_autoreset mode = DROVER_AUTORESET_SAME_STEP; mode <= DROVER_AUTORESET_NEXT_STEP; mode++)
      for (int32_t workers = 1; workers <= 8; workers += 7) {
        world w;
        init(&w);
        give_trouble(&w);
        w.batch_options.autoreset = mode;
        w.runtime_options.num_workers = workers;
        w.config.work = workers > 1 ? 3000 : 0; /* so that `step` is worth sharing */
        assert_like_model(&w, way, 10);
      }
}

Test(inner, any_number_of_ticks_and_of_numbers_is_what_a_serial_loop_gives) {
  const int32_t sizes[][4] = {{1, 1, 1, 0}, {1, 4, 2, 3}, {2, 8, 8, 8}, {33, 3, 1, 6}};
  for (size_t i = 0; i < 4; i++) {
    world w;
    init(&w);
    w.config.num_ticks = sizes[i][0];
    w.config.inner_observation_size = sizes[i][1];
    w.config.inner_action_size = sizes[i][2];
    w.config.inner_sample_size = sizes[i][3];
    w.runtime_options.num_workers = 3;
    assert_like_model(&w, WORLD_FUSED, 0);
    assert_like_model(&w, WORLD_STEPPED, 0);
  }
}

Test(inner, continuous_outer_actions_reach_the_ticks_clipped) {
  world w;
  init(&w);
  static const float low[2] = {-1, 0}, high[2] = {1, 3};
  w.config.action_kind = DROVER_ACTION_CONTINUOUS;
  w.config.action_size = 2;
  w.config.num_actions = 0;
  w.config.action_low = low;
  w.config.action_high = high;
  assert_like_model(&w, WORLD_FUSED, 0);
  cr_assert_eq(w.config.num_bad_actions, 0);
}

/* ---- How it is computed --------------------------------------------------------------------------------------- */

static world_bytes bytes_of(world *w, world_way way, uint64_t *digest) {
  give_trouble(w);
  const world_bytes bytes = world_run(w, way, digest, NULL);
  assert_nothing_odd(w);
  return bytes;
}

Test(inner, bytes_do_not_depend_on_workers_shards_chunks_or_the_way) {
  const int32_t settings[][3] = {{1, 0, 0}, {2, 0, 0}, {3, 1, 1}, {8, 3, 2}, {8, 16, 1}, {2, 16, 5}, {1, 5, 0}};
  uint64_t want, got;
  world first;
  init(&first);
  first.runtime_options.num_workers = 1;
  const world_bytes expected = bytes_of(&first, WORLD_FUSED, &want);
  for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
    for (world_way way = WORLD_FUSED; way <= WORLD_STEPPED; way++) {
      world w;
      init(&w);
      w.runtime_options.num_workers = settings[i][0];
      w.batch_options.shard = settings[i][1];
      w.batch_options.chunk = settings[i][2];
      w.config.work = 1500;
      w.toy_inside.work = 0;
      const world_bytes bytes = bytes_of(&w, way, &got);
      cr_assert(world_same(expected, bytes), "workers %d, shard %d, chunk %d, way %d", settings[i][0], settings[i][1],
                settings[i][2], (int)way);
      cr_assert_eq(want, got);
      free(bytes.data);
    }
  free(expected.data);
}

/* One chain a worker where there are envs enough: whole tiles of 16, else of 4, else the worker's share. */
Test(inner, no_worker_is_without_a_shard) {
  static const int32_t sizes[][3] = {{16, 1, 16}, {64, 2, 32}, {1000, 2, 64}, {1100, 8, 64}, {100, 8, 13},
                                     {32, 8, 4},  {32, 16, 2}, {16, 16, 1},   {30, 7, 5},    {5, 8, 1}};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    world w;
    init(&w);
    w.batch_options.num_envs = sizes[i][0];
    w.runtime_options.num_workers = sizes[i][1];
    world_open(&w);
    int32_t shard;
    OK(drover_batch_get_sizes(w.batch, &shard, NULL));
    cr_assert_eq(shard, sizes[i][2], "%d envs, %d workers: %d rows a shard", sizes[i][0], sizes[i][1], shard);
    cr_assert_eq(rollout_view(w.rollout).shard, sizes[i][2]);
    world_close(&w);
  }
}

Test(inner, an_env_does_not_notice_how_many_stand_beside_it) {
  world small, large;
  init(&small);
  init(&large);
  large.batch_options.num_envs = 3 * N + 1;
  large.runtime_options.num_workers = 3;
  world_open(&small);
  world_open(&large);
  world_fill(&small, WORLD_FUSED);
  world_fill(&large, WORLD_FUSED);
  const drover_rollout_view a = rollout_view(small.rollout), b = rollout_view(large.rollout);
  for (int32_t t = 0; t < T; t++) {
    const size_t i = (size_t)(t * N), j = (size_t)(t * (3 * N + 1));
    cr_assert_eq(memcmp(a.observations + i * 3, b.observations + j * 3, (size_t)N * 12), 0, "step %d", t);
    cr_assert_eq(memcmp(a.inner_samples + i * 6, b.inner_samples + j * 6, (size_t)N * 24), 0, "step %d", t);
  }
  world_close(&small);
  world_close(&large);
}

Test(inner, two_collects_give_the_bytes_of_one_of_twice_the_steps) {
  world w;
  init(&w);
  world_open(&w);
  world_fill(&w, WORLD_FUSED);
  world_fill(&w, WORLD_FUSED);
  const char *wrong = world_differs_from_model(&w, T);
  cr_assert(wrong == NULL, "%s", wrong);
  world_close(&w);
}

/* Envs are sent in two halves, one of them in odd order, and received one by one. */
static void exchange(world *w) {
  world_open(w);
  model envs[N];
  for (int32_t e = 0; e < N; e++) model_open(&envs[e], &w->config, w->batch_options.autoreset, -1, 7, e);
  const drover_batch_view v = batch_view(w->batch);
  for (int32_t t = 0; t < 2 * T; t++) {
    int32_t ids[N], actions[N];
    for (int32_t i = 0; i < N; i++) ids[i] = i < N / 2 ? i : N / 2 + (i * 3) % (N / 2), actions[i] = (i + t) % 3;
    for (int32_t i = 0; i < N; i++) model_step(&envs[ids[i]], &actions[i]);
    OK(drover_batch_send(w->batch, N / 2, ids, actions));
    OK(drover_batch_send(w->batch, N / 2, ids + N / 2, actions + N / 2));
    for (int32_t got = 0, num = 0; got < N; got += num) OK(drover_batch_recv(w->batch, 1 + t % 5, -1, ids, &num));
    for (int32_t e = 0; e < N; e++) {
      cr_assert_eq(memcmp(v.observations + e * 3, envs[e].observation, 12), 0, "step %d, env %d", t, e);
      cr_assert_eq(memcmp(v.inner_samples + e * 6, envs[e].inner_sample, 24), 0, "step %d, env %d", t, e);
      cr_assert_eq(v.valid[e], envs[e].valid, "step %d, env %d", t, e);
    }
  }
  for (int32_t e = 0; e < N; e++) model_close(&envs[e]);
  world_close(w);
  assert_nothing_odd(w);
}

Test(inner, sent_envs_come_back_with_the_rows_of_a_serial_loop) {
  for (int32_t workers = 1; workers <= 5; workers += 2) {
    world w;
    init(&w);
    give_trouble(&w);
    w.runtime_options.num_workers = workers;
    w.batch_options.autoreset = workers == 3 ? DROVER_AUTORESET_NEXT_STEP : DROVER_AUTORESET_SAME_STEP;
    w.config.sleep_us = workers == 5 ? 20 : 0;
    exchange(&w);
  }
}

Test(inner, a_step_counts_once) {
  for (int32_t alone = 0; alone <= 1; alone++) {
    world w;
    init(&w);
    w.config.work = alone ? 0 : 5000;
    w.runtime_options.num_workers = alone ? 1 : 2;
    world_open(&w);
    world_fill(&w, WORLD_FUSED);
    cr_assert_eq(runtime_stats(w.runtime).total.num_env_steps, (uint64_t)(N * T));
    const int32_t actions[N] = {0};
    OK(drover_batch_step(w.batch, actions));
    const drover_runtime_stats stats = runtime_stats(w.runtime);
    cr_assert_eq(stats.total.num_env_steps, (uint64_t)(N * T + N));
    cr_assert_gt(stats.total.infer_ns, 0);
    world_close(&w);
    cr_assert_eq(w.config.num_ticks_done, N * (T + 1) * 5);
    cr_assert_eq(w.config.num_steps, N * (T + 1));
  }
}

/* ---- Samples -------------------------------------------------------------------------------------------------- */

/* Chi-square of the ticks that were kept, 4 degrees of freedom: 18.5 is exceeded once in 1,000 seeds. */
Test(inner, every_tick_is_kept_equally_often) {
  world w;
  init(&w);
  w.batch_options.num_envs = 64;
  w.rollout_options.num_steps = 250;
  world_open(&w);
  world_fill(&w, WORLD_FUSED);
  const drover_rollout_view v = rollout_view(w.rollout);
  double counts[5] = {0}, chi = 0;
  for (int32_t i = 0; i < 64 * 250; i++) {
    const float tick = v.inner_samples[i * 6 + 1];
    cr_assert(tick >= 0 && tick < 5 && tick == floorf(tick));
    cr_assert_eq(v.inner_samples[i * 6 + 2], (float)(i % 64), "the sample of another env");
    counts[(int)tick]++;
  }
  for (int32_t k = 0; k < 5; k++) chi += (counts[k] - 3200) * (counts[k] - 3200) / 3200;
  cr_assert_lt(chi, 18.5, "%g %g %g %g %g", counts[0], counts[1], counts[2], counts[3], counts[4]);
  world_close(&w);
}

Test(inner, reset_clears_the_samples_in_the_view) {
  world w;
  init(&w);
  world_open(&w);
  const int32_t actions[N] = {0};
  OK(drover_batch_step(w.batch, actions));
  const drover_batch_view v = batch_view(w.batch);
  float sum = 0;
  for (int32_t i = 0; i < N * 6; i++) sum += fabsf(v.inner_samples[i]);
  cr_assert_gt(sum, 0);
  OK(drover_batch_reset(w.batch, 7));
  for (int32_t i = 0; i < N * 6; i++) cr_assert_eq(v.inner_samples[i], 0);
  world_close(&w);
}

/* ---- Faults --------------------------------------------------------------------------------------------------- */

Test(inner, what_goes_wrong_inside_a_step_is_a_fault_of_that_env_alone) {
  const toy_trouble_kind kinds[] = {TOY_FAIL_BEGIN, TOY_NAN_BEGIN,  TOY_FAIL_TICK,
                                    TOY_NAN_TICK,   TOY_INF_SAMPLE, TOY_NAN_INNER_ACTION};
  for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
    const toy_trouble trouble = {kinds[k], 5, 8};
    world w;
    init(&w);
    w.config.terminate = w.config.truncate = 0;
    w.config.troubles = &trouble;
    w.config.num_troubles = 1;
    w.config.trouble_tick = 3;
    w.runtime_options.num_workers = 3;
    world_open(&w);
    world_fill(&w, WORLD_FUSED);
    const drover_rollout_view v = rollout_view(w.rollout);
    cr_assert_eq(v.num_faults, 1, "kind %d", (int)kinds[k]);
    cr_assert(v.faults[0].env == 5 && v.faults[0].step == 8 && v.faults[0].reason == DROVER_FAULT_INNER);
    const int32_t row = 8 * N + 5;
    cr_assert(!v.valid[row] && v.truncated[row] && !v.terminated[row] && v.rewards[row] == 0);
    for (int32_t i = 0; i < 6; i++) cr_assert_eq(v.inner_samples[row * 6 + i], 0);
    cr_assert_eq(v.num_episodes, 1);
    cr_assert(v.episodes[0].faulted && v.episodes[0].length == 8);
    cr_assert_eq(memcmp(v.final_observations, v.observations + row * 3, 12), 0, "not the last finite observation");
    const char *wrong = world_differs_from_model(&w, 0);
    cr_assert(wrong == NULL, "kind %d: %s", (int)kinds[k], wrong);
    world_close(&w);
    assert_nothing_odd(&w);
  }
}

Test(inner, too_many_faults_stop_a_run_between_steps) {
  const toy_trouble trouble = {TOY_FAIL_TICK, 5, 8};
  world w;
  init(&w);
  w.config.troubles = &trouble;
  w.config.num_troubles = 1;
  w.config.sleep_us = 50;
  w.batch_options.fault_limit = 0;
  w.batch_options.shard = 2;
  w.runtime_options.num_workers = 4;
  world_open(&w);
  cr_assert_eq(drover_rollout_collect(w.rollout), DROVER_ERROR_FAULTS);
  cr_assert(strstr(drover_last_error(), "env 5") && strstr(drover_last_error(), "tick"), "%s", drover_last_error());
  /* Every env is between steps: the next one begins with `begin`, or the toy env counts it. */
  OK(drover_rollout_collect(w.rollout));
  world_close(&w);
  assert_nothing_odd(&w);
}

Test(inner, a_failing_inner_policy_ends_the_call_and_a_reset_mends_it) {
  for (int32_t workers = 1; workers <= 3; workers += 2) {
    world w;
    init(&w);
    w.runtime_options.num_workers = workers;
    w.config.work = workers > 1 ? 3000 : 0;
    toy_inner_policy_init(&w.toy_inside, &w.config);
    w.toy_inside.fails_at_env = 5;
    w.toy_inside.fails_at_step = 3;
    world_open(&w);
    cr_assert_eq(drover_rollout_collect(w.rollout), DROVER_ERROR_POLICY);
    cr_assert(strstr(drover_last_error(), "toy inside"), "%s", drover_last_error());
    cr_assert_leq(rollout_view(w.rollout).num_steps_done, 3);
    OK(drover_batch_reset(w.batch, 7));
    const int32_t actions[N] = {0};
    for (int32_t t = 0; t < 3; t++) OK(drover_batch_step(w.batch, actions));
    cr_assert_eq(drover_batch_step(w.batch, actions), DROVER_ERROR_POLICY);
    w.toy_inside.fails_at_env = -1;
    OK(drover_batch_reset(w.batch, 7));
    world_fill(&w, WORLD_FUSED);
    const char *wrong = world_differs_from_model(&w, 0);
    cr_assert(wrong == NULL, "%s", wrong);
    world_close(&w);
    assert_nothing_odd(&w);
  }
}

static void cancel_at(void *user, int32_t env, uint64_t step) {
  if (env == 3 && step == 6) drover_runtime_cancel(((world *)user)->runtime);
}

Test(inner, a_cancelled_run_keeps_whole_steps) {
  world w;
  init(&w);
  w.config.probe = cancel_at;
  w.config.probe_user = &w;
  w.batch_options.shard = 4;
  world_open(&w);
  cr_assert_eq(drover_rollout_collect(w.rollout), DROVER_ERROR_CANCELLED);
  cr_assert_lt(rollout_view(w.rollout).num_steps_done, T);
  const char *wrong = world_differs_from_model(&w, 0);
  cr_assert(wrong == NULL, "%s", wrong);
  w.config.probe = NULL;
  OK(drover_rollout_collect(w.rollout));
  world_close(&w);
  assert_nothing_odd(&w);
}
