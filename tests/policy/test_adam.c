/* test_adam.c: the optimiser against its published recursion in double, on every instruction set. */
#include "policy/learn/adam.h"
#include "tests/policy/reference.h"

/* Kingma and Ba 2015, algorithm 1, one weight. */
typedef struct reference_adam {
  double m, v, weight;
} reference_adam;

static void reference_step(reference_adam *r, int64_t t, double rate, double beta1, double beta2, double epsilon,
                           double g) {
  r->m = beta1 * r->m + (1 - beta1) * g;
  r->v = beta2 * r->v + (1 - beta2) * g * g;
  const double m_hat = r->m / (1 - pow(beta1, (double)t)), v_hat = r->v / (1 - pow(beta2, (double)t));
  r->weight -= rate * m_hat / (sqrt(v_hat) + epsilon);
}

Test(adam, follows_the_published_recursion) {
  uint64_t random = test_seed();
  enum { COUNT = 1003, STEPS = 50 };
  dr_adam adam;
  cr_assert_eq(dr_adam_init(&adam, COUNT, 0.9, 0.999, 1e-5), DROVER_OK);
  static reference_adam reference[COUNT];
  float *weights = test_floats(&random, COUNT, 1);
  for (size_t i = 0; i < COUNT; i++) reference[i] = (reference_adam){0, 0, (double)weights[i]};
  for (int64_t t = 1; t <= STEPS; t++) {
    const double rate = 1e-3 * (double)(STEPS - t + 1) / STEPS, scale = t % 3 == 0 ? 0.25 : 1;
    float *gradients = test_floats(&random, COUNT, 2);
    dr_adam_step(&adam, rate, scale, gradients, weights);
    for (size_t i = 0; i < COUNT; i++)
      reference_step(&reference[i], t, rate, 0.9, 0.999, 1e-5, scale * (double)gradients[i]);
    free(gradients);
  }
  cr_assert_eq(adam.num_steps, STEPS);
  for (size_t i = 0; i < COUNT; i++)
    cr_assert(fabs((double)weights[i] - reference[i].weight) <= 1e-5, "weight %zu: %.9g, expected %.9g", i,
              (double)weights[i], reference[i].weight);
  free(weights);
  dr_adam_free(&adam);
}

/* While all gradients are equal, m_hat = g and v_hat = g^2: every step is `rate` long whatever g (epsilon 0). */
Test(adam, makes_steps_of_the_rate_while_the_gradient_stays) {
  float weights[5] = {0}, gradients[5] = {1e-6f, -1, 3e4f, 0.5f, -1e-3f};
  dr_adam adam;
  cr_assert_eq(dr_adam_init(&adam, 5, 0.9, 0.999, 0), DROVER_OK);
  for (int t = 0; t < 100; t++) dr_adam_step(&adam, 0.01, 1, gradients, weights);
  for (size_t i = 0; i < 5; i++)
    cr_assert_float_eq((double)weights[i], gradients[i] > 0 ? -1.0 : 1.0, 1e-5, "weight %zu: %g", i,
                       (double)weights[i]);
  dr_adam_free(&adam);
}

Test(adam, treats_a_weight_alike_wherever_it_lies) {
  uint64_t random = test_seed();
  enum { COUNT = 67 };
  dr_adam together, alone;
  float *weights = test_floats(&random, COUNT, 1), *gradients = test_floats(&random, COUNT, 1), single[COUNT];
  memcpy(single, weights, sizeof single);
  cr_assert_eq(dr_adam_init(&together, COUNT, 0.9, 0.999, 1e-8), DROVER_OK);
  dr_adam_step(&together, 1e-2, 0.7, gradients, weights);
  for (size_t i = 0; i < COUNT; i++) {
    cr_assert_eq(dr_adam_init(&alone, 1, 0.9, 0.999, 1e-8), DROVER_OK);
    dr_adam_step(&alone, 1e-2, 0.7, gradients + i, single + i);
    dr_adam_free(&alone);
  }
  cr_assert_eq(compare_bytes(weights, single, sizeof single), 0);
  dr_adam_free(&together);
  free(weights);
  free(gradients);
}

Test(adam, has_the_same_step_on_every_instruction_set) {
  uint64_t random = test_seed();
  enum { COUNT = 50 };
  static const char *const names[] = {"avx512", "avx2", "sse2"};
  const dr_adam_rates rates = {0.5f, 0.1f, 0.001f, 1e-3f, 1.5f, 1e-6f};
  float *gradients = test_floats(&random, COUNT, 1);
  for (int k = 0; k < 3; k++) {
    const dr_kernels *kernels = dr_kernels_named(names[k]);
    if (!kernels) continue;
    float first[COUNT] = {0}, second[COUNT] = {0}, weights[COUNT] = {0};
    kernels->adam(&rates, COUNT, gradients, first, second, weights);
    for (size_t i = 0; i < COUNT; i++) {
      const double g = 0.5 * (double)gradients[i], m = 0.1 * g, v = 0.001 * g * g;
      cr_assert(nearly((double)weights[i] * 1e3, -m / (sqrt(1.5 * v) + 1e-6)), "%s, weight %zu", names[k], i);
    }
  }
  free(gradients);
}

Test(adam, the_norm_of_a_gradient_is_that_in_double_and_shows_what_is_not_finite) {
  uint64_t random = test_seed();
  for (size_t count = 0; count < 70; count++) {
    float *gradients = test_floats(&random, count, 1e20);
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += (double)gradients[i] * (double)gradients[i];
    cr_assert(fabs(dr_gradient_norm(gradients, count) - sqrt(sum)) <= 1e-12 * sqrt(sum), "%zu numbers", count);
    if (count > 0) {
      gradients[count / 2] = NAN;
      cr_assert(isnan(dr_gradient_norm(gradients, count)));
      gradients[count / 2] = -INFINITY;
      cr_assert(isinf(dr_gradient_norm(gradients, count)));
    }
    free(gradients);
  }
}
