/* kernels.c: which instruction set's kernels run on this CPU. */
#include "policy/kernels.h"

#include <string.h>

static bool can_run(const dr_kernels *kernels) {
  if (kernels == &dr_kernels_avx512) return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx2");
  if (kernels == &dr_kernels_avx2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  return true;
}

static const dr_kernels *const all_kernels[] = {&dr_kernels_avx512, &dr_kernels_avx2, &dr_kernels_sse2};
enum { NUM_KERNELS = sizeof all_kernels / sizeof all_kernels[0] };

const dr_kernels *dr_kernels_best(void) {
  for (int i = 0; i < NUM_KERNELS; i++)
    if (can_run(all_kernels[i])) return all_kernels[i];
  return &dr_kernels_sse2;
}

const dr_kernels *dr_kernels_named(const char *name) {
  for (int i = 0; i < NUM_KERNELS; i++)
    if (strcmp(all_kernels[i]->name, name) == 0) return can_run(all_kernels[i]) ? all_kernels[i] : NULL;
  return NULL;
}
