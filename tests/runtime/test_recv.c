/* test_recv.c: recv: who is ready first, time limits, cancelling. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <unistd.h>

#include "tests/runtime/sent.h"

/* ---- Who is ready first --------------------------------------------------------------------------------------- */

Test(recv, recv_gives_the_first_that_are_ready_and_the_slow_ones_later, .timeout = 100) {
  toy_gate gate = {0};
  const toy_trouble hold[] = {{TOY_GATE, 4, 0}, {TOY_GATE, 11, 0}};
  world w;
  init_batch(&w);
  w.config.gate = &gate;
  w.config.troubles = hold;
  w.config.num_troubles = 2;
  w.runtime_options.num_workers = 4;
  open_batch(&w);
  const int32_t slow[2] = {4, 11}, actions[N] = {0};
  int32_t quick[N], ids[N], got, count = 0;
  OK(drover_batch_send(w.batch, 2, slow, actions));
  toy_gate_wait_for(&gate, 2); /* by two workers, not by this thread in recv */
  for (int32_t e = 0; e < N; e++)
    if (e != 4 && e != 11) quick[count++] = e;
  OK(drover_batch_send(w.batch, count, quick, actions));
  OK(drover_batch_recv(w.batch, count, -1, ids, &got));
  cr_assert_eq(got, count);
  for (int32_t i = 0; i < got; i++) cr_assert(ids[i] != 4 && ids[i] != 11);
  toy_gate_open(&gate);
  OK(drover_batch_recv(w.batch, N, -1, ids, &got));
  cr_assert(got == 2 && ids[0] + ids[1] == 15);
  close_batch(&w);
}

Test(recv, an_env_can_go_round_many_times_while_another_one_is_held, .timeout = 100) {
  toy_gate gate = {0};
  const toy_trouble hold = {TOY_GATE, 0, 0};
  world w;
  init_batch(&w);
  w.config.gate = &gate;
  w.config.troubles = &hold;
  w.config.num_troubles = 1;
  w.runtime_options.num_workers = 3;
  open_batch(&w);
  int32_t id = 0, got;
  const int32_t action = 1;
  OK(drover_batch_send(w.batch, 1, &id, &action));
  toy_gate_wait_for(&gate, 1); /* a worker holds it */
  for (int32_t i = 0; i < 50; i++) {
    id = 1;
    OK(drover_batch_send(w.batch, 1, &id, &action));
    OK(drover_batch_recv(w.batch, 1, -1, &id, &got));
    cr_assert(got == 1 && id == 1);
  }
  toy_gate_open(&gate);
  OK(drover_batch_recv(w.batch, 9, -1, &id, &got));
  cr_assert(got == 1 && id == 0);
  close_batch(&w);
}

Test(recv, sent_envs_are_stepped_in_the_background, .timeout = 100) {
  world w;
  init_batch(&w);
  w.runtime_options.num_workers = 3;
  open_batch(&w);
  send_all(&w, 1);
  while (w.config.num_steps < N) usleep(500); /* without recv */
  int32_t ids[N], got;
  OK(drover_batch_recv(w.batch, N, 0, ids, &got));
  cr_assert_eq(got, N);
  close_batch(&w);
}

Test(recv, many_workers_share_slow_envs) {
  world w;
  init_batch(&w);
  w.config.sleep_us = 300;
  w.runtime_options.num_workers = 8;
  open_batch(&w);
  OK(drover_runtime_reset_stats(w.runtime));
  int32_t ids[N], got, rounds = 0;
  drover_runtime_stats stats = {.size = sizeof stats};
  do { /* as a rule the first round is enough */
    send_all(&w, 1);
    OK(drover_batch_recv(w.batch, N, -1, ids, &got));
    OK(drover_runtime_get_stats(w.runtime, &stats));
  } while (++rounds < 4 || (stats.num_joined < 4 && rounds < 1000));
  cr_assert_geq(stats.num_joined, 4);
  cr_assert_eq(stats.total.num_env_steps, (uint64_t)(rounds * N));
  close_batch(&w);
}

/* Env 0 waits at the gate in its step; env 7 was sent after it. */
static void send_7_beside_a_held_one(world *w, toy_gate *gate) {
  static const toy_trouble hold = {TOY_GATE, 0, 0};
  static const int32_t ids[2] = {0, 7}, actions[2] = {1, 1};
  init_batch(w);
  w->config.gate = gate;
  w->config.troubles = &hold;
  w->config.num_troubles = 1;
  w->runtime_options.num_workers = 3;
  open_batch(w);
  OK(drover_batch_send(w->batch, 1, ids, actions));
  toy_gate_wait_for(gate, 1);
  OK(drover_batch_send(w->batch, 1, ids + 1, actions));
}

/* ---- Time limits ---------------------------------------------------------------------------------------------- */

Test(recv, when_the_limit_passes_recv_returns_what_is_ready, .timeout = 100) {
  toy_gate gate = {0};
  world w;
  send_7_beside_a_held_one(&w, &gate);
  int32_t ids[N], got = -1;
  do { /* 50 ms are enough for env 7, but not on a machine that stands still meanwhile */
    const double from = seconds();
    cr_assert_eq(drover_batch_recv(w.batch, 2, 0.05, ids, &got), DROVER_ERROR_TIMEOUT);
    cr_assert_geq(seconds() - from, 0.045);
  } while (got == 0);
  cr_assert(got == 1 && ids[0] == 7, "%d ready", got);
  cr_assert_eq(drover_batch_recv(w.batch, 1, 0.01, ids, &got), DROVER_ERROR_TIMEOUT);
  cr_assert_eq(got, 0);
  cr_assert(strstr(drover_last_error(), "0 of 1"), "%s", drover_last_error());
  toy_gate_open(&gate);
  OK(drover_batch_recv(w.batch, 1, 60, ids, &got));
  cr_assert(got == 1 && ids[0] == 0);
  close_batch(&w);
}

Test(recv, polling_with_a_limit_of_0_gets_there_with_any_number_of_workers, .timeout = 100) {
  for (int32_t workers = 1; workers <= 3; workers++) {
    world w;
    init_batch(&w);
    w.runtime_options.num_workers = workers;
    open_batch(&w);
    send_all(&w, 2);
    int32_t ids[N], got, num_received = 0;
    while (num_received < N) {
      const drover_status status = drover_batch_recv(w.batch, N - num_received, 0, ids, &got);
      cr_assert(status == DROVER_OK || status == DROVER_ERROR_TIMEOUT);
      num_received += got;
    }
    close_batch(&w);
  }
}

static _Atomic int32_t recv_has_returned;

/* Again and again: a cancellation before the recv has begun is forgotten. */
static void *cancel_often(void *arg) {
  const world *w = arg;
  while (!recv_has_returned) {
    usleep(20000);
    drover_runtime_cancel(w->runtime);
  }
  return NULL;
}

Test(recv, a_cancelled_recv_returns_what_is_ready_and_loses_nothing, .timeout = 100) {
  toy_gate gate = {0};
  world w;
  send_7_beside_a_held_one(&w, &gate);
  int32_t ids[N], got;
  pthread_t thread;
  cr_assert_eq(pthread_create(&thread, NULL, cancel_often, &w), 0);
  do cr_assert_eq(drover_batch_recv(w.batch, 2, -1, ids, &got), DROVER_ERROR_CANCELLED);
  while (got == 0); /* env 7 was not yet ready */
  recv_has_returned = 1;
  pthread_join(thread, NULL);
  cr_assert(got == 1 && ids[0] == 7);
  toy_gate_open(&gate);
  OK(drover_batch_recv(w.batch, 2, -1, ids, &got));
  cr_assert(got == 1 && ids[0] == 0);
  close_batch(&w);
}

static void *hold_the_runtime(void *arg) {
  int32_t actions[N] = {0};
  OK(drover_batch_step(arg, actions));
  return NULL;
}

Test(recv, with_one_worker_the_limit_holds_also_while_another_caller_is_that_worker, .timeout = 100) {
  toy_gate gate = {0};
  const toy_trouble hold = {TOY_GATE, 0, 0};
  toy_config held;
  toy_init(&held);
  held.gate = &gate;
  held.troubles = &hold;
  held.num_troubles = 1;
  world w;
  init_batch(&w);
  w.runtime_options.num_workers = 1;
  open_batch(&w);
  drover_batch *other;
  OK(toy_batch_create(&other, w.runtime, &held, &w.batch_options));
  pthread_t thread;
  cr_assert_eq(pthread_create(&thread, NULL, hold_the_runtime, other), 0);
  toy_gate_wait_for(&gate, 1);
  send_all(&w, 1);
  int32_t ids[N], got;
  cr_assert_eq(drover_batch_recv(w.batch, N, 0.03, ids, &got), DROVER_ERROR_TIMEOUT);
  toy_gate_open(&gate);
  pthread_join(thread, NULL);
  OK(drover_batch_recv(w.batch, N, -1, ids, &got));
  cr_assert_eq(got, N);
  OK(drover_batch_destroy(other));
  close_batch(&w);
}
