/* trace.c: the Chrome trace-event file (complete events, "ph":"X", microseconds). */
#include "runtime/trace.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/clock.h"
#include "runtime/error.h"

static const char *const kind_names[DR_NUM_KINDS] = {"step", "infer", "other", "idle"};

static uint64_t first_kept(const dr_trace *trace) {
  return trace->count > (uint64_t)trace->capacity ? trace->count - (uint64_t)trace->capacity : 0;
}

/* Ticks as microseconds with three digits, whatever the host's locale has for a decimal point. */
static void write_us(FILE *file, const char *key, uint64_t ticks) {
  const uint64_t ns = dr_ticks_to_ns(ticks);
  fprintf(file, "\"%s\":%" PRIu64 ".%03u,", key, ns / 1000, (unsigned)(ns % 1000));
}

static void write_worker(FILE *file, const dr_trace *trace, int32_t worker, uint64_t origin) {
  fprintf(file,
          ",\n{\"ph\":\"M\",\"pid\":1,\"tid\":%" PRId32 ",\"name\":\"thread_name\",\"args\":{\"name\":\"worker %" PRId32
          "%s\"}}",
          worker, worker, worker == 0 ? " (caller)" : "");
  for (uint64_t i = first_kept(trace); i < trace->count; i++) {
    const dr_event *e = &trace->events[i % (uint64_t)trace->capacity];
    fprintf(file, ",\n{\"ph\":\"X\",\"pid\":1,\"tid\":%" PRId32 ",\"name\":\"%s\",", worker, kind_names[e->kind]);
    write_us(file, "ts", e->begin - origin);
    write_us(file, "dur", e->end - e->begin);
    fprintf(file, "\"args\":{\"shard\":%" PRId32 ",\"step\":%" PRId64 ",\"rows\":%" PRId32 "}}", e->shard, e->step,
            e->rows);
  }
}

static bool write_file(FILE *file, const dr_trace *const *traces, int32_t num_workers) {
  uint64_t origin = UINT64_MAX, lost = 0;
  for (int32_t w = 0; w < num_workers; w++) {
    const dr_trace *trace = traces[w];
    const uint64_t first = first_kept(trace);
    lost += first;
    if (first < trace->count) {
      const uint64_t begin = trace->events[first % (uint64_t)trace->capacity].begin;
      if (begin < origin) origin = begin;
    }
  }
  fprintf(file,
          "{\"displayTimeUnit\":\"ns\",\"otherData\":{\"events_overwritten\":\"%" PRIu64 "\"},\"traceEvents\":[\n",
          lost);
  fprintf(file, "{\"ph\":\"M\",\"pid\":1,\"name\":\"process_name\",\"args\":{\"name\":\"drover\"}}");
  for (int32_t w = 0; w < num_workers; w++) write_worker(file, traces[w], w, origin);
  fprintf(file, "\n]}\n");
  const bool failed = ferror(file) != 0;
  return fclose(file) == 0 && !failed;
}

drover_status dr_trace_save(const dr_trace *const *traces, int32_t num_workers, const char *path) {
  /* A file of another name takes the place of an earlier trace when it is whole; a device is written to directly. */
  struct stat about;
  const bool is_file = stat(path, &about) != 0 || S_ISREG(about.st_mode);
  const size_t name_bytes = strlen(path) + 32;
  char *name = malloc(name_bytes);
  if (!name) return dr_fail(DROVER_ERROR_NO_MEMORY, "trace: no memory to write '%s'", path);
  if (is_file)
    snprintf(name, name_bytes, "%s.%ld.tmp", path, (long)getpid());
  else
    snprintf(name, name_bytes, "%s", path);
  FILE *file = fopen(name, "w");
  drover_status status = DROVER_OK;
  if (!file)
    status = dr_fail(DROVER_ERROR_IO, "trace: cannot write '%s': %s", path, strerror(errno));
  else if (!write_file(file, traces, num_workers) || (is_file && rename(name, path) != 0))
    status = dr_fail(DROVER_ERROR_IO, "trace: writing '%s' failed: %s", path, strerror(errno));
  if (file && status != DROVER_OK && is_file) unlink(name);
  free(name);
  return status;
}
