/* clock.h: a clock cheap enough to read at every phase.
 *
 * On x86-64 the time stamp counter, when the CPU says that it runs at a constant rate (all servers since 2008);
 * elsewhere CLOCK_MONOTONIC. Ticks become nanoseconds by one multiplication, calibrated once. */
#ifndef DR_RUNTIME_CLOCK_H
#define DR_RUNTIME_CLOCK_H

#include <stdint.h>
#include <time.h>
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

/* Nanoseconds a tick; 1 if ticks are CLOCK_MONOTONIC's. Set by dr_clock_calibrate, read-only after. */
extern double dr_clock_ns_per_tick;
extern int dr_clock_uses_tsc;

/* Once before the first dr_ticks whose value matters; about 2 ms the first time, nothing after. Any thread. */
void dr_clock_calibrate(void);

static inline uint64_t dr_monotonic_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline uint64_t dr_ticks(void) {
#if defined(__x86_64__)
  if (dr_clock_uses_tsc) return __rdtsc();
#endif
  return dr_monotonic_ns();
}

static inline uint64_t dr_ticks_to_ns(uint64_t ticks) { return (uint64_t)((double)ticks * dr_clock_ns_per_tick); }

/* Tell the core that this is a waiting loop. */
static inline void dr_pause(void) {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

#endif
