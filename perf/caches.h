/* caches.h: the data caches of this machine, to tell whose memory fits where. */
#ifndef DR_PERF_CACHES_H
#define DR_PERF_CACHES_H

#include <stdint.h>

enum { DR_MAX_CACHE_LEVELS = 4 };

/* Data and unified caches by level; 0 where the machine does not say. */
typedef struct dr_caches {
  int64_t bytes[DR_MAX_CACHE_LEVELS + 1];        /* [level] of one */
  int32_t cpus_sharing[DR_MAX_CACHE_LEVELS + 1]; /* [level] CPUs that share one; 0 = not known */
} dr_caches;

void dr_caches_read(dr_caches *caches);

/* The smallest level (1..) whose caches together hold `bytes` that `num_threads` threads deal out among themselves;
 * 0 = none does, or none is known. */
int dr_caches_level_holding(const dr_caches *caches, double bytes, int32_t num_threads);

#endif
