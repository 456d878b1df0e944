/* random.h: counter-based random numbers for env and policy authors.
 *
 * Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011, section 4 and
 * table 2). A number is a pure function of (seed, env, purpose, step, position in the stream): no state is kept between
 * calls, so the order in which envs are stepped cannot change it. Everything is inline: a plugin needs no library.
 *
 * Counter layout: word 0 the block within the stream, word 1 the low half of `step`, word 2 its high 24 bits and the
 * purpose in the top 8, word 3 the env index. Key: the seed, low half first. */
#ifndef DROVER_RANDOM_H
#define DROVER_RANDOM_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a stream is for; streams of different purposes never overlap. 0..15 are Drover's, 16..255 the embedder's. */
typedef enum drover_random_purpose {
  DROVER_RANDOM_STEP = 0,   /* env dynamics; step = the env's lifetime step */
  DROVER_RANDOM_RESET = 1,  /* env resets; step = the env's episode number */
  DROVER_RANDOM_ACTION = 2, /* action noise; step = the env's lifetime step */
  DROVER_RANDOM_INIT = 3,   /* initial weights; env = layer, step = 0 */
  DROVER_RANDOM_LEARN = 4,  /* minibatch permutations */
  DROVER_RANDOM_TICK = 5,   /* ticks of an inner loop: drover_env_tick_random */
  DROVER_RANDOM_SAMPLE = 6, /* which tick of a step is kept as inner sample; step = the env's lifetime step */
  DROVER_RANDOM_DRAW = 7,   /* samples for pretraining an inner policy; env = 0, step = the sample's number */
  DROVER_RANDOM_USER = 16
} drover_random_purpose;

/* A stream: 4 words of counter, 2 of key, and the block that is being handed out. */
typedef struct drover_random {
  uint32_t counter[4];
  uint32_t key[2];
  uint32_t block[4];
  uint32_t used; /* words of `block` handed out; 4 = make the next block first */
} drover_random;

/* One Philox4x32-10 block: out = f(counter, key). out may not alias counter. */
static inline void drover_philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
  uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
  uint32_t k0 = key[0], k1 = key[1];
  for (int round = 0; round < 10; round++) {
    const uint64_t p0 = (uint64_t)0xD2511F53u * c0;
    const uint64_t p1 = (uint64_t)0xCD9E8D57u * c2;
    const uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
    const uint32_t n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
    c1 = (uint32_t)p1;
    c3 = (uint32_t)p0;
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

/* The stream of (seed, env, purpose, step), at its beginning. step < 2^56. */
static inline drover_random drover_random_at(uint64_t seed, uint32_t env, uint32_t purpose, uint64_t step) {
  drover_random r = {{0, (uint32_t)step, ((uint32_t)(step >> 32) & 0xFFFFFFu) | (purpose << 24), env},
                     {(uint32_t)seed, (uint32_t)(seed >> 32)},
                     {0, 0, 0, 0},
                     4};
  return r;
}

/* The next 32 random bits. */
static inline uint32_t drover_random_u32(drover_random *r) {
  if (r->used == 4) {
    drover_philox4x32(r->counter, r->key, r->block);
    r->counter[0]++;
    r->used = 0;
  }
  return r->block[r->used++];
}

/* The next 64 random bits, low half first. */
static inline uint64_t drover_random_u64(drover_random *r) {
  const uint64_t low = drover_random_u32(r);
  return low | ((uint64_t)drover_random_u32(r) << 32);
}

/* Uniform in [0, 1) with 53 random bits; takes 64 bits of the stream. */
static inline double drover_random_uniform(drover_random *r) {
  return (double)(drover_random_u64(r) >> 11) * 0x1.0p-53;
}

/* Uniform in [low, high). */
static inline double drover_random_range(drover_random *r, double low, double high) {
  return low + (high - low) * drover_random_uniform(r);
}

/* Uniform in [0, 1) with 24 random bits; takes 32 bits of the stream. */
static inline float drover_random_uniformf(drover_random *r) { return (float)(drover_random_u32(r) >> 8) * 0x1.0p-24f; }

#ifdef __cplusplus
}
#endif
#endif
