/* reference.c: reading a table of joint angles, and the spline through it. */
#include "env/gait/reference.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LINE = 256, MAX_FILE_BYTES = 1 << 20 };

static const double least_apart = 0.99e-4; /* cycles, of two knots: a spline through nearer ones whirls, or overflows */
static const char header[] = "percent,hip,knee,ankle";

/* ---- The table ---- */

typedef struct {
  const char *text, *end;
  const char *name;
  int number;          /* of `line`, from 1 */
  char line[MAX_LINE]; /* without its end and the blanks there */
  char *message;
  size_t message_size;
} reader;

static int fail(reader *r, const char *what) {
  snprintf(r->message, r->message_size, "reference %.200s, line %d: %s, got '%.60s'", r->name, r->number, what,
           r->line);
  return -1;
}

/* The next line that is neither empty nor a comment: 1, 0 at the end, -1 if it is longer than any right one. */
static int next_line(reader *r) {
  while (r->text < r->end) {
    const char *stop = memchr(r->text, '\n', (size_t)(r->end - r->text));
    if (!stop) stop = r->end;
    size_t length = (size_t)(stop - r->text);
    const char *from = r->text;
    r->text = stop < r->end ? stop + 1 : stop;
    r->number++;
    while (length && strchr(" \t\r", from[length - 1])) length--;
    if (length == 0 || from[0] == '#') continue;
    const bool fits = length < MAX_LINE && !memchr(from, '\0', length);
    snprintf(r->line, MAX_LINE, "%.*s", fits ? (int)length : 40, from);
    return fits ? 1 : fail(r, "a line must have four numbers");
  }
  return 0;
}

/* The four numbers of the line. */
static int read_row(reader *r, double row[1 + DR_GAIT_LEG_JOINTS]) {
  const char *at = r->line;
  for (int i = 0; i <= DR_GAIT_LEG_JOINTS; i++) {
    char *end;
    row[i] = strtod(at, &end);
    const char wanted = i < DR_GAIT_LEG_JOINTS ? ',' : '\0';
    if (end == at || *end != wanted || !isfinite(row[i]))
      return fail(r, "a row must be four numbers with commas between (percent,hip,knee,ankle)");
    if (i > 0 && fabs(row[i]) > 180) return fail(r, "angles are degrees, -180..180");
    at = end + 1;
  }
  return 0;
}

/* A row at 100 closes the cycle: it must say what the row at 0 says, and is left out. */
static int check_last_row(reader *r, const dr_gait_reference *ref, const double row[1 + DR_GAIT_LEG_JOINTS]) {
  bool closed = ref->num_knots > 0 && ref->phase[0] == 0;
  for (int j = 0; j < DR_GAIT_LEG_JOINTS && closed; j++)
    closed = fabs(ref->angle[0][j] - row[1 + j] * M_PI / 180) < 1e-9;
  if (!closed) return fail(r, "a row at 100 per cent must repeat the row at 0");
  if (next_line(r) != 0) return fail(r, "nothing may follow 100 per cent");
  return 0;
}

static int read_rows(reader *r, dr_gait_reference *ref) {
  int found;
  while ((found = next_line(r)) == 1) {
    double row[1 + DR_GAIT_LEG_JOINTS];
    if (read_row(r, row)) return -1;
    if (row[0] == 100) return check_last_row(r, ref, row);
    const int32_t n = ref->num_knots;
    const double phase = row[0] / 100;
    if (!(phase >= 0 && phase < 1) || (n > 0 && phase < ref->phase[n - 1] + least_apart))
      return fail(r, "percent must increase from row to row by 0.01 or more, from 0 or more to 100 or less");
    if (n > 0 && phase > 1 + ref->phase[0] - least_apart)
      return fail(r, "the last row must be 0.01 per cent or more before the first of the next cycle");
    if (n == DR_GAIT_MAX_ROWS) return fail(r, "a table has at most 1000 rows");
    ref->phase[n] = phase;
    for (int j = 0; j < DR_GAIT_LEG_JOINTS; j++) ref->angle[n][j] = row[1 + j] * M_PI / 180;
    ref->num_knots++;
  }
  return found;
}

/* ---- The spline ---- */

/* Length of the interval after knot i, the one after the last reaching over to the first. */
static double interval(const dr_gait_reference *ref, int32_t i) {
  return i + 1 < ref->num_knots ? ref->phase[i + 1] - ref->phase[i] : 1 + ref->phase[0] - ref->phase[i];
}

/* Second derivatives M of the periodic cubic spline (C. de Boor, A Practical Guide to Splines, chapter IV):
 *   h[i-1] M[i-1] + 2 (h[i-1] + h[i]) M[i] + h[i] M[i+1] = 6 ((y[i+1] - y[i]) / h[i] - (y[i] - y[i-1]) / h[i-1])
 * by Gauss and Seidel's iteration: each sweep at least halves the error, as a row's diagonal is twice the rest. */
static void fit(dr_gait_reference *ref) {
  const int32_t n = ref->num_knots;
  memset(ref->curvature, 0, sizeof ref->curvature);
  for (int sweep = 0; sweep < 80; sweep++)
    for (int32_t i = 0; i < n; i++) {
      const int32_t before = (i + n - 1) % n, after = (i + 1) % n;
      const double h0 = interval(ref, before), h1 = interval(ref, i);
      for (int j = 0; j < DR_GAIT_LEG_JOINTS; j++) {
        const double bend =
            6 * ((ref->angle[after][j] - ref->angle[i][j]) / h1 - (ref->angle[i][j] - ref->angle[before][j]) / h0);
        ref->curvature[i][j] =
            (bend - h0 * ref->curvature[before][j] - h1 * ref->curvature[after][j]) / (2 * (h0 + h1));
      }
    }
}

int dr_gait_reference_parse(dr_gait_reference *ref, const char *text, size_t size, const char *name, char *message,
                            size_t message_size) {
  reader r = {.text = text, .end = text + size, .name = name, .message = message, .message_size = message_size};
  ref->num_knots = 0;
  const int found = next_line(&r);
  if (found < 0) return -1;
  if (found == 0 || strcmp(r.line, header) != 0) return fail(&r, "the first line must be percent,hip,knee,ankle");
  if (read_rows(&r, ref)) return -1;
  if (ref->num_knots < DR_GAIT_MIN_ROWS) {
    snprintf(message, message_size, "reference %.200s: a cycle needs at least %d rows, got %d", name, DR_GAIT_MIN_ROWS,
             (int)ref->num_knots);
    return -1;
  }
  fit(ref);
  return 0;
}

int dr_gait_reference_load(dr_gait_reference *ref, const char *path, char *message, size_t message_size) {
  int result = -1;
  char *text = NULL;
  FILE *file = fopen(path, "rb");
  if (!file) {
    snprintf(message, message_size, "reference %.200s: cannot be opened: %s", path, strerror(errno));
    return -1;
  }
  text = malloc(MAX_FILE_BYTES + 1);
  if (!text) {
    snprintf(message, message_size, "reference %.200s: no memory", path);
    goto done;
  }
  const size_t size = fread(text, 1, MAX_FILE_BYTES + 1, file);
  if (ferror(file))
    snprintf(message, message_size, "reference %.200s: cannot be read: %s", path, strerror(errno));
  else if (size > MAX_FILE_BYTES)
    snprintf(message, message_size, "reference %.200s: a table has at most %d bytes", path, MAX_FILE_BYTES);
  else
    result = dr_gait_reference_parse(ref, text, size, path, message, message_size);

done:
  free(text);
  fclose(file);
  return result;
}

void dr_gait_reference_leg(const dr_gait_reference *ref, double phase, double angle[DR_GAIT_LEG_JOINTS],
                           double slope[DR_GAIT_LEG_JOINTS]) {
  phase -= floor(phase);
  if (phase < ref->phase[0]) phase += 1; /* in the interval that reaches over */
  int32_t low = 0, high = ref->num_knots;
  while (high - low > 1) { /* phase[low] <= phase, and < phase[high] if there is such a knot */
    const int32_t middle = (low + high) / 2;
    if (ref->phase[middle] <= phase)
      low = middle;
    else
      high = middle;
  }
  const int32_t next = (low + 1) % ref->num_knots;
  const double h = interval(ref, low), b = (phase - ref->phase[low]) / h, a = 1 - b;
  for (int j = 0; j < DR_GAIT_LEG_JOINTS; j++) {
    const double y0 = ref->angle[low][j], y1 = ref->angle[next][j];
    const double m0 = ref->curvature[low][j], m1 = ref->curvature[next][j];
    angle[j] = a * y0 + b * y1 + ((a * a * a - a) * m0 + (b * b * b - b) * m1) * h * h / 6;
    slope[j] = (y1 - y0) / h + ((3 * b * b - 1) * m1 - (3 * a * a - 1) * m0) * h / 6;
  }
}
