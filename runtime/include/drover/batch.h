/* batch.h: N envs of one type, and the two ways in which the caller gives their actions: step and send/recv.
 *
 * Calls on one batch must not overlap (DROVER_ERROR_STATE if they do); different batches of one runtime may be driven
 * from different threads at once and share the workers. */
#ifndef DROVER_BATCH_H
#define DROVER_BATCH_H

#include <drover/base.h>
#include <drover/env.h>
#include <drover/runtime.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct drover_batch drover_batch;

#define DROVER_MAX_ENVS 16777216 /* 2^24 */

typedef enum drover_autoreset {
  DROVER_AUTORESET_SAME_STEP = 0, /* the step that ends an episode also begins the next; final observation kept */
  DROVER_AUTORESET_NEXT_STEP = 1, /* the next step ignores the action and resets; that row has valid = 0 */
  DROVER_AUTORESET_DISABLED =
      2 /* the caller resets with drover_batch_reset_some; a step of a finished env is an error */
} drover_autoreset;

typedef struct drover_batch_options {
  size_t size;      /* set by init */
  int32_t num_envs; /* N, 1..DROVER_MAX_ENVS */
  uint64_t seed;
  int32_t shard; /* envs a shard, 0 = automatic; the results do not depend on it */
  int32_t chunk; /* envs claimed at once, 0 = automatic; the results do not depend on it */
  drover_autoreset autoreset;
  int32_t max_episode_steps; /* time limit in steps; -1 = the env type's own, 0 = none */
  int64_t fault_limit;       /* a run stops once more than this many faults were counted since reset; -1 = 100 + N */
  int32_t scalar;            /* 1: never use step_many (for comparisons) */
  drover_env_args args;      /* the env type's arguments; copied */
} drover_batch_options;

/* Why an env failed. */
typedef enum drover_fault_reason {
  DROVER_FAULT_STEP = 1,        /* step returned an error */
  DROVER_FAULT_RESET = 2,       /* reset returned an error: the env is tried again at its next step */
  DROVER_FAULT_OBSERVATION = 3, /* a non-finite observation */
  DROVER_FAULT_REWARD = 4,      /* a non-finite reward */
  DROVER_FAULT_INNER = 5        /* `begin` or `tick` returned an error, or an inner number was not finite */
} drover_fault_reason;

/* Bytes of the sentence that comes with a fault, its NUL included. */
#define DROVER_FAULT_TEXT 128

/* What went wrong in an env's latest step or reset. */
typedef struct drover_batch_fault {
  size_t size;          /* set by the caller to sizeof(drover_batch_fault) */
  int32_t reason;       /* drover_fault_reason of the step, 0 = it went well */
  int32_t reset_reason; /* DROVER_FAULT_RESET if the reset (alone, or after the step) failed, else 0 */
  const char *text; /* the env type's own words (drover_env_type.explain) or ours for the step's fault, "" if none */
  const char *reset_text; /* likewise for the reset's; both the batch's, until its next call */
} drover_batch_fault;

/* The batch's rows after the latest call; the batch's memory, valid until it is destroyed, overwritten by the next
 * call. N = num_envs. */
typedef struct drover_batch_view {
  size_t size; /* set by the caller to sizeof(drover_batch_view) */
  int32_t num_envs;
  const drover_env_spec *spec;
  const float *observations;  /* [N x observation_size] what the next action should answer */
  const float *rewards;       /* [N] */
  const uint8_t *terminated;  /* [N] */
  const uint8_t *truncated;   /* [N] */
  const uint8_t *valid;       /* [N] 0: this row is a fault or a next-step reset, not a transition */
  const float *infos;         /* [N x num_infos] or NULL */
  const float *inner_samples; /* [N x inner_sample_size] of one random tick of the latest step; or NULL */
  const float
      *final_observations;       /* [N x observation_size] last observation of the episode where terminated|truncated */
  const double *episode_returns; /* [N] sum of rewards of the episode that ended, where terminated|truncated */
  const int32_t *episode_lengths; /* [N] its steps, likewise; a faulted step does not count */
  const uint64_t *lifetime_steps; /* [N] steps of each env since the batch was reset with a seed */
  int64_t num_faults;             /* since the batch was reset with a seed */
} drover_batch_view;

DROVER_API drover_status drover_batch_options_init(drover_batch_options *options, size_t size);

/* Opens the env type, creates the envs and resets them with options->seed. The type must outlive the batch. */
DROVER_API drover_status drover_batch_create(drover_batch **out, drover_runtime *runtime, const drover_env_type *type,
                                             const drover_batch_options *options);
/* NULL is accepted. Waits for steps in flight (send). DROVER_ERROR_STATE while a rollout on it exists. */
DROVER_API drover_status drover_batch_destroy(drover_batch *batch);

/* Begin anew: all counters to zero, every env reset with this seed. */
DROVER_API drover_status drover_batch_reset(drover_batch *batch, uint64_t seed);

/* Begin a new episode in the envs whose mask byte is nonzero ([N]); lifetime counters go on, so nothing repeats. */
DROVER_API drover_status drover_batch_reset_some(drover_batch *batch, const uint8_t *mask);

/* Step every env once. actions: [N x action_size] int32 or float32, the caller's; passed to the env as they are. */
DROVER_API drover_status drover_batch_step(drover_batch *batch, const void *actions);

/* Give `count` envs (env_ids [count], distinct, none in flight) their actions [count x action_size]; returns at once.
 * The envs are stepped in the background, or in recv if the runtime has one worker. */
DROVER_API drover_status drover_batch_send(drover_batch *batch, int32_t count, const int32_t *env_ids,
                                           const void *actions);

/* The caller's thread is one of the workers here too, so a call may last as long as one slow env's step beyond its
 * need. Wait until `count` sent envs are ready (or all that are in flight, if fewer) and write their ids to env_ids
 * [count], in the order in which they became ready, and how many to *num_ready. Their rows are in the batch's view.
 * timeout_s < 0: no limit. When the limit passes: DROVER_ERROR_TIMEOUT with what is ready. With nothing in flight:
 * DROVER_ERROR_STATE. */
DROVER_API drover_status drover_batch_recv(drover_batch *batch, int32_t count, double timeout_s, int32_t *env_ids,
                                           int32_t *num_ready);

/* The rows. Between calls only. */
DROVER_API drover_status drover_batch_get_view(drover_batch *batch, drover_batch_view *out);

/* Why env `env` failed, where the view says valid = 0. Between calls only; not for an env in flight. */
DROVER_API drover_status drover_batch_get_fault(drover_batch *batch, int32_t env, drover_batch_fault *out);

/* The shard and chunk in force (chunk 0: chosen while running). */
DROVER_API drover_status drover_batch_get_sizes(drover_batch *batch, int32_t *shard, int32_t *chunk);

/* Set parameter `name` of the envs whose mask byte is nonzero ([N], NULL = all) to value, from the next step on. */
DROVER_API drover_status drover_batch_set_param(drover_batch *batch, const char *name, const uint8_t *mask,
                                                float value);

/* Draw `count` samples [count x spec.inner_sample_size] for pretraining an inner policy with the env type's
 * draw_sample, in the workers; sample i depends on (seed, i) alone. The envs are scratch memory: afterwards the batch
 * is as after drover_batch_reset with its last seed. DROVER_ERROR_UNSUPPORTED if the env type has no draw_sample. */
DROVER_API drover_status drover_batch_draw_samples(drover_batch *batch, uint64_t seed, int64_t count, float *samples);

/* A checkpoint of all envs, counters and rows: *num_bytes is the size needed (bytes may be NULL to ask), or filled in.
 * DROVER_ERROR_UNSUPPORTED if the env type has no save/load. Loading needs the same env type, arguments and N. */
DROVER_API drover_status drover_batch_save(drover_batch *batch, void *bytes, size_t *num_bytes);
DROVER_API drover_status drover_batch_load(drover_batch *batch, const void *bytes, size_t num_bytes);

#ifdef __cplusplus
}
#endif
#endif
