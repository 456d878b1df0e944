/* cell.h: one cell of the experiment's table: a way of evaluating the inner network, a number of envs, a process. */
#ifndef DR_PERF_NESTED_CELL_H
#define DR_PERF_NESTED_CELL_H

#include <stdbool.h>
#include <stdint.h>

/* The ways; X(name, NAME, heading). */
#define NESTED_WAYS(X)                                                                    \
  X("default", NESTED_DEFAULT, "Unguarded, the library's default")                        \
  X("forced", NESTED_FORCED, "Unguarded, 16 OpenMP threads a call (a many-core machine)") \
  X("process", NESTED_PROCESS, "OMP_NUM_THREADS=1 for the whole process")                 \
  X("guard", NESTED_GUARD, "Drover's guard (OMP_NUM_THREADS=16 as in the second table)")  \
  X("inference", NESTED_INFERENCE, "The inner network moved into Drover's own inference")

typedef enum nested_way {
#define NESTED_WAY_ENUM(name, constant, heading) constant,
  NESTED_WAYS(NESTED_WAY_ENUM)
#undef NESTED_WAY_ENUM
      NESTED_NUM_WAYS
} nested_way;

enum { NESTED_MAX_SAMPLES = 64, NESTED_STEPS = 64 /* control steps a rollout, as in the seed's table */ };

typedef struct nested_cell {
  nested_way way;
  int32_t num_envs;
  int32_t num_workers; /* 0 = the usable cores */
  double seconds;      /* measure about so long */
  const char *plugin;  /* path of nested_env.so */
  const char *blas;    /* path or soname of an OpenMP BLAS; NULL = the env's default */
} nested_cell;

typedef struct nested_result {
  double rollout_ms;                /* 64 control steps of all envs; the median of the measured collects */
  double mean_reward;               /* of the first two control steps: the same whatever the way, up to rounding */
  uint64_t digest;                  /* of those steps' buffers */
  int32_t min_threads, max_threads; /* seen from outside while it was measured; 0 = not looked */
} nested_result;

const char *nested_way_name(nested_way way);
const char *nested_way_heading(nested_way way);

/* In the cell's own process: measure. Prints "begin" on stdout when warm and "result ..." at the end; a sentence on
 * stderr on failure. The process's exit code. */
int nested_cell_run(const nested_cell *cell);

/* From outside: start this program again for the cell, with the variables of its way, count its threads every 10 ms
 * while it measures, and read its result. Returns 0; or -1 with a sentence in message. */
int nested_cell_spawn(const nested_cell *cell, nested_result *out, char *message, int message_size);

#endif
