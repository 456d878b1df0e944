/* bench_scaling.c: `drover bench scaling`: are steps/s flat, or do they rise or fall, with the number of envs? */
#include <argp.h>
#include <drover/drover.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "perf/scaling.h"
#include "tools/bench_scaling.h"
#include "tools/commands.h"
#include "tools/interrupt.h"
#include "tools/options.h"
#include "tools/progress.h"
#include "tools/setup.h"

static const char command[] = "bench scaling";

enum { KEY_SECONDS = DR_KEY_OWN, KEY_ROUNDS, KEY_QUICK, KEY_BARRIER, KEY_OUT, KEY_WARM };

typedef struct scaling_options {
  dr_options common;
  dr_scaling_request request;
  dr_policy_choice policy, inner_policy;
  const char *out;
} scaling_options;

/* A list of numbers, sorted, each once. */
static int32_t parse_list(const char *name, char *text, int32_t high, int32_t *out, int32_t most) {
  int32_t count = 0;
  for (char *save = NULL, *item = strtok_r(text, ",", &save); item; item = strtok_r(NULL, ",", &save)) {
    const int32_t value = (int32_t)dr_options_integer(command, name, item, 1, high, false);
    int32_t at = count;
    while (at > 0 && out[at - 1] > value) at--;
    if (at > 0 && out[at - 1] == value) continue;
    if (count == most) dr_usage_error(command, "--%s takes at most %d numbers", name, most);
    memmove(out + at + 1, out + at, (size_t)(count - at) * sizeof *out);
    out[at] = value;
    count++;
  }
  if (count == 0) dr_usage_error(command, "--%s needs at least one number", name);
  return count;
}

static error_t parse(int key, char *arg, struct argp_state *state) {
  scaling_options *o = state->input;
  dr_scaling_request *request = &o->request;
  switch (key) {
    case DR_KEY_NUM_ENVS:
      request->num_points = parse_list("num-envs", arg, DROVER_MAX_ENVS, request->num_envs, DR_SCALING_MAX_POINTS);
      return 0;
    case DR_KEY_WORKERS:
      if (strcmp(arg, "auto") != 0 && strcmp(arg, "0") != 0)
        request->num_workers = parse_list("workers", arg, 1024, request->workers, DR_SCALING_MAX_WORKERS);
      return 0;
    case KEY_SECONDS:
      request->seconds = dr_options_real(command, "seconds", arg, 0.01, 3600);
      return 0;
    case KEY_ROUNDS:
      request->num_rounds = (int32_t)dr_options_integer(command, "rounds", arg, 1, DR_SCALING_MAX_ROUNDS, false);
      return 0;
    case KEY_WARM:
      request->warm_steps = (int32_t)dr_options_integer(command, "warm-steps", arg, 0, 1000000, false);
      return 0;
    case KEY_QUICK:
      request->seconds = 0.05;
      request->num_rounds = 3;
      return 0;
    case KEY_BARRIER:
      request->barrier = true;
      return 0;
    case KEY_OUT:
      dr_options_check_output(command, "out", arg);
      o->out = arg;
      return 0;
    case ARGP_KEY_ARG:
      if (o->common.env) dr_usage_error(command, "takes one environment, got '%s' and '%s'", o->common.env, arg);
      o->common.env = arg;
      return 0;
    default:
      return dr_options_parse(key, arg, &o->common);
  }
}

static const struct argp_option rows[] = {
    {NULL, 0, NULL, 0, "What runs:", 1},
    DR_OPTION_ENV,
    DR_OPTION_ENV_ARG,
    {"num-envs", DR_KEY_NUM_ENVS, "N[,N...]", 0, "Numbers of environments (default 1, 2, 4 ... 64 a worker)", 1},
    {"steps", DR_KEY_STEPS, "T", 0, "Steps of a rollout (default 64)", 1},
    {"policy", DR_KEY_POLICY, "P", 0, "random (default), mlp:W[,W...] (widths of hidden layers), or a safetensors file",
     1},
    DR_OPTION_INNER_POLICY,
    DR_OPTION_ACTIVATION,
    {"workers", DR_KEY_WORKERS, "W[,W...]", 0,
     "Numbers of worker threads, one table each; auto = the cores really usable. One worker is always measured", 2},
    {"barrier", KEY_BARRIER, NULL, 0, "Also with a barrier after every step: what stragglers cost then", 2},
    {"seconds", KEY_SECONDS, "S", 0, "Measure a figure for S seconds in each round (default 0.25)", 2},
    {"rounds", KEY_ROUNDS, "R", 0, "Go through all figures R times (default 9); figures are medians", 2},
    {"warm-steps", KEY_WARM, "T", 0, "Steps of each environment before anything is timed (default 64)", 2},
    {"quick", KEY_QUICK, NULL, 0, "Three rounds of 0.05 s: a look, not a measurement", 2},
    {"out", KEY_OUT, "FILE.csv", 0, "Also write the figures as a table for other programs", 3},
    DR_OPTION_JSON,
    DR_OPTION_QUIET,
    {0}};

static const char help[] =
    "Measure how env steps/s go with the number of environments N: flat, rising or falling, and why.\v"
    "At every N: a plain C loop over the environments on one thread, without Drover; as many such loops apart as there "
    "are workers, each with its own environments; rollouts with one worker, and with W. A round measures every figure "
    "once; ratios are taken within a round, and their medians over the rounds are printed, so what the machine "
    "does meanwhile hits all of them alike.\n\n"
    "efficiency is steps/s with W workers over W times those of the plain loop at the same N: 1 is perfect. `loops "
    "apart` is the same for loops that share nothing: where it is below 1 too, the machine limits (memory, caches, "
    "clock, other programs), and not the scheduler. memory is what N environments keep, by their own account, and a "
    "row of the buffers; held by names the smallest caches that hold it, dealt out among the workers. If us/step of "
    "one thread grows where the memory passes a cache, that is what the cache was worth.\n\n"
    "Where the environment has an inner loop, the plain loops evaluate its policy on blocks of 64 environments, which "
    "make all their ticks before the next ones begin.\n\n"
    "Examples:\n"
    "  drover bench scaling --env Humanoid-v5 --barrier\n"
    "  drover bench scaling --env HalfCheetah-v5 --num-envs 64,256 --rounds 21\n"
    "  drover bench scaling --env CartPole-v1 --workers 1,2,4,8 --out cartpole.csv\n"
    "  drover bench scaling --env ./my_env.so --quick --json\n";

/* Fill in what was not given, and refuse what does not go together. */
static void complete(scaling_options *o) {
  dr_options *c = &o->common;
  dr_scaling_request *request = &o->request;
  if (!c->env) dr_usage_error(command, "which environment? --env NAME; `drover envs` lists them");
  if (!c->policy) c->policy = "random";
  request->type = dr_find_env(command, c->env);
  request->args = (drover_env_args){c->num_env_args, c->env_args};
  request->num_steps = c->num_steps ? c->num_steps : 64;
  dr_policy_choice_parse(&o->policy, command, c->policy, c->activation);
  dr_inner_choice_parse(&o->inner_policy, command, c->inner_policy);
  if (request->num_workers == 0) {
    drover_cores cores = {.size = sizeof cores};
    request->workers[0] = drover_threads_get_cores(NULL, &cores) == DROVER_OK ? cores.num_cores : 1;
    request->num_workers = 1;
  }
  const int32_t most = request->workers[request->num_workers - 1];
  const bool has_counts = request->num_points > 0;
  for (int32_t factor = 1; !has_counts && factor <= 64; factor *= 2)
    request->num_envs[request->num_points++] = most * factor;
  /* One worker has a figure of its own. */
  if (request->workers[0] == 1)
    memmove(request->workers, request->workers + 1, (size_t)--request->num_workers * sizeof *request->workers);
}

static drover_status make_policy(void *user, drover_policy **out, drover_runtime *runtime,
                                 const drover_env_spec *spec) {
  const scaling_options *o = user;
  return dr_policy_choice_create(out, runtime, spec, &o->policy, 0);
}

static drover_status give_inner(void *user, drover_policy **out, drover_runtime *runtime, drover_batch *batch) {
  const scaling_options *o = user;
  return dr_inner_choice_create(out, runtime, batch, &o->inner_policy, 0);
}

/* On a terminal each figure, else only every round's first: a line is enough for a log. */
static void show(void *user, const char *what) {
  dr_progress *progress = user;
  static char last[16];
  if (progress->quiet) return;
  if (progress->terminal) {
    fprintf(stderr, "\r%s\033[K", what);
    progress->drawn = true;
  } else if (strncmp(last, what, 8) != 0) {
    fprintf(stderr, "drover bench scaling: %.*s\n", (int)strcspn(what, ":"), what);
    snprintf(last, sizeof last, "%.8s", what);
  }
}

static int report_all(const scaling_options *o, const dr_host *host, const dr_scaling *result) {
  dr_scaling_report report = {.common = &o->common,
                              .request = &o->request,
                              .result = result,
                              .inner_policy = o->inner_policy.text,
                              .host = *host};
  dr_caches_read(&report.caches);
  if (!o->common.json)
    dr_scaling_print(&report);
  else if (dr_scaling_print_json(&report) != 0)
    return DR_EXIT_FAILED;
  return o->out && dr_scaling_write_csv(&report, o->out) != 0 ? DR_EXIT_FAILED : DR_EXIT_DONE;
}

int dr_bench_scaling(int argc, char **argv) {
  static const struct argp argp = {rows, parse, "[ENV]", help, NULL, NULL, NULL};
  scaling_options o = {.common = {.command = command}, .request = {.num_rounds = 9, .seconds = 0.25, .warm_steps = 64}};
  dr_options_run(&argp, command, argc, argv, &o);
  complete(&o);
  dr_scaling *result = calloc(1, sizeof *result);
  if (!result) {
    fprintf(stderr, "drover %s: out of memory\n", command);
    return DR_EXIT_FAILED;
  }
  dr_progress progress;
  dr_progress_begin(&progress, o.common.quiet);
  o.request.make_policy = make_policy;
  o.request.give_inner = give_inner;
  o.request.policy_user = &o;
  o.request.progress = show;
  o.request.progress_user = &progress;
  dr_bench bench = {.stop = dr_interrupt_pending};
  dr_host host;
  dr_host_read(&host);
  if (!o.common.quiet) dr_host_warn(&host, command);
  dr_interrupt_install();
  const int failed = dr_scaling_measure(result, &bench, &o.request);
  dr_progress_end(&progress);
  int code = DR_EXIT_DONE;
  if (failed && dr_interrupt_pending()) {
    code = DR_EXIT_INTERRUPTED;
    fprintf(stderr, "drover %s: interrupted after %d of %d rounds\n", command, result->num_rounds,
            o.request.num_rounds);
  } else if (failed) {
    code = DR_EXIT_FAILED;
    fprintf(stderr, "drover %s: %s\n", command, bench.message);
  }
  if (result->num_rounds > 0 && code != DR_EXIT_FAILED && report_all(&o, &host, result) != DR_EXIT_DONE)
    code = DR_EXIT_FAILED;
  free(result);
  return code;
}
