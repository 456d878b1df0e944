/* runtime.h: the inside of a runtime handle. */
#ifndef DR_RUNTIME_RUNTIME_H
#define DR_RUNTIME_RUNTIME_H

#include <drover/runtime.h>
#include <pthread.h>
#include <sched.h>

#include "runtime/arena.h"
#include "runtime/board.h"
#include "runtime/handle.h"
#include "runtime/worker.h"

struct drover_runtime {
  dr_handle handle;
  int32_t num_workers;
  dr_arena *arena; /* NULL if num_workers is 1 */
  dr_board *board;
  dr_worker *workers;          /* [num_workers] */
  pthread_mutex_t caller_lock; /* who holds it is worker 0 */
  drover_task_guard guard;
  bool has_node_cpus;
  cpu_set_t node_cpus; /* workers without a CPU of their own are kept on these */
  uint32_t fork_generation;
  /* Cancellations so far. A call stops when the count is not the one it began with: so one cancel stops every call in
   * progress and no later one. Relaxed: it publishes nothing. */
  alignas(DR_LINE_BYTES) _Atomic uint32_t num_cancels;
  alignas(DR_LINE_BYTES) _Atomic int32_t num_objects; /* batches, policies, rollouts alive */
  _Atomic int32_t num_calls; /* calls, and background steps, in progress; negative: none may begin */
  alignas(DR_LINE_BYTES) _Atomic uint64_t next_sample; /* clock ticks; who moves it forward takes the sample */
  _Atomic int32_t max_threads;
};

/* Alive, of this process (not the parent of a fork)? Every public call begins with it. */
drover_status dr_runtime_check(const drover_runtime *runtime, const char *what);
drover_status dr_runtime_check_fork(const drover_runtime *runtime, const char *what);

/* Around a public call that runs tasks. Begin finds libraries that were loaded since, and returns the number of
 * cancellations that the call is not to heed. */
uint32_t dr_runtime_begin_call(drover_runtime *runtime);
void dr_runtime_end_call(drover_runtime *runtime);

/* Count background work as a call, so that the statistics are not reset under it. Ended by dr_runtime_end_call. */
void dr_runtime_count_call(drover_runtime *runtime);

/* At a step boundary: count the process's threads if 100 ms have passed. True for the one worker that did. */
bool dr_runtime_sample(drover_runtime *runtime, uint64_t now_ticks);

#endif
