/* checkpoint.c: a batch's whole state as bytes, so that a restored one goes on bit for bit. */
#define XXH_INLINE_ALL
#include <drover/batch.h>
#include <xxhash.h>

#include "runtime/batch.h"
#include "runtime/error.h"

/* What the bytes begin with; a checkpoint is for the same env type, number of envs and state size only. */
typedef struct header {
  char magic[8];
  char env[64];
  uint64_t seed;
  int64_t num_faults;
  uint64_t save_size;
  uint64_t args_hash; /* XXH3 of the env's arguments */
  uint64_t hash;      /* XXH3 of all the bytes with this field 0 */
  int32_t num_envs;
  int32_t observation_size;
} header; /* no padding: 8-byte members, then two of 4 */

static const char magic[8] = {'D', 'R', 'V', 'R', 'B', 'A', 'T', '1'};

/* The arrays that go with the env states, in their order in the file. */
typedef struct part {
  void *data;
  size_t bytes;
} part;

enum { NUM_PARTS = 15 };

static void list_parts(const drover_batch *b, part parts[NUM_PARTS]) {
  const size_t n = (size_t)b->num_envs;
  const part all[NUM_PARTS] = {{b->lifetime_steps, n * sizeof *b->lifetime_steps},
                               {b->episode_numbers, n * sizeof *b->episode_numbers},
                               {b->running_returns, n * sizeof *b->running_returns},
                               {b->running_lengths, n * sizeof *b->running_lengths},
                               {b->special, n},
                               {b->observations, n * (size_t)b->spec.observation_size * sizeof(float)},
                               {b->rewards, n * sizeof *b->rewards},
                               {b->terminated, n},
                               {b->truncated, n},
                               {b->valid, n},
                               {b->infos, b->infos ? n * (size_t)b->spec.num_infos * sizeof(float) : 0},
                               {b->final_observations, n * (size_t)b->spec.observation_size * sizeof(float)},
                               {b->finished_returns, n * sizeof *b->finished_returns},
                               {b->finished_lengths, n * sizeof *b->finished_lengths},
                               {b->inner.samples, n * (size_t)b->spec.inner_sample_size * sizeof(float)}};
  memcpy(parts, all, sizeof all);
}

static size_t size_needed(const drover_batch *b) {
  part parts[NUM_PARTS];
  list_parts(b, parts);
  size_t bytes = sizeof(header) + (size_t)b->num_envs * b->spec.save_size;
  for (int i = 0; i < NUM_PARTS; i++) bytes += parts[i].bytes;
  return bytes;
}

static uint64_t hash_args(const drover_env_args *args) {
  uint64_t sum = 0; /* the order does not matter */
  for (int32_t i = 0; i < args->count; i++) {
    const uint64_t key = XXH3_64bits(args->items[i].key, strlen(args->items[i].key));
    sum += XXH3_64bits_withSeed(args->items[i].value, strlen(args->items[i].value), key);
  }
  return sum;
}

/* Of a header with hash = 0 and what follows it. */
static uint64_t hash_all(header h, const unsigned char *rest, size_t num_bytes) {
  h.hash = 0;
  return XXH3_64bits_withSeed(rest, num_bytes, XXH3_64bits(&h, sizeof h));
}

static header make_header(const drover_batch *b) {
  header h = {.seed = b->seed,
              .num_faults = atomic_load_explicit(&b->num_faults, memory_order_relaxed),
              .save_size = b->spec.save_size,
              .args_hash = hash_args(&b->options.args),
              .num_envs = b->num_envs,
              .observation_size = b->spec.observation_size};
  memcpy(h.magic, magic, sizeof h.magic);
  strncpy(h.env, b->type->name, sizeof h.env - 1);
  return h;
}

static drover_status check_saves(const drover_batch *b, const char *what) {
  if (b->spec.save_size > 0) return DROVER_OK;
  return dr_fail(DROVER_ERROR_UNSUPPORTED, "%s: env type %s has no save and load", what, b->type->name);
}

static drover_status save(drover_batch *b, unsigned char *to, size_t *num_bytes) {
  drover_status status = check_saves(b, "batch save");
  if (status != DROVER_OK) return status;
  const size_t needed = size_needed(b), given = *num_bytes;
  *num_bytes = needed;
  if (!to) return DROVER_OK;
  if (given < needed) return dr_fail(DROVER_ERROR_ARGUMENT, "batch save: %zu bytes are needed, got %zu", needed, given);
  header h = make_header(b);
  unsigned char *const beginning = to;
  to += sizeof h;
  part parts[NUM_PARTS];
  list_parts(b, parts);
  for (int i = 0; i < NUM_PARTS; to += parts[i++].bytes)
    if (parts[i].bytes) memcpy(to, parts[i].data, parts[i].bytes);
  for (int32_t e = 0; e < b->num_envs; e++, to += b->spec.save_size)
    if (b->type->save(b->shared, b->states + (size_t)e * b->spec.state_size, to) != 0)
      return dr_fail(DROVER_ERROR_ENV, "batch save: env %d of %s could not be saved", (int)e, b->type->name);
  h.hash = hash_all(h, beginning + sizeof h, needed - sizeof h);
  memcpy(beginning, &h, sizeof h);
  return DROVER_OK;
}

static drover_status check_bytes(const drover_batch *b, const unsigned char *from, size_t num_bytes) {
  header h;
  if (!from || num_bytes < sizeof h)
    return dr_fail(DROVER_ERROR_FORMAT, "batch load: %zu bytes are too few", num_bytes);
  memcpy(&h, from, sizeof h);
  if (h.env[sizeof h.env - 1]) return dr_fail(DROVER_ERROR_FORMAT, "batch load: this is no batch checkpoint");
  if (memcmp(h.magic, magic, sizeof magic) != 0)
    return dr_fail(DROVER_ERROR_FORMAT, "batch load: this is no batch checkpoint");
  if (strcmp(h.env, b->type->name) != 0 || h.num_envs != b->num_envs || h.save_size != b->spec.save_size ||
      h.observation_size != b->spec.observation_size)
    return dr_fail(DROVER_ERROR_FORMAT, "batch load: the checkpoint is of %d envs of %s, the batch has %d of %s",
                   (int)h.num_envs, h.env, (int)b->num_envs, b->type->name);
  if (h.args_hash != hash_args(&b->options.args))
    return dr_fail(DROVER_ERROR_FORMAT, "batch load: the checkpoint was made with other arguments of %s",
                   b->type->name);
  if (num_bytes != size_needed(b))
    return dr_fail(DROVER_ERROR_FORMAT, "batch load: %zu bytes, expected %zu", num_bytes, size_needed(b));
  if (h.hash != hash_all(h, from + sizeof h, num_bytes - sizeof h))
    return dr_fail(DROVER_ERROR_FORMAT,
                   "batch load: the checkpoint is corrupt: its checksum does not fit its contents");
  return DROVER_OK;
}

static drover_status load(drover_batch *b, const unsigned char *from, size_t num_bytes) {
  drover_status status = check_saves(b, "batch load");
  if (status == DROVER_OK) status = check_bytes(b, from, num_bytes);
  if (status != DROVER_OK) return status;
  header h;
  memcpy(&h, from, sizeof h);
  from += sizeof h;
  part parts[NUM_PARTS];
  list_parts(b, parts);
  b->seed = h.seed;
  atomic_store_explicit(&b->num_faults, h.num_faults, memory_order_relaxed);
  for (int i = 0; i < NUM_PARTS; from += parts[i++].bytes)
    if (parts[i].bytes) memcpy(parts[i].data, from, parts[i].bytes);
  memset(b->faults, 0, (size_t)b->num_envs); /* what failed before the checkpoint is not in it */
  for (int32_t e = 0; e < b->num_envs; e++, from += b->spec.save_size)
    if (b->type->load(b->shared, b->states + (size_t)e * b->spec.state_size, from) != 0)
      return dr_fail(DROVER_ERROR_ENV, "batch load: env %d of %s could not be restored: reset the batch", (int)e,
                     b->type->name);
  return DROVER_OK;
}

drover_status drover_batch_save(drover_batch *batch, void *bytes, size_t *num_bytes) {
  drover_status status = dr_batch_enter(batch, "batch save", false);
  if (status != DROVER_OK) return status;
  status = num_bytes ? save(batch, bytes, num_bytes)
                     : dr_fail(DROVER_ERROR_ARGUMENT, "batch save: num_bytes must not be NULL");
  dr_batch_leave(batch);
  return status;
}

drover_status drover_batch_load(drover_batch *batch, const void *bytes, size_t num_bytes) {
  drover_status status = dr_batch_enter(batch, "batch load", false);
  if (status != DROVER_OK) return status;
  status = load(batch, bytes, num_bytes);
  dr_batch_leave(batch);
  return status;
}
