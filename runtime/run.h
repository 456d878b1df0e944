/* run.h: the scheduler: all chains of one call, carried through their steps by the workers that come.
 *
 *   program   what a step consists of: phases over rows, and what happens at the ends
 *   lane      a worker's own list: chains not begun (a range) and chains put aside (a ring)
 *
 * A worker takes the next chain of its own lane, else of another's, and runs it. After a quantum it puts the chain
 * aside if its lane holds others, so that all chains advance at about the same pace and the last ones do not end up
 * alone. With no chain left, it helps: it claims rows of phases that other workers have open. Every run gives shard i
 * to the same lane, so a worker meets the same envs again, in its own cache. */
#ifndef DR_RUNTIME_RUN_H
#define DR_RUNTIME_RUN_H

#include <drover/base.h>
#include <pthread.h>

#include "runtime/board.h"
#include "runtime/chain.h"
#include "runtime/error.h"
#include "runtime/lane.h"
#include "runtime/worker.h"

/* A part of a step that covers all rows of a shard. rows() is called by several workers at once, for disjoint rows. If
 * it fails, the chain stops before its next phase; other chains complete their steps. A row counts as an env step in
 * the last phase of a step, if that is one of kind step. */
typedef struct dr_phase {
  dr_kind kind;
  int32_t multiple; /* a claim is a multiple of this many rows; 0 = 1 */
  int32_t chunk;    /* rows a claim if the user wants it so; 0 = by cost */
  int32_t cost;     /* which of the chain's smoothed costs this phase reads and writes, 0..DR_NUM_COSTS - 1 */
  drover_status (*rows)(void *object, dr_worker *worker, int32_t first_row, int32_t num_rows, int64_t step);
  /* Instead of rows, in a phase that is repeated: repeat counts from 0 in every step. */
  drover_status (*repeat_rows)(void *object, dr_worker *worker, int32_t first_row, int32_t num_rows, int64_t step,
                               int32_t repeat);
} dr_phase;

/* The functions that take a whole shard are called by one worker at a time. Optional ones may be NULL. */
typedef struct dr_program {
  const dr_phase *phases;
  int32_t num_phases;
  int32_t num_repeated; /* the last so many phases, one after the other, are done num_repeats times; 0 = none are */
  int32_t num_repeats;
  drover_status (*begin)(void *object, dr_worker *worker, int32_t first_row, int32_t num_rows); /* optional */
  drover_status (*end_step)(void *object, dr_worker *worker, int32_t chain, int32_t first_row, int32_t num_rows,
                            int64_t step); /* optional */
  drover_status (*end)(void *object, dr_worker *worker, int32_t first_row, int32_t num_rows,
                       int64_t next_step); /* optional; next_step: the first that was not done */
  void (*tick)(void *object);              /* optional: at most every 100 ms, from some worker */
  bool uncancellable;                      /* a part of a call that must be whole, whatever was cancelled */
} dr_program;

typedef struct dr_run {
  struct drover_runtime *runtime;
  const dr_program *program;
  void *object;
  dr_chain *chains;
  dr_lane *lanes; /* one a worker */
  int32_t num_chains;
  int32_t max_chains;
  int64_t first_step, num_steps;
  int64_t quantum_steps;
  uint32_t cancels_seen;                                 /* the caller's: cancellations before its call began */
  dr_place *place;                                       /* NULL while the caller runs alone */
  alignas(DR_LINE_BYTES) _Atomic int32_t num_unfinished; /* chains; the last one to finish wakes the sleepers */
  alignas(DR_LINE_BYTES) _Atomic int32_t num_idle;       /* workers looking for something to do; a hint */
  alignas(DR_LINE_BYTES) _Atomic int32_t status;         /* first failure; chains stop at their next step boundary */
  pthread_mutex_t message_lock;
  char message[DR_MESSAGE_BYTES];
} dr_run;

/* Memory for runs of at most max_chains chains of this runtime. */
drover_status dr_run_init(dr_run *run, struct drover_runtime *runtime, int32_t max_chains);
void dr_run_free(dr_run *run);

/* Set the shards: num_rows rows in chains of shard_rows. Between runs. */
void dr_run_set_shards(dr_run *run, int32_t num_rows, int32_t shard_rows);

/* Carry every chain through steps first_step .. first_step + num_steps - 1 of a program over object. alone: on the
 * calling thread only. *steps_done (may be NULL): steps that all chains completed. */
drover_status dr_run_execute(dr_run *run, const dr_program *program, void *object, int64_t first_step,
                             int64_t num_steps, bool alone, int64_t *steps_done);

/* carry.c: a worker's stay in a run, between dr_worker_enter and dr_worker_leave. True if it left to take turns and
 * should be sent again. */
bool dr_run_stay(dr_run *run, dr_worker *worker);

/* Rows x steps that the present run has completed. Any thread. */
int64_t dr_run_rows_done(const dr_run *run);

/* The smoothed cost number `cost` of one row, in nanoseconds, mean over chains; 0 if not known. Between runs. */
double dr_run_row_ns(const dr_run *run, int32_t cost);

#endif
