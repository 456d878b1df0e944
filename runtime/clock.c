/* clock.c: calibration of the time stamp counter. */
#include "runtime/clock.h"

#include <pthread.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

double dr_clock_ns_per_tick = 1.0;
int dr_clock_uses_tsc = 0;

#if defined(__x86_64__)
/* CPUID leaf 0x80000007, EDX bit 8: the counter runs at a constant rate in every power state. */
static int has_invariant_tsc(void) {
  unsigned a, b, c, d;
  return __get_cpuid(0x80000007u, &a, &b, &c, &d) && (d & (1u << 8));
}

/* A pair of readings taken as close together as three tries can get them. */
static void read_both(uint64_t *ns, uint64_t *ticks) {
  uint64_t best = UINT64_MAX;
  *ns = *ticks = 0;
  for (int i = 0; i < 3; i++) {
    const uint64_t before = __rdtsc();
    const uint64_t now = dr_monotonic_ns();
    const uint64_t after = __rdtsc();
    if (after - before < best) {
      best = after - before;
      *ns = now;
      *ticks = before + (after - before) / 2;
    }
  }
}

static void calibrate(void) {
  if (!has_invariant_tsc()) return;
  uint64_t ns0, ticks0, ns1, ticks1;
  read_both(&ns0, &ticks0);
  while (dr_monotonic_ns() - ns0 < 2000000u) dr_pause();
  read_both(&ns1, &ticks1);
  if (ticks1 <= ticks0 || ns1 <= ns0) return;
  dr_clock_ns_per_tick = (double)(ns1 - ns0) / (double)(ticks1 - ticks0);
  dr_clock_uses_tsc = 1;
}
#else
static void calibrate(void) {}
#endif

void dr_clock_calibrate(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, calibrate);
}
