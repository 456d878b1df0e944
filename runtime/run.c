/* run.c: runs: their memory, the tasks by which workers come to them, and a call from its beginning to its end. */
#include "runtime/run.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/clock.h"
#include "runtime/memory.h"
#include "runtime/runtime.h"

/* Chains are put aside after a small part of the run, so that the last ones end within that of each other. */
static const int64_t QUANTA_A_RUN = 64;

/* ---- Memory -------------------------------------------------------------------------------------------------- */

drover_status dr_run_init(dr_run *run, struct drover_runtime *runtime, int32_t max_chains) {
  memset(run, 0, sizeof *run);
  run->runtime = runtime;
  run->max_chains = max_chains;
  pthread_mutex_init(&run->message_lock, NULL);
  run->chains = dr_slab_zalloc((size_t)max_chains, sizeof *run->chains);
  run->lanes = dr_slab_zalloc((size_t)runtime->num_workers, sizeof *run->lanes);
  if (run->chains && run->lanes) return DROVER_OK;
  dr_run_free(run);
  return dr_fail(DROVER_ERROR_NO_MEMORY, "run: no memory for %d chains and %d lanes", (int)max_chains,
                 (int)runtime->num_workers);
}

void dr_run_free(dr_run *run) {
  if (!run->runtime) return;
  free(run->chains);
  free(run->lanes);
  pthread_mutex_destroy(&run->message_lock);
  run->runtime = NULL;
}

void dr_run_set_shards(dr_run *run, int32_t num_rows, int32_t shard_rows) {
  run->num_chains = (num_rows + shard_rows - 1) / shard_rows;
  for (int32_t c = 0; c < run->num_chains; c++) {
    dr_chain *chain = &run->chains[c];
    memset(chain, 0, sizeof *chain);
    chain->first_row = c * shard_rows;
    chain->num_rows = num_rows - chain->first_row < shard_rows ? num_rows - chain->first_row : shard_rows;
    chain->last_worker = -1;
  }
}

double dr_run_row_ns(const dr_run *run, int32_t cost) {
  double sum = 0;
  for (int32_t c = 0; c < run->num_chains; c++) sum += (double)run->chains[c].row_ticks[cost];
  return run->num_chains ? sum / run->num_chains * dr_clock_ns_per_tick : 0;
}

int64_t dr_run_rows_done(const dr_run *run) {
  int64_t sum = 0;
  for (int32_t c = 0; c < run->num_chains; c++)
    sum += (int64_t)atomic_load_explicit(&run->chains[c].steps_done, memory_order_relaxed) * run->chains[c].num_rows;
  return sum;
}

/* ---- Roots --------------------------------------------------------------------------------------------------- */

static void guarded_stay(dr_run *run, dr_worker *worker, bool *leaves) {
  dr_entry entry;
  dr_worker_enter(worker, &entry);
  *leaves = dr_run_stay(run, worker);
  dr_worker_leave(worker, &entry);
}

/* A root's ticket is the place's ticket with the number of further roots it has to send in bits 16..31. */
enum { SEND_SHIFT = 16 };

static void root(void *arg, uint64_t word, int32_t index);

static drover_status send_roots(struct drover_runtime *runtime, uint64_t ticket, int32_t count) {
  if (count <= 0) return DROVER_OK;
  dr_board_hold(runtime->board);
  atomic_fetch_add_explicit(&runtime->board->num_waiting, 1, memory_order_relaxed);
  const uint64_t word = ticket | (uint64_t)(uint32_t)(count - 1) << SEND_SHIFT;
  const drover_status status = dr_arena_enqueue(runtime->arena, root, runtime->board, word);
  if (status != DROVER_OK) {
    atomic_fetch_sub_explicit(&runtime->board->num_waiting, 1, memory_order_relaxed);
    dr_board_release(runtime->board);
  }
  return status;
}

/* Roots send each other, two at a time, so that starting W workers takes log W steps. */
static void root(void *arg, uint64_t word, int32_t index) {
  dr_board *board = arg;
  atomic_fetch_sub_explicit(&board->num_waiting, 1, memory_order_relaxed);
  const uint64_t ticket = word & ~((uint64_t)0xFFFF << SEND_SHIFT);
  const int32_t rest = (int32_t)(word >> SEND_SHIFT & 0xFFFF);
  dr_place *place = dr_board_attach(board, ticket);
  dr_run *run = place ? place->run : NULL;
  if (run && index > 0 && index < run->runtime->num_workers) {
    struct drover_runtime *runtime = run->runtime;
    send_roots(runtime, ticket, rest - rest / 2);
    send_roots(runtime, ticket, rest / 2);
    bool leaves;
    guarded_stay(run, &runtime->workers[index], &leaves);
    while (leaves && send_roots(runtime, ticket, 1) != DROVER_OK) guarded_stay(run, &runtime->workers[index], &leaves);
  }
  if (place) dr_place_detach(place);
  dr_board_release(board);
}

/* ---- A call -------------------------------------------------------------------------------------------------- */

static void prepare(dr_run *run, int64_t first_step, int64_t num_steps, int32_t num_lanes) {
  const int64_t s = run->num_chains;
  for (int32_t w = 0; w < run->runtime->num_workers; w++) {
    dr_lane *lane = &run->lanes[w];
    const int64_t lo = w < num_lanes ? s * w / num_lanes : 0, hi = w < num_lanes ? s * (w + 1) / num_lanes : 0;
    atomic_store_explicit(&lane->fresh, (uint64_t)lo << 32 | (uint64_t)hi, memory_order_relaxed);
    atomic_store_explicit(&lane->head, 0, memory_order_relaxed);
    atomic_store_explicit(&lane->tail, 0, memory_order_relaxed);
    atomic_store_explicit(&lane->open_chain, 0, memory_order_relaxed);
  }
  for (int32_t c = 0; c < run->num_chains; c++) {
    run->chains[c].step = first_step;
    run->chains[c].phase = 0;
    run->chains[c].started = false;
    atomic_store_explicit(&run->chains[c].failed, false, memory_order_relaxed);
    atomic_store_explicit(&run->chains[c].steps_done, 0, memory_order_relaxed);
  }
  run->first_step = first_step;
  run->num_steps = num_steps;
  run->quantum_steps = num_steps / QUANTA_A_RUN > 0 ? num_steps / QUANTA_A_RUN : 1;
  run->message[0] = '\0';
  atomic_store_explicit(&run->num_unfinished, run->num_chains, memory_order_relaxed);
  atomic_store_explicit(&run->num_idle, 0, memory_order_relaxed);
  atomic_store_explicit(&run->status, DROVER_OK, memory_order_relaxed);
}

static void caller_root(void *arg, uint64_t word, int32_t index) {
  (void)word, (void)index;
  dr_run *run = arg;
  bool leaves;
  guarded_stay(run, &run->runtime->workers[0], &leaves);
}

/* The caller as worker 0, with as many others as come. */
static void run_joined(dr_run *run) {
  struct drover_runtime *runtime = run->runtime;
  if (run->place &&
      send_roots(runtime, dr_place_ticket(runtime->board, run->place), runtime->num_workers - 1) == DROVER_OK &&
      dr_arena_execute(runtime->arena, caller_root, run) == DROVER_OK)
    return;
  caller_root(run, 0, 0);
}

/* Another caller is worker 0: leave the work to the other workers and sleep; become worker 0 when that caller is done,
 * which matters where oneTBB's threads are busy elsewhere. */
static void run_sleeping(dr_run *run) {
  struct drover_runtime *runtime = run->runtime;
  send_roots(runtime, dr_place_ticket(runtime->board, run->place), runtime->num_workers - 1);
  while (atomic_load_explicit(&run->num_unfinished, memory_order_acquire) > 0) {
    dr_place_sleep(run->place, &run->num_unfinished, 1000);
    if (pthread_mutex_trylock(&runtime->caller_lock) != 0) continue;
    if (dr_arena_execute(runtime->arena, caller_root, run) != DROVER_OK) caller_root(run, 0, 0);
    pthread_mutex_unlock(&runtime->caller_lock);
  }
}

drover_status dr_run_execute(dr_run *run, const dr_program *program, void *object, int64_t first_step,
                             int64_t num_steps, bool alone, int64_t *steps_done) {
  struct drover_runtime *runtime = run->runtime;
  run->program = program;
  run->object = object;
  /* Not joined: another caller is worker 0, perhaps for long. Then even a small run is left to the other workers. */
  bool joined = pthread_mutex_trylock(&runtime->caller_lock) == 0;
  if (!joined && runtime->num_workers == 1) joined = pthread_mutex_lock(&runtime->caller_lock) == 0;
  alone = joined && (alone || runtime->num_workers == 1);
  prepare(run, first_step, num_steps, alone ? 1 : runtime->num_workers);
  run->place = alone ? NULL : dr_board_post(runtime->board, run);
  if (joined) {
    run_joined(run);
    pthread_mutex_unlock(&runtime->caller_lock);
  } else {
    run_sleeping(run);
  }
  if (run->place) dr_board_close(runtime->board, run->place);
  int64_t least = INT64_MAX;
  for (int32_t c = 0; c < run->num_chains; c++)
    if (run->chains[c].step < least) least = run->chains[c].step;
  if (steps_done) *steps_done = least - first_step;
  const drover_status status = atomic_load_explicit(&run->status, memory_order_relaxed);
  if (status != DROVER_OK) return dr_fail_with(status, run->message);
  if (least < first_step + num_steps)
    return dr_fail(DROVER_ERROR_CANCELLED, "run: cancelled after %lld of %lld steps", (long long)(least - first_step),
                   (long long)num_steps);
  return DROVER_OK;
}
