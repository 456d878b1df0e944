/* exchange.c: drover_batch_send and drover_batch_recv. */
#include "runtime/exchange.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "runtime/clock.h"
#include "runtime/error.h"
#include "runtime/inner.h"
#include "runtime/memory.h"
#include "runtime/runtime.h"

/* A take from the sent ring should be worth this much, so that the ring's head is not the busiest line of the machine.
 */
static const int32_t TAKE_NS = 2000;

/* ---- Memory -------------------------------------------------------------------------------------------------- */

static void release_exchange(dr_exchange *x) {
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
    release_exchange(x);
    return dr_fail(DROVER_ERROR_NO_MEMORY, "batch send: no memory for rings of %u envs", size);
  }
  batch->exchange = x;
  return DROVER_OK;
}

bool dr_exchange_in_flight(const drover_batch *batch) { return batch->exchange && batch->exchange->num_in_flight > 0; }

/* ---- Stepping what was sent ---------------------------------------------------------------------------------- */

/* Take up to `most` ids from the sent ring. */
static int32_t take_sent(dr_exchange *x, int32_t most, int32_t *ids) {
  uint32_t head = atomic_load_explicit(&x->sent_head, memory_order_relaxed);
  for (;;) {
    const uint32_t tail = atomic_load_explicit(&x->sent_tail, memory_order_acquire);
    const int32_t waiting = (int32_t)(tail - head);
    if (waiting <= 0) return 0;
    const int32_t count = waiting < most ? waiting : most;
    for (int32_t i = 0; i < count; i++)
      ids[i] = atomic_load_explicit(&x->sent[(head + (uint32_t)i) & x->mask], memory_order_relaxed);
    /* The ids were read before they were ours: if head moved meanwhile, they may be stale, and this fails. */
    if (atomic_compare_exchange_weak_explicit(&x->sent_head, &head, head + (uint32_t)count, memory_order_acq_rel,
                                              memory_order_relaxed))
      return count;
  }
}

static void publish_ready(dr_exchange *x, const int32_t *ids, int32_t count) {
  /* acq_rel: a cell that is used again was emptied before some earlier reservation; the chain of reservations carries
   * that here. */
  const uint32_t at = atomic_fetch_add_explicit(&x->ready_tail, (uint32_t)count, memory_order_acq_rel);
  for (int32_t i = 0; i < count; i++)
    atomic_store_explicit(&x->ready[(at + (uint32_t)i) & x->mask], ids[i] + 1, memory_order_release);
  const int32_t ready = atomic_fetch_add_explicit(&x->num_ready, count, memory_order_seq_cst) + count;
  const int32_t wanted = atomic_load_explicit(&x->num_wanted, memory_order_seq_cst);
  if (wanted == 0 || ready < wanted) return;
  pthread_mutex_lock(&x->lock);
  pthread_cond_signal(&x->changed);
  pthread_mutex_unlock(&x->lock);
}

static void keep_failure(dr_exchange *x, drover_status status) {
  pthread_mutex_lock(&x->lock);
  if (x->status == DROVER_OK) {
    x->status = status;
    strncpy(x->message, drover_last_error(), sizeof x->message - 1);
  }
  pthread_mutex_unlock(&x->lock);
}

/* Step taken envs, neighbours in one call. */
static void step_ids(dr_exchange *x, dr_worker *worker, const int32_t *ids, int32_t count) {
  drover_batch *batch = x->batch;
  const dr_rows rows = dr_batch_rows(batch, batch->actions);
  const void *version = dr_inner_acquire(batch);
  uint64_t infer_ticks = 0;
  const uint64_t begin = dr_ticks();
  for (int32_t i = 0; i < count;) {
    int32_t run = 1;
    while (i + run < count && ids[i + run] == ids[i] + run) run++;
    const drover_status status = dr_inner_step(batch, worker, version, &rows, ids[i], run, &infer_ticks);
    if (status != DROVER_OK) keep_failure(x, status);
    i += run;
  }
  const uint64_t end = dr_ticks();
  dr_inner_release(batch, version);
  dr_count(&worker->counters.ticks[DR_KIND_STEP], end - begin - infer_ticks);
  dr_count(&worker->counters.ticks[DR_KIND_INFER], infer_ticks);
  dr_count(&worker->counters.num_env_steps, (uint64_t)count);
  dr_count(&worker->counters.num_claims, 1);
  dr_trace_add(&worker->trace, DR_KIND_STEP, begin, end, ids[0], count, 0);
  const uint64_t each_ns = dr_ticks_to_ns(end - begin) / (uint64_t)count;
  const int32_t seen = each_ns < 1000000000 ? (int32_t)each_ns : 1000000000;
  const int32_t before = atomic_load_explicit(&x->row_ns, memory_order_relaxed);
  atomic_store_explicit(&x->row_ns, before > 0 ? before + (seen - before) / 8 : seen + 1, memory_order_relaxed);
  publish_ready(x, ids, count);
}

/* How many envs to take at once: by cost, a tile where an inner policy acts on them, but leave the others something. */
static int32_t take_size(const dr_exchange *x) {
  const int32_t row_ns = atomic_load_explicit(&x->row_ns, memory_order_relaxed);
  const uint32_t waiting = atomic_load_explicit(&x->sent_tail, memory_order_relaxed) -
                           atomic_load_explicit(&x->sent_head, memory_order_relaxed);
  int32_t size = row_ns > 0 ? TAKE_NS / row_ns : 1;
  if (dr_has_inner(x->batch) && size < DR_INNER_TILE) size = DR_INNER_TILE;
  const int32_t share = (int32_t)(waiting / (uint32_t)(2 * x->batch->runtime->num_workers));
  if (size > share) size = share;
  if (size > DR_BLOCK_ROWS) size = DR_BLOCK_ROWS;
  return size > 0 ? size : 1;
}

static bool step_some(dr_exchange *x, dr_worker *worker) {
  int32_t ids[DR_BLOCK_ROWS];
  const int32_t count = take_sent(x, take_size(x), ids);
  if (count > 0) step_ids(x, worker, ids, count);
  return count > 0;
}

static void exchange_root(void *arg, uint64_t word, int32_t index);

static drover_status send_root(dr_exchange *x) {
  atomic_fetch_add_explicit(&x->num_roots, 1, memory_order_seq_cst);
  atomic_fetch_add_explicit(&x->num_references, 1, memory_order_relaxed);
  atomic_fetch_add_explicit(&x->board->num_rivals, 1, memory_order_relaxed);
  atomic_fetch_add_explicit(&x->board->num_waiting, 1, memory_order_relaxed);
  const drover_status status = dr_arena_enqueue(x->batch->runtime->arena, exchange_root, x, 0);
  if (status == DROVER_OK) return status;
  atomic_fetch_sub_explicit(&x->board->num_waiting, 1, memory_order_relaxed);
  atomic_fetch_sub_explicit(&x->board->num_rivals, 1, memory_order_relaxed);
  atomic_fetch_sub_explicit(&x->num_roots, 1, memory_order_seq_cst);
  release_exchange(x);
  return status;
}

/* Step what was sent until nothing is left, or a rival waits and this worker's turn is over: true. */
static bool step_for_a_turn(dr_exchange *x, dr_worker *worker) {
  const uint64_t turn_end = dr_monotonic_ns() + DR_TURN_NS;
  while (step_some(x, worker))
    if (dr_board_rivals_wait(x->board) && dr_monotonic_ns() > turn_end) return true;
  return false;
}

/* NOLINTBEGIN(clang-analyzer-unix.Malloc): counts references, which the analyzer does not follow */
static void exchange_root(void *arg, uint64_t word, int32_t index) {
  (void)word;
  dr_exchange *x = arg;
  atomic_fetch_sub_explicit(&x->board->num_waiting, 1, memory_order_relaxed);
  for (bool more = true; more;) {
    bool leaves = false;
    atomic_fetch_add_explicit(&x->num_active, 1, memory_order_seq_cst);
    if (!atomic_load_explicit(&x->closed, memory_order_seq_cst)) {
      drover_runtime *runtime = x->batch->runtime;
      dr_worker *worker = &runtime->workers[index];
      dr_entry entry;
      dr_runtime_count_call(runtime);
      dr_worker_enter(worker, &entry);
      leaves = step_for_a_turn(x, worker);
      dr_worker_leave(worker, &entry);
      if (leaves) leaves = send_root(x) == DROVER_OK;
      dr_runtime_end_call(runtime);
    }
    atomic_fetch_sub_explicit(&x->num_roots, 1, memory_order_seq_cst);
    /* An env sent after the last look, by a caller that still counted this root: look again, as a new root. */
    more = !leaves && !atomic_load_explicit(&x->closed, memory_order_seq_cst) &&
           atomic_load_explicit(&x->sent_tail, memory_order_seq_cst) !=
               atomic_load_explicit(&x->sent_head, memory_order_seq_cst);
    if (more) atomic_fetch_add_explicit(&x->num_roots, 1, memory_order_seq_cst);
    /* release: hands the worker's counters and rows to the destroyer. */
    atomic_fetch_sub_explicit(&x->num_active, 1, memory_order_seq_cst);
  }
  atomic_fetch_sub_explicit(&x->board->num_rivals, 1, memory_order_relaxed);
  release_exchange(x);
}

/* As many roots as the sent envs can use, at most the other workers. */
static void call_workers(dr_exchange *x, int32_t count) {
  const int32_t others = x->batch->runtime->num_workers - 1;
  while (atomic_load_explicit(&x->num_roots, memory_order_seq_cst) < (count < others ? count : others))
    if (send_root(x) != DROVER_OK) return; /* recv steps everything itself */
}
/* NOLINTEND(clang-analyzer-unix.Malloc) */

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
    call_workers(x, count);
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
  while (!enough(x, wanted) && step_some(x, &runtime->workers[0]) && !(limit && passed(limit)) && !cancelled(x))
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
  release_exchange(x);
}
