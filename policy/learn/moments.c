/* moments.c: running mean and variance (Welford 1962, "Note on a method for calculating corrected sums of squares and
 * products"): no two large numbers are ever subtracted. */
#include "policy/learn/moments.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/error.h"

drover_status dr_moments_init(dr_moments *moments, int32_t size) {
  *moments = (dr_moments){.size = size};
  moments->mean = calloc((size_t)size + 1, sizeof(double));
  moments->squares = calloc((size_t)size + 1, sizeof(double));
  if (moments->mean && moments->squares) return DROVER_OK;
  dr_moments_free(moments);
  return dr_fail(DROVER_ERROR_NO_MEMORY, "moments: no memory for %d columns", (int)size);
}

void dr_moments_free(dr_moments *moments) {
  free(moments->mean);
  free(moments->squares);
  *moments = (dr_moments){0};
}

void dr_moments_copy(dr_moments *to, const dr_moments *from) {
  to->count = from->count;
  memcpy(to->mean, from->mean, (size_t)from->size * sizeof(double));
  memcpy(to->squares, from->squares, (size_t)from->size * sizeof(double));
}

void dr_moments_adopt(dr_moments *moments, const float *mean, const float *std) {
  enum { ADOPTED_ROWS = 1 << 20 };
  for (int32_t k = 0; k < moments->size; k++)
    if (mean[k] != 0.0f || std[k] != 1.0f) moments->count = ADOPTED_ROWS;
  for (int32_t k = 0; k < moments->size && moments->count > 0; k++) {
    moments->mean[k] = (double)mean[k];
    moments->squares[k] = fmax(0, ((double)std[k] * (double)std[k] - 1e-8) * (double)moments->count);
  }
}

void dr_moments_add_columns(dr_moments *moments, int32_t first, int32_t some, int32_t num_rows, const float *rows,
                            const uint8_t *valid) {
  double *restrict mean = moments->mean + first, *restrict squares = moments->squares + first;
  int64_t count = moments->count;
  for (int32_t i = 0; i < num_rows; i++) {
    if (valid && !valid[i]) continue;
    const float *restrict row = rows + (size_t)i * (size_t)moments->size + first;
    const double share = 1.0 / (double)++count;
    for (int32_t k = 0; k < some; k++) {
      const double delta = (double)row[k] - mean[k];
      mean[k] += delta * share;
      squares[k] += delta * ((double)row[k] - mean[k]);
    }
  }
}

void dr_moments_add(dr_moments *moments, int32_t num_rows, const float *rows, const uint8_t *valid) {
  dr_moments_add_columns(moments, 0, moments->size, num_rows, rows, valid);
  for (int32_t i = 0; i < num_rows; i++) moments->count += !valid || valid[i];
}

void dr_moments_add_one(dr_moments *moments, double x) {
  const double delta = x - moments->mean[0];
  moments->mean[0] += delta / (double)++moments->count;
  moments->squares[0] += delta * (x - moments->mean[0]);
}

double dr_moments_std(const dr_moments *moments, int32_t column) {
  return moments->count > 0 ? sqrt(moments->squares[column] / (double)moments->count + 1e-8) : 1.0;
}
