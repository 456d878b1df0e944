/* verify.h: the runs of `drover verify`, what came of them, and how they are compared and told. */
#ifndef DR_TOOLS_VERIFY_H
#define DR_TOOLS_VERIFY_H

#include <drover/drover.h>
#include <stdbool.h>
#include <stdint.h>

#include "tools/options.h"
#include "tools/setup.h"

enum { DR_VERIFY_MAX_RUNS = 512, DR_VERIFY_NUM_WORKERS = 4 };

/* What the user asked for. */
typedef struct dr_verify_request {
  dr_options common;
  const drover_env_type *type;
  dr_policy_choice policy, inner_policy;
  drover_autoreset autoreset;
} dr_verify_request;

typedef enum dr_verify_mode {
  DR_VERIFY_FUSED,    /* collect: chains without barriers */
  DR_VERIFY_BARRIER,  /* collect with a barrier after every step */
  DR_VERIFY_HALVES,   /* two collects of half the steps */
  DR_VERIFY_WIDER,    /* more envs beside them */
  DR_VERIFY_STEP,     /* act, step, record by the caller */
  DR_VERIFY_EXCHANGE, /* act, send, recv in portions, record */
  DR_VERIFY_NUM_MODES
} dr_verify_mode;

extern const int32_t dr_verify_worker_counts[DR_VERIFY_NUM_WORKERS];

/* One way to run, and what came of it. */
typedef struct dr_verify_run {
  dr_verify_mode mode;
  int32_t workers, shard, chunk; /* shard, chunk 0 = automatic */
  bool scalar;
  bool equal;
  int32_t joined; /* workers that took part */
  uint64_t digest;
} dr_verify_run;

/* The first place where a run differs from the loop. */
typedef struct dr_verify_difference {
  bool found;
  dr_verify_run where;
  const char *field;
  int64_t step, env, element; /* of a list: step is the place in it, env -1 */
  double expected, got;
  uint64_t expected_bits, got_bits;
} dr_verify_difference;

/* All of them. */
typedef struct dr_verify_grid {
  const dr_verify_request *request;
  drover_rollout_view loop;
  dr_verify_run runs[DR_VERIFY_MAX_RUNS];
  int32_t num_runs, num_equal;
  dr_verify_difference first;
  bool interrupted;
} dr_verify_grid;

/* Where in the run's view the loop's rows lie. */
typedef struct dr_verify_window {
  int32_t num_envs;   /* of the run; the loop's are the first of them */
  int32_t num_steps;  /* compared */
  int32_t first_step; /* of the loop, that belongs to the run's step 0 */
} dr_verify_window;

/* ---- verify_compare.c ---- */

/* Whether the run's buffers hold the loop's bytes; the first difference of all runs goes to grid->first. */
bool dr_verify_compare(dr_verify_grid *grid, const dr_verify_run *run, const drover_rollout_view *view,
                       const dr_verify_window *window);

/* Equal buffers of equal shape under two digests: a difference too. */
void dr_verify_note_digest(dr_verify_grid *grid, const dr_verify_run *run);

/* ---- verify_report.c ---- */

/* A table for people. */
void dr_verify_print(const dr_verify_grid *grid);

/* One JSON object. Returns 0, or -1 if it could not be made. */
int dr_verify_print_json(const dr_verify_grid *grid);

#endif
