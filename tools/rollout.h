/* rollout.h: what the files of `drover rollout` share: the request, the handles, and the figures. */
#ifndef DR_TOOLS_ROLLOUT_H
#define DR_TOOLS_ROLLOUT_H

#include <drover/drover.h>
#include <stdbool.h>

#include "perf/statistics.h"
#include "tools/options.h"
#include "tools/setup.h"

enum { DR_MAX_REPEAT = DR_STATISTICS_MOST };

/* Names of drover_autoreset in its order, ended by NULL. */
extern const char *const dr_autoreset_names[];

typedef struct dr_rollout_request {
  dr_options common;
  const drover_env_type *type;
  dr_policy_choice policy;
  dr_policy_choice inner_policy;
  const char *save; /* path, or NULL */
  int32_t repeat;   /* timed rollouts after a warm-up; 0 = one, without */
  bool deterministic;
  bool barrier;
  bool scalar;
  drover_autoreset autoreset;
  int64_t fault_limit; /* as in drover_batch_options */
  float gamma;
  float gae_lambda;
} dr_rollout_request;

/* What came out. View and spec point into the handles' memory. */
typedef struct dr_rollout_figures {
  drover_status status; /* of the last collect: OK, CANCELLED or FAULTS leave figures */
  const char *env;      /* the type's own name */
  int32_t num_envs;
  int32_t num_steps; /* asked for */
  int32_t shard;
  int32_t chunk; /* 0 = chosen while running */
  drover_policy_spec policy_spec;
  drover_env_spec spec;          /* sizes only: its pointers are the batch's */
  drover_runtime_stats stats;    /* over the timed rollouts */
  drover_rollout_view view;      /* of the last rollout */
  double samples[DR_MAX_REPEAT]; /* seconds of each timed rollout */
  int32_t num_samples;
  double seconds;          /* their median */
  int64_t env_steps;       /* of one rollout */
  int64_t env_steps_timed; /* of all timed rollouts */
  int32_t max_threads;
  uint64_t digest;
  bool is_saved, is_traced; /* the files are written */
} dr_rollout_figures;

/* The share of the workers' time: step, infer, other, idle; all 0 if nothing was counted. */
void dr_rollout_fractions(const drover_runtime_stats *stats, double out[4]);

void dr_rollout_print(const dr_rollout_request *request, const dr_rollout_figures *figures);

/* Returns 0, or -1 if the object could not be made. */
int dr_rollout_print_json(const dr_rollout_request *request, const dr_rollout_figures *figures);

/* Write the finished steps to request->save. */
drover_status dr_rollout_save(const dr_rollout_request *request, const dr_rollout_figures *figures);

#endif
