/* test_gradient.c: gradients against central differences of a network in double, and the same bits from any workers. */
#include "policy/learn/adam.h"
#include "policy/learn/gradient.h"
#include "runtime/runtime.h"
#include "tests/policy/reference.h"

/* A loss of a row with curvature in everything: sum over outputs of a y + b y^2 / 2, the value and log_std likewise,
 * with a and b that belong to the caller's row. */
typedef struct test_loss {
  const dr_mlp *mlp;
  const float *a, *b; /* [num_rows_all x (2 num_outputs + 1)] */
} test_loss;

static size_t loss_width(const dr_mlp *mlp) { return 2 * (size_t)mlp->options.num_outputs + 1; }

static double term(const test_loss *loss, int32_t row, size_t column, double y, double *slope) {
  const size_t at = (size_t)row * loss_width(loss->mlp) + column;
  const double a = (double)loss->a[at], b = (double)loss->b[at];
  *slope = a + b * y;
  return a * y + b * y * y / 2;
}

static int run_loss(void *object, const dr_loss_block *block) {
  const test_loss *loss = object;
  const size_t num_outputs = (size_t)loss->mlp->options.num_outputs;
  double slope;
  for (int32_t i = 0; i < block->num_rows; i++) {
    for (size_t n = 0; n < num_outputs; n++) {
      const size_t at = (size_t)i * num_outputs + n;
      block->sums[0] += term(loss, block->rows[i], n, (double)block->outputs[at], &slope);
      block->output_gradients[at] = (float)slope;
      if (!block->log_std) continue;
      block->sums[1] += term(loss, block->rows[i], num_outputs + n, (double)block->log_std[n], &slope);
      block->log_std_gradients[n] += slope;
    }
    if (block->values) {
      block->sums[2] += term(loss, block->rows[i], 2 * num_outputs, (double)block->values[i], &slope);
      block->value_gradients[i] = (float)slope;
    }
    block->sums[15] += 1;
  }
  return 0;
}

/* The whole loss in double, with one weight moved. */
static double reference_loss(const test_loss *loss, const float *flat, size_t moved, double delta,
                             const float *observations, int32_t num_rows, const int32_t *rows) {
  const dr_mlp *mlp = loss->mlp;
  const size_t num_outputs = (size_t)mlp->options.num_outputs;
  double *out = calloc(num_outputs, sizeof *out), sum = 0, slope;
  for (int32_t i = 0; i < num_rows; i++) {
    const float *x = observations + (size_t)rows[i] * (size_t)mlp->options.observation_size;
    reference_forward_moved(mlp, flat, moved, delta, DR_CHAIN_POLICY, x, out);
    for (size_t n = 0; n < num_outputs; n++) sum += term(loss, rows[i], n, out[n], &slope);
    for (size_t n = 0; mlp->options.head == DROVER_HEAD_GAUSSIAN && n < num_outputs; n++) {
      const double log_std = (double)flat[mlp->log_std_at + n] + (moved == mlp->log_std_at + n ? delta : 0);
      sum += term(loss, rows[i], num_outputs + n, log_std, &slope);
    }
    if (!mlp->options.has_values) continue;
    reference_forward_moved(mlp, flat, moved, delta, DR_CHAIN_VALUE, x, out);
    sum += term(loss, rows[i], 2 * num_outputs, out[0], &slope);
  }
  free(out);
  return sum;
}

/* A problem: random weights, observations, loss, and a choice of rows. */
typedef struct problem {
  dr_mlp mlp;
  float *flat, *observations, *a, *b;
  int32_t *rows;
  int32_t num_rows;
  test_loss loss;
} problem;

static void problem_open(problem *p, const drover_mlp_options *options, int32_t num_rows, uint64_t *random) {
  enum { SPARE = 10 };
  const size_t all = (size_t)num_rows + SPARE;
  cr_assert_eq(dr_mlp_init(&p->mlp, options), DROVER_OK, "%s", drover_last_error());
  p->flat = test_weights(&p->mlp, random);
  p->observations = test_floats(random, all * (size_t)options->observation_size, 1.5);
  p->a = test_floats(random, all * loss_width(&p->mlp), 1);
  p->b = test_floats(random, all * loss_width(&p->mlp), 1);
  p->rows = malloc((size_t)num_rows * sizeof *p->rows);
  for (int32_t i = 0; i < num_rows; i++) p->rows[i] = (int32_t)(test_random(random) % all);
  p->num_rows = num_rows;
  p->loss = (test_loss){&p->mlp, p->a, p->b};
}

static void problem_close(problem *p) {
  free(p->flat);
  free(p->observations);
  free(p->a);
  free(p->b);
  free(p->rows);
}

/* One pass by so many workers, in a runtime of its own. */
static void pass(problem *p, int32_t num_workers, float *gradients, double *sums) {
  drover_runtime_options options;
  cr_assert_eq(drover_runtime_options_init(&options, sizeof options), DROVER_OK);
  options.num_workers = num_workers;
  drover_runtime *runtime = NULL;
  cr_assert_eq(drover_runtime_create(&runtime, &options), DROVER_OK, "%s", drover_last_error());
  dr_gradient *gradient = NULL;
  cr_assert_eq(dr_gradient_create(&gradient, runtime, &p->mlp, p->num_rows + 100), DROVER_OK, "%s",
               drover_last_error());
  dr_runtime_begin_call(runtime);
  for (int again = 0; again < 2; again++) /* the second must not see what the first left */
    cr_assert_eq(
        dr_gradient_pass(gradient, p->flat, p->observations, p->num_rows, p->rows, run_loss, &p->loss, gradients, sums),
        DROVER_OK, "%s", drover_last_error());
  dr_runtime_end_call(runtime);
  dr_gradient_destroy(gradient);
  cr_assert_eq(drover_runtime_destroy(runtime), DROVER_OK);
}

/* At most `most` of the weights, chosen at random, against central differences; the step is small enough for kinks to
 * be missed and large enough for double. */
static void check_differences(const drover_mlp_options *options, int32_t num_rows, size_t most, uint64_t *random) {
  problem p;
  problem_open(&p, options, num_rows, random);
  float *gradients = malloc(p.mlp.num_weights * sizeof *gradients);
  double sums[DR_MAX_LOSS_SUMS], largest = 1;
  pass(&p, 2, gradients, sums);
  const double loss = reference_loss(&p.loss, p.flat, SIZE_MAX, 0, p.observations, num_rows, p.rows);
  const double got = sums[0] + sums[1] + sums[2];
  cr_assert(fabs(got - loss) <= 1e-5 * fmax(fabs(loss), num_rows), "loss %.9g, expected %.9g", got, loss);
  cr_assert_eq(sums[15], num_rows);
  for (size_t i = 0; i < p.mlp.num_weights; i++) largest = fmax(largest, fabs((double)gradients[i]));
  const bool all = p.mlp.num_trainable <= most;
  const double step = 1e-6;
  for (size_t j = 0; j < (all ? p.mlp.num_trainable : most); j++) {
    const size_t i = all ? j : test_random(random) % p.mlp.num_trainable;
    const double up = reference_loss(&p.loss, p.flat, i, step, p.observations, num_rows, p.rows);
    const double down = reference_loss(&p.loss, p.flat, i, -step, p.observations, num_rows, p.rows);
    const double want = (up - down) / (2 * step);
    char name[80];
    dr_mlp_describe_weight(&p.mlp, i, name, sizeof name);
    cr_assert(fabs((double)gradients[i] - want) <= 1e-5 * largest, "%s: gradient %.9g, difference %.9g", name,
              (double)gradients[i], want);
  }
  for (size_t i = p.mlp.num_trainable; i < p.mlp.num_weights; i++) cr_assert_eq(gradients[i], 0.0f);
  free(gradients);
  problem_close(&p);
}

Test(gradient, agrees_with_central_differences_for_every_activation_and_head) {
  uint64_t random = test_seed();
  for (int activation = 0; activation <= DROVER_ACTIVATION_IDENTITY; activation++)
    for (int head = 0; head <= DROVER_HEAD_UNIT; head++) {
      drover_mlp_options options = test_options(5, 2, 7, 3, (drover_head)head, (drover_activation)activation);
      options.hidden[1] = 18;
      check_differences(&options, 33, 1000, &random);
    }
}

Test(gradient, agrees_with_central_differences_for_odd_shapes) {
  uint64_t random = test_seed();
  static const int32_t shapes[][4] = {{1, 0, 0, 1},   {3, 0, 0, 5},    {17, 1, 1, 2},   {4, 3, 4, 4},  {2, 5, 3, 1},
                                      {33, 1, 16, 6}, {16, 2, 16, 16}, {40, 2, 65, 17}, {7, 1, 130, 3}};
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
    for (int shared = 0; shared < 2; shared++) {
      drover_mlp_options options = test_options(shapes[i][0], shapes[i][1], shapes[i][2], shapes[i][3],
                                                DROVER_HEAD_GAUSSIAN, DROVER_ACTIVATION_TANH);
      options.shared_values = shared;
      options.normalize_observations = i % 2 == 0;
      check_differences(&options, 1 + (int32_t)(test_random(&random) % 40), 100, &random);
    }
}

Test(gradient, agrees_with_central_differences_over_several_blocks) {
  uint64_t random = test_seed();
  static const int32_t num_rows[] = {DR_LOSS_MAX_ROWS - 1, DR_LOSS_MAX_ROWS, DR_LOSS_MAX_ROWS + 1, 2500};
  for (size_t i = 0; i < sizeof num_rows / sizeof *num_rows; i++) {
    drover_mlp_options options = test_options(17, 2, 64, 6, DROVER_HEAD_GAUSSIAN, DROVER_ACTIVATION_TANH);
    options.normalize_observations = 1;
    check_differences(&options, num_rows[i], 10, &random);
  }
}

Test(gradient, agrees_with_central_differences_without_values) {
  uint64_t random = test_seed();
  drover_mlp_options options = test_options(9, 2, 20, 4, DROVER_HEAD_UNIT, DROVER_ACTIVATION_LEAKY_RELU);
  options.has_values = 0;
  check_differences(&options, 300, 50, &random);
}

Test(gradient, has_the_same_bits_for_any_number_of_workers) {
  uint64_t random = test_seed();
  /* Widths and rows: blocks alone and several in a group; fewer groups than workers, who then share a block. */
  static const int32_t sizes[][2] = {{24, 3001}, {64, 3001}, {256, 3001}, {300, 128}, {201, 333}};
  for (size_t w = 0; w < sizeof sizes / sizeof *sizes; w++) {
    drover_mlp_options options = test_options(11, 2, sizes[w][0], 3, DROVER_HEAD_GAUSSIAN, DROVER_ACTIVATION_TANH);
    options.normalize_observations = 1;
    options.shared_values = w % 2 == 1;
    problem p;
    problem_open(&p, &options, sizes[w][1], &random);
    const size_t bytes = p.mlp.num_weights * sizeof(float);
    float *want = malloc(bytes), *got = malloc(bytes);
    double want_sums[DR_MAX_LOSS_SUMS], got_sums[DR_MAX_LOSS_SUMS];
    pass(&p, 1, want, want_sums);
    static const int32_t workers[] = {1, 2, 5, 5, 16, 21};
    for (size_t i = 0; i < sizeof workers / sizeof *workers; i++) {
      memset(got, 0xAA, bytes);
      pass(&p, workers[i], got, got_sums);
      cr_assert_eq(compare_bytes(want, got, bytes), 0, "%d workers differ from 1", (int)workers[i]);
      cr_assert_eq(compare_bytes(want_sums, got_sums, sizeof want_sums), 0);
    }
    free(want);
    free(got);
    problem_close(&p);
  }
}

Test(gradient, steps_have_the_bits_of_the_optimiser_alone_and_leave_the_weights_packed) {
  uint64_t random = test_seed();
  static const int32_t widths[] = {20, 200}; /* the second is shared by the workers */
  for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
    const drover_mlp_options options = test_options(11, 2, widths[w], 3, DROVER_HEAD_GAUSSIAN, DROVER_ACTIVATION_TANH);
    problem p;
    problem_open(&p, &options, 300, &random);
    const size_t count = p.mlp.num_weights, bytes = count * sizeof(float);
    float *gradients = malloc(bytes), *again = malloc(bytes), *want = malloc(bytes);
    double sums[DR_MAX_LOSS_SUMS];
    memcpy(want, p.flat, bytes);
    dr_adam adam, reference;
    cr_assert_eq(dr_adam_init(&adam, p.mlp.num_trainable, 0.9, 0.99, 1e-6), DROVER_OK);
    cr_assert_eq(dr_adam_init(&reference, p.mlp.num_trainable, 0.9, 0.99, 1e-6), DROVER_OK);
    drover_runtime_options runtime_options;
    cr_assert_eq(drover_runtime_options_init(&runtime_options, sizeof runtime_options), DROVER_OK);
    runtime_options.num_workers = 4;
    drover_runtime *runtime = NULL;
    dr_gradient *gradient = NULL;
    cr_assert_eq(drover_runtime_create(&runtime, &runtime_options), DROVER_OK, "%s", drover_last_error());
    cr_assert_eq(dr_gradient_create(&gradient, runtime, &p.mlp, 300), DROVER_OK);
    dr_runtime_begin_call(runtime);
    for (int i = 0; i < 5; i++) {
      cr_assert_eq(dr_gradient_pass(gradient, i ? NULL : p.flat, p.observations, 300, p.rows, run_loss, &p.loss,
                                    gradients, sums),
                   DROVER_OK);
      cr_assert_eq(dr_gradient_step(gradient, &adam, 1e-2, 0.7, gradients, p.flat), DROVER_OK);
      dr_adam_step(&reference, 1e-2, 0.7, gradients, want);
      cr_assert_eq(compare_bytes(p.flat, want, bytes), 0, "step %d", i);
    }
    /* What was packed by the last step gives what packing it anew gives. */
    dr_gradient_pass(gradient, NULL, p.observations, 300, p.rows, run_loss, &p.loss, gradients, sums);
    dr_gradient_pass(gradient, p.flat, p.observations, 300, p.rows, run_loss, &p.loss, again, sums);
    cr_assert_eq(compare_bytes(gradients, again, bytes), 0);
    dr_runtime_end_call(runtime);
    dr_gradient_destroy(gradient);
    cr_assert_eq(drover_runtime_destroy(runtime), DROVER_OK);
    dr_adam_free(&adam);
    dr_adam_free(&reference);
    free(gradients);
    free(again);
    free(want);
    problem_close(&p);
  }
}

Test(gradient, of_a_network_with_a_weight_that_is_not_finite_is_not_finite) {
  uint64_t random = test_seed();
  for (int activation = 0; activation <= DROVER_ACTIVATION_IDENTITY; activation++) {
    const drover_mlp_options options = test_options(5, 2, 8, 3, DROVER_HEAD_CATEGORICAL, (drover_activation)activation);
    problem p;
    problem_open(&p, &options, 200, &random);
    float *gradients = malloc(p.mlp.num_weights * sizeof *gradients);
    double sums[DR_MAX_LOSS_SUMS];
    p.flat[p.mlp.layers[DR_CHAIN_POLICY][1].bias_at] = NAN;
    pass(&p, 2, gradients, sums);
    cr_assert(!isfinite(sums[0]));
    cr_assert(isfinite(sums[2]), "the value network is another one");
    cr_assert(!isfinite(dr_gradient_norm(gradients, p.mlp.num_trainable)));
    free(gradients);
    problem_close(&p);
  }
}

static int refuse_block_one(void *object, const dr_loss_block *block) {
  (void)object;
  for (size_t i = 0; i < (size_t)block->num_rows * 3; i++) block->output_gradients[i] = 0;
  for (int32_t i = 0; i < block->num_rows; i++) block->value_gradients[i] = 0;
  return block->index == 1;
}

Test(gradient, passes_that_cannot_be_are_refused_with_a_sentence) {
  uint64_t random = test_seed();
  const drover_mlp_options options = test_options(5, 2, 8, 3, DROVER_HEAD_CATEGORICAL, DROVER_ACTIVATION_TANH);
  problem p;
  problem_open(&p, &options, 300, &random);
  drover_runtime *runtime = NULL;
  cr_assert_eq(drover_runtime_create(&runtime, NULL), DROVER_OK, "%s", drover_last_error());
  dr_gradient *gradient = NULL;
  cr_assert_eq(dr_gradient_create(&gradient, runtime, &p.mlp, 0), DROVER_ERROR_ARGUMENT);
  cr_assert_str_eq(drover_last_error(), "gradient: max_rows must be 1 or more, got 0");
  cr_assert_null(gradient);
  cr_assert_eq(dr_gradient_create(&gradient, runtime, &p.mlp, 300), DROVER_OK);
  float *gradients = malloc(p.mlp.num_weights * sizeof *gradients);
  double sums[DR_MAX_LOSS_SUMS];
  dr_runtime_begin_call(runtime);
  for (int32_t num_rows = 0; num_rows <= 301; num_rows += 301) {
    cr_assert_eq(
        dr_gradient_pass(gradient, p.flat, p.observations, num_rows, p.rows, run_loss, &p.loss, gradients, sums),
        DROVER_ERROR_ARGUMENT);
    cr_assert_not_null(strstr(drover_last_error(), "num_rows must be 1..300"));
  }
  cr_assert_eq(dr_gradient_pass(gradient, p.flat, p.observations, 300, p.rows, refuse_block_one, NULL, gradients, sums),
               DROVER_ERROR_INTERNAL);
  cr_assert_not_null(strstr(drover_last_error(), "the loss failed"), "%s", drover_last_error());
  cr_assert_eq(dr_gradient_pass(gradient, p.flat, p.observations, 300, p.rows, run_loss, &p.loss, NULL, sums),
               DROVER_OK, "forward only");
  cr_assert_eq(sums[15], 300);
  dr_runtime_end_call(runtime);
  dr_gradient_destroy(gradient);
  dr_gradient_destroy(NULL);
  drover_runtime_destroy(runtime);
  free(gradients);
  problem_close(&p);
}
