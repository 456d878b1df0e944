/* adam.h: the optimiser (Kingma and Ba 2015, "Adam: a method for stochastic optimization", algorithm 1). */
#ifndef DR_POLICY_LEARN_ADAM_H
#define DR_POLICY_LEARN_ADAM_H

#include "policy/kernels.h"

typedef struct dr_adam {
  double beta1, beta2, epsilon;
  int64_t num_steps; /* made so far */
  size_t count;
  float *first, *second; /* [count] moments */
} dr_adam;

drover_status dr_adam_init(dr_adam *adam, size_t count, double beta1, double beta2, double epsilon);
void dr_adam_free(dr_adam *adam);

/* weights -= rate * m_hat / (sqrt(v_hat) + epsilon) with gradients [count], each multiplied by `scale` first. */
void dr_adam_step(dr_adam *adam, double rate, double scale, const float *gradients, float *weights);

/* The same in parts: begin a step, then move weights first..first + some - 1 of all [count], each once, in any order
 * and by any threads. */
dr_adam_rates dr_adam_begin(dr_adam *adam, double rate, double scale);
void dr_adam_move(const dr_adam *adam, const dr_adam_rates *rates, size_t first, size_t some, const float *gradients,
                  float *weights);

/* L2 norm in double, in an order that depends on count alone. */
double dr_gradient_norm(const float *gradients, size_t count);

#endif
