/* reference.h: what the policy tests compare with: networks and heads in double, written the obvious way. */
#ifndef DR_TESTS_POLICY_REFERENCE_H
#define DR_TESTS_POLICY_REFERENCE_H

#include <criterion/criterion.h>
#include <drover/drover.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/inference.h"
#include "tests/support/random.h"

/* memcmp, for floats too: here equal means the same bits. */
static inline int compare_bytes(const void *a, const void *b, size_t count) { return memcmp(a, b, count); }

/* count random floats in [-size, size); the caller frees them. */
static inline float *test_floats(uint64_t *state, size_t count, double size) {
  float *out = malloc((count + 1) * sizeof *out);
  cr_assert_not_null(out);
  for (size_t i = 0; i < count; i++) out[i] = (float)test_uniform(state, -size, size);
  return out;
}

static inline drover_mlp_options test_options(int32_t observation_size, int32_t num_hidden, int32_t width,
                                              int32_t num_outputs, drover_head head, drover_activation activation) {
  drover_mlp_options options;
  cr_assert_eq(drover_mlp_options_init(&options, sizeof options), DROVER_OK);
  options.observation_size = observation_size;
  options.num_hidden = num_hidden;
  for (int32_t i = 0; i < num_hidden; i++) options.hidden[i] = width;
  options.num_outputs = num_outputs;
  options.head = head;
  options.activation = activation;
  options.seed = 7;
  return options;
}

/* A network with one context, as a worker has it. */
typedef struct network {
  dr_mlp mlp;
  dr_inference *inference;
  dr_weights *weights;
  dr_context *context;
  float *flat;
} network;

/* Random weights of the size that keeps activations near 1; the caller frees them. */
static inline float *test_weights(const dr_mlp *mlp, uint64_t *random) {
  float *flat = test_floats(random, mlp->num_weights, 0.5);
  for (int32_t chain = 0; chain < mlp->num_chains; chain++)
    for (int32_t i = mlp->first_layer[chain]; i < mlp->num_layers; i++) {
      const dr_layer *layer = &mlp->layers[chain][i];
      for (size_t k = layer->weights_at; k < layer->bias_at; k++)
        flat[k] *= (float)(4.0 / sqrt((double)layer->num_inputs));
    }
  for (size_t k = mlp->std_at; k < mlp->num_weights; k++) flat[k] = (float)test_uniform(random, 0.1, 2.0);
  return flat;
}

static inline network network_open(const drover_mlp_options *options, const dr_kernels *kernels, bool use_wide,
                                   uint64_t *random) {
  network n;
  cr_assert_eq(dr_mlp_init(&n.mlp, options), DROVER_OK, "%s", drover_last_error());
  n.flat = test_weights(&n.mlp, random);
  cr_assert_eq(dr_inference_create(&n.inference, &n.mlp, kernels, use_wide), DROVER_OK, "%s", drover_last_error());
  cr_assert_eq(dr_weights_create(&n.weights, n.inference, n.flat), DROVER_OK, "%s", drover_last_error());
  cr_assert_eq(dr_context_create(&n.context, n.inference), DROVER_OK, "%s", drover_last_error());
  return n;
}

static inline void network_close(network *n) {
  dr_context_destroy(n->context);
  dr_weights_destroy(n->weights);
  dr_inference_destroy(n->inference);
  free(n->flat);
}

static inline double reference_activation(drover_activation activation, double slope, double x) {
  switch (activation) {
    case DROVER_ACTIVATION_RELU:
      return x > 0 ? x : 0;
    case DROVER_ACTIVATION_TANH:
      return tanh(x);
    case DROVER_ACTIVATION_ELU:
      return x > 0 ? x : expm1(x);
    case DROVER_ACTIVATION_LEAKY_RELU:
      return x > 0 ? x : slope * x;
    case DROVER_ACTIVATION_IDENTITY:
      break;
  }
  return x;
}

/* One row through a chain, with weight number `moved` (or none: SIZE_MAX) changed by delta; out [num_outputs of the
 * chain]. A shared value chain begins with the policy's hidden layers. */
static inline void reference_forward_moved(const dr_mlp *mlp, const float *flat, size_t moved, double delta,
                                           dr_mlp_chain chain, const float *x, double *out) {
#define WEIGHT(at) ((double)flat[at] + ((at) == moved ? delta : 0.0))
  const size_t widest =
      (size_t)(mlp->max_width > mlp->options.observation_size ? mlp->max_width : mlp->options.observation_size);
  double *from = calloc(widest, sizeof *from), *to = calloc(widest, sizeof *to);
  for (size_t i = 0; i < (size_t)mlp->options.observation_size; i++) {
    from[i] = (double)x[i];
    if (mlp->options.normalize_observations)
      from[i] = fmin(10, fmax(-10, (from[i] - WEIGHT(mlp->mean_at + i)) / WEIGHT(mlp->std_at + i)));
  }
  for (int32_t i = 0; i < mlp->num_layers; i++) {
    const dr_layer *layer = &mlp->layers[i < mlp->first_layer[chain] ? DR_CHAIN_POLICY : chain][i];
    for (size_t n = 0; n < (size_t)layer->num_outputs; n++) {
      double sum = WEIGHT(layer->bias_at + n);
      for (size_t k = 0; k < (size_t)layer->num_inputs; k++)
        sum += from[k] * WEIGHT(layer->weights_at + n * (size_t)layer->num_inputs + k);
      to[n] = reference_activation(layer->activation, (double)mlp->options.leaky_slope, sum);
    }
    double *swap = from;
    from = to;
    to = swap;
  }
  memcpy(out, from, (size_t)mlp->layers[chain][mlp->num_layers - 1].num_outputs * sizeof *out);
  free(from);
  free(to);
#undef WEIGHT
}

static inline void reference_forward(const dr_mlp *mlp, const float *flat, dr_mlp_chain chain, const float *x,
                                     double *out) {
  reference_forward_moved(mlp, flat, SIZE_MAX, 0, chain, x, out);
}

/* The arrays of one call of act, for any head. */
typedef struct acted {
  int32_t count;
  uint64_t *counters;
  float *observations;
  void *actions; /* [count x action_size] of 4 bytes */
  float *logprobs;
  float *values;
  size_t action_bytes;
} acted;

static inline acted acted_open(const dr_mlp *mlp, int32_t count, uint64_t *random) {
  const size_t action_size = mlp->options.head == DROVER_HEAD_CATEGORICAL ? 1 : (size_t)mlp->options.num_outputs;
  acted a = {.count = count, .action_bytes = action_size * 4};
  a.counters = calloc((size_t)count, sizeof *a.counters);
  for (int32_t i = 0; i < count; i++) a.counters[i] = test_random(random) >> 9;
  a.observations = test_floats(random, (size_t)count * (size_t)mlp->options.observation_size, 1.5);
  a.actions = calloc((size_t)count, a.action_bytes);
  a.logprobs = calloc((size_t)count, sizeof(float));
  a.values = calloc((size_t)count, sizeof(float));
  return a;
}

static inline void acted_close(acted *a) {
  free(a->counters);
  free(a->observations);
  free(a->actions);
  free(a->logprobs);
  free(a->values);
}

/* Rows first..first+count of a, acted on by one call; row i is env 100 + i. */
static inline drover_policy_rows acted_rows(const acted *a, const dr_mlp *mlp, int32_t first, int32_t count) {
  return (drover_policy_rows){
      .count = count,
      .first_env = 100 + first,
      .seed = 0x123456789ABCDEFu,
      .counters = a->counters + first,
      .observations = a->observations + (size_t)first * (size_t)mlp->options.observation_size,
      .actions = (char *)a->actions + (size_t)first * a->action_bytes,
      .logprobs = a->logprobs + first,
      .values = mlp->options.has_values ? a->values + first : NULL,
  };
}

static inline void network_act(const network *n, const acted *a, int32_t first, int32_t count, bool deterministic) {
  drover_policy_rows rows = acted_rows(a, &n->mlp, first, count);
  rows.deterministic = deterministic;
  cr_assert_eq(dr_inference_act(n->inference, n->weights, n->context, &rows), 0);
}

/* Equal to 1e-5 relative, or absolute where the reference is below 1. */
static inline bool nearly(double got, double want) { return fabs(got - want) <= 1e-5 * fmax(1.0, fabs(want)); }

#endif
