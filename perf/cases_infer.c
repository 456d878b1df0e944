/* cases_infer.c: a network alone: nanoseconds a row, policy and value in one pass, sampling included. */
#include "perf/subject.h"

/* Networks with the observations and actions they are used with: CartPole, Gymnasium's Humanoid, a muscle-driven
 * walker. */
static const struct {
  const char *name;
  int32_t observation_size;
  int32_t num_outputs;
  bool discrete;
  dr_net_request net;
} nets[] = {{"64-64", 4, 2, true, {2, {64, 64}}},
            {"256-256", 376, 17, false, {2, {256, 256}}},
            {"512-512-512", 506, 51, false, {3, {512, 512, 512}}}};

static int run_infer(dr_bench *bench, const dr_case *c, dr_samples *samples) {
  dr_subject *subject;
  if (dr_subject_create_infer(&subject, bench, nets[c->widths].observation_size, nets[c->widths].num_outputs,
                              nets[c->widths].discrete, &nets[c->widths].net, c->num_envs) != 0)
    return -1;
  const int failed = dr_measure_rate(subject, samples);
  dr_subject_destroy(subject);
  for (int32_t i = 0; i < samples->count; i++) samples->values[i] = 1e9 / samples->values[i];
  return failed;
}

void dr_cases_add_infer(dr_case_list *list) {
  for (int32_t net = 0; net < (int32_t)(sizeof nets / sizeof nets[0]); net++)
    for (int32_t num_rows = 4; num_rows <= 256; num_rows *= 2) {
      const dr_case c = {.unit = "ns/row", .run = run_infer, .widths = net, .num_envs = num_rows};
      dr_case_add(list, c, "infer/%s/%d", nets[net].name, num_rows);
    }
}
