/* test_ppo_errors.c: options, parts and states that a learner refuses, and what it says then. */
#include "policy/learn/ppo.h"
#include "tests/policy/ppo_learner.h"

static learner l;

static void refused(drover_status got, drover_status status, const char *text) {
  cr_assert_eq(got, status, "%s: %s", drover_status_name(got), drover_last_error());
  cr_assert_not_null(strstr(drover_last_error(), text), "%s", drover_last_error());
}

static void bad_option(const drover_ppo_options *options, const char *text) {
  drover_ppo *out = (drover_ppo *)&l;
  refused(drover_ppo_create(&out, l.policy, l.rollout, options), DROVER_ERROR_ARGUMENT, text);
  cr_assert_null(out);
}

Test(ppo_errors, options_have_the_defaults_of_their_header) {
  drover_ppo_options o;
  OK(drover_ppo_options_init(&o, sizeof o));
  const drover_ppo_options want = {.size = sizeof o,
                                   .learning_rate = 3e-4,
                                   .adam_beta1 = 0.9,
                                   .adam_beta2 = 0.999,
                                   .adam_epsilon = 1e-5,
                                   .num_epochs = 4,
                                   .num_minibatches = 4,
                                   .clip_range = 0.2,
                                   .value_coef = 0.5,
                                   .max_grad_norm = 0.5,
                                   .gamma = 0.99,
                                   .gae_lambda = 0.95,
                                   .normalize_advantages = 1};
  cr_assert_arr_eq(&o, &want, sizeof o);
  cr_assert_eq(drover_ppo_options_init(NULL, sizeof o), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_ppo_options_init(&o, 8), DROVER_ERROR_ARGUMENT);
}

Test(ppo_errors, options_out_of_range_are_refused_with_field_range_and_value) {
  learner_init(&l, false);
  learner_open_policy(&l);
#define BAD(field, value, text)                      \
  do {                                               \
    drover_ppo_options o = l.ppo_options;            \
    o.field = value;                                 \
    bad_option(&o, "ppo: " #field " must be " text); \
  } while (0)
  BAD(learning_rate, 0, "above 0 and finite, got 0");
  BAD(learning_rate, INFINITY, "above 0 and finite, got inf");
  BAD(learning_rate, NAN, "above 0 and finite, got ");
  BAD(final_learning_rate, -1, "0 or above and finite, got -1");
  BAD(num_updates, -2, "0..9223372036854775807, got -2");
  BAD(adam_beta1, 1, "0 or above and below 1, got 1");
  BAD(adam_beta2, -0.5, "0 or above and below 1, got -0.5");
  BAD(adam_epsilon, 0, "above 0 and finite, got 0");
  BAD(num_epochs, 0, "1..1000, got 0");
  BAD(num_epochs, 1001, "1..1000, got 1001");
  BAD(num_minibatches, 0, "1..2147483647, got 0");
  BAD(num_minibatches, 300, "at most num_envs x num_steps, which is 299, got 300");
  BAD(clip_range, 0, "above 0 and finite, got 0");
  BAD(value_clip_range, -1, "0 or above and finite, got -1");
  BAD(value_coef, NAN, "0 or above and finite, got ");
  BAD(entropy_coef, -1, "0 or above and finite, got -1");
  BAD(max_grad_norm, -1, "0 or above and finite, got -1");
  BAD(target_kl, -1, "0 or above and finite, got -1");
  BAD(gamma, 1.5, "0..1, got 1.5");
  BAD(gae_lambda, -0.1, "0..1, got -0.1");
  BAD(normalize_advantages, 2, "0..1, got 2");
  BAD(scale_rewards, -1, "0..1, got -1");
#undef BAD
  drover_ppo_options o = l.ppo_options;
  o.size = 0;
  bad_option(&o, "drover_ppo_options_init first");
  bad_option(NULL, "drover_ppo_options_init first");
  refused(drover_ppo_create(NULL, l.policy, l.rollout, &l.ppo_options), DROVER_ERROR_ARGUMENT, "out must not be NULL");
  learner_close(&l); /* l.ppo is NULL, which destroy accepts */
}

Test(ppo_errors, a_policy_without_values_is_refused) {
  learner_init(&l, false);
  l.mlp_options.has_values = 0;
  learner_open_policy(&l);
  bad_option(&l.ppo_options, "has no value network");
  learner_close(&l);
}

Test(ppo_errors, a_head_without_probabilities_is_refused) {
  learner_init(&l, true);
  l.mlp_options.head = DROVER_HEAD_UNIT;
  learner_open_policy(&l);
  refused(drover_ppo_create(&l.ppo, l.policy, l.rollout, &l.ppo_options), DROVER_ERROR_UNSUPPORTED, "head is 'unit'");
  learner_close(&l);
}

Test(ppo_errors, a_policy_that_is_no_mlp_is_refused) {
  learner_init(&l, false);
  learner_open_policy(&l);
  drover_batch_view view = {.size = sizeof view};
  OK(drover_batch_get_view(l.batch, &view));
  drover_policy *uniform;
  OK(drover_policy_create_uniform(&uniform, l.runtime, view.spec));
  refused(drover_ppo_create(&l.ppo, uniform, l.rollout, &l.ppo_options), DROVER_ERROR_ARGUMENT, "needs a 'mlp'");
  OK(drover_policy_destroy(uniform));
  learner_close(&l);
}

Test(ppo_errors, a_deterministic_rollout_is_refused) {
  learner_init(&l, false);
  l.rollout_options.deterministic = 1;
  learner_open_policy(&l);
  bad_option(&l.ppo_options, "deterministic");
  learner_close(&l);
}

Test(ppo_errors, parts_of_different_runtimes_are_refused) {
  learner_init(&l, false);
  learner other = l;
  learner_open(&l);
  learner_open(&other);
  drover_ppo *ppo;
  refused(drover_ppo_create(&ppo, l.policy, other.rollout, &l.ppo_options), DROVER_ERROR_ARGUMENT,
          "different runtimes");
  refused(drover_ppo_update(l.ppo, other.rollout, NULL), DROVER_ERROR_ARGUMENT, "different runtimes");
  learner_close(&other);
  learner_close(&l);
}

/* A second rollout on the batch of l, of another length or another policy. */
static void update_with(drover_policy *policy, int32_t num_steps, int32_t deterministic, const char *text) {
  drover_rollout_options options = l.rollout_options;
  options.num_steps = num_steps;
  options.deterministic = deterministic;
  drover_rollout *rollout;
  OK(drover_rollout_create(&rollout, l.batch, policy, &options));
  OK(drover_rollout_collect(rollout));
  refused(drover_ppo_update(l.ppo, rollout, NULL), DROVER_ERROR_ARGUMENT, text);
  OK(drover_rollout_destroy(rollout));
}

Test(ppo_errors, a_rollout_that_does_not_fit_is_refused) {
  learner_init(&l, false);
  learner_open(&l);
  update_with(l.policy, 24, 0, "has 24 steps, the learner was made for 23");
  update_with(l.policy, 23, 1, "deterministic");
  drover_policy *other;
  OK(drover_policy_create_mlp(&other, l.runtime, &l.mlp_options));
  update_with(other, 23, 0, "made with another policy");
  OK(drover_policy_destroy(other));

  learner wide = l;
  wide.batch_options.num_envs = 14;
  OK(toy_batch_create(&wide.batch, l.runtime, &wide.config, &wide.batch_options));
  OK(drover_rollout_create(&wide.rollout, wide.batch, l.policy, &l.rollout_options));
  OK(drover_rollout_collect(wide.rollout));
  refused(drover_ppo_update(l.ppo, wide.rollout, NULL), DROVER_ERROR_ARGUMENT, "has 14 envs");
  refused(drover_ppo_observe(l.ppo, wide.rollout), DROVER_ERROR_ARGUMENT, "has 14 envs");
  OK(drover_rollout_destroy(wide.rollout));
  OK(drover_batch_destroy(wide.batch));
  learner_close(&l);
}

Test(ppo_errors, an_empty_rollout_is_refused) {
  learner_init(&l, false);
  learner_open(&l);
  refused(drover_ppo_update(l.ppo, l.rollout, NULL), DROVER_ERROR_STATE, "holds nothing");
  refused(drover_ppo_observe(l.ppo, l.rollout), DROVER_ERROR_STATE, "holds nothing");
  OK(drover_rollout_begin(l.rollout));
  refused(drover_ppo_update(l.ppo, l.rollout, NULL), DROVER_ERROR_STATE, "holds nothing");
  learner_close(&l);
}

Test(ppo_errors, a_rollout_that_was_stopped_is_refused) {
  learner_init(&l, false);
  l.batch_options.fault_limit = 2;
  learner_open(&l);
  cr_assert_eq(drover_rollout_collect(l.rollout), DROVER_ERROR_FAULTS);
  refused(drover_ppo_update(l.ppo, l.rollout, NULL), DROVER_ERROR_STATE, "of 23 steps, because it was stopped");
  learner_close(&l);
}

static int fail_step(void *shared, void *state, const drover_env_rows *rows) {
  (void)shared, (void)state, (void)rows;
  return 1;
}

Test(ppo_errors, a_rollout_of_faults_alone_is_refused) {
  learner_init_full(&l, false);
  l.batch_options.fault_limit = 100000;
  l.config.type.step = fail_step;
  l.config.type.step_many = NULL;
  learner_open(&l);
  OK(drover_rollout_collect(l.rollout));
  const copy weights = learner_weights(&l);
  refused(drover_ppo_update(l.ppo, l.rollout, NULL), DROVER_ERROR_STATE, "no valid row");
  OK(drover_ppo_observe(l.ppo, l.rollout)); /* nothing to see: nothing changes */
  cr_assert(same_copies(weights, learner_weights(&l)));
  learner_close(&l);
}

Test(ppo_errors, stats_without_their_size_are_refused) {
  learner_init(&l, false);
  learner_open(&l);
  OK(drover_rollout_collect(l.rollout));
  drover_ppo_stats stats = {0};
  refused(drover_ppo_update(l.ppo, l.rollout, &stats), DROVER_ERROR_ARGUMENT, "set stats->size");
  learner_close(&l);
}

Test(ppo_errors, bytes_that_are_no_state_of_this_learner_are_refused_and_change_nothing) {
  learner_init_full(&l, false);
  learner_open(&l);
  learner_update(&l);
  copy state = learner_state(&l);
  unsigned char *bytes = state.data;
  refused(drover_ppo_load(l.ppo, NULL, 0), DROVER_ERROR_FORMAT, "too few");
  refused(drover_ppo_load(l.ppo, bytes, 20), DROVER_ERROR_FORMAT, "too few");
  refused(drover_ppo_load(l.ppo, bytes, state.size - 1), DROVER_ERROR_FORMAT, "expected");
  for (size_t at = 0; at < state.size; at += 7) {
    bytes[at] ^= 1;
    cr_assert_eq(drover_ppo_load(l.ppo, bytes, state.size), DROVER_ERROR_FORMAT, "byte %zu", at);
    bytes[at] ^= 1;
  }
  size_t size = state.size - 1;
  refused(drover_ppo_save(l.ppo, bytes, &size), DROVER_ERROR_ARGUMENT, "bytes are needed");
  cr_assert_eq(size, state.size);
  cr_assert_eq(drover_ppo_save(l.ppo, bytes, NULL), DROVER_ERROR_ARGUMENT);
  cr_assert(same_copies(state, learner_state(&l)));

  learner other = l;
  other.batch_options.num_envs = 12;
  learner_open(&other);
  const copy theirs = learner_state(&other);
  refused(drover_ppo_load(l.ppo, theirs.data, theirs.size), DROVER_ERROR_FORMAT, "12 envs, the learner has");
  learner_close(&other);
  free(theirs.data);
  learner_close(&l);
}

Test(ppo_errors, a_policy_cannot_end_before_its_learner) {
  learner_init(&l, false);
  learner_open(&l);
  OK(drover_rollout_destroy(l.rollout));
  l.rollout = NULL;
  refused(drover_policy_destroy(l.policy), DROVER_ERROR_STATE, "destroy that first");
  learner_close(&l);
}

Test(ppo_errors, a_learner_that_ended_says_so) {
  learner_init(&l, false);
  learner_open(&l);
  drover_ppo *ended = l.ppo;
  size_t size;
  OK(drover_ppo_destroy(ended));
  l.ppo = NULL;
  cr_assert_eq(drover_ppo_update(ended, l.rollout, NULL), DROVER_ERROR_CLOSED);
  cr_assert_eq(drover_ppo_save(ended, NULL, &size), DROVER_ERROR_CLOSED);
  cr_assert_eq(drover_ppo_destroy(ended), DROVER_ERROR_CLOSED);
  cr_assert_eq(drover_ppo_update(NULL, l.rollout, NULL), DROVER_ERROR_ARGUMENT);
  learner_close(&l);
}
