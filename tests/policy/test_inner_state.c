/* test_inner_state.c: the inner learner's memory of itself: checkpoints, samples of rollouts, what errors leave behind.
 */
#include <pthread.h>
#include <unistd.h>

#include "tests/policy/learner.h"

/* ---- Checkpoints --------------------------------------------------------------------------------------------- */

static unsigned char *save(const learner *l, size_t *num_bytes) {
  *num_bytes = 0;
  cr_assert_eq(drover_inner_save(l->inner, NULL, num_bytes), DROVER_OK, "%s", drover_last_error());
  unsigned char *bytes = malloc(*num_bytes);
  cr_assert_eq(drover_inner_save(l->inner, bytes, num_bytes), DROVER_OK, "%s", drover_last_error());
  return bytes;
}

static learner checkpoint_learner(uint64_t seed) {
  const drover_mlp_options layout = legs_network(2, 32);
  drover_inner_options options = learner_options(LEGS_SAMPLE);
  options.capacity = 500;
  options.minibatch = 128;
  options.seed = seed;
  return learner_open(2, &layout, &options);
}

Test(inner_state, a_restored_learner_goes_on_as_if_nothing_had_happened) {
  learner whole = checkpoint_learner(3);
  float *samples = draw_samples(1, 900);
  cr_assert_eq(drover_inner_add(whole.inner, 600, samples), DROVER_OK);
  cr_assert_eq(drover_inner_update(whole.inner, 7, NULL), DROVER_OK);
  size_t num_bytes = 0, count = 0;
  unsigned char *bytes = save(&whole, &num_bytes);
  float *weights = learner_weights(&whole, &count);

  learner restored = checkpoint_learner(99); /* the checkpoint brings its own seed */
  cr_assert_eq(drover_policy_set_weights(restored.policy, weights, count), DROVER_OK);
  cr_assert_eq(drover_inner_load(restored.inner, bytes, num_bytes), DROVER_OK, "%s", drover_last_error());
  learner *const both[] = {&whole, &restored};
  float *after[2];
  unsigned char *bytes_after[2];
  for (int i = 0; i < 2; i++) {
    cr_assert_eq(drover_inner_update(both[i]->inner, 9, NULL), DROVER_OK);
    cr_assert_eq(drover_inner_add(both[i]->inner, 300, samples + (size_t)600 * LEGS_SAMPLE), DROVER_OK);
    cr_assert_eq(drover_inner_update(both[i]->inner, 9, NULL), DROVER_OK);
    after[i] = learner_weights(both[i], &count);
    bytes_after[i] = save(both[i], &num_bytes);
  }
  cr_assert_eq(compare_bytes(after[0], after[1], count * sizeof *after[0]), 0);
  cr_assert_eq(compare_bytes(bytes_after[0], bytes_after[1], num_bytes), 0);
  for (int i = 0; i < 2; i++) {
    free(after[i]);
    free(bytes_after[i]);
    learner_close(both[i]);
  }
  free(weights);
  free(bytes);
  free(samples);
}

Test(inner_state, checkpoints_that_do_not_fit_are_refused_and_change_nothing) {
  learner l = checkpoint_learner(3);
  float *samples = draw_samples(1, 100);
  cr_assert_eq(drover_inner_add(l.inner, 100, samples), DROVER_OK);
  cr_assert_eq(drover_inner_update(l.inner, 2, NULL), DROVER_OK);
  size_t num_bytes = 0, size = 0, small = 10;
  unsigned char *bytes = save(&l, &num_bytes);
  cr_assert_eq(drover_inner_save(l.inner, bytes, &small), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(small, num_bytes);
  cr_assert_eq(drover_inner_save(l.inner, bytes, NULL), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_inner_load(l.inner, NULL, num_bytes), DROVER_ERROR_FORMAT);
  cr_assert_eq(drover_inner_load(l.inner, bytes, 20), DROVER_ERROR_FORMAT);
  cr_assert_eq(drover_inner_load(l.inner, bytes, num_bytes - 4), DROVER_ERROR_FORMAT);
  for (size_t at = 0; at < num_bytes; at += at < 100 ? 1 : 997) {
    bytes[at] ^= 0x41;
    cr_assert_eq(drover_inner_load(l.inner, bytes, num_bytes), DROVER_ERROR_FORMAT, "byte %zu", at);
    bytes[at] ^= 0x41;
  }
  unsigned char *now = save(&l, &size);
  cr_assert_eq(size, num_bytes);
  cr_assert_eq(compare_bytes(bytes, now, size), 0);

  const drover_mlp_options layout = legs_network(2, 33);
  const drover_inner_options options = learner_options(LEGS_SAMPLE);
  learner other = learner_open(1, &layout, &options);
  cr_assert_eq(drover_inner_load(other.inner, bytes, num_bytes), DROVER_ERROR_FORMAT);
  learner_close(&other);
  free(now);
  free(bytes);
  free(samples);
  learner_close(&l);
}

/* ---- Samples of rollouts ------------------------------------------------------------------------------------- */

/* An env whose ticks give samples of the legs; every fifth step of an env fails. */
static int legs_open(const drover_env_args *args, drover_env_spec *spec, void **shared, char *message,
                     size_t message_size) {
  static const float low[] = {-1}, high[] = {1};
  (void)args, (void)message, (void)message_size;
  *shared = NULL;
  spec->observation_size = spec->action_size = 1;
  spec->action_kind = DROVER_ACTION_CONTINUOUS;
  spec->action_low = low;
  spec->action_high = high;
  spec->state_size = 16;
  spec->num_ticks = 3;
  spec->inner_observation_size = LEGS_OBSERVATION;
  spec->inner_action_size = LEGS_MUSCLES;
  spec->inner_sample_size = LEGS_SAMPLE;
  return 0;
}

static int legs_reset(void *shared, void *state, const drover_env_rows *rows) {
  (void)shared, (void)state;
  rows->observations[0] = 0;
  return 0;
}

static int legs_step(void *shared, void *state, const drover_env_rows *rows) {
  (void)shared, (void)state;
  rows->observations[0] = 0;
  rows->rewards[0] = 1;
  return rows->counters[0] % 5 == 4;
}

static int legs_tick(void *shared, void *state, const drover_env_tick *tick) {
  (void)shared, (void)state;
  drover_random random = drover_env_tick_random(tick);
  float sample[LEGS_SAMPLE];
  draw_sample(&random, sample);
  if (tick->inner_observation) memcpy(tick->inner_observation, sample, LEGS_OBSERVATION * sizeof *sample);
  if (tick->sample) memcpy(tick->sample, sample, sizeof sample);
  return 0;
}

static const drover_env_type legs_type = {.abi_version = DROVER_ENV_ABI_VERSION,
                                          .size = sizeof(drover_env_type),
                                          .name = "Legs",
                                          .summary = "legs for tests of the inner learner",
                                          .open = legs_open,
                                          .reset = legs_reset,
                                          .step = legs_step,
                                          .begin = legs_tick,
                                          .tick = legs_tick};

Test(inner_state, a_rollout_gives_the_samples_of_its_valid_steps) {
  learner l = checkpoint_learner(3);
  drover_batch *batch = NULL;
  drover_policy *outer = NULL;
  drover_rollout *rollout = NULL;
  drover_batch_options batch_options;
  drover_rollout_options rollout_options;
  drover_batch_view batch_view = {.size = sizeof batch_view};
  drover_rollout_view view = {.size = sizeof view};
  cr_assert_eq(drover_batch_options_init(&batch_options, sizeof batch_options), DROVER_OK);
  batch_options.num_envs = 8;
  cr_assert_eq(drover_batch_create(&batch, l.runtime, &legs_type, &batch_options), DROVER_OK, "%s",
               drover_last_error());
  cr_assert_eq(drover_batch_set_inner_policy(batch, l.policy), DROVER_OK, "%s", drover_last_error());
  cr_assert_eq(drover_batch_get_view(batch, &batch_view), DROVER_OK);
  cr_assert_eq(drover_policy_create_uniform(&outer, l.runtime, batch_view.spec), DROVER_OK);
  cr_assert_eq(drover_rollout_options_init(&rollout_options, sizeof rollout_options), DROVER_OK);
  rollout_options.num_steps = 10;
  cr_assert_eq(drover_rollout_create(&rollout, batch, outer, &rollout_options), DROVER_OK, "%s", drover_last_error());
  cr_assert_eq(drover_rollout_collect(rollout), DROVER_OK, "%s", drover_last_error());

  cr_assert_eq(drover_inner_add_rollout(l.inner, rollout), DROVER_OK, "%s", drover_last_error());
  cr_assert_eq(l.inner->replay.count, 8 * 8, "two of ten steps fail");
  cr_assert_eq(drover_rollout_get_view(rollout, &view), DROVER_OK);
  int64_t place = 0;
  for (size_t row = 0; row < 80; row++) {
    const float *sample = view.inner_samples + row * LEGS_SAMPLE;
    if (!view.valid[row]) continue;
    cr_assert_eq(compare_bytes(l.inner->replay.observations + place * LEGS_OBSERVATION, sample,
                               LEGS_OBSERVATION * sizeof *sample),
                 0);
    cr_assert_eq(compare_bytes(l.inner->replay.samples + place * (LEGS_SAMPLE - LEGS_OBSERVATION),
                               sample + LEGS_OBSERVATION, (LEGS_SAMPLE - LEGS_OBSERVATION) * sizeof *sample),
                 0);
    place++;
  }
  cr_assert_eq(drover_inner_update(l.inner, 3, NULL), DROVER_OK, "%s", drover_last_error());
  cr_assert_eq(drover_inner_add_rollout(l.inner, NULL), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_rollout_destroy(rollout), DROVER_OK);
  cr_assert_eq(drover_batch_destroy(batch), DROVER_OK);
  cr_assert_eq(drover_policy_destroy(outer), DROVER_OK);
  learner_close(&l);
}

/* ---- Normalised observations --------------------------------------------------------------------------------- */

static learner normalizing_learner(void) {
  drover_mlp_options layout = legs_network(1, 16);
  layout.normalize_observations = 1;
  drover_inner_options options = learner_options(LEGS_SAMPLE);
  options.capacity = 100;
  return learner_open(2, &layout, &options);
}

/* Means and deviations in a policy's weights, after those of samples [count], first pass and second pass. */
static void assert_moments(const learner *l, int64_t count, const float *samples) {
  const dr_mlp *mlp = &l->inner->self->inference->mlp;
  size_t num_weights = 0;
  float *weights = learner_weights(l, &num_weights);
  for (size_t k = 0; k < LEGS_OBSERVATION; k++) {
    double mean = 0, squares = 0;
    for (int64_t i = 0; i < count; i++) mean += (double)samples[(size_t)i * LEGS_SAMPLE + k] / (double)count;
    for (int64_t i = 0; i < count; i++) squares += pow((double)samples[(size_t)i * LEGS_SAMPLE + k] - mean, 2);
    cr_assert(nearly((double)weights[mlp->mean_at + k], mean));
    cr_assert(nearly((double)weights[mlp->std_at + k], sqrt(squares / (double)count + 1e-8)));
  }
  free(weights);
}

Test(inner_state, observations_are_normalised_by_all_valid_samples_ever_added) {
  learner l = normalizing_learner();
  float *samples = draw_samples(1, 300);
  cr_assert_eq(drover_inner_add(l.inner, 120, samples), DROVER_OK);
  cr_assert_eq(drover_inner_update(l.inner, 2, NULL), DROVER_OK, "%s", drover_last_error());
  assert_moments(&l, 120, samples);
  cr_assert_eq(drover_inner_add(l.inner, 180, samples + (size_t)120 * LEGS_SAMPLE), DROVER_OK);
  cr_assert_eq(drover_inner_update(l.inner, 2, NULL), DROVER_OK, "%s", drover_last_error());
  assert_moments(&l, 300, samples);
  free(samples);
  learner_close(&l);
}

Test(inner_state, a_restored_learner_normalises_as_before) {
  learner whole = normalizing_learner(), restored = normalizing_learner();
  float *samples = draw_samples(1, 200);
  cr_assert_eq(drover_inner_add(whole.inner, 150, samples), DROVER_OK);
  cr_assert_eq(drover_inner_update(whole.inner, 2, NULL), DROVER_OK);
  size_t num_bytes = 0, count = 0;
  unsigned char *bytes = save(&whole, &num_bytes);
  float *weights = learner_weights(&whole, &count);
  cr_assert_eq(drover_policy_set_weights(restored.policy, weights, count), DROVER_OK);
  cr_assert_eq(drover_inner_load(restored.inner, bytes, num_bytes), DROVER_OK, "%s", drover_last_error());
  cr_assert_eq(drover_inner_add(restored.inner, 50, samples + (size_t)150 * LEGS_SAMPLE), DROVER_OK);
  cr_assert_eq(drover_inner_update(restored.inner, 1, NULL), DROVER_OK);
  assert_moments(&restored, 200, samples);
  learner plain = checkpoint_learner(1);
  cr_assert_eq(drover_inner_load(plain.inner, bytes, num_bytes), DROVER_ERROR_FORMAT);
  learner_close(&plain);
  free(weights);
  free(bytes);
  free(samples);
  learner_close(&whole);
  learner_close(&restored);
}

Test(inner_state, what_a_trained_policy_brings_is_kept_to) {
  learner l = normalizing_learner();
  const dr_mlp *mlp = &l.inner->self->inference->mlp;
  size_t count = 0;
  float *weights = learner_weights(&l, &count), *samples = draw_samples(1, 100);
  cr_assert_eq(drover_inner_destroy(l.inner), DROVER_OK);
  for (size_t k = 0; k < LEGS_OBSERVATION; k++) weights[mlp->mean_at + k] = 2, weights[mlp->std_at + k] = 3;
  cr_assert_eq(drover_policy_set_weights(l.policy, weights, count), DROVER_OK);
  drover_inner_options options = learner_options(LEGS_SAMPLE);
  cr_assert_eq(drover_inner_create(&l.inner, l.policy, &options), DROVER_OK);
  cr_assert_eq(drover_inner_add(l.inner, 100, samples), DROVER_OK);
  cr_assert_eq(drover_inner_update(l.inner, 1, NULL), DROVER_OK);
  cr_assert_eq(drover_policy_get_weights(l.policy, weights, count), DROVER_OK);
  for (size_t k = 0; k < LEGS_OBSERVATION; k++) {
    cr_assert_float_eq(weights[mlp->mean_at + k], 2, 1e-3);
    cr_assert_float_eq(weights[mlp->std_at + k], 3, 1e-3);
  }
  free(weights);
  free(samples);
  learner_close(&l);
}

/* ---- Errors -------------------------------------------------------------------------------------------------- */

Test(inner_state, a_diverging_update_leaves_policy_and_learner_as_they_were) {
  const drover_mlp_options layout = legs_network(2, 32);
  drover_inner_options options = learner_options(LEGS_SAMPLE);
  options.learning_rate = 1e-3;
  options.final_learning_rate = 1e38;
  options.num_decay_steps = 10;
  learner l = learner_open(2, &layout, &options);
  float *samples = draw_samples(1, 1000);
  cr_assert_eq(drover_inner_add(l.inner, 1000, samples), DROVER_OK);
  cr_assert_eq(drover_inner_update(l.inner, 1, NULL), DROVER_OK, "%s", drover_last_error());
  size_t num_bytes = 0, count = 0;
  unsigned char *before = save(&l, &num_bytes);
  float *weights_before = learner_weights(&l, &count);
  drover_inner_stats stats = {.size = sizeof stats, .loss = 7};
  cr_assert_eq(drover_inner_update(l.inner, 20, &stats), DROVER_ERROR_DIVERGED);
  fprintf(stderr, "%s\n", drover_last_error());
  cr_assert_eq(stats.loss, 7);
  unsigned char *after = save(&l, &num_bytes);
  float *weights_after = learner_weights(&l, &count);
  cr_assert_eq(compare_bytes(before, after, num_bytes), 0);
  cr_assert_eq(compare_bytes(weights_before, weights_after, count * sizeof *weights_after), 0);
  free(before);
  free(after);
  free(weights_before);
  free(weights_after);
  free(samples);
  learner_close(&l);
}

static void *cancel_soon(void *runtime) {
  for (int i = 0; i < 50; i++) {
    usleep(10000);
    drover_runtime_cancel(runtime);
  }
  return NULL;
}

Test(inner_state, a_cancelled_update_is_undone) {
  learner l = checkpoint_learner(3);
  float *samples = draw_samples(1, 400);
  cr_assert_eq(drover_inner_add(l.inner, 400, samples), DROVER_OK);
  cr_assert_eq(drover_inner_update(l.inner, 5, NULL), DROVER_OK);
  size_t num_bytes = 0, count = 0;
  unsigned char *before = save(&l, &num_bytes);
  float *weights_before = learner_weights(&l, &count);
  pthread_t thread;
  cr_assert_eq(pthread_create(&thread, NULL, cancel_soon, l.runtime), 0);
  cr_assert_eq(drover_inner_update(l.inner, 100000000, NULL), DROVER_ERROR_CANCELLED);
  pthread_join(thread, NULL);
  unsigned char *after = save(&l, &num_bytes);
  float *weights_after = learner_weights(&l, &count);
  cr_assert_eq(compare_bytes(before, after, num_bytes), 0);
  cr_assert_eq(compare_bytes(weights_before, weights_after, count * sizeof *weights_after), 0);
  free(before);
  free(after);
  free(weights_before);
  free(weights_after);
  free(samples);
  learner_close(&l);
}

Test(inner_state, an_update_needs_samples) {
  learner l = checkpoint_learner(1);
  cr_assert_eq(drover_inner_update(l.inner, 1, NULL), DROVER_ERROR_STATE);
  float *samples = draw_samples(1, 2);
  samples[LEGS_SAMPLE - 1] = samples[2 * LEGS_SAMPLE - 1] = 0;
  cr_assert_eq(drover_inner_add(l.inner, 2, samples), DROVER_OK);
  cr_assert_eq(drover_inner_update(l.inner, 1, NULL), DROVER_ERROR_STATE);
  free(samples);
  learner_close(&l);
}

Test(inner_state, samples_that_are_not_finite_are_refused_as_a_whole) {
  learner l = checkpoint_learner(1);
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

Test(inner_state, options_out_of_range_are_refused) {
  learner l = checkpoint_learner(1);
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

Test(inner_state, only_policies_with_the_unit_head_and_no_values_can_be_learnt) {
  learner l = checkpoint_learner(1);
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

Test(inner_state, the_policy_outlives_its_learner_and_closed_handles_are_recognised) {
  learner l = checkpoint_learner(1);
  cr_assert_eq(drover_policy_destroy(l.policy), DROVER_ERROR_STATE);
  cr_assert_eq(drover_inner_destroy(NULL), DROVER_OK);
  cr_assert_eq(drover_inner_destroy(l.inner), DROVER_OK);
  cr_assert_eq(drover_inner_destroy(l.inner), DROVER_ERROR_CLOSED);
  cr_assert_eq(drover_inner_update(l.inner, 1, NULL), DROVER_ERROR_CLOSED);
  cr_assert_eq(drover_inner_add(NULL, 0, NULL), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_policy_destroy(l.policy), DROVER_OK);
  cr_assert_eq(drover_runtime_destroy(l.runtime), DROVER_OK);
}
