/* options_handles.c: every public call with NULL, with a handle that was destroyed, and with arguments that are NULL or
 * out of range. */
#include <limits.h>
#include <math.h>
#include <stdio.h>

#include "tests/fuzz/options.h"
#include "tests/support/check.h"

/* A call that must not succeed. */
#define BAD(call)                                               \
  do {                                                          \
    snprintf(now_testing, sizeof now_testing, "%.200s", #call); \
    num_tried++;                                                \
    const drover_status bad_status = (call);                    \
    if (bad_status == DROVER_OK)                                \
      fail("it succeeded");                                     \
    else                                                        \
      check_refusal(bad_status, NULL);                          \
  } while (0)

/* Every call with handles that are no good; what else they need is right. Statuses other than success are expected. */
static void try_each_call(drover_runtime *r, drover_batch *b, drover_policy *p, drover_rollout *o, drover_ppo *l,
                          drover_inner *i) {
  unsigned char bytes[4096] = {0};
  size_t size = sizeof bytes;
  int32_t ids[8] = {0}, count = 0;
  uint8_t mask[64] = {0};
  float numbers[64] = {0};
  uint64_t digest;
  drover_batch *made_batch = NULL;
  drover_policy *made_policy = NULL;
  drover_rollout *made_rollout = NULL;
  drover_ppo *made_ppo = NULL;
  drover_inner *made_inner = NULL;
  drover_policy_spec policy_spec;
  drover_runtime_stats stats = {.size = sizeof stats};
  drover_worker_stats worker_stats;
  drover_batch_view batch_view = {.size = sizeof batch_view};
  drover_rollout_view rollout_view = {.size = sizeof rollout_view};
  drover_batch_options batch_options;
  drover_mlp_options mlp;
  drover_rollout_options rollout_options;
  drover_ppo_options ppo_options;
  drover_inner_options inner_options;
  batch_init(&batch_options);
  mlp_init(&mlp);
  rollout_init(&rollout_options);
  ppo_init(&ppo_options);
  inner_init(&inner_options);
  BAD(drover_runtime_get_stats(r, &stats));
  BAD(drover_runtime_get_worker_stats(r, 0, &worker_stats));
  BAD(drover_runtime_reset_stats(r));
  BAD(drover_runtime_save_trace(r, "/dev/null"));
  BAD(drover_batch_create(&made_batch, r, &world.config.type, &batch_options));
  BAD(drover_policy_create_uniform(&made_policy, r, world.spec));
  BAD(drover_policy_create_mlp(&made_policy, r, &mlp));
  BAD(drover_policy_load(&made_policy, r, "/nowhere"));
  BAD(drover_batch_reset(b, 1));
  BAD(drover_batch_reset_some(b, mask));
  BAD(drover_batch_step(b, ids));
  BAD(drover_batch_send(b, 1, ids, ids));
  BAD(drover_batch_recv(b, 1, 0, ids, &count));
  BAD(drover_batch_get_view(b, &batch_view));
  BAD(drover_batch_get_sizes(b, &count, &count));
  BAD(drover_batch_set_param(b, "gain", NULL, 1));
  BAD(drover_batch_draw_samples(b, 1, 1, numbers));
  BAD(drover_batch_save(b, bytes, &size));
  BAD(drover_batch_load(b, bytes, size));
  BAD(drover_batch_set_inner_policy(b, world.unit_policy));
  BAD(drover_policy_get_spec(p, &policy_spec));
  BAD(drover_policy_act(p, world.batch, 0, ids, NULL, NULL));
  BAD(drover_policy_act(world.policy, b, 0, ids, NULL, NULL));
  BAD(drover_policy_save(p, "/nowhere/at/all"));
  BAD(drover_policy_get_mlp(p, &mlp));
  BAD(drover_policy_num_weights(p, &size));
  BAD(drover_policy_get_weights(p, numbers, 64));
  BAD(drover_policy_set_weights(p, numbers, 64));
  BAD(drover_rollout_create(&made_rollout, b, world.policy, &rollout_options));
  BAD(drover_rollout_create(&made_rollout, world.batch, p, &rollout_options));
  BAD(drover_rollout_collect(o));
  BAD(drover_rollout_begin(o));
  BAD(drover_rollout_record(o, ids, NULL, NULL));
  BAD(drover_rollout_finish(o));
  BAD(drover_rollout_get_view(o, &rollout_view));
  BAD(drover_rollout_digest(o, &digest));
  BAD(drover_ppo_create(&made_ppo, p, world.rollout, &ppo_options));
  BAD(drover_ppo_create(&made_ppo, world.policy, o, &ppo_options));
  BAD(drover_ppo_observe(l, world.rollout));
  BAD(drover_ppo_update(l, world.rollout, NULL));
  BAD(drover_ppo_save(l, bytes, &size));
  BAD(drover_ppo_load(l, bytes, sizeof bytes));
  BAD(drover_inner_create(&made_inner, p, &inner_options));
  BAD(drover_inner_add(i, 1, numbers));
  BAD(drover_inner_add_rollout(i, world.rollout));
  BAD(drover_inner_update(i, 1, NULL));
  BAD(drover_inner_evaluate(i, 1, numbers, NULL, NULL));
  BAD(drover_inner_save(i, bytes, &size));
  BAD(drover_inner_load(i, bytes, sizeof bytes));
  /* NULL is no end of anything; what was destroyed cannot be again. */
  if (r) {
    BAD(drover_runtime_destroy(r));
    BAD(drover_batch_destroy(b));
    BAD(drover_policy_destroy(p));
    BAD(drover_rollout_destroy(o));
    BAD(drover_ppo_destroy(l));
    BAD(drover_inner_destroy(i));
  }
}

/* Good handles, and NULL or nonsense in place of the rest. */
static void try_arguments(void) {
  drover_ppo_options ppo_options;
  drover_inner_options inner_options;
  ppo_init(&ppo_options);
  inner_init(&inner_options);
  drover_ppo *learner;
  drover_inner *inner;
  OK(drover_ppo_create(&learner, world.policy, world.rollout, &ppo_options));
  OK(drover_inner_create(&inner, world.unit_policy, &inner_options));
  int32_t ids[4] = {0, 1, 2, 0}, out_of_range[2] = {0, NUM_ENVS}, negative[1] = {-1}, count;
  int32_t actions[64] = {0};
  unsigned char byte;
  float numbers[64] = {0};
  BAD(drover_runtime_create(NULL, NULL));
  BAD(drover_batch_step(world.batch, NULL));
  BAD(drover_batch_reset_some(world.batch, NULL));
  BAD(drover_batch_send(world.batch, 0, ids, actions));
  BAD(drover_batch_send(world.batch, -1, ids, actions));
  BAD(drover_batch_send(world.batch, INT_MAX, ids, actions));
  BAD(drover_batch_send(world.batch, 4, ids, actions));
  BAD(drover_batch_send(world.batch, 2, out_of_range, actions));
  BAD(drover_batch_send(world.batch, 1, negative, actions));
  BAD(drover_batch_send(world.batch, 1, NULL, actions));
  BAD(drover_batch_send(world.batch, 1, ids, NULL));
  BAD(drover_batch_recv(world.batch, 1, -1, ids, &count));
  BAD(drover_batch_recv(world.batch, 0, NAN, ids, &count));
  BAD(drover_batch_recv(world.batch, 1, 0, NULL, &count));
  BAD(drover_batch_recv(world.batch, 1, 0, ids, NULL));
  BAD(drover_batch_get_view(world.batch, NULL));
  BAD(drover_batch_set_param(world.batch, NULL, NULL, 1));
  BAD(drover_batch_set_param(world.batch, "", NULL, 1));
  BAD(drover_batch_draw_samples(world.batch, 1, 1, numbers));
  BAD(drover_batch_save(world.batch, NULL, NULL));
  BAD(drover_batch_save(world.batch, &byte, &(size_t){1}));
  BAD(drover_batch_load(world.batch, NULL, 0));
  BAD(drover_batch_load(world.batch, NULL, SIZE_MAX));
  BAD(drover_batch_set_inner_policy(world.batch, world.unit_policy));
  BAD(drover_batch_set_inner_policy(world.inner_batch, world.policy));
  BAD(drover_policy_act(world.policy, world.batch, 0, NULL, NULL, NULL));
  BAD(drover_policy_save(world.policy, NULL));
  BAD(drover_policy_save(world.policy, ""));
  BAD(drover_policy_save(world.policy, "/dev/full"));
  BAD(drover_policy_save(world.policy, "/"));
  BAD(drover_policy_load(NULL, world.runtime, "x"));
  drover_policy *loaded;
  BAD(drover_policy_load(&loaded, world.runtime, NULL));
  BAD(drover_policy_load(&loaded, world.runtime, ""));
  BAD(drover_policy_load(&loaded, world.runtime, "/"));
  BAD(drover_policy_load(&loaded, world.runtime, "/dev/zero"));
  BAD(drover_policy_get_mlp(world.policy, NULL));
  BAD(drover_policy_num_weights(world.policy, NULL));
  BAD(drover_policy_get_weights(world.policy, NULL, 1));
  BAD(drover_policy_get_weights(world.policy, numbers, 1));
  BAD(drover_policy_set_weights(world.policy, NULL, SIZE_MAX));
  BAD(drover_policy_create(&loaded, world.runtime, NULL, NULL));
  BAD(drover_policy_create_uniform(&loaded, world.runtime, NULL));
  BAD(drover_rollout_record(world.rollout, actions, NULL, NULL));
  BAD(drover_rollout_finish(world.rollout));
  BAD(drover_rollout_get_view(world.rollout, NULL));
  BAD(drover_rollout_digest(world.rollout, NULL));
  BAD(drover_ppo_save(learner, NULL, NULL));
  BAD(drover_ppo_save(learner, &byte, &(size_t){1}));
  BAD(drover_ppo_load(learner, NULL, 8));
  BAD(drover_inner_add(inner, 1, NULL));
  BAD(drover_inner_add(inner, -1, numbers));
  BAD(drover_inner_add_rollout(inner, world.rollout));
  BAD(drover_inner_update(inner, 1, NULL));
  BAD(drover_inner_update(inner, -1, NULL));
  BAD(drover_inner_evaluate(inner, -1, numbers, NULL, NULL));
  BAD(drover_inner_evaluate(inner, 1, NULL, NULL, NULL));
  BAD(drover_inner_save(inner, NULL, NULL));
  BAD(drover_inner_load(inner, NULL, 8));
  BAD(drover_env_register(NULL));
  BAD(drover_env_find(NULL, NULL));
  const drover_env_type *type;
  BAD(drover_env_find("", &type));
  BAD(drover_env_find("\xff\xfe", &type));
  BAD(drover_runtime_save_trace(world.runtime, NULL));
  OK(drover_ppo_destroy(learner));
  OK(drover_inner_destroy(inner));
}

static void try_destroyed(void) {
  drover_runtime_options options;
  runtime_init(&options);
  drover_ppo_options ppo_options;
  drover_inner_options inner_options;
  ppo_init(&ppo_options);
  inner_init(&inner_options);
  drover_rollout_options rollout_options;
  rollout_init(&rollout_options);
  drover_runtime *r;
  drover_batch *b;
  drover_policy *p;
  drover_rollout *o;
  drover_ppo *l;
  drover_inner *i;
  OK(drover_runtime_create(&r, &options));
  make_batch(&b, &world.config);
  drover_mlp_options mlp;
  mlp_init(&mlp);
  OK(drover_policy_create_mlp(&p, world.runtime, &mlp));
  OK(drover_rollout_create(&o, b, p, &rollout_options));
  OK(drover_ppo_create(&l, p, o, &ppo_options));
  OK(drover_inner_create(&i, world.unit_policy, &inner_options));
  OK(drover_inner_destroy(i));
  OK(drover_ppo_destroy(l));
  OK(drover_rollout_destroy(o));
  OK(drover_policy_destroy(p));
  OK(drover_batch_destroy(b));
  OK(drover_runtime_destroy(r));
  try_each_call(r, b, p, o, l, i);
}

void try_handles(void) {
  try_each_call(NULL, NULL, NULL, NULL, NULL, NULL);
  try_destroyed();
  try_arguments();
}
