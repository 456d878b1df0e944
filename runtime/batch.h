/* batch.h: the inside of a batch: env states, counters and rows of N envs. Env e's part of every array belongs to the
 * worker that has claimed row e; between calls all of it to the caller. */
#ifndef DR_RUNTIME_BATCH_H
#define DR_RUNTIME_BATCH_H

#include <drover/batch.h>

#include "runtime/handle.h"
#include "runtime/run.h"

struct dr_exchange;
struct drover_policy;

/* What is the matter with an env before its next step. */
typedef enum dr_special {
  DR_SPECIAL_NONE = 0,
  DR_SPECIAL_BROKEN = 1,  /* its reset failed: its next step tries again instead */
  DR_SPECIAL_FINISHED = 2 /* its episode ended and it was not reset (next-step and disabled auto-reset) */
} dr_special;

/* The smoothed costs that runs over a batch keep (dr_phase.cost). */
enum {
  DR_COST_STEP = 0,
  DR_COST_INFER = 1,
  DR_COST_RESET = 2,
  DR_COST_VALUE = 3,
  DR_COST_ADVANTAGE = 4,
  DR_COST_BEGIN = 5,
  DR_COST_INNER_INFER = 6,
  DR_COST_TICK = 7,
  DR_COST_DRAW = 8
};

/* What an inner loop needs besides the env states; nothing of it without one (inner.h). */
typedef struct dr_inner {
  struct drover_policy *policy; /* NULL = not set */
  float *observations;          /* [N x inner_observation_size] of the tick in progress */
  float *actions;               /* [N x inner_action_size] */
  int32_t *sample_ticks;        /* [N] the tick whose sample is kept of the step in progress, or DR_INNER_SKIPPED,
                                   DR_INNER_FAILED */
  float *samples;               /* [N x inner_sample_size] for step and send; NULL if the type keeps none */
} dr_inner;

/* Why an env failed: a sentence for its step, one for the reset after it (fault.h). */
typedef char dr_fault_texts[2][DROVER_FAULT_TEXT];

struct drover_batch {
  dr_handle handle;
  drover_runtime *runtime;
  const drover_env_type *type;
  drover_env_spec spec;
  bool opened;                  /* `open` has succeeded: `close` is owed */
  void *shared;                 /* the env type's, read-only while envs step */
  drover_batch_options options; /* args deep-copied; max_episode_steps and fault_limit resolved */
  int32_t num_envs;
  int32_t shard;
  uint64_t seed;
  _Atomic int32_t busy;         /* 1 in a call: calls on one batch must not overlap */
  _Atomic int32_t num_rollouts; /* rollouts that use it */
  _Atomic int64_t num_faults;   /* since the last reset with a seed; touched only when an env fails */

  unsigned char *states;       /* [N x spec.state_size] */
  uint64_t *lifetime_steps;    /* [N] keys of the step and action streams */
  uint64_t *episode_numbers;   /* [N] keys of the reset streams */
  double *running_returns;     /* [N] of the episode in progress */
  int32_t *running_lengths;    /* [N] */
  uint8_t *special;            /* [N] dr_special */
  uint8_t *faults;             /* [N] of the latest step: reason | reset's reason << 4 (fault.h) */
  dr_fault_texts *fault_texts; /* [N] not touched before an env fails */
  uint8_t *ended;              /* [N] 1 if the latest step ended an episode */
  uint8_t *created;            /* [N] 1 once `create` succeeded */
  double step_row_ns;          /* smoothed cost of stepping one row by `step`; 0 = not known */

  float *observations; /* the rows of step, recv and reset: see drover_batch_view */
  float *rewards;
  uint8_t *terminated;
  uint8_t *truncated;
  uint8_t *valid;
  float *infos;
  float *final_observations;
  double *finished_returns;
  int32_t *finished_lengths;
  unsigned char *actions; /* [N x action_size x 4] what the envs are given by rollouts (transformed) and by send */

  float *scratch; /* [num_workers x DR_BLOCK_ROWS x observation_size] observations before the step */
  dr_run run;
  dr_inner inner;
  struct dr_exchange *exchange; /* send/recv; NULL before the first send */
};

/* Where the rows of one step go, as pointers to env 0's row. */
typedef struct dr_rows {
  const void *actions;
  const float *previous_observations; /* before the step; NULL = observations, which the step overwrites */
  float *observations;
  float *rewards;
  uint8_t *terminated;
  uint8_t *truncated;
  uint8_t *valid;
  float *infos;         /* NULL if the env has none */
  float *inner_samples; /* NULL if the env keeps none */
} dr_rows;

/* The batch's own rows, with these actions. */
dr_rows dr_batch_rows(drover_batch *batch, const void *actions);

/* Step envs first..first + count - 1 (count <= DR_BLOCK_ROWS): env, checks, time limit, faults, auto-reset. Fails only
 * with DROVER_ERROR_FAULTS. By the worker that claimed these rows. */
drover_status dr_batch_advance(drover_batch *batch, dr_worker *worker, const dr_rows *rows, int32_t first,
                               int32_t count);

/* Begin a new episode of env e and write its first observation. A failure is a fault; DROVER_ERROR_FAULTS as above. */
drover_status dr_batch_begin_episode(drover_batch *batch, int32_t e, float *observation);

/* Enter and leave a public call on the batch: alive, not forked, not overlapping, nothing in flight unless allowed. */
drover_status dr_batch_enter(drover_batch *batch, const char *what, bool in_flight_allowed);
void dr_batch_leave(drover_batch *batch);

/* True if a run over all rows, at this smoothed cost of a row, is not worth waking other workers. row_ns 0: not known.
 */
bool dr_batch_better_alone(const drover_batch *batch, double row_ns);

/* shard.c. An automatic shard: at least 4 shards a worker where N allows, a multiple of `multiple` rows, at most
 * `most`. */
int32_t dr_auto_shard(int32_t num_envs, int32_t num_workers, int32_t multiple, int32_t most);

/* As dr_auto_shard for steps in which a policy acts on `tile` rows at once: whole tiles, but small ones rather than a
 * worker without any. */
int32_t dr_auto_tile_shard(int32_t num_envs, int32_t num_workers, int32_t tile);

/* The same for steps with an inner loop: one shard a worker, at most 64 rows. Every tick changes between the network
 * and the envs, and each change costs what the other has pushed out of the core. With few envs a worker, as many rows
 * as are its share, whole tiles or not: one claim of the network cannot be split, so nobody could help with it. */
int32_t dr_auto_inner_shard(int32_t num_envs, int32_t num_workers, int32_t tile);

/* Every env reset with this seed, all counters to zero. In a call on the batch. */
drover_status dr_batch_reset_all(drover_batch *batch, uint64_t seed);

/* env_type.c: is this table one that can be used, are these arguments its own, and what `open` decided. Tables from
 * before `explain` end there. */
enum { DR_ENV_TYPE_LEAST_BYTES = offsetof(drover_env_type, explain) };
drover_status dr_env_type_check(const drover_env_type *type);
bool dr_env_type_can_explain(const drover_env_type *type);
drover_status dr_env_type_check_args(const drover_env_type *type, const drover_env_args *args);
drover_status dr_env_spec_check(const drover_env_type *type, drover_env_spec *spec);

/* exchange.c */
bool dr_exchange_in_flight(const drover_batch *batch);
bool dr_exchange_holds(const drover_batch *batch, int32_t e);
void dr_exchange_destroy(drover_batch *batch);

static inline bool dr_is_finite(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return (bits & 0x7F800000u) != 0x7F800000u;
}

/* True if any of count bytes is not zero; eight at a time. */
static inline bool dr_any_byte(const uint8_t *bytes, size_t count) {
  uint64_t any = 0, word;
  size_t i = 0;
  for (; i + sizeof word <= count; i += sizeof word) {
    memcpy(&word, bytes + i, sizeof word);
    any |= word;
  }
  for (; i < count; i++) any |= bytes[i];
  return any != 0;
}

/* True if all count numbers are finite. A loop that vectorises. */
static inline bool dr_all_finite(const float *x, size_t count) {
  uint32_t bad = 0;
  for (size_t i = 0; i < count; i++) {
    uint32_t bits;
    memcpy(&bits, &x[i], sizeof bits);
    bad |= (uint32_t)((bits & 0x7F800000u) == 0x7F800000u);
  }
  return bad == 0;
}

#endif
