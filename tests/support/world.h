/* world.h: a runtime, a batch of toy envs, a toy policy and a rollout, made from options that a test changes first. */
#ifndef DR_TESTS_SUPPORT_WORLD_H
#define DR_TESTS_SUPPORT_WORLD_H

#include <drover/rollout.h>
#include <drover/threads.h>
#include <stdbool.h>

#include "tests/support/check.h"
#include "tests/support/toy_env.h"
#include "tests/support/toy_policy.h"

typedef struct world {
  toy_config config;
  toy_policy toy;
  toy_policy toy_inside; /* used if the config has an inner loop */
  drover_runtime_options runtime_options;
  drover_batch_options batch_options;
  drover_rollout_options rollout_options;
  bool has_values;
  drover_runtime *runtime;
  drover_batch *batch;
  drover_policy *policy;
  drover_policy *inner_policy; /* NULL without an inner loop */
  drover_rollout *rollout;
} world;

/* Defaults: discrete toy envs, 2 workers, 16 envs, T = 20, a policy with values. */
void world_init(world *w);

/* Make everything; the program ends if that fails. */
void world_open(world *w);
void world_close(world *w);

/* How a rollout is driven. */
typedef enum world_way { WORLD_FUSED, WORLD_BARRIER, WORLD_STEPPED } world_way;

/* Fill the rollout: collect, or begin, act, step, record, finish. world_open must have been called with
 * rollout_options.barrier set as the way needs it (world_set_way does). */
void world_set_way(world *w, world_way way);
void world_fill(world *w, world_way way);

/* All buffers of a rollout, one behind the other. free() the bytes. */
typedef struct world_bytes {
  unsigned char *data;
  size_t size;
} world_bytes;

world_bytes world_read(const world *w, bool with_advantages);
bool world_same(world_bytes a, world_bytes b);

/* From open to close: fill once and read everything; *digest and *num_joined may be NULL. */
world_bytes world_run(world *w, world_way way, uint64_t *digest, int32_t *num_joined);

/* The raw actions of a continuous rollout clipped as the runtime does, for callers who step. */
void world_clip(const world *w, const void *raw, void *clipped);

/* NULL if the rollout holds what models give that have done `skip` steps before it; else what differs (model.h). */
const char *world_differs_from_model(const world *w, int32_t skip);

/* The getters, for values instead of statuses. */
drover_batch_view batch_view(drover_batch *batch);
drover_rollout_view rollout_view(drover_rollout *rollout);
uint64_t rollout_digest(drover_rollout *rollout);
drover_runtime_stats runtime_stats(drover_runtime *runtime);
drover_worker_stats worker_stats(drover_runtime *runtime, int32_t worker);

int32_t count_threads(void); /* of this process */
double seconds(void);        /* of a monotonic clock */

#endif
