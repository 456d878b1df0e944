/* toy_policy.c: what the toy policies answer, and what they check of their callers. */
#include "tests/support/toy_policy.h"

#include <stdlib.h>

/* A worker's context: only one call at a time may be in it. */
typedef struct toy_context {
  _Atomic int32_t busy;
} toy_context;

float toy_policy_value_one(const toy_policy *policy, const float *observation) {
  float sum = 0.25f;
  for (int32_t k = 0; k < policy->spec.observation_size; k++) sum += observation[k] * 0.1f / (float)(k + 1);
  return sum;
}

float toy_policy_act_one(const toy_policy *policy, uint64_t seed, int32_t env, uint64_t step, const float *observation,
                         bool deterministic, void *action) {
  drover_random r = drover_random_at(seed, (uint32_t)env, DROVER_RANDOM_ACTION, step);
  const float noise = deterministic ? 0.5f : drover_random_uniformf(&r);
  if (policy->spec.action_kind == DROVER_ACTION_DISCRETE) {
    const int32_t n = policy->spec.num_actions;
    const int32_t lean = observation[0] > 0 ? 0 : 1;
    *(int32_t *)action = ((int32_t)(noise * (float)n) + lean) % n;
    return -0.5f - noise / 3;
  }
  float *a = action;
  for (int32_t k = 0; k < policy->spec.action_size; k++)
    a[k] = observation[0] / 3 + 4 * (deterministic ? 0.5f : drover_random_uniformf(&r)) - 2;
  return -1 - noise / 7;
}

void toy_inner_policy_act_one(const toy_policy *policy, int32_t env, uint64_t step, const float *observation,
                              float *action) {
  for (int32_t k = 0; k < policy->spec.action_size; k++) {
    float sum = 0.125f * (float)(k + 1);
    for (int32_t j = 0; j < policy->spec.observation_size; j++) sum += observation[j] * 0.0625f / (float)(1 + j + k);
    action[k] = sum * policy->inner_gain;
  }
  if (toy_has_trouble(policy->inner, TOY_NAN_INNER_ACTION, env, step)) action[policy->spec.action_size - 1] = NAN;
}

/* The inner policy: deterministic, and nothing but actions is asked for. */
static int act_inside(toy_policy *p, const drover_policy_rows *rows) {
  if (!rows->deterministic || rows->logprobs || rows->values) atomic_fetch_add(&p->num_overlaps, 1);
  int failed = 0;
  for (int32_t i = 0; i < rows->count && !failed; i++) {
    const int32_t env = rows->first_env + i;
    failed = env == p->fails_at_env && rows->counters[i] == p->fails_at_step;
    for (int32_t k = 0; k < p->spec.observation_size; k++)
      if (!isfinite(rows->observations[i * p->spec.observation_size + k])) atomic_fetch_add(&p->num_overlaps, 1);
    toy_inner_policy_act_one(p, env, rows->counters[i],
                             rows->observations + (size_t)i * (size_t)p->spec.observation_size,
                             (float *)rows->actions + (size_t)i * (size_t)p->spec.action_size);
    if (p->work > 0) toy_work(p->work);
  }
  return failed;
}

static int get_spec(void *self, drover_policy_spec *spec) {
  const toy_policy *p = self;
  *spec = p->spec;
  return p->fails_to_get_spec;
}

static int open_context(void *self, void **context) {
  toy_policy *p = self;
  if (p->fails_to_open_context >= 0 && p->num_contexts == p->fails_to_open_context) return 1;
  *context = calloc(1, sizeof(toy_context));
  if (*context) atomic_fetch_add(&p->num_contexts, 1);
  return *context == NULL;
}

static void close_context(void *self, void *context) {
  free(context);
  atomic_fetch_sub(&((toy_policy *)self)->num_contexts, 1);
}

static const void *acquire(void *self) {
  atomic_fetch_add(&((toy_policy *)self)->num_versions, 1);
  return self;
}

static void release(void *self, const void *version) {
  if (version == self) atomic_fetch_sub(&((toy_policy *)self)->num_versions, 1);
}

static void enter(toy_policy *p, toy_context *context, const void *version) {
  if (atomic_exchange(&context->busy, 1) != 0 || version != p || p->num_versions < 1)
    atomic_fetch_add(&p->num_overlaps, 1);
}

static int act(void *self, const void *version, void *context, const drover_policy_rows *rows) {
  toy_policy *p = self;
  enter(p, context, version);
  atomic_fetch_add(&p->num_acts, rows->count);
  const size_t width = (size_t)p->spec.observation_size, action_bytes = (size_t)p->spec.action_size * 4;
  int failed = p->inner ? act_inside(p, rows) : 0;
  for (int32_t i = 0; i < rows->count && !p->inner && !failed; i++) {
    const int32_t env = rows->first_env + i;
    failed = env == p->fails_at_env && rows->counters[i] == p->fails_at_step;
    if (failed) break;
    const float *observation = rows->observations + (size_t)i * width;
    const float logprob =
        toy_policy_act_one(p, rows->seed, env, rows->counters[i], observation, rows->deterministic != 0,
                           (unsigned char *)rows->actions + (size_t)i * action_bytes);
    if (rows->logprobs) rows->logprobs[i] = logprob;
    if (rows->values) rows->values[i] = toy_policy_value_one(p, observation);
    if (p->work > 0) toy_work(p->work);
  }
  atomic_store(&((toy_context *)context)->busy, 0);
  return failed;
}

static int value(void *self, const void *version, void *context, int32_t count, const float *observations,
                 float *values) {
  toy_policy *p = self;
  enter(p, context, version);
  atomic_fetch_add(&p->num_values, count);
  for (int32_t i = 0; i < count; i++)
    values[i] = toy_policy_value_one(p, observations + (size_t)i * (size_t)p->spec.observation_size);
  atomic_store(&((toy_context *)context)->busy, 0);
  return p->fails_to_value;
}

static void destroy(void *self) { atomic_fetch_add(&((toy_policy *)self)->num_destroys, 1); }

void toy_policy_init(toy_policy *policy, const toy_config *config, bool has_values) {
  memset(policy, 0, sizeof *policy);
  policy->type = (drover_policy_type){.abi_version = DROVER_POLICY_ABI_VERSION,
                                      .size = sizeof policy->type,
                                      .name = "toy",
                                      .get_spec = get_spec,
                                      .open_context = open_context,
                                      .close_context = close_context,
                                      .acquire = acquire,
                                      .release = release,
                                      .act = act,
                                      .value = value,
                                      .destroy = destroy};
  policy->spec = (drover_policy_spec){.observation_size = config->observation_size,
                                      .action_kind = config->action_kind,
                                      .action_size = config->action_size,
                                      .num_actions = config->num_actions,
                                      .has_values = has_values};
  policy->fails_to_open_context = -1;
  policy->fails_at_env = -1;
}

void toy_inner_policy_init(toy_policy *policy, const toy_config *config) {
  toy_policy_init(policy, config, false);
  policy->type.name = "toy inside";
  policy->spec = (drover_policy_spec){.observation_size = config->inner_observation_size,
                                      .action_kind = DROVER_ACTION_CONTINUOUS,
                                      .action_size = config->inner_action_size};
  policy->inner = config;
  policy->inner_gain = 1;
}

drover_status toy_policy_create(drover_policy **out, drover_runtime *runtime, toy_policy *policy) {
  return drover_policy_create(out, runtime, &policy->type, policy);
}
