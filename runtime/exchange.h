/* exchange.h: send and recv: the caller gives actions for some envs and receives the first that are ready.
 *
 *   sent ring    env ids that wait for a step: the caller appends (release store of `sent_tail`), workers and recv take
 *                several at once by compare-and-swap on `sent_head` (acquire)
 *   ready ring   env ids that were stepped: a worker reserves cells by fetch_add on `ready_tail` and fills them
 *                (release store of each cell: publishes the env's rows); recv empties them in order (acquire)
 *
 * An env is in flight from send to recv; it is in one ring at most, so rings of N cells never overflow. */
#ifndef DR_RUNTIME_EXCHANGE_H
#define DR_RUNTIME_EXCHANGE_H

#include "runtime/batch.h"

typedef struct dr_exchange {
  _Atomic int32_t num_references; /* the batch's, and one a root that has not ended */
  drover_batch *batch;            /* valid while not closed */
  dr_board *board;                /* held */
  uint32_t mask;                  /* ring size - 1 */
  _Atomic int32_t *sent;          /* [ring size] env ids */
  _Atomic int32_t *ready;         /* [ring size] env id + 1, 0 = not filled yet */
  uint8_t *in_flight;             /* [N]; the caller's */
  int32_t num_in_flight;          /* the caller's */
  uint32_t cancels_seen;          /* the caller's: cancellations before its recv began */
  drover_status status;           /* a failure of the workers, under lock */
  char message[DR_MESSAGE_BYTES];
  alignas(DR_LINE_BYTES) _Atomic uint32_t sent_head;
  alignas(DR_LINE_BYTES) _Atomic uint32_t sent_tail;
  alignas(DR_LINE_BYTES) _Atomic uint32_t ready_tail;
  alignas(DR_LINE_BYTES) uint32_t ready_head; /* the caller's */
  _Atomic int32_t row_ns;                     /* smoothed cost of a step; a hint */
  /* seq_cst between these: a root counts itself before it looks at closed, the destroyer closes before it looks at
   * num_active; recv says what it waits for before it looks at num_ready, a worker adds before it looks at num_wanted.
   */
  alignas(DR_LINE_BYTES) _Atomic int32_t num_active; /* roots at work */
  _Atomic int32_t num_roots;                         /* roots sent and not ended */
  _Atomic int32_t closed;
  alignas(DR_LINE_BYTES) _Atomic int32_t num_ready;
  _Atomic int32_t num_wanted; /* recv sleeps until num_ready reaches this; 0 = nobody sleeps */
  pthread_mutex_t lock;
  pthread_cond_t changed;
} dr_exchange;

/* Give one reference back; the last one frees it. */
void dr_exchange_release(dr_exchange *x);

/* exchange_step.c. Step some of what was sent, as this worker; false if nothing was waiting. */
bool dr_exchange_step_some(dr_exchange *x, dr_worker *worker);

/* For `count` envs just sent: as many roots as they can use, at most the other workers. */
void dr_exchange_call_workers(dr_exchange *x, int32_t count);

#endif
