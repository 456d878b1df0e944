/* train.c: `drover train`: puts the layers of options together, checks what can be checked, trains, and saves. */
#include "tools/train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/commands.h"
#include "tools/config.h"
#include "tools/format.h"
#include "tools/interrupt.h"
#include "tools/plot.h"

/* ---- Layers: the command line, then --config, then a checkpoint or the env's defaults ---- */

static bool given_above(void *input, int key) {
  const dr_train_request *request = input;
  const int layer = key > 0 && key < DR_TRAIN_MAX_KEY ? request->given[key] : 0;
  return layer > 0 && layer < request->layer;
}

/* Texts that options point into; freed at the end. */
typedef struct layers {
  char *config;
  char *last;
} layers;

static void apply(dr_train_request *request, const char *origin, char *text) {
  const dr_config_target target = {&dr_train_argp, request, &request->common.command, given_above};
  request->layer++;
  dr_config_apply(&target, origin, text);
}

/* What a checkpoint fixes may be repeated beside --resume, but not changed. */
static void refuse_changes(const dr_train_request *request, const char *path) {
  static const struct {
    int key;
    const char *name;
  } fixed[] = {{DR_KEY_ENV, "env"},     {DR_KEY_ENV_ARG, "env-arg"}, {DR_KEY_NUM_ENVS, "num-envs"},
               {DR_KEY_STEPS, "steps"}, {DR_KEY_SEED, "seed"},       {DR_KEY_POLICY, "policy"}};
  for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++)
    if (request->given[fixed[i].key])
      dr_usage_error("train", "--%s cannot be given with --resume: '%s' holds a run with its own", fixed[i].name, path);
  if (request->init) dr_usage_error("train", "--init cannot be given with --resume: the checkpoint has the weights");
}

static void read_layers(dr_train_request *request, layers *texts, int argc, char **argv) {
  const char *command = request->common.command;
  request->layer = 1;
  dr_options_run(&dr_train_argp, command, argc, argv, request);
  if (request->config) {
    texts->config = dr_config_read(command, "config", request->config);
    apply(request, request->config, texts->config);
  } else {
    request->layer++;
  }
  if (request->resume) {
    refuse_changes(request, request->resume);
    texts->last = dr_train_checkpoint_settings(command, request->resume);
    apply(request, request->resume, texts->last);
  } else {
    if (!request->common.env) request->common.env = "CartPole-v1";
    request->type = dr_find_env(command, request->common.env);
    texts->last = dr_train_defaults_text(request->type->name);
    if (!texts->last) dr_usage_error(command, "out of memory");
    apply(request, "defaults", texts->last);
  }
}

/* ---- What can be known before anything is made ---- */

static void check_outputs(const dr_train_request *request) {
  const char *command = request->common.command;
  const struct {
    const char *name, *path;
  } outputs[] = {{"save", request->save},
                 {"save-inner", request->save_inner},
                 {"checkpoint", request->checkpoint},
                 {"log", request->log},
                 {"plot", request->plot}};
  for (size_t i = 0; i < sizeof outputs / sizeof outputs[0]; i++) {
    if (!outputs[i].path || strcmp(outputs[i].path, "none") == 0) continue;
    dr_options_check_output(command, outputs[i].name, outputs[i].path);
    for (size_t j = 0; j < i; j++)
      if (outputs[j].path && strcmp(outputs[i].path, outputs[j].path) == 0)
        dr_usage_error(command, "--%s and --%s name the same file '%s'", outputs[j].name, outputs[i].name,
                       outputs[i].path);
  }
  if (request->plot) dr_plot_check(command, "plot", request->plot);
  if (request->checkpoint_every > 0 && (!request->checkpoint || strcmp(request->checkpoint, "none") == 0))
    dr_usage_error(command, "--checkpoint-every needs --checkpoint FILE");
}

static void complete(dr_train_request *request) {
  dr_options *common = &request->common;
  const char *command = common->command;
  if (!request->type) request->type = dr_find_env(command, common->env);
  if (request->init && request->given[DR_KEY_POLICY])
    dr_usage_error(command, "--policy cannot be given with --init: the file says what the network is");
  if (!common->policy) common->policy = "mlp:64,64";
  if (strncmp(common->policy, "mlp:", 4) != 0)
    dr_usage_error(command, "--policy must be mlp:W[,W...], got '%s'; --init begins with a file", common->policy);
  if (request->init && access(request->init, R_OK) != 0)
    dr_usage_error(command, "--init: '%s' cannot be read", request->init);
  if (common->num_envs == 0) common->num_envs = 16;
  if (common->num_steps == 0) common->num_steps = 128;
  const int64_t rows = (int64_t)common->num_envs * common->num_steps;
  if (rows > request->total_steps)
    dr_usage_error(command, "--total-steps must be at least num-envs x steps = %lld, got %lld", (long long)rows,
                   (long long)request->total_steps);
  if (request->ppo.num_minibatches > rows)
    dr_usage_error(command, "--num-minibatches must be at most num-envs x steps = %lld, got %d", (long long)rows,
                   request->ppo.num_minibatches);
  request->ppo.num_updates = request->total_steps / rows;
  request->ppo.seed = common->seed;
  request->inner.seed = common->seed;
  dr_inner_choice_parse(&request->inner_choice, command, common->inner_policy);
  check_outputs(request);
}

/* Where checkpoints go: --checkpoint, else the file that is resumed, else a name after the env for an interruption. */
static char *checkpoint_path(const dr_train_request *request) {
  if (request->checkpoint) return strcmp(request->checkpoint, "none") == 0 ? NULL : strdup(request->checkpoint);
  if (request->resume) return strdup(request->resume);
  if (access(".", W_OK) != 0) return NULL;
  char path[160];
  snprintf(path, sizeof path, "%s.checkpoint.safetensors", request->type->name);
  for (char *c = path; *c; c++)
    if (*c == '/') *c = '-';
  return strdup(path);
}

/* ---- The command ---- */

/* Begin where the request says: a checkpoint, or from nothing. */
static drover_status begin(dr_train *train) {
  dr_train_request *request = train->request;
  drover_status status = request->resume ? dr_train_checkpoint_load(train, request->resume) : dr_train_warm_up(train);
  if (!status) status = dr_train_snapshot(train);
  if (!status) status = dr_train_log_open(train);
  return status;
}

static drover_status save_policies(const dr_train *train) {
  const dr_train_request *request = train->request;
  drover_status status = DROVER_OK;
  if (request->save) status = drover_policy_save(train->policy, request->save);
  if (!status && request->save_inner) status = drover_policy_save(train->inner_policy, request->save_inner);
  return status;
}

/* After an interruption: what was done is saved. The files of this run are not part of the checkpoint. */
static void save_interrupted(dr_train *train) {
  if (!train->checkpoint_path || !train->batch_bytes) {
    fputs("drover train: interrupted; no checkpoint could be written\n", stderr);
    return;
  }
  if (dr_train_checkpoint_save(train) != DROVER_OK) return;
  const dr_train_request *request = train->request;
  char steps[DR_FORMAT_BYTES];
  fprintf(stderr, "drover train: interrupted after %s steps; to go on: drover train",
          dr_format_integer(steps, train->counters.num_steps));
  dr_train_print_option(stderr, "resume", train->checkpoint_path);
  dr_train_print_option(stderr, "save", request->save);
  dr_train_print_option(stderr, "save-inner", request->save_inner);
  dr_train_print_option(stderr, "log", request->log);
  dr_train_print_option(stderr, "plot", request->plot);
  fputc('\n', stderr);
}

static int train_and_save(dr_train *train) {
  const char *command = train->request->common.command;
  drover_status status = dr_train_open(train);
  if (!status) {
    dr_train_print_begin(train);
    status = begin(train);
  }
  if (status == DROVER_ERROR_CANCELLED) {
    fputs("drover train: interrupted before the first update; nothing was written\n", stderr);
    return DR_EXIT_INTERRUPTED;
  }
  if (status) return dr_report_failure(command, NULL, status);

  const dr_train_end end = dr_train_run(train, &status);
  dr_progress_end(&train->progress);
  if (end == DR_TRAIN_FAILED) {
    const int code = dr_report_failure(command, NULL, status);
    if (train->has_checkpoint)
      fprintf(stderr, "drover train: the checkpoint of step %lld is in '%s'\n", (long long)train->checkpoint_steps,
              train->checkpoint_path);
    return code;
  }
  int code = end == DR_TRAIN_INTERRUPTED ? DR_EXIT_INTERRUPTED : DR_EXIT_DONE;
  if (end == DR_TRAIN_INTERRUPTED)
    save_interrupted(train);
  else if (train->request->checkpoint && train->checkpoint_path)
    dr_train_checkpoint_save(train);
  status = save_policies(train);
  if (status) code = dr_report_failure(command, "--save", status);
  dr_train_log_close(train);
  if (train->request->plot && dr_plot_file(command, train->log_path, train->request->plot) != 0) code = DR_EXIT_FAILED;
  if (dr_train_print_end(train, end) != 0 && code == DR_EXIT_DONE) code = DR_EXIT_FAILED;
  return train->output_failed && code == DR_EXIT_DONE ? DR_EXIT_FAILED : code;
}

int dr_cmd_train(int argc, char **argv) {
  dr_train_request *request = calloc(1, sizeof *request);
  dr_train *train = calloc(1, sizeof *train);
  if (!request || !train) {
    fputs("drover train: out of memory\n", stderr);
    free(request);
    free(train);
    return DR_EXIT_FAILED;
  }
  layers texts = {NULL, NULL};
  dr_train_request_init(request);
  read_layers(request, &texts, argc, argv);
  complete(request);
  int code = DR_EXIT_DONE;
  if (request->print_config) {
    char *text = dr_train_settings_text(request);
    if (text) fputs(text, stdout);
    code = text ? DR_EXIT_DONE : DR_EXIT_FAILED;
    free(text);
  } else {
    dr_interrupt_install();
    train->request = request;
    train->checkpoint_path = checkpoint_path(request);
    dr_progress_begin(&train->progress, request->common.quiet);
    code = train_and_save(train);
    dr_train_close(train);
  }
  free(train);
  free(request);
  free(texts.config);
  free(texts.last);
  return code;
}
