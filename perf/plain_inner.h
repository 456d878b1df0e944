/* plain_inner.h: the inner loop of a plain loop's steps: the inner policy is asked about a block of envs at once, then
 * each of them makes its tick, and so on; what one would write who has read that networks like many rows. */
#ifndef DR_PERF_PLAIN_INNER_H
#define DR_PERF_PLAIN_INNER_H

#include "perf/plain.h"
#include "perf/table.h"

/* Envs that make all their ticks before the next ones begin: enough rows for the network, few enough for a cache. */
enum { DR_PLAIN_BLOCK = 64 };

/* One block's rows. All zero = not open. */
typedef struct dr_plain_inner {
  dr_plain *plain;
  dr_policy_table table;
  float *observations; /* [DR_PLAIN_BLOCK x inner_observation_size] */
  float *actions;      /* [DR_PLAIN_BLOCK x inner_action_size] */
  float *samples;      /* [DR_PLAIN_BLOCK x inner_sample_size]; NULL if there are none */
} dr_plain_inner;

/* Both must outlive it. Returns 0, or -1 with a sentence in bench->message. Close it also after a failure. */
int dr_plain_inner_open(dr_plain_inner *inner, dr_bench *bench, dr_plain *plain, drover_policy *policy);
void dr_plain_inner_close(dr_plain_inner *inner);

/* `begin` and all ticks of envs first..first+count-1 (at most DR_PLAIN_BLOCK), which are given actions
 * [count x action_size]. Nonzero if the policy or an env fails. */
int dr_plain_inner_run(dr_plain_inner *inner, int32_t first, int32_t count, const unsigned char *actions);

#endif
