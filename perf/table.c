/* table.c: opening a policy's function table. The only file here that looks inside a handle: the public API calls a
 * policy in workers, and what it costs without them is what has to be known. */
#include "perf/table.h"

#include <string.h>

#include "runtime/policy.h"

int dr_policy_table_open(dr_policy_table *table, dr_bench *bench, drover_policy *policy) {
  memset(table, 0, sizeof *table);
  table->type = policy->type;
  table->self = policy->self;
  if (table->type.open_context && table->type.open_context(table->self, &table->context) != 0)
    return dr_bench_fail(bench, "policy %s: no context could be opened", table->type.name);
  if (table->type.acquire) table->version = table->type.acquire(table->self);
  table->opened = true;
  return 0;
}

void dr_policy_table_close(dr_policy_table *table) {
  if (!table->opened) return;
  if (table->type.release) table->type.release(table->self, table->version);
  if (table->type.open_context && table->type.close_context) table->type.close_context(table->self, table->context);
  table->opened = false;
}
