/* ppo_returns.c: rewards on the scale of their discounted returns, and the learner's own advantages from them. */
#include "policy/learn/ppo.h"
#include "runtime/advantage.h"

/* G = gamma G + r, from 0 at the beginning of an episode: its deviation, not the reward's, is what the value network
 * has to follow (Engstrom et al. 2020, "Implementation matters in deep policy gradients", section 3). */
void dr_ppo_take_returns(dr_ppo_state *state, const drover_rollout_view *view, double gamma) {
  const size_t num_envs = (size_t)view->num_envs;
  for (int32_t t = 0; t < view->num_steps_done; t++)
    for (size_t e = 0; e < num_envs; e++) {
      const size_t row = (size_t)t * num_envs + e;
      double *running = &state->running_returns[e];
      if (view->valid[row]) {
        *running = gamma * *running + (double)view->rewards[row];
        dr_moments_add_one(&state->returns, *running);
      }
      if (!view->valid[row] || view->terminated[row] || view->truncated[row]) *running = 0;
    }
}

static dr_estimate estimate_of(drover_ppo *ppo, const drover_rollout_view *view, const float *rewards) {
  const float gamma = (float)ppo->options.gamma;
  return (dr_estimate){.num_envs = view->num_envs,
                       .num_steps = view->num_steps_done,
                       .gamma = gamma,
                       .decay = gamma * (float)ppo->options.gae_lambda,
                       .rewards = rewards,
                       .values = view->values,
                       .terminated = view->terminated,
                       .truncated = view->truncated,
                       .valid = view->valid,
                       .advantages = ppo->advantages,
                       .returns = ppo->returns};
}

void dr_ppo_place_finals(drover_ppo *ppo, const drover_rollout_view *view) {
  const dr_estimate estimate = estimate_of(ppo, view, view->rewards);
  dr_estimate_place_finals(&estimate, view->num_episodes, view->episodes, view->final_values);
}

void dr_ppo_estimate(drover_ppo *ppo, const drover_rollout_view *view, double scale, int32_t first, int32_t count) {
  const float *rewards = view->rewards;
  if (scale != 1.0) {
    for (int32_t t = 0; t < view->num_steps_done; t++) {
      const size_t row = (size_t)t * (size_t)view->num_envs + (size_t)first;
      for (size_t i = row; i < row + (size_t)count; i++) ppo->rewards[i] = (float)((double)view->rewards[i] / scale);
    }
    rewards = ppo->rewards;
  }
  const dr_estimate estimate = estimate_of(ppo, view, rewards);
  for (int32_t at = first; at < first + count; at += DR_BLOCK_ROWS) {
    const int32_t left = first + count - at;
    dr_estimate_columns(&estimate, at, left < DR_BLOCK_ROWS ? left : DR_BLOCK_ROWS);
  }
}
