/* model.h: what the runtime promises, written a second time: one env, one step at a time, in the plainest way. It
 * calls the functions of the env's table itself and shares no code with the runtime. */
#ifndef DR_TESTS_SUPPORT_MODEL_H
#define DR_TESTS_SUPPORT_MODEL_H

#include <drover/rollout.h>
#include <stdalign.h>

#include "tests/support/toy_env.h"
#include "tests/support/toy_policy.h"

/* One env and its latest row. */
typedef struct model {
  toy_config config; /* a copy: what the env type counts stays with the runtime's */
  drover_env_spec spec;
  void *shared;
  drover_autoreset autoreset;
  int32_t limit; /* 0 = none */
  uint64_t seed;
  int32_t env;
  toy_policy inner; /* the policy inside its step, if it has an inner loop; model_open sets it to the usual one */
  alignas(64) unsigned char state[128];

  uint64_t lifetime_steps, episode_number;
  double running_return;
  int32_t running_length;
  bool broken, finished;

  float observation[16];
  float reward;
  uint8_t terminated, truncated, valid;
  float infos[4];
  float inner_sample[8];
  float final_observation[16];
  double episode_return;
  int32_t episode_length;
  int32_t num_faults, faults[2]; /* of this step */
} model;

/* Env `env` of a batch of this config, reset with seed. max_episode_steps as in drover_batch_options. */
void model_open(model *m, const toy_config *config, drover_autoreset autoreset, int32_t max_episode_steps,
                uint64_t seed, int32_t env);
void model_close(model *m);

void model_reset(model *m, uint64_t seed); /* as drover_batch_reset */
void model_begin_episode(model *m);        /* as drover_batch_reset_some */
void model_step(model *m, const void *action);

/* A whole rollout by models and the toy policy: what every buffer must hold. Advantages in double. */
typedef struct model_rollout {
  int32_t num_envs, num_steps, observation_size, action_size, num_infos, inner_sample_size;
  float *observations, *logprobs, *values, *rewards, *infos, *inner_samples;
  unsigned char *actions;
  uint8_t *terminated, *truncated, *valid;
  double *advantages, *returns;
  int64_t num_episodes, num_faults;
  drover_episode *episodes;
  float *final_observations, *final_values;
  drover_fault *faults;
} model_rollout;

/* The envs are opened, `skip` steps done, and the next num_steps recorded. */
void model_rollout_make(model_rollout *r, const toy_config *config, const drover_batch_options *batch,
                        const toy_policy *policy, const drover_rollout_options *options, int32_t skip);
void model_rollout_free(model_rollout *r);

/* NULL if the view holds what it must (advantages to 1e-4), else what differs first, as a sentence. */
const char *model_rollout_differs(const model_rollout *r, const drover_rollout_view *view);

/* The same for advantages and returns alone, from the view's own rewards, values, flags and lists (to 2e-5). */
const char *model_advantages_differ(const drover_rollout_view *view, double gamma, double lambda);

#endif
