/* rollout.c: making a rollout and filling it: collect (in the workers) and record (by a caller that steps itself). */
#include "runtime/rollout.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "runtime/clock.h"
#include "runtime/error.h"
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

/* ---- Rows of a step ------------------------------------------------------------------------------------------ */

/* Where step t's rows go. */
static dr_rows rows_at(const drover_rollout *r, int64_t step) {
  const drover_rollout_view *v = &r->view;
  const size_t n = (size_t)v->num_envs, t = (size_t)step, width = (size_t)v->observation_size;
  const unsigned char *raw = (const unsigned char *)v->actions + t * n * (size_t)v->action_size * 4;
  return (dr_rows){.actions = r->transforms ? (const void *)r->batch->actions : raw,
                   .previous_observations = v->observations + t * n * width,
                   .observations = v->observations + (t + 1) * n * width,
                   .rewards = v->rewards + t * n,
                   .terminated = v->terminated + t * n,
                   .truncated = v->truncated + t * n,
                   .valid = v->valid + t * n,
                   .infos = v->infos ? v->infos + t * n * (size_t)v->num_infos : NULL};
}

static void clip_actions(const drover_env_spec *spec, const float *raw, float *actions, int32_t count) {
  const size_t size = (size_t)spec->action_size;
  for (size_t i = 0; i < (size_t)count * size; i++) {
    const float low = spec->action_low[i % size], high = spec->action_high[i % size];
    const float above = raw[i] < low ? low : raw[i];
    actions[i] = above > high ? high : above;
  }
}

/* a = low + (high - low)(tanh u + 1)/2; log|da/du| = log((high - low)/2) + log(1 - tanh^2 u), the latter as
 * 2 (log 2 - u - softplus(-2u)), which does not cancel (Haarnoja et al., "Soft actor-critic", 2018, appendix C). */
static void squash_actions(const drover_env_spec *spec, const float *raw, float *actions, float *logprobs,
                           int32_t count) {
  const int32_t size = spec->action_size;
  for (int32_t i = 0; i < count; i++) {
    double log_det = 0;
    for (int32_t a = 0; a < size; a++) {
      const double u = (double)raw[i * size + a];
      const double half = ((double)spec->action_high[a] - (double)spec->action_low[a]) / 2;
      actions[i * size + a] = (float)((double)spec->action_low[a] + half * (tanh(u) + 1));
      const double softplus = u > 0 ? log1p(exp(-2 * u)) : -2 * u + log1p(exp(2 * u));
      log_det += log(half) + 2 * (0.69314718055994530942 - u - softplus);
    }
    logprobs[i] = (float)((double)logprobs[i] - log_det);
  }
}

static drover_status act_rows(void *object, dr_worker *worker, int32_t first, int32_t count, int64_t step) {
  drover_rollout *r = object;
  drover_batch *batch = r->batch;
  const drover_rollout_view *v = &r->view;
  const size_t at = (size_t)step * (size_t)v->num_envs + (size_t)first;
  const size_t action_bytes = (size_t)v->action_size * 4;
  const drover_policy_rows rows = {
      .count = count,
      .first_env = first,
      .seed = batch->seed,
      .counters = batch->lifetime_steps + first,
      .deterministic = r->options.deterministic,
      .observations = v->observations + at * (size_t)v->observation_size,
      .actions = (unsigned char *)v->actions + at * action_bytes,
      .logprobs = v->logprobs + at,
      .values = v->values ? v->values + at : NULL,
  };
  const drover_status status = dr_policy_act(r->policy, r->version, worker, &rows);
  if (!r->transforms || status != DROVER_OK) return status;
  float *actions = (float *)(void *)(batch->actions + (size_t)first * action_bytes);
  if (r->options.transform == DROVER_ACTION_CLIP)
    clip_actions(&batch->spec, rows.actions, actions, count);
  else
    squash_actions(&batch->spec, rows.actions, actions, rows.logprobs, count);
  return DROVER_OK;
}

static drover_status step_rows(void *object, dr_worker *worker, int32_t first, int32_t count, int64_t step) {
  const drover_rollout *r = object;
  const dr_rows rows = rows_at(r, step);
  return dr_batch_advance(r->batch, worker, &rows, first, count);
}

static drover_status end_step(void *object, dr_worker *worker, int32_t chain, int32_t first, int32_t count,
                              int64_t step) {
  (void)worker;
  drover_rollout *r = object;
  const dr_rows rows = rows_at(r, step);
  const drover_status status =
      dr_log_step(&r->logs[chain], r->batch, rows.terminated, rows.truncated, first, count, (int32_t)step);
  if (status == DROVER_OK) return status;
  int64_t least = atomic_load_explicit(&r->num_logged, memory_order_relaxed);
  while (step < least && !atomic_compare_exchange_weak_explicit(&r->num_logged, &least, step, memory_order_relaxed,
                                                                memory_order_relaxed))
    continue;
  return status;
}

/* ---- The two ends of a chain --------------------------------------------------------------------------------- */

static drover_status begin_rows(void *object, dr_worker *worker, int32_t first, int32_t count) {
  (void)worker;
  const drover_rollout *r = object;
  const size_t width = (size_t)r->view.observation_size, at = (size_t)first * width;
  memcpy(r->view.observations + at, r->batch->observations + at, (size_t)count * width * sizeof(float));
  return DROVER_OK;
}

/* Hand the last observations back to the batch. */
static drover_status hand_back_rows(void *object, dr_worker *worker, int32_t first, int32_t count, int64_t next_step) {
  (void)worker;
  const drover_rollout *r = object;
  const size_t width = (size_t)r->view.observation_size;
  const size_t row = (size_t)next_step * (size_t)r->view.num_envs + (size_t)first;
  memcpy(r->batch->observations + (size_t)first * width, r->view.observations + row * width,
         (size_t)count * width * sizeof(float));
  return DROVER_OK;
}

/* Value the observations of a row. */
static drover_status value_rows(void *object, dr_worker *worker, int32_t first, int32_t count, int64_t step) {
  const drover_rollout *r = object;
  const size_t width = (size_t)r->view.observation_size;
  const size_t row = (size_t)step * (size_t)r->view.num_envs + (size_t)first;
  const float *last = r->view.observations + row * width;
  drover_status status = DROVER_OK;
  for (int32_t done = 0; r->view.values && done < count && status == DROVER_OK; done += DR_BLOCK_ROWS) {
    const int32_t block = count - done < DR_BLOCK_ROWS ? count - done : DR_BLOCK_ROWS;
    status =
        dr_policy_value(r->policy, r->version, worker, block, last + (size_t)done * width, r->view.values + row + done);
  }
  return status;
}

static drover_status end_rows(void *object, dr_worker *worker, int32_t first, int32_t count, int64_t next_step) {
  hand_back_rows(object, worker, first, count, next_step);
  return value_rows(object, worker, first, count, next_step);
}

/* Bootstrap values of row `step`, by a run of their own: where the steps were not one run. */
static drover_status value_all(drover_rollout *r, int64_t step) {
  if (!r->view.values) return DROVER_OK;
  const dr_phase phase = {
      .kind = DR_KIND_INFER, .multiple = dr_policy_row_multiple(r->policy), .cost = DR_COST_VALUE, .rows = value_rows};
  const dr_program program = {.phases = &phase, .num_phases = 1, .uncancellable = true};
  return dr_run_execute(&r->run, &program, r, step, 1,
                        dr_batch_better_alone(r->batch, dr_run_row_ns(&r->run, DR_COST_VALUE)), NULL);
}

/* ---- Collect ------------------------------------------------------------------------------------------------- */

static void tick(void *object) {
  const drover_rollout *r = object;
  if (!r->options.progress) return;
  const drover_progress progress = {.env_steps_done = r->steps_before + dr_run_rows_done(&r->run),
                                    .env_steps_total = (int64_t)r->view.num_steps * r->view.num_envs,
                                    .seconds = (double)(dr_monotonic_ns() - r->begin_ns) * 1e-9};
  r->options.progress(r->options.progress_user, &progress);
}

/* Every step a run of its own: all shards wait for the slowest. For comparisons. */
static drover_status run_with_barriers(drover_rollout *r, dr_program *program, int64_t *steps_done) {
  begin_rows(r, NULL, 0, r->view.num_envs);
  program->end = hand_back_rows;
  drover_status status = DROVER_OK;
  int64_t t = 0;
  for (; t < r->options.num_steps && status == DROVER_OK; t += status == DROVER_OK) {
    r->steps_before = t * r->view.num_envs;
    status = dr_run_execute(&r->run, program, r, t, 1, false, NULL);
  }
  *steps_done = t;
  char message[DR_MESSAGE_BYTES];
  snprintf(message, sizeof message, "%s", drover_last_error());
  const drover_status valued = value_all(r, t);
  return status != DROVER_OK ? dr_fail_with(status, message) : valued;
}

static drover_status run_steps(drover_rollout *r, int64_t *steps_done) {
  const dr_phase phases[] = {
      {.kind = DR_KIND_INFER, .multiple = dr_policy_row_multiple(r->policy), .cost = DR_COST_INFER, .rows = act_rows},
      {.kind = DR_KIND_STEP,
       .multiple = r->batch->spec.lanes,
       .chunk = r->batch->options.chunk,
       .cost = DR_COST_STEP,
       .rows = step_rows}};
  dr_program program = {.phases = phases, .num_phases = 2, .end_step = end_step, .tick = tick};
  if (r->options.barrier) return run_with_barriers(r, &program, steps_done);
  program.begin = begin_rows;
  program.end = end_rows;
  return dr_run_execute(&r->run, &program, r, 0, r->options.num_steps, false, steps_done);
}

/* Lists, bootstrap values and advantages of the steps that all shards completed. */
static drover_status complete(drover_rollout *r, int64_t steps_done) {
  const int64_t num_logged = atomic_load_explicit(&r->num_logged, memory_order_relaxed);
  if (num_logged < steps_done) steps_done = num_logged;
  r->view.num_steps_done = (int32_t)steps_done;
  r->state = DR_ROLLOUT_FULL;
  drover_status status = dr_log_merge(r, (int32_t)steps_done);
  if (status == DROVER_OK) status = dr_rollout_estimate(r);
  return status;
}

static void clear(drover_rollout *r) {
  r->state = DR_ROLLOUT_EMPTY;
  r->view.num_steps_done = 0;
  r->view.num_episodes = r->view.num_faults = 0;
  atomic_store_explicit(&r->num_logged, INT64_MAX, memory_order_relaxed);
  for (int32_t c = 0; c < r->run.num_chains; c++) dr_log_clear(&r->logs[c]);
}

static drover_status enter(drover_rollout *r, const char *what) {
  const drover_status status = dr_handle_check(r, DR_HANDLE_ROLLOUT, what);
  return status != DROVER_OK ? status : dr_batch_enter(r->batch, what, false);
}

drover_status drover_rollout_collect(drover_rollout *r) {
  drover_status status = enter(r, "rollout collect");
  if (status != DROVER_OK) return status;
  clear(r);
  r->run.cancels_seen = dr_runtime_begin_call(r->batch->runtime);
  r->begin_ns = dr_monotonic_ns();
  r->steps_before = 0;
  r->version = dr_policy_acquire(r->policy);
  int64_t steps_done = 0;
  char message[DR_MESSAGE_BYTES] = "";
  status = run_steps(r, &steps_done);
  if (status != DROVER_OK) strncpy(message, drover_last_error(), sizeof message - 1);
  const drover_status completed = complete(r, steps_done);
  dr_policy_release(r->policy, r->version);
  dr_runtime_end_call(r->batch->runtime);
  dr_batch_leave(r->batch);
  return status != DROVER_OK ? dr_fail_with(status, message) : completed;
}

/* ---- Record -------------------------------------------------------------------------------------------------- */

drover_status drover_rollout_begin(drover_rollout *r) {
  drover_status status = enter(r, "rollout begin");
  if (status != DROVER_OK) return status;
  clear(r);
  begin_rows(r, NULL, 0, r->view.num_envs);
  r->state = DR_ROLLOUT_RECORDING;
  dr_batch_leave(r->batch);
  return DROVER_OK;
}

static drover_status record(drover_rollout *r, const void *actions, const float *logprobs, const float *values) {
  drover_rollout_view *v = &r->view;
  const drover_batch *batch = r->batch;
  if (r->state != DR_ROLLOUT_RECORDING)
    return dr_fail(DROVER_ERROR_STATE, "rollout record: call drover_rollout_begin first");
  if (v->num_steps_done >= v->num_steps)
    return dr_fail(DROVER_ERROR_STATE, "rollout record: all %d steps are recorded; call drover_rollout_finish",
                   (int)v->num_steps);
  if (!actions || (v->values && !values))
    return dr_fail(DROVER_ERROR_ARGUMENT, "rollout record: actions%s must not be NULL", v->values ? " and values" : "");
  const size_t n = (size_t)v->num_envs, width = (size_t)v->observation_size;
  const dr_rows rows = rows_at(r, v->num_steps_done);
  const size_t at = (size_t)v->num_steps_done * n, action_bytes = (size_t)v->action_size * 4;
  memcpy((unsigned char *)v->actions + at * action_bytes, actions, n * action_bytes);
  if (logprobs)
    memcpy(v->logprobs + at, logprobs, n * sizeof(float));
  else
    memset(v->logprobs + at, 0, n * sizeof(float));
  if (values && v->values) memcpy(v->values + at, values, n * sizeof(float));
  memcpy(rows.observations, batch->observations, n * width * sizeof(float));
  memcpy(rows.rewards, batch->rewards, n * sizeof(float));
  memcpy(rows.terminated, batch->terminated, n);
  memcpy(rows.truncated, batch->truncated, n);
  memcpy(rows.valid, batch->valid, n);
  if (rows.infos) memcpy(rows.infos, batch->infos, n * (size_t)v->num_infos * sizeof(float));
  drover_status status = DROVER_OK;
  for (int32_t c = 0; c < r->run.num_chains && status == DROVER_OK; c++)
    status = end_step(r, NULL, c, r->run.chains[c].first_row, r->run.chains[c].num_rows, v->num_steps_done);
  v->num_steps_done++;
  return status;
}

drover_status drover_rollout_record(drover_rollout *r, const void *actions, const float *logprobs,
                                    const float *values) {
  drover_status status = enter(r, "rollout record");
  if (status != DROVER_OK) return status;
  status = record(r, actions, logprobs, values);
  dr_batch_leave(r->batch);
  return status;
}

static drover_status finish(drover_rollout *r) {
  if (r->state != DR_ROLLOUT_RECORDING)
    return dr_fail(DROVER_ERROR_STATE, "rollout finish: call drover_rollout_begin first");
  if (r->view.num_steps_done == 0) return dr_fail(DROVER_ERROR_STATE, "rollout finish: no step was recorded");
  r->run.cancels_seen = dr_runtime_begin_call(r->batch->runtime);
  r->version = dr_policy_acquire(r->policy);
  drover_status status = value_all(r, r->view.num_steps_done);
  if (status == DROVER_OK) status = complete(r, r->view.num_steps_done);
  dr_policy_release(r->policy, r->version);
  dr_runtime_end_call(r->batch->runtime);
  return status;
}

drover_status drover_rollout_finish(drover_rollout *r) {
  drover_status status = enter(r, "rollout finish");
  if (status != DROVER_OK) return status;
  status = finish(r);
  dr_batch_leave(r->batch);
  return status;
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
  if (has_values) {
    v->values = buffer(t + 1, n, 1, sizeof(float));
    v->advantages = buffer(t, n, 1, sizeof(float));
    v->returns = buffer(t, n, 1, sizeof(float));
  }
  r->logs = dr_slab_zalloc((size_t)r->run.num_chains, sizeof *r->logs);
  bool good = v->observations && v->actions && v->logprobs && v->rewards && v->terminated && v->truncated && v->valid &&
              (v->infos || v->num_infos == 0) && (!has_values || (v->values && v->advantages && v->returns)) && r->logs;
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
  void *const buffers[] = {
      v->observations, v->actions,        v->logprobs,   v->values,  v->rewards, v->terminated, v->truncated,
      v->valid,        v->infos,          v->advantages, v->returns, r->logs,    r->episodes,   r->final_observations,
      r->final_values, r->bootstrap_rows, r->faults};
  for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) free(buffers[i]);
  dr_run_free(&r->run);
}

/* Where the user leaves the choice: shards of whole tiles; but small ones rather than a worker without any. */
static int32_t choose_shard(const drover_batch *batch, const drover_policy *policy) {
  if (batch->options.shard > 0) return batch->shard;
  const int32_t lanes = batch->spec.lanes > 1 ? batch->spec.lanes : 1, tile = dr_policy_row_multiple(policy);
  const int32_t num_envs = batch->num_envs, num_workers = batch->runtime->num_workers;
  const int32_t whole = dr_auto_shard(num_envs, num_workers, tile > lanes ? tile : lanes, DR_BLOCK_ROWS);
  if (num_workers == 1 || (num_envs + whole - 1) / whole >= num_workers) return whole;
  const int32_t share = (num_envs + num_workers - 1) / num_workers, smallest_tile = 4;
  const int32_t rows = (share + smallest_tile - 1) / smallest_tile * smallest_tile;
  return rows < num_envs ? rows : num_envs;
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
