/* bench_scaling_report.c: the figures of `drover bench scaling` as tables and sentences, JSON and CSV. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tools/bench_scaling.h"
#include "tools/format.h"
#include "tools/json.h"

static double median(const dr_rates *rates) { return dr_median(rates->values, rates->count); }

/* Half the distance of the quartiles over the median. */
static double spread(const dr_rates *rates) {
  return (dr_quantile(rates->values, rates->count, 0.75) - dr_quantile(rates->values, rates->count, 0.25)) / 2 /
         median(rates);
}

static double memory_of(const dr_scaling_report *r, int32_t num_envs) {
  return (double)num_envs * (double)(r->result->state_bytes + r->result->row_bytes);
}

/* "L2", "RAM", or "?" where the machine does not tell its caches. */
static const char *holder(const dr_scaling_report *r, int32_t num_envs, int32_t num_threads) {
  static const char *const names[] = {"RAM", "L1", "L2", "L3", "L4"};
  if (r->caches.bytes[1] == 0) return "?";
  return names[dr_caches_level_holding(&r->caches, memory_of(r, num_envs), num_threads)];
}

/* What is lost to a barrier after every step: 1 - rate with / rate without. */
static double barrier_loss(const dr_scaling_point *point, int32_t index) {
  return 1 - dr_rates_ratio(&point->barrier[index], &point->all[index], 1);
}

static double efficiency(const dr_scaling_report *r, const dr_scaling_point *point, int32_t index) {
  return dr_rates_ratio(&point->all[index], &point->loop, r->request->workers[index]);
}

static double apart(const dr_scaling_report *r, const dr_scaling_point *point, int32_t index) {
  return dr_rates_ratio(&point->apart[index], &point->loop, r->request->workers[index]);
}

/* A figure, or a dash where there is none. */
static const char *figure(char *out, const char *format, double value) {
  if (isnan(value)) return "-";
  snprintf(out, DR_FORMAT_BYTES, format, value);
  return out;
}

/* ---- For people ---- */

static const char dashes[] = "--------------------------------"; /* under a heading that has no fixed width */

static void print_head(const dr_scaling_report *r) {
  const dr_scaling_request *q = r->request;
  char bytes[DR_FORMAT_BYTES], row[DR_FORMAT_BYTES];
  const dr_host *host = &r->host;
  printf("%s, policy %s", q->type->name, r->common->policy);
  if (r->result->num_ticks > 0)
    printf(", %d ticks a step under inner policy %s", (int)r->result->num_ticks, r->inner_policy);
  printf(", rollouts of %d steps, %d round%s of %g s a figure\n", q->num_steps, r->result->num_rounds,
         r->result->num_rounds == 1 ? "" : "s", q->seconds);
  printf("%s, %d of %d cores usable, load %.2f, %s\ndrover %s%s%s\n", host->cpu, host->num_cores, host->num_cpus,
         host->load, host->kernel, drover_version(), host->commit[0] ? " at " : "", host->commit);
  printf("An environment: %s, and %s in a row of the rollout's buffers.\nCaches:",
         dr_format_bytes(bytes, (double)r->result->state_bytes), dr_format_bytes(row, (double)r->result->row_bytes));
  bool known = false;
  for (int level = 1; level <= DR_MAX_CACHE_LEVELS; level++) {
    const int32_t sharing = r->caches.cpus_sharing[level];
    if (r->caches.bytes[level] == 0) continue;
    printf("%s L%d %s", known ? "," : "", level, dr_format_bytes(bytes, (double)r->caches.bytes[level]));
    if (sharing > 1) printf(" for %d CPUs", sharing);
    if (sharing == 1) printf(" for each CPU");
    known = true;
  }
  puts(known ? "." : " not known.");
}

static void print_one_thread(const dr_scaling_report *r) {
  const dr_scaling_point *points = r->result->points;
  char over[32];
  const int width = snprintf(over, sizeof over, "time / N = %d", points[0].num_envs);
  printf("\n**One thread**\n\n");
  printf("| %7s | %9s | %7s | %12s | %9s | %6s | %s | %13s |\n", "envs", "memory", "held by", "loop steps/s", "us/step",
         "spread", over, "1 worker/loop");
  printf("| ------: | --------: | ------: | -----------: | --------: | -----: | %.*s: | ------------: |\n", width - 1,
         dashes);
  for (int32_t p = 0; p < r->request->num_points; p++) {
    const dr_scaling_point *point = points + p;
    const dr_rates *loop = &point->loop;
    char memory[DR_FORMAT_BYTES], rate[DR_FORMAT_BYTES];
    printf("| %7d | %9s | %7s | %12s | %9.3f | %4.1f %% | %*.3f | %13.3f |\n", point->num_envs,
           dr_format_bytes(memory, memory_of(r, point->num_envs)), holder(r, point->num_envs, 1),
           dr_format_scaled(rate, median(loop)), 1e6 / median(loop), 100 * spread(loop), width,
           dr_rates_ratio(&points->loop, loop, 1), dr_rates_ratio(&point->one, loop, 1));
  }
}

static void print_workers(const dr_scaling_report *r, int32_t index) {
  const dr_scaling_point *points = r->result->points;
  const int32_t workers = r->request->workers[index];
  char over[32];
  const int width = snprintf(over, sizeof over, "/ N = %d", points[0].num_envs);
  printf("\n**%d workers**\n\n", workers);
  printf("| %7s | %7s | %9s | %6s | %s | %10s | %10s | %11s |", "envs", "held by", "steps/s", "spread", over,
         "efficiency", "/ 1 worker", "loops apart");
  puts(r->request->barrier ? " lost to a barrier |" : "");
  printf("| ------: | ------: | --------: | -----: | %.*s: | ---------: | ---------: | ----------: |", width - 1,
         dashes);
  puts(r->request->barrier ? " ----------------: |" : "");
  for (int32_t p = 0; p < r->request->num_points; p++) {
    const dr_scaling_point *point = points + p;
    char rate[DR_FORMAT_BYTES], loops[DR_FORMAT_BYTES], lost[DR_FORMAT_BYTES];
    printf("| %7d | %7s | %9s | %4.1f %% | %*.3f | %10.3f | %10.3f | %11s |", point->num_envs,
           holder(r, point->num_envs, workers), dr_format_scaled(rate, median(&point->all[index])),
           100 * spread(&point->all[index]), width, dr_rates_ratio(&point->all[index], &points[0].all[index], 1),
           efficiency(r, point, index), dr_rates_ratio(&point->all[index], &point->one, workers),
           figure(loops, "%.3f", apart(r, point, index)));
    if (r->request->barrier) printf(" %17s |", figure(lost, "%.1f %%", 100 * barrier_loss(point, index)));
    putchar('\n');
  }
}

static void print_trend(const dr_scaling_report *r, int32_t index) {
  const dr_scaling_request *q = r->request;
  const dr_trend trend = dr_scaling_trend(r->result, q, index);
  const int32_t workers = index < 0 ? 1 : q->workers[index];
  printf("- %d worker%s: steps/s %s%s: %.3f times from N = %d to %d (uncertain by %.3f)", workers,
         workers == 1 ? "" : "s", strcmp(trend.word, "flat") == 0 ? "are " : "", trend.word, trend.change,
         q->num_envs[0], q->num_envs[q->num_points - 1], trend.noise);
  if (trend.lowest < 0.98) printf("; lowest at N = %d, %.3f", trend.lowest_envs, trend.lowest);
  puts(".");
}

/* Where what is missing to 1 goes: to the machine, as far as plain loops apart miss it too, and else to Drover. */
static void print_losses(const dr_scaling_report *r, int32_t index) {
  const dr_scaling_request *q = r->request;
  const dr_scaling_point *point = r->result->points + q->num_points - 1;
  const double reached = efficiency(r, point, index), possible = apart(r, point, index);
  printf("- %d workers, N = %d: efficiency %.3f", q->workers[index], point->num_envs, reached);
  if (!isnan(possible) && reached < possible)
    printf(
        "; as many loops that share nothing reach %.3f, so %.1f %% is the machine's (memory, caches, clock, other "
        "programs) and %.1f %% Drover's",
        possible, 100 * (1 - possible), 100 * (possible - reached));
  else if (!isnan(possible))
    printf("; as many loops that share nothing reach no more, %.3f", possible);
  puts(".");
  if (!q->barrier) return;
  double worst = -INFINITY, best = INFINITY;
  for (int32_t p = 0; p < q->num_points; p++) {
    worst = fmax(worst, barrier_loss(r->result->points + p, index));
    best = fmin(best, barrier_loss(r->result->points + p, index));
  }
  printf("- %d workers: a barrier after every step would lose %.1f to %.1f %% of the steps/s.\n", q->workers[index],
         100 * best, 100 * worst);
}

static void print_memory(const dr_scaling_report *r) {
  const dr_scaling_request *q = r->request;
  const dr_scaling_point *first = r->result->points, *last = first + q->num_points - 1;
  char few[DR_FORMAT_BYTES], many[DR_FORMAT_BYTES];
  printf("- One thread needs %.3f times as long for a step with N = %d (%s, held by %s) as with N = %d (%s, %s).\n",
         dr_rates_ratio(&first->loop, &last->loop, 1), last->num_envs,
         dr_format_bytes(many, memory_of(r, last->num_envs)), holder(r, last->num_envs, 1), first->num_envs,
         dr_format_bytes(few, memory_of(r, first->num_envs)), holder(r, first->num_envs, 1));
}

void dr_scaling_print(const dr_scaling_report *r) {
  const dr_scaling_request *q = r->request;
  print_head(r);
  print_one_thread(r);
  for (int32_t i = 0; i < q->num_workers; i++) print_workers(r, i);
  putchar('\n');
  if (q->num_points > 1) {
    for (int32_t i = q->num_workers ? 0 : -1; i < q->num_workers; i++) print_trend(r, i);
  }
  for (int32_t i = 0; i < q->num_workers; i++) print_losses(r, i);
  if (q->num_points > 1) print_memory(r);
}

/* ---- For programs ---- */

static json_t *rates_json(const dr_rates *rates) {
  return json_pack("{s:o, s:o, s:o}", "steps_per_second", dr_json_number(median(rates)), "spread",
                   dr_json_number(spread(rates)), "samples", dr_json_numbers(rates->values, (size_t)rates->count));
}

static json_t *point_json(const dr_scaling_report *r, const dr_scaling_point *point) {
  const dr_scaling_point *first = r->result->points;
  json_t *workers = json_array();
  for (int32_t i = 0; i < r->request->num_workers; i++) {
    const int32_t count = r->request->workers[i];
    json_array_append_new(
        workers, json_pack("{s:i, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "num_workers", count, "held_by",
                           holder(r, point->num_envs, count), "rollout", rates_json(&point->all[i]), "loops_apart",
                           rates_json(&point->apart[i]), "barrier", rates_json(&point->barrier[i]), "over_first",
                           dr_json_number(dr_rates_ratio(&point->all[i], &first->all[i], 1)), "efficiency",
                           dr_json_number(efficiency(r, point, i)), "over_one_worker",
                           dr_json_number(dr_rates_ratio(&point->all[i], &point->one, count)), "loops_apart_efficiency",
                           dr_json_number(apart(r, point, i)), "barrier_loss", dr_json_number(barrier_loss(point, i))));
  }
  return json_pack("{s:i, s:o, s:s, s:o, s:o, s:o}", "num_envs", point->num_envs, "memory_bytes",
                   dr_json_number(memory_of(r, point->num_envs)), "held_by", holder(r, point->num_envs, 1), "loop",
                   rates_json(&point->loop), "one_worker", rates_json(&point->one), "workers", workers);
}

static json_t *trend_json(const dr_scaling_report *r, int32_t index) {
  const dr_trend trend = dr_scaling_trend(r->result, r->request, index);
  return json_pack("{s:i, s:s, s:o, s:o, s:o, s:i}", "num_workers", index < 0 ? 1 : r->request->workers[index],
                   "steps_per_second", trend.word, "change", dr_json_number(trend.change), "noise",
                   dr_json_number(trend.noise), "lowest", dr_json_number(trend.lowest), "lowest_envs",
                   trend.lowest_envs);
}

int dr_scaling_print_json(const dr_scaling_report *r) {
  const dr_scaling_request *q = r->request;
  const dr_host *host = &r->host;
  json_t *caches = json_array(), *points = json_array(), *trends = json_array();
  for (int level = 1; level <= DR_MAX_CACHE_LEVELS; level++)
    if (r->caches.bytes[level] > 0)
      json_array_append_new(caches,
                            json_pack("{s:i, s:I, s:i}", "level", level, "bytes", (json_int_t)r->caches.bytes[level],
                                      "cpus_sharing", (int)r->caches.cpus_sharing[level]));
  for (int32_t p = 0; p < q->num_points; p++) json_array_append_new(points, point_json(r, r->result->points + p));
  for (int32_t i = -1; i < q->num_workers; i++) json_array_append_new(trends, trend_json(r, i));
  return dr_json_print(json_pack(
      "{s:s, s:s, s:i, s:i, s:o, s:I, s:I, s:{s:s, s:i, s:i, s:o, s:s, s:s, s:s, s:s}, s:o, s:o, s:o}", "env",
      q->type->name, "policy", r->common->policy, "num_steps", q->num_steps, "rounds", r->result->num_rounds, "seconds",
      dr_json_number(q->seconds), "state_bytes", (json_int_t)r->result->state_bytes, "row_bytes",
      (json_int_t)r->result->row_bytes, "host", "cpu", host->cpu, "cpus", host->num_cpus, "cores", host->num_cores,
      "load", dr_json_number(host->load), "kernel", host->kernel, "compiler", host->compiler, "version",
      drover_version(), "commit", host->commit, "caches", caches, "points", points, "trends", trends));
}

/* A number of a CSV cell: empty where there is none. */
static void write_cell(FILE *file, double value) {
  if (isnan(value))
    fputc(',', file);
  else
    fprintf(file, ",%.6g", value);
}

/* A temporary file beside it that is renamed: a full disk leaves the table that was there. */
int dr_scaling_write_csv(const dr_scaling_report *r, const char *path) {
  const dr_scaling_request *q = r->request;
  char temporary[4200];
  snprintf(temporary, sizeof temporary, "%s.%ld.tmp", path, (long)getpid());
  FILE *file = fopen(temporary, "we");
  if (!file) {
    fprintf(stderr, "drover bench scaling: '%s' cannot be written: %s\n", path, strerror(errno));
    return -1;
  }
  fputs(
      "workers,num_envs,memory_bytes,held_by,steps_per_second,spread,over_first,efficiency,over_one_worker,"
      "loops_apart_efficiency,barrier_loss,loop_steps_per_second\n",
      file);
  for (int32_t i = -1; i < q->num_workers; i++)
    for (int32_t p = 0; p < q->num_points; p++) {
      const dr_scaling_point *first = r->result->points, *point = first + p;
      const int32_t workers = i < 0 ? 1 : q->workers[i];
      const dr_rates *rates = i < 0 ? &point->one : &point->all[i];
      fprintf(file, "%d,%d,%.0f,%s", workers, point->num_envs, memory_of(r, point->num_envs),
              holder(r, point->num_envs, workers));
      write_cell(file, median(rates));
      write_cell(file, spread(rates));
      write_cell(file, dr_rates_ratio(rates, i < 0 ? &first->one : &first->all[i], 1));
      write_cell(file, dr_rates_ratio(rates, &point->loop, workers));
      write_cell(file, dr_rates_ratio(rates, &point->one, workers));
      write_cell(file, i < 0 ? NAN : apart(r, point, i));
      write_cell(file, i < 0 ? NAN : barrier_loss(point, i));
      write_cell(file, median(&point->loop));
      fputc('\n', file);
    }
  errno = 0;
  const int failed = ferror(file);
  if (fclose(file) == 0 && !failed && rename(temporary, path) == 0) return 0;
  fprintf(stderr, "drover bench scaling: '%s' could not be written: %s\n", path, strerror(errno ? errno : EIO));
  unlink(temporary);
  return -1;
}
