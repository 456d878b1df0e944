/* train_checkpoint.c: a training run as one safetensors file: what it writes, and how a run is brought back to it.
 *
 * Tensors: `weights` F32 [n]; `learner` U8 (drover_ppo_save); `batch` U8 (drover_batch_save); with an inner policy
 * `inner.weights` F32, and `inner.learner` U8 (drover_inner_save) if it learns; `counters` F64 [7] (dr_train_counters;
 * exact below 2^53); `window` F64 [2, 100]. Metadata: format, drover_version, settings (config lines). */
#include <stdlib.h>
#include <string.h>

#include "policy/safetensors.h"
#include "runtime/error.h"
#include "tools/commands.h"
#include "tools/train.h"

static const char file_format[] = "drover-checkpoint-1";
enum { NUM_COUNTERS = 7, MOST_TENSORS = 7 };

/* ---- Writing ---- */

typedef drover_status (*save_call)(void *handle, void *bytes, size_t *num_bytes);

static drover_status save_ppo(void *handle, void *bytes, size_t *num_bytes) {
  return drover_ppo_save(handle, bytes, num_bytes);
}
static drover_status save_inner(void *handle, void *bytes, size_t *num_bytes) {
  return drover_inner_save(handle, bytes, num_bytes);
}

/* Ask for the size, then for the bytes; malloc'ed. */
static drover_status save_bytes(void *handle, save_call call, unsigned char **out, size_t *num_bytes) {
  *num_bytes = 0;
  drover_status status = call(handle, NULL, num_bytes);
  if (status) return status;
  *out = malloc(*num_bytes + 1);
  return *out ? call(handle, *out, num_bytes) : DROVER_ERROR_NO_MEMORY;
}

static void counters_to_numbers(const dr_train_counters *counters, double out[NUM_COUNTERS]) {
  const double numbers[NUM_COUNTERS] = {
      (double)counters->num_updates, (double)counters->num_steps, (double)counters->num_episodes,
      (double)counters->num_faults,  counters->seconds,           counters->rollout_seconds,
      counters->learner_seconds};
  memcpy(out, numbers, sizeof numbers);
}

/* False if they cannot be what counters_to_numbers gave. */
static bool numbers_to_counters(const double numbers[NUM_COUNTERS], dr_train_counters *out) {
  for (int i = 0; i < NUM_COUNTERS; i++)
    if (!(numbers[i] >= 0 && numbers[i] <= 0x1p53)) return false;
  *out = (dr_train_counters){.num_updates = (int64_t)numbers[0],
                             .num_steps = (int64_t)numbers[1],
                             .num_episodes = (int64_t)numbers[2],
                             .num_faults = (int64_t)numbers[3],
                             .seconds = numbers[4],
                             .rollout_seconds = numbers[5],
                             .learner_seconds = numbers[6]};
  return true;
}

static dr_tensor vector(const char *name, dr_dtype dtype, size_t count, const void *data) {
  return (dr_tensor){.name = name, .dtype = dtype, .rank = 1, .shape = {count}, .data = data};
}

static drover_status write_file(dr_train *train, const char *settings, unsigned char **learner,
                                unsigned char **inner_learner) {
  size_t num_learner = 0, num_inner_learner = 0;
  uint64_t digest = 0;
  double numbers[NUM_COUNTERS];
  counters_to_numbers(&train->counters, numbers);
  drover_status status = dr_train_digest(train, &digest); /* fetches the weights */
  if (!status) status = save_bytes(train->ppo, save_ppo, learner, &num_learner);
  if (!status && train->inner) status = save_bytes(train->inner, save_inner, inner_learner, &num_inner_learner);
  if (status) return status;
  dr_tensor tensors[MOST_TENSORS];
  int32_t count = 0;
  tensors[count++] = vector("counters", DR_DTYPE_F64, NUM_COUNTERS, numbers);
  tensors[count++] = (dr_tensor){
      .name = "window", .dtype = DR_DTYPE_F64, .rank = 2, .shape = {2, DR_TRAIN_WINDOW}, .data = &train->window};
  tensors[count++] = vector("weights", DR_DTYPE_F32, train->num_weights, train->weights);
  if (train->inner_policy)
    tensors[count++] =
        vector("inner.weights", DR_DTYPE_F32, train->num_inner_weights, train->weights + train->num_weights);
  tensors[count++] = vector("learner", DR_DTYPE_U8, num_learner, *learner);
  if (train->inner) tensors[count++] = vector("inner.learner", DR_DTYPE_U8, num_inner_learner, *inner_learner);
  tensors[count++] = vector("batch", DR_DTYPE_U8, train->num_batch_bytes, train->batch_bytes);
  const dr_metadata metadata[] = {
      {"format", file_format}, {"drover_version", drover_version()}, {"settings", settings}};
  return dr_safetensors_write(train->checkpoint_path, metadata, 3, tensors, count);
}

drover_status dr_train_checkpoint_save(dr_train *train) {
  if (!train->checkpoint_path || !train->batch_bytes) return DROVER_ERROR_UNSUPPORTED;
  unsigned char *learner = NULL, *inner_learner = NULL;
  char *settings = dr_train_settings_text(train->request);
  const drover_status status =
      settings ? write_file(train, settings, &learner, &inner_learner) : DROVER_ERROR_NO_MEMORY;
  free(settings);
  free(learner);
  free(inner_learner);
  if (status) {
    dr_progress_end(&train->progress);
    dr_report_failure(train->request->common.command, "--checkpoint", status);
    train->output_failed = true;
  } else {
    train->checkpoint_steps = train->counters.num_steps;
    train->has_checkpoint = true;
  }
  return status;
}

/* ---- Reading ---- */

char *dr_train_checkpoint_settings(const char *command, const char *path) {
  dr_safetensors *file = NULL;
  const drover_status status = dr_safetensors_open(&file, path);
  if (status) {
    dr_report_failure(command, "--resume", status);
    exit(DR_EXIT_USAGE);
  }
  const char *format = dr_safetensors_metadata(file, "format");
  const char *settings = dr_safetensors_metadata(file, "settings");
  if (!format || strcmp(format, file_format) != 0 || !settings)
    dr_usage_error(command, "--resume: '%s' is not a checkpoint of drover train%s%s%s", path,
                   format ? "; its format is '" : "", format ? format : "", format ? "'" : "");
  char *copy = strdup(settings);
  dr_safetensors_close(file);
  if (!copy) dr_usage_error(command, "out of memory");
  return copy;
}

/* The tensor of this name, type and (unless 0) number of elements; a usage error otherwise. */
static const dr_tensor *find(const dr_safetensors *file, const char *name, dr_dtype dtype, size_t count) {
  const dr_tensor *tensor = dr_safetensors_find(file, name);
  const char *path = dr_safetensors_path(file);
  if (!tensor) dr_usage_error("train", "--resume: '%s' has no tensor '%s'", path, name);
  size_t elements = 1;
  for (int32_t i = 0; i < tensor->rank; i++) elements *= (size_t)tensor->shape[i];
  if (count == 0 && tensor->dtype == dtype && tensor->rank != 1)
    dr_usage_error("train", "--resume: '%s': tensor '%s' must have 1 dimension, it has %d", path, name,
                   (int)tensor->rank);
  if (tensor->dtype != dtype || (count > 0 && elements != count))
    dr_usage_error("train", "--resume: '%s': tensor '%s' must be %s of %zu elements, it is %s of %zu", path, name,
                   dr_dtype_name(dtype), count, dr_dtype_name(tensor->dtype), elements);
  return tensor;
}

static drover_status load_weights(drover_policy *policy, const dr_tensor *tensor, float *scratch, size_t count) {
  memcpy(scratch, tensor->data, count * sizeof *scratch);
  return drover_policy_set_weights(policy, scratch, count);
}

/* Handles check what they are given; their bytes have no alignment in the file. */
static drover_status load_bytes(void *handle, const dr_tensor *tensor,
                                drover_status (*call)(void *handle, const void *bytes, size_t num_bytes)) {
  const size_t bytes = (size_t)tensor->shape[0];
  void *copy = malloc(bytes + 1);
  if (!copy) return DROVER_ERROR_NO_MEMORY;
  memcpy(copy, tensor->data, bytes);
  const drover_status status = call(handle, copy, bytes);
  free(copy);
  return status;
}

static drover_status load_ppo(void *handle, const void *bytes, size_t num_bytes) {
  return drover_ppo_load(handle, bytes, num_bytes);
}
static drover_status load_inner(void *handle, const void *bytes, size_t num_bytes) {
  return drover_inner_load(handle, bytes, num_bytes);
}
static drover_status load_batch(void *handle, const void *bytes, size_t num_bytes) {
  return drover_batch_load(handle, bytes, num_bytes);
}

drover_status dr_train_checkpoint_load(dr_train *train, const char *path) {
  if (!train->batch_bytes)
    dr_usage_error("train", "--resume: %s cannot be resumed: its env type has no save and load",
                   train->request->type->name);
  dr_safetensors *file = NULL;
  drover_status status = dr_safetensors_open(&file, path);
  if (status) return status;
  double numbers[NUM_COUNTERS];
  memcpy(numbers, find(file, "counters", DR_DTYPE_F64, NUM_COUNTERS)->data, sizeof numbers);
  if (!numbers_to_counters(numbers, &train->counters))
    dr_usage_error("train", "--resume: '%s': tensor 'counters' must hold %d numbers, 0 or more", path, NUM_COUNTERS);
  memcpy(&train->window, find(file, "window", DR_DTYPE_F64, (size_t)2 * DR_TRAIN_WINDOW)->data, sizeof train->window);
  status = load_weights(train->policy, find(file, "weights", DR_DTYPE_F32, train->num_weights), train->weights,
                        train->num_weights);
  if (!status) status = load_bytes(train->ppo, find(file, "learner", DR_DTYPE_U8, 0), load_ppo);
  if (!status && train->inner_policy)
    status = load_weights(train->inner_policy, find(file, "inner.weights", DR_DTYPE_F32, train->num_inner_weights),
                          train->weights, train->num_inner_weights);
  if (!status && train->inner)
    status = load_bytes(train->inner, find(file, "inner.learner", DR_DTYPE_U8, 0), load_inner);
  if (!status) status = load_bytes(train->batch, find(file, "batch", DR_DTYPE_U8, 0), load_batch);
  dr_safetensors_close(file);
  if (status) { /* the handles do not know from where their bytes came */
    char sentence[DR_MESSAGE_BYTES];
    snprintf(sentence, sizeof sentence, "--resume: '%s': %s", path, drover_last_error());
    return dr_fail_with(status, sentence);
  }
  return DROVER_OK;
}
