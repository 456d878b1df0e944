/* uniform.c: the policy of uniform random actions. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/error.h"
#include "runtime/memory.h"
#include "runtime/policy.h"

typedef struct uniform {
  drover_policy_spec spec;
  float logprob; /* the same for every action: -log of the number or the volume */
  float *low;    /* [action_size]; NULL if discrete */
  float *width;  /* [action_size] high - low */
} uniform;

static int get_spec(void *self, drover_policy_spec *spec) {
  *spec = ((const uniform *)self)->spec;
  return 0;
}

/* One block of the generator a row, one row after the other in a loop without branches, so that it vectorises. A
 * discrete action is the high half of word x num_actions (bias below num_actions / 2^32). */
static void act_discrete(const uniform *u, const drover_policy_rows *rows) {
  int32_t *actions = rows->actions;
  const uint64_t n = (uint64_t)u->spec.num_actions;
  const uint32_t key[2] = {(uint32_t)rows->seed, (uint32_t)(rows->seed >> 32)};
  for (int32_t i = 0; i < rows->count; i++) {
    const uint64_t step = rows->counters[i];
    const uint32_t counter[4] = {0, (uint32_t)step,
                                 ((uint32_t)(step >> 32) & 0xFFFFFFu) | ((uint32_t)DROVER_RANDOM_ACTION << 24),
                                 (uint32_t)(rows->first_env + i)};
    uint32_t block[4];
    drover_philox4x32(counter, key, block);
    actions[i] = (int32_t)(block[0] * n >> 32);
  }
}

static void act_continuous(const uniform *u, const drover_policy_rows *rows) {
  float *actions = rows->actions;
  const int32_t size = u->spec.action_size;
  for (int32_t i = 0; i < rows->count; i++) {
    drover_random r =
        drover_random_at(rows->seed, (uint32_t)(rows->first_env + i), DROVER_RANDOM_ACTION, rows->counters[i]);
    for (int32_t a = 0; a < size; a++) actions[i * size + a] = u->low[a] + u->width[a] * drover_random_uniformf(&r);
  }
}

static int act(void *self, const void *version, void *context, const drover_policy_rows *rows) {
  (void)version, (void)context;
  const uniform *u = self;
  if (u->spec.action_kind == DROVER_ACTION_DISCRETE)
    act_discrete(u, rows);
  else
    act_continuous(u, rows);
  for (int32_t i = 0; rows->logprobs && i < rows->count; i++) rows->logprobs[i] = u->logprob;
  return 0;
}

static void destroy(void *self) {
  uniform *u = self;
  free(u->low);
  free(u->width);
  free(u);
}

static drover_status set_bounds(uniform *u, const drover_env_spec *env) {
  const size_t size = (size_t)env->action_size;
  double log_volume = 0;
  if (!env->action_low || !env->action_high)
    return dr_fail(DROVER_ERROR_POLICY, "uniform policy: the env gives no action bounds");
  u->low = malloc(size * sizeof *u->low);
  u->width = malloc(size * sizeof *u->width);
  if (!u->low || !u->width) return dr_fail(DROVER_ERROR_NO_MEMORY, "uniform policy: out of memory");
  for (size_t a = 0; a < size; a++) {
    u->low[a] = env->action_low[a];
    u->width[a] = env->action_high[a] - env->action_low[a];
    if (!isfinite(u->low[a]) || !isfinite(u->width[a]))
      return dr_fail(DROVER_ERROR_POLICY, "uniform policy: action %zu has no finite bounds", a);
    if (u->width[a] > 0) log_volume += log((double)u->width[a]); /* a single point has probability 1 */
  }
  u->logprob = (float)-log_volume;
  return DROVER_OK;
}

drover_status drover_policy_create_uniform(drover_policy **out, drover_runtime *runtime, const drover_env_spec *env) {
  if (!out || !env) return dr_fail(DROVER_ERROR_ARGUMENT, "uniform policy: out and spec must not be NULL");
  *out = NULL;
  uniform *u = calloc(1, sizeof *u);
  if (!u) return dr_fail(DROVER_ERROR_NO_MEMORY, "uniform policy: out of memory");
  u->spec = (drover_policy_spec){.observation_size = env->observation_size,
                                 .action_kind = env->action_kind,
                                 .action_size = env->action_size,
                                 .num_actions = env->num_actions};
  drover_status status = DROVER_OK;
  const dr_float_mode mode = dr_float_mode_enter();
  if (env->action_kind != DROVER_ACTION_DISCRETE)
    status = set_bounds(u, env);
  else if (env->num_actions >= 1)
    u->logprob = (float)-log((double)env->num_actions);
  else
    status =
        dr_fail(DROVER_ERROR_POLICY, "uniform policy: num_actions must be 1 or more, got %d", (int)env->num_actions);
  dr_float_mode_leave(mode);
  static const drover_policy_type type = {.abi_version = DROVER_POLICY_ABI_VERSION,
                                          .size = sizeof type,
                                          .name = "uniform",
                                          .get_spec = get_spec,
                                          .act = act,
                                          .destroy = destroy};
  if (status == DROVER_OK) status = drover_policy_create(out, runtime, &type, u);
  if (status != DROVER_OK) destroy(u);
  return status;
}
