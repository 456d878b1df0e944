/* scaling_trend.c: what follows from measured rates: ratios within rounds, and whether steps/s fall with N. */
#include <math.h>

#include "perf/scaling.h"

double dr_rates_ratio(const dr_rates *a, const dr_rates *b, double times) {
  double ratios[DR_BENCH_MAX_SAMPLES];
  const int32_t count = a->count < b->count ? a->count : b->count;
  for (int32_t i = 0; i < count; i++) ratios[i] = a->values[i] / (times * b->values[i]);
  return dr_median(ratios, count);
}

/* Twice the standard error of the median of a / b over the rounds, by the distance of the quartiles (1.349 standard
 * deviations of a normal distribution, whose median has 1.2533 times the standard error of the mean). */
static double noise_of(const dr_rates *a, const dr_rates *b) {
  double ratios[DR_BENCH_MAX_SAMPLES];
  const int32_t count = a->count < b->count ? a->count : b->count;
  for (int32_t i = 0; i < count; i++) ratios[i] = a->values[i] / b->values[i];
  const double between = dr_quantile(ratios, count, 0.75) - dr_quantile(ratios, count, 0.25);
  return 2 * 1.2533 * between / 1.349 / sqrt(count);
}

dr_trend dr_scaling_trend(const dr_scaling *scaling, const dr_scaling_request *request, int32_t index) {
  static const double negligible = 0.02;
  const int32_t last = request->num_points - 1;
  const dr_scaling_point *points = scaling->points;
#define RATES(p) (index < 0 ? &points[p].one : &points[p].all[index])
  dr_trend trend = {.change = dr_rates_ratio(RATES(last), RATES(0), 1),
                    .noise = noise_of(RATES(last), RATES(0)),
                    .lowest = 1,
                    .lowest_envs = points[0].num_envs};
  for (int32_t p = 1; p <= last; p++) {
    const double relative = dr_rates_ratio(RATES(p), RATES(0), 1);
    if (relative >= trend.lowest) continue;
    trend.lowest = relative;
    trend.lowest_envs = points[p].num_envs;
  }
#undef RATES
  const double margin = fmax(trend.noise, negligible);
  trend.word = trend.change > 1 + margin ? "rise" : trend.change < 1 - margin ? "fall" : "flat";
  return trend;
}
