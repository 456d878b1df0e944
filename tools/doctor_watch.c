/* doctor_watch.c: `drover doctor --watch PID`: threads, CPU use and context switches of a running process over time. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "runtime/threads/census.h"
#include "runtime/threads/cores.h"
#include "runtime/threads/procfs.h"
#include "tools/commands.h"
#include "tools/doctor.h"
#include "tools/interrupt.h"
#include "tools/json.h"

/* Sums over samples: of one line of output, and of the whole watch. */
typedef struct tally {
  int64_t num_samples;
  int32_t min_threads, max_threads;
  double sum_runnable;
  int32_t max_runnable;
} tally;

/* What only grows, read when a line is due: the process's CPU time and its living threads' context switches. */
typedef struct counters {
  double time_s; /* since the watch began */
  double cpu_s;
  int64_t voluntary, forced;
} counters;

typedef struct watch {
  const dr_watch_options *options;
  drover_cores cores;
  double begin_s;
  dr_census census; /* memory reused from sample to sample */
  tally line, all;
  counters first, last;
  double line_s; /* seconds a line */
  bool ended;    /* the process did */
} watch;

static double now_s(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void add_sample(tally *t, int32_t threads, int32_t runnable) {
  if (t->num_samples == 0 || threads < t->min_threads) t->min_threads = threads;
  if (threads > t->max_threads) t->max_threads = threads;
  if (runnable > t->max_runnable) t->max_runnable = runnable;
  t->sum_runnable += runnable;
  t->num_samples++;
}

static double mean_runnable(const tally *t) {
  return t->num_samples > 0 ? t->sum_runnable / (double)t->num_samples : 0.0;
}

/* One census; false if the process has ended, which a zombie waiting for its parent has too. */
static bool sample(watch *w) {
  if (dr_census_take(NULL, w->options->pid, false, &w->census) != DROVER_OK) return false;
  if (w->census.count == 1 && (w->census.items[0].state == 'Z' || w->census.items[0].state == 'X')) return false;
  const int32_t runnable = dr_census_runnable(&w->census);
  add_sample(&w->line, (int32_t)w->census.count, runnable);
  add_sample(&w->all, (int32_t)w->census.count, runnable);
  return true;
}

/* The counters now; false if the process has ended. Its own stat file counts the time of threads that are gone. */
static bool count(watch *w, counters *out) {
  const double ticks = (double)sysconf(_SC_CLK_TCK);
  char *text = dr_procfs_read_of(NULL, w->options->pid, "stat", NULL);
  drover_thread process;
  const bool good = text != NULL && dr_census_parse_stat(text, ticks, &process);
  free(text);
  if (!good || dr_census_take(NULL, w->options->pid, true, &w->census) != DROVER_OK) return false;
  *out = (counters){.time_s = now_s() - w->begin_s, .cpu_s = process.cpu_seconds};
  for (size_t i = 0; i < w->census.count; i++) {
    const drover_thread *thread = &w->census.items[i];
    if (thread->voluntary_switches > 0) out->voluntary += thread->voluntary_switches;
    if (thread->forced_switches > 0) out->forced += thread->forced_switches;
  }
  return true;
}

/* Per second between two counts; threads that ended took their counts along, so never below 0. */
static double rate(double from, double to, double seconds) {
  return seconds > 0 && to > from ? (to - from) / seconds : 0.0;
}

static void print_line(watch *w, const counters *now) {
  const double seconds = now->time_s - w->last.time_s;
  const double cpu = rate(w->last.cpu_s, now->cpu_s, seconds);
  const double voluntary = rate((double)w->last.voluntary, (double)now->voluntary, seconds);
  const double forced = rate((double)w->last.forced, (double)now->forced, seconds);
  if (w->options->json) {
    dr_json_print(json_pack("{s:f, s:i, s:i, s:f, s:i, s:f, s:f, s:f}", "time_s", now->time_s, "min_threads",
                            w->line.min_threads, "max_threads", w->line.max_threads, "runnable_mean",
                            mean_runnable(&w->line), "runnable_max", w->line.max_runnable, "cpu_cores", cpu,
                            "voluntary_switches_per_s", voluntary, "forced_switches_per_s", forced));
    return;
  }
  char threads[32];
  if (w->line.min_threads == w->line.max_threads)
    snprintf(threads, sizeof threads, "%d", w->line.max_threads);
  else
    snprintf(threads, sizeof threads, "%d..%d", w->line.min_threads, w->line.max_threads);
  printf("%8.1f  %9s  %14.1f  %12d  %9.2f  %11.0f  %10.0f\n", now->time_s, threads, mean_runnable(&w->line),
         w->line.max_runnable, cpu, voluntary, forced);
  fflush(stdout);
}

static bool is_oversubscribed(const watch *w) { return mean_runnable(&w->all) > 1.1 * w->cores.num_cores + 0.5; }

static void print_summary(const watch *w) {
  const double seconds = w->last.time_s - w->first.time_s;
  const double cpu = rate(w->first.cpu_s, w->last.cpu_s, seconds);
  const double voluntary = rate((double)w->first.voluntary, (double)w->last.voluntary, seconds);
  const double forced = rate((double)w->first.forced, (double)w->last.forced, seconds);
  const bool constant = w->all.min_threads == w->all.max_threads;
  if (w->options->json) {
    json_t *summary = json_pack(
        "{s:i, s:f, s:I, s:i, s:i, s:b, s:f, s:i, s:i, s:b, s:f, s:f, s:f, s:b}", "pid", w->options->pid, "seconds",
        seconds, "num_samples", (json_int_t)w->all.num_samples, "min_threads", w->all.min_threads, "max_threads",
        w->all.max_threads, "constant", constant, "runnable_mean", mean_runnable(&w->all), "runnable_max",
        w->all.max_runnable, "num_cores", w->cores.num_cores, "oversubscribed", is_oversubscribed(w), "cpu_cores", cpu,
        "voluntary_switches_per_s", voluntary, "forced_switches_per_s", forced, "ended", w->ended);
    dr_json_print(json_pack("{s:o}", "summary", summary));
    return;
  }
  printf("\n%lld samples in %.1f s%s\n", (long long)w->all.num_samples, seconds,
         w->ended ? ", until the process ended" : "");
  if (constant)
    printf("  threads            %d, constant\n", w->all.max_threads);
  else
    printf("  threads            %d to %d: not constant\n", w->all.min_threads, w->all.max_threads);
  printf("  wanting to run     %.1f on average, at most %d, on %d usable core%s: %s\n", mean_runnable(&w->all),
         w->all.max_runnable, w->cores.num_cores, w->cores.num_cores == 1 ? "" : "s",
         is_oversubscribed(w) ? "too many" : "it fits");
  printf("  CPU use            %.2f cores\n", cpu);
  printf("  context switches   %.0f a second by waiting, %.0f a second forced\n", voluntary, forced);
  if (is_oversubscribed(w))
    printf("  -> start the program with: drover exec -- CMD; then `drover doctor --pid %d` says what is loaded\n",
           w->options->pid);
}

/* Sleep until a moment of the monotonic clock; a signal wakes early. */
static void sleep_until(double moment_s) {
  const struct timespec at = {(time_t)moment_s, (long)((moment_s - (double)(time_t)moment_s) * 1e9)};
  clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

/* Samples on a fixed grid, so that the sampling's own time does not stretch the interval; missed ones are left out. */
static void run(watch *w) {
  const double interval_s = w->options->interval_ms * 1e-3;
  double due_s = w->begin_s, line_due_s = w->begin_s + w->line_s;
  while (!dr_interrupt_pending()) {
    if (!sample(w)) {
      w->ended = true;
      break;
    }
    double now = now_s();
    const bool over = w->options->for_s > 0 && now - w->begin_s >= w->options->for_s;
    if (now >= line_due_s || over) {
      counters c;
      if (!count(w, &c)) {
        w->ended = true;
        break;
      }
      print_line(w, &c);
      w->last = c;
      w->line = (tally){0};
      while (line_due_s <= now) line_due_s += w->line_s;
    }
    if (over) break;
    now = now_s();
    while (due_s <= now) due_s += interval_s;
    sleep_until(due_s);
  }
}

int dr_doctor_watch(const dr_watch_options *options) {
  watch w = {.options = options, .begin_s = now_s(), .line_s = 1.0};
  if (options->interval_ms > 1000) w.line_s = options->interval_ms * 1e-3;
  dr_interrupt_install();

  drover_status status = dr_census_take(NULL, options->pid, false, &w.census);
  if (status != DROVER_OK || !count(&w, &w.first)) {
    fprintf(stderr, "drover doctor: %s\n", drover_last_error());
    dr_census_free(&w.census);
    return DR_EXIT_FAILED;
  }
  w.last = w.first;
  dr_quotas quotas;
  const int32_t affinity = dr_census_affinity_of(NULL, options->pid);
  dr_cores_quotas(NULL, options->pid, &quotas);
  dr_cores_decide(affinity, &quotas, &w.cores);
  dr_quotas_free(&quotas);

  if (!options->json) printf("    time    threads  wanting to run  at most       CPU use  switches/s  forced/s\n");
  run(&w);
  print_summary(&w);
  dr_census_free(&w.census);
  if (dr_interrupt_pending()) return DR_EXIT_INTERRUPTED;
  const bool moved = w.all.min_threads != w.all.max_threads;
  return is_oversubscribed(&w) || (options->constant && moved) ? DR_EXIT_FAILED : DR_EXIT_DONE;
}
