/* verify_ask.h: what a policy says about observations that no rollout has made.
 *
 * The table of a network policy is not public. So the policy is asked by drover_policy_act on a runtime with one
 * worker, about a batch of `echo` envs, which observe whatever lies in a buffer. */
#ifndef DR_TOOLS_VERIFY_ASK_H
#define DR_TOOLS_VERIFY_ASK_H

#include <drover/drover.h>

typedef struct dr_ask {
  drover_env_spec spec;      /* sizes of the observations and actions */
  const float *observations; /* [num_rows x observation_size] what the envs observe at their next step */
  drover_policy *policy;
  drover_batch *batch; /* its lifetime steps advance with dr_ask_look, so a policy's noise does too */
  void *no_actions;    /* [num_rows x action_size] zeros */
} dr_ask;

/* Ready to ask about num_rows rows, which observe *observations at once. The spec's bounds must outlive it. */
drover_status dr_ask_open(dr_ask *ask, drover_runtime *runtime, drover_policy *policy, const drover_env_spec *spec,
                          int32_t num_rows, uint64_t seed, const float *observations);
void dr_ask_close(dr_ask *ask);

/* Observe what ask->observations holds now. */
drover_status dr_ask_look(dr_ask *ask);

/* drover_policy_act on what was observed last. */
drover_status dr_ask_act(const dr_ask *ask, int32_t deterministic, void *actions, float *logprobs, float *values);

#endif
