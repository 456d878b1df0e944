/* setup.c: from what the user typed to handles. */
#include "tools/setup.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tools/commands.h"
#include "tools/interrupt.h"

enum { TRACE_EVENTS = 100000 }; /* the latest ones of each worker: what a viewer still opens with ease */

const char *const dr_activation_names[] = {"relu", "tanh", "elu", "leaky-relu", "identity", NULL};

static void parse_widths(dr_policy_choice *choice, const char *command, const char *widths) {
  char copy[256];
  if ((size_t)snprintf(copy, sizeof copy, "%s", widths) >= sizeof copy || copy[0] == '\0')
    dr_usage_error(command, "--%s mlp: needs widths, such as mlp:64,64, got '%s'", choice->option, choice->text);
  char *rest = copy;
  for (char *item; (item = strsep(&rest, ",")) != NULL;) {
    if (choice->num_hidden == DROVER_MLP_MAX_LAYERS - 1)
      dr_usage_error(command, "--%s mlp: at most %d hidden layers are possible, got '%s'", choice->option,
                     DROVER_MLP_MAX_LAYERS - 1, choice->text);
    char name[64];
    snprintf(name, sizeof name, "%s mlp:WIDTH", choice->option);
    choice->hidden[choice->num_hidden++] =
        (int32_t)dr_options_integer(command, name, item, 1, DROVER_MLP_MAX_WIDTH, false);
  }
}

void dr_policy_choice_parse(dr_policy_choice *out, const char *command, const char *policy, const char *activation) {
  *out = (dr_policy_choice){.option = "policy", .text = policy, .activation = DROVER_ACTIVATION_TANH};
  if (strcmp(policy, "random") == 0) {
    out->kind = DR_POLICY_RANDOM;
  } else if (strncmp(policy, "mlp:", 4) == 0) {
    out->kind = DR_POLICY_MLP;
    parse_widths(out, command, policy + 4);
  } else {
    out->kind = DR_POLICY_FILE;
    if (access(policy, R_OK) != 0)
      dr_usage_error(command, "--policy must be random, mlp:W[,W...] or a safetensors file; '%s' cannot be read: %s",
                     policy, strerror(errno));
  }
  if (!activation) return;
  out->activation = (drover_activation)dr_options_choice(command, "activation", activation, dr_activation_names);
  if (out->kind == DR_POLICY_RANDOM) dr_usage_error(command, "--activation needs --policy mlp:W[,W...]");
  if (out->kind == DR_POLICY_FILE)
    dr_usage_error(command, "--activation cannot be given with a file: the file names its own");
}

void dr_inner_choice_parse(dr_policy_choice *out, const char *command, const char *inner_policy) {
  *out = (dr_policy_choice){.option = "inner-policy",
                            .text = inner_policy ? inner_policy : "mlp:256,256,256",
                            .is_default = !inner_policy,
                            .kind = DR_POLICY_MLP,
                            .activation = DROVER_ACTIVATION_ELU,
                            .normalize_observations = 1};
  if (strncmp(out->text, "mlp:", 4) == 0) {
    parse_widths(out, command, out->text + 4);
    return;
  }
  out->kind = DR_POLICY_FILE;
  if (access(out->text, R_OK) != 0)
    dr_usage_error(command, "--inner-policy must be mlp:W[,W...] or a safetensors file; '%s' cannot be read: %s",
                   out->text, strerror(errno));
}

/* What the library said last. Its sentences begin with a noun, which need not follow a command of the same name. */
static const char *last_sentence(const char *command, drover_status status) {
  const char *sentence = drover_last_error();
  const size_t length = strlen(command);
  if (strncmp(sentence, command, length) == 0 && strncmp(sentence + length, ": ", 2) == 0) sentence += length + 2;
  return sentence[0] ? sentence : drover_status_meaning(status);
}

const drover_env_type *dr_find_env(const char *command, const char *name) {
  const size_t length = strlen(name);
  const bool plugin = length > 3 && strcmp(name + length - 3, ".so") == 0;
  const drover_env_type *type = NULL;
  const drover_status status = plugin ? drover_env_open_plugin(name, &type) : drover_env_find(name, &type);
  if (status != DROVER_OK) dr_usage_error(command, "%s", last_sentence(command, status));
  return type;
}

static drover_status create_mlp(drover_policy **out, drover_runtime *runtime, drover_mlp_options *options,
                                const dr_policy_choice *choice, uint64_t seed) {
  options->num_hidden = choice->num_hidden;
  memcpy(options->hidden, choice->hidden, sizeof options->hidden);
  options->activation = choice->activation;
  options->normalize_observations = choice->normalize_observations;
  options->seed = seed;
  return drover_policy_create_mlp(out, runtime, options);
}

drover_status dr_policy_choice_create(drover_policy **out, drover_runtime *runtime, const drover_env_spec *spec,
                                      const dr_policy_choice *choice, uint64_t seed) {
  if (choice->kind == DR_POLICY_RANDOM) return drover_policy_create_uniform(out, runtime, spec);
  if (choice->kind == DR_POLICY_FILE) return drover_policy_load(out, runtime, choice->text);
  drover_mlp_options options;
  drover_status status = drover_mlp_options_init(&options, sizeof options);
  if (status == DROVER_OK) status = drover_mlp_options_fit(&options, spec);
  return status == DROVER_OK ? create_mlp(out, runtime, &options, choice, seed) : status;
}

drover_status dr_inner_choice_create(drover_policy **out, drover_runtime *runtime, drover_batch *batch,
                                     const dr_policy_choice *choice, uint64_t seed) {
  *out = NULL;
  drover_batch_view view = {.size = sizeof view};
  drover_status status = drover_batch_get_view(batch, &view);
  if (status != DROVER_OK) return status;
  /* Without an inner loop the library says so. */
  if (view.spec->num_ticks == 0) return choice->is_default ? DROVER_OK : drover_batch_set_inner_policy(batch, NULL);
  if (choice->kind == DR_POLICY_FILE) {
    status = drover_policy_load(out, runtime, choice->text);
  } else {
    drover_mlp_options options;
    status = drover_mlp_options_init(&options, sizeof options);
    if (status == DROVER_OK) status = drover_mlp_options_fit_inner(&options, view.spec);
    /* Another seed than the outer policy's: their initial weights have nothing in common. */
    if (status == DROVER_OK) status = create_mlp(out, runtime, &options, choice, seed ^ (uint64_t)1 << 63);
  }
  if (status != DROVER_OK) return status;
  status = drover_batch_set_inner_policy(batch, *out);
  if (status == DROVER_OK) return status;
  drover_policy_destroy(*out);
  *out = NULL;
  return status;
}

drover_status dr_batch_options_for(drover_batch_options *out, const dr_options *common) {
  const drover_status status = drover_batch_options_init(out, sizeof *out);
  if (status != DROVER_OK) return status;
  out->num_envs = common->num_envs;
  out->seed = common->seed;
  out->shard = common->shard;
  out->chunk = common->chunk;
  out->max_episode_steps = common->max_episode_steps == DR_NO_TIME_LIMIT ? 0
                           : common->max_episode_steps == 0              ? -1
                                                                         : common->max_episode_steps;
  out->args = (drover_env_args){common->num_env_args, common->env_args};
  return DROVER_OK;
}

drover_status dr_handles_open(dr_handles *out, const dr_options *common, const drover_env_type *type,
                              const drover_batch_options *options) {
  drover_runtime_options runtime_options;
  drover_status status = drover_runtime_options_init(&runtime_options, sizeof runtime_options);
  if (status != DROVER_OK) return status;
  runtime_options.num_workers = common->num_workers;
  runtime_options.trace_events = common->trace ? TRACE_EVENTS : 0;
  status = drover_runtime_create(&out->runtime, &runtime_options);
  if (status != DROVER_OK) return status;
  dr_interrupt_watch(out->runtime);
  status = drover_batch_create(&out->batch, out->runtime, type, options);
  if (status != DROVER_OK) return status;
  drover_batch_view view = {.size = sizeof view};
  status = drover_batch_get_view(out->batch, &view);
  out->spec = view.spec;
  return status;
}

drover_status dr_handles_open_policies(dr_handles *handles, const dr_options *common, const dr_policy_choice *policy,
                                       const dr_policy_choice *inner_policy) {
  const drover_status status =
      dr_inner_choice_create(&handles->inner_policy, handles->runtime, handles->batch, inner_policy, common->seed);
  if (status != DROVER_OK) return status;
  return dr_policy_choice_create(&handles->policy, handles->runtime, handles->spec, policy, common->seed);
}

void dr_handles_close(dr_handles *handles) {
  dr_interrupt_watch(NULL);
  drover_policy_destroy(handles->policy);
  drover_batch_destroy(handles->batch);
  drover_policy_destroy(handles->inner_policy);
  drover_runtime_destroy(handles->runtime);
  *handles = (dr_handles){0};
}

int dr_report_failure(const char *command, const char *what, drover_status status) {
  fprintf(stderr, "drover %s: %s%s%s\n", command, what ? what : "", what ? ": " : "", last_sentence(command, status));
  switch (status) {
    case DROVER_ERROR_ARGUMENT:
    case DROVER_ERROR_NOT_FOUND:
    case DROVER_ERROR_ENV:
    case DROVER_ERROR_POLICY:
    case DROVER_ERROR_FORMAT:
    case DROVER_ERROR_UNSUPPORTED:
      return DR_EXIT_USAGE;
    case DROVER_ERROR_CANCELLED:
      return DR_EXIT_INTERRUPTED;
    default:
      return DR_EXIT_FAILED;
  }
}
