/* bench_scaling.h: `drover bench scaling`: what its options and its report share. */
#ifndef DR_TOOLS_BENCH_SCALING_H
#define DR_TOOLS_BENCH_SCALING_H

#include "perf/caches.h"
#include "perf/host.h"
#include "perf/scaling.h"
#include "tools/options.h"
#include "tools/setup.h"

/* argv[0] is "scaling". The program's exit code. */
int dr_bench_scaling(int argc, char **argv);

typedef struct dr_scaling_report {
  const dr_options *common;
  const dr_scaling_request *request;
  const dr_scaling *result;
  const char *inner_policy; /* as typed, or the default; means nothing without an inner loop */
  dr_host host;             /* before anything ran: its load is that of others */
  dr_caches caches;
} dr_scaling_report;

/* Tables and sentences for people. */
void dr_scaling_print(const dr_scaling_report *report);

/* One JSON object on standard output. Returns 0, or -1 if it could not be made. */
int dr_scaling_print_json(const dr_scaling_report *report);

/* One row a number of workers and of envs. Returns 0, or -1 with a sentence on stderr. */
int dr_scaling_write_csv(const dr_scaling_report *report, const char *path);

#endif
