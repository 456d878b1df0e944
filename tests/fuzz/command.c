/* command.c: the command under test: run, watched, and its folder looked at. */
#include "tests/fuzz/command.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LIMIT_MS = 120000 };

const char *drover;
bool verbose;
int num_failures;
int64_t num_runs, num_codes[NUM_CODES];

/* ---- Running the command ------------------------------------------------------------------------------------- */

static char shown[512]; /* the line that runs, for messages */

void fail(const result *r, const char *format, ...) {
  if (++num_failures > 30) return;
  va_list args;
  va_start(args, format);
  fprintf(stderr, "FAILED  %s: ", shown);
  vfprintf(stderr, format, args);
  va_end(args);
  fprintf(stderr, "\n        stderr: %.600s\n", r->err.data ? (char *)r->err.data : "");
}

static void show(char *const *arguments) {
  size_t used = 0;
  for (int i = 0; arguments[i] && used < sizeof shown; i++) {
    const size_t length = strlen(arguments[i]);
    used += (size_t)snprintf(shown + used, sizeof shown - used, "%s%.60s%s%s", i ? " '" : "", arguments[i],
                             length > 60 ? "..." : "", i ? "'" : "");
  }
  if (verbose) fprintf(stderr, "%s\n", shown);
}

double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Wait for a child of a process group of its own; false, and it is killed, after the limit. */
static bool wait_for(pid_t child, int *state) {
  const double limit = seconds() + LIMIT_MS * 1e-3;
  for (useconds_t pause = 200; seconds() < limit; pause += pause < 5000 ? 200 : 0) {
    if (waitpid(child, state, WNOHANG) == child) return true;
    usleep(pause);
  }
  kill(-child, SIGKILL);
  waitpid(child, state, 0);
  return false;
}

result run(char *const *arguments, char *const *variables) {
  show(arguments);
  num_runs++;
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, ".out", O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_addopen(&actions, 2, ".err", O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  posix_spawnattr_setpgroup(&attributes, 0);
  pid_t child;
  int state = 0;
  const int failed = posix_spawn(&child, drover, &actions, &attributes, arguments, variables);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (failed) {
    fprintf(stderr, "fuzz_command: '%s' cannot be run: %s\n", drover, strerror(failed));
    exit(2);
  }
  const bool ended = wait_for(child, &state);
  result r = {.code = WIFEXITED(state) ? WEXITSTATUS(state) : -1, .out = fuzz_read(".out"), .err = fuzz_read(".err")};
  if (!ended) fail(&r, "it ran for more than %d s", LIMIT_MS / 1000);
  if (ended && r.code < 0) fail(&r, "it was ended by signal %d", WTERMSIG(state));
  const char *err = (const char *)r.err.data;
  if (strstr(err, "Sanitizer") || strstr(err, "runtime error:")) fail(&r, "a sanitizer's report");
  /* `drover exec` ends as what it runs, or as a shell does that cannot run it. */
  if (r.code > 3 && strcmp(arguments[1], "exec") != 0) fail(&r, "exit code %d is none of the list", r.code);
  if (r.code >= 0 && r.code < 4) num_codes[r.code]++;
  return r;
}

void free_result(result *r) {
  fuzz_free(&r->out);
  fuzz_free(&r->err);
}

/* ---- What it says --------------------------------------------------------------------------------------------- */

/* Whether the words on standard error have `text`; the library writes an option's name with underscores. */
static bool says(const result *r, const char *text) {
  char underscored[80];
  snprintf(underscored, sizeof underscored, "%s", text);
  for (char *c = underscored; *c; c++)
    if (*c == '-') *c = '_';
  return strstr((const char *)r->err.data, text) || strstr((const char *)r->err.data, underscored);
}

void check_usage(const result *r, const char *name, const char *value) {
  if (r->out.size > 0) fail(r, "a bad usage wrote to standard output");
  int lines = 0;
  for (size_t i = 0; i < r->err.size; i++) lines += r->err.data[i] == '\n';
  if (lines < 1 || lines > 2) fail(r, "%d lines instead of a sentence", lines);
  if (r->err.size > 700 && !strstr((const char *)r->err.data, "ambiguous"))
    fail(r, "a sentence of %zu bytes", r->err.size);
  if (strncmp((const char *)r->err.data, "drover", 6) != 0) fail(r, "it does not say who is talking");
  if (name && !says(r, name) && !(value[0] && says(r, value)))
    fail(r, "the sentence names neither --%s nor its value", name);
}

/* ---- The folder ---------------------------------------------------------------------------------------------- */

const char *const existing[NUM_EXISTING] = {"policy.safetensors", "log.csv", "run.conf", "run.checkpoint",
                                            "report.svg"};
fuzz_bytes contents[NUM_EXISTING];

void lay_out_files(void) {
  for (int i = 0; i < NUM_EXISTING; i++) fuzz_write(existing[i], &contents[i]);
}

static void remove_file(const char *name) {
  if (unlink(name) != 0 && errno == EISDIR) rmdir(name);
}

void check_files(const result *r, bool may_change) {
  DIR *folder = opendir(".");
  for (struct dirent *entry; folder && (entry = readdir(folder));) {
    if (entry->d_name[0] == '.') continue;
    int known = -1;
    for (int i = 0; i < NUM_EXISTING; i++)
      if (strcmp(entry->d_name, existing[i]) == 0) known = i;
    if (known < 0) {
      if (!may_change) fail(r, "it left a file '%.80s'", entry->d_name);
      remove_file(entry->d_name);
    }
  }
  if (folder) closedir(folder);
  for (int i = 0; i < NUM_EXISTING && !may_change; i++) {
    fuzz_bytes now = fuzz_read(existing[i]);
    if (now.size != contents[i].size || memcmp(now.data, contents[i].data, now.size) != 0)
      fail(r, "it changed '%s'", existing[i]);
    fuzz_free(&now);
  }
}
