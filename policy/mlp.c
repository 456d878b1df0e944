/* mlp.c: a network's description: options checked, layers laid out, initial weights. */
#include "policy/mlp.h"

#include <drover/random.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/kernels.h"
#include "runtime/error.h"

static const char *const activation_names[] = {"relu", "tanh", "elu", "leaky_relu", "identity"};
static const char *const head_names[] = {"categorical", "gaussian", "unit"};

const char *dr_activation_name(drover_activation activation) {
  const int index = (int)activation;
  return index >= 0 && index <= DROVER_ACTIVATION_IDENTITY ? activation_names[index] : NULL;
}

const char *dr_head_name(drover_head head) {
  const int index = (int)head;
  return index >= 0 && index <= DROVER_HEAD_UNIT ? head_names[index] : NULL;
}

drover_status drover_mlp_options_init(drover_mlp_options *options, size_t size) {
  if (!options || size < sizeof options->size)
    return dr_fail(DROVER_ERROR_ARGUMENT, "mlp options: options must not be NULL and size must be sizeof *options");
  const drover_mlp_options defaults = {
      .size = size,
      .num_hidden = 2,
      .hidden = {64, 64},
      .activation = DROVER_ACTIVATION_TANH,
      .leaky_slope = 0.2f,
      .head = DROVER_HEAD_CATEGORICAL,
      .has_values = 1,
      .noise_hold = 1,
  };
  memset(options, 0, size);
  memcpy(options, &defaults, size < sizeof defaults ? size : sizeof defaults);
  return DROVER_OK;
}

drover_status drover_mlp_options_fit(drover_mlp_options *options, const drover_env_spec *spec) {
  if (!options || !spec) return dr_fail(DROVER_ERROR_ARGUMENT, "mlp options: options and spec must not be NULL");
  const bool discrete = spec->action_kind == DROVER_ACTION_DISCRETE;
  if (discrete && spec->action_size != 1)
    return dr_fail(DROVER_ERROR_UNSUPPORTED, "mlp options: a discrete action must be one number, the env has %d",
                   (int)spec->action_size);
  options->observation_size = spec->observation_size;
  options->num_outputs = discrete ? spec->num_actions : spec->action_size;
  if (discrete)
    options->head = DROVER_HEAD_CATEGORICAL;
  else if (options->head != DROVER_HEAD_UNIT)
    options->head = DROVER_HEAD_GAUSSIAN;
  return DROVER_OK;
}

drover_status drover_mlp_options_fit_inner(drover_mlp_options *options, const drover_env_spec *spec) {
  if (!options || !spec) return dr_fail(DROVER_ERROR_ARGUMENT, "mlp options: options and spec must not be NULL");
  if (spec->num_ticks < 1)
    return dr_fail(DROVER_ERROR_UNSUPPORTED, "mlp options: the env has no inner loop (num_ticks is %d)",
                   (int)spec->num_ticks);
  options->observation_size = spec->inner_observation_size;
  options->num_outputs = spec->inner_action_size;
  options->head = DROVER_HEAD_UNIT;
  options->has_values = 0;
  options->shared_values = 0;
  return DROVER_OK;
}

/* One field of the options against its range. */
static drover_status check_range(const char *field, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return DROVER_OK;
  return dr_fail(DROVER_ERROR_ARGUMENT, "mlp: %s must be %lld..%lld, got %lld", field, (long long)low, (long long)high,
                 (long long)value);
}

static drover_status check_options(const drover_mlp_options *options) {
  drover_status status = check_range("observation_size", options->observation_size, 1, DROVER_MLP_MAX_WIDTH);
  if (!status) status = check_range("num_outputs", options->num_outputs, 1, DROVER_MLP_MAX_WIDTH);
  if (!status) status = check_range("num_hidden", options->num_hidden, 0, DROVER_MLP_MAX_LAYERS - 1);
  for (int32_t i = 0; !status && i < options->num_hidden; i++) {
    char field[32];
    snprintf(field, sizeof field, "hidden[%d]", (int)i);
    status = check_range(field, options->hidden[i], 1, DROVER_MLP_MAX_WIDTH);
  }
  if (!status) status = check_range("activation", (int64_t)options->activation, 0, DROVER_ACTIVATION_IDENTITY);
  if (!status) status = check_range("head", (int64_t)options->head, 0, DROVER_HEAD_UNIT);
  if (!status) status = check_range("has_values", options->has_values, 0, 1);
  if (!status) status = check_range("shared_values", options->shared_values, 0, 1);
  if (!status) status = check_range("normalize_observations", options->normalize_observations, 0, 1);
  if (!status) status = check_range("noise_hold", options->noise_hold, 1, DR_MAX_NOISE_HOLD);
  if (status) return status;
  if (options->shared_values && !options->has_values)
    return dr_fail(DROVER_ERROR_ARGUMENT, "mlp: shared_values must be 0 where has_values is 0, got 1");
  if (!(options->leaky_slope >= 0.0f && options->leaky_slope <= 1.0f))
    return dr_fail(DROVER_ERROR_ARGUMENT, "mlp: leaky_slope must be 0..1, got %g", (double)options->leaky_slope);
  if (!(fabsf(options->initial_log_std) <= 20.0f))
    return dr_fail(DROVER_ERROR_ARGUMENT, "mlp: initial_log_std must be -20..20, got %g",
                   (double)options->initial_log_std);
  return DROVER_OK;
}

/* One chain's layers, from *at of the flat vector on. Widths before its first layer are the policy network's. */
static void lay_out(dr_mlp *mlp, dr_mlp_chain chain, int32_t num_outputs, size_t *at) {
  const drover_mlp_options *options = &mlp->options;
  int32_t num_inputs = options->observation_size;
  for (int32_t i = 0; i < mlp->num_layers; i++) {
    const bool last = i == options->num_hidden;
    const int32_t width = last ? num_outputs : options->hidden[i];
    if (i < mlp->first_layer[chain]) {
      num_inputs = width;
      continue;
    }
    dr_layer *layer = &mlp->layers[chain][i];
    layer->num_inputs = num_inputs;
    layer->num_outputs = width;
    layer->activation = last ? DROVER_ACTIVATION_IDENTITY : options->activation;
    layer->weights_at = *at;
    layer->bias_at = *at + (size_t)layer->num_inputs * (size_t)layer->num_outputs;
    *at = layer->bias_at + (size_t)layer->num_outputs;
    if (layer->num_outputs > mlp->max_width) mlp->max_width = layer->num_outputs;
    num_inputs = layer->num_outputs;
  }
}

drover_status dr_mlp_init(dr_mlp *mlp, const drover_mlp_options *options) {
  if (!options) return dr_fail(DROVER_ERROR_ARGUMENT, "mlp: options must not be NULL");
  if (options->size < sizeof *options)
    return dr_fail(DROVER_ERROR_ARGUMENT, "mlp: options must be filled by drover_mlp_options_init first (size is %zu)",
                   options->size);
  const drover_status status = check_options(options);
  if (status) return status;
  *mlp = (dr_mlp){.options = *options, .num_layers = options->num_hidden + 1, .num_chains = 1 + options->has_values};
  mlp->options.size = sizeof mlp->options;
  if (options->shared_values) mlp->first_layer[DR_CHAIN_VALUE] = options->num_hidden;
  size_t at = 0;
  lay_out(mlp, DR_CHAIN_POLICY, options->num_outputs, &at);
  mlp->log_std_at = at;
  if (options->head == DROVER_HEAD_GAUSSIAN) at += (size_t)options->num_outputs;
  if (options->has_values) lay_out(mlp, DR_CHAIN_VALUE, 1, &at);
  mlp->num_trainable = at;
  mlp->mean_at = at;
  mlp->std_at = at + (size_t)options->observation_size;
  if (options->normalize_observations) at += 2 * (size_t)options->observation_size;
  mlp->num_weights = at;
  return DROVER_OK;
}

/* Standard normal numbers, two by two (Box and Muller 1958), one stream a layer. */
static void fill_normal(drover_random *random, double *out, size_t count) {
  const double two_pi = 6.283185307179586;
  for (size_t i = 0; i < count; i += 2) {
    const double radius = sqrt(-2.0 * log(1.0 - drover_random_uniform(random)));
    const double angle = two_pi * drover_random_uniform(random);
    out[i] = radius * cos(angle);
    if (i + 1 < count) out[i + 1] = radius * sin(angle);
  }
}

/* weights [rows x columns] = gain times a matrix whose shorter side's vectors are orthonormal. */
static drover_status fill_orthogonal(uint64_t seed, uint32_t stream, int32_t rows, int32_t columns, double gain,
                                     float *weights) {
  const bool by_rows = rows <= columns;
  const int32_t count = by_rows ? rows : columns;
  const size_t length = (size_t)(by_rows ? columns : rows), stride = (length + 7) / 8 * 8;
  double *vectors = calloc((size_t)count * stride, sizeof *vectors);
  if (!vectors)
    return dr_fail(DROVER_ERROR_NO_MEMORY, "mlp: no memory for the initial weights of a %d x %d layer", (int)rows,
                   (int)columns);
  drover_random random = drover_random_at(seed, stream, DROVER_RANDOM_INIT, 0);
  for (int32_t i = 0; i < count; i++) fill_normal(&random, vectors + (size_t)i * stride, length);
  const bool independent = dr_kernels_best()->orthonormalise(count, stride, vectors);
  for (size_t row = 0; row < (size_t)rows; row++)
    for (size_t column = 0; column < (size_t)columns; column++)
      weights[row * (size_t)columns + column] =
          (float)(gain * (by_rows ? vectors[row * stride + column] : vectors[column * stride + row]));
  free(vectors);
  if (!independent)
    return dr_fail(DROVER_ERROR_INTERNAL, "mlp: the random matrix of layer stream %u is singular: try another seed",
                   (unsigned)stream);
  return DROVER_OK;
}

drover_status dr_mlp_initial_weights(const dr_mlp *mlp, float *weights) {
  const drover_mlp_options *options = &mlp->options;
  memset(weights, 0, mlp->num_weights * sizeof *weights);
  for (int32_t chain = 0; chain < mlp->num_chains; chain++)
    for (int32_t i = mlp->first_layer[chain]; i < mlp->num_layers; i++) {
      const dr_layer *layer = &mlp->layers[chain][i];
      const bool last = i == options->num_hidden;
      const double gain = !last ? sqrt(2.0) : chain == DR_CHAIN_VALUE ? 1.0 : 0.01;
      const uint32_t stream = (uint32_t)(chain * DROVER_MLP_MAX_LAYERS + i);
      const drover_status status = fill_orthogonal(options->seed, stream, layer->num_outputs, layer->num_inputs, gain,
                                                   weights + layer->weights_at);
      if (status) return status;
    }
  if (options->head == DROVER_HEAD_GAUSSIAN)
    for (int32_t i = 0; i < options->num_outputs; i++) weights[mlp->log_std_at + (size_t)i] = options->initial_log_std;
  if (options->normalize_observations)
    for (int32_t i = 0; i < options->observation_size; i++) weights[mlp->std_at + (size_t)i] = 1.0f;
  if (options->head == DROVER_HEAD_UNIT) {
    const dr_layer *last = &mlp->layers[DR_CHAIN_POLICY][options->num_hidden];
    for (int32_t i = 0; i < last->num_outputs; i++) weights[last->bias_at + (size_t)i] = -2.0f;
  }
  return DROVER_OK;
}

void dr_mlp_tensor_name(dr_mlp_chain chain, int32_t layer, bool is_bias, char *text, size_t text_size) {
  snprintf(text, text_size, "%s.%d.%s", chain == DR_CHAIN_VALUE ? "value" : "layers", (int)layer,
           is_bias ? "bias" : "weight");
}

void dr_mlp_describe_weight(const dr_mlp *mlp, size_t index, char *text, size_t text_size) {
  char name[48];
  for (int32_t chain = 0; chain < mlp->num_chains; chain++)
    for (int32_t i = mlp->first_layer[chain]; i < mlp->num_layers; i++) {
      const dr_layer *layer = &mlp->layers[chain][i];
      if (index < layer->weights_at || index >= layer->bias_at + (size_t)layer->num_outputs) continue;
      const bool is_bias = index >= layer->bias_at;
      dr_mlp_tensor_name((dr_mlp_chain)chain, i, is_bias, name, sizeof name);
      const size_t within = index - (is_bias ? layer->bias_at : layer->weights_at);
      if (is_bias)
        snprintf(text, text_size, "%s[%zu]", name, within);
      else
        snprintf(text, text_size, "%s[%zu,%zu]", name, within / (size_t)layer->num_inputs,
                 within % (size_t)layer->num_inputs);
      return;
    }
  if (index >= mlp->num_trainable)
    snprintf(text, text_size, "observation.%s[%zu]", index < mlp->std_at ? "mean" : "std",
             index - (index < mlp->std_at ? mlp->mean_at : mlp->std_at));
  else
    snprintf(text, text_size, "log_std[%zu]", index - mlp->log_std_at);
}

const char *dr_mlp_check_weight(const dr_mlp *mlp, size_t index, float value) {
  const bool is_log_std = mlp->options.head == DROVER_HEAD_GAUSSIAN && index >= mlp->log_std_at &&
                          index < mlp->log_std_at + (size_t)mlp->options.num_outputs;
  const bool is_std = mlp->options.normalize_observations && index >= mlp->std_at;
  if (is_log_std) return fabsf(value) <= 20.0f ? NULL : "-20..20";
  if (is_std) return isfinite(value) && value > 0.0f ? NULL : "finite and above 0";
  return isfinite(value) ? NULL : "finite";
}
