/* board.c: posting, attaching, closing, sleeping. */
#include "runtime/board.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "runtime/clock.h"
#include "runtime/memory.h"

static const uint64_t OPEN = 1, ATTACHED_ONE = 2, ATTACHED_MASK = 0xFFFFFFFEu;

dr_board *dr_board_create(void) {
  dr_board *board = dr_slab_zalloc(1, sizeof *board);
  if (!board) return NULL;
  atomic_init(&board->num_references, 1);
  pthread_mutex_init(&board->lock, NULL);
  pthread_cond_init(&board->freed, NULL);
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  for (int i = 0; i < DR_BOARD_PLACES; i++) {
    pthread_mutex_init(&board->places[i].lock, NULL);
    pthread_cond_init(&board->places[i].changed, &attributes);
  }
  pthread_condattr_destroy(&attributes);
  return board;
}

void dr_board_hold(dr_board *board) { atomic_fetch_add_explicit(&board->num_references, 1, memory_order_relaxed); }

void dr_board_release(dr_board *board) {
  /* acq_rel: the last one sees everything that others did with the board before they let go. */
  if (atomic_fetch_sub_explicit(&board->num_references, 1, memory_order_acq_rel) != 1) return;
  for (int i = 0; i < DR_BOARD_PLACES; i++) {
    pthread_cond_destroy(&board->places[i].changed);
    pthread_mutex_destroy(&board->places[i].lock);
  }
  pthread_cond_destroy(&board->freed);
  pthread_mutex_destroy(&board->lock);
  free(board);
}

static dr_place *free_place(dr_board *board) {
  for (int i = 0; i < DR_BOARD_PLACES; i++)
    if (!board->places[i].taken) return &board->places[i];
  return NULL;
}

dr_place *dr_board_post(dr_board *board, struct dr_run *run) {
  pthread_mutex_lock(&board->lock);
  dr_place *place;
  while (!(place = free_place(board))) pthread_cond_wait(&board->freed, &board->lock);
  place->taken = true;
  place->run = run;
  const uint64_t id = ++board->next_id;
  pthread_mutex_unlock(&board->lock);
  atomic_fetch_add_explicit(&board->num_rivals, 1, memory_order_relaxed);
  /* release: publishes place->run and the prepared run to the roots that attach. */
  atomic_store_explicit(&place->word, id << 32 | OPEN, memory_order_release);
  return place;
}

void dr_board_close(dr_board *board, dr_place *place) {
  /* acquire: the caller sees what workers that have detached already wrote. */
  uint64_t word = atomic_fetch_and_explicit(&place->word, ~OPEN, memory_order_acq_rel);
  for (int i = 0; i < 200 && (word & ATTACHED_MASK); i++) {
    dr_pause();
    word = atomic_load_explicit(&place->word, memory_order_acquire);
  }
  pthread_mutex_lock(&place->lock);
  pthread_cond_broadcast(&place->changed);
  while (atomic_load_explicit(&place->word, memory_order_acquire) & ATTACHED_MASK)
    pthread_cond_wait(&place->changed, &place->lock);
  pthread_mutex_unlock(&place->lock);
  atomic_fetch_sub_explicit(&board->num_rivals, 1, memory_order_relaxed);
  pthread_mutex_lock(&board->lock);
  place->taken = false;
  pthread_cond_signal(&board->freed);
  pthread_mutex_unlock(&board->lock);
}

uint64_t dr_place_ticket(const dr_board *board, const dr_place *place) {
  const uint64_t id = atomic_load_explicit(&place->word, memory_order_relaxed) >> 32;
  return id << 32 | (uint64_t)(place - board->places);
}

dr_place *dr_board_attach(dr_board *board, uint64_t ticket) {
  dr_place *place = &board->places[ticket & 0xFFFFFFFFu];
  uint64_t word = atomic_load_explicit(&place->word, memory_order_relaxed);
  do {
    if (word >> 32 != ticket >> 32 || !(word & OPEN)) return NULL;
    /* acquire: sees the run as it was posted. */
  } while (!atomic_compare_exchange_weak_explicit(&place->word, &word, word + ATTACHED_ONE, memory_order_acquire,
                                                  memory_order_relaxed));
  return place;
}

void dr_place_detach(dr_place *place) {
  /* release: hands what this worker wrote to the caller, who waits for attached = 0. */
  const uint64_t word = atomic_fetch_sub_explicit(&place->word, ATTACHED_ONE, memory_order_acq_rel) - ATTACHED_ONE;
  if ((word & OPEN) || (word & ATTACHED_MASK)) return;
  pthread_mutex_lock(&place->lock);
  pthread_cond_broadcast(&place->changed);
  pthread_mutex_unlock(&place->lock);
}

void dr_place_sleep(dr_place *place, _Atomic int32_t *until, int64_t timeout_us) {
  struct timespec limit;
  clock_gettime(CLOCK_MONOTONIC, &limit);
  limit.tv_sec += (time_t)(timeout_us / 1000000);
  limit.tv_nsec += (long)(timeout_us % 1000000) * 1000;
  if (limit.tv_nsec >= 1000000000) {
    limit.tv_sec++;
    limit.tv_nsec -= 1000000000;
  }
  pthread_mutex_lock(&place->lock);
  atomic_fetch_add_explicit(&place->num_sleepers, 1, memory_order_seq_cst);
  /* Woken or timed out: the caller looks around either way. */
  if (atomic_load_explicit(until, memory_order_seq_cst) != 0)
    pthread_cond_timedwait(&place->changed, &place->lock, &limit);
  atomic_fetch_sub_explicit(&place->num_sleepers, 1, memory_order_relaxed);
  pthread_mutex_unlock(&place->lock);
}

void dr_place_wake(dr_place *place) {
  if (atomic_load_explicit(&place->num_sleepers, memory_order_seq_cst) == 0) return;
  pthread_mutex_lock(&place->lock);
  pthread_cond_broadcast(&place->changed);
  pthread_mutex_unlock(&place->lock);
}
