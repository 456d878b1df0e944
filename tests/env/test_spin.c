/* test_spin.c: Spin-v0 costs what it is told. Costs are judged by the iterations that are drawn, not by a clock. */
#include <time.h>

#include "env/synthetic/spin.h"
#include "tests/env/harness.h"

/* Opens Spin-v0 with up to 4 arguments "key=value". */
static bool try_open(harness *h, const char *const pairs[], int num_pairs) {
  static char text[4][64];
  drover_env_arg items[4];
  for (int i = 0; i < num_pairs; i++) {
    snprintf(text[i], sizeof text[i], "%s", pairs[i]);
    char *equals = strchr(text[i], '=');
    *equals = '\0';
    items[i] = (drover_env_arg){text[i], equals + 1};
  }
  return harness_try_open(h, "Spin-v0", 1, items, num_pairs);
}

#define OPEN(h, ...)                                                                        \
  do {                                                                                      \
    const char *const pairs[] = {__VA_ARGS__};                                              \
    cr_assert(try_open(h, pairs, (int)(sizeof pairs / sizeof *pairs)), "%s", (h)->message); \
  } while (0)

static uint64_t draw(harness *h, uint64_t step) {
  h->counters[0] = step;
  const drover_env_rows rows = harness_rows(h, DROVER_RANDOM_STEP, 0, 1);
  return dr_spin_draw(h->shared, &rows, 0);
}

/* Mean of `draws` drawn costs and the standard error of it, in units of `cost_us`; and the largest. */
static void measure(harness *h, double cost_us, int draws, double *mean, double *error, double *largest) {
  double sum = 0, squares = 0;
  *largest = 0;
  for (int step = 0; step < draws; step++) {
    const double x = (double)draw(h, (uint64_t)step) / (cost_us * dr_spin_rate());
    sum += x;
    squares += x * x;
    *largest = fmax(*largest, x);
  }
  *mean = sum / draws;
  *error = sqrt(fmax(squares / draws - *mean * *mean, 0) / draws);
}

Test(spin, constant_cost_is_the_same_every_step) {
  harness h;
  OPEN(&h, "cost=20us");
  for (uint64_t step = 0; step < 10; step++) cr_assert_eq(draw(&h, step), (uint64_t)llround(20 * dr_spin_rate()));
  harness_close(&h);
}

Test(spin, mean_cost_is_what_was_asked_for) {
  const struct {
    const char *dist, *shape, *cap;
    double most;
  } cases[] = {{"dist=pareto", "alpha=1.6", "cap=200", 200},  {"dist=pareto", "alpha=1.1", "cap=20", 20},
               {"dist=pareto", "alpha=4", "cap=1000", 1000},  {"dist=pareto", "alpha=1.6", "cap=2", 2},
               {"dist=lognormal", "sigma=1", "cap=200", 200}, {"dist=lognormal", "sigma=0.1", "cap=1.01", 1.01},
               {"dist=lognormal", "sigma=3", "cap=50", 50},   {"dist=lognormal", "sigma=0", "cap=5", 5}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    harness h;
    double mean, error, largest;
    OPEN(&h, "cost=1ms", cases[i].dist, cases[i].shape, cases[i].cap);
    measure(&h, 1000, 100000, &mean, &error, &largest);
    cr_assert_leq(fabs(mean - 1), 5 * error + 1e-5, "%s %s %s: mean %g +- %g", cases[i].dist, cases[i].shape,
                  cases[i].cap, mean, error);
    cr_assert_leq(largest, cases[i].most * 1.0001);
    harness_close(&h);
  }
}

Test(spin, pareto_tail_has_its_shape) {
  /* P(X > x) = (x_m / x)^alpha below the cap: alpha is the inverse of the mean of log(X / x_m) (Hill 1975). */
  enum { DRAWS = 100000 };
  harness h;
  OPEN(&h, "cost=10ms", "dist=pareto", "alpha=1.6", "cap=1000000");
  double least = INFINITY, sum = 0;
  for (uint64_t step = 0; step < DRAWS; step++) least = fmin(least, (double)draw(&h, step));
  for (uint64_t step = 0; step < DRAWS; step++) sum += log((double)draw(&h, step) / least);
  cr_assert_float_eq(DRAWS / sum, 1.6, 5 * 1.6 / sqrt(DRAWS));
  cr_assert_float_eq(least / (1e4 * dr_spin_rate()), 0.6 / 1.6, 1e-3); /* x_m = (alpha - 1) / alpha */
  harness_close(&h);
}

Test(spin, closed_form_of_the_capped_mean_agrees_with_a_sum) {
  for (int dist = DR_SPIN_LOGNORMAL; dist <= DR_SPIN_PARETO; dist++) {
    const double shape = dist == DR_SPIN_PARETO ? 1.6 : 1, scale = 1.7, cap = 4;
    enum { POINTS = 2000000 };
    double sum = 0;
    for (int i = 0; i < POINTS; i++) { /* the midpoint rule over probabilities, or over z and its density */
      const double p = (i + 0.5) / POINTS, z = 20 * p - 10;
      if (dist == DR_SPIN_PARETO)
        sum += fmin(scale * (shape - 1) / shape * pow(p, -1 / shape), cap) / POINTS;
      else
        sum += fmin(scale * exp(shape * z - shape * shape / 2), cap) * exp(-z * z / 2) / sqrt(2 * M_PI) * 20 / POINTS;
    }
    cr_assert_float_eq(dr_spin_capped_mean((dr_spin_dist)dist, shape, scale, cap), sum, 1e-6, "dist %d: %.9f %.9f",
                       dist, dr_spin_capped_mean((dr_spin_dist)dist, shape, scale, cap), sum);
  }
}

Test(spin, costs_are_a_function_of_seed_env_and_step) {
  harness h;
  OPEN(&h, "dist=lognormal");
  const uint64_t first = draw(&h, 3);
  cr_assert_neq(draw(&h, 4), first);
  cr_assert_eq(draw(&h, 3), first);
  h.seed++;
  cr_assert_neq(draw(&h, 3), first);
  harness_close(&h);
}

Test(spin, calibration_is_within_a_factor_of_two_of_the_clock) {
  /* The fastest of many short runs, as in the calibration: others may be using the machine. */
  const double rate = dr_spin_rate();
  double fastest = INFINITY;
  for (int run = 0; run < 200; run++) {
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    dr_spin((uint64_t)(100 * rate));
    clock_gettime(CLOCK_MONOTONIC, &end);
    fastest = fmin(fastest, (double)(end.tv_sec - begin.tv_sec) * 1e6 + (double)(end.tv_nsec - begin.tv_nsec) / 1e3);
  }
  cr_assert(fastest > 50 && fastest < 200, "100 us took %g us", fastest);
}

Test(spin, trajectory_does_not_depend_on_the_cost) {
  harness cheap, dear;
  OPEN(&cheap, "cost=0");
  OPEN(&dear, "cost=5us", "dist=pareto", "reset_cost=10us");
  harness_reset(&cheap, 0, 0), harness_reset(&dear, 0, 0);
  uint64_t random = test_seed();
  int rewarded = 0;
  for (int step = 0; step < 200; step++) {
    const int action = (int)(test_random(&random) & 1);
    const bool right = (harness_observation(&cheap, 0)[0] >= 0) == (action == 1);
    cr_assert_eq(harness_step_discrete(&cheap, 0, action), 0);
    cr_assert_eq(harness_step_discrete(&dear, 0, action), 0);
    cr_assert_arr_eq(harness_observation(&cheap, 0), harness_observation(&dear, 0), 8 * sizeof(float));
    cr_assert_eq(cheap.rewards[0], right ? 1.0f : 0.0f); /* the sign shown before the step is the right action */
    cr_assert_eq(dear.rewards[0], cheap.rewards[0]);
    for (int j = 0; j < 8; j++) cr_assert_leq(fabsf(harness_observation(&cheap, 0)[j]), 1);
    rewarded += right;
  }
  cr_assert(rewarded > 50 && rewarded < 150);
  harness_close(&cheap), harness_close(&dear);
}

Test(spin, the_action_shows_in_the_next_observation) {
  harness h;
  OPEN(&h, "cost=0");
  float after[2][8];
  for (int action = 0; action < 2; action++) {
    harness_reset(&h, 0, 0);
    harness_step_discrete(&h, 0, action);
    memcpy(after[action], harness_observation(&h, 0), sizeof after[action]);
  }
  for (int j = 0; j < 8; j++) cr_assert_neq(after[0][j], after[1][j]);
  harness_close(&h);
}

Test(spin, arguments_shape_the_env) {
  harness h;
  OPEN(&h, "observation_size=3", "max_episode_steps=7");
  cr_assert_eq(h.spec.observation_size, 3);
  cr_assert_eq(h.spec.max_episode_steps, 7);
  harness_close(&h);
  OPEN(&h, "cost=1500ns");
  cr_assert_eq(h.spec.max_episode_steps, 1000);
  const uint64_t in_ns = draw(&h, 0);
  harness_close(&h);
  OPEN(&h, "cost=1.5us");
  cr_assert_eq(draw(&h, 0), in_ns);
  harness_close(&h);
  OPEN(&h, "cost=0.0015ms");
  cr_assert_leq(draw(&h, 0) - in_ns + 1, 2); /* 0.0015 * 1000 may round */
  harness_close(&h);
}

Test(spin, malformed_arguments_are_refused_by_name) {
  const char *const bad[] = {"cost=20",
                             "cost=us",
                             "cost=-1us",
                             "cost=20 us",
                             "cost=11s",
                             "cost=nanus",
                             "cost=infs",
                             "cost=",
                             "dist=normal",
                             "alpha=1",
                             "alpha=x",
                             "sigma=-1",
                             "cap=1",
                             "cap=nan",
                             "reset_cost=5",
                             "observation_size=0",
                             "observation_size=2.5",
                             "max_episode_steps=-1"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    harness h;
    cr_assert(!try_open(&h, &bad[i], 1), "%s was accepted", bad[i]);
    cr_assert_eq(strncmp(h.message, bad[i], strcspn(bad[i], "=")), 0, "%s: '%s'", bad[i], h.message);
  }
}
