/* advantage.c: generalised advantage estimation (Schulman, Moritz, Levine, Jordan, Abbeel: "High-dimensional continuous
 * control using generalized advantage estimation", ICLR 2016, eqs. 11-16), with the two ways in which an episode ends
 * told apart:
 *
 *   delta_t = r_t + gamma B_t - V_t      B_t = 0 if terminated, V(final observation) if truncated, else V_{t+1}
 *   A_t     = delta_t + gamma lambda (1 - done_t) A_{t+1},   done = terminated or truncated;   A_t = 0 if not valid */
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

/* Columns first..first + count - 1, from the last step to the first. Where an episode was truncated, advantages[row]
 * holds V(final observation) before the row is computed. */
static drover_status advantage_rows(void *object, dr_worker *worker, int32_t first, int32_t count, int64_t step) {
  (void)worker, (void)step;
  const drover_rollout *r = object;
  const drover_rollout_view *v = &r->view;
  const size_t n = (size_t)v->num_envs;
  const float gamma = r->options.gamma, decay = r->options.gamma * r->options.gae_lambda;
  float next[DR_BLOCK_ROWS] = {0};
  for (int32_t t = v->num_steps_done - 1; t >= 0; t--) {
    const size_t row = (size_t)t * n + (size_t)first;
    const float *restrict rewards = v->rewards + row;
    const float *restrict values = v->values + row;
    const float *restrict next_values = v->values + row + n;
    const uint8_t *restrict terminated = v->terminated + row;
    const uint8_t *restrict truncated = v->truncated + row;
    const uint8_t *restrict valid = v->valid + row;
    float *restrict advantages = v->advantages + row;
    float *restrict returns = v->returns + row;
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
  return DROVER_OK;
}

static drover_status advantages(drover_rollout *r) {
  const drover_rollout_view *v = &r->view;
  for (int64_t i = 0; i < v->num_episodes; i++)
    v->advantages[(size_t)v->episodes[i].step * (size_t)v->num_envs + (size_t)v->episodes[i].env] = r->final_values[i];
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
