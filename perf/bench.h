/* bench.h: benchmark cases, how they are made and how they are measured.
 *
 *   subject  something that can be run for a number of iterations, brought back to its beginning, and checked
 *            (subject.h): a plain loop, drover_batch_step, a fused rollout, one call of a network
 *   case     a name, a unit and a way to get samples, mostly from one subject (a rate) or two (a ratio)
 *   pair     a run of subject a and one of subject b, one right after the other, in alternating order: ratios are taken
 *            within a pair, so that what the machine does meanwhile hits both
 *
 * Every measured run begins from the restored state and its result is compared with that of the first one (and with the
 * other subject's, where both must give the same bytes): a case whose results differ fails. */
#ifndef DR_PERF_BENCH_H
#define DR_PERF_BENCH_H

#include <drover/drover.h>
#include <stdbool.h>
#include <stdint.h>

#include "perf/statistics.h"

enum { DR_BENCH_MAX_SAMPLES = 101, DR_BENCH_NAME_BYTES = 96, DR_BENCH_MESSAGE_BYTES = 512 };

/* What all cases share in one run of `drover bench`; owned by the main thread. */
typedef struct dr_bench {
  bool quick;                           /* a look, not a measurement: shorter and fewer samples */
  double sample_s;                      /* a timed run lasts at least this long */
  int32_t num_samples;                  /* of a rate */
  int32_t num_pairs;                    /* of a ratio */
  drover_runtime *one;                  /* a runtime of one worker */
  drover_runtime *all;                  /* one of all workers */
  int32_t num_workers;                  /* of `all` */
  bool (*stop)(void);                   /* whether the user wants to end it */
  char message[DR_BENCH_MESSAGE_BYTES]; /* why the latest case failed */
} dr_bench;

typedef struct dr_samples {
  int32_t count;
  double values[DR_BENCH_MAX_SAMPLES];
} dr_samples;

typedef struct dr_case dr_case;

/* Fill samples. Returns 0; or -1 with a sentence in bench->message. */
typedef int (*dr_case_fn)(dr_bench *bench, const dr_case *c, dr_samples *samples);

/* Run the case's body once, without a timing loop, for instruction counts. NULL = not offered. */
typedef int (*dr_once_fn)(dr_bench *bench, const dr_case *c);

struct dr_case {
  char name[DR_BENCH_NAME_BYTES];
  const char *unit;
  bool higher_is_better;
  bool has_target; /* the value should be at most (or, if higher is better, at least) this */
  double target;
  bool target_is_per_worker; /* target times the number of workers */
  dr_case_fn run;
  dr_once_fn once;
  /* Parameters of `run`; those that a case has no use for are 0. */
  const char *env;
  const char *args; /* "cost=20us,dist=pareto", or NULL */
  int32_t num_envs;
  int32_t num_steps;
  int32_t shard;
  int32_t chunk;
  int32_t widths; /* which network: an index into a table of the file of cases */
  bool scalar;
  bool barrier;
  bool parts; /* the plain loop over the parts instead of the fused rollout */
  bool all_workers;
};

typedef struct dr_case_list {
  dr_case *items;
  int32_t count;
  int32_t capacity;
  bool failed; /* out of memory */
} dr_case_list;

/* Copy the case with the name made from format. */
void dr_case_add(dr_case_list *list, dr_case c, const char *format, ...) DROVER_PRINTF(3, 4);

/* The groups of cases; each adds its own. A new group is a line here and in dr_cases_add_all. */
void dr_cases_add_classic(dr_case_list *list);
void dr_cases_add_ratio(dr_case_list *list);
void dr_cases_add_infer(dr_case_list *list);
void dr_cases_add_spin(dr_case_list *list);
void dr_cases_add_parts(dr_case_list *list);
void dr_cases_add_mujoco(dr_case_list *list);
void dr_cases_add_learn(dr_case_list *list);
void dr_cases_add_inner(dr_case_list *list);
void dr_cases_add_all(dr_case_list *list);

/* Set bench->message and return -1. */
int dr_bench_fail(dr_bench *bench, const char *format, ...) DROVER_PRINTF(2, 3);

/* The same with what the library said about its latest failure. */
int dr_bench_fail_status(dr_bench *bench, const char *what, drover_status status);

#endif
