/* carry.c: what a worker does in a run: it carries chains through phases and steps, puts them aside, helps, waits. */
#include <sched.h>
#include <string.h>

#include "runtime/clock.h"
#include "runtime/run.h"
#include "runtime/runtime.h"

/* A claim costs 20 ns where the line is at home and 100 ns where it is not, and what a block of rows costs besides its
 * rows, some 60 ns. While nobody is idle, claims are large; a worker that runs out of work waits for one at most. */
static const double BUSY_CLAIM_NS = 8000.0;
static const double IDLE_CLAIM_NS = 1000.0;
/* An inference claim is at least a tile; smaller ones would waste the padding. */
static const double INFER_CLAIM_NS = 20000.0;
/* A phase worth less than this is not worth helping with: moving its lines to another core costs as much. */
static const double HELP_NS = 2000.0;
/* Chains are not put aside more often than what another chain's memory takes to come into the cache. */
static const double QUANTUM_NS = 20000.0;

static double to_ticks(double ns) { return ns / dr_clock_ns_per_tick; }

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

/* The next chain to run: own fresh ones, own put aside (least advanced first, while the ring has room), then the other
 * lanes'. */
static int32_t take_chain(dr_run *run, dr_worker *worker) {
  dr_lane *own = &run->lanes[worker->index];
  int32_t chain = dr_lane_has_many_aside(own) ? dr_lane_take_aside(own) : dr_lane_take_fresh(own, true);
  if (chain < 0) chain = dr_lane_take_aside(own);
  if (chain < 0) chain = dr_lane_take_fresh(own, true);
  const int32_t num_lanes = run->runtime->num_workers;
  for (int32_t i = 1; chain < 0 && i < num_lanes; i++) {
    dr_lane *victim = &run->lanes[(worker->index + i) % num_lanes];
    chain = dr_lane_take_fresh(victim, false);
    if (chain < 0) chain = dr_lane_take_aside(victim);
  }
  return chain;
}

static void smooth(float *cost, float seen) { *cost = *cost > 0 ? *cost + (seen - *cost) * 0.125f : seen; }

/* ---- Phases -------------------------------------------------------------------------------------------------- */

/* Phases that a step goes through, repeated ones counted again. */
static int32_t num_phases(const dr_program *program) {
  return program->num_phases + (program->num_repeats > 1 ? (program->num_repeats - 1) * program->num_repeated : 0);
}

/* The phase at this place of a step, and which repeat of it this is. */
static const dr_phase *phase_at(const dr_program *program, int32_t at, int32_t *repeat) {
  const int32_t first_repeated = program->num_phases - program->num_repeated;
  *repeat = 0;
  if (at < program->num_phases) return &program->phases[at];
  *repeat = (at - first_repeated) / program->num_repeated;
  return &program->phases[first_repeated + (at - first_repeated) % program->num_repeated];
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
static void run_rows(hand *h, dr_chain *chain, const dr_phase *phase, int32_t repeat, int32_t row, int32_t count,
                     bool stolen) {
  dr_counters *counters = &h->worker->counters;
  dr_count(&counters->num_claims, 1);
  if (stolen) dr_count(&counters->num_stolen, 1);
  for (int32_t done = 0; done < count; done += DR_BLOCK_ROWS) {
    const int32_t block = count - done < DR_BLOCK_ROWS ? count - done : DR_BLOCK_ROWS;
    const int32_t first = chain->first_row + row + done;
    const drover_status status = phase->repeat_rows
                                     ? phase->repeat_rows(h->run->object, h->worker, first, block, chain->step, repeat)
                                     : phase->rows(h->run->object, h->worker, first, block, chain->step);
    if (status == DROVER_OK) continue;
    atomic_store_explicit(&chain->failed, true, memory_order_relaxed);
    fail_run(h->run, status);
  }
  if (phase->kind == DR_KIND_STEP && chain->phase == num_phases(h->run->program) - 1)
    dr_count(&counters->num_env_steps, (uint64_t)count);
}

/* Claim and run rows of the open phase until none is left; `row`, `count`: rows claimed already. True if this worker
 * finished the phase's last row: the chain is then its own. */
static bool work_on_phase(hand *h, dr_chain *chain, int32_t row, int32_t count) {
  int32_t repeat;
  const dr_phase *phase = phase_at(h->run->program, chain->phase, &repeat);
  const uint64_t begin = h->now;
  const int64_t step = chain->step;
  const bool stolen = chain->last_worker >= 0 && chain->last_worker != h->worker->index;
  int32_t done = 0;
  while (count > 0) {
    run_rows(h, chain, phase, repeat, row, count, stolen);
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
  int32_t repeat;
  int32_t grain = choose_grain(h->run, chain, phase_at(h->run->program, chain->phase, &repeat), &worth_helping);
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
  if (++chain->phase < num_phases(program)) return true;
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

/* A chain's own failure ends it at once: the next phase must not work on rows that the failed one left unwritten. A
 * failure elsewhere ends it at a step boundary: no env is left in the middle of a step. */
static bool must_stop(const dr_run *run, const dr_chain *chain, int64_t last_step) {
  if (atomic_load_explicit(&chain->failed, memory_order_relaxed)) return true;
  return chain->phase == 0 && (failed(run) || cancelled(run) || chain->step >= last_step);
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
    if (!finished && must_stop(run, chain, last_step)) break;
    if (!finished && !run_phase(h, chain)) return CHAIN_LEFT;
    finished = false;
    if (end_phase(h, chain)) continue;
    tick(h);
    const double elapsed = (double)(h->now - begin);
    if (chain->step >= last_step) break;
    if (turn_is_over(h) && dr_lane_put_aside(h->lane, index, 0)) return WORKER_LEAVES;
    if (chain->step - begin_step >= run->quantum_steps && elapsed > to_ticks(QUANTUM_NS) &&
        dr_lane_has_others(h->lane) && dr_lane_put_aside(h->lane, index, DR_LANE_SPARE))
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

/* ---- A stay ---------------------------------------------------------------------------------------------------- */

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

bool dr_run_stay(dr_run *run, dr_worker *worker) {
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
