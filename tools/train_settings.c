/* train_settings.c: the options of `drover train` as one table, for the command line, config files and checkpoints. */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/train.h"

typedef enum kind { INT32, INT64, REAL, SWITCH, CHOICE, TEXT, FLAG } kind;

/* One option: where its value lies in the request and what it may be. */
typedef struct setting {
  const char *name;
  const char *arg;
  const char *help;
  const char *const *choices;
  size_t offset;
  double low, high;
  kind kind;
  int group;
  bool may_be_auto; /* 0 and auto: decide for me, or off */
  bool is_kept;     /* part of what makes a run: kept in checkpoints */
} setting;

enum { WHAT = 1, LENGTH = 2, PPO = 3, INNER = 4, FILES = 5, HOW = 6 };
static const double MOST = 9e15;

#define AT(member) offsetof(dr_train_request, member)
#define COUNT(name, member, kind, low, high, group, help) \
  { name, "N", help, NULL, AT(member), low, high, kind, group, (low) == 0, true }
#define NUMBER(name, member, low, high, group, help) \
  { name, "X", help, NULL, AT(member), low, high, REAL, group, false, true }
#define ON_OFF(name, member, group, help) \
  { name, "on|off", help, NULL, AT(member), 0, 1, SWITCH, group, false, true }
#define ONE_OF(name, member, names, group, help) \
  { name, "NAME", help, names, AT(member), 0, 0, CHOICE, group, false, true }
#define PATH(name, member, help) \
  { name, "FILE", help, NULL, AT(member), 0, 0, TEXT, FILES, false, false }

static const setting settings[] = {
    ONE_OF("activation", activation, dr_activation_names, WHAT,
           "Of the network: relu, tanh, elu, leaky-relu, identity"),
    NUMBER("leaky-slope", leaky_slope, 0, 1, WHAT, "Of leaky-relu below 0"),
    ON_OFF("shared-values", shared_values, WHAT, "Value network on the policy's last hidden layer"),
    ON_OFF("normalize-observations", normalize_observations, WHAT, "By running mean and deviation, clipped to +-10"),
    NUMBER("initial-log-std", initial_log_std, -20, 20, WHAT, "Log of the initial deviation of continuous actions"),
    ONE_OF("transform", transform, dr_transform_names, WHAT,
           "Continuous actions on their way to the env: clip, tanh, none"),
    COUNT("noise-hold", noise_hold, INT32, 1, 65536, WHAT, "Steps for which a continuous action's noise is held"),
    COUNT("max-episode-steps", max_episode_steps, INT32, 0, 2147483647, WHAT, "Time limit; auto = the env's own"),
    COUNT("fault-limit", fault_limit, INT64, 0, MOST, WHAT, "Stop after more than N failed envs"),
    {"init", "FILE", "Begin with the policy in this file", NULL, AT(init), 0, 0, TEXT, WHAT, false, false},

    COUNT("total-steps", total_steps, INT64, 1, MOST, LENGTH, "Env steps to train for, at most"),
    {"target-return", "R", "Stop once the mean return of the last 100 episodes is R or more (none = never)", NULL,
     AT(target_return), -1e300, 1e300, REAL, LENGTH, false, true},

    NUMBER("learning-rate", ppo.learning_rate, 1e-12, 10, PPO, "Of Adam"),
    NUMBER("final-learning-rate", ppo.final_learning_rate, 0, 10, PPO, "Reached linearly at --total-steps"),
    NUMBER("adam-beta1", ppo.adam_beta1, 0, 0.999999, PPO, "Decay of the gradient's mean"),
    NUMBER("adam-beta2", ppo.adam_beta2, 0, 0.999999999, PPO, "Decay of the gradient's square"),
    NUMBER("adam-epsilon", ppo.adam_epsilon, 1e-15, 1, PPO, "Added to the root of the square"),
    COUNT("num-epochs", ppo.num_epochs, INT32, 1, 1000, PPO, "Passes over a rollout"),
    COUNT("num-minibatches", ppo.num_minibatches, INT32, 1, 16777216, PPO, "Into which a pass is divided"),
    NUMBER("clip-range", ppo.clip_range, 1e-6, 10, PPO, "Of the probability ratio"),
    NUMBER("value-clip-range", ppo.value_clip_range, 0, 1e9, PPO, "Of the value's change; 0 = off"),
    NUMBER("value-coef", ppo.value_coef, 0, 1e6, PPO, "Factor of the value loss"),
    NUMBER("entropy-coef", ppo.entropy_coef, 0, 1e6, PPO, "Factor of the entropy bonus"),
    NUMBER("max-grad-norm", ppo.max_grad_norm, 0, 1e9, PPO, "Limit of the gradient's norm; 0 = off"),
    NUMBER("target-kl", ppo.target_kl, 0, 1e9, PPO, "End an update above 1.5 times this; 0 = off"),
    NUMBER("gamma", ppo.gamma, 0, 1, PPO, "Discount"),
    NUMBER("gae-lambda", ppo.gae_lambda, 0, 1, PPO, "Of the advantage estimates"),
    ON_OFF("normalize-advantages", ppo.normalize_advantages, PPO, "To mean 0 and deviation 1 in a minibatch"),
    ON_OFF("scale-rewards", ppo.scale_rewards, PPO, "By the running deviation of the discounted return"),

    ONE_OF("inner-activation", inner_activation, dr_activation_names, INNER, "Of an inner mlp"),
    ON_OFF("inner-normalize-observations", inner_normalize_observations, INNER,
           "By the mean and deviation of all samples"),
    NUMBER("inner-learning-rate", inner.learning_rate, 1e-12, 10, INNER, "Of its Adam"),
    NUMBER("inner-final-learning-rate", inner.final_learning_rate, 0, 10, INNER, "Reached linearly"),
    COUNT("inner-num-decay-steps", inner.num_decay_steps, INT64, 0, 1e12, INNER, "Over these Adam steps; 0 = constant"),
    NUMBER("inner-adam-beta1", inner.adam_beta1, 0, 0.999999, INNER, "Decay of its gradient's mean"),
    NUMBER("inner-adam-beta2", inner.adam_beta2, 0, 0.999999999, INNER, "Decay of its gradient's square"),
    NUMBER("inner-adam-epsilon", inner.adam_epsilon, 1e-15, 1, INNER, "Added to the root of the square"),
    COUNT("inner-minibatch", inner.minibatch, INT32, 1, 16777216, INNER, "Samples of an Adam step"),
    COUNT("inner-capacity", inner.capacity, INT64, 1, 1e12, INNER, "Samples kept, the latest ones"),
    NUMBER("inner-grad-limit", inner.grad_limit, 0, 1e9, INNER, "Limit of each element of the gradient; 0 = off"),
    NUMBER("inner-torque-scale", inner.torque_scale, 1e-9, 1e9, INNER, "N m that count as 1 in the loss"),
    NUMBER("inner-effort-coef", inner.effort_coef, 0, 1e9, INNER, "Factor of the squared activations"),
    COUNT("inner-steps", inner_steps, INT64, 0, 1e9, INNER, "Adam steps after each PPO update; 0 = keep it as it is"),
    COUNT("inner-pretrain-samples", inner_pretrain_samples, INT64, 0, 1e12, INNER, "Samples drawn before training"),
    COUNT("inner-pretrain-steps", inner_pretrain_steps, INT64, 0, 1e12, INNER, "Adam steps on them"),

    PATH("save", save, "Write the trained policy (safetensors)"),
    PATH("save-inner", save_inner, "Write the trained inner policy"),
    PATH("checkpoint", checkpoint,
         "Write checkpoints here (none = never; default: ENV.checkpoint.safetensors, when "
         "interrupted only)"),
    {"checkpoint-every", "N", "Env steps between checkpoints; auto = a tenth of the run", NULL, AT(checkpoint_every), 0,
     9e15, INT64, FILES, true, false},
    PATH("resume", resume, "Go on where this checkpoint was written, with its options"),
    PATH("log", log, "Write a line of figures an update (CSV)"),
    PATH("plot", plot, "Draw the curves at the end (.html, .svg or .png)"),
    PATH("config", config, "Read options, `name = value` a line; the command line wins"),
    {"print-config", NULL, "Print all options as a config file and exit", NULL, AT(print_config), 0, 0, FLAG, FILES,
     false, false},
};
enum { NUM_SETTINGS = sizeof settings / sizeof settings[0], FIRST_KEY = DR_KEY_OWN };

static void *place(const setting *s, dr_train_request *request) { return (char *)request + s->offset; }

static void set(const setting *s, dr_train_request *request, char *text) {
  const char *command = request->common.command;
  static const char *const switches[] = {"off", "on", NULL};
  switch (s->kind) {
    case INT32:
      *(int32_t *)place(s, request) =
          (int32_t)dr_options_integer(command, s->name, text, (int64_t)s->low, (int64_t)s->high, s->may_be_auto);
      break;
    case INT64:
      *(int64_t *)place(s, request) =
          dr_options_integer(command, s->name, text, (int64_t)s->low, (int64_t)s->high, s->may_be_auto);
      break;
    case REAL:
      *(double *)place(s, request) = s->offset == AT(target_return) && strcmp(text, "none") == 0
                                         ? (double)NAN
                                         : dr_options_real(command, s->name, text, s->low, s->high);
      break;
    case SWITCH:
      *(int32_t *)place(s, request) = dr_options_choice(command, s->name, text, switches);
      break;
    case CHOICE:
      *(int32_t *)place(s, request) = dr_options_choice(command, s->name, text, s->choices);
      break;
    case TEXT:
      *(const char **)place(s, request) = text;
      break;
    case FLAG:
      *(bool *)place(s, request) = true;
      break;
  }
}

static error_t parse(int key, char *arg, struct argp_state *state) {
  dr_train_request *request = state->input;
  error_t failed = 0;
  if (key >= FIRST_KEY && key < FIRST_KEY + NUM_SETTINGS)
    set(&settings[key - FIRST_KEY], request, arg);
  else
    failed = dr_options_parse(key, arg, &request->common);
  if (!failed && key > 0 && key < DR_TRAIN_MAX_KEY) request->given[key] = (uint8_t)request->layer;
  return failed;
}

/* ---- The rows of argp ---- */

static struct argp_option rows[NUM_SETTINGS + 24];

static void add_row(int *count, struct argp_option row) { rows[(*count)++] = row; }

static void add_group(int *count, int group, const char *title) {
  add_row(count, (struct argp_option){.doc = title, .group = group});
  for (int i = 0; i < NUM_SETTINGS; i++)
    if (settings[i].group == group)
      add_row(count, (struct argp_option){.name = settings[i].name,
                                          .key = FIRST_KEY + i,
                                          .arg = settings[i].arg,
                                          .doc = settings[i].help,
                                          .group = group});
}

/* In the order of the help; the shared rows keep their names, letters and groups' places. */
static void fill_rows(void) {
  int count = 0;
  const struct argp_option shared_what[] = {DR_OPTION_ENV, DR_OPTION_ENV_ARG, DR_OPTION_NUM_ENVS, DR_OPTION_STEPS,
                                            DR_OPTION_SEED};
  const struct argp_option shared_how[] = {DR_OPTION_WORKERS, DR_OPTION_SHARD, DR_OPTION_CHUNK};
  const struct argp_option shared_out[] = {DR_OPTION_JSON, DR_OPTION_QUIET};
  add_group(&count, WHAT, "What is trained:");
  for (size_t i = 0; i < sizeof shared_what / sizeof shared_what[0]; i++) {
    struct argp_option row = shared_what[i];
    if (row.key == DR_KEY_STEPS) row.doc = "Steps of each environment between updates";
    row.group = WHAT;
    add_row(&count, row);
  }
  add_row(&count,
          (struct argp_option){"policy", DR_KEY_POLICY, "mlp:W[,W...]", 0, "Widths of its hidden layers", WHAT});
  add_group(&count, LENGTH, "How long:");
  add_group(&count, PPO, "Learner (PPO):");
  add_group(&count, INNER, "Inner policy (environments with an inner loop):");
  struct argp_option inner = DR_OPTION_INNER_POLICY;
  inner.group = INNER;
  add_row(&count, inner);
  add_group(&count, FILES, "Files:");
  for (size_t i = 0; i < sizeof shared_out / sizeof shared_out[0]; i++) {
    struct argp_option row = shared_out[i];
    row.group = FILES;
    add_row(&count, row);
  }
  add_row(&count, (struct argp_option){.doc = "How it runs (results do not change):", .group = HOW});
  for (size_t i = 0; i < sizeof shared_how / sizeof shared_how[0]; i++) {
    struct argp_option row = shared_how[i];
    row.group = HOW;
    add_row(&count, row);
  }
}

static const char doc[] =
    "Train a policy by PPO: rollouts and learner share the worker threads. The weights depend on the seed, the options "
    "and the environment alone, not on the number of workers.\v"
    "Each environment of the table of defaults has its own; `drover train --env NAME --print-config` prints them. "
    "Ctrl-C writes a checkpoint and exits with 3; a second one exits at once.\n\n"
    "Examples:\n"
    "  drover train --env CartPole-v1 --save cartpole.safetensors\n"
    "  drover train --env HalfCheetah-v5 --log cheetah.csv --checkpoint cheetah.run\n"
    "  drover train --resume cheetah.run --log cheetah.csv --plot cheetah.html\n"
    "  drover train --env Pendulum-v1 --print-config >pendulum.conf\n"
    "  drover train --config pendulum.conf --seed 3\n"
    "\n"
    "--json prints one object at the end; a line an update is what --log is for.";

const struct argp dr_train_argp = {rows, parse, NULL, doc, NULL, NULL, NULL};

void dr_train_request_init(dr_train_request *request) {
  memset(request, 0, sizeof *request);
  fill_rows();
  request->common.command = "train";
  request->activation = DROVER_ACTIVATION_TANH;
  request->leaky_slope = 0.2;
  request->noise_hold = 1;
  request->total_steps = 1000000;
  request->target_return = (double)NAN;
  drover_ppo_options_init(&request->ppo, sizeof request->ppo);
  request->ppo.final_learning_rate = 0;
  drover_inner_options_init(&request->inner, sizeof request->inner);
  request->inner_activation = DROVER_ACTIVATION_ELU;
  request->inner_normalize_observations = 1;
  request->inner_steps = 32;
}

/* ---- As text ---- */

/* The shortest decimal that reads back as the same number. */
static void print_real(FILE *out, double value) {
  char text[40];
  for (int digits = 6; digits <= 17; digits++) {
    snprintf(text, sizeof text, "%.*g", digits, value);
    if (strtod(text, NULL) == value) break;
  }
  fputs(text, out);
}

static void print_value(FILE *out, const setting *s, const dr_train_request *request) {
  const void *at = (const char *)request + s->offset;
  switch (s->kind) {
    case INT32:
      fprintf(out, "%d", *(const int32_t *)at);
      break;
    case INT64:
      fprintf(out, "%lld", (long long)*(const int64_t *)at);
      break;
    case REAL:
      if (isnan(*(const double *)at))
        fputs("none", out);
      else
        print_real(out, *(const double *)at);
      break;
    case SWITCH:
      fputs(*(const int32_t *)at ? "on" : "off", out);
      break;
    case CHOICE:
      fputs(s->choices[*(const int32_t *)at], out);
      break;
    default:
      fputs(*(const char *const *)at, out);
  }
}

char *dr_train_settings_text(const dr_train_request *request) {
  char *text = NULL;
  size_t bytes = 0;
  FILE *out = open_memstream(&text, &bytes);
  if (!out) return NULL;
  const dr_options *common = &request->common;
  fprintf(out, "env = %s\n", common->env ? common->env : "");
  for (int32_t i = 0; i < common->num_env_args; i++)
    fprintf(out, "env-arg = %s=%s\n", common->env_args[i].key, common->env_args[i].value);
  fprintf(out, "seed = %llu\npolicy = %s\nnum-envs = %d\nsteps = %d\n", (unsigned long long)common->seed,
          common->policy ? common->policy : "", common->num_envs, common->num_steps);
  if (common->inner_policy) fprintf(out, "inner-policy = %s\n", common->inner_policy);
  for (int i = 0; i < NUM_SETTINGS; i++) {
    const setting *s = &settings[i];
    if (!s->is_kept || (s->kind == TEXT && !*(const char *const *)((const char *)request + s->offset))) continue;
    fprintf(out, "%s = ", s->name);
    print_value(out, s, request);
    fputc('\n', out);
  }
  const bool failed = ferror(out) != 0;
  if (fclose(out) != 0 || failed) {
    free(text);
    return NULL;
  }
  return text;
}
