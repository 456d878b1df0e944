/* inner_save.c: an inner learner's state as bytes, so that a restored one goes on bit for bit. */
#define XXH_INLINE_ALL
#include <string.h>
#include <xxhash.h>

#include "policy/learn/inner.h"
#include "runtime/error.h"

/* What the bytes begin with. After it: Adam's first and second moments, the observations' means and squares, the
 * samples' observations and their other numbers in the order of their places. */
typedef struct header {
  char magic[8];
  uint64_t hash; /* XXH3 of all the bytes with this field 0 */
  uint64_t num_weights;
  uint64_t sample_size;
  int64_t capacity;
  int64_t count, next, num_orders, position;
  uint64_t seed;
  int64_t num_steps;
  int64_t num_moments; /* columns of the observations' moments */
  int64_t num_observed;
} header; /* no padding: 8-byte members */

static const int64_t most_counted = INT64_C(1) << 53; /* of anything */
static const char magic[8] = {'D', 'R', 'V', 'R', 'I', 'N', 'N', '1'};

/* The arrays after the header. */
typedef struct part {
  void *data;
  size_t bytes;
} part;

enum { NUM_PARTS = 6 };

static void list_parts(const drover_inner *inner, int64_t count, part parts[NUM_PARTS]) {
  const size_t observation_size = (size_t)inner->layout.observation_size;
  const size_t columns = (size_t)inner->observations.size * sizeof(double);
  const part all[NUM_PARTS] = {
      {inner->adam.first, inner->num_trainable * sizeof(float)},
      {inner->adam.second, inner->num_trainable * sizeof(float)},
      {inner->observations.mean, columns},
      {inner->observations.squares, columns},
      {inner->replay.observations, (size_t)count * observation_size * sizeof(float)},
      {inner->replay.samples, (size_t)count * (inner->layout.size - observation_size) * sizeof(float)}};
  memcpy(parts, all, sizeof all);
}

static size_t size_needed(const drover_inner *inner, int64_t count) {
  part parts[NUM_PARTS];
  list_parts(inner, count, parts);
  size_t bytes = sizeof(header);
  for (int i = 0; i < NUM_PARTS; i++) bytes += parts[i].bytes;
  return bytes;
}

/* Of a header with hash = 0 and what follows it. */
static uint64_t hash_all(header h, const unsigned char *rest, size_t num_bytes) {
  h.hash = 0;
  return XXH3_64bits_withSeed(rest, num_bytes, XXH3_64bits(&h, sizeof h));
}

drover_status dr_inner_save(const drover_inner *inner, unsigned char *bytes, size_t *num_bytes) {
  if (!num_bytes) return dr_fail(DROVER_ERROR_ARGUMENT, "inner save: num_bytes must not be NULL");
  const dr_replay *replay = &inner->replay;
  const size_t needed = size_needed(inner, replay->count), given = *num_bytes;
  *num_bytes = needed;
  if (!bytes) return DROVER_OK;
  if (given < needed) return dr_fail(DROVER_ERROR_ARGUMENT, "inner save: %zu bytes are needed, got %zu", needed, given);
  header h = {.num_weights = inner->num_weights,
              .sample_size = inner->layout.size,
              .capacity = replay->capacity,
              .count = replay->count,
              .next = replay->next,
              .num_orders = replay->num_orders,
              .position = replay->position,
              .seed = replay->seed,
              .num_steps = inner->adam.num_steps,
              .num_moments = inner->observations.size,
              .num_observed = inner->observations.count};
  memcpy(h.magic, magic, sizeof h.magic);
  part parts[NUM_PARTS];
  list_parts(inner, replay->count, parts);
  unsigned char *to = bytes + sizeof h;
  for (int i = 0; i < NUM_PARTS; to += parts[i++].bytes) memcpy(to, parts[i].data, parts[i].bytes);
  h.hash = hash_all(h, bytes + sizeof h, needed - sizeof h);
  memcpy(bytes, &h, sizeof h);
  return DROVER_OK;
}

/* Are these the bytes of a learner like this one? *out: their header. */
static drover_status check_bytes(const drover_inner *inner, const unsigned char *bytes, size_t num_bytes, header *out) {
  if (!bytes || num_bytes < sizeof *out)
    return dr_fail(DROVER_ERROR_FORMAT, "inner load: %zu bytes are too few", bytes ? num_bytes : 0);
  memcpy(out, bytes, sizeof *out);
  if (memcmp(out->magic, magic, sizeof magic) != 0)
    return dr_fail(DROVER_ERROR_FORMAT, "inner load: this is no checkpoint of an inner learner");
  if (out->num_weights != inner->num_weights || out->sample_size != inner->layout.size)
    return dr_fail(DROVER_ERROR_FORMAT,
                   "inner load: the checkpoint is of %llu weights and samples of %llu numbers, the learner has %zu and "
                   "%zu",
                   (unsigned long long)out->num_weights, (unsigned long long)out->sample_size, inner->num_weights,
                   inner->layout.size);
  if (out->num_moments != inner->observations.size)
    return dr_fail(DROVER_ERROR_FORMAT, "inner load: the checkpoint is of a policy that %s its observations",
                   out->num_moments > 0 ? "normalises" : "does not normalise");
  if (out->capacity != inner->replay.capacity)
    return dr_fail(DROVER_ERROR_FORMAT, "inner load: the checkpoint's capacity is %lld samples, the learner's %lld",
                   (long long)out->capacity, (long long)inner->replay.capacity);
  if (out->count < 0 || out->count > out->capacity || num_bytes != size_needed(inner, out->count))
    return dr_fail(DROVER_ERROR_FORMAT, "inner load: %zu bytes do not hold the %lld samples they promise", num_bytes,
                   (long long)out->count);
  if (out->next < 0 || out->next >= out->capacity || out->position < 0 || out->position > out->count ||
      out->num_orders < 0 || out->num_orders > most_counted || out->num_steps < 0 || out->num_steps > most_counted ||
      out->num_observed < 0 || out->num_observed > most_counted)
    return dr_fail(DROVER_ERROR_FORMAT, "inner load: the checkpoint's counters are impossible");
  if (out->hash != hash_all(*out, bytes + sizeof *out, num_bytes - sizeof *out))
    return dr_fail(DROVER_ERROR_FORMAT,
                   "inner load: the checkpoint is corrupt: its checksum does not fit its contents");
  return DROVER_OK;
}

drover_status dr_inner_load(drover_inner *inner, const unsigned char *bytes, size_t num_bytes) {
  header h;
  const drover_status status = check_bytes(inner, bytes, num_bytes, &h);
  if (status) return status;
  part parts[NUM_PARTS];
  list_parts(inner, h.count, parts);
  const unsigned char *from = bytes + sizeof h;
  for (int i = 0; i < NUM_PARTS; from += parts[i++].bytes) memcpy(parts[i].data, from, parts[i].bytes);
  inner->adam.num_steps = h.num_steps;
  inner->observations.count = h.num_observed;
  inner->replay.count = h.count;
  inner->replay.next = h.next;
  inner->replay.seed = h.seed;
  dr_replay_seek(&inner->replay, h.num_orders, h.position);
  return DROVER_OK;
}
