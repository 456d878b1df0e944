/* worker.c: what is set on a thread around a root task, and restored after it. */
#include "runtime/worker.h"

#include <pthread.h>
#include <signal.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "runtime/memory.h"
#include "runtime/runtime.h"

/* Default mode: round to nearest, denormals kept, exceptions masked. One mode for every thread: part of the contract
 * that a trajectory does not depend on who stepped it. */
#if defined(__x86_64__)
enum { DEFAULT_MXCSR = 0x1F80 };
static unsigned set_default_float_mode(void) {
  const unsigned found = _mm_getcsr();
  if ((found & ~0x3Fu) != DEFAULT_MXCSR) _mm_setcsr(DEFAULT_MXCSR);
  return found;
}
static void restore_float_mode(unsigned mode) {
  if ((mode & ~0x3Fu) != DEFAULT_MXCSR) _mm_setcsr(mode);
}
#else
static unsigned set_default_float_mode(void) { return 0; }
static void restore_float_mode(unsigned mode) { (void)mode; }
#endif

/* Once a thread: oneTBB's threads take no signals (they are the host's business), and allocate from the heap of the
 * place they hold. The caller's thread keeps its own signals and heap: its heap is not a worker's, so it does not
 * contend with one. */
static void settle_thread(const dr_worker *worker) {
  static _Thread_local int32_t bound_heap = -1;
  static _Thread_local bool signals_blocked;
  if (worker->index == 0) return;
  if (!signals_blocked) {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    signals_blocked = true;
  }
  if (worker->heap >= 0 && bound_heap != worker->heap) {
    dr_heap_bind(worker->heap);
    bound_heap = worker->heap;
  }
}

static void pin(const dr_worker *worker, dr_entry *entry) {
  entry->restores_mask = false;
  const struct drover_runtime *runtime = worker->runtime;
  if (worker->cpu < 0 && !runtime->has_node_cpus) return;
  cpu_set_t mask = runtime->node_cpus;
  if (worker->cpu >= 0) {
    CPU_ZERO(&mask);
    CPU_SET((size_t)worker->cpu, &mask);
  }
  if (pthread_getaffinity_np(pthread_self(), sizeof entry->mask, &entry->mask) != 0) return;
  entry->restores_mask = pthread_setaffinity_np(pthread_self(), sizeof mask, &mask) == 0;
}

void dr_worker_enter(dr_worker *worker, dr_entry *entry) {
  settle_thread(worker);
  entry->control_word = set_default_float_mode();
  pin(worker, entry);
  const drover_task_guard *guard = &worker->runtime->guard;
  if (guard->enter) guard->enter(guard->user, entry->guard);
  entry->allocated = dr_heap_thread_allocated();
  dr_count(&worker->counters.num_tasks, 1);
}

void dr_worker_leave(dr_worker *worker, dr_entry *entry) {
  dr_count(&worker->counters.allocated_bytes, dr_heap_thread_allocated() - entry->allocated);
  const drover_task_guard *guard = &worker->runtime->guard;
  if (guard->leave) guard->leave(guard->user, entry->guard);
  if (entry->restores_mask) pthread_setaffinity_np(pthread_self(), sizeof entry->mask, &entry->mask);
  restore_float_mode(entry->control_word);
}
