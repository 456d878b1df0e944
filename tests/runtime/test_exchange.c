/* test_exchange.c: send and recv: any envs, in any order, and the first that are ready. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <unistd.h>

#include "tests/runtime/sent.h"
#include "tests/support/model.h"
#include "tests/support/random.h"
#include "tests/support/world.h"

/* ---- Rows ----------------------------------------------------------------------------------------------------- */

/* Does the view's row of this env hold what the model has? */
static void assert_row(const drover_batch_view *v, const model *m) {
  const int32_t e = m->env;
  cr_assert_eq(memcmp(v->observations + e * 3, m->observation, 12), 0, "env %d, its step %d", e,
               (int)m->lifetime_steps);
  cr_assert_eq(memcmp(&v->rewards[e], &m->reward, 4), 0, "env %d, its step %d", e, (int)m->lifetime_steps);
  cr_assert(v->terminated[e] == m->terminated && v->truncated[e] == m->truncated && v->valid[e] == m->valid, "env %d",
            e);
  cr_assert_eq(memcmp(v->infos + e * 2, m->infos, 8), 0, "env %d", e);
  cr_assert_eq(v->lifetime_steps[e], m->lifetime_steps, "env %d", e);
  if (!m->terminated && !m->truncated) return;
  cr_assert_eq(memcmp(v->final_observations + e * 3, m->final_observation, 12), 0, "env %d", e);
  cr_assert_eq(memcmp(&v->episode_returns[e], &m->episode_return, 8), 0, "env %d", e);
  cr_assert_eq(v->episode_lengths[e], m->episode_length, "env %d", e);
}

/* Random numbers of random envs are sent and received; every env's trajectory is that of its model. */
static void exchange_at_random(world *w, uint64_t *seed, int32_t rounds) {
  open_batch(w);
  model envs[N];
  for (int32_t e = 0; e < N; e++)
    model_open(&envs[e], &w->config, w->batch_options.autoreset, -1, w->batch_options.seed, e);
  const drover_batch_view v = batch_view(w->batch);
  bool in_flight[N] = {false};
  int32_t given[N] = {0}, num_in_flight = 0;
  for (int32_t round = 0; round < rounds; round++) {
    int32_t ids[N], actions[N], num_sent = 0;
    for (int32_t e = 0; e < N; e++) {
      const int32_t id = round % 2 ? e : (e * 7 + round) % N; /* in order, or not */
      if (in_flight[id] || test_range(seed, 0, 2) == 0) continue;
      ids[num_sent] = id;
      actions[num_sent++] = given[id] = test_range(seed, 0, 2);
      in_flight[id] = true;
    }
    if (num_sent > 0) OK(drover_batch_send(w->batch, num_sent, ids, actions));
    memset(actions, 0xFF, sizeof actions); /* they were copied */
    num_in_flight += num_sent;
    if (num_in_flight == 0) continue;
    const int32_t wanted = test_range(seed, 1, N);
    int32_t got = -1;
    OK(drover_batch_recv(w->batch, wanted, -1, ids, &got));
    cr_assert_eq(got, wanted < num_in_flight ? wanted : num_in_flight);
    for (int32_t i = 0; i < got; i++) {
      cr_assert(ids[i] >= 0 && ids[i] < N && in_flight[ids[i]], "env %d was not in flight", ids[i]);
      in_flight[ids[i]] = false;
      model_step(&envs[ids[i]], &given[ids[i]]);
      assert_row(&v, &envs[ids[i]]);
    }
    num_in_flight -= got;
  }
  for (int32_t e = 0; e < N; e++) model_close(&envs[e]);
  cr_assert_eq(w->config.num_overlaps, 0);
  cr_assert_eq(w->config.num_dirty_rows, 0);
  close_batch(w);
}

Test(exchange, every_sent_env_comes_back_once_with_the_rows_that_step_gives) {
  uint64_t seed = test_seed();
  const int32_t workers[] = {1, 2, 3, 8};
  for (size_t i = 0; i < 4; i++)
    for (int32_t slow = 0; slow <= 1; slow++) {
      world w;
      init_batch(&w);
      w.config.sleep_us = slow ? 100 : 0;
      w.config.slow_every = 3;
      w.batch_options.autoreset = (drover_autoreset)slow;
      w.batch_options.scalar = (int32_t)i % 2 == slow;
      w.runtime_options.num_workers = workers[i];
      exchange_at_random(&w, &seed, 60);
    }
}

Test(exchange, rows_of_failing_envs_too) {
  uint64_t seed = test_seed();
  const toy_trouble troubles[] = {
      {TOY_FAIL_STEP, 3, 4}, {TOY_NAN_OBSERVATION, 5, 2}, {TOY_FAIL_RESET, 5, 1}, {TOY_NAN_REWARD, 0, 6}};
  world w;
  init_batch(&w);
  w.config.troubles = troubles;
  w.config.num_troubles = 4;
  w.runtime_options.num_workers = 3;
  exchange_at_random(&w, &seed, 60);
}

Test(exchange, neighbours_are_stepped_together) {
  world w;
  init_batch(&w);
  w.runtime_options.num_workers = 1;
  open_batch(&w);
  for (int32_t round = 0; round < 30; round++) {
    int32_t ids[N], got;
    send_all(&w, 1);
    OK(drover_batch_recv(w.batch, N, -1, ids, &got));
  }
  cr_assert_eq(w.config.num_joint_steps, 30 * N);
  close_batch(&w);
}

/* ---- Errors --------------------------------------------------------------------------------------------------- */

Test(exchange, misuse_of_send_is_refused_and_changes_nothing) {
  world w;
  init_batch(&w);
  open_batch(&w);
  int32_t ids[N + 1] = {0, 1, 2}, actions[N + 1] = {0}, got;
  cr_assert_eq(drover_batch_send(w.batch, 0, ids, actions), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_batch_send(w.batch, -1, ids, actions), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_batch_send(w.batch, N + 1, ids, actions), DROVER_ERROR_ARGUMENT);
  cr_assert(strstr(drover_last_error(), "1..24") && strstr(drover_last_error(), "25"), "%s", drover_last_error());
  cr_assert_eq(drover_batch_send(w.batch, 1, NULL, actions), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_batch_send(w.batch, 1, ids, NULL), DROVER_ERROR_ARGUMENT);
  const int32_t high[3] = {4, 5, N}, low[2] = {3, -1}, twice[3] = {6, 7, 6};
  cr_assert_eq(drover_batch_send(w.batch, 3, high, actions), DROVER_ERROR_ARGUMENT);
  cr_assert(strstr(drover_last_error(), "env_ids[2]") && strstr(drover_last_error(), "0..23, got 24"), "%s",
            drover_last_error());
  cr_assert_eq(drover_batch_send(w.batch, 2, low, actions), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_batch_send(w.batch, 3, twice, actions), DROVER_ERROR_STATE);
  cr_assert(strstr(drover_last_error(), "env 6") && strstr(drover_last_error(), "twice"), "%s", drover_last_error());
  /* None of these took an env along. */
  cr_assert_eq(drover_batch_recv(w.batch, 1, 0, ids, &got), DROVER_ERROR_STATE);
  send_all(&w, 1);
  const int32_t seven = 7;
  cr_assert_eq(drover_batch_send(w.batch, 1, &seven, actions), DROVER_ERROR_STATE);
  cr_assert(strstr(drover_last_error(), "env 7") && strstr(drover_last_error(), "in flight"), "%s",
            drover_last_error());
  OK(drover_batch_recv(w.batch, N, -1, ids, &got));
  cr_assert_eq(got, N);
  close_batch(&w);
}

Test(exchange, misuse_of_recv_is_refused) {
  world w;
  init_batch(&w);
  open_batch(&w);
  int32_t ids[N], got = 5;
  cr_assert_eq(drover_batch_recv(w.batch, 1, -1, ids, &got), DROVER_ERROR_STATE);
  cr_assert_eq(got, 0);
  send_all(&w, 1);
  cr_assert_eq(drover_batch_recv(w.batch, 0, -1, ids, &got), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_batch_recv(w.batch, 1, -1, NULL, &got), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_batch_recv(w.batch, 1, -1, ids, NULL), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_batch_recv(w.batch, 1, __builtin_nan(""), ids, &got), DROVER_ERROR_ARGUMENT);
  OK(drover_batch_recv(w.batch, N, __builtin_inf(), ids, &got));
  cr_assert_eq(got, N);
  close_batch(&w);
}

Test(exchange, other_calls_are_refused_while_envs_are_in_flight) {
  world w;
  init_batch(&w);
  world_open(&w);
  const int32_t three = 3;
  int32_t actions[N] = {0}, id, got;
  uint8_t mask[N] = {0};
  size_t bytes;
  OK(drover_batch_send(w.batch, 1, &three, actions));
  cr_assert_eq(drover_batch_step(w.batch, actions), DROVER_ERROR_STATE);
  cr_assert(strstr(drover_last_error(), "in flight") && strstr(drover_last_error(), "drover_batch_recv"), "%s",
            drover_last_error());
  cr_assert_eq(drover_batch_reset(w.batch, 1), DROVER_ERROR_STATE);
  cr_assert_eq(drover_batch_reset_some(w.batch, mask), DROVER_ERROR_STATE);
  cr_assert_eq(drover_batch_set_param(w.batch, "gain", NULL, 1), DROVER_ERROR_STATE);
  cr_assert_eq(drover_batch_save(w.batch, NULL, &bytes), DROVER_ERROR_STATE);
  cr_assert_eq(drover_rollout_collect(w.rollout), DROVER_ERROR_STATE);
  cr_assert_eq(drover_policy_act(w.policy, w.batch, 0, actions, NULL, NULL), DROVER_ERROR_STATE);
  OK(drover_batch_recv(w.batch, 1, -1, &id, &got));
  OK(drover_batch_step(w.batch, actions));
  OK(drover_rollout_collect(w.rollout));
  world_close(&w);
}

Test(exchange, without_autoreset_a_finished_env_cannot_be_sent) {
  world w;
  init_batch(&w);
  w.config.length = 1;
  w.batch_options.autoreset = DROVER_AUTORESET_DISABLED;
  open_batch(&w);
  int32_t ids[N], got;
  send_all(&w, 0);
  OK(drover_batch_recv(w.batch, N, -1, ids, &got));
  const int32_t id = 4, action = 0;
  cr_assert_eq(drover_batch_send(w.batch, 1, &id, &action), DROVER_ERROR_STATE);
  cr_assert(strstr(drover_last_error(), "env 4") && strstr(drover_last_error(), "drover_batch_reset_some"), "%s",
            drover_last_error());
  uint8_t mask[N] = {0, 0, 0, 0, 1};
  OK(drover_batch_reset_some(w.batch, mask));
  OK(drover_batch_send(w.batch, 1, &id, &action));
  OK(drover_batch_recv(w.batch, 1, -1, ids, &got));
  cr_assert_eq(batch_view(w.batch).terminated[4], 1);
  close_batch(&w);
}

Test(exchange, more_faults_than_the_limit_are_reported_by_recv_with_the_envs) {
  for (int32_t workers = 1; workers <= 3; workers += 2) {
    const toy_trouble fail = {TOY_FAIL_STEP, 9, 0};
    world w;
    init_batch(&w);
    w.config.troubles = &fail;
    w.config.num_troubles = 1;
    w.batch_options.fault_limit = 0;
    w.runtime_options.num_workers = workers;
    open_batch(&w);
    int32_t ids[N], got;
    send_all(&w, 0);
    cr_assert_eq(drover_batch_recv(w.batch, N, -1, ids, &got), DROVER_ERROR_FAULTS);
    cr_assert(strstr(drover_last_error(), "env 9"), "%s", drover_last_error());
    cr_assert_eq(got, N);
    cr_assert_eq(batch_view(w.batch).valid[9], 0);
    send_all(&w, 0); /* the error was told; nothing else failed */
    OK(drover_batch_recv(w.batch, N, -1, ids, &got));
    close_batch(&w);
  }
}

/* ---- Ending and sharing --------------------------------------------------------------------------------------- */

Test(exchange, a_batch_can_be_destroyed_while_envs_are_in_flight) {
  for (int32_t round = 0; round < 30; round++) {
    world w;
    init_batch(&w);
    w.config.sleep_us = round % 3 * 100;
    w.runtime_options.num_workers = 1 + round % 4;
    open_batch(&w);
    send_all(&w, 1);
    if (round % 2) usleep(200);
    close_batch(&w);
    cr_assert_eq(w.config.num_creates, w.config.num_destroys);
    cr_assert_eq(w.config.num_overlaps, 0);
  }
}

typedef struct user {
  drover_runtime *runtime;
  int32_t number;
  pthread_t thread;
} user;

/* One thread with a batch of its own: exchange, step and rollouts in turns, checked against models. */
static void *use_a_batch(void *arg) {
  const user *u = arg;
  toy_config config;
  toy_init(&config);
  config.sleep_us = u->number % 2 * 50;
  drover_batch_options o;
  OK(drover_batch_options_init(&o, sizeof o));
  o.num_envs = N;
  o.seed = (uint64_t)u->number;
  drover_batch *batch;
  OK(toy_batch_create(&batch, u->runtime, &config, &o));
  model envs[N];
  for (int32_t e = 0; e < N; e++) model_open(&envs[e], &config, o.autoreset, -1, o.seed, e);
  const drover_batch_view v = batch_view(batch);
  for (int32_t round = 0; round < 40; round++) {
    int32_t ids[N], actions[N], got, received = 0;
    for (int32_t e = 0; e < N; e++) ids[e] = e, actions[e] = (round + e) % 3;
    if (round % 4 == 3) {
      OK(drover_batch_step(batch, actions));
    } else {
      OK(drover_batch_send(batch, N, ids, actions));
      for (; received < N; received += got) OK(drover_batch_recv(batch, 5, -1, ids, &got));
    }
    for (int32_t e = 0; e < N; e++) {
      model_step(&envs[e], &actions[e]);
      assert_row(&v, &envs[e]);
    }
  }
  for (int32_t e = 0; e < N; e++) model_close(&envs[e]);
  OK(drover_batch_destroy(batch));
  return NULL;
}

static void share(int32_t num_workers) {
  world w;
  world_init(&w);
  w.runtime_options.num_workers = num_workers;
  OK(drover_runtime_create(&w.runtime, &w.runtime_options));
  user users[5];
  for (int32_t i = 0; i < 5; i++) {
    users[i] = (user){.runtime = w.runtime, .number = i};
    cr_assert_eq(pthread_create(&users[i].thread, NULL, use_a_batch, &users[i]), 0);
  }
  for (int32_t i = 0; i < 5; i++) pthread_join(users[i].thread, NULL);
  OK(drover_runtime_destroy(w.runtime));
}

Test(exchange, several_batches_share_one_worker) { share(1); }
Test(exchange, several_batches_share_three_workers) { share(3); }
Test(exchange, several_batches_share_eight_workers) { share(8); }
