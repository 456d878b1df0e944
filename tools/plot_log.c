/* plot_log.c: a training log in memory, and the page around its picture. */
#include "tools/plot_log.h"

#include <errno.h>
#include <libgen.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_BINS = 400, SMALLEST_ROOM = 256 };

static int fail(const char *command, const char *path, const char *what) {
  fprintf(stderr, "drover %s: '%s' %s\n", command, path, what);
  return -1;
}

static void name_log(dr_plot_log *log, const char *path) {
  char copy[4200];
  snprintf(copy, sizeof copy, "%s", path);
  snprintf(log->name, sizeof log->name, "%s", basename(copy));
  char *dot = strrchr(log->name, '.');
  if (dot && dot != log->name) *dot = '\0';
}

static void split_header(dr_plot_log *log) {
  log->header[strcspn(log->header, "\r\n")] = '\0';
  char *rest = log->header;
  for (char *name; (name = strsep(&rest, ",")) != NULL && log->num_columns < DR_PLOT_MOST_COLUMNS;)
    log->names[log->num_columns++] = name;
}

static bool grow(dr_plot_log *log, size_t *room) {
  if (log->num_rows < *room) return true;
  *room = *room ? *room * 2 : SMALLEST_ROOM;
  for (int i = 0; i < log->num_columns; i++) {
    double *larger = realloc(log->columns[i], *room * sizeof *larger);
    if (!larger) return false;
    log->columns[i] = larger;
  }
  return true;
}

/* The fields of a line; what is no number is NAN. A line that ends early is left out: its writer was stopped. */
static void take_line(dr_plot_log *log, char *line) {
  char *rest = line;
  int i = 0;
  for (char *field; i < log->num_columns && (field = strsep(&rest, ",")) != NULL; i++) {
    char *end;
    const double value = strtod(field, &end);
    log->columns[i][log->num_rows] = end == field ? (double)NAN : value;
  }
  log->num_rows += i == log->num_columns;
}

int dr_plot_log_read(dr_plot_log *log, const char *command, const char *path) {
  memset(log, 0, sizeof *log);
  name_log(log, path);
  FILE *file = fopen(path, "re");
  if (!file) {
    fprintf(stderr, "drover %s: '%s' cannot be read: %s\n", command, path, strerror(errno));
    return -1;
  }
  char *line = NULL;
  size_t bytes = 0, room = 0;
  const char *failure = NULL;
  if (getline(&log->header, &bytes, file) <= 0) failure = "is empty";
  bytes = 0;
  if (!failure) split_header(log);
  while (!failure && getline(&line, &bytes, file) > 0) {
    if (grow(log, &room))
      take_line(log, line);
    else
      failure = "is too long for this machine's memory";
  }
  free(line);
  fclose(file);
  if (!failure && (!dr_plot_log_column(log, "steps") || !dr_plot_log_column(log, "update")))
    failure =
        log->num_rows == 0 ? "has no line of figures" : "is no log of drover train: it has no columns update, steps";
  if (!failure) return 0;
  dr_plot_log_free(log);
  return fail(command, path, failure);
}

void dr_plot_log_free(dr_plot_log *log) {
  free(log->header);
  for (int i = 0; i < log->num_columns; i++) free(log->columns[i]);
  memset(log, 0, sizeof *log);
}

const double *dr_plot_log_column(const dr_plot_log *log, const char *name) {
  for (int i = 0; i < log->num_columns; i++) {
    if (strcmp(log->names[i], name) != 0) continue;
    for (size_t row = 0; row < log->num_rows; row++)
      if (isfinite(log->columns[i][row])) return log->columns[i];
  }
  return NULL;
}

void dr_plot_log_bins(const dr_plot_log *log, const double *column, FILE *out) {
  const double *steps = dr_plot_log_column(log, "steps");
  const size_t num_bins = log->num_rows < MOST_BINS ? log->num_rows : MOST_BINS;
  for (size_t bin = 0; bin < num_bins; bin++) {
    const size_t begin = bin * log->num_rows / num_bins, end = (bin + 1) * log->num_rows / num_bins;
    double sum = 0, least = INFINITY, most = -INFINITY, count = 0;
    for (size_t row = begin; row < end; row++) {
      if (!isfinite(column[row])) continue;
      sum += column[row];
      count++;
      least = fmin(least, column[row]);
      most = fmax(most, column[row]);
    }
    if (count > 0) fprintf(out, "%.10g %.7g %.7g %.7g\n", steps[end - 1], sum / count, least, most);
  }
}

/* ---- The page ---- */

static void put_text(FILE *out, const char *text) {
  for (; *text; text++) {
    if (*text == '<' || *text == '>' || *text == '&')
      fprintf(out, "&#%d;", *text);
    else
      fputc(*text, out);
  }
}

static void put_table(FILE *out, const dr_plot_log *logs, int num_logs) {
  fputs("<table><tr><th>last line of</th>", out);
  for (int i = 0; i < num_logs; i++) {
    fputs("<th>", out);
    put_text(out, logs[i].name);
    fputs("</th>", out);
  }
  fputs("</tr>\n", out);
  for (int c = 0; c < logs[0].num_columns; c++) {
    if (!dr_plot_log_column(&logs[0], logs[0].names[c]) || strcmp(logs[0].names[c], "weights") == 0) continue;
    fputs("<tr><td>", out);
    put_text(out, logs[0].names[c]);
    fputs("</td>", out);
    for (int i = 0; i < num_logs; i++) {
      const double *column = dr_plot_log_column(&logs[i], logs[0].names[c]);
      const double last = column ? column[logs[i].num_rows - 1] : (double)NAN;
      if (isfinite(last))
        fprintf(out, "<td class=n>%.6g</td>", last);
      else
        fputs("<td></td>", out);
    }
    fputs("</tr>\n", out);
  }
  fputs("</table>\n", out);
}

/* The <svg> element of a file, without what an XML document begins with. malloc'ed. */
static char *read_svg(const char *picture) {
  char *text = NULL;
  size_t room = 0;
  FILE *file = fopen(picture, "re");
  if (!file) return NULL;
  const bool good = getdelim(&text, &room, '\0', file) > 0;
  fclose(file);
  char *svg = good ? strstr(text, "<svg") : NULL;
  if (svg) memmove(text, svg, strlen(svg) + 1);
  if (svg) return text;
  free(text);
  return NULL;
}

int dr_plot_page(const char *command, const dr_plot_log *logs, int num_logs, const char *picture, const char *path) {
  errno = 0;
  char *svg = read_svg(picture);
  FILE *out = svg ? fopen(picture, "we") : NULL;
  if (!out) {
    fprintf(stderr, "drover %s: '%s' cannot be written: %s\n", command, path, strerror(errno ? errno : EIO));
    free(svg);
    return -1;
  }
  fputs(
      "<!DOCTYPE html>\n<html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\n<title>",
      out);
  put_text(out, logs[0].name);
  fputs(
      "</title>\n<style>body{font:15px/1.4 system-ui,sans-serif;color:#222;max-width:1080px;margin:2em auto;padding:0 "
      "1em}svg{width:100%;height:auto}table{border-collapse:collapse;margin-top:1.5em}td,th{padding:.15em "
      ".8em;border-bottom:1px solid #e4e4e4;text-align:left}.n{text-align:right;font-variant-numeric:tabular-nums}"
      "</style>\n<h1>",
      out);
  for (int i = 0; i < num_logs; i++) {
    if (i) fputs(", ", out);
    put_text(out, logs[i].name);
  }
  fputs("</h1>\n", out);
  fputs(svg, out);
  put_table(out, logs, num_logs);
  free(svg);
  errno = 0;
  const bool failed = ferror(out) != 0;
  if (fclose(out) == 0 && !failed) return 0;
  fprintf(stderr, "drover %s: '%s' cannot be written: %s\n", command, path, strerror(errno ? errno : EIO));
  return -1;
}
