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

/* What a failed call must leave: the learner's state and its policy's weights, before and after it. */
typedef struct copies {
  unsigned char *bytes;
  float *weights;
  size_t num_bytes, num_weights;
} copies;

static copies take_copies(const learner *l) {
  copies c = {0};
  c.bytes = save(l, &c.num_bytes);
  c.weights = learner_weights(l, &c.num_weights);
  return c;
}

/* Frees the copies. */
static void assert_is_as_before(const learner *l, copies before) {
  copies now = take_copies(l);
  cr_assert_eq(now.num_bytes, before.num_bytes);
  cr_assert_eq(compare_bytes(before.bytes, now.bytes, now.num_bytes), 0);
  cr_assert_eq(compare_bytes(before.weights, now.weights, now.num_weights * sizeof *now.weights), 0);
  copies *const both[] = {&before, &now};
  for (int i = 0; i < 2; i++) {
    free(both[i]->bytes);
    free(both[i]->weights);
  }
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
  const copies before = take_copies(&l);
  size_t num_bytes = 0, small = 10;
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
  assert_is_as_before(&l, before);

  const drover_mlp_options layout = legs_network(2, 33);
  const drover_inner_options options = learner_options(LEGS_SAMPLE);
  learner other = learner_open(1, &layout, &options);
  cr_assert_eq(drover_inner_load(other.inner, bytes, num_bytes), DROVER_ERROR_FORMAT);
  learner_close(&other);
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
  const copies before = take_copies(&l);
  drover_inner_stats stats = {.size = sizeof stats, .loss = 7};
  cr_assert_eq(drover_inner_update(l.inner, 20, &stats), DROVER_ERROR_DIVERGED);
  fprintf(stderr, "%s\n", drover_last_error());
  cr_assert_eq(stats.loss, 7);
  assert_is_as_before(&l, before);
  free(samples);
  learner_close(&l);
}

static _Atomic int32_t was_cancelled;

/* Again and again: a cancellation before the update has begun is forgotten. */
static void *cancel_often(void *runtime) {
  while (!was_cancelled) {
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
  const copies before = take_copies(&l);
  pthread_t thread;
  cr_assert_eq(pthread_create(&thread, NULL, cancel_often, l.runtime), 0);
  cr_assert_eq(drover_inner_update(l.inner, 100000000, NULL), DROVER_ERROR_CANCELLED);
  was_cancelled = 1;
  pthread_join(thread, NULL);
  assert_is_as_before(&l, before);
  free(samples);
  learner_close(&l);
}
