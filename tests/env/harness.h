/* harness.h: an env type without the runtime: opens it, owns states and rows, calls the table. */
#ifndef DR_TESTS_ENV_HARNESS_H
#define DR_TESTS_ENV_HARNESS_H

#include <criterion/criterion.h>
#include <drover/registry.h>
#include <stdbool.h>

#include "tests/support/random.h"

/* `count` envs of one type and the rows of all of them. Everything is written by hand or by the calls below. */
typedef struct {
  const drover_env_type *type;
  drover_env_spec spec;
  void *shared;
  char message[256];
  int32_t count;
  uint64_t seed;
  unsigned char *states; /* [count x state_size] at state_align */
  uint64_t *counters;    /* [count] */
  void *actions;         /* [count x action_size] */
  float *observations, *rewards;
  uint8_t *terminated, *truncated, *failed;
} harness;

static inline void *harness_alloc(size_t bytes) {
  void *memory = NULL;
  cr_assert_eq(posix_memalign(&memory, 64, bytes + 64), 0);
  memset(memory, 0, bytes + 64);
  return memory;
}

/* Opens `name` with the arguments {"key", "value", ...}; false if its open fails: see message. */
static inline bool harness_try_open(harness *h, const char *name, int32_t count, const drover_env_arg *items,
                                    int32_t num_items) {
  memset(h, 0, sizeof *h);
  cr_assert_eq(drover_env_find(name, &h->type), DROVER_OK, "%s", drover_last_error());
  const drover_env_args args = {num_items, items};
  h->spec.size = sizeof h->spec;
  if (h->type->open(&args, &h->spec, &h->shared, h->message, sizeof h->message)) return false;
  const size_t n = (size_t)count;
  h->count = count;
  h->seed = 1;
  h->states = harness_alloc(n * h->spec.state_size);
  h->counters = harness_alloc(n * sizeof *h->counters);
  h->actions = harness_alloc(n * 4 * (size_t)h->spec.action_size);
  h->observations = harness_alloc(n * sizeof(float) * (size_t)h->spec.observation_size);
  h->rewards = harness_alloc(n * sizeof(float));
  h->terminated = harness_alloc(n);
  h->truncated = harness_alloc(n);
  h->failed = harness_alloc(n);
  return true;
}

static inline void harness_open(harness *h, const char *name, int32_t count) {
  cr_assert(harness_try_open(h, name, count, NULL, 0), "%s", h->message);
}

static inline void harness_close(harness *h) {
  if (h->type->close) h->type->close(h->shared);
  void *const owned[] = {h->states,  h->counters,   h->actions,   h->observations,
                         h->rewards, h->terminated, h->truncated, h->failed};
  for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) free(owned[i]);
}

static inline double *harness_state(const harness *h, int32_t env) {
  return (double *)(void *)(h->states + (size_t)env * h->spec.state_size);
}

static inline float *harness_observation(const harness *h, int32_t env) {
  return h->observations + (size_t)env * (size_t)h->spec.observation_size;
}

/* The rows of envs first..first+count of a step (flags zeroed, as the runtime does) or a reset. */
static inline drover_env_rows harness_rows(harness *h, uint32_t purpose, int32_t first, int32_t count) {
  const bool reset = purpose == DROVER_RANDOM_RESET;
  memset(h->terminated + first, 0, (size_t)count);
  memset(h->truncated + first, 0, (size_t)count);
  memset(h->failed + first, 0, (size_t)count);
  return (drover_env_rows){
      .count = count,
      .first_env = first,
      .seed = h->seed,
      .purpose = purpose,
      .counters = h->counters + first,
      .actions = reset ? NULL : (const char *)h->actions + 4 * (size_t)first * (size_t)h->spec.action_size,
      .observations = harness_observation(h, first),
      .rewards = reset ? NULL : h->rewards + first,
      .terminated = reset ? NULL : h->terminated + first,
      .truncated = reset ? NULL : h->truncated + first,
      .failed = reset ? NULL : h->failed + first,
  };
}

/* Episode `episode` of one env begins. */
static inline void harness_reset(harness *h, int32_t env, uint64_t episode) {
  h->counters[env] = episode;
  const drover_env_rows rows = harness_rows(h, DROVER_RANDOM_RESET, env, 1);
  cr_assert_eq(h->type->reset(h->shared, harness_state(h, env), &rows), 0);
  h->counters[env] = 0;
}

static inline int harness_step(harness *h, int32_t env) {
  const drover_env_rows rows = harness_rows(h, DROVER_RANDOM_STEP, env, 1);
  return h->type->step(h->shared, harness_state(h, env), &rows);
}

static inline int harness_step_discrete(harness *h, int32_t env, int32_t action) {
  ((int32_t *)h->actions)[env] = action;
  return harness_step(h, env);
}

static inline int harness_step_continuous(harness *h, int32_t env, float action) {
  ((float *)h->actions)[env] = action;
  return harness_step(h, env);
}

/* Whether a equals b to 1e-12, absolute plus relative. */
static inline bool nearly(double a, double b) { return fabs(a - b) <= 1e-12 + 1e-12 * fabs(b); }

/* Field `field` of many resets is uniform in [low, high): range, mean and variance within 5 standard errors. */
static inline void assert_uniform_resets(harness *h, int32_t field, double low, double high) {
  enum { EPISODES = 20000 };
  const double width = high - low, middle = 0.5 * (low + high);
  double sum = 0, squares = 0;
  for (uint64_t episode = 0; episode < EPISODES; episode++) {
    harness_reset(h, 0, episode);
    const double x = harness_state(h, 0)[field];
    cr_assert(x >= low && x <= high, "field %d of a reset is %g", field, x);
    sum += x - middle;
    squares += (x - middle) * (x - middle);
  }
  const double variance = width * width / 12; /* the fourth central moment of a uniform one is width^4 / 80 */
  cr_assert_leq(fabs(sum / EPISODES), 5 * sqrt(variance / EPISODES));
  cr_assert_leq(fabs(squares / EPISODES - variance), 5 * width * width * sqrt((1 / 80.0 - 1 / 144.0) / EPISODES));
}

#endif
