/* statistics.h: medians and quantiles of samples. */
#ifndef DR_PERF_STATISTICS_H
#define DR_PERF_STATISTICS_H

#include <stdint.h>

enum { DR_STATISTICS_MOST = 1000 }; /* values */

/* The middle of the values (mean of the two middle ones); NAN without any. */
double dr_median(const double *values, int32_t count);

/* The p-quantile (0..1), interpolated between neighbours. */
double dr_quantile(const double *values, int32_t count, double p);

#endif
