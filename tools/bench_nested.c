/* bench_nested.c: `drover bench nested`: the founding problem, measured: an inner network evaluated inside every env's
 * step by a library that has threads of its own, five ways. Prints the seed's table. */
#include <argp.h>
#include <drover/drover.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "perf/bench.h"
#include "perf/host.h"
#include "perf/nested/cell.h"
#include "perf/nested/nested.h"
#include "tools/commands.h"
#include "tools/format.h"
#include "tools/interrupt.h"
#include "tools/json.h"
#include "tools/options.h"

enum { KEY_ENVS = DR_KEY_OWN, KEY_SECONDS, KEY_ROUNDS, KEY_QUICK, KEY_PLUGIN, KEY_BLAS, KEY_WAY };
enum { MAX_ENVS = 16, MAX_ROUNDS = 32, BASE_ENVS = 16 };

typedef struct nested_options {
  dr_options common;
  int32_t envs[MAX_ENVS];
  int32_t num_envs;
  double seconds;
  int32_t rounds;
  const char *plugin;
  const char *blas;
  int way; /* -1: the whole table; else measure this one in this process */
} nested_options;

/* One row of a table: what all rounds gave. */
typedef struct nested_row {
  double rollout_ms[MAX_ROUNDS];
  int32_t min_threads, max_threads;
  double mean_reward;
  uint64_t digest;
} nested_row;

typedef struct nested_table {
  nested_row rows[NESTED_NUM_WAYS][MAX_ENVS];
  double base_ms[2][MAX_ROUNDS]; /* one worker, one thread, BASE_ENVS envs: by the BLAS, by Drover's inference */
  int32_t num_rounds;            /* finished */
  int32_t num_workers;
} nested_table;

/* ---- Options ---- */

static void parse_envs(nested_options *o, char *text) {
  o->num_envs = 0;
  for (char *save = NULL, *item = strtok_r(text, ",", &save); item; item = strtok_r(NULL, ",", &save)) {
    if (o->num_envs == MAX_ENVS) dr_usage_error("bench nested", "--envs takes at most %d numbers", MAX_ENVS);
    o->envs[o->num_envs++] = (int32_t)dr_options_integer("bench nested", "envs", item, 1, 4096, false);
  }
  if (o->num_envs == 0) dr_usage_error("bench nested", "--envs needs at least one number");
}

static error_t parse(int key, char *arg, struct argp_state *state) {
  nested_options *o = state->input;
  static const char *const ways[] = {
#define WAY_NAME(name, constant, heading) name,
      NESTED_WAYS(WAY_NAME)
#undef WAY_NAME
          NULL};
  switch (key) {
    case KEY_ENVS:
      parse_envs(o, arg);
      return 0;
    case KEY_SECONDS:
      o->seconds = dr_options_real("bench nested", "seconds", arg, 0.05, 3600);
      return 0;
    case KEY_ROUNDS:
      o->rounds = (int32_t)dr_options_integer("bench nested", "rounds", arg, 1, MAX_ROUNDS, false);
      return 0;
    case KEY_QUICK:
      o->seconds = 0.3;
      o->rounds = 1;
      return 0;
    case KEY_PLUGIN:
      o->plugin = arg;
      return 0;
    case KEY_BLAS:
      o->blas = arg;
      return 0;
    case KEY_WAY:
      o->way = dr_options_choice("bench nested", "way", arg, ways);
      return 0;
    default:
      return dr_options_parse(key, arg, &o->common);
  }
}

static const struct argp_option option_rows[] = {
    {"envs", KEY_ENVS, "N[,N...]", 0, "Numbers of environments (default 2,4,8,16,32,64)", 1},
    {"seconds", KEY_SECONDS, "S", 0, "Measure each cell for about S seconds in each round (default 1.5)", 1},
    {"rounds", KEY_ROUNDS, "R", 0, "Go through the whole table R times (default 3); figures are medians", 1},
    {"quick", KEY_QUICK, 0, 0, "One short round: a look, not a measurement", 1},
    {"blas", KEY_BLAS, "FILE", 0, "An OpenMP BLAS (default: Debian's OpenBLAS on OpenMP)", 2},
    {"plugin", KEY_PLUGIN, "FILE", 0, "The experiment's environment (default: nested_env.so of this build)", 2},
    {"way", KEY_WAY, "WAY", OPTION_HIDDEN, "Measure one cell in this process", 2},
    DR_OPTION_WORKERS,
    DR_OPTION_JSON,
    DR_OPTION_QUIET,
    {0},
};

static const char help[] =
    "An inner network (3 hidden layers of 256) is evaluated 16 times in every step of every environment: row by row by "
    "an "
    "OpenMP BLAS, without and with a limit on its threads, and in tiles by Drover's own inference.\v"
    "Every cell is a process of its own. Needs OpenBLAS built with OpenMP (Debian: libopenblas0-openmp). Prints "
    "Markdown; --json prints one object.";

/* nested_env.so lies in ../lib/drover beside the command's folder. */
static char *find_plugin(char *path, size_t path_size) {
  char exe[PATH_MAX];
  const ssize_t length = readlink("/proc/self/exe", exe, sizeof exe - 1);
  if (length < 0) return NULL;
  exe[length] = '\0';
  char *slash = strrchr(exe, '/');
  if (slash) *slash = '\0';
  const int used = snprintf(path, path_size, "%s/../lib/drover/nested_env.so", exe);
  return used > 0 && (size_t)used < path_size && access(path, R_OK) == 0 ? path : NULL;
}

/* ---- Measuring ---- */

static int measure_cell(const nested_options *o, nested_way way, int32_t num_envs, int32_t workers,
                        nested_result *result) {
  const nested_cell cell = {.way = way,
                            .num_envs = num_envs,
                            .num_workers = workers,
                            .seconds = o->seconds,
                            .plugin = o->plugin,
                            .blas = o->blas};
  char message[256];
  if (!o->common.quiet) fprintf(stderr, "  %s, %d envs\n", nested_way_name(way), num_envs);
  if (nested_cell_spawn(&cell, result, message, (int)sizeof message) == 0) return 0;
  if (!dr_interrupt_pending()) fprintf(stderr, "drover bench nested: %s\n", message);
  return -1;
}

/* All cells once. Ways that are compared with each other stand beside each other in time. */
static int measure_round(const nested_options *o, int32_t round, nested_table *table) {
  nested_result result;
  for (int32_t i = 0; i < 2; i++) {
    if (measure_cell(o, i == 0 ? NESTED_PROCESS : NESTED_INFERENCE, BASE_ENVS, 1, &result) != 0) return -1;
    table->base_ms[i][round] = result.rollout_ms;
  }
  for (int32_t n = 0; n < o->num_envs; n++)
    for (int way = 0; way < NESTED_NUM_WAYS; way++) {
      nested_row *row = &table->rows[way][n];
      if (dr_interrupt_pending() || measure_cell(o, (nested_way)way, o->envs[n], table->num_workers, &result) != 0)
        return -1;
      row->rollout_ms[round] = result.rollout_ms;
      if (round == 0 || result.min_threads < row->min_threads) row->min_threads = result.min_threads;
      if (result.max_threads > row->max_threads) row->max_threads = result.max_threads;
      row->mean_reward = result.mean_reward;
      row->digest = result.digest;
    }
  return 0;
}

/* The ways must have computed the same: rewards to rounding, and the guarded one to the byte what one thread gives. */
static int check_results(const nested_options *o, const nested_table *table) {
  for (int32_t n = 0; n < o->num_envs; n++) {
    const nested_row *one = &table->rows[NESTED_PROCESS][n];
    for (int way = 0; way < NESTED_NUM_WAYS; way++)
      if (!(fabs(table->rows[way][n].mean_reward - one->mean_reward) <= 1e-4 * fabs(one->mean_reward))) {
        fprintf(stderr, "drover bench nested: %s with %d envs computed a mean reward of %.9g, %s %.9g\n",
                nested_way_name((nested_way)way), o->envs[n], table->rows[way][n].mean_reward,
                nested_way_name(NESTED_PROCESS), one->mean_reward);
        return -1;
      }
    if (table->rows[NESTED_GUARD][n].digest != one->digest) {
      fprintf(stderr, "drover bench nested: the guard's bytes differ from those of one thread with %d envs\n",
              o->envs[n]);
      return -1;
    }
  }
  return 0;
}

/* ---- Figures ---- */

static double median_ms(const nested_table *table, int way, int32_t n) {
  return dr_median(table->rows[way][n].rollout_ms, table->num_rounds);
}

/* Control steps of all envs in a second. */
static double steps_per_s(int32_t num_envs, double rollout_ms) { return num_envs * NESTED_STEPS / (rollout_ms * 1e-3); }

/* Of what the cores in use would give if each were as fast as one worker alone with one thread. */
static double efficiency(const nested_options *o, const nested_table *table, int way, int32_t n) {
  const double base = dr_median(table->base_ms[way == NESTED_INFERENCE], table->num_rounds);
  const int32_t cores = o->envs[n] < table->num_workers ? o->envs[n] : table->num_workers;
  return steps_per_s(o->envs[n], median_ms(table, way, n)) / (cores * steps_per_s(BASE_ENVS, base));
}

/* The median over rounds of how much faster cell a was than cell b, in steps/s; ratios are taken within a round. */
static double ratio(const nested_options *o, const nested_table *table, int way_a, int32_t a, int way_b, int32_t b) {
  double ratios[MAX_ROUNDS];
  for (int32_t r = 0; r < table->num_rounds; r++)
    ratios[r] = steps_per_s(o->envs[a], table->rows[way_a][a].rollout_ms[r]) /
                steps_per_s(o->envs[b], table->rows[way_b][b].rollout_ms[r]);
  return dr_median(ratios, table->num_rounds);
}

static int32_t index_of(const nested_options *o, int32_t num_envs) {
  for (int32_t n = 0; n < o->num_envs; n++)
    if (o->envs[n] == num_envs) return n;
  return -1;
}

/* What the experiment is for, in sentences with figures; NAN where a number of envs was not measured. */
typedef struct nested_claims {
  double guard_over_forced;  /* at 16 envs */
  double guard_over_process; /* at 16 envs */
  double guard_64_over_4;
  double inference_over_guard; /* at 64 envs */
} nested_claims;

static nested_claims draw_claims(const nested_options *o, const nested_table *table) {
  const int32_t at4 = index_of(o, 4), at16 = index_of(o, 16), at64 = index_of(o, 64);
  return (nested_claims){
      .guard_over_forced = at16 < 0 ? NAN : ratio(o, table, NESTED_GUARD, at16, NESTED_FORCED, at16),
      .guard_over_process = at16 < 0 ? NAN : ratio(o, table, NESTED_GUARD, at16, NESTED_PROCESS, at16),
      .guard_64_over_4 = at4 < 0 || at64 < 0 ? NAN : ratio(o, table, NESTED_GUARD, at64, NESTED_GUARD, at4),
      .inference_over_guard = at64 < 0 ? NAN : ratio(o, table, NESTED_INFERENCE, at64, NESTED_GUARD, at64),
  };
}

/* ---- Output ---- */

static void print_markdown(const nested_options *o, const nested_table *table) {
  dr_host host;
  dr_host_read(&host);
  printf("%s, %d of %d cores usable, load %.2f, %s\n", host.cpu, host.num_cores, host.num_cpus, host.load, host.kernel);
  printf("drover %s%s%s, %d worker%s, %d round%s, rollouts of %d control steps\n", drover_version(),
         host.commit[0] ? " at " : "", host.commit, table->num_workers, table->num_workers == 1 ? "" : "s",
         table->num_rounds, table->num_rounds == 1 ? "" : "s", NESTED_STEPS);
  for (int way = 0; way < NESTED_NUM_WAYS; way++) {
    printf("\n**%s**\n\n| envs | rollout ms | steps/s | speedup | efficiency | threads |\n",
           nested_way_heading((nested_way)way));
    puts("| ---: | ---: | ---: | ---: | ---: | ---: |");
    for (int32_t n = 0; n < o->num_envs; n++) {
      const nested_row *row = &table->rows[way][n];
      const double ms = median_ms(table, way, n);
      char threads[32];
      snprintf(threads, sizeof threads, row->min_threads == row->max_threads ? "%d" : "%d to %d", row->min_threads,
               row->max_threads);
      printf("| %d | %.1f | %.1f | %.2fx | %.1f %% | %s |\n", o->envs[n], ms, steps_per_s(o->envs[n], ms),
             steps_per_s(o->envs[n], ms) / steps_per_s(o->envs[0], median_ms(table, way, 0)),
             100 * efficiency(o, table, way, n), threads);
    }
  }
  const nested_claims claims = draw_claims(o, table);
  puts("");
  if (!isnan(claims.guard_over_forced))
    printf(
        "- 16 envs: the guard makes %.1f times the steps of 16 unguarded threads a call, and %.3f times those of "
        "OMP_NUM_THREADS=1.\n",
        claims.guard_over_forced, claims.guard_over_process);
  if (!isnan(claims.guard_64_over_4))
    printf("- The guard's steps/s at 64 envs are %.3f of those at 4 envs.\n", claims.guard_64_over_4);
  if (!isnan(claims.inference_over_guard))
    printf("- 64 envs: Drover's own inference makes %.1f times the steps of the guarded BLAS.\n",
           claims.inference_over_guard);
  printf(
      "- speedup is against the first row; efficiency against as many single workers as there are cores in use; "
      "threads were counted every 10 ms from outside.\n");
}

static json_t *row_json(const nested_options *o, const nested_table *table, int way, int32_t n) {
  const nested_row *row = &table->rows[way][n];
  const double ms = median_ms(table, way, n);
  return json_pack("{s:i, s:f, s:f, s:f, s:f, s:i, s:i, s:f, s:o, s:o}", "num_envs", o->envs[n], "rollout_ms", ms,
                   "steps_per_s", steps_per_s(o->envs[n], ms), "speedup",
                   steps_per_s(o->envs[n], ms) / steps_per_s(o->envs[0], median_ms(table, way, 0)), "efficiency",
                   efficiency(o, table, way, n), "min_threads", row->min_threads, "max_threads", row->max_threads,
                   "mean_reward", row->mean_reward, "digest", dr_json_digest(row->digest), "samples_ms",
                   dr_json_numbers(row->rollout_ms, (size_t)table->num_rounds));
}

static int print_json(const nested_options *o, const nested_table *table) {
  dr_host host;
  dr_host_read(&host);
  json_t *ways = json_array();
  for (int way = 0; way < NESTED_NUM_WAYS; way++) {
    json_t *rows = json_array();
    for (int32_t n = 0; n < o->num_envs; n++) json_array_append_new(rows, row_json(o, table, way, n));
    json_array_append_new(ways, json_pack("{s:s, s:s, s:o}", "way", nested_way_name((nested_way)way), "heading",
                                          nested_way_heading((nested_way)way), "rows", rows));
  }
  const nested_claims c = draw_claims(o, table);
  json_t *claims = json_pack("{s:o, s:o, s:o, s:o}", "guard_over_forced_at_16", dr_json_number(c.guard_over_forced),
                             "guard_over_process_at_16", dr_json_number(c.guard_over_process), "guard_64_over_4",
                             dr_json_number(c.guard_64_over_4), "inference_over_guard_at_64",
                             dr_json_number(c.inference_over_guard));
  json_t *object =
      json_pack("{s:{s:s, s:i, s:i, s:f, s:s, s:s, s:s, s:s}, s:i, s:i, s:i, s:o, s:o}", "host", "cpu", host.cpu,
                "cpus", host.num_cpus, "cores", host.num_cores, "load", host.load, "kernel", host.kernel, "compiler",
                host.compiler, "version", drover_version(), "commit", host.commit, "workers", table->num_workers,
                "rounds", table->num_rounds, "steps", NESTED_STEPS, "ways", ways, "claims", claims);
  return object ? dr_json_print(object) : -1;
}

/* ---- The subcommand ---- */

static int run_table(const nested_options *o) {
  nested_table *table = calloc(1, sizeof *table);
  drover_cores cores = {.size = sizeof cores};
  if (!table || drover_threads_get_cores(NULL, &cores) != DROVER_OK) {
    free(table);
    return DR_EXIT_FAILED;
  }
  table->num_workers = o->common.num_workers ? o->common.num_workers : cores.num_cores;
  dr_interrupt_install();
  for (int32_t round = 0; round < o->rounds; round++) {
    if (!o->common.quiet) fprintf(stderr, "round %d of %d\n", round + 1, o->rounds);
    if (measure_round(o, round, table) != 0) break;
    table->num_rounds++;
  }
  int code = dr_interrupt_pending()          ? DR_EXIT_INTERRUPTED
             : table->num_rounds < o->rounds ? DR_EXIT_FAILED
             : check_results(o, table) != 0  ? DR_EXIT_FAILED
                                             : DR_EXIT_DONE;
  if (table->num_rounds > 0 && code != DR_EXIT_FAILED) {
    if (!o->common.json)
      print_markdown(o, table);
    else if (print_json(o, table) != 0)
      code = DR_EXIT_FAILED;
  }
  free(table);
  return code;
}

int dr_bench_nested(int argc, char **argv) {
  nested_options o = {.common = {.command = "bench nested"},
                      .envs = {2, 4, 8, 16, 32, 64},
                      .num_envs = 6,
                      .seconds = 1.5,
                      .rounds = 3,
                      .way = -1};
  const struct argp argp = {option_rows, parse, NULL, help, NULL, NULL, NULL};
  char plugin[PATH_MAX];
  dr_options_run(&argp, "bench nested", argc, argv, &o);
#ifdef DROVER_NESTED_BLAS
  if (!o.blas) o.blas = DROVER_NESTED_BLAS;
#endif
  if (!o.plugin) o.plugin = find_plugin(plugin, sizeof plugin);
  if (!o.plugin) {
    fputs(
        "drover bench nested: the experiment's environment is not installed; run it from the build "
        "(build/release/bin/drover), or give --plugin build/release/lib/drover/nested_env.so\n",
        stderr);
    return DR_EXIT_FAILED;
  }
  if (o.way < 0) return run_table(&o);
  const nested_cell cell = {.way = (nested_way)o.way,
                            .num_envs = o.envs[0],
                            .num_workers = o.common.num_workers,
                            .seconds = o.seconds,
                            .plugin = o.plugin,
                            .blas = o.blas};
  return nested_cell_run(&cell);
}
