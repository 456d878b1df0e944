/* rollout.c: `drover rollout`: run T steps of N envs under a policy, once or R times, and say what came of it. */
#include "tools/rollout.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "perf/clock.h"
#include "tools/commands.h"
#include "tools/interrupt.h"
#include "tools/progress.h"

enum {
  DEFAULT_NUM_ENVS = 1024,
  DEFAULT_NUM_STEPS = 256,
  KEY_REPEAT = DR_KEY_OWN,
  KEY_SAVE,
  KEY_DETERMINISTIC,
  KEY_AUTORESET,
  KEY_FAULT_LIMIT,
  KEY_GAMMA,
  KEY_GAE_LAMBDA,
  KEY_BARRIER,
  KEY_SCALAR
};

const char *const dr_autoreset_names[] = {"same-step", "next-step", "disabled", NULL};

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
    DR_OPTION_ACTIVATION,
    {"deterministic", KEY_DETERMINISTIC, NULL, 0, "The policy's mode instead of samples", 1},
    DR_OPTION_TRANSFORM,
    {"autoreset", KEY_AUTORESET, "WHEN", 0, "same-step (default), next-step or disabled", 1},
    DR_OPTION_MAX_EPISODE_STEPS,
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
    case KEY_DETERMINISTIC:
      request->deterministic = true;
      return 0;
    case KEY_AUTORESET:
      request->autoreset = (drover_autoreset)dr_options_choice(command, "autoreset", arg, dr_autoreset_names);
      return 0;
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
  dr_policy_choice_parse(&request->policy, common->command, common->policy, common->activation);
  dr_inner_choice_parse(&request->inner_policy, common->command, common->inner_policy);
  if (request->save) dr_options_check_output(common->command, "save", request->save);
  if (common->trace) dr_options_check_output(common->command, "trace", common->trace);
}

/* ---- Handles ---- */

typedef struct session {
  const dr_rollout_request *request;
  dr_handles handles;
  drover_rollout *rollout;
  dr_progress progress;
  dr_rollout_figures figures;
} session;

static drover_status open_batch(session *s) {
  const dr_rollout_request *request = s->request;
  drover_batch_options options;
  drover_status status = dr_batch_options_for(&options, &request->common);
  if (status != DROVER_OK) return status;
  options.autoreset = request->autoreset;
  options.fault_limit = request->fault_limit;
  options.scalar = request->scalar;
  status = dr_handles_open(&s->handles, &request->common, request->type, &options);
  if (status != DROVER_OK) return status;
  s->figures.spec = *s->handles.spec;
  return drover_batch_get_sizes(s->handles.batch, &s->figures.shard, &s->figures.chunk);
}

static drover_status open_rollout(session *s) {
  const dr_rollout_request *request = s->request;
  drover_status status =
      dr_handles_open_policies(&s->handles, &request->common, &request->policy, &request->inner_policy);
  if (status != DROVER_OK) return status;
  status = drover_policy_get_spec(s->handles.policy, &s->figures.policy_spec);
  if (status != DROVER_OK) return status;
  drover_rollout_options options;
  status = drover_rollout_options_init(&options, sizeof options);
  if (status != DROVER_OK) return status;
  options.num_steps = request->common.num_steps;
  options.deterministic = request->deterministic;
  options.transform = request->common.transform;
  options.gamma = request->gamma;
  options.gae_lambda = request->gae_lambda;
  options.barrier = request->barrier;
  options.progress = dr_progress_show;
  options.progress_user = &s->progress;
  return drover_rollout_create(&s->rollout, s->handles.batch, s->handles.policy, &options);
}

/* ---- Running ---- */

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
static drover_status timed_collect(session *s, double *seconds) {
  if (dr_interrupt_pending()) return DROVER_ERROR_CANCELLED;
  const double begin = dr_seconds_now();
  const drover_status status = drover_rollout_collect(s->rollout);
  *seconds = dr_seconds_now() - begin;
  return status;
}

/* What the last collect left. A stopped run still has rows. */
static drover_status read_figures(session *s) {
  dr_rollout_figures *figures = &s->figures;
  figures->stats.size = sizeof figures->stats;
  figures->view.size = sizeof figures->view;
  const int32_t threads = count_threads();
  drover_status status = drover_runtime_get_stats(s->handles.runtime, &figures->stats);
  if (status == DROVER_OK) status = drover_rollout_get_view(s->rollout, &figures->view);
  if (status == DROVER_OK) figures->shard = figures->view.shard;
  /* A run that was stopped at once has nothing to digest. */
  if (status == DROVER_OK && figures->view.num_steps_done > 0)
    status = drover_rollout_digest(s->rollout, &figures->digest);
  if (status != DROVER_OK) return status;
  figures->max_threads = figures->stats.max_threads > threads ? figures->stats.max_threads : threads;
  figures->env_steps = (int64_t)figures->view.num_steps_done * figures->num_envs;
  return DROVER_OK;
}

/* Back to the beginning for rollout `index`; what it is about is shown, and the counters leave the warm-up out. */
static drover_status begin_rollout(session *s, int32_t index) {
  const dr_rollout_request *request = s->request;
  drover_status status = DROVER_OK;
  if (index > 0) status = drover_batch_reset(s->handles.batch, request->common.seed);
  if (index == 1 && status == DROVER_OK) status = drover_runtime_reset_stats(s->handles.runtime);
  if (request->repeat == 0)
    dr_progress_label(&s->progress, "%s", s->figures.env);
  else if (index == 0)
    dr_progress_label(&s->progress, "%s, warm-up", s->figures.env);
  else
    dr_progress_label(&s->progress, "%s, %d of %d", s->figures.env, index, request->repeat);
  return status;
}

/* One warm-up and R timed rollouts, each from the same beginning; without --repeat one timed rollout. Sets
 * *different_at to the rollout whose digest differed from the first, else 0. */
static drover_status run_all(session *s, int32_t *different_at) {
  dr_rollout_figures *figures = &s->figures;
  const int32_t repeat = s->request->repeat;
  uint64_t first_digest = 0;
  for (int32_t i = 0; i <= repeat; i++) {
    double seconds = 0;
    drover_status status = begin_rollout(s, i);
    if (status != DROVER_OK) return status;
    figures->status = timed_collect(s, &seconds);
    const bool stopped = figures->status == DROVER_ERROR_CANCELLED || figures->status == DROVER_ERROR_FAULTS;
    if (figures->status != DROVER_OK && !stopped) return figures->status;
    status = read_figures(s);
    if (status != DROVER_OK) return status;
    if (i > 0 || repeat == 0 || stopped) {
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

/* What the run came to: a sentence on stderr unless all is well, and the exit code. */
static int judge(const session *s, int32_t different_at) {
  const dr_rollout_figures *figures = &s->figures;
  if (different_at > 0) {
    fprintf(stderr, "drover rollout: rollout %d gave other bytes than the first one with the same seed; see --help\n",
            different_at);
    return DR_EXIT_FAILED;
  }
  if (figures->status == DROVER_ERROR_FAULTS) return dr_report_failure("rollout", NULL, figures->status);
  if (figures->status != DROVER_ERROR_CANCELLED) return DR_EXIT_DONE;
  fprintf(stderr, "drover rollout: interrupted; %d of %d steps were done by all envs and are kept\n",
          figures->view.num_steps_done, figures->num_steps);
  return DR_EXIT_INTERRUPTED;
}

/* Everything after the options: run, save, report. Returns the exit code. */
static int rollout(session *s) {
  const dr_rollout_request *request = s->request;
  const char *command = request->common.command;
  dr_rollout_figures *figures = &s->figures;
  int32_t different_at = 0;
  dr_progress_begin(&s->progress, request->common.quiet);
  drover_status status = open_batch(s);
  if (status == DROVER_OK) status = open_rollout(s);
  if (status == DROVER_OK) status = run_all(s, &different_at);
  dr_progress_end(&s->progress);
  if (status != DROVER_OK) return dr_report_failure(command, NULL, status);
  if (figures->num_samples > 0) figures->seconds = dr_median(figures->samples, figures->num_samples);

  int code = judge(s, different_at);
  if (request->save) {
    status = dr_rollout_save(request, figures);
    figures->is_saved = status == DROVER_OK;
    if (status != DROVER_OK) code = dr_report_failure(command, "--save", status);
  }
  if (request->common.trace) {
    status = drover_runtime_save_trace(s->handles.runtime, request->common.trace);
    figures->is_traced = status == DROVER_OK;
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
      "  drover rollout --env Spin-v0 --env-arg cost=20us,dist=pareto --policy random\n"
      "  drover rollout --env Pendulum-v1 --steps 1k --save pendulum.safetensors\n"
      "  drover rollout --env Humanoid-v5 --num-envs 64 --trace humanoid.trace.json\n"
      "\n"
      "Defaults: CartPole-v1, 1,024 environments, 256 steps, mlp:64,64.",
      NULL,
      NULL,
      NULL};
  dr_rollout_request request = {
      .common = {.command = "rollout"}, .fault_limit = -1, .gamma = 0.99f, .gae_lambda = 0.95f};
  dr_options_run(&argp, "rollout", argc, argv, &request);
  complete(&request);
  dr_interrupt_install();

  session *s = calloc(1, sizeof *s);
  if (!s) {
    fputs("drover rollout: out of memory\n", stderr);
    return DR_EXIT_FAILED;
  }
  s->request = &request;
  s->figures.env = request.type->name;
  s->figures.num_envs = request.common.num_envs;
  s->figures.num_steps = request.common.num_steps;
  const int code = rollout(s);
  drover_rollout_destroy(s->rollout);
  dr_handles_close(&s->handles);
  free(s);
  return code;
}
