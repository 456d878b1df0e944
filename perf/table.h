/* table.h: a policy's function table, called without the scheduler: for the network alone and for plain loops. */
#ifndef DR_PERF_TABLE_H
#define DR_PERF_TABLE_H

#include "perf/bench.h"

/* A context and a pinned version of the weights, for one thread. All zero = not open. */
typedef struct dr_policy_table {
  drover_policy_type type;
  void *self;
  void *context;
  const void *version;
  bool opened;
} dr_policy_table;

/* The policy must outlive it. */
int dr_policy_table_open(dr_policy_table *table, dr_bench *bench, drover_policy *policy);
void dr_policy_table_close(dr_policy_table *table);

static inline int dr_policy_table_act(const dr_policy_table *table, const drover_policy_rows *rows) {
  return table->type.act(table->self, table->version, table->context, rows);
}

#endif
