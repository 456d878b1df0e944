/* model.c: one env step by step, and a whole rollout of such envs. */
#include "tests/support/model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- One env ------------------------------------------------------------------------------------------------- */

static bool finite_all(const float *x, int32_t n) {
  for (int32_t i = 0; i < n; i++)
    if (!isfinite(x[i])) return false;
  return true;
}

static void fault(model *m, int32_t reason) { m->faults[m->num_faults++] = reason; }

void model_begin_episode(model *m) {
  uint8_t failed = 0;
  const uint64_t counter = m->episode_number++;
  const drover_env_rows rows = {.count = 1,
                                .first_env = m->env,
                                .seed = m->seed,
                                .purpose = DROVER_RANDOM_RESET,
                                .counters = &counter,
                                .observations = m->observation,
                                .failed = &failed};
  m->running_return = 0;
  m->running_length = 0;
  m->finished = false;
  m->broken =
      m->config.type.reset(m->shared, m->state, &rows) != 0 || !finite_all(m->observation, m->spec.observation_size);
  if (!m->broken) return;
  memset(m->observation, 0, sizeof m->observation);
  fault(m, DROVER_FAULT_RESET);
}

void model_reset(model *m, uint64_t seed) {
  m->seed = seed;
  m->lifetime_steps = m->episode_number = 0;
  m->num_faults = 0;
  model_begin_episode(m);
}

void model_open(model *m, const toy_config *config, drover_autoreset autoreset, int32_t max_episode_steps,
                uint64_t seed, int32_t env) {
  memset(m, 0, sizeof *m);
  memcpy(&m->config, config, sizeof *config);
  m->config.sleep_us = m->config.work = 0;
  m->config.probe = NULL;
  toy_open_directly(&m->config, &m->spec, &m->shared);
  m->autoreset = autoreset;
  m->limit = max_episode_steps < 0 ? m->spec.max_episode_steps : max_episode_steps;
  m->env = env;
  if (m->spec.state_size > sizeof m->state) abort();
  if (m->spec.num_ticks > 0) toy_inner_policy_init(&m->inner, &m->config);
  if (m->config.type.create && m->config.type.create(m->shared, m->state, env) != 0) abort();
  model_reset(m, seed);
}

void model_close(model *m) {
  if (m->config.type.destroy) m->config.type.destroy(m->shared, m->state);
  if (m->config.type.close) m->config.type.close(m->shared);
}

/* One call of begin (tick -1) or tick, judged. */
static bool tick_env(model *m, const void *action, int32_t tick, int32_t sample_tick, float *observation) {
  float inner_action[8];
  if (tick >= 0) {
    toy_inner_policy_act_one(&m->inner, m->env, m->lifetime_steps, observation, inner_action);
    if (!finite_all(inner_action, m->spec.inner_action_size)) return false;
  }
  const bool last = tick == m->spec.num_ticks - 1, kept = m->spec.inner_sample_size > 0 && tick + 1 == sample_tick;
  const drover_env_tick call = {.env = m->env,
                                .tick = tick,
                                .seed = m->seed,
                                .counter = m->lifetime_steps,
                                .action = action,
                                .inner_action = tick >= 0 ? inner_action : NULL,
                                .inner_observation = last ? NULL : observation,
                                .sample = kept ? m->inner_sample : NULL};
  const drover_env_type *type = &m->config.type;
  if ((tick < 0 ? type->begin : type->tick)(m->shared, m->state, &call) != 0) return false;
  return (last || finite_all(observation, m->spec.inner_observation_size)) &&
         (!kept || finite_all(m->inner_sample, m->spec.inner_sample_size));
}

/* begin and all ticks of a step. False if one of them went wrong. */
static bool tick_all(model *m, const void *action) {
  float observation[8];
  drover_random r = drover_random_at(m->seed, (uint32_t)m->env, DROVER_RANDOM_SAMPLE, m->lifetime_steps);
  const int32_t sample_tick = (int32_t)(drover_random_u32(&r) % (uint32_t)m->spec.num_ticks);
  bool good = true;
  for (int32_t tick = -1; good && tick < m->spec.num_ticks; tick++)
    good = tick_env(m, action, tick, sample_tick, observation);
  return good;
}

/* The env's own step, judged. True if it counts as a transition. */
static bool step_env(model *m, const void *action) {
  float observation[16];
  uint8_t failed = 0, terminated = 0, truncated = 0;
  float infos[4] = {0}, reward = 0;
  const drover_env_rows rows = {.count = 1,
                                .first_env = m->env,
                                .seed = m->seed,
                                .purpose = DROVER_RANDOM_STEP,
                                .counters = &m->lifetime_steps,
                                .actions = action,
                                .observations = observation,
                                .rewards = &reward,
                                .terminated = &terminated,
                                .truncated = &truncated,
                                .infos = m->spec.num_infos ? infos : NULL,
                                .failed = &failed};
  int32_t reason = 0;
  if (m->spec.num_ticks > 0 && !tick_all(m, action))
    reason = DROVER_FAULT_INNER;
  else if (m->config.type.step(m->shared, m->state, &rows) != 0 || failed)
    reason = DROVER_FAULT_STEP;
  else if (!finite_all(observation, m->spec.observation_size))
    reason = DROVER_FAULT_OBSERVATION;
  else if (!isfinite(reward))
    reason = DROVER_FAULT_REWARD;
  if (reason) {
    fault(m, reason);
    memset(m->inner_sample, 0, sizeof m->inner_sample);
    m->truncated = 1; /* the observation stays the last finite one */
    return false;
  }
  memcpy(m->observation, observation, (size_t)m->spec.observation_size * sizeof(float));
  memcpy(m->infos, infos, sizeof infos);
  m->reward = reward;
  m->terminated = terminated;
  m->truncated = truncated;
  return true;
}

void model_step(model *m, const void *action) {
  m->num_faults = 0;
  m->reward = 0;
  m->terminated = m->truncated = m->valid = 0;
  memset(m->infos, 0, sizeof m->infos);
  memset(m->inner_sample, 0, sizeof m->inner_sample);
  if (m->broken || m->finished) {
    model_begin_episode(m);
    m->lifetime_steps++;
    return;
  }
  m->valid = step_env(m, action);
  m->lifetime_steps++;
  if (m->valid) {
    m->running_return += (double)m->reward;
    m->running_length++;
    if (m->limit > 0 && m->running_length >= m->limit) m->truncated = 1;
  }
  if (!m->terminated && !m->truncated) return;
  memcpy(m->final_observation, m->observation, sizeof m->final_observation);
  m->episode_return = m->running_return;
  m->episode_length = m->running_length;
  if (m->autoreset == DROVER_AUTORESET_SAME_STEP)
    model_begin_episode(m);
  else
    m->finished = true;
}

/* ---- A rollout ----------------------------------------------------------------------------------------------- */

static void *zeros(size_t count, size_t size) {
  void *memory = calloc(count ? count : 1, size);
  if (!memory) abort();
  return memory;
}

/* What the env is given for a raw action; the log-determinant of tanh is subtracted from *logprob. */
static void transform(const drover_env_spec *spec, drover_action_transform how, const unsigned char *raw,
                      unsigned char *given, float *logprob) {
  memcpy(given, raw, (size_t)spec->action_size * 4);
  if (spec->action_kind == DROVER_ACTION_DISCRETE || how == DROVER_ACTION_NONE) return;
  float *a = (float *)(void *)given;
  double sum = 0;
  for (int32_t k = 0; k < spec->action_size; k++) {
    const float low = spec->action_low[k], high = spec->action_high[k];
    if (how == DROVER_ACTION_CLIP) {
      a[k] = fminf(fmaxf(a[k], low), high);
      continue;
    }
    const double u = (double)a[k], half = ((double)high - (double)low) / 2;
    a[k] = (float)((double)low + half * (tanh(u) + 1));
    sum += log(half) - 2 * log(cosh(u));
  }
  *logprob = (float)((double)*logprob - sum);
}

static void record(model_rollout *r, const model *m, int32_t t) {
  const size_t n = (size_t)r->num_envs, e = (size_t)m->env, row = (size_t)t * n + e;
  r->rewards[row] = m->reward;
  r->terminated[row] = m->terminated;
  r->truncated[row] = m->truncated;
  r->valid[row] = m->valid;
  memcpy(r->observations + (row + n) * (size_t)r->observation_size, m->observation, (size_t)r->observation_size * 4);
  memcpy(r->infos + row * (size_t)r->num_infos, m->infos, (size_t)r->num_infos * 4);
  const size_t sample_size = (size_t)r->inner_sample_size;
  memcpy(r->inner_samples + row * sample_size, m->inner_sample, sample_size * 4);
}

static void note(model_rollout *r, const model *m, int32_t t) {
  for (int32_t i = 0; i < m->num_faults; i++)
    r->faults[r->num_faults++] = (drover_fault){.step = t, .env = m->env, .reason = m->faults[i]};
  if (!m->terminated && !m->truncated) return;
  memcpy(r->final_observations + (size_t)r->num_episodes * (size_t)r->observation_size, m->final_observation,
         (size_t)r->observation_size * 4);
  r->episodes[r->num_episodes++] = (drover_episode){.step = t,
                                                    .env = m->env,
                                                    .episode_return = m->episode_return,
                                                    .length = m->episode_length,
                                                    .terminated = m->terminated,
                                                    .truncated = m->truncated,
                                                    .faulted = !m->valid};
}

/* The sum of discounted differences, each advantage from its definition (no recursion shared between rows). */
static void estimate(model_rollout *r, const toy_policy *policy, double gamma, double lambda) {
  const int32_t n = r->num_envs, width = r->observation_size;
  double *bootstrap = zeros((size_t)r->num_steps * (size_t)n, sizeof *bootstrap);
  for (int64_t i = 0; i < r->num_episodes; i++) {
    const drover_episode *e = &r->episodes[i];
    r->final_values[i] = e->terminated ? 0 : toy_policy_value_one(policy, r->final_observations + i * width);
    bootstrap[e->step * n + e->env] = (double)r->final_values[i];
  }
  for (int32_t e = 0; e < n; e++)
    for (int32_t t = 0; t < r->num_steps; t++) {
      double sum = 0, weight = 1;
      for (int32_t k = t; k < r->num_steps; k++) {
        const int32_t row = k * n + e;
        if (!r->valid[row]) break;
        const bool done = r->terminated[row] || r->truncated[row];
        const double next = done ? bootstrap[row] : (double)r->values[row + n];
        sum += weight * ((double)r->rewards[row] + gamma * next - (double)r->values[row]);
        if (done) break;
        weight *= gamma * lambda;
      }
      r->advantages[t * n + e] = sum;
      r->returns[t * n + e] = sum + (double)r->values[t * n + e];
    }
  free(bootstrap);
}

static void allocate(model_rollout *r) {
  const size_t n = (size_t)r->num_envs, rows = n * (size_t)r->num_steps, width = (size_t)r->observation_size;
  r->observations = zeros((rows + n) * width, 4);
  r->actions = zeros(rows * (size_t)r->action_size, 4);
  r->logprobs = zeros(rows, 4);
  r->values = zeros(rows + n, 4);
  r->rewards = zeros(rows, 4);
  r->infos = zeros(rows * (size_t)r->num_infos, 4);
  r->inner_samples = zeros(rows * (size_t)r->inner_sample_size, 4);
  r->terminated = zeros(rows, 1);
  r->truncated = zeros(rows, 1);
  r->valid = zeros(rows, 1);
  r->advantages = zeros(rows, sizeof(double));
  r->returns = zeros(rows, sizeof(double));
  r->episodes = zeros(rows, sizeof *r->episodes);
  r->final_observations = zeros(rows * width, 4);
  r->final_values = zeros(rows, 4);
  r->faults = zeros(2 * rows, sizeof *r->faults);
}

void model_rollout_free(model_rollout *r) {
  void *const all[] = {r->observations,       r->actions,      r->logprobs, r->values,       r->rewards, r->infos,
                       r->terminated,         r->truncated,    r->valid,    r->advantages,   r->returns, r->episodes,
                       r->final_observations, r->final_values, r->faults,   r->inner_samples};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

void model_rollout_make(model_rollout *r, const toy_config *config, const drover_batch_options *batch,
                        const toy_policy *policy, const drover_rollout_options *options, int32_t skip) {
  *r = (model_rollout){.num_envs = batch->num_envs,
                       .num_steps = options->num_steps,
                       .observation_size = config->observation_size,
                       .action_size = config->action_size,
                       .num_infos = config->num_infos,
                       .inner_sample_size = config->inner_sample_size};
  allocate(r);
  const size_t n = (size_t)r->num_envs, width = (size_t)r->observation_size, action_bytes = (size_t)r->action_size * 4;
  model *envs = zeros(n, sizeof *envs);
  for (size_t e = 0; e < n; e++)
    model_open(&envs[e], config, batch->autoreset, batch->max_episode_steps, batch->seed, (int32_t)e);
  for (int32_t t = -skip; t < r->num_steps; t++) {
    for (size_t e = 0; e < n; e++) {
      model *m = &envs[e];
      const size_t row = t < 0 ? 0 : (size_t)t * n + e; /* row 0 is overwritten by step 0 */
      unsigned char *raw = r->actions + row * action_bytes, given[64];
      if (t == 0) memcpy(r->observations + e * width, m->observation, width * 4);
      r->values[row] = toy_policy_value_one(policy, m->observation);
      r->logprobs[row] = toy_policy_act_one(policy, batch->seed, m->env, m->lifetime_steps, m->observation,
                                            options->deterministic != 0, raw);
      transform(&m->spec, options->transform, raw, given, &r->logprobs[row]);
      model_step(m, given);
      if (t < 0) continue;
      record(r, m, t);
      note(r, m, t);
    }
  }
  for (size_t e = 0; e < n; e++) {
    if (r->num_steps == 0) memcpy(r->observations + e * width, envs[e].observation, width * 4);
    r->values[(size_t)r->num_steps * n + e] = toy_policy_value_one(policy, envs[e].observation);
    model_close(&envs[e]);
  }
  free(envs);
  estimate(r, policy, (double)options->gamma, (double)options->gae_lambda);
}
