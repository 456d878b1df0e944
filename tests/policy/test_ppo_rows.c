/* test_ppo_rows.c: what an update makes of the rows of a rollout: ratios, minibatches, advantages, moments. */
#include "policy/learn/loss.h"
#include "policy/learn/ppo.h"
#include "runtime/runtime.h"
#include "tests/policy/ppo_learner.h"

static learner l;

/* ---- Rows, ratios, advantages -------------------------------------------------------------------------------- */

/* Before the first step of the optimiser pi is pi_old: the learner's log-probabilities are the rollout's. */
static void check_first_ratios(bool continuous, drover_action_transform transform) {
  learner_init(&l, continuous);
  l.mlp_options.normalize_observations = 1;
  l.mlp_options.initial_log_std = -0.4f;
  l.rollout_options.transform = transform;
  l.ppo_options.num_epochs = l.ppo_options.num_minibatches = 1;
  learner_open(&l);
  learner_observe(&l);
  for (int i = 0; i < 3; i++) {
    const drover_ppo_stats stats = learner_update(&l);
    cr_assert(fabs(stats.approx_kl) < 1e-10, "kl is %g", stats.approx_kl);
    cr_assert_eq(stats.clip_fraction, 0);
    cr_assert_gt(stats.entropy, continuous ? -10 : 0);
  }
  learner_close(&l);
}

Test(ppo_rows, ratios_are_one_before_the_first_step_with_a_categorical_head) { check_first_ratios(false, 0); }
Test(ppo_rows, ratios_are_one_before_the_first_step_with_a_gaussian_head) {
  check_first_ratios(true, DROVER_ACTION_CLIP);
}
Test(ppo_rows, ratios_are_one_before_the_first_step_with_tanh) { check_first_ratios(true, DROVER_ACTION_TANH); }

Test(ppo_rows, rows_that_are_not_valid_are_left_out) {
  for (int autoreset = 0; autoreset < 2; autoreset++) {
    learner_init_full(&l, false);
    l.batch_options.autoreset = (drover_autoreset)autoreset;
    learner_open(&l);
    const drover_ppo_stats stats = learner_update(&l);
    const drover_rollout_view view = learner_view(&l);
    int32_t num_valid = 0;
    for (int32_t row = 0; row < 13 * 23; row++) num_valid += view.valid[row];
    cr_assert_lt(num_valid, 13 * 23);
    cr_assert_eq(stats.num_rows, num_valid);
    cr_assert_eq(l.ppo->state.observations.count, num_valid);
    cr_assert_eq(l.ppo->state.returns.count, num_valid);
    learner_close(&l);
  }
}

Test(ppo_rows, every_valid_row_is_in_one_minibatch_of_an_epoch) {
  drover_ppo_stats stats[2];
  for (int i = 0; i < 2; i++) {
    learner_init(&l, false);
    l.ppo_options.num_minibatches = i ? 17 : 1; /* 299 rows, some of them not valid */
    l.ppo_options.learning_rate = 1e-15;
    l.ppo_options.normalize_advantages = 0;
    learner_open(&l);
    stats[i] = learner_update(&l);
    cr_assert_neq(stats[i].num_rows % 17, 0);
    learner_close(&l);
  }
  cr_assert_float_eq(stats[0].policy_loss, stats[1].policy_loss, 1e-6);
  cr_assert_float_eq(stats[0].value_loss, stats[1].value_loss, 1e-6);
  cr_assert_float_eq(stats[0].entropy, stats[1].entropy, 1e-6);
}

/* The gradient of one minibatch, by a pass of the test's own over the rows in their order. */
static void reference_gradient(const drover_rollout_view *v, const float *weights, bool normalize, float *gradients) {
  int32_t rows[13 * 23], count = 0;
  double mean = 0, squares = 0, sums[DR_MAX_LOSS_SUMS];
  for (int32_t row = 0; row < 13 * 23; row++)
    if (v->valid[row]) rows[count++] = row;
  for (int32_t i = 0; i < count; i++) mean += (double)v->advantages[rows[i]] / count;
  for (int32_t i = 0; i < count; i++) squares += pow((double)v->advantages[rows[i]] - mean, 2) / count;
  dr_ppo_loss loss = {.head = DROVER_HEAD_CATEGORICAL,
                      .num_outputs = l.ppo->mlp->options.num_outputs,
                      .actions = v->actions,
                      .old_logprobs = v->logprobs,
                      .old_values = v->values,
                      .advantages = v->advantages,
                      .returns = v->returns,
                      .advantage_mean = normalize ? mean : 0,
                      .advantage_scale = normalize ? 1 / (sqrt(squares) + 1e-8) : 1,
                      .clip_range = 0.2,
                      .value_coef = 0.5,
                      .inverse_count = 1.0 / count};
  dr_gradient *gradient;
  OK(dr_gradient_create(&gradient, l.runtime, l.ppo->mlp, count));
  dr_runtime_begin_call(l.runtime);
  OK(dr_gradient_pass(gradient, weights, v->observations, count, rows, dr_ppo_loss_block, &loss, gradients, sums));
  dr_runtime_end_call(l.runtime);
  dr_gradient_destroy(gradient);
}

static void check_gradient(bool normalize) {
  learner_init(&l, false);
  l.ppo_options.num_epochs = l.ppo_options.num_minibatches = 1;
  l.ppo_options.adam_beta1 = 0; /* the first moment is then the gradient */
  l.ppo_options.max_grad_norm = 0;
  l.ppo_options.normalize_advantages = normalize;
  learner_open(&l);
  const copy weights = learner_weights(&l);
  learner_update(&l);
  const drover_rollout_view v = learner_view(&l);
  const dr_adam *adam = &l.ppo->state.adam;
  float *want = malloc(weights.size);
  reference_gradient(&v, weights.data, normalize, want);
  for (size_t i = 0; i < adam->count; i++)
    cr_assert_float_eq(adam->first[i], want[i], 1e-5f * (1 + fabsf(want[i])), "weight %zu: %g, expected %g", i,
                       (double)adam->first[i], (double)want[i]);
  learner_close(&l);
  free(want);
  free(weights.data);
}

Test(ppo_rows, the_gradient_is_that_of_the_mean_loss) { check_gradient(false); }
Test(ppo_rows, advantages_are_brought_to_mean_0_and_deviation_1) { check_gradient(true); }

/* A_t = sum over k of (gamma lambda)^k delta_{t+k}, to the end of the episode or the next invalid row: the definition,
 * every row by itself (Schulman et al. 2016, eq. 16). */
static double advantage_by_definition(const drover_rollout_view *v, const double *finals, double scale, double gamma,
                                      double lambda, int32_t t, int32_t env) {
  double sum = 0, weight = 1;
  for (; t < v->num_steps; t++, weight *= gamma * lambda) {
    const size_t row = (size_t)t * (size_t)v->num_envs + (size_t)env;
    if (!v->valid[row]) break;
    double next = (double)v->values[row + (size_t)v->num_envs];
    if (v->truncated[row]) next = finals[row];
    if (v->terminated[row]) next = 0;
    sum += weight * ((double)v->rewards[row] / scale + gamma * next - (double)v->values[row]);
    if (v->terminated[row] || v->truncated[row]) break;
  }
  return sum;
}

static void check_advantages(bool scale_rewards, drover_autoreset autoreset) {
  learner_init(&l, false);
  l.batch_options.autoreset = autoreset;
  l.ppo_options.scale_rewards = scale_rewards;
  l.ppo_options.gamma = 0.9;
  l.ppo_options.gae_lambda = 0.8;
  learner_open(&l);
  for (int i = 0; i < 3; i++) {
    const drover_ppo_stats stats = learner_update(&l);
    const drover_rollout_view v = learner_view(&l);
    double *finals = calloc((size_t)v.num_steps * (size_t)v.num_envs, sizeof *finals);
    for (int64_t k = 0; k < v.num_episodes; k++)
      finals[v.episodes[k].step * v.num_envs + v.episodes[k].env] = (double)v.final_values[k];
    for (int32_t row = 0; row < v.num_envs * v.num_steps; row++) {
      const double want =
          advantage_by_definition(&v, finals, stats.reward_scale, 0.9, 0.8, row / v.num_envs, row % v.num_envs);
      cr_assert_float_eq((double)l.ppo->advantages[row], want, 1e-5 * (1 + fabs(want)));
      cr_assert_float_eq((double)l.ppo->returns[row], want + (double)v.values[row], 1e-5 * (2 + fabs(want)));
    }
    free(finals);
  }
  learner_close(&l);
}

Test(ppo_rows, advantages_are_those_of_the_definition) {
  check_advantages(false, DROVER_AUTORESET_SAME_STEP);
  check_advantages(true, DROVER_AUTORESET_SAME_STEP);
  check_advantages(false, DROVER_AUTORESET_NEXT_STEP);
  check_advantages(true, DROVER_AUTORESET_NEXT_STEP);
}

Test(ppo_rows, advantages_with_the_rollouts_gamma_are_the_rollouts) {
  learner_init(&l, false);
  learner_open(&l);
  learner_update(&l);
  const drover_rollout_view v = learner_view(&l);
  cr_assert_arr_eq(l.ppo->advantages, v.advantages, 13 * 23 * sizeof(float));
  cr_assert_arr_eq(l.ppo->returns, v.returns, 13 * 23 * sizeof(float));
  learner_close(&l);
}

Test(ppo_rows, explained_variance_is_of_the_rollouts_values) {
  learner_init(&l, false);
  learner_open(&l);
  for (int i = 0; i < 5; i++) {
    const drover_ppo_stats stats = learner_update(&l);
    const drover_rollout_view v = learner_view(&l);
    double n = 0, r = 0, rr = 0, e = 0, ee = 0;
    for (int32_t row = 0; row < 13 * 23; row++) {
      if (!v.valid[row]) continue;
      const double target = (double)v.returns[row], error = target - (double)v.values[row];
      n++, r += target, rr += target * target, e += error, ee += error * error;
    }
    const double want = 1 - (ee / n - e / n * e / n) / (rr / n - r / n * r / n);
    cr_assert_float_eq(stats.explained_variance, want, 1e-6);
  }
  learner_close(&l);
}

/* ---- Moments ------------------------------------------------------------------------------------------------- */

/* Every valid row a learner has seen. */
typedef struct seen {
  double *rows;
  int32_t count, size;
} seen;

static void see(seen *s, const drover_rollout_view *v) {
  s->size = v->observation_size;
  s->rows = realloc(s->rows, (size_t)(s->count + v->num_envs * v->num_steps) * (size_t)s->size * sizeof(double));
  for (int32_t row = 0; row < v->num_envs * v->num_steps; row++) {
    if (!v->valid[row]) continue;
    for (int32_t k = 0; k < s->size; k++) s->rows[s->count * s->size + k] = (double)v->observations[row * s->size + k];
    s->count++;
  }
}

static void check_seen(const seen *s) {
  const copy weights = learner_weights(&l);
  const float *mean = (const float *)weights.data + weights.size / sizeof(float) - 2 * s->size, *std = mean + s->size;
  for (int32_t k = 0; k < s->size; k++) {
    double m = 0, squares = 0;
    for (int32_t i = 0; i < s->count; i++) m += s->rows[i * s->size + k] / s->count;
    for (int32_t i = 0; i < s->count; i++) squares += pow(s->rows[i * s->size + k] - m, 2) / s->count;
    cr_assert_float_eq((double)mean[k], m, 1e-6 * (1 + fabs(m)));
    cr_assert_float_eq((double)std[k], sqrt(squares + 1e-8), 1e-6 * sqrt(squares + 1e-8));
  }
  free(weights.data);
}

Test(ppo_rows, the_policys_mean_and_std_are_those_of_all_valid_rows_so_far) {
  learner_init(&l, false);
  l.mlp_options.normalize_observations = 1;
  learner_open(&l);
  seen s = {0};
  OK(drover_rollout_collect(l.rollout));
  drover_rollout_view v = learner_view(&l);
  see(&s, &v);
  OK(drover_ppo_observe(l.ppo, l.rollout));
  check_seen(&s);
  for (int i = 0; i < 3; i++) {
    cr_assert_eq(learner_update(&l).num_updates, i + 1);
    v = learner_view(&l);
    see(&s, &v);
    check_seen(&s);
  }
  free(s.rows);
  learner_close(&l);
}

Test(ppo_rows, a_policy_that_was_trained_before_goes_on_from_its_own_mean_and_std) {
  learner_init(&l, false);
  l.mlp_options.normalize_observations = 1;
  learner_open_policy(&l);
  const copy given = learner_weights(&l);
  float *weights = given.data;
  const size_t count = given.size / sizeof(float);
  for (int k = 1; k <= 3; k++) weights[count - 6 + (size_t)k - 1] = 0.5f * (float)k; /* mean, then std */
  for (int k = 1; k <= 3; k++) weights[count - 3 + (size_t)k - 1] = 0.25f * (float)k;
  OK(drover_policy_set_weights(l.policy, weights, count));
  OK(drover_ppo_create(&l.ppo, l.policy, l.rollout, &l.ppo_options));
  learner_update(&l);
  const copy after = learner_weights(&l);
  const float *now = after.data;
  for (size_t i = count - 6; i < count; i++) {
    cr_assert_float_eq(now[i], weights[i], 0.02f);
    cr_assert_neq(now[i], weights[i]);
  }
  learner_close(&l);
  free(given.data);
  free(after.data);
}

Test(ppo_rows, observing_moves_nothing_but_mean_and_std) {
  learner_init_full(&l, true);
  learner_open(&l);
  const copy before = learner_weights(&l);
  learner_observe(&l);
  const copy after = learner_weights(&l);
  const size_t trainable = before.size - 2 * (size_t)l.config.observation_size * sizeof(float);
  cr_assert_eq(memcmp(before.data, after.data, trainable), 0);
  cr_assert_neq(memcmp(before.data, after.data, before.size), 0);
  cr_assert_gt(l.ppo->state.returns.count, 0);
  for (int e = 0; e < 13; e++) cr_assert_eq(l.ppo->state.running_returns[e], 0, "the next rollout begins anew");
  cr_assert_eq(learner_update(&l).num_updates, 1);
  free(before.data);
  free(after.data);
  learner_close(&l);
}

Test(ppo_rows, rewards_are_divided_by_the_deviation_of_all_discounted_returns_so_far) {
  learner_init(&l, false);
  l.ppo_options.scale_rewards = 1;
  l.ppo_options.gamma = 0.95;
  learner_open(&l);
  double running[13] = {0}, *returns = NULL;
  int32_t count = 0;
  for (int i = 0; i < 3; i++) {
    const drover_ppo_stats stats = learner_update(&l);
    const drover_rollout_view v = learner_view(&l);
    returns = realloc(returns, (size_t)(count + 13 * 23) * sizeof *returns);
    for (int32_t e = 0; e < 13; e++)
      for (int32_t t = 0; t < 23; t++) {
        const int32_t row = t * 13 + e;
        running[e] = 0.95 * running[e] + (double)v.rewards[row];
        if (v.valid[row]) returns[count++] = running[e];
        if (!v.valid[row] || v.terminated[row] || v.truncated[row]) running[e] = 0;
      }
    double mean = 0, squares = 0;
    for (int32_t k = 0; k < count; k++) mean += returns[k] / count;
    for (int32_t k = 0; k < count; k++) squares += (returns[k] - mean) * (returns[k] - mean) / count;
    cr_assert_float_eq(stats.reward_scale, sqrt(squares + 1e-8), 1e-12);
  }
  free(returns);
  learner_close(&l);
}
