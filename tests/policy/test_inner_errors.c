/* test_inner_errors.c: what the inner learner refuses, and what it says. */
#include <pthread.h>
#include <unistd.h>

#include "tests/policy/learner.h"

static learner errors_learner(int32_t num_workers) {
  const drover_mlp_options layout = legs_network(2, 32);
  drover_inner_options options = learner_options(LEGS_SAMPLE);
  options.capacity = 500;
  return learner_open(num_workers, &layout, &options);
}

Test(inner_errors, an_update_needs_samples) {
  learner l = errors_learner(1);
  cr_assert_eq(drover_inner_update(l.inner, 1, NULL), DROVER_ERROR_STATE);
  float *samples = draw_samples(1, 2);
  samples[LEGS_SAMPLE - 1] = samples[2 * LEGS_SAMPLE - 1] = 0;
  cr_assert_eq(drover_inner_add(l.inner, 2, samples), DROVER_OK);
  cr_assert_eq(drover_inner_update(l.inner, 1, NULL), DROVER_ERROR_STATE);
  free(samples);
  learner_close(&l);
}

Test(inner_errors, samples_that_are_not_finite_are_refused_as_a_whole) {
  learner l = errors_learner(1);
  float *samples = draw_samples(1, 3);
  samples[LEGS_SAMPLE + 40] = INFINITY;
  cr_assert_eq(drover_inner_add(l.inner, 3, samples), DROVER_ERROR_ARGUMENT);
  cr_assert_str_eq(drover_last_error(), "inner add: number 40 of sample 1 must be finite, got inf");
  cr_assert_eq(drover_inner_update(l.inner, 1, NULL), DROVER_ERROR_STATE);
  cr_assert_eq(drover_inner_evaluate(l.inner, 3, samples, NULL, NULL), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_inner_add(l.inner, -1, samples), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_inner_add(l.inner, 1, NULL), DROVER_ERROR_ARGUMENT);
  free(samples);
  learner_close(&l);
}

Test(inner_errors, options_out_of_range_are_refused) {
  learner l = errors_learner(1);
  drover_inner *inner = NULL;
  drover_inner_options options = learner_options(LEGS_SAMPLE);
#define REFUSED(field, value)                                                                                \
  do {                                                                                                       \
    drover_inner_options wrong = options;                                                                    \
    wrong.field = (value);                                                                                   \
    cr_assert_eq(drover_inner_create(&inner, l.policy, &wrong), DROVER_ERROR_ARGUMENT, "%s", #field);        \
    cr_assert_null(inner);                                                                                   \
    cr_assert_not_null(strstr(drover_last_error(), "inner: " #field " must be"), "%s", drover_last_error()); \
  } while (0)
  REFUSED(sample_size, 100);
  REFUSED(capacity, 0);
  REFUSED(minibatch, 0);
  REFUSED(minibatch, 2000000);
  REFUSED(learning_rate, 0.0);
  REFUSED(learning_rate, NAN);
  REFUSED(final_learning_rate, -1.0);
  REFUSED(num_decay_steps, -1);
  REFUSED(adam_beta1, 1.0);
  REFUSED(adam_beta2, -0.1);
  REFUSED(adam_epsilon, 0.0);
  REFUSED(grad_limit, -1.0);
  REFUSED(torque_scale, 0.0);
  REFUSED(effort_coef, INFINITY);
  cr_assert_eq(drover_inner_create(NULL, l.policy, &options), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_inner_create(&inner, NULL, &options), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_inner_create(&inner, l.policy, NULL), DROVER_ERROR_ARGUMENT);
  options.size = 8;
  cr_assert_eq(drover_inner_create(&inner, l.policy, &options), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_inner_options_init(&options, 8), DROVER_ERROR_ARGUMENT);
  learner_close(&l);
}

Test(inner_errors, only_policies_with_the_unit_head_and_no_values_can_be_learnt) {
  learner l = errors_learner(1);
  const drover_inner_options options = learner_options(LEGS_SAMPLE);
  drover_mlp_options layout = legs_network(1, 8);
  drover_policy *policy = NULL;
  drover_inner *inner = NULL;
  layout.has_values = 1;
  cr_assert_eq(drover_policy_create_mlp(&policy, l.runtime, &layout), DROVER_OK);
  cr_assert_eq(drover_inner_create(&inner, policy, &options), DROVER_ERROR_ARGUMENT);
  cr_assert_str_eq(drover_last_error(),
                   "inner: the policy must have the unit head and no values, it has the unit head and values");
  cr_assert_eq(drover_policy_destroy(policy), DROVER_OK);
  layout.has_values = 0;
  layout.head = DROVER_HEAD_GAUSSIAN;
  cr_assert_eq(drover_policy_create_mlp(&policy, l.runtime, &layout), DROVER_OK);
  cr_assert_eq(drover_inner_create(&inner, policy, &options), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_policy_destroy(policy), DROVER_OK);
  learner_close(&l);
}

Test(inner_errors, the_policy_outlives_its_learner_and_closed_handles_are_recognised) {
  learner l = errors_learner(1);
  cr_assert_eq(drover_policy_destroy(l.policy), DROVER_ERROR_STATE);
  cr_assert_eq(drover_inner_destroy(NULL), DROVER_OK);
  cr_assert_eq(drover_inner_destroy(l.inner), DROVER_OK);
  cr_assert_eq(drover_inner_destroy(l.inner), DROVER_ERROR_CLOSED);
  cr_assert_eq(drover_inner_update(l.inner, 1, NULL), DROVER_ERROR_CLOSED);
  cr_assert_eq(drover_inner_add(NULL, 0, NULL), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_policy_destroy(l.policy), DROVER_OK);
  cr_assert_eq(drover_runtime_destroy(l.runtime), DROVER_OK);
}

/* ---- Calls at the same time ------------------------------------------------------------------------------------ */

/* The looks of the test's own thread may be in the way of the beginning. */
static void *update_for_long(void *learner_of) {
  const learner *l = learner_of;
  drover_status status;
  do status = drover_inner_update(l->inner, 100000000, NULL);
  while (status == DROVER_ERROR_STATE);
  return (void *)(intptr_t)status;
}

Test(inner_errors, calls_that_overlap_are_refused) {
  learner l = errors_learner(2);
  float *samples = draw_samples(1, 400);
  cr_assert_eq(drover_inner_add(l.inner, 400, samples), DROVER_OK);
  pthread_t thread;
  cr_assert_eq(pthread_create(&thread, NULL, update_for_long, &l), 0);
  size_t num_bytes = 0;
  while (drover_inner_save(l.inner, NULL, &num_bytes) == DROVER_OK) usleep(100); /* until the update is in progress */
  cr_assert_str_eq(drover_last_error(),
                   "inner save: another call on this learner is in progress; calls on one learner must not overlap");
  cr_assert_eq(drover_inner_add(l.inner, 1, samples), DROVER_ERROR_STATE);
  cr_assert_eq(drover_inner_add_rollout(l.inner, NULL), DROVER_ERROR_STATE);
  cr_assert_eq(drover_inner_update(l.inner, 1, NULL), DROVER_ERROR_STATE);
  cr_assert_eq(drover_inner_evaluate(l.inner, 1, samples, NULL, NULL), DROVER_ERROR_STATE);
  cr_assert_eq(drover_inner_load(l.inner, &num_bytes, sizeof num_bytes), DROVER_ERROR_STATE);
  cr_assert_eq(drover_inner_destroy(l.inner), DROVER_ERROR_STATE);
  void *ended = NULL;
  while (pthread_tryjoin_np(thread, &ended) != 0) { /* a cancellation before the update has begun is forgotten */
    drover_runtime_cancel(l.runtime);
    usleep(1000);
  }
  cr_assert_eq((drover_status)(intptr_t)ended, DROVER_ERROR_CANCELLED);
  cr_assert_eq(drover_inner_update(l.inner, 1, NULL), DROVER_OK, "%s", drover_last_error());
  free(samples);
  learner_close(&l);
}
