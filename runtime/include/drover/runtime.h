/* runtime.h: the runtime: a task arena sized to the cores really available, its workers, heaps and counters. */
#ifndef DROVER_RUNTIME_H
#define DROVER_RUNTIME_H

#include <drover/base.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct drover_runtime drover_runtime;

/* Called around every root task on the thread that runs it: limit what this thread may start, and undo it. */
typedef struct drover_task_guard {
  void (*enter)(void *user, void *saved); /* saved: 256 bytes of this task's stack, 16-byte aligned, for leave */
  void (*leave)(void *user, void *saved);
  void *user;
} drover_task_guard;

typedef struct drover_runtime_options {
  size_t size;          /* set by init */
  int32_t num_workers;  /* threads that may run at once, the caller's among them; 0 = the environment variable
                           DROVER_WORKERS if it is set, else the usable cores */
  const char *cpus;     /* pin workers to these CPUs in turn, "0-7,16"; NULL = leave the threads' masks alone */
  int32_t numa_node;    /* keep the workers on this NUMA node; -1 = anywhere */
  int32_t trace_events; /* events kept a worker for drover_runtime_save_trace; 0 = no trace */
  int32_t forbid_oversubscription; /* 1: create fails if workers, and threads that loaded libraries add, exceed
                                      the usable cores */
  const char *filesystem_root;     /* where /proc and /sys are looked up, for tests; NULL = "/" */
  const drover_task_guard *guard;  /* NULL = the built-in guard of threads.h; copied. One that wraps it must
                                     call drover_threads_rescan itself when libraries were loaded */
} drover_runtime_options;

/* What one worker did since the runtime was created or its statistics were reset. Times in nanoseconds. */
typedef struct drover_worker_stats {
  uint64_t step_ns;         /* inside env functions */
  uint64_t infer_ns;        /* inside policy functions */
  uint64_t other_ns;        /* row ends, sampling bookkeeping, scheduling */
  uint64_t idle_ns;         /* inside a run with nothing to do */
  uint64_t num_tasks;       /* root tasks run */
  uint64_t num_claims;      /* ranges of rows claimed */
  uint64_t num_stolen;      /* of them, by a worker other than the one that ran the shard's last phase */
  uint64_t num_env_steps;   /* env steps done */
  uint64_t allocated_bytes; /* bytes malloc handed to the worker's thread inside tasks (jemalloc only, else 0) */
} drover_worker_stats;

typedef struct drover_runtime_stats {
  size_t size;         /* set by the caller to sizeof(drover_runtime_stats) */
  int32_t num_workers; /* the arena's size */
  int32_t num_joined;  /* workers that have run a task since the last reset of the statistics */
  int32_t max_threads; /* most threads the process was seen to have (sampled at most every 100 ms) */
  int32_t has_heaps;   /* 1 if malloc is jemalloc: each worker then has a heap of its own, and bytes are counted */
  drover_worker_stats total; /* the sum over all workers */
} drover_runtime_stats;

DROVER_API drover_status drover_runtime_options_init(drover_runtime_options *options, size_t size);

/* options may be NULL. The caller owns the runtime; batches and policies made from it must be destroyed first
 * (else destroy returns DROVER_ERROR_STATE and does nothing). Any thread. */
DROVER_API drover_status drover_runtime_create(drover_runtime **out, const drover_runtime_options *options);
DROVER_API drover_status drover_runtime_destroy(drover_runtime *runtime);

/* Stop every call in progress at its next shard-step; they return DROVER_ERROR_CANCELLED. Calls that begin later are
 * not affected. One atomic addition: any thread, also a signal handler. */
DROVER_API void drover_runtime_cancel(drover_runtime *runtime);

/* Read the counters without disturbing the workers; a running total may be a step old. Any thread. */
DROVER_API drover_status drover_runtime_get_stats(drover_runtime *runtime, drover_runtime_stats *out);
DROVER_API drover_status drover_runtime_get_worker_stats(drover_runtime *runtime, int32_t worker,
                                                         drover_worker_stats *out);
/* Begin counting anew. Not while a run is in progress (DROVER_ERROR_STATE). */
DROVER_API drover_status drover_runtime_reset_stats(drover_runtime *runtime);

/* Write what the workers did as Chrome trace-event JSON (ui.perfetto.dev opens it). Needs trace_events > 0. */
DROVER_API drover_status drover_runtime_save_trace(drover_runtime *runtime, const char *path);

#ifdef __cplusplus
}
#endif
#endif
