/* plain.h: envs without Drover: an env type opened by hand, its states in one array, and what a loop over them has to
 * keep. The other side of the comparisons of `drover bench` and `drover verify`, so it is what one would write, and no
 * more; it knows nothing but the public headers. */
#ifndef DR_PERF_PLAIN_H
#define DR_PERF_PLAIN_H

#include <drover/drover.h>
#include <stdbool.h>

typedef struct dr_plain_request {
  const drover_env_type *type;
  drover_env_args args;
  int32_t num_envs;
  int32_t first_env; /* index of the first: its random stream follows from it */
  uint64_t seed;
} dr_plain_request;

typedef struct dr_plain {
  const drover_env_type *type;
  drover_env_spec spec;
  void *shared;
  bool opened;
  int32_t num_envs;
  int32_t first_env;
  uint64_t seed;
  int32_t num_created;
  unsigned char *states;  /* [num_envs x spec.state_size] */
  uint64_t *lifetime;     /* [num_envs] steps since the reset with a seed */
  uint64_t *episode;      /* [num_envs] number of the next episode */
  int32_t *length;        /* [num_envs] steps of the running one so far */
  double *episode_return; /* [num_envs] its rewards so far */
} dr_plain;

/* DROVER_OK; or DROVER_ERROR_ENV or _NO_MEMORY and a sentence in message. Close it also after a failure. */
drover_status dr_plain_open(dr_plain *plain, const dr_plain_request *request, char *message, size_t size);
void dr_plain_close(dr_plain *plain);

static inline void *dr_plain_state(const dr_plain *plain, int32_t env) {
  return plain->states + (size_t)env * plain->spec.state_size;
}

/* Begin env's next episode, writing its observation. Nonzero if its reset failed. `env` counts from 0, here and below.
 */
int dr_plain_reset(dr_plain *plain, int32_t env, float *observation);

/* All envs at the beginning of their first episode; writes observations [num_envs x observation_size]. The env whose
 * reset failed, or -1. */
int32_t dr_plain_restore(dr_plain *plain, float *observations);

/* ---- The inner loop of a step ---- */

/* The tick of env's present step whose sample is kept, 0..K-1: the one of drover_env_tick. */
int32_t dr_plain_sample_tick(const dr_plain *plain, int32_t env);

/* Call `begin` (tick -1) or `tick` of env; inner_observation is that of the next tick, and of no use in the last.
 * `sample` (zero before) is NULL except where the next tick is dr_plain_sample_tick. Nonzero if the env failed. */
int dr_plain_tick(dr_plain *plain, int32_t env, int32_t tick, const void *action, const float *inner_action,
                  float *inner_observation, float *sample);

#endif
