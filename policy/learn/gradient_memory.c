/* gradient_memory.c: where everything of a gradient lies, and its memory. */
#include "policy/learn/gradient_memory.h"

#include <stdlib.h>

#include "runtime/error.h"
#include "runtime/memory.h"
#include "runtime/runtime.h"

enum {
  MIN_GROUPS = 8,
  MAX_GROUPS = 16,
  GROUP_FLOATS = 1 << 24,   /* all groups' gradients together, where MIN_GROUPS allows */
  PIECE_FLOATS = 8192,      /* of a piece or a slab, about */
  SLACK = DR_WIDTH_MULTIPLE /* floats behind every buffer that kernels may read */
};

/* The next `floats` of a block that is laid out twice: once to count (base NULL), once for good. */
static float *take(float *base, size_t *at, size_t floats) {
  float *const here = base ? base + *at : NULL;
  *at += (floats + SLACK + 15) / 16 * 16;
  return here;
}

/* Memory for a block; returns its floats. */
static size_t place_scratch(const dr_gradient *self, float *base, dr_gradient_scratch *s) {
  const dr_mlp *mlp = &self->mlp;
  const size_t rows = DR_LOSS_MAX_ROWS, num_outputs = (size_t)mlp->options.num_outputs;
  size_t at = 0;
  s->x = take(base, &at, rows * dr_row_stride(mlp->options.observation_size));
  for (int32_t chain = 0; chain < mlp->num_chains; chain++)
    for (int32_t i = mlp->first_layer[chain]; i < mlp->num_layers; i++) {
      const size_t floats = rows * dr_row_stride(mlp->layers[chain][i].num_outputs);
      s->y[chain][i] = take(base, &at, floats);
      s->d[chain][i] = take(base, &at, floats);
    }
  s->d_shared = take(base, &at, mlp->options.shared_values ? rows * dr_row_stride(mlp->max_width) : 0);
  s->outputs = take(base, &at, rows * num_outputs);
  s->output_gradients = take(base, &at, rows * num_outputs);
  s->values = take(base, &at, rows);
  s->value_gradients = take(base, &at, rows);
  return at;
}

/* Packed weights, biases, zeros, moments; returns their floats. */
static size_t place_packed(dr_gradient *self, float *base) {
  const dr_mlp *mlp = &self->mlp;
  const size_t observation_stride = dr_row_stride(mlp->options.observation_size);
  size_t at = 0, widest = dr_stride(mlp->max_width);
  self->zeros = take(base, &at, widest > observation_stride ? widest : observation_stride);
  self->mean = take(base, &at, observation_stride);
  self->std = take(base, &at, observation_stride);
  for (int32_t chain = 0; chain < mlp->num_chains; chain++)
    for (int32_t i = mlp->first_layer[chain]; i < mlp->num_layers; i++) {
      const dr_layer *layer = &mlp->layers[chain][i];
      const int32_t in = layer->num_inputs, out = layer->num_outputs;
      self->forward[chain][i] = (dr_dense){.num_inputs = in,
                                           .num_outputs = out,
                                           .activation = layer->activation,
                                           .leaky_slope = mlp->options.leaky_slope,
                                           .weights = take(base, &at, self->kernels->packed_floats(in, out)),
                                           .bias = take(base, &at, dr_stride(out))};
      if (i == 0) continue;
      self->backward[chain][i] = (dr_dense){.num_inputs = out,
                                            .num_outputs = in,
                                            .activation = DROVER_ACTIVATION_IDENTITY,
                                            .weights = take(base, &at, self->kernels->packed_floats(out, in)),
                                            .bias = self->zeros};
    }
  return at;
}

/* Cut a layer's matrix, or its bias (one row), into pieces. Counts only while self->pieces is NULL. */
static void cut(dr_gradient *self, dr_gradient_piece whole) {
  const bool fits = (int64_t)whole.num_columns * whole.num_rows < INT32_MAX - PIECE_FLOATS;
  if (fits && whole.to_column_step == 1 && whole.from_stride == (size_t)whole.num_columns) { /* one long row */
    whole.num_columns *= whole.num_rows;
    whole.num_rows = 1;
  }
  if (whole.num_columns < 1) return;
  const int32_t columns = whole.num_columns < PIECE_FLOATS ? whole.num_columns : PIECE_FLOATS;
  const int32_t rows = PIECE_FLOATS / columns;
  for (int32_t row = 0; row < whole.num_rows; row += rows)
    for (int32_t column = 0; column < whole.num_columns; column += columns, self->num_pieces++) {
      if (!self->pieces) continue;
      dr_gradient_piece *p = &self->pieces[self->num_pieces];
      *p = whole;
      p->from += (size_t)row * whole.from_stride + (size_t)column;
      p->to += (size_t)row * whole.to_row_step + (size_t)column * whole.to_column_step;
      p->num_rows = whole.num_rows - row < rows ? whole.num_rows - row : rows;
      p->num_columns = whole.num_columns - column < columns ? whole.num_columns - column : columns;
    }
}

static void cut_layers(dr_gradient *self) {
  self->num_pieces = 0;
  for (int32_t chain = 0; chain < self->mlp.num_chains; chain++)
    for (int32_t i = self->mlp.first_layer[chain]; i < self->mlp.num_layers; i++) {
      const dr_layer *layer = &self->mlp.layers[chain][i];
      const dr_layer_gradient *from = &self->layers[chain][i];
      const int32_t in = layer->num_inputs, out = layer->num_outputs;
      cut(self, (dr_gradient_piece){.from = from->at,
                                    .from_stride = from->stride,
                                    .num_rows = from->transposed ? in : out,
                                    .num_columns = from->transposed ? out : in,
                                    .to = layer->weights_at,
                                    .to_row_step = from->transposed ? 1 : (size_t)in,
                                    .to_column_step = from->transposed ? (size_t)in : 1});
      cut(self,
          (dr_gradient_piece){
              .from = from->bias_at, .num_rows = 1, .num_columns = out, .to = layer->bias_at, .to_column_step = 1});
    }
}

/* Counts only while self->slabs is NULL. */
static void cut_slabs(dr_gradient *self) {
  const int32_t panel = self->kernels->panel;
  self->num_slabs = 0;
  for (int32_t chain = 0; chain < self->mlp.num_chains; chain++)
    for (int32_t i = self->mlp.first_layer[chain]; i < self->mlp.num_layers; i++) {
      const dr_layer *layer = &self->mlp.layers[chain][i];
      const int32_t panels = PIECE_FLOATS / layer->num_inputs / panel, outputs = (panels > 1 ? panels : 1) * panel;
      for (int32_t first = 0; first < layer->num_outputs; first += outputs, self->num_slabs++) {
        const int32_t left = layer->num_outputs - first;
        if (self->slabs)
          self->slabs[self->num_slabs] = (dr_gradient_slab){
              .chain = chain, .layer = i, .first = first, .end = first + (left < outputs ? left : outputs)};
      }
    }
}

static void place_gradients(dr_gradient *self) {
  size_t at = 0;
  for (int32_t chain = 0; chain < self->mlp.num_chains; chain++)
    for (int32_t i = self->mlp.first_layer[chain]; i < self->mlp.num_layers; i++) {
      const dr_layer *layer = &self->mlp.layers[chain][i];
      const size_t in = (size_t)layer->num_inputs, out = (size_t)layer->num_outputs;
      const size_t in_stride = dr_stride(layer->num_inputs), out_stride = dr_stride(layer->num_outputs);
      dr_layer_gradient *to = &self->layers[chain][i];
      to->transposed = in * out_stride < out * in_stride;
      to->stride = to->transposed ? out_stride : in_stride;
      to->at = at;
      to->bias_at = at + (to->transposed ? in : out) * to->stride;
      at = to->bias_at + out_stride;
    }
  self->group_floats = at;
}

drover_status dr_gradient_allocate(dr_gradient *self) {
  place_gradients(self);
  const int32_t num_workers = self->runtime->num_workers;
  const size_t max_blocks = ((size_t)self->max_rows + DR_LOSS_MAX_ROWS - 1) / DR_LOSS_MAX_ROWS;
  self->max_groups = MAX_GROUPS;
  while (self->max_groups > MIN_GROUPS && (size_t)self->max_groups * self->group_floats > GROUP_FLOATS)
    self->max_groups--;
  if ((size_t)self->max_groups > max_blocks) self->max_groups = (int32_t)max_blocks;
  self->num_scratch = num_workers < self->max_groups ? num_workers : self->max_groups;
  const size_t num_scratch = (size_t)self->num_scratch;
  dr_gradient_scratch counted;
  const size_t scratch_floats = place_scratch(self, NULL, &counted), packed_floats = place_packed(self, NULL);
  cut_layers(self);
  cut_slabs(self);
  self->slabs = dr_slab_zalloc((size_t)self->num_slabs, sizeof *self->slabs);
  self->pieces = dr_slab_zalloc((size_t)self->num_pieces, sizeof *self->pieces);
  self->groups = dr_slab_zalloc((size_t)self->max_groups * self->group_floats + DR_SUM_COLUMNS, sizeof(float));
  self->sums = calloc(max_blocks * DR_MAX_LOSS_SUMS, sizeof(double));
  self->log_std_sums = calloc(max_blocks * (size_t)self->mlp.options.num_outputs, sizeof(double));
  self->packed = dr_slab_zalloc(packed_floats, sizeof(float));
  self->scratch = calloc(num_scratch, sizeof *self->scratch);
  self->group_scratch = calloc((size_t)self->max_groups, sizeof(void *));
  self->group_whole = calloc((size_t)self->max_groups, sizeof *self->group_whole);
  self->scratch_floats = dr_slab_zalloc(num_scratch * scratch_floats, sizeof(float));
  if (!self->slabs || !self->pieces || !self->groups || !self->sums || !self->log_std_sums || !self->packed ||
      !self->scratch || !self->group_scratch || !self->group_whole || !self->scratch_floats)
    return dr_fail(DROVER_ERROR_NO_MEMORY, "gradient: no memory for %d gradients of %zu numbers and %d workers",
                   (int)self->max_groups, self->group_floats, (int)num_workers);
  cut_layers(self);
  cut_slabs(self);
  place_packed(self, self->packed);
  for (size_t k = 0; k < dr_row_stride(self->mlp.options.observation_size); k++)
    self->std[k] = 1.0f; /* its padding too */
  for (size_t i = 0; i < num_scratch; i++)
    place_scratch(self, self->scratch_floats + i * scratch_floats, &self->scratch[i]);
  drover_status status = dr_run_init(&self->blocks_run, self->runtime, self->max_groups);
  if (!status) status = dr_run_init(&self->pieces_run, self->runtime, self->num_pieces);
  if (!status) status = dr_run_init(&self->slabs_run, self->runtime, self->num_slabs);
  if (status) return status;
  dr_run_set_shards(&self->pieces_run, self->num_pieces, 1);
  dr_run_set_shards(&self->slabs_run, self->num_slabs, 1);
  return DROVER_OK;
}

void dr_gradient_release(dr_gradient *self) {
  dr_run_free(&self->blocks_run);
  dr_run_free(&self->pieces_run);
  dr_run_free(&self->slabs_run);
  void *const blocks[] = {self->slabs,  self->pieces,  self->groups,        self->sums,        self->log_std_sums,
                          self->packed, self->scratch, self->group_scratch, self->group_whole, self->scratch_floats};
  for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) free(blocks[i]);
}
