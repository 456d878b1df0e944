/* ppo_state.c: what training carries from update to update, in memory and as bytes. */
#define XXH_INLINE_ALL
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "policy/learn/ppo.h"
#include "runtime/error.h"

drover_status dr_ppo_state_init(dr_ppo_state *state, const drover_ppo_options *options, size_t num_weights,
                                int32_t observation_size, int32_t num_envs) {
  *state = (dr_ppo_state){.num_envs = num_envs};
  drover_status status =
      dr_adam_init(&state->adam, num_weights, options->adam_beta1, options->adam_beta2, options->adam_epsilon);
  if (!status) status = dr_moments_init(&state->observations, observation_size);
  if (!status) status = dr_moments_init(&state->returns, 1);
  state->running_returns = calloc((size_t)num_envs, sizeof *state->running_returns);
  if (!status && !state->running_returns)
    status = dr_fail(DROVER_ERROR_NO_MEMORY, "ppo: no memory for the returns of %d envs", (int)num_envs);
  if (status) dr_ppo_state_free(state);
  return status;
}

void dr_ppo_state_free(dr_ppo_state *state) {
  dr_adam_free(&state->adam);
  dr_moments_free(&state->observations);
  dr_moments_free(&state->returns);
  free(state->running_returns);
  *state = (dr_ppo_state){0};
}

/* ---- As bytes ------------------------------------------------------------------------------------------------ */

typedef struct header {
  char magic[8];
  uint64_t hash; /* XXH3 of all the bytes with this field 0 */
  uint64_t num_weights;
  int64_t num_updates, num_adam_steps, num_observations, num_returns;
  int32_t observation_size, num_envs;
} header; /* no padding: 8-byte members, then two of 4 */

static const int64_t most_counted = INT64_C(1) << 53; /* of anything */
static const char magic[8] = {'D', 'R', 'V', 'R', 'P', 'P', 'O', '1'};

typedef struct part {
  void *data;
  size_t bytes;
} part;

enum { NUM_PARTS = 7 };

/* The arrays of a state, in their order in the bytes. */
static void list_parts(const dr_ppo_state *s, part parts[NUM_PARTS]) {
  const size_t weights = s->adam.count * sizeof(float), columns = (size_t)s->observations.size * sizeof(double);
  const part all[NUM_PARTS] = {{s->adam.first, weights},
                               {s->adam.second, weights},
                               {s->observations.mean, columns},
                               {s->observations.squares, columns},
                               {s->returns.mean, sizeof(double)},
                               {s->returns.squares, sizeof(double)},
                               {s->running_returns, (size_t)s->num_envs * sizeof(double)}};
  memcpy(parts, all, sizeof all);
}

static header make_header(const dr_ppo_state *s) {
  header h = {.num_weights = s->adam.count,
              .num_updates = s->num_updates,
              .num_adam_steps = s->adam.num_steps,
              .num_observations = s->observations.count,
              .num_returns = s->returns.count,
              .observation_size = s->observations.size,
              .num_envs = s->num_envs};
  memcpy(h.magic, magic, sizeof magic);
  return h;
}

static void take_header(dr_ppo_state *s, const header *h) {
  s->num_updates = h->num_updates;
  s->adam.num_steps = h->num_adam_steps;
  s->observations.count = h->num_observations;
  s->returns.count = h->num_returns;
}

void dr_ppo_state_copy(dr_ppo_state *to, const dr_ppo_state *from) {
  const header h = make_header(from);
  part source[NUM_PARTS], target[NUM_PARTS];
  list_parts(from, source);
  list_parts(to, target);
  for (int i = 0; i < NUM_PARTS; i++) memcpy(target[i].data, source[i].data, source[i].bytes);
  take_header(to, &h);
}

size_t dr_ppo_state_bytes(const dr_ppo_state *state) {
  part parts[NUM_PARTS];
  list_parts(state, parts);
  size_t bytes = sizeof(header);
  for (int i = 0; i < NUM_PARTS; i++) bytes += parts[i].bytes;
  return bytes;
}

static uint64_t hash_all(header h, const unsigned char *rest, size_t num_bytes) {
  h.hash = 0;
  return XXH3_64bits_withSeed(rest, num_bytes, XXH3_64bits(&h, sizeof h));
}

void dr_ppo_state_save(const dr_ppo_state *state, unsigned char *bytes) {
  unsigned char *to = bytes + sizeof(header);
  part parts[NUM_PARTS];
  list_parts(state, parts);
  for (int i = 0; i < NUM_PARTS; to += parts[i++].bytes)
    if (parts[i].bytes) memcpy(to, parts[i].data, parts[i].bytes);
  header h = make_header(state);
  h.hash = hash_all(h, bytes + sizeof h, (size_t)(to - bytes) - sizeof h);
  memcpy(bytes, &h, sizeof h);
}

static drover_status check_header(const dr_ppo_state *state, const header *h) {
  if (memcmp(h->magic, magic, sizeof magic) != 0)
    return dr_fail(DROVER_ERROR_FORMAT, "ppo load: these bytes are no learner's state");
  if (h->num_weights != state->adam.count || h->num_envs != state->num_envs)
    return dr_fail(DROVER_ERROR_FORMAT,
                   "ppo load: the state is of a network of %llu weights and %d envs, the learner has %zu and %d",
                   (unsigned long long)h->num_weights, (int)h->num_envs, state->adam.count, (int)state->num_envs);
  if (h->observation_size != state->observations.size)
    return dr_fail(DROVER_ERROR_FORMAT, "ppo load: the state has moments of %d observation columns, the learner of %d",
                   (int)h->observation_size, (int)state->observations.size);
  const int64_t counters[] = {h->num_updates, h->num_adam_steps, h->num_observations, h->num_returns};
  for (size_t i = 0; i < sizeof counters / sizeof *counters; i++)
    if (counters[i] < 0 || counters[i] > most_counted)
      return dr_fail(DROVER_ERROR_FORMAT, "ppo load: the state's counters are impossible, one is %lld",
                     (long long)counters[i]);
  return DROVER_OK;
}

drover_status dr_ppo_state_load(dr_ppo_state *state, const unsigned char *bytes, size_t num_bytes) {
  header h;
  if (!bytes || num_bytes < sizeof h)
    return dr_fail(DROVER_ERROR_FORMAT, "ppo load: %zu bytes are too few", bytes ? num_bytes : (size_t)0);
  memcpy(&h, bytes, sizeof h);
  const drover_status status = check_header(state, &h);
  if (status) return status;
  if (num_bytes != dr_ppo_state_bytes(state))
    return dr_fail(DROVER_ERROR_FORMAT, "ppo load: %zu bytes, expected %zu", num_bytes, dr_ppo_state_bytes(state));
  const unsigned char *from = bytes + sizeof h;
  if (h.hash != hash_all(h, from, num_bytes - sizeof h))
    return dr_fail(DROVER_ERROR_FORMAT, "ppo load: the state is corrupt: its checksum does not fit its contents");
  part parts[NUM_PARTS];
  list_parts(state, parts);
  for (int i = 0; i < NUM_PARTS; from += parts[i++].bytes)
    if (parts[i].bytes) memcpy(parts[i].data, from, parts[i].bytes);
  take_header(state, &h);
  return DROVER_OK;
}
