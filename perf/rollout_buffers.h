/* rollout_buffers.h: the buffers of a rollout that is computed by hand, shaped as drover_rollout_view says. */
#ifndef DR_PERF_ROLLOUT_BUFFERS_H
#define DR_PERF_ROLLOUT_BUFFERS_H

#include <drover/drover.h>
#include <stdbool.h>

/* Fill in a view of so many envs and steps, all of them done, with zeroed arrays of every step: [T x N ...], values,
 * advantages and returns only if has_values. Its lists of episodes and faults are empty. DROVER_ERROR_NO_MEMORY leaves
 * what was made, to be freed. */
drover_status dr_rollout_buffers_make(drover_rollout_view *view, const drover_env_spec *spec, int32_t num_envs,
                                      int32_t num_steps, bool has_values);

/* Free the arrays, not what the lists point at. */
void dr_rollout_buffers_free(drover_rollout_view *view);

/* `count` zeroed elements on a cache line's boundary, at least one line; NULL without memory. For free(). */
void *dr_zeroed(size_t count, size_t size);

#endif
