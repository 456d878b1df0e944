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
  float *normal;            /* [DR_MAX_TILE x observation_size] normalised observations; NULL if they are not */
  float *hidden[2];         /* [DR_MAX_TILE x widest stride] a layer reads one and writes the other */
  float *outputs;           /* [2 DR_MAX_TILE x widest last stride]: the last tile may be padded */
  float *shared_values;     /* [2 DR_MAX_TILE x DR_WIDTH_MULTIPLE] with shared_values: the value layer's outputs */
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
    for (int32_t i = self->mlp.first_layer[chain]; i < self->mlp.num_layers; i++) {
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
  if (self->mlp.options.shared_values) self->has_wide[0] = self->has_wide[1] = self->has_wide[0] || self->has_wide[1];
  return num_shapes;
}

/* What a tile costs: its wide layers as probed, its narrow ones at 60 multiply-adds a nanosecond. */
static double tile_seconds(const dr_inference *self, int32_t tile) {
  double seconds = 0;
  for (int32_t chain = 0; chain < self->mlp.num_chains; chain++)
    for (int32_t i = self->mlp.first_layer[chain]; i < self->mlp.num_layers; i++) {
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
  self->period = (size_t)mlp->options.observation_size;
  while (self->period % DR_WIDTH_MULTIPLE) self->period *= 2;
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

drover_status dr_context_create(dr_context **out, const dr_inference *inference) {
  const dr_mlp *mlp = &inference->mlp;
  *out = NULL;
  size_t hidden_stride = DR_WIDTH_MULTIPLE, outputs_stride = dr_stride(mlp->options.num_outputs);
  for (int32_t i = 0; i + 1 < mlp->num_layers; i++)
    if (dr_stride(mlp->options.hidden[i]) > hidden_stride) hidden_stride = dr_stride(mlp->options.hidden[i]);
  const size_t staged = inference->wide ? dr_stride(mlp->options.observation_size) * DR_MAX_TILE : 0;
  const size_t hidden = hidden_stride * DR_MAX_TILE, outputs = outputs_stride * 2 * DR_MAX_TILE;
  const size_t scratch = mlp->options.head == DROVER_HEAD_CATEGORICAL ? 2 * outputs_stride * DR_WIDTH_MULTIPLE : 0;
  const size_t normal = mlp->options.normalize_observations ? (size_t)mlp->options.observation_size * DR_MAX_TILE : 0;
  const size_t shared = mlp->options.shared_values ? (size_t)2 * DR_MAX_TILE * DR_WIDTH_MULTIPLE : 0;
  const size_t bytes = (staged + normal + 2 * hidden + outputs + shared + scratch) * sizeof(float);
  dr_context *self = calloc(1, sizeof *self);
  if (self) self->block = aligned_alloc(64, bytes);
  if (!self || !self->block) {
    dr_context_destroy(self);
    return dr_fail(DROVER_ERROR_NO_MEMORY, "mlp: no memory for an inference context of %zu bytes", bytes);
  }
  memset(self->block, 0, bytes);
  self->staged = self->block;
  self->normal = normal ? self->staged + staged : NULL;
  self->hidden[0] = self->staged + staged + normal;
  self->hidden[1] = self->hidden[0] + hidden;
  self->outputs = self->hidden[1] + hidden;
  self->shared_values = shared ? self->outputs + outputs : NULL;
  self->scratch = self->outputs + outputs + shared;
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

/* Up to a tile of rows through layer i of a chain; y has room for the whole tile. */
static int run_layer(const dr_inference *inference, const dr_weights *weights, dr_context *context, dr_mlp_chain chain,
                     int32_t i, int32_t tile, int32_t count, const float *x, float *y) {
  const dr_layer *layer = &inference->mlp.layers[chain][i];
  const int32_t shape = inference->shape[chain][i];
  if (shape >= 0) return dr_matmul_run(context->runner, shape, tile, weights->wide[chain][i], x, y);
  const size_t x_stride = i == 0 ? (size_t)layer->num_inputs : dr_stride(layer->num_inputs);
  inference->kernels->dense(&weights->dense[chain][i], count, x, x_stride, y, dr_stride(layer->num_outputs));
  return 0;
}

/* Up to a tile of rows through all layers of a chain: its outputs into y; those of the shared value layer into
 * shared_y, unless that is NULL. */
static int run_layers(const dr_inference *inference, const dr_weights *weights, dr_context *context, dr_mlp_chain chain,
                      int32_t tile, int32_t count, const float *x, float *y, float *shared_y) {
  const int32_t last = inference->mlp.num_layers - 1;
  const dr_mlp_chain hidden = inference->mlp.options.shared_values ? DR_CHAIN_POLICY : chain;
  for (int32_t i = 0; i < last; i++) {
    float *const to = context->hidden[i & 1];
    if (run_layer(inference, weights, context, hidden, i, tile, count, x, to)) return -1;
    x = to;
  }
  if (shared_y && run_layer(inference, weights, context, DR_CHAIN_VALUE, last, tile, count, x, shared_y)) return -1;
  return run_layer(inference, weights, context, chain, last, tile, count, x, y);
}

/* count <= DR_MAX_TILE rows through a chain into context->outputs, and with_shared into context->shared_values. Full
 * tiles read the caller's rows; the last one, if it is not full, a staged copy, whose rows beyond count hold anything.
 */
static int run_chain(const dr_inference *inference, const dr_weights *weights, dr_context *context, dr_mlp_chain chain,
                     int32_t count, const float *x, bool with_shared) {
  float *const shared = with_shared ? context->shared_values : NULL;
  if (!inference->has_wide[chain])
    return run_layers(inference, weights, context, chain, 0, count, x, context->outputs, shared);
  const dr_mlp *mlp = &inference->mlp;
  const size_t x_stride = (size_t)mlp->options.observation_size;
  const size_t y_stride = dr_stride(mlp->layers[chain][mlp->num_layers - 1].num_outputs);
  for (int32_t done = 0; done < count;) {
    const int32_t tile = inference->next_tile[count - done], size = dr_tile_sizes[tile];
    const int32_t rows = count - done < size ? count - done : size;
    const float *from = x + (size_t)done * x_stride;
    if (rows < size) from = memcpy(context->staged, from, (size_t)rows * x_stride * sizeof *from);
    if (run_layers(inference, weights, context, chain, tile, rows, from, context->outputs + (size_t)done * y_stride,
                   shared ? shared + (size_t)done * DR_WIDTH_MULTIPLE : NULL))
      return -1;
    done += rows;
  }
  return 0;
}

/* What layer 0 sees of count <= DR_MAX_TILE rows of observations. */
static const float *normal_rows(const dr_inference *inference, const dr_weights *weights, const dr_context *context,
                                int32_t count, const float *observations) {
  if (!context->normal) return observations;
  inference->kernels->normalize((size_t)count * (size_t)inference->mlp.options.observation_size, inference->period,
                                observations, weights->mean, weights->std, context->normal);
  return context->normal;
}

static void take_values(int32_t count, const float *outputs, float *values) {
  for (int32_t i = 0; i < count; i++) values[i] = outputs[(size_t)i * DR_WIDTH_MULTIPLE];
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
      .noise_hold = inference->mlp.options.noise_hold,
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
  const bool shared = rows->values && context->shared_values;
  for (int32_t first = 0; first < rows->count; first += DR_MAX_TILE) {
    const int32_t count = rows->count - first < DR_MAX_TILE ? rows->count - first : DR_MAX_TILE;
    const float *observations = rows->observations + (size_t)first * observation_size;
    const float *x = normal_rows(inference, weights, context, count, observations);
    if (run_chain(inference, weights, context, DR_CHAIN_POLICY, count, x, shared)) return -1;
    apply_head(inference, weights, context, rows, first, count);
    if (!rows->values) continue;
    if (!shared && run_chain(inference, weights, context, DR_CHAIN_VALUE, count, x, false)) return -1;
    take_values(count, shared ? context->shared_values : context->outputs, rows->values + first);
  }
  return 0;
}

int dr_inference_value(const dr_inference *inference, const dr_weights *weights, dr_context *context, int32_t count,
                       const float *observations, float *values) {
  const size_t observation_size = (size_t)inference->mlp.options.observation_size;
  for (int32_t first = 0; first < count; first += DR_MAX_TILE) {
    const int32_t some = count - first < DR_MAX_TILE ? count - first : DR_MAX_TILE;
    const float *x = normal_rows(inference, weights, context, some, observations + (size_t)first * observation_size);
    if (run_chain(inference, weights, context, DR_CHAIN_VALUE, some, x, false)) return -1;
    take_values(some, context->outputs, values + first);
  }
  return 0;
}
