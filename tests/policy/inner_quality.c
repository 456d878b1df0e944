/* inner_quality.c: how close the inner learner comes to the best possible actions, on samples it has not seen.
 *
 *   inner_quality [--steps N] [--samples N] [--held-out N] [--minibatch N] [--rate X] [--final-rate X] [--width N]
 *                 [--workers N] [--normalize 0|1] [--activation N] [--env NAME] [--ratio X] [--relative-error X]
 *
 * Learns N steps from samples of two synthetic legs (samples.h), or of an env type's draw_sample, and compares the loss
 * on held-out samples with the optimum of each sample by itself: box-constrained least squares, 0 <= a <= 1. Fails if
 * the loss is more than `ratio` times the optimum's, or the median relative error of torques above `relative-error`. */
#include <stdio.h>
#include <time.h>

#include "tests/policy/samples.h"

typedef struct setup {
  double steps, samples, held_out, minibatch, rate, final_rate, width, workers, normalize, activation, ratio,
      relative_error;
  const char *env;
} setup;

static void read_arguments(int argc, char **argv, setup *s) {
  const struct {
    const char *name;
    double *number;
  } numbers[] = {
      {"--steps", &s->steps},           {"--samples", &s->samples}, {"--held-out", &s->held_out},
      {"--minibatch", &s->minibatch},   {"--rate", &s->rate},       {"--final-rate", &s->final_rate},
      {"--width", &s->width},           {"--workers", &s->workers}, {"--normalize", &s->normalize},
      {"--activation", &s->activation}, {"--ratio", &s->ratio},     {"--relative-error", &s->relative_error}};
  for (int i = 1; i + 1 < argc; i += 2) {
    bool known = strcmp(argv[i], "--env") == 0;
    if (known) s->env = argv[i + 1];
    for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++)
      if (strcmp(argv[i], numbers[k].name) == 0) *numbers[k].number = atof(argv[i + 1]), known = true;
    if (!known) fprintf(stderr, "inner_quality: no option %s\n", argv[i]), exit(2);
  }
}

static void check(drover_status status, const char *what) {
  if (status == DROVER_OK) return;
  fprintf(stderr, "inner_quality: %s: %s\n", what, drover_last_error());
  exit(1);
}

/* What is learnt from: samples [count x size] of O observations, J joints and A actions. */
typedef struct data {
  int32_t num_observations, num_joints, num_actions, size;
  float *samples, *held_out;
} data;

static data make_data(const setup *s, drover_runtime *runtime) {
  data d = {LEGS_OBSERVATION, LEGS_JOINTS, LEGS_MUSCLES, LEGS_SAMPLE, NULL, NULL};
  if (!s->env) {
    d.samples = draw_samples(1, (int64_t)s->samples);
    d.held_out = draw_samples(2, (int64_t)s->held_out);
    return d;
  }
  const drover_env_type *type = NULL;
  drover_batch *batch = NULL;
  drover_batch_options options;
  drover_batch_view view = {.size = sizeof view};
  check(drover_env_find(s->env, &type), "env");
  check(drover_batch_options_init(&options, sizeof options), "batch options");
  options.num_envs = 8;
  check(drover_batch_create(&batch, runtime, type, &options), "batch");
  check(drover_batch_get_view(batch, &view), "view");
  d.num_observations = view.spec->inner_observation_size;
  d.num_actions = view.spec->inner_action_size;
  d.size = view.spec->inner_sample_size;
  d.num_joints = (d.size - d.num_observations - 1) / (d.num_actions + 2);
  d.samples = malloc((size_t)s->samples * (size_t)d.size * sizeof(float));
  d.held_out = malloc((size_t)s->held_out * (size_t)d.size * sizeof(float));
  if (!d.samples || !d.held_out) exit(1);
  check(drover_batch_draw_samples(batch, 1, (int64_t)s->samples, d.samples), "samples");
  check(drover_batch_draw_samples(batch, 2, (int64_t)s->held_out, d.held_out), "samples");
  check(drover_batch_destroy(batch), "batch");
  return d;
}

static int compare_floats(const void *a, const void *b) {
  const float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

static double median(float *values, int64_t count) {
  qsort(values, (size_t)count, sizeof *values, compare_floats);
  return count > 0 ? (double)values[count / 2] : 0;
}

/* The errors of the valid ones among the held-out samples, moved to the front; how many there are. */
static int64_t keep_valid(const data *d, int64_t count, float *errors) {
  int64_t num_valid = 0;
  for (int64_t i = 0; i < count; i++)
    if (d->held_out[(i + 1) * d->size - 1] != 0.0f) errors[num_valid++] = errors[i];
  return num_valid;
}

/* The optimum's mean loss over the held-out samples that are valid, and its median relative error. */
static double find_optimum(const data *d, int64_t count, double *relative_error) {
  float *errors = calloc((size_t)count, sizeof *errors);
  double sum = 0;
  int64_t num_valid = 0;
  if (!errors) exit(1);
  for (int64_t i = 0; i < count; i++) {
    const sample_view sample =
        view_sample(d->held_out + i * d->size, d->num_observations, d->num_joints, d->num_actions);
    if (!sample.valid) continue;
    const reference_loss loss = least_loss(&sample, d->num_joints, d->num_actions, 100, 0.01);
    sum += loss.torque + loss.effort;
    errors[num_valid++] = (float)loss.relative_error;
  }
  *relative_error = median(errors, num_valid);
  free(errors);
  return sum / (double)num_valid;
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void make_learner(const setup *s, drover_runtime *runtime, const data *d, drover_policy **policy,
                         drover_inner **inner) {
  drover_mlp_options layout;
  drover_inner_options options;
  check(drover_mlp_options_init(&layout, sizeof layout), "network options");
  layout.observation_size = d->num_observations;
  layout.num_outputs = d->num_actions;
  layout.num_hidden = 3;
  for (int i = 0; i < 3; i++) layout.hidden[i] = (int32_t)s->width;
  layout.activation = (drover_activation)s->activation;
  layout.normalize_observations = (int32_t)s->normalize;
  layout.head = DROVER_HEAD_UNIT;
  layout.has_values = 0;
  layout.seed = 7;
  check(drover_policy_create_mlp(policy, runtime, &layout), "policy");
  check(drover_inner_options_init(&options, sizeof options), "learner options");
  options.sample_size = d->size;
  options.capacity = (int64_t)s->samples;
  options.minibatch = (int32_t)s->minibatch;
  options.learning_rate = s->rate;
  options.final_learning_rate = s->final_rate;
  options.num_decay_steps = (int64_t)s->steps;
  check(drover_inner_create(inner, *policy, &options), "learner");
}

int main(int argc, char **argv) {
  setup s = {.steps = 1000,
             .samples = 32768,
             .held_out = 1000,
             .minibatch = 128,
             .rate = 2e-3,
             .final_rate = 1e-5,
             .width = 256,
             .workers = 2,
             .normalize = 1,
             .activation = DROVER_ACTIVATION_ELU,
             .ratio = INFINITY,
             .relative_error = INFINITY};
  read_arguments(argc, argv, &s);
  drover_runtime_options options;
  drover_runtime *runtime = NULL;
  check(drover_runtime_options_init(&options, sizeof options), "runtime options");
  options.num_workers = (int32_t)s.workers;
  check(drover_runtime_create(&runtime, &options), "runtime");
  data d = make_data(&s, runtime);
  const int64_t held_out = (int64_t)s.held_out;
  double optimum_error = 0;
  const double optimum = find_optimum(&d, held_out, &optimum_error);
  printf("%d observations, %d joints, %d actions; optimum: loss %.4g, median relative error %.4f\n",
         (int)d.num_observations, (int)d.num_joints, (int)d.num_actions, optimum, optimum_error);

  drover_policy *policy = NULL;
  drover_inner *inner = NULL;
  make_learner(&s, runtime, &d, &policy, &inner);
  check(drover_inner_add(inner, (int64_t)s.samples, d.samples), "add");
  float *errors = malloc((size_t)held_out * sizeof *errors);
  if (!errors) return 1;
  double ratio = 0, relative_error = 0, seconds = 0;
  const int64_t steps = (int64_t)s.steps, slice = (steps + 4) / 5;
  for (int64_t done = 0; done < steps; done += slice) {
    drover_inner_stats stats = {.size = sizeof stats};
    const double begin = now();
    check(drover_inner_update(inner, steps - done < slice ? steps - done : slice, &stats), "update");
    seconds += now() - begin;
    check(drover_inner_evaluate(inner, held_out, d.held_out, &stats, errors), "evaluate");
    ratio = stats.loss / optimum;
    relative_error = median(errors, keep_valid(&d, held_out, errors));
    printf(
        "%6lld steps %6.1f s: held-out loss %.4g (torque %.3g, effort %.3g), %.3f x the optimum, median relative "
        "error %.4f\n",
        (long long)stats.num_steps, seconds, stats.loss, stats.torque_loss, stats.effort_loss, ratio, relative_error);
    fflush(stdout);
  }
  free(errors);
  free(d.samples);
  free(d.held_out);
  check(drover_inner_destroy(inner), "learner");
  check(drover_policy_destroy(policy), "policy");
  check(drover_runtime_destroy(runtime), "runtime");
  if (ratio <= s.ratio && relative_error <= s.relative_error) return 0;
  printf("not good enough: at most %.3f x and %.4f are wanted\n", s.ratio, s.relative_error);
  return 1;
}
