/* clock.h: the time in seconds, for what is timed in perf/ and tools/. */
#ifndef DR_PERF_CLOCK_H
#define DR_PERF_CLOCK_H

#include <time.h>

static inline double dr_seconds_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

#endif
