/* mlp_policy.c: the MLP as a policy table, and the public calls that only it has. */
#include "policy/mlp_policy.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/error.h"
#include "runtime/policy.h"

drover_status dr_mlp_policy_new(dr_mlp_policy **out, const drover_mlp_options *options, const float *weights) {
  *out = NULL;
  dr_mlp mlp;
  drover_status status = dr_mlp_init(&mlp, options);
  if (status) return status;
  float *initial = NULL;
  dr_mlp_policy *self = calloc(1, sizeof *self);
  if (!self) return dr_fail(DROVER_ERROR_NO_MEMORY, "mlp: no memory for a policy");
  pthread_mutex_init(&self->lock, NULL);
  status = dr_inference_create(&self->inference, &mlp, NULL, true);
  if (!status && !weights) {
    initial = malloc(mlp.num_weights * sizeof *initial);
    status = initial ? dr_mlp_initial_weights(&mlp, initial)
                     : dr_fail(DROVER_ERROR_NO_MEMORY, "mlp: no memory for %zu weights", mlp.num_weights);
    weights = initial;
  }
  if (!status) status = dr_weights_create(&self->present, self->inference, weights);
  free(initial);
  if (status) {
    dr_mlp_policy_free(self);
    return status;
  }
  *out = self;
  return DROVER_OK;
}

void dr_mlp_policy_free(dr_mlp_policy *self) {
  if (!self) return;
  dr_weights_destroy(self->present);
  dr_inference_destroy(self->inference);
  pthread_mutex_destroy(&self->lock);
  free(self);
}

dr_weights *dr_mlp_policy_acquire(dr_mlp_policy *self) {
  pthread_mutex_lock(&self->lock);
  dr_weights *weights = self->present;
  weights->references++;
  pthread_mutex_unlock(&self->lock);
  return weights;
}

void dr_mlp_policy_release(dr_mlp_policy *self, dr_weights *weights) {
  pthread_mutex_lock(&self->lock);
  const bool last = --weights->references == 0;
  pthread_mutex_unlock(&self->lock);
  if (last) dr_weights_destroy(weights);
}

drover_status dr_mlp_policy_replace(dr_mlp_policy *self, const float *weights) {
  dr_weights *next = NULL;
  const drover_status status = dr_weights_create(&next, self->inference, weights);
  if (status) return status;
  pthread_mutex_lock(&self->lock);
  dr_weights *previous = self->present;
  self->present = next;
  pthread_mutex_unlock(&self->lock);
  dr_mlp_policy_release(self, previous);
  return DROVER_OK;
}

/* ---- the table ---- */

static int get_spec(void *object, drover_policy_spec *spec) {
  const dr_mlp_policy *self = object;
  const drover_mlp_options *options = &self->inference->mlp.options;
  const bool discrete = options->head == DROVER_HEAD_CATEGORICAL;
  *spec = (drover_policy_spec){
      .observation_size = options->observation_size,
      .action_kind = discrete ? DROVER_ACTION_DISCRETE : DROVER_ACTION_CONTINUOUS,
      .action_size = discrete ? 1 : options->num_outputs,
      .num_actions = discrete ? options->num_outputs : 0,
      .has_values = options->has_values,
  };
  spec->num_tiles = dr_inference_tiles(self->inference, spec->tiles);
  return 0;
}

static int open_context(void *object, void **context) {
  const dr_mlp_policy *self = object;
  return dr_context_create((dr_context **)context, self->inference) == DROVER_OK ? 0 : -1;
}

static void close_context(void *object, void *context) {
  (void)object;
  dr_context_destroy(context);
}

static const void *acquire(void *object) { return dr_mlp_policy_acquire(object); }

/* A version is const for those who run it; its owner counts references in it. */
static void release(void *object, const void *version) {
  dr_mlp_policy_release(object, (dr_weights *)(uintptr_t)version);
}

static int act(void *object, const void *version, void *context, const drover_policy_rows *rows) {
  const dr_mlp_policy *self = object;
  return dr_inference_act(self->inference, version, context, rows);
}

static int value(void *object, const void *version, void *context, int32_t count, const float *observations,
                 float *values) {
  const dr_mlp_policy *self = object;
  return dr_inference_value(self->inference, version, context, count, observations, values);
}

static void destroy(void *object) { dr_mlp_policy_free(object); }

const drover_policy_type dr_mlp_policy_type = {
    .abi_version = DROVER_POLICY_ABI_VERSION,
    .size = sizeof(drover_policy_type),
    .name = "mlp",
    .get_spec = get_spec,
    .open_context = open_context,
    .close_context = close_context,
    .acquire = acquire,
    .release = release,
    .act = act,
    .value = value,
    .destroy = destroy,
};

/* ---- the public calls ---- */

/* Hand a finished self to the runtime, or end it. */
static drover_status wrap(drover_policy **out, drover_runtime *runtime, dr_mlp_policy *self) {
  const drover_status status = drover_policy_create(out, runtime, &dr_mlp_policy_type, self);
  if (status) dr_mlp_policy_free(self);
  return status;
}

drover_status drover_policy_create_mlp(drover_policy **out, drover_runtime *runtime,
                                       const drover_mlp_options *options) {
  if (!out) return dr_fail(DROVER_ERROR_ARGUMENT, "policy create_mlp: out must not be NULL");
  *out = NULL;
  dr_mlp_policy *self = NULL;
  const drover_status status = dr_mlp_policy_new(&self, options, NULL);
  return status ? status : wrap(out, runtime, self);
}

drover_status drover_policy_load(drover_policy **out, drover_runtime *runtime, const char *path) {
  if (!out || !path) return dr_fail(DROVER_ERROR_ARGUMENT, "policy load: out and path must not be NULL");
  *out = NULL;
  dr_mlp_policy *self = NULL;
  const drover_status status = dr_mlp_file_read(&self, path);
  return status ? status : wrap(out, runtime, self);
}

/* The MLP behind a handle. */
static drover_status get_self(drover_policy *policy, const char *what, dr_mlp_policy **self) {
  void *object = NULL;
  const drover_status status = dr_policy_self(policy, &dr_mlp_policy_type, what, &object);
  *self = object;
  return status;
}

drover_status drover_policy_save(drover_policy *policy, const char *path) {
  dr_mlp_policy *self = NULL;
  const drover_status status = get_self(policy, "policy save", &self);
  if (status) return status;
  if (!path) return dr_fail(DROVER_ERROR_ARGUMENT, "policy save: path must not be NULL");
  return dr_mlp_file_write(self, path);
}

drover_status drover_policy_get_mlp(drover_policy *policy, drover_mlp_options *out) {
  dr_mlp_policy *self = NULL;
  const drover_status status = get_self(policy, "policy get_mlp", &self);
  if (status) return status;
  if (!out || out->size < sizeof out->size)
    return dr_fail(DROVER_ERROR_ARGUMENT, "policy get_mlp: out must not be NULL and its size be set by its init call");
  const size_t size = out->size;
  memcpy(out, &self->inference->mlp.options, size < sizeof *out ? size : sizeof *out);
  out->size = size;
  return DROVER_OK;
}

drover_status drover_policy_num_weights(drover_policy *policy, size_t *out) {
  dr_mlp_policy *self = NULL;
  const drover_status status = get_self(policy, "policy num_weights", &self);
  if (status) return status;
  if (!out) return dr_fail(DROVER_ERROR_ARGUMENT, "policy num_weights: out must not be NULL");
  *out = self->inference->mlp.num_weights;
  return DROVER_OK;
}

/* The policy behind a handle, for a caller's array of `count` weights. */
static drover_status get_self_for(drover_policy *policy, const char *what, const float *weights, size_t count,
                                  dr_mlp_policy **self) {
  const drover_status status = get_self(policy, what, self);
  if (status) return status;
  if (!weights) return dr_fail(DROVER_ERROR_ARGUMENT, "%s: weights must not be NULL", what);
  const size_t num_weights = (*self)->inference->mlp.num_weights;
  if (count == num_weights) return DROVER_OK;
  return dr_fail(DROVER_ERROR_ARGUMENT, "%s: count must be %zu, got %zu", what, num_weights, count);
}

drover_status drover_policy_get_weights(drover_policy *policy, float *weights, size_t count) {
  dr_mlp_policy *self = NULL;
  const drover_status status = get_self_for(policy, "policy get_weights", weights, count, &self);
  if (status) return status;
  dr_weights *present = dr_mlp_policy_acquire(self);
  memcpy(weights, present->flat, count * sizeof *weights);
  dr_mlp_policy_release(self, present);
  return DROVER_OK;
}

drover_status drover_policy_set_weights(drover_policy *policy, const float *weights, size_t count) {
  dr_mlp_policy *self = NULL;
  const drover_status status = get_self_for(policy, "policy set_weights", weights, count, &self);
  return status ? status : dr_mlp_policy_replace(self, weights);
}
