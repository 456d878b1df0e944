/* exchange.c: drover_batch_send and drover_batch_recv: the caller's side. */
#include "runtime/exchange.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "runtime/clock.h"
#include "runtime/error.h"
#include "runtime/inner.h"
#include "runtime/memory.h"
#include "runtime/runtime.h"

/* ---- Memory -------------------------------------------------------------------------------------------------- */

void dr_exchange_release(dr_exchange *x) {
  if (atomic_fetch_sub_explicit(&x->num_references, 1, memory_order_acq_rel) != 1) return;
  pthread_cond_destroy(&x->changed);
  pthread_mutex_destroy(&x->lock);
  free((void *)x->sent);
  free((void *)x->ready);
  free(x->in_flight);
  dr_board_release(x->board);
  free(x);
}

static drover_status make_exchange(drover_batch *batch) {
  uint32_t size = 1;
  while (size < (uint32_t)batch->num_envs) size *= 2;
  dr_exchange *x = dr_slab_zalloc(1, sizeof *x);
  if (!x) return dr_fail(DROVER_ERROR_NO_MEMORY, "batch send: out of memory");
  atomic_init(&x->num_references, 1);
  pthread_mutex_init(&x->lock, NULL);
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&x->changed, &attributes);
  pthread_condattr_destroy(&attributes);
  x->batch = batch;
  x->board = batch->runtime->board;
  dr_board_hold(x->board);
  x->mask = size - 1;
  x->sent = dr_slab_zalloc(size, sizeof *x->sent);
  x->ready = dr_slab_zalloc(size, sizeof *x->ready);
  x->in_flight = dr_slab_zalloc((size_t)batch->num_envs, 1);
  if (!x->sent || !x->ready || !x->in_flight) {
    dr_exchange_release(x);
    return dr_fail(DROVER_ERROR_NO_MEMORY, "batch send: no memory for rings of %u envs", size);
  }
  batch->exchange = x;
  return DROVER_OK;
}

bool dr_exchange_in_flight(const drover_batch *batch) { return batch->exchange && batch->exchange->num_in_flight > 0; }

bool dr_exchange_holds(const drover_batch *batch, int32_t e) {
  return batch->exchange && batch->exchange->in_flight[e];
}

/* ---- Send ---------------------------------------------------------------------------------------------------- */

/* in_flight: 0 = with the caller, 1 = in flight, 2 = marked by the call in progress (so that a repeated id is found).
 */
static drover_status mark_one(const drover_batch *batch, int32_t i, int32_t id) {
  uint8_t *in_flight = batch->exchange->in_flight;
  if (id < 0 || id >= batch->num_envs)
    return dr_fail(DROVER_ERROR_ARGUMENT, "batch send: env_ids[%d] must be 0..%d, got %d", (int)i,
                   (int)batch->num_envs - 1, (int)id);
  if (in_flight[id])
    return dr_fail(DROVER_ERROR_STATE, "batch send: env %d (env_ids[%d]) is %s", (int)id, (int)i,
                   in_flight[id] == 1 ? "in flight; receive it first" : "given twice");
  if (batch->options.autoreset == DROVER_AUTORESET_DISABLED && batch->special[id] == DR_SPECIAL_FINISHED)
    return dr_fail(
        DROVER_ERROR_STATE,
        "batch send: the episode of env %d has ended and autoreset is disabled: call drover_batch_reset_some", (int)id);
  in_flight[id] = 2;
  return DROVER_OK;
}

/* Mark all ids or none. */
static drover_status mark_ids(const drover_batch *batch, int32_t count, const int32_t *ids, const void *actions) {
  if (count < 1 || count > batch->num_envs || !ids || !actions)
    return dr_fail(DROVER_ERROR_ARGUMENT, "batch send: count must be 1..%d with env_ids and actions, got %d",
                   (int)batch->num_envs, (int)count);
  for (int32_t i = 0; i < count; i++) {
    const drover_status status = mark_one(batch, i, ids[i]);
    if (status == DROVER_OK) continue;
    for (int32_t j = 0; j < i; j++) batch->exchange->in_flight[ids[j]] = 0;
    return status;
  }
  return DROVER_OK;
}

drover_status drover_batch_send(drover_batch *batch, int32_t count, const int32_t *env_ids, const void *actions) {
  drover_status status = dr_batch_enter(batch, "batch send", true);
  if (status != DROVER_OK) return status;
  status = dr_inner_check(batch, "batch send");
  if (status == DROVER_OK && !batch->exchange) status = make_exchange(batch);
  if (status == DROVER_OK) status = mark_ids(batch, count, env_ids, actions);
  if (status == DROVER_OK) {
    dr_exchange *x = batch->exchange;
    dr_runtime_begin_call(batch->runtime);
    const size_t bytes = (size_t)batch->spec.action_size * 4;
    uint32_t tail = atomic_load_explicit(&x->sent_tail, memory_order_relaxed);
    for (int32_t i = 0; i < count; i++) {
      memcpy(batch->actions + (size_t)env_ids[i] * bytes, (const unsigned char *)actions + (size_t)i * bytes, bytes);
      x->in_flight[env_ids[i]] = 1;
      atomic_store_explicit(&x->sent[tail++ & x->mask], env_ids[i], memory_order_relaxed);
    }
    x->num_in_flight += count;
    /* publishes the ids and their actions to whoever takes them; seq_cst: see exchange_root */
    atomic_store_explicit(&x->sent_tail, tail, memory_order_seq_cst);
    dr_exchange_call_workers(x, count);
    dr_runtime_end_call(batch->runtime);
  }
  dr_batch_leave(batch);
  return status;
}

/* ---- Recv ---------------------------------------------------------------------------------------------------- */

static int32_t take_ready(dr_exchange *x, int32_t most, int32_t *ids) {
  int32_t count = 0;
  while (count < most) {
    _Atomic int32_t *cell = &x->ready[x->ready_head & x->mask];
    const int32_t id = atomic_load_explicit(cell, memory_order_acquire) - 1;
    if (id < 0) break;
    atomic_store_explicit(cell, 0, memory_order_relaxed);
    x->ready_head++;
    x->in_flight[id] = 0;
    ids[count++] = id;
  }
  x->num_in_flight -= count;
  atomic_fetch_sub_explicit(&x->num_ready, count, memory_order_relaxed);
  return count;
}

static bool cancelled(const dr_exchange *x) {
  return atomic_load_explicit(&x->batch->runtime->num_cancels, memory_order_relaxed) != x->cancels_seen;
}

static bool enough(dr_exchange *x, int32_t wanted) {
  return atomic_load_explicit(&x->num_ready, memory_order_seq_cst) >= wanted;
}

static struct timespec time_limit(double timeout_s) {
  struct timespec limit;
  clock_gettime(CLOCK_MONOTONIC, &limit);
  if (timeout_s > 1e9) timeout_s = 1e9;
  const double whole = (double)(int64_t)timeout_s;
  limit.tv_sec += (time_t)whole;
  limit.tv_nsec += (long)((timeout_s - whole) * 1e9);
  if (limit.tv_nsec >= 1000000000) {
    limit.tv_nsec -= 1000000000;
    limit.tv_sec++;
  }
  return limit;
}

static bool passed(const struct timespec *limit) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec > limit->tv_sec || (now.tv_sec == limit->tv_sec && now.tv_nsec >= limit->tv_nsec);
}

/* The caller steps sent envs as worker 0 until enough are ready, unless another caller is worker 0. */
static void step_as_caller(dr_exchange *x, int32_t wanted, const struct timespec *limit) {
  drover_runtime *runtime = x->batch->runtime;
  if (pthread_mutex_trylock(&runtime->caller_lock) != 0) return;
  dr_entry entry;
  dr_worker_enter(&runtime->workers[0], &entry);
  /* At least one take, so that a caller who only polls gets on with one worker too. */
  while (!enough(x, wanted) && dr_exchange_step_some(x, &runtime->workers[0]) && !(limit && passed(limit)) &&
         !cancelled(x))
    continue;
  dr_worker_leave(&runtime->workers[0], &entry);
  pthread_mutex_unlock(&runtime->caller_lock);
}

/* Sleep until enough are ready, 2 ms at most: a cancellation wakes nobody (it may come from a signal handler), and the
 * place of worker 0 may have become free. */
static void sleep_a_little(dr_exchange *x, int32_t wanted, const struct timespec *limit) {
  struct timespec until = time_limit(0.002);
  if (limit && (limit->tv_sec < until.tv_sec || (limit->tv_sec == until.tv_sec && limit->tv_nsec < until.tv_nsec)))
    until = *limit;
  pthread_mutex_lock(&x->lock);
  atomic_store_explicit(&x->num_wanted, wanted, memory_order_seq_cst);
  if (!enough(x, wanted)) pthread_cond_timedwait(&x->changed, &x->lock, &until);
  atomic_store_explicit(&x->num_wanted, 0, memory_order_relaxed);
  pthread_mutex_unlock(&x->lock);
}

/* Step, or wait for the workers, until enough are ready; false if the limit passed or the call was cancelled first. */
static bool wait_until_ready(dr_exchange *x, int32_t wanted, const struct timespec *limit) {
  for (bool first = true; !enough(x, wanted); first = false) {
    if (!first && ((limit && passed(limit)) || cancelled(x))) return false;
    step_as_caller(x, wanted, limit);
    if (!enough(x, wanted) && !(limit && passed(limit))) sleep_a_little(x, wanted, limit);
  }
  return true;
}

static drover_status recv(dr_exchange *x, int32_t count, double timeout_s, int32_t *env_ids, int32_t *num_ready) {
  const int32_t wanted = count < x->num_in_flight ? count : x->num_in_flight;
  struct timespec limit = {0};
  if (timeout_s >= 0) limit = time_limit(timeout_s);
  const struct timespec *until = timeout_s >= 0 ? &limit : NULL;
  const bool in_time = wait_until_ready(x, wanted, until);
  /* A worker counts its envs ready after it has filled their cells, but an earlier reservation may not be filled yet:
   * its worker is between the two, so this is short. */
  int32_t got = take_ready(x, wanted, env_ids);
  while (in_time && got < wanted) {
    sched_yield();
    got += take_ready(x, wanted - got, env_ids + got);
  }
  *num_ready = got;
  pthread_mutex_lock(&x->lock);
  const drover_status status = x->status;
  if (status != DROVER_OK) dr_fail_with(status, x->message);
  x->status = DROVER_OK;
  pthread_mutex_unlock(&x->lock);
  if (status != DROVER_OK || in_time) return status;
  if (cancelled(x))
    return dr_fail(DROVER_ERROR_CANCELLED, "batch recv: cancelled with %d of %d envs ready", (int)got, (int)wanted);
  return dr_fail(DROVER_ERROR_TIMEOUT, "batch recv: %d of %d envs were ready when %g s had passed", (int)got,
                 (int)wanted, timeout_s);
}

drover_status drover_batch_recv(drover_batch *batch, int32_t count, double timeout_s, int32_t *env_ids,
                                int32_t *num_ready) {
  drover_status status = dr_batch_enter(batch, "batch recv", true);
  if (status != DROVER_OK) return status;
  if (num_ready) *num_ready = 0;
  if (!env_ids || !num_ready || count < 1 || timeout_s != timeout_s)
    status = dr_fail(DROVER_ERROR_ARGUMENT, "batch recv: count must be 1 or more, with env_ids and num_ready, got %d",
                     (int)count);
  else if (!dr_exchange_in_flight(batch))
    status = dr_fail(DROVER_ERROR_STATE, "batch recv: no env is in flight; send some first");
  else {
    batch->exchange->cancels_seen = dr_runtime_begin_call(batch->runtime);
    status = recv(batch->exchange, count, timeout_s, env_ids, num_ready);
    dr_runtime_end_call(batch->runtime);
  }
  dr_batch_leave(batch);
  return status;
}

void dr_exchange_destroy(drover_batch *batch) {
  dr_exchange *x = batch->exchange;
  if (!x) return;
  batch->exchange = NULL;
  atomic_store_explicit(&x->closed, 1, memory_order_seq_cst);
  while (atomic_load_explicit(&x->num_active, memory_order_seq_cst) > 0) sched_yield();
  dr_exchange_release(x);
}
