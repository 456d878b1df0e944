/* bench.c: the list of cases, and the statistics of samples. */
#include "perf/bench.h"

#include <math.h>
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

static int compare_doubles(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

double dr_quantile(const double *values, int32_t count, double p) {
  double sorted[DR_BENCH_MAX_SAMPLES];
  if (count <= 0 || count > DR_BENCH_MAX_SAMPLES) return NAN;
  memcpy(sorted, values, (size_t)count * sizeof *values);
  qsort(sorted, (size_t)count, sizeof *sorted, compare_doubles);
  const double at = p * (count - 1);
  const int32_t below = (int32_t)at, above = below + 1 < count ? below + 1 : below;
  return sorted[below] + (at - below) * (sorted[above] - sorted[below]);
}

double dr_median(const double *values, int32_t count) { return dr_quantile(values, count, 0.5); }
