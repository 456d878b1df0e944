/* cases_parts.c: the fused rollout with one worker against its parts in a plain loop, and both alone for counting
 * instructions (perf/callgrind). */
#include "perf/rollout_view.h"
#include "perf/subject.h"

enum { SHARD = 128 };

static dr_batch_request request_of(const dr_case *c) {
  return (dr_batch_request){.env = c->env, .num_envs = c->num_envs, .shard = SHARD};
}

static int make(dr_bench *bench, const dr_case *c, bool parts, dr_subject **out) {
  const dr_batch_request request = request_of(c);
  return parts ? dr_subject_create_parts(out, bench, &request, &dr_net_64_64, c->num_steps)
               : dr_subject_create_rollout(out, bench, bench->one, &request, &dr_net_64_64, c->num_steps, false);
}

static int run_rate(dr_bench *bench, const dr_case *c, dr_samples *samples) {
  dr_subject *subject;
  if (make(bench, c, c->parts, &subject) != 0) return -1;
  const int failed = dr_measure_rate(subject, samples);
  dr_subject_destroy(subject);
  return failed;
}

static int run_once(dr_bench *bench, const dr_case *c) {
  dr_subject *subject;
  if (make(bench, c, c->parts, &subject) != 0) return -1;
  const int failed = dr_run_once(subject);
  dr_subject_destroy(subject);
  return failed;
}

/* Both from the beginning, once: every buffer must hold the same bytes. */
static int compare_buffers(dr_bench *bench, dr_subject *fused, dr_subject *parts) {
  double seconds;
  uint64_t digest;
  drover_rollout_view a, b;
  if (dr_time_run(fused, 1, &seconds, &digest) != 0 || dr_time_run(parts, 1, &seconds, &digest) != 0 ||
      dr_rollout_subject_view(fused, &a) != 0 || dr_parts_subject_view(parts, &b) != 0)
    return -1;
  return dr_compare_views(bench, &a, &b);
}

static int run_ratio(dr_bench *bench, const dr_case *c, dr_samples *samples) {
  dr_subject *fused = NULL, *parts = NULL;
  const int failed = make(bench, c, false, &fused) != 0 || make(bench, c, true, &parts) != 0 ||
                     compare_buffers(bench, fused, parts) != 0 || dr_measure_ratio(fused, parts, true, samples) != 0;
  dr_subject_destroy(fused);
  dr_subject_destroy(parts);
  return failed ? -1 : 0;
}

void dr_cases_add_parts(dr_case_list *list) {
  static const char *const env_names[] = {"CartPole-v1", "Pendulum-v1"};
  for (size_t i = 0; i < sizeof env_names / sizeof env_names[0]; i++) {
    dr_case c = {.unit = "ratio of times",
                 .has_target = true,
                 .target = 1.05,
                 .run = run_ratio,
                 .env = env_names[i],
                 .num_envs = 1024,
                 .num_steps = 64};
    dr_case_add(list, c, "parts/ratio/%s/%d", c.env, c.num_envs);
    c.unit = "steps/s";
    c.higher_is_better = true;
    c.has_target = false;
    c.run = run_rate;
    c.once = run_once;
    dr_case_add(list, c, "parts/fused/%s/%d", c.env, c.num_envs);
    c.parts = true;
    dr_case_add(list, c, "parts/loop/%s/%d", c.env, c.num_envs);
  }
}
