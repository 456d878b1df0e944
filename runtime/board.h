/* board.h: where runs in progress are posted, and roots find them.
 *
 * A root is a task that oneTBB may start late, even after its run has ended and its memory is gone. So a root carries
 * only (place on the board, id of the run) and attaches by compare-and-swap on the place's word, which fails once the
 * run is closed. The board is reference-counted: a root that starts after its runtime was destroyed finds it intact.
 *
 *   word = id << 32 | attached << 1 | open        a closed place with attached = 0 is free
 *
 * The caller closes its run when all chains are done and waits until nobody is attached. */
#ifndef DR_RUNTIME_BOARD_H
#define DR_RUNTIME_BOARD_H

#include <drover/base.h>
#include <pthread.h>

#include "runtime/types.h"

struct dr_run;

enum { DR_BOARD_PLACES = 64 };

typedef struct dr_place {
  alignas(DR_LINE_BYTES) _Atomic uint64_t word;
  struct dr_run *run; /* written while free, by the caller that holds `taken`; published by `word` */
  /* Sleeping, for callers and for workers with nothing to do. seq_cst against the run's unfinished count: a sleeper
   * counts itself before it looks, a finisher looks after it counted down, so one of them sees the other. */
  alignas(DR_LINE_BYTES) _Atomic int32_t num_sleepers;
  pthread_mutex_t lock;
  pthread_cond_t changed;
  bool taken; /* under board->lock */
} dr_place;

typedef struct dr_board {
  _Atomic int32_t num_references; /* the runtime's, and one a root that has not started or not ended */
  /* Hints for taking turns, relaxed: who wants workers (runs posted, exchange roots), and roots sent but not begun. */
  _Atomic int32_t num_rivals;
  _Atomic int32_t num_waiting;
  pthread_mutex_t lock;
  pthread_cond_t freed;
  uint32_t next_id; /* under lock */
  dr_place places[DR_BOARD_PLACES];
} dr_board;

dr_board *dr_board_create(void);
void dr_board_hold(dr_board *board);
void dr_board_release(dr_board *board);

/* Post a run: waits for a free place, opens it. */
dr_place *dr_board_post(dr_board *board, struct dr_run *run);

/* Close the place, wait until no worker is attached, free it. */
void dr_board_close(dr_board *board, dr_place *place);

/* The ticket a root carries, and the run it leads to: NULL if that has ended. Every attach is followed by detach. */
uint64_t dr_place_ticket(const dr_board *board, const dr_place *place);
dr_place *dr_board_attach(dr_board *board, uint64_t ticket);
void dr_place_detach(dr_place *place);

/* Somebody else's root waits for a worker. */
static inline bool dr_board_rivals_wait(const dr_board *board) {
  return atomic_load_explicit(&board->num_rivals, memory_order_relaxed) > 1 &&
         atomic_load_explicit(&board->num_waiting, memory_order_relaxed) > 0;
}

/* Sleep until dr_place_wake or timeout_us passes, unless *until is 0 already. */
void dr_place_sleep(dr_place *place, _Atomic int32_t *until, int64_t timeout_us);
void dr_place_wake(dr_place *place);

#endif
