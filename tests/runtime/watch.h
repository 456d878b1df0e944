/* watch.h: a program for the scheduler that checks its own order: every row of every phase of every step once, in order
 * within its shard. */
#ifndef DR_TESTS_RUNTIME_WATCH_H
#define DR_TESTS_RUNTIME_WATCH_H

#include "runtime/run.h"
#include "runtime/runtime.h"
#include "tests/support/world.h"

enum { MAX_ROWS = 1200, MAX_PHASES = 3, FAIL_NOWHERE = -1 };

/* Everything is counted by row: `done` is how many phases of all steps the row has been through. */
typedef struct watch {
  int32_t num_rows, shard, num_phases; /* num_phases: of a whole step, repeated ones counted again */
  int32_t num_repeats;                 /* 0, or how often the last two of three phases come in a step */
  int64_t first_step;
  _Atomic int64_t done[MAX_ROWS];
  _Atomic int32_t begun[MAX_ROWS], ended[MAX_ROWS];
  _Atomic int64_t steps_ended[MAX_ROWS]; /* end_step calls that covered the row */
  _Atomic int64_t next_step[MAX_ROWS];   /* what `end` was told */
  _Atomic int32_t num_wrong;             /* order violations */
  _Atomic int32_t largest_call;
  int32_t multiple;
  /* Costs: rows that are multiples of slow_every sleep; all rows loop. */
  int32_t slow_every, sleep_us, work;
  /* Failure: in phase fail_phase (num_phases: end_step) of step fail_step, the call that holds fail_row. */
  int32_t fail_phase, fail_row;
  int64_t fail_step;
  _Atomic int32_t num_after_failure; /* rows of the failing shard that a later phase was called for */
  int32_t wanted_threads;            /* rows are held until so many threads have come, or 30 s have passed */
  _Atomic int32_t num_threads;
  toy_gate *gate; /* held at row 0 of step gate_step */
  int64_t gate_step;
  _Atomic int32_t num_ticks;
} watch;

/* What is asked of the scheduler. */
typedef struct watch_setting {
  int32_t chunk, multiple;
  int64_t num_steps;
  bool alone;
} watch_setting;

/* A watch over num_rows rows in shards; free() it. */
watch *watch_new(int32_t num_rows, int32_t shard, int32_t num_phases);

/* The same watch may be run once only. */
drover_status watch_execute(dr_run *run, watch *w, watch_setting s, int64_t *steps_done);
void watch_assert_complete(const watch *w, int64_t num_steps, const char *where);

/* Run one watch from beginning to end and check all of it. */
void watch_run(drover_runtime *runtime, watch *w, watch_setting s);

drover_runtime *watch_runtime(int32_t num_workers);

#endif
