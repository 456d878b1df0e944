/* eval.c: `drover eval`: how good a policy is: whole episodes, deterministic unless asked otherwise.
 *
 * Every env plays the same number of episodes to their end: the first N to finish of many would be the short ones.
 * Seeds of training are below 2^63; an evaluation sets the top bit, so that it never meets an episode of training. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/commands.h"
#include "tools/eval_episodes.h"
#include "tools/format.h"
#include "tools/interrupt.h"
#include "tools/json.h"
#include "tools/progress.h"
#include "tools/setup.h"
#include "tools/train.h"

enum {
  DEFAULT_EPISODES = 100,
  DEFAULT_NUM_ENVS = 20,
  STEPS_AT_ONCE = 64,
  KEY_EPISODES = DR_KEY_OWN,
  KEY_STOCHASTIC,
  KEY_TRANSFORM,
  KEY_MAX_EPISODE_STEPS,
  KEY_INFO_LAST
};
static const uint64_t EVALUATION_SEED = UINT64_C(1) << 63;

static const struct argp_option rows[] = {
    {NULL, 0, NULL, 0, "What is evaluated:", 1},
    DR_OPTION_ENV,
    DR_OPTION_ENV_ARG,
    DR_OPTION_NUM_ENVS,
    DR_OPTION_SEED,
    {"policy", DR_KEY_POLICY, "P", 0, "A safetensors file; or random, or mlp:W[,W...] (untrained)", 1},
    DR_OPTION_INNER_POLICY,
    {"episodes", KEY_EPISODES, "E", 0, "Episodes in all (default 100), the same number of each env", 1},
    {"stochastic", KEY_STOCHASTIC, NULL, 0, "Sample actions instead of taking the most likely", 1},
    {"transform", KEY_TRANSFORM, "HOW", 0, "Continuous actions on their way to the env: clip (default), tanh, none", 1},
    {"max-episode-steps", KEY_MAX_EPISODE_STEPS, "L", 0, "Time limit in steps; auto = the env's own", 1},
    {"info-last", KEY_INFO_LAST, "K", 0, "Info columns: means of an episode's last K steps (default: all)", 1},
    {NULL, 0, NULL, 0, "How it runs:", 2},
    DR_OPTION_WORKERS,
    {NULL, 0, NULL, 0, "What comes out:", 3},
    DR_OPTION_JSON,
    DR_OPTION_QUIET,
    {0}};

static const char *const transform_names[] = {"clip", "tanh", "none", NULL};

typedef struct request {
  dr_options common;
  const drover_env_type *type;
  dr_policy_choice policy, inner;
  int64_t num_episodes;
  int64_t info_last; /* 0 = the whole episode */
  int32_t max_episode_steps;
  drover_action_transform transform;
  bool stochastic;
} request;

static error_t parse(int key, char *arg, struct argp_state *state) {
  request *r = state->input;
  const char *command = r->common.command;
  switch (key) {
    case KEY_EPISODES:
      r->num_episodes = dr_options_integer(command, "episodes", arg, 1, 10000000, false);
      return 0;
    case KEY_STOCHASTIC:
      r->stochastic = true;
      return 0;
    case KEY_TRANSFORM:
      r->transform = (drover_action_transform)dr_options_choice(command, "transform", arg, transform_names);
      return 0;
    case KEY_MAX_EPISODE_STEPS:
      r->max_episode_steps = (int32_t)dr_options_integer(command, "max-episode-steps", arg, 1, INT32_MAX, true);
      return 0;
    case KEY_INFO_LAST:
      r->info_last = dr_options_integer(command, "info-last", arg, 1, 1000000, true);
      return 0;
    default:
      return dr_options_parse(key, arg, &r->common);
  }
}

/* ---- Handles ---- */

typedef struct handles {
  drover_runtime *runtime;
  drover_batch *batch;
  drover_policy *policy, *inner_policy;
  drover_rollout *rollout;
  const drover_env_spec *spec;
} handles;

static drover_status open_batch(const request *r, handles *h) {
  drover_runtime_options runtime_options;
  drover_status status = drover_runtime_options_init(&runtime_options, sizeof runtime_options);
  if (status) return status;
  runtime_options.num_workers = r->common.num_workers;
  status = drover_runtime_create(&h->runtime, &runtime_options);
  if (status) return status;
  dr_interrupt_watch(h->runtime);
  drover_batch_options options;
  status = drover_batch_options_init(&options, sizeof options);
  if (status) return status;
  options.num_envs = r->common.num_envs;
  options.seed = r->common.seed | EVALUATION_SEED;
  options.max_episode_steps = r->max_episode_steps > 0 ? r->max_episode_steps : -1;
  options.args = (drover_env_args){r->common.num_env_args, r->common.env_args};
  status = drover_batch_create(&h->batch, h->runtime, r->type, &options);
  if (status) return status;
  drover_batch_view view = {.size = sizeof view};
  status = drover_batch_get_view(h->batch, &view);
  h->spec = view.spec;
  return status;
}

static drover_status open_policies(const request *r, handles *h) {
  const drover_status status = dr_policy_choice_create(&h->policy, h->runtime, h->spec, &r->policy, r->common.seed);
  if (status) return status;
  if (h->spec->num_ticks > 0 && r->inner.is_default)
    dr_usage_error(r->common.command, "%s needs --inner-policy: it has a policy inside its steps", r->type->name);
  return dr_inner_choice_create(&h->inner_policy, h->runtime, h->batch, &r->inner, r->common.seed);
}

static drover_status open_handles(const request *r, handles *h) {
  drover_status status = open_batch(r, h);
  if (!status) status = open_policies(r, h);
  if (status) return status;
  drover_rollout_options options;
  status = drover_rollout_options_init(&options, sizeof options);
  if (status) return status;
  options.num_steps = STEPS_AT_ONCE;
  options.deterministic = r->stochastic ? 0 : 1;
  options.transform = r->transform;
  return drover_rollout_create(&h->rollout, h->batch, h->policy, &options);
}

static void close_handles(handles *h) {
  dr_interrupt_watch(NULL);
  drover_rollout_destroy(h->rollout);
  drover_batch_destroy(h->batch);
  drover_policy_destroy(h->policy);
  drover_policy_destroy(h->inner_policy);
  drover_runtime_destroy(h->runtime);
}

/* ---- Playing ---- */

static drover_status play(const request *r, handles *h, dr_episodes *all) {
  dr_progress progress;
  dr_progress_begin(&progress, r->common.quiet);
  drover_status status = DROVER_OK;
  const double begin = dr_train_clock();
  while (!status && all->num_done < all->count) {
    if (dr_interrupt_pending()) status = DROVER_ERROR_CANCELLED;
    if (!status) status = drover_rollout_collect(h->rollout);
    drover_rollout_view view = {.size = sizeof view};
    const drover_status viewed = drover_rollout_get_view(h->rollout, &view);
    if (!status || status == DROVER_ERROR_CANCELLED) dr_episodes_take(all, &view);
    if (!status) status = viewed;
    all->seconds = dr_train_clock() - begin;
    dr_progress_line(&progress, r->type->name, (double)all->num_done / (double)all->count, all->seconds,
                     "%" PRId64 " of %" PRId64 " episodes", all->num_done, all->count);
  }
  dr_progress_end(&progress);
  return status;
}

/* ---- Report ---- */

static json_t *summary_json(const dr_episodes *all, const double *values) {
  const dr_summary s = dr_episodes_summarize(all, values);
  json_t *object = json_object();
  json_object_set_new(object, "mean", dr_json_number(s.mean));
  json_object_set_new(object, "std", dr_json_number(s.std));
  json_object_set_new(object, "min", dr_json_number(s.min));
  json_object_set_new(object, "max", dr_json_number(s.max));
  json_t *each = json_array();
  for (int32_t env = 0; env < all->num_envs; env++)
    for (int64_t k = 0; k < all->done[env]; k++)
      json_array_append_new(each, dr_json_number(values[all->first[env] + k]));
  json_object_set_new(object, "each", each);
  return object;
}

static int print_json(const request *r, const handles *h, const dr_episodes *all, bool interrupted) {
  const int32_t n = r->common.num_envs;
  json_t *object = json_object(), *infos = json_object();
  for (int32_t j = 0; j < all->num_infos; j++)
    json_object_set_new(infos, h->spec->info_names[j], summary_json(all, all->infos + j * all->count));
  json_object_set_new(object, "env", json_string(r->type->name));
  json_object_set_new(object, "policy", json_string(r->common.policy));
  json_object_set_new(object, "inner_policy", h->inner_policy ? json_string(r->inner.text) : json_null());
  json_object_set_new(object, "seed", json_integer((json_int_t)r->common.seed));
  json_object_set_new(object, "deterministic", json_boolean(!r->stochastic));
  json_object_set_new(object, "num_envs", json_integer(n));
  json_object_set_new(object, "episodes", json_integer(all->num_done));
  json_object_set_new(object, "mean_return", dr_json_number(dr_episodes_summarize(all, all->returns).mean));
  json_object_set_new(object, "mean_length", dr_json_number(dr_episodes_summarize(all, all->steps).mean));
  json_object_set_new(object, "returns", summary_json(all, all->returns));
  json_object_set_new(object, "lengths", summary_json(all, all->steps));
  json_object_set_new(object, "terminated", json_integer(all->num_terminated));
  json_object_set_new(object, "info_last", r->info_last > 0 ? json_integer(r->info_last) : json_null());
  json_object_set_new(object, "infos", infos);
  json_object_set_new(object, "num_faults", json_integer(all->num_faults));
  json_object_set_new(object, "steps", json_integer(all->num_steps));
  json_object_set_new(object, "seconds", dr_json_number(all->seconds));
  json_object_set_new(object, "interrupted", json_boolean(interrupted));
  json_object_set_new(object, "version", json_string(drover_version()));
  return dr_json_print(object);
}

static void print_summary(const char *name, int width, dr_summary s) {
  printf("  %-*s %10.5g %10.5g %10.5g %10.5g\n", width, name, s.mean, s.std, s.min, s.max);
}

static void print_words(const request *r, const handles *h, const dr_episodes *all) {
  int width = 8;
  for (int32_t j = 0; j < all->num_infos; j++) {
    const int length = (int)strlen(h->spec->info_names[j]);
    if (length > width) width = length;
  }
  char seconds[DR_FORMAT_BYTES];
  printf("%s: %" PRId64 " episodes of %s, %s, in %s\n", r->type->name, all->num_done, r->common.policy,
         r->stochastic ? "stochastic" : "deterministic", dr_format_seconds(seconds, all->seconds));
  printf("  %-*s %10s %10s %10s %10s\n", width, "", "mean", "std", "min", "max");
  print_summary("return", width, dr_episodes_summarize(all, all->returns));
  print_summary("length", width, dr_episodes_summarize(all, all->steps));
  for (int32_t j = 0; j < all->num_infos; j++)
    print_summary(h->spec->info_names[j], width, dr_episodes_summarize(all, all->infos + j * all->count));
  printf("  %" PRId64 " terminated, %" PRId64 " at a time limit", all->num_terminated,
         all->num_done - all->num_terminated);
  if (all->num_faults > 0) printf("; %" PRId64 " more ended by a fault and do not count", all->num_faults);
  putchar('\n');
  if (all->num_infos > 0 && r->info_last > 0)
    printf("  info columns: means of each episode's last %" PRId64 " steps\n", r->info_last);
  else if (all->num_infos > 0)
    puts("  info columns: means of each episode's steps");
}

/* ---- The command ---- */

static int eval(const request *r, handles *h, dr_episodes *all) {
  const char *command = r->common.command;
  drover_status status = open_handles(r, h);
  if (!status && dr_episodes_init(all, h->spec, r->common.num_envs, r->num_episodes, r->info_last) != 0)
    status = DROVER_ERROR_NO_MEMORY;
  if (status) return dr_report_failure(command, NULL, status);
  status = play(r, h, all);
  const bool interrupted = status == DROVER_ERROR_CANCELLED;
  if (status && !interrupted) return dr_report_failure(command, NULL, status);
  if (interrupted)
    fprintf(stderr, "drover eval: interrupted; %" PRId64 " of %" PRId64 " episodes were played\n", all->num_done,
            all->count);
  if (!r->common.json)
    print_words(r, h, all);
  else if (print_json(r, h, all, interrupted) != 0)
    return DR_EXIT_FAILED;
  return interrupted ? DR_EXIT_INTERRUPTED : DR_EXIT_DONE;
}

int dr_cmd_eval(int argc, char **argv) {
  static const struct argp argp = {
      rows,
      parse,
      NULL,
      "Play whole episodes under a policy, and say how well it did.\v"
      "Every environment plays the same number of episodes to their end, from seeds that training never uses. "
      "Normalisation moments are those in the file.\n\n"
      "Examples:\n"
      "  drover eval --env CartPole-v1 --policy cartpole.safetensors\n"
      "  drover eval --env HalfCheetah-v5 --policy cheetah.safetensors --episodes 20 --stochastic --json",
      NULL,
      NULL,
      NULL};
  request r = {.common = {.command = "eval"}, .num_episodes = DEFAULT_EPISODES};
  dr_options_run(&argp, "eval", argc, argv, &r);
  const char *command = r.common.command;
  if (!r.common.env) r.common.env = "CartPole-v1";
  r.type = dr_find_env(command, r.common.env);
  if (!r.common.policy) dr_usage_error(command, "--policy is missing: a file that drover train --save wrote");
  dr_policy_choice_parse(&r.policy, command, r.common.policy, NULL);
  dr_inner_choice_parse(&r.inner, command, r.common.inner_policy);
  if (r.common.num_envs == 0) r.common.num_envs = DEFAULT_NUM_ENVS;
  if (r.common.num_envs > r.num_episodes) r.common.num_envs = (int32_t)r.num_episodes;
  dr_interrupt_install();
  handles h = {0};
  dr_episodes all = {0};
  const int code = eval(&r, &h, &all);
  dr_episodes_free(&all);
  close_handles(&h);
  return code;
}
