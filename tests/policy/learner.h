/* learner.h: an inner learner of a policy for the legs of samples.h, as tests make it. */
#ifndef DR_TESTS_POLICY_LEARNER_H
#define DR_TESTS_POLICY_LEARNER_H

#include "policy/learn/inner.h"
#include "tests/policy/reference.h"
#include "tests/policy/samples.h"

/* A runtime, an inner policy and a learner of it. */
typedef struct learner {
  drover_runtime *runtime;
  drover_policy *policy;
  drover_inner *inner;
} learner;

static inline drover_inner_options learner_options(int32_t sample_size) {
  drover_inner_options options;
  cr_assert_eq(drover_inner_options_init(&options, sizeof options), DROVER_OK);
  options.sample_size = sample_size;
  options.seed = 11;
  return options;
}

static inline learner learner_open(int32_t num_workers, const drover_mlp_options *layout,
                                   const drover_inner_options *options) {
  learner l = {0};
  drover_runtime_options runtime;
  cr_assert_eq(drover_runtime_options_init(&runtime, sizeof runtime), DROVER_OK);
  runtime.num_workers = num_workers;
  cr_assert_eq(drover_runtime_create(&l.runtime, &runtime), DROVER_OK, "%s", drover_last_error());
  cr_assert_eq(drover_policy_create_mlp(&l.policy, l.runtime, layout), DROVER_OK, "%s", drover_last_error());
  cr_assert_eq(drover_inner_create(&l.inner, l.policy, options), DROVER_OK, "%s", drover_last_error());
  return l;
}

static inline void learner_close(learner *l) {
  cr_assert_eq(drover_inner_destroy(l->inner), DROVER_OK);
  cr_assert_eq(drover_policy_destroy(l->policy), DROVER_OK, "%s", drover_last_error());
  cr_assert_eq(drover_runtime_destroy(l->runtime), DROVER_OK, "%s", drover_last_error());
}

static inline float *learner_weights(const learner *l, size_t *count) {
  cr_assert_eq(drover_policy_num_weights(l->policy, count), DROVER_OK);
  float *weights = malloc(*count * sizeof *weights);
  cr_assert_eq(drover_policy_get_weights(l->policy, weights, *count), DROVER_OK);
  return weights;
}

/* An inner network for the legs: `num_hidden` layers of `width`, leaky ReLU, sigmoid. */
static inline drover_mlp_options legs_network(int32_t num_hidden, int32_t width) {
  drover_mlp_options options =
      test_options(LEGS_OBSERVATION, num_hidden, width, LEGS_MUSCLES, DROVER_HEAD_UNIT, DROVER_ACTIVATION_LEAKY_RELU);
  options.has_values = 0;
  return options;
}

#endif
