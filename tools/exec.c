/* exec.c: `drover exec -- CMD`: start a program with the threading variables set where they are unset, jemalloc
 * preloaded, and this shell's CPU mask. What is set already is left alone. */
#include <argp.h>
#include <drover/threads.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/commands.h"
#include "tools/doctor.h"
#include "tools/options.h"

/* As a shell's. */
enum { EXIT_NOT_EXECUTABLE = 126, EXIT_NOT_FOUND = 127 };

typedef struct exec_options {
  dr_options common;
  bool verbose;
} exec_options;

static error_t parse(int key, char *arg, struct argp_state *state) {
  exec_options *o = state->input;
  if (key != 'v') return dr_options_parse(key, arg, &o->common);
  o->verbose = true;
  return 0;
}

static const struct argp_option option_rows[] = {
    {"workers", DR_KEY_WORKERS, "W", 0, "Set DROVER_WORKERS: workers of runtimes that are not told how many", 1},
    {"verbose", 'v', 0, 0, "Say what is set and what is left alone", 1},
    {0},
};

static const char help[] =
    "Start CMD with one thread for every OpenMP and BLAS call (variables that are unset are set, others stay), "
    "jemalloc "
    "preloaded where it is installed, and this shell's CPU mask.\v"
    "Examples:\n"
    "  drover exec -- python3 train.py\n"
    "  drover exec -v --workers 8 -- ./my_program --its-own-option\n"
    "\n"
    "Exit code: CMD's own; 126 if it cannot be run, 127 if it is not found, 2 bad usage.";

static void say(const exec_options *o, const char *format, ...) DROVER_PRINTF(2, 3);
static void say(const exec_options *o, const char *format, ...) {
  if (!o->verbose) return;
  va_list args;
  va_start(args, format);
  fputs("drover exec: ", stderr);
  vfprintf(stderr, format, args);
  fputc('\n', stderr);
  va_end(args);
}

static void set(const exec_options *o, const char *name, const char *value) {
  if (setenv(name, value, 1) != 0) {
    fprintf(stderr, "drover exec: %s cannot be set: %s\n", name, strerror(errno));
    exit(DR_EXIT_FAILED);
  }
  char clean[256];
  say(o, "set   %s=%s", name, dr_doctor_clean(clean, value));
}

static void set_defaults(const exec_options *o) {
  const char *value = NULL;
  for (int32_t i = 0; drover_threads_default_at(i, &value); i++) {
    const char *name = drover_threads_default_at(i, &value);
    const char *present = getenv(name);
    char clean[256];
    if (present)
      say(o, "kept  %s=%s", name, dr_doctor_clean(clean, present));
    else
      set(o, name, value);
  }
  if (o->common.num_workers > 0) {
    char workers[16];
    snprintf(workers, sizeof workers, "%d", o->common.num_workers);
    set(o, "DROVER_WORKERS", workers);
  }
}

/* jemalloc comes behind what is preloaded already, unless an allocator is among it. */
static void preload_jemalloc(const exec_options *o) {
  static const char *const allocators[] = {"jemalloc", "tcmalloc", "mimalloc", "tbbmalloc_proxy"};
  const char *present = getenv("LD_PRELOAD");
  char path[PATH_MAX], clean[256];
  for (size_t i = 0; present && i < sizeof allocators / sizeof allocators[0]; i++)
    if (strstr(present, allocators[i])) {
      say(o, "kept  LD_PRELOAD=%s", dr_doctor_clean(clean, present));
      return;
    }
  if (!dr_find_jemalloc(path, sizeof path)) {
    say(o, "not preloaded: libjemalloc.so.2 is not installed (Debian: libjemalloc2)");
    return;
  }
  char *list = NULL;
  if (asprintf(&list, "%s%s%s", present ? present : "", present && *present ? ":" : "", path) < 0) {
    fputs("drover exec: no memory\n", stderr);
    exit(DR_EXIT_FAILED);
  }
  set(o, "LD_PRELOAD", list);
  free(list);
}

static void say_cores(const exec_options *o) {
  drover_cores cores = {.size = sizeof cores};
  if (!o->verbose || drover_threads_get_cores(NULL, &cores) != DROVER_OK) return;
  char quota[320] = "no CPU quota";
  if (cores.quota > 0) snprintf(quota, sizeof quota, "a quota of %.4g cores (%s)", cores.quota, cores.quota_path);
  say(o, "cores %d usable: the CPU mask passed on holds %d; %s", cores.num_cores, cores.num_affinity, quota);
}

/* Where our own options end: at "--", or at the first word that is neither an option nor an option's argument. */
static int find_command(int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--") == 0) return i;
    if (argv[i][0] != '-') return i;
    if (strcmp(argv[i], "-w") == 0 || strcmp(argv[i], "--workers") == 0) i++;
  }
  return argc;
}

int dr_cmd_exec(int argc, char **argv) {
  exec_options o = {.common = {.command = "exec"}};
  const struct argp argp = {option_rows, parse, "-- CMD [ARGUMENT...]", help, NULL, NULL, NULL};
  const int end = find_command(argc, argv);
  dr_options_run(&argp, "exec", end, argv, &o);
  char **command = argv + end;
  if (end < argc && strcmp(*command, "--") == 0) command++;
  if (end >= argc || *command == NULL) dr_usage_error("exec", "a command is missing: drover exec -- CMD");

  set_defaults(&o);
  preload_jemalloc(&o);
  say_cores(&o);
  fflush(NULL);
  execvp(*command, command);
  const int error = errno;
  if (error == ENOENT && strchr(*command, '/') && access(*command, F_OK) == 0) {
    fprintf(stderr, "drover exec: %s: cannot be run: the interpreter that it names is missing\n", *command);
    return EXIT_NOT_EXECUTABLE;
  }
  if (error == ENOENT) {
    fprintf(stderr, "drover exec: %s: command not found\n", *command);
    return EXIT_NOT_FOUND;
  }
  fprintf(stderr, "drover exec: %s: cannot be run: %s\n", *command, strerror(error));
  return EXIT_NOT_EXECUTABLE;
}
