/* gradient_allocates_nothing.c: no call of malloc and its family in a pass or an optimiser's step, by one worker and by
 * several, once threads have come. */
#include <stdio.h>
#include <stdlib.h>

#include "policy/learn/adam.h"
#include "policy/learn/gradient.h"
#include "runtime/runtime.h"
#include "tests/policy/count_allocations.h"

enum { MAX_ROWS = 700, OBSERVATION = 17, OUTPUTS = 6, MAX_WEIGHTS = 200000 };
static float observations[MAX_ROWS * OBSERVATION], weights[MAX_WEIGHTS], gradients[MAX_WEIGHTS];
static int32_t rows[MAX_ROWS];
static int num_failures;

static int loss(void *object, const dr_loss_block *block) {
  (void)object;
  for (int32_t i = 0; i < block->num_rows * OUTPUTS; i++) block->output_gradients[i] = 0.1f * block->outputs[i];
  for (int32_t i = 0; i < block->num_rows; i++) block->value_gradients[i] = 0.1f * block->values[i];
  return 0;
}

static void fail(const char *what) {
  fprintf(stderr, "%s: %s\n", what, drover_last_error());
  num_failures++;
}

static void check(int32_t num_workers, int32_t width, int32_t variant) {
  drover_runtime_options runtime_options;
  drover_runtime_options_init(&runtime_options, sizeof runtime_options);
  runtime_options.num_workers = num_workers;
  drover_mlp_options options;
  drover_mlp_options_init(&options, sizeof options);
  options.observation_size = OBSERVATION;
  options.hidden[0] = options.hidden[1] = width;
  options.num_outputs = OUTPUTS;
  options.head = DROVER_HEAD_GAUSSIAN;
  options.shared_values = options.normalize_observations = variant;
  dr_mlp mlp;
  drover_runtime *runtime = NULL;
  dr_gradient *gradient = NULL;
  dr_adam adam;
  double sums[DR_MAX_LOSS_SUMS];
  if (dr_mlp_init(&mlp, &options) || mlp.num_weights > MAX_WEIGHTS || dr_mlp_initial_weights(&mlp, weights) ||
      drover_runtime_create(&runtime, &runtime_options) || dr_gradient_create(&gradient, runtime, &mlp, MAX_ROWS) ||
      dr_adam_init(&adam, mlp.num_trainable, 0.9, 0.999, 1e-5)) {
    fail("create");
    return;
  }
  dr_runtime_begin_call(runtime);
  const int32_t num_warm = 40; /* threads come when they like */
  long before = 0;
  for (int32_t i = 0; i < 2 * num_warm; i++) {
    if (i == num_warm) before = atomic_load(&num_allocations);
    if (dr_gradient_pass(gradient, i % 3 ? NULL : weights, observations, MAX_ROWS - i, rows, loss, NULL, gradients,
                         sums))
      fail("pass");
    if (dr_gradient_step(gradient, &adam, 1e-3, 1, gradients, weights)) fail("step");
  }
  const long made = atomic_load(&num_allocations) - before;
  dr_runtime_end_call(runtime);
  if (made != 0) {
    fprintf(stderr, "%ld allocations in %d passes by %d workers, expected 0\n", made, (int)num_warm, (int)num_workers);
    num_failures++;
  }
  dr_adam_free(&adam);
  dr_gradient_destroy(gradient);
  drover_runtime_destroy(runtime);
}

int main(void) {
  const long before = atomic_load(&num_allocations);
  free(malloc(1));
  if (atomic_load(&num_allocations) == before) num_failures++; /* else nothing here would count */
  for (int32_t i = 0; i < MAX_ROWS; i++) rows[i] = (i * 7) % MAX_ROWS;
  for (int32_t i = 0; i < MAX_ROWS * OBSERVATION; i++) observations[i] = (float)(i % 19) / 10 - 1;
  check(1, 64, 0);
  check(1, 256, 1);
  check(2, 64, 1);
  check(2, 256, 0);
  printf("gradient_allocates_nothing: %d failures\n", num_failures);
  return num_failures ? 1 : 0;
}
