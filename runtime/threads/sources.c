/* sources.c: what a report says about libraries and variables: read in this process, or through /proc in another. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/threads/guard.h"
#include "runtime/threads/maps.h"
#include "runtime/threads/procfs.h"
#include "runtime/threads/report.h"
#include "runtime/threads/rules.h"
#include "runtime/threads/variables.h"

static drover_thread_library *add_library(drover_threads_report *report) {
  return dr_report_grow(report, (void **)&report->libraries, &report->view.num_libraries, sizeof *report->libraries);
}

/* This process: the guard's own list, and what each call says on this thread. */
static void add_own_libraries(drover_threads_report *report) {
  dr_library_list list;
  dr_guard_get_libraries(&list);
  report->num_dropped_libraries = list.num_dropped;
  for (size_t i = 0; i < list.count; i++) {
    const dr_library *library = list.items[i];
    drover_thread_library *to = add_library(report);
    if (to == NULL) return;
    *to = (drover_thread_library){.kind = library->kind,
                                  .path = dr_report_text(report, "%s", library->path),
                                  .version = dr_report_text(report, "%s", library->version),
                                  .detail = dr_report_text(report, "%s", library->detail),
                                  .limit = dr_library_limit(library),
                                  .scope = library->scope,
                                  .guarded = dr_guard_limits(library),
                                  .regions = library->has_thread_levels};
  }
}

static void visit_file(void *user, const char *path) {
  drover_threads_report *report = user;
  const char *slash = strrchr(path, '/');
  if (strncmp(slash + 1, "libdrover.so", strlen("libdrover.so")) == 0 || strcmp(slash + 1, "drover") == 0)
    report->has_drover = true;
  const dr_library_rule *rule = dr_library_rule_of(path);
  if (rule == NULL) return;
  for (int32_t i = 0; i < report->view.num_libraries; i++)
    if (strcmp(report->libraries[i].path, path) == 0) return;
  drover_thread_library *to = add_library(report);
  if (to == NULL) return;
  char version[64];
  dr_library_version_of(path, version, sizeof version);
  const bool openmp = strstr(path, "openmp") != NULL, pthreads = strstr(path, "pthread") != NULL;
  *to = (drover_thread_library){.kind = rule->kind,
                                .path = dr_report_text(report, "%s", path),
                                .version = dr_report_text(report, "%s", version),
                                .detail = openmp     ? "OpenMP"
                                          : pthreads ? "pthreads"
                                                     : "",
                                .scope = rule->kind <= DROVER_LIBRARY_MKL   ? DROVER_SCOPE_THREAD
                                         : rule->kind == DROVER_LIBRARY_TBB ? DROVER_SCOPE_ARENA
                                         : openmp                           ? DROVER_SCOPE_OPENMP
                                         : pthreads                         ? DROVER_SCOPE_PROCESS
                                                                            : DROVER_SCOPE_UNKNOWN};
}

void dr_report_libraries(drover_threads_report *report) {
  if (report->options.pid == 0) {
    report->has_drover = true;
    add_own_libraries(report);
    return;
  }
  if (dr_maps_walk(report->options.filesystem_root, report->options.pid, visit_file, report) != 0)
    report->view.libraries_known = 0;
  for (int32_t i = 0; i < report->view.num_libraries; i++)
    report->libraries[i].guarded = report->has_drover && report->libraries[i].scope == DROVER_SCOPE_THREAD;
}

static void add_variable(drover_threads_report *report, const drover_thread_variable *row, const char *value) {
  drover_thread_variable *to =
      dr_report_grow(report, (void **)&report->variables, &report->view.num_variables, sizeof *to);
  if (to == NULL) return;
  *to = *row;
  if (value != NULL) to->value = dr_report_text(report, "%s", value);
}

/* This process's environment in the form of /proc/PID/environ: what setenv did since the start counts too. */
static char *copy_own_environment(size_t *length) {
  *length = 0;
  for (char **at = environ; at != NULL && *at != NULL; at++) *length += strlen(*at) + 1;
  char *copy = malloc(*length + 1), *to = copy;
  if (copy == NULL) return NULL;
  for (char **at = environ; at != NULL && *at != NULL; at++) to = stpcpy(to, *at) + 1;
  *to = '\0';
  return copy;
}

void dr_report_variables(drover_threads_report *report) {
  const drover_inspect_options *options = &report->options;
  size_t length = 0;
  char *environment = options->pid == 0 && options->filesystem_root == NULL
                          ? copy_own_environment(&length)
                          : dr_procfs_read_of(options->filesystem_root, options->pid, "environ", &length);
  if (environment == NULL) report->view.environment_known = 0;
  drover_thread_variable row;
  for (int32_t i = 0; dr_variable_at(i, &row); i++)
    add_variable(report, &row, environment == NULL ? NULL : dr_environ_find(environment, length, row.name));

  /* Relatives that somebody has set (KMP_HW_SUBSET and the like) are shown without a meaning. */
  for (char *at = environment; at != NULL && at < environment + length; at += strlen(at) + 1) {
    const char *equals = strchr(at, '=');
    if (equals == NULL) continue;
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)(equals - at < 63 ? equals - at : 63), at);
    if (!dr_variable_is_relative(name)) continue;
    add_variable(report, &(drover_thread_variable){.name = dr_report_text(report, "%s", name), .meaning = ""},
                 equals + 1);
  }
  free(environment);
}
