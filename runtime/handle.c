/* handle.c: handle checks and the graveyard of closed ones. */
#include "runtime/handle.h"

#include <pthread.h>
#include <stdlib.h>

#include "runtime/error.h"

enum { GRAVEYARD_SIZE = 1024 };

static pthread_mutex_t graveyard_lock = PTHREAD_MUTEX_INITIALIZER;
static dr_handle *graveyard[GRAVEYARD_SIZE]; /* a ring; under graveyard_lock */
static unsigned graveyard_next;

void dr_handle_open(dr_handle *handle, dr_handle_kind kind) {
  atomic_store_explicit(&handle->kind, (uint32_t)kind, memory_order_relaxed);
}

drover_status dr_handle_check(const void *handle, dr_handle_kind kind, const char *what) {
  if (!handle) return dr_fail(DROVER_ERROR_ARGUMENT, "%s: the handle is NULL", what);
  const uint32_t found = atomic_load_explicit(&((const dr_handle *)handle)->kind, memory_order_relaxed);
  if (found == (uint32_t)kind) return DROVER_OK;
  if (found == 0) return dr_fail(DROVER_ERROR_CLOSED, "%s: the handle was destroyed", what);
  return dr_fail(DROVER_ERROR_ARGUMENT, "%s: this is a handle of another kind, or not one of Drover's", what);
}

void dr_handle_bury(dr_handle *handle) {
  atomic_store_explicit(&handle->kind, 0, memory_order_relaxed);
  pthread_mutex_lock(&graveyard_lock);
  dr_handle *oldest = graveyard[graveyard_next];
  graveyard[graveyard_next] = handle;
  graveyard_next = (graveyard_next + 1) % GRAVEYARD_SIZE;
  pthread_mutex_unlock(&graveyard_lock);
  free(oldest);
}
