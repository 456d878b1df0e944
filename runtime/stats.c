/* stats.c: what a runtime has counted: statistics, and the trace on disk. */
#include "runtime/clock.h"
#include "runtime/error.h"
#include "runtime/memory.h"
#include "runtime/runtime.h"

/* Keep calls from beginning, if none is in progress: the count is far below zero meanwhile. */
enum { QUIET = INT32_MIN / 2 };

static drover_status begin_quiet(drover_runtime *runtime, const char *what) {
  int32_t none = 0;
  if (atomic_compare_exchange_strong_explicit(&runtime->num_calls, &none, QUIET, memory_order_acquire,
                                              memory_order_relaxed))
    return DROVER_OK;
  return dr_fail(DROVER_ERROR_STATE, "%s: a run is in progress; call it between runs", what);
}

static void end_quiet(drover_runtime *runtime) {
  atomic_fetch_sub_explicit(&runtime->num_calls, QUIET, memory_order_release);
}

static uint64_t read_counter(const _Atomic uint64_t *counter) {
  return atomic_load_explicit(counter, memory_order_relaxed);
}

static drover_worker_stats read_worker(const dr_worker *worker) {
  const dr_counters *c = &worker->counters;
  return (drover_worker_stats){
      .step_ns = dr_ticks_to_ns(read_counter(&c->ticks[DR_KIND_STEP])),
      .infer_ns = dr_ticks_to_ns(read_counter(&c->ticks[DR_KIND_INFER])),
      .other_ns = dr_ticks_to_ns(read_counter(&c->ticks[DR_KIND_OTHER])),
      .idle_ns = dr_ticks_to_ns(read_counter(&c->ticks[DR_KIND_IDLE])),
      .num_tasks = read_counter(&c->num_tasks),
      .num_claims = read_counter(&c->num_claims),
      .num_stolen = read_counter(&c->num_stolen),
      .num_env_steps = read_counter(&c->num_env_steps),
      .allocated_bytes = read_counter(&c->allocated_bytes),
  };
}

static void add_stats(drover_worker_stats *sum, const drover_worker_stats *s) {
  sum->step_ns += s->step_ns;
  sum->infer_ns += s->infer_ns;
  sum->other_ns += s->other_ns;
  sum->idle_ns += s->idle_ns;
  sum->num_tasks += s->num_tasks;
  sum->num_claims += s->num_claims;
  sum->num_stolen += s->num_stolen;
  sum->num_env_steps += s->num_env_steps;
  sum->allocated_bytes += s->allocated_bytes;
}

drover_status drover_runtime_get_stats(drover_runtime *runtime, drover_runtime_stats *out) {
  const drover_status status = dr_runtime_check(runtime, "runtime get_stats");
  if (status != DROVER_OK) return status;
  if (!out || out->size != sizeof *out)
    return dr_fail(DROVER_ERROR_ARGUMENT, "runtime get_stats: set out->size to sizeof(drover_runtime_stats), %zu",
                   sizeof *out);
  *out = (drover_runtime_stats){.size = sizeof *out,
                                .num_workers = runtime->num_workers,
                                .max_threads = atomic_load_explicit(&runtime->max_threads, memory_order_relaxed),
                                .has_heaps = dr_heap_available()};
  for (int32_t w = 0; w < runtime->num_workers; w++) {
    const drover_worker_stats s = read_worker(&runtime->workers[w]);
    out->num_joined += s.num_tasks > 0;
    add_stats(&out->total, &s);
  }
  return DROVER_OK;
}

drover_status drover_runtime_get_worker_stats(drover_runtime *runtime, int32_t worker, drover_worker_stats *out) {
  const drover_status status = dr_runtime_check(runtime, "runtime get_worker_stats");
  if (status != DROVER_OK) return status;
  if (!out || worker < 0 || worker >= runtime->num_workers)
    return dr_fail(DROVER_ERROR_ARGUMENT, "runtime get_worker_stats: worker must be 0..%d, got %d",
                   (int)runtime->num_workers - 1, (int)worker);
  *out = read_worker(&runtime->workers[worker]);
  return DROVER_OK;
}

/* One by one: others may read the counters at any time. */
static void clear_counters(dr_counters *c) {
  for (int kind = 0; kind < DR_NUM_KINDS; kind++) atomic_store_explicit(&c->ticks[kind], 0, memory_order_relaxed);
  _Atomic uint64_t *const others[] = {&c->num_tasks, &c->num_claims, &c->num_stolen, &c->num_env_steps,
                                      &c->allocated_bytes};
  for (size_t i = 0; i < sizeof others / sizeof *others; i++) atomic_store_explicit(others[i], 0, memory_order_relaxed);
}

drover_status drover_runtime_reset_stats(drover_runtime *runtime) {
  drover_status status = dr_runtime_check(runtime, "runtime reset_stats");
  if (status == DROVER_OK) status = begin_quiet(runtime, "runtime reset_stats");
  if (status != DROVER_OK) return status;
  for (int32_t w = 0; w < runtime->num_workers; w++) {
    clear_counters(&runtime->workers[w].counters);
    runtime->workers[w].trace.count = 0;
  }
  atomic_store_explicit(&runtime->max_threads, 0, memory_order_relaxed);
  atomic_store_explicit(&runtime->next_sample, 0, memory_order_relaxed);
  end_quiet(runtime);
  return DROVER_OK;
}

drover_status drover_runtime_save_trace(drover_runtime *runtime, const char *path) {
  drover_status status = dr_runtime_check(runtime, "runtime save_trace");
  if (status != DROVER_OK) return status;
  if (!path) return dr_fail(DROVER_ERROR_ARGUMENT, "runtime save_trace: path must not be NULL");
  if (!runtime->workers[0].trace.events)
    return dr_fail(DROVER_ERROR_STATE,
                   "runtime save_trace: the runtime was created without a trace; set options.trace_events");
  if ((status = begin_quiet(runtime, "runtime save_trace")) != DROVER_OK) return status;
  const dr_trace *traces[DR_MAX_WORKERS];
  for (int32_t w = 0; w < runtime->num_workers; w++) traces[w] = &runtime->workers[w].trace;
  status = dr_trace_save(traces, runtime->num_workers, path);
  end_quiet(runtime);
  return status;
}
