/* advance.c: one step of a block of envs: the env's own step, then what the runtime owes every env type: checks, time
 * limit, episode sums, faults, final observations, auto-reset.
 *
 * Rewards and flags are made in the worker's own memory and stored at the end: rows of neighbouring shards share cache
 * lines, and a line that is only stored to costs far less than one that is also read while others write it. */
#include "runtime/fault.h"
#include "runtime/inner.h"

/* Envs first..first + count - 1 in one step. Pointers are to the block's first row. */
typedef struct block {
  drover_batch *batch;
  int32_t first, count;
  const unsigned char *actions;
  const float *previous; /* [count x width] observations before the step */
  float *observations;   /* [count x width] */
  float *infos;          /* [count x num_infos] or NULL */
  float *inner_samples;  /* [count x inner_sample_size] or NULL */
  float rewards[DR_BLOCK_ROWS];
  uint8_t terminated[DR_BLOCK_ROWS];
  uint8_t truncated[DR_BLOCK_ROWS];
  uint8_t valid[DR_BLOCK_ROWS];
  uint8_t failed[DR_BLOCK_ROWS]; /* by the env's own word */
} block;

static size_t width_of(const block *b) { return (size_t)b->batch->spec.observation_size; }

/* Rows i.. of the block as the env sees them. */
static drover_env_rows env_rows(block *b, int32_t i, int32_t count) {
  const drover_batch *batch = b->batch;
  return (drover_env_rows){
      .count = count,
      .first_env = b->first + i,
      .seed = batch->seed,
      .purpose = DROVER_RANDOM_STEP,
      .counters = batch->lifetime_steps + b->first + i,
      .actions = b->actions + (size_t)i * (size_t)batch->spec.action_size * 4,
      .observations = b->observations + (size_t)i * width_of(b),
      .rewards = b->rewards + i,
      .terminated = b->terminated + i,
      .truncated = b->truncated + i,
      .infos = b->infos ? b->infos + (size_t)i * (size_t)batch->spec.num_infos : NULL,
      .failed = b->failed + i,
  };
}

static void call_env(block *b, int32_t begin, int32_t count) {
  const drover_batch *batch = b->batch;
  const drover_env_type *type = batch->type;
  unsigned char *state = batch->states + (size_t)(b->first + begin) * batch->spec.state_size;
  if (type->step_many && !batch->options.scalar && !dr_has_inner(batch)) {
    const drover_env_rows call = env_rows(b, begin, count);
    if (type->step_many(batch->shared, state, &call) != 0) memset(b->failed + begin, 1, (size_t)count);
    return;
  }
  drover_env_rows call = env_rows(b, begin, 1);
  const size_t action_bytes = (size_t)batch->spec.action_size * 4;
  for (int32_t i = begin; i < begin + count; i++) {
    if (dr_inner_failed(batch, call.first_env) || type->step(batch->shared, state, &call) != 0) b->failed[i] = 1;
    state += batch->spec.state_size;
    call.first_env++;
    call.counters++;
    call.actions = (const unsigned char *)call.actions + action_bytes;
    call.observations += batch->spec.observation_size;
    call.rewards++;
    call.terminated++;
    call.truncated++;
    call.failed++;
    if (call.infos) call.infos += batch->spec.num_infos;
  }
}

/* ---- Episodes ------------------------------------------------------------------------------------------------ */

drover_status dr_batch_begin_episode(drover_batch *batch, int32_t e, float *observation) {
  const size_t width = (size_t)batch->spec.observation_size;
  uint8_t failed = 0;
  const drover_env_rows call = {.count = 1,
                                .first_env = e,
                                .seed = batch->seed,
                                .purpose = DROVER_RANDOM_RESET,
                                .counters = batch->episode_numbers + e,
                                .observations = observation,
                                .failed = &failed};
  const int status = batch->type->reset(batch->shared, batch->states + (size_t)e * batch->spec.state_size, &call);
  batch->episode_numbers[e]++;
  batch->running_returns[e] = 0;
  batch->running_lengths[e] = 0;
  batch->special[e] = DR_SPECIAL_NONE;
  if (status != 0 || failed)
    dr_fault_ask(batch, e, DR_FAULT_OF_RESET, "its reset returned an error");
  else if (!dr_fault_find(batch, e, DR_FAULT_OF_RESET, "observation", observation, width))
    return DROVER_OK;
  memset(observation, 0, width * sizeof *observation);
  batch->special[e] = DR_SPECIAL_BROKEN;
  return dr_fault_note(batch, e, DR_FAULT_OF_RESET, DROVER_FAULT_RESET);
}

static drover_status end_episode(block *b, int32_t i) {
  drover_batch *batch = b->batch;
  const size_t width = width_of(b), bytes = width * sizeof(float);
  const int32_t e = b->first + i;
  float *observation = b->observations + (size_t)i * width;
  if (batch->faults[e]) memcpy(observation, b->previous + (size_t)i * width, bytes); /* the last finite one */
  memcpy(batch->final_observations + (size_t)e * width, observation, bytes);
  batch->finished_returns[e] = batch->running_returns[e];
  batch->finished_lengths[e] = batch->running_lengths[e];
  batch->ended[e] = 1;
  if (batch->options.autoreset == DROVER_AUTORESET_SAME_STEP) return dr_batch_begin_episode(batch, e, observation);
  batch->special[e] = DR_SPECIAL_FINISHED;
  return DROVER_OK;
}

/* ---- Judging a block ----------------------------------------------------------------------------------------- */

/* The reason, or 0; the sentence is kept. The state of an env that failed is still what its step has left. */
static int32_t find_fault(const block *b, int32_t i) {
  drover_batch *batch = b->batch;
  const int32_t e = b->first + i;
  const float *observation = b->observations + (size_t)i * width_of(b);
  if (dr_inner_failed(batch, e)) return DROVER_FAULT_INNER; /* said where it was found */
  if (b->failed[i]) {
    dr_fault_ask(batch, e, DR_FAULT_OF_STEP, "its step returned an error");
    return DROVER_FAULT_STEP;
  }
  if (dr_fault_find(batch, e, DR_FAULT_OF_STEP, "observation", observation, width_of(b)))
    return DROVER_FAULT_OBSERVATION;
  return dr_fault_find(batch, e, DR_FAULT_OF_STEP, "reward", &b->rewards[i], 1) ? DROVER_FAULT_REWARD : 0;
}

/* Each row that failed becomes a truncated, invalid one. */
static drover_status mark_faults(block *b) {
  const size_t num_infos = (size_t)b->batch->spec.num_infos;
  const size_t sample_size = (size_t)b->batch->spec.inner_sample_size;
  drover_status status = DROVER_OK;
  for (int32_t i = 0; i < b->count; i++) {
    const int32_t reason = b->valid[i] ? find_fault(b, i) : 0; /* not valid: a reset row */
    if (!reason) continue;
    b->valid[i] = 0;
    b->rewards[i] = 0;
    b->terminated[i] = 0;
    b->truncated[i] = 1;
    if (b->infos) memset(b->infos + (size_t)i * num_infos, 0, num_infos * sizeof(float));
    if (b->inner_samples) memset(b->inner_samples + (size_t)i * sample_size, 0, sample_size * sizeof(float));
    const drover_status noted = dr_fault_note(b->batch, b->first + i, DR_FAULT_OF_STEP, (drover_fault_reason)reason);
    if (noted != DROVER_OK) status = noted;
  }
  return status;
}

/* Add up returns and lengths, apply the time limit. True if an episode ended. plain: every row is a transition. Each
 * loop does one thing to one type, so that it vectorises. */
static bool add_up(block *b, bool plain) {
  drover_batch *batch = b->batch;
  const int32_t count = b->count;
  double *restrict returns = batch->running_returns + b->first;
  int32_t *restrict lengths = batch->running_lengths + b->first;
  uint64_t *restrict lifetimes = batch->lifetime_steps + b->first;
  const int32_t limit = batch->options.max_episode_steps > 0 ? batch->options.max_episode_steps : INT32_MAX;
  for (int32_t i = 0; i < count; i++) returns[i] += (double)b->rewards[i];
  for (int32_t i = 0; i < count; i++) lifetimes[i]++;
  int32_t longest = 0;
  for (int32_t i = 0; i < count; i++) {
    lengths[i] += plain ? 1 : b->valid[i];
    longest = lengths[i] > longest ? lengths[i] : longest;
  }
  if (longest >= limit)
    for (int32_t i = 0; i < count; i++) b->truncated[i] |= (uint8_t)(b->valid[i] && lengths[i] >= limit);
  return dr_any_byte(b->terminated, (size_t)count) || dr_any_byte(b->truncated, (size_t)count);
}

/* Envs that cannot be stepped: broken ones and, in next-step mode, finished ones begin an episode instead. */
static drover_status advance_around_special(block *b) {
  const uint8_t *special = b->batch->special + b->first;
  drover_status status = DROVER_OK;
  for (int32_t i = 0; i < b->count;) {
    int32_t run = 0;
    while (i + run < b->count && !special[i + run]) run++;
    if (run > 0) {
      call_env(b, i, run);
      i += run;
      continue;
    }
    b->valid[i] = 0;
    b->rewards[i] = 0;
    const drover_status begun =
        dr_batch_begin_episode(b->batch, b->first + i, b->observations + (size_t)i * width_of(b));
    if (begun != DROVER_OK) status = begun;
    i++;
  }
  return status;
}

/* ---- A block ------------------------------------------------------------------------------------------------- */

static void open_block(block *b, drover_batch *batch, dr_worker *worker, const dr_rows *rows, int32_t first,
                       int32_t count) {
  const size_t width = (size_t)batch->spec.observation_size, n = (size_t)count, f = (size_t)first;
  b->batch = batch;
  b->first = first;
  b->count = count;
  b->actions = (const unsigned char *)rows->actions + f * (size_t)batch->spec.action_size * 4;
  b->observations = rows->observations + f * width;
  b->infos = rows->infos ? rows->infos + f * (size_t)batch->spec.num_infos : NULL;
  b->inner_samples = rows->inner_samples ? rows->inner_samples + f * (size_t)batch->spec.inner_sample_size : NULL;
  if (rows->previous_observations) {
    b->previous = rows->previous_observations + f * width;
  } else {
    float *kept = batch->scratch + (size_t)worker->index * DR_BLOCK_ROWS * width;
    memcpy(kept, b->observations, n * width * sizeof *kept);
    b->previous = kept;
  }
  memset(b->terminated, 0, n);
  memset(b->truncated, 0, n);
  memset(b->failed, 0, n);
  memset(b->valid, 1, n);
  if (b->infos) memset(b->infos, 0, n * (size_t)batch->spec.num_infos * sizeof(float));
  /* Rarely set: looked at, and written only then, so that the line can stay with all who share it. */
  if (dr_any_byte(batch->faults + first, n)) memset(batch->faults + first, 0, n);
  if (dr_any_byte(batch->ended + first, n)) memset(batch->ended + first, 0, n);
}

static void store_block(const block *b, const dr_rows *rows) {
  const size_t n = (size_t)b->count;
  memcpy(rows->rewards + b->first, b->rewards, n * sizeof(float));
  memcpy(rows->terminated + b->first, b->terminated, n);
  memcpy(rows->truncated + b->first, b->truncated, n);
  memcpy(rows->valid + b->first, b->valid, n);
}

drover_status dr_batch_advance(drover_batch *batch, dr_worker *worker, const dr_rows *rows, int32_t first,
                               int32_t count) {
  block b;
  open_block(&b, batch, worker, rows, first, count);
  const size_t n = (size_t)count;
  drover_status status = DROVER_OK;
  const bool steppable = !dr_any_byte(batch->special + first, n);
  if (steppable)
    call_env(&b, 0, count);
  else
    status = advance_around_special(&b);
  const bool sound =
      !dr_any_byte(b.failed, n) && dr_all_finite(b.observations, n * width_of(&b)) && dr_all_finite(b.rewards, n);
  if (!sound) {
    const drover_status marked = mark_faults(&b);
    if (marked != DROVER_OK) status = marked;
  }
  const bool any_ended = add_up(&b, steppable && sound);
  for (int32_t i = 0; any_ended && i < count; i++) {
    if (!(b.terminated[i] | b.truncated[i])) continue;
    const drover_status ended = end_episode(&b, i);
    if (ended != DROVER_OK) status = ended;
  }
  store_block(&b, rows);
  return status;
}
