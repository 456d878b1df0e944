/* gradient.c: passes over many rows: blocks of rows forward and back, and the gradients of groups of blocks. */
#include <stdlib.h>
#include <string.h>

#include "policy/learn/gradient_memory.h"
#include "runtime/error.h"
#include "runtime/runtime.h"

/* So much work, in weights times rows, is done by the caller alone: 20 us, or where all rows are one block, whose
 * phases the others would share one by one, 100 us. Sending the others takes 10. */
enum { ALONE_PRODUCTS = 1 << 20, ALONE_BLOCK_PRODUCTS = 1 << 22 };

/* ---- a claim ---- */

/* What a worker has claimed of a phase: units of one block. */
typedef struct claim {
  const dr_gradient_scratch *s;
  float *group;
  int32_t block, block_rows; /* 0 rows: the group has no such block */
  int32_t unit, num_units;
  int32_t first, count; /* rows of the block */
  bool begin;           /* the group's first block */
  bool *whole;          /* the block's gradient is there: one worker went back through all of it */
} claim;

static claim claim_at(const dr_gradient *self, int32_t claimed, int32_t num_units, int32_t repeat) {
  const int32_t g = claimed / DR_BLOCK_UNITS, unit = claimed % DR_BLOCK_UNITS;
  const int64_t blocks = self->num_blocks, groups = self->num_groups;
  const int32_t begin = (int32_t)(blocks * g / groups), end = (int32_t)(blocks * (g + 1) / groups);
  claim span = {.s = self->group_scratch[g],
                .group = self->groups + (size_t)g * self->group_floats,
                .block = begin + repeat,
                .unit = unit,
                .num_units = num_units,
                .first = unit * DR_UNIT_ROWS,
                .begin = repeat == 0,
                .whole = &self->group_whole[g]};
  if (span.block >= end) return span;
  const int32_t left = self->num_rows - span.block * DR_LOSS_MAX_ROWS;
  span.block_rows = left < DR_LOSS_MAX_ROWS ? left : DR_LOSS_MAX_ROWS;
  const int32_t after = span.block_rows - span.first, most = num_units * DR_UNIT_ROWS;
  span.count = after < most ? after : most;
  return span;
}

/* ---- forward, by rows ---- */

static void gather(const dr_gradient *self, const claim *span) {
  const size_t width = (size_t)self->mlp.options.observation_size, stride = dr_row_stride((int32_t)width);
  const int32_t *rows = self->rows + span->block * DR_LOSS_MAX_ROWS + span->first;
  float *const x = span->s->x + (size_t)span->first * stride;
  for (int32_t i = 0; i < span->count; i++)
    memcpy(x + (size_t)i * stride, self->observations + (size_t)rows[i] * width, width * sizeof(float));
  if (self->mlp.options.normalize_observations)
    self->kernels->normalize((size_t)span->count * stride, stride, x, self->mean, self->std, x);
}

/* What layer i of a chain reads. */
static const float *input_of(const dr_gradient *self, const dr_gradient_scratch *s, int32_t chain, int32_t i) {
  if (i == 0) return s->x;
  return s->y[i > self->mlp.first_layer[chain] ? chain : DR_CHAIN_POLICY][i - 1];
}

static void run_forward(const dr_gradient *self, const claim *span, int32_t chain) {
  const size_t first = (size_t)span->first;
  for (int32_t i = self->mlp.first_layer[chain]; i < self->mlp.num_layers; i++) {
    const dr_layer *layer = &self->mlp.layers[chain][i];
    const size_t in_stride = dr_row_stride(layer->num_inputs), out_stride = dr_row_stride(layer->num_outputs);
    self->kernels->dense(&self->forward[chain][i], span->count, input_of(self, span->s, chain, i) + first * in_stride,
                         in_stride, span->s->y[chain][i] + first * out_stride, out_stride);
  }
}

/* Rows of the last layer, which is padded, as the loss sees them. */
static void take_columns(const claim *span, int32_t width, const float *padded, float *out) {
  for (size_t i = (size_t)span->first; i < (size_t)(span->first + span->count); i++)
    memcpy(out + i * (size_t)width, padded + i * dr_row_stride(width), (size_t)width * sizeof *out);
}

static void put_columns(const claim *span, int32_t width, const float *from, float *padded) {
  for (size_t i = (size_t)span->first; i < (size_t)(span->first + span->count); i++)
    memcpy(padded + i * dr_row_stride(width), from + i * (size_t)width, (size_t)width * sizeof *from);
}

static drover_status forward_phase(void *object, dr_worker *worker, int32_t claimed, int32_t num_units, int64_t step,
                                   int32_t repeat) {
  (void)worker, (void)step;
  const dr_gradient *self = object;
  const claim span = claim_at(self, claimed, num_units, repeat);
  if (span.count <= 0) return DROVER_OK;
  const dr_mlp *mlp = &self->mlp;
  const int32_t last = mlp->num_layers - 1;
  gather(self, &span);
  for (int32_t chain = 0; chain < mlp->num_chains; chain++) run_forward(self, &span, chain);
  take_columns(&span, mlp->options.num_outputs, span.s->y[DR_CHAIN_POLICY][last], span.s->outputs);
  if (mlp->options.has_values) take_columns(&span, 1, span.s->y[DR_CHAIN_VALUE][last], span.s->values);
  return DROVER_OK;
}

/* ---- the loss, of a whole block: it adds up over its rows in their order ---- */

static drover_status loss_phase(void *object, dr_worker *worker, int32_t claimed, int32_t num_units, int64_t step,
                                int32_t repeat) {
  (void)worker, (void)step;
  const dr_gradient *self = object;
  const dr_mlp *mlp = &self->mlp;
  const claim span = claim_at(self, claimed, num_units, repeat);
  if (span.unit > 0 || span.block_rows == 0) return DROVER_OK;
  const int32_t first = span.block * DR_LOSS_MAX_ROWS;
  const size_t num_outputs = (size_t)mlp->options.num_outputs;
  const bool gaussian = mlp->options.head == DROVER_HEAD_GAUSSIAN, values = mlp->options.has_values;
  const dr_loss_block block = {
      .index = span.block,
      .num_rows = span.block_rows,
      .rows = self->rows + first,
      .outputs = span.s->outputs,
      .values = values ? span.s->values : NULL,
      .log_std = gaussian ? self->weights + mlp->log_std_at : NULL,
      .output_gradients = span.s->output_gradients,
      .value_gradients = values ? span.s->value_gradients : NULL,
      .log_std_gradients = gaussian ? self->log_std_sums + (size_t)span.block * num_outputs : NULL,
      .sums = self->sums + (size_t)span.block * DR_MAX_LOSS_SUMS,
  };
  *span.whole = false;
  memset(block.sums, 0, DR_MAX_LOSS_SUMS * sizeof *block.sums);
  if (gaussian) memset(block.log_std_gradients, 0, num_outputs * sizeof *block.log_std_gradients);
  if (self->loss(self->loss_object, &block))
    return dr_fail(DROVER_ERROR_INTERNAL, "gradient: the loss failed on the %d rows from row %d on",
                   (int)span.block_rows, (int)first);
  return DROVER_OK;
}

/* ---- back: derivatives by rows, gradients by weights ---- */

/* Where the share of `unit` begins among `count` columns, a multiple of `multiple`. */
static int32_t share_at(int32_t count, int32_t unit, int32_t multiple) {
  return unit >= DR_BLOCK_UNITS ? count : (int32_t)((int64_t)count * unit / DR_BLOCK_UNITS) / multiple * multiple;
}

/* A share of a layer's gradient over the rows of a block, into the group's. */
static void add_gradient(const dr_gradient *self, const claim *span, int32_t chain, int32_t i) {
  enum { PRODUCT_COLUMNS = 4 };
  const dr_layer *layer = &self->mlp.layers[chain][i];
  const dr_layer_gradient *to = &self->layers[chain][i];
  const int32_t in = layer->num_inputs, out = layer->num_outputs, end = span->unit + span->num_units;
  const size_t in_stride = dr_row_stride(in), out_stride = dr_row_stride(out);
  const float *x = input_of(self, span->s, chain, i), *d = span->s->d[chain][i];
  const int32_t column = share_at(out, span->unit, DR_WIDTH_MULTIPLE), columns = share_at(out, end, DR_WIDTH_MULTIPLE);
  if (column < columns)
    self->kernels->back(DROVER_ACTIVATION_IDENTITY, 0, span->block_rows, columns - column, d + column,
                        span->s->d[chain][i] + column, out_stride, span->group + to->bias_at + column, span->begin);
  const int32_t num_left = to->transposed ? in : out, left = share_at(num_left, span->unit, PRODUCT_COLUMNS);
  const int32_t some = share_at(num_left, end, PRODUCT_COLUMNS) - left;
  if (some == 0) return;
  float *const c = span->group + to->at + (size_t)left * to->stride;
  if (to->transposed)
    self->kernels->add_products(span->block_rows, some, x + left, in_stride, out, d, out_stride, c, to->stride,
                                span->begin);
  else
    self->kernels->add_products(span->block_rows, some, d + left, out_stride, in, x, in_stride, c, to->stride,
                                span->begin);
}

/* From the derivatives of a chain's outputs to those of every layer's sums. */
static void run_backward(const dr_gradient *self, const claim *span, int32_t chain) {
  const dr_mlp *mlp = &self->mlp;
  const dr_gradient_scratch *s = span->s;
  const size_t first = (size_t)span->first;
  for (int32_t i = mlp->num_layers - 1; i >= mlp->first_layer[chain]; i--) {
    const dr_layer *layer = &mlp->layers[chain][i];
    const size_t in_stride = dr_row_stride(layer->num_inputs), out_stride = dr_row_stride(layer->num_outputs);
    float *const d = s->d[chain][i] + first * out_stride;
    if (layer->activation != DROVER_ACTIVATION_IDENTITY)
      self->kernels->back(layer->activation, mlp->options.leaky_slope, span->count, layer->num_outputs,
                          s->y[chain][i] + first * out_stride, d, out_stride, NULL, true);
    if (span->num_units == DR_BLOCK_UNITS) add_gradient(self, span, chain, i);
    if (i == 0) break;
    const bool shared = mlp->options.shared_values && i == mlp->num_layers - 1;
    float *const to = (shared && chain == DR_CHAIN_VALUE ? s->d_shared : s->d[chain][i - 1]) + first * in_stride;
    self->kernels->dense(&self->backward[chain][i], span->count, d, out_stride, to, in_stride);
    if (shared && chain == DR_CHAIN_POLICY)
      for (size_t k = 0; k < (size_t)span->count * in_stride; k++) to[k] += s->d_shared[first * in_stride + k];
  }
}

static drover_status backward_phase(void *object, dr_worker *worker, int32_t claimed, int32_t num_units, int64_t step,
                                    int32_t repeat) {
  (void)worker, (void)step;
  const dr_gradient *self = object;
  const claim span = claim_at(self, claimed, num_units, repeat);
  if (span.count <= 0) return DROVER_OK;
  const int32_t last = self->mlp.num_layers - 1;
  if (self->mlp.options.has_values) {
    put_columns(&span, 1, span.s->value_gradients, span.s->d[DR_CHAIN_VALUE][last]);
    run_backward(self, &span, DR_CHAIN_VALUE);
  }
  put_columns(&span, self->mlp.options.num_outputs, span.s->output_gradients, span.s->d[DR_CHAIN_POLICY][last]);
  run_backward(self, &span, DR_CHAIN_POLICY);
  if (span.num_units == DR_BLOCK_UNITS) *span.whole = true;
  return DROVER_OK;
}

static drover_status gradient_phase(void *object, dr_worker *worker, int32_t claimed, int32_t num_units, int64_t step,
                                    int32_t repeat) {
  (void)worker, (void)step;
  const dr_gradient *self = object;
  const claim span = claim_at(self, claimed, num_units, repeat);
  if (span.block_rows == 0 || *span.whole) return DROVER_OK;
  for (int32_t chain = self->mlp.num_chains - 1; chain >= 0; chain--)
    for (int32_t i = self->mlp.num_layers - 1; i >= self->mlp.first_layer[chain]; i--)
      add_gradient(self, &span, chain, i);
  return DROVER_OK;
}

/* ---- a group ---- */

/* Give the group scratch memory, by preference what this worker had before. */
static drover_status begin_group(void *object, dr_worker *worker, int32_t claimed, int32_t num_units) {
  (void)num_units;
  dr_gradient *self = object;
  for (int32_t i = 0; i < self->num_scratch; i++) {
    const int32_t at = (worker->index + i) % self->num_scratch;
    const uint32_t bit = (uint32_t)1 << at;
    /* acquire: whoever had it before is done with it. */
    if (atomic_fetch_or_explicit(&self->scratch_taken, bit, memory_order_acquire) & bit) continue;
    self->group_scratch[claimed / DR_BLOCK_UNITS] = &self->scratch[at];
    return DROVER_OK;
  }
  return dr_fail(DROVER_ERROR_INTERNAL, "gradient: more than %d groups in progress", (int)self->num_scratch);
}

static drover_status end_group(void *object, dr_worker *worker, int32_t claimed, int32_t num_units, int64_t next_step) {
  (void)worker, (void)num_units, (void)next_step;
  dr_gradient *self = object;
  dr_gradient_scratch **const scratch = &self->group_scratch[claimed / DR_BLOCK_UNITS];
  if (!*scratch) return DROVER_OK;
  const uint32_t bit = (uint32_t)1 << (*scratch - self->scratch);
  *scratch = NULL;
  /* release: to whoever takes it next. */
  atomic_fetch_and_explicit(&self->scratch_taken, ~bit, memory_order_release);
  return DROVER_OK;
}

static void set_groups(dr_gradient *self, int32_t num_rows) {
  if (num_rows == self->num_rows) return;
  self->num_rows = num_rows;
  self->num_blocks = (num_rows + DR_LOSS_MAX_ROWS - 1) / DR_LOSS_MAX_ROWS;
  self->num_groups = self->num_blocks < self->max_groups ? self->num_blocks : self->max_groups;
  dr_run_set_shards(&self->blocks_run, self->num_groups * DR_BLOCK_UNITS, DR_BLOCK_UNITS);
}

/* All blocks of all groups. */
static drover_status run_blocks(dr_gradient *self) {
  /* Claims while nobody is idle: all of a phase, but where there are more workers than groups, who come later. */
  const int32_t num_workers = self->runtime->num_workers, num_groups = self->num_groups;
  const int32_t share = DR_BLOCK_UNITS * num_groups / (2 * num_workers);
  const int32_t units = num_workers <= num_groups ? DR_BLOCK_UNITS : share > 0 ? share : 1;
  const dr_phase phases[] = {
      {.kind = DR_KIND_OTHER, .chunk = units, .cost = 0, .repeat_rows = forward_phase},
      {.kind = DR_KIND_OTHER,
       .chunk = DR_BLOCK_UNITS,
       .multiple = DR_BLOCK_UNITS,
       .cost = 1,
       .repeat_rows = loss_phase},
      {.kind = DR_KIND_OTHER, .chunk = units, .cost = 2, .repeat_rows = backward_phase},
      {.kind = DR_KIND_OTHER, .chunk = units, .cost = 3, .repeat_rows = gradient_phase},
  };
  const int32_t num_phases = self->gradients ? 4 : 2;
  const dr_program program = {.phases = phases,
                              .num_phases = num_phases,
                              .num_repeated = num_phases,
                              .num_repeats = (self->num_blocks + num_groups - 1) / num_groups,
                              .begin = begin_group,
                              .end = end_group,
                              .uncancellable = true};
  const double products = (double)self->group_floats * self->num_rows;
  const bool few = products <= (num_groups == 1 ? ALONE_BLOCK_PRODUCTS : ALONE_PRODUCTS);
  return dr_run_execute(&self->blocks_run, &program, self, 0, 1, few, NULL);
}

/* ---- a pass ---- */

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

drover_status dr_gradient_pass(dr_gradient *self, const float *weights, const float *observations, int32_t num_rows,
                               const int32_t *rows, dr_loss loss, void *object, float *gradients, double *sums) {
  if (num_rows < 1 || num_rows > self->max_rows)
    return dr_fail(DROVER_ERROR_ARGUMENT, "gradient: num_rows must be 1..%d, got %d", (int)self->max_rows,
                   (int)num_rows);
  self->observations = observations;
  self->rows = rows;
  self->loss = loss;
  self->loss_object = object;
  self->gradients = gradients;
  set_groups(self, num_rows);
  drover_status status = DROVER_OK;
  if (weights) {
    self->weights = weights;
    status = dr_gradient_pack(self);
  }
  if (!status) status = run_blocks(self);
  if (!status && gradients) status = dr_gradient_sum(self);
  if (status) return status;
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
  *out = self;
  return DROVER_OK;
}

void dr_gradient_destroy(dr_gradient *self) {
  if (!self) return;
  dr_gradient_release(self);
  free(self);
}
