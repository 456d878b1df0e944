/* advance.c: one step of a block of envs: the env's own step, then what the runtime owes every env type: checks, time
 * limit, episode sums, faults, final observations, auto-reset. */
#include <inttypes.h>

#include "runtime/batch.h"
#include "runtime/error.h"

/* One call's rows from env e on. */
static drover_env_rows env_rows(const drover_batch *batch, const dr_rows *rows, int32_t e, int32_t count,
                                uint8_t *failed) {
  const size_t action_bytes = (size_t)batch->spec.action_size * 4;
  return (drover_env_rows){
      .count = count,
      .first_env = e,
      .seed = batch->seed,
      .purpose = DROVER_RANDOM_STEP,
      .counters = batch->lifetime_steps + e,
      .actions = (const unsigned char *)rows->actions + (size_t)e * action_bytes,
      .observations = rows->observations + (size_t)e * (size_t)batch->spec.observation_size,
      .rewards = rows->rewards + e,
      .terminated = rows->terminated + e,
      .truncated = rows->truncated + e,
      .infos = rows->infos ? rows->infos + (size_t)e * (size_t)batch->spec.num_infos : NULL,
      .failed = failed,
  };
}

static void call_env(const drover_batch *batch, const dr_rows *rows, int32_t first, int32_t count, uint8_t *failed) {
  const drover_env_type *type = batch->type;
  unsigned char *state = batch->states + (size_t)first * batch->spec.state_size;
  if (type->step_many && !batch->options.scalar) {
    const drover_env_rows call = env_rows(batch, rows, first, count, failed);
    if (type->step_many(batch->shared, state, &call) != 0) memset(failed, 1, (size_t)count);
    return;
  }
  drover_env_rows call = env_rows(batch, rows, first, 1, failed);
  const size_t action_bytes = (size_t)batch->spec.action_size * 4;
  for (int32_t i = 0; i < count; i++) {
    failed[i] = (uint8_t)(batch->type->step(batch->shared, state, &call) != 0);
    state += batch->spec.state_size;
    call.first_env++;
    call.counters++;
    call.actions = (const unsigned char *)call.actions + action_bytes;
    call.observations += batch->spec.observation_size;
    call.rewards++;
    call.terminated++;
    call.truncated++;
    if (call.infos) call.infos += batch->spec.num_infos;
  }
}

/* ---- Faults -------------------------------------------------------------------------------------------------- */

static const char *reason_text(int32_t reason) {
  switch (reason) {
    case DROVER_FAULT_STEP:
      return "its step returned an error";
    case DROVER_FAULT_RESET:
      return "its reset returned an error or a non-finite observation";
    case DROVER_FAULT_OBSERVATION:
      return "it gave a non-finite observation";
    default:
      return "it gave a non-finite reward";
  }
}

static drover_status count_fault(drover_batch *batch, int32_t e, int32_t reason) {
  const int64_t count = atomic_fetch_add_explicit(&batch->num_faults, 1, memory_order_relaxed) + 1;
  if (count <= batch->options.fault_limit) return DROVER_OK;
  return dr_fail(DROVER_ERROR_FAULTS,
                 "%s: env %d failed at its step %" PRIu64 ": %s; that is fault %" PRId64 ", fault_limit is %" PRId64,
                 batch->type->name, (int)e, batch->lifetime_steps[e], reason_text(reason), count,
                 batch->options.fault_limit);
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
  if (status == 0 && !failed && dr_all_finite(observation, width)) return DROVER_OK;
  memset(observation, 0, width * sizeof *observation);
  batch->special[e] = DR_SPECIAL_BROKEN;
  batch->faults[e] |= (uint8_t)(DROVER_FAULT_RESET << 4);
  return count_fault(batch, e, DROVER_FAULT_RESET);
}

static drover_status end_episode(drover_batch *batch, const dr_rows *rows, const float *previous, int32_t e) {
  const size_t width = (size_t)batch->spec.observation_size;
  float *observation = rows->observations + (size_t)e * width;
  if (batch->faults[e]) memcpy(observation, previous, width * sizeof *observation); /* the last finite one */
  memcpy(batch->final_observations + (size_t)e * width, observation, width * sizeof *observation);
  batch->finished_returns[e] = batch->running_returns[e];
  batch->finished_lengths[e] = batch->running_lengths[e];
  if (batch->options.autoreset == DROVER_AUTORESET_SAME_STEP) return dr_batch_begin_episode(batch, e, observation);
  batch->special[e] = DR_SPECIAL_FINISHED;
  return DROVER_OK;
}

/* ---- Judging a block ----------------------------------------------------------------------------------------- */

/* Find the rows that failed: error, non-finite observation or reward. Each becomes a truncated, invalid row. */
static drover_status mark_faults(drover_batch *batch, const dr_rows *rows, int32_t first, int32_t count,
                                 const uint8_t *failed) {
  const size_t width = (size_t)batch->spec.observation_size;
  drover_status status = DROVER_OK;
  for (int32_t i = 0; i < count; i++) {
    const int32_t e = first + i;
    if (!rows->valid[e]) continue; /* a reset row */
    uint8_t reason = 0;
    if (failed[i])
      reason = DROVER_FAULT_STEP;
    else if (!dr_all_finite(rows->observations + (size_t)e * width, width))
      reason = DROVER_FAULT_OBSERVATION;
    else if (!dr_is_finite(rows->rewards[e]))
      reason = DROVER_FAULT_REWARD;
    if (!reason) continue;
    batch->faults[e] = reason;
    rows->valid[e] = 0;
    rows->rewards[e] = 0;
    rows->terminated[e] = 0;
    rows->truncated[e] = 1;
    if (rows->infos)
      memset(rows->infos + (size_t)e * (size_t)batch->spec.num_infos, 0, (size_t)batch->spec.num_infos * 4);
    const drover_status counted = count_fault(batch, e, reason);
    if (counted != DROVER_OK) status = counted;
  }
  return status;
}

/* Add up returns and lengths, apply the time limit. True if an episode ended. plain: every row is a transition. Each
 * loop does one thing to one type, so that it vectorises. */
static bool add_up(drover_batch *batch, const dr_rows *rows, int32_t first, int32_t count, bool plain) {
  const float *restrict rewards = rows->rewards + first;
  const uint8_t *restrict valid = rows->valid + first;
  const uint8_t *restrict terminated = rows->terminated + first;
  uint8_t *restrict truncated = rows->truncated + first;
  double *restrict returns = batch->running_returns + first;
  int32_t *restrict lengths = batch->running_lengths + first;
  uint64_t *restrict lifetimes = batch->lifetime_steps + first;
  const int32_t limit = batch->options.max_episode_steps > 0 ? batch->options.max_episode_steps : INT32_MAX;
  for (int32_t i = 0; i < count; i++) returns[i] += (double)rewards[i];
  for (int32_t i = 0; i < count; i++) lifetimes[i]++;
  int32_t longest = 0;
  if (plain) {
    for (int32_t i = 0; i < count; i++) {
      lengths[i]++;
      longest = lengths[i] > longest ? lengths[i] : longest;
    }
  } else {
    for (int32_t i = 0; i < count; i++) {
      lengths[i] += valid[i];
      longest = lengths[i] > longest ? lengths[i] : longest;
    }
  }
  if (longest >= limit)
    for (int32_t i = 0; i < count; i++) truncated[i] |= (uint8_t)(valid[i] && lengths[i] >= limit);
  return dr_any_byte(terminated, (size_t)count) || dr_any_byte(truncated, (size_t)count);
}

/* Envs that cannot be stepped: broken ones and, in next-step mode, finished ones begin an episode instead. */
static drover_status advance_around_special(drover_batch *batch, const dr_rows *rows, int32_t first, int32_t count,
                                            uint8_t *failed) {
  const size_t width = (size_t)batch->spec.observation_size;
  drover_status status = DROVER_OK;
  for (int32_t i = 0; i < count;) {
    int32_t run = 0;
    while (i + run < count && !batch->special[first + i + run]) run++;
    if (run > 0) {
      call_env(batch, rows, first + i, run, failed + i);
      i += run;
      continue;
    }
    const int32_t e = first + i++;
    rows->valid[e] = 0;
    rows->rewards[e] = 0;
    const drover_status begun = dr_batch_begin_episode(batch, e, rows->observations + (size_t)e * width);
    if (begun != DROVER_OK) status = begun;
  }
  return status;
}

drover_status dr_batch_advance(drover_batch *batch, dr_worker *worker, const dr_rows *rows, int32_t first,
                               int32_t count) {
  const size_t width = (size_t)batch->spec.observation_size, n = (size_t)count;
  if (count <= 0) return DROVER_OK;
  uint8_t failed[DR_BLOCK_ROWS];
  const float *previous = rows->previous_observations ? rows->previous_observations + (size_t)first * width : NULL;
  if (!previous) {
    float *kept = batch->scratch + (size_t)worker->index * DR_BLOCK_ROWS * width;
    memcpy(kept, rows->observations + (size_t)first * width, n * width * sizeof *kept);
    previous = kept;
  }
  memset(failed, 0, n);
  memset(rows->terminated + first, 0, n);
  memset(rows->truncated + first, 0, n);
  memset(rows->valid + first, 1, n);
  memset(batch->faults + first, 0, n);
  if (rows->infos)
    memset(rows->infos + (size_t)first * (size_t)batch->spec.num_infos, 0, n * (size_t)batch->spec.num_infos * 4);

  drover_status status = DROVER_OK;
  const bool steppable = !dr_any_byte(batch->special + first, n);
  if (steppable)
    call_env(batch, rows, first, count, failed);
  else
    status = advance_around_special(batch, rows, first, count, failed);

  const bool sound = !dr_any_byte(failed, n) && dr_all_finite(rows->observations + (size_t)first * width, n * width) &&
                     dr_all_finite(rows->rewards + first, n);
  if (!sound) {
    const drover_status marked = mark_faults(batch, rows, first, count, failed);
    if (marked != DROVER_OK) status = marked;
  }
  if (!add_up(batch, rows, first, count, steppable && sound)) return status;
  for (int32_t i = 0; i < count; i++) {
    const int32_t e = first + i;
    if (!(rows->terminated[e] | rows->truncated[e])) continue;
    const drover_status ended = end_episode(batch, rows, previous + (size_t)i * width, e);
    if (ended != DROVER_OK) status = ended;
  }
  return status;
}
