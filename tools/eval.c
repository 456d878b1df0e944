/* eval.c: `drover eval`: how good a policy is: whole episodes, deterministic unless asked otherwise.
 *
 * Every env plays the same number of episodes to their end: the first N to finish of many would be the short ones.
 * Seeds of training are below 2^63; an evaluation sets the top bit, so that it never meets an episode of training. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "perf/clock.h"
#include "tools/commands.h"
#include "tools/eval_episodes.h"
#include "tools/format.h"
#include "tools/interrupt.h"
#include "tools/json.h"
#include "tools/progress.h"
#include "tools/setup.h"

enum {
  DEFAULT_EPISODES = 100,
  DEFAULT_NUM_ENVS = 20,
  STEPS_AT_ONCE = 64,
  KEY_EPISODES = DR_KEY_OWN,
  KEY_STOCHASTIC,
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
    {"inner-policy", DR_KEY_INNER_POLICY, "P", 0, "Where the environment has an inner loop: as --policy", 1},
    {"episodes", KEY_EPISODES, "E", 0, "Episodes in all (default 100), the same number of each env", 1},
    {"stochastic", KEY_STOCHASTIC, NULL, 0, "Sample actions instead of taking the most likely", 1},
    DR_OPTION_TRANSFORM,
    DR_OPTION_MAX_EPISODE_STEPS,
    {"info-last", KEY_INFO_LAST, "K", 0, "Info columns: means of an episode's last K steps (default: all)", 1},
    {NULL, 0, NULL, 0, "How it runs:", 2},
    DR_OPTION_WORKERS,
    {NULL, 0, NULL, 0, "What comes out:", 3},
    DR_OPTION_JSON,
    DR_OPTION_QUIET,
    {0}};

typedef struct request {
  dr_options common;
  const drover_env_type *type;
  dr_policy_choice policy, inner;
  int64_t num_episodes;
  int64_t info_last; /* 0 = the whole episode */
  bool stochastic;
} request;

/* The random policy has no most likely action. */
static bool is_deterministic(const request *r) { return !r->stochastic && r->policy.kind != DR_POLICY_RANDOM; }

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
    case KEY_INFO_LAST:
      r->info_last = dr_options_integer(command, "info-last", arg, 1, 1000000, true);
      return 0;
    default:
      return dr_options_parse(key, arg, &r->common);
  }
}

/* ---- Opening ---- */

static drover_status open_handles(const request *r, dr_handles *h) {
  drover_batch_options options;
  drover_status status = dr_batch_options_for(&options, &r->common);
  if (status) return status;
  options.seed |= EVALUATION_SEED;
  status = dr_handles_open(h, &r->common, r->type, &options);
  if (status) return status;
  if (h->spec->num_ticks > 0 && r->inner.is_default)
    dr_usage_error(r->common.command, "%s needs --inner-policy: it has a policy inside its steps", r->type->name);
  return dr_handles_open_policies(h, &r->common, &r->policy, &r->inner);
}

static drover_status open_rollout(const request *r, const dr_handles *h, drover_rollout **out) {
  drover_rollout_options options;
  const drover_status status = drover_rollout_options_init(&options, sizeof options);
  if (status) return status;
  options.num_steps = STEPS_AT_ONCE;
  options.deterministic = is_deterministic(r);
  options.transform = r->common.transform;
  return drover_rollout_create(out, h->batch, h->policy, &options);
}

/* ---- Playing ---- */

static drover_status play(const request *r, drover_rollout *rollout, dr_episodes *all) {
  dr_progress progress;
  dr_progress_begin(&progress, r->common.quiet);
  drover_status status = DROVER_OK;
  const double begin = dr_seconds_now();
  while (!status && all->num_done < all->count) {
    if (dr_interrupt_pending()) status = DROVER_ERROR_CANCELLED;
    if (!status) status = drover_rollout_collect(rollout);
    drover_rollout_view view = {.size = sizeof view};
    const drover_status viewed = drover_rollout_get_view(rollout, &view);
    if (!status || status == DROVER_ERROR_CANCELLED) dr_episodes_take(all, &view);
    if (!status) status = viewed;
    all->seconds = dr_seconds_now() - begin;
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

static int print_json(const request *r, const dr_handles *h, const dr_episodes *all, bool interrupted) {
  const int32_t n = r->common.num_envs;
  json_t *object = json_object(), *infos = json_object();
  for (int32_t j = 0; j < all->num_infos; j++)
    json_object_set_new(infos, h->spec->info_names[j], summary_json(all, all->infos + j * all->count));
  json_object_set_new(object, "env", json_string(r->type->name));
  json_object_set_new(object, "policy", json_string(r->common.policy));
  json_object_set_new(object, "inner_policy", h->inner_policy ? json_string(r->inner.text) : json_null());
  json_object_set_new(object, "seed", json_integer((json_int_t)r->common.seed));
  json_object_set_new(object, "deterministic", json_boolean(is_deterministic(r)));
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

static void print_words(const request *r, const dr_handles *h, const dr_episodes *all) {
  int width = 8;
  for (int32_t j = 0; j < all->num_infos; j++) {
    const int length = (int)strlen(h->spec->info_names[j]);
    if (length > width) width = length;
  }
  char seconds[DR_FORMAT_BYTES];
  const char *how = r->policy.kind == DR_POLICY_RANDOM ? "" : is_deterministic(r) ? ", deterministic" : ", stochastic";
  printf("%s: %" PRId64 " episodes under %s%s, in %s\n", r->type->name, all->num_done, r->common.policy, how,
         dr_format_seconds(seconds, all->seconds));
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

static int eval(const request *r, dr_handles *h, drover_rollout **rollout, dr_episodes *all) {
  const char *command = r->common.command;
  drover_status status = open_handles(r, h);
  if (!status) status = open_rollout(r, h, rollout);
  if (!status && dr_episodes_init(all, h->spec, r->common.num_envs, r->num_episodes, r->info_last) != 0)
    status = DROVER_ERROR_NO_MEMORY;
  if (status) return dr_report_failure(command, NULL, status);
  status = play(r, *rollout, all);
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
      "  drover eval --env Hopper-v5 --policy hopper.safetensors --episodes 20 --json\n"
      "\n"
      "Defaults: CartPole-v1, 20 environments, 100 episodes.",
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
  dr_handles h = {0};
  drover_rollout *rollout = NULL;
  dr_episodes all = {0};
  const int code = eval(&r, &h, &rollout, &all);
  dr_episodes_free(&all);
  drover_rollout_destroy(rollout);
  dr_handles_close(&h);
  return code;
}
