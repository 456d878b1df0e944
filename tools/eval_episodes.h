/* eval_episodes.h: the episodes of an evaluation: how many each env plays, and what they brought. */
#ifndef DR_TOOLS_EVAL_EPISODES_H
#define DR_TOOLS_EVAL_EPISODES_H

#include <drover/drover.h>
#include <stdbool.h>

/* N envs, E episodes, I info columns, K = info_last. Episode k of env e is at first[e] + k. */
typedef struct dr_episodes {
  int64_t count, num_done, num_terminated, num_faults, num_steps;
  int32_t num_infos;
  int64_t info_last;
  int64_t *first;   /* [N + 1] */
  int64_t *done;    /* [N] */
  int64_t *lengths; /* [N] steps of the running episode that are in sums or ring */
  double *sums;     /* [N x I] of the running episode */
  float *ring;      /* [N x K x I] its last K steps; NULL if K = 0 */
  double *returns;  /* [E] */
  double *steps;    /* [E] */
  double *infos;    /* [I x E] */
  double seconds;
  int32_t num_envs;
} dr_episodes;

/* E episodes of N envs: each plays E / N of them, the first E % N envs one more. -1 without memory; free them then too.
 */
int dr_episodes_init(dr_episodes *all, const drover_env_spec *spec, int32_t num_envs, int64_t num_episodes,
                     int64_t info_last);
void dr_episodes_free(dr_episodes *all);

/* Take the finished rows of a rollout, which must follow those taken before. Envs that have played their share are left
 * out. */
void dr_episodes_take(dr_episodes *all, const drover_rollout_view *view);

/* Over the episodes that were played; std is the population's. */
typedef struct dr_summary {
  double mean, std, min, max;
} dr_summary;

/* Of `values` [E]: returns, steps, or a row of infos. */
dr_summary dr_episodes_summarize(const dr_episodes *all, const double *values);

#endif
