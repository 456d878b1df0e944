/* types.h: start here. The words of the runtime and the structs behind them.
 *
 *   batch    N envs of one type and their rows                               (batch.h)
 *   shard    neighbouring envs of a batch: what advances by itself
 *   chain    a shard on its way through the steps of a run; one cache line   (chain.h)
 *   phase    one part of a step (infer, step): covers the shard's rows, which workers claim in chunks
 *   tick     one inner step of an env that has a policy inside its step; K ticks make one step        (inner.h)
 *   run      all chains of one call, and one lane a worker                    (run.h)
 *   lane     a worker's own list of chains: others steal from it              (lane.h)
 *   root     the task by which a worker enters a run                          (board.h)
 *   worker   a place in the arena (0 is the caller's), its heap and counters  (worker.h)
 *   heap     a jemalloc arena                                                 (heap.h)
 *   arena    oneTBB's task arena                                              (arena.h)
 *
 * Who may write what: everything in a dr_worker belongs to the thread that holds this worker index; a chain's plain
 * fields belong to its owner (the worker that runs it), ownership passes with `claim` and `pending` (chain.h); a
 * batch's rows first..first+count belong to whoever claimed them. */
#ifndef DR_RUNTIME_TYPES_H
#define DR_RUNTIME_TYPES_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
  DR_LINE_BYTES = 128, /* two 64-byte lines: adjacent-line prefetch makes pairs of them travel together */
  DR_MAX_WORKERS = 1024,
  DR_NUM_COSTS = 12,
  DR_TURN_NS = 200000, /* a worker that others wait for changes to them after this long */
  DR_BLOCK_ROWS = 256  /* most rows one call into an env covers; bounds scratch memory */
};

/* Which counter a piece of time goes to. */
typedef enum dr_kind {
  DR_KIND_STEP = 0,
  DR_KIND_INFER = 1,
  DR_KIND_OTHER = 2,
  DR_KIND_IDLE = 3,
  DR_NUM_KINDS = 4
} dr_kind;

#endif
