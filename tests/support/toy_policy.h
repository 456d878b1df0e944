/* toy_policy.h: a policy for tests of the runtime: simple arithmetic of the observation, plus noise from the action
 * stream. It counts how it is used and fails where a test wants it to. */
#ifndef DR_TESTS_SUPPORT_TOY_POLICY_H
#define DR_TESTS_SUPPORT_TOY_POLICY_H

#include <drover/policy.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "tests/support/toy_env.h"

typedef struct toy_policy {
  drover_policy_type type; /* filled by toy_policy_init */
  drover_policy_spec spec;

  const toy_config *inner; /* an inner policy for this config, which tells it its troubles; else NULL */
  float inner_gain;        /* its one weight: swapped by tests */
  int32_t work;            /* counted loop a row */
  /* Failures. */
  bool fails_to_get_spec;
  int32_t fails_to_open_context; /* at this worker; -1 = never */
  int32_t fails_at_env;          /* act fails for a call that holds this env (-1 = none) ... */
  uint64_t fails_at_step;        /* ... at this lifetime step of it */
  bool fails_to_value;

  /* What it saw. */
  _Atomic int32_t num_contexts, num_versions; /* open now */
  _Atomic int64_t num_acts, num_values, num_destroys;
  _Atomic int64_t
      num_overlaps; /* calls that policy.h or env.h do not promise: in a context in use, without a version, ... */
} toy_policy;

/* A policy that fits envs of this config. */
void toy_policy_init(toy_policy *policy, const toy_config *config, bool has_values);

/* An inner policy for envs of this config, which has an inner loop. */
void toy_inner_policy_init(toy_policy *policy, const toy_config *config);

/* drover_policy_create of it. It must outlive the handle. */
drover_status toy_policy_create(drover_policy **out, drover_runtime *runtime, toy_policy *policy);

/* What the policy does for one row, for references: action (int32 or float32 [action_size]) and its logprob; the
 * value of an observation. */
float toy_policy_act_one(const toy_policy *policy, uint64_t seed, int32_t env, uint64_t step, const float *observation,
                         bool deterministic, void *action);
void toy_inner_policy_act_one(const toy_policy *policy, int32_t env, uint64_t step, const float *observation,
                              float *action);
float toy_policy_value_one(const toy_policy *policy, const float *observation);

#endif
