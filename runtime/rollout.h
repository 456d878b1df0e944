/* rollout.h: the inside of a rollout: its buffers, and a log of episodes and faults a shard. */
#ifndef DR_RUNTIME_ROLLOUT_H
#define DR_RUNTIME_ROLLOUT_H

#include <drover/rollout.h>

#include "runtime/batch.h"
#include "runtime/policy.h"

/* What ended or failed in one shard, in (step, env) order. Written by the shard's owner at the end of a step. Its
 * memory grows when a rollout has more to note than any before it, and is kept. */
typedef struct dr_log {
  alignas(DR_LINE_BYTES) drover_episode *episodes;
  float *final_observations; /* [max_episodes x observation_size] */
  int64_t num_episodes, max_episodes;
  drover_fault *faults;
  char (*fault_texts)[DROVER_FAULT_TEXT]; /* [max_faults] */
  int64_t num_faults, max_faults;
  int64_t next_episode, next_fault; /* where merging stands */
} dr_log;

typedef enum dr_rollout_state { DR_ROLLOUT_EMPTY = 0, DR_ROLLOUT_RECORDING = 1, DR_ROLLOUT_FULL = 2 } dr_rollout_state;

struct drover_rollout {
  dr_handle handle;
  drover_batch *batch;
  drover_policy *policy;
  drover_rollout_options options;
  drover_rollout_view view; /* the buffers below belong to the rollout */
  dr_rollout_state state;
  int32_t shard;
  bool transforms;           /* actions reach the env through batch->actions */
  const void *version;       /* of the policy's weights, in a collect */
  const void *inner_version; /* of the inner policy's, where there is an inner loop */
  uint64_t begin_ns;         /* when the collect began, and the steps that earlier runs of it completed: for progress */
  int64_t steps_before;
  _Atomic int64_t num_logged; /* steps whose lists are complete: fewer than were done if a log could not grow */
  dr_run run;
  dr_log *logs; /* [num_chains] */

  drover_episode *episodes; /* all shards', merged */
  float *final_observations;
  float *final_values;
  int64_t max_episodes;
  int64_t *bootstrap_rows; /* [num_bootstrap] episodes that were truncated: their final values are needed */
  int64_t num_bootstrap;
  drover_fault *faults;
  char (*fault_texts)[DROVER_FAULT_TEXT];
  int64_t max_faults;
};

/* log.c */
drover_status dr_log_init(dr_log *log, int64_t max_episodes, int32_t observation_size);
void dr_log_free(dr_log *log);
void dr_log_clear(dr_log *log);
/* Note what ended or failed among envs first..first + count - 1 in this step, from the rows' flags and the batch. */
drover_status dr_log_step(dr_log *log, const drover_batch *batch, const uint8_t *terminated, const uint8_t *truncated,
                          int32_t first, int32_t count, int32_t step);
/* Merge the shards' logs, steps below num_steps, into the rollout's lists. */
drover_status dr_log_merge(drover_rollout *rollout, int32_t num_steps);

/* transform.c: log |da/du| of DROVER_ACTION_TANH at a raw action [action_size]. */
double dr_squash_log_det(const drover_env_spec *spec, const float *raw);
/* Raw continuous actions [count x action_size] as the env is to see them (CLIP or TANH); TANH corrects logprobs. */
void dr_transform_actions(drover_action_transform transform, const drover_env_spec *spec, const float *raw,
                          float *actions, float *logprobs, int32_t count);

/* advantage.c: values of final observations where an episode was truncated, then advantages and returns. */
drover_status dr_rollout_estimate(drover_rollout *rollout);

#endif
