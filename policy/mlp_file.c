/* mlp_file.c: a network in a safetensors file: which tensors it has, and what each must look like. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/mlp_policy.h"
#include "policy/safetensors.h"
#include "runtime/error.h"

static const char file_format[] = "drover-mlp-1";
enum { MAX_TENSORS = 4 * DROVER_MLP_MAX_LAYERS + 1, NAME_BYTES = 32 };

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
    options->leaky_slope = strtof(slope, &end);
    if (end == slope || *end != '\0' || !(options->leaky_slope >= 0.0f && options->leaky_slope <= 1.0f))
      return dr_fail(DROVER_ERROR_FORMAT, "%s: the metadata's leaky_slope must be 0..1, it is '%.32s'", path, slope);
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
  options->has_values = dr_safetensors_find(file, name) != NULL;
  return DROVER_OK;
}

/* The tensors that a network has, in the order of its flat vector; data points into flat. Returns how many. */
static int32_t list_tensors(const dr_mlp *mlp, const float *flat, char names[][NAME_BYTES], dr_tensor *tensors) {
  int32_t count = 0;
  for (int32_t chain = 0; chain < mlp->num_chains; chain++) {
    for (int32_t i = 0; i < mlp->num_layers; i++) {
      const dr_layer *layer = &mlp->layers[chain][i];
      const uint64_t rows = (uint64_t)layer->num_outputs, columns = (uint64_t)layer->num_inputs;
      for (int part = 0; part < 2; part++, count++) {
        dr_mlp_tensor_name((dr_chain)chain, i, part == 1, names[count], NAME_BYTES);
        tensors[count] = (dr_tensor){.name = names[count],
                                     .dtype = DR_DTYPE_F32,
                                     .rank = part == 1 ? 1 : 2,
                                     .shape = {rows, part == 1 ? 0 : columns},
                                     .data = flat + (part == 1 ? layer->bias_at : layer->weights_at)};
      }
    }
    if (chain == DR_CHAIN_POLICY && mlp->options.head == DROVER_HEAD_GAUSSIAN) {
      snprintf(names[count], NAME_BYTES, "log_std");
      tensors[count] = (dr_tensor){.name = names[count],
                                   .dtype = DR_DTYPE_F32,
                                   .rank = 1,
                                   .shape = {(uint64_t)mlp->options.num_outputs},
                                   .data = flat + mlp->log_std_at};
      count++;
    }
  }
  return count;
}

/* One tensor of the file into its place; its shape must be the wanted one and its numbers finite. */
static drover_status read_tensor(const dr_safetensors *file, const dr_tensor *wanted, float *to) {
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
  memcpy(to, tensor->data, count * sizeof *to);
  const bool is_log_std = strcmp(wanted->name, "log_std") == 0;
  for (size_t i = 0; i < count; i++)
    if (!isfinite(to[i]) || (is_log_std && fabsf(to[i]) > 20.0f))
      return dr_fail(DROVER_ERROR_FORMAT, "%s: tensor '%s': number %zu must be %s, it is %g", path, wanted->name, i,
                     is_log_std ? "-20..20" : "finite", (double)to[i]);
  return DROVER_OK;
}

/* All tensors of the network into flat, and no others in the file. */
static drover_status read_tensors(const dr_safetensors *file, const dr_mlp *mlp, float *flat) {
  char names[MAX_TENSORS][NAME_BYTES];
  dr_tensor tensors[MAX_TENSORS];
  const int32_t count = list_tensors(mlp, flat, names, tensors);
  for (int32_t i = 0; i < count; i++) {
    const drover_status status = read_tensor(file, &tensors[i], (float *)(uintptr_t)tensors[i].data);
    if (status) return status;
  }
  for (int32_t i = 0; i < dr_safetensors_count(file); i++) {
    const char *name = dr_safetensors_at(file, i)->name;
    int32_t j = 0;
    while (j < count && strcmp(name, names[j]) != 0) j++;
    if (j == count)
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

drover_status dr_mlp_file_write(dr_mlp_policy *self, const char *path) {
  const dr_mlp *mlp = &self->inference->mlp;
  char names[MAX_TENSORS][NAME_BYTES], slope[32];
  dr_tensor tensors[MAX_TENSORS];
  dr_weights *weights = dr_mlp_policy_acquire(self);
  const int32_t count = list_tensors(mlp, weights->flat, names, tensors);
  snprintf(slope, sizeof slope, "%.9g", (double)mlp->options.leaky_slope);
  const dr_metadata metadata[] = {
      {"format", file_format},
      {"activation", dr_activation_name(mlp->options.activation)},
      {"head", dr_head_name(mlp->options.head)},
      {"leaky_slope", slope},
  };
  const drover_status status = dr_safetensors_write(path, metadata, 4, tensors, count);
  dr_mlp_policy_release(self, weights);
  return status;
}
