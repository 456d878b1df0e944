/* inference.c: rows through the layers: tiles planned, chains run, heads applied. */
#include "policy/inference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/error.h"

/* One worker's memory. Buffers are [rows x stride] with rows and strides as kernels.h asks. */
struct dr_context {
  dr_matmul_runner *runner; /* NULL = no wide layers */
  float *staged;            /* [DR_MAX_TILE x observation_size] rows of a tile that is not full */
  float *hidden[2];         /* [DR_MAX_TILE x widest stride] a layer reads one and writes the other */
  float *outputs;           /* [2 DR_MAX_TILE x widest last stride]: the last tile may be padded */
  float *scratch;           /* for the head */
  float *block;
};

static bool is_wide(const dr_layer *layer) {
  return (int64_t)layer->num_inputs * layer->num_outputs > DR_NARROW_WEIGHTS;
}

/* Give each wide layer the index of its shape; equal shapes share one. Returns the number of shapes. */
static int32_t number_shapes(dr_inference *self, dr_matmul_shape *shapes) {
  int32_t num_shapes = 0;
  for (int32_t chain = 0; chain < self->mlp.num_chains; chain++)
    for (int32_t i = 0; i < self->mlp.num_layers; i++) {
      const dr_layer *layer = &self->mlp.layers[chain][i];
      if (!is_wide(layer)) continue;
      const dr_matmul_shape shape = {
          .num_inputs = layer->num_inputs,
          .num_outputs = layer->num_outputs,
          .x_stride = i == 0 ? (size_t)layer->num_inputs : dr_stride(layer->num_inputs),
          .y_stride = dr_stride(layer->num_outputs),
          .activation = layer->activation,
          .leaky_slope = self->mlp.options.leaky_slope,
      };
      int32_t s = 0;
      while (s < num_shapes &&
             (shapes[s].num_inputs != shape.num_inputs || shapes[s].num_outputs != shape.num_outputs ||
              shapes[s].x_stride != shape.x_stride || shapes[s].activation != shape.activation))
        s++;
      if (s == num_shapes) shapes[num_shapes++] = shape;
      self->shape[chain][i] = s;
      self->has_wide[chain] = true;
    }
  return num_shapes;
}

/* What a tile costs: its wide layers as probed, its narrow ones at 60 multiply-adds a nanosecond. */
static double tile_seconds(const dr_inference *self, int32_t tile) {
  double seconds = 0;
  for (int32_t chain = 0; chain < self->mlp.num_chains; chain++)
    for (int32_t i = 0; i < self->mlp.num_layers; i++) {
      const dr_layer *layer = &self->mlp.layers[chain][i];
      if (self->shape[chain][i] >= 0)
        seconds += dr_matmul_set_seconds(self->wide, self->shape[chain][i], tile);
      else
        seconds += 1e-9 / 60 * (double)layer->num_inputs * (double)layer->num_outputs * (double)dr_tile_sizes[tile];
    }
  return seconds;
}

/* The cheapest mix of tiles for every number of rows up to DR_MAX_TILE, by dynamic programming: the best first tile,
 * then the best mix for the rows that are left. Times decide, so the plan may differ from run to run; the rows' bits
 * cannot. */
static void plan_tiles(dr_inference *self) {
  double best[DR_MAX_TILE + 1] = {0};
  for (int32_t rows = 1; rows <= DR_MAX_TILE; rows++) {
    best[rows] = INFINITY;
    for (int32_t tile = 0; tile < DR_NUM_TILES; tile++) {
      if (!dr_matmul_set_has_tile(self->wide, tile)) continue;
      const int32_t left = rows > dr_tile_sizes[tile] ? rows - dr_tile_sizes[tile] : 0;
      const double seconds = tile_seconds(self, tile) + best[left];
      if (seconds < best[rows]) {
        best[rows] = seconds;
        self->next_tile[rows] = (uint8_t)tile;
      }
    }
  }
}

drover_status dr_inference_create(dr_inference **out, const dr_mlp *mlp, const dr_kernels *kernels, bool use_wide) {
  *out = NULL;
  dr_inference *self = calloc(1, sizeof *self);
  if (!self) return dr_fail(DROVER_ERROR_NO_MEMORY, "mlp: no memory for the network");
  self->mlp = *mlp;
  self->kernels = kernels ? kernels : dr_kernels_best();
  memset(self->shape, -1, sizeof self->shape);
  if (use_wide) {
    dr_matmul_shape shapes[2 * DROVER_MLP_MAX_LAYERS];
    const int32_t num_shapes = number_shapes(self, shapes);
    const drover_status status = num_shapes ? dr_matmul_set_create(&self->wide, shapes, num_shapes) : DROVER_OK;
    if (status) {
      dr_inference_destroy(self);
      return status;
    }
    if (self->wide) {
      plan_tiles(self);
    } else {
      memset(self->shape, -1, sizeof self->shape);
      memset(self->has_wide, 0, sizeof self->has_wide);
    }
  }
  *out = self;
  return DROVER_OK;
}

void dr_inference_destroy(dr_inference *inference) {
  if (!inference) return;
  dr_matmul_set_destroy(inference->wide);
  free(inference);
}

int32_t dr_inference_tiles(const dr_inference *inference, int32_t tiles[8]) {
  int32_t num_tiles = 0;
  for (int32_t tile = 0; tile < DR_NUM_TILES; tile++)
    if (inference->wide ? dr_matmul_set_has_tile(inference->wide, tile) : dr_tile_sizes[tile] >= DR_ROWS_MULTIPLE)
      tiles[num_tiles++] = dr_tile_sizes[tile];
  return num_tiles;
}

static drover_status check_weights(const dr_mlp *mlp, const float *flat) {
  const size_t log_std_end = mlp->log_std_at + (size_t)mlp->options.num_outputs;
  const bool gaussian = mlp->options.head == DROVER_HEAD_GAUSSIAN;
  for (size_t i = 0; i < mlp->num_weights; i++) {
    const bool log_std = gaussian && i >= mlp->log_std_at && i < log_std_end;
    if (isfinite(flat[i]) && !(log_std && fabsf(flat[i]) > 20.0f)) continue;
    char name[80];
    dr_mlp_describe_weight(mlp, i, name, sizeof name);
    return dr_fail(DROVER_ERROR_ARGUMENT, "mlp: %s must be %s, got %g", name, log_std ? "-20..20" : "finite",
                   (double)flat[i]);
  }
  return DROVER_OK;
}

/* The floats of the packed block, each part rounded up to a cache line; parts are placed if self is not NULL. */
static size_t place_parts(const dr_inference *inference, dr_weights *self) {
  const dr_mlp *mlp = &inference->mlp;
  size_t at = 0;
  for (int32_t chain = 0; chain < mlp->num_chains; chain++)
    for (int32_t i = 0; i < mlp->num_layers; i++) {
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
  return at;
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
    for (int32_t i = 0; i < mlp->num_layers; i++) {
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
      inference->kernels->pack(layer->num_inputs, layer->num_outputs, weights, (float *)(uintptr_t)dense->weights);
      float *const own_bias = (float *)(uintptr_t)dense->bias;
      memset(own_bias, 0, dr_stride(layer->num_outputs) * sizeof *own_bias);
      memcpy(own_bias, bias, (size_t)layer->num_outputs * sizeof *own_bias);
    }
  if (mlp->options.head == DROVER_HEAD_GAUSSIAN) set_gaussian(mlp, self);
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

drover_status dr_context_create(dr_context **out, const dr_inference *inference) {
  const dr_mlp *mlp = &inference->mlp;
  *out = NULL;
  size_t hidden_stride = DR_WIDTH_MULTIPLE, outputs_stride = dr_stride(mlp->options.num_outputs);
  for (int32_t i = 0; i + 1 < mlp->num_layers; i++)
    if (dr_stride(mlp->options.hidden[i]) > hidden_stride) hidden_stride = dr_stride(mlp->options.hidden[i]);
  const size_t staged = inference->wide ? dr_stride(mlp->options.observation_size) * DR_MAX_TILE : 0;
  const size_t hidden = hidden_stride * DR_MAX_TILE, outputs = outputs_stride * 2 * DR_MAX_TILE;
  const size_t scratch = mlp->options.head == DROVER_HEAD_CATEGORICAL ? 2 * outputs_stride * DR_WIDTH_MULTIPLE : 0;
  const size_t bytes = (staged + 2 * hidden + outputs + scratch) * sizeof(float);
  dr_context *self = calloc(1, sizeof *self);
  if (self) self->block = aligned_alloc(64, bytes);
  if (!self || !self->block) {
    dr_context_destroy(self);
    return dr_fail(DROVER_ERROR_NO_MEMORY, "mlp: no memory for an inference context of %zu bytes", bytes);
  }
  memset(self->block, 0, bytes);
  self->staged = self->block;
  self->hidden[0] = self->staged + staged;
  self->hidden[1] = self->hidden[0] + hidden;
  self->outputs = self->hidden[1] + hidden;
  self->scratch = self->outputs + outputs;
  if (inference->wide) {
    const drover_status status = dr_matmul_runner_create(&self->runner, inference->wide);
    if (status) {
      dr_context_destroy(self);
      return status;
    }
  }
  *out = self;
  return DROVER_OK;
}

void dr_context_destroy(dr_context *context) {
  if (!context) return;
  dr_matmul_runner_destroy(context->runner);
  free(context->block);
  free(context);
}

/* Up to a tile of rows through all layers of a chain; the last layer writes y, which has room for the whole tile. */
static int run_layers(const dr_inference *inference, const dr_weights *weights, dr_context *context, dr_chain chain,
                      int32_t tile, int32_t count, const float *x, float *y) {
  const dr_mlp *mlp = &inference->mlp;
  size_t x_stride = (size_t)mlp->options.observation_size;
  for (int32_t i = 0; i < mlp->num_layers; i++) {
    const dr_layer *layer = &mlp->layers[chain][i];
    float *const to = i + 1 < mlp->num_layers ? context->hidden[i & 1] : y;
    const size_t stride = dr_stride(layer->num_outputs);
    const int32_t shape = inference->shape[chain][i];
    if (shape < 0)
      inference->kernels->dense(&weights->dense[chain][i], count, x, x_stride, to, stride);
    else if (dr_matmul_run(context->runner, shape, tile, weights->wide[chain][i], x, to))
      return -1;
    x = to;
    x_stride = stride;
  }
  return 0;
}

/* count <= DR_MAX_TILE rows through a chain into context->outputs. Full tiles read the caller's rows; the last one, if
 * it is not full, a staged copy, whose rows beyond count hold anything. */
static int run_chain(const dr_inference *inference, const dr_weights *weights, dr_context *context, dr_chain chain,
                     int32_t count, const float *x) {
  if (!inference->has_wide[chain]) return run_layers(inference, weights, context, chain, 0, count, x, context->outputs);
  const dr_mlp *mlp = &inference->mlp;
  const size_t x_stride = (size_t)mlp->options.observation_size;
  const size_t y_stride = dr_stride(mlp->layers[chain][mlp->num_layers - 1].num_outputs);
  for (int32_t done = 0; done < count;) {
    const int32_t tile = inference->next_tile[count - done], size = dr_tile_sizes[tile];
    const int32_t rows = count - done < size ? count - done : size;
    const float *from = x + (size_t)done * x_stride;
    if (rows < size) from = memcpy(context->staged, from, (size_t)rows * x_stride * sizeof *from);
    if (run_layers(inference, weights, context, chain, tile, rows, from, context->outputs + (size_t)done * y_stride))
      return -1;
    done += rows;
  }
  return 0;
}

static int run_values(const dr_inference *inference, const dr_weights *weights, dr_context *context, int32_t count,
                      const float *observations, float *values) {
  if (run_chain(inference, weights, context, DR_CHAIN_VALUE, count, observations)) return -1;
  for (int32_t i = 0; i < count; i++) values[i] = context->outputs[(size_t)i * DR_WIDTH_MULTIPLE];
  return 0;
}

static void apply_head(const dr_inference *inference, const dr_weights *weights, dr_context *context,
                       const drover_policy_rows *rows, int32_t first, int32_t count) {
  const dr_head_rows head = {
      .rows = rows,
      .first = first,
      .count = count,
      .num_outputs = inference->mlp.options.num_outputs,
      .stride = dr_stride(inference->mlp.options.num_outputs),
      .outputs = context->outputs,
      .std_dev = weights->std_dev,
      .inverse_std = weights->inverse_std,
      .logprob_constant = weights->logprob_constant,
      .scratch = context->scratch,
  };
  switch (inference->mlp.options.head) {
    case DROVER_HEAD_CATEGORICAL:
      inference->kernels->categorical(&head);
      break;
    case DROVER_HEAD_GAUSSIAN:
      inference->kernels->gaussian(&head);
      break;
    case DROVER_HEAD_UNIT:
      inference->kernels->unit(&head);
      break;
  }
}

int dr_inference_act(const dr_inference *inference, const dr_weights *weights, dr_context *context,
                     const drover_policy_rows *rows) {
  const size_t observation_size = (size_t)inference->mlp.options.observation_size;
  for (int32_t first = 0; first < rows->count; first += DR_MAX_TILE) {
    const int32_t count = rows->count - first < DR_MAX_TILE ? rows->count - first : DR_MAX_TILE;
    const float *observations = rows->observations + (size_t)first * observation_size;
    if (run_chain(inference, weights, context, DR_CHAIN_POLICY, count, observations)) return -1;
    apply_head(inference, weights, context, rows, first, count);
    if (rows->values && run_values(inference, weights, context, count, observations, rows->values + first)) return -1;
  }
  return 0;
}

int dr_inference_value(const dr_inference *inference, const dr_weights *weights, dr_context *context, int32_t count,
                       const float *observations, float *values) {
  const size_t observation_size = (size_t)inference->mlp.options.observation_size;
  for (int32_t first = 0; first < count; first += DR_MAX_TILE) {
    const int32_t some = count - first < DR_MAX_TILE ? count - first : DR_MAX_TILE;
    if (run_values(inference, weights, context, some, observations + (size_t)first * observation_size, values + first))
      return -1;
  }
  return 0;
}
