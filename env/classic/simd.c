/* simd.c: the SIMD width of this CPU, looked at once. */
#include "env/classic/simd.h"

#include <stdatomic.h>

/* 0 = not looked at yet. Relaxed: every thread that looks finds the same number, and it publishes nothing else. */
static _Atomic int current_width;

static int cpu_width(void) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return 1;
  return __builtin_cpu_supports("avx512f") ? 8 : 4;
#else
  return 1;
#endif
}

int dr_simd_set_width(int width) {
  const int most = cpu_width();
  if (width <= 0 || width > most) width = most;
  atomic_store_explicit(&current_width, width, memory_order_relaxed);
  return width;
}

int dr_simd_width(void) {
  const int width = atomic_load_explicit(&current_width, memory_order_relaxed);
  return width > 0 ? width : dr_simd_set_width(0);
}
