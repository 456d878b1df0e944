/* play.c: stepping for play.h: a batch of one env that is reset by hand, so that the last moment of an episode can be
 * looked at before it is gone. */
#include "tools/render/play.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/batch.h"
#include "runtime/error.h"
#include "runtime/rollout.h"

/* A model's file says more than "mujoco". */
static const char *name_of(const dr_play_options *options) {
  const drover_env_args args = {options->common->num_env_args, options->common->env_args};
  const char *file = drover_env_arg_string(&args, "model", NULL);
  if (strcmp(options->type->name, "mujoco") != 0 || !file) return options->type->name;
  const char *slash = strrchr(file, '/');
  return slash && slash[1] ? slash + 1 : file;
}

/* What the batch's rows say; the only place that looks inside a batch. */
static drover_status look(dr_play *play) {
  drover_batch_view view = {.size = sizeof view};
  const drover_status status = drover_batch_get_view(play->handles.batch, &view);
  if (status != DROVER_OK) return status;
  dr_moment *moment = &play->moment;
  moment->type = play->options.type;
  moment->name = name_of(&play->options);
  moment->spec = view.spec;
  moment->shared = play->handles.batch->shared;
  moment->state = play->handles.batch->states;
  moment->observation = dr_play_has_ended(play) ? view.final_observations : view.observations;
  play->num_faults = view.num_faults;
  return DROVER_OK;
}

/* At the beginning of an episode. */
static drover_status begin_episode(dr_play *play, int32_t episode) {
  play->moment = (dr_moment){.episode = episode};
  return look(play);
}

drover_status dr_play_open(dr_play *play, const dr_play_options *options) {
  play->options = *options;
  dr_options common = *options->common;
  common.num_envs = common.num_workers = 1;
  drover_batch_options batch_options;
  drover_status status = dr_batch_options_for(&batch_options, &common);
  if (status != DROVER_OK) return status;
  batch_options.autoreset = DROVER_AUTORESET_DISABLED;
  status = dr_handles_open(&play->handles, &common, options->type, &batch_options);
  if (status == DROVER_OK) status = begin_episode(play, 1);
  if (status != DROVER_OK) return status;

  const drover_env_spec *spec = play->handles.spec;
  const bool squashed = common.transform == DROVER_ACTION_TANH && spec->action_low;
  for (int32_t i = 0; squashed && i < spec->action_size; i++)
    if (isinf(spec->action_low[i]) || isinf(spec->action_high[i]))
      return dr_fail(DROVER_ERROR_ARGUMENT, "--transform tanh needs finite bounds; action %d of %s has none", (int)i,
                     options->type->name);
  status = dr_handles_open_policies(&play->handles, &common, options->policy, options->inner_policy);
  if (status != DROVER_OK) return status;
  play->action = calloc((size_t)spec->action_size, sizeof(float));
  return play->action ? DROVER_OK : DROVER_ERROR_NO_MEMORY;
}

void dr_play_close(dr_play *play) {
  dr_handles_close(&play->handles);
  free(play->action);
  memset(play, 0, sizeof *play);
}

drover_status dr_play_restart(dr_play *play) {
  const drover_status status = drover_batch_reset(play->handles.batch, play->options.common->seed);
  play->num_steps = 0;
  return status == DROVER_OK ? begin_episode(play, 1) : status;
}

drover_status dr_play_next_episode(dr_play *play) {
  static const uint8_t all[1] = {1};
  const drover_status status = drover_batch_reset_some(play->handles.batch, all);
  return status == DROVER_OK ? begin_episode(play, play->moment.episode + 1) : status;
}

drover_status dr_play_step(dr_play *play) {
  dr_moment *moment = &play->moment;
  float logprob = 0;
  drover_status status = drover_policy_act(play->handles.policy, play->handles.batch, play->options.deterministic,
                                           play->action, &logprob, NULL);
  if (status != DROVER_OK) return status;
  /* As a rollout does on the way to the env. */
  const drover_action_transform transform = play->options.common->transform;
  if (moment->spec->action_kind == DROVER_ACTION_CONTINUOUS && transform != DROVER_ACTION_NONE)
    dr_transform_actions(transform, moment->spec, play->action, play->action, &logprob, 1);
  status = drover_batch_step(play->handles.batch, play->action);
  if (status != DROVER_OK) return status;

  drover_batch_view view = {.size = sizeof view};
  status = drover_batch_get_view(play->handles.batch, &view);
  if (status != DROVER_OK) return status;
  play->num_steps++;
  moment->terminated = view.terminated[0];
  moment->truncated = view.truncated[0];
  moment->action = play->action;
  moment->infos = view.infos;
  moment->reward = view.valid[0] ? (double)view.rewards[0] : 0;
  moment->episode_return += moment->reward;
  moment->step++;
  return look(play);
}
