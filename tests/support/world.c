/* world.c: see world.h. */
#include "tests/support/world.h"

#include <dirent.h>
#include <time.h>

#include "tests/support/model.h"

void world_init(world *w) {
  memset(w, 0, sizeof *w);
  toy_init(&w->config);
  OK(drover_runtime_options_init(&w->runtime_options, sizeof w->runtime_options));
  OK(drover_batch_options_init(&w->batch_options, sizeof w->batch_options));
  OK(drover_rollout_options_init(&w->rollout_options, sizeof w->rollout_options));
  w->runtime_options.num_workers = 2;
  w->batch_options.num_envs = 16;
  w->batch_options.seed = 7;
  w->rollout_options.num_steps = 20;
  w->has_values = true;
}

void world_open(world *w) {
  if (w->toy.type.name == NULL) toy_policy_init(&w->toy, &w->config, w->has_values);
  OK(drover_runtime_create(&w->runtime, &w->runtime_options));
  OK(toy_batch_create(&w->batch, w->runtime, &w->config, &w->batch_options));
  OK(toy_policy_create(&w->policy, w->runtime, &w->toy));
  if (w->config.num_ticks > 0) {
    if (w->toy_inside.type.name == NULL) toy_inner_policy_init(&w->toy_inside, &w->config);
    OK(toy_policy_create(&w->inner_policy, w->runtime, &w->toy_inside));
    OK(drover_batch_set_inner_policy(w->batch, w->inner_policy));
  }
  OK(drover_rollout_create(&w->rollout, w->batch, w->policy, &w->rollout_options));
}

void world_close(world *w) {
  OK(drover_rollout_destroy(w->rollout));
  OK(drover_policy_destroy(w->policy));
  OK(drover_batch_destroy(w->batch));
  OK(drover_policy_destroy(w->inner_policy));
  OK(drover_runtime_destroy(w->runtime));
  w->rollout = NULL;
  w->policy = NULL;
  w->inner_policy = NULL;
  w->batch = NULL;
  w->runtime = NULL;
}

void world_set_way(world *w, world_way way) { w->rollout_options.barrier = way == WORLD_BARRIER; }

void world_clip(const world *w, const void *raw, void *clipped) {
  const size_t size = (size_t)w->config.action_size, n = (size_t)w->batch_options.num_envs * size;
  memcpy(clipped, raw, n * 4);
  if (w->config.action_kind == DROVER_ACTION_DISCRETE) return;
  float *a = clipped;
  for (size_t i = 0; i < n; i++) {
    if (a[i] < w->config.action_low[i % size]) a[i] = w->config.action_low[i % size];
    if (a[i] > w->config.action_high[i % size]) a[i] = w->config.action_high[i % size];
  }
}

static void fill_by_steps(world *w) {
  const size_t n = (size_t)w->batch_options.num_envs, action_bytes = (size_t)w->config.action_size * 4;
  unsigned char *raw = calloc(n, action_bytes), *clipped = calloc(n, action_bytes);
  float *logprobs = calloc(n, sizeof *logprobs), *values = w->has_values ? calloc(n, sizeof *values) : NULL;
  OK(drover_rollout_begin(w->rollout));
  for (int32_t t = 0; t < w->rollout_options.num_steps; t++) {
    OK(drover_policy_act(w->policy, w->batch, w->rollout_options.deterministic, raw, logprobs, values));
    world_clip(w, raw, clipped);
    OK(drover_batch_step(w->batch, clipped));
    OK(drover_rollout_record(w->rollout, raw, logprobs, values));
  }
  OK(drover_rollout_finish(w->rollout));
  free(raw);
  free(clipped);
  free(logprobs);
  free(values);
}

void world_fill(world *w, world_way way) {
  if (way == WORLD_STEPPED)
    fill_by_steps(w);
  else
    OK(drover_rollout_collect(w->rollout));
}

static void append(world_bytes *b, const void *data, size_t size) {
  if (size == 0) return;
  b->data = realloc(b->data, b->size + size);
  memcpy(b->data + b->size, data, size);
  b->size += size;
}

world_bytes world_read(const world *w, bool with_advantages) {
  drover_rollout_view v = {.size = sizeof v};
  OK(drover_rollout_get_view(w->rollout, &v));
  world_bytes b = {0};
  const size_t n = (size_t)v.num_envs, rows = n * (size_t)v.num_steps_done, width = (size_t)v.observation_size;
  append(&b, v.observations, (rows + n) * width * 4);
  append(&b, v.actions, rows * (size_t)v.action_size * 4);
  append(&b, v.logprobs, rows * 4);
  append(&b, v.rewards, rows * 4);
  append(&b, v.terminated, rows);
  append(&b, v.truncated, rows);
  append(&b, v.valid, rows);
  append(&b, v.infos, rows * (size_t)v.num_infos * 4);
  if (v.inner_samples) append(&b, v.inner_samples, rows * (size_t)v.inner_sample_size * 4);
  if (v.values) append(&b, v.values, (rows + n) * 4);
  if (v.values && with_advantages) append(&b, v.advantages, rows * 4);
  if (v.values && with_advantages) append(&b, v.returns, rows * 4);
  for (int64_t i = 0; i < v.num_episodes; i++) {
    const drover_episode *e = &v.episodes[i];
    const int32_t numbers[6] = {e->step, e->env, e->length, e->terminated, e->truncated, e->faulted};
    append(&b, numbers, sizeof numbers);
    append(&b, &e->episode_return, sizeof e->episode_return);
  }
  append(&b, v.final_observations, (size_t)v.num_episodes * width * 4);
  if (v.values) append(&b, v.final_values, (size_t)v.num_episodes * 4);
  for (int64_t i = 0; i < v.num_faults; i++) {
    const int32_t numbers[3] = {v.faults[i].step, v.faults[i].env, v.faults[i].reason};
    append(&b, numbers, sizeof numbers);
  }
  return b;
}

bool world_same(world_bytes a, world_bytes b) { return a.size == b.size && memcmp(a.data, b.data, a.size) == 0; }

world_bytes world_run(world *w, world_way way, uint64_t *digest, int32_t *num_joined) {
  world_set_way(w, way);
  world_open(w);
  world_fill(w, way);
  if (digest) OK(drover_rollout_digest(w->rollout, digest));
  if (num_joined) {
    drover_runtime_stats stats = {.size = sizeof stats};
    OK(drover_runtime_get_stats(w->runtime, &stats));
    *num_joined = stats.num_joined;
  }
  const world_bytes b = world_read(w, true);
  world_close(w);
  return b;
}

const char *world_differs_from_model(const world *w, int32_t skip) {
  const drover_rollout_view view = rollout_view(w->rollout);
  drover_rollout_options o = w->rollout_options;
  o.num_steps = view.num_steps_done;
  model_rollout m;
  model_rollout_make(&m, &w->config, &w->batch_options, &w->toy, &o, skip);
  const char *wrong = model_rollout_differs(&m, &view);
  model_rollout_free(&m);
  return wrong;
}

drover_batch_view batch_view(drover_batch *batch) {
  drover_batch_view view = {.size = sizeof view};
  OK(drover_batch_get_view(batch, &view));
  return view;
}

drover_rollout_view rollout_view(drover_rollout *rollout) {
  drover_rollout_view view = {.size = sizeof view};
  OK(drover_rollout_get_view(rollout, &view));
  return view;
}

uint64_t rollout_digest(drover_rollout *rollout) {
  uint64_t digest;
  OK(drover_rollout_digest(rollout, &digest));
  return digest;
}

drover_runtime_stats runtime_stats(drover_runtime *runtime) {
  drover_runtime_stats stats = {.size = sizeof stats};
  OK(drover_runtime_get_stats(runtime, &stats));
  return stats;
}

drover_worker_stats worker_stats(drover_runtime *runtime, int32_t worker) {
  drover_worker_stats stats;
  OK(drover_runtime_get_worker_stats(runtime, worker, &stats));
  return stats;
}

int32_t count_threads(void) {
  int32_t count = 0;
  DIR *tasks = opendir("/proc/self/task");
  for (const struct dirent *entry; tasks && (entry = readdir(tasks));) count += entry->d_name[0] != '.';
  if (tasks) closedir(tasks);
  return count;
}

double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}
