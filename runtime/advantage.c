/* advantage.c: generalised advantage estimation (Schulman, Moritz, Levine, Jordan, Abbeel: "High-dimensional continuous
 * control using generalized advantage estimation", ICLR 2016, eqs. 11-16), with the two ways in which an episode ends
 * told apart:
 *
 *   delta_t = r_t + gamma B_t - V_t      B_t = 0 if terminated, V(final observation) if truncated, else V_{t+1}
 *   A_t     = delta_t + gamma lambda (1 - done_t) A_{t+1},   done = terminated or truncated;   A_t = 0 if not valid */
#include "runtime/advantage.h"

#include "runtime/error.h"
#include "runtime/rollout.h"
#include "runtime/runtime.h"

/* Values of the final observations that bootstrap, gathered into the worker's scratch rows. */
static drover_status value_rows(void *object, dr_worker *worker, int32_t first, int32_t count, int64_t step) {
  (void)step;
  drover_rollout *r = object;
  const size_t width = (size_t)r->view.observation_size;
  float *gathered = r->batch->scratch + (size_t)worker->index * DR_BLOCK_ROWS * width;
  float values[DR_BLOCK_ROWS];
  for (int32_t i = 0; i < count; i++)
    memcpy(gathered + (size_t)i * width, r->final_observations + (size_t)r->bootstrap_rows[first + i] * width,
           width * sizeof(float));
  const drover_status status = dr_policy_value(r->policy, r->version, worker, count, gathered, values);
  if (status != DROVER_OK) return status;
  for (int32_t i = 0; i < count; i++) r->final_values[r->bootstrap_rows[first + i]] = values[i];
  return DROVER_OK;
}

static drover_status bootstrap(drover_rollout *r) {
  if (r->view.num_episodes > 0) memset(r->final_values, 0, (size_t)r->view.num_episodes * sizeof(float));
  if (r->num_bootstrap == 0) return DROVER_OK;
  const dr_phase phase = {
      .kind = DR_KIND_INFER, .multiple = dr_policy_row_multiple(r->policy), .cost = DR_COST_VALUE, .rows = value_rows};
  const dr_program program = {.phases = &phase, .num_phases = 1, .uncancellable = true};
  dr_run run;
  const int32_t num_workers = r->batch->runtime->num_workers;
  const int32_t shard = dr_auto_shard((int32_t)r->num_bootstrap, num_workers, DR_BLOCK_ROWS, DR_BLOCK_ROWS);
  drover_status status = dr_run_init(&run, r->batch->runtime, (int32_t)((r->num_bootstrap + shard - 1) / shard));
  if (status != DROVER_OK) return status;
  dr_run_set_shards(&run, (int32_t)r->num_bootstrap, shard);
  status = dr_run_execute(&run, &program, r, 0, 1, r->num_bootstrap <= DR_BLOCK_ROWS, NULL);
  dr_run_free(&run);
  return status;
}

/* From the last step to the first. */
void dr_estimate_columns(const dr_estimate *e, int32_t first, int32_t count) {
  const size_t n = (size_t)e->num_envs;
  float next[DR_BLOCK_ROWS] = {0};
  for (int32_t t = e->num_steps - 1; t >= 0; t--) {
    const size_t row = (size_t)t * n + (size_t)first;
    const float *restrict rewards = e->rewards + row;
    const float *restrict values = e->values + row;
    const float *restrict next_values = e->values + row + n;
    const uint8_t *restrict terminated = e->terminated + row;
    const uint8_t *restrict truncated = e->truncated + row;
    const uint8_t *restrict valid = e->valid + row;
    float *restrict advantages = e->advantages + row;
    float *restrict returns = e->returns + row;
    const float gamma = e->gamma, decay = e->decay;
    for (int32_t i = 0; i < count; i++) {
      const float follow = truncated[i] ? advantages[i] : next_values[i];
      const float b = terminated[i] ? 0.0f : follow;
      const float carried = (terminated[i] | truncated[i]) ? 0.0f : next[i];
      const float a = rewards[i] + gamma * b - values[i] + decay * carried;
      next[i] = valid[i] ? a : 0.0f;
      advantages[i] = next[i];
      returns[i] = next[i] + values[i];
    }
  }
}

void dr_estimate_place_finals(const dr_estimate *e, int64_t num_episodes, const drover_episode *episodes,
                              const float *final_values) {
  for (int64_t i = 0; i < num_episodes; i++)
    e->advantages[(size_t)episodes[i].step * (size_t)e->num_envs + (size_t)episodes[i].env] = final_values[i];
}

static dr_estimate estimate_of(const drover_rollout *r) {
  const drover_rollout_view *v = &r->view;
  return (dr_estimate){.num_envs = v->num_envs,
                       .num_steps = v->num_steps_done,
                       .gamma = r->options.gamma,
                       .decay = r->options.gamma * r->options.gae_lambda,
                       .rewards = v->rewards,
                       .values = v->values,
                       .terminated = v->terminated,
                       .truncated = v->truncated,
                       .valid = v->valid,
                       .advantages = v->advantages,
                       .returns = v->returns};
}

static drover_status advantage_rows(void *object, dr_worker *worker, int32_t first, int32_t count, int64_t step) {
  (void)worker, (void)step;
  const dr_estimate estimate = estimate_of(object);
  dr_estimate_columns(&estimate, first, count);
  return DROVER_OK;
}

static drover_status advantages(drover_rollout *r) {
  const dr_estimate estimate = estimate_of(r);
  dr_estimate_place_finals(&estimate, r->view.num_episodes, r->view.episodes, r->final_values);
  const dr_phase phase = {.kind = DR_KIND_OTHER, .multiple = 16, .cost = DR_COST_ADVANTAGE, .rows = advantage_rows};
  const dr_program program = {.phases = &phase, .num_phases = 1, .uncancellable = true};
  return dr_run_execute(&r->run, &program, r, 0, 1,
                        dr_batch_better_alone(r->batch, dr_run_row_ns(&r->run, DR_COST_ADVANTAGE)), NULL);
}

drover_status dr_rollout_estimate(drover_rollout *r) {
  if (!r->policy->spec.has_values) return DROVER_OK;
  drover_status status = bootstrap(r);
  r->view.final_values = r->final_values;
  if (status == DROVER_OK) status = advantages(r);
  return status;
}
