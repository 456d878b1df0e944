/* policy.h: policies: what maps observation rows to actions inside the workers.
 *
 * The built-in MLP (mlp.h) is one; an embedder's own function, ONNX Runtime or libtorch is another: fill a
 * drover_policy_type. The runtime calls `act` from several workers at once, each with its own context. */
#ifndef DROVER_POLICY_H
#define DROVER_POLICY_H

#include <drover/base.h>
#include <drover/env.h>
#include <drover/runtime.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct drover_policy drover_policy;
struct drover_batch;

#define DROVER_POLICY_ABI_VERSION 1u

/* What a policy expects of the env it acts in; checked when a rollout is created. */
typedef struct drover_policy_spec {
  int32_t observation_size;
  drover_action_kind action_kind;
  int32_t action_size; /* numbers an action: 1 if discrete */
  int32_t num_actions; /* discrete: how many */
  int32_t has_values;  /* 1 if `values` are computed */
  int32_t num_tiles;   /* row counts it evaluates at once, cheapest a row last; informative */
  int32_t tiles[8];
} drover_policy_spec;

/* One call of act: rows of neighbouring envs. Everything is the runtime's; valid in the call. */
typedef struct drover_policy_rows {
  int32_t count;
  int32_t first_env; /* absolute index of row 0's env */
  uint64_t seed;     /* the batch's */
  const uint64_t
      *counters;         /* [count] lifetime steps, for noise: drover_random_at(seed, env, DROVER_RANDOM_ACTION, c) */
  int32_t deterministic; /* 1: the mode of the distribution instead of a sample */
  const float *observations; /* [count x observation_size] */
  void *actions;             /* out [count x action_size]: int32, or float32 raw samples (not clipped) */
  float *logprobs;           /* out [count], or NULL: log-probability of the raw sample */
  float *values;             /* out [count], or NULL; only asked for if spec.has_values */
} drover_policy_rows;

/* All functions that return int: 0 = success. Functions marked optional may be NULL. */
typedef struct drover_policy_type {
  uint32_t abi_version; /* DROVER_POLICY_ABI_VERSION */
  uint32_t size;        /* sizeof(drover_policy_type) */
  const char *name;
  int (*get_spec)(void *self, drover_policy_spec *spec);

  /* Once a worker, on the creating thread: scratch memory for one worker. Optional: contexts are then NULL. */
  int (*open_context)(void *self, void **context);
  void (*close_context)(void *self, void *context);

  /* Pin the present weights for a run, and let them go. Optional: versions are then NULL. */
  const void *(*acquire)(void *self);
  void (*release)(void *self, const void *version);

  /* Several workers at once, each with its own context. A row's results must not depend on the other rows. */
  int (*act)(void *self, const void *version, void *context, const drover_policy_rows *rows);

  /* Values alone, for bootstrapping: observations [count x observation_size] -> values [count]. Optional if
   * has_values is 0. */
  int (*value)(void *self, const void *version, void *context, int32_t count, const float *observations, float *values);

  void (*destroy)(void *self); /* optional */
} drover_policy_type;

/* Make a policy of a table and its `self`. The table is copied; self belongs to the policy from here on if the call
 * succeeds (type->destroy ends it). Contexts for all workers of the runtime are opened here. */
DROVER_API drover_status drover_policy_create(drover_policy **out, drover_runtime *runtime,
                                              const drover_policy_type *type, void *self);

/* Uniform actions for an env: discrete, or continuous in [low, high] (which must be finite). No network, no values. */
DROVER_API drover_status drover_policy_create_uniform(drover_policy **out, drover_runtime *runtime,
                                                      const drover_env_spec *spec);

/* Fails with DROVER_ERROR_STATE while a rollout or a learner that uses the policy exists, or a batch whose inner policy
 * it is. NULL is accepted. */
DROVER_API drover_status drover_policy_destroy(drover_policy *policy);

DROVER_API drover_status drover_policy_get_spec(drover_policy *policy, drover_policy_spec *out);

/* For those who drive drover_batch_step themselves: act on the batch's present observations in its workers.
 * N = the batch's num_envs; actions [N x action_size], logprobs [N] and values [N] (both may be NULL) are the
 * caller's. Actions are raw: clip them yourself before drover_batch_step if the env needs it. */
DROVER_API drover_status drover_policy_act(drover_policy *policy, struct drover_batch *batch, int32_t deterministic,
                                           void *actions, float *logprobs, float *values);

/* The policy inside the steps of a batch whose env type has an inner loop (spec.num_ticks > 0): it maps inner
 * observations to inner actions, at every tick, on tiles of a shard's rows, deterministically. Needed before the first
 * step (which fails with DROVER_ERROR_STATE); stays until another is set or the batch is destroyed, and cannot be
 * destroyed before. Between calls only, with nothing in flight. A collect or step uses the weights that it began with,
 * a sent env those of the moment at which it is stepped. NULL takes the policy away. DROVER_ERROR_POLICY if it does not
 * fit, DROVER_ERROR_UNSUPPORTED if the env type has no inner loop. */
DROVER_API drover_status drover_batch_set_inner_policy(struct drover_batch *batch, drover_policy *policy);

#ifdef __cplusplus
}
#endif
#endif
