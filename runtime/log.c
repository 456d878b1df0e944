/* log.c: the sparse lists of a rollout: episodes with their final observations, and faults. */
#include <stdlib.h>

#include "runtime/error.h"
#include "runtime/fault.h"
#include "runtime/rollout.h"

static drover_status no_memory(const char *what, int64_t count) {
  return dr_fail(DROVER_ERROR_NO_MEMORY, "rollout: no memory for %lld %s", (long long)count, what);
}

/* Make room for `wanted` items: at least doubling, so that growing is rare. */
static bool grow(void **items, size_t item_bytes, int64_t *max, int64_t wanted) {
  if (wanted <= *max) return true;
  const int64_t larger = *max * 2 > wanted ? *max * 2 : wanted;
  /* NOLINTNEXTLINE(clang-analyzer-optin.portability.UnixAPI): no item has 0 bytes */
  void *moved = realloc(*items, (size_t)larger * item_bytes);
  if (!moved) return false;
  *items = moved;
  *max = larger;
  return true;
}

static bool grow_episodes(drover_episode **episodes, float **finals, size_t width, int64_t *max, int64_t wanted) {
  int64_t max_finals = *max;
  return grow((void **)finals, width * sizeof(float), &max_finals, wanted) &&
         grow((void **)episodes, sizeof **episodes, max, wanted);
}

static bool grow_faults(drover_fault **faults, char (**texts)[DROVER_FAULT_TEXT], int64_t *max, int64_t wanted) {
  int64_t max_texts = *max;
  return grow((void **)texts, sizeof **texts, &max_texts, wanted) &&
         grow((void **)faults, sizeof **faults, max, wanted);
}

drover_status dr_log_init(dr_log *log, int64_t max_episodes, int32_t observation_size) {
  *log = (dr_log){0};
  const bool good = grow_episodes(&log->episodes, &log->final_observations, (size_t)observation_size,
                                  &log->max_episodes, max_episodes) &&
                    grow_faults(&log->faults, &log->fault_texts, &log->max_faults, 16);
  return good ? DROVER_OK : no_memory("episodes", max_episodes);
}

void dr_log_free(dr_log *log) {
  free(log->episodes);
  free(log->final_observations);
  free(log->faults);
  free(log->fault_texts);
  *log = (dr_log){0};
}

void dr_log_clear(dr_log *log) { log->num_episodes = log->num_faults = 0; }

static drover_status log_fault(dr_log *log, drover_fault fault, const char *text) {
  if (!grow_faults(&log->faults, &log->fault_texts, &log->max_faults, log->num_faults + 1))
    return no_memory("faults", log->num_faults + 1);
  memcpy(log->fault_texts[log->num_faults], text, DROVER_FAULT_TEXT);
  log->faults[log->num_faults++] = fault;
  return DROVER_OK;
}

/* A step's fault and that of the reset after it. */
static drover_status log_faults(dr_log *log, const drover_batch *batch, int32_t step, int32_t e) {
  const drover_fault of_step = {.step = step, .env = e, .reason = dr_fault_of_step(batch, e)};
  const drover_fault of_reset = {.step = step, .env = e, .reason = dr_fault_of_reset(batch, e)};
  drover_status status = DROVER_OK;
  if (of_step.reason) status = log_fault(log, of_step, dr_fault_text(batch, e, DR_FAULT_OF_STEP));
  if (of_reset.reason && status == DROVER_OK)
    status = log_fault(log, of_reset, dr_fault_text(batch, e, DR_FAULT_OF_RESET));
  return status;
}

static drover_status log_episode(dr_log *log, const drover_batch *batch, drover_episode episode) {
  const size_t width = (size_t)batch->spec.observation_size;
  if (!grow_episodes(&log->episodes, &log->final_observations, width, &log->max_episodes, log->num_episodes + 1))
    return no_memory("episodes", log->num_episodes + 1);
  memcpy(log->final_observations + (size_t)log->num_episodes * width,
         batch->final_observations + (size_t)episode.env * width, width * sizeof(float));
  log->episodes[log->num_episodes++] = episode;
  return DROVER_OK;
}

drover_status dr_log_step(dr_log *log, const drover_batch *batch, const uint8_t *terminated, const uint8_t *truncated,
                          int32_t first, int32_t count, int32_t step) {
  const size_t n = (size_t)count;
  if (!dr_any_byte(batch->ended + first, n) && !dr_any_byte(batch->faults + first, n)) return DROVER_OK;
  drover_status status = DROVER_OK;
  for (int32_t e = first; e < first + count && status == DROVER_OK; e++) {
    status = log_faults(log, batch, step, e);
    if (!batch->ended[e] || status != DROVER_OK) continue;
    status = log_episode(log, batch,
                         (drover_episode){.step = step,
                                          .env = e,
                                          .episode_return = batch->finished_returns[e],
                                          .length = batch->finished_lengths[e],
                                          .terminated = terminated[e],
                                          .truncated = truncated[e],
                                          .faulted = dr_fault_of_step(batch, e) != 0});
  }
  return status;
}

/* ---- Merging ------------------------------------------------------------------------------------------------- */

static drover_status make_room(drover_rollout *r) {
  int64_t num_episodes = 0, num_faults = 0, max_values = r->max_episodes, max_bootstrap = r->max_episodes;
  for (int32_t c = 0; c < r->run.num_chains; c++) {
    num_episodes += r->logs[c].num_episodes;
    num_faults += r->logs[c].num_faults;
  }
  if (!grow((void **)&r->final_values, sizeof(float), &max_values, num_episodes) ||
      !grow((void **)&r->bootstrap_rows, sizeof *r->bootstrap_rows, &max_bootstrap, num_episodes) ||
      !grow_episodes(&r->episodes, &r->final_observations, (size_t)r->view.observation_size, &r->max_episodes,
                     num_episodes))
    return no_memory("episodes", num_episodes);
  return grow_faults(&r->faults, &r->fault_texts, &r->max_faults, num_faults) ? DROVER_OK
                                                                              : no_memory("faults", num_faults);
}

/* Every shard's log is in (step, env) order and shards are in env order: for each step, take each shard's part of it.
 */
drover_status dr_log_merge(drover_rollout *r, int32_t num_steps) {
  const drover_status status = make_room(r);
  if (status != DROVER_OK) return status;
  const size_t width = (size_t)r->view.observation_size;
  const int32_t num_chains = r->run.num_chains;
  int64_t episodes = 0, faults = 0;
  r->num_bootstrap = 0;
  for (int32_t c = 0; c < num_chains; c++) r->logs[c].next_episode = r->logs[c].next_fault = 0;
  for (int32_t t = 0; t < num_steps; t++) {
    for (int32_t c = 0; c < num_chains; c++) {
      dr_log *log = &r->logs[c];
      for (; log->next_episode < log->num_episodes && log->episodes[log->next_episode].step == t; log->next_episode++) {
        const drover_episode *episode = &log->episodes[log->next_episode];
        memcpy(r->final_observations + (size_t)episodes * width,
               log->final_observations + (size_t)log->next_episode * width, width * sizeof(float));
        if (episode->truncated && !episode->terminated) r->bootstrap_rows[r->num_bootstrap++] = episodes;
        r->episodes[episodes++] = *episode;
      }
      for (; log->next_fault < log->num_faults && log->faults[log->next_fault].step == t; log->next_fault++) {
        memcpy(r->fault_texts[faults], log->fault_texts[log->next_fault], DROVER_FAULT_TEXT);
        r->faults[faults++] = log->faults[log->next_fault];
      }
    }
  }
  r->view.num_episodes = episodes;
  r->view.episodes = r->episodes;
  r->view.final_observations = r->final_observations;
  r->view.num_faults = faults;
  r->view.faults = r->faults;
  r->view.fault_texts = (const char(*)[DROVER_FAULT_TEXT])r->fault_texts;
  return DROVER_OK;
}
