/* scaling.h: env steps a second over the number of envs N and of workers W, beside what one thread and W threads do
 * without Drover.
 *
 *   way     how the N envs are driven: the plain loop on one thread; W such loops apart (loops.h); fused rollouts with
 *           one worker, with W workers, and with W workers and a barrier after every step
 *   figure  one way at one N: a rate for each round
 *   round   every figure once, for a set time each; odd rounds from the largest N to the smallest. So ratios taken
 *           within a round compare what ran at nearly the same time.
 *
 * All ways begin with the same bytes (checked), are warmed up to the same state where the env type can save and load,
 * and go on from there: rates are those of envs in the middle of their lives, not of the first steps of an episode. */
#ifndef DR_PERF_SCALING_H
#define DR_PERF_SCALING_H

#include "perf/bench.h"

enum { DR_SCALING_MAX_POINTS = 16, DR_SCALING_MAX_WORKERS = 8, DR_SCALING_MAX_ROUNDS = 51 };

typedef struct dr_scaling_request {
  const drover_env_type *type;
  drover_env_args args;
  /* Makes the policy for a runtime, once for each. */
  drover_status (*make_policy)(void *user, drover_policy **out, drover_runtime *runtime, const drover_env_spec *spec);
  /* Gives a batch the policy of its inner loop; *out stays NULL where the env type has none. Once for each runtime. */
  drover_status (*give_inner)(void *user, drover_policy **out, drover_runtime *runtime, drover_batch *batch);
  void *policy_user; /* of both */
  int32_t num_points;
  int32_t num_envs[DR_SCALING_MAX_POINTS]; /* rising */
  int32_t num_workers;
  int32_t workers[DR_SCALING_MAX_WORKERS]; /* rising, each above 1 */
  int32_t num_steps;                       /* T of a rollout */
  int32_t warm_steps;
  int32_t num_rounds;
  double seconds;                                 /* of a figure in a round, at least */
  bool barrier;                                   /* also with a barrier after every step */
  void (*progress)(void *user, const char *what); /* before each figure; main thread; may be NULL */
  void *progress_user;
} dr_scaling_request;

/* Env steps a second by round; count = 0: not measured. */
typedef dr_samples dr_rates;

/* What was measured at one N. */
typedef struct dr_scaling_point {
  int32_t num_envs;
  dr_rates loop;                          /* the plain loop, one thread */
  dr_rates one;                           /* rollouts with one worker */
  dr_rates all[DR_SCALING_MAX_WORKERS];   /* with so many workers as request.workers says */
  dr_rates apart[DR_SCALING_MAX_WORKERS]; /* as many plain loops apart; empty where N < W */
  dr_rates barrier[DR_SCALING_MAX_WORKERS];
} dr_scaling_point;

typedef struct dr_scaling {
  int32_t num_rounds;  /* complete ones */
  int32_t num_ticks;   /* of a step's inner loop; 0 = there is none */
  int64_t state_bytes; /* an env: its state and what it allocates, as its type says */
  int64_t row_bytes;   /* an env: what one step writes into the rollout's buffers */
  dr_scaling_point points[DR_SCALING_MAX_POINTS];
} dr_scaling;

/* Returns 0; or -1 with a sentence in bench->message, after which *out holds the complete rounds (if bench->stop ended
 * it). Of bench only stop is looked at. */
int dr_scaling_measure(dr_scaling *out, dr_bench *bench, const dr_scaling_request *request);

/* ---- What follows from the rates; NAN where something was not measured ---- */

/* The median over rounds of a / (times x b), within each round. */
double dr_rates_ratio(const dr_rates *a, const dr_rates *b, double times);

/* How steps/s go with N. */
typedef struct dr_trend {
  double change; /* the largest N's rate over the smallest's */
  double noise;  /* how far `change` is uncertain: twice its standard error, from the rounds */
  double lowest; /* lowest rate of all N over the smallest N's */
  int32_t lowest_envs;
  const char *word; /* "rise", "fall" or "flat": beyond the noise and 2 % */
} dr_trend;

/* Of the rollouts with request->workers[index] workers; index -1: with one. */
dr_trend dr_scaling_trend(const dr_scaling *scaling, const dr_scaling_request *request, int32_t index);

#endif
