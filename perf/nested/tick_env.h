/* tick_env.h: the experiment's other env: one step is one tick, and the inner network is the policy. */
#ifndef DR_PERF_NESTED_TICK_ENV_H
#define DR_PERF_NESTED_TICK_ENV_H

#include <drover/env.h>

/* "NestedTick": 16 of its steps are one of nested_env.c's, from the same states under the same wanted torques. */
const drover_env_type *dr_nested_tick_type(void);

#endif
