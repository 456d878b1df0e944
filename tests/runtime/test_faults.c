/* test_faults.c: an env that fails: it is recorded, its row is invalid, its episode cut off with the last finite
 * observation, and the other envs do not notice. */
#include <criterion/criterion.h>
#include <math.h>

#include "tests/support/model.h"
#include "tests/support/world.h"

enum { N = 16, T = 20, BAD = 5, AT = 8 };

/* A rollout with these troubles; the world stays open. */
static drover_rollout_view collect(world *w, const toy_trouble *troubles, int32_t num_troubles) {
  w->config.troubles = troubles;
  w->config.num_troubles = num_troubles;
  world_open(w);
  OK(drover_rollout_collect(w->rollout));
  drover_rollout_view view = {.size = sizeof view};
  OK(drover_rollout_get_view(w->rollout, &view));
  return view;
}

/* All rows of all envs but BAD are the same in both. */
static void assert_others_unchanged(const drover_rollout_view *a, const drover_rollout_view *b) {
  for (int32_t t = 0; t < T; t++)
    for (int32_t e = 0; e < N; e++) {
      if (e == BAD) continue;
      const int32_t i = t * N + e;
      cr_assert_eq(memcmp(a->observations + i * 3, b->observations + i * 3, 12), 0, "step %d, env %d", t, e);
      cr_assert_eq(((int32_t *)a->actions)[i], ((int32_t *)b->actions)[i], "step %d, env %d", t, e);
      cr_assert_eq(memcmp(&a->logprobs[i], &b->logprobs[i], 4), 0, "step %d, env %d", t, e);
      cr_assert_eq(memcmp(&a->values[i], &b->values[i], 4), 0, "step %d, env %d", t, e);
      cr_assert_eq(memcmp(&a->rewards[i], &b->rewards[i], 4), 0, "step %d, env %d", t, e);
      cr_assert_eq(memcmp(&a->advantages[i], &b->advantages[i], 4), 0, "step %d, env %d", t, e);
      cr_assert_eq(memcmp(a->infos + i * 2, b->infos + i * 2, 8), 0, "step %d, env %d", t, e);
      cr_assert_eq(a->terminated[i] | a->truncated[i] << 1 | a->valid[i] << 2,
                   b->terminated[i] | b->truncated[i] << 1 | b->valid[i] << 2, "step %d, env %d", t, e);
    }
}

/* A fault of this kind in env BAD at its step AT, whichever way the envs are stepped. */
static void fault_in_a_step(toy_trouble_kind kind, int32_t reason) {
  for (int32_t scalar = 0; scalar <= 1; scalar++) {
    world sound, w;
    world_init(&sound);
    world_init(&w);
    w.runtime_options.num_workers = 3;
    w.batch_options.scalar = scalar;
    sound.config.terminate = w.config.terminate = 0;
    sound.config.truncate = w.config.truncate = 0;
    const drover_rollout_view want = collect(&sound, NULL, 0);
    const toy_trouble trouble = {kind, BAD, AT};
    const drover_rollout_view v = collect(&w, &trouble, 1);
    const int32_t row = AT * N + BAD;
    assert_others_unchanged(&want, &v);
    /* Recorded. */
    cr_assert_eq(v.num_faults, 1);
    cr_assert_eq(v.faults[0].step, AT);
    cr_assert_eq(v.faults[0].env, BAD);
    cr_assert_eq(v.faults[0].reason, reason);
    /* The row is no transition and ends the episode. */
    cr_assert_eq(v.valid[row], 0);
    cr_assert_eq(v.terminated[row], 0);
    cr_assert_eq(v.truncated[row], 1);
    cr_assert_float_eq(v.rewards[row], 0, 0);
    cr_assert_float_eq(v.infos[row * 2], 0, 0);
    cr_assert_float_eq(v.advantages[row], 0, 0);
    for (int32_t t = 0; t < T; t++) cr_assert_eq(v.valid[t * N + BAD], t != AT);
    /* The final observation is the last finite one: what the failed action answered. */
    cr_assert_eq(v.num_episodes, 1);
    const drover_episode *e = &v.episodes[0];
    cr_assert(e->step == AT && e->env == BAD && e->truncated && !e->terminated && e->faulted && e->length == AT);
    cr_assert_eq(memcmp(v.final_observations, want.observations + row * 3, 12), 0);
    double sum = 0;
    for (int32_t t = 0; t < AT; t++) sum += (double)want.rewards[t * N + BAD];
    cr_assert_float_eq(e->episode_return, sum, 0);
    /* The rows before are those of the sound run; then a new episode begins. */
    for (int32_t t = 0; t <= AT; t++)
      cr_assert_eq(memcmp(v.observations + (t * N + BAD) * 3, want.observations + (t * N + BAD) * 3, 12), 0);
    cr_assert_float_eq(v.observations[(row + N) * 3 + 1], 0, 0, "the env was not reset");
    cr_assert_float_eq(v.observations[(row + 2 * N) * 3 + 1], 1, 0);
    for (int32_t i = 0; i < (T + 1) * N * 3; i++) cr_assert(isfinite(v.observations[i]));
    for (int32_t i = 0; i < T * N; i++) cr_assert(isfinite(v.rewards[i]) && isfinite(v.advantages[i]));
    world_close(&sound);
    world_close(&w);
  }
}

Test(faults, a_step_that_returns_an_error) { fault_in_a_step(TOY_FAIL_STEP, DROVER_FAULT_STEP); }
Test(faults, an_observation_that_is_nan) { fault_in_a_step(TOY_NAN_OBSERVATION, DROVER_FAULT_OBSERVATION); }
Test(faults, an_observation_that_is_infinite) { fault_in_a_step(TOY_INF_OBSERVATION, DROVER_FAULT_OBSERVATION); }
Test(faults, a_reward_that_is_nan) { fault_in_a_step(TOY_NAN_REWARD, DROVER_FAULT_REWARD); }
Test(faults, a_reward_that_is_infinite) { fault_in_a_step(TOY_INF_REWARD, DROVER_FAULT_REWARD); }

static int fail_all(void *shared, void *states, const drover_env_rows *rows) {
  (void)shared, (void)states, (void)rows;
  return 1;
}

Test(faults, step_many_that_fails_fails_every_env_of_the_call) {
  world w;
  world_init(&w);
  w.runtime_options.num_workers = 1;
  w.batch_options.shard = 4;
  w.config.type.step_many = fail_all;
  w.batch_options.fault_limit = 1000;
  w.rollout_options.num_steps = 2;
  const drover_rollout_view v = collect(&w, NULL, 0);
  cr_assert_eq(v.num_faults, 2 * N);
  for (int32_t i = 0; i < 2 * N; i++) {
    cr_assert_eq(v.valid[i], 0);
    cr_assert(v.faults[i].step == i / N && v.faults[i].env == i % N && v.faults[i].reason == DROVER_FAULT_STEP);
  }
  world_close(&w);
}
/* An env whose `step` reports its failure in rows->failed, as step_many does, instead of returning it. */
static int (*toy_step)(void *, void *, const drover_env_rows *);
static int fail_by_flag(void *shared, void *state, const drover_env_rows *rows) {
  rows->failed[0] = toy_step(shared, state, rows) != 0;
  return 0;
}

Test(faults, a_scalar_step_may_report_its_failure_in_the_row_too) {
  const toy_trouble trouble = {TOY_FAIL_STEP, BAD, AT};
  world w;
  world_init(&w);
  w.batch_options.scalar = 1;
  toy_step = w.config.type.step;
  w.config.type.step = fail_by_flag;
  const drover_rollout_view v = collect(&w, &trouble, 1);
  cr_assert_eq(v.num_faults, 1);
  cr_assert(v.faults[0].step == AT && v.faults[0].env == BAD, "the fault is said to be env %d's", v.faults[0].env);
  cr_assert_eq(w.config.num_dirty_rows, 0);
  world_close(&w);
}

Test(faults, after_a_failing_row_the_next_rows_find_clean_ones) {
  /* Env 0 is the first row of its block in a scalar loop over the others. */
  const toy_trouble trouble = {TOY_FAIL_STEP, 0, AT};
  world w;
  world_init(&w);
  w.batch_options.scalar = 1;
  w.runtime_options.num_workers = 1;
  collect(&w, &trouble, 1);
  cr_assert_eq(w.config.num_dirty_rows, 0);
  world_close(&w);
}

Test(faults, a_failing_reset_is_tried_again_at_the_next_step_until_it_works) {
  /* The episode ends at step 4; its reset and the next two fail, the fourth works. */
  const toy_trouble_kind kinds[2] = {TOY_FAIL_RESET, TOY_NAN_RESET};
  for (int32_t k = 0; k < 2; k++) {
    const toy_trouble troubles[] = {
        {TOY_TERMINATE, BAD, 4}, {kinds[k], BAD, 1}, {kinds[k], BAD, 2}, {kinds[k], BAD, 3}};
    world sound, w;
    world_init(&sound);
    world_init(&w);
    w.runtime_options.num_workers = 3;
    sound.config.terminate = w.config.terminate = 0;
    sound.config.truncate = w.config.truncate = 0;
    const drover_rollout_view want = collect(&sound, NULL, 0);
    const drover_rollout_view v = collect(&w, troubles, 4);
    assert_others_unchanged(&want, &v);
    cr_assert_eq(v.num_faults, 3);
    for (int32_t i = 0; i < 3; i++)
      cr_assert(v.faults[i].step == 4 + i && v.faults[i].env == BAD && v.faults[i].reason == DROVER_FAULT_RESET);
    /* The step that ended the episode is a good transition; rows 5, 6, 7 are resets. */
    for (int32_t t = 0; t < T; t++) {
      const int32_t row = t * N + BAD;
      cr_assert_eq(v.valid[row], t < 5 || t > 7, "step %d", t);
      if (v.valid[row]) continue;
      cr_assert_eq(v.terminated[row] | v.truncated[row], 0);
      cr_assert_float_eq(v.rewards[row], 0, 0);
      cr_assert_float_eq(v.advantages[row], 0, 0);
      cr_assert_float_eq(v.observations[row * 3], 0, 0, "a broken env has an observation of zeros");
    }
    cr_assert_eq(v.num_episodes, 1);
    cr_assert(v.episodes[0].terminated && !v.episodes[0].faulted && v.episodes[0].length == 5);
    cr_assert_eq(v.final_values[0], 0);
    cr_assert_float_eq(v.observations[(8 * N + BAD) * 3 + 1], 0, 0);
    cr_assert_neq(v.observations[(8 * N + BAD) * 3], 0);
    world_close(&sound);
    world_close(&w);
  }
}

Test(faults, a_reset_that_fails_when_the_batch_is_made_is_a_fault_not_an_error) {
  const toy_trouble trouble = {TOY_FAIL_RESET, BAD, 0};
  world w;
  world_init(&w);
  const drover_rollout_view v = collect(&w, &trouble, 1);
  cr_assert_eq(v.valid[BAD], 0);
  cr_assert_eq(v.valid[N + BAD], 1);
  drover_batch_view view = {.size = sizeof view};
  OK(drover_batch_get_view(w.batch, &view));
  cr_assert_eq(view.num_faults, 1);
  world_close(&w);
}

Test(faults, a_fault_and_a_failing_reset_in_one_step_are_both_recorded) {
  const toy_trouble troubles[] = {{TOY_FAIL_STEP, BAD, AT}, {TOY_NAN_RESET, BAD, 1}};
  world w;
  world_init(&w);
  w.config.terminate = w.config.truncate = 0;
  const drover_rollout_view v = collect(&w, troubles, 2);
  cr_assert_eq(v.num_faults, 2);
  cr_assert(v.faults[0].step == AT && v.faults[0].reason == DROVER_FAULT_STEP);
  cr_assert(v.faults[1].step == AT && v.faults[1].reason == DROVER_FAULT_RESET);
  cr_assert_eq(v.num_episodes, 1);
  cr_assert_eq(v.valid[(AT + 1) * N + BAD], 0);
  cr_assert_eq(v.valid[(AT + 2) * N + BAD], 1);
  world_close(&w);
}

Test(faults, next_step_mode_resets_a_faulted_env_at_its_next_step) {
  const toy_trouble trouble = {TOY_NAN_OBSERVATION, BAD, AT};
  world w;
  world_init(&w);
  w.config.terminate = w.config.truncate = 0;
  w.batch_options.autoreset = DROVER_AUTORESET_NEXT_STEP;
  const drover_rollout_view v = collect(&w, &trouble, 1);
  cr_assert_eq(v.valid[AT * N + BAD], 0);
  cr_assert_eq(v.truncated[AT * N + BAD], 1);
  cr_assert_eq(v.valid[(AT + 1) * N + BAD], 0);
  cr_assert_eq(v.truncated[(AT + 1) * N + BAD], 0);
  cr_assert_eq(v.valid[(AT + 2) * N + BAD], 1);
  cr_assert_eq(memcmp(v.observations + (AT * N + BAD) * 3, v.observations + ((AT + 1) * N + BAD) * 3, 12), 0,
               "after the fault the env must show its last finite observation");
  world_close(&w);
}

Test(faults, the_value_of_the_last_finite_observation_bootstraps_nothing) {
  /* The faulted row itself counts for nothing; the row before sees V of the observation that the fault answered. */
  const toy_trouble trouble = {TOY_FAIL_STEP, BAD, AT};
  world w;
  world_init(&w);
  w.config.terminate = w.config.truncate = 0;
  const drover_rollout_view v = collect(&w, &trouble, 1);
  const int32_t before = (AT - 1) * N + BAD;
  const double delta = (double)v.rewards[before] + 0.99 * (double)v.values[before + N] - (double)v.values[before];
  cr_assert_float_eq(v.advantages[before], delta, 1e-5);
  cr_assert_float_eq(v.final_values[0], toy_policy_value_one(&w.toy, v.final_observations), 0);
  cr_assert_float_eq(v.returns[AT * N + BAD], v.values[AT * N + BAD], 0);
  world_close(&w);
}

/* ---- Limits and errors ---------------------------------------------------------------------------------------- */

Test(faults, more_faults_than_the_limit_stop_the_run_and_keep_what_all_shards_completed) {
  for (int32_t workers = 1; workers <= 3; workers += 2) {
    world w;
    world_init(&w);
    const toy_trouble troubles[] = {{TOY_FAIL_STEP, 1, 2}, {TOY_NAN_REWARD, 9, 3}, {TOY_FAIL_STEP, BAD, AT}};
    w.config.troubles = troubles;
    w.config.num_troubles = 3;
    w.batch_options.fault_limit = 2;
    w.runtime_options.num_workers = workers;
    w.rollout_options.num_steps = 1000;
    world_open(&w);
    cr_assert_eq(drover_rollout_collect(w.rollout), DROVER_ERROR_FAULTS);
    cr_assert(strstr(drover_last_error(), "that is fault 3, fault_limit is 2"), "%s", drover_last_error());
    if (workers == 1) cr_assert(strstr(drover_last_error(), "env 5 failed at its step 8"), "%s", drover_last_error());
    drover_rollout_view v = {.size = sizeof v};
    OK(drover_rollout_get_view(w.rollout, &v));
    cr_assert_leq(v.num_steps_done, AT + 1);
    cr_assert_eq(w.config.num_bad_actions, 0);
    /* What is kept is good. */
    model_rollout m;
    w.rollout_options.num_steps = v.num_steps_done;
    model_rollout_make(&m, &w.config, &w.batch_options, &w.toy, &w.rollout_options, 0);
    const char *wrong = model_rollout_differs(&m, &v);
    cr_assert_null(wrong, "%s", wrong);
    model_rollout_free(&m);
    uint64_t digest;
    OK(drover_rollout_digest(w.rollout, &digest));
    world_close(&w);
  }
}

Test(faults, a_limit_of_0_stops_at_the_first_fault_also_in_step) {
  const toy_trouble trouble = {TOY_FAIL_STEP, 3, 1};
  world w;
  world_init(&w);
  w.config.troubles = &trouble;
  w.config.num_troubles = 1;
  w.batch_options.fault_limit = 0;
  world_open(&w);
  const int32_t actions[N] = {0};
  OK(drover_batch_step(w.batch, actions));
  cr_assert_eq(drover_batch_step(w.batch, actions), DROVER_ERROR_FAULTS);
  cr_assert(strstr(drover_last_error(), "Toy-v0: env 3 failed at its step 1"), "%s", drover_last_error());
  world_close(&w);
}

Test(faults, as_many_faults_as_the_limit_are_allowed) {
  const toy_trouble troubles[] = {{TOY_FAIL_STEP, 1, 2}, {TOY_FAIL_STEP, 2, 2}};
  world w;
  world_init(&w);
  w.batch_options.fault_limit = 2;
  const drover_rollout_view v = collect(&w, troubles, 2);
  cr_assert_eq(v.num_faults, 2);
  cr_assert_eq(v.num_steps_done, T);
  world_close(&w);
}

/* What open_world does up to the batch, which fails. */
static void refuse_batch(world *w, const char *word) {
  OK(drover_runtime_create(&w->runtime, &w->runtime_options));
  drover_batch *batch;
  cr_assert_eq(toy_batch_create(&batch, w->runtime, &w->config, &w->batch_options), DROVER_ERROR_ENV);
  cr_assert_null(batch);
  cr_assert(strstr(drover_last_error(), word), "%s", drover_last_error());
  cr_assert_eq(w->config.num_creates, w->config.num_destroys);
  cr_assert_eq(w->config.num_closes, w->config.num_opens - w->config.fails_to_open);
  OK(drover_runtime_destroy(w->runtime));
}

Test(faults, an_env_that_cannot_be_created_fails_the_batch_and_leaves_nothing_behind) {
  for (int32_t env = 0; env < N; env += 5)
    for (int32_t workers = 1; workers <= 3; workers += 2) {
      const toy_trouble trouble = {TOY_FAIL_CREATE, env, 0};
      char word[32];
      snprintf(word, sizeof word, "env %d", env);
      world w;
      world_init(&w);
      w.batch_options.shard = 2;
      w.config.troubles = &trouble;
      w.config.num_troubles = 1;
      w.runtime_options.num_workers = workers;
      refuse_batch(&w, word);
    }
}

Test(faults, an_env_type_that_cannot_be_opened_fails_the_batch_with_its_sentence) {
  world w;
  world_init(&w);
  w.config.fails_to_open = true;
  refuse_batch(&w, "toy: cannot be opened today");
}

/* All troubles at once, every step: nothing but numbers that are finite. */
Test(faults, envs_that_fail_all_the_time_never_stop_the_others) {
  enum { EVERY = T * 4 };
  toy_trouble troubles[EVERY];
  for (int32_t i = 0; i < EVERY; i++)
    troubles[i] = (toy_trouble){i % 4 == 0   ? TOY_FAIL_STEP
                                : i % 4 == 1 ? TOY_NAN_OBSERVATION
                                : i % 4 == 2 ? TOY_FAIL_RESET
                                             : TOY_NAN_REWARD,
                                i % 4, (uint64_t)(i / 4)};
  world w;
  world_init(&w);
  w.runtime_options.num_workers = 8;
  w.config.work = 1000;
  w.batch_options.fault_limit = INT64_MAX;
  const drover_rollout_view v = collect(&w, troubles, EVERY);
  model_rollout m;
  model_rollout_make(&m, &w.config, &w.batch_options, &w.toy, &w.rollout_options, 0);
  const char *wrong = model_rollout_differs(&m, &v);
  cr_assert_null(wrong, "%s", wrong);
  cr_assert_gt(v.num_faults, 3 * T / 2);
  model_rollout_free(&m);
  world_close(&w);
}
