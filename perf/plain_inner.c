/* plain_inner.c: blocks of ticks with the inner policy between them. */
#include "perf/plain_inner.h"

#include <stdlib.h>
#include <string.h>

int dr_plain_inner_open(dr_plain_inner *inner, dr_bench *bench, dr_plain *plain, drover_policy *policy) {
  const drover_env_spec *spec = &plain->spec;
  *inner = (dr_plain_inner){.plain = plain};
  inner->observations = calloc((size_t)DR_PLAIN_BLOCK * (size_t)spec->inner_observation_size, sizeof(float));
  inner->actions = calloc((size_t)DR_PLAIN_BLOCK * (size_t)spec->inner_action_size, sizeof(float));
  if (spec->inner_sample_size > 0)
    inner->samples = calloc((size_t)DR_PLAIN_BLOCK * (size_t)spec->inner_sample_size, sizeof(float));
  if (!inner->observations || !inner->actions || (spec->inner_sample_size > 0 && !inner->samples))
    return dr_bench_fail(bench, "out of memory for an inner loop");
  return dr_policy_table_open(&inner->table, bench, policy);
}

void dr_plain_inner_close(dr_plain_inner *inner) {
  dr_policy_table_close(&inner->table);
  free(inner->observations);
  free(inner->actions);
  free(inner->samples);
  *inner = (dr_plain_inner){0};
}

/* The inner policy's answers for a block. */
static int infer(dr_plain_inner *inner, int32_t first, int32_t count) {
  const dr_plain *plain = inner->plain;
  const drover_policy_rows rows = {.count = count,
                                   .first_env = plain->first_env + first,
                                   .seed = plain->seed,
                                   .counters = plain->lifetime + first,
                                   .deterministic = 1,
                                   .observations = inner->observations,
                                   .actions = inner->actions};
  return dr_policy_table_act(&inner->table, &rows);
}

int dr_plain_inner_run(dr_plain_inner *inner, int32_t first, int32_t count, const unsigned char *actions) {
  dr_plain *plain = inner->plain;
  const drover_env_spec *spec = &plain->spec;
  const size_t action_bytes = (size_t)spec->action_size * 4, sample_size = (size_t)spec->inner_sample_size;
  const size_t observation_size = (size_t)spec->inner_observation_size, action_size = (size_t)spec->inner_action_size;
  int32_t sample_ticks[DR_PLAIN_BLOCK];
  for (int32_t i = 0; i < count; i++) sample_ticks[i] = sample_size > 0 ? dr_plain_sample_tick(plain, first + i) : -1;
  if (sample_size > 0) memset(inner->samples, 0, (size_t)count * sample_size * sizeof(float));
  int failed = 0;
  for (int32_t tick = -1; tick < spec->num_ticks && !failed; tick++) {
    if (tick >= 0) failed = infer(inner, first, count);
    for (int32_t i = 0; i < count && !failed; i++) {
      const size_t at = (size_t)i;
      failed = dr_plain_tick(plain, first + i, tick, actions + at * action_bytes, inner->actions + at * action_size,
                             inner->observations + at * observation_size,
                             sample_ticks[i] == tick + 1 ? inner->samples + at * sample_size : NULL);
    }
  }
  return failed;
}
