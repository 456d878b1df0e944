/* train_loop.c: the loop of `drover train`: rollout, update, inner update, figures, checkpoint. */
#define XXH_INLINE_ALL
#include <math.h>
#include <string.h>
#include <time.h>
#include <xxhash.h>

#include "tools/interrupt.h"
#include "tools/train.h"

double dr_train_clock(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static double window_mean(const dr_train *train, const double *values) {
  const int64_t ended = train->counters.num_episodes;
  const int64_t count = ended < DR_TRAIN_WINDOW ? ended : DR_TRAIN_WINDOW;
  double sum = 0;
  for (int64_t i = 0; i < count; i++) sum += values[i];
  return count > 0 ? sum / (double)count : (double)NAN;
}

double dr_train_mean_return(const dr_train *train) { return window_mean(train, train->window.returns); }
double dr_train_mean_length(const dr_train *train) { return window_mean(train, train->window.lengths); }

drover_status dr_train_snapshot(dr_train *train) {
  if (!train->batch_bytes) return DROVER_OK;
  size_t bytes = train->num_batch_bytes;
  return drover_batch_save(train->batch, train->batch_bytes, &bytes);
}

drover_status dr_train_digest(dr_train *train, uint64_t *out) {
  drover_status status = drover_policy_get_weights(train->policy, train->weights, train->num_weights);
  if (!status && train->inner_policy)
    status =
        drover_policy_get_weights(train->inner_policy, train->weights + train->num_weights, train->num_inner_weights);
  *out = XXH3_64bits(train->weights, (train->num_weights + train->num_inner_weights) * sizeof(float));
  return status;
}

/* Episodes into the window, means of the info columns. */
static void count_rollout(dr_train *train, const drover_rollout_view *view) {
  dr_train_counters *counters = &train->counters;
  for (int64_t i = 0; i < view->num_episodes; i++) {
    const drover_episode *episode = &view->episodes[i];
    if (episode->faulted) continue;
    const int64_t at = counters->num_episodes++ % DR_TRAIN_WINDOW;
    train->window.returns[at] = episode->episode_return;
    train->window.lengths[at] = episode->length;
  }
  counters->num_faults += view->num_faults;
  if (view->num_infos == 0) return;
  const int64_t rows = (int64_t)view->num_steps_done * view->num_envs;
  int64_t valid = 0;
  for (int32_t j = 0; j < view->num_infos; j++) train->info_means[j] = 0;
  for (int64_t row = 0; row < rows; row++) {
    if (!view->valid[row]) continue;
    valid++;
    for (int32_t j = 0; j < view->num_infos; j++)
      train->info_means[j] += (double)view->infos[row * view->num_infos + j];
  }
  for (int32_t j = 0; j < view->num_infos; j++) train->info_means[j] /= (double)(valid > 0 ? valid : 1);
}

/* An update that a signal cancelled left all as it was: it is finished, so that policy and envs stay together. */
static drover_status learn(dr_train *train) {
  dr_train_row *row = &train->row;
  row->ppo = (drover_ppo_stats){.size = sizeof row->ppo};
  drover_status status;
  do status = drover_ppo_update(train->ppo, train->rollout, &row->ppo);
  while (status == DROVER_ERROR_CANCELLED);
  if (status || !train->inner || train->request->inner_steps == 0) return status;
  status = drover_inner_add_rollout(train->inner, train->rollout);
  row->inner = (drover_inner_stats){.size = sizeof row->inner};
  while (!status) {
    status = drover_inner_update(train->inner, train->request->inner_steps, &row->inner);
    if (status == DROVER_ERROR_CANCELLED)
      status = DROVER_OK;
    else
      break;
  }
  return status;
}

/* One rollout and what is learned from it. */
static drover_status advance(dr_train *train) {
  dr_train_counters *counters = &train->counters;
  train->progress_seconds = counters->seconds;
  const double begin = dr_train_clock();
  drover_status status = drover_rollout_collect(train->rollout);
  if (status) return status;
  const double collected = dr_train_clock();
  status = learn(train);
  if (status) return status;
  const double learned = dr_train_clock();

  drover_rollout_view view = {.size = sizeof view};
  status = drover_rollout_get_view(train->rollout, &view);
  if (!status) count_rollout(train, &view);
  if (!status) status = dr_train_digest(train, &train->row.weights_digest);
  if (!status) status = dr_train_snapshot(train);
  if (status) return status;
  const double end = dr_train_clock();
  counters->num_updates++;
  counters->num_steps += train->rows_per_update;
  counters->rollout_seconds += collected - begin;
  counters->learner_seconds += learned - collected;
  counters->seconds += end - begin;
  train->row.rollout_share = (collected - begin) / (end - begin);
  train->row.learner_share = (learned - collected) / (end - begin);
  train->row.steps_per_second = (double)train->rows_per_update / (end - begin);
  return DROVER_OK;
}

static bool checkpoint_is_due(const dr_train *train) {
  const dr_train_request *request = train->request;
  if (!request->checkpoint || !train->checkpoint_path) return false;
  const int64_t every = request->checkpoint_every > 0 ? request->checkpoint_every : (request->total_steps + 9) / 10;
  return train->counters.num_steps - train->checkpoint_steps >= every;
}

static bool target_is_reached(const dr_train *train) {
  return train->counters.num_episodes >= DR_TRAIN_WINDOW &&
         dr_train_mean_return(train) >= train->request->target_return;
}

dr_train_end dr_train_run(dr_train *train, drover_status *status) {
  *status = DROVER_OK;
  train->checkpoint_steps = train->counters.num_steps;
  while (train->counters.num_updates < train->max_updates) {
    if (dr_interrupt_pending()) return DR_TRAIN_INTERRUPTED;
    *status = advance(train);
    if (*status == DROVER_ERROR_CANCELLED) return DR_TRAIN_INTERRUPTED;
    if (*status) return DR_TRAIN_FAILED;
    dr_train_log_row(train);
    dr_train_show(train, train->counters.num_steps, train->counters.seconds);
    if (target_is_reached(train)) return DR_TRAIN_TARGET;
    if (checkpoint_is_due(train) && train->counters.num_updates < train->max_updates) dr_train_checkpoint_save(train);
  }
  return DR_TRAIN_ALL_STEPS;
}
