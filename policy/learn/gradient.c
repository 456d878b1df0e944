/* gradient.c: passes over many rows: blocks of rows forward and backward, and the sum of their gradients. */
#include <stdlib.h>
#include <string.h>

#include "policy/learn/gradient_memory.h"
#include "runtime/error.h"
#include "runtime/runtime.h"

/* What takes about 20 us is done by the caller alone: sending the others takes half as long. */
enum { SUM_ALONE_FLOATS = 1 << 18, ALONE_PRODUCTS = 1 << 20 };

/* ---- a block ---- */

static void gather(const dr_gradient *self, const dr_gradient_scratch *s, const int32_t *rows, int32_t count) {
  const size_t width = (size_t)self->mlp.options.observation_size, stride = dr_row_stride((int32_t)width);
  for (int32_t i = 0; i < count; i++)
    memcpy(s->x + (size_t)i * stride, self->observations + (size_t)rows[i] * width, width * sizeof(float));
  if (self->mlp.options.normalize_observations)
    self->kernels->normalize((size_t)count * stride, stride, s->x, self->mean, self->std, s->x);
}

/* What layer i of a chain reads. */
static const float *input_of(const dr_gradient *self, const dr_gradient_scratch *s, int32_t chain, int32_t i) {
  if (i == 0) return s->x;
  return s->y[i > self->mlp.first_layer[chain] ? chain : DR_CHAIN_POLICY][i - 1];
}

static void run_forward(const dr_gradient *self, const dr_gradient_scratch *s, int32_t chain, int32_t count) {
  for (int32_t i = self->mlp.first_layer[chain]; i < self->mlp.num_layers; i++) {
    const dr_layer *layer = &self->mlp.layers[chain][i];
    self->kernels->dense(&self->forward[chain][i], count, input_of(self, s, chain, i), dr_row_stride(layer->num_inputs),
                         s->y[chain][i], dr_row_stride(layer->num_outputs));
  }
}

/* Derivatives of a layer's inputs from those of its outputs. */
static void run_backward_layer(const dr_gradient *self, int32_t chain, int32_t i, int32_t count, const float *d,
                               float *to) {
  const dr_layer *layer = &self->mlp.layers[chain][i];
  self->kernels->dense(&self->backward[chain][i], count, d, dr_row_stride(layer->num_outputs), to,
                       dr_row_stride(layer->num_inputs));
}

/* Gradients of a chain's layers, from the derivatives of its outputs in s->d[0], into a group's. */
static void run_backward(const dr_gradient *self, const dr_gradient_scratch *s, int32_t chain, int32_t count,
                         float *group, bool begin) {
  const dr_mlp *mlp = &self->mlp;
  float *d = s->d[0], *next = s->d[1];
  for (int32_t i = mlp->num_layers - 1; i >= mlp->first_layer[chain]; i--) {
    const dr_layer *layer = &mlp->layers[chain][i];
    const dr_layer_gradient *to = &self->layers[chain][i];
    const size_t in_stride = dr_row_stride(layer->num_inputs), out_stride = dr_row_stride(layer->num_outputs);
    const float *x = input_of(self, s, chain, i);
    self->kernels->back(layer->activation, mlp->options.leaky_slope, count, layer->num_outputs, s->y[chain][i], d,
                        out_stride, group + to->bias_at, begin);
    if (to->transposed)
      self->kernels->add_products(count, layer->num_inputs, x, in_stride, layer->num_outputs, d, out_stride,
                                  group + to->at, to->stride, begin);
    else
      self->kernels->add_products(count, layer->num_outputs, d, out_stride, layer->num_inputs, x, in_stride,
                                  group + to->at, to->stride, begin);
    if (i == 0) break;
    const bool shared = mlp->options.shared_values && i == mlp->num_layers - 1;
    float *const back_to = shared && chain == DR_CHAIN_VALUE ? s->d_shared : next;
    run_backward_layer(self, chain, i, count, d, back_to);
    if (shared && chain == DR_CHAIN_POLICY)
      for (size_t k = 0; k < (size_t)count * in_stride; k++) next[k] += s->d_shared[k];
    next = d;
    d = back_to;
  }
}

/* Columns of the last layer, which is padded, as the loss sees them. */
static void take_columns(int32_t count, int32_t width, const float *padded, float *out) {
  for (int32_t i = 0; i < count; i++)
    memcpy(out + (size_t)i * (size_t)width, padded + (size_t)i * dr_row_stride(width), (size_t)width * sizeof *out);
}

static void put_columns(int32_t count, int32_t width, const float *from, float *padded) {
  for (int32_t i = 0; i < count; i++)
    memcpy(padded + (size_t)i * dr_row_stride(width), from + (size_t)i * (size_t)width, (size_t)width * sizeof *from);
}

static drover_status run_block(const dr_gradient *self, const dr_gradient_scratch *s, int32_t index, float *group,
                               bool begin) {
  const dr_mlp *mlp = &self->mlp;
  const int32_t first = index * DR_LOSS_MAX_ROWS, left = self->num_rows - first, last = mlp->num_layers - 1;
  const int32_t count = left < DR_LOSS_MAX_ROWS ? left : DR_LOSS_MAX_ROWS, num_outputs = mlp->options.num_outputs;
  const bool gaussian = mlp->options.head == DROVER_HEAD_GAUSSIAN, values = mlp->options.has_values;
  gather(self, s, self->rows + first, count);
  for (int32_t chain = 0; chain < mlp->num_chains; chain++) run_forward(self, s, chain, count);
  take_columns(count, num_outputs, s->y[DR_CHAIN_POLICY][last], s->outputs);
  if (values) take_columns(count, 1, s->y[DR_CHAIN_VALUE][last], s->values);
  const dr_loss_block block = {
      .index = index,
      .num_rows = count,
      .rows = self->rows + first,
      .outputs = s->outputs,
      .values = values ? s->values : NULL,
      .log_std = gaussian ? self->weights + mlp->log_std_at : NULL,
      .output_gradients = s->output_gradients,
      .value_gradients = values ? s->value_gradients : NULL,
      .log_std_gradients = gaussian ? self->log_std_sums + (size_t)index * (size_t)num_outputs : NULL,
      .sums = self->sums + (size_t)index * DR_MAX_LOSS_SUMS,
  };
  memset(block.sums, 0, DR_MAX_LOSS_SUMS * sizeof *block.sums);
  if (gaussian) memset(block.log_std_gradients, 0, (size_t)num_outputs * sizeof *block.log_std_gradients);
  if (self->loss(self->loss_object, &block))
    return dr_fail(DROVER_ERROR_INTERNAL, "gradient: the loss failed on the %d rows from row %d on", (int)count,
                   (int)first);
  if (!self->gradients) return DROVER_OK;
  if (values) {
    put_columns(count, 1, s->value_gradients, s->d[0]);
    run_backward(self, s, DR_CHAIN_VALUE, count, group, begin);
  }
  put_columns(count, num_outputs, s->output_gradients, s->d[0]);
  run_backward(self, s, DR_CHAIN_POLICY, count, group, begin);
  return DROVER_OK;
}

static drover_status run_groups(void *object, dr_worker *worker, int32_t first_group, int32_t count, int64_t step) {
  (void)step;
  const dr_gradient *self = object;
  for (int32_t g = first_group; g < first_group + count; g++) {
    const int64_t blocks = self->num_blocks, groups = self->num_groups;
    const int32_t begin = (int32_t)(blocks * g / groups), end = (int32_t)(blocks * (g + 1) / groups);
    for (int32_t b = begin; b < end; b++) {
      const drover_status status =
          run_block(self, &self->scratch[worker->index], b, self->groups + (size_t)g * self->group_floats, b == begin);
      if (status != DROVER_OK) return status;
    }
  }
  return DROVER_OK;
}

/* ---- the sum ---- */

static void sum_piece(const dr_gradient *self, const dr_gradient_piece *p) {
  for (int32_t row = 0; row < p->num_rows; row++)
    for (int32_t column = 0; column < p->num_columns; column += DR_SUM_COLUMNS) {
      const float *from = self->groups + p->from + (size_t)row * p->from_stride + (size_t)column;
      float sum[DR_SUM_COLUMNS];
      memcpy(sum, from, sizeof sum);
      for (int32_t g = 1; g < self->num_groups; g++) {
        from += self->group_floats;
        for (int32_t j = 0; j < DR_SUM_COLUMNS; j++) sum[j] += from[j];
      }
      const int32_t left = p->num_columns - column, count = left < DR_SUM_COLUMNS ? left : DR_SUM_COLUMNS;
      float *to = self->gradients + p->to + (size_t)row * p->to_row_step + (size_t)column * p->to_column_step;
      if (p->to_column_step == 1)
        memcpy(to, sum, (size_t)count * sizeof *to);
      else
        for (int32_t j = 0; j < count; j++) to[(size_t)j * p->to_column_step] = sum[j];
    }
}

static drover_status sum_pieces(void *object, dr_worker *worker, int32_t first, int32_t count, int64_t step) {
  (void)worker, (void)step;
  const dr_gradient *self = object;
  for (int32_t i = first; i < first + count; i++) sum_piece(self, &self->pieces[i]);
  return DROVER_OK;
}

/* What the loss added up, in the order of the blocks; and the gradients that are not a layer's. */
static void sum_losses(const dr_gradient *self, double *sums) {
  const dr_mlp *mlp = &self->mlp;
  for (int32_t k = 0; k < DR_MAX_LOSS_SUMS; k++) sums[k] = 0;
  for (int32_t b = 0; b < self->num_blocks; b++)
    for (int32_t k = 0; k < DR_MAX_LOSS_SUMS; k++) sums[k] += self->sums[(size_t)b * DR_MAX_LOSS_SUMS + (size_t)k];
  if (!self->gradients) return;
  const size_t num_outputs = (size_t)mlp->options.num_outputs;
  for (size_t n = 0; mlp->options.head == DROVER_HEAD_GAUSSIAN && n < num_outputs; n++) {
    double sum = 0;
    for (int32_t b = 0; b < self->num_blocks; b++) sum += self->log_std_sums[(size_t)b * num_outputs + n];
    self->gradients[mlp->log_std_at + n] = (float)sum;
  }
  memset(self->gradients + mlp->num_trainable, 0, (mlp->num_weights - mlp->num_trainable) * sizeof(float));
}

/* ---- a pass ---- */

static void pack(dr_gradient *self) {
  const dr_mlp *mlp = &self->mlp;
  for (int32_t chain = 0; chain < mlp->num_chains; chain++)
    for (int32_t i = mlp->first_layer[chain]; i < mlp->num_layers; i++) {
      const dr_layer *layer = &mlp->layers[chain][i];
      const dr_dense *forward = &self->forward[chain][i], *backward = &self->backward[chain][i];
      const float *weights = self->weights + layer->weights_at;
      self->kernels->pack(layer->num_inputs, layer->num_outputs, weights, (float *)(uintptr_t)forward->weights);
      memcpy((float *)(uintptr_t)forward->bias, self->weights + layer->bias_at,
             (size_t)layer->num_outputs * sizeof(float));
      if (i > 0 && self->gradients)
        self->kernels->pack_transposed(layer->num_outputs, layer->num_inputs, weights,
                                       (float *)(uintptr_t)backward->weights);
    }
  if (!mlp->options.normalize_observations) return;
  const size_t bytes = (size_t)mlp->options.observation_size * sizeof(float);
  memcpy(self->mean, self->weights + mlp->mean_at, bytes);
  memcpy(self->std, self->weights + mlp->std_at, bytes);
}

static void set_groups(dr_gradient *self, int32_t num_rows) {
  if (num_rows == self->num_rows) return;
  self->num_rows = num_rows;
  self->num_blocks = (num_rows + DR_LOSS_MAX_ROWS - 1) / DR_LOSS_MAX_ROWS;
  self->num_groups = self->num_blocks < self->max_groups ? self->num_blocks : self->max_groups;
  dr_run_set_shards(&self->blocks_run, self->num_groups, 1);
}

drover_status dr_gradient_pass(dr_gradient *self, const float *weights, const float *observations, int32_t num_rows,
                               const int32_t *rows, dr_loss loss, void *object, float *gradients, double *sums) {
  if (num_rows < 1 || num_rows > self->max_rows)
    return dr_fail(DROVER_ERROR_ARGUMENT, "gradient: num_rows must be 1..%d, got %d", (int)self->max_rows,
                   (int)num_rows);
  self->weights = weights;
  self->observations = observations;
  self->rows = rows;
  self->loss = loss;
  self->loss_object = object;
  self->gradients = gradients;
  set_groups(self, num_rows);
  pack(self);
  const dr_phase blocks_phase = {.kind = DR_KIND_OTHER, .rows = run_groups};
  const dr_program blocks = {.phases = &blocks_phase, .num_phases = 1, .uncancellable = true};
  const bool few = self->num_groups == 1 || (double)self->group_floats * num_rows <= ALONE_PRODUCTS;
  drover_status status = dr_run_execute(&self->blocks_run, &blocks, self, 0, 1, few, NULL);
  if (status != DROVER_OK) return status;
  if (gradients) {
    const dr_phase pieces_phase = {.kind = DR_KIND_OTHER, .rows = sum_pieces};
    const dr_program pieces = {.phases = &pieces_phase, .num_phases = 1, .uncancellable = true};
    const bool little = few || self->group_floats * (size_t)self->num_groups <= SUM_ALONE_FLOATS;
    status = dr_run_execute(&self->pieces_run, &pieces, self, 0, 1, little, NULL);
  }
  if (status != DROVER_OK) return status;
  const dr_float_mode mode = dr_float_mode_enter();
  sum_losses(self, sums);
  dr_float_mode_leave(mode);
  return DROVER_OK;
}

drover_status dr_gradient_create(dr_gradient **out, drover_runtime *runtime, const dr_mlp *mlp, int32_t max_rows) {
  *out = NULL;
  if (max_rows < 1)
    return dr_fail(DROVER_ERROR_ARGUMENT, "gradient: max_rows must be 1 or more, got %d", (int)max_rows);
  dr_gradient *self = calloc(1, sizeof *self);
  if (!self) return dr_fail(DROVER_ERROR_NO_MEMORY, "gradient: no memory");
  self->runtime = runtime;
  self->mlp = *mlp;
  self->kernels = dr_kernels_best();
  self->max_rows = max_rows;
  const drover_status status = dr_gradient_allocate(self);
  if (status != DROVER_OK) {
    dr_gradient_destroy(self);
    return status;
  }
  dr_run_set_shards(&self->pieces_run, self->num_pieces, 1);
  *out = self;
  return DROVER_OK;
}

void dr_gradient_destroy(dr_gradient *self) {
  if (!self) return;
  dr_gradient_release(self);
  free(self);
}
