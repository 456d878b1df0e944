/* verify_loop.h: a rollout computed without the scheduler: a plain loop over the env table on one thread, with an
 * auto-reset, time limits, faults and advantages of its own. What `drover verify` compares every other way with. */
#ifndef DR_TOOLS_VERIFY_LOOP_H
#define DR_TOOLS_VERIFY_LOOP_H

#include "perf/plain.h"

typedef struct dr_loop_request {
  dr_plain_request envs;
  drover_policy *policy;       /* of a runtime with one worker */
  drover_policy *inner_policy; /* likewise; NULL where the type has no inner loop */
  drover_runtime *runtime;
  int32_t num_steps;
  drover_autoreset autoreset; /* same-step or next-step */
  float gamma;
  float gae_lambda;
} dr_loop_request;

/* Fill *out with buffers of its own, laid out as a rollout's view; free them with dr_loop_free. Actions are clipped on
 * their way to the env. */
drover_status dr_loop_run(const dr_loop_request *request, drover_rollout_view *out);
void dr_loop_free(drover_rollout_view *view);

#endif
