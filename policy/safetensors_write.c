/* safetensors_write.c: tensors to disk: the header as JSON, then the data, to a temporary file that replaces the path.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "policy/safetensors.h"
#include "runtime/error.h"

static drover_status check_tensors(const char *path, const dr_tensor *tensors, int32_t num_tensors) {
  for (int32_t i = 0; i < num_tensors; i++) {
    uint64_t bytes = 0;
    const dr_tensor *tensor = &tensors[i];
    if (!tensor->name || strcmp(tensor->name, DR_SAFETENSORS_METADATA) == 0)
      return dr_fail(DROVER_ERROR_ARGUMENT, "%s: tensor %d must have a name other than %s", path, (int)i,
                     DR_SAFETENSORS_METADATA);
    if ((int)tensor->dtype < 0 || (int)tensor->dtype >= DR_NUM_DTYPES || tensor->rank < 0 ||
        tensor->rank > DR_SAFETENSORS_MAX_RANK || !dr_tensor_bytes(tensor, &bytes) || (bytes > 0 && !tensor->data))
      return dr_fail(DROVER_ERROR_ARGUMENT, "%s: tensor '%.64s' has an impossible dtype, shape or no data", path,
                     tensor->name);
    for (int32_t j = 0; j < i; j++)
      if (strcmp(tensor->name, tensors[j].name) == 0)
        return dr_fail(DROVER_ERROR_ARGUMENT, "%s: two tensors are named '%.64s'", path, tensor->name);
  }
  return DROVER_OK;
}

/* The header's text for tensors in their order in the file, padded so that the data begins at a multiple of 8. */
static char *format_header(const dr_metadata *metadata, int32_t num_metadata, const dr_tensor *const *order,
                           int32_t num_tensors, size_t *length) {
  json_t *header = json_object();
  bool ok = header != NULL;
  if (num_metadata > 0) {
    json_t *strings = json_object();
    for (int32_t i = 0; i < num_metadata; i++)
      ok = json_object_set_new(strings, metadata[i].key, json_string(metadata[i].value)) == 0 && ok;
    ok = json_object_set_new(header, DR_SAFETENSORS_METADATA, strings) == 0 && ok;
  }
  uint64_t at = 0;
  for (int32_t i = 0; i < num_tensors; i++) {
    uint64_t bytes = 0;
    dr_tensor_bytes(order[i], &bytes);
    json_t *shape = json_array();
    for (int32_t j = 0; j < order[i]->rank; j++)
      ok = json_array_append_new(shape, json_integer((json_int_t)order[i]->shape[j])) == 0 && ok;
    const json_int_t begin = (json_int_t)at, end = begin + (json_int_t)bytes;
    json_t *entry = json_pack("{s:s, s:o, s:[I, I]}", "dtype", dr_dtype_name(order[i]->dtype), "shape", shape,
                              "data_offsets", begin, end);
    ok = json_object_set_new(header, order[i]->name, entry) == 0 && ok;
    at += bytes;
  }
  const size_t used = ok ? json_dumpb(header, NULL, 0, JSON_COMPACT) : 0;
  const uint64_t padded = (used + 7) / 8 * 8;
  char *out = used ? malloc(DR_SAFETENSORS_PREFIX_BYTES + padded) : NULL;
  if (out) {
    memcpy(out, &padded, DR_SAFETENSORS_PREFIX_BYTES);
    memset(out + DR_SAFETENSORS_PREFIX_BYTES, ' ', padded);
    json_dumpb(header, out + DR_SAFETENSORS_PREFIX_BYTES, used, JSON_COMPACT);
    *length = DR_SAFETENSORS_PREFIX_BYTES + padded;
  }
  json_decref(header);
  return out;
}

/* False with errno set if not all bytes could be written. */
static bool write_all(int descriptor, const void *buffer, uint64_t bytes) {
  for (uint64_t done = 0; done < bytes;) {
    const uint64_t left = bytes - done, some = left < (1u << 30) ? left : (1u << 30);
    const ssize_t put = write(descriptor, (const char *)buffer + done, (size_t)some);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return false;
    done += (uint64_t)put;
  }
  return true;
}

/* Make the new name durable; a file system that cannot is not an error of ours. */
static void sync_folder(const char *path) {
  const char *slash = strrchr(path, '/');
  char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
  const int descriptor = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
  if (descriptor >= 0) {
    (void)fsync(descriptor);
    close(descriptor);
  }
  free(folder);
}

static drover_status write_file(const char *path, const char *temporary, const char *header, size_t header_bytes,
                                const dr_tensor *const *order, int32_t num_tensors) {
  const int descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (descriptor < 0) return dr_fail(DROVER_ERROR_IO, "%s: cannot create %s: %s", path, temporary, strerror(errno));
  bool ok = write_all(descriptor, header, header_bytes);
  for (int32_t i = 0; i < num_tensors && ok; i++) {
    uint64_t bytes = 0;
    dr_tensor_bytes(order[i], &bytes);
    ok = write_all(descriptor, order[i]->data, bytes);
  }
  ok = ok && fsync(descriptor) == 0;
  int error = errno;
  if (close(descriptor) != 0 && ok) {
    ok = false;
    error = errno;
  }
  if (ok && rename(temporary, path) != 0) {
    ok = false;
    error = errno;
  }
  if (ok) {
    sync_folder(path);
    return DROVER_OK;
  }
  unlink(temporary);
  return dr_fail(DROVER_ERROR_IO, "%s: cannot write: %s", path, strerror(error));
}

drover_status dr_safetensors_write(const char *path, const dr_metadata *metadata, int32_t num_metadata,
                                   const dr_tensor *tensors, int32_t num_tensors) {
  struct stat about;
  if (stat(path, &about) == 0 && !S_ISREG(about.st_mode))
    return dr_fail(DROVER_ERROR_IO, "%s: exists and is not a regular file", path);
  drover_status status = check_tensors(path, tensors, num_tensors);
  if (status) return status;
  /* Wide elements first, so that every tensor is aligned in the file. */
  const dr_tensor **order = calloc((size_t)num_tensors + 1, sizeof(void *));
  const size_t name_bytes = strlen(path) + 64;
  char *temporary = malloc(name_bytes), *header = NULL;
  if (!order || !temporary) {
    status = dr_fail(DROVER_ERROR_NO_MEMORY, "%s: no memory to write it", path);
    goto done;
  }
  int32_t placed = 0;
  for (size_t bytes = 8; bytes > 0; bytes /= 2)
    for (int32_t i = 0; i < num_tensors; i++)
      if (dr_dtype_bytes(tensors[i].dtype) == bytes) order[placed++] = &tensors[i];
  size_t header_bytes = 0;
  for (int i = 0; i < 2 && !header; i++)
    header = format_header(metadata, num_metadata, order, num_tensors, &header_bytes);
  if (!header) {
    status = dr_safetensors_had_memory((size_t)num_tensors * 256)
                 ? dr_fail(DROVER_ERROR_ARGUMENT, "%s: a tensor's name or the metadata is not UTF-8 text", path)
                 : dr_fail(DROVER_ERROR_NO_MEMORY, "%s: no memory for its header", path);
    goto done;
  }
  snprintf(temporary, name_bytes, "%s.%ld-%zx.tmp", path, (long)getpid(), (size_t)(uintptr_t)order);
  status = write_file(path, temporary, header, header_bytes, order, num_tensors);
done:
  free(header);
  free(temporary);
  free(order);
  return status;
}
