/* cases.h: configurations with their right answers, computed with one worker before anything else happens to them. */
#ifndef TESTS_STRESS_CASES_H
#define TESTS_STRESS_CASES_H

#include <drover/drover.h>
#include <stdbool.h>

/* The references reach this many times the steps of one collect: a run that was stopped can be followed on. */
enum { CASE_REACH = 3, NUM_CASES = 24 };

typedef struct stress_case {
  int32_t index;
  const drover_env_type *type;
  int32_t num_envs;
  int32_t num_steps; /* of one collect */
  uint64_t seed;
  drover_autoreset autoreset;
  drover_action_transform transform;
  bool uniform; /* the uniform policy, else the toy policy */
  bool deterministic;
  bool fails; /* some steps and resets fail */
  char work[16], fail[16];
  drover_env_arg args[2];
} stress_case;

/* A way to run a case: must not change what comes out. */
typedef struct stress_way {
  int32_t shard, chunk, scalar, barrier;
  int64_t fault_limit;
} stress_way;

/* What a case is run with; all NULL before. */
typedef struct stress_objects {
  drover_batch *batch;
  drover_policy *policy;
  drover_policy *inner_policy; /* NULL without an inner loop */
  drover_rollout *rollout;
} stress_objects;

/* Make the cases of a seed. Their references are computed when they are first asked for. */
void cases_create(uint64_t seed);
void cases_destroy(void);
const stress_case *case_at(int32_t index);

/* A batch, a policy (the toy one failing as toy_policy_create says) and a rollout of num_steps for a case. */
drover_status case_open(stress_objects *out, drover_runtime *runtime, const stress_case *c, const stress_way *way,
                        int32_t num_steps, int32_t fail_env, uint64_t fail_step);
void case_close(stress_objects *objects);

/* The digest of a collect of num_steps (1..case's) steps. Any thread. */
uint64_t case_digest(const stress_case *c, int32_t num_steps);

/* The rows of CASE_REACH x num_steps steps: under the policy, or under toy_..._action from step 0 on. Any thread. */
const drover_rollout_view *case_policy_rows(const stress_case *c);
const drover_rollout_view *case_caller_rows(const stress_case *c);

/* Write toy_..._action of env at its lifetime step to where the batch wants it. */
void case_caller_action(const stress_case *c, int32_t env, uint64_t step, void *action);

/* As a rollout's transform does: NULL if the actions go to the env as they are. */
const void *case_transform(const stress_case *c, const void *raw, void *clipped);

#endif
