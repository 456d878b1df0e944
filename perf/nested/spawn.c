/* spawn.c: a cell of the experiment in a process of its own, so that environment variables take effect, and its threads
 * counted from outside. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "perf/clock.h"
#include "perf/nested/cell.h"
#include "runtime/threads/census.h"

enum { SAMPLE_MS = 10 };

/* In the child, before exec: only what the way says, nothing of the caller's shell. */
static void set_environment(nested_way way) {
  static const char *const cleared[] = {
      "OMP_NUM_THREADS",       "OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT",
      "OMP_MAX_ACTIVE_LEVELS", "OMP_NESTED",           "OMP_PROC_BIND",    "OMP_PLACES",      "GOMP_CPU_AFFINITY",
      "OMP_DYNAMIC",           "OMP_THREAD_LIMIT",     "DROVER_WORKERS"};
  for (size_t i = 0; i < sizeof cleared / sizeof cleared[0]; i++) unsetenv(cleared[i]);
  if (way == NESTED_FORCED || way == NESTED_GUARD || way == NESTED_INFERENCE) setenv("OMP_NUM_THREADS", "16", 1);
  if (way == NESTED_PROCESS) setenv("OMP_NUM_THREADS", "1", 1);
}

static _Noreturn void become_cell(const nested_cell *cell, int out) {
  char num_envs[16], num_workers[16], seconds[32];
  snprintf(num_envs, sizeof num_envs, "%d", cell->num_envs);
  snprintf(num_workers, sizeof num_workers, "%d", cell->num_workers);
  snprintf(seconds, sizeof seconds, "%g", cell->seconds);
  set_environment(cell->way);
  dup2(out, STDOUT_FILENO);
  const char *argv[] = {"drover",
                        "bench",
                        "nested",
                        "--way",
                        nested_way_name(cell->way),
                        "--envs",
                        num_envs,
                        "--workers",
                        num_workers,
                        "--seconds",
                        seconds,
                        "--plugin",
                        cell->plugin,
                        cell->blas ? "--blas" : NULL,
                        cell->blas,
                        NULL};
  execv("/proc/self/exe", (char *const *)argv);
  fprintf(stderr, "drover bench nested: /proc/self/exe cannot be run: %s\n", strerror(errno));
  _exit(127);
}

/* Read what the cell prints, and from "begin" to "result" count its threads every 10 ms. 0 if a result came. */
static int listen_to(pid_t pid, int in, nested_result *out) {
  dr_census census = {0, 0, NULL};
  char text[512] = "";
  size_t used = 0;
  bool measuring = false, done = false;
  double due_s = dr_seconds_now();
  for (bool open = true; open;) {
    const double wait_s = due_s - dr_seconds_now();
    struct pollfd poll_in = {.fd = in, .events = POLLIN};
    const int ready = poll(&poll_in, 1, !measuring ? -1 : wait_s > 0 ? (int)(wait_s * 1e3) + 1 : 0);
    if (ready < 0 && errno != EINTR) break;
    if (ready > 0) {
      const ssize_t got = read(in, text + used, sizeof text - 1 - used);
      open = got > 0;
      if (got > 0) used += (size_t)got;
      text[used] = '\0';
      measuring = strncmp(text, "begin\n", 6) == 0;
      const char *result = strstr(text, "result ");
      unsigned long long digest = 0;
      if (result && strchr(result, '\n'))
        done = sscanf(result, "result %lf %lf %llx", &out->rollout_ms, &out->mean_reward, &digest) == 3;
      out->digest = digest;
      if (result) measuring = false;
    } else if (measuring && dr_census_take(NULL, pid, false, &census) == DROVER_OK) {
      const int32_t threads = (int32_t)census.count;
      if (out->min_threads == 0 || threads < out->min_threads) out->min_threads = threads;
      if (threads > out->max_threads) out->max_threads = threads;
      due_s = dr_seconds_now() + SAMPLE_MS * 1e-3;
    }
  }
  dr_census_free(&census);
  return done ? 0 : -1;
}

int nested_cell_spawn(const nested_cell *cell, nested_result *out, char *message, int message_size) {
  int ends[2];
  memset(out, 0, sizeof *out);
  if (pipe2(ends, O_CLOEXEC) != 0) {
    snprintf(message, (size_t)message_size, "no pipe: %s", strerror(errno));
    return -1;
  }
  fflush(NULL);
  const pid_t pid = fork();
  if (pid == 0) become_cell(cell, ends[1]);
  close(ends[1]);
  int status = -1;
  const int failed = pid < 0 ? -1 : listen_to(pid, ends[0], out);
  close(ends[0]);
  if (pid > 0)
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
  if (failed == 0 && status == 0) return 0;
  if (pid < 0)
    snprintf(message, (size_t)message_size, "no process: %s", strerror(errno));
  else if (WIFSIGNALED(status))
    snprintf(message, (size_t)message_size, "%s with %d envs was ended by signal %d (%s)", nested_way_name(cell->way),
             cell->num_envs, WTERMSIG(status), strsignal(WTERMSIG(status)));
  else
    snprintf(message, (size_t)message_size, "%s with %d envs gave no result", nested_way_name(cell->way),
             cell->num_envs);
  return -1;
}
