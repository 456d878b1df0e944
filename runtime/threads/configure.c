/* configure.c: what an entry point does once: set the threading variables that are unset. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/error.h"
#include "runtime/threads/census.h"
#include "runtime/threads/guard.h"
#include "runtime/threads/rules.h"

/* Append " NAME=VALUE" while it fits. */
static void append(char *list, size_t list_size, const char *name, const char *value) {
  const size_t used = strlen(list);
  snprintf(list + used, list_size - used, "%s%s=%s", used == 0 ? "" : " ", name, value);
}

/* A runtime that has read its variables already: they are read when it loads or is first used. */
static const dr_library *find_reader(const dr_library_list *libraries) {
  for (size_t i = 0; i < libraries->count; i++) {
    const dr_library *library = libraries->items[i];
    if (library->kind <= DROVER_LIBRARY_BLIS) return library;
  }
  return NULL;
}

/* Changing the environment while another thread reads it is undefined behaviour, and a runtime that is loaded would
 * not notice: both are "too late", and both are a state and not an error. */
static bool is_too_late(drover_threads_configuration *out) {
  dr_library_list libraries;
  dr_guard_get_libraries(&libraries);
  const dr_library *reader = find_reader(&libraries);
  if (reader != NULL) {
    snprintf(out->reason, sizeof out->reason,
             "%s is loaded and has read its variables; configure before it loads, or start with: drover exec -- CMD",
             drover_library_kind_name(reader->kind));
    return true;
  }
  dr_census census = {0, 0, NULL};
  const drover_status status = dr_census_take(NULL, 0, false, &census);
  const size_t count = census.count;
  dr_census_free(&census);
  if (status == DROVER_OK && count <= 1) return false;
  if (status == DROVER_OK)
    snprintf(out->reason, sizeof out->reason,
             "the process has %zu threads; configure first thing in main, or start with: drover exec -- CMD", count);
  else
    snprintf(out->reason, sizeof out->reason,
             "it cannot be seen whether other threads exist (/proc is not readable); start with: drover exec -- CMD");
  return true;
}

drover_status drover_threads_configure(drover_threads_configuration *out) {
  drover_threads_configuration result = {.size = sizeof result, .state = DROVER_THREADS_ALREADY_CONFIGURED};
  if (out != NULL && out->size != sizeof *out)
    return dr_fail(DROVER_ERROR_ARGUMENT,
                   "threads: out->size must be sizeof(drover_threads_configuration) = %zu, got %zu", sizeof *out,
                   out->size);
  int32_t num_unset = 0;
  const char *value = NULL;
  for (int32_t i = 0; drover_threads_default_at(i, &value) != NULL; i++) {
    const char *name = drover_threads_default_at(i, &value);
    const char *present = getenv(name);
    if (present == NULL) {
      num_unset++;
      continue;
    }
    result.num_kept++;
    append(result.kept, sizeof result.kept, name, present);
  }

  if (num_unset > 0) result.state = is_too_late(&result) ? DROVER_THREADS_TOO_LATE : DROVER_THREADS_CONFIGURED;
  for (int32_t i = 0; result.state == DROVER_THREADS_CONFIGURED && drover_threads_default_at(i, &value) != NULL; i++) {
    const char *name = drover_threads_default_at(i, &value);
    if (getenv(name) != NULL) continue;
    if (setenv(name, value, 0) != 0) return dr_fail(DROVER_ERROR_NO_MEMORY, "threads: no memory to set %s", name);
    result.num_set++;
    append(result.set, sizeof result.set, name, value);
  }
  if (out != NULL) *out = result;
  return DROVER_OK;
}
