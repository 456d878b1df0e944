/* safetensors.h: tensors on disk: 8 bytes of header length, a JSON header, raw little-endian data.
 *
 * Format: github.com/huggingface/safetensors. Reading trusts nothing: every length and offset is checked before use,
 * and each fault has its own message that names the file. Writing is all or nothing. */
#ifndef DR_POLICY_SAFETENSORS_H
#define DR_POLICY_SAFETENSORS_H

#include <drover/base.h>
#include <stdbool.h>

#define DR_SAFETENSORS_MAX_RANK     8
#define DR_SAFETENSORS_PREFIX_BYTES 8              /* before the header: its length */
#define DR_SAFETENSORS_METADATA     "__metadata__" /* the header's one member that is no tensor */

/* X(name, bytes of an element, name in files) */
#define DR_DTYPE_LIST(X)      \
  X(DR_DTYPE_F64, 8, "F64")   \
  X(DR_DTYPE_I64, 8, "I64")   \
  X(DR_DTYPE_U64, 8, "U64")   \
  X(DR_DTYPE_F32, 4, "F32")   \
  X(DR_DTYPE_I32, 4, "I32")   \
  X(DR_DTYPE_U32, 4, "U32")   \
  X(DR_DTYPE_F16, 2, "F16")   \
  X(DR_DTYPE_BF16, 2, "BF16") \
  X(DR_DTYPE_I16, 2, "I16")   \
  X(DR_DTYPE_U16, 2, "U16")   \
  X(DR_DTYPE_I8, 1, "I8")     \
  X(DR_DTYPE_U8, 1, "U8")     \
  X(DR_DTYPE_BOOL, 1, "BOOL")

typedef enum dr_dtype {
#define DR_DTYPE_ENUM(name, bytes, text) name,
  DR_DTYPE_LIST(DR_DTYPE_ENUM)
#undef DR_DTYPE_ENUM
      DR_NUM_DTYPES
} dr_dtype;

/* A tensor in memory; row-major, C-contiguous. */
typedef struct dr_tensor {
  const char *name;
  dr_dtype dtype;
  int32_t rank; /* 0..DR_SAFETENSORS_MAX_RANK; 0 = one element */
  uint64_t shape[DR_SAFETENSORS_MAX_RANK];
  const void *data; /* the caller's when writing, the file's when reading: not aligned, copy it */
} dr_tensor;

typedef struct dr_metadata {
  const char *key;
  const char *value;
} dr_metadata;

typedef struct dr_safetensors dr_safetensors;

const char *dr_dtype_name(dr_dtype dtype);
size_t dr_dtype_bytes(dr_dtype dtype);

/* The bytes that a tensor takes; false if they do not fit 63 bits. */
bool dr_tensor_bytes(const dr_tensor *tensor, uint64_t *out);

/* Whether this much memory is there now. Jansson does not say whether a call failed for want of it: what fails is tried
 * twice, and then this is asked. */
bool dr_safetensors_had_memory(size_t bytes);

/* Write a temporary file beside path, sync it and rename it over path; after an error path is as it was and the
 * temporary file is gone. Names must be distinct and not "__metadata__"; data is streamed, not copied. */
drover_status dr_safetensors_write(const char *path, const dr_metadata *metadata, int32_t num_metadata,
                                   const dr_tensor *tensors, int32_t num_tensors);

/* Read a whole file and check it: DROVER_ERROR_IO, DROVER_ERROR_NO_MEMORY, or DROVER_ERROR_FORMAT naming the fault. */
drover_status dr_safetensors_open(dr_safetensors **out, const char *path);
void dr_safetensors_close(dr_safetensors *file);

/* Tensors in the order of their data; everything lives until close. */
int32_t dr_safetensors_count(const dr_safetensors *file);
const dr_tensor *dr_safetensors_at(const dr_safetensors *file, int32_t index);
const dr_tensor *dr_safetensors_find(const dr_safetensors *file, const char *name); /* NULL = none of that name */
const char *dr_safetensors_metadata(const dr_safetensors *file, const char *key);   /* NULL = no such key */
const char *dr_safetensors_path(const dr_safetensors *file);

#endif
