/* batch.c: making a batch, resetting it, its view and parameters. */
#include "runtime/batch.h"

#include <stdlib.h>

#include "runtime/error.h"
#include "runtime/inner.h"
#include "runtime/memory.h"
#include "runtime/numerals.h"
#include "runtime/runtime.h"

/* `step` makes one pass over a shard: a large one spreads the cost of taking it. A rollout alternates between network
 * and envs: a small one keeps the rows in the core's own cache. */
enum { MOST_STEP_ROWS = 4096 };

/* Waking other workers costs some 10 to 20 us: below this a run on the caller alone is faster (perf:
 * step_all_over_one). */
static const double BREAK_EVEN_NS = 40000.0;

drover_status drover_batch_options_init(drover_batch_options *options, size_t size) {
  if (!options || size != sizeof *options)
    return dr_fail(DROVER_ERROR_ARGUMENT, "batch options: size must be %zu (sizeof drover_batch_options), got %zu",
                   sizeof *options, size);
  *options = (drover_batch_options){.size = size, .num_envs = 1, .max_episode_steps = -1, .fault_limit = -1};
  return DROVER_OK;
}

static drover_status check_options(const drover_batch_options *o) {
  if (!o || o->size != sizeof *o)
    return dr_fail(DROVER_ERROR_ARGUMENT, "batch: options must be filled with drover_batch_options_init first");
  if (o->num_envs < 1 || o->num_envs > DROVER_MAX_ENVS)
    return dr_fail(DROVER_ERROR_ARGUMENT, "batch: num_envs must be 1..%d, got %d", DROVER_MAX_ENVS, (int)o->num_envs);
  if (o->shard < 0 || o->shard > DROVER_MAX_ENVS)
    return dr_fail(DROVER_ERROR_ARGUMENT, "batch: shard must be 0 (automatic) or 1..%d, got %d", DROVER_MAX_ENVS,
                   (int)o->shard);
  if (o->chunk < 0 || o->chunk > DROVER_MAX_ENVS)
    return dr_fail(DROVER_ERROR_ARGUMENT, "batch: chunk must be 0 (automatic) or 1..%d, got %d", DROVER_MAX_ENVS,
                   (int)o->chunk);
  if (o->autoreset < DROVER_AUTORESET_SAME_STEP || o->autoreset > DROVER_AUTORESET_DISABLED)
    return dr_fail(DROVER_ERROR_ARGUMENT,
                   "batch: autoreset must be 0 (same step), 1 (next step) or 2 (disabled), got %d", (int)o->autoreset);
  if (o->max_episode_steps < -1)
    return dr_fail(DROVER_ERROR_ARGUMENT,
                   "batch: max_episode_steps must be -1 (the env's own), 0 (none) or more, got %d",
                   (int)o->max_episode_steps);
  if (o->fault_limit < -1)
    return dr_fail(DROVER_ERROR_ARGUMENT, "batch: fault_limit must be -1 (automatic) or 0 and more, got %lld",
                   (long long)o->fault_limit);
  if (o->args.count < 0 || (o->args.count > 0 && !o->args.items))
    return dr_fail(DROVER_ERROR_ARGUMENT, "batch: args.count is %d but args.items is NULL", (int)o->args.count);
  return DROVER_OK;
}

/* ---- The env type -------------------------------------------------------------------------------------------- */

/* One block: the items, then their strings. Kept for checkpoints and messages. */
static drover_status copy_args(drover_batch *batch, const drover_env_args *args) {
  batch->options.args = (drover_env_args){0};
  if (args->count == 0) return DROVER_OK;
  size_t bytes = (size_t)args->count * sizeof *args->items;
  for (int32_t i = 0; i < args->count; i++) bytes += strlen(args->items[i].key) + strlen(args->items[i].value) + 2;
  drover_env_arg *items = malloc(bytes);
  if (!items) return dr_fail(DROVER_ERROR_NO_MEMORY, "batch: no memory for %d env arguments", (int)args->count);
  char *text = (char *)(items + args->count);
  for (int32_t i = 0; i < args->count; i++) {
    items[i].key = strcpy(text, args->items[i].key);
    text += strlen(text) + 1;
    items[i].value = strcpy(text, args->items[i].value);
    text += strlen(text) + 1;
  }
  batch->options.args = (drover_env_args){.count = args->count, .items = items};
  return DROVER_OK;
}

static drover_status open_type(drover_batch *batch) {
  char message[DR_MESSAGE_BYTES] = "";
  batch->spec.size = sizeof batch->spec;
  const dr_float_mode mode = dr_float_mode_enter();
  const dr_numerals numerals = dr_numerals_enter();
  const int failed = batch->type->open(&batch->options.args, &batch->spec, &batch->shared, message, sizeof message);
  dr_numerals_leave(numerals);
  dr_float_mode_leave(mode);
  if (failed) {
    batch->shared = NULL;
    message[sizeof message - 1] = '\0';
    return dr_fail(DROVER_ERROR_ENV, "%s",
                   message[0] ? message : "the env type could not be opened and did not say why");
  }
  batch->opened = true;
  return dr_env_spec_check(batch->type, &batch->spec);
}

/* ---- Resetting ----------------------------------------------------------------------------------------------- */

/* The first time: zero the state (which touches its memory first, on the worker that will step it) and create. */
static drover_status create_env(drover_batch *batch, int32_t e) {
  if (batch->created[e]) return DROVER_OK;
  unsigned char *state = batch->states + (size_t)e * batch->spec.state_size;
  memset(state, 0, batch->spec.state_size);
  if (batch->type->create && batch->type->create(batch->shared, state, e) != 0)
    return dr_fail(DROVER_ERROR_ENV, "%s: env %d could not be created", batch->type->name, (int)e);
  batch->created[e] = 1;
  return DROVER_OK;
}

/* Zero the rows and begin the first episodes. The first time this is also the first touch of their memory. */
static drover_status reset_rows(void *object, dr_worker *worker, int32_t first, int32_t count, int64_t step) {
  (void)worker, (void)step;
  drover_batch *batch = object;
  const size_t width = (size_t)batch->spec.observation_size, n = (size_t)count, f = (size_t)first;
  memset(batch->lifetime_steps + f, 0, n * sizeof *batch->lifetime_steps);
  memset(batch->episode_numbers + f, 0, n * sizeof *batch->episode_numbers);
  memset(batch->rewards + f, 0, n * sizeof *batch->rewards);
  memset(batch->terminated + f, 0, n);
  memset(batch->truncated + f, 0, n);
  memset(batch->valid + f, 0, n);
  memset(batch->faults + f, 0, n);
  memset(batch->ended + f, 0, n);
  memset(batch->finished_returns + f, 0, n * sizeof *batch->finished_returns);
  memset(batch->finished_lengths + f, 0, n * sizeof *batch->finished_lengths);
  memset(batch->final_observations + f * width, 0, n * width * sizeof(float));
  if (batch->infos) memset(batch->infos + f * (size_t)batch->spec.num_infos, 0, n * (size_t)batch->spec.num_infos * 4);
  dr_inner_reset(batch, first, count);
  drover_status status = DROVER_OK;
  for (int32_t e = first; e < first + count && status == DROVER_OK; e++) {
    status = create_env(batch, e);
    if (status == DROVER_OK) status = dr_batch_begin_episode(batch, e, batch->observations + (size_t)e * width);
  }
  return status;
}

static const dr_phase reset_phase = {.kind = DR_KIND_OTHER, .cost = DR_COST_RESET, .rows = reset_rows};
static const dr_program reset_program = {.phases = &reset_phase, .num_phases = 1, .uncancellable = true};

bool dr_batch_better_alone(const drover_batch *batch, double row_ns) {
  return row_ns > 0 ? row_ns * batch->num_envs < BREAK_EVEN_NS : batch->num_envs < 16;
}

drover_status dr_batch_reset_all(drover_batch *batch, uint64_t seed) {
  batch->seed = seed;
  atomic_store_explicit(&batch->num_faults, 0, memory_order_relaxed);
  batch->run.cancels_seen = dr_runtime_begin_call(batch->runtime);
  const bool alone = dr_batch_better_alone(batch, dr_run_row_ns(&batch->run, DR_COST_RESET));
  const drover_status status = dr_run_execute(&batch->run, &reset_program, batch, 0, 1, alone, NULL);
  dr_runtime_end_call(batch->runtime);
  return status;
}

drover_status drover_batch_reset(drover_batch *batch, uint64_t seed) {
  drover_status status = dr_batch_enter(batch, "batch reset", false);
  if (status != DROVER_OK) return status;
  status = dr_batch_reset_all(batch, seed);
  dr_batch_leave(batch);
  return status;
}

drover_status drover_batch_reset_some(drover_batch *batch, const uint8_t *mask) {
  drover_status status = dr_batch_enter(batch, "batch reset_some", false);
  if (status != DROVER_OK) return status;
  if (!mask)
    status =
        dr_fail(DROVER_ERROR_ARGUMENT, "batch reset_some: mask must not be NULL; it has a byte for each of %d envs",
                (int)batch->num_envs);
  const dr_float_mode mode = dr_float_mode_enter();
  for (int32_t e = 0; e < batch->num_envs && status == DROVER_OK; e++)
    if (mask[e])
      status = dr_batch_begin_episode(batch, e, batch->observations + (size_t)e * (size_t)batch->spec.observation_size);
  dr_float_mode_leave(mode);
  dr_batch_leave(batch);
  return status;
}

/* ---- Creating ------------------------------------------------------------------------------------------------ */

static int32_t choose_shard(const drover_batch *batch, const drover_batch_options *o) {
  const int32_t lanes = batch->spec.lanes > 1 ? batch->spec.lanes : 1, num_workers = batch->runtime->num_workers;
  if (o->shard > 0) return o->shard < o->num_envs ? o->shard : o->num_envs;
  if (dr_has_inner(batch)) return dr_auto_inner_shard(o->num_envs, num_workers, DR_INNER_TILE);
  return dr_auto_shard(o->num_envs, num_workers, lanes, MOST_STEP_ROWS);
}

static drover_status allocate(drover_batch *batch) {
  const size_t n = (size_t)batch->num_envs, width = (size_t)batch->spec.observation_size;
  const size_t workers = (size_t)batch->runtime->num_workers;
  batch->states = dr_slab_alloc(n, batch->spec.state_size);
  batch->created = dr_slab_zalloc(n, 1);
  batch->lifetime_steps = dr_slab_alloc(n, sizeof *batch->lifetime_steps);
  batch->episode_numbers = dr_slab_alloc(n, sizeof *batch->episode_numbers);
  batch->running_returns = dr_slab_alloc(n, sizeof *batch->running_returns);
  batch->running_lengths = dr_slab_alloc(n, sizeof *batch->running_lengths);
  batch->special = dr_slab_alloc(n, 1);
  batch->faults = dr_slab_alloc(n, 1);
  batch->fault_texts = dr_slab_alloc(n, sizeof *batch->fault_texts);
  batch->ended = dr_slab_alloc(n, 1);
  batch->observations = dr_slab_alloc(n, width * sizeof(float));
  batch->rewards = dr_slab_alloc(n, sizeof(float));
  batch->terminated = dr_slab_alloc(n, 1);
  batch->truncated = dr_slab_alloc(n, 1);
  batch->valid = dr_slab_alloc(n, 1);
  batch->final_observations = dr_slab_alloc(n, width * sizeof(float));
  batch->finished_returns = dr_slab_alloc(n, sizeof *batch->finished_returns);
  batch->finished_lengths = dr_slab_alloc(n, sizeof *batch->finished_lengths);
  batch->actions = dr_slab_alloc(n, (size_t)batch->spec.action_size * 4);
  batch->scratch = dr_slab_alloc(workers * DR_BLOCK_ROWS, width * sizeof(float));
  if (batch->spec.num_infos > 0) batch->infos = dr_slab_alloc(n, (size_t)batch->spec.num_infos * sizeof(float));
  const bool good = batch->states && batch->created && batch->lifetime_steps && batch->episode_numbers &&
                    batch->running_returns && batch->running_lengths && batch->special && batch->faults &&
                    batch->fault_texts && batch->ended && batch->observations && batch->rewards && batch->terminated &&
                    batch->truncated && batch->valid && batch->final_observations && batch->finished_returns &&
                    batch->finished_lengths && batch->actions && batch->scratch &&
                    (batch->infos || batch->spec.num_infos == 0);
  if (good) return dr_inner_allocate(batch);
  return dr_fail(DROVER_ERROR_NO_MEMORY,
                 "batch: no memory for %d envs of %s (%zu bytes of state and %zu of observation each)",
                 (int)batch->num_envs, batch->type->name, batch->spec.state_size, width * sizeof(float));
}

static void free_batch(drover_batch *batch) {
  dr_exchange_destroy(batch);
  if (batch->type->destroy && batch->created)
    for (int32_t e = 0; e < batch->num_envs; e++)
      if (batch->created[e]) batch->type->destroy(batch->shared, batch->states + (size_t)e * batch->spec.state_size);
  if (batch->opened && batch->type->close) batch->type->close(batch->shared);
  dr_inner_free(batch);
  dr_run_free(&batch->run);
  void *const slabs[] = {batch->states,
                         batch->created,
                         batch->lifetime_steps,
                         batch->episode_numbers,
                         batch->running_returns,
                         batch->running_lengths,
                         batch->special,
                         batch->faults,
                         (void *)batch->fault_texts,
                         batch->ended,
                         batch->observations,
                         batch->rewards,
                         batch->terminated,
                         batch->truncated,
                         batch->valid,
                         batch->infos,
                         batch->final_observations,
                         batch->finished_returns,
                         batch->finished_lengths,
                         batch->actions,
                         batch->scratch,
                         (void *)(uintptr_t)batch->options.args.items};
  for (size_t i = 0; i < sizeof slabs / sizeof *slabs; i++) free(slabs[i]);
}

static drover_status set_up(drover_batch *batch, const drover_batch_options *o) {
  drover_status status = copy_args(batch, &o->args);
  if (status == DROVER_OK) status = open_type(batch);
  if (status != DROVER_OK) return status;
  if (o->max_episode_steps < 0) batch->options.max_episode_steps = batch->spec.max_episode_steps;
  if (o->fault_limit < 0) batch->options.fault_limit = 100 + (int64_t)o->num_envs;
  batch->shard = choose_shard(batch, o);
  if ((status = allocate(batch)) != DROVER_OK) return status;
  const int32_t num_chains = (o->num_envs + batch->shard - 1) / batch->shard;
  if ((status = dr_run_init(&batch->run, batch->runtime, num_chains)) != DROVER_OK) return status;
  dr_run_set_shards(&batch->run, o->num_envs, batch->shard);
  return dr_batch_reset_all(batch, o->seed);
}

drover_status drover_batch_create(drover_batch **out, drover_runtime *runtime, const drover_env_type *type,
                                  const drover_batch_options *options) {
  if (!out) return dr_fail(DROVER_ERROR_ARGUMENT, "batch: out must not be NULL");
  *out = NULL;
  drover_status status = dr_runtime_check(runtime, "batch create");
  if (status == DROVER_OK) status = dr_worker_check_outside("batch create");
  if (status == DROVER_OK) status = dr_env_type_check(type);
  if (status == DROVER_OK) status = check_options(options);
  if (status == DROVER_OK) status = dr_env_type_check_args(type, &options->args);
  if (status != DROVER_OK) return status;
  drover_batch *batch = dr_slab_zalloc(1, sizeof *batch);
  if (!batch) return dr_fail(DROVER_ERROR_NO_MEMORY, "batch: out of memory");
  batch->runtime = runtime;
  batch->type = type;
  batch->options = *options;
  batch->num_envs = options->num_envs;
  status = set_up(batch, options);
  if (status != DROVER_OK) {
    free_batch(batch);
    free(batch);
    return status;
  }
  atomic_fetch_add_explicit(&runtime->num_objects, 1, memory_order_relaxed);
  dr_handle_open(&batch->handle, DR_HANDLE_BATCH);
  *out = batch;
  return DROVER_OK;
}

drover_status drover_batch_destroy(drover_batch *batch) {
  if (!batch) return DROVER_OK;
  drover_status status = dr_handle_check(batch, DR_HANDLE_BATCH, "batch destroy");
  if (status != DROVER_OK) return status;
  if (dr_runtime_check_fork(batch->runtime, "batch destroy") != DROVER_OK) return DROVER_OK;
  status = dr_batch_enter(batch, "batch destroy", true);
  if (status != DROVER_OK) return status;
  if (atomic_load_explicit(&batch->num_rollouts, memory_order_acquire) > 0) {
    dr_batch_leave(batch);
    return dr_fail(DROVER_ERROR_STATE, "batch destroy: a rollout uses it; destroy the rollout first");
  }
  drover_runtime *runtime = batch->runtime;
  free_batch(batch);
  dr_handle_bury(&batch->handle);
  /* release: destroy of the runtime, which acquires, must see the batch gone. */
  atomic_fetch_sub_explicit(&runtime->num_objects, 1, memory_order_release);
  return DROVER_OK;
}

/* ---- Calls --------------------------------------------------------------------------------------------------- */

drover_status dr_batch_enter(drover_batch *batch, const char *what, bool in_flight_allowed) {
  drover_status status = dr_handle_check(batch, DR_HANDLE_BATCH, what);
  if (status == DROVER_OK) status = dr_runtime_check(batch->runtime, what);
  if (status != DROVER_OK) return status;
  if ((status = dr_worker_check_outside(what)) != DROVER_OK) return status;
  /* acquire/release of `busy`: calls from different threads, one after the other, see each other's rows. */
  if (atomic_exchange_explicit(&batch->busy, 1, memory_order_acquire) != 0)
    return dr_fail(DROVER_ERROR_STATE,
                   "%s: another call on this batch is in progress; calls on one batch must not overlap", what);
  if (in_flight_allowed || !dr_exchange_in_flight(batch)) return DROVER_OK;
  dr_batch_leave(batch);
  return dr_fail(DROVER_ERROR_STATE, "%s: envs are in flight; receive them with drover_batch_recv first", what);
}

void dr_batch_leave(drover_batch *batch) { atomic_store_explicit(&batch->busy, 0, memory_order_release); }

dr_rows dr_batch_rows(drover_batch *batch, const void *actions) {
  return (dr_rows){.actions = actions,
                   .observations = batch->observations,
                   .rewards = batch->rewards,
                   .terminated = batch->terminated,
                   .truncated = batch->truncated,
                   .valid = batch->valid,
                   .infos = batch->infos,
                   .inner_samples = batch->inner.samples};
}

drover_status drover_batch_get_view(drover_batch *batch, drover_batch_view *out) {
  drover_status status = dr_handle_check(batch, DR_HANDLE_BATCH, "batch get_view");
  if (status == DROVER_OK) status = dr_runtime_check_fork(batch->runtime, "batch get_view");
  if (status != DROVER_OK) return status;
  if (!out || out->size != sizeof *out)
    return dr_fail(DROVER_ERROR_ARGUMENT, "batch get_view: set out->size to sizeof(drover_batch_view), %zu",
                   sizeof *out);
  *out = (drover_batch_view){.size = sizeof *out,
                             .num_envs = batch->num_envs,
                             .spec = &batch->spec,
                             .observations = batch->observations,
                             .rewards = batch->rewards,
                             .terminated = batch->terminated,
                             .truncated = batch->truncated,
                             .valid = batch->valid,
                             .infos = batch->infos,
                             .inner_samples = batch->inner.samples,
                             .final_observations = batch->final_observations,
                             .episode_returns = batch->finished_returns,
                             .episode_lengths = batch->finished_lengths,
                             .lifetime_steps = batch->lifetime_steps,
                             .num_faults = atomic_load_explicit(&batch->num_faults, memory_order_relaxed)};
  return DROVER_OK;
}

drover_status drover_batch_get_sizes(drover_batch *batch, int32_t *shard, int32_t *chunk) {
  drover_status status = dr_handle_check(batch, DR_HANDLE_BATCH, "batch get_sizes");
  if (status == DROVER_OK) status = dr_runtime_check_fork(batch->runtime, "batch get_sizes");
  if (status != DROVER_OK) return status;
  if (shard) *shard = batch->shard;
  if (chunk) *chunk = batch->options.chunk;
  return DROVER_OK;
}

static int32_t find_param(const drover_env_spec *spec, const char *name) {
  for (int32_t p = 0; p < spec->num_params; p++)
    if (strcmp(spec->param_names[p], name) == 0) return p;
  return -1;
}

static drover_status set_param(drover_batch *batch, const char *name, const uint8_t *mask, float value) {
  const int32_t param = name ? find_param(&batch->spec, name) : -1;
  if (param < 0)
    return dr_fail(DROVER_ERROR_NOT_FOUND, "%s: no parameter '%s'; it has %d (drover envs %s lists them)",
                   batch->type->name, name ? name : "(null)", (int)batch->spec.num_params, batch->type->name);
  for (int32_t e = 0; e < batch->num_envs; e++)
    if ((!mask || mask[e]) &&
        batch->type->set_param(batch->shared, batch->states + (size_t)e * batch->spec.state_size, param, value) != 0)
      return dr_fail(DROVER_ERROR_ARGUMENT, "%s: env %d refuses %s = %g; the envs before it have taken it",
                     batch->type->name, (int)e, name, (double)value);
  return DROVER_OK;
}

drover_status drover_batch_set_param(drover_batch *batch, const char *name, const uint8_t *mask, float value) {
  drover_status status = dr_batch_enter(batch, "batch set_param", false);
  if (status != DROVER_OK) return status;
  const dr_float_mode mode = dr_float_mode_enter();
  status = set_param(batch, name, mask, value);
  dr_float_mode_leave(mode);
  dr_batch_leave(batch);
  return status;
}
