/* spin_loop.c: work of a known length. It never looks at a clock while it works: a thread that is preempted has not
 * worked meanwhile, and reading a clock costs as much as the cheapest steps. */
#include <pthread.h>
#include <time.h>

#include "env/synthetic/spin.h"

/* A linear congruential generator (Knuth's MMIX constants): each iteration needs the one before it, so the loop runs at
 * the latency of a multiplication and an addition, whatever the compiler and the other cores do. */
__attribute__((noinline)) uint64_t dr_spin(uint64_t iterations) {
  if (iterations == 0) return 0;
  uint64_t x = iterations;
  for (uint64_t i = 0; i < iterations; i++) {
    x = x * 6364136223846793005u + 1442695040888963407u;
    __asm__ volatile("" : "+r"(x)); /* every x is needed: no closed form, no unrolled recurrence */
  }
#if defined(__x86_64__)
  /* Else the processor would begin the next env's step beside the end of this loop: 200 ns took 165. */
  __builtin_ia32_lfence();
#elif defined(__aarch64__)
  __asm__ volatile("isb" ::: "memory");
#endif
  return x;
}

static double iterations_per_us;

/* The fastest of several runs: whatever disturbs a run only makes it slower. */
static void calibrate(void) {
  enum { RUNS = 20, ITERATIONS = 100000 };
  double fastest_us = INFINITY;
  for (int run = 0; run < RUNS; run++) {
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    dr_spin(ITERATIONS);
    clock_gettime(CLOCK_MONOTONIC, &end);
    const double us = (double)(end.tv_sec - begin.tv_sec) * 1e6 + (double)(end.tv_nsec - begin.tv_nsec) * 1e-3;
    if (us > 0 && us < fastest_us) fastest_us = us;
  }
  iterations_per_us = isfinite(fastest_us) ? ITERATIONS / fastest_us : 1000.0; /* a clock that stands still: a guess */
}

double dr_spin_rate(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, calibrate);
  return iterations_per_us;
}
