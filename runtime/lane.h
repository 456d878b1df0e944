/* lane.h: a worker's own list of chains: those not begun (a range) and those put aside (a ring). Others steal from it.
 */
#ifndef DR_RUNTIME_LANE_H
#define DR_RUNTIME_LANE_H

#include "runtime/types.h"

enum {
  DR_LANE_RING = 64,
  DR_LANE_SPARE = 8 /* cells that are kept for workers who leave to take turns */
};

typedef struct dr_lane {
  alignas(DR_LINE_BYTES) _Atomic uint64_t
      fresh; /* lo << 32 | hi: chains lo..hi-1 not begun; owner takes lo, thieves hi-1 */
  /* Chains put aside, oldest first. Only the lane's worker pushes (release store of tail publishes the chain with all
   * that its steps wrote); anyone takes, by compare-and-swap on head (acquire). */
  _Atomic uint32_t head;
  _Atomic uint32_t tail;
  _Atomic int32_t ring[DR_LANE_RING];
  /* Chain + 1 whose open phase is worth helping with, else 0. On its own line: idle workers read it in a loop. */
  alignas(DR_LINE_BYTES) _Atomic int32_t open_chain;
} dr_lane;

/* Take a chain that was not begun: the first as the lane's own worker, the last as a thief. -1 = there is none. */
static inline int32_t dr_lane_take_fresh(dr_lane *lane, bool own) {
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

/* Take the chain that was put aside first; -1 = there is none. */
static inline int32_t dr_lane_take_aside(dr_lane *lane) {
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

/* Put a chain aside, by the lane's own worker. False if fewer than `spare` cells would be left. */
static inline bool dr_lane_put_aside(dr_lane *lane, int32_t chain, uint32_t spare) {
  const uint32_t tail = atomic_load_explicit(&lane->tail, memory_order_relaxed);
  if (tail - atomic_load_explicit(&lane->head, memory_order_acquire) + spare >= DR_LANE_RING) return false;
  atomic_store_explicit(&lane->ring[tail % DR_LANE_RING], chain, memory_order_relaxed);
  atomic_store_explicit(&lane->tail, tail + 1, memory_order_release);
  return true;
}

static inline bool dr_lane_has_others(const dr_lane *lane) {
  const uint64_t fresh = atomic_load_explicit(&lane->fresh, memory_order_relaxed);
  return (uint32_t)(fresh >> 32) < (uint32_t)fresh || atomic_load_explicit(&lane->head, memory_order_relaxed) !=
                                                          atomic_load_explicit(&lane->tail, memory_order_relaxed);
}

static inline bool dr_lane_has_many_aside(const dr_lane *lane) {
  return atomic_load_explicit(&lane->tail, memory_order_relaxed) -
             atomic_load_explicit(&lane->head, memory_order_relaxed) >
         DR_LANE_RING / 2;
}

#endif
