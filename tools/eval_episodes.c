/* eval_episodes.c: the episodes of an evaluation: how many each env plays, and what they brought. */
#include "tools/eval_episodes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void dr_episodes_free(dr_episodes *all) {
  void *const owned[] = {all->first, all->done,  all->lengths, all->sums,
                         all->ring,  all->steps, all->returns, all->infos};
  for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++) free(owned[i]);
}

int dr_episodes_init(dr_episodes *all, const drover_env_spec *spec, int32_t num_envs, int64_t num_episodes,
                     int64_t info_last) {
  const size_t n = (size_t)num_envs, count = (size_t)num_episodes, infos = (size_t)spec->num_infos;
  *all = (dr_episodes){.count = num_episodes,
                       .num_envs = num_envs,
                       .num_infos = spec->num_infos,
                       .info_last = spec->num_infos > 0 ? info_last : 0};
  all->first = calloc(n + 1, sizeof *all->first);
  all->done = calloc(n, sizeof *all->done);
  all->lengths = calloc(n, sizeof *all->lengths);
  all->sums = calloc(n * infos + 1, sizeof *all->sums);
  all->ring = calloc(n * (size_t)all->info_last * infos + 1, sizeof *all->ring);
  all->returns = calloc(count, sizeof *all->returns);
  all->steps = calloc(count, sizeof *all->steps);
  all->infos = calloc(count * infos + 1, sizeof *all->infos);
  if (!all->first || !all->done || !all->lengths || !all->sums || !all->ring || !all->returns || !all->steps ||
      !all->infos)
    return -1;
  for (size_t e = 0; e < n; e++) all->first[e + 1] = all->first[e] + (int64_t)(count / n + (e < count % n));
  return 0;
}

static bool is_playing(const dr_episodes *all, int32_t env) {
  return all->done[env] < all->first[env + 1] - all->first[env];
}

static void add_infos(dr_episodes *all, int32_t env, const float *infos) {
  const size_t width = infos ? (size_t)all->num_infos : 0;
  if (all->info_last > 0) {
    const size_t at = (size_t)(env * all->info_last + all->lengths[env] % all->info_last) * width;
    if (width > 0) memcpy(all->ring + at, infos, width * sizeof *infos);
  } else {
    for (size_t j = 0; j < width; j++) all->sums[(size_t)env * width + j] += (double)infos[j];
  }
  all->lengths[env]++;
}

/* The mean of info column j over the episode that ends, or over its last K steps. */
static double info_mean(const dr_episodes *all, int32_t env, int32_t j) {
  const int64_t length = all->lengths[env], last = all->info_last;
  if (length == 0) return 0;
  if (last == 0) return all->sums[env * all->num_infos + j] / (double)length;
  const int64_t count = length < last ? length : last;
  double sum = 0;
  for (int64_t k = length - count; k < length; k++)
    sum += (double)all->ring[(env * last + k % last) * all->num_infos + j];
  return sum / (double)count;
}

static void end_episode(dr_episodes *all, const drover_episode *episode) {
  const int32_t env = episode->env;
  if (episode->faulted) {
    all->num_faults++;
  } else {
    const int64_t at = all->first[env] + all->done[env]++;
    all->returns[at] = episode->episode_return;
    all->steps[at] = episode->length;
    for (int32_t j = 0; j < all->num_infos; j++) all->infos[j * all->count + at] = info_mean(all, env, j);
    all->num_terminated += episode->terminated;
    all->num_done++;
  }
  all->lengths[env] = 0;
  for (int32_t j = 0; j < all->num_infos; j++) all->sums[env * all->num_infos + j] = 0;
}

/* What a rollout brought, row by row; episodes are in the same order. */
void dr_episodes_take(dr_episodes *all, const drover_rollout_view *view) {
  int64_t next = 0;
  for (int32_t t = 0; t < view->num_steps_done; t++)
    for (int32_t env = 0; env < view->num_envs; env++) {
      const int64_t row = (int64_t)t * view->num_envs + env;
      const bool ends = next < view->num_episodes && view->episodes[next].step == t && view->episodes[next].env == env;
      if (is_playing(all, env)) {
        if (view->valid[row]) add_infos(all, env, view->infos ? view->infos + row * view->num_infos : NULL);
        if (ends) end_episode(all, &view->episodes[next]);
      }
      next += ends;
    }
  all->num_steps += (int64_t)view->num_steps_done * view->num_envs;
}

dr_summary dr_episodes_summarize(const dr_episodes *all, const double *values) {
  dr_summary s = {0, 0, INFINITY, -INFINITY};
  double count = 0, squares = 0;
  for (int pass = 0; pass < 2; pass++)
    for (int32_t env = 0; env < all->num_envs; env++)
      for (int64_t k = 0; k < all->done[env]; k++) {
        const double value = values[all->first[env] + k];
        if (pass == 1) {
          squares += (value - s.mean) * (value - s.mean);
          continue;
        }
        count++;
        s.mean += (value - s.mean) / count;
        s.min = fmin(s.min, value);
        s.max = fmax(s.max, value);
      }
  s.std = count > 0 ? sqrt(squares / count) : (double)NAN;
  if (count == 0) s.mean = (double)NAN;
  return s;
}
