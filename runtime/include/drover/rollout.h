/* rollout.h: T steps of all N envs of a batch under a policy, and the buffers that hold them.
 *
 * Rows: row = step * N + env. terminated[t] and truncated[t] describe action t; there is no `dones`. Rewards and
 * observations are raw. valid[t] = 0 (a fault, or a next-step reset row) means advantage 0 and no part in any
 * statistic. A collect goes on where the last one ended: two of T give the bytes of one of 2T. */
#ifndef DROVER_ROLLOUT_H
#define DROVER_ROLLOUT_H

#include <drover/base.h>
#include <drover/batch.h>
#include <drover/policy.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct drover_rollout drover_rollout;

/* How a continuous action gets from the raw sample u (in the buffer) to the env. */
typedef enum drover_action_transform {
  DROVER_ACTION_CLIP = 0, /* min(max(u, low), high) */
  DROVER_ACTION_TANH = 1, /* low + (high - low) (tanh(u) + 1) / 2; logprob corrected by the log-determinant */
  DROVER_ACTION_NONE = 2  /* u */
} drover_action_transform;

/* How far a collect is. Given to the callback below. */
typedef struct drover_progress {
  int64_t env_steps_done;
  int64_t env_steps_total;
  double seconds;
} drover_progress;

typedef struct drover_rollout_options {
  size_t size;           /* set by init */
  int32_t num_steps;     /* T, 1..16777216 */
  int32_t deterministic; /* 1: the policy's mode instead of samples */
  drover_action_transform transform;
  float gamma;      /* discount, default 0.99 */
  float gae_lambda; /* default 0.95 */
  int32_t barrier;  /* 1: all shards wait for each other after every step (for comparisons only) */
  void (*progress)(void *user, const drover_progress *progress); /* from a worker, at most every 100 ms; may be NULL */
  void *progress_user;
} drover_rollout_options;

/* An episode that ended in the rollout (also by a fault). */
typedef struct drover_episode {
  int32_t step; /* t of the action that ended it */
  int32_t env;
  double episode_return; /* sum of raw rewards over the whole episode, also before this rollout */
  int32_t length;        /* steps */
  uint8_t terminated;
  uint8_t truncated;
  uint8_t faulted;
  uint8_t reserved;
} drover_episode;

typedef struct drover_fault {
  int32_t step;
  int32_t env;
  int32_t reason; /* drover_fault_reason */
  int32_t reserved;
} drover_fault;

/* The buffers; the rollout's memory, valid until it is destroyed, overwritten by the next collect.
 * N = num_envs, T = num_steps asked for. After a cancelled or failed run the first num_steps_done rows are good. */
typedef struct drover_rollout_view {
  size_t size; /* set by the caller to sizeof(drover_rollout_view) */
  int32_t num_envs;
  int32_t num_steps;
  int32_t num_steps_done;
  int32_t observation_size;
  int32_t action_size;
  int32_t num_infos;
  int32_t inner_sample_size;
  int32_t shard; /* envs a shard in this rollout; informative, as the contents do not depend on it */
  drover_action_kind action_kind;
  float *observations;  /* [(T+1) x N x observation_size]; row T is what follows the last action */
  void *actions;        /* [T x N x action_size] int32 or float32 raw samples */
  float *logprobs;      /* [T x N] */
  float *values;        /* [(T+1) x N], or NULL if the policy has none */
  float *rewards;       /* [T x N] */
  uint8_t *terminated;  /* [T x N] */
  uint8_t *truncated;   /* [T x N] */
  uint8_t *valid;       /* [T x N] */
  float *infos;         /* [T x N x num_infos] or NULL */
  float *inner_samples; /* [T x N x inner_sample_size] of one random tick a step, 0 where not valid; or NULL */
  float *advantages;    /* [T x N] generalised advantage estimates (Schulman et al. 2016, eq. 16), or NULL */
  float *returns;       /* [T x N] advantages + values, or NULL */
  int64_t num_episodes;
  const drover_episode *episodes;  /* [num_episodes] in (step, env) order */
  const float *final_observations; /* [num_episodes x observation_size] */
  const float *final_values;       /* [num_episodes] V(final observation), 0 where terminated; NULL without values */
  int64_t num_faults;
  const drover_fault *faults;                   /* [num_faults] in (step, env) order */
  const char (*fault_texts)[DROVER_FAULT_TEXT]; /* [num_faults] what the env type said (drover_env_type.explain), or
                                                   what we found; for people, no part of the digest */
} drover_rollout_view;

DROVER_API drover_status drover_rollout_options_init(drover_rollout_options *options, size_t size);

/* Allocates the buffers. The batch and the policy must fit each other and outlive the rollout. */
DROVER_API drover_status drover_rollout_create(drover_rollout **out, drover_batch *batch, drover_policy *policy,
                                               const drover_rollout_options *options);
DROVER_API drover_status drover_rollout_destroy(drover_rollout *rollout);

/* Run T steps in the runtime's workers and fill the buffers. The caller's thread is one of the workers. */
DROVER_API drover_status drover_rollout_collect(drover_rollout *rollout);

/* For those who drive drover_batch_step themselves: begin(); then T times { drover_policy_act or your own actions;
 * drover_batch_step; record(raw actions [N x action_size], logprobs [N], values [N]) }; then finish(), which computes
 * bootstrap values and advantages. logprobs and values may be NULL if the policy gave none. The buffers are then what
 * collect would have given, byte for byte. record copies what the batch's view holds. */
DROVER_API drover_status drover_rollout_begin(drover_rollout *rollout);
DROVER_API drover_status drover_rollout_record(drover_rollout *rollout, const void *actions, const float *logprobs,
                                               const float *values);
DROVER_API drover_status drover_rollout_finish(drover_rollout *rollout);

DROVER_API drover_status drover_rollout_get_view(drover_rollout *rollout, drover_rollout_view *out);

/* XXH3 (64 bits) over all buffers of the view in its order, the first num_steps_done rows, shapes included. */
DROVER_API drover_status drover_rollout_digest(drover_rollout *rollout, uint64_t *out);

#ifdef __cplusplus
}
#endif
#endif
