/* plain.h: envs without Drover: an env type opened by hand, its states in one array, and what a loop over them has to
 * keep. The other side of the comparisons, so it is what one would write, and no more. */
#ifndef DR_PERF_PLAIN_H
#define DR_PERF_PLAIN_H

#include "perf/subject.h"

typedef struct dr_plain {
  const drover_env_type *type;
  drover_env_spec spec;
  void *shared;
  bool opened;
  int32_t num_envs;
  int32_t first_env; /* index of the first */
  int32_t num_created;
  unsigned char *states;  /* [num_envs x spec.state_size] */
  uint64_t *lifetime;     /* [num_envs] steps since the reset with a seed */
  uint64_t *episode;      /* [num_envs] number of the episode */
  int32_t *length;        /* [num_envs] its steps so far */
  double *episode_return; /* [num_envs] its rewards so far */
} dr_plain;

int dr_plain_open(dr_plain *plain, dr_bench *bench, const dr_batch_request *request);

/* The same with a type and arguments at hand; request->env and args are not looked at. */
int dr_plain_open_type(dr_plain *plain, dr_bench *bench, const drover_env_type *type, const drover_env_args *args,
                       const dr_batch_request *request);
void dr_plain_close(dr_plain *plain);

/* All envs at the beginning of their first episode; writes observations [num_envs x observation_size]. */
int dr_plain_restore(dr_plain *plain, dr_bench *bench, float *observations);

/* Begin env's next episode, writing its observation. Returns what the type's reset does. */
static inline int dr_plain_reset(dr_plain *plain, int32_t env, float *observation) {
  drover_env_rows rows = {.count = 1,
                          .first_env = plain->first_env + env,
                          .seed = DR_SUBJECT_SEED,
                          .purpose = DROVER_RANDOM_RESET,
                          .counters = plain->episode + env,
                          .observations = observation};
  plain->length[env] = 0;
  plain->episode_return[env] = 0;
  return plain->type->reset(plain->shared, plain->states + (size_t)env * plain->spec.state_size, &rows);
}

#endif
