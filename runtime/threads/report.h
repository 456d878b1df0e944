/* report.h: the inside of a snapshot: the arrays behind its view, and the strings they point to. */
#ifndef DR_RUNTIME_THREADS_REPORT_H
#define DR_RUNTIME_THREADS_REPORT_H

#include <drover/threads.h>
#include <stdbool.h>

#include "runtime/threads/census.h"
#include "runtime/threads/cores.h"

/* A string or array that lives as long as the report. */
typedef struct dr_report_memory {
  struct dr_report_memory *next;
  max_align_t bytes[];
} dr_report_memory;

/* Owned by whoever made it; nothing in it is shared until inspect hands it out. */
struct drover_threads_report {
  drover_inspect_options options;
  drover_threads_view view; /* the arrays below, as the caller sees them */
  dr_report_memory *memory;
  bool out_of_memory;
  bool has_drover; /* Drover's library is in the process: its tasks run under the guard */
  dr_census census;
  dr_quotas quotas;
  drover_quota *quota_items;
  drover_thread_library *libraries;
  drover_thread_variable *variables;
  drover_finding *findings;
  size_t num_dropped_libraries;
};

/* A formatted string of the report's; "" without memory (noted in out_of_memory). */
const char *dr_report_text(drover_threads_report *report, const char *format, ...) DROVER_PRINTF(2, 3);

/* Grow one of the arrays by a zeroed item and return it, or NULL (noted). */
void *dr_report_grow(drover_threads_report *report, void **items, int32_t *count, size_t item_size);

/* The value of a variable in the report (NULL = unset or not known). */
const char *dr_report_variable(const drover_threads_report *report, const char *name);

/* Fill in view.variables, view.libraries. */
void dr_report_variables(drover_threads_report *report);
void dr_report_libraries(drover_threads_report *report);

/* Fill in the budget and view.findings, worst first. Everything else must be there. */
void dr_report_findings(drover_threads_report *report);

#endif
