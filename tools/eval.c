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

/* ---- Episodes ---- */

/* N envs, E episodes, I info columns, K = info_last. Episode k of env e is at first[e] + k. */
typedef struct episodes {
  int64_t count, num_done, num_terminated, num_faults, num_steps;
  int32_t num_infos;
  int64_t info_last;
  int64_t *first;   /* [N + 1] */
  int64_t *done;    /* [N] */
  int64_t *lengths; /* [N] steps of the running episode that are in sums or ring */
  double *sums;     /* [N x I] of the running episode */
  float *ring;      /* [N x K x I] its last K steps; NULL if K = 0 */
  double *returns;  /* [E] */
  double *steps;    /* [E] */
  double *infos;    /* [I x E] */
  double seconds;
} episodes;

static void free_episodes(episodes *all) {
  void *const owned[] = {all->first, all->done,  all->lengths, all->sums,
                         all->ring,  all->steps, all->returns, all->infos};
  for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++) free(owned[i]);
}

static int allocate_episodes(episodes *all, const request *r, const drover_env_spec *spec) {
  const size_t n = (size_t)r->common.num_envs, count = (size_t)r->num_episodes, infos = (size_t)spec->num_infos;
  all->count = r->num_episodes;
  all->num_infos = spec->num_infos;
  all->info_last = spec->num_infos > 0 ? r->info_last : 0;
  all->first = calloc(n + 1, sizeof *all->first);
  all->done = calloc(n, sizeof *all->done);
  all->lengths = calloc(n, sizeof *all->lengths);
  all->sums = calloc(n * infos + 1, sizeof *all->sums);
  all->ring = calloc(n * (size_t)all->info_last * infos + 1, sizeof *all->ring);
  all->returns = calloc(count, sizeof *all->returns);
  all->steps = calloc(count, sizeof *all->steps);
  all->infos = calloc(count * infos + 1, sizeof *all->infos);
  if (!all->first || !all->done || !all->lengths || !all->sums || !all->ring || !all->returns || !all->steps ||
      !all->infos)
    return -1;
  for (size_t e = 0; e < n; e++) all->first[e + 1] = all->first[e] + (int64_t)(count / n + (e < count % n));
  return 0;
}

static bool is_playing(const episodes *all, int32_t env) {
  return all->done[env] < all->first[env + 1] - all->first[env];
}

static void add_infos(episodes *all, int32_t env, const float *infos) {
  const size_t width = (size_t)all->num_infos;
  if (all->info_last > 0) {
    const size_t at = (size_t)(env * all->info_last + all->lengths[env] % all->info_last) * width;
    if (width > 0) memcpy(all->ring + at, infos, width * sizeof *infos);
  } else {
    for (size_t j = 0; j < width; j++) all->sums[(size_t)env * width + j] += (double)infos[j];
  }
  all->lengths[env]++;
}

/* The mean of info column j over the episode that ends, or over its last K steps. */
static double info_mean(const episodes *all, int32_t env, int32_t j) {
  const int64_t length = all->lengths[env], last = all->info_last;
  if (length == 0) return 0;
  if (last == 0) return all->sums[env * all->num_infos + j] / (double)length;
  const int64_t count = length < last ? length : last;
  double sum = 0;
  for (int64_t k = length - count; k < length; k++)
    sum += (double)all->ring[(env * last + k % last) * all->num_infos + j];
  return sum / (double)count;
}

static void end_episode(episodes *all, const drover_episode *episode) {
  const int32_t env = episode->env;
  if (episode->faulted) {
    all->num_faults++;
  } else {
    const int64_t at = all->first[env] + all->done[env]++;
    all->returns[at] = episode->episode_return;
    all->steps[at] = episode->length;
    for (int32_t j = 0; j < all->num_infos; j++) all->infos[j * all->count + at] = info_mean(all, env, j);
    all->num_terminated += episode->terminated;
    all->num_done++;
  }
  all->lengths[env] = 0;
  for (int32_t j = 0; j < all->num_infos; j++) all->sums[env * all->num_infos + j] = 0;
}

/* What a rollout brought, row by row; episodes are in the same order. */
static void take_rollout(episodes *all, const drover_rollout_view *view) {
  int64_t next = 0;
  for (int32_t t = 0; t < view->num_steps_done; t++)
    for (int32_t env = 0; env < view->num_envs; env++) {
      const int64_t row = (int64_t)t * view->num_envs + env;
      const bool ends = next < view->num_episodes && view->episodes[next].step == t && view->episodes[next].env == env;
      if (is_playing(all, env)) {
        if (view->valid[row]) add_infos(all, env, view->infos ? view->infos + row * view->num_infos : NULL);
        if (ends) end_episode(all, &view->episodes[next]);
      }
      next += ends;
    }
  all->num_steps += (int64_t)view->num_steps_done * view->num_envs;
}

static drover_status play(const request *r, handles *h, episodes *all) {
  dr_progress progress;
  dr_progress_begin(&progress, r->common.quiet);
  drover_status status = DROVER_OK;
  const double begin = dr_train_clock();
  while (!status && all->num_done < all->count) {
    if (dr_interrupt_pending()) status = DROVER_ERROR_CANCELLED;
    if (!status) status = drover_rollout_collect(h->rollout);
    drover_rollout_view view = {.size = sizeof view};
    const drover_status viewed = drover_rollout_get_view(h->rollout, &view);
    if (!status || status == DROVER_ERROR_CANCELLED) take_rollout(all, &view);
    if (!status) status = viewed;
    all->seconds = dr_train_clock() - begin;
    dr_progress_line(&progress, r->type->name, (double)all->num_done / (double)all->count, all->seconds,
                     "%" PRId64 " of %" PRId64 " episodes", all->num_done, all->count);
  }
  dr_progress_end(&progress);
  return status;
}

/* ---- Report ---- */

/* Over the episodes that were played; std is the population's. */
typedef struct summary {
  double mean, std, min, max;
} summary;

static summary summarize(const episodes *all, const double *values, int32_t num_envs) {
  summary s = {0, 0, INFINITY, -INFINITY};
  double count = 0, squares = 0;
  for (int pass = 0; pass < 2; pass++)
    for (int32_t env = 0; env < num_envs; env++)
      for (int64_t k = 0; k < all->done[env]; k++) {
        const double value = values[all->first[env] + k];
        if (pass == 1) {
          squares += (value - s.mean) * (value - s.mean);
          continue;
        }
        count++;
        s.mean += (value - s.mean) / count;
        s.min = fmin(s.min, value);
        s.max = fmax(s.max, value);
      }
  s.std = count > 0 ? sqrt(squares / count) : (double)NAN;
  if (count == 0) s.mean = (double)NAN;
  return s;
}

static json_t *summary_json(const episodes *all, const double *values, int32_t num_envs) {
  const summary s = summarize(all, values, num_envs);
  json_t *object = json_object();
  json_object_set_new(object, "mean", dr_json_number(s.mean));
  json_object_set_new(object, "std", dr_json_number(s.std));
  json_object_set_new(object, "min", dr_json_number(s.min));
  json_object_set_new(object, "max", dr_json_number(s.max));
  json_t *each = json_array();
  for (int32_t env = 0; env < num_envs; env++)
    for (int64_t k = 0; k < all->done[env]; k++)
      json_array_append_new(each, dr_json_number(values[all->first[env] + k]));
  json_object_set_new(object, "each", each);
  return object;
}

static int print_json(const request *r, const handles *h, const episodes *all, bool interrupted) {
  const int32_t n = r->common.num_envs;
  json_t *object = json_object(), *infos = json_object();
  for (int32_t j = 0; j < all->num_infos; j++)
    json_object_set_new(infos, h->spec->info_names[j], summary_json(all, all->infos + j * all->count, n));
  json_object_set_new(object, "env", json_string(r->type->name));
  json_object_set_new(object, "policy", json_string(r->common.policy));
  json_object_set_new(object, "inner_policy", h->inner_policy ? json_string(r->inner.text) : json_null());
  json_object_set_new(object, "seed", json_integer((json_int_t)r->common.seed));
  json_object_set_new(object, "deterministic", json_boolean(!r->stochastic));
  json_object_set_new(object, "num_envs", json_integer(n));
  json_object_set_new(object, "episodes", json_integer(all->num_done));
  json_object_set_new(object, "mean_return", dr_json_number(summarize(all, all->returns, n).mean));
  json_object_set_new(object, "mean_length", dr_json_number(summarize(all, all->steps, n).mean));
  json_object_set_new(object, "returns", summary_json(all, all->returns, n));
  json_object_set_new(object, "lengths", summary_json(all, all->steps, n));
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

static void print_summary(const char *name, int width, summary s) {
  printf("  %-*s %10.5g %10.5g %10.5g %10.5g\n", width, name, s.mean, s.std, s.min, s.max);
}

static void print_words(const request *r, const handles *h, const episodes *all) {
  const int32_t n = r->common.num_envs;
  int width = 8;
  for (int32_t j = 0; j < all->num_infos; j++) {
    const int length = (int)strlen(h->spec->info_names[j]);
    if (length > width) width = length;
  }
  char seconds[DR_FORMAT_BYTES];
  printf("%s: %" PRId64 " episodes of %s, %s, in %s\n", r->type->name, all->num_done, r->common.policy,
         r->stochastic ? "stochastic" : "deterministic", dr_format_seconds(seconds, all->seconds));
  printf("  %-*s %10s %10s %10s %10s\n", width, "", "mean", "std", "min", "max");
  print_summary("return", width, summarize(all, all->returns, n));
  print_summary("length", width, summarize(all, all->steps, n));
  for (int32_t j = 0; j < all->num_infos; j++)
    print_summary(h->spec->info_names[j], width, summarize(all, all->infos + j * all->count, n));
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

static int eval(const request *r, handles *h, episodes *all) {
  const char *command = r->common.command;
  drover_status status = open_handles(r, h);
  if (!status && allocate_episodes(all, r, h->spec) != 0) status = DROVER_ERROR_NO_MEMORY;
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
  episodes all = {0};
  const int code = eval(&r, &h, &all);
  free_episodes(&all);
  close_handles(&h);
  return code;
}
