/* report.c: a snapshot of this process or another one: cores, threads, libraries, variables, findings. */
#include "runtime/threads/report.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "runtime/error.h"
#include "runtime/threads/procfs.h"

const char *dr_report_text(drover_threads_report *report, const char *format, ...) {
  va_list args;
  va_start(args, format);
  char *text = NULL;
  const int length = vasprintf(&text, format, args);
  va_end(args);
  dr_report_memory *kept = length < 0 ? NULL : malloc(sizeof *kept + (size_t)length + 1);
  if (kept != NULL) {
    memcpy(kept->bytes, text, (size_t)length + 1);
    kept->next = report->memory;
    report->memory = kept;
  }
  if (length >= 0) free(text);
  report->out_of_memory |= kept == NULL;
  return kept == NULL ? "" : (const char *)kept->bytes;
}

void *dr_report_grow(drover_threads_report *report, void **items, int32_t *count, size_t item_size) {
  char *larger = realloc(*items, ((size_t)*count + 1) * item_size);
  if (larger == NULL) {
    report->out_of_memory = true;
    return NULL;
  }
  *items = larger;
  return memset(larger + (size_t)(*count)++ * item_size, 0, item_size);
}

const char *dr_report_variable(const drover_threads_report *report, const char *name) {
  for (int32_t i = 0; i < report->view.num_variables; i++)
    if (strcmp(report->variables[i].name, name) == 0) return report->variables[i].value;
  return NULL;
}

drover_status drover_inspect_options_init(drover_inspect_options *options, size_t size) {
  if (options == NULL) return dr_fail(DROVER_ERROR_ARGUMENT, "inspect: options must not be NULL");
  if (size != sizeof *options)
    return dr_fail(DROVER_ERROR_ARGUMENT, "inspect: size must be sizeof(drover_inspect_options) = %zu, got %zu",
                   sizeof *options, size);
  *options = (drover_inspect_options){.size = size, .parts = DROVER_INSPECT_ALL, .sample_ms = 200};
  return DROVER_OK;
}

/* The command line: arguments end with NUL, and anything that a terminal would act on becomes '?'. */
static void read_command(drover_threads_report *report) {
  size_t length = 0;
  char *text = dr_procfs_read_of(report->options.filesystem_root, report->options.pid, "cmdline", &length);
  report->view.command = "";
  if (text == NULL) return;
  while (length > 0 && text[length - 1] == '\0') length--;
  for (size_t i = 0; i < length; i++)
    if (text[i] == '\0')
      text[i] = ' ';
    else if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
      text[i] = '?';
  report->view.command = dr_report_text(report, "%.*s", (int)(length < 4096 ? length : 4096), text);
  free(text);
}

/* Usable cores: this thread's mask, or the other process's main thread's. */
static drover_status read_cores(drover_threads_report *report) {
  const drover_inspect_options *options = &report->options;
  int32_t affinity =
      options->pid == 0 ? dr_cores_affinity(0) : dr_census_affinity_of(options->filesystem_root, options->pid);
  if (options->pid != 0 && affinity == 0) affinity = dr_cores_affinity(options->pid);
  if (affinity < 0) return dr_fail(DROVER_ERROR_IO, "inspect: the affinity mask cannot be read: %s", strerror(errno));
  dr_cores_quotas(options->filesystem_root, options->pid, &report->quotas);
  report->view.cores.size = sizeof report->view.cores;
  dr_cores_decide(affinity, &report->quotas, &report->view.cores);
  for (size_t i = 0; i < report->quotas.count; i++) {
    drover_quota *quota =
        dr_report_grow(report, (void **)&report->quota_items, &report->view.num_quotas, sizeof *quota);
    if (quota != NULL) *quota = (drover_quota){report->quotas.items[i].path, report->quotas.items[i].cores};
  }
  return DROVER_OK;
}

/* Look every 10 ms how many threads want to run. Not for this process: it would count itself. */
static drover_status sample_runnable(drover_threads_report *report) {
  const drover_inspect_options *options = &report->options;
  if (options->pid == 0 || options->sample_ms <= 0) return DROVER_OK;
  enum { INTERVAL_MS = 10 };
  dr_census sample = {0, 0, NULL};
  double sum = 0.0;
  int32_t num_samples = 0;
  for (int32_t ms = 0; ms < options->sample_ms; ms += INTERVAL_MS) {
    if (dr_census_take(options->filesystem_root, options->pid, false, &sample) != DROVER_OK) break; /* it has ended */
    const int32_t runnable = dr_census_runnable(&sample);
    sum += runnable;
    num_samples++;
    if (runnable > report->view.runnable_max) report->view.runnable_max = runnable;
    nanosleep(&(struct timespec){0, INTERVAL_MS * 1000000L}, NULL);
  }
  dr_census_free(&sample);
  if (num_samples > 0) report->view.runnable_mean = sum / num_samples;
  return DROVER_OK;
}

static drover_status check_options(const drover_inspect_options *options) {
  if (options->size != sizeof *options)
    return dr_fail(DROVER_ERROR_ARGUMENT,
                   "inspect: options->size must be sizeof(drover_inspect_options) = %zu (use its init), got %zu",
                   sizeof *options, options->size);
  if (options->pid < 0)
    return dr_fail(DROVER_ERROR_ARGUMENT, "inspect: pid must be 0 or positive, got %d", options->pid);
  if (options->parts < 1 || options->parts > DROVER_INSPECT_ALL)
    return dr_fail(DROVER_ERROR_ARGUMENT, "inspect: parts must be 1..%d, got %d", DROVER_INSPECT_ALL, options->parts);
  if (options->num_workers < 0 || options->num_workers > 65536)
    return dr_fail(DROVER_ERROR_ARGUMENT, "inspect: num_workers must be 0..65536, got %d", options->num_workers);
  if (options->sample_ms < 0 || options->sample_ms > 60000)
    return dr_fail(DROVER_ERROR_ARGUMENT, "inspect: sample_ms must be 0..60000, got %d", options->sample_ms);
  return DROVER_OK;
}

drover_status drover_threads_inspect(drover_threads_report **out, const drover_inspect_options *options) {
  if (out == NULL) return dr_fail(DROVER_ERROR_ARGUMENT, "inspect: out must not be NULL");
  *out = NULL;
  drover_inspect_options defaults;
  drover_inspect_options_init(&defaults, sizeof defaults);
  if (options == NULL) options = &defaults;
  drover_status status = check_options(options);
  if (status != DROVER_OK) return status;

  drover_threads_report *report = calloc(1, sizeof *report);
  if (report == NULL) return dr_fail(DROVER_ERROR_NO_MEMORY, "inspect: no memory");
  report->options = *options;
  if (options->pid == getpid()) report->options.pid = 0;
  drover_threads_view *view = &report->view;
  view->size = sizeof *view;
  view->pid = options->pid == 0 ? getpid() : options->pid;
  view->environment_known = view->libraries_known = 1;
  view->command = "";

  /* The census comes first, always: it says whether there is such a process at all. */
  status = dr_census_take(options->filesystem_root, report->options.pid,
                          (options->parts & DROVER_INSPECT_SWITCHES) != 0, &report->census);
  if (status == DROVER_OK && (options->parts & DROVER_INSPECT_CORES) != 0) status = read_cores(report);
  if (status == DROVER_OK && (options->parts & DROVER_INSPECT_LIBRARIES) != 0) dr_report_libraries(report);
  if (status == DROVER_OK && (options->parts & DROVER_INSPECT_VARIABLES) != 0) dr_report_variables(report);
  if (status == DROVER_OK && options->parts == DROVER_INSPECT_ALL) {
    read_command(report);
    sample_runnable(report);
    dr_report_findings(report);
  }
  if (status == DROVER_OK && report->out_of_memory) status = dr_fail(DROVER_ERROR_NO_MEMORY, "inspect: no memory");
  if (status != DROVER_OK) {
    drover_threads_report_destroy(report);
    return status;
  }
  view->num_threads = (int32_t)report->census.count;
  view->threads = report->census.items;
  view->quotas = report->quota_items;
  view->libraries = report->libraries;
  view->variables = report->variables;
  view->findings = report->findings;
  *out = report;
  return DROVER_OK;
}

drover_status drover_threads_report_get_view(const drover_threads_report *report, drover_threads_view *out) {
  if (report == NULL || out == NULL)
    return dr_fail(DROVER_ERROR_ARGUMENT, "report: the report and out must not be NULL");
  if (out->size != sizeof *out)
    return dr_fail(DROVER_ERROR_ARGUMENT, "report: out->size must be sizeof(drover_threads_view) = %zu, got %zu",
                   sizeof *out, out->size);
  *out = report->view;
  return DROVER_OK;
}

void drover_threads_report_destroy(drover_threads_report *report) {
  if (report == NULL) return;
  while (report->memory != NULL) {
    dr_report_memory *next = report->memory->next;
    free(report->memory);
    report->memory = next;
  }
  dr_census_free(&report->census);
  dr_quotas_free(&report->quotas);
  free(report->quota_items);
  free(report->libraries);
  free(report->variables);
  free(report->findings);
  free(report);
}

drover_status drover_threads_check(int32_t num_workers) {
  drover_inspect_options options;
  drover_inspect_options_init(&options, sizeof options);
  options.num_workers = num_workers;
  drover_threads_report *report = NULL;
  drover_status status = drover_threads_inspect(&report, &options);
  if (status != DROVER_OK) return status;
  for (int32_t i = 0; i < report->view.num_findings; i++) {
    const drover_finding *finding = &report->findings[i];
    if (strcmp(finding->code, "oversubscribed") != 0) continue;
    status = dr_fail(DROVER_ERROR_OVERSUBSCRIBED, "threads: %s: %s", finding->text, finding->remedy);
    break;
  }
  drover_threads_report_destroy(report);
  return status;
}

const char *drover_library_kind_name(drover_library_kind kind) {
  switch (kind) {
#define DR_KIND_NAME(name, value, text) \
  case name:                            \
    return text;
    DROVER_LIBRARY_KIND_LIST(DR_KIND_NAME)
#undef DR_KIND_NAME
  }
  return "unknown";
}

const char *drover_limit_scope_name(drover_limit_scope scope) {
  switch (scope) {
    case DROVER_SCOPE_UNKNOWN:
      return "unknown";
    case DROVER_SCOPE_THREAD:
      return "thread";
    case DROVER_SCOPE_OPENMP:
      return "openmp";
    case DROVER_SCOPE_PROCESS:
      return "process";
    case DROVER_SCOPE_ARENA:
      return "arena";
  }
  return "unknown";
}

const char *drover_severity_name(drover_severity severity) {
  switch (severity) {
    case DROVER_SEVERITY_NOTE:
      return "note";
    case DROVER_SEVERITY_WARNING:
      return "warning";
    case DROVER_SEVERITY_ERROR:
      return "error";
  }
  return "unknown";
}
