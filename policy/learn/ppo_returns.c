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

void dr_ppo_estimate(drover_ppo *ppo, const drover_rollout_view *view, double scale) {
  const size_t count = (size_t)view->num_steps_done * (size_t)view->num_envs;
  const float *rewards = view->rewards;
  if (scale != 1.0) {
    for (size_t i = 0; i < count; i++) ppo->rewards[i] = (float)((double)view->rewards[i] / scale);
    rewards = ppo->rewards;
  }
  const float gamma = (float)ppo->options.gamma;
  const dr_estimate estimate = {.num_envs = view->num_envs,
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
  dr_estimate_place_finals(&estimate, view->num_episodes, view->episodes, view->final_values);
  for (int32_t first = 0; first < view->num_envs; first += DR_BLOCK_ROWS) {
    const int32_t left = view->num_envs - first;
    dr_estimate_columns(&estimate, first, left < DR_BLOCK_ROWS ? left : DR_BLOCK_ROWS);
  }
}
