/* guard.c: while a thread runs a task of ours, the OpenMP and BLAS runtimes give that thread one thread.
 *
 * The table of what to call is immutable once published and never freed: a worker may stand between enter and leave
 * with an old one while a rescan publishes the next. Tables are replaced only when a runtime was loaded that no table
 * has, so there are at most DR_LIBRARIES_MAX of them. Libraries in a table hold a reference that is never given back,
 * so a dlclose by the host cannot pull them from under a worker. */
#include "runtime/threads/guard.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

/* How one library is limited. */
typedef struct limit {
  int (*get_threads)(void);
  void (*set_threads)(int);
  int (*get_levels)(void);
  void (*set_levels)(int);    /* NULL: levels are the process's here, leave them */
  int (*exchange_local)(int); /* MKL; the four above are NULL then */
} limit;

enum { MAX_LIMITS = 30 };

typedef struct table {
  const struct table *replaced; /* the table before: a worker may still hold it */
  int count;                    /* 1..MAX_LIMITS */
  limit limits[MAX_LIMITS];
} table;

/* What enter saves for leave: the table in force then, and two numbers a library. */
typedef struct saved_limits {
  const table *in_force;
  int32_t values[MAX_LIMITS][2];
} saved_limits;

_Static_assert(sizeof(saved_limits) <= DR_GUARD_SAVED_BYTES, "a task guard has 256 bytes to save in");

/* NULL: nothing to limit. Published by rescan (release) to the workers (acquire): the table's contents. */
static _Atomic(const table *) current;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static dr_library_list known; /* lock */

void dr_guard_enter(void *user, void *saved) {
  (void)user;
  saved_limits *to = saved;
  const table *t = atomic_load_explicit(&current, memory_order_acquire);
  to->in_force = t;
  if (t == NULL) return;
  for (int i = 0; i < t->count; i++) {
    const limit *l = &t->limits[i];
    if (l->exchange_local != NULL) {
      to->values[i][0] = l->exchange_local(1);
      continue;
    }
    to->values[i][0] = l->get_threads();
    l->set_threads(1);
    if (l->set_levels == NULL) continue;
    to->values[i][1] = l->get_levels();
    l->set_levels(0);
  }
}

/* In reverse order: two libraries may reach one setting (MKL's layers do), and the first saved value is the host's. */
void dr_guard_leave(void *user, void *saved) {
  (void)user;
  const saved_limits *from = saved;
  const table *t = from->in_force;
  if (t == NULL) return;
  for (int i = t->count - 1; i >= 0; i--) {
    const limit *l = &t->limits[i];
    if (l->exchange_local != NULL) {
      l->exchange_local(from->values[i][0]);
      continue;
    }
    if (l->set_levels != NULL) l->set_levels(from->values[i][1]);
    l->set_threads(from->values[i][0]);
  }
}

bool dr_guard_limits(const dr_library *library) {
  return library->scope == DROVER_SCOPE_THREAD &&
         (library->calls.exchange_local != NULL || library->calls.set_threads != NULL);
}

/* Build a table of the known libraries and publish it, unless it would hold what the present one does. */
static void publish(void) {
  const table *old = atomic_load_explicit(&current, memory_order_relaxed); /* written under the lock we hold */
  table *t = calloc(1, sizeof *t);
  if (t == NULL) return; /* the old table stays in force; the next rescan tries again */
  for (size_t i = 0; i < known.count && t->count < MAX_LIMITS; i++) {
    const dr_library *library = known.items[i];
    if (!dr_guard_limits(library)) continue;
    limit *l = &t->limits[t->count++];
    if (library->calls.exchange_local != NULL) {
      l->exchange_local = library->calls.exchange_local;
      continue;
    }
    l->get_threads = library->calls.get_threads;
    l->set_threads = library->calls.set_threads;
    if (!library->has_thread_levels) continue;
    l->get_levels = library->calls.get_levels;
    l->set_levels = library->calls.set_levels;
  }
  /* The list only grows, so an equal count means an equal table. */
  if (t->count == (old == NULL ? 0 : old->count)) {
    free(t);
    return;
  }
  t->replaced = old;
  atomic_store_explicit(&current, t, memory_order_release);
}

static void scan_locked(void) {
  dr_libraries_scan(&known);
  publish();
}

void dr_guard_rescan(void) {
  if (!dr_libraries_changed()) return;
  pthread_mutex_lock(&lock);
  scan_locked();
  pthread_mutex_unlock(&lock);
}

void dr_guard_get_libraries(dr_library_list *out) {
  pthread_mutex_lock(&lock);
  if (dr_libraries_changed()) scan_locked();
  *out = known;
  pthread_mutex_unlock(&lock);
}

const drover_task_guard *drover_threads_get_guard(void) {
  static const drover_task_guard guard = {dr_guard_enter, dr_guard_leave, NULL};
  return &guard;
}

void drover_threads_rescan(void) { dr_guard_rescan(); }
