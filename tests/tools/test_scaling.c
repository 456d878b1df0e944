/* test_scaling.c: what `drover bench scaling` concludes from rates, and from the sizes of caches. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "perf/caches.h"
#include "perf/scaling.h"

enum { NUM_ROUNDS = 9 };

static dr_scaling scaling;
static const dr_scaling_request request = {
    .num_points = 4, .num_envs = {2, 4, 8, 16}, .num_workers = 1, .workers = {2}, .num_rounds = NUM_ROUNDS};

/* Rates around levels[point]: each round has another, up to twice `noise` away, and no two points the same ones. */
static void fill(const double levels[4], double noise) {
  memset(&scaling, 0, sizeof scaling);
  scaling.num_rounds = NUM_ROUNDS;
  for (int p = 0; p < 4; p++) {
    dr_scaling_point *point = scaling.points + p;
    point->num_envs = request.num_envs[p];
    point->one.count = point->all[0].count = NUM_ROUNDS;
    for (int r = 0; r < NUM_ROUNDS; r++) {
      point->all[0].values[r] = levels[p] * (1 + noise * ((r * (p + 1)) % 5 - 2));
      point->one.values[r] = 100;
    }
  }
}

Test(scaling, equal_rates_are_flat) {
  fill((const double[]){1000, 1000, 1000, 1000}, 0);
  const dr_trend trend = dr_scaling_trend(&scaling, &request, 0);
  cr_assert_str_eq(trend.word, "flat");
  cr_assert_float_eq(trend.change, 1, 1e-12);
  cr_assert_float_eq(trend.noise, 0, 1e-12);
  cr_assert_float_eq(trend.lowest, 1, 1e-12);
}

Test(scaling, a_rise_and_a_fall_are_named_with_their_size) {
  fill((const double[]){1000, 1050, 1080, 1100}, 0);
  dr_trend trend = dr_scaling_trend(&scaling, &request, 0);
  cr_assert_str_eq(trend.word, "rise");
  cr_assert_float_eq(trend.change, 1.1, 1e-12);
  fill((const double[]){1000, 950, 930, 900}, 0.001);
  trend = dr_scaling_trend(&scaling, &request, 0);
  cr_assert_str_eq(trend.word, "fall");
  cr_assert_float_eq(trend.change, 0.9, 0.005);
  cr_assert_eq(trend.lowest_envs, 16);
}

Test(scaling, a_change_within_the_noise_is_flat) {
  fill((const double[]){1000, 1000, 1000, 960}, 0.05);
  const dr_trend trend = dr_scaling_trend(&scaling, &request, 0);
  cr_assert_gt(trend.noise, 0.04);
  cr_assert_str_eq(trend.word, "flat");
}

Test(scaling, a_dip_on_the_way_is_found) {
  fill((const double[]){1000, 1000, 700, 1010}, 0);
  const dr_trend trend = dr_scaling_trend(&scaling, &request, 0);
  cr_assert_str_eq(trend.word, "flat");
  cr_assert_float_eq(trend.lowest, 0.7, 1e-12);
  cr_assert_eq(trend.lowest_envs, 8);
}

Test(scaling, one_worker_has_a_trend_of_its_own) {
  fill((const double[]){1000, 900, 800, 700}, 0);
  cr_assert_str_eq(dr_scaling_trend(&scaling, &request, -1).word, "flat");
}

Test(scaling, ratios_are_taken_within_rounds) {
  /* The machine becomes ten times slower on the way; what is compared does not change. */
  dr_rates a = {.count = 3, .values = {200, 60, 20}}, b = {.count = 3, .values = {100, 30, 10}};
  cr_assert_float_eq(dr_rates_ratio(&a, &b, 2), 1, 1e-12);
  b.count = 0;
  cr_assert_neq(isnan(dr_rates_ratio(&a, &b, 2)), 0);
}

Test(caches, memory_is_held_by_the_smallest_level_that_has_room) {
  const dr_caches caches = {.bytes = {0, 32 << 10, 1 << 20, 16 << 20}, .cpus_sharing = {0, 1, 1, 4}};
  cr_assert_eq(dr_caches_level_holding(&caches, 30e3, 1), 1);
  cr_assert_eq(dr_caches_level_holding(&caches, 60e3, 1), 2);
  cr_assert_eq(dr_caches_level_holding(&caches, 60e3, 2), 1); /* two threads have two L1 caches */
  cr_assert_eq(dr_caches_level_holding(&caches, 8e6, 4), 3);
  cr_assert_eq(dr_caches_level_holding(&caches, 20e6, 4), 0); /* four CPUs share one L3 */
  cr_assert_eq(dr_caches_level_holding(&caches, 20e6, 8), 3); /* eight have two */
}

Test(caches, a_machine_that_does_not_tell_holds_nothing) {
  const dr_caches caches = {{0}, {0}};
  cr_assert_eq(dr_caches_level_holding(&caches, 1, 1), 0);
}

Test(caches, this_machine_is_read_in_order) {
  dr_caches caches;
  dr_caches_read(&caches);
  for (int level = 2; level <= DR_MAX_CACHE_LEVELS; level++)
    if (caches.bytes[level] > 0) cr_assert_gt(caches.bytes[level], caches.bytes[level - 1]);
}
