/* train_handles.c: the handles of a training run, and what happens before its first update. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/interrupt.h"
#include "tools/train.h"

/* The samples that an inner policy is pretrained on have a seed of their own. */
static const uint64_t INNER_SEED = UINT64_C(1) << 62;

enum { DRAWN_AT_ONCE = 4096, STEPS_AT_ONCE = 100 };

static drover_status open_batch(dr_train *train) {
  const dr_train_request *request = train->request;
  const dr_options *common = &request->common;
  drover_runtime_options runtime_options;
  drover_status status = drover_runtime_options_init(&runtime_options, sizeof runtime_options);
  if (status) return status;
  runtime_options.num_workers = common->num_workers;
  status = drover_runtime_create(&train->runtime, &runtime_options);
  if (status) return status;
  dr_interrupt_watch(train->runtime);

  drover_batch_options options;
  status = drover_batch_options_init(&options, sizeof options);
  if (status) return status;
  options.num_envs = common->num_envs;
  options.seed = common->seed;
  options.shard = common->shard;
  options.chunk = common->chunk;
  options.max_episode_steps = request->max_episode_steps > 0 ? request->max_episode_steps : -1;
  /* A long run meets more faults than a rollout: one in a thousand steps is still training. */
  options.fault_limit =
      request->fault_limit > 0 ? request->fault_limit : 100 + common->num_envs + request->total_steps / 1000;
  options.args = (drover_env_args){common->num_env_args, common->env_args};
  status = drover_batch_create(&train->batch, train->runtime, request->type, &options);
  if (status) return status;
  drover_batch_view view = {.size = sizeof view};
  status = drover_batch_get_view(train->batch, &view);
  train->spec = view.spec;
  return status;
}

/* "mlp:64,64": a network that came from a file, in words from which a checkpoint can make it again. */
static const char *describe_widths(char *out, size_t size, const drover_mlp_options *network) {
  size_t used = (size_t)snprintf(out, size, "mlp:");
  for (int32_t i = 0; i < network->num_hidden && used < size; i++)
    used += (size_t)snprintf(out + used, size - used, "%s%d", i ? "," : "", network->hidden[i]);
  return out;
}

static void describe_policy(dr_train_request *request, const drover_mlp_options *network) {
  request->common.policy = describe_widths(request->policy_text, sizeof request->policy_text, network);
  request->activation = (int32_t)network->activation;
  request->leaky_slope = (double)network->leaky_slope;
  request->shared_values = network->shared_values;
  request->normalize_observations = network->normalize_observations;
}

static drover_status open_policy(dr_train *train) {
  dr_train_request *request = train->request;
  drover_mlp_options options;
  drover_status status = drover_mlp_options_init(&options, sizeof options);
  if (status) return status;
  if (request->init) {
    status = drover_policy_load(&train->policy, train->runtime, request->init);
    if (!status) status = drover_policy_get_mlp(train->policy, &options);
    if (!status) describe_policy(request, &options);
    return status;
  }
  dr_policy_choice choice;
  dr_policy_choice_parse(&choice, request->common.command, request->common.policy, NULL);
  status = drover_mlp_options_fit(&options, train->spec);
  if (status) return status;
  options.num_hidden = choice.num_hidden;
  memcpy(options.hidden, choice.hidden, sizeof options.hidden);
  options.activation = (drover_activation)request->activation;
  options.leaky_slope = (float)request->leaky_slope;
  options.shared_values = request->shared_values;
  options.normalize_observations = request->normalize_observations;
  options.initial_log_std = (float)request->initial_log_std;
  options.noise_hold = request->noise_hold;
  options.seed = request->common.seed;
  return drover_policy_create_mlp(&train->policy, train->runtime, &options);
}

static drover_status open_inner(dr_train *train) {
  dr_train_request *request = train->request;
  dr_policy_choice choice = request->inner_choice;
  choice.activation = (drover_activation)request->inner_activation;
  choice.normalize_observations = request->inner_normalize_observations;
  drover_status status =
      dr_inner_choice_create(&train->inner_policy, train->runtime, train->batch, &choice, request->common.seed);
  if (status || !train->inner_policy) return status;
  drover_mlp_options options;
  status = drover_mlp_options_init(&options, sizeof options);
  if (!status) status = drover_policy_get_mlp(train->inner_policy, &options);
  if (status) return status;
  request->common.inner_policy =
      describe_widths(request->inner_policy_text, sizeof request->inner_policy_text, &options);
  request->inner_activation = (int32_t)options.activation;
  request->inner_normalize_observations = options.normalize_observations;
  const int32_t sample_size = train->spec->inner_sample_size;
  if (sample_size == 0 || (request->inner_steps == 0 && request->inner_pretrain_steps == 0)) return DROVER_OK;
  request->inner.sample_size = sample_size;
  return drover_inner_create(&train->inner, train->inner_policy, &request->inner);
}

/* Progress inside a rollout; also repeats a cancellation that came too early. */
static void show_progress(void *user, const drover_progress *done) {
  dr_train *train = user;
  dr_interrupt_repeat();
  dr_train_show(train, train->counters.num_steps + done->env_steps_done, train->progress_seconds + done->seconds);
}

static drover_status open_rollout(dr_train *train, drover_rollout **out, drover_policy *policy, bool shown) {
  const dr_train_request *request = train->request;
  drover_rollout_options options;
  drover_status status = drover_rollout_options_init(&options, sizeof options);
  if (status) return status;
  options.num_steps = request->common.num_steps;
  options.transform = (drover_action_transform)request->transform;
  options.gamma = (float)request->ppo.gamma;
  options.gae_lambda = (float)request->ppo.gae_lambda;
  if (shown) {
    options.progress = show_progress;
    options.progress_user = train;
  }
  return drover_rollout_create(out, train->batch, policy, &options);
}

static drover_status allocate(dr_train *train) {
  drover_status status = drover_policy_num_weights(train->policy, &train->num_weights);
  if (!status && train->inner_policy)
    status = drover_policy_num_weights(train->inner_policy, &train->num_inner_weights);
  if (status) return status;
  train->weights = malloc((train->num_weights + train->num_inner_weights) * sizeof(float));
  train->info_means = calloc((size_t)train->spec->num_infos + 1, sizeof(double));
  if (drover_batch_save(train->batch, NULL, &train->num_batch_bytes) != DROVER_OK) train->num_batch_bytes = 0;
  if (train->num_batch_bytes > 0) train->batch_bytes = malloc(train->num_batch_bytes);
  if (!train->weights || !train->info_means || (train->num_batch_bytes > 0 && !train->batch_bytes))
    return DROVER_ERROR_NO_MEMORY;
  return DROVER_OK;
}

drover_status dr_train_open(dr_train *train) {
  const dr_train_request *request = train->request;
  train->rows_per_update = (int64_t)request->common.num_envs * request->common.num_steps;
  train->max_updates = request->total_steps / train->rows_per_update;
  drover_status status = open_batch(train);
  if (!status) status = open_policy(train);
  if (!status) status = open_inner(train);
  if (status) return status;
  if (request->save_inner && !train->inner_policy)
    dr_usage_error(request->common.command, "--save-inner: %s has no inner policy", request->type->name);
  if (request->save && !request->save_inner && train->inner)
    dr_usage_error(request->common.command, "--save without --save-inner: %s trains its inner policy too",
                   request->type->name);
  status = open_rollout(train, &train->rollout, train->policy, true);
  if (!status) status = drover_ppo_create(&train->ppo, train->policy, train->rollout, &request->ppo);
  if (!status) status = allocate(train);
  if (!status && !train->batch_bytes && request->checkpoint && strcmp(request->checkpoint, "none") != 0)
    dr_usage_error(request->common.command, "--checkpoint: %s cannot be saved: its env type has no save and load",
                   request->type->name);
  return status;
}

void dr_train_close(dr_train *train) {
  dr_interrupt_watch(NULL);
  dr_train_log_close(train);
  drover_ppo_destroy(train->ppo);
  drover_rollout_destroy(train->rollout);
  drover_inner_destroy(train->inner);
  drover_batch_destroy(train->batch);
  drover_policy_destroy(train->policy);
  drover_policy_destroy(train->inner_policy);
  drover_runtime_destroy(train->runtime);
  free(train->weights);
  free(train->info_means);
  free(train->batch_bytes);
  free(train->log_path);
  free(train->checkpoint_path);
}

/* ---- Before the first update ---- */

static drover_status draw_samples(dr_train *train) {
  const dr_train_request *request = train->request;
  const size_t size = (size_t)train->spec->inner_sample_size;
  float *samples = malloc(DRAWN_AT_ONCE * size * sizeof *samples);
  if (!samples) return DROVER_ERROR_NO_MEMORY;
  drover_status status = DROVER_OK;
  /* Sample i depends on (seed, i): each lot has a seed of its own. */
  for (int64_t done = 0; !status && done < request->inner_pretrain_samples; done += DRAWN_AT_ONCE) {
    const int64_t left = request->inner_pretrain_samples - done, count = left < DRAWN_AT_ONCE ? left : DRAWN_AT_ONCE;
    const uint64_t seed = (request->common.seed ^ INNER_SEED) + (uint64_t)(done / DRAWN_AT_ONCE);
    status = drover_batch_draw_samples(train->batch, seed, count, samples);
    if (!status) status = drover_inner_add(train->inner, count, samples);
    if (!status && dr_interrupt_pending()) status = DROVER_ERROR_CANCELLED;
  }
  free(samples);
  return status;
}

static drover_status pretrain(dr_train *train) {
  const dr_train_request *request = train->request;
  if (!train->inner || request->inner_pretrain_steps == 0 || request->inner_pretrain_samples == 0) return DROVER_OK;
  drover_status status = draw_samples(train);
  drover_inner_stats stats = {.size = sizeof stats};
  const double begin = dr_train_clock();
  for (int64_t done = 0; !status && done < request->inner_pretrain_steps; done += STEPS_AT_ONCE) {
    const int64_t left = request->inner_pretrain_steps - done, count = left < STEPS_AT_ONCE ? left : STEPS_AT_ONCE;
    if (dr_interrupt_pending()) return DROVER_ERROR_CANCELLED;
    status = drover_inner_update(train->inner, count, &stats);
    const double fraction = (double)(done + count) / (double)request->inner_pretrain_steps;
    dr_progress_line(&train->progress, "inner policy, pretraining", fraction, dr_train_clock() - begin, "loss %.4f",
                     stats.loss);
  }
  dr_progress_end(&train->progress);
  if (!status && !request->common.quiet)
    fprintf(stderr, "inner policy: %lld samples, %lld steps in %.1f s, loss %.4f (torque %.4f, effort %.4f)\n",
            (long long)stats.num_samples, (long long)stats.num_steps, dr_train_clock() - begin, stats.loss,
            stats.torque_loss, stats.effort_loss);
  return status;
}

/* Random actions: uniform where the env bounds them, else what the fresh policy samples. */
static drover_status observe_random_actions(dr_train *train) {
  const drover_env_spec *spec = train->spec;
  bool bounded = true;
  for (int32_t i = 0; spec->action_kind == DROVER_ACTION_CONTINUOUS && i < spec->action_size; i++)
    bounded = bounded && isfinite(spec->action_low[i]) && isfinite(spec->action_high[i]);
  if (!bounded) {
    const drover_status status = drover_rollout_collect(train->rollout);
    return status ? status : drover_ppo_observe(train->ppo, train->rollout);
  }
  drover_policy *uniform = NULL;
  drover_rollout *rollout = NULL;
  drover_status status = drover_policy_create_uniform(&uniform, train->runtime, spec);
  if (!status) status = open_rollout(train, &rollout, uniform, false);
  if (!status) status = drover_rollout_collect(rollout);
  if (!status) status = drover_ppo_observe(train->ppo, rollout);
  drover_rollout_destroy(rollout);
  drover_policy_destroy(uniform);
  return status;
}

drover_status dr_train_warm_up(dr_train *train) {
  const dr_train_request *request = train->request;
  drover_status status = pretrain(train);
  if (!status && !request->init && (request->normalize_observations || request->ppo.scale_rewards))
    status = observe_random_actions(train);
  if (!status && dr_interrupt_pending()) status = DROVER_ERROR_CANCELLED;
  return status ? status : drover_batch_reset(train->batch, request->common.seed);
}
