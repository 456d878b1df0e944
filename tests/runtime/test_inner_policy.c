/* test_inner_policy.c: giving a batch the policy inside its steps, the weights a call uses, samples for pretraining,
 * and what an env type with an inner loop must declare. */
#include <criterion/criterion.h>
#include <drover/mlp.h>

#include "tests/support/model.h"
#include "tests/support/world.h"

enum { N = 16, T = 20 };

static void init(world *w) {
  world_init(w);
  toy_init_inner(&w->config);
}

/* A runtime and a batch without an inner policy. */
static void open_batch(world *w) {
  OK(drover_runtime_create(&w->runtime, &w->runtime_options));
  OK(toy_batch_create(&w->batch, w->runtime, &w->config, &w->batch_options));
}

static void close_batch(world *w) {
  OK(drover_batch_destroy(w->batch));
  OK(drover_runtime_destroy(w->runtime));
}

static void assert_says(const char *words) {
  cr_assert(strstr(drover_last_error(), words) != NULL, "'%s' does not say '%s'", drover_last_error(), words);
}

/* ---- Giving and taking ---------------------------------------------------------------------------------------- */

Test(inner_policy, without_one_no_call_steps_and_each_says_what_to_do) {
  world w;
  init(&w);
  const int32_t ids[1] = {0}, actions[N] = {0};
  world_open(&w);
  OK(drover_batch_set_inner_policy(w.batch, NULL));
  cr_assert_eq(drover_batch_step(w.batch, actions), DROVER_ERROR_STATE);
  assert_says("batch step: a step of Toy-v0 has 5 ticks");
  assert_says("drover_batch_set_inner_policy");
  cr_assert_eq(drover_batch_send(w.batch, 1, ids, actions), DROVER_ERROR_STATE);
  assert_says("batch send: ");
  cr_assert_eq(drover_rollout_collect(w.rollout), DROVER_ERROR_STATE);
  assert_says("rollout collect: ");
  OK(drover_batch_set_inner_policy(w.batch, w.inner_policy));
  OK(drover_rollout_collect(w.rollout));
  const char *wrong = world_differs_from_model(&w, 0);
  cr_assert(wrong == NULL, "%s", wrong);
  world_close(&w);
}

Test(inner_policy, must_fit_the_inner_loop) {
  world w;
  init(&w);
  open_batch(&w);
  toy_policy toy;
  drover_policy *policy;
  toy_inner_policy_init(&toy, &w.config);
  const drover_policy_spec good = toy.spec;
  for (int32_t wrong = 0; wrong < 3; wrong++) {
    toy.spec = good;
    if (wrong == 0) toy.spec.observation_size = 3;
    if (wrong == 1) toy.spec.action_size = 3;
    if (wrong == 2) toy.spec.action_kind = DROVER_ACTION_DISCRETE, toy.spec.action_size = 1, toy.spec.num_actions = 2;
    OK(toy_policy_create(&policy, w.runtime, &toy));
    cr_assert_eq(drover_batch_set_inner_policy(w.batch, policy), DROVER_ERROR_POLICY);
    const char *const says[] = {"observations of 3 numbers, the inner loop of Toy-v0 gives 4",
                                "3 numbers an action, the inner loop of Toy-v0 takes 2", "discrete"};
    assert_says(says[wrong]);
    OK(drover_policy_destroy(policy)); /* not kept */
  }
  drover_runtime *other;
  OK(drover_runtime_create(&other, &w.runtime_options));
  toy.spec = good;
  OK(toy_policy_create(&policy, other, &toy));
  cr_assert_eq(drover_batch_set_inner_policy(w.batch, policy), DROVER_ERROR_ARGUMENT);
  assert_says("different runtimes");
  OK(drover_policy_destroy(policy));
  OK(drover_runtime_destroy(other));
  close_batch(&w);
}

Test(inner_policy, is_refused_where_there_is_no_inner_loop) {
  world w;
  world_init(&w);
  world_open(&w);
  cr_assert_eq(drover_batch_set_inner_policy(w.batch, w.policy), DROVER_ERROR_UNSUPPORTED);
  assert_says("Toy-v0 has no inner loop");
  cr_assert_eq(drover_batch_set_inner_policy(w.batch, NULL), DROVER_ERROR_UNSUPPORTED);
  cr_assert_eq(drover_batch_set_inner_policy(NULL, w.policy), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(batch_view(w.batch).inner_samples, NULL);
  cr_assert_eq(rollout_view(w.rollout).inner_samples, NULL);
  world_close(&w);
}

Test(inner_policy, cannot_be_destroyed_before_the_batch_lets_it_go) {
  world w;
  init(&w);
  open_batch(&w);
  toy_policy toys[2];
  drover_policy *policies[2];
  for (int32_t i = 0; i < 2; i++) {
    toy_inner_policy_init(&toys[i], &w.config);
    OK(toy_policy_create(&policies[i], w.runtime, &toys[i]));
  }
  OK(drover_batch_set_inner_policy(w.batch, policies[0]));
  OK(drover_batch_set_inner_policy(w.batch, policies[0])); /* the same once more */
  cr_assert_eq(drover_policy_destroy(policies[0]), DROVER_ERROR_STATE);
  assert_says("inner policy");
  OK(drover_batch_set_inner_policy(w.batch, policies[1]));
  OK(drover_policy_destroy(policies[0]));
  cr_assert_eq(drover_batch_set_inner_policy(w.batch, policies[0]), DROVER_ERROR_CLOSED);
  cr_assert_eq(drover_policy_destroy(policies[1]), DROVER_ERROR_STATE);
  OK(drover_batch_destroy(w.batch));
  OK(drover_policy_destroy(policies[1]));
  OK(drover_runtime_destroy(w.runtime));
}

Test(inner_policy, is_not_changed_while_envs_are_in_flight) {
  world w;
  init(&w);
  world_open(&w);
  const int32_t ids[2] = {0, 3}, actions[2] = {0, 1};
  OK(drover_batch_send(w.batch, 2, ids, actions));
  cr_assert_eq(drover_batch_set_inner_policy(w.batch, NULL), DROVER_ERROR_STATE);
  assert_says("in flight");
  int32_t got[2], num;
  OK(drover_batch_recv(w.batch, 2, -1, got, &num));
  OK(drover_batch_set_inner_policy(w.batch, w.inner_policy));
  world_close(&w);
}

/* ---- Weights -------------------------------------------------------------------------------------------------- */

static drover_policy *make_mlp(const world *w, uint64_t seed) {
  drover_mlp_options options;
  OK(drover_mlp_options_init(&options, sizeof options));
  OK(drover_mlp_options_fit_inner(&options, batch_view(w->batch).spec));
  options.num_hidden = 1;
  options.hidden[0] = 32;
  options.seed = seed;
  drover_policy *policy;
  OK(drover_policy_create_mlp(&policy, w->runtime, &options));
  return policy;
}

/* The batch's inner policy is this one from now on, and world_close destroys it. */
static void use(world *w, drover_policy *policy) {
  OK(drover_batch_set_inner_policy(w->batch, policy));
  OK(drover_policy_destroy(w->inner_policy));
  w->inner_policy = policy;
}

/* One world collects with its network's weights swapped between two collects; the other steps, with a network for each
 * half. */
Test(inner_policy, a_collect_uses_the_weights_that_it_finds) {
  world w[2];
  drover_policy *networks[2][2];
  for (int32_t i = 0; i < 2; i++) {
    init(&w[i]);
    w[i].runtime_options.num_workers = 1 + 2 * i;
    world_open(&w[i]);
    for (int32_t k = 0; k < 2; k++) networks[i][k] = make_mlp(&w[i], 1 + (uint64_t)k);
    use(&w[i], networks[i][0]);
    world_fill(&w[i], i == 0 ? WORLD_FUSED : WORLD_STEPPED);
  }
  const world_bytes half = world_read(&w[0], true);
  size_t count;
  OK(drover_policy_num_weights(networks[0][0], &count));
  float *weights = malloc(count * sizeof *weights);
  OK(drover_policy_get_weights(networks[0][1], weights, count));
  OK(drover_policy_set_weights(networks[0][0], weights, count));
  OK(drover_policy_destroy(networks[0][1]));
  use(&w[1], networks[1][1]);
  world_bytes whole[2];
  for (int32_t i = 0; i < 2; i++) {
    world_fill(&w[i], i == 0 ? WORLD_FUSED : WORLD_STEPPED);
    whole[i] = world_read(&w[i], true);
    world_close(&w[i]);
  }
  cr_assert(world_same(whole[0], whole[1]));
  cr_assert_not(world_same(half, whole[0]));
  free(half.data);
  free(whole[0].data);
  free(whole[1].data);
  free(weights);
}

/* Tiles of any height give a row the same bits: a shard of 1 evaluates the network row by row. */
Test(inner_policy, a_network_gives_the_same_bytes_for_any_shard) {
  uint64_t digests[4];
  const int32_t shards[] = {1, 5, 16, 0};
  for (int32_t i = 0; i < 4; i++) {
    world w;
    init(&w);
    w.batch_options.shard = shards[i];
    w.runtime_options.num_workers = 1 + i;
    world_open(&w);
    use(&w, make_mlp(&w, 3));
    world_fill(&w, WORLD_FUSED);
    digests[i] = rollout_digest(w.rollout);
    cr_assert_eq(digests[i], digests[0], "shard %d", shards[i]);
    world_close(&w);
  }
}

/* ---- Samples for pretraining ---------------------------------------------------------------------------------- */

Test(inner_policy, drawn_samples_depend_on_seed_and_number_alone) {
  enum { COUNT = 50, SIZE = 6 };
  for (int32_t workers = 1; workers <= 4; workers += 3) {
    world w;
    init(&w);
    w.runtime_options.num_workers = workers;
    w.batch_options.num_envs = workers == 1 ? 7 : N;
    open_batch(&w);
    float samples[COUNT * SIZE], few[3 * SIZE], others[SIZE];
    OK(drover_batch_draw_samples(w.batch, 99, COUNT, samples));
    OK(drover_batch_draw_samples(w.batch, 99, 3, few));
    OK(drover_batch_draw_samples(w.batch, 98, 1, others));
    for (int32_t i = 0; i < COUNT; i++) {
      drover_random r = drover_random_at(99, 0, DROVER_RANDOM_DRAW, (uint64_t)i);
      for (int32_t k = 0; k < SIZE; k++)
        cr_assert_eq(samples[i * SIZE + k], drover_random_uniformf(&r), "sample %d, number %d", i, k);
    }
    cr_assert_eq(memcmp(few, samples, sizeof few), 0);
    cr_assert_neq(memcmp(others, samples, sizeof others), 0);
    close_batch(&w);
  }
}

Test(inner_policy, drawing_leaves_the_batch_as_after_a_reset) {
  world w;
  init(&w);
  world_open(&w);
  world_fill(&w, WORLD_FUSED);
  float samples[40 * 6];
  OK(drover_batch_draw_samples(w.batch, 1, 40, samples));
  cr_assert_eq(batch_view(w.batch).lifetime_steps[3], 0);
  world_fill(&w, WORLD_FUSED);
  const char *wrong = world_differs_from_model(&w, 0);
  cr_assert(wrong == NULL, "%s", wrong);
  /* Also when it fails. */
  w.config.fails_to_draw = true;
  cr_assert_eq(drover_batch_draw_samples(w.batch, 1, 40, samples), DROVER_ERROR_ENV);
  assert_says("could not draw sample");
  world_fill(&w, WORLD_FUSED);
  wrong = world_differs_from_model(&w, 0);
  cr_assert(wrong == NULL, "%s", wrong);
  world_close(&w);
}

Test(inner_policy, drawing_needs_an_env_type_that_can) {
  world w;
  init(&w);
  w.config.type.draw_sample = NULL;
  open_batch(&w);
  float samples[6];
  cr_assert_eq(drover_batch_draw_samples(w.batch, 1, 1, samples), DROVER_ERROR_UNSUPPORTED);
  assert_says("Toy-v0 has no draw_sample");
  close_batch(&w);
  init(&w);
  open_batch(&w);
  cr_assert_eq(drover_batch_draw_samples(w.batch, 1, 0, samples), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_batch_draw_samples(w.batch, 1, 1, NULL), DROVER_ERROR_ARGUMENT);
  close_batch(&w);
}

/* ---- Checkpoints ---------------------------------------------------------------------------------------------- */

Test(inner_policy, a_restored_batch_goes_on_bit_for_bit) {
  world w, other;
  init(&w);
  init(&other);
  world_open(&w);
  world_open(&other);
  world_fill(&w, WORLD_FUSED);
  const int32_t actions[N] = {0};
  OK(drover_batch_step(w.batch, actions));
  size_t size = 0;
  OK(drover_batch_save(w.batch, NULL, &size));
  unsigned char *bytes = malloc(size);
  OK(drover_batch_save(w.batch, bytes, &size));
  OK(drover_batch_load(other.batch, bytes, size));
  cr_assert_eq(memcmp(batch_view(w.batch).inner_samples, batch_view(other.batch).inner_samples, (size_t)N * 24), 0);
  world_fill(&w, WORLD_FUSED);
  world_fill(&other, WORLD_FUSED);
  cr_assert_eq(rollout_digest(w.rollout), rollout_digest(other.rollout));
  free(bytes);
  world_close(&w);
  world_close(&other);
}

/* ---- Specs ---------------------------------------------------------------------------------------------------- */

static void assert_refused(toy_config *config, const char *words) {
  world w;
  world_init(&w);
  OK(drover_runtime_create(&w.runtime, &w.runtime_options));
  cr_assert_eq(toy_batch_create(&w.batch, w.runtime, config, &w.batch_options), DROVER_ERROR_ENV, "%s", words);
  assert_says(words);
  OK(drover_runtime_destroy(w.runtime));
}

Test(inner_policy, an_inner_loop_is_declared_whole_or_not_at_all) {
  toy_config c;
  toy_init_inner(&c);
  c.num_ticks = 4097;
  assert_refused(&c, "num_ticks must be 0 (no inner loop) or 1..4096, got 4097");
  c.num_ticks = -1;
  assert_refused(&c, "num_ticks");
  c.num_ticks = 0;
  assert_refused(&c, "without num_ticks, inner_observation_size must be 0, got 4");
  toy_init_inner(&c);
  c.inner_observation_size = 0;
  assert_refused(&c, "inner_observation_size must be 1..65536, got 0");
  toy_init_inner(&c);
  c.inner_action_size = 65537;
  assert_refused(&c, "inner_action_size must be 1..65536, got 65537");
  toy_init_inner(&c);
  c.inner_sample_size = -1;
  assert_refused(&c, "inner_sample_size");
  toy_init_inner(&c);
  c.type.tick = NULL;
  assert_refused(&c, "an inner loop needs begin and tick");
}

/* What the digest of a rollout covers. */
Test(inner_policy, the_digest_covers_the_samples) {
  world w;
  init(&w);
  world_open(&w);
  world_fill(&w, WORLD_FUSED);
  const uint64_t digest = rollout_digest(w.rollout);
  float *last = rollout_view(w.rollout).inner_samples + T * N * 6 - 1;
  *last += 1;
  cr_assert_neq(rollout_digest(w.rollout), digest);
  world_close(&w);
}
