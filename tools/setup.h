/* setup.h: from what the user typed to handles: runtime, batch and policies; failed calls turned into a message and an
 * exit code. */
#ifndef DR_TOOLS_SETUP_H
#define DR_TOOLS_SETUP_H

#include <drover/drover.h>

#include "tools/options.h"

typedef enum dr_policy_kind { DR_POLICY_RANDOM, DR_POLICY_MLP, DR_POLICY_FILE } dr_policy_kind;

/* What --policy and --activation say, or --inner-policy. */
typedef struct dr_policy_choice {
  const char *option; /* "policy" or "inner-policy", for messages */
  dr_policy_kind kind;
  const char *text; /* as typed, or the default */
  bool is_default;  /* nothing was typed */
  int32_t num_hidden;
  int32_t hidden[DROVER_MLP_MAX_LAYERS];
  drover_activation activation;
  int32_t normalize_observations; /* 0, or 1 of an inner network that is made */
} dr_policy_choice;

/* Names of drover_activation in its order, ended by NULL. */
extern const char *const dr_activation_names[];

/* Understand --policy (and --activation; both as in dr_options), or exit with a usage error. */
void dr_policy_choice_parse(dr_policy_choice *out, const char *command, const char *policy, const char *activation);

/* Understand --inner-policy (NULL if not given: mlp:256,256,256 with ELU), or exit with a usage error. */
void dr_inner_choice_parse(dr_policy_choice *out, const char *command, const char *inner_policy);

/* The env type that --env (or an argument) names: a known name, or the path of a plugin. A name that cannot be used is
 * a usage error. */
const drover_env_type *dr_find_env(const char *command, const char *name);

/* ---- Handles ---- */

/* What a run needs. All NULL = nothing is open. */
typedef struct dr_handles {
  drover_runtime *runtime;
  drover_batch *batch;
  const drover_env_spec *spec; /* the batch's */
  drover_policy *policy;
  drover_policy *inner_policy; /* NULL without an inner loop */
} dr_handles;

/* Options of a batch as the shared options say; everything else has its default. */
drover_status dr_batch_options_for(drover_batch_options *out, const dr_options *common);

/* Make a runtime with --workers, which Ctrl-C cancels from now on, and a batch in it. Close also after a failure. */
drover_status dr_handles_open(dr_handles *out, const dr_options *common, const drover_env_type *type,
                              const drover_batch_options *options);

/* Then make the policies for the batch, from --seed, and give it the inner one. */
drover_status dr_handles_open_policies(dr_handles *handles, const dr_options *common, const dr_policy_choice *policy,
                                       const dr_policy_choice *inner_policy);

/* Rollouts on them must be gone. */
void dr_handles_close(dr_handles *handles);

/* Make the policy for an env with this spec; the seed is that of an mlp's initial weights. */
drover_status dr_policy_choice_create(drover_policy **out, drover_runtime *runtime, const drover_env_spec *spec,
                                      const dr_policy_choice *choice, uint64_t seed);

/* If the batch's envs have an inner loop, make the policy inside their steps and give it to the batch; destroy the
 * batch before *out. Without an inner loop *out is NULL, and it is an error if the user asked for one. */
drover_status dr_inner_choice_create(drover_policy **out, drover_runtime *runtime, drover_batch *batch,
                                     const dr_policy_choice *choice, uint64_t seed);

/* Print "drover COMMAND: <what>: <drover_last_error>" on stderr (what may be NULL) and return the exit code: 2 for what
 * the user asked for and cannot have, 3 for a cancelled run, else 1. */
int dr_report_failure(const char *command, const char *what, drover_status status);

#endif
