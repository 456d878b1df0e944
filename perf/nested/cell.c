/* cell.c: one cell of the experiment's table, measured in this process. */
#include "perf/nested/cell.h"

#include <drover/drover.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "perf/clock.h"
#include "perf/nested/network.h"
#include "perf/nested/tick_env.h"

const char *nested_way_name(nested_way way) {
  static const char *const names[] = {
#define NESTED_WAY_NAME(name, constant, heading) name,
      NESTED_WAYS(NESTED_WAY_NAME)
#undef NESTED_WAY_NAME
  };
  return names[way];
}

const char *nested_way_heading(nested_way way) {
  static const char *const headings[] = {
#define NESTED_WAY_HEADING(name, constant, heading) heading,
      NESTED_WAYS(NESTED_WAY_HEADING)
#undef NESTED_WAY_HEADING
  };
  return headings[way];
}

/* The unguarded ways: a guard that does nothing in place of the built-in one. */
static void do_nothing(void *user, void *saved) { (void)user, (void)saved; }

typedef struct scene {
  drover_runtime *runtime;
  drover_batch *batch;
  drover_policy *policy;
  drover_rollout *rollout;
  int32_t ticks; /* env steps a control step: 16 where an env step is a tick */
} scene;

/* Every call below either works or ends in one place with the library's sentence. */
#define TRY(call)                       \
  do {                                  \
    if ((call) != DROVER_OK) return -1; \
  } while (0)

static int make_runtime(scene *s, const nested_cell *cell) {
  static const drover_task_guard none = {do_nothing, do_nothing, NULL};
  drover_runtime_options options;
  TRY(drover_runtime_options_init(&options, sizeof options));
  options.num_workers = cell->num_workers;
  if (cell->way != NESTED_GUARD && cell->way != NESTED_INFERENCE) options.guard = &none;
  TRY(drover_runtime_create(&s->runtime, &options));
  return 0;
}

static int make_batch(scene *s, const nested_cell *cell) {
  const drover_env_type *type = NULL;
  const drover_env_arg arg = {"blas", cell->blas};
  drover_batch_options options;
  TRY(drover_batch_options_init(&options, sizeof options));
  options.num_envs = cell->num_envs;
  s->ticks = 1;
  if (cell->way == NESTED_INFERENCE) {
    type = dr_nested_tick_type();
    s->ticks = NESTED_TICKS;
  } else {
    TRY(drover_env_open_plugin(cell->plugin, &type));
    if (cell->blas) options.args = (drover_env_args){1, &arg};
  }
  TRY(drover_batch_create(&s->batch, s->runtime, type, &options));
  return 0;
}

/* Drover's own network, with the weights that the env's has. */
static int make_network(scene *s) {
  drover_mlp_options options;
  TRY(drover_mlp_options_init(&options, sizeof options));
  options.observation_size = NESTED_INPUTS;
  options.num_outputs = NESTED_OUTPUTS;
  options.num_hidden = NESTED_LAYERS - 1;
  for (int i = 0; i < NESTED_LAYERS - 1; i++) options.hidden[i] = NESTED_WIDTH;
  options.activation = DROVER_ACTIVATION_LEAKY_RELU;
  options.leaky_slope = NESTED_SLOPE;
  options.head = DROVER_HEAD_UNIT;
  options.has_values = 0;
  TRY(drover_policy_create_mlp(&s->policy, s->runtime, &options));
  const size_t count = nested_layer_offset(NESTED_LAYERS);
  float *weights = malloc(count * sizeof *weights);
  if (!weights) return -1;
  nested_fill_weights(weights);
  const drover_status status = drover_policy_set_weights(s->policy, weights, count);
  free(weights);
  TRY(status);
  return 0;
}

static int make_policy(scene *s, const nested_cell *cell) {
  drover_batch_view view = {.size = sizeof view};
  if (cell->way == NESTED_INFERENCE) return make_network(s);
  TRY(drover_batch_get_view(s->batch, &view));
  TRY(drover_policy_create_uniform(&s->policy, s->runtime, view.spec));
  return 0;
}

/* Buffers for so many control steps. */
static int make_rollout(scene *s, int32_t num_steps) {
  drover_rollout_options options;
  TRY(drover_rollout_options_init(&options, sizeof options));
  TRY(drover_rollout_destroy(s->rollout));
  s->rollout = NULL;
  options.num_steps = num_steps * s->ticks;
  options.deterministic = 1;
  TRY(drover_rollout_create(&s->rollout, s->batch, s->policy, &options));
  return 0;
}

static int collect(scene *s, double *seconds) {
  const double begin = dr_seconds_now();
  TRY(drover_rollout_collect(s->rollout));
  *seconds = dr_seconds_now() - begin;
  return 0;
}

/* Two control steps from the beginning, whose mean reward is the same whichever way the network was evaluated. They
 * also warm everything up. */
static int check(scene *s, nested_result *out, double *step_s) {
  enum { CHECK_STEPS = 2 };
  drover_rollout_view view = {.size = sizeof view};
  double seconds = 0;
  if (make_rollout(s, CHECK_STEPS) != 0 || collect(s, &seconds) != 0) return -1;
  TRY(drover_rollout_digest(s->rollout, &out->digest));
  TRY(drover_rollout_get_view(s->rollout, &view));
  const int64_t count = (int64_t)view.num_steps_done * view.num_envs;
  double sum = 0;
  for (int64_t i = 0; i < count; i++) sum += (double)view.rewards[i];
  out->mean_reward = sum / (CHECK_STEPS * (double)view.num_envs);
  if (collect(s, &seconds) != 0) return -1;
  *step_s = seconds / CHECK_STEPS;
  return 0;
}

static int compare_doubles(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Rollouts of 64 control steps, or of fewer where 64 would take longer than the time there is, but never of fewer than
 * one; at least three of them, or as many as the time allows. */
static int measure(scene *s, const nested_cell *cell, double step_s, nested_result *out) {
  double samples[NESTED_MAX_SAMPLES];
  int32_t num_steps = NESTED_STEPS, count = 0;
  if (step_s * num_steps > cell->seconds / 3) num_steps = (int32_t)(cell->seconds / 3 / step_s);
  if (num_steps < 1) num_steps = 1;
  if (make_rollout(s, num_steps) != 0) return -1;
  puts("begin");
  fflush(stdout);
  const double begin = dr_seconds_now();
  do {
    double seconds = 0;
    if (collect(s, &seconds) != 0) return -1;
    samples[count++] = seconds * 1e3 * NESTED_STEPS / num_steps;
  } while (count < NESTED_MAX_SAMPLES &&
           (dr_seconds_now() - begin < cell->seconds || (count < 3 && step_s < cell->seconds)));
  qsort(samples, (size_t)count, sizeof samples[0], compare_doubles);
  out->rollout_ms = count % 2 ? samples[count / 2] : (samples[count / 2 - 1] + samples[count / 2]) / 2;
  return 0;
}

int nested_cell_run(const nested_cell *cell) {
  scene s = {.ticks = 1};
  nested_result result = {0};
  double step_s = 0;
  const bool failed = make_runtime(&s, cell) != 0 || make_batch(&s, cell) != 0 || make_policy(&s, cell) != 0 ||
                      check(&s, &result, &step_s) != 0 || measure(&s, cell, step_s, &result) != 0;
  if (failed)
    fprintf(stderr, "drover bench nested: %s, %d envs: %s\n", nested_way_name(cell->way), cell->num_envs,
            drover_last_error());
  else
    printf("result %.17g %.17g %016llx\n", result.rollout_ms, result.mean_reward, (unsigned long long)result.digest);
  fflush(stdout);
  drover_rollout_destroy(s.rollout);
  drover_policy_destroy(s.policy);
  drover_batch_destroy(s.batch);
  drover_runtime_destroy(s.runtime);
  return failed ? 1 : 0;
}
