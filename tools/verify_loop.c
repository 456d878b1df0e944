/* verify_loop.c: the plain loop. It knows what the public headers promise and nothing of how the runtime keeps it. */
#include "tools/verify_loop.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "perf/plain.h"
#include "perf/rollout_buffers.h"
#include "runtime/error.h"
#include "tools/interrupt.h"
#include "tools/verify_ask.h"

/* ---- The loop's state ------------------------------------------------------------------------------------------- */

typedef struct loop {
  const dr_loop_request *q;
  dr_plain plain; /* the envs, and what is counted of each */
  drover_rollout_view *v;
  dr_ask asking;       /* the policy; its lifetime steps advance with ours */
  dr_ask inner_asking; /* the inner policy, about one env at a time */
  int64_t max_episodes, max_faults;
  drover_episode *episodes;
  float *finals, *final_values;
  drover_fault *faults;

  uint8_t *waiting;   /* [N] 1: the next step begins an episode instead (its reset failed, or next-step mode) */
  float *next;        /* [N x observation_size] what the next action answers */
  float *previous;    /* [observation_size] */
  void *given;        /* [action_size] the action as the env gets it */
  float *asked;       /* [N x observation_size] final observations in question */
  float *answers;     /* [N] */
  void *no_actions;   /* [N x action_size] that are not asked for */
  float *no_logprobs; /* [N] */
  float *inner_observation, *inner_action;
  float *inner_zeros; /* [inner_action_size]; bounds that the inner policy does not have */
} loop;

static drover_status allocate(loop *l) {
  const drover_env_spec *spec = &l->plain.spec;
  const size_t n = (size_t)l->plain.num_envs, width = (size_t)spec->observation_size;
  const size_t action_bytes = (size_t)spec->action_size * 4;
  drover_policy_spec policy;
  drover_status status = drover_policy_get_spec(l->q->policy, &policy);
  if (status != DROVER_OK) return status;
  status = dr_rollout_buffers_make(l->v, spec, l->plain.num_envs, l->q->num_steps, policy.has_values != 0);
  if (status != DROVER_OK) return status;
  l->inner_observation = dr_zeroed((size_t)spec->inner_observation_size, sizeof(float));
  l->inner_action = dr_zeroed((size_t)spec->inner_action_size, sizeof(float));
  l->inner_zeros = dr_zeroed((size_t)spec->inner_action_size, sizeof(float));
  l->waiting = dr_zeroed(n, 1);
  l->next = dr_zeroed(n, width * sizeof(float));
  l->previous = dr_zeroed(width, sizeof(float));
  l->given = dr_zeroed(1, action_bytes);
  l->asked = dr_zeroed(n, width * sizeof(float));
  l->answers = dr_zeroed(n, sizeof(float));
  l->no_actions = dr_zeroed(n, action_bytes);
  l->no_logprobs = dr_zeroed(n, sizeof(float));
  const bool good = l->inner_observation && l->inner_action && l->inner_zeros && l->waiting && l->next && l->previous &&
                    l->given && l->asked && l->answers && l->no_actions && l->no_logprobs;
  return good ? DROVER_OK : DROVER_ERROR_NO_MEMORY;
}

static void release(loop *l) {
  dr_ask_close(&l->asking);
  dr_ask_close(&l->inner_asking);
  dr_plain_close(&l->plain);
  void *const owned[] = {
      l->waiting,    l->next,        l->previous,          l->given,        l->asked,      l->answers,
      l->no_actions, l->no_logprobs, l->inner_observation, l->inner_action, l->inner_zeros};
  for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) free(owned[i]);
  if (!l->v->values) free(l->final_values);
}

/* ---- Lists ------------------------------------------------------------------------------------------------------ */

static bool grow(void **items, size_t size, int64_t wanted) {
  void *moved = realloc(*items, (size_t)wanted * size);
  if (moved) *items = moved;
  return moved != NULL;
}

static bool note_fault(loop *l, int32_t t, int32_t e, int32_t reason) {
  drover_rollout_view *v = l->v;
  if (v->num_faults == l->max_faults) {
    l->max_faults = 2 * l->max_faults + 16;
    if (!grow((void **)&l->faults, sizeof *l->faults, l->max_faults)) return false;
    v->faults = l->faults;
  }
  l->faults[v->num_faults++] = (drover_fault){.step = t, .env = e, .reason = reason};
  return true;
}

static bool note_episode(loop *l, drover_episode episode, const float *final_observation) {
  drover_rollout_view *v = l->v;
  const size_t width = (size_t)v->observation_size;
  if (v->num_episodes == l->max_episodes) {
    l->max_episodes = 2 * l->max_episodes + 16;
    if (!grow((void **)&l->episodes, sizeof *l->episodes, l->max_episodes) ||
        !grow((void **)&l->finals, width * sizeof(float), l->max_episodes) ||
        !grow((void **)&l->final_values, sizeof(float), l->max_episodes))
      return false;
    v->episodes = l->episodes;
    v->final_observations = l->finals;
    v->final_values = v->values ? l->final_values : NULL;
  }
  memcpy(l->finals + (size_t)v->num_episodes * width, final_observation, width * sizeof(float));
  l->final_values[v->num_episodes] = 0;
  l->episodes[v->num_episodes++] = episode;
  return true;
}

/* ---- One env ---------------------------------------------------------------------------------------------------- */

static bool all_finite(const float *x, int32_t count) {
  for (int32_t i = 0; i < count; i++)
    if (!isfinite(x[i])) return false;
  return true;
}

/* Begin an episode of env e. False if its reset failed: it observes zeros, and the next step tries again. */
static bool begin_episode(loop *l, int32_t e, float *observation) {
  const int32_t width = l->plain.spec.observation_size;
  const bool good = dr_plain_reset(&l->plain, e, observation) == 0 && all_finite(observation, width);
  if (!good) memset(observation, 0, (size_t)width * sizeof(float));
  l->waiting[e] = !good;
  return good;
}

/* Continuous actions go to the env clipped to its bounds. */
static const void *clipped(const loop *l, const unsigned char *raw) {
  const int32_t size = l->plain.spec.action_size;
  memcpy(l->given, raw, (size_t)size * 4);
  float *action = l->given;
  for (int32_t i = 0; l->plain.spec.action_kind == DROVER_ACTION_CONTINUOUS && i < size; i++)
    action[i] = fminf(fmaxf(action[i], l->plain.spec.action_low[i]), l->plain.spec.action_high[i]);
  return l->given;
}

/* `begin` (tick -1) or a tick of env e, the inner policy's answer before it. False if it is a fault. */
static bool tick_env(loop *l, int32_t e, const void *action, int32_t tick, float *sample) {
  const drover_env_spec *spec = &l->plain.spec;
  if (tick >= 0 && (dr_ask_look(&l->inner_asking) != DROVER_OK ||
                    dr_ask_act(&l->inner_asking, 1, l->inner_action, l->no_logprobs, NULL) != DROVER_OK ||
                    !all_finite(l->inner_action, spec->inner_action_size)))
    return false;
  return dr_plain_tick(&l->plain, e, tick, action, l->inner_action, l->inner_observation, sample) == 0 &&
         (tick + 1 == spec->num_ticks || all_finite(l->inner_observation, spec->inner_observation_size)) &&
         (!sample || all_finite(sample, spec->inner_sample_size));
}

/* All ticks of a step of env e. False if one of them is a fault. */
static bool tick_all(loop *l, int32_t e, const void *action, float *sample) {
  const int32_t kept = dr_plain_sample_tick(&l->plain, e);
  for (int32_t tick = -1; tick < l->plain.spec.num_ticks; tick++)
    if (!tick_env(l, e, action, tick, tick + 1 == kept ? sample : NULL)) return false;
  return true;
}

/* Why the row that env e has just written is no transition, or 0. */
static int32_t fault_of(const loop *l, int status, uint8_t failed, const float *observation, float reward) {
  if (status != 0 || failed) return DROVER_FAULT_STEP;
  if (!all_finite(observation, l->plain.spec.observation_size)) return DROVER_FAULT_OBSERVATION;
  return isfinite(reward) ? 0 : DROVER_FAULT_REWARD;
}

/* The step itself: fills the row, returns the reason of a fault or 0. */
static int32_t step_env(loop *l, int32_t t, int32_t e, float *observation) {
  const drover_rollout_view *v = l->v;
  const size_t row = (size_t)t * (size_t)v->num_envs + (size_t)e, infos = (size_t)v->num_infos;
  uint8_t failed = 0;
  const drover_env_rows rows = {
      .count = 1,
      .first_env = e,
      .seed = l->plain.seed,
      .purpose = DROVER_RANDOM_STEP,
      .counters = &l->plain.lifetime[e],
      .actions = clipped(l, (const unsigned char *)v->actions + row * (size_t)v->action_size * 4),
      .observations = observation,
      .rewards = &v->rewards[row],
      .terminated = &v->terminated[row],
      .truncated = &v->truncated[row],
      .infos = v->infos ? v->infos + row * infos : NULL,
      .failed = &failed};
  const size_t sample_size = (size_t)v->inner_sample_size;
  float *sample = sample_size ? v->inner_samples + row * sample_size : NULL;
  int32_t reason = DROVER_FAULT_INNER;
  if (l->plain.spec.num_ticks == 0 || tick_all(l, e, rows.actions, sample)) {
    const int status = l->plain.type->step(l->plain.shared, dr_plain_state(&l->plain, e), &rows);
    reason = fault_of(l, status, failed, observation, v->rewards[row]);
  }
  v->valid[row] = 1;
  if (reason) { /* the episode ends here, with the last observation that was one */
    v->valid[row] = 0;
    v->rewards[row] = 0;
    v->terminated[row] = 0;
    v->truncated[row] = 1;
    if (v->infos) memset(v->infos + row * infos, 0, infos * sizeof(float));
    if (sample) memset(sample, 0, sample_size * sizeof(float));
    memcpy(observation, l->previous, (size_t)l->plain.spec.observation_size * sizeof(float));
  }
  return reason;
}

/* Step t of env e, with what follows from it. */
static bool advance(loop *l, int32_t t, int32_t e) {
  const drover_rollout_view *v = l->v;
  const size_t width = (size_t)v->observation_size, row = (size_t)t * (size_t)v->num_envs + (size_t)e;
  float *observation = l->next + (size_t)e * width;
  if (l->waiting[e]) { /* a reset instead of a step: valid = 0, reward 0, no flags */
    l->plain.lifetime[e]++;
    return begin_episode(l, e, observation) || note_fault(l, t, e, DROVER_FAULT_RESET);
  }
  memcpy(l->previous, observation, width * sizeof(float));
  const int32_t reason = step_env(l, t, e, observation);
  l->plain.lifetime[e]++;
  l->plain.episode_return[e] += (double)v->rewards[row];
  l->plain.length[e] += v->valid[row];
  const int32_t limit = l->plain.spec.max_episode_steps;
  if (v->valid[row] && limit > 0 && l->plain.length[e] >= limit) v->truncated[row] = 1;
  if (reason && !note_fault(l, t, e, reason)) return false;
  if (!v->terminated[row] && !v->truncated[row]) return true;
  const drover_episode episode = {.step = t,
                                  .env = e,
                                  .episode_return = l->plain.episode_return[e],
                                  .length = l->plain.length[e],
                                  .terminated = v->terminated[row],
                                  .truncated = v->truncated[row],
                                  .faulted = reason != 0};
  if (!note_episode(l, episode, observation)) return false;
  if (l->q->autoreset == DROVER_AUTORESET_NEXT_STEP) {
    l->waiting[e] = 1;
    return true;
  }
  return begin_episode(l, e, observation) || note_fault(l, t, e, DROVER_FAULT_RESET);
}

/* ---- The policy ------------------------------------------------------------------------------------------------- */

/* Get ready to ask the policy about all envs, and the inner one about one env's tick. */
static drover_status open_asking(loop *l) {
  const dr_loop_request *q = l->q;
  const drover_env_spec *spec = &l->plain.spec;
  const drover_status status =
      dr_ask_open(&l->asking, q->runtime, q->policy, spec, l->plain.num_envs, l->plain.seed, l->next);
  if (status != DROVER_OK || spec->num_ticks == 0) return status;
  const drover_env_spec inner = {.observation_size = spec->inner_observation_size,
                                 .action_kind = DROVER_ACTION_CONTINUOUS,
                                 .action_size = spec->inner_action_size,
                                 .action_low = l->inner_zeros,
                                 .action_high = l->inner_zeros};
  return dr_ask_open(&l->inner_asking, q->runtime, q->inner_policy, &inner, 1, l->plain.seed, l->inner_observation);
}

/* Values of count (<= N) observations. */
static drover_status value(loop *l, const float *observations, int32_t count, float *out) {
  const size_t width = (size_t)l->plain.spec.observation_size;
  memcpy(l->asked, observations, (size_t)count * width * sizeof(float));
  l->asking.observations = l->asked;
  drover_status status = dr_ask_look(&l->asking);
  if (status == DROVER_OK) status = dr_ask_act(&l->asking, 1, l->no_actions, l->no_logprobs, l->answers);
  memcpy(out, l->answers, (size_t)count * sizeof(float));
  return status;
}

/* Act on what the envs observe now: row t of actions, log-probabilities and values. */
static drover_status act(loop *l, int32_t t) {
  const drover_rollout_view *v = l->v;
  const size_t row = (size_t)t * (size_t)v->num_envs;
  return dr_ask_act(&l->asking, 0, (unsigned char *)v->actions + row * (size_t)v->action_size * 4, v->logprobs + row,
                    v->values ? v->values + row : NULL);
}

/* ---- Advantages ------------------------------------------------------------------------------------------------- */

/* Schulman et al., "High-dimensional continuous control using generalized advantage estimation", 2016, eqs. 11-16:
 * delta = r + gamma B - V, B = 0 | V(final observation) | V(next), A = delta + gamma lambda (1 - done) A'. */
static void estimate(const loop *l) {
  const drover_rollout_view *v = l->v;
  const size_t n = (size_t)v->num_envs;
  const float gamma = l->q->gamma, decay = l->q->gamma * l->q->gae_lambda;
  for (size_t e = 0; e < n; e++) {
    float later = 0;
    int64_t episode = v->num_episodes;
    for (int32_t t = v->num_steps - 1; t >= 0; t--) {
      const size_t row = (size_t)t * n + e;
      float follows = v->values[row + n];
      const bool done = v->terminated[row] || v->truncated[row];
      if (done) { /* its place in the list, which is in order of (step, env) */
        do episode--;
        while (v->episodes[episode].step != t || v->episodes[episode].env != (int32_t)e);
        follows = v->terminated[row] ? 0 : v->final_values[episode];
      }
      const float delta = v->rewards[row] + gamma * follows - v->values[row];
      later = v->valid[row] ? delta + decay * (done ? 0 : later) : 0;
      v->advantages[row] = later;
      v->returns[row] = later + v->values[row];
    }
  }
}

static drover_status finish(loop *l) {
  const drover_rollout_view *v = l->v;
  if (!v->values) return DROVER_OK;
  const int32_t n = v->num_envs;
  const size_t width = (size_t)v->observation_size;
  drover_status status = value(l, l->next, n, v->values + (size_t)v->num_steps * (size_t)n);
  for (int64_t i = 0; i < v->num_episodes && status == DROVER_OK; i += n) {
    const int32_t count = v->num_episodes - i < n ? (int32_t)(v->num_episodes - i) : n;
    status = value(l, l->finals + (size_t)i * width, count, l->final_values + i);
  }
  for (int64_t i = 0; i < v->num_episodes; i++)
    if (l->episodes[i].terminated) l->final_values[i] = 0;
  if (status == DROVER_OK) estimate(l);
  return status;
}

/* ---- The whole -------------------------------------------------------------------------------------------------- */

static drover_status run(loop *l) {
  const drover_rollout_view *v = l->v;
  const size_t row_bytes = (size_t)v->num_envs * (size_t)v->observation_size * sizeof(float);
  for (int32_t e = 0; e < v->num_envs; e++) begin_episode(l, e, l->next + (size_t)e * (size_t)v->observation_size);
  drover_status status = open_asking(l);
  for (int32_t t = 0; t < v->num_steps && status == DROVER_OK; t++) {
    memcpy(v->observations + (size_t)t * row_bytes / sizeof(float), l->next, row_bytes);
    status = act(l, t);
    for (int32_t e = 0; e < v->num_envs && status == DROVER_OK; e++)
      if (!advance(l, t, e)) status = DROVER_ERROR_NO_MEMORY;
    if (status == DROVER_OK) status = dr_interrupt_pending() ? DROVER_ERROR_CANCELLED : dr_ask_look(&l->asking);
  }
  memcpy(v->observations + (size_t)v->num_steps * row_bytes / sizeof(float), l->next, row_bytes);
  return status == DROVER_OK ? finish(l) : status;
}

drover_status dr_loop_run(const dr_loop_request *request, drover_rollout_view *out) {
  loop l = {.q = request, .v = out};
  char message[256];
  *out = (drover_rollout_view){.size = sizeof *out};
  drover_status status = dr_plain_open(&l.plain, &request->envs, message, sizeof message);
  if (status != DROVER_OK) dr_fail(status, "%s", message);
  if (status == DROVER_OK) status = allocate(&l);
  if (status == DROVER_OK) status = run(&l);
  release(&l);
  if (status != DROVER_OK) dr_loop_free(out);
  return status;
}

void dr_loop_free(drover_rollout_view *v) {
  dr_rollout_buffers_free(v);
  void *const lists[] = {(void *)(uintptr_t)v->episodes, (void *)(uintptr_t)v->final_observations,
                         (void *)(uintptr_t)v->final_values, (void *)(uintptr_t)v->faults};
  for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) free(lists[i]);
  *v = (drover_rollout_view){.size = sizeof *v};
}
