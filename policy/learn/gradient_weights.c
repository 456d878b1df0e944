/* gradient_weights.c: what a pass does weight by weight: the sum of the groups' gradients, the optimiser's step, and
 * packing. Every weight is one worker's, so the bits do not depend on who that is. */
#include <string.h>

#include "policy/learn/gradient_memory.h"
#include "runtime/runtime.h"

/* What takes some 20-50 us is done by the caller alone: sending the others takes half as long. */
enum { SUM_ALONE_FLOATS = 1 << 18, STEP_ALONE_WEIGHTS = 1 << 15 };

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

drover_status dr_gradient_sum(dr_gradient *self) {
  const dr_phase phase = {.kind = DR_KIND_OTHER, .rows = sum_pieces};
  const dr_program program = {.phases = &phase, .num_phases = 1, .uncancellable = true};
  const bool few = self->group_floats * (size_t)self->num_groups <= SUM_ALONE_FLOATS;
  return dr_run_execute(&self->pieces_run, &program, self, 0, 1, few, NULL);
}

/* ---- steps and packing ---- */

static void pack_slab(const dr_gradient *self, const dr_gradient_slab *slab) {
  const dr_layer *layer = &self->mlp.layers[slab->chain][slab->layer];
  const dr_dense *forward = &self->forward[slab->chain][slab->layer],
                 *backward = &self->backward[slab->chain][slab->layer];
  const float *weights = self->weights + layer->weights_at;
  self->kernels->pack(layer->num_inputs, layer->num_outputs, slab->first, slab->end, weights,
                      (float *)(uintptr_t)forward->weights);
  memcpy((float *)(uintptr_t)forward->bias + slab->first, self->weights + layer->bias_at + slab->first,
         (size_t)(slab->end - slab->first) * sizeof(float));
  if (slab->layer > 0)
    self->kernels->pack_transposed(layer->num_outputs, layer->num_inputs, slab->first, slab->end, weights,
                                   (float *)(uintptr_t)backward->weights);
}

static void move(const dr_gradient *self, size_t first, size_t count) {
  dr_adam_move(self->adam, self->rates, first, count, self->step_gradients, self->step_weights);
}

static void step_slab(const dr_gradient *self, const dr_gradient_slab *slab) {
  const dr_layer *layer = &self->mlp.layers[slab->chain][slab->layer];
  const size_t first = (size_t)slab->first, count = (size_t)(slab->end - slab->first),
               inputs = (size_t)layer->num_inputs;
  move(self, layer->weights_at + first * inputs, count * inputs);
  move(self, layer->bias_at + first, count);
}

static drover_status run_slabs(void *object, dr_worker *worker, int32_t first, int32_t count, int64_t step) {
  (void)worker, (void)step;
  const dr_gradient *self = object;
  for (int32_t i = first; i < first + count; i++) {
    if (self->adam) step_slab(self, &self->slabs[i]);
    pack_slab(self, &self->slabs[i]);
  }
  return DROVER_OK;
}

static drover_status run_all_slabs(dr_gradient *self) {
  const dr_phase phase = {.kind = DR_KIND_OTHER, .rows = run_slabs};
  const dr_program program = {.phases = &phase, .num_phases = 1, .uncancellable = true};
  const bool few = self->mlp.num_trainable <= STEP_ALONE_WEIGHTS;
  return dr_run_execute(&self->slabs_run, &program, self, 0, 1, few, NULL);
}

drover_status dr_gradient_pack(dr_gradient *self) {
  const dr_mlp *mlp = &self->mlp;
  if (mlp->options.normalize_observations) {
    const size_t bytes = (size_t)mlp->options.observation_size * sizeof(float);
    memcpy(self->mean, self->weights + mlp->mean_at, bytes);
    memcpy(self->std, self->weights + mlp->std_at, bytes);
  }
  self->adam = NULL;
  return run_all_slabs(self);
}

drover_status dr_gradient_step(dr_gradient *self, dr_adam *adam, double rate, double scale, const float *gradients,
                               float *weights) {
  const dr_adam_rates rates = dr_adam_begin(adam, rate, scale);
  self->adam = adam;
  self->rates = &rates;
  self->step_gradients = gradients;
  self->step_weights = weights;
  self->weights = weights;
  const dr_mlp *mlp = &self->mlp;
  const dr_float_mode mode = dr_float_mode_enter();
  if (mlp->options.head == DROVER_HEAD_GAUSSIAN) move(self, mlp->log_std_at, (size_t)mlp->options.num_outputs);
  dr_float_mode_leave(mode);
  return run_all_slabs(self);
}
