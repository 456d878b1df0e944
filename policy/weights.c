/* weights.c: one version of a network's weights, packed for those who run it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "policy/inference.h"
#include "runtime/error.h"

static drover_status check_weights(const dr_mlp *mlp, const float *flat) {
  for (size_t i = 0; i < mlp->num_weights; i++) {
    const char *wanted = dr_mlp_check_weight(mlp, i, flat[i]);
    if (!wanted) continue;
    char name[80];
    dr_mlp_describe_weight(mlp, i, name, sizeof name);
    return dr_fail(DROVER_ERROR_ARGUMENT, "mlp: %s must be %s, got %g", name, wanted, (double)flat[i]);
  }
  return DROVER_OK;
}

/* The floats of the packed block, each part rounded up to a cache line; parts are placed if self is not NULL. */
static size_t place_parts(const dr_inference *inference, dr_weights *self) {
  const dr_mlp *mlp = &inference->mlp;
  size_t at = 0;
  for (int32_t chain = 0; chain < mlp->num_chains; chain++)
    for (int32_t i = mlp->first_layer[chain]; i < mlp->num_layers; i++) {
      if (inference->shape[chain][i] >= 0) continue;
      const dr_layer *layer = &mlp->layers[chain][i];
      const size_t floats = inference->kernels->packed_floats(layer->num_inputs, layer->num_outputs);
      if (self) {
        self->dense[chain][i].weights = self->packed + at;
        self->dense[chain][i].bias = self->packed + at + (floats + 15) / 16 * 16;
      }
      at += (floats + 15) / 16 * 16 + dr_stride(layer->num_outputs);
    }
  if (mlp->options.head == DROVER_HEAD_GAUSSIAN) {
    if (self) {
      self->std_dev = self->packed + at;
      self->inverse_std = self->std_dev + dr_stride(mlp->options.num_outputs);
    }
    at += 2 * dr_stride(mlp->options.num_outputs);
  }
  if (mlp->options.normalize_observations) {
    if (self) {
      self->mean = self->packed + at;
      self->std = self->mean + (inference->period + 15) / 16 * 16;
    }
    at += 2 * ((inference->period + 15) / 16 * 16);
  }
  return at;
}

static void set_moments(const dr_inference *inference, dr_weights *self) {
  const dr_mlp *mlp = &inference->mlp;
  if (!self->mean || !self->std) return; /* not laid out: observations go in as they are */
  for (size_t i = 0; i < inference->period; i++) {
    self->mean[i] = self->flat[mlp->mean_at + i % (size_t)mlp->options.observation_size];
    self->std[i] = self->flat[mlp->std_at + i % (size_t)mlp->options.observation_size];
  }
}

static void set_gaussian(const dr_mlp *mlp, dr_weights *self) {
  if (!self->std_dev || !self->inverse_std) return; /* not laid out: not a Gaussian head */
  const double half_log_two_pi = 0.91893853320467274;
  self->logprob_constant = 0;
  for (int32_t i = 0; i < mlp->options.num_outputs; i++) {
    const double log_std = (double)self->flat[mlp->log_std_at + (size_t)i];
    self->std_dev[i] = (float)exp(log_std);
    self->inverse_std[i] = (float)exp(-log_std);
    self->logprob_constant -= log_std + half_log_two_pi;
  }
}

drover_status dr_weights_create(dr_weights **out, const dr_inference *inference, const float *flat) {
  const dr_mlp *mlp = &inference->mlp;
  *out = NULL;
  drover_status status = check_weights(mlp, flat);
  if (status) return status;
  dr_weights *self = calloc(1, sizeof *self);
  if (!self) goto no_memory;
  self->references = 1;
  const size_t packed_floats = place_parts(inference, NULL);
  self->flat = malloc(mlp->num_weights * sizeof *flat);
  self->packed = packed_floats ? aligned_alloc(64, packed_floats * sizeof *flat) : NULL;
  if (!self->flat || (packed_floats && !self->packed)) goto no_memory;
  memcpy(self->flat, flat, mlp->num_weights * sizeof *flat);
  place_parts(inference, self);
  for (int32_t chain = 0; chain < mlp->num_chains; chain++)
    for (int32_t i = mlp->first_layer[chain]; i < mlp->num_layers; i++) {
      const dr_layer *layer = &mlp->layers[chain][i];
      const float *weights = flat + layer->weights_at, *bias = flat + layer->bias_at;
      if (inference->shape[chain][i] >= 0) {
        status =
            dr_matmul_weights_create(&self->wide[chain][i], inference->wide, inference->shape[chain][i], weights, bias);
        if (status) goto fail;
        continue;
      }
      dr_dense *dense = &self->dense[chain][i];
      dense->num_inputs = layer->num_inputs;
      dense->num_outputs = layer->num_outputs;
      dense->activation = layer->activation;
      dense->leaky_slope = mlp->options.leaky_slope;
      inference->kernels->pack(layer->num_inputs, layer->num_outputs, 0, layer->num_outputs, weights,
                               (float *)(uintptr_t)dense->weights);
      float *const own_bias = (float *)(uintptr_t)dense->bias;
      memset(own_bias, 0, dr_stride(layer->num_outputs) * sizeof *own_bias);
      memcpy(own_bias, bias, (size_t)layer->num_outputs * sizeof *own_bias);
    }
  if (mlp->options.head == DROVER_HEAD_GAUSSIAN) set_gaussian(mlp, self);
  set_moments(inference, self);
  *out = self;
  return DROVER_OK;

no_memory:
  status = dr_fail(DROVER_ERROR_NO_MEMORY, "mlp: no memory for %zu weights", mlp->num_weights);
fail:
  dr_weights_destroy(self);
  return status;
}

void dr_weights_destroy(dr_weights *weights) {
  if (!weights) return;
  for (int32_t chain = 0; chain < 2; chain++)
    for (int32_t i = 0; i < DROVER_MLP_MAX_LAYERS; i++) dr_matmul_weights_destroy(weights->wide[chain][i]);
  free(weights->packed);
  free(weights->flat);
  free(weights);
}
