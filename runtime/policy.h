/* policy.h: the inside of a policy handle: a function table, its self, and one context a worker. */
#ifndef DR_RUNTIME_POLICY_H
#define DR_RUNTIME_POLICY_H

#include <drover/policy.h>

#include "runtime/handle.h"
#include "runtime/worker.h"

struct drover_policy {
  dr_handle handle;
  drover_runtime *runtime;
  drover_policy_type type; /* a copy */
  void *self;
  drover_policy_spec spec;
  void **contexts;           /* [num_workers] */
  _Atomic int32_t num_users; /* rollouts and learners that use it, and batches whose inner policy it is */
};

/* The self of a live policy whose table is `type` (compared by its `act`), for calls that only one kind of policy
 * has. DROVER_ERROR_CLOSED, or DROVER_ERROR_ARGUMENT naming `what` if it is of another kind. */
drover_status dr_policy_self(drover_policy *policy, const drover_policy_type *type, const char *what, void **self);

/* Does the policy fit an env with this spec? */
drover_status dr_policy_check_fit(const drover_policy *policy, const drover_env_spec *env);

/* The weights of now, held until released. */
const void *dr_policy_acquire(drover_policy *policy);
void dr_policy_release(drover_policy *policy, const void *version);

/* act and value on a worker; a failure is DROVER_ERROR_POLICY. */
drover_status dr_policy_act(drover_policy *policy, const void *version, const dr_worker *worker,
                            const drover_policy_rows *rows);
drover_status dr_policy_value(drover_policy *policy, const void *version, const dr_worker *worker, int32_t count,
                              const float *observations, float *values);

/* Rows a claim should be a multiple of: the policy's smallest efficient tile. */
int32_t dr_policy_row_multiple(const drover_policy *policy);

#endif
