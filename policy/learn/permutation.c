/* permutation.c: shuffling with a counter-based stream (Durstenfeld 1964, "Algorithm 235: random permutation"). */
#include "policy/learn/permutation.h"

#include <drover/random.h>

/* Uniform in [0, bound), without bias (Lemire 2019, "Fast random integer generation in an interval"). */
static uint32_t draw_below(drover_random *random, uint32_t bound) {
  uint64_t product = (uint64_t)drover_random_u32(random) * bound;
  if ((uint32_t)product < bound) {
    const uint32_t threshold = -bound % bound;
    while ((uint32_t)product < threshold) product = (uint64_t)drover_random_u32(random) * bound;
  }
  return (uint32_t)(product >> 32);
}

void dr_permute(uint64_t seed, int64_t update, int32_t epoch, int32_t *items, int32_t count) {
  drover_random random = drover_random_at(seed, (uint32_t)epoch, DROVER_RANDOM_LEARN, (uint64_t)update);
  for (int32_t last = count - 1; last > 0; last--) {
    const uint32_t other = draw_below(&random, (uint32_t)last + 1);
    const int32_t item = items[last];
    items[last] = items[other];
    items[other] = item;
  }
}
