/* bench.c: the list of cases, and their messages. */
#include "perf/bench.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void dr_case_add(dr_case_list *list, dr_case c, const char *format, ...) {
  if (list->count == list->capacity) {
    const int32_t capacity = list->capacity ? list->capacity * 2 : 64;
    dr_case *items = realloc(list->items, (size_t)capacity * sizeof *items);
    if (!items) {
      list->failed = true;
      return;
    }
    list->items = items;
    list->capacity = capacity;
  }
  va_list args;
  va_start(args, format);
  vsnprintf(c.name, sizeof c.name, format, args);
  va_end(args);
  list->items[list->count++] = c;
}

void dr_cases_add_all(dr_case_list *list) {
  dr_cases_add_classic(list);
  dr_cases_add_ratio(list);
  dr_cases_add_infer(list);
  dr_cases_add_spin(list);
  dr_cases_add_parts(list);
  dr_cases_add_mujoco(list);
  dr_cases_add_learn(list);
  dr_cases_add_inner(list);
}

int dr_bench_fail(dr_bench *bench, const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(bench->message, sizeof bench->message, format, args);
  va_end(args);
  return -1;
}

int dr_bench_fail_status(dr_bench *bench, const char *what, drover_status status) {
  const char *sentence = drover_last_error();
  return dr_bench_fail(bench, "%s: %s", what, sentence[0] ? sentence : drover_status_meaning(status));
}
