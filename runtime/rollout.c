/* rollout.c: making a rollout: its options, buffers and view. */
#include "runtime/rollout.h"

#include <math.h>
#include <stdlib.h>

#include "runtime/error.h"
#include "runtime/inner.h"
#include "runtime/memory.h"
#include "runtime/runtime.h"

drover_status drover_rollout_options_init(drover_rollout_options *options, size_t size) {
  if (!options || size != sizeof *options)
    return dr_fail(DROVER_ERROR_ARGUMENT, "rollout options: size must be %zu (sizeof drover_rollout_options), got %zu",
                   sizeof *options, size);
  *options = (drover_rollout_options){.size = size, .num_steps = 128, .gamma = 0.99f, .gae_lambda = 0.95f};
  return DROVER_OK;
}

static drover_status check_options(const drover_rollout_options *o) {
  if (!o || o->size != sizeof *o)
    return dr_fail(DROVER_ERROR_ARGUMENT, "rollout: options must be filled with drover_rollout_options_init first");
  if (o->num_steps < 1 || o->num_steps > 16777216)
    return dr_fail(DROVER_ERROR_ARGUMENT, "rollout: num_steps must be 1..16777216, got %d", (int)o->num_steps);
  if (o->transform < DROVER_ACTION_CLIP || o->transform > DROVER_ACTION_NONE)
    return dr_fail(DROVER_ERROR_ARGUMENT, "rollout: transform must be 0 (clip), 1 (tanh) or 2 (none), got %d",
                   (int)o->transform);
  if (!(o->gamma >= 0 && o->gamma <= 1) || !(o->gae_lambda >= 0 && o->gae_lambda <= 1))
    return dr_fail(DROVER_ERROR_ARGUMENT, "rollout: gamma and gae_lambda must be in [0, 1], got %g and %g",
                   (double)o->gamma, (double)o->gae_lambda);
  return DROVER_OK;
}

/* ---- Creating ------------------------------------------------------------------------------------------------ */

/* a x b x c x size bytes, not touched; NULL if that overflows or there is not so much. */
static void *buffer(int64_t a, int64_t b, int64_t c, size_t size) {
  size_t count;
  if (__builtin_mul_overflow((size_t)a, (size_t)b, &count) || __builtin_mul_overflow(count, (size_t)c, &count))
    return NULL;
  return dr_slab_alloc(count, size);
}

static drover_status allocate(drover_rollout *r) {
  drover_rollout_view *v = &r->view;
  const int64_t n = v->num_envs, t = v->num_steps;
  const bool has_values = r->policy->spec.has_values != 0;
  v->observations = buffer(t + 1, n, v->observation_size, sizeof(float));
  v->actions = buffer(t, n, v->action_size, 4);
  v->logprobs = buffer(t, n, 1, sizeof(float));
  v->rewards = buffer(t, n, 1, sizeof(float));
  v->terminated = buffer(t, n, 1, 1);
  v->truncated = buffer(t, n, 1, 1);
  v->valid = buffer(t, n, 1, 1);
  if (v->num_infos > 0) v->infos = buffer(t, n, v->num_infos, sizeof(float));
  if (v->inner_sample_size > 0) v->inner_samples = buffer(t, n, v->inner_sample_size, sizeof(float));
  if (has_values) {
    v->values = buffer(t + 1, n, 1, sizeof(float));
    v->advantages = buffer(t, n, 1, sizeof(float));
    v->returns = buffer(t, n, 1, sizeof(float));
  }
  r->logs = dr_slab_zalloc((size_t)r->run.num_chains, sizeof *r->logs);
  bool good = v->observations && v->actions && v->logprobs && v->rewards && v->terminated && v->truncated && v->valid &&
              (v->infos || v->num_infos == 0) && (v->inner_samples || v->inner_sample_size == 0) &&
              (!has_values || (v->values && v->advantages && v->returns)) && r->logs;
  for (int32_t c = 0; good && c < r->run.num_chains; c++) {
    /* Room for an episode every 16 steps of every env; more makes the log grow. */
    const int64_t expected = (int64_t)r->run.chains[c].num_rows * (t / 16 + 1);
    good = dr_log_init(&r->logs[c], expected, v->observation_size) == DROVER_OK;
  }
  if (good) return DROVER_OK;
  return dr_fail(DROVER_ERROR_NO_MEMORY,
                 "rollout: no memory for %lld steps of %lld envs with %d numbers an observation (%.3g GB)",
                 (long long)t, (long long)n, (int)v->observation_size,
                 (double)(t + 1) * (double)n * (double)v->observation_size * 4e-9);
}

static void free_rollout(drover_rollout *r) {
  drover_rollout_view *v = &r->view;
  for (int32_t c = 0; r->logs && c < r->run.num_chains; c++) dr_log_free(&r->logs[c]);
  void *const buffers[] = {v->observations,   v->actions,       v->logprobs,           v->values,
                           v->rewards,        v->terminated,    v->truncated,          v->valid,
                           v->infos,          v->inner_samples, v->advantages,         v->returns,
                           r->logs,           r->episodes,      r->final_observations, r->final_values,
                           r->bootstrap_rows, r->faults,        (void *)r->fault_texts};
  for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) free(buffers[i]);
  dr_run_free(&r->run);
}

/* Where the user leaves the choice: shards of whole tiles; but small ones rather than a worker without any. */
static int32_t choose_shard(const drover_batch *batch, const drover_policy *policy) {
  if (batch->options.shard > 0) return batch->shard;
  int32_t tile = dr_policy_row_multiple(policy);
  if (batch->spec.lanes > tile) tile = batch->spec.lanes;
  if (batch->inner.policy && dr_policy_row_multiple(batch->inner.policy) > tile)
    tile = dr_policy_row_multiple(batch->inner.policy);
  const int32_t num_workers = batch->runtime->num_workers;
  return dr_has_inner(batch) ? dr_auto_inner_shard(batch->num_envs, num_workers, tile)
                             : dr_auto_tile_shard(batch->num_envs, num_workers, tile);
}

static drover_status set_up(drover_rollout *r) {
  const drover_batch *batch = r->batch;
  r->shard = choose_shard(batch, r->policy);
  r->view = (drover_rollout_view){.size = sizeof r->view,
                                  .shard = r->shard,
                                  .num_envs = batch->num_envs,
                                  .num_steps = r->options.num_steps,
                                  .observation_size = batch->spec.observation_size,
                                  .action_size = batch->spec.action_size,
                                  .num_infos = batch->spec.num_infos,
                                  .inner_sample_size = batch->spec.inner_sample_size,
                                  .action_kind = batch->spec.action_kind};
  r->transforms = batch->spec.action_kind == DROVER_ACTION_CONTINUOUS && r->options.transform != DROVER_ACTION_NONE;
  for (int32_t a = 0; r->transforms && r->options.transform == DROVER_ACTION_TANH && a < batch->spec.action_size; a++)
    if (!isfinite(batch->spec.action_low[a]) || !isfinite(batch->spec.action_high[a]))
      return dr_fail(DROVER_ERROR_ARGUMENT, "rollout: transform tanh needs finite bounds; action %d of %s has none",
                     (int)a, batch->type->name);
  const drover_status status = dr_run_init(&r->run, batch->runtime, (batch->num_envs + r->shard - 1) / r->shard);
  if (status != DROVER_OK) return status;
  dr_run_set_shards(&r->run, batch->num_envs, r->shard);
  return allocate(r);
}

static drover_status check_parts(drover_batch *batch, drover_policy *policy) {
  drover_status status = dr_handle_check(policy, DR_HANDLE_POLICY, "rollout create");
  if (status == DROVER_OK) status = dr_policy_check_fit(policy, &batch->spec);
  if (status == DROVER_OK && policy->runtime != batch->runtime)
    status = dr_fail(DROVER_ERROR_ARGUMENT, "rollout: the policy and the batch belong to different runtimes");
  if (status == DROVER_OK && batch->options.autoreset == DROVER_AUTORESET_DISABLED)
    status = dr_fail(DROVER_ERROR_ARGUMENT,
                     "rollout: the batch has autoreset disabled; a rollout needs same-step or next-step");
  return status;
}

static drover_status create(drover_rollout **out, drover_batch *batch, drover_policy *policy,
                            const drover_rollout_options *o) {
  drover_status status = check_parts(batch, policy);
  if (status == DROVER_OK) status = check_options(o);
  if (status != DROVER_OK) return status;
  drover_rollout *r = dr_slab_zalloc(1, sizeof *r);
  if (!r) return dr_fail(DROVER_ERROR_NO_MEMORY, "rollout: out of memory");
  r->batch = batch;
  r->policy = policy;
  r->options = *o;
  status = set_up(r);
  if (status != DROVER_OK) {
    free_rollout(r);
    free(r);
    return status;
  }
  atomic_fetch_add_explicit(&batch->runtime->num_objects, 1, memory_order_relaxed);
  atomic_fetch_add_explicit(&batch->num_rollouts, 1, memory_order_relaxed);
  atomic_fetch_add_explicit(&policy->num_users, 1, memory_order_relaxed);
  dr_handle_open(&r->handle, DR_HANDLE_ROLLOUT);
  *out = r;
  return DROVER_OK;
}

drover_status drover_rollout_create(drover_rollout **out, drover_batch *batch, drover_policy *policy,
                                    const drover_rollout_options *options) {
  if (!out) return dr_fail(DROVER_ERROR_ARGUMENT, "rollout: out must not be NULL");
  *out = NULL;
  drover_status status = dr_batch_enter(batch, "rollout create", true);
  if (status != DROVER_OK) return status;
  status = create(out, batch, policy, options);
  dr_batch_leave(batch);
  return status;
}

drover_status drover_rollout_destroy(drover_rollout *r) {
  if (!r) return DROVER_OK;
  drover_status status = dr_handle_check(r, DR_HANDLE_ROLLOUT, "rollout destroy");
  if (status != DROVER_OK) return status;
  drover_batch *batch = r->batch;
  if (dr_runtime_check_fork(batch->runtime, "rollout destroy") != DROVER_OK) return DROVER_OK;
  status = dr_batch_enter(batch, "rollout destroy", true);
  if (status != DROVER_OK) return status;
  drover_runtime *runtime = batch->runtime;
  drover_policy *policy = r->policy;
  free_rollout(r);
  dr_handle_bury(&r->handle);
  dr_batch_leave(batch);
  /* release: destroy of the policy, the batch and the runtime, which acquire, must see the rollout gone. */
  atomic_fetch_sub_explicit(&policy->num_users, 1, memory_order_release);
  atomic_fetch_sub_explicit(&batch->num_rollouts, 1, memory_order_release);
  atomic_fetch_sub_explicit(&runtime->num_objects, 1, memory_order_release);
  return DROVER_OK;
}

drover_status drover_rollout_get_view(drover_rollout *r, drover_rollout_view *out) {
  drover_status status = dr_handle_check(r, DR_HANDLE_ROLLOUT, "rollout get_view");
  if (status == DROVER_OK) status = dr_runtime_check_fork(r->batch->runtime, "rollout get_view");
  if (status != DROVER_OK) return status;
  if (!out || out->size != sizeof *out)
    return dr_fail(DROVER_ERROR_ARGUMENT, "rollout get_view: set out->size to sizeof(drover_rollout_view), %zu",
                   sizeof *out);
  *out = r->view;
  return DROVER_OK;
}
