/* exchange_step.c: the workers' side of send and recv: they take what was sent, step it, and say that it is ready. */
#include "runtime/clock.h"
#include "runtime/exchange.h"
#include "runtime/inner.h"
#include "runtime/runtime.h"

/* A take from the sent ring should be worth this much, so that the ring's head is not the busiest line of the machine.
 */
static const int32_t TAKE_NS = 2000;

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

bool dr_exchange_step_some(dr_exchange *x, dr_worker *worker) {
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
  dr_exchange_release(x);
  return status;
}

/* Step what was sent until nothing is left, or a rival waits and this worker's turn is over: true. */
static bool step_for_a_turn(dr_exchange *x, dr_worker *worker) {
  const uint64_t turn_end = dr_monotonic_ns() + DR_TURN_NS;
  while (dr_exchange_step_some(x, worker))
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
  dr_exchange_release(x);
}

void dr_exchange_call_workers(dr_exchange *x, int32_t count) {
  const int32_t others = x->batch->runtime->num_workers - 1;
  while (atomic_load_explicit(&x->num_roots, memory_order_seq_cst) < (count < others ? count : others))
    if (send_root(x) != DROVER_OK) return; /* recv steps everything itself */
}
/* NOLINTEND(clang-analyzer-unix.Malloc) */
