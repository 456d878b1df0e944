/* adam.c: the optimiser's steps and its moments. */
#include "policy/learn/adam.h"

#include <math.h>
#include <stdlib.h>

#include "runtime/error.h"
#include "runtime/memory.h"

drover_status dr_adam_init(dr_adam *adam, size_t count, double beta1, double beta2, double epsilon) {
  *adam = (dr_adam){.beta1 = beta1, .beta2 = beta2, .epsilon = epsilon, .count = count};
  adam->first = dr_slab_zalloc(count, sizeof *adam->first);
  adam->second = dr_slab_zalloc(count, sizeof *adam->second);
  if (adam->first && adam->second) return DROVER_OK;
  dr_adam_free(adam);
  return dr_fail(DROVER_ERROR_NO_MEMORY, "adam: no memory for the moments of %zu weights", count);
}

void dr_adam_free(dr_adam *adam) {
  free(adam->first);
  free(adam->second);
  adam->first = adam->second = NULL;
}

dr_adam_rates dr_adam_begin(dr_adam *adam, double rate, double scale) {
  adam->num_steps++;
  const double steps = (double)adam->num_steps;
  return (dr_adam_rates){
      .scale = (float)scale,
      .follow1 = (float)(1.0 - adam->beta1),
      .follow2 = (float)(1.0 - adam->beta2),
      .rate = (float)(rate / (1.0 - pow(adam->beta1, steps))),
      .second_scale = (float)(1.0 / (1.0 - pow(adam->beta2, steps))),
      .epsilon = (float)adam->epsilon,
  };
}

void dr_adam_move(const dr_adam *adam, const dr_adam_rates *rates, size_t first, size_t some, const float *gradients,
                  float *weights) {
  dr_kernels_best()->adam(rates, some, gradients + first, adam->first + first, adam->second + first, weights + first);
}

void dr_adam_step(dr_adam *adam, double rate, double scale, const float *gradients, float *weights) {
  const dr_adam_rates rates = dr_adam_begin(adam, rate, scale);
  dr_adam_move(adam, &rates, 0, adam->count, gradients, weights);
}

double dr_gradient_norm(const float *gradients, size_t count) {
  double sums[16], sum = 0;
  dr_kernels_best()->square_sums(count, gradients, sums);
  for (size_t j = 0; j < 16; j++) sum += sums[j];
  return sqrt(sum);
}
