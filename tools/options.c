/* options.c: parsing of the options that subcommands share. */
#include "tools/options.h"

#include <errno.h>
#include <inttypes.h>
#include <libgen.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/commands.h"
#include "tools/format.h"
#include "tools/spelling.h"
#include "tools/wrap.h"

const char *const dr_transform_names[] = {"clip", "tanh", "none", NULL};

void dr_usage_error(const char *command, const char *format, ...) {
  char sentence[512]; /* it repeats what was given, which may be of any length */
  va_list args;
  va_start(args, format);
  const bool cut = vsnprintf(sentence, sizeof sentence, format, args) >= (int)sizeof sentence;
  va_end(args);
  fprintf(stderr, "drover %s: %s%s\n", command, sentence, cut ? "..." : "");
  exit(DR_EXIT_USAGE);
}

/* An argument "--word" that begins no option's name is refused with the closest one: argp proposes nothing. */
static void check_names(const struct argp *argp, const char *command, int argc, char **argv) {
  enum { MOST_NAMES = 256 };
  const char *names[MOST_NAMES + 1] = {"help", "usage", NULL};
  int count = 2;
  for (const struct argp_option *row = argp->options; row->name || row->key || row->doc; row++)
    if (row->name && count < MOST_NAMES) names[count++] = row->name;
  for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
    char word[64];
    if (strncmp(argv[i], "--", 2) != 0) continue;
    snprintf(word, sizeof word, "%.*s", (int)strcspn(argv[i] + 2, "="), argv[i] + 2);
    bool known = false;
    for (int n = 0; n < count && !known; n++) known = strncmp(word, names[n], strlen(word)) == 0;
    if (known) continue;
    const char *closest = dr_closest_name(word, names);
    if (closest) dr_usage_error(command, "unrecognized option '--%s'; did you mean '--%s'?", word, closest);
    dr_usage_error(command, "unrecognized option '--%s'; `drover %s --help` lists them", word, command);
  }
}

/* -h is --help: argp itself knows only -?. */
static error_t parse_help(int key, char *arg, struct argp_state *state) {
  (void)arg;
  if (key != 'h') return ARGP_ERR_UNKNOWN;
  argp_state_help(state, stdout, ARGP_HELP_STD_HELP);
  return 0;
}

void dr_options_run(const struct argp *argp, const char *command, int argc, char **argv, void *input) {
  static const struct argp_option help_rows[] = {{NULL, 'h', NULL, OPTION_HIDDEN, NULL, -1}, {0}};
  static const struct argp help = {help_rows, parse_help, NULL, NULL, NULL, NULL, NULL};
  const struct argp_child children[] = {{&help, 0, NULL, 0}, {0}};
  struct argp with_help = *argp;
  with_help.children = children;
  enum { NARROW = 60, WIDE = 100 };
  const int columns = dr_output_width(80);
  const int width = columns < NARROW ? NARROW : columns > WIDE ? WIDE : columns;
  char program[64], format[64];
  check_names(argp, command, argc, argv);
  snprintf(program, sizeof program, "drover %s", command);
  argv[0] = program;
  snprintf(format, sizeof format, "rmargin=%d,opt-doc-col=31,no-dup-args-note", width);
  setenv("ARGP_HELP_FMT", format, 0);
  argp_err_exit_status = DR_EXIT_USAGE;
  const error_t failed = argp_parse(&with_help, argc, argv, 0, NULL, input);
  argv[0] = NULL; /* `program` ends here */
  if (failed) dr_usage_error(command, "%s", strerror(failed));
}

/* The factor of a suffix: "" 1, k 1,000, M 1,000,000, G 1,000,000,000; 0 for anything else. */
static double suffix_factor(const char *suffix) {
  if (suffix[0] == '\0') return 1;
  if (suffix[1] != '\0') return 0;
  switch (suffix[0]) {
    case 'k':
    case 'K':
      return 1e3;
    case 'M':
      return 1e6;
    case 'G':
      return 1e9;
    default:
      return 0;
  }
}

/* Plain digits are read as an integer, so that every 63-bit seed is exact; the rest as a decimal times its suffix. */
static bool parse_integer(const char *text, int64_t *out) {
  if (text[0] == '\0' || text[strspn(text, "0123456789.kKMG+-")] != '\0') return false;
  char *end;
  errno = 0;
  const long long plain = strtoll(text, &end, 10);
  if (end != text && *end == '\0') {
    *out = plain;
    return errno == 0;
  }
  const double value = strtod(text, &end) * suffix_factor(end);
  if (end == text || suffix_factor(end) == 0 || value != floor(value) || fabs(value) > 9e18) return false;
  *out = (int64_t)value;
  return true;
}

int64_t dr_options_integer(const char *command, const char *name, const char *text, int64_t low, int64_t high,
                           bool may_be_auto) {
  int64_t value = 0;
  if (may_be_auto && strcmp(text, "auto") == 0) return 0;
  const bool number = parse_integer(text, &value);
  if (number && value >= low && value <= high) return value;
  if (number && value == 0 && may_be_auto) return 0;
  char from[32], to[32];
  dr_usage_error(command, "--%s must be a whole number in %s..%s%s, got '%s'", name, dr_format_integer(from, low),
                 dr_format_integer(to, high), may_be_auto ? ", or auto" : "", text);
}

double dr_options_real(const char *command, const char *name, const char *text, double low, double high) {
  char *end;
  const double value = strtod(text, &end);
  if (end == text || *end != '\0' || !(value >= low && value <= high))
    dr_usage_error(command, "--%s must be a number in %g..%g, got '%s'", name, low, high, text);
  return value;
}

int dr_options_choice(const char *command, const char *name, const char *text, const char *const *names) {
  char list[256] = "";
  for (int i = 0; names[i]; i++) {
    if (strcmp(names[i], text) == 0) return i;
    const size_t used = strlen(list);
    snprintf(list + used, sizeof list - used, "%s%s", i == 0 ? "" : names[i + 1] ? ", " : " or ", names[i]);
  }
  dr_usage_error(command, "--%s must be %s, got '%s'", name, list, text);
}

void dr_options_check_output(const char *command, const char *name, const char *path) {
  struct stat info;
  if (path[0] == '\0') dr_usage_error(command, "--%s needs a file name, got ''", name);
  if (strncmp(path, "--", 2) == 0)
    dr_usage_error(command, "--%s needs a file name, got the option '%s'; for such a file write ./%s", name, path,
                   path);
  if (stat(path, &info) == 0) {
    if (S_ISDIR(info.st_mode)) dr_usage_error(command, "--%s must name a file, but '%s' is a folder", name, path);
    /* It is replaced by renaming over it, which would remove a device. */
    if (!S_ISREG(info.st_mode)) dr_usage_error(command, "--%s: '%s' is not a regular file", name, path);
    if (access(path, W_OK) != 0)
      dr_usage_error(command, "--%s: '%s' cannot be written: %s", name, path, strerror(errno));
  }
  char copy[4096];
  if ((size_t)snprintf(copy, sizeof copy, "%s", path) >= sizeof copy)
    dr_usage_error(command, "--%s: the file name is longer than %zu bytes", name, sizeof copy - 1);
  const char *folder = dirname(copy);
  if (stat(folder, &info) != 0)
    dr_usage_error(command, "--%s: the folder '%s' cannot be opened: %s", name, folder, strerror(errno));
  if (!S_ISDIR(info.st_mode)) dr_usage_error(command, "--%s: '%s' is not a folder", name, folder);
  if (access(folder, W_OK | X_OK) != 0)
    dr_usage_error(command, "--%s: the folder '%s' cannot be written to: %s", name, folder, strerror(errno));
}

/* Take one "K=V[,K=V...]" apart in place: argv's memory outlives the command. */
static void parse_env_args(dr_options *options, char *text) {
  for (char *save = NULL, *item = strtok_r(text, ",", &save); item; item = strtok_r(NULL, ",", &save)) {
    char *equals = strchr(item, '=');
    if (!equals || equals == item)
      dr_usage_error(options->command, "--env-arg must be KEY=VALUE[,KEY=VALUE...], got '%s'", item);
    *equals = '\0';
    for (int32_t i = 0; i < options->num_env_args; i++)
      if (strcmp(options->env_args[i].key, item) == 0)
        dr_usage_error(options->command, "--env-arg gives '%s' twice: '%s' and '%s'", item, options->env_args[i].value,
                       equals + 1);
    if (options->num_env_args == DR_MAX_ENV_ARGS)
      dr_usage_error(options->command, "--env-arg: at most %d arguments can be given", DR_MAX_ENV_ARGS);
    options->env_args[options->num_env_args++] = (drover_env_arg){item, equals + 1};
  }
}

error_t dr_options_parse(int key, char *arg, dr_options *options) {
  const char *command = options->command;
  switch (key) {
    case DR_KEY_ENV:
      options->env = arg;
      return 0;
    case DR_KEY_ENV_ARG:
      parse_env_args(options, arg);
      return 0;
    case DR_KEY_NUM_ENVS:
      options->num_envs = (int32_t)dr_options_integer(command, "num-envs", arg, 1, DROVER_MAX_ENVS, true);
      return 0;
    case DR_KEY_STEPS:
      options->num_steps = (int32_t)dr_options_integer(command, "steps", arg, 1, 16777216, true);
      return 0;
    case DR_KEY_SEED:
      options->seed = (uint64_t)dr_options_integer(command, "seed", arg, 0, INT64_MAX, false);
      return 0;
    case DR_KEY_WORKERS:
      options->num_workers = (int32_t)dr_options_integer(command, "workers", arg, 1, 1024, true);
      return 0;
    case DR_KEY_SHARD:
      options->shard = (int32_t)dr_options_integer(command, "shard", arg, 1, DROVER_MAX_ENVS, true);
      return 0;
    case DR_KEY_CHUNK:
      options->chunk = (int32_t)dr_options_integer(command, "chunk", arg, 1, DROVER_MAX_ENVS, true);
      return 0;
    case DR_KEY_POLICY:
      options->policy = arg;
      return 0;
    case DR_KEY_INNER_POLICY:
      options->inner_policy = arg;
      return 0;
    case DR_KEY_ACTIVATION:
      options->activation = arg;
      return 0;
    case DR_KEY_TRANSFORM:
      options->transform = (drover_action_transform)dr_options_choice(command, "transform", arg, dr_transform_names);
      return 0;
    case DR_KEY_MAX_EPISODE_STEPS:
      options->max_episode_steps =
          strcmp(arg, "none") == 0 ? DR_NO_TIME_LIMIT
                                   : (int32_t)dr_options_integer(command, "max-episode-steps", arg, 1, INT32_MAX, true);
      return 0;
    case DR_KEY_TRACE:
      options->trace = arg;
      return 0;
    case DR_KEY_JSON:
      options->json = true;
      return 0;
    case DR_KEY_QUIET:
      options->quiet = true;
      return 0;
    case ARGP_KEY_ARG:
      dr_usage_error(command, "takes options only, got '%s'", arg);
    default:
      return ARGP_ERR_UNKNOWN;
  }
}
