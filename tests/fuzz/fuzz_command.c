/* fuzz_command.c: the command with bad options, files and environment variables. Every option that `--help` lists is
 * given values that it cannot mean; texts and checkpoints that it reads are changed at random. What must come of it: an
 * exit code from the list, never a signal or a sanitizer's report; with 2 (bad usage) one sentence on standard error,
 * nothing on standard output, and every file in the folder as it was.
 *
 *   fuzz_command DROVER [--runs N] [--seed N] [--verbose]
 *
 * Three runs of four are of options, in a random order, the rest of files. From 1,000 runs on, lines that are wrong in
 * themselves and environment variables come too. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/fuzz/command.h"

enum { MOST_ARGUMENTS = 48, MOST_OPTIONS = 400, LONG_VALUE = 6000 };

/* ---- Commands and their options ------------------------------------------------------------------------------ */

/* What makes each command quick and able to work; the bad option comes behind. */
static const struct base {
  const char *command;
  const char *arguments[20];
} bases[] = {
    {"envs", {"CartPole-v1"}},
    {"rollout",
     {"--env", "CartPole-v1", "--num-envs", "2", "--steps", "2", "--workers", "1", "--quiet", "--save",
      "policy.safetensors"}},
    {"render", {"--env", "CartPole-v1", "--steps", "2", "--quiet", "--out", "picture.png"}},
    {"train",
     {"--env", "CartPole-v1", "--num-envs", "2", "--steps", "8", "--total-steps", "16", "--workers", "1", "--quiet",
      "--checkpoint", "none", "--save", "policy.safetensors", "--log", "log.csv"}},
    {"eval",
     {"--env", "CartPole-v1", "--num-envs", "1", "--episodes", "1", "--workers", "1", "--quiet", "--policy",
      "policy.safetensors"}},
    {"plot", {"log.csv", "--out", "report.svg"}},
    {"bench", {"--list"}},
    {"verify", {"--env", "CartPole-v1", "--num-envs", "2", "--steps", "2", "--quiet"}},
    {"doctor", {"--workers", "1"}},
    {"exec", {"--workers", "1"}},
};
enum { NUM_BASES = sizeof bases / sizeof *bases };

typedef struct option {
  int base;
  char name[40];  /* without dashes */
  char value[24]; /* what the help calls it; "" = it takes none */
} option;

static option options[MOST_OPTIONS];
static int num_options;

/* The lines of the help that describe an option: "  -n, --num-envs=N    How many". */
static void take_help_line(int base, const char *line) {
  const size_t blanks = strspn(line, " ");
  const char *dashes = strstr(line, "--");
  if (blanks < 2 || blanks > 8 || line[blanks] != '-' || !dashes || dashes - line > 8) return;
  option *o = &options[num_options];
  const size_t length = strcspn(dashes + 2, "= \n");
  if (num_options == MOST_OPTIONS || length >= sizeof o->name) return;
  snprintf(o->name, sizeof o->name, "%.*s", (int)length, dashes + 2);
  const char *value = dashes + 2 + length;
  snprintf(o->value, sizeof o->value, "%.*s", *value == '=' ? (int)strcspn(value + 1, " \n") : 0, value + 1);
  o->base = base;
  num_options++;
}

static void read_help(int base) {
  char program[] = "drover", command[16], help[] = "--help";
  snprintf(command, sizeof command, "%s", bases[base].command);
  char *const arguments[] = {program, command, help, NULL};
  result r = run(arguments, environ);
  if (r.code != DONE) fail(&r, "exit code %d", r.code);
  const int before = num_options;
  char *rest = (char *)r.out.data;
  for (char *line; (line = strsep(&rest, "\n")) != NULL;) take_help_line(base, line);
  if (num_options - before < 3) fail(&r, "its help lists %d options", num_options - before);
  free_result(&r);
}

/* ---- Bad lines ----------------------------------------------------------------------------------------------- */

static char long_value[LONG_VALUE + 1], long_digits[LONG_VALUE + 1];
/* The first NO_NUMBERS are not numbers in any notation. */
static const char *const values[] = {"",
                                     "nan",
                                     "abc",
                                     "1e999",
                                     "99999999999999999999",
                                     "-99999999999999999999",
                                     "1 2",
                                     "\xff\xfe",
                                     long_value,
                                     "1,,2",
                                     "--",
                                     "5x",
                                     "-1",
                                     "0",
                                     "1e-320",
                                     "0x10",
                                     "1.5",
                                     ",",
                                     "=",
                                     "%s%n%n",
                                     "/nowhere/at/all",
                                     "/",
                                     ".",
                                     "/dev/full",
                                     "inf",
                                     "1k",
                                     "9G",
                                     long_digits,
                                     "\x1b[2J",
                                     "auto",
                                     "none",
                                     "on"};
enum { NUM_VALUES = sizeof values / sizeof *values, NO_NUMBERS = 12 };

static bool is_numeric(const option *o) {
  static const char *const names[] = {"N", "T", "S", "W", "B", "C", "X", "L", "E", "F", "G", "K", "MS", "PID", "R"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (strcmp(o->value, names[i]) == 0) return true;
  return false;
}

static int fill_base(int base, char **arguments) {
  static char words[MOST_ARGUMENTS][LONG_VALUE + 64];
  int count = 0;
  arguments[count++] = strcpy(words[0], "drover");
  arguments[count] = strcpy(words[count], bases[base].command);
  count++;
  for (int i = 0; i < 20 && bases[base].arguments[i]; i++, count++)
    arguments[count] = strcpy(words[count], bases[base].arguments[i]);
  return count;
}

static int add_program(int base, char **arguments, int count) {
  static char dashes[] = "--", program[] = "true";
  if (strcmp(bases[base].command, "exec") == 0) {
    arguments[count++] = dashes;
    arguments[count++] = program;
  }
  arguments[count] = NULL;
  return count;
}

static void try_option(const option *o, const char *value) {
  char *arguments[MOST_ARGUMENTS], text[LONG_VALUE + 64];
  int count = fill_base(o->base, arguments);
  snprintf(text, sizeof text, "--%s=%s", o->name, value);
  arguments[count++] = text;
  add_program(o->base, arguments, count);
  lay_out_files();
  result r = run(arguments, environ);
  if (r.code == USAGE) check_usage(&r, o->name, value);
  if (r.code == FAILED && r.err.size + r.out.size == 0) fail(&r, "it failed without a sentence");
  const char *const *last = values + NO_NUMBERS;
  bool no_number = false;
  for (const char *const *v = values; v < last; v++) no_number = no_number || *v == value;
  if (is_numeric(o) && no_number && r.code != USAGE) fail(&r, "'%.40s' was taken for a number (%d)", value, r.code);
  if (!o->value[0] && r.code != USAGE && strcmp(o->name, "version") != 0) fail(&r, "--%s takes no value", o->name);
  check_files(&r, r.code != USAGE);
  free_result(&r);
}

/* Lines that are wrong in themselves. */
static void try_lines(void) {
  static const char *const lines[][4] = {{"--no-such-option"},
                                         {"-Z"},
                                         {"--"},
                                         {""},
                                         {"surplus", "words"},
                                         {"--env"},
                                         {"--workers"},
                                         {"-"},
                                         {"\xff\xfe"},
                                         {long_value},
                                         {"--=x"},
                                         {"---"},
                                         {"-n"},
                                         {"--num-envs", "--steps"}};
  for (int base = 0; base < NUM_BASES; base++)
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
      char *arguments[MOST_ARGUMENTS], words[4][LONG_VALUE + 1];
      int count = fill_base(base, arguments);
      for (int w = 0; w < 4 && lines[i][w]; w++) arguments[count++] = strcpy(words[w], lines[i][w]);
      arguments[count] = NULL;
      lay_out_files();
      result r = run(arguments, environ);
      if (r.code == USAGE) check_usage(&r, NULL, "");
      if (strncmp(lines[i][0], "--no", 4) == 0 && r.code != USAGE) fail(&r, "exit code %d", r.code);
      check_files(&r, r.code != USAGE);
      free_result(&r);
    }
}

/* ---- Environment variables ----------------------------------------------------------------------------------- */

static void try_variables(void) {
  static const char *const settings[] = {"DROVER_WORKERS=abc",
                                         "DROVER_WORKERS=-1",
                                         "DROVER_WORKERS=99999999999999999999",
                                         "DROVER_WORKERS=",
                                         "DROVER_WORKERS=1e9",
                                         "ARGP_HELP_FMT=%s",
                                         "ARGP_HELP_FMT=rmargin=-1",
                                         "COLUMNS=-1",
                                         "COLUMNS=0",
                                         "COLUMNS=999999999999",
                                         "TERM=",
                                         "TMPDIR=/nowhere",
                                         "LC_ALL=no_SUCH",
                                         "NO_COLOR=",
                                         "HOME=/nowhere",
                                         "MUJOCO_GL=none"};
  char *variables[64];
  for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
    char setting[64];
    snprintf(setting, sizeof setting, "%s", settings[i]);
    size_t count = 0;
    for (char **v = environ; *v && count < 60; v++)
      if (strncmp(*v, setting, strcspn(setting, "=") + 1) != 0) variables[count++] = *v;
    variables[count++] = setting;
    variables[count] = NULL;
    for (int base = 0; base < NUM_BASES; base++) {
      if (base % 3 != (int)i % 3) continue; /* a third of them each */
      char *arguments[MOST_ARGUMENTS];
      add_program(base, arguments, fill_base(base, arguments));
      lay_out_files();
      result r = run(arguments, variables);
      if (r.code != DONE && r.err.size + r.out.size == 0)
        fail(&r, "%s: exit code %d without a sentence", setting, r.code);
      if (r.code == USAGE) check_usage(&r, NULL, "");
      check_files(&r, r.code != USAGE);
      free_result(&r);
    }
  }
}

/* ---- Files --------------------------------------------------------------------------------------------------- */

static const char *const config_words[] = {"num-envs",     "steps",    "gamma", "policy", "mlp:64",      "on",
                                           "off",          "=",        "#",     "env",    "resume",      "json",
                                           "help",         "config",   "none",  "auto",   "CartPole-v1", "Pendulum-v1",
                                           "inner-policy", "\xff\xfe", "\n\n",  "seed",   NULL};

static void check_bad_file(result *r, const char *name) {
  if (r->code == USAGE) {
    check_usage(r, NULL, "");
    /* Or what in it is wrong: an option, the name of an env type. */
    const char *err = (const char *)r->err.data;
    if (!strstr(err, name) && !strstr(err, "--") && !strstr(err, "env"))
      fail(r, "the sentence does not name '%s'", name);
  }
  if (r->code == FAILED && r->err.size == 0) fail(r, "it failed without a sentence");
  check_files(r, true);
  free_result(r);
}

static void try_file(int which, const fuzz_bytes *input, drover_random *random) {
  char *config[] = {"drover", "train", "--config", "run.conf", "--print-config", NULL};
  char *resume[] = {"drover",    "train", "--resume", "run.checkpoint", "--total-steps", "64",
                    "--workers", "1",     "--quiet",  "--checkpoint",   "none",          NULL};
  char *eval[] = {"drover",    "eval", "--env",   "CartPole-v1", "--num-envs",         "1", "--episodes", "1",
                  "--workers", "1",    "--quiet", "--policy",    "policy.safetensors", NULL};
  char *init[] = {"drover",        "train",
                  "--env",         "CartPole-v1",
                  "--init",        "policy.safetensors",
                  "--num-envs",    "2",
                  "--steps",       "8",
                  "--total-steps", "16",
                  "--workers",     "1",
                  "--quiet",       "--checkpoint",
                  "none",          NULL};
  char *const *const lines[] = {[POLICY] = eval, [CONFIG] = config, [CHECKPOINT] = resume};
  char *const *line = which == POLICY && fuzz_below(random, 2) ? init : lines[which];
  lay_out_files();
  fuzz_write(existing[which], input);
  result r = run(line, environ);
  check_bad_file(&r, existing[which]);
}

/* A checkpoint's settings are text in the header of a safetensors file: texts of the same length keep it whole. */
static void change_checkpoint(fuzz_bytes *bytes, drover_random *random) {
  uint64_t length = 0;
  memcpy(&length, bytes->data, sizeof length);
  fuzz_bytes header = fuzz_copy(bytes->data + 8, (size_t)length);
  fuzz_bytes data = fuzz_copy(bytes->data + 8 + length, bytes->size - 8 - (size_t)length);
  if (fuzz_below(random, 2))
    fuzz_change_text(&header, config_words, random);
  else
    for (size_t left = 1 + fuzz_below(random, 3); left > 0; left--) {
      /* In place, so that the offsets stay right: the counters are at the beginning of the data. */
      static const uint64_t numbers[] = {0, UINT64_MAX, 0x7ff0000000000000u, 0xbff0000000000000u, 0x43e0000000000000u};
      const size_t at = 8 * fuzz_below(random, fuzz_below(random, 2) ? 7 : data.size / 8);
      memcpy(data.data + at, &numbers[fuzz_below(random, 5)], 8);
    }
  length = header.size;
  fuzz_free(bytes);
  *bytes = fuzz_copy(&length, sizeof length);
  fuzz_append(bytes, &header);
  fuzz_append(bytes, &data);
  fuzz_free(&header);
  fuzz_free(&data);
}

static void try_any_file(drover_random *random) {
  const int which = (int[]){POLICY, CONFIG, CHECKPOINT, CHECKPOINT}[fuzz_below(random, 4)];
  fuzz_bytes input = fuzz_copy(contents[which].data, contents[which].size);
  if (which == CONFIG)
    fuzz_change_text(&input, config_words, random);
  else if (which == CHECKPOINT && fuzz_below(random, 4) > 0)
    change_checkpoint(&input, random);
  else
    fuzz_change_bytes(&input, NULL, random);
  try_file(which, &input, random);
  fuzz_free(&input);
}

/* ---- The program --------------------------------------------------------------------------------------------- */

static void make_files(void) {
  char *train[] = {"drover",
                   "train",
                   "--env",
                   "CartPole-v1",
                   "--num-envs",
                   "2",
                   "--steps",
                   "8",
                   "--total-steps",
                   "32",
                   "--workers",
                   "1",
                   "--quiet",
                   "--policy",
                   "mlp:8",
                   "--checkpoint",
                   "run.checkpoint",
                   "--save",
                   "policy.safetensors",
                   "--log",
                   "log.csv",
                   NULL};
  char *config[] = {"drover", "train", "--env", "CartPole-v1", "--print-config", NULL};
  result r = run(train, environ);
  if (r.code != DONE) fail(&r, "the files could not be made: %d", r.code), exit(1);
  free_result(&r);
  r = run(config, environ);
  if (r.code != DONE) fail(&r, "exit code %d", r.code), exit(1);
  fuzz_write("run.conf", &r.out);
  free_result(&r);
  const fuzz_bytes picture = {(unsigned char *)"<svg/>\n", 7};
  fuzz_write("report.svg", &picture);
  for (int i = 0; i < NUM_EXISTING; i++) contents[i] = fuzz_read(existing[i]);
}

/* Pairs of an option and a value in a random order, each once. */
static void try_options(uint64_t seed, size_t most) {
  const size_t count = (size_t)num_options * NUM_VALUES;
  size_t *order = malloc(count * sizeof *order);
  drover_random random = drover_random_at(seed, 0, DROVER_RANDOM_USER, 0);
  for (size_t i = 0; i < count; i++) {
    const size_t other = fuzz_below(&random, i + 1);
    order[i] = order[other];
    order[other] = i;
  }
  size_t done = 0;
  for (; done < count && done < most; done++)
    try_option(&options[order[done] / NUM_VALUES], values[order[done] % NUM_VALUES]);
  printf("options: %zu of %zu values of %d options\n", done, count, num_options);
  free(order);
}

int main(int argc, char **argv) {
  if (argc < 2) return 2;
  drover = realpath(argv[1], NULL);
  size_t runs = 160;
  uint64_t seed = 1;
  for (int i = 2; i < argc; i++) {
    if (strcmp(argv[i], "--verbose") == 0) verbose = true;
    if (strcmp(argv[i], "--runs") == 0 && i + 1 < argc) runs = strtoull(argv[i + 1], NULL, 10);
    if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) seed = strtoull(argv[i + 1], NULL, 10);
  }
  memset(long_value, 'x', LONG_VALUE);
  memset(long_digits, '7', LONG_VALUE);
  char folder[] = "/tmp/drover-fuzz-XXXXXX";
  if (!drover || !mkdtemp(folder) || chdir(folder) != 0) return 2;
  make_files();
  for (int base = 0; base < NUM_BASES; base++) read_help(base);
  try_options(seed, runs / 4 * 3);
  if (runs >= 1000) {
    try_lines();
    try_variables();
  }
  size_t files = 0;
  for (; files < runs / 4; files++) {
    drover_random random = drover_random_at(seed, 1, DROVER_RANDOM_USER, files);
    try_any_file(&random);
  }
  printf("files: %zu\n", files);
  for (int i = 0; i < NUM_EXISTING; i++) {
    unlink(existing[i]);
    fuzz_free(&contents[i]);
  }
  unlink(".out");
  unlink(".err");
  rmdir(folder);
  printf("%" PRId64 " runs: %" PRId64 " done, %" PRId64 " failed, %" PRId64 " bad usage; %d failures, seed %" PRIu64
         "\n",
         num_runs, num_codes[0], num_codes[1], num_codes[2], num_failures, seed);
  return num_failures > 0;
}
