/* runtime.c: making and ending a runtime, and the checks that every public call begins with. */
#include "runtime/runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/clock.h"
#include "runtime/cpus.h"
#include "runtime/error.h"
#include "runtime/memory.h"
#include "runtime/threads/cores.h"
#include "runtime/threads/guard.h"
#include "runtime/threads/variables.h"

/* ---- Fork ---------------------------------------------------------------------------------------------------- */

static _Atomic uint32_t fork_generation; /* counts the forks between the first process and this one */

static void count_fork(void) { atomic_fetch_add_explicit(&fork_generation, 1, memory_order_relaxed); }

static void watch_forks(void) { pthread_atfork(NULL, NULL, count_fork); }

static bool forked_since(const drover_runtime *runtime) {
  return runtime->fork_generation != atomic_load_explicit(&fork_generation, memory_order_relaxed);
}

drover_status dr_runtime_check_fork(const drover_runtime *runtime, const char *what) {
  if (!forked_since(runtime)) return DROVER_OK;
  return dr_fail(
      DROVER_ERROR_FORKED,
      "%s: this process was forked after the runtime was created and has none of its threads; create a runtime "
      "in the child instead",
      what);
}

drover_status dr_runtime_check(const drover_runtime *runtime, const char *what) {
  const drover_status status = dr_handle_check(runtime, DR_HANDLE_RUNTIME, what);
  return status != DROVER_OK ? status : dr_runtime_check_fork(runtime, what);
}

/* ---- Options ------------------------------------------------------------------------------------------------- */

drover_status drover_runtime_options_init(drover_runtime_options *options, size_t size) {
  if (!options || size != sizeof *options)
    return dr_fail(DROVER_ERROR_ARGUMENT, "runtime options: size must be %zu (sizeof drover_runtime_options), got %zu",
                   sizeof *options, size);
  *options = (drover_runtime_options){.size = size, .numa_node = -1};
  return DROVER_OK;
}

static drover_status check_options(const drover_runtime_options *o) {
  if (o->size != sizeof *o)
    return dr_fail(DROVER_ERROR_ARGUMENT,
                   "runtime: options.size is %zu, expected %zu: fill the struct with drover_runtime_options_init",
                   o->size, sizeof *o);
  if (o->num_workers < 0 || o->num_workers > DR_MAX_WORKERS)
    return dr_fail(DROVER_ERROR_ARGUMENT, "runtime: num_workers must be 0 (automatic) or 1..%d, got %d", DR_MAX_WORKERS,
                   (int)o->num_workers);
  if (o->numa_node < -1)
    return dr_fail(DROVER_ERROR_ARGUMENT, "runtime: numa_node must be -1 (anywhere) or a node's number, got %d",
                   (int)o->numa_node);
  if (o->trace_events < 0 || o->trace_events > 16777216)
    return dr_fail(DROVER_ERROR_ARGUMENT, "runtime: trace_events must be 0..16777216 a worker, got %d",
                   (int)o->trace_events);
  return DROVER_OK;
}

/* ---- Creating ------------------------------------------------------------------------------------------------ */

/* An explicit request wins, even above the cores; then DROVER_WORKERS (drover exec --workers sets it); then the cores.
 */
static int32_t choose_workers(const drover_runtime *runtime, const drover_runtime_options *o, int32_t num_cores) {
  const int32_t requested = o->num_workers > 0 ? o->num_workers : dr_requested_workers();
  if (requested > 0) return requested < DR_MAX_WORKERS ? requested : DR_MAX_WORKERS;
  const int32_t on_node = runtime->has_node_cpus ? CPU_COUNT(&runtime->node_cpus) : num_cores;
  const int32_t chosen = on_node < num_cores ? on_node : num_cores;
  return chosen < DR_MAX_WORKERS ? chosen : DR_MAX_WORKERS;
}

static drover_status size_arena(drover_runtime *runtime, const drover_runtime_options *o) {
  drover_cores cores = {.size = sizeof cores};
  const drover_status status = drover_threads_get_cores(o->filesystem_root, &cores);
  if (status != DROVER_OK) return status;
  runtime->num_workers = choose_workers(runtime, o, cores.num_cores);
  if (!o->forbid_oversubscription) return DROVER_OK;
  if (runtime->num_workers > cores.num_cores)
    return dr_fail(
        DROVER_ERROR_OVERSUBSCRIBED,
        "runtime: %d workers were asked for, but this process may use %d cores%s%s; ask for at most that many, "
        "or 0 for automatic",
        (int)runtime->num_workers, (int)cores.num_cores, cores.quota > 0 ? ", limited by " : "", cores.quota_path);
  return drover_threads_check(runtime->num_workers); /* what loaded libraries would start beside them counts too */
}

static drover_status make_workers(drover_runtime *runtime, const drover_runtime_options *o) {
  runtime->workers = dr_slab_zalloc((size_t)runtime->num_workers, sizeof *runtime->workers);
  if (!runtime->workers)
    return dr_fail(DROVER_ERROR_NO_MEMORY, "runtime: no memory for %d workers", (int)runtime->num_workers);
  for (int32_t w = 0; w < runtime->num_workers; w++) runtime->workers[w].heap = -1;
  for (int32_t w = 0; w < runtime->num_workers; w++) {
    dr_worker *worker = &runtime->workers[w];
    worker->runtime = runtime;
    worker->index = w;
    worker->heap = w > 0 ? dr_heap_take() : -1;
    worker->cpu = -1;
    worker->next_victim = (uint32_t)w + 1;
    if (o->trace_events > 0) {
      worker->trace.capacity = o->trace_events;
      worker->trace.events = dr_slab_zalloc((size_t)o->trace_events, sizeof *worker->trace.events);
      if (!worker->trace.events)
        return dr_fail(DROVER_ERROR_NO_MEMORY, "runtime: no memory for %d trace events a worker", (int)o->trace_events);
    }
  }
  return DROVER_OK;
}

static drover_status place_workers(drover_runtime *runtime, const drover_runtime_options *o) {
  if (!o->cpus) return DROVER_OK;
  cpu_set_t set;
  const drover_status status = dr_cpus_parse(o->cpus, &set, "runtime: cpus");
  if (status != DROVER_OK) return status;
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) allowed = set;
  for (int32_t c = 0; c < CPU_SETSIZE; c++)
    if (CPU_ISSET((size_t)c, &set) && !CPU_ISSET((size_t)c, &allowed))
      return dr_fail(DROVER_ERROR_ARGUMENT,
                     "runtime: cpus names CPU %d, which this process may not use or which does not exist", (int)c);
  int32_t cpu = -1;
  for (int32_t w = 0; w < runtime->num_workers; w++) {
    do cpu = (cpu + 1) % CPU_SETSIZE;
    while (!CPU_ISSET((size_t)cpu, &set));
    runtime->workers[w].cpu = cpu;
  }
  return DROVER_OK;
}

/* A rendezvous of all workers, so that oneTBB's threads exist (with signals blocked, as the creating thread has them
 * for the moment) before the first run is timed. A thread that does not come within 50 ms is not waited for. */
typedef struct rendezvous {
  _Atomic int32_t num_references; /* tasks and the creator: the last one frees it */
  _Atomic int32_t num_missing;
  uint64_t limit_ns; /* when waiting ends */
} rendezvous;

static void release_rendezvous(rendezvous *r) {
  if (atomic_fetch_sub_explicit(&r->num_references, 1, memory_order_acq_rel) == 1) free(r);
}

static void wait_for_all(rendezvous *r) {
  while (atomic_load_explicit(&r->num_missing, memory_order_relaxed) > 0 && dr_monotonic_ns() < r->limit_ns)
    sched_yield();
}

static void meet(void *arg, uint64_t word, int32_t index) {
  (void)word, (void)index;
  rendezvous *r = arg;
  atomic_fetch_sub_explicit(&r->num_missing, 1, memory_order_relaxed);
  wait_for_all(r);
  release_rendezvous(r);
}

/* NOLINTBEGIN(clang-analyzer-unix.Malloc): counts references, which the analyzer does not follow */
static void start_threads(drover_runtime *runtime) {
  rendezvous *r = calloc(1, sizeof *r);
  if (!r) return;
  const int32_t others = runtime->num_workers - 1;
  atomic_init(&r->num_references, others + 1);
  atomic_init(&r->num_missing, others);
  r->limit_ns = dr_monotonic_ns() + 50000000u;
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  for (int32_t i = 0; i < others; i++) {
    if (dr_arena_enqueue(runtime->arena, meet, r, 0) == DROVER_OK) continue;
    atomic_fetch_sub_explicit(&r->num_missing, 1, memory_order_relaxed);
    release_rendezvous(r);
  }
  wait_for_all(r);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  release_rendezvous(r);
}
/* NOLINTEND(clang-analyzer-unix.Malloc) */

/* Roots whose runs ended before they began are still queued: they hold the board (or an exchange), so give them a
 * moment to begin and let go. Where oneTBB's threads are busy elsewhere they do so later. */
static void drain_roots(const dr_board *board) {
  const uint64_t limit = dr_monotonic_ns() + 100000000u;
  while (atomic_load_explicit(&board->num_waiting, memory_order_relaxed) > 0 && dr_monotonic_ns() < limit)
    sched_yield();
}

static void free_runtime(drover_runtime *runtime) {
  if (runtime->arena && runtime->board) drain_roots(runtime->board);
  if (runtime->arena) dr_arena_destroy(runtime->arena);
  if (runtime->board) dr_board_release(runtime->board);
  for (int32_t w = 0; runtime->workers && w < runtime->num_workers; w++) {
    dr_heap_return(runtime->workers[w].heap);
    free(runtime->workers[w].trace.events);
  }
  free(runtime->workers);
  runtime->workers = NULL;
  pthread_mutex_destroy(&runtime->caller_lock);
}

static drover_status set_up(drover_runtime *runtime, const drover_runtime_options *o) {
  drover_status status = DROVER_OK;
  if (o->numa_node >= 0) {
    status = dr_cpus_of_node(o->filesystem_root, o->numa_node, &runtime->node_cpus);
    if (status != DROVER_OK) return status;
    runtime->has_node_cpus = true;
  }
  if ((status = size_arena(runtime, o)) != DROVER_OK) return status;
  if ((status = make_workers(runtime, o)) != DROVER_OK) return status;
  if ((status = place_workers(runtime, o)) != DROVER_OK) return status;
  runtime->board = dr_board_create();
  if (!runtime->board) return dr_fail(DROVER_ERROR_NO_MEMORY, "runtime: no memory for the board of runs");
  if (runtime->num_workers == 1) return DROVER_OK;
  if ((status = dr_arena_create(&runtime->arena, runtime->num_workers)) != DROVER_OK) return status;
  start_threads(runtime);
  return DROVER_OK;
}

drover_status drover_runtime_create(drover_runtime **out, const drover_runtime_options *options) {
  if (!out) return dr_fail(DROVER_ERROR_ARGUMENT, "runtime: out must not be NULL");
  *out = NULL;
  drover_runtime_options o;
  drover_runtime_options_init(&o, sizeof o);
  if (options) o = *options;
  drover_status status = check_options(&o);
  if (status != DROVER_OK) return status;
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, watch_forks);
  dr_clock_calibrate();
  drover_runtime *runtime = dr_slab_zalloc(1, sizeof *runtime);
  if (!runtime) return dr_fail(DROVER_ERROR_NO_MEMORY, "runtime: out of memory");
  pthread_mutex_init(&runtime->caller_lock, NULL);
  runtime->fork_generation = atomic_load_explicit(&fork_generation, memory_order_relaxed);
  runtime->guard = o.guard ? *o.guard : (drover_task_guard){.enter = dr_guard_enter, .leave = dr_guard_leave};
  status = set_up(runtime, &o);
  if (status != DROVER_OK) {
    free_runtime(runtime);
    free(runtime);
    return status;
  }
  dr_handle_open(&runtime->handle, DR_HANDLE_RUNTIME);
  *out = runtime;
  return DROVER_OK;
}

drover_status drover_runtime_destroy(drover_runtime *runtime) {
  if (!runtime) return DROVER_OK;
  const drover_status status = dr_handle_check(runtime, DR_HANDLE_RUNTIME, "runtime destroy");
  if (status != DROVER_OK) return status;
  if (forked_since(runtime)) return DROVER_OK; /* the parent's threads and memory: not ours to end */
  const int32_t objects = atomic_load_explicit(&runtime->num_objects, memory_order_acquire);
  if (objects > 0)
    return dr_fail(DROVER_ERROR_STATE,
                   "runtime destroy: %d batches, policies or rollouts are alive; destroy them first", (int)objects);
  free_runtime(runtime);
  dr_handle_bury(&runtime->handle);
  return DROVER_OK;
}

void drover_runtime_cancel(drover_runtime *runtime) {
  if (runtime) atomic_fetch_add_explicit(&runtime->num_cancels, 1, memory_order_relaxed);
}

void dr_runtime_count_call(drover_runtime *runtime) {
  if (atomic_fetch_add_explicit(&runtime->num_calls, 1, memory_order_acquire) >= 0) return;
  while (atomic_load_explicit(&runtime->num_calls, memory_order_acquire) < 0) sched_yield();
}

uint32_t dr_runtime_begin_call(drover_runtime *runtime) {
  dr_runtime_count_call(runtime);
  if (runtime->guard.enter == dr_guard_enter) dr_guard_rescan();
  return atomic_load_explicit(&runtime->num_cancels, memory_order_relaxed);
}

/* release: whoever reads or resets the statistics after the last call sees all of it. */
void dr_runtime_end_call(drover_runtime *runtime) {
  atomic_fetch_sub_explicit(&runtime->num_calls, 1, memory_order_release);
}

/* ---- Sampling the number of threads -------------------------------------------------------------------------- */

/* Field 20 of /proc/self/stat; the name in field 2 may hold spaces, so count from its closing bracket. */
static int32_t count_threads(void) {
  char text[1024];
  const int file = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  const ssize_t got = read(file, text, sizeof text - 1);
  close(file);
  if (got <= 0) return 0;
  text[got] = '\0';
  const char *at = strrchr(text, ')');
  for (int field = 2; at && field < 20; field++) at = strchr(at + 1, ' ');
  return at ? (int32_t)strtol(at, NULL, 10) : 0;
}

bool dr_runtime_sample(drover_runtime *runtime, uint64_t now_ticks) {
  uint64_t next = atomic_load_explicit(&runtime->next_sample, memory_order_relaxed);
  if (now_ticks < next) return false;
  const uint64_t later = now_ticks + (uint64_t)(100e6 / dr_clock_ns_per_tick);
  if (!atomic_compare_exchange_strong_explicit(&runtime->next_sample, &next, later, memory_order_relaxed,
                                               memory_order_relaxed))
    return false;
  const int32_t threads = count_threads();
  if (threads > atomic_load_explicit(&runtime->max_threads, memory_order_relaxed))
    atomic_store_explicit(&runtime->max_threads, threads, memory_order_relaxed);
  return true;
}
