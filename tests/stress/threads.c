/* threads.c: the process has as many threads as it began with and the runtime's other workers, and the number does not
 * move. Counted from outside: the subject is a child process that works until its parent, who looks into /proc every
 * 10 ms, has seen enough. */
#include <drover/drover.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/stress/toy.h"

static const int SAMPLE_MS = 10, NUM_SAMPLES = 40;

/* ---- The subject --------------------------------------------------------------------------------------------- */

static int to_parent, from_parent;

static void must(drover_status status, const char *what) {
  if (status == DROVER_OK) return;
  fprintf(stderr, "threads: %s: %s: %s\n", what, drover_status_name(status), drover_last_error());
  _exit(1);
}

/* Tell the parent to go on to its next part, and wait until it has. */
static void next_part(void) {
  char byte = 'n';
  if (write(to_parent, &byte, 1) != 1 || read(from_parent, &byte, 1) != 1) _exit(1);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int count_threads(pid_t process) {
  char path[64], line[128];
  snprintf(path, sizeof path, "/proc/%d/status", (int)process);
  FILE *file = fopen(path, "re");
  int threads = 0;
  while (file && fgets(line, sizeof line, file))
    if (strncmp(line, "Threads:", 8) == 0) threads = (int)strtol(line + 8, NULL, 10);
  if (file) fclose(file);
  return threads;
}

/* The parent has seen enough. */
static bool is_told(const void *unused) {
  (void)unused;
  struct pollfd wait_for = {.fd = from_parent, .events = POLLIN};
  if (poll(&wait_for, 1, 0) == 0) return false;
  char byte;
  if (read(from_parent, &byte, 1) != 1) _exit(1);
  return true;
}

/* A thread may come later than create waits, on a busy machine by seconds; one too many is for the parent to see. */
typedef struct arrival {
  int wanted;
  double limit;
} arrival;

static bool have_come(const void *arg) {
  const arrival *a = arg;
  return count_threads(getpid()) >= a->wanted || now() > a->limit;
}

static void work(drover_runtime *runtime, bool (*is_over)(const void *), const void *arg) {
  enum { N = 64 };
  static int32_t actions[N], ids[N];
  drover_batch_options options;
  drover_batch_options_init(&options, sizeof options);
  options.num_envs = N;
  drover_batch *batch;
  must(drover_batch_create(&batch, runtime, &toy_discrete, &options), "batch");
  drover_policy *policy;
  must(toy_policy_create(&policy, runtime, &toy_discrete, -1, 0), "policy");
  drover_rollout_options rollout_options;
  drover_rollout_options_init(&rollout_options, sizeof rollout_options);
  drover_rollout *rollout;
  must(drover_rollout_create(&rollout, batch, policy, &rollout_options), "rollout");
  volatile uint32_t learned = 1;
  do {
    must(drover_rollout_collect(rollout), "collect");
    learned = toy_work(5000000, learned); /* a learner's phase, on the caller */
    for (int i = 0; i < 20; i++) must(drover_batch_step(batch, actions), "step");
    for (int32_t e = 0; e < N; e++) ids[e] = e;
    must(drover_batch_send(batch, N, ids, actions), "send");
    for (int32_t got = 0, count; got < N; got += count) must(drover_batch_recv(batch, N, -1, ids, &count), "recv");
  } while (!is_over(arg));
  must(drover_rollout_destroy(rollout), "destroy");
  must(drover_policy_destroy(policy), "destroy");
  must(drover_batch_destroy(batch), "destroy");
}

/* Parts: 0 before anything, 1 while the threads come, 2 while a runtime works, 3 the same with a second runtime of the
 * same size. */
static void be_subject(int32_t num_workers) {
  const arrival all = {.wanted = count_threads(getpid()) + num_workers - 1, .limit = now() + 20};
  next_part();
  drover_runtime_options options;
  drover_runtime_options_init(&options, sizeof options);
  options.num_workers = num_workers;
  drover_runtime *first, *second;
  must(drover_runtime_create(&first, &options), "runtime");
  work(first, have_come, &all);
  next_part();
  work(first, is_told, NULL);
  next_part();
  must(drover_runtime_destroy(first), "destroy");
  must(drover_runtime_create(&second, &options), "runtime");
  work(second, is_told, NULL);
  must(drover_runtime_destroy(second), "destroy");
  next_part();
  _exit(0);
}

/* ---- The parent ---------------------------------------------------------------------------------------------- */

typedef struct seen {
  int least, most, samples;
} seen;

static void sample(pid_t subject, seen *s) {
  const int threads = count_threads(subject);
  if (threads == 0) return;
  if (s->samples == 0 || threads < s->least) s->least = threads;
  if (s->samples == 0 || threads > s->most) s->most = threads;
  s->samples++;
}

/* Sample until the subject goes on to the next part, which in parts 2 and 3 it does when it is told that there are
 * enough samples; false if it has ended instead. */
static bool watch_part(int part, pid_t subject, int from_subject, int to_subject, seen *s) {
  *s = (seen){0};
  struct pollfd wait_for = {.fd = from_subject, .events = POLLIN};
  char byte = 'e';
  while (poll(&wait_for, 1, SAMPLE_MS) == 0) {
    sample(subject, s);
    if (part >= 2 && s->samples == NUM_SAMPLES && write(to_subject, &byte, 1) != 1) return false;
  }
  if (read(from_subject, &byte, 1) != 1) return false;
  if (s->samples == 0) sample(subject, s);
  return write(to_subject, &byte, 1) == 1;
}

static bool check(int32_t num_workers) {
  int up[2], down[2];
  if (pipe(up) != 0 || pipe(down) != 0) return false;
  fflush(stdout);
  const pid_t subject = fork();
  if (subject < 0) return false;
  if (subject == 0) {
    to_parent = up[1];
    from_parent = down[0];
    close(up[0]);
    close(down[1]);
    be_subject(num_workers);
  }
  close(up[1]);
  close(down[0]);
  seen parts[4];
  bool good = true;
  for (int i = 0; i < 4 && good; i++) good = watch_part(i, subject, up[0], down[1], &parts[i]);
  int status = 0;
  waitpid(subject, &status, 0);
  close(up[0]);
  close(down[1]);
  if (!good || status != 0) {
    printf("FAILED: %d workers: the subject ended early (status %d)\n", (int)num_workers, status);
    return false;
  }
  const int expected = parts[0].most + num_workers - 1;
  for (int i = 2; i < 4; i++)
    good = parts[i].least == expected && parts[i].most == expected && parts[i].samples >= NUM_SAMPLES && good;
  printf(
      "%s: %d workers: began with %d threads; %d..%d while working (%d samples), %d..%d with a second runtime (%d "
      "samples); "
      "expected %d\n",
      good ? "ok" : "FAILED", (int)num_workers, parts[0].most, parts[2].least, parts[2].most, parts[2].samples,
      parts[3].least, parts[3].most, parts[3].samples, expected);
  return good;
}

int main(void) {
  static const int32_t sizes[] = {1, 2, 5, 9};
  int num_passed = 0, num_failed = 0;
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) *(check(sizes[i]) ? &num_passed : &num_failed) += 1;
  printf("%d passed, %d failed\n", num_passed, num_failed);
  return num_failed > 0;
}
