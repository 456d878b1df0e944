/* nested_env.c: the experiment's env, a plugin: the problem that Drover was founded on, on purpose.
 *
 * One step is 16 ticks, and each tick evaluates the inner network on this env's one row by cblas_sgemv of an OpenMP
 * BLAS, as the gait project did with libtorch: threads inside the workers' threads. tick_env.c is the cure. */
#include <dlfcn.h>
#include <drover/env.h>

#include "network.h"

/* cblas.h's constants; the header is not needed to call through dlsym. */
enum { CBLAS_ROW_MAJOR = 101, CBLAS_NO_TRANS = 111 };
typedef void (*sgemv_fn)(int order, int trans, int m, int n, float alpha, const float *a, int lda, const float *x,
                         int incx, float beta, float *y, int incy);

/* Read-only after open. */
typedef struct nested_shared {
  sgemv_fn sgemv;
  float *weights; /* [nested_layer_offset(NESTED_LAYERS)] */
  float low[NESTED_ACTIONS], high[NESTED_ACTIONS];
} nested_shared;

typedef struct nested_state {
  float input[NESTED_INPUTS]; /* what the inner network sees next, and what an observation is */
} nested_state;

static void nested_close(void *shared) {
  nested_shared *s = shared;
  free(s->weights);
  free(s);
}

/* The library stays loaded for good: its threads may sleep in it. */
static int nested_open(const drover_env_args *args, drover_env_spec *spec, void **shared, char *message,
                       size_t message_size) {
  const char *path = drover_env_arg_string(args, "blas", "libopenblas.so.0");
  void *blas = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  void *symbol = blas == NULL ? NULL : dlsym(blas, "cblas_sgemv");
  if (symbol == NULL) {
    snprintf(message, message_size, "blas=%s: %s", path, dlerror());
    return -1;
  }
  nested_shared *s = calloc(1, sizeof *s);
  if (s != NULL) s->weights = malloc(nested_layer_offset(NESTED_LAYERS) * sizeof *s->weights);
  if (s == NULL || s->weights == NULL) {
    free(s);
    snprintf(message, message_size, "no memory for the inner network");
    return -1;
  }
  memcpy(&s->sgemv, &symbol, sizeof symbol);
  nested_fill_weights(s->weights);
  for (int i = 0; i < NESTED_ACTIONS; i++) {
    s->low[i] = -1.0f;
    s->high[i] = 1.0f;
  }
  spec->observation_size = NESTED_INPUTS;
  spec->action_kind = DROVER_ACTION_CONTINUOUS;
  spec->action_size = NESTED_ACTIONS;
  spec->action_low = s->low;
  spec->action_high = s->high;
  spec->state_size = sizeof(nested_state);
  spec->state_align = 4;
  *shared = s;
  return 0;
}

static int nested_reset(void *shared, void *state, const drover_env_rows *rows) {
  (void)shared;
  nested_state *s = state;
  memset(s, 0, sizeof *s);
  nested_want(s->input, rows->seed, (uint32_t)rows->first_env, 0);
  memcpy(rows->observations, s->input, sizeof s->input);
  return 0;
}

/* y = sigmoid(W3 lrelu(W2 lrelu(W1 lrelu(W0 x + b0) + b1) + b2) + b3), one row, one matrix-vector product a layer. */
static void evaluate(const nested_shared *s, const float *input, float *output) {
  float rows[2][NESTED_INPUTS];
  const float *x = input;
  for (int layer = 0; layer < NESTED_LAYERS; layer++) {
    const int inputs = nested_layer_inputs(layer), outputs = nested_layer_outputs(layer);
    const float *weight = s->weights + nested_layer_offset(layer);
    float *y = layer == NESTED_LAYERS - 1 ? output : rows[layer % 2];
    memcpy(y, weight + (size_t)inputs * (size_t)outputs, (size_t)outputs * sizeof *y);
    s->sgemv(CBLAS_ROW_MAJOR, CBLAS_NO_TRANS, outputs, inputs, 1.0f, weight, inputs, x, 1, 1.0f, y, 1);
    for (int i = 0; i < outputs; i++)
      y[i] = layer == NESTED_LAYERS - 1 ? 1.0f / (1.0f + expf(-y[i])) : y[i] > 0.0f ? y[i] : NESTED_SLOPE * y[i];
    x = y;
  }
}

static int nested_step(void *shared, void *state, const drover_env_rows *rows) {
  nested_state *s = state;
  float activations[NESTED_OUTPUTS], reward = 0.0f;
  for (int tick = 0; tick < NESTED_TICKS; tick++) {
    evaluate(shared, s->input, activations);
    reward += nested_advance(s->input, activations);
  }
  nested_want(s->input, rows->seed, (uint32_t)rows->first_env, rows->counters[0] + 1);
  memcpy(rows->observations, s->input, sizeof s->input);
  rows->rewards[0] = reward;
  return 0;
}

static const drover_env_arg_info arg_infos[] = {
    {"blas", "libopenblas.so.0", "shared object with cblas_sgemv: a soname or a path"},
    {NULL, NULL, NULL},
};

static const drover_env_type type = {
    .abi_version = DROVER_ENV_ABI_VERSION,
    .size = sizeof(drover_env_type),
    .name = "NestedBlas",
    .summary = "16 ticks of an inner network by an OpenMP BLAS inside every step (perf/nested)",
    .arg_infos = arg_infos,
    .open = nested_open,
    .close = nested_close,
    .reset = nested_reset,
    .step = nested_step,
};

const drover_env_type *drover_env_plugin(void);
const drover_env_type *drover_env_plugin(void) { return &type; }
