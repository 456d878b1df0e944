/* test_batch.c: what a batch of envs does when the caller steps it. */
#include <criterion/criterion.h>
#include <pthread.h>

#include "tests/support/model.h"
#include "tests/support/world.h"

enum { N = 12 };

/* A batch without policy or rollout; options may be changed between init and open. */
static void open_batch(world *w) {
  OK(drover_runtime_create(&w->runtime, &w->runtime_options));
  OK(toy_batch_create(&w->batch, w->runtime, &w->config, &w->batch_options));
}

static void init_batch(world *w) {
  world_init(w);
  w->batch_options.num_envs = N;
}

static void close_batch(world *w) {
  OK(drover_batch_destroy(w->batch));
  OK(drover_runtime_destroy(w->runtime));
}

static void step_all(world *w, int32_t action) {
  int32_t actions[N];
  for (int32_t e = 0; e < N; e++) actions[e] = action;
  OK(drover_batch_step(w->batch, actions));
}

/* ---- Against the model ---------------------------------------------------------------------------------------- */

static void assert_row(const drover_batch_view *view, const model *m, int32_t t) {
  const int32_t e = m->env, width = m->spec.observation_size, infos = m->spec.num_infos;
  cr_assert_eq(memcmp(view->observations + e * width, m->observation, (size_t)width * 4), 0, "step %d, env %d", t, e);
  cr_assert_eq(memcmp(&view->rewards[e], &m->reward, 4), 0, "step %d, env %d: %g, %g", t, e, (double)view->rewards[e],
               (double)m->reward);
  cr_assert_eq(view->terminated[e], m->terminated, "step %d, env %d", t, e);
  cr_assert_eq(view->truncated[e], m->truncated, "step %d, env %d", t, e);
  cr_assert_eq(view->valid[e], m->valid, "step %d, env %d", t, e);
  cr_assert_eq(memcmp(view->infos + e * infos, m->infos, (size_t)infos * 4), 0, "step %d, env %d", t, e);
  cr_assert_eq(view->lifetime_steps[e], m->lifetime_steps, "step %d, env %d", t, e);
  if (!m->terminated && !m->truncated) return;
  cr_assert_eq(memcmp(view->final_observations + e * width, m->final_observation, (size_t)width * 4), 0,
               "step %d, env %d", t, e);
  cr_assert_eq(memcmp(&view->episode_returns[e], &m->episode_return, 8), 0, "step %d, env %d", t, e);
  cr_assert_eq(view->episode_lengths[e], m->episode_length, "step %d, env %d", t, e);
}

/* 60 steps of all envs, each row compared. In disabled mode the finished ones are reset after every step. */
static void compare_with_model(world *w) {
  open_batch(w);
  model envs[N];
  for (int32_t e = 0; e < N; e++)
    model_open(&envs[e], &w->config, w->batch_options.autoreset, w->batch_options.max_episode_steps,
               w->batch_options.seed, e);
  int32_t num_ended = 0;
  for (int32_t t = 0; t < 60; t++) {
    int32_t actions[N];
    uint8_t mask[N];
    for (int32_t e = 0; e < N; e++) actions[e] = (t + e) % 3;
    OK(drover_batch_step(w->batch, actions));
    const drover_batch_view view = batch_view(w->batch);
    bool any = false;
    for (int32_t e = 0; e < N; e++) {
      model_step(&envs[e], &actions[e]);
      assert_row(&view, &envs[e], t);
      mask[e] = envs[e].terminated || envs[e].truncated;
      any = any || mask[e];
      num_ended += mask[e];
      if (mask[e] && w->batch_options.autoreset == DROVER_AUTORESET_DISABLED) model_begin_episode(&envs[e]);
    }
    if (!any || w->batch_options.autoreset != DROVER_AUTORESET_DISABLED) continue;
    OK(drover_batch_reset_some(w->batch, mask));
    for (int32_t e = 0; e < N; e++)
      cr_assert_eq(memcmp(view.observations + e * 3, envs[e].observation, 12), 0, "reset_some of env %d", e);
  }
  cr_assert_gt(num_ended, 20);
  for (int32_t e = 0; e < N; e++) model_close(&envs[e]);
  cr_assert_eq(w->config.num_dirty_rows, 0);
  cr_assert_eq(w->config.num_overlaps, 0);
  close_batch(w);
}

Test(batch, rows_are_what_a_serial_loop_gives_in_every_autoreset_mode) {
  for (drover_autoreset mode = DROVER_AUTORESET_SAME_STEP; mode <= DROVER_AUTORESET_DISABLED; mode++)
    for (int32_t workers = 1; workers <= 3; workers += 2)
      for (int32_t limit = -1; limit <= 7; limit += 4) {
        world w;
        init_batch(&w);
        w.config.time_limit = 5;
        w.runtime_options.num_workers = workers;
        w.batch_options.autoreset = mode;
        w.batch_options.max_episode_steps = limit;
        w.config.work = 3000; /* worth more than the break-even: workers share it */
        compare_with_model(&w);
      }
}

Test(batch, one_env_is_a_batch) {
  world w;
  init_batch(&w);
  w.batch_options.num_envs = 1;
  w.runtime_options.num_workers = 3;
  open_batch(&w);
  model m;
  model_open(&m, &w.config, DROVER_AUTORESET_SAME_STEP, -1, 7, 0);
  for (int32_t t = 0; t < 50; t++) {
    const int32_t action = t % 3;
    OK(drover_batch_step(w.batch, &action));
    model_step(&m, &action);
    const drover_batch_view view = batch_view(w.batch);
    assert_row(&view, &m, t);
  }
  model_close(&m);
  close_batch(&w);
}

/* ---- Time limits ---------------------------------------------------------------------------------------------- */

static void limit_of(int32_t type_limit, int32_t option, int32_t expected) {
  world w;
  init_batch(&w);
  w.config.terminate = w.config.truncate = 0;
  w.config.time_limit = type_limit;
  w.batch_options.max_episode_steps = option;
  open_batch(&w);
  for (int32_t t = 1; t <= 40; t++) {
    step_all(&w, 0);
    const drover_batch_view view = batch_view(w.batch);
    const bool over = expected > 0 && t % expected == 0;
    for (int32_t e = 0; e < N; e++) {
      cr_assert_eq(view.truncated[e], over, "limit %d: step %d", expected, t);
      cr_assert_eq(view.terminated[e], 0);
      if (over) cr_assert_eq(view.episode_lengths[e], expected);
    }
  }
  close_batch(&w);
}

Test(batch, an_episode_is_truncated_exactly_at_the_time_limit) {
  limit_of(9, -1, 9);
  limit_of(9, 5, 5);
  limit_of(9, 30, 30);
  limit_of(0, 1, 1);
}
Test(batch, a_time_limit_of_0_is_none) {
  limit_of(9, 0, 0);
  limit_of(0, -1, 0);
}

Test(batch, terminating_at_the_time_limit_sets_both_flags) {
  world w;
  init_batch(&w);
  w.config.terminate = w.config.truncate = 0;
  w.config.length = 6;
  w.batch_options.max_episode_steps = 6;
  open_batch(&w);
  for (int32_t t = 0; t < 6; t++) step_all(&w, 0);
  cr_assert_eq(batch_view(w.batch).terminated[3], 1);
  cr_assert_eq(batch_view(w.batch).truncated[3], 1);
  close_batch(&w);
}

/* ---- Auto-reset by hand --------------------------------------------------------------------------------------- */

/* Episodes of 3 steps: what the rows hold is known without a model. */
static void open_thirds(world *w, drover_autoreset mode) {
  init_batch(w);
  w->config.terminate = w->config.truncate = 0;
  w->config.length = 3;
  w->batch_options.autoreset = mode;
  open_batch(w);
}

Test(batch, same_step_reset_gives_the_next_episodes_observation_and_keeps_the_final_one) {
  world w;
  open_thirds(&w, DROVER_AUTORESET_SAME_STEP);
  for (int32_t t = 0; t < 3; t++) step_all(&w, 0);
  const drover_batch_view view = batch_view(w.batch);
  cr_assert_eq(view.terminated[0], 1);
  cr_assert_eq(view.valid[0], 1);
  cr_assert_float_eq(view.observations[1], 0, 0, "the observation is not of a new episode");
  cr_assert_float_eq(view.final_observations[1], 3, 0, "the final observation is not of the third step");
  step_all(&w, 0);
  cr_assert_float_eq(view.observations[1], 1, 0);
  close_batch(&w);
}

Test(batch, next_step_reset_ignores_the_action_and_marks_the_row_invalid) {
  world w;
  open_thirds(&w, DROVER_AUTORESET_NEXT_STEP);
  for (int32_t t = 0; t < 3; t++) step_all(&w, 0);
  const drover_batch_view view = batch_view(w.batch);
  cr_assert_eq(view.terminated[0], 1);
  cr_assert_float_eq(view.observations[1], 3, 0);
  cr_assert_float_eq(view.final_observations[1], 3, 0);
  const int64_t num_steps = w.config.num_steps;
  step_all(&w, 99); /* would be a bad action */
  cr_assert_eq(w.config.num_steps, num_steps, "the env was stepped");
  cr_assert_eq(w.config.num_bad_actions, 0);
  cr_assert_eq(view.valid[0], 0);
  cr_assert_eq(view.terminated[0], 0);
  cr_assert_eq(view.truncated[0], 0);
  cr_assert_float_eq(view.rewards[0], 0, 0);
  cr_assert_float_eq(view.infos[0], 0, 0);
  cr_assert_float_eq(view.observations[1], 0, 0);
  cr_assert_eq(view.lifetime_steps[0], 4);
  for (int32_t t = 0; t < 3; t++) step_all(&w, 0);
  cr_assert_eq(view.valid[0], 1);
  cr_assert_eq(view.terminated[0], 1);
  cr_assert_eq(view.episode_lengths[0], 3, "the reset row was counted");
  close_batch(&w);
}

Test(batch, without_autoreset_a_step_of_a_finished_env_is_an_error_that_changes_nothing) {
  world w;
  init_batch(&w);
  w.config.terminate = w.config.truncate = 0;
  w.config.length = 3;
  w.config.spread = 2; /* odd envs take 4 steps */
  w.batch_options.autoreset = DROVER_AUTORESET_DISABLED;
  open_batch(&w);
  for (int32_t t = 0; t < 3; t++) step_all(&w, 0);
  const int32_t actions[N] = {0};
  cr_assert_eq(drover_batch_step(w.batch, actions), DROVER_ERROR_STATE);
  cr_assert(strstr(drover_last_error(), "env 0") && strstr(drover_last_error(), "drover_batch_reset_some"), "%s",
            drover_last_error());
  const drover_batch_view view = batch_view(w.batch);
  cr_assert_eq(view.lifetime_steps[1], 3);
  const uint8_t even[N] = {1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0};
  OK(drover_batch_reset_some(w.batch, even));
  cr_assert_float_eq(view.observations[0 * 3 + 1], 0, 0);
  cr_assert_float_eq(view.observations[1 * 3 + 1], 3, 0);
  OK(drover_batch_step(w.batch, actions));
  cr_assert_eq(view.terminated[1], 1);
  cr_assert_eq(view.terminated[0], 0);
  close_batch(&w);
}

/* ---- Seeds ---------------------------------------------------------------------------------------------------- */

Test(batch, envs_of_one_seed_differ_from_each_other) {
  world w;
  init_batch(&w);
  open_batch(&w);
  const drover_batch_view view = batch_view(w.batch);
  for (int32_t i = 0; i < N; i++)
    for (int32_t j = 0; j < i; j++) cr_assert_neq(view.observations[i * 3], view.observations[j * 3]);
  close_batch(&w);
}

Test(batch, reset_with_the_same_seed_repeats_and_with_another_does_not) {
  world w;
  init_batch(&w);
  open_batch(&w);
  float first[N * 3], second[N * 3];
  const drover_batch_view view = batch_view(w.batch);
  for (int32_t round = 0; round < 3; round++) {
    OK(drover_batch_reset(w.batch, round < 2 ? 7 : 8));
    cr_assert_eq(view.lifetime_steps[0], 0);
    for (int32_t t = 0; t < 30; t++) step_all(&w, 1);
    memcpy(round == 0 ? first : second, view.observations, sizeof first);
    if (round == 0) continue;
    cr_assert_eq(memcmp(first, second, sizeof first) == 0, round == 1);
  }
  close_batch(&w);
}

Test(batch, reset_clears_the_rows_and_the_fault_count) {
  world w;
  init_batch(&w);
  const toy_trouble fail = {TOY_FAIL_STEP, 2, 1};
  w.config.troubles = &fail;
  w.config.num_troubles = 1;
  open_batch(&w);
  for (int32_t t = 0; t < 2; t++) step_all(&w, 1);
  cr_assert_eq(batch_view(w.batch).num_faults, 1);
  OK(drover_batch_reset(w.batch, 1));
  const drover_batch_view view = batch_view(w.batch);
  cr_assert_eq(view.num_faults, 0);
  for (int32_t e = 0; e < N; e++) {
    cr_assert_eq(view.lifetime_steps[e], 0);
    cr_assert_float_eq(view.rewards[e], 0, 0);
    cr_assert_eq(view.terminated[e] | view.truncated[e] | view.valid[e], 0);
  }
  close_batch(&w);
}

Test(batch, reset_some_begins_new_episodes_that_never_repeat_and_leaves_the_others) {
  world w;
  init_batch(&w);
  w.config.terminate = w.config.truncate = 0;
  open_batch(&w);
  const drover_batch_view view = batch_view(w.batch);
  float seen[20], other[3];
  const uint8_t mask[N] = {1};
  step_all(&w, 0);
  memcpy(other, view.observations + 3, sizeof other);
  for (int32_t i = 0; i < 20; i++) {
    OK(drover_batch_reset_some(w.batch, mask));
    seen[i] = view.observations[0];
    for (int32_t j = 0; j < i; j++) cr_assert_neq(seen[i], seen[j], "episodes %d and %d begin alike", i, j);
  }
  cr_assert_eq(memcmp(other, view.observations + 3, sizeof other), 0);
  cr_assert_eq(view.lifetime_steps[0], 1);
  cr_assert_eq(drover_batch_reset_some(w.batch, NULL), DROVER_ERROR_ARGUMENT);
  close_batch(&w);
}

/* ---- Parameters ----------------------------------------------------------------------------------------------- */

Test(batch, set_param_reaches_the_masked_envs_from_the_next_step_on) {
  world w;
  init_batch(&w);
  w.config.terminate = w.config.truncate = 0;
  open_batch(&w);
  const drover_batch_view view = batch_view(w.batch);
  const uint8_t mask[N] = {0, 1};
  OK(drover_batch_set_param(w.batch, "bias", mask, 1000));
  step_all(&w, 0);
  cr_assert_lt(view.observations[0], 100);
  cr_assert_gt(view.observations[3], 900);
  OK(drover_batch_set_param(w.batch, "bias", NULL, 1000));
  step_all(&w, 0);
  for (int32_t e = 0; e < N; e++) cr_assert_gt(view.observations[3 * e], 900);
  close_batch(&w);
}

Test(batch, set_param_of_an_unknown_name_or_a_refused_value_is_an_error) {
  world w;
  init_batch(&w);
  open_batch(&w);
  cr_assert_eq(drover_batch_set_param(w.batch, "gian", NULL, 1), DROVER_ERROR_NOT_FOUND);
  cr_assert(strstr(drover_last_error(), "'gian'"));
  cr_assert_eq(drover_batch_set_param(w.batch, NULL, NULL, 1), DROVER_ERROR_NOT_FOUND);
  const uint8_t mask[N] = {0, 0, 0, 0, 1};
  cr_assert_eq(drover_batch_set_param(w.batch, "gain", mask, 101), DROVER_ERROR_ARGUMENT);
  cr_assert(strstr(drover_last_error(), "env 4") && strstr(drover_last_error(), "101"), "%s", drover_last_error());
  close_batch(&w);
}

/* ---- The view and the rest ------------------------------------------------------------------------------------ */

Test(batch, the_view_names_its_shapes) {
  world w;
  init_batch(&w);
  w.config.time_limit = 77;
  open_batch(&w);
  const drover_batch_view view = batch_view(w.batch);
  cr_assert_eq(view.num_envs, N);
  cr_assert_eq(view.spec->observation_size, 3);
  cr_assert_eq(view.spec->num_actions, 3);
  cr_assert_eq(view.spec->max_episode_steps, 77);
  cr_assert_str_eq(view.spec->info_names[1], "twice_reward");
  cr_assert_str_eq(view.spec->param_names[0], "gain");
  drover_batch_view wrong = {.size = 8};
  cr_assert_eq(drover_batch_get_view(w.batch, &wrong), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_batch_get_view(w.batch, NULL), DROVER_ERROR_ARGUMENT);
  step_all(&w, 2);
  cr_assert_eq(view.infos[1], 2 * view.rewards[0]);
  close_batch(&w);
}

Test(batch, rows_and_columns_begin_on_cache_lines) {
  world w;
  init_batch(&w);
  open_batch(&w);
  const drover_batch_view view = batch_view(w.batch);
  cr_assert_eq((uintptr_t)view.observations % 64, 0);
  cr_assert_eq((uintptr_t)view.rewards % 64, 0);
  close_batch(&w);
}

Test(batch, sizes_are_those_asked_for_or_chosen) {
  world w;
  init_batch(&w);
  w.batch_options.num_envs = 1000;
  w.batch_options.shard = 7;
  w.batch_options.chunk = 3;
  open_batch(&w);
  int32_t shard, chunk;
  OK(drover_batch_get_sizes(w.batch, &shard, &chunk));
  cr_assert_eq(shard, 7);
  cr_assert_eq(chunk, 3);
  close_batch(&w);
  init_batch(&w);
  w.batch_options.num_envs = 64;
  w.runtime_options.num_workers = 4;
  open_batch(&w);
  OK(drover_batch_get_sizes(w.batch, &shard, &chunk));
  cr_assert_leq(shard, 4, "fewer than 4 shards a worker: %d envs a shard", shard);
  cr_assert_eq(chunk, 0);
  OK(drover_batch_get_sizes(w.batch, NULL, NULL));
  close_batch(&w);
}

Test(batch, step_without_actions_is_an_error) {
  world w;
  init_batch(&w);
  open_batch(&w);
  cr_assert_eq(drover_batch_step(w.batch, NULL), DROVER_ERROR_ARGUMENT);
  close_batch(&w);
}

Test(batch, step_passes_actions_through_as_they_are) {
  world w;
  init_batch(&w);
  open_batch(&w);
  step_all(&w, 7);
  cr_assert_eq(w.config.num_bad_actions, N);
  close_batch(&w);
}

static void *step_once(void *arg) {
  step_all(arg, 0);
  return NULL;
}

Test(batch, calls_that_overlap_are_refused, .timeout = 100) {
  world w;
  init_batch(&w);
  w.runtime_options.num_workers = 3;
  toy_gate gate = {0};
  const toy_trouble hold = {TOY_GATE, 1, 0};
  w.config.gate = &gate;
  w.config.troubles = &hold;
  w.config.num_troubles = 1;
  open_batch(&w);
  pthread_t thread;
  cr_assert_eq(pthread_create(&thread, NULL, step_once, &w), 0);
  toy_gate_wait_for(&gate, 1);
  const int32_t actions[N] = {0}, id = 0;
  const uint8_t mask[N] = {1};
  size_t bytes = 0;
  cr_assert_eq(drover_batch_step(w.batch, actions), DROVER_ERROR_STATE);
  cr_assert(strstr(drover_last_error(), "overlap"), "%s", drover_last_error());
  cr_assert_eq(drover_batch_reset(w.batch, 1), DROVER_ERROR_STATE);
  cr_assert_eq(drover_batch_reset_some(w.batch, mask), DROVER_ERROR_STATE);
  cr_assert_eq(drover_batch_set_param(w.batch, "gain", NULL, 1), DROVER_ERROR_STATE);
  cr_assert_eq(drover_batch_send(w.batch, 1, &id, actions), DROVER_ERROR_STATE);
  cr_assert_eq(drover_batch_save(w.batch, NULL, &bytes), DROVER_ERROR_STATE);
  cr_assert_eq(drover_batch_destroy(w.batch), DROVER_ERROR_STATE);
  toy_gate_open(&gate);
  pthread_join(thread, NULL);
  step_all(&w, 0); /* and works again */
  cr_assert_eq(batch_view(w.batch).lifetime_steps[0], 2);
  close_batch(&w);
}

Test(batch, batches_of_one_runtime_are_independent) {
  world w;
  init_batch(&w);
  open_batch(&w);
  toy_config config;
  toy_init(&config);
  drover_batch *other;
  drover_batch_options o = w.batch_options;
  o.seed = 99;
  OK(toy_batch_create(&other, w.runtime, &config, &o));
  float before[N * 3];
  memcpy(before, batch_view(other).observations, sizeof before);
  step_all(&w, 1);
  cr_assert_eq(memcmp(before, batch_view(other).observations, sizeof before), 0);
  OK(drover_batch_destroy(other));
  step_all(&w, 1);
  close_batch(&w);
}

Test(batch, everything_that_was_opened_and_created_is_destroyed_and_closed) {
  world w;
  init_batch(&w);
  open_batch(&w);
  close_batch(&w);
  cr_assert_eq(w.config.num_opens, 1);
  cr_assert_eq(w.config.num_closes, 1);
  cr_assert_eq(w.config.num_creates, N);
  cr_assert_eq(w.config.num_destroys, N);
}

Test(batch, an_env_type_with_the_required_functions_only) {
  world w;
  init_batch(&w);
  w.config.saves = false;
  w.config.type.close = NULL;
  w.config.type.create = NULL;
  w.config.type.destroy = NULL;
  w.config.type.step_many = NULL;
  w.config.type.save = NULL;
  w.config.type.load = NULL;
  open_batch(&w);
  for (int32_t t = 0; t < 10; t++) step_all(&w, 1);
  cr_assert_eq(w.config.num_steps, 10 * N);
  close_batch(&w);
}
