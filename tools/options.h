/* options.h: the options that subcommands share, so that one name means one thing everywhere.
 *
 * A subcommand lists the rows it takes in its own argp table and passes every key it does not know itself to
 * dr_options_parse. Whatever is out of range or malformed is one sentence on stderr and exit code 2. */
#ifndef DR_TOOLS_OPTIONS_H
#define DR_TOOLS_OPTIONS_H

#include <argp.h>
#include <drover/drover.h>
#include <stdbool.h>
#include <stdint.h>

enum {
  DR_MAX_ENV_ARGS = 64,
  DR_NO_TIME_LIMIT = -1,
  DR_KEY_ENV = 'e',
  DR_KEY_ENV_ARG = 'a',
  DR_KEY_NUM_ENVS = 'n',
  DR_KEY_STEPS = 't',
  DR_KEY_SEED = 's',
  DR_KEY_WORKERS = 'w',
  DR_KEY_POLICY = 'p',
  DR_KEY_QUIET = 'q',
  DR_KEY_SHARD = 0x100, /* from here on: options without a letter */
  DR_KEY_CHUNK,
  DR_KEY_JSON,
  DR_KEY_TRACE,
  DR_KEY_INNER_POLICY,
  DR_KEY_ACTIVATION,
  DR_KEY_TRANSFORM,
  DR_KEY_MAX_EPISODE_STEPS,
  DR_KEY_OWN = 0x200 /* the first key of a subcommand's own options */
};

/* Rows for a `static const struct argp_option[]`. */
#define DR_OPTION_ENV \
  { "env", DR_KEY_ENV, "NAME", 0, "Environment, or the path of a plugin (.so)", 1 }
#define DR_OPTION_ENV_ARG \
  { "env-arg", DR_KEY_ENV_ARG, "K=V[,K=V...]", 0, "Arguments of the environment; may be given again", 1 }
#define DR_OPTION_NUM_ENVS \
  { "num-envs", DR_KEY_NUM_ENVS, "N", 0, "How many environments", 1 }
#define DR_OPTION_STEPS \
  { "steps", DR_KEY_STEPS, "T", 0, "Steps of each environment", 1 }
#define DR_OPTION_SEED \
  { "seed", DR_KEY_SEED, "S", 0, "Seed of everything random (default 0)", 1 }
#define DR_OPTION_POLICY \
  { "policy", DR_KEY_POLICY, "P", 0, "random, mlp:W[,W...] (hidden widths) or a safetensors file", 1 }
#define DR_OPTION_ACTIVATION \
  { "activation", DR_KEY_ACTIVATION, "A", 0, "Of an mlp: relu, tanh (default), elu, leaky-relu, identity", 1 }
#define DR_OPTION_TRANSFORM                                                                                            \
  {                                                                                                                    \
    "transform", DR_KEY_TRANSFORM, "HOW", 0, "Continuous actions on their way to the env: clip (default), tanh, none", \
        1                                                                                                              \
  }
#define DR_OPTION_MAX_EPISODE_STEPS \
  { "max-episode-steps", DR_KEY_MAX_EPISODE_STEPS, "L", 0, "Time limit in steps; auto = the env's own, or none", 1 }
#define DR_OPTION_INNER_POLICY                                                                       \
  {                                                                                                  \
    "inner-policy", DR_KEY_INNER_POLICY, "P", 0,                                                     \
        "Inside the step, where the environment has an inner loop: mlp:W[,W...] or a file (default " \
        "mlp:256,256,256)",                                                                          \
        1                                                                                            \
  }
#define DR_OPTION_WORKERS \
  { "workers", DR_KEY_WORKERS, "W", 0, "Worker threads; auto = the cores really usable", 2 }
#define DR_OPTION_SHARD \
  { "shard", DR_KEY_SHARD, "B", 0, "Environments that advance together (results do not change)", 2 }
#define DR_OPTION_CHUNK \
  { "chunk", DR_KEY_CHUNK, "C", 0, "Environments a worker claims at once (results do not change)", 2 }
#define DR_OPTION_TRACE \
  { "trace", DR_KEY_TRACE, "FILE", 0, "Write what each worker did, for ui.perfetto.dev", 3 }
#define DR_OPTION_JSON \
  { "json", DR_KEY_JSON, 0, 0, "Print JSON on standard output, and nothing else there", 3 }
#define DR_OPTION_QUIET \
  { "quiet", DR_KEY_QUIET, 0, 0, "No progress", 3 }

/* What they say; 0, NULL and false stand for "not given" or "auto". */
typedef struct dr_options {
  const char *command; /* "rollout": begins every message */
  const char *env;
  drover_env_arg env_args[DR_MAX_ENV_ARGS];
  int32_t num_env_args;
  int32_t num_envs;
  int32_t num_steps;
  uint64_t seed; /* 0..2^63-1, so that every JSON reader can hold it */
  int32_t num_workers;
  int32_t shard;
  int32_t chunk;
  const char *policy;
  const char *inner_policy;
  const char *activation;
  drover_action_transform transform;
  int32_t max_episode_steps; /* 0 = the env's own, DR_NO_TIME_LIMIT = none */
  const char *trace;
  bool json;
  bool quiet;
} dr_options;

/* Names of drover_action_transform in its order, ended by NULL. */
extern const char *const dr_transform_names[];

/* Print "drover COMMAND: sentence" and exit with code 2. */
_Noreturn void dr_usage_error(const char *command, const char *format, ...) DROVER_PRINTF(2, 3);

/* Parse argv with the subcommand's argp; the program's name in --help is "drover COMMAND". `input` is handed to the
 * parser as state->input. Returns; or exits after --help or a usage error. */
void dr_options_run(const struct argp *argp, const char *command, int argc, char **argv, void *input);

/* For a subcommand's parser: take one shared key. ARGP_ERR_UNKNOWN if it is none of them; an argument without an
 * option is an error. */
error_t dr_options_parse(int key, char *arg, dr_options *options);

/* A whole number for --`name`: digits, perhaps a fraction, and k (1,000) or M (1,000,000); `auto` gives 0 where
 * low <= 0. Exits with a usage error unless it is in low..high (0 for auto is always in range then). */
int64_t dr_options_integer(const char *command, const char *name, const char *text, int64_t low, int64_t high,
                           bool may_be_auto);

/* A number in low..high for --`name`, or a usage error. */
double dr_options_real(const char *command, const char *name, const char *text, double low, double high);

/* The index of `text` in `names` (ended by NULL), or a usage error that lists them. */
int dr_options_choice(const char *command, const char *name, const char *text, const char *const *names);

/* The file that --`name` will write must be a regular one, or new, in a folder that can be written to; else a usage
 * error. Checked before the run, so that a long one is not lost. */
void dr_options_check_output(const char *command, const char *name, const char *path);

#endif
