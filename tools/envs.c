/* envs.c: `drover envs [NAME]`: the environments there are, and what one of them observes, takes and promises. */
#include <argp.h>
#include <drover/drover.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/commands.h"
#include "tools/format.h"
#include "tools/json.h"
#include "tools/options.h"
#include "tools/setup.h"
#include "tools/wrap.h"

typedef struct envs_options {
  dr_options common;
  const char *name;
} envs_options;

/* An env type opened once with the user's arguments, only to read its spec. */
typedef struct opened_type {
  const drover_env_type *type;
  drover_env_spec spec;
  void *shared;
  bool opened;
  char message[256]; /* why it is not */
} opened_type;

static void open_type(opened_type *out, const drover_env_type *type, const drover_env_args *args) {
  memset(out, 0, sizeof *out);
  out->type = type;
  out->spec.size = sizeof out->spec;
  out->opened = type->open(args, &out->spec, &out->shared, out->message, sizeof out->message) == 0;
}

static void close_type(opened_type *opened) {
  if (opened->opened && opened->type->close) opened->type->close(opened->shared);
}

/* ---- Words ---- */

static char *observation_words(char *out, size_t size, const drover_env_spec *spec) {
  snprintf(out, size, "%d float32", spec->observation_size);
  return out;
}

static char *action_words(char *out, size_t size, const drover_env_spec *spec) {
  if (spec->action_kind == DROVER_ACTION_DISCRETE)
    snprintf(out, size, "1 of %d", spec->num_actions);
  else
    snprintf(out, size, "%d float32", spec->action_size);
  return out;
}

static size_t env_bytes(const drover_env_spec *spec) { return spec->state_size + spec->memory_bytes; }

/* The names of all arguments in at most `size` bytes; those that do not fit are counted: "a, b and 7 more". */
static char *arg_names(char *out, size_t size, const drover_env_type *type) {
  enum { TAIL = 16 }; /* room for the count */
  size_t used = 0;
  int32_t left = 0;
  out[0] = '\0';
  for (const drover_env_arg_info *info = type->arg_infos; info && info->key; info++) {
    const size_t length = strlen(info->key) + 2;
    if (left > 0 || used + length + TAIL > size)
      left++;
    else
      used += (size_t)snprintf(out + used, size - used, "%s%s", used ? ", " : "", info->key);
  }
  if (left > 0) snprintf(out + used, size - used, "%s%d more", used ? " and " : "", left);
  if (!out[0]) snprintf(out, size, "none");
  return out;
}

/* ---- The table ---- */

static int num_args(const drover_env_type *type) {
  int count = 0;
  while (type->arg_infos && type->arg_infos[count].key) count++;
  return count;
}

static void print_row(const opened_type *opened, int width, bool wide) {
  const drover_env_spec *spec = &opened->spec;
  char observation[32], action[32], bytes[DR_FORMAT_BYTES], limit[DR_FORMAT_BYTES] = "none", args[80];
  if (!opened->opened) {
    printf("%-*s  needs arguments: see `drover envs %s`\n", width, opened->type->name, opened->type->name);
    return;
  }
  if (spec->max_episode_steps > 0) dr_format_integer(limit, spec->max_episode_steps);
  printf("%-*s  %-11s  %-10s  %10s  %10s", width, opened->type->name,
         observation_words(observation, sizeof observation, spec), action_words(action, sizeof action, spec), limit,
         dr_format_bytes(bytes, (double)env_bytes(spec)));
  if (wide)
    printf("  %s\n", arg_names(args, sizeof args, opened->type));
  else
    printf("  %4d\n", num_args(opened->type));
}

/* A narrow terminal gets the number of arguments instead of their names. */
static void print_table(void) {
  enum { WIDE = 132, NO_TERMINAL = 160 };
  const bool wide = dr_output_width(NO_TERMINAL) >= WIDE;
  int width = 4;
  for (int32_t i = 0; i < drover_env_count(); i++) {
    const int length = (int)strlen(drover_env_at(i)->name);
    if (length > width) width = length;
  }
  printf("%-*s  %-11s  %-10s  %10s  %10s  %s\n", width, "NAME", "OBSERVATION", "ACTION", "STEP LIMIT", "MEMORY/ENV",
         wide ? "ARGUMENTS" : "ARGS");
  for (int32_t i = 0; i < drover_env_count(); i++) {
    const drover_env_args none = {0, NULL};
    opened_type opened;
    open_type(&opened, drover_env_at(i), &none);
    print_row(&opened, width, wide);
    close_type(&opened);
  }
  puts(
      "\n`drover envs NAME` shows one in full: bounds, rewards' terms, arguments.\n"
      "A plugin is named by its path: `drover envs ./my_env.so`.");
}

/* ---- One type ---- */

/* "-4.8..4.8", "unbounded", "0..inf" */
static char *bounds_words(char *out, size_t size, const float *low, const float *high, int32_t i) {
  const double from = low ? (double)low[i] : -INFINITY, to = high ? (double)high[i] : INFINITY;
  if (isinf(from) && isinf(to))
    snprintf(out, size, "unbounded");
  else
    snprintf(out, size, "%g..%g", from, to);
  return out;
}

/* One line a run of neighbouring numbers with the same bounds, so that 500 of them stay readable. */
static void print_bounds(int32_t count, const float *low, const float *high) {
  for (int32_t first = 0; first < count;) {
    char words[64], next[64];
    bounds_words(words, sizeof words, low, high, first);
    int32_t last = first;
    while (last + 1 < count && strcmp(words, bounds_words(next, sizeof next, low, high, last + 1)) == 0) last++;
    if (last > first)
      printf("    [%d..%d]  %s\n", first, last, words);
    else
      printf("    [%d]  %s\n", first, words);
    first = last + 1;
  }
}

static void print_names(const char *title, int32_t count, const char *const *names) {
  char text[2048];
  size_t used = 0;
  if (count == 0) return;
  for (int32_t i = 0; i < count && used < sizeof text; i++)
    used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", i ? ", " : "", names[i]);
  printf("  %-12s", title);
  dr_print_wrapped(text, 14, 14, dr_output_width(0));
}

static void print_arguments(const drover_env_type *type) {
  if (num_args(type) == 0) return;
  puts("\n  Arguments (--env-arg KEY=VALUE):");
  const int columns = dr_output_width(0);
  int width = 0;
  for (const drover_env_arg_info *info = type->arg_infos; info->key; info++)
    if ((int)strlen(info->key) > width) width = (int)strlen(info->key);
  for (const drover_env_arg_info *info = type->arg_infos; info->key; info++) {
    char text[512];
    snprintf(text, sizeof text, "%s (default %s)", info->help ? info->help : "",
             info->default_value ? info->default_value : "none");
    printf("    %-*s  ", width, info->key);
    dr_print_wrapped(text, width + 6, width + 6, columns);
  }
}

static void print_details(const opened_type *opened) {
  const drover_env_type *type = opened->type;
  const drover_env_spec *spec = &opened->spec;
  char words[64], state[DR_FORMAT_BYTES], more[DR_FORMAT_BYTES];
  printf("%s: %s\n\n", type->name, type->summary ? type->summary : "");
  if (!opened->opened) {
    printf("  cannot be opened without arguments: %s\n", opened->message);
    print_arguments(type);
    return;
  }
  printf("  %-12s%s\n", "observation", observation_words(words, sizeof words, spec));
  print_bounds(spec->observation_size, spec->observation_low, spec->observation_high);
  printf("  %-12s%s\n", "action", action_words(words, sizeof words, spec));
  if (spec->action_kind == DROVER_ACTION_CONTINUOUS)
    print_bounds(spec->action_size, spec->action_low, spec->action_high);
  if (spec->max_episode_steps > 0)
    printf("  %-12s%s steps (truncated)\n", "time limit", dr_format_integer(words, spec->max_episode_steps));
  else
    printf("  %-12snone\n", "time limit");
  printf("  %-12s%s of state, %s besides\n", "memory", dr_format_bytes(state, (double)spec->state_size),
         dr_format_bytes(more, (double)spec->memory_bytes));
  printf("  %-12s%s\n", "stepping", type->step_many ? "one env, or many at once (step_many)" : "one env at a time");
  printf("  %-12s%s\n", "checkpoints",
         type->save && type->load && spec->save_size ? "yes" : "no (the type has no save and load)");
  if (spec->num_ticks > 0) {
    char text[256];
    int used = snprintf(text, sizeof text, "%d ticks a step, each from %d float32 to %d by an inner policy",
                        spec->num_ticks, spec->inner_observation_size, spec->inner_action_size);
    if (spec->inner_sample_size > 0)
      snprintf(text + used, sizeof text - (size_t)used, "; one tick's sample of %d float32 is kept",
               spec->inner_sample_size);
    printf("  %-12s", "inner loop");
    dr_print_wrapped(text, 14, 14, dr_output_width(0));
  }
  print_names("infos", spec->num_infos, spec->info_names);
  print_names("parameters", spec->num_params, spec->param_names);
  print_arguments(type);
}

/* ---- JSON ---- */

static json_t *names_json(int32_t count, const char *const *names) {
  json_t *array = json_array();
  for (int32_t i = 0; i < count; i++) json_array_append_new(array, json_string(names[i]));
  return array;
}

static json_t *bounds_json(int32_t count, const float *bounds) {
  return bounds ? dr_json_floats(bounds, (size_t)count) : json_null();
}

static json_t *args_json(const drover_env_type *type) {
  json_t *array = json_array();
  for (const drover_env_arg_info *info = type->arg_infos; info && info->key; info++)
    json_array_append_new(
        array, json_pack("{s:s, s:s?, s:s?}", "key", info->key, "default", info->default_value, "help", info->help));
  return array;
}

static json_t *type_json(const opened_type *opened) {
  const drover_env_type *type = opened->type;
  const drover_env_spec *spec = &opened->spec;
  if (!opened->opened)
    return json_pack("{s:s, s:s?, s:s, s:o}", "name", type->name, "summary", type->summary, "error", opened->message,
                     "arguments", args_json(type));
  const bool continuous = spec->action_kind == DROVER_ACTION_CONTINUOUS;
  json_t *observation = json_pack("{s:i, s:o, s:o}", "size", spec->observation_size, "low",
                                  bounds_json(spec->observation_size, spec->observation_low), "high",
                                  bounds_json(spec->observation_size, spec->observation_high));
  json_t *action = continuous
                       ? json_pack("{s:s, s:i, s:o, s:o}", "kind", "continuous", "size", spec->action_size, "low",
                                   bounds_json(spec->action_size, spec->action_low), "high",
                                   bounds_json(spec->action_size, spec->action_high))
                       : json_pack("{s:s, s:i, s:i}", "kind", "discrete", "size", 1, "num_actions", spec->num_actions);
  json_t *inner = spec->num_ticks > 0 ? json_pack("{s:i, s:i, s:i, s:i}", "num_ticks", spec->num_ticks,
                                                  "observation_size", spec->inner_observation_size, "action_size",
                                                  spec->inner_action_size, "sample_size", spec->inner_sample_size)
                                      : json_null();
  return json_pack("{s:s, s:s?, s:o, s:o, s:i, s:I, s:I, s:b, s:b, s:o, s:o, s:o, s:o}", "name", type->name, "summary",
                   type->summary, "observation", observation, "action", action, "max_episode_steps",
                   spec->max_episode_steps, "state_bytes", (json_int_t)spec->state_size, "memory_bytes",
                   (json_int_t)spec->memory_bytes, "step_many", type->step_many != NULL, "checkpoints",
                   type->save && type->load && spec->save_size > 0, "infos",
                   names_json(spec->num_infos, spec->info_names), "parameters",
                   names_json(spec->num_params, spec->param_names), "inner_loop", inner, "arguments", args_json(type));
}

static int print_all_json(void) {
  json_t *array = json_array();
  for (int32_t i = 0; i < drover_env_count(); i++) {
    const drover_env_args none = {0, NULL};
    opened_type opened;
    open_type(&opened, drover_env_at(i), &none);
    json_array_append_new(array, type_json(&opened));
    close_type(&opened);
  }
  return dr_json_print(json_pack("{s:o}", "envs", array)) == 0 ? DR_EXIT_DONE : DR_EXIT_FAILED;
}

/* ---- The command ---- */

static const struct argp_option rows[] = {DR_OPTION_ENV_ARG, DR_OPTION_JSON, {0}};

static error_t parse(int key, char *arg, struct argp_state *state) {
  envs_options *options = state->input;
  if (key == ARGP_KEY_ARG) {
    if (options->name)
      dr_usage_error(options->common.command, "describes one environment at a time, got '%s' too", arg);
    options->name = arg;
    return 0;
  }
  return dr_options_parse(key, arg, &options->common);
}

/* The runtime's own check of keys comes with a batch; here the type is opened without one. */
static void check_args(const dr_options *options, const drover_env_type *type) {
  for (int32_t i = 0; i < options->num_env_args; i++) {
    const drover_env_arg_info *info = type->arg_infos;
    while (info && info->key && strcmp(info->key, options->env_args[i].key) != 0) info++;
    if (info && info->key) continue;
    char known[1024];
    arg_names(known, sizeof known, type);
    dr_usage_error(options->command, "%s has no argument '%s'; it takes: %s", type->name, options->env_args[i].key,
                   known);
  }
}

int dr_cmd_envs(int argc, char **argv) {
  static const struct argp argp = {rows,
                                   parse,
                                   "[NAME]",
                                   "List the environments, or describe one.\v"
                                   "NAME is one of the list, or the path of a plugin (./my_env.so).\n\n"
                                   "Examples:\n"
                                   "  drover envs\n"
                                   "  drover envs Spin-v0 --env-arg cost=50us\n"
                                   "  drover envs --json\n",
                                   NULL,
                                   NULL,
                                   NULL};
  envs_options options = {.common = {.command = "envs"}};
  dr_options_run(&argp, "envs", argc, argv, &options);
  if (!options.name) {
    if (options.common.num_env_args) dr_usage_error("envs", "--env-arg needs the NAME of an environment");
    if (options.common.json) return print_all_json();
    print_table();
    return DR_EXIT_DONE;
  }

  const drover_env_type *type = dr_find_env("envs", options.name);
  check_args(&options.common, type);
  const drover_env_args args = {options.common.num_env_args, options.common.env_args};
  opened_type opened;
  open_type(&opened, type, &args);
  /* A type that has no defaults is still described: its arguments are what the user came for. */
  if (!opened.opened && args.count > 0) dr_usage_error("envs", "%s cannot be opened: %s", type->name, opened.message);
  int code = DR_EXIT_DONE;
  if (!options.common.json)
    print_details(&opened);
  else if (dr_json_print(type_json(&opened)) != 0)
    code = DR_EXIT_FAILED;
  close_type(&opened);
  return code;
}
