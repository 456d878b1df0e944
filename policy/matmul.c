/* matmul.c: oneDNN matmul primitives by layer shape and tile size, probed, packed and run. */
#include "policy/matmul.h"

#include <drover/random.h>
#include <oneapi/dnnl/dnnl.h>
#include <oneapi/dnnl/dnnl_threadpool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "policy/window.h"
#include "runtime/error.h"

const int32_t dr_tile_sizes[DR_NUM_TILES] = {4, 8, 16, 32, 64, 128, 256};
enum { REFERENCE_TILE = 2 };

/* All tile sizes of one shape. The packed layout of the weights is that of the reference tile; a size that wants
 * another is not used. */
typedef struct shape_primitives {
  dr_matmul_shape shape;
  dnnl_memory_desc_t weights_layout, bias_layout;
  dnnl_primitive_t primitives[DR_NUM_TILES]; /* NULL = not used */
  dnnl_memory_desc_t x_layout[DR_NUM_TILES], y_layout[DR_NUM_TILES], scratch_layout[DR_NUM_TILES];
  double seconds[DR_NUM_TILES];
} shape_primitives;

struct dr_matmul_set {
  dnnl_engine_t engine;
  size_t scratch_bytes;
  int32_t num_shapes;
  shape_primitives shapes[];
};

struct dr_matmul_weights {
  dnnl_memory_t weights, bias;
  float *floats;
};

/* What one worker passes to a primitive: handles to the caller's rows are set in each run. */
struct dr_matmul_runner {
  const dr_matmul_set *set;
  dnnl_stream_t stream;
  void *scratch;
  struct {
    dnnl_memory_t x, y, scratch;
  } memory[];
};

static drover_status failed(const char *call, dnnl_status_t status) {
  const drover_status code = status == dnnl_out_of_memory ? DROVER_ERROR_NO_MEMORY : DROVER_ERROR_INTERNAL;
  return dr_fail(code, "oneDNN: %s failed with status %d", call, (int)status);
}

/* Go to the end of the function with a message if a oneDNN call fails. */
#define DR_DNNL(call)                          \
  do {                                         \
    const dnnl_status_t dnnl_status_ = (call); \
    if (dnnl_status_ != dnnl_success) {        \
      status = failed(#call, dnnl_status_);    \
      goto done;                               \
    }                                          \
  } while (0)

/* The activation as an operation that the primitive applies to each output. */
static drover_status make_attributes(dnnl_primitive_attr_t *out, const dr_matmul_shape *shape) {
  drover_status status = DROVER_OK;
  dnnl_post_ops_t operations = NULL;
  *out = NULL;
  DR_DNNL(dnnl_primitive_attr_create(out));
  DR_DNNL(dnnl_primitive_attr_set_scratchpad_mode(*out, dnnl_scratchpad_mode_user));
  if (shape->activation != DROVER_ACTIVATION_IDENTITY) {
    dnnl_alg_kind_t algorithm = dnnl_eltwise_relu;
    float alpha = 0.0f;
    if (shape->activation == DROVER_ACTIVATION_TANH) algorithm = dnnl_eltwise_tanh;
    if (shape->activation == DROVER_ACTIVATION_ELU) {
      algorithm = dnnl_eltwise_elu;
      alpha = 1.0f;
    }
    if (shape->activation == DROVER_ACTIVATION_LEAKY_RELU) alpha = shape->leaky_slope;
    DR_DNNL(dnnl_post_ops_create(&operations));
    DR_DNNL(dnnl_post_ops_append_eltwise(operations, algorithm, alpha, 0.0f));
    DR_DNNL(dnnl_primitive_attr_set_post_ops(*out, operations));
  }
done:
  dnnl_post_ops_destroy(operations);
  return status;
}

static drover_status make_layout(dnnl_memory_desc_t *out, int64_t rows, int64_t columns, size_t stride) {
  drover_status status = DROVER_OK;
  const dnnl_dims_t dims = {rows, columns}, strides = {(int64_t)stride, 1};
  DR_DNNL(dnnl_memory_desc_create_with_strides(out, 2, dims, dnnl_f32, strides));
done:
  return status;
}

/* Go on to the first implementation that packs blocks by itself ("brg..."): its rows do not depend on the batch size,
 * and it works in the scratchpad; the older one ("gemm:jit") does neither. False if there is none. */
static bool pick_implementation(dnnl_primitive_desc_t descriptor) {
  do {
    const char *name = NULL;
    if (dnnl_primitive_desc_query(descriptor, dnnl_query_impl_info_str, 0, (void *)&name) == dnnl_success && name &&
        strncmp(name, "brg", 3) == 0)
      return true;
  } while (dnnl_primitive_desc_next_impl(descriptor) == dnnl_success);
  return false;
}

/* The primitive of one tile size; leaves it NULL where there is no suitable implementation. */
static drover_status make_primitive(dr_matmul_set *set, shape_primitives *p, int32_t tile) {
  drover_status status = DROVER_OK;
  const int32_t rows = dr_tile_sizes[tile], num_inputs = p->shape.num_inputs, num_outputs = p->shape.num_outputs;
  dnnl_primitive_attr_t attributes = NULL;
  dnnl_memory_desc_t any_weights = NULL;
  dnnl_primitive_desc_t descriptor = NULL;
  status = make_attributes(&attributes, &p->shape);
  if (!status) status = make_layout(&p->x_layout[tile], rows, num_inputs, p->shape.x_stride);
  if (!status) status = make_layout(&p->y_layout[tile], rows, num_outputs, p->shape.y_stride);
  if (!status && !p->bias_layout) status = make_layout(&p->bias_layout, 1, num_outputs, (size_t)num_outputs);
  if (status) goto done;
  const dnnl_dims_t dims = {num_inputs, num_outputs};
  DR_DNNL(dnnl_memory_desc_create_with_tag(&any_weights, 2, dims, dnnl_f32, dnnl_format_tag_any));
  if (dnnl_matmul_primitive_desc_create(&descriptor, set->engine, p->x_layout[tile], any_weights, p->bias_layout,
                                        p->y_layout[tile], attributes) != dnnl_success ||
      !pick_implementation(descriptor))
    goto done;
  const_dnnl_memory_desc_t layout = dnnl_primitive_desc_query_md(descriptor, dnnl_query_weights_md, 0);
  if (tile == REFERENCE_TILE) DR_DNNL(dnnl_memory_desc_clone(&p->weights_layout, layout));
  if (!dnnl_memory_desc_equal(p->weights_layout, layout)) goto done;
  const_dnnl_memory_desc_t scratch = dnnl_primitive_desc_query_md(descriptor, dnnl_query_scratchpad_md, 0);
  DR_DNNL(dnnl_memory_desc_clone(&p->scratch_layout[tile], scratch));
  if (dnnl_memory_desc_get_size(scratch) > set->scratch_bytes) set->scratch_bytes = dnnl_memory_desc_get_size(scratch);
  DR_DNNL(dnnl_primitive_create(&p->primitives[tile], descriptor));
done:
  dnnl_primitive_desc_destroy(descriptor);
  dnnl_memory_desc_destroy(any_weights);
  dnnl_primitive_attr_destroy(attributes);
  return status;
}

drover_status dr_matmul_weights_create(dr_matmul_weights **out, const dr_matmul_set *set, int32_t shape,
                                       const float *weights, const float *bias) {
  drover_status status = DROVER_OK;
  const shape_primitives *p = &set->shapes[shape];
  const int32_t num_inputs = p->shape.num_inputs, num_outputs = p->shape.num_outputs;
  const size_t packed_bytes = (dnnl_memory_desc_get_size(p->weights_layout) + 63) / 64 * 64;
  const size_t bias_bytes = ((size_t)num_outputs * sizeof(float) + 63) / 64 * 64;
  dnnl_stream_t stream = NULL;
  dnnl_memory_desc_t plain = NULL;
  dnnl_memory_t from = NULL;
  dnnl_primitive_desc_t descriptor = NULL;
  dnnl_primitive_t reorder = NULL;
  dr_matmul_weights *self = calloc(1, sizeof *self);
  if (self) self->floats = aligned_alloc(64, packed_bytes + bias_bytes);
  if (!self || !self->floats) {
    status = dr_fail(DROVER_ERROR_NO_MEMORY, "mlp: no memory for the weights of a %d x %d layer", (int)num_outputs,
                     (int)num_inputs);
    goto done;
  }
  float *const own_bias = self->floats + packed_bytes / sizeof(float);
  memcpy(own_bias, bias, (size_t)num_outputs * sizeof *bias);
  DR_DNNL(dnnl_memory_create(&self->weights, p->weights_layout, set->engine, self->floats));
  DR_DNNL(dnnl_memory_create(&self->bias, p->bias_layout, set->engine, own_bias));

  const dnnl_dims_t dims = {num_inputs, num_outputs}, strides = {1, num_inputs};
  DR_DNNL(dnnl_memory_desc_create_with_strides(&plain, 2, dims, dnnl_f32, strides));
  DR_DNNL(dnnl_memory_create(&from, plain, set->engine, (void *)(uintptr_t)weights));
  DR_DNNL(dnnl_reorder_primitive_desc_create(&descriptor, plain, set->engine, p->weights_layout, set->engine, NULL));
  DR_DNNL(dnnl_primitive_create(&reorder, descriptor));
  DR_DNNL(dnnl_threadpool_interop_stream_create(&stream, set->engine, NULL));
  const dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, self->weights}};
  DR_DNNL(dnnl_primitive_execute(reorder, stream, 2, args));
  DR_DNNL(dnnl_stream_wait(stream));
done:
  dnnl_stream_destroy(stream);
  dnnl_primitive_destroy(reorder);
  dnnl_primitive_desc_destroy(descriptor);
  dnnl_memory_destroy(from);
  dnnl_memory_desc_destroy(plain);
  if (status) {
    dr_matmul_weights_destroy(self);
    self = NULL;
  }
  *out = self;
  return status;
}

void dr_matmul_weights_destroy(dr_matmul_weights *weights) {
  if (!weights) return;
  dnnl_memory_destroy(weights->weights);
  dnnl_memory_destroy(weights->bias);
  free(weights->floats);
  free(weights);
}

drover_status dr_matmul_runner_create(dr_matmul_runner **out, const dr_matmul_set *set) {
  drover_status status = DROVER_OK;
  const size_t num_memories = (size_t)set->num_shapes * DR_NUM_TILES;
  dr_matmul_runner *self = calloc(1, sizeof *self + num_memories * sizeof self->memory[0]);
  if (self) self->scratch = aligned_alloc(64, DR_WINDOW_BYTES + (set->scratch_bytes + 63) / 64 * 64);
  if (!self || !self->scratch) {
    status = dr_fail(DROVER_ERROR_NO_MEMORY, "mlp: no memory for an inference context");
    goto done;
  }
  self->set = set;
  DR_DNNL(dnnl_threadpool_interop_stream_create(&self->stream, set->engine, NULL));
  for (int32_t s = 0; s < set->num_shapes; s++)
    for (int32_t tile = 0; tile < DR_NUM_TILES; tile++) {
      const shape_primitives *p = &set->shapes[s];
      if (!p->primitives[tile]) continue;
      dnnl_memory_t *const x = &self->memory[s * DR_NUM_TILES + tile].x;
      dnnl_memory_t *const y = &self->memory[s * DR_NUM_TILES + tile].y;
      dnnl_memory_t *const scratch = &self->memory[s * DR_NUM_TILES + tile].scratch;
      DR_DNNL(dnnl_memory_create(x, p->x_layout[tile], set->engine, DNNL_MEMORY_NONE));
      DR_DNNL(dnnl_memory_create(y, p->y_layout[tile], set->engine, DNNL_MEMORY_NONE));
      DR_DNNL(
          dnnl_memory_create(scratch, p->scratch_layout[tile], set->engine, (char *)self->scratch + DR_WINDOW_BYTES));
    }
done:
  if (status) {
    dr_matmul_runner_destroy(self);
    self = NULL;
  }
  *out = self;
  return status;
}

void dr_matmul_runner_destroy(dr_matmul_runner *runner) {
  if (!runner) return;
  const int32_t num_memories = runner->set ? runner->set->num_shapes * DR_NUM_TILES : 0;
  for (int32_t i = 0; i < num_memories; i++) {
    dnnl_memory_destroy(runner->memory[i].x);
    dnnl_memory_destroy(runner->memory[i].y);
    dnnl_memory_destroy(runner->memory[i].scratch);
  }
  dnnl_stream_destroy(runner->stream);
  free(runner->scratch);
  free(runner);
}

int dr_matmul_run(dr_matmul_runner *runner, int32_t shape, int32_t tile, const dr_matmul_weights *weights,
                  const float *x, float *y) {
  const int32_t at = shape * DR_NUM_TILES + tile;
  dnnl_status_t status = dnnl_memory_set_data_handle(runner->memory[at].x, (void *)(uintptr_t)x);
  if (status == dnnl_success) status = dnnl_memory_set_data_handle(runner->memory[at].y, y);
  if (status != dnnl_success) return -1;
  const dnnl_exec_arg_t args[] = {
      {DNNL_ARG_SRC, runner->memory[at].x},
      {DNNL_ARG_WEIGHTS, weights->weights},
      {DNNL_ARG_BIAS, weights->bias},
      {DNNL_ARG_DST, runner->memory[at].y},
      {DNNL_ARG_SCRATCHPAD, runner->memory[at].scratch},
  };
  dr_window_open(runner->scratch, DR_WINDOW_BYTES);
  status = dnnl_primitive_execute(runner->set->shapes[shape].primitives[tile], runner->stream, 5, args);
  const long kept = dr_window_close();
  return status == dnnl_success && kept == 0 ? 0 : -1;
}

static double now_seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Same bits in the first `columns` of each of `rows` rows? */
static bool same_rows(const float *a, const float *b, int32_t rows, int32_t columns, size_t stride) {
  for (size_t r = 0; r < (size_t)rows; r++)
    if (memcmp(a + r * stride, b + r * stride, (size_t)columns * sizeof *a) != 0) return false;
  return true;
}

/* Evaluate DR_MAX_TILE rows in tiles of one size, twice, keeping the fastest call's time. */
static int run_all(dr_matmul_runner *runner, shape_primitives *p, int32_t shape, int32_t tile,
                   const dr_matmul_weights *weights, const float *x, float *y) {
  p->seconds[tile] = 1e9;
  for (int pass = 0; pass < 2; pass++)
    for (int32_t row = 0; row < DR_MAX_TILE; row += dr_tile_sizes[tile]) {
      const double begin = now_seconds();
      if (dr_matmul_run(runner, shape, tile, weights, x + (size_t)row * p->shape.x_stride,
                        y + (size_t)row * p->shape.y_stride))
        return -1;
      const double taken = now_seconds() - begin;
      if (taken < p->seconds[tile]) p->seconds[tile] = taken;
    }
  return 0;
}

/* Random rows through every tile size, and through the reference at every position: drop the sizes whose bits differ
 * from the reference's. If a row's bits depend on its position within the reference tile, drop all. */
static drover_status probe_shape(dr_matmul_set *set, int32_t shape) {
  shape_primitives *p = &set->shapes[shape];
  const size_t num_inputs = (size_t)p->shape.num_inputs, num_outputs = (size_t)p->shape.num_outputs;
  const size_t x_stride = p->shape.x_stride, y_stride = p->shape.y_stride;
  drover_status status = DROVER_OK;
  dr_matmul_weights *weights = NULL;
  dr_matmul_runner *runner = NULL;
  float *x = calloc(DR_MAX_TILE, x_stride * sizeof *x), *y = calloc(DR_MAX_TILE, y_stride * sizeof *y);
  float *reference = calloc(DR_MAX_TILE, y_stride * sizeof *reference);
  float *random_weights = malloc((num_inputs + 1) * num_outputs * sizeof *random_weights);
  if (!x || !y || !reference || !random_weights) {
    status = dr_fail(DROVER_ERROR_NO_MEMORY, "mlp: no memory to probe a %zu x %zu layer", num_outputs, num_inputs);
    goto done;
  }
  drover_random random = drover_random_at(0, (uint32_t)shape, DROVER_RANDOM_INIT, 1);
  for (size_t i = 0; i < DR_MAX_TILE * x_stride; i++) x[i] = 4.0f * drover_random_uniformf(&random) - 2.0f;
  for (size_t i = 0; i < (num_inputs + 1) * num_outputs; i++)
    random_weights[i] = 0.2f * drover_random_uniformf(&random) - 0.1f;
  status = dr_matmul_weights_create(&weights, set, shape, random_weights, random_weights + num_inputs * num_outputs);
  if (!status) status = dr_matmul_runner_create(&runner, set);
  if (status) goto done;

  bool wrong = run_all(runner, p, shape, REFERENCE_TILE, weights, x, reference) != 0;
  const int32_t size = dr_tile_sizes[REFERENCE_TILE];
  for (int32_t shift = 1; shift < size && !wrong; shift++)
    wrong = dr_matmul_run(runner, shape, REFERENCE_TILE, weights, x + (size_t)shift * x_stride, y) != 0 ||
            !same_rows(y, reference + (size_t)shift * y_stride, size, p->shape.num_outputs, y_stride);
  for (int32_t tile = 0; tile < DR_NUM_TILES; tile++) {
    if (!p->primitives[tile] || (tile == REFERENCE_TILE && !wrong)) continue;
    if (wrong || run_all(runner, p, shape, tile, weights, x, y) ||
        !same_rows(y, reference, DR_MAX_TILE, p->shape.num_outputs, y_stride)) {
      dnnl_primitive_destroy(p->primitives[tile]);
      p->primitives[tile] = NULL;
    }
  }
done:
  dr_matmul_runner_destroy(runner);
  dr_matmul_weights_destroy(weights);
  free(random_weights);
  free(reference);
  free(y);
  free(x);
  return status;
}

drover_status dr_matmul_set_create(dr_matmul_set **out, const dr_matmul_shape *shapes, int32_t num_shapes) {
  drover_status status = DROVER_OK;
  int concurrency = 0;
  bool usable = true;
  *out = NULL;
  dr_matmul_set *set = calloc(1, sizeof *set + (size_t)num_shapes * sizeof set->shapes[0]);
  if (!set) return dr_fail(DROVER_ERROR_NO_MEMORY, "mlp: no memory for the primitives of %d layers", (int)num_shapes);
  set->num_shapes = num_shapes;
  /* Thread-local, and read when a primitive descriptor is made: these primitives never look for a second thread. */
  DR_DNNL(dnnl_threadpool_interop_get_max_concurrency(&concurrency));
  DR_DNNL(dnnl_threadpool_interop_set_max_concurrency(1));
  DR_DNNL(dnnl_engine_create(&set->engine, dnnl_cpu, 0));
  for (int32_t s = 0; s < num_shapes && usable; s++) {
    set->shapes[s].shape = shapes[s];
    status = make_primitive(set, &set->shapes[s], REFERENCE_TILE);
    usable = set->shapes[s].primitives[REFERENCE_TILE] != NULL;
    for (int32_t tile = 0; tile < DR_NUM_TILES && usable && !status; tile++)
      if (tile != REFERENCE_TILE) status = make_primitive(set, &set->shapes[s], tile);
    if (status) goto done;
  }
  for (int32_t s = 0; s < num_shapes && usable && !status; s++) {
    status = probe_shape(set, s);
    usable = set->shapes[s].primitives[REFERENCE_TILE] != NULL;
  }
done:
  if (concurrency) dnnl_threadpool_interop_set_max_concurrency(concurrency);
  if (status || !usable) {
    dr_matmul_set_destroy(set);
    set = NULL;
  }
  *out = set;
  return status;
}

void dr_matmul_set_destroy(dr_matmul_set *set) {
  if (!set) return;
  for (int32_t s = 0; s < set->num_shapes; s++) {
    shape_primitives *p = &set->shapes[s];
    for (int32_t tile = 0; tile < DR_NUM_TILES; tile++) {
      dnnl_primitive_destroy(p->primitives[tile]);
      dnnl_memory_desc_destroy(p->x_layout[tile]);
      dnnl_memory_desc_destroy(p->y_layout[tile]);
      dnnl_memory_desc_destroy(p->scratch_layout[tile]);
    }
    dnnl_memory_desc_destroy(p->weights_layout);
    dnnl_memory_desc_destroy(p->bias_layout);
  }
  dnnl_engine_destroy(set->engine);
  free(set);
}

bool dr_matmul_set_has_tile(const dr_matmul_set *set, int32_t tile) {
  for (int32_t s = 0; s < set->num_shapes; s++)
    if (!set->shapes[s].primitives[tile]) return false;
  return true;
}

double dr_matmul_set_seconds(const dr_matmul_set *set, int32_t shape, int32_t tile) {
  return set->shapes[shape].seconds[tile];
}
