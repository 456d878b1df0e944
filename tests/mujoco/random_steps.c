/* random_steps.c: many random steps of every task: no crash, flat memory, faults counted.
 *
 *   mujoco_random_steps [-n STEPS] [TASK ...]      prints a line for each task; fails if memory grew
 *
 * An episode ends where the task ends it, after a fault, or after its time limit. */
#include <drover/registry.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "env/mujoco/sim.h"

static const char *const all_tasks[] = {"InvertedPendulum-v5",
                                        "InvertedDoublePendulum-v5",
                                        "Reacher-v5",
                                        "Pusher-v5",
                                        "Swimmer-v5",
                                        "Hopper-v5",
                                        "HalfCheetah-v5",
                                        "Walker2d-v5",
                                        "Ant-v5",
                                        "Humanoid-v5",
                                        "HumanoidStandup-v5"};

/* AddressSanitizer holds freed memory back for a while (256 MiB of it by default). */
#if defined(__SANITIZE_ADDRESS__)
static const long most_growth = 300L << 20;
#else
static const long most_growth = 1L << 20;
#endif

static long resident_bytes(void) {
  long pages = 0, resident = 0;
  FILE *file = fopen("/proc/self/statm", "r");
  if (!file || fscanf(file, "%ld %ld", &pages, &resident) != 2) resident = 0;
  if (file) fclose(file);
  return resident * sysconf(_SC_PAGESIZE);
}

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int run(const char *name, long num_steps) {
  const drover_env_type *type;
  if (drover_env_find(name, &type) != DROVER_OK) {
    fprintf(stderr, "%s\n", drover_last_error());
    return 1;
  }
  const drover_env_args none = {0, NULL};
  drover_env_spec spec = {.size = sizeof spec};
  void *shared = NULL;
  char message[256];
  if (type->open(&none, &spec, &shared, message, sizeof message)) {
    fprintf(stderr, "%s: %s\n", name, message);
    return 1;
  }
  dr_mj_env env = {0};
  float *observation = malloc(sizeof(float) * (size_t)spec.observation_size);
  float *action = malloc(sizeof(float) * (size_t)spec.action_size);
  if (!observation || !action || type->create(shared, &env, 0)) {
    fprintf(stderr, "%s: no memory\n", name);
    exit(1);
  }

  uint64_t episode = 0, step = 0;
  float reward = 0;
  uint8_t terminated = 0, truncated = 0;
  const drover_env_rows reset = {
      .count = 1, .purpose = DROVER_RANDOM_RESET, .counters = &episode, .observations = observation};
  const drover_env_rows rows = {.count = 1,
                                .purpose = DROVER_RANDOM_STEP,
                                .counters = &step,
                                .actions = action,
                                .observations = observation,
                                .rewards = &reward,
                                .terminated = &terminated,
                                .truncated = &truncated};
  long faults = 0, first_fault = -1, length = 0, warm = 0;
  const double start = seconds();
  int failed = type->reset(shared, &env, &reset);
  for (long i = 0; i < num_steps && !failed; i++) {
    if (i == num_steps / 10) warm = resident_bytes();
    drover_random random = drover_random_at(1, 0, DROVER_RANDOM_ACTION, step = (uint64_t)i);
    for (int32_t a = 0; a < spec.action_size; a++)
      action[a] = (float)drover_random_range(&random, (double)spec.action_low[a], (double)spec.action_high[a]);
    terminated = 0;
    const int fault = type->step(shared, &env, &rows);
    if (fault && faults++ == 0) first_fault = i;
    if (fault || terminated || ++length >= spec.max_episode_steps) {
      length = 0;
      episode++;
      failed = type->reset(shared, &env, &reset);
    }
  }
  const double took = seconds() - start;
  const long grown = resident_bytes() - warm;
  printf("%-26s %9ld steps %7.0f steps/s %8" PRIu64
         " episodes %5ld faults (first at %ld)  %7zu bytes an env at first, "
         "%7zu at last; resident %+ld KiB after the first tenth\n",
         name, num_steps, (double)num_steps / took, episode, faults, first_fault, spec.memory_bytes,
         env.data ? dr_mj_data_bytes(env.data) : 0, grown / 1024);
  fflush(stdout);
  if (failed) fprintf(stderr, "%s: a reset failed\n", name);
  type->destroy(shared, &env);
  type->close(shared);
  free(observation);
  free(action);
  return failed || grown > most_growth;
}

int main(int argc, char **argv) {
  long num_steps = 1000000;
  int option, failed = 0;
  while ((option = getopt(argc, argv, "n:")) != -1) {
    if (option != 'n' || (num_steps = atol(optarg)) < 10) {
      fprintf(stderr, "usage: mujoco_random_steps [-n STEPS] [TASK ...]\n");
      return 2;
    }
  }
  if (optind == argc)
    for (size_t i = 0; i < sizeof all_tasks / sizeof *all_tasks; i++) failed |= run(all_tasks[i], num_steps);
  for (int i = optind; i < argc; i++) failed |= run(argv[i], num_steps);
  return failed;
}
