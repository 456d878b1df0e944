/* worker.h: a place in the arena: its heap, counters and trace; and what is done around every root task. */
#ifndef DR_RUNTIME_WORKER_H
#define DR_RUNTIME_WORKER_H

#include <drover/runtime.h>
#include <sched.h>

#include "runtime/trace.h"
#include "runtime/types.h"

struct drover_runtime;

/* Counters have one writer, the thread that holds the place, and any number of readers: relaxed loads and stores on
 * lines of their own, so that reading does not disturb and costs the writer nothing but plain moves. */
typedef struct dr_counters {
  _Atomic uint64_t ticks[DR_NUM_KINDS];
  _Atomic uint64_t num_tasks;
  _Atomic uint64_t num_claims;
  _Atomic uint64_t num_stolen;
  _Atomic uint64_t num_env_steps;
  _Atomic uint64_t allocated_bytes;
} dr_counters;

typedef struct dr_worker {
  alignas(DR_LINE_BYTES) dr_counters counters;
  alignas(DR_LINE_BYTES) struct drover_runtime *runtime;
  int32_t index;
  int32_t heap;         /* -1 = none */
  int32_t cpu;          /* pin to this CPU, -1 = see runtime->node_cpus */
  uint32_t next_victim; /* where the search for work to steal begins */
  dr_trace trace;
} dr_worker;

static inline void dr_count(_Atomic uint64_t *counter, uint64_t amount) {
  atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + amount, memory_order_relaxed);
}

/* The floating-point mode of a thread: MXCSR and the x87 control word. */
typedef struct dr_float_mode {
  unsigned mxcsr;
  unsigned short x87;
} dr_float_mode;

/* Set the default mode (part of the contract: no trajectory depends on who stepped it), and restore what was. */
dr_float_mode dr_float_mode_enter(void);
void dr_float_mode_leave(dr_float_mode mode);

/* What dr_worker_enter changed on this thread, for dr_worker_leave to undo. */
typedef struct dr_entry {
  dr_float_mode mode; /* the thread came with */
  bool restores_mask;
  cpu_set_t mask;
  uint64_t allocated;
  alignas(16) unsigned char guard[256];
} dr_entry;

/* Around every root task: default floating-point mode, the thread guard, the heap, the CPU mask. */
void dr_worker_enter(dr_worker *worker, dr_entry *entry);
void dr_worker_leave(dr_worker *worker, dr_entry *entry);

/* DROVER_ERROR_STATE on a thread that is between enter and leave: env and policy functions must not call the runtime.
 */
drover_status dr_worker_check_outside(const char *what);

#endif
