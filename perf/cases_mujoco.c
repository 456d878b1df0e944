/* cases_mujoco.c: real physics: efficiency, and what a barrier would lose to stragglers.
 *
 * Measured as `drover bench scaling` does: envs in the middle of their episodes, where contacts make steps uneven. */
#include <stdlib.h>
#include <string.h>

#include "perf/scaling.h"
#include "perf/subject.h"

enum { MOST_PAIRS = 15 };

static drover_status make_uniform(void *user, drover_policy **out, drover_runtime *runtime,
                                  const drover_env_spec *spec) {
  (void)user;
  return drover_policy_create_uniform(out, runtime, spec);
}

static drover_status give_inner(void *user, drover_policy **out, drover_runtime *runtime, drover_batch *batch) {
  (void)user;
  drover_batch_view view = {.size = sizeof view};
  drover_status status = drover_batch_get_view(batch, &view);
  if (status != DROVER_OK || view.spec->num_ticks == 0) return status;
  status = dr_make_inner_policy(out, runtime, view.spec);
  return status == DROVER_OK ? drover_batch_set_inner_policy(batch, *out) : status;
}

/* The point of c->num_envs. */
static int measure(dr_bench *bench, const dr_case *c, dr_scaling *scaling) {
  dr_scaling_request request = {.make_policy = make_uniform,
                                .give_inner = give_inner,
                                .num_points = 1,
                                .num_envs = {c->num_envs},
                                .num_workers = bench->num_workers > 1,
                                .workers = {bench->num_workers},
                                .num_steps = c->num_steps,
                                .warm_steps = bench->quick ? 8 : 32,
                                .num_rounds = bench->num_pairs < MOST_PAIRS ? bench->num_pairs : MOST_PAIRS,
                                .seconds = bench->sample_s,
                                .barrier = c->barrier};
  const drover_status status = drover_env_find(c->env, &request.type);
  if (status != DROVER_OK) return dr_bench_fail_status(bench, c->env, status);
  return dr_scaling_measure(scaling, bench, &request);
}

/* Steps/s of rollouts with all workers over those of the plain loop times the workers. */
static int run_efficiency(dr_bench *bench, const dr_case *c, dr_samples *samples) {
  dr_scaling *scaling = calloc(1, sizeof *scaling);
  if (!scaling) return dr_bench_fail(bench, "out of memory");
  const int failed = measure(bench, c, scaling);
  const dr_scaling_point *point = scaling->points;
  const dr_rates *rates = bench->num_workers > 1 ? &point->all[0] : &point->one;
  samples->count = failed ? 0 : scaling->num_rounds;
  for (int32_t i = 0; i < samples->count; i++)
    samples->values[i] = rates->values[i] / (point->loop.values[i] * bench->num_workers);
  free(scaling);
  return failed;
}

/* Steps/s of rollouts over those with a barrier after every step. */
static int run_stragglers(dr_bench *bench, const dr_case *c, dr_samples *samples) {
  if (bench->num_workers == 1) return dr_bench_fail(bench, "one worker waits for nobody: needs at least two");
  dr_scaling *scaling = calloc(1, sizeof *scaling);
  if (!scaling) return dr_bench_fail(bench, "out of memory");
  const int failed = measure(bench, c, scaling);
  const dr_scaling_point *point = scaling->points;
  samples->count = failed ? 0 : scaling->num_rounds;
  for (int32_t i = 0; i < samples->count; i++)
    samples->values[i] = point->all[0].values[i] / point->barrier[0].values[i];
  free(scaling);
  return failed;
}

/* Only what this build has: MuJoCo can be left out. */
static bool is_known(const char *env) {
  for (int32_t i = 0; i < drover_env_count(); i++)
    if (strcmp(drover_env_at(i)->name, env) == 0) return true;
  return false;
}

void dr_cases_add_mujoco(dr_case_list *list) {
  /* Env steps in a rollout: about 0.2 s on one core. */
  static const struct {
    const char *name;
    int32_t env_steps;
  } envs[] = {{"HalfCheetah-v5", 8192}, {"Ant-v5", 1024}, {"Humanoid-v5", 1024}, {"gait2d", 256}};
  static const int32_t env_counts[] = {64, 256};
  for (size_t e = 0; e < sizeof envs / sizeof envs[0]; e++)
    for (size_t n = 0; n < sizeof env_counts / sizeof env_counts[0]; n++) {
      const dr_case c = {.unit = "efficiency",
                         .higher_is_better = true,
                         .has_target = true,
                         .target = 0.95,
                         .run = run_efficiency,
                         .env = envs[e].name,
                         .num_envs = env_counts[n],
                         .num_steps = envs[e].env_steps / env_counts[n]};
      if (is_known(c.env)) dr_case_add(list, c, "mujoco/efficiency/%s/%d", c.env, c.num_envs);
    }
  const dr_case c = {.unit = "times faster",
                     .higher_is_better = true,
                     .run = run_stragglers,
                     .env = "Humanoid-v5",
                     .num_envs = 64,
                     .num_steps = 16,
                     .barrier = true};
  if (is_known(c.env)) dr_case_add(list, c, "mujoco/rollout_over_barrier/%s/%d", c.env, c.num_envs);
}
