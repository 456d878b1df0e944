/* test_classic.c: what all the built-in envs have in common: their specs, saving, seeds, invalid actions. */
#include "tests/env/harness.h"

/* What gymnasium.make(name) shows: the spaces, the time limit. */
static const struct {
  const char *name;
  int observation_size, num_actions, max_episode_steps;
  float action_high;
  float observation_high[6];
} expected[] = {
    {"CartPole-v1", 4, 2, 500, 0, {4.8f, INFINITY, 0.41887903f, INFINITY}},
    {"MountainCar-v0", 2, 3, 200, 0, {0.6f, 0.07f}},
    {"MountainCarContinuous-v0", 2, 0, 999, 1, {0.6f, 0.07f}},
    {"Pendulum-v1", 3, 0, 200, 2, {1, 1, 8}},
    {"Acrobot-v1", 6, 3, 500, 0, {1, 1, 1, 1, 12.566371f, 28.274334f}},
};
enum { NUM_ENVS = sizeof expected / sizeof *expected };

Test(classic, spaces_and_time_limits_are_gymnasiums) {
  for (int i = 0; i < NUM_ENVS; i++) {
    harness h;
    harness_open(&h, expected[i].name, 1);
    const drover_env_spec *spec = &h.spec;
    cr_assert_eq(spec->observation_size, expected[i].observation_size);
    cr_assert_eq(spec->max_episode_steps, expected[i].max_episode_steps);
    cr_assert_eq(spec->num_actions, expected[i].num_actions);
    cr_assert_eq(spec->action_size, 1);
    if (expected[i].num_actions == 0) {
      cr_assert_eq(spec->action_kind, DROVER_ACTION_CONTINUOUS);
      cr_assert_eq(spec->action_high[0], expected[i].action_high);
      cr_assert_eq(spec->action_low[0], -expected[i].action_high);
    }
    const bool car = strncmp(expected[i].name, "MountainCar", 11) == 0;
    for (int j = 0; j < spec->observation_size; j++) {
      cr_assert_eq(spec->observation_high[j], expected[i].observation_high[j], "%s %d", expected[i].name, j);
      cr_assert_eq(spec->observation_low[j], car && j == 0 ? -1.2f : -expected[i].observation_high[j]);
    }
    harness_close(&h);
  }
}

/* The built-in types of env/classic/ and env/synthetic/, whose whole state is in their state_size bytes (MuJoCo's
 * have tests of their own); Spin-v0 with steps that cost nothing. */
static bool open_builtin(harness *h, int index, int32_t count) {
  static const char *const names[] = {"CartPole-v1", "MountainCar-v0", "MountainCarContinuous-v0",
                                      "Pendulum-v1", "Acrobot-v1",     "Spin-v0"};
  const drover_env_type *type = NULL;
  if (index >= (int)(sizeof names / sizeof *names)) return false;
  cr_assert_eq(drover_env_find(names[index], &type), DROVER_OK);
  const drover_env_arg free_steps = {"cost", "0"};
  cr_assert(harness_try_open(h, type->name, count, &free_steps, strcmp(type->name, "Spin-v0") == 0));
  return true;
}

static void random_action(harness *h, int32_t env, uint64_t *random) {
  if (h->spec.action_kind == DROVER_ACTION_DISCRETE)
    ((int32_t *)h->actions)[env] = (int32_t)(test_random(random) % (uint64_t)h->spec.num_actions);
  else
    ((float *)h->actions)[env] = (float)test_uniform(random, -1, 1);
}

Test(classic, state_layout_keeps_the_contract) {
  harness h;
  for (int index = 0; open_builtin(&h, index, 1); index++) {
    const size_t align = h.spec.state_align ? h.spec.state_align : 16;
    cr_assert(align <= 64 && (align & (align - 1)) == 0 && h.spec.state_size % align == 0, "%s", h.type->name);
    cr_assert(!h.type->step_many || h.spec.lanes == 8);
    harness_close(&h);
  }
}

Test(classic, a_restored_env_goes_on_bit_for_bit) {
  uint64_t random = test_seed();
  harness h;
  for (int index = 0; open_builtin(&h, index, 2); index++) {
    cr_assert_gt(h.spec.save_size, 0);
    void *saved = harness_alloc(h.spec.save_size);
    for (uint64_t episode = 0; episode < 20; episode++) {
      harness_reset(&h, 0, episode);
      const int steps = (int)(test_random(&random) % 20);
      for (int step = 0; step < steps; step++) random_action(&h, 0, &random), harness_step(&h, 0);
      cr_assert_eq(h.type->save(h.shared, harness_state(&h, 0), saved), 0);
      harness_reset(&h, 1, 1000 + episode); /* another state to be overwritten */
      cr_assert_eq(h.type->load(h.shared, harness_state(&h, 1), saved), 0);
      for (int step = 0; step < 20; step++) {
        random_action(&h, 0, &random);
        memcpy((char *)h.actions + 4, h.actions, 4);
        harness_step(&h, 0), harness_step(&h, 1);
        cr_assert_arr_eq(harness_state(&h, 0), harness_state(&h, 1), h.spec.state_size);
        cr_assert_arr_eq(harness_observation(&h, 0), harness_observation(&h, 1), 4 * (size_t)h.spec.observation_size);
        cr_assert(h.rewards[0] == h.rewards[1] && h.terminated[0] == h.terminated[1]);
      }
    }
    free(saved);
    harness_close(&h);
  }
}

Test(classic, a_reset_depends_on_seed_env_and_episode_alone) {
  harness h;
  for (int index = 0; open_builtin(&h, index, 2); index++) {
    const size_t bytes = h.spec.state_size;
    unsigned char *first = harness_alloc(bytes);
    harness_reset(&h, 0, 5);
    memcpy(first, harness_state(&h, 0), bytes);
    harness_reset(&h, 1, 5);
    cr_assert(memcmp(first, harness_state(&h, 1), bytes) != 0, "%s: two envs begin alike", h.type->name);
    harness_reset(&h, 0, 6);
    cr_assert(memcmp(first, harness_state(&h, 0), bytes) != 0, "%s: two episodes begin alike", h.type->name);
    h.seed++;
    harness_reset(&h, 0, 5);
    cr_assert(memcmp(first, harness_state(&h, 0), bytes) != 0, "%s: two seeds begin alike", h.type->name);
    h.seed--;
    harness_reset(&h, 0, 5);
    cr_assert_arr_eq(first, harness_state(&h, 0), bytes, "%s: the past shows in a reset", h.type->name);
    free(first);
    harness_close(&h);
  }
}

Test(classic, an_action_out_of_range_is_a_failure_that_changes_nothing) {
  harness h;
  for (int index = 0; open_builtin(&h, index, 1); index++) {
    const int32_t invalid[] = {h.spec.num_actions, -1, INT32_MAX, INT32_MIN};
    for (int i = 0; i < 4 && h.spec.action_kind == DROVER_ACTION_DISCRETE; i++) {
      harness_reset(&h, 0, 1);
      unsigned char *before = harness_alloc(h.spec.state_size);
      memcpy(before, harness_state(&h, 0), h.spec.state_size);
      cr_assert_neq(harness_step_discrete(&h, 0, invalid[i]), 0, "%s: action %d", h.type->name, invalid[i]);
      cr_assert_arr_eq(before, harness_state(&h, 0), h.spec.state_size);
      cr_assert_eq(h.terminated[0] | h.truncated[0], 0);
      free(before);
    }
    harness_close(&h);
  }
}
