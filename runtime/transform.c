/* transform.c: how a continuous action gets from the policy's raw sample to the env. */
#include <math.h>

#include "runtime/rollout.h"

static void clip_actions(const drover_env_spec *spec, const float *raw, float *actions, int32_t count) {
  const size_t size = (size_t)spec->action_size;
  for (size_t i = 0; i < (size_t)count * size; i++) {
    const float low = spec->action_low[i % size], high = spec->action_high[i % size];
    const float above = raw[i] < low ? low : raw[i];
    actions[i] = above > high ? high : above;
  }
}

/* log|da/du| = log((high - low)/2) + log(1 - tanh^2 u), the latter as 2 (log 2 - u - softplus(-2u)), which does not
 * cancel (Haarnoja et al., "Soft actor-critic", 2018, appendix C). */
double dr_squash_log_det(const drover_env_spec *spec, const float *raw) {
  double log_det = 0;
  for (int32_t a = 0; a < spec->action_size; a++) {
    const double u = (double)raw[a];
    const double half = ((double)spec->action_high[a] - (double)spec->action_low[a]) / 2;
    const double softplus = u > 0 ? log1p(exp(-2 * u)) : -2 * u + log1p(exp(2 * u));
    log_det += log(half) + 2 * (0.69314718055994530942 - u - softplus);
  }
  return log_det;
}

/* a = low + (high - low)(tanh u + 1)/2. */
static void squash_actions(const drover_env_spec *spec, const float *raw, float *actions, float *logprobs,
                           int32_t count) {
  const int32_t size = spec->action_size;
  for (int32_t i = 0; i < count; i++) {
    for (int32_t a = 0; a < size; a++) {
      const double half = ((double)spec->action_high[a] - (double)spec->action_low[a]) / 2;
      actions[i * size + a] = (float)((double)spec->action_low[a] + half * (tanh((double)raw[i * size + a]) + 1));
    }
    logprobs[i] = (float)((double)logprobs[i] - dr_squash_log_det(spec, raw + i * size));
  }
}

void dr_transform_actions(drover_action_transform transform, const drover_env_spec *spec, const float *raw,
                          float *actions, float *logprobs, int32_t count) {
  if (transform == DROVER_ACTION_CLIP)
    clip_actions(spec, raw, actions, count);
  else
    squash_actions(spec, raw, actions, logprobs, count);
}
