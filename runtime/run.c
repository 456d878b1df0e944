/* run.c: how workers carry chains through a run. */
#include "runtime/run.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/clock.h"
#include "runtime/memory.h"
#include "runtime/runtime.h"

/* A claim costs 20 ns where the line is at home and 100 ns where it is not, and what a block of rows costs besides its
 * rows, some 60 ns. While nobody is idle, claims are large; a worker that runs out of work waits for one at most. */
static const double BUSY_CLAIM_NS = 8000.0;
static const double IDLE_CLAIM_NS = 1000.0;
/* An inference claim is at least a tile; smaller ones would waste the padding. */
static const double INFER_CLAIM_NS = 20000.0;
/* A phase worth less than this is not worth helping with: moving its lines to another core costs as much. */
static const double HELP_NS = 2000.0;
/* Chains are put aside after a small part of the run, so that the last ones end within that of each other; but not more
 * often than what another chain's memory takes to come into the cache. */
static const double QUANTUM_NS = 20000.0;
static const int64_t QUANTA_A_RUN = 64;

static double to_ticks(double ns) { return ns / dr_clock_ns_per_tick; }

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

static void smooth(float *cost, float seen) { *cost = *cost > 0 ? *cost + (seen - *cost) * 0.125f : seen; }

int64_t dr_run_rows_done(const dr_run *run) {
  int64_t sum = 0;
  for (int32_t c = 0; c < run->num_chains; c++)
    sum += (int64_t)atomic_load_explicit(&run->chains[c].steps_done, memory_order_relaxed) * run->chains[c].num_rows;
  return sum;
}

/* ---- Failing and finishing ----------------------------------------------------------------------------------- */

/* Keep the first failure, with the sentence that the failing call left on this thread. */
static void fail_run(dr_run *run, drover_status status) {
  pthread_mutex_lock(&run->message_lock);
  if (atomic_load_explicit(&run->status, memory_order_relaxed) == DROVER_OK) {
    strncpy(run->message, drover_last_error(), sizeof run->message - 1);
    /* relaxed: the message is read after all workers have detached. */
    atomic_store_explicit(&run->status, status, memory_order_relaxed);
  }
  pthread_mutex_unlock(&run->message_lock);
}

static bool failed(const dr_run *run) { return atomic_load_explicit(&run->status, memory_order_relaxed) != DROVER_OK; }

static bool cancelled(const dr_run *run) {
  return !run->program->uncancellable &&
         atomic_load_explicit(&run->runtime->num_cancels, memory_order_relaxed) != run->cancels_seen;
}

static void finish_chain(dr_run *run, dr_worker *worker, dr_chain *chain) {
  if (run->program->end && chain->started) {
    const drover_status status = run->program->end(run->object, worker, chain->first_row, chain->num_rows, chain->step);
    if (status != DROVER_OK) fail_run(run, status);
  }
  /* seq_cst: pairs with dr_place_sleep. Also releases the chain's rows to whoever sees 0. */
  if (atomic_fetch_sub_explicit(&run->num_unfinished, 1, memory_order_seq_cst) == 1 && run->place)
    dr_place_wake(run->place);
}

/* ---- Lanes --------------------------------------------------------------------------------------------------- */

static int32_t take_fresh(dr_lane *lane, bool own) {
  uint64_t word = atomic_load_explicit(&lane->fresh, memory_order_relaxed);
  for (;;) {
    const uint32_t lo = (uint32_t)(word >> 32), hi = (uint32_t)word;
    if (lo >= hi) return -1;
    const uint64_t rest = own ? (uint64_t)(lo + 1) << 32 | hi : (uint64_t)lo << 32 | (hi - 1);
    /* relaxed: fresh chains were published with the run itself. */
    if (atomic_compare_exchange_weak_explicit(&lane->fresh, &word, rest, memory_order_relaxed, memory_order_relaxed))
      return (int32_t)(own ? lo : hi - 1);
  }
}

static int32_t take_aside(dr_lane *lane) {
  uint32_t head = atomic_load_explicit(&lane->head, memory_order_relaxed);
  for (;;) {
    if ((int32_t)(atomic_load_explicit(&lane->tail, memory_order_acquire) - head) <= 0) return -1;
    const int32_t chain = atomic_load_explicit(&lane->ring[head % DR_LANE_RING], memory_order_relaxed);
    /* A cell that was overwritten meanwhile means that head has moved: then this fails. The acquire load of tail
     * above saw the push of this cell, and with it the chain. */
    if (atomic_compare_exchange_weak_explicit(&lane->head, &head, head + 1, memory_order_acq_rel, memory_order_relaxed))
      return chain;
  }
}

static bool put_aside(dr_lane *lane, int32_t chain, uint32_t spare) {
  const uint32_t tail = atomic_load_explicit(&lane->tail, memory_order_relaxed);
  if (tail - atomic_load_explicit(&lane->head, memory_order_acquire) + spare >= DR_LANE_RING) return false;
  atomic_store_explicit(&lane->ring[tail % DR_LANE_RING], chain, memory_order_relaxed);
  atomic_store_explicit(&lane->tail, tail + 1, memory_order_release);
  return true;
}

static bool lane_has_others(const dr_lane *lane) {
  const uint64_t fresh = atomic_load_explicit(&lane->fresh, memory_order_relaxed);
  return (uint32_t)(fresh >> 32) < (uint32_t)fresh || atomic_load_explicit(&lane->head, memory_order_relaxed) !=
                                                          atomic_load_explicit(&lane->tail, memory_order_relaxed);
}

static bool many_aside(const dr_lane *lane) {
  return atomic_load_explicit(&lane->tail, memory_order_relaxed) -
             atomic_load_explicit(&lane->head, memory_order_relaxed) >
         DR_LANE_RING / 2;
}

/* The next chain to run: own fresh ones, own put aside (least advanced first, while the ring has room), then the other
 * lanes'. */
static int32_t take_chain(dr_run *run, dr_worker *worker) {
  dr_lane *own = &run->lanes[worker->index];
  int32_t chain = many_aside(own) ? take_aside(own) : take_fresh(own, true);
  if (chain < 0) chain = take_aside(own);
  if (chain < 0) chain = take_fresh(own, true);
  const int32_t num_lanes = run->runtime->num_workers;
  for (int32_t i = 1; chain < 0 && i < num_lanes; i++) {
    dr_lane *victim = &run->lanes[(worker->index + i) % num_lanes];
    chain = take_fresh(victim, false);
    if (chain < 0) chain = take_aside(victim);
  }
  return chain;
}

/* ---- Running a chain ----------------------------------------------------------------------------------------- */

/* What a worker carries through a run: the last clock reading, so that one reading ends a piece and begins the next. */
typedef struct hand {
  dr_run *run;
  dr_worker *worker;
  dr_lane *lane;
  uint64_t now;
  uint64_t turn_end; /* from here on, rivals who wait get this worker */
  bool idle;
} hand;

/* Count the time since the last reading. */
static uint64_t spend(hand *h, dr_kind kind) {
  const uint64_t now = dr_ticks(), spent = now - h->now;
  dr_count(&h->worker->counters.ticks[kind], spent);
  h->now = now;
  return spent;
}

static void become_busy(hand *h) {
  if (!h->idle) return;
  h->idle = false;
  atomic_fetch_sub_explicit(&h->run->num_idle, 1, memory_order_relaxed);
  spend(h, DR_KIND_IDLE);
}

static void become_idle(hand *h) {
  if (h->idle) return;
  h->idle = true;
  atomic_fetch_add_explicit(&h->run->num_idle, 1, memory_order_relaxed);
  atomic_store_explicit(&h->lane->open_chain, 0, memory_order_relaxed);
  spend(h, DR_KIND_OTHER);
}

static int32_t choose_grain(const dr_run *run, const dr_chain *chain, const dr_phase *phase, bool *worth_helping) {
  const double row_ticks = (double)chain->row_ticks[phase->cost];
  const double phase_ticks = row_ticks * chain->num_rows;
  *worth_helping = run->runtime->num_workers > 1 && (row_ticks == 0 || phase_ticks > to_ticks(HELP_NS));
  const bool all_busy = atomic_load_explicit(&run->num_idle, memory_order_relaxed) == 0;
  if (phase->chunk > 0 && all_busy) return phase->chunk;
  if (!*worth_helping) return chain->num_rows;
  const double wanted = to_ticks(phase->kind == DR_KIND_INFER ? INFER_CLAIM_NS
                                 : all_busy                   ? BUSY_CLAIM_NS
                                                              : IDLE_CLAIM_NS);
  const int32_t multiple = phase->multiple > 1 ? phase->multiple : 1;
  double rows = row_ticks > 0 ? wanted / row_ticks : chain->num_rows / 8.0;
  if (rows > chain->num_rows) rows = chain->num_rows;
  const int32_t grain = ((int32_t)rows + multiple - 1) / multiple * multiple;
  return grain > 0 ? grain : multiple;
}

/* Run claimed rows, in blocks that the scratch memory is made for. */
static void run_rows(hand *h, const dr_chain *chain, const dr_phase *phase, int32_t row, int32_t count, bool stolen) {
  dr_counters *counters = &h->worker->counters;
  dr_count(&counters->num_claims, 1);
  if (stolen) dr_count(&counters->num_stolen, 1);
  for (int32_t done = 0; done < count; done += DR_BLOCK_ROWS) {
    const int32_t block = count - done < DR_BLOCK_ROWS ? count - done : DR_BLOCK_ROWS;
    const drover_status status =
        phase->rows(h->run->object, h->worker, chain->first_row + row + done, block, chain->step);
    if (status != DROVER_OK) fail_run(h->run, status);
  }
  if (phase->kind == DR_KIND_STEP) dr_count(&counters->num_env_steps, (uint64_t)count);
}

/* Claim and run rows of the open phase until none is left; `row`, `count`: rows claimed already. True if this worker
 * finished the phase's last row: the chain is then its own. */
static bool work_on_phase(hand *h, dr_chain *chain, int32_t row, int32_t count) {
  const dr_phase *phase = &h->run->program->phases[chain->phase];
  const uint64_t begin = h->now;
  const int64_t step = chain->step;
  const bool stolen = chain->last_worker >= 0 && chain->last_worker != h->worker->index;
  int32_t done = 0;
  while (count > 0) {
    run_rows(h, chain, phase, row, count, stolen);
    done += count;
    count = done < chain->num_rows ? dr_chain_claim(chain, &row) : 0;
  }
  const uint64_t spent = spend(h, phase->kind);
  dr_trace_add(&h->worker->trace, phase->kind, begin, h->now, (int32_t)(chain - h->run->chains), done, step);
  /* acq_rel: gives my rows to the last one, and the last one everybody's. Alone on the phase, no one to tell. */
  const bool last =
      done == chain->num_rows || atomic_fetch_sub_explicit(&chain->pending, done, memory_order_acq_rel) == done;
  if (last) smooth(&chain->row_ticks[phase->cost], (float)spent / (float)done);
  return last;
}

/* Open the chain's present phase and work on it; the opener's first claim goes with the opening. */
static bool run_phase(hand *h, dr_chain *chain) {
  bool worth_helping;
  int32_t grain = choose_grain(h->run, chain, &h->run->program->phases[chain->phase], &worth_helping);
  if (grain > chain->num_rows) grain = chain->num_rows;
  const bool shared = grain < chain->num_rows;
  atomic_store_explicit(&chain->pending, chain->num_rows, memory_order_relaxed);
  /* release: publishes the chain's fields and the rows' inputs to whoever claims. */
  atomic_store_explicit(&chain->claim, dr_claim_word(grain, grain), memory_order_release);
  const int32_t offer = shared && worth_helping ? (int32_t)(chain - h->run->chains) + 1 : 0;
  if (atomic_load_explicit(&h->lane->open_chain, memory_order_relaxed) != offer)
    atomic_store_explicit(&h->lane->open_chain, offer, memory_order_release);
  return work_on_phase(h, chain, 0, grain);
}

/* The phase is complete and the chain this worker's: move to the next phase or step. False at a step boundary. */
static bool end_phase(hand *h, dr_chain *chain) {
  const dr_program *program = h->run->program;
  chain->last_worker = h->worker->index;
  if (++chain->phase < program->num_phases) return true;
  if (program->end_step) {
    const int32_t index = (int32_t)(chain - h->run->chains);
    const drover_status status =
        program->end_step(h->run->object, h->worker, index, chain->first_row, chain->num_rows, chain->step);
    if (status != DROVER_OK) fail_run(h->run, status);
  }
  chain->phase = 0;
  chain->step++;
  atomic_store_explicit(&chain->steps_done, (int32_t)(chain->step - h->run->first_step), memory_order_relaxed);
  spend(h, DR_KIND_OTHER);
  return false;
}

static void tick(hand *h) {
  dr_run *run = h->run;
  if (dr_runtime_sample(run->runtime, h->now) && run->program->tick) run->program->tick(run->object);
}

typedef enum outcome { CHAIN_LEFT, CHAIN_DONE, CHAIN_PUT_ASIDE, WORKER_LEAVES } outcome;

/* Others wait for workers: this one goes to the end of the queue and comes back. Worker 0 is its caller's. */
static bool turn_is_over(const hand *h) {
  return h->worker->index != 0 && h->now > h->turn_end && dr_board_rivals_wait(h->run->runtime->board);
}

/* Run a chain that is this worker's, from where it stands. finished: its present phase has just been completed. */
static outcome run_chain(hand *h, dr_chain *chain, bool finished) {
  dr_run *run = h->run;
  const int32_t index = (int32_t)(chain - run->chains);
  const int64_t last_step = run->first_step + run->num_steps;
  const uint64_t begin = h->now;
  const int64_t begin_step = chain->step;
  if (!chain->started) {
    chain->started = true;
    if (run->program->begin) {
      const drover_status status = run->program->begin(run->object, h->worker, chain->first_row, chain->num_rows);
      if (status != DROVER_OK) fail_run(run, status);
      spend(h, DR_KIND_OTHER);
    }
  }
  for (;;) {
    /* A failure ends the chain at once: the next phase must not work on rows that the failed one left unwritten. */
    if (!finished && (failed(run) || (chain->phase == 0 && (cancelled(run) || chain->step >= last_step)))) break;
    if (!finished && !run_phase(h, chain)) return CHAIN_LEFT;
    finished = false;
    if (end_phase(h, chain)) continue;
    tick(h);
    const double elapsed = (double)(h->now - begin);
    if (chain->step >= last_step) break;
    if (turn_is_over(h) && put_aside(h->lane, index, 0)) return WORKER_LEAVES;
    if (chain->step - begin_step >= run->quantum_steps && elapsed > to_ticks(QUANTUM_NS) && lane_has_others(h->lane) &&
        put_aside(h->lane, index, DR_LANE_SPARE))
      return CHAIN_PUT_ASIDE;
  }
  finish_chain(run, h->worker, chain);
  spend(h, DR_KIND_OTHER);
  return CHAIN_DONE;
}

/* Claim rows of a phase that another worker has open. Returns true if something was done. */
static bool help(hand *h, outcome *out) {
  dr_run *run = h->run;
  const int32_t num_lanes = run->runtime->num_workers;
  for (int32_t i = 0; i < num_lanes; i++) {
    const uint32_t victim = h->worker->next_victim++ % (uint32_t)num_lanes;
    if ((int32_t)victim == h->worker->index) continue;
    /* acquire: pairs with the offer's release, so that the chain's fixed fields are there. */
    const int32_t offer = atomic_load_explicit(&run->lanes[victim].open_chain, memory_order_acquire);
    if (offer == 0) continue;
    dr_chain *chain = &run->chains[offer - 1];
    int32_t row;
    const int32_t count = dr_chain_claim(chain, &row);
    if (count == 0) continue;
    become_busy(h);
    *out = work_on_phase(h, chain, row, count) ? run_chain(h, chain, true) : CHAIN_LEFT;
    return true;
  }
  return false;
}

/* ---- Roots --------------------------------------------------------------------------------------------------- */

/* Nothing to do: look again soon, then less and less often, then sleep a little. */
static void wait_a_little(hand *h, int32_t round) {
  if (round < 32) {
    for (int i = 0; i < 16; i++) dr_pause();
  } else if (round < 128) {
    sched_yield();
  } else {
    dr_place_sleep(h->run->place, &h->run->num_unfinished, round < 256 ? 100 : 1000);
  }
}

/* A worker's stay in a run. True if it left to take turns and should be sent again. */
static bool stay(dr_run *run, dr_worker *worker) {
  hand h = {.run = run, .worker = worker, .lane = &run->lanes[worker->index], .now = dr_ticks()};
  h.turn_end = h.now + (uint64_t)to_ticks(DR_TURN_NS);
  outcome out = CHAIN_DONE;
  for (int32_t round = 0; out != WORKER_LEAVES;) {
    const int32_t c = take_chain(run, worker);
    if (c >= 0) {
      become_busy(&h);
      out = run_chain(&h, &run->chains[c], false);
      round = 0;
    } else if (atomic_load_explicit(&run->num_unfinished, memory_order_acquire) == 0) {
      break;
    } else if (help(&h, &out)) {
      round = 0;
    } else {
      become_idle(&h);
      wait_a_little(&h, ++round);
      spend(&h, DR_KIND_IDLE);
    }
    if (turn_is_over(&h)) out = WORKER_LEAVES;
  }
  become_busy(&h);
  atomic_store_explicit(&h.lane->open_chain, 0, memory_order_relaxed);
  spend(&h, DR_KIND_OTHER);
  return out == WORKER_LEAVES;
}

static void guarded_stay(dr_run *run, dr_worker *worker, bool *leaves) {
  dr_entry entry;
  dr_worker_enter(worker, &entry);
  *leaves = stay(run, worker);
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
