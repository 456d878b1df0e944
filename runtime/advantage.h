/* advantage.h: generalised advantage estimates of a rollout's columns, for rollouts and for learners, who may have
 * rewards of their own scale. */
#ifndef DR_RUNTIME_ADVANTAGE_H
#define DR_RUNTIME_ADVANTAGE_H

#include <drover/rollout.h>

/* Arrays as in drover_rollout_view: [num_steps x num_envs], values with one step more. */
typedef struct dr_estimate {
  int32_t num_envs, num_steps;
  float gamma, decay; /* decay = gamma x lambda */
  const float *rewards;
  const float *values;
  const uint8_t *terminated, *truncated, *valid;
  float *advantages; /* in: V(final observation) where truncated; out */
  float *returns;    /* out: advantages + values */
} dr_estimate;

/* Put the values of final observations where dr_estimate_columns looks for them. */
void dr_estimate_place_finals(const dr_estimate *e, int64_t num_episodes, const drover_episode *episodes,
                              const float *final_values);

/* Columns first..first + count - 1; count <= DR_BLOCK_ROWS. Columns do not depend on each other. */
void dr_estimate_columns(const dr_estimate *e, int32_t first, int32_t count);

#endif
