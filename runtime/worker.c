/* worker.c: what is set on a thread around a root task, and restored after it. */
#include "runtime/worker.h"

#include <pthread.h>
#include <signal.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "runtime/error.h"
#include "runtime/memory.h"
#include "runtime/runtime.h"

/* Round to nearest, denormals kept, exceptions masked; sticky exception flags do not count as a difference. */
#if defined(__x86_64__)
enum { DEFAULT_MXCSR = 0x1F80, MXCSR_FLAGS = 0x3F, DEFAULT_X87 = 0x37F };

dr_float_mode dr_float_mode_enter(void) {
  dr_float_mode found = {.mxcsr = _mm_getcsr()};
  __asm__ volatile("fnstcw %0" : "=m"(found.x87));
  dr_float_mode_leave((dr_float_mode){.mxcsr = DEFAULT_MXCSR, .x87 = DEFAULT_X87});
  return found;
}

void dr_float_mode_leave(dr_float_mode mode) {
  unsigned short x87;
  __asm__ volatile("fnstcw %0" : "=m"(x87));
  if (x87 != mode.x87) __asm__ volatile("fldcw %0" : : "m"(mode.x87));
  const unsigned mxcsr = _mm_getcsr();
  if ((mxcsr | MXCSR_FLAGS) != (mode.mxcsr | MXCSR_FLAGS)) _mm_setcsr(mode.mxcsr);
}
#else
dr_float_mode dr_float_mode_enter(void) { return (dr_float_mode){0}; }
void dr_float_mode_leave(dr_float_mode mode) { (void)mode; }
#endif

static _Thread_local bool in_task;

drover_status dr_worker_check_outside(const char *what) {
  if (!in_task) return DROVER_OK;
  return dr_fail(DROVER_ERROR_STATE,
                 "%s: called from inside an env or policy function; those must not call the runtime", what);
}

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
  entry->mode = dr_float_mode_enter();
  in_task = true;
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
  in_task = false;
  dr_float_mode_leave(entry->mode);
}
