/* moments.h: running mean and variance of rows, in double, in the order in which they are given. */
#ifndef DR_POLICY_LEARN_MOMENTS_H
#define DR_POLICY_LEARN_MOMENTS_H

#include <drover/base.h>

/* Of each of `size` columns, over `count` rows so far. */
typedef struct dr_moments {
  int32_t size;
  int64_t count;
  double *mean;    /* [size] */
  double *squares; /* [size] sum of (x - mean)^2 */
} dr_moments;

/* No rows yet; size may be 0. */
drover_status dr_moments_init(dr_moments *moments, int32_t size);
void dr_moments_free(dr_moments *moments);
void dr_moments_copy(dr_moments *to, const dr_moments *from); /* of the same size */

/* Begin with a mean and a std [size] that rows of an earlier training gave, as if there had been 2^20 of them; all
 * means 0 and stds 1 are an untrained network's: nothing is begun with then. */
void dr_moments_adopt(dr_moments *moments, const float *mean, const float *std);

/* Take rows [num_rows x size] with valid = 1 ([num_rows], NULL = all), first to last. */
void dr_moments_add(dr_moments *moments, int32_t num_rows, const float *rows, const uint8_t *valid);

/* The same of columns first..first + some - 1 alone, which do not depend on the others; `count` stays as it was. */
void dr_moments_add_columns(dr_moments *moments, int32_t first, int32_t some, int32_t num_rows, const float *rows,
                            const uint8_t *valid);

/* Take one row of a single column. */
void dr_moments_add_one(dr_moments *moments, double x);

/* sqrt(variance + 1e-8) of a column, the variance being the mean square; 1 without rows. */
double dr_moments_std(const dr_moments *moments, int32_t column);

#endif
