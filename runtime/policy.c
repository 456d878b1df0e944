/* policy.c: making and ending a policy, and calling it on a worker. */
#include "runtime/policy.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/batch.h"
#include "runtime/error.h"
#include "runtime/memory.h"
#include "runtime/runtime.h"

static drover_status check_type(const drover_policy_type *type) {
  if (!type) return dr_fail(DROVER_ERROR_ARGUMENT, "policy: type must not be NULL");
  if (type->abi_version != DROVER_POLICY_ABI_VERSION || type->size != sizeof *type)
    return dr_fail(DROVER_ERROR_POLICY,
                   "policy: its table is ABI version %u with %u bytes, expected %u with %zu: rebuild it",
                   type->abi_version, type->size, DROVER_POLICY_ABI_VERSION, sizeof *type);
  if (!type->name || !type->get_spec || !type->act)
    return dr_fail(DROVER_ERROR_POLICY, "policy %s: name, get_spec and act must not be NULL",
                   type->name ? type->name : "(unnamed)");
  return DROVER_OK;
}

static drover_status check_spec(const drover_policy_type *type, const drover_policy_spec *s) {
  const char *wrong = NULL;
  if (s->observation_size < 1) wrong = "observation_size must be 1 or more";
  if (s->action_size < 1) wrong = "action_size must be 1 or more";
  if (s->action_kind == DROVER_ACTION_DISCRETE && (s->action_size != 1 || s->num_actions < 1))
    wrong = "a discrete action has action_size 1 and num_actions >= 1";
  if (s->has_values && !type->value) wrong = "has_values is set but `value` is NULL";
  if (s->action_kind != DROVER_ACTION_DISCRETE && s->action_kind != DROVER_ACTION_CONTINUOUS)
    wrong = "action_kind is unknown";
  if (s->num_tiles < 0 || s->num_tiles > 8) wrong = "num_tiles must be 0..8";
  return wrong ? dr_fail(DROVER_ERROR_POLICY, "policy %s: its spec is wrong: %s", type->name, wrong) : DROVER_OK;
}

static void close_contexts(drover_policy *policy) {
  for (int32_t w = 0; policy->contexts && w < policy->runtime->num_workers; w++)
    if (policy->contexts[w] && policy->type.close_context)
      policy->type.close_context(policy->self, policy->contexts[w]);
  free(policy->contexts);
}

static drover_status open_contexts(drover_policy *policy) {
  const int32_t num_workers = policy->runtime->num_workers;
  policy->contexts = calloc((size_t)num_workers, sizeof *policy->contexts);
  if (!policy->contexts) return dr_fail(DROVER_ERROR_NO_MEMORY, "policy %s: out of memory", policy->type.name);
  for (int32_t w = 0; w < num_workers && policy->type.open_context; w++)
    if (policy->type.open_context(policy->self, &policy->contexts[w]) != 0) {
      policy->contexts[w] = NULL;
      return dr_fail(DROVER_ERROR_POLICY, "policy %s: no context for worker %d of %d could be made", policy->type.name,
                     (int)w, (int)num_workers);
    }
  return DROVER_OK;
}

drover_status drover_policy_create(drover_policy **out, drover_runtime *runtime, const drover_policy_type *type,
                                   void *self) {
  if (!out) return dr_fail(DROVER_ERROR_ARGUMENT, "policy: out must not be NULL");
  *out = NULL;
  drover_status status = dr_runtime_check(runtime, "policy create");
  if (status == DROVER_OK) status = check_type(type);
  if (status != DROVER_OK) return status;
  drover_policy *policy = dr_slab_zalloc(1, sizeof *policy);
  if (!policy) return dr_fail(DROVER_ERROR_NO_MEMORY, "policy: out of memory");
  policy->runtime = runtime;
  policy->type = *type;
  policy->self = self;
  if (type->get_spec(self, &policy->spec) != 0)
    status = dr_fail(DROVER_ERROR_POLICY, "policy %s: get_spec failed", type->name);
  if (status == DROVER_OK) status = check_spec(type, &policy->spec);
  if (status == DROVER_OK) status = open_contexts(policy);
  if (status != DROVER_OK) {
    close_contexts(policy);
    free(policy);
    return status;
  }
  atomic_fetch_add_explicit(&runtime->num_objects, 1, memory_order_relaxed);
  dr_handle_open(&policy->handle, DR_HANDLE_POLICY);
  *out = policy;
  return DROVER_OK;
}

drover_status drover_policy_destroy(drover_policy *policy) {
  if (!policy) return DROVER_OK;
  const drover_status status = dr_handle_check(policy, DR_HANDLE_POLICY, "policy destroy");
  if (status != DROVER_OK) return status;
  drover_runtime *runtime = policy->runtime;
  if (dr_runtime_check_fork(runtime, "policy destroy") != DROVER_OK) return DROVER_OK;
  if (atomic_load_explicit(&policy->num_users, memory_order_acquire) > 0)
    return dr_fail(DROVER_ERROR_STATE,
                   "policy destroy: a rollout, a learner or, as inner policy, a batch uses it; destroy that first");
  close_contexts(policy);
  if (policy->type.destroy) policy->type.destroy(policy->self);
  dr_handle_bury(&policy->handle);
  atomic_fetch_sub_explicit(&runtime->num_objects, 1, memory_order_release);
  return DROVER_OK;
}

drover_status drover_policy_get_spec(drover_policy *policy, drover_policy_spec *out) {
  drover_status status = dr_handle_check(policy, DR_HANDLE_POLICY, "policy get_spec");
  if (status == DROVER_OK) status = dr_runtime_check_fork(policy->runtime, "policy get_spec");
  if (status != DROVER_OK) return status;
  if (!out) return dr_fail(DROVER_ERROR_ARGUMENT, "policy get_spec: out must not be NULL");
  *out = policy->spec;
  return DROVER_OK;
}

drover_status dr_policy_self(drover_policy *policy, const drover_policy_type *type, const char *what, void **self) {
  const drover_status status = dr_handle_check(policy, DR_HANDLE_POLICY, what);
  if (status != DROVER_OK) return status;
  if (policy->type.act != type->act)
    return dr_fail(DROVER_ERROR_ARGUMENT, "%s: the policy is a '%s', this call needs a '%s'", what, policy->type.name,
                   type->name);
  *self = policy->self;
  return DROVER_OK;
}

drover_status dr_policy_check_fit(const drover_policy *policy, const drover_env_spec *env) {
  const drover_policy_spec *p = &policy->spec;
  if (p->observation_size != env->observation_size)
    return dr_fail(DROVER_ERROR_POLICY, "policy %s takes observations of %d numbers, the env gives %d",
                   policy->type.name, (int)p->observation_size, (int)env->observation_size);
  if (p->action_kind != env->action_kind)
    return dr_fail(DROVER_ERROR_POLICY, "policy %s gives %s actions, the env takes %s ones", policy->type.name,
                   p->action_kind == DROVER_ACTION_DISCRETE ? "discrete" : "continuous",
                   env->action_kind == DROVER_ACTION_DISCRETE ? "discrete" : "continuous");
  if (p->action_size != env->action_size)
    return dr_fail(DROVER_ERROR_POLICY, "policy %s gives %d numbers an action, the env takes %d", policy->type.name,
                   (int)p->action_size, (int)env->action_size);
  if (env->action_kind == DROVER_ACTION_DISCRETE && p->num_actions != env->num_actions)
    return dr_fail(DROVER_ERROR_POLICY, "policy %s chooses among %d actions, the env has %d", policy->type.name,
                   (int)p->num_actions, (int)env->num_actions);
  return DROVER_OK;
}

const void *dr_policy_acquire(drover_policy *policy) {
  return policy->type.acquire ? policy->type.acquire(policy->self) : NULL;
}

void dr_policy_release(drover_policy *policy, const void *version) {
  if (policy->type.release) policy->type.release(policy->self, version);
}

drover_status dr_policy_act(drover_policy *policy, const void *version, const dr_worker *worker,
                            const drover_policy_rows *rows) {
  if (policy->type.act(policy->self, version, policy->contexts[worker->index], rows) == 0) return DROVER_OK;
  return dr_fail(DROVER_ERROR_POLICY, "policy %s: act failed on envs %d..%d", policy->type.name, (int)rows->first_env,
                 (int)(rows->first_env + rows->count - 1));
}

drover_status dr_policy_value(drover_policy *policy, const void *version, const dr_worker *worker, int32_t count,
                              const float *observations, float *values) {
  if (policy->type.value(policy->self, version, policy->contexts[worker->index], count, observations, values) == 0)
    return DROVER_OK;
  return dr_fail(DROVER_ERROR_POLICY, "policy %s: value failed on %d rows", policy->type.name, (int)count);
}

int32_t dr_policy_row_multiple(const drover_policy *policy) {
  for (int32_t i = 0; i < policy->spec.num_tiles; i++)
    if (policy->spec.tiles[i] >= 16)
      return policy->spec.tiles[i] < DR_BLOCK_ROWS ? policy->spec.tiles[i] : DR_BLOCK_ROWS;
  return 1;
}

/* ---- Acting on a batch that the caller steps ----------------------------------------------------------------- */

typedef struct acting {
  drover_policy *policy;
  drover_batch *batch;
  const void *version;
  int32_t deterministic;
  unsigned char *actions;
  float *logprobs;
  float *values;
} acting;

static drover_status act_rows(void *object, dr_worker *worker, int32_t first, int32_t count, int64_t step) {
  (void)step;
  const acting *a = object;
  const drover_policy_rows rows = {
      .count = count,
      .first_env = first,
      .seed = a->batch->seed,
      .counters = a->batch->lifetime_steps + first,
      .deterministic = a->deterministic,
      .observations = a->batch->observations + (size_t)first * (size_t)a->batch->spec.observation_size,
      .actions = a->actions + (size_t)first * (size_t)a->batch->spec.action_size * 4,
      .logprobs = a->logprobs ? a->logprobs + first : NULL,
      .values = a->values ? a->values + first : NULL,
  };
  return dr_policy_act(a->policy, a->version, worker, &rows);
}

static drover_status act_on_batch(acting *a) {
  drover_batch *batch = a->batch;
  const drover_status status = dr_policy_check_fit(a->policy, &batch->spec);
  if (status != DROVER_OK) return status;
  if (!a->actions) return dr_fail(DROVER_ERROR_ARGUMENT, "policy act: actions must not be NULL");
  if (a->values && !a->policy->spec.has_values)
    return dr_fail(DROVER_ERROR_ARGUMENT, "policy act: policy %s has no values: pass NULL for them",
                   a->policy->type.name);
  if (a->policy->runtime != batch->runtime)
    return dr_fail(DROVER_ERROR_ARGUMENT, "policy act: the policy and the batch belong to different runtimes");
  const dr_phase phase = {
      .kind = DR_KIND_INFER, .multiple = dr_policy_row_multiple(a->policy), .cost = DR_COST_INFER, .rows = act_rows};
  const dr_program program = {.phases = &phase, .num_phases = 1};
  batch->run.cancels_seen = dr_runtime_begin_call(batch->runtime);
  a->version = dr_policy_acquire(a->policy);
  const bool alone = dr_batch_better_alone(batch, dr_run_row_ns(&batch->run, DR_COST_INFER));
  const drover_status acted = dr_run_execute(&batch->run, &program, a, 0, 1, alone, NULL);
  dr_policy_release(a->policy, a->version);
  dr_runtime_end_call(batch->runtime);
  return acted;
}

drover_status drover_policy_act(drover_policy *policy, drover_batch *batch, int32_t deterministic, void *actions,
                                float *logprobs, float *values) {
  drover_status status = dr_handle_check(policy, DR_HANDLE_POLICY, "policy act");
  if (status == DROVER_OK) status = dr_batch_enter(batch, "policy act", false);
  if (status != DROVER_OK) return status;
  acting a = {.policy = policy,
              .batch = batch,
              .deterministic = deterministic,
              .actions = actions,
              .logprobs = logprobs,
              .values = values};
  status = act_on_batch(&a);
  dr_batch_leave(batch);
  return status;
}
