/* test_ppo.c: a learner over many updates: the contract, checkpoints, schedules, early stop, and what fails. */
#include <pthread.h>
#include <unistd.h>

#include "policy/learn/ppo.h"
#include "tests/policy/ppo_learner.h"

static learner l;

/* ---- The contract -------------------------------------------------------------------------------------------- */

/* The weights after each of three updates, one behind the other, then the learner's state. */
static copy train(int32_t num_workers, int32_t num_envs, bool continuous, drover_action_transform transform) {
  learner_init_full(&l, continuous);
  l.runtime_options.num_workers = num_workers;
  l.batch_options.num_envs = num_envs;
  l.rollout_options.transform = transform;
  learner_open(&l);
  learner_observe(&l);
  copy all = {0};
  for (int i = 0; i < 4; i++) {
    if (i < 3) learner_update(&l);
    const copy part = i < 3 ? learner_weights(&l) : learner_state(&l);
    all.data = realloc(all.data, all.size + part.size);
    memcpy((char *)all.data + all.size, part.data, part.size);
    all.size += part.size;
    free(part.data);
  }
  learner_close(&l);
  return all;
}

static void check_workers(bool continuous, drover_action_transform transform) {
  const int32_t num_workers[] = {2, 5, 1};
  for (int i = 0; i < 3; i++)
    cr_assert(same_copies(train(1, 13, continuous, transform), train(num_workers[i], 13, continuous, transform)),
              "%d workers make other weights", (int)num_workers[i]);
}

Test(ppo, weights_do_not_depend_on_the_number_of_workers_with_a_categorical_head) { check_workers(false, 0); }
Test(ppo, weights_do_not_depend_on_the_number_of_workers_with_a_gaussian_head) {
  check_workers(true, DROVER_ACTION_CLIP);
}
Test(ppo, weights_do_not_depend_on_the_number_of_workers_with_tanh) { check_workers(true, DROVER_ACTION_TANH); }

Test(ppo, weights_do_not_depend_on_the_number_of_workers_who_share_what_comes_before_the_passes) {
  const int32_t num_envs = 300; /* times 23 steps */
  const int32_t num_workers[] = {3, 20};
  for (int i = 0; i < 2; i++)
    cr_assert(same_copies(train(1, num_envs, true, DROVER_ACTION_TANH),
                          train(num_workers[i], num_envs, true, DROVER_ACTION_TANH)),
              "%d workers make other weights", (int)num_workers[i]);
}

Test(ppo, training_that_was_saved_and_resumed_is_training_that_went_on) {
  for (int continuous = 0; continuous < 2; continuous++) {
    learner_init_full(&l, continuous);
    learner_open(&l);
    learner_observe(&l);
    for (int i = 0; i < 3; i++) learner_update(&l);
    const copy weights = learner_weights(&l), state = learner_state(&l), envs = learner_envs(&l);
    for (int i = 0; i < 3; i++) learner_update(&l);
    const copy last_weights = learner_weights(&l), last_state = learner_state(&l);
    learner_close(&l);

    l.mlp_options.seed = 99; /* whatever it begins with is replaced */
    l.batch_options.seed = 98;
    learner_open(&l);
    learner_update(&l);
    OK(drover_policy_set_weights(l.policy, weights.data, weights.size / sizeof(float)));
    OK(drover_ppo_load(l.ppo, state.data, state.size));
    OK(drover_batch_load(l.batch, envs.data, envs.size));
    for (int i = 0; i < 3; i++) cr_assert_eq(learner_update(&l).num_updates, 4 + i);
    cr_assert(same_copies(learner_weights(&l), last_weights));
    cr_assert(same_copies(learner_state(&l), last_state));
    learner_close(&l);
    free(weights.data);
    free(state.data);
    free(envs.data);
  }
}

Test(ppo, a_rollout_stays_as_it_was) {
  learner_init_full(&l, false);
  learner_open(&l);
  OK(drover_rollout_collect(l.rollout));
  uint64_t before, after;
  OK(drover_rollout_digest(l.rollout, &before));
  OK(drover_ppo_update(l.ppo, l.rollout, NULL));
  OK(drover_rollout_digest(l.rollout, &after));
  cr_assert_eq(before, after);
  learner_close(&l);
}

/* ---- Schedules ----------------------------------------------------------------------------------------------- */

Test(ppo, the_learning_rate_falls_in_a_line_and_stays) {
  learner_init(&l, false);
  l.ppo_options.learning_rate = 1e-3;
  l.ppo_options.final_learning_rate = 2e-4;
  l.ppo_options.num_updates = 4;
  learner_open(&l);
  const double rates[] = {1e-3, 8e-4, 6e-4, 4e-4, 2e-4, 2e-4};
  for (int i = 0; i < 6; i++) {
    const double rate = learner_update(&l).learning_rate;
    cr_assert_float_eq(rate, rates[i], 1e-12);
  }
  learner_close(&l);
}

Test(ppo, the_learning_rate_is_constant_without_an_end) {
  learner_init(&l, false);
  learner_open(&l);
  for (int i = 0; i < 3; i++) cr_assert_eq(learner_update(&l).learning_rate, 3e-3);
  learner_close(&l);
}

Test(ppo, a_rate_of_zero_at_the_end_moves_nothing) {
  learner_init(&l, false);
  l.ppo_options.num_updates = 1;
  learner_open(&l);
  learner_update(&l);
  const copy before = learner_weights(&l);
  cr_assert_eq(learner_update(&l).learning_rate, 0);
  cr_assert(same_copies(before, learner_weights(&l)));
  learner_close(&l);
}

static drover_ppo_stats update_of_epochs(int32_t num_epochs, double target_kl) {
  learner_init(&l, false);
  l.ppo_options.learning_rate = 3e-4;
  l.ppo_options.num_epochs = num_epochs;
  l.ppo_options.target_kl = target_kl;
  learner_open(&l);
  const drover_ppo_stats stats = learner_update(&l);
  learner_close(&l);
  return stats;
}

Test(ppo, an_update_stops_after_the_epoch_whose_kl_is_over_one_and_a_half_times_the_target) {
  enum { MOST = 20 };
  double kl[MOST + 1] = {0};
  for (int k = 1; k <= MOST; k++) kl[k] = update_of_epochs(k, 0).approx_kl;
  const double target = kl[8] / 1.25; /* epoch 8 is over the target, but not by so much */
  int32_t last = 1;
  while (last < MOST && kl[last] <= 1.5 * target) last++;
  cr_assert(last > 8 && last < MOST, "%d", (int)last);
  const drover_ppo_stats stats = update_of_epochs(MOST, target);
  cr_assert_eq(stats.num_epochs, last);
  cr_assert_eq(stats.approx_kl, kl[last]);
  cr_assert_eq(update_of_epochs(MOST, 0).num_epochs, MOST);
}

Test(ppo, gradients_are_no_longer_than_the_limit) {
  learner_init(&l, false);
  l.ppo_options.num_epochs = l.ppo_options.num_minibatches = 1;
  l.ppo_options.adam_beta1 = 0; /* the first moment is then the gradient */
  l.ppo_options.max_grad_norm = 1e-3;
  learner_open(&l);
  cr_assert_gt(learner_update(&l).grad_norm, 1e-3);
  const dr_adam *adam = &l.ppo->state.adam;
  cr_assert_float_eq(dr_gradient_norm(adam->first, adam->count), 1e-3, 1e-8);
  learner_close(&l);
}

/* ---- What fails changes nothing ------------------------------------------------------------------------------ */

Test(ppo, a_loss_that_is_not_finite_is_reported_and_changes_nothing) {
  learner_init_full(&l, true);
  learner_open(&l);
  learner_observe(&l);
  learner_update(&l);
  OK(drover_rollout_collect(l.rollout));
  const copy good = learner_weights(&l), state = learner_state(&l);
  float *bad = malloc(good.size);
  memcpy(bad, good.data, good.size);
  const size_t count = good.size / sizeof(float);
  float *const end = bad + count - 2 * l.config.observation_size; /* what lies before it are the values' last weights */
  for (int i = 2; i <= 17; i++) end[-i] = 3e38f;
  OK(drover_policy_set_weights(l.policy, bad, count));
  const copy set = learner_weights(&l);
  cr_assert_eq(drover_ppo_update(l.ppo, l.rollout, NULL), DROVER_ERROR_DIVERGED);
  cr_assert_not_null(strstr(drover_last_error(), "ppo update 2: the loss"), "%s", drover_last_error());
  cr_assert(same_copies(set, learner_weights(&l)));
  cr_assert(same_copies(state, learner_state(&l)));

  /* With the weights back, the update is as if nothing had been. */
  OK(drover_policy_set_weights(l.policy, good.data, count));
  OK(drover_ppo_update(l.ppo, l.rollout, NULL));
  const copy last = learner_weights(&l);
  learner_close(&l);
  learner_open(&l);
  learner_observe(&l);
  learner_update(&l);
  learner_update(&l);
  cr_assert(same_copies(last, learner_weights(&l)));
  learner_close(&l);
  free(bad);
  free(good.data);
}

Test(ppo, weights_that_leave_their_range_are_reported_and_change_nothing) {
  learner_init(&l, true);
  l.ppo_options.learning_rate = 100; /* log_std leaves -20..20 */
  l.ppo_options.num_epochs = l.ppo_options.num_minibatches = 1;
  learner_open(&l);
  OK(drover_rollout_collect(l.rollout));
  const copy weights = learner_weights(&l), state = learner_state(&l);
  cr_assert_eq(drover_ppo_update(l.ppo, l.rollout, NULL), DROVER_ERROR_DIVERGED);
  cr_assert_not_null(strstr(drover_last_error(), "ppo update 1: mlp: log_std[0] must be -20..20, got "), "%s",
                     drover_last_error());
  cr_assert(same_copies(weights, learner_weights(&l)));
  cr_assert(same_copies(state, learner_state(&l)));
  learner_close(&l);
}

static _Atomic int32_t was_cancelled;

/* Again and again: a cancellation before the update has begun is forgotten. */
static void *cancel_often(void *runtime) {
  while (!was_cancelled) {
    usleep(1000);
    drover_runtime_cancel(runtime);
  }
  return NULL;
}

Test(ppo, a_cancelled_update_changes_nothing_and_can_be_made_again) {
  learner_init(&l, false);
  l.ppo_options.num_epochs = 1000;
  l.ppo_options.num_minibatches = 100;
  learner_open(&l);
  OK(drover_rollout_collect(l.rollout));
  pthread_t thread;
  cr_assert_eq(pthread_create(&thread, NULL, cancel_often, l.runtime), 0);
  copy weights, state;
  drover_status status;
  do { /* as a rule once: an update takes hundreds of times as long as the other thread sleeps */
    weights = learner_weights(&l);
    state = learner_state(&l);
    status = drover_ppo_update(l.ppo, l.rollout, NULL);
  } while (status == DROVER_OK);
  cr_assert_eq(status, DROVER_ERROR_CANCELLED);
  was_cancelled = 1;
  pthread_join(thread, NULL);
  cr_assert(same_copies(weights, learner_weights(&l)));
  cr_assert(same_copies(state, learner_state(&l)));
  OK(drover_ppo_update(l.ppo, l.rollout, NULL));
  learner_close(&l);
}
