/* mlp_file.c: a network in a safetensors file: which tensors it has, and what each must look like. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/mlp_policy.h"
#include "policy/safetensors.h"
#include "runtime/error.h"
#include "runtime/numerals.h"

static const char file_format[] = "drover-mlp-1";
enum { MAX_TENSORS = 4 * DROVER_MLP_MAX_LAYERS + 3, NAME_BYTES = 32 };

/* A tensor of the file that must be there, float32, with this many dimensions. NULL, with a message, if it is not. */
static const dr_tensor *find_tensor(const dr_safetensors *file, const char *name, int32_t rank) {
  const char *path = dr_safetensors_path(file);
  const dr_tensor *tensor = dr_safetensors_find(file, name);
  if (!tensor) {
    dr_fail(DROVER_ERROR_FORMAT, "%s: tensor '%s' is missing", path, name);
  } else if (tensor->dtype != DR_DTYPE_F32) {
    dr_fail(DROVER_ERROR_FORMAT, "%s: tensor '%s' must be F32, it is %s", path, name, dr_dtype_name(tensor->dtype));
  } else if (tensor->rank != rank) {
    dr_fail(DROVER_ERROR_FORMAT, "%s: tensor '%s' must have %d dimensions, it has %d", path, name, (int)rank,
            (int)tensor->rank);
  } else {
    int32_t i = 0;
    while (i < rank && tensor->shape[i] >= 1 && tensor->shape[i] <= DROVER_MLP_MAX_WIDTH) i++;
    if (i == rank) return tensor;
    dr_fail(DROVER_ERROR_FORMAT, "%s: tensor '%s': dimension %d must be 1..%d, it is %llu", path, name, (int)i,
            DROVER_MLP_MAX_WIDTH, (unsigned long long)tensor->shape[i]);
  }
  return NULL;
}

static drover_status read_choice(const dr_safetensors *file, const char *key, const char *(*name_of)(int), int *out) {
  const char *text = dr_safetensors_metadata(file, key);
  if (!text) return dr_fail(DROVER_ERROR_FORMAT, "%s: the metadata has no '%s'", dr_safetensors_path(file), key);
  for (int i = 0; name_of(i); i++)
    if (strcmp(text, name_of(i)) == 0) {
      *out = i;
      return DROVER_OK;
    }
  return dr_fail(DROVER_ERROR_FORMAT, "%s: the metadata's %s '%.32s' is unknown", dr_safetensors_path(file), key, text);
}

static const char *name_of_activation(int i) { return dr_activation_name((drover_activation)i); }
static const char *name_of_head(int i) { return dr_head_name((drover_head)i); }

static drover_status read_metadata(const dr_safetensors *file, drover_mlp_options *options) {
  const char *path = dr_safetensors_path(file), *format = dr_safetensors_metadata(file, "format");
  if (format && strcmp(format, file_format) != 0)
    return dr_fail(DROVER_ERROR_FORMAT, "%s: the metadata's format must be '%s', it is '%.32s'", path, file_format,
                   format);
  int activation = 0, head = 0;
  drover_status status = read_choice(file, "activation", name_of_activation, &activation);
  if (!status) status = read_choice(file, "head", name_of_head, &head);
  if (status) return status;
  options->activation = (drover_activation)activation;
  options->head = (drover_head)head;
  const char *slope = dr_safetensors_metadata(file, "leaky_slope");
  if (slope) {
    char *end = NULL;
    const dr_numerals numerals = dr_numerals_enter();
    options->leaky_slope = strtof(slope, &end);
    dr_numerals_leave(numerals);
    if (end == slope || *end != '\0' || !(options->leaky_slope >= 0.0f && options->leaky_slope <= 1.0f))
      return dr_fail(DROVER_ERROR_FORMAT, "%s: the metadata's leaky_slope must be 0..1, it is '%.32s'", path, slope);
  }
  const char *shared = dr_safetensors_metadata(file, "shared_values");
  if (shared && strcmp(shared, "0") != 0 && strcmp(shared, "1") != 0)
    return dr_fail(DROVER_ERROR_FORMAT, "%s: the metadata's shared_values must be 0 or 1, it is '%.32s'", path, shared);
  options->shared_values = shared && *shared == '1';
  const char *hold = dr_safetensors_metadata(file, "noise_hold");
  if (hold) {
    char *end = NULL;
    const long steps = strtol(hold, &end, 10);
    if (end == hold || *end != '\0' || steps < 1 || steps > DR_MAX_NOISE_HOLD)
      return dr_fail(DROVER_ERROR_FORMAT, "%s: the metadata's noise_hold must be 1..%d, it is '%.32s'", path,
                     DR_MAX_NOISE_HOLD, hold);
    options->noise_hold = (int32_t)steps;
  }
  return DROVER_OK;
}

/* The widths of the policy network, from the shapes of its weights. */
static drover_status read_widths(const dr_safetensors *file, drover_mlp_options *options) {
  char name[NAME_BYTES];
  for (int32_t i = 0;; i++) {
    dr_mlp_tensor_name(DR_CHAIN_POLICY, i, false, name, sizeof name);
    if (i > 0 && !dr_safetensors_find(file, name)) break;
    if (i == DROVER_MLP_MAX_LAYERS)
      return dr_fail(DROVER_ERROR_FORMAT, "%s: it has more than %d layers", dr_safetensors_path(file),
                     DROVER_MLP_MAX_LAYERS);
    const dr_tensor *tensor = find_tensor(file, name, 2);
    if (!tensor) return DROVER_ERROR_FORMAT;
    if (i == 0) options->observation_size = (int32_t)tensor->shape[1];
    if (i > 0) options->hidden[i - 1] = options->num_outputs;
    options->num_outputs = (int32_t)tensor->shape[0];
    options->num_hidden = i;
  }
  dr_mlp_tensor_name(DR_CHAIN_VALUE, 0, false, name, sizeof name);
  options->has_values = options->shared_values || dr_safetensors_find(file, name) != NULL;
  options->normalize_observations =
      dr_safetensors_find(file, "observation.mean") || dr_safetensors_find(file, "observation.std");
  return DROVER_OK;
}

/* The tensors of a network, in the order of its flat vector; data points into flat. */
typedef struct tensor_list {
  int32_t count;
  char names[MAX_TENSORS][NAME_BYTES];
  dr_tensor tensors[MAX_TENSORS];
} tensor_list;

/* Add [rows x columns], or [rows] where columns is 0, under the name that list->names[list->count] already holds. */
static void add_tensor(tensor_list *list, int32_t rows, int32_t columns, const float *data) {
  list->tensors[list->count] = (dr_tensor){.name = list->names[list->count],
                                           .dtype = DR_DTYPE_F32,
                                           .rank = columns ? 2 : 1,
                                           .shape = {(uint64_t)rows, (uint64_t)columns},
                                           .data = data};
  list->count++;
}

static void add_vector(tensor_list *list, const char *name, int32_t length, const float *data) {
  snprintf(list->names[list->count], NAME_BYTES, "%s", name);
  add_tensor(list, length, 0, data);
}

static void list_tensors(const dr_mlp *mlp, const float *flat, tensor_list *list) {
  const drover_mlp_options *options = &mlp->options;
  list->count = 0;
  for (int32_t chain = 0; chain < mlp->num_chains; chain++) {
    for (int32_t i = mlp->first_layer[chain]; i < mlp->num_layers; i++) {
      const dr_layer *layer = &mlp->layers[chain][i];
      dr_mlp_tensor_name((dr_mlp_chain)chain, i, false, list->names[list->count], NAME_BYTES);
      add_tensor(list, layer->num_outputs, layer->num_inputs, flat + layer->weights_at);
      dr_mlp_tensor_name((dr_mlp_chain)chain, i, true, list->names[list->count], NAME_BYTES);
      add_tensor(list, layer->num_outputs, 0, flat + layer->bias_at);
    }
    if (chain == DR_CHAIN_POLICY && options->head == DROVER_HEAD_GAUSSIAN)
      add_vector(list, "log_std", options->num_outputs, flat + mlp->log_std_at);
  }
  if (!options->normalize_observations) return;
  add_vector(list, "observation.mean", options->observation_size, flat + mlp->mean_at);
  add_vector(list, "observation.std", options->observation_size, flat + mlp->std_at);
}

/* One tensor of the file into its place in flat; its shape must be the wanted one and its numbers in range. */
static drover_status read_tensor(const dr_safetensors *file, const dr_mlp *mlp, const dr_tensor *wanted, float *flat) {
  const char *path = dr_safetensors_path(file);
  const dr_tensor *tensor = find_tensor(file, wanted->name, wanted->rank);
  if (!tensor) return DROVER_ERROR_FORMAT;
  size_t count = 1;
  for (int32_t i = 0; i < wanted->rank; i++) {
    if (tensor->shape[i] != wanted->shape[i])
      return dr_fail(DROVER_ERROR_FORMAT,
                     "%s: tensor '%s': dimension %d must be %llu to fit its neighbours, it is %llu", path, wanted->name,
                     (int)i, (unsigned long long)wanted->shape[i], (unsigned long long)tensor->shape[i]);
    count *= (size_t)wanted->shape[i];
  }
  const size_t at = (size_t)((const float *)wanted->data - flat);
  memcpy(flat + at, tensor->data, count * sizeof *flat);
  for (size_t i = 0; i < count; i++) {
    const char *range = dr_mlp_check_weight(mlp, at + i, flat[at + i]);
    if (range)
      return dr_fail(DROVER_ERROR_FORMAT, "%s: tensor '%s': number %zu must be %s, it is %g", path, wanted->name, i,
                     range, (double)flat[at + i]);
  }
  return DROVER_OK;
}

/* All tensors of the network into flat, and no others in the file. */
static drover_status read_tensors(const dr_safetensors *file, const dr_mlp *mlp, float *flat) {
  tensor_list list;
  list_tensors(mlp, flat, &list);
  for (int32_t i = 0; i < list.count; i++) {
    const drover_status status = read_tensor(file, mlp, &list.tensors[i], flat);
    if (status) return status;
  }
  for (int32_t i = 0; i < dr_safetensors_count(file); i++) {
    const char *name = dr_safetensors_at(file, i)->name;
    int32_t j = 0;
    while (j < list.count && strcmp(name, list.names[j]) != 0) j++;
    if (j == list.count)
      return dr_fail(DROVER_ERROR_FORMAT, "%s: tensor '%.64s' has no place in this network", dr_safetensors_path(file),
                     name);
  }
  return DROVER_OK;
}

drover_status dr_mlp_file_read(dr_mlp_policy **out, const char *path) {
  *out = NULL;
  dr_safetensors *file = NULL;
  float *flat = NULL;
  dr_mlp mlp;
  drover_mlp_options options;
  drover_mlp_options_init(&options, sizeof options);
  drover_status status = dr_safetensors_open(&file, path);
  if (!status) status = read_metadata(file, &options);
  if (!status) status = read_widths(file, &options);
  if (!status) status = dr_mlp_init(&mlp, &options);
  if (!status) {
    flat = malloc(mlp.num_weights * sizeof *flat);
    status = flat ? read_tensors(file, &mlp, flat)
                  : dr_fail(DROVER_ERROR_NO_MEMORY, "%s: no memory for %zu weights", path, mlp.num_weights);
  }
  if (!status) status = dr_mlp_policy_new(out, &options, flat);
  free(flat);
  dr_safetensors_close(file);
  return status;
}

/* Metadata that are not there mean what most networks have: no shared values, new noise in every step. */
drover_status dr_mlp_file_write(dr_mlp_policy *self, const char *path) {
  const dr_mlp *mlp = &self->inference->mlp;
  char slope[32], hold[16];
  tensor_list list;
  dr_weights *weights = dr_mlp_policy_acquire(self);
  list_tensors(mlp, weights->flat, &list);
  const dr_numerals numerals = dr_numerals_enter();
  snprintf(slope, sizeof slope, "%.9g", (double)mlp->options.leaky_slope);
  dr_numerals_leave(numerals);
  snprintf(hold, sizeof hold, "%d", (int)mlp->options.noise_hold);
  dr_metadata metadata[6] = {
      {"format", file_format},
      {"activation", dr_activation_name(mlp->options.activation)},
      {"head", dr_head_name(mlp->options.head)},
      {"leaky_slope", slope},
  };
  int32_t num_metadata = 4;
  if (mlp->options.shared_values) metadata[num_metadata++] = (dr_metadata){"shared_values", "1"};
  if (mlp->options.noise_hold > 1) metadata[num_metadata++] = (dr_metadata){"noise_hold", hold};
  const drover_status status = dr_safetensors_write(path, metadata, num_metadata, list.tensors, list.count);
  dr_mlp_policy_release(self, weights);
  return status;
}
