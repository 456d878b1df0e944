/* sim_harness.h: tests/env/harness.h for env types that have create, destroy and infos. */
#ifndef DR_TESTS_MUJOCO_SIM_HARNESS_H
#define DR_TESTS_MUJOCO_SIM_HARNESS_H

#include "env/mujoco/task.h"
#include "tests/env/harness.h"

static const char *const all_tasks[] = {"InvertedPendulum-v5",
                                        "InvertedDoublePendulum-v5",
                                        "Reacher-v5",
                                        "Pusher-v5",
                                        "Swimmer-v5",
                                        "Hopper-v5",
                                        "HalfCheetah-v5",
                                        "Walker2d-v5",
                                        "Ant-v5",
                                        "Humanoid-v5",
                                        "HumanoidStandup-v5"};
enum { NUM_TASKS = sizeof all_tasks / sizeof *all_tasks };

static inline bool sim_try_open(harness *h, const char *name, int32_t count, const drover_env_arg *items, int32_t n) {
  if (!harness_try_open(h, name, count, items, n)) return false;
  for (int32_t e = 0; e < count; e++) cr_assert_eq(h->type->create(h->shared, harness_state(h, e), e), 0);
  return true;
}

static inline void sim_open(harness *h, const char *name, int32_t count, const char *key, const char *value) {
  const drover_env_arg arg = {key, value};
  cr_assert(sim_try_open(h, name, count, &arg, key ? 1 : 0), "%s: %s", name, h->message);
}

static inline void sim_close(harness *h) {
  for (int32_t e = 0; e < h->count; e++) h->type->destroy(h->shared, harness_state(h, e));
  harness_close(h);
}

static inline dr_mj_env *sim_env(const harness *h, int32_t env) { return (dr_mj_env *)(void *)harness_state(h, env); }
static inline const dr_mj_world *sim_world(const harness *h) { return h->shared; }
static inline float *sim_action(const harness *h, int32_t env) {
  return (float *)h->actions + (size_t)env * (size_t)h->spec.action_size;
}

/* infos: [num_infos] or NULL */
static inline int sim_step(harness *h, int32_t env, float *infos) {
  drover_env_rows rows = harness_rows(h, DROVER_RANDOM_STEP, env, 1);
  rows.infos = infos;
  return h->type->step(h->shared, harness_state(h, env), &rows);
}

static inline void sim_random_action(harness *h, int32_t env, uint64_t *random) {
  for (int32_t i = 0; i < h->spec.action_size; i++)
    sim_action(h, env)[i] = (float)test_uniform(random, (double)h->spec.action_low[i], (double)h->spec.action_high[i]);
}

#endif
