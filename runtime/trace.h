/* trace.h: what each worker did when, kept in memory and written as Chrome trace-event JSON. */
#ifndef DR_RUNTIME_TRACE_H
#define DR_RUNTIME_TRACE_H

#include <drover/base.h>

#include "runtime/types.h"

typedef struct dr_event {
  uint64_t begin, end; /* clock ticks */
  int32_t shard;
  int32_t rows;
  int64_t step;
  dr_kind kind;
} dr_event;

/* One worker's events, a ring: the latest `capacity` are kept. Written by the worker, read when no run is on. */
typedef struct dr_trace {
  dr_event *events; /* NULL = no trace */
  int32_t capacity;
  uint64_t count; /* events ever recorded */
} dr_trace;

static inline void dr_trace_add(dr_trace *trace, dr_kind kind, uint64_t begin, uint64_t end, int32_t shard,
                                int32_t rows, int64_t step) {
  if (!trace->events) return;
  trace->events[trace->count++ % (uint64_t)trace->capacity] =
      (dr_event){.begin = begin, .end = end, .shard = shard, .rows = rows, .step = step, .kind = kind};
}

/* Write the traces of num_workers workers (traces[i] is worker i's) to path. */
drover_status dr_trace_save(const dr_trace *const *traces, int32_t num_workers, const char *path);

#endif
