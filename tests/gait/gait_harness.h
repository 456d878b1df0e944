/* gait_harness.h: gait2d without the runtime: steps driven tick by tick, with an inner policy of its own that solves
 * for the activations. */
#ifndef DR_TESTS_GAIT_HARNESS_H
#define DR_TESTS_GAIT_HARNESS_H

#include "env/gait/gait.h"
#include "tests/env/harness.h"

static inline bool gait_try_open(harness *h, int32_t count, const drover_env_arg *items, int32_t n) {
  if (!harness_try_open(h, "gait2d", count, items, n)) return false;
  for (int32_t e = 0; e < count; e++) cr_assert_eq(h->type->create(h->shared, harness_state(h, e), e), 0);
  return true;
}

static inline void gait_open(harness *h, int32_t count, const char *key, const char *value) {
  const drover_env_arg arg = {key, value};
  cr_assert(gait_try_open(h, count, &arg, key ? 1 : 0), "%s", h->message);
}

static inline void gait_close(harness *h) {
  for (int32_t e = 0; e < h->count; e++) h->type->destroy(h->shared, harness_state(h, e));
  harness_close(h);
}

static inline dr_gait_env *gait_env(const harness *h, int32_t env) {
  return (dr_gait_env *)(void *)harness_state(h, env);
}
static inline const dr_gait_world *gait_world(const harness *h) { return h->shared; }
static inline float *gait_action(const harness *h, int32_t env) {
  return (float *)h->actions + (size_t)env * DR_GAIT_JOINTS;
}

/* Activations from what an inner policy is shown, whatever it is. */
typedef void gait_inner(const harness *h, const float row[DR_GAIT_INNER_OBSERVATION], float *activation, void *context);

/* One step under gait_action; infos [num_infos], samples [ticks x inner_sample_size]: may be NULL. The first failure's
 * status, or 0. */
static inline int gait_step(harness *h, int32_t env, gait_inner *inner, void *context, float *infos, float *samples) {
  float row[DR_GAIT_INNER_OBSERVATION], activation[DR_GAIT_MUSCLES];
  void *state = harness_state(h, env);
  drover_env_tick tick = {.env = env,
                          .tick = -1,
                          .seed = h->seed,
                          .counter = h->counters[env],
                          .action = gait_action(h, env),
                          .inner_observation = row,
                          .sample = samples};
  if (h->type->begin(h->shared, state, &tick)) return -1;
  tick.inner_action = activation;
  for (tick.tick = 0; tick.tick < DR_GAIT_TICKS; tick.tick++) {
    const bool last = tick.tick == DR_GAIT_TICKS - 1;
    inner(h, row, activation, context);
    tick.inner_observation = last ? NULL : row;
    tick.sample = last || !samples ? NULL : samples + (tick.tick + 1) * h->spec.inner_sample_size;
    if (h->type->tick(h->shared, state, &tick)) return -1;
  }
  drover_env_rows rows = harness_rows(h, DROVER_RANDOM_STEP, env, 1);
  rows.infos = infos;
  const int status = h->type->step(h->shared, state, &rows);
  h->counters[env]++;
  return status;
}

/* The activations in 0..1 that come closest to the wanted torques, with little effort: minimise
 * |JtA a + b - tau|^2 + 1 |a|^2 by coordinate descent, one muscle after the other to its own minimum. */
static inline void gait_solve(const harness *h, const float *row, float *activation, void *context) {
  (void)context;
  const dr_gait_world *world = gait_world(h);
  double a[DR_GAIT_MUSCLES] = {0}, missing[DR_GAIT_JOINTS], jta[DR_GAIT_JOINTS][DR_GAIT_MUSCLES] = {{0}};
  for (int k = 0; k < DR_GAIT_MOMENTS; k++)
    jta[world->pair[k].joint][world->pair[k].muscle] = DR_GAIT_TORQUE_SCALE * (double)row[k];
  for (int j = 0; j < DR_GAIT_JOINTS; j++) missing[j] = DR_GAIT_TORQUE_SCALE * (double)row[DR_GAIT_MOMENTS + j];
  for (int sweep = 0; sweep < 40; sweep++)
    for (int i = 0; i < DR_GAIT_MUSCLES; i++) {
      double pull = -a[i], square = 1;
      for (int j = 0; j < DR_GAIT_JOINTS; j++) {
        pull += jta[j][i] * missing[j];
        square += jta[j][i] * jta[j][i];
      }
      const double next = fmin(fmax(a[i] + pull / square, 0), 1), change = next - a[i];
      for (int j = 0; j < DR_GAIT_JOINTS; j++) missing[j] -= jta[j][i] * change;
      a[i] = next;
    }
  for (int i = 0; i < DR_GAIT_MUSCLES; i++) activation[i] = (float)a[i];
}

/* Any activations; context is a test_random state. */
static inline void gait_random_inner(const harness *h, const float *row, float *activation, void *context) {
  (void)h, (void)row;
  for (int i = 0; i < DR_GAIT_MUSCLES; i++) activation[i] = (float)test_uniform(context, 0, 1);
}

#endif
