/* test_advantage.c: advantages against a slow reference in double, and the lists of episodes and faults against a scan.
 */
#include <criterion/criterion.h>
#include <math.h>

#include "tests/support/ends.h"
#include "tests/support/model.h"
#include "tests/support/world.h"

static void assert_like_model(const world *w, int32_t skip) {
  const char *wrong = world_differs_from_model(w, skip);
  cr_assert_null(wrong, "%s", wrong);
}

/* ---- Advantages ----------------------------------------------------------------------------------------------- */

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
    const drover_rollout_view v = rollout_view(w.rollout);
    const char *wrong = model_advantages_differ(&v, (double)gamma, (double)lambda);
    cr_assert_null(wrong, "%s", wrong);
    assert_like_model(&w, 0);
    world_close(&w);
  }
}

Test(advantage, advantages_of_every_kind_of_end_with_same_step_reset) {
  estimate(20, DROVER_AUTORESET_SAME_STEP, 0.99f, 0.95f, false);
}
Test(advantage, advantages_of_every_kind_of_end_with_next_step_reset) {
  estimate(20, DROVER_AUTORESET_NEXT_STEP, 0.99f, 0.95f, false);
}
Test(advantage, advantages_of_random_ends) {
  estimate(37, DROVER_AUTORESET_SAME_STEP, 0.9f, 0.8f, true);
  estimate(37, DROVER_AUTORESET_NEXT_STEP, 0.9f, 0.8f, true);
}
Test(advantage, advantages_of_one_step) { estimate(1, DROVER_AUTORESET_SAME_STEP, 0.99f, 0.95f, false); }
Test(advantage, advantages_for_the_ends_of_the_ranges_of_gamma_and_lambda) {
  const float numbers[3] = {0, 0.5f, 1};
  for (int32_t i = 0; i < 9; i++) estimate(12, DROVER_AUTORESET_SAME_STEP, numbers[i / 3], numbers[i % 3], true);
}

Test(advantage, a_terminated_and_truncated_episode_bootstraps_with_0) {
  world w;
  world_init(&w);
  w.config.troubles = ends;
  w.config.num_troubles = sizeof ends / sizeof *ends;
  w.config.terminate = w.config.truncate = 0;
  world_open(&w);
  OK(drover_rollout_collect(w.rollout));
  const drover_rollout_view v = rollout_view(w.rollout);
  for (int64_t i = 0; i < v.num_episodes; i++) {
    const float expected = v.episodes[i].terminated ? 0 : toy_policy_value_one(&w.toy, v.final_observations + i * 3);
    cr_assert_eq(v.final_values[i], expected, "episode %d of env %d", (int)i, v.episodes[i].env);
  }
  world_close(&w);
}

/* ---- Lists ---------------------------------------------------------------------------------------------------- */

Test(advantage, episodes_and_faults_are_a_scan_of_the_buffers_in_step_and_env_order) {
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
    const drover_rollout_view v = rollout_view(w.rollout);
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

Test(advantage, lists_grow_when_every_step_ends_an_episode) {
  world w;
  world_init(&w);
  w.config.length = 1;
  w.batch_options.num_envs = 40;
  w.runtime_options.num_workers = 3;
  w.rollout_options.num_steps = 200;
  world_open(&w);
  for (int32_t i = 0; i < 2; i++) {
    OK(drover_rollout_collect(w.rollout));
    const drover_rollout_view v = rollout_view(w.rollout);
    cr_assert_eq(v.num_episodes, 200 * 40);
    for (int64_t k = 0; k < v.num_episodes; k++) {
      cr_assert(v.episodes[k].step == k / 40 && v.episodes[k].env == k % 40 && v.episodes[k].length == 1);
      cr_assert_float_eq(v.final_observations[k * 3 + 1], 1, 0);
    }
  }
  world_close(&w);
}

Test(advantage, an_episode_that_began_before_counts_whole) {
  world w;
  world_init(&w);
  w.config.terminate = w.config.truncate = 0;
  w.config.length = 30;
  world_open(&w);
  OK(drover_rollout_collect(w.rollout));
  cr_assert_eq(rollout_view(w.rollout).num_episodes, 0);
  double sum = 0;
  for (int32_t t = 0; t < 20; t++) sum += (double)rollout_view(w.rollout).rewards[t * 16];
  OK(drover_rollout_collect(w.rollout));
  const drover_rollout_view v = rollout_view(w.rollout);
  for (int32_t t = 0; t < 10; t++) sum += (double)v.rewards[t * 16];
  cr_assert_eq(v.num_episodes, 16);
  cr_assert(v.episodes[0].step == 9 && v.episodes[0].length == 30);
  cr_assert_float_eq(v.episodes[0].episode_return, sum, 0);
  world_close(&w);
}
