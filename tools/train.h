/* train.h: what the files of `drover train` share: the request, the handles and counters of a run, its log. */
#ifndef DR_TOOLS_TRAIN_H
#define DR_TOOLS_TRAIN_H

#include <argp.h>
#include <drover/drover.h>
#include <stdbool.h>
#include <stdio.h>

#include "tools/options.h"
#include "tools/progress.h"
#include "tools/setup.h"

enum {
  DR_TRAIN_WINDOW = 100,   /* episodes that the mean return is of */
  DR_TRAIN_MAX_KEY = 0x300 /* keys of options are below */
};

/* Everything the user can say. What is filled in by the env's defaults, a config file or a checkpoint ends up here. */
typedef struct dr_train_request {
  dr_options common;
  int layer;                       /* that is being read: 1 the command line, 2 --config, 3 a checkpoint or defaults */
  uint8_t given[DR_TRAIN_MAX_KEY]; /* by key: the layer that said it; 0 = none. A lower one wins */
  const drover_env_type *type;

  /* the network */
  int32_t activation; /* drover_activation */
  int32_t shared_values;
  int32_t normalize_observations;
  int32_t transform; /* drover_action_transform */
  int32_t noise_hold;
  double initial_log_std;
  double leaky_slope;
  const char *init;      /* path or NULL */
  char policy_text[256]; /* common.policy of a network that came from a file */

  /* how long */
  int64_t total_steps;
  double target_return; /* NAN = none */
  int32_t max_episode_steps;
  int64_t fault_limit; /* 0 = decide */

  drover_ppo_options ppo;

  /* the inner policy */
  dr_policy_choice inner_choice;
  char inner_policy_text[256]; /* common.inner_policy of a network that came from a file */
  int32_t inner_activation;
  int32_t inner_normalize_observations;
  drover_inner_options inner;
  int64_t inner_steps;
  int64_t inner_pretrain_samples;
  int64_t inner_pretrain_steps;

  /* files */
  const char *save, *save_inner, *log, *plot, *config, *resume;
  const char *checkpoint;   /* as typed; NULL = the default name, written when interrupted only */
  int64_t checkpoint_every; /* env steps; 0 = decide */
  bool print_config;
} dr_train_request;

/* The return of the latest episodes, in (step, env) order: a ring. */
typedef struct dr_train_window {
  double returns[DR_TRAIN_WINDOW];
  double lengths[DR_TRAIN_WINDOW];
} dr_train_window;

/* What a run counts; all of it is in a checkpoint. */
typedef struct dr_train_counters {
  int64_t num_updates;
  int64_t num_steps;    /* env steps */
  int64_t num_episodes; /* ended, without faulted ones; the window's next place is this modulo its size */
  int64_t num_faults;
  double seconds; /* of training */
  double rollout_seconds, learner_seconds;
} dr_train_counters;

/* One update, as logged. */
typedef struct dr_train_row {
  double steps_per_second;
  double rollout_share, learner_share; /* of this update's time */
  drover_ppo_stats ppo;
  drover_inner_stats inner; /* size 0: there was none */
  uint64_t weights_digest;  /* XXH3 of the policy's weights, then the inner policy's */
} dr_train_row;

/* A run. Owned by the main thread. */
typedef struct dr_train {
  dr_train_request *request;
  const drover_env_spec *spec; /* the batch's */
  drover_runtime *runtime;
  drover_batch *batch;
  drover_policy *policy;
  drover_policy *inner_policy; /* NULL: the env has no inner loop */
  drover_rollout *rollout;
  drover_ppo *ppo;
  drover_inner *inner; /* NULL: there is nothing for it to learn from */

  int64_t rows_per_update; /* N x T */
  int64_t max_updates;     /* that fit into total_steps */
  dr_train_counters counters;
  dr_train_window window;
  dr_train_row row;   /* of the latest update */
  double *info_means; /* [num_infos] over the valid rows of the latest rollout */
  float *weights;     /* [num_weights, then num_inner_weights]: scratch for digests and checkpoints */
  size_t num_weights, num_inner_weights;
  unsigned char *batch_bytes; /* the batch after the latest update; NULL if the env type cannot be saved */
  size_t num_batch_bytes;

  dr_progress progress;
  double progress_seconds; /* counters.seconds when the present rollout began */
  FILE *log;
  char *log_path; /* the file that --plot reads: --log's, or a temporary one */
  bool log_is_temporary;
  bool output_failed;       /* a log line or checkpoint could not be written: told once, exit code 1 */
  char *checkpoint_path;    /* NULL = none */
  int64_t checkpoint_steps; /* counters.num_steps at the latest checkpoint, or at the beginning */
  bool has_checkpoint;      /* one was written by this process */
} dr_train;

/* ---- train_settings.c: the options as a table ---- */

extern const struct argp dr_train_argp;

/* Begin: what holds for every env. */
void dr_train_request_init(dr_train_request *request);

/* The settings that make a run, as config lines; malloc'ed, NULL without memory. */
char *dr_train_settings_text(const dr_train_request *request);

/* ---- train_defaults.c ---- */

/* Config lines for this env, or for any that the table does not have; malloc'ed, NULL without memory. */
char *dr_train_defaults_text(const char *env);

/* ---- train_handles.c ---- */

/* Make all handles; nothing has been stepped then. On failure what was made is left for dr_train_close. */
drover_status dr_train_open(dr_train *train);
void dr_train_close(dr_train *train);

/* Before the first update of a run that is not resumed: pretrain the inner policy, give the moments a rollout of random
 * actions, and reset the batch. */
drover_status dr_train_warm_up(dr_train *train);

/* ---- train_loop.c ---- */

typedef enum dr_train_end { DR_TRAIN_ALL_STEPS, DR_TRAIN_TARGET, DR_TRAIN_INTERRUPTED, DR_TRAIN_FAILED } dr_train_end;

/* Train on. *status says what failed (DR_TRAIN_FAILED). */
dr_train_end dr_train_run(dr_train *train, drover_status *status);

/* Means over the window; NAN before the first episode. */
double dr_train_mean_return(const dr_train *train);
double dr_train_mean_length(const dr_train *train);

double dr_train_clock(void);

/* Keep the batch's present state for the next checkpoint. */
drover_status dr_train_snapshot(dr_train *train);

/* XXH3 of all weights. */
drover_status dr_train_digest(dr_train *train, uint64_t *out);

/* ---- train_log.c ---- */

/* Open --log (and the file that --plot reads); rows of an earlier run after the checkpoint resumed from are cut off. */
drover_status dr_train_log_open(dr_train *train);
void dr_train_log_row(dr_train *train);
void dr_train_log_close(dr_train *train);

/* The live line, at this many env steps. */
void dr_train_show(dr_train *train, int64_t num_steps, double seconds);

/* ` --name word`, as a shell reads it; nothing without a word. */
void dr_train_print_option(FILE *out, const char *name, const char *word);

/* What is about to be trained (stderr), and what came of it (stdout, as JSON if asked). */
void dr_train_print_begin(const dr_train *train);
int dr_train_print_end(dr_train *train, dr_train_end end);

/* ---- train_checkpoint.c ---- */

/* Write everything the run depends on to train->checkpoint_path; the file that was there survives a failure. */
drover_status dr_train_checkpoint_save(dr_train *train);

/* The settings kept in a checkpoint, for the layer of options under the command line; malloc'ed. Exits with a usage
 * error if the file is none. */
char *dr_train_checkpoint_settings(const char *command, const char *path);

/* Bring a run whose handles are open to where the checkpoint was. */
drover_status dr_train_checkpoint_load(dr_train *train, const char *path);

#endif
