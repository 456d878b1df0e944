/* cases_spin.c: what the scheduler loses: efficiency, METG, overhead.
 *
 * Efficiency = time of a serial loop over the same envs with the same actions / (time of the fused rollout x workers).
 * Both sides evaluate the uniform policy; the loop keeps one row, the rollout fills its buffers. */
#include <math.h>
#include <stdio.h>

#include "perf/subject.h"

static dr_batch_request request_of(const dr_case *c) {
  return (dr_batch_request){
      .env = c->env, .args = c->args, .num_envs = c->num_envs, .shard = c->shard, .chunk = c->chunk, .scalar = true};
}

/* Times of the serial loop over times of the rollout, in pairs. */
static int measure_serial_over_rollout(dr_bench *bench, const dr_case *c, drover_runtime *runtime,
                                       dr_samples *samples) {
  const dr_batch_request request = request_of(c);
  dr_subject *serial = NULL, *rollout = NULL;
  const int failed =
      dr_subject_create_loop(&serial, bench, &request, true) != 0 ||
      dr_subject_create_rollout(&rollout, bench, runtime, &request, &dr_net_uniform, c->num_steps, c->barrier) != 0 ||
      dr_measure_ratio(serial, rollout, true, samples) != 0;
  dr_subject_destroy(serial);
  dr_subject_destroy(rollout);
  return failed ? -1 : 0;
}

static int run_efficiency(dr_bench *bench, const dr_case *c, dr_samples *samples) {
  drover_runtime_stats stats = {.size = sizeof stats};
  drover_runtime_reset_stats(bench->all);
  if (measure_serial_over_rollout(bench, c, bench->all, samples) != 0) return -1;
  drover_runtime_get_stats(bench->all, &stats);
  if (stats.num_joined < bench->num_workers)
    return dr_bench_fail(bench, "only %d of %d workers took part", stats.num_joined, bench->num_workers);
  for (int32_t i = 0; i < samples->count; i++) samples->values[i] /= bench->num_workers;
  return 0;
}

/* ---- METG ---- */

/* Efficiency at one cost: the median of a few pairs of rollouts of about 20 ms a worker, 16 to 256 steps. */
static int efficiency_at(dr_bench *bench, const dr_case *c, double cost_us, double *efficiency) {
  char args[64];
  snprintf(args, sizeof args, "cost=%.4fus", cost_us);
  dr_case at = *c;
  at.args = args;
  const double fitting = 40e3 / (cost_us * c->num_envs);
  at.num_steps = fitting < 16 ? 16 : fitting > 256 ? 256 : (int32_t)fitting;
  dr_samples samples;
  if (run_efficiency(bench, &at, &samples) != 0) return -1;
  *efficiency = dr_median(samples.values, samples.count);
  return 0;
}

/* Minimum effective task granularity (Slaughter et al. 2020, "Task Bench"): the smallest cost that runs at 90 %.
 * Bisection in the logarithm of the cost, then a straight line between the last two. */
static int find_metg(dr_bench *bench, const dr_case *c, double *cost_us) {
  static const double wanted = 0.9;
  double low = 0.02, high = 20, low_efficiency, high_efficiency;
  if (efficiency_at(bench, c, low, &low_efficiency) != 0) return -1;
  if (low_efficiency >= wanted) {
    *cost_us = low;
    return 0;
  }
  if (efficiency_at(bench, c, high, &high_efficiency) != 0) return -1;
  if (high_efficiency < wanted)
    return dr_bench_fail(bench, "even at a cost of %g us the efficiency is %.0f %%", high, high_efficiency * 100);
  while (high / low > 1.2) {
    const double middle = sqrt(low * high);
    double efficiency;
    if (efficiency_at(bench, c, middle, &efficiency) != 0) return -1;
    if (efficiency >= wanted) {
      high = middle;
      high_efficiency = efficiency;
    } else {
      low = middle;
      low_efficiency = efficiency;
    }
  }
  const double part = (wanted - low_efficiency) / (high_efficiency - low_efficiency);
  *cost_us = low * pow(high / low, part);
  return 0;
}

static int run_metg(dr_bench *bench, const dr_case *c, dr_samples *samples) {
  /* A dozen costs are tried in each search: fewer pairs a cost, and several searches instead. */
  dr_bench short_bench = *bench;
  short_bench.sample_s = bench->quick ? 0.004 : 0.02;
  short_bench.num_pairs = bench->quick ? 5 : 9;
  const int32_t searches = bench->quick ? 1 : 3;
  int failed = 0;
  samples->count = 0;
  while (!failed && samples->count < searches) {
    failed = find_metg(&short_bench, c, samples->values + samples->count);
    if (!failed) samples->count++;
  }
  if (failed) dr_bench_fail(bench, "%s", short_bench.message);
  return failed;
}

/* ---- Overhead ---- */

/* What a shard-step costs beyond the envs and the actions: (time x workers - serial time) / shard-steps. */
static int run_overhead(dr_bench *bench, const dr_case *c, dr_samples *samples) {
  const dr_batch_request request = request_of(c);
  drover_runtime *runtime = c->all_workers ? bench->all : bench->one;
  const double workers = c->all_workers ? bench->num_workers : 1;
  dr_subject *serial = NULL, *rollout = NULL;
  dr_samples ratios, rates;
  int failed =
      dr_subject_create_loop(&serial, bench, &request, true) != 0 ||
      dr_subject_create_rollout(&rollout, bench, runtime, &request, &dr_net_uniform, c->num_steps, false) != 0 ||
      dr_measure_ratio(rollout, serial, true, &ratios) != 0 || dr_measure_rate(serial, &rates) != 0;
  dr_subject_destroy(serial);
  dr_subject_destroy(rollout);
  if (failed) return -1;
  const double serial_shard_step_ns = 1e9 * c->shard / dr_median(rates.values, rates.count);
  samples->count = ratios.count;
  for (int32_t i = 0; i < ratios.count; i++)
    samples->values[i] = (ratios.values[i] * workers - 1) * serial_shard_step_ns;
  return 0;
}

/* ---- The cases ---- */

static void add_efficiency(dr_case_list *list) {
  dr_case c = {
      .unit = "efficiency", .higher_is_better = true, .has_target = true, .target = 0.95, .run = run_efficiency};
  c.env = "Spin-v0";
  c.num_envs = 64;
  c.args = "cost=20us";
  c.num_steps = 64;
  dr_case_add(list, c, "spin/efficiency/constant-20us/64");
  /* Stragglers: a heavy tail. The barrier after every step is there to be compared with. */
  c.args = "cost=20us,dist=pareto";
  c.num_steps = 256;
  dr_case_add(list, c, "spin/stragglers/pareto-20us/64");
  c.barrier = true;
  c.has_target = false;
  dr_case_add(list, c, "spin/stragglers/pareto-20us/64/barrier");
  c.barrier = false;
  c.has_target = true;
  /* Three shards on two workers: too cheap to be split, so the chains have to take turns. What is left over at the
   * lower costs is not imbalance but what a shard-step of 16 rows costs by itself (spin/overhead). */
  c.num_envs = 48;
  c.shard = 16;
  c.num_steps = 4096;
  c.args = "cost=1us";
  dr_case_add(list, c, "spin/efficiency/48-in-16s/Spin-1us");
  c.args = "cost=200ns";
  dr_case_add(list, c, "spin/efficiency/48-in-16s/Spin-200ns");
  c.has_target = false;
  c.args = "cost=50ns";
  dr_case_add(list, c, "spin/efficiency/48-in-16s/Spin-50ns");
  c.env = "CartPole-v1";
  c.args = NULL;
  dr_case_add(list, c, "spin/efficiency/48-in-16s/CartPole-v1");
}

void dr_cases_add_spin(dr_case_list *list) {
  add_efficiency(list);
  dr_case c = {.unit = "us", .has_target = true, .run = run_metg, .env = "Spin-v0", .num_envs = 256};
  c.target = 0.25;
  dr_case_add(list, c, "spin/metg90/auto");
  c.target = 2.5;
  c.chunk = 1;
  dr_case_add(list, c, "spin/metg90/chunk-1");
  c = (dr_case){.unit = "ns/shard-step",
                .run = run_overhead,
                .env = "Spin-v0",
                .args = "cost=0",
                .num_envs = 1024,
                .num_steps = 64,
                .shard = 16};
  dr_case_add(list, c, "spin/overhead/task/1-worker");
  c.all_workers = true;
  dr_case_add(list, c, "spin/overhead/task/all-workers");
}
