/* ppo_prepare.c: what an update does before its passes: independent tasks in two forks, the second of which needs the
 * advantages that the first one made. A task's sums run over its rows in their order, whoever runs it. */
#include <math.h>
#include <string.h>

#include "policy/learn/permutation.h"
#include "policy/learn/ppo_update.h"
#include "runtime/advantage.h"
#include "runtime/error.h"
#include "runtime/runtime.h"

/* Fewer rows, some 30 us a fork, are prepared by the caller alone. */
enum { PREPARE_ALONE_ROWS = 4096, MIN_TASK_ROWS = 1024, MAX_TASKS = DR_PPO_PREPARE_TASKS / 2, MIN_TASK_COLUMNS = 8 };

typedef drover_status (*task)(void *object, dr_worker *worker, int32_t first, int32_t count, int64_t step);

static drover_status run_tasks(dr_ppo_update *u, task run, int32_t num_tasks) {
  dr_run *const tasks = &u->ppo->tasks_run;
  const dr_phase phase = {.kind = DR_KIND_OTHER, .rows = run};
  const dr_program program = {.phases = &phase, .num_phases = 1, .uncancellable = true};
  dr_run_set_shards(tasks, num_tasks, 1);
  return dr_run_execute(tasks, &program, u, 0, 1, num_tasks == 1 || u->num_rows < PREPARE_ALONE_ROWS, NULL);
}

/* How many of `count` things each of at most MAX_TASKS tasks takes, a multiple of `multiple`. */
static int32_t share_of(int32_t count, int32_t multiple) {
  const int32_t parts = (count + multiple - 1) / multiple;
  return (parts + MAX_TASKS - 1) / MAX_TASKS * multiple;
}

static int32_t num_shares(int32_t count, int32_t multiple) {
  const int32_t share = share_of(count, multiple);
  return (count + share - 1) / share;
}

/* ---- The first fork: advantages, log-probabilities ----------------------------------------------------------- */

static bool is_squashed(const dr_ppo_update *u) {
  return u->rollout->transforms && u->rollout->options.transform == DROVER_ACTION_TANH;
}

/* The rollout's log-probabilities count the log-determinant of a tanh, which is the same in pi and pi_old: take it out,
 * so that the loss need not know of it. */
static void take_raw_logprobs(const dr_ppo_update *u, int32_t first, int32_t count) {
  const float *actions = u->view->actions;
  for (int32_t row = first; row < first + count; row++) {
    if (!u->view->valid[row]) continue;
    const float *raw = actions + (size_t)row * (size_t)u->view->action_size;
    u->ppo->logprobs[row] = (float)((double)u->view->logprobs[row] + dr_squash_log_det(&u->rollout->batch->spec, raw));
  }
}

static drover_status run_estimates(void *object, dr_worker *worker, int32_t first, int32_t count, int64_t step) {
  (void)worker, (void)step;
  const dr_ppo_update *u = object;
  const int32_t num_envs = u->view->num_envs, num_columns = num_shares(num_envs, DR_BLOCK_ROWS);
  const int32_t num_rows = num_envs * u->view->num_steps_done;
  for (int32_t i = first; i < first + count; i++) {
    const int32_t share = i < num_columns ? share_of(num_envs, DR_BLOCK_ROWS) : share_of(num_rows, MIN_TASK_ROWS);
    const int32_t begin = share * (i < num_columns ? i : i - num_columns);
    const int32_t left = (i < num_columns ? num_envs : num_rows) - begin, some = left < share ? left : share;
    if (i < num_columns)
      dr_ppo_estimate(u->ppo, u->view, u->reward_scale, begin, some);
    else
      take_raw_logprobs(u, begin, some);
  }
  return DROVER_OK;
}

/* ---- The second fork: orders, moments ------------------------------------------------------------------------ */

int32_t dr_ppo_num_minibatches(const dr_ppo_update *u) {
  const int32_t most = u->ppo->options.num_minibatches;
  return most < u->num_rows ? most : u->num_rows;
}

int32_t dr_ppo_minibatch(const dr_ppo_update *u, int32_t i, int32_t *first) {
  const int32_t num_minibatches = dr_ppo_num_minibatches(u);
  const int32_t size = u->num_rows / num_minibatches, num_larger = u->num_rows % num_minibatches;
  *first = size * i + (i < num_larger ? i : num_larger);
  return size + (i < num_larger ? 1 : 0);
}

/* To mean 0 and deviation 1 over these rows. */
static dr_ppo_normal normal_of(const float *advantages, const int32_t *rows, int32_t count) {
  double mean = 0, squares = 0;
  for (int32_t i = 0; i < count; i++) mean += (double)advantages[rows[i]];
  mean /= count;
  for (int32_t i = 0; i < count; i++) {
    const double delta = (double)advantages[rows[i]] - mean;
    squares += delta * delta;
  }
  return (dr_ppo_normal){.mean = mean, .scale = 1 / (sqrt(squares / count) + 1e-8)};
}

/* All rows once, in an order of the epoch's own; and its minibatches' advantages. */
static void order_epoch(const dr_ppo_update *u, int32_t index) {
  const drover_ppo *ppo = u->ppo;
  int32_t *order = ppo->orders + (size_t)index * ppo->order_stride;
  dr_ppo_normal *normals = ppo->normals + (size_t)index * (size_t)ppo->options.num_minibatches;
  memcpy(order, ppo->valid_rows, (size_t)u->num_rows * sizeof *order);
  dr_permute(ppo->options.seed, ppo->state.num_updates, u->first_epoch + index, order, u->num_rows);
  const int32_t num_minibatches = ppo->options.normalize_advantages ? dr_ppo_num_minibatches(u) : 0;
  for (int32_t i = 0; i < num_minibatches; i++) {
    int32_t first;
    const int32_t count = dr_ppo_minibatch(u, i, &first);
    normals[i] = normal_of(ppo->advantages, order + first, count);
  }
}

static drover_status run_orders(void *object, dr_worker *worker, int32_t first, int32_t count, int64_t step) {
  (void)worker, (void)step;
  for (int32_t i = first; i < first + count; i++) order_epoch(object, i);
  return DROVER_OK;
}

/* 1 - var(R - V) / var(R) over valid rows; 0 where R does not vary. */
static double explained_variance(const dr_ppo_update *u) {
  const drover_ppo *ppo = u->ppo;
  double mean_return = 0, mean_error = 0, returns = 0, errors = 0;
  for (int32_t i = 0; i < u->num_rows; i++) {
    const int32_t row = ppo->valid_rows[i];
    mean_return += (double)ppo->returns[row];
    mean_error += (double)ppo->advantages[row]; /* = R - V */
  }
  mean_return /= u->num_rows;
  mean_error /= u->num_rows;
  for (int32_t i = 0; i < u->num_rows; i++) {
    const int32_t row = ppo->valid_rows[i];
    const double r = (double)ppo->returns[row] - mean_return, e = (double)ppo->advantages[row] - mean_error;
    returns += r * r;
    errors += e * e;
  }
  return returns > 0 ? 1 - errors / returns : 0;
}

/* Columns of observations a task: a row costs something whatever the columns, so they are cut for the workers there are
 * and no further. */
static int32_t columns_of(const dr_ppo_update *u) {
  const int32_t size = u->ppo->next.observations.size, num_workers = u->ppo->learner.runtime->num_workers;
  const int32_t most = size / MIN_TASK_COLUMNS < num_workers ? size / MIN_TASK_COLUMNS : num_workers;
  const int32_t num_tasks = most < 1 ? 1 : most < MAX_TASKS ? most : MAX_TASKS;
  return (size + num_tasks - 1) / num_tasks;
}

static drover_status run_moments(void *object, dr_worker *worker, int32_t first, int32_t count, int64_t step) {
  (void)worker, (void)step;
  dr_ppo_update *u = object;
  dr_moments *const moments = &u->ppo->next.observations;
  const int32_t share = columns_of(u), num_rows = u->view->num_steps_done * u->view->num_envs;
  for (int32_t i = first; i < first + count; i++) {
    const int32_t at = i - u->num_epochs - 1, left = moments->size - at * share;
    if (i < u->num_epochs)
      order_epoch(u, i);
    else if (at < 0)
      u->explained_variance = explained_variance(u);
    else
      dr_moments_add_columns(moments, at * share, left < share ? left : share, num_rows, u->view->observations,
                             u->view->valid);
  }
  return DROVER_OK;
}

static void choose_epochs(dr_ppo_update *u, int32_t first) {
  const int32_t left = u->ppo->options.num_epochs - first, room = u->ppo->num_orders;
  u->first_epoch = first;
  u->num_epochs = left < room ? left : room;
}

drover_status dr_ppo_shuffle(dr_ppo_update *u, int32_t first) {
  choose_epochs(u, first);
  return run_tasks(u, run_orders, u->num_epochs);
}

/* ---- All of it ----------------------------------------------------------------------------------------------- */

static double learning_rate_of(const drover_ppo_options *options, int64_t num_updates) {
  if (options->num_updates == 0) return options->learning_rate;
  const double done = fmin((double)num_updates / (double)options->num_updates, 1.0);
  return options->learning_rate + (options->final_learning_rate - options->learning_rate) * done;
}

static int32_t list_valid_rows(const drover_rollout_view *view, int32_t *rows) {
  const int32_t count = view->num_steps_done * view->num_envs;
  int32_t num_rows = 0;
  for (int32_t row = 0; row < count; row++)
    if (view->valid[row]) rows[num_rows++] = row;
  return num_rows;
}

drover_status dr_ppo_prepare(dr_ppo_update *u) {
  drover_ppo *ppo = u->ppo;
  const drover_ppo_options *options = &ppo->options;
  u->num_rows = list_valid_rows(u->view, ppo->valid_rows);
  if (u->num_rows == 0)
    return dr_fail(DROVER_ERROR_STATE, "ppo update: the rollout has no valid row: every env failed in every step");
  u->reward_scale = 1;
  if (options->scale_rewards) {
    dr_ppo_take_returns(&ppo->next, u->view, options->gamma);
    u->reward_scale = dr_moments_std(&ppo->next.returns, 0);
  }
  dr_ppo_place_finals(ppo, u->view);
  const int32_t num_rows = u->view->num_envs * u->view->num_steps_done;
  const int32_t num_columns = num_shares(u->view->num_envs, DR_BLOCK_ROWS);
  drover_status status =
      run_tasks(u, run_estimates, num_columns + (is_squashed(u) ? num_shares(num_rows, MIN_TASK_ROWS) : 0));
  if (status) return status;
  choose_epochs(u, 0);
  dr_moments *const moments = &ppo->next.observations;
  status = run_tasks(u, run_moments,
                     u->num_epochs + 1 + (moments->size ? (moments->size + columns_of(u) - 1) / columns_of(u) : 0));
  if (status) return status;
  moments->count += moments->size ? u->num_rows : 0;
  u->learning_rate = learning_rate_of(options, ppo->state.num_updates);
  u->loss = (dr_ppo_loss){.head = ppo->mlp->options.head,
                          .num_outputs = ppo->mlp->options.num_outputs,
                          .actions = u->view->actions,
                          .old_logprobs = is_squashed(u) ? ppo->logprobs : u->view->logprobs,
                          .old_values = u->view->values,
                          .advantages = ppo->advantages,
                          .returns = ppo->returns,
                          .advantage_scale = 1,
                          .clip_range = options->clip_range,
                          .value_clip_range = options->value_clip_range,
                          .value_coef = options->value_coef,
                          .entropy_coef = options->entropy_coef,
                          .inverse_std = ppo->inverse_std};
  return DROVER_OK;
}
