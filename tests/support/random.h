/* random.h: the random part of a test, from one seed that is printed. */
#ifndef DR_TESTS_SUPPORT_RANDOM_H
#define DR_TESTS_SUPPORT_RANDOM_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* DROVER_TEST_SEED, or always the same; printed. */
static inline uint64_t test_seed(void) {
  const char *text = getenv("DROVER_TEST_SEED");
  const uint64_t seed = text ? strtoull(text, NULL, 0) : 20261122;
  fprintf(stderr, "seed %" PRIu64 "\n", seed);
  return seed;
}

/* Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014: not what the library uses. */
static inline uint64_t test_random(uint64_t *state) {
  uint64_t z = *state += 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

/* Uniform in [low, high). */
static inline double test_uniform(uint64_t *state, double low, double high) {
  return low + (high - low) * ((double)(test_random(state) >> 11) * 0x1p-53);
}

/* One of low..high. */
static inline int32_t test_range(uint64_t *state, int32_t low, int32_t high) {
  return low + (int32_t)(test_random(state) % (uint64_t)(high - low + 1));
}

#endif
