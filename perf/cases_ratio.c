/* cases_ratio.c: what Drover costs beside a plain loop, and what more workers bring: all as ratios of times. */
#include "perf/subject.h"

static dr_batch_request request_of(const dr_case *c) {
  return (dr_batch_request){.env = c->env, .num_envs = c->num_envs, .scalar = c->scalar};
}

/* Time of drover_batch_step on one worker over that of the plain scalar loop. */
static int run_step_over_raw(dr_bench *bench, const dr_case *c, dr_samples *samples) {
  const dr_batch_request request = request_of(c);
  dr_subject *step = NULL, *loop = NULL;
  int failed = dr_subject_create_step(&step, bench, bench->one, &request) != 0 ||
               dr_subject_create_loop(&loop, bench, &request, false) != 0 ||
               dr_measure_ratio(step, loop, true, samples) != 0;
  dr_subject_destroy(step);
  dr_subject_destroy(loop);
  return failed ? -1 : 0;
}

/* The same subject on one worker and on all. */
static int make_one_and_all(dr_bench *bench, const dr_case *c, dr_subject **one, dr_subject **all) {
  const dr_batch_request request = request_of(c);
  if (c->num_steps == 0)
    return dr_subject_create_step(one, bench, bench->one, &request) == 0 &&
                   dr_subject_create_step(all, bench, bench->all, &request) == 0
               ? 0
               : -1;
  return dr_subject_create_rollout(one, bench, bench->one, &request, &dr_net_64_64, c->num_steps, false) == 0 &&
                 dr_subject_create_rollout(all, bench, bench->all, &request, &dr_net_64_64, c->num_steps, false) == 0
             ? 0
             : -1;
}

/* Time with one worker over time with all: how many times faster. */
static int run_speedup(dr_bench *bench, const dr_case *c, dr_samples *samples) {
  dr_subject *one = NULL, *all = NULL;
  const int failed =
      make_one_and_all(bench, c, &one, &all) != 0 || dr_measure_ratio(one, all, true, samples) != 0 ? -1 : 0;
  dr_subject_destroy(one);
  dr_subject_destroy(all);
  return failed;
}

/* Time with all workers over time with one: more workers must never make it slower. */
static int run_slowdown(dr_bench *bench, const dr_case *c, dr_samples *samples) {
  dr_subject *one = NULL, *all = NULL;
  const int failed =
      make_one_and_all(bench, c, &one, &all) != 0 || dr_measure_ratio(all, one, true, samples) != 0 ? -1 : 0;
  dr_subject_destroy(one);
  dr_subject_destroy(all);
  return failed;
}

static void add_step_over_raw(dr_case_list *list) {
  static const char *const env_names[] = {"CartPole-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Pendulum-v1",
                                          "Acrobot-v1"};
  for (size_t i = 0; i < sizeof env_names / sizeof env_names[0]; i++)
    for (int scalar = 0; scalar < 2; scalar++) {
      const dr_case c = {.unit = "ratio of times",
                         .has_target = i == 0,
                         .target = scalar ? 1.15 : 1,
                         .run = run_step_over_raw,
                         .env = env_names[i],
                         .num_envs = 1024,
                         .scalar = scalar};
      dr_case_add(list, c, "ratio/step1_over_raw/%s/%d%s", c.env, c.num_envs, scalar ? "/scalar" : "");
    }
}

void dr_cases_add_ratio(dr_case_list *list) {
  add_step_over_raw(list);
  dr_case c = {.unit = "times faster",
               .higher_is_better = true,
               .has_target = true,
               .target = 0.85,
               .target_is_per_worker = true,
               .run = run_speedup,
               .env = "CartPole-v1",
               .num_envs = 1024,
               .num_steps = 128};
  dr_case_add(list, c, "ratio/workers/rollout/%d", c.num_envs);
  c.num_envs = 16384;
  c.num_steps = 0;
  dr_case_add(list, c, "ratio/workers/step/%d", c.num_envs);
  for (int32_t num_envs = 1; num_envs <= 65536; num_envs *= 4) {
    const dr_case slowdown = {.unit = "ratio of times",
                              .has_target = true,
                              .target = 1.1,
                              .run = run_slowdown,
                              .env = "CartPole-v1",
                              .num_envs = num_envs};
    dr_case_add(list, slowdown, "ratio/step_all_over_one/%d", num_envs);
  }
}
