/* test_inner.c: the inner learner: its loss, its gradient, its steps. */
#include "tests/policy/learner.h"

#include <fenv.h>

#include "runtime/runtime.h"

/* ---- The loss and its gradient ------------------------------------------------------------------------------- */

/* The loss of samples under flat weights, in double. */
static double reference_total(const dr_mlp *mlp, const float *flat, int64_t count, const float *samples, double scale,
                              double effort_coef, reference_loss *parts) {
  double outputs[LEGS_MUSCLES], sum = 0;
  if (parts) *parts = (reference_loss){0};
  for (int64_t i = 0; i < count; i++) {
    const sample_view sample = view_sample(samples + i * LEGS_SAMPLE, LEGS_OBSERVATION, LEGS_JOINTS, LEGS_MUSCLES);
    reference_forward(mlp, flat, DR_CHAIN_POLICY, sample.observation, outputs);
    for (int32_t k = 0; k < LEGS_MUSCLES; k++) outputs[k] = 1 / (1 + exp(-outputs[k]));
    const reference_loss loss = reference_inner_loss(&sample, LEGS_JOINTS, LEGS_MUSCLES, outputs, scale, effort_coef);
    sum += (loss.torque + loss.effort) / (double)count;
    if (parts) parts->torque += loss.torque / (double)count, parts->effort += loss.effort / (double)count;
  }
  return sum;
}

/* A gradient pass over all samples, as an update makes it. */
static void take_gradient(const learner *l, const float *weights, int32_t count, const float *samples, float *gradients,
                          double *sums) {
  dr_sample_layout layout;
  cr_assert_eq(dr_sample_layout_init(&layout, LEGS_SAMPLE, LEGS_OBSERVATION, LEGS_MUSCLES), DROVER_OK);
  float *observations = malloc((size_t)count * LEGS_OBSERVATION * sizeof *observations);
  int32_t *rows = malloc((size_t)count * sizeof *rows);
  for (int32_t i = 0; i < count; i++) {
    rows[i] = i;
    memcpy(observations + i * LEGS_OBSERVATION, samples + i * LEGS_SAMPLE, LEGS_OBSERVATION * sizeof *samples);
  }
  dr_inner_target target = {.layout = &layout,
                            .samples = samples,
                            .stride = LEGS_SAMPLE,
                            .torque_scale = l->inner->options.torque_scale,
                            .effort_coef = l->inner->options.effort_coef,
                            .num_rows = count};
  cr_assert_leq(count, DR_EVALUATE_ROWS);
  dr_runtime_begin_call(l->runtime);
  cr_assert_eq(
      dr_gradient_pass(l->inner->gradient, weights, observations, count, rows, dr_inner_loss, &target, gradients, sums),
      DROVER_OK, "%s", drover_last_error());
  dr_runtime_end_call(l->runtime);
  free(observations);
  free(rows);
}

static void compare_with_differences(drover_activation activation) {
  uint64_t random = test_seed();
  enum { COUNT = 70, PROBES = 150 };
  drover_mlp_options layout = legs_network(2, 24);
  layout.activation = activation;
  const drover_inner_options options = learner_options(LEGS_SAMPLE);
  learner l = learner_open(2, &layout, &options);
  const dr_mlp *mlp = &l.inner->self->inference->mlp;
  float *flat = test_floats(&random, mlp->num_weights, 0.4), *gradients = calloc(mlp->num_weights, sizeof *gradients);
  float *samples = draw_samples(test_random(&random), COUNT);
  double sums[DR_MAX_LOSS_SUMS];
  take_gradient(&l, flat, COUNT, samples, gradients, sums);
  double largest = 0;
  for (size_t i = 0; i < mlp->num_weights; i++) largest = fmax(largest, fabs((double)gradients[i]));
  for (int32_t probe = 0; probe < PROBES; probe++) {
    const size_t i = (size_t)(test_random(&random) % mlp->num_weights);
    const float before = flat[i];
    double at[2], loss[2];
    for (int side = 0; side < 2; side++) {
      flat[i] = before + (side ? 2e-6f : -2e-6f);
      at[side] = (double)flat[i];
      loss[side] = reference_total(mlp, flat, COUNT, samples, 100, 0.01, NULL);
    }
    flat[i] = before;
    const double want = (loss[1] - loss[0]) / (at[1] - at[0]);
    cr_assert_lt(fabs((double)gradients[i] - want), 1e-4 * fabs(want) + 1e-5 * largest, "weight %zu: %g, expected %g",
                 i, (double)gradients[i], want);
  }
  free(samples);
  free(gradients);
  free(flat);
  learner_close(&l);
}

Test(inner, gradients_are_those_of_central_differences_with_tanh) { compare_with_differences(DROVER_ACTIVATION_TANH); }

Test(inner, gradients_are_those_of_central_differences_with_leaky_relu) {
  compare_with_differences(DROVER_ACTIVATION_LEAKY_RELU);
}

Test(inner, evaluation_gives_the_loss_and_the_relative_errors) {
  enum { COUNT = 2500 };
  const drover_mlp_options layout = legs_network(3, 32);
  drover_inner_options options = learner_options(LEGS_SAMPLE);
  options.torque_scale = 50;
  options.effort_coef = 0.3;
  learner l = learner_open(2, &layout, &options);
  float *samples = draw_samples(5, COUNT), *errors = calloc(COUNT, sizeof *errors);
  drover_inner_stats stats = {.size = sizeof stats};
  cr_assert_eq(drover_inner_evaluate(l.inner, COUNT, samples, &stats, errors), DROVER_OK, "%s", drover_last_error());
  size_t count = 0;
  float *weights = learner_weights(&l, &count);
  reference_loss parts;
  const double want = reference_total(&l.inner->self->inference->mlp, weights, COUNT, samples, 50, 0.3, &parts);
  cr_assert_float_eq(stats.loss, want, 1e-5 * want);
  cr_assert_float_eq(stats.torque_loss, parts.torque, 1e-5 * want);
  cr_assert_float_eq(stats.effort_loss, parts.effort, 1e-5 * want);
  cr_assert_eq(stats.num_samples, COUNT);
  cr_assert_eq(stats.num_steps, 0);
  double outputs[LEGS_MUSCLES];
  for (int64_t i = 0; i < COUNT; i++) {
    const sample_view sample = view_sample(samples + i * LEGS_SAMPLE, LEGS_OBSERVATION, LEGS_JOINTS, LEGS_MUSCLES);
    reference_forward(&l.inner->self->inference->mlp, weights, DR_CHAIN_POLICY, sample.observation, outputs);
    for (int32_t k = 0; k < LEGS_MUSCLES; k++) outputs[k] = 1 / (1 + exp(-outputs[k]));
    const reference_loss loss = reference_inner_loss(&sample, LEGS_JOINTS, LEGS_MUSCLES, outputs, 50, 0.3);
    cr_assert(nearly((double)errors[i], loss.relative_error));
  }
  free(weights);
  free(errors);
  free(samples);
  learner_close(&l);
}

Test(inner, evaluation_leaves_invalid_samples_out) {
  const drover_mlp_options layout = legs_network(1, 16);
  const drover_inner_options options = learner_options(LEGS_SAMPLE);
  learner l = learner_open(1, &layout, &options);
  float *samples = draw_samples(5, 3), errors[3];
  drover_inner_stats two = {.size = sizeof two}, three = {.size = sizeof three};
  cr_assert_eq(drover_inner_evaluate(l.inner, 2, samples, &two, NULL), DROVER_OK);
  samples[3 * LEGS_SAMPLE - 1] = 0;
  samples[2 * LEGS_SAMPLE] = NAN; /* what an invalid sample holds does not matter */
  cr_assert_eq(drover_inner_evaluate(l.inner, 3, samples, &three, errors), DROVER_OK);
  cr_assert_eq(three.num_samples, 2);
  cr_assert_eq(two.loss, three.loss);
  cr_assert_gt(errors[1], 0);
  cr_assert_eq(errors[2], 0);
  cr_assert_eq(drover_inner_evaluate(l.inner, 0, NULL, &three, NULL), DROVER_OK);
  cr_assert_eq(three.loss, 0);
  free(samples);
  learner_close(&l);
}

/* ---- Steps --------------------------------------------------------------------------------------------------- */

Test(inner, steps_are_adam_on_the_limited_gradient_at_a_falling_rate) {
  enum { COUNT = 40, STEPS = 6 };
  const drover_mlp_options layout = legs_network(1, 16);
  drover_inner_options options = learner_options(LEGS_SAMPLE);
  options.minibatch = 64; /* more than there are: every step takes all of them */
  options.learning_rate = 1e-2;
  options.final_learning_rate = 1e-3;
  options.num_decay_steps = 4;
  options.grad_limit = 1e-4;
  learner l = learner_open(1, &layout, &options);
  float *samples = draw_samples(9, COUNT);
  size_t count = 0;
  float *weights = learner_weights(&l, &count), *gradients = calloc(count, sizeof *gradients);
  double *first = calloc(count, sizeof *first), *second = calloc(count, sizeof *second), sums[DR_MAX_LOSS_SUMS];
  int64_t num_limited = 0;
  for (int step = 1; step <= STEPS; step++) {
    take_gradient(&l, weights, COUNT, samples, gradients, sums);
    const double rate = 1e-2 + fmin(1, (step - 1) / 4.0) * (1e-3 - 1e-2);
    for (size_t i = 0; i < count; i++) {
      const double g = fmax(-1e-4, fmin(1e-4, (double)gradients[i]));
      num_limited += fabs(g) == 1e-4;
      first[i] = 0.9 * first[i] + 0.1 * g;
      second[i] = 0.999 * second[i] + 0.001 * g * g;
      const double m = first[i] / (1 - pow(0.9, step)), v = second[i] / (1 - pow(0.999, step));
      weights[i] = (float)((double)weights[i] - rate * m / (sqrt(v) + 1e-8));
    }
  }
  cr_assert_gt(num_limited, 100);
  cr_assert_eq(drover_inner_add(l.inner, COUNT, samples), DROVER_OK);
  drover_inner_stats stats = {.size = sizeof stats};
  cr_assert_eq(drover_inner_update(l.inner, STEPS, &stats), DROVER_OK, "%s", drover_last_error());
  cr_assert_eq(stats.num_steps, STEPS);
  cr_assert_eq(stats.num_samples, COUNT);
  float *got = learner_weights(&l, &count);
  for (size_t i = 0; i < count; i++)
    cr_assert_float_eq(got[i], weights[i], 2e-4, "weight %zu: %g, expected %g", i, (double)got[i], (double)weights[i]);
  free(got);
  free(weights);
  free(gradients);
  free(first);
  free(second);
  free(samples);
  learner_close(&l);
}

/* The weights after adding samples and learning in updates of steps[0], steps[1], ... steps. */
static float *learn(int32_t num_workers, int32_t minibatch, const int64_t *steps, int32_t num_updates, size_t *count) {
  const drover_mlp_options layout = legs_network(2, 64);
  drover_inner_options options = learner_options(LEGS_SAMPLE);
  options.minibatch = minibatch;
  options.learning_rate = 1e-3;
  options.num_decay_steps = 15;
  learner l = learner_open(num_workers, &layout, &options);
  float *samples = draw_samples(1, 700);
  cr_assert_eq(drover_inner_add(l.inner, 700, samples), DROVER_OK);
  for (int32_t i = 0; i < num_updates; i++)
    cr_assert_eq(drover_inner_update(l.inner, steps[i], NULL), DROVER_OK, "%s", drover_last_error());
  float *weights = learner_weights(&l, count);
  free(samples);
  learner_close(&l);
  return weights;
}

Test(inner, weights_are_the_same_for_any_number_of_workers) {
  static const int32_t minibatches[] = {1, 100, 256, 513};
  const int64_t steps[] = {20};
  for (size_t m = 0; m < sizeof minibatches / sizeof *minibatches; m++) {
    size_t count = 0;
    float *one = learn(1, minibatches[m], steps, 1, &count);
    float *two = learn(2, minibatches[m], steps, 1, &count), *five = learn(5, minibatches[m], steps, 1, &count);
    cr_assert_eq(compare_bytes(one, two, count * sizeof *one), 0);
    cr_assert_eq(compare_bytes(one, five, count * sizeof *one), 0);
    free(one);
    free(two);
    free(five);
  }
}

Test(inner, weights_do_not_depend_on_how_steps_are_shared_out_among_updates) {
  const int64_t once[] = {20}, thrice[] = {1, 7, 12};
  size_t count = 0;
  float *one = learn(2, 128, once, 1, &count), *three = learn(2, 128, thrice, 3, &count);
  cr_assert_eq(compare_bytes(one, three, count * sizeof *one), 0);
  free(one);
  free(three);
}

Test(inner, weights_do_not_depend_on_the_callers_rounding) {
  float *weights[2];
  unsigned char *bytes[2];
  size_t count = 0, num_bytes = 0;
  for (int i = 0; i < 2; i++) {
    drover_mlp_options layout = legs_network(2, 32);
    layout.normalize_observations = 1;
    const drover_inner_options options = learner_options(LEGS_SAMPLE);
    learner l = learner_open(2, &layout, &options);
    float *samples = draw_samples(1, 300);
    fesetround(i ? FE_UPWARD : FE_TONEAREST);
    cr_assert_eq(drover_inner_add(l.inner, 300, samples), DROVER_OK);
    cr_assert_eq(drover_inner_update(l.inner, 5, NULL), DROVER_OK);
    cr_assert_eq(fegetround(), i ? FE_UPWARD : FE_TONEAREST);
    fesetround(FE_TONEAREST);
    weights[i] = learner_weights(&l, &count);
    cr_assert_eq(drover_inner_save(l.inner, NULL, &num_bytes), DROVER_OK);
    bytes[i] = malloc(num_bytes);
    cr_assert_eq(drover_inner_save(l.inner, bytes[i], &num_bytes), DROVER_OK);
    free(samples);
    learner_close(&l);
  }
  cr_assert_eq(compare_bytes(weights[0], weights[1], count * sizeof *weights[0]), 0);
  cr_assert_eq(compare_bytes(bytes[0], bytes[1], num_bytes), 0);
  for (int i = 0; i < 2; i++) free(weights[i]), free(bytes[i]);
}

Test(inner, learning_lowers_the_loss_and_gives_the_policy_a_version) {
  const drover_mlp_options layout = legs_network(2, 64);
  drover_inner_options options = learner_options(LEGS_SAMPLE);
  options.learning_rate = 1e-3;
  learner l = learner_open(2, &layout, &options);
  float *samples = draw_samples(1, 5000);
  drover_inner_stats before = {.size = sizeof before}, after = {.size = sizeof after};
  cr_assert_eq(drover_inner_add(l.inner, 4000, samples), DROVER_OK);
  cr_assert_eq(drover_inner_evaluate(l.inner, 1000, samples + (size_t)4000 * LEGS_SAMPLE, &before, NULL), DROVER_OK);
  cr_assert_eq(drover_inner_update(l.inner, 300, NULL), DROVER_OK, "%s", drover_last_error());
  cr_assert_eq(drover_inner_evaluate(l.inner, 1000, samples + (size_t)4000 * LEGS_SAMPLE, &after, NULL), DROVER_OK);
  cr_assert_lt(after.loss, before.loss / 10);
  free(samples);
  learner_close(&l);
}
