/* inner_replay.c: the replay memory of the inner learner: the latest samples, drawn in random orders. */
#include <stdlib.h>
#include <string.h>

#include "policy/learn/inner.h"
#include "policy/learn/permutation.h"
#include "runtime/error.h"
#include "runtime/memory.h"

enum { INNER_STREAM = INT32_MAX }; /* in the place of an epoch: no update of another learner has so many */

drover_status dr_sample_layout_init(dr_sample_layout *layout, int32_t sample_size, int32_t observation_size,
                                    int32_t num_actions) {
  const int64_t rest = (int64_t)sample_size - observation_size - 1;
  if (rest < num_actions + 2 || rest % (num_actions + 2) != 0)
    return dr_fail(
        DROVER_ERROR_ARGUMENT,
        "inner: sample_size must be %d + J x %d for some J >= 1 (an observation of %d, JtA of J x %d, b, tau, "
        "valid), got %d",
        (int)observation_size + 1, (int)num_actions + 2, (int)observation_size, (int)num_actions, (int)sample_size);
  const int32_t joints = (int32_t)(rest / (num_actions + 2));
  layout->observation_size = observation_size;
  layout->num_actions = num_actions;
  layout->num_joints = joints;
  layout->jacobian_at = (size_t)observation_size;
  layout->bias_at = layout->jacobian_at + (size_t)joints * (size_t)num_actions;
  layout->torque_at = layout->bias_at + (size_t)joints;
  layout->valid_at = layout->torque_at + (size_t)joints;
  layout->size = (size_t)sample_size;
  return DROVER_OK;
}

drover_status dr_replay_init(dr_replay *replay, const dr_sample_layout *layout, int64_t capacity, uint64_t seed) {
  const size_t observation_size = (size_t)layout->observation_size;
  *replay = (dr_replay){.layout = *layout, .capacity = capacity, .seed = seed};
  replay->observations = dr_slab_alloc((size_t)capacity, observation_size * sizeof(float));
  replay->samples = dr_slab_alloc((size_t)capacity, (layout->size - observation_size) * sizeof(float));
  replay->order = dr_slab_alloc((size_t)capacity, sizeof *replay->order);
  if (replay->observations && replay->samples && replay->order) return DROVER_OK;
  dr_replay_free(replay);
  return dr_fail(DROVER_ERROR_NO_MEMORY, "inner: no memory for a capacity of %lld samples of %zu numbers",
                 (long long)capacity, layout->size);
}

void dr_replay_free(dr_replay *replay) {
  free(replay->observations);
  free(replay->samples);
  free(replay->order);
  *replay = (dr_replay){0};
}

void dr_replay_add(dr_replay *replay, int64_t count, const float *samples) {
  const dr_sample_layout *layout = &replay->layout;
  const size_t observation_size = (size_t)layout->observation_size, rest = layout->size - observation_size;
  int64_t num_added = 0;
  for (int64_t i = 0; i < count; i++, samples += layout->size) {
    if (samples[layout->valid_at] == 0.0f) continue;
    const size_t place = (size_t)replay->next;
    memcpy(replay->observations + place * observation_size, samples, observation_size * sizeof *samples);
    memcpy(replay->samples + place * rest, samples + observation_size, rest * sizeof *samples);
    replay->next = replay->next + 1 < replay->capacity ? replay->next + 1 : 0;
    if (replay->count < replay->capacity) replay->count++;
    num_added++;
  }
  if (num_added > 0) replay->position = replay->count; /* the order there was no longer covers all samples */
}

/* The present order. */
static void shuffle(dr_replay *replay) {
  for (int32_t i = 0; i < (int32_t)replay->count; i++) replay->order[i] = i;
  dr_permute(replay->seed, replay->num_orders, INNER_STREAM, replay->order, (int32_t)replay->count);
}

void dr_replay_draw(dr_replay *replay, int32_t count, int32_t *places) {
  for (int32_t i = 0; i < count; i++) {
    if (replay->position == replay->count) {
      replay->num_orders++;
      replay->position = 0;
      shuffle(replay);
    }
    places[i] = replay->order[replay->position++];
  }
}

void dr_replay_seek(dr_replay *replay, int64_t num_orders, int64_t position) {
  replay->num_orders = num_orders;
  replay->position = position;
  if (position < replay->count) shuffle(replay);
}
