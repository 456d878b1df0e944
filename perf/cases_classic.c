/* cases_classic.c: env steps a second of the classic envs: a plain loop, drover_batch_step, fused rollouts. */
#include "perf/subject.h"

static const char *const env_names[] = {"CartPole-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Pendulum-v1",
                                        "Acrobot-v1"};
static const int32_t env_counts[] = {64, 1024, 16384};

static dr_batch_request request_of(const dr_case *c) {
  return (dr_batch_request){.env = c->env, .num_envs = c->num_envs};
}

static int measure(dr_subject *subject, dr_samples *samples) {
  const int failed = dr_measure_rate(subject, samples);
  dr_subject_destroy(subject);
  return failed;
}

static int run_raw(dr_bench *bench, const dr_case *c, dr_samples *samples) {
  const dr_batch_request request = request_of(c);
  dr_subject *subject;
  return dr_subject_create_loop(&subject, bench, &request, false) == 0 ? measure(subject, samples) : -1;
}

static int run_step(dr_bench *bench, const dr_case *c, dr_samples *samples) {
  const dr_batch_request request = request_of(c);
  dr_subject *subject;
  return dr_subject_create_step(&subject, bench, bench->all, &request) == 0 ? measure(subject, samples) : -1;
}

static int run_rollout(dr_bench *bench, const dr_case *c, dr_samples *samples) {
  const dr_batch_request request = request_of(c);
  dr_subject *subject;
  if (dr_subject_create_rollout(&subject, bench, bench->all, &request, &dr_net_64_64, c->num_steps, false) != 0)
    return -1;
  return measure(subject, samples);
}

void dr_cases_add_classic(dr_case_list *list) {
  const struct {
    const char *name;
    dr_case_fn run;
  } kinds[] = {{"raw", run_raw}, {"step", run_step}, {"rollout", run_rollout}};
  for (size_t kind = 0; kind < sizeof kinds / sizeof kinds[0]; kind++)
    for (size_t env = 0; env < sizeof env_names / sizeof env_names[0]; env++)
      for (size_t n = 0; n < sizeof env_counts / sizeof env_counts[0]; n++) {
        /* Rollouts of 32 to 512 steps: buffers of a few MiB whatever N is. */
        const int32_t fitting = 131072 / env_counts[n], num_steps = fitting < 32 ? 32 : fitting > 512 ? 512 : fitting;
        const dr_case c = {.unit = "steps/s",
                           .higher_is_better = true,
                           .run = kinds[kind].run,
                           .env = env_names[env],
                           .num_envs = env_counts[n],
                           .num_steps = num_steps};
        dr_case_add(list, c, "%s/%s/%d", kinds[kind].name, c.env, c.num_envs);
      }
}
