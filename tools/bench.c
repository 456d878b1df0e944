/* bench.c: `drover bench`: runs the cases of perf/ and prints their figures. */
#include <argp.h>
#include <drover/drover.h>
#include <math.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "perf/bench.h"
#include "perf/host.h"
#include "perf/nested/nested.h"
#include "tools/bench_scaling.h"
#include "tools/commands.h"
#include "tools/format.h"
#include "tools/interrupt.h"
#include "tools/json.h"
#include "tools/options.h"
#include "tools/progress.h"
#include "tools/setup.h"

enum { KEY_FILTER = DR_KEY_OWN, KEY_LIST, KEY_QUICK, KEY_ONCE };

typedef struct bench_options {
  dr_options common;
  const char *filter;
  regex_t regex; /* of filter, if given */
  bool list;
  bool quick;
  const char *once;
} bench_options;

static const struct argp_option rows[] = {
    {"filter", KEY_FILTER, "RE", 0, "Only cases whose name matches this extended regular expression", 1},
    {"list", KEY_LIST, NULL, 0, "Print the names of the cases and run none", 1},
    {"quick", KEY_QUICK, NULL, 0, "Shorter runs: under a minute for all, and less exact", 1},
    {"once", KEY_ONCE, "CASE", 0, "Run the body of one parts/fused or parts/loop case once, for callgrind", 1},
    DR_OPTION_WORKERS,
    DR_OPTION_JSON,
    DR_OPTION_QUIET,
    {0}};

static error_t parse(int key, char *arg, struct argp_state *state) {
  bench_options *options = state->input;
  switch (key) {
    case KEY_FILTER: {
      if (options->filter) dr_usage_error("bench", "--filter can be given once");
      const int wrong = regcomp(&options->regex, arg, REG_EXTENDED | REG_NOSUB);
      char sentence[128];
      if (wrong) regerror(wrong, &options->regex, sentence, sizeof sentence);
      if (wrong) dr_usage_error("bench", "--filter '%s' is no regular expression: %s", arg, sentence);
      options->filter = arg;
      return 0;
    }
    case KEY_LIST:
      options->list = true;
      return 0;
    case KEY_QUICK:
      options->quick = true;
      return 0;
    case KEY_ONCE:
      options->once = arg;
      return 0;
    default:
      return dr_options_parse(key, arg, &options->common);
  }
}

static bool selected(const bench_options *options, const dr_case *c) {
  return !options->filter || regexec(&options->regex, c->name, 0, NULL, 0) == 0;
}

/* The widest name that will be printed. */
static int name_width(const bench_options *options, const dr_case_list *list) {
  size_t width = 4;
  for (int32_t i = 0; i < list->count; i++)
    if (selected(options, list->items + i) && strlen(list->items[i].name) > width) width = strlen(list->items[i].name);
  return (int)width;
}

static const char *better(const dr_case *c) { return c->higher_is_better ? "higher" : "lower"; }

/* ---- The host ---- */

static void print_host(const bench_options *options, const dr_bench *bench, int width) {
  dr_host host;
  dr_host_read(&host);
  if (!options->common.quiet) dr_host_warn(&host, "bench");
  if (options->common.json) {
    dr_json_print(json_pack("{s:{s:s, s:i, s:i, s:i, s:o, s:o, s:s, s:s, s:s, s:s, s:s, s:i, s:b}}", "host", "cpu",
                            host.cpu, "cpus", host.num_cpus, "affinity", host.num_affinity, "cores", host.num_cores,
                            "quota", host.quota > 0 ? dr_json_number(host.quota) : json_null(), "load",
                            dr_json_number(host.load), "governor", host.governor, "kernel", host.kernel, "compiler",
                            host.compiler, "version", drover_version(), "commit", host.commit, "workers",
                            bench->num_workers, "quick", options->quick));
    return;
  }
  printf("%s, %d of %d cores usable", host.cpu, host.num_cores, host.num_cpus);
  if (host.quota > 0) printf(" (quota %.2f)", host.quota);
  printf("\ngovernor %s, load %.2f, %s\n", host.governor[0] ? host.governor : "not readable", host.load, host.kernel);
  printf("drover %s%s%s, %s, %d worker%s%s\n\n", drover_version(), host.commit[0] ? " at " : "", host.commit,
         host.compiler, bench->num_workers, bench->num_workers == 1 ? "" : "s",
         options->quick ? "\nquick: a look, not a measurement" : "");
  printf("%-*s  %10s  %-14s  %7s  %s\n", width, "CASE", "VALUE", "UNIT", "SPREAD", "TARGET");
}

/* ---- One case ---- */

static double target_of(const dr_bench *bench, const dr_case *c) {
  return c->target_is_per_worker ? c->target * bench->num_workers : c->target;
}

static bool is_met(const dr_bench *bench, const dr_case *c, double value) {
  return c->higher_is_better ? value >= target_of(bench, c) : value <= target_of(bench, c);
}

static void print_case_json(const dr_bench *bench, const dr_case *c, const dr_samples *samples, bool failed) {
  const double value = failed ? NAN : dr_median(samples->values, samples->count);
  json_t *object =
      json_pack("{s:s, s:o, s:s, s:s, s:o}", "case", c->name, "value", dr_json_number(value), "unit", c->unit, "better",
                better(c), "samples", dr_json_numbers(samples->values, failed ? 0 : (size_t)samples->count));
  if (c->has_target) json_object_set_new(object, "target", dr_json_number(target_of(bench, c)));
  if (c->has_target && !failed) json_object_set_new(object, "met", json_boolean(is_met(bench, c, value)));
  if (failed) json_object_set_new(object, "error", json_string(bench->message));
  dr_json_print(object);
}

/* The spread is half the distance between the quartiles, relative to the median. */
static void print_case_row(const dr_bench *bench, const dr_case *c, const dr_samples *samples, bool failed, int width) {
  if (failed) {
    printf("%-*s  failed: %s\n", width, c->name, bench->message);
    fflush(stdout);
    return;
  }
  const double value = dr_median(samples->values, samples->count);
  const double spread =
      (dr_quantile(samples->values, samples->count, 0.75) - dr_quantile(samples->values, samples->count, 0.25)) / 2;
  char text[DR_FORMAT_BYTES];
  printf("%-*s  %10s  %-14s  %5.1f %%", width, c->name, dr_format_scaled(text, value), c->unit,
         100 * spread / fabs(value));
  if (c->has_target)
    printf("  %s %.3g: %s", c->higher_is_better ? ">=" : "<=", target_of(bench, c),
           is_met(bench, c, value) ? "met" : "MISSED");
  putchar('\n');
  fflush(stdout);
}

/* ---- All of them ---- */

static int list_cases(const bench_options *options, const dr_case_list *list) {
  for (int32_t i = 0; i < list->count; i++) {
    const dr_case *c = list->items + i;
    if (!selected(options, c)) continue;
    if (!options->common.json)
      printf("%-*s  %s, %s is better\n", name_width(options, list), c->name, c->unit, better(c));
    else if (dr_json_print(json_pack("{s:s, s:s, s:s}", "case", c->name, "unit", c->unit, "better", better(c))) != 0)
      return DR_EXIT_FAILED;
  }
  return DR_EXIT_DONE;
}

static int run_once(dr_bench *bench, const dr_case_list *list, const char *name) {
  for (int32_t i = 0; i < list->count; i++) {
    const dr_case *c = list->items + i;
    if (strcmp(c->name, name) != 0) continue;
    if (!c->once)
      dr_usage_error("bench", "--once: %s has no body to run once; parts/fused/... and parts/loop/... do", name);
    if (c->once(bench, c) == 0) return DR_EXIT_DONE;
    fprintf(stderr, "drover bench: %s: %s\n", name, bench->message);
    return DR_EXIT_FAILED;
  }
  dr_usage_error("bench", "--once: there is no case '%s'; `drover bench --list` lists them", name);
}

static int run_cases(const bench_options *options, dr_bench *bench, const dr_case_list *list) {
  int32_t count = 0, index = 0, num_failed = 0;
  const int width = name_width(options, list);
  for (int32_t i = 0; i < list->count; i++) count += selected(options, list->items + i);
  if (count == 0)
    dr_usage_error("bench", "--filter '%s' matches no case; `drover bench --list` lists them", options->filter);
  dr_progress progress;
  dr_progress_begin(&progress, options->common.quiet);
  print_host(options, bench, width);
  fflush(stdout);
  for (int32_t i = 0; i < list->count && !dr_interrupt_pending(); i++) {
    const dr_case *c = list->items + i;
    if (!selected(options, c)) continue;
    /* Plain progress lines beside a table on the same terminal or log would only repeat it. */
    if (progress.terminal || options->common.json) dr_progress_item(&progress, ++index, count, c->name);
    dr_samples samples = {0};
    const bool failed = c->run(bench, c, &samples) != 0;
    dr_progress_end(&progress);
    if (failed && dr_interrupt_pending()) break;
    num_failed += failed;
    if (options->common.json)
      print_case_json(bench, c, &samples, failed);
    else
      print_case_row(bench, c, &samples, failed, width);
  }
  if (dr_interrupt_pending()) {
    fputs("drover bench: interrupted; the cases before are complete\n", stderr);
    return DR_EXIT_INTERRUPTED;
  }
  if (num_failed == 0) return DR_EXIT_DONE;
  fprintf(stderr, "drover bench: %d of %d cases failed\n", num_failed, count);
  return DR_EXIT_FAILED;
}

/* ---- The command ---- */

static drover_status open_runtimes(dr_bench *bench, int32_t num_workers) {
  drover_runtime_options options;
  drover_status status = drover_runtime_options_init(&options, sizeof options);
  if (status != DROVER_OK) return status;
  options.num_workers = 1;
  status = drover_runtime_create(&bench->one, &options);
  if (status != DROVER_OK) return status;
  options.num_workers = num_workers;
  status = drover_runtime_create(&bench->all, &options);
  if (status != DROVER_OK) return status;
  drover_runtime_stats stats = {.size = sizeof stats};
  status = drover_runtime_get_stats(bench->all, &stats);
  bench->num_workers = stats.num_workers;
  return status;
}

static const char help[] =
    "Measure this machine: environments, network and scheduler.\v"
    "VALUE is the median of the samples, SPREAD half the distance of their quartiles. Ratios compare two things that "
    "are run in turns, at least 15 pairs in one run (9 with --quick); they mean more than absolute figures, which "
    "change with the machine's mood. Every case begins from a restored state and checks its result. Efficiency is the "
    "time of a serial loop over the same environments / (time x workers).\n\n"
    "Two experiments have commands of their own: `drover bench scaling --env NAME` (are steps/s flat, or do they rise "
    "or fall, with the number of environments?) and `drover bench nested` (threads within threads, five ways).\n\n"
    "Examples:\n"
    "  drover bench --quick\n"
    "  drover bench --filter 'rollout/.*/1024$'\n"
    "  drover bench --json > here.jsonl\n";

int dr_cmd_bench(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "nested") == 0) return dr_bench_nested(argc - 1, argv + 1);
  if (argc > 1 && strcmp(argv[1], "scaling") == 0) return dr_bench_scaling(argc - 1, argv + 1);
  static const struct argp argp = {rows, parse, NULL, help, NULL, NULL, NULL};
  bench_options options = {.common = {.command = "bench"}};
  dr_options_run(&argp, "bench", argc, argv, &options);

  dr_case_list list = {0};
  dr_cases_add_all(&list);
  dr_bench bench = {.quick = options.quick,
                    .sample_s = options.quick ? 0.01 : 0.06,
                    .num_samples = options.quick ? 5 : 11,
                    .num_pairs = options.quick ? 9 : 21,
                    .stop = dr_interrupt_pending};
  int code;
  if (list.failed) {
    fputs("drover bench: out of memory\n", stderr);
    code = DR_EXIT_FAILED;
  } else if (options.list) {
    code = list_cases(&options, &list);
  } else {
    /* No runtime to cancel: a case is short, and the flag is looked at before every timed run. */
    dr_interrupt_install();
    const drover_status status = open_runtimes(&bench, options.common.num_workers);
    if (status != DROVER_OK)
      code = dr_report_failure("bench", NULL, status);
    else
      code = options.once ? run_once(&bench, &list, options.once) : run_cases(&options, &bench, &list);
  }
  drover_runtime_destroy(bench.one);
  drover_runtime_destroy(bench.all);
  free(list.items);
  if (options.filter) regfree(&options.regex);
  return code;
}
