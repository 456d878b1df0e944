/* gradient_race.c: passes and steps by several workers leave the bits of those by one, also where several share a block
 * of rows; ThreadSanitizer watches. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/learn/gradient.h"
#include "runtime/runtime.h"

enum { NUM_ROWS = 700, ONE_BLOCK = 128, OBSERVATION = 5, OUTPUTS = 3, NUM_PASSES = 6 };
static float observations[NUM_ROWS * OBSERVATION];
static int32_t rows[NUM_ROWS];

static int loss(void *object, const dr_loss_block *block) {
  (void)object;
  for (int32_t i = 0; i < block->num_rows * OUTPUTS; i++) {
    block->output_gradients[i] = block->outputs[i];
    block->sums[0] += (double)block->outputs[i];
  }
  for (int32_t i = 0; i < block->num_rows; i++) block->value_gradients[i] = block->values[i] - 1;
  for (int32_t n = 0; n < OUTPUTS; n++) block->log_std_gradients[n] += block->num_rows;
  return 0;
}

/* The gradients and sums of some passes, every other one over a single block, each from the weights that the step
 * before it moved. Returns 0. */
static int run(int32_t num_workers, const dr_mlp *mlp, float *weights, float *gradients, double *sums) {
  drover_runtime_options options;
  drover_runtime_options_init(&options, sizeof options);
  options.num_workers = num_workers;
  drover_runtime *runtime = NULL;
  dr_gradient *gradient = NULL;
  dr_adam adam;
  if (drover_runtime_create(&runtime, &options) || dr_gradient_create(&gradient, runtime, mlp, NUM_ROWS) ||
      dr_adam_init(&adam, mlp->num_trainable, 0.9, 0.999, 1e-5))
    return -1;
  int failed = dr_mlp_initial_weights(mlp, weights) ? -1 : 0;
  dr_runtime_begin_call(runtime);
  for (int32_t i = 0; i < NUM_PASSES && !failed; i++) {
    const int32_t num_rows = i % 2 ? ONE_BLOCK : NUM_ROWS - i;
    if (dr_gradient_pass(gradient, i ? NULL : weights, observations, num_rows, rows, loss, NULL, gradients, sums) ||
        dr_gradient_step(gradient, &adam, 1e-3, 0.5, gradients, weights))
      failed = -1;
  }
  dr_runtime_end_call(runtime);
  dr_adam_free(&adam);
  dr_gradient_destroy(gradient);
  drover_runtime_destroy(runtime);
  return failed;
}

int main(void) {
  for (int32_t i = 0; i < NUM_ROWS; i++) rows[i] = i * 7 % NUM_ROWS;
  for (int32_t i = 0; i < NUM_ROWS * OBSERVATION; i++) observations[i] = (float)(i % 23) / 10 - 1;
  drover_mlp_options options;
  drover_mlp_options_init(&options, sizeof options);
  options.observation_size = OBSERVATION;
  options.num_outputs = OUTPUTS;
  options.head = DROVER_HEAD_GAUSSIAN;
  options.hidden[0] = options.hidden[1] = 150; /* so that adding the gradients and the steps are shared too */
  options.normalize_observations = 1;
  dr_mlp mlp;
  if (dr_mlp_init(&mlp, &options)) return 1;
  const size_t bytes = mlp.num_weights * sizeof(float);
  float *weights[2] = {malloc(bytes), malloc(bytes)}, *gradients[2] = {malloc(bytes), malloc(bytes)};
  double sums[2][DR_MAX_LOSS_SUMS];
  int num_failures = 0;
  const int32_t workers[] = {1, 3, 5, 13};
  for (size_t i = 0; i < sizeof workers / sizeof *workers && num_failures == 0; i++) {
    const int32_t num_workers = workers[i];
    const int k = num_workers > 1;
    if (run(num_workers, &mlp, weights[k], gradients[k], sums[k])) {
      fprintf(stderr, "%d workers: %s\n", (int)num_workers, drover_last_error());
      num_failures++;
    } else if (k && (memcmp(weights[0], weights[1], bytes) != 0 || memcmp(gradients[0], gradients[1], bytes) != 0 ||
                     memcmp(sums[0], sums[1], sizeof sums[0]) != 0)) {
      fprintf(stderr, "%d workers left other bits than 1\n", (int)num_workers);
      num_failures++;
    }
  }
  for (int k = 0; k < 2; k++) {
    free(weights[k]);
    free(gradients[k]);
  }
  printf("gradient_race: %d failures\n", num_failures);
  return num_failures ? 1 : 0;
}
