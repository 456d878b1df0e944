/* safetensors.c: tensors from disk, and what their types are. */
#include "policy/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/error.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "safetensors data is little-endian: this file copies it as it is"
#endif

enum { PREFIX_BYTES = DR_SAFETENSORS_PREFIX_BYTES };
/* Where the metadata are in the header. */
static const char metadata_key[] = DR_SAFETENSORS_METADATA;
static const uint64_t max_header_bytes = 100000000; /* the limit of the reference implementation */

struct dr_safetensors {
  char *path;
  json_t *header; /* owns names and metadata */
  char *data;
  uint64_t data_bytes;
  int32_t count;
  struct entry {
    dr_tensor tensor;
    uint64_t begin, end;
  } * entries; /* by begin */
};

static const struct {
  size_t bytes;
  const char *name;
} dtypes[] = {
#define DR_DTYPE_ROW(name, bytes, text) {bytes, text},
    DR_DTYPE_LIST(DR_DTYPE_ROW)
#undef DR_DTYPE_ROW
};

const char *dr_dtype_name(dr_dtype dtype) { return dtypes[dtype].name; }
size_t dr_dtype_bytes(dr_dtype dtype) { return dtypes[dtype].bytes; }

bool dr_tensor_bytes(const dr_tensor *tensor, uint64_t *out) {
  uint64_t bytes = dtypes[tensor->dtype].bytes;
  for (int32_t i = 0; i < tensor->rank; i++)
    if (__builtin_mul_overflow(bytes, tensor->shape[i], &bytes) || bytes > INT64_MAX) return false;
  *out = bytes;
  return true;
}

bool dr_safetensors_had_memory(size_t bytes) {
  void *volatile probe = malloc(bytes + 1);
  const bool had = probe != NULL;
  free(probe);
  return had;
}

/* ---- reading: from the file to checked entries ---- */

/* A malformed file: DROVER_ERROR_FORMAT with the file's name before the sentence. */
#define DR_MALFORMED(file, ...) malformed((file)->path, __VA_ARGS__)
static DROVER_PRINTF(2, 3) drover_status malformed(const char *path, const char *format, ...) {
  char sentence[DR_MESSAGE_BYTES];
  va_list args;
  va_start(args, format);
  vsnprintf(sentence, sizeof sentence, format, args);
  va_end(args);
  return dr_fail(DROVER_ERROR_FORMAT, "%s: %s", path, sentence);
}

static drover_status read_exactly(const char *path, int descriptor, void *buffer, uint64_t bytes, uint64_t offset) {
  for (uint64_t done = 0; done < bytes;) {
    const uint64_t left = bytes - done, some = left < (1u << 30) ? left : (1u << 30);
    const ssize_t got = pread(descriptor, (char *)buffer + done, (size_t)some, (off_t)(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return dr_fail(DROVER_ERROR_IO, "%s: cannot read: %s", path, strerror(errno));
    if (got == 0) return dr_fail(DROVER_ERROR_IO, "%s: the file became shorter while it was read", path);
    done += (uint64_t)got;
  }
  return DROVER_OK;
}

static drover_status parse_dtype(const dr_safetensors *file, const char *name, const json_t *value, dr_tensor *out) {
  const char *text = json_string_value(value);
  if (!text) return DR_MALFORMED(file, "tensor '%.64s' has no dtype", name);
  for (int i = 0; i < DR_NUM_DTYPES; i++)
    if (strcmp(text, dtypes[i].name) == 0) {
      out->dtype = (dr_dtype)i;
      return DROVER_OK;
    }
  return DR_MALFORMED(file, "tensor '%.64s' has the unknown dtype '%.32s'", name, text);
}

static drover_status parse_shape(const dr_safetensors *file, const char *name, const json_t *value, dr_tensor *out) {
  if (!json_is_array(value)) return DR_MALFORMED(file, "tensor '%.64s' has no shape", name);
  if (json_array_size(value) > DR_SAFETENSORS_MAX_RANK)
    return DR_MALFORMED(file, "tensor '%.64s' has %zu dimensions, at most %d are supported", name,
                        json_array_size(value), DR_SAFETENSORS_MAX_RANK);
  out->rank = (int32_t)json_array_size(value);
  for (int32_t i = 0; i < out->rank; i++) {
    const json_t *size = json_array_get(value, (size_t)i);
    if (!json_is_integer(size) || json_integer_value(size) < 0)
      return DR_MALFORMED(file, "tensor '%.64s': dimension %d must be a whole number, at least 0", name, (int)i);
    out->shape[i] = (uint64_t)json_integer_value(size);
  }
  return DROVER_OK;
}

static drover_status parse_offsets(const dr_safetensors *file, const char *name, const json_t *value,
                                   struct entry *out) {
  const json_t *begin = json_array_get(value, 0), *end = json_array_get(value, 1);
  if (json_array_size(value) != 2 || !json_is_integer(begin) || !json_is_integer(end))
    return DR_MALFORMED(file, "tensor '%.64s': data_offsets must be two whole numbers", name);
  const json_int_t from = json_integer_value(begin), to = json_integer_value(end);
  if (from < 0 || to < from || (uint64_t)to > file->data_bytes)
    return DR_MALFORMED(
        file, "tensor '%.64s': data_offsets %" PRId64 "..%" PRId64 " are not within the %" PRIu64 " bytes of data",
        name, (int64_t)from, (int64_t)to, file->data_bytes);
  out->begin = (uint64_t)from;
  out->end = (uint64_t)to;
  return DROVER_OK;
}

static drover_status parse_tensor(const dr_safetensors *file, const char *name, const json_t *value,
                                  struct entry *out) {
  if (!json_is_object(value)) return DR_MALFORMED(file, "tensor '%.64s' is not a JSON object", name);
  dr_tensor *tensor = &out->tensor;
  tensor->name = name;
  drover_status status = parse_dtype(file, name, json_object_get(value, "dtype"), tensor);
  if (!status) status = parse_shape(file, name, json_object_get(value, "shape"), tensor);
  if (!status) status = parse_offsets(file, name, json_object_get(value, "data_offsets"), out);
  if (status) return status;
  uint64_t bytes = 0;
  if (!dr_tensor_bytes(tensor, &bytes)) return DR_MALFORMED(file, "tensor '%.64s': the shape overflows", name);
  if (bytes != out->end - out->begin)
    return DR_MALFORMED(file, "tensor '%.64s' should have %" PRIu64 " bytes of data, data_offsets give %" PRIu64, name,
                        bytes, out->end - out->begin);
  tensor->data = file->data + out->begin;
  return DROVER_OK;
}

static int by_begin(const void *a, const void *b) {
  const struct entry *left = a, *right = b;
  if (left->begin != right->begin) return left->begin < right->begin ? -1 : 1;
  return (left->end > right->end) - (left->end < right->end);
}

/* The tensors must cover the data: no overlap, no hole, nothing behind. */
static drover_status check_cover(const dr_safetensors *file) {
  uint64_t end = 0;
  for (int32_t i = 0; i < file->count; i++) {
    const struct entry *entry = &file->entries[i];
    if (entry->begin < end)
      return DR_MALFORMED(file, "tensor '%.64s' overlaps tensor '%.64s'", entry->tensor.name,
                          file->entries[i - 1].tensor.name);
    if (entry->begin > end)
      return DR_MALFORMED(file, "%" PRIu64 " bytes before tensor '%.64s' belong to no tensor", entry->begin - end,
                          entry->tensor.name);
    end = entry->end;
  }
  if (end != file->data_bytes)
    return DR_MALFORMED(file, "%" PRIu64 " bytes of data at the end belong to no tensor", file->data_bytes - end);
  return DROVER_OK;
}

static drover_status parse_header(dr_safetensors *file) {
  if (!json_is_object(file->header)) return DR_MALFORMED(file, "the header is not a JSON object");
  file->entries = calloc(json_object_size(file->header) + 1, sizeof *file->entries);
  if (!file->entries) return dr_fail(DROVER_ERROR_NO_MEMORY, "%s: no memory for its list of tensors", file->path);
  const char *key = NULL;
  json_t *value = NULL;
  json_object_foreach(file->header, key, value) {
    if (strcmp(key, metadata_key) == 0) {
      if (!json_is_object(value)) return DR_MALFORMED(file, "__metadata__ is not a JSON object");
      const char *name = NULL;
      json_t *text = NULL;
      json_object_foreach(value, name, text) if (!json_is_string(text)) return DR_MALFORMED(
          file, "__metadata__: the value of '%.64s' is not a string", name);
      continue;
    }
    const drover_status status = parse_tensor(file, key, value, &file->entries[file->count]);
    if (status) return status;
    file->count++;
  }
  qsort(file->entries, (size_t)file->count, sizeof *file->entries, by_begin);
  return check_cover(file);
}

static drover_status parse_json(dr_safetensors *file, const char *text, size_t bytes) {
  json_error_t error;
  for (int i = 0; i < 2 && !file->header; i++) file->header = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &error);
  if (file->header) return DROVER_OK;
  if (!dr_safetensors_had_memory(bytes))
    return dr_fail(DROVER_ERROR_NO_MEMORY, "%s: no memory for its header", file->path);
  return DR_MALFORMED(file, "the header is not valid JSON: %.200s (byte %d)", error.text, error.position);
}

/* Header and data of a file of file_bytes into memory, the header as JSON. */
static drover_status read_parts(dr_safetensors *file, int descriptor, uint64_t file_bytes) {
  if (file_bytes < PREFIX_BYTES + 2)
    return DR_MALFORMED(file, "%" PRIu64 " bytes are too few for a safetensors file", file_bytes);
  uint64_t header_bytes = 0;
  drover_status status = read_exactly(file->path, descriptor, &header_bytes, PREFIX_BYTES, 0);
  if (status) return status;
  if (header_bytes > max_header_bytes)
    return DR_MALFORMED(file, "the header length %" PRIu64 " is over the limit of %" PRIu64, header_bytes,
                        max_header_bytes);
  if (header_bytes > file_bytes - PREFIX_BYTES)
    return DR_MALFORMED(file, "the header length is %" PRIu64 " but only %" PRIu64 " bytes follow: a truncated file?",
                        header_bytes, file_bytes - PREFIX_BYTES);
  file->data_bytes = file_bytes - PREFIX_BYTES - header_bytes;
  char *text = malloc((size_t)header_bytes + 1);
  file->data = file->data_bytes < SIZE_MAX ? malloc((size_t)file->data_bytes + 1) : NULL;
  if (!text || !file->data) {
    free(text);
    return dr_fail(DROVER_ERROR_NO_MEMORY, "%s: no memory for its %" PRIu64 " bytes", file->path, file_bytes);
  }
  status = read_exactly(file->path, descriptor, text, header_bytes, PREFIX_BYTES);
  if (!status) status = read_exactly(file->path, descriptor, file->data, file->data_bytes, PREFIX_BYTES + header_bytes);
  if (!status) status = parse_json(file, text, (size_t)header_bytes);
  free(text);
  return status;
}

drover_status dr_safetensors_open(dr_safetensors **out, const char *path) {
  *out = NULL;
  struct stat about;
  dr_safetensors *file = calloc(1, sizeof *file);
  if (file) file->path = strdup(path);
  if (!file || !file->path) {
    dr_safetensors_close(file);
    return dr_fail(DROVER_ERROR_NO_MEMORY, "%s: no memory to open it", path);
  }
  drover_status status = DROVER_OK;
  const int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not make us wait */
  if (descriptor < 0 || fstat(descriptor, &about) != 0)
    status = dr_fail(DROVER_ERROR_IO, "%s: cannot open: %s", path, strerror(errno));
  else if (!S_ISREG(about.st_mode))
    status = dr_fail(DROVER_ERROR_IO, "%s: not a regular file", path);
  else
    status = read_parts(file, descriptor, (uint64_t)about.st_size);
  if (descriptor >= 0) close(descriptor);
  if (!status) status = parse_header(file);
  if (status) {
    dr_safetensors_close(file);
    return status;
  }
  *out = file;
  return DROVER_OK;
}

void dr_safetensors_close(dr_safetensors *file) {
  if (!file) return;
  json_decref(file->header);
  free(file->entries);
  free(file->data);
  free(file->path);
  free(file);
}

int32_t dr_safetensors_count(const dr_safetensors *file) { return file->count; }
const dr_tensor *dr_safetensors_at(const dr_safetensors *file, int32_t index) { return &file->entries[index].tensor; }
const char *dr_safetensors_path(const dr_safetensors *file) { return file->path; }

const dr_tensor *dr_safetensors_find(const dr_safetensors *file, const char *name) {
  for (int32_t i = 0; i < file->count; i++)
    if (strcmp(file->entries[i].tensor.name, name) == 0) return &file->entries[i].tensor;
  return NULL;
}

const char *dr_safetensors_metadata(const dr_safetensors *file, const char *key) {
  return json_string_value(json_object_get(json_object_get(file->header, metadata_key), key));
}
