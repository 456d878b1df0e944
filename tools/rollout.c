/* rollout.c: `drover rollout`: run T steps of N envs under a policy, once or R times, and say what came of it. */
#include "tools/rollout.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/commands.h"
#include "tools/interrupt.h"
#include "tools/progress.h"

enum {
  DEFAULT_NUM_ENVS = 1024,
  DEFAULT_NUM_STEPS = 256,
  TRACE_EVENTS = 100000, /* the latest ones of each worker: what a viewer still opens with ease */
  KEY_REPEAT = DR_KEY_OWN,
  KEY_SAVE,
  KEY_ACTIVATION,
  KEY_DETERMINISTIC,
  KEY_TRANSFORM,
  KEY_AUTORESET,
  KEY_MAX_EPISODE_STEPS,
  KEY_FAULT_LIMIT,
  KEY_GAMMA,
  KEY_GAE_LAMBDA,
  KEY_BARRIER,
  KEY_SCALAR
};

const char *const dr_autoreset_names[] = {"same-step", "next-step", "disabled", NULL};
const char *const dr_transform_names[] = {"clip", "tanh", "none", NULL};

/* ---- What the user asks for ---- */

static const struct argp_option rows[] = {
    {NULL, 0, NULL, 0, "What runs:", 1},
    DR_OPTION_ENV,
    DR_OPTION_ENV_ARG,
    DR_OPTION_NUM_ENVS,
    DR_OPTION_STEPS,
    DR_OPTION_SEED,
    DR_OPTION_POLICY,
    DR_OPTION_INNER_POLICY,
    {"activation", KEY_ACTIVATION, "A", 0, "Of an mlp: relu, tanh (default), elu, leaky-relu or identity", 1},
    {"deterministic", KEY_DETERMINISTIC, NULL, 0, "The policy's mode instead of samples", 1},
    {"transform", KEY_TRANSFORM, "HOW", 0, "Continuous actions on their way to the env: clip (default), tanh, none", 1},
    {"autoreset", KEY_AUTORESET, "WHEN", 0, "same-step (default), next-step or disabled", 1},
    {"max-episode-steps", KEY_MAX_EPISODE_STEPS, "L", 0, "Time limit in steps; auto = the env's own, or none", 1},
    {"fault-limit", KEY_FAULT_LIMIT, "F", 0, "Stop after more than F failed envs (default 100 + N)", 1},
    {"gamma", KEY_GAMMA, "G", 0, "Discount of the advantages (default 0.99)", 1},
    {"gae-lambda", KEY_GAE_LAMBDA, "L", 0, "Lambda of the advantages (default 0.95)", 1},
    {NULL, 0, NULL, 0, "How it runs:", 2},
    DR_OPTION_WORKERS,
    DR_OPTION_SHARD,
    DR_OPTION_CHUNK,
    {"barrier", KEY_BARRIER, NULL, 0, "All shards wait for each other after every step (for comparisons)", 2},
    {"scalar", KEY_SCALAR, NULL, 0, "One env at a time, never step_many (for comparisons)", 2},
    {"repeat", KEY_REPEAT, "R", 0, "Time R rollouts with the same seed, after one to warm up", 2},
    {NULL, 0, NULL, 0, "What comes out:", 3},
    {"save", KEY_SAVE, "FILE", 0, "Write the trajectories (safetensors)", 3},
    DR_OPTION_TRACE,
    DR_OPTION_JSON,
    DR_OPTION_QUIET,
    {0}};

static error_t parse(int key, char *arg, struct argp_state *state) {
  dr_rollout_request *request = state->input;
  const char *command = request->common.command;
  switch (key) {
    case KEY_REPEAT:
      request->repeat = (int32_t)dr_options_integer(command, "repeat", arg, 1, DR_MAX_REPEAT, false);
      return 0;
    case KEY_SAVE:
      request->save = arg;
      return 0;
    case KEY_ACTIVATION:
      request->activation = arg;
      return 0;
    case KEY_DETERMINISTIC:
      request->deterministic = true;
      return 0;
    case KEY_TRANSFORM:
      request->transform = (drover_action_transform)dr_options_choice(command, "transform", arg, dr_transform_names);
      return 0;
    case KEY_AUTORESET:
      request->autoreset = (drover_autoreset)dr_options_choice(command, "autoreset", arg, dr_autoreset_names);
      return 0;
    case KEY_MAX_EPISODE_STEPS: {
      if (strcmp(arg, "none") == 0) {
        request->max_episode_steps = 0;
        return 0;
      }
      const int64_t limit = dr_options_integer(command, "max-episode-steps", arg, 1, INT32_MAX, true);
      request->max_episode_steps = limit == 0 ? -1 : (int32_t)limit;
      return 0;
    }
    case KEY_FAULT_LIMIT:
      request->fault_limit = dr_options_integer(command, "fault-limit", arg, 0, INT64_MAX, false);
      return 0;
    case KEY_GAMMA:
      request->gamma = (float)dr_options_real(command, "gamma", arg, 0, 1);
      return 0;
    case KEY_GAE_LAMBDA:
      request->gae_lambda = (float)dr_options_real(command, "gae-lambda", arg, 0, 1);
      return 0;
    case KEY_BARRIER:
      request->barrier = true;
      return 0;
    case KEY_SCALAR:
      request->scalar = true;
      return 0;
    default:
      return dr_options_parse(key, arg, &request->common);
  }
}

/* Fill in what was left to us, and check what can be checked before anything is made. */
static void complete(dr_rollout_request *request) {
  dr_options *common = &request->common;
  if (!common->env) common->env = "CartPole-v1";
  if (!common->policy) common->policy = "mlp:64,64";
  request->type = dr_find_env(common->command, common->env);
  if (common->num_envs == 0) common->num_envs = DEFAULT_NUM_ENVS;
  if (common->num_steps == 0) common->num_steps = DEFAULT_NUM_STEPS;
  dr_policy_choice_parse(&request->policy, common->command, common->policy, request->activation);
  dr_inner_choice_parse(&request->inner_policy, common->command, common->inner_policy);
  if (request->save) dr_options_check_output(common->command, "save", request->save);
  if (common->trace) dr_options_check_output(common->command, "trace", common->trace);
}

/* ---- Handles ---- */

typedef struct dr_handles {
  drover_runtime *runtime;
  drover_batch *batch;
  drover_policy *policy;
  drover_policy *inner_policy; /* NULL without an inner loop */
  drover_rollout *rollout;
} dr_handles;

static drover_status open_batch(const dr_rollout_request *request, dr_handles *handles, dr_rollout_figures *figures) {
  const dr_options *common = &request->common;
  drover_runtime_options runtime_options;
  drover_status status = drover_runtime_options_init(&runtime_options, sizeof runtime_options);
  if (status != DROVER_OK) return status;
  runtime_options.num_workers = common->num_workers;
  runtime_options.trace_events = common->trace ? TRACE_EVENTS : 0;
  status = drover_runtime_create(&handles->runtime, &runtime_options);
  if (status != DROVER_OK) return status;
  dr_interrupt_watch(handles->runtime);

  figures->env = request->type->name;
  drover_batch_options options;
  status = drover_batch_options_init(&options, sizeof options);
  if (status != DROVER_OK) return status;
  options.num_envs = common->num_envs;
  options.seed = common->seed;
  options.shard = common->shard;
  options.chunk = common->chunk;
  options.autoreset = request->autoreset;
  options.max_episode_steps = request->max_episode_steps;
  options.fault_limit = request->fault_limit;
  options.scalar = request->scalar;
  options.args = (drover_env_args){common->num_env_args, common->env_args};
  status = drover_batch_create(&handles->batch, handles->runtime, request->type, &options);
  if (status != DROVER_OK) return status;
  return drover_batch_get_sizes(handles->batch, &figures->shard, &figures->chunk);
}

static drover_status open_rollout(const dr_rollout_request *request, dr_handles *handles, dr_progress *progress,
                                  dr_rollout_figures *figures) {
  drover_batch_view view = {.size = sizeof view};
  drover_status status = drover_batch_get_view(handles->batch, &view);
  if (status != DROVER_OK) return status;
  figures->spec = *view.spec;
  status = dr_inner_choice_create(&handles->inner_policy, handles->runtime, handles->batch, &request->inner_policy,
                                  request->common.seed);
  if (status != DROVER_OK) return status;
  status =
      dr_policy_choice_create(&handles->policy, handles->runtime, view.spec, &request->policy, request->common.seed);
  if (status != DROVER_OK) return status;
  status = drover_policy_get_spec(handles->policy, &figures->policy_spec);
  if (status != DROVER_OK) return status;
  drover_rollout_options options;
  status = drover_rollout_options_init(&options, sizeof options);
  if (status != DROVER_OK) return status;
  options.num_steps = request->common.num_steps;
  options.deterministic = request->deterministic;
  options.transform = request->transform;
  options.gamma = request->gamma;
  options.gae_lambda = request->gae_lambda;
  options.barrier = request->barrier;
  options.progress = dr_progress_show;
  options.progress_user = progress;
  return drover_rollout_create(&handles->rollout, handles->batch, handles->policy, &options);
}

static void close_handles(dr_handles *handles) {
  dr_interrupt_watch(NULL);
  drover_rollout_destroy(handles->rollout);
  drover_policy_destroy(handles->policy);
  drover_batch_destroy(handles->batch);
  drover_policy_destroy(handles->inner_policy);
  drover_runtime_destroy(handles->runtime);
}

/* ---- Running ---- */

static double seconds_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static int32_t count_threads(void) {
  FILE *file = fopen("/proc/self/status", "re");
  if (!file) return 0;
  char line[256];
  int threads = 0;
  while (threads == 0 && fgets(line, sizeof line, file)) sscanf(line, "Threads: %d", &threads);
  fclose(file);
  return threads;
}

/* One collect; *seconds is what it took, whatever came of it. */
static drover_status timed_collect(dr_handles *handles, double *seconds) {
  if (dr_interrupt_pending()) return DROVER_ERROR_CANCELLED;
  const double begin = seconds_now();
  const drover_status status = drover_rollout_collect(handles->rollout);
  *seconds = seconds_now() - begin;
  return status;
}

static int compare_doubles(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median(const double *values, int32_t count) {
  double sorted[DR_MAX_REPEAT];
  memcpy(sorted, values, (size_t)count * sizeof *values);
  qsort(sorted, (size_t)count, sizeof *sorted, compare_doubles);
  return count % 2 ? sorted[count / 2] : (sorted[count / 2 - 1] + sorted[count / 2]) / 2;
}

/* What the last collect left. A stopped run still has rows. */
static drover_status read_figures(dr_handles *handles, dr_rollout_figures *figures) {
  figures->stats.size = sizeof figures->stats;
  figures->view.size = sizeof figures->view;
  const int32_t threads = count_threads();
  drover_status status = drover_runtime_get_stats(handles->runtime, &figures->stats);
  if (status == DROVER_OK) status = drover_rollout_get_view(handles->rollout, &figures->view);
  if (status == DROVER_OK) figures->shard = figures->view.shard;
  /* A run that was stopped at once has nothing to digest. */
  if (status == DROVER_OK && figures->view.num_steps_done > 0)
    status = drover_rollout_digest(handles->rollout, &figures->digest);
  if (status != DROVER_OK) return status;
  figures->max_threads = figures->stats.max_threads > threads ? figures->stats.max_threads : threads;
  figures->env_steps = (int64_t)figures->view.num_steps_done * figures->num_envs;
  return DROVER_OK;
}

/* One warm-up and R timed rollouts, each from the same beginning; without --repeat one timed rollout. Sets
 * *different_at to the rollout whose digest differed from the first, else 0. */
static drover_status run_all(const dr_rollout_request *request, dr_handles *handles, dr_progress *progress,
                             dr_rollout_figures *figures, int32_t *different_at) {
  const int32_t count = request->repeat > 0 ? request->repeat + 1 : 1;
  uint64_t first_digest = 0;
  for (int32_t i = 0; i < count; i++) {
    const bool warm_up = i == 0 && request->repeat > 0;
    if (i > 0) {
      const drover_status status = drover_batch_reset(handles->batch, request->common.seed);
      if (status != DROVER_OK) return status;
    }
    if (i == 1) {
      const drover_status status = drover_runtime_reset_stats(handles->runtime);
      if (status != DROVER_OK) return status;
    }
    if (warm_up)
      dr_progress_label(progress, "%s, warm-up", figures->env);
    else if (request->repeat > 0)
      dr_progress_label(progress, "%s, %d of %d", figures->env, i, request->repeat);
    else
      dr_progress_label(progress, "%s", figures->env);

    double seconds = 0;
    figures->status = timed_collect(handles, &seconds);
    const bool stopped = figures->status == DROVER_ERROR_CANCELLED || figures->status == DROVER_ERROR_FAULTS;
    if (figures->status != DROVER_OK && !stopped) return figures->status;
    const drover_status status = read_figures(handles, figures);
    if (status != DROVER_OK) return status;
    if (!warm_up || stopped) {
      figures->samples[figures->num_samples++] = seconds;
      figures->env_steps_timed += figures->env_steps;
    }
    if (stopped) return DROVER_OK;
    if (i == 0) first_digest = figures->digest;
    if (figures->digest != first_digest) {
      *different_at = i;
      return DROVER_OK;
    }
  }
  return DROVER_OK;
}

/* ---- The command ---- */

/* Everything after the options: run, save, report. Returns the exit code. */
static int rollout(const dr_rollout_request *request, dr_handles *handles, dr_rollout_figures *figures) {
  const char *command = request->common.command;
  dr_progress progress;
  dr_progress_begin(&progress, request->common.quiet);
  figures->num_envs = request->common.num_envs;
  figures->num_steps = request->common.num_steps;
  drover_status status = open_batch(request, handles, figures);
  if (status != DROVER_OK) return dr_report_failure(command, NULL, status);
  status = open_rollout(request, handles, &progress, figures);
  if (status != DROVER_OK) return dr_report_failure(command, NULL, status);

  int32_t different_at = 0;
  status = run_all(request, handles, &progress, figures, &different_at);
  dr_progress_end(&progress);
  if (status != DROVER_OK) return dr_report_failure(command, NULL, status);
  if (figures->num_samples > 0) figures->seconds = median(figures->samples, figures->num_samples);

  int code = DR_EXIT_DONE;
  if (different_at > 0) {
    fprintf(stderr, "drover rollout: rollout %d gave other bytes than the first one with the same seed; see --help\n",
            different_at);
    code = DR_EXIT_FAILED;
  } else if (figures->status == DROVER_ERROR_CANCELLED) {
    fprintf(stderr, "drover rollout: interrupted; %d of %d steps were done by all envs and are kept\n",
            figures->view.num_steps_done, figures->num_steps);
    code = DR_EXIT_INTERRUPTED;
  } else if (figures->status == DROVER_ERROR_FAULTS) {
    code = dr_report_failure(command, NULL, figures->status);
  }
  if (request->save) {
    status = dr_rollout_save(request, figures);
    if (status != DROVER_OK) code = dr_report_failure(command, "--save", status);
  }
  if (request->common.trace) {
    status = drover_runtime_save_trace(handles->runtime, request->common.trace);
    if (status != DROVER_OK) code = dr_report_failure(command, "--trace", status);
  }
  if (!request->common.json)
    dr_rollout_print(request, figures);
  else if (dr_rollout_print_json(request, figures) != 0 && code == DR_EXIT_DONE)
    code = DR_EXIT_FAILED;
  return code;
}

int dr_cmd_rollout(int argc, char **argv) {
  static const struct argp argp = {
      rows,
      parse,
      NULL,
      "Run T steps of N environments under a policy, in all worker threads, without a barrier between steps.\v"
      "The bytes of a rollout depend on the seed, the environment, the policy and T alone: its digest is the same for "
      "any --workers, --shard and --chunk. If --repeat finds two digests, the environment has state outside its "
      "own, or draws random numbers elsewhere than from its stream.\n\n"
      "Examples:\n"
      "  drover rollout --repeat 5\n"
      "  drover rollout --env Spin-v0 --env-arg cost=20us,dist=pareto --num-envs 64 --policy random\n"
      "  drover rollout --env Pendulum-v1 --steps 1k --save pendulum.safetensors --trace pendulum.trace.json\n"
      "\n"
      "Defaults: CartPole-v1, 1,024 environments, 256 steps, mlp:64,64.",
      NULL,
      NULL,
      NULL};
  dr_rollout_request request = {.common = {.command = "rollout"},
                                .max_episode_steps = -1,
                                .fault_limit = -1,
                                .gamma = 0.99f,
                                .gae_lambda = 0.95f};
  dr_options_run(&argp, "rollout", argc, argv, &request);
  complete(&request);
  dr_interrupt_install();

  dr_handles handles = {0};
  dr_rollout_figures *figures = calloc(1, sizeof *figures);
  if (!figures) {
    fputs("drover rollout: out of memory\n", stderr);
    return DR_EXIT_FAILED;
  }
  const int code = rollout(&request, &handles, figures);
  close_handles(&handles);
  free(figures);
  return code;
}
