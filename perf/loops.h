/* loops.h: plain loops in threads of their own, that share nothing: N envs dealt out to W threads in equal parts, no
 * scheduler, no waiting for each other. What the machine itself allows W threads: where this is slower than W times one
 * thread, memory, caches or clocks limit, and no scheduler can help. */
#ifndef DR_PERF_LOOPS_H
#define DR_PERF_LOOPS_H

#include "perf/subject.h"

typedef struct dr_loops dr_loops;

typedef struct dr_loops_request {
  const drover_env_type *type;
  drover_env_args args;
  drover_policy *policy;       /* must outlive the loops, and so must */
  drover_policy *inner_policy; /* NULL without an inner loop */
  int32_t num_envs;
  int32_t num_threads; /* 1..num_envs */
} dr_loops_request;

/* Each part is made by a thread of its own, so that its memory lies where such a thread runs. Returns 0, or -1 with a
 * sentence in bench->message. */
int dr_loops_create(dr_loops **out, dr_bench *bench, const dr_loops_request *request);
void dr_loops_destroy(dr_loops *loops);

/* All envs back to their seeded beginning. */
int dr_loops_restore(dr_loops *loops);

/* num_steps steps of every env, each part in its own thread; or, unless `apart`, part after part on this one.
 * *seconds: of this one; apart: that a thread needed in the (harmonic) mean, because parts are not equally heavy. */
int dr_loops_run(dr_loops *loops, bool apart, int64_t num_steps, double *seconds);

/* dr_digest_rows of where all envs are. */
int dr_loops_digest(const dr_loops *loops, uint64_t *digest);

#endif
