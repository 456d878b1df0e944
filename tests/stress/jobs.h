/* jobs.h: what a stress caller can do, and how it is judged. */
#ifndef TESTS_STRESS_JOBS_H
#define TESTS_STRESS_JOBS_H

#include <drover/drover.h>
#include <stdatomic.h>
#include <stdbool.h>

extern _Atomic int64_t num_passed, num_failed;

/* One thread that drives one runtime after its own random numbers. */
typedef struct stress_caller {
  drover_runtime *runtime;
  int32_t most_workers; /* of the runtimes that it makes itself */
  int32_t id;
  bool may_be_cancelled;
  drover_random random;
} stress_caller;

/* Do one randomly chosen job on one randomly chosen case, and judge it. */
void stress_do_job(stress_caller *caller);

/* A random whole number in low..high. */
int32_t stress_pick(drover_random *random, int32_t low, int32_t high);

#endif
