/* test_policy.c: policies as tables: what is checked, how contexts and versions are used, failures, the uniform one. */
#include <criterion/criterion.h>
#include <math.h>

#include "tests/support/world.h"

/* ---- Tables and specs ----------------------------------------------------------------------------------------- */

static void refuse_as(world *w, drover_status expected, const char *const words[]) {
  drover_policy *policy = (drover_policy *)w;
  const drover_status status = toy_policy_create(&policy, w->runtime, &w->toy);
  cr_assert_eq(status, expected, "got %s: %s", drover_status_name(status), drover_last_error());
  cr_assert_null(policy);
  for (; *words; words++)
    cr_assert(strstr(drover_last_error(), *words), "'%s' does not say '%s'", drover_last_error(), *words);
  cr_assert_eq(w->toy.num_contexts, 0, "%d contexts were left open", w->toy.num_contexts);
  cr_assert_eq(w->toy.num_destroys, 0, "self still belongs to the caller");
}
#define REFUSE(field, value, ...)                                                           \
  do {                                                                                      \
    world w;                                                                                \
    world_init(&w);                                                                         \
    OK(drover_runtime_create(&w.runtime, &w.runtime_options));                              \
    toy_policy_init(&w.toy, &w.config, true);                                               \
    w.toy.field = value;                                                                    \
    refuse_as(&w, DROVER_ERROR_POLICY, (const char *const[]){"policy", __VA_ARGS__, NULL}); \
    OK(drover_runtime_destroy(w.runtime));                                                  \
  } while (0)

Test(policy, a_table_or_spec_that_does_not_hold_together_is_refused) {
  REFUSE(type.abi_version, 9, "ABI version 9", "rebuild");
  REFUSE(type.size, 4, "4 bytes", "rebuild");
  REFUSE(type.name, NULL, "name");
  REFUSE(type.get_spec, NULL, "toy", "get_spec");
  REFUSE(type.act, NULL, "toy", "act");
  REFUSE(type.value, NULL, "toy", "value", "has_values");
  REFUSE(fails_to_get_spec, true, "toy", "get_spec failed");
  REFUSE(spec.observation_size, 0, "observation_size");
  REFUSE(spec.action_size, 0, "action_size");
  REFUSE(spec.action_size, 2, "action_size");
  REFUSE(spec.num_actions, 0, "num_actions");
  REFUSE(spec.action_kind, (drover_action_kind)5, "action_kind");
  REFUSE(spec.num_tiles, 9, "num_tiles");
  REFUSE(spec.num_tiles, -1, "num_tiles");
  REFUSE(fails_to_open_context, 0, "worker 0 of 2");
  REFUSE(fails_to_open_context, 1, "worker 1 of 2");
}

Test(policy, null_arguments_are_refused) {
  world w;
  world_init(&w);
  OK(drover_runtime_create(&w.runtime, &w.runtime_options));
  toy_policy_init(&w.toy, &w.config, true);
  drover_policy *policy;
  drover_policy_spec spec;
  cr_assert_eq(drover_policy_create(NULL, w.runtime, &w.toy.type, &w.toy), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_policy_create(&policy, NULL, &w.toy.type, &w.toy), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_policy_create(&policy, w.runtime, NULL, &w.toy), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_policy_create_uniform(NULL, w.runtime, (const drover_env_spec *)&spec), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_policy_create_uniform(&policy, w.runtime, NULL), DROVER_ERROR_ARGUMENT);
  const drover_env_spec env = {.observation_size = 1, .action_size = 1, .num_actions = 2};
  cr_assert_eq(drover_policy_create_uniform(&policy, NULL, &env), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_policy_get_spec(NULL, &spec), DROVER_ERROR_ARGUMENT);
  OK(toy_policy_create(&policy, w.runtime, &w.toy));
  cr_assert_eq(drover_policy_get_spec(policy, NULL), DROVER_ERROR_ARGUMENT);
  OK(drover_policy_get_spec(policy, &spec));
  cr_assert(spec.observation_size == 3 && spec.num_actions == 3 && spec.has_values == 1);
  OK(drover_policy_destroy(policy));
  OK(drover_policy_destroy(NULL));
  OK(drover_runtime_destroy(w.runtime));
}

Test(policy, the_table_is_copied) {
  world w;
  world_init(&w);
  world_open(&w);
  memset(&w.toy.type, 0, sizeof w.toy.type);
  OK(drover_rollout_collect(w.rollout));
  world_close(&w);
  cr_assert_eq(w.toy.num_destroys, 1);
}

Test(policy, a_policy_with_the_required_functions_only) {
  world w;
  world_init(&w);
  w.has_values = false;
  toy_policy_init(&w.toy, &w.config, false);
  w.toy.type.value = NULL;
  w.toy.type.destroy = NULL;
  world_open(&w);
  OK(drover_rollout_collect(w.rollout));
  drover_rollout_view v = {.size = sizeof v};
  OK(drover_rollout_get_view(w.rollout, &v));
  cr_assert(v.values == NULL && v.advantages == NULL && v.returns == NULL && v.final_values == NULL);
  world_close(&w);
}

/* ---- Fitting -------------------------------------------------------------------------------------------------- */

#define MISFIT(change, ...)                                                                                        \
  do {                                                                                                             \
    world w;                                                                                                       \
    world_init(&w);                                                                                                \
    toy_config other;                                                                                              \
    toy_init(&other);                                                                                              \
    change;                                                                                                        \
    toy_policy_init(&w.toy, &other, true);                                                                         \
    OK(drover_runtime_create(&w.runtime, &w.runtime_options));                                                     \
    OK(toy_batch_create(&w.batch, w.runtime, &w.config, &w.batch_options));                                        \
    OK(toy_policy_create(&w.policy, w.runtime, &w.toy));                                                           \
    const char *const words[] = {"toy", __VA_ARGS__};                                                              \
    for (int32_t way = 0; way < 2; way++) {                                                                        \
      float actions[64];                                                                                           \
      cr_assert_eq(way ? drover_policy_act(w.policy, w.batch, 0, actions, NULL, NULL)                              \
                       : drover_rollout_create(&w.rollout, w.batch, w.policy, &w.rollout_options),                 \
                   DROVER_ERROR_POLICY);                                                                           \
      for (size_t i = 0; i < sizeof words / sizeof *words; i++)                                                    \
        cr_assert(strstr(drover_last_error(), words[i]), "'%s' does not say '%s'", drover_last_error(), words[i]); \
    }                                                                                                              \
    OK(drover_policy_destroy(w.policy));                                                                           \
    OK(drover_batch_destroy(w.batch));                                                                             \
    OK(drover_runtime_destroy(w.runtime));                                                                         \
  } while (0)

Test(policy, a_policy_that_does_not_fit_the_env_is_refused_with_both_numbers) {
  MISFIT(other.observation_size = 5, "5 numbers", "gives 3");
  MISFIT(toy_init_continuous(&other), "continuous", "discrete");
  MISFIT(other.num_actions = 4, "4 actions", "has 3");
  MISFIT(toy_init_continuous(&other); toy_init_continuous(&w.config); w.config.action_size = 1, "2 numbers", "takes 1");
}

Test(policy, a_policy_of_another_runtime_is_refused) {
  world a, b;
  world_init(&a);
  world_init(&b);
  world_open(&a);
  world_open(&b);
  drover_rollout *rollout;
  int32_t actions[16];
  cr_assert_eq(drover_rollout_create(&rollout, a.batch, b.policy, &a.rollout_options), DROVER_ERROR_ARGUMENT);
  cr_assert(strstr(drover_last_error(), "different runtimes"), "%s", drover_last_error());
  cr_assert_eq(drover_policy_act(b.policy, a.batch, 0, actions, NULL, NULL), DROVER_ERROR_ARGUMENT);
  world_close(&a);
  world_close(&b);
}

/* ---- Use ------------------------------------------------------------------------------------------------------ */

Test(policy, every_worker_has_a_context_and_every_run_a_version) {
  world w;
  world_init(&w);
  w.runtime_options.num_workers = 5;
  w.config.sleep_us = 50;
  w.config.length = 4;
  toy_policy_init(&w.toy, &w.config, true);
  w.toy.work = 500;
  world_open(&w);
  cr_assert_eq(w.toy.num_contexts, 5);
  OK(drover_rollout_collect(w.rollout));
  cr_assert_eq(w.toy.num_versions, 0, "a version was kept");
  cr_assert_eq(w.toy.num_overlaps, 0, "two calls were in one context, or without a version");
  cr_assert_eq(w.toy.num_acts, 20 * 16);
  drover_rollout_view v = {.size = sizeof v};
  OK(drover_rollout_get_view(w.rollout, &v));
  int64_t truncated = 0;
  for (int64_t i = 0; i < v.num_episodes; i++) truncated += v.episodes[i].truncated && !v.episodes[i].terminated;
  cr_assert_eq(w.toy.num_values, 16 + truncated, "values are asked for where advantages need them only");
  world_fill(&w, WORLD_STEPPED);
  cr_assert_eq(w.toy.num_versions, 0);
  cr_assert_eq(w.toy.num_overlaps, 0);
  world_close(&w);
  cr_assert_eq(w.toy.num_contexts, 0);
  cr_assert_eq(w.toy.num_destroys, 1);
}

Test(policy, a_context_that_is_left_null_is_not_closed) {
  world w;
  world_init(&w);
  w.has_values = false;
  toy_policy_init(&w.toy, &w.config, false);
  w.toy.type.open_context = NULL;
  OK(drover_runtime_create(&w.runtime, &w.runtime_options));
  OK(toy_policy_create(&w.policy, w.runtime, &w.toy));
  OK(drover_policy_destroy(w.policy));
  cr_assert_eq(w.toy.num_contexts, 0);
  OK(drover_runtime_destroy(w.runtime));
}

Test(policy, act_on_a_batch_gives_what_the_table_gives) {
  for (int32_t deterministic = 0; deterministic <= 1; deterministic++) {
    world w;
    world_init(&w);
    w.batch_options.num_envs = 700; /* more than a block */
    w.runtime_options.num_workers = 3;
    world_open(&w);
    drover_batch_view b = {.size = sizeof b};
    OK(drover_batch_get_view(w.batch, &b));
    int32_t *actions = calloc(700, 4), expected;
    float *logprobs = calloc(700, 4), *values = calloc(700, 4);
    OK(drover_batch_step(w.batch, actions));
    OK(drover_policy_act(w.policy, w.batch, deterministic, actions, logprobs, values));
    for (int32_t e = 0; e < 700; e++) {
      const float logprob =
          toy_policy_act_one(&w.toy, 7, e, b.lifetime_steps[e], b.observations + 3 * e, deterministic != 0, &expected);
      cr_assert(actions[e] == expected && logprobs[e] == logprob, "env %d", e);
      cr_assert_eq(values[e], toy_policy_value_one(&w.toy, b.observations + 3 * e));
    }
    OK(drover_policy_act(w.policy, w.batch, deterministic, actions, NULL, NULL));
    cr_assert_eq(drover_policy_act(w.policy, w.batch, 0, NULL, NULL, NULL), DROVER_ERROR_ARGUMENT);
    free(actions);
    free(logprobs);
    free(values);
    world_close(&w);
  }
}

Test(policy, values_of_a_policy_that_has_none_are_refused) {
  world w;
  world_init(&w);
  w.has_values = false;
  world_open(&w);
  int32_t actions[16];
  float values[16];
  cr_assert_eq(drover_policy_act(w.policy, w.batch, 0, actions, NULL, values), DROVER_ERROR_ARGUMENT);
  cr_assert(strstr(drover_last_error(), "no values"), "%s", drover_last_error());
  world_close(&w);
}

/* ---- Failing -------------------------------------------------------------------------------------------------- */

Test(policy, an_act_that_fails_stops_the_collect_before_the_envs_are_stepped_with_garbage) {
  for (int32_t workers = 1; workers <= 3; workers++)
    for (int32_t barrier = 0; barrier <= 1; barrier++) {
      world w;
      world_init(&w);
      w.runtime_options.num_workers = workers;
      w.rollout_options.barrier = barrier;
      toy_policy_init(&w.toy, &w.config, true);
      w.toy.fails_at_env = 6;
      w.toy.fails_at_step = 9;
      world_open(&w);
      /* What act does not write would be out of range. */
      drover_rollout_view v = {.size = sizeof v};
      OK(drover_rollout_get_view(w.rollout, &v));
      memset(v.actions, 0x55, 20 * 16 * 4);
      cr_assert_eq(drover_rollout_collect(w.rollout), DROVER_ERROR_POLICY);
      cr_assert(strstr(drover_last_error(), "policy toy: act failed on envs"), "%s", drover_last_error());
      OK(drover_rollout_get_view(w.rollout, &v));
      cr_assert_leq(v.num_steps_done, 9);
      cr_assert_eq(w.config.num_bad_actions, 0);
      drover_batch_view b = {.size = sizeof b};
      OK(drover_batch_get_view(w.batch, &b));
      cr_assert_eq(b.lifetime_steps[6], 9, "the env was stepped %d times", (int)b.lifetime_steps[6]);
      cr_assert_eq(w.toy.num_versions, 0);
      /* Once it works again, so does the rollout. */
      w.toy.fails_at_env = -1;
      OK(drover_rollout_collect(w.rollout));
      world_close(&w);
    }
}

Test(policy, an_act_that_fails_fails_the_call_on_the_batch) {
  world w;
  world_init(&w);
  toy_policy_init(&w.toy, &w.config, true);
  w.toy.fails_at_env = 6;
  world_open(&w);
  int32_t actions[16];
  cr_assert_eq(drover_policy_act(w.policy, w.batch, 0, actions, NULL, NULL), DROVER_ERROR_POLICY);
  world_close(&w);
}

Test(policy, a_value_that_fails_is_an_error) {
  world w;
  world_init(&w);
  toy_policy_init(&w.toy, &w.config, true);
  w.toy.fails_to_value = true;
  world_open(&w);
  cr_assert_eq(drover_rollout_collect(w.rollout), DROVER_ERROR_POLICY);
  cr_assert(strstr(drover_last_error(), "policy toy: value failed"), "%s", drover_last_error());
  cr_assert_eq(w.toy.num_versions, 0);
  world_close(&w);
}

/* ---- The uniform policy --------------------------------------------------------------------------------------- */

/* 40 acts on 1,000 envs: 40,000 actions. */
enum { ENVS = 1000, ROUNDS = 40, DRAWS = ENVS * ROUNDS };

static drover_policy *open_uniform(world *w) {
  w->batch_options.num_envs = ENVS;
  OK(drover_runtime_create(&w->runtime, &w->runtime_options));
  OK(toy_batch_create(&w->batch, w->runtime, &w->config, &w->batch_options));
  drover_batch_view b = {.size = sizeof b};
  OK(drover_batch_get_view(w->batch, &b));
  drover_policy *policy;
  OK(drover_policy_create_uniform(&policy, w->runtime, b.spec));
  return policy;
}

static void close_uniform(world *w, drover_policy *policy) {
  OK(drover_policy_destroy(policy));
  OK(drover_batch_destroy(w->batch));
  OK(drover_runtime_destroy(w->runtime));
}

Test(policy, uniform_discrete_actions_are_equally_likely) {
  world w;
  world_init(&w);
  w.config.num_actions = 7;
  drover_policy *policy = open_uniform(&w);
  int32_t counts[7] = {0}, actions[ENVS], same_as_before = 0, before[ENVS];
  float logprobs[ENVS];
  for (int32_t i = 0; i < ROUNDS; i++) {
    memcpy(before, actions, sizeof before);
    OK(drover_policy_act(policy, w.batch, 0, actions, logprobs, NULL));
    OK(drover_batch_step(w.batch, actions));
    for (int32_t e = 0; e < ENVS; e++) {
      cr_assert(actions[e] >= 0 && actions[e] < 7);
      cr_assert_eq(logprobs[e], (float)-log(7));
      counts[actions[e]]++;
      same_as_before += i > 0 && actions[e] == before[e];
    }
  }
  double chi2 = 0;
  for (int32_t a = 0; a < 7; a++) chi2 += (counts[a] - DRAWS / 7.0) * (counts[a] - DRAWS / 7.0) / (DRAWS / 7.0);
  cr_assert_lt(chi2, 30, "chi2 of 6 degrees of freedom is %g", chi2); /* p < 1e-4; the seed is fixed */
  const double expected = (ROUNDS - 1) * ENVS / 7.0;
  cr_assert_float_eq(same_as_before, expected, 5 * sqrt(expected), "steps are not independent");
  close_uniform(&w, policy);
}

Test(policy, uniform_continuous_actions_fill_the_bounds_evenly) {
  static const float low[2] = {-2, 5}, high[2] = {1, 5.5f};
  world w;
  world_init(&w);
  toy_init_continuous(&w.config);
  w.config.action_low = low;
  w.config.action_high = high;
  drover_policy *policy = open_uniform(&w);
  float actions[ENVS * 2], logprobs[ENVS];
  double sums[2] = {0}, squares[2] = {0}, product = 0;
  for (int32_t i = 0; i < ROUNDS; i++) {
    OK(drover_policy_act(policy, w.batch, 0, actions, logprobs, NULL));
    OK(drover_batch_step(w.batch, actions));
    for (int32_t e = 0; e < ENVS; e++) {
      double u[2];
      for (int32_t k = 0; k < 2; k++) {
        const float a = actions[2 * e + k];
        cr_assert(a >= low[k] && a <= high[k], "%g", (double)a);
        u[k] = ((double)a - (double)low[k]) / ((double)high[k] - (double)low[k]) - 0.5;
        sums[k] += u[k];
        squares[k] += u[k] * u[k];
      }
      product += u[0] * u[1];
      cr_assert_float_eq(logprobs[e], -log(3 * 0.5), 1e-6);
    }
  }
  /* Mean 0, variance 1/12, no correlation: within 5 standard errors. */
  for (int32_t k = 0; k < 2; k++) {
    cr_assert_lt(fabs(sums[k] / DRAWS), 5 * sqrt(1 / 12.0 / DRAWS));
    cr_assert_lt(fabs(squares[k] / DRAWS - 1 / 12.0), 5 * sqrt((1 / 80.0 - 1 / 144.0) / DRAWS));
  }
  cr_assert_lt(fabs(product / DRAWS), 5 / 12.0 / sqrt(DRAWS));
  cr_assert_eq(w.config.num_bad_actions, 0);
  close_uniform(&w, policy);
}

Test(policy, uniform_actions_of_an_env_do_not_depend_on_the_others) {
  int32_t few[5], many[ENVS];
  for (int32_t i = 0; i < 2; i++) {
    world w;
    world_init(&w);
    drover_policy *policy = open_uniform(&w);
    drover_batch *batch = w.batch;
    if (i == 0) {
      w.batch_options.num_envs = 5;
      OK(toy_batch_create(&batch, w.runtime, &w.config, &w.batch_options));
    }
    OK(drover_policy_act(policy, batch, 0, i ? many : few, NULL, NULL));
    if (i == 0) OK(drover_batch_destroy(batch));
    close_uniform(&w, policy);
  }
  cr_assert_eq(memcmp(few, many, sizeof few), 0);
}

static void refuse_uniform(drover_env_spec spec, const char *word) {
  world w;
  world_init(&w);
  OK(drover_runtime_create(&w.runtime, &w.runtime_options));
  drover_policy *policy = (drover_policy *)&w;
  const drover_status status = drover_policy_create_uniform(&policy, w.runtime, &spec);
  cr_assert(status == DROVER_ERROR_POLICY || status == DROVER_ERROR_ARGUMENT, "got %s", drover_status_name(status));
  cr_assert_null(policy);
  cr_assert(strstr(drover_last_error(), word), "'%s' does not say '%s'", drover_last_error(), word);
  OK(drover_runtime_destroy(w.runtime));
}

Test(policy, uniform_needs_actions_and_finite_bounds) {
  const float zero[2] = {0, 0}, one[2] = {1, 1}, open[2] = {1, INFINITY}, huge[2] = {3e38f, 3e38f},
              low[2] = {-3e38f, 0};
  const drover_env_spec continuous = {.observation_size = 1,
                                      .action_kind = DROVER_ACTION_CONTINUOUS,
                                      .action_size = 2,
                                      .action_low = zero,
                                      .action_high = one};
  drover_env_spec s = continuous;
  s.action_high = open;
  refuse_uniform(s, "action 1 has no finite bounds");
  s.action_high = huge;
  s.action_low = low;
  refuse_uniform(s, "action 0 has no finite bounds");
  s = continuous;
  s.action_low = NULL;
  refuse_uniform(s, "bounds");
  s = continuous;
  s.action_size = 0;
  refuse_uniform(s, "action_size");
  s = (drover_env_spec){.observation_size = 1, .action_size = 1};
  refuse_uniform(s, "num_actions");
}
