/* cases_learn.c: passes of a learner: forward and backward over a minibatch, policy and value, and their gradient.
 *
 * Work is counted as 2 floating-point operations a weight and row forward and twice that backward (layer 0 has no
 * derivatives of its inputs). The peak it is compared with is a 1024 x 1024 x 1024 product by oneDNN on one thread. */
#include <stdlib.h>

#include "perf/subject.h"
#include "policy/learn/gradient.h"
#include "policy/matmul.h"
#include "runtime/runtime.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { PEAK_SIZE = 1024, MAX_ROWS = 2048, OBSERVATION_SIZE = 17, NUM_OUTPUTS = 6 };

/* A minibatch of 64 envs x 128 steps in four, with HalfCheetah's sizes; and one of a single block, as the inner learner
 * has them, which the workers share by rows and weights. */
static const struct {
  const char *name;
  int32_t hidden[2], num_rows;
} nets[] = {{"64-64", {64, 64}, MAX_ROWS}, {"256-256", {256, 256}, MAX_ROWS}, {"256-256-block", {256, 256}, 128}};

/* ---- a pass ---- */

typedef struct learn_subject {
  dr_subject head;
  drover_runtime *runtime;
  dr_mlp mlp;
  dr_gradient *gradient;
  float *weights, *gradients; /* [num_weights] */
  int32_t num_rows;
  float *observations; /* [MAX_ROWS x OBSERVATION_SIZE] */
  int32_t rows[MAX_ROWS];
} learn_subject;

/* Half the mean of the squared outputs and values: what a loss costs is not the subject. */
static int square_loss(void *object, const dr_loss_block *block) {
  (void)object;
  for (int32_t i = 0; i < block->num_rows * NUM_OUTPUTS; i++)
    block->output_gradients[i] = block->outputs[i] * (1.0f / MAX_ROWS);
  for (int32_t i = 0; i < block->num_rows; i++) block->value_gradients[i] = block->values[i] * (1.0f / MAX_ROWS);
  return 0;
}

static int learn_restore(dr_subject *subject) {
  (void)subject;
  return 0;
}

static int learn_run(dr_subject *subject, int64_t iterations) {
  learn_subject *learn = (learn_subject *)subject;
  double sums[DR_MAX_LOSS_SUMS];
  drover_status status = DROVER_OK;
  dr_runtime_begin_call(learn->runtime);
  for (int64_t i = 0; i < iterations && status == DROVER_OK; i++)
    status = dr_gradient_pass(learn->gradient, learn->weights, learn->observations, learn->num_rows, learn->rows,
                              square_loss, NULL, learn->gradients, sums);
  dr_runtime_end_call(learn->runtime);
  return status == DROVER_OK ? 0 : dr_bench_fail_status(subject->bench, "gradient", status);
}

static int learn_result(dr_subject *subject, uint64_t *digest) {
  const learn_subject *learn = (const learn_subject *)subject;
  *digest = XXH3_64bits(learn->gradients, learn->mlp.num_weights * sizeof(float));
  return 0;
}

static void learn_destroy(dr_subject *subject) {
  learn_subject *learn = (learn_subject *)subject;
  dr_gradient_destroy(learn->gradient);
  free(learn->weights);
  free(learn->gradients);
  free(learn->observations);
  free(learn);
}

static const dr_subject_type learn_type = {learn_restore, learn_run, learn_result, learn_destroy};

static double count_operations(const dr_mlp *mlp, int32_t num_rows) {
  double operations = 0;
  for (int32_t chain = 0; chain < mlp->num_chains; chain++)
    for (int32_t i = mlp->first_layer[chain]; i < mlp->num_layers; i++)
      operations += (i == 0 ? 4.0 : 6.0) * mlp->layers[chain][i].num_inputs * mlp->layers[chain][i].num_outputs;
  return operations * num_rows;
}

static int learn_make(learn_subject *learn, const dr_case *c) {
  drover_mlp_options options;
  drover_mlp_options_init(&options, sizeof options);
  options.observation_size = OBSERVATION_SIZE;
  options.num_outputs = NUM_OUTPUTS;
  options.head = DROVER_HEAD_GAUSSIAN;
  learn->num_rows = nets[c->widths].num_rows;
  for (int i = 0; i < 2; i++) options.hidden[i] = nets[c->widths].hidden[i];
  drover_status status = dr_mlp_init(&learn->mlp, &options);
  if (status == DROVER_OK) status = dr_gradient_create(&learn->gradient, learn->runtime, &learn->mlp, learn->num_rows);
  if (status != DROVER_OK) return dr_bench_fail_status(learn->head.bench, "gradient create", status);
  learn->weights = calloc(learn->mlp.num_weights, sizeof(float));
  learn->gradients = calloc(learn->mlp.num_weights, sizeof(float));
  learn->observations = calloc((size_t)MAX_ROWS * OBSERVATION_SIZE, sizeof(float));
  if (!learn->weights || !learn->gradients || !learn->observations)
    return dr_bench_fail(learn->head.bench, "out of memory for %zu weights", learn->mlp.num_weights);
  status = dr_mlp_initial_weights(&learn->mlp, learn->weights);
  if (status != DROVER_OK) return dr_bench_fail_status(learn->head.bench, "initial weights", status);
  drover_random random = drover_random_at(DR_SUBJECT_SEED, 1, DROVER_RANDOM_USER, 0);
  for (size_t i = 0; i < (size_t)MAX_ROWS * OBSERVATION_SIZE; i++)
    learn->observations[i] = 2 * drover_random_uniformf(&random) - 1;
  for (int32_t i = 0; i < MAX_ROWS; i++) learn->rows[i] = i * 5 % MAX_ROWS; /* 5 and 2048 have no common factor */
  learn->head.units = count_operations(&learn->mlp, learn->num_rows);
  return 0;
}

/* NULL, with a sentence in bench->message, if it cannot be. */
static dr_subject *create_learn(dr_bench *bench, const dr_case *c) {
  learn_subject *learn = calloc(1, sizeof *learn);
  if (!learn) {
    dr_bench_fail(bench, "out of memory");
    return NULL;
  }
  learn->head = (dr_subject){&learn_type, bench, 1};
  learn->runtime = c->all_workers ? bench->all : bench->one;
  if (learn_make(learn, c) != 0) {
    learn_destroy(&learn->head);
    return NULL;
  }
  return &learn->head;
}

/* ---- the peak ---- */

typedef struct peak_subject {
  dr_subject head;
  dr_matmul_set *set;
  dr_matmul_weights *weights;
  dr_matmul_runner *runner;
  float *x, *y; /* [PEAK_SIZE x PEAK_SIZE] */
} peak_subject;

static int peak_run(dr_subject *subject, int64_t iterations) {
  const peak_subject *peak = (const peak_subject *)subject;
  const int32_t tile = DR_NUM_TILES - 1, num_rows = dr_tile_sizes[tile];
  for (int64_t i = 0; i < iterations; i++)
    for (int32_t row = 0; row < PEAK_SIZE; row += num_rows)
      if (dr_matmul_run(peak->runner, 0, tile, peak->weights, peak->x + (size_t)row * PEAK_SIZE,
                        peak->y + (size_t)row * PEAK_SIZE))
        return dr_bench_fail(subject->bench, "oneDNN failed");
  return 0;
}

static int peak_result(dr_subject *subject, uint64_t *digest) {
  *digest = XXH3_64bits(((const peak_subject *)subject)->y, (size_t)PEAK_SIZE * PEAK_SIZE * sizeof(float));
  return 0;
}

static void peak_destroy(dr_subject *subject) {
  peak_subject *peak = (peak_subject *)subject;
  dr_matmul_runner_destroy(peak->runner);
  dr_matmul_weights_destroy(peak->weights);
  dr_matmul_set_destroy(peak->set);
  free(peak->x);
  free(peak->y);
  free(peak);
}

static const dr_subject_type peak_type = {learn_restore, peak_run, peak_result, peak_destroy};

static int peak_make(peak_subject *peak) {
  const size_t count = (size_t)PEAK_SIZE * PEAK_SIZE;
  const dr_matmul_shape shape = {.num_inputs = PEAK_SIZE,
                                 .num_outputs = PEAK_SIZE,
                                 .x_stride = PEAK_SIZE,
                                 .y_stride = PEAK_SIZE,
                                 .activation = DROVER_ACTIVATION_IDENTITY};
  static const float zero_bias[PEAK_SIZE];
  peak->x = calloc(count, sizeof(float));
  peak->y = calloc(count, sizeof(float));
  if (!peak->x || !peak->y) return dr_bench_fail(peak->head.bench, "out of memory");
  for (size_t i = 0; i < count; i++) peak->x[i] = (float)(i % 31) / 31;
  drover_status status = dr_matmul_set_create(&peak->set, &shape, 1);
  if (status == DROVER_OK && (!peak->set || !dr_matmul_set_has_tile(peak->set, DR_NUM_TILES - 1)))
    return dr_bench_fail(peak->head.bench, "oneDNN has no kernel for this CPU to compare with");
  if (status == DROVER_OK) status = dr_matmul_weights_create(&peak->weights, peak->set, 0, peak->x, zero_bias);
  if (status == DROVER_OK) status = dr_matmul_runner_create(&peak->runner, peak->set);
  return status == DROVER_OK ? 0 : dr_bench_fail_status(peak->head.bench, "matmul", status);
}

static dr_subject *create_peak(dr_bench *bench) {
  peak_subject *peak = calloc(1, sizeof *peak);
  if (!peak) {
    dr_bench_fail(bench, "out of memory");
    return NULL;
  }
  peak->head = (dr_subject){&peak_type, bench, 2.0 * PEAK_SIZE * PEAK_SIZE * PEAK_SIZE};
  if (peak_make(peak) != 0) {
    peak_destroy(&peak->head);
    return NULL;
  }
  return &peak->head;
}

/* ---- the cases ---- */

static int run_rate(dr_bench *bench, const dr_case *c, dr_samples *samples) {
  dr_subject *subject = c->widths < 0 ? create_peak(bench) : create_learn(bench, c);
  if (!subject) return -1;
  const int failed = dr_measure_rate(subject, samples);
  dr_subject_destroy(subject);
  for (int32_t i = 0; i < samples->count; i++) samples->values[i] *= 1e-9;
  return failed;
}

/* The rate of passes over the rate of the peak, in pairs. */
static int measure_share(dr_subject *learn, dr_subject *peak, dr_samples *samples) {
  dr_subject *const both[2] = {learn, peak};
  int64_t iterations[2];
  uint64_t first[2] = {0, 0};
  for (int i = 0; i < 2; i++)
    if (dr_calibrate(both[i], &iterations[i]) != 0) return -1;
  samples->count = 0;
  for (int32_t pair = 0; pair < learn->bench->num_pairs; pair++) {
    double rate[2] = {0, 0};
    for (int half = 0; half < 2; half++) {
      const int i = (half + pair) % 2;
      double seconds = 0;
      uint64_t digest = 0;
      if (dr_time_run(both[i], iterations[i], &seconds, &digest) != 0) return -1;
      if (pair == 0) first[i] = digest;
      if (digest != first[i]) return dr_bench_fail(learn->bench, "pair %d left other bytes than pair 0", pair);
      rate[i] = (double)iterations[i] * both[i]->units / seconds;
    }
    samples->values[samples->count++] = rate[0] / rate[1];
  }
  return 0;
}

static int run_share(dr_bench *bench, const dr_case *c, dr_samples *samples) {
  dr_subject *learn = create_learn(bench, c), *peak = learn ? create_peak(bench) : NULL;
  const int failed = learn && peak ? measure_share(learn, peak, samples) : -1;
  dr_subject_destroy(learn);
  dr_subject_destroy(peak);
  return failed;
}

static int once(dr_bench *bench, const dr_case *c) {
  dr_subject *subject = create_learn(bench, c);
  if (!subject) return -1;
  const int failed = dr_run_once(subject);
  dr_subject_destroy(subject);
  return failed;
}

void dr_cases_add_learn(dr_case_list *list) {
  dr_case c = {.unit = "GFLOP/s", .higher_is_better = true, .run = run_rate, .widths = -1};
  dr_case_add(list, c, "learn/peak/1024");
  for (c.widths = 0; c.widths < (int32_t)(sizeof nets / sizeof nets[0]); c.widths++)
    for (int all = 0; all < 2; all++) {
      const char *workers = all ? "all" : "one";
      c.all_workers = all;
      c.unit = "GFLOP/s";
      c.run = run_rate;
      c.once = all ? NULL : once;
      c.has_target = false;
      dr_case_add(list, c, "learn/pass/%s/%s", nets[c.widths].name, workers);
      c.unit = "peaks";
      c.run = run_share;
      c.once = NULL;
      c.has_target = nets[c.widths].num_rows == MAX_ROWS; /* packing is a large part of a pass over one block */
      c.target = 0.5;
      c.target_is_per_worker = all;
      dr_case_add(list, c, "learn/share/%s/%s", nets[c.widths].name, workers);
    }
}
