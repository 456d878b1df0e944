/* chain.h: a shard on its way through a run, and how workers share the rows of one phase.
 *
 * The word `claim` is (next row, rows a claim). The owner opens a phase by storing it (release); workers, the owner
 * among them, take rows next..next + grain by compare-and-swap (acquire) until next reaches num_rows. Whoever has
 * claimed rows may read the chain's plain fields: they cannot change before its rows are counted off in `pending`.
 *
 *   pending = rows of this phase that are not finished
 *
 * A worker counts off what it finished once, when nothing is left to claim (acq_rel: publishes its rows to whoever
 * comes last, and makes the last one see everybody's). Who brings pending to 0 owns the chain from then on and goes on
 * with the next phase in the same task; the others leave the chain. So no worker ever waits for another.
 *
 * The word needs no sequence number: a compare-and-swap that succeeds on a word of a later phase with the same numbers
 * claims rows of that later phase, which is just as good, because everything about the phase is read after it. */
#ifndef DR_RUNTIME_CHAIN_H
#define DR_RUNTIME_CHAIN_H

#include "runtime/types.h"

typedef struct dr_chain {
  alignas(DR_LINE_BYTES) _Atomic uint64_t claim;
  _Atomic int32_t pending;
  _Atomic int32_t steps_done; /* in this run; for progress, relaxed */
  /* Plain fields: written by the owner only, while no phase is open. */
  int32_t first_row;
  int32_t num_rows;
  int32_t phase; /* counts repeated ones again (dr_program) */
  int64_t step;
  int32_t last_worker; /* who ran the latest phase's end; -1 before */
  bool started;
  _Atomic bool failed;           /* rows() failed in this run: relaxed, published by `pending` */
  float row_ticks[DR_NUM_COSTS]; /* smoothed costs of a row, in clock ticks; 0 = not known (dr_phase.cost) */
} dr_chain;

static inline uint64_t dr_claim_word(int32_t next, int32_t grain) {
  return (uint64_t)(uint32_t)next << 32 | (uint32_t)grain;
}

/* Take the next rows of the open phase. Returns how many (0 = nothing left) and the first in *row. */
static inline int32_t dr_chain_claim(dr_chain *chain, int32_t *row) {
  uint64_t word = atomic_load_explicit(&chain->claim, memory_order_acquire);
  for (;;) {
    const int32_t next = (int32_t)(word >> 32), grain = (int32_t)(uint32_t)word;
    /* num_rows never changes in a run: safe to read before the claim. */
    if (next >= chain->num_rows) return 0;
    const int32_t count = grain < chain->num_rows - next ? grain : chain->num_rows - next;
    if (atomic_compare_exchange_weak_explicit(&chain->claim, &word, dr_claim_word(next + count, grain),
                                              memory_order_acquire, memory_order_acquire)) {
      *row = next;
      return count;
    }
  }
}

#endif
