/* statistics.c: medians and quantiles of samples. */
#include "perf/statistics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int compare_doubles(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

double dr_quantile(const double *values, int32_t count, double p) {
  double sorted[DR_STATISTICS_MOST];
  if (count <= 0 || count > DR_STATISTICS_MOST) return NAN;
  memcpy(sorted, values, (size_t)count * sizeof *values);
  qsort(sorted, (size_t)count, sizeof *sorted, compare_doubles);
  const double at = p * (count - 1);
  const int32_t below = (int32_t)at, above = below + 1 < count ? below + 1 : below;
  return sorted[below] + (at - below) * (sorted[above] - sorted[below]);
}

double dr_median(const double *values, int32_t count) { return dr_quantile(values, count, 0.5); }
