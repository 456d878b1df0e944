/* chart.c: the drawing of an env that nothing else is known about: its latest observations and rewards over time. A few
 * numbers are lines, one lane each; many are a map, a row each, blue below and red above the row's mean. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tools/render/canvas.h"
#include "tools/render/picture.h"

enum { WINDOW = 200, MAX_LANES = 10, MAX_ROWS = 400 };

typedef struct chart {
  int width, height;
  int32_t num_rows;   /* observed numbers that are drawn */
  int64_t num_seen;   /* moments so far; the latest WINDOW are kept */
  float *values;      /* [WINDOW x num_rows], moment k in line k % WINDOW */
  double *rewards;    /* [WINDOW] */
  bool *first, *last; /* [WINDOW] the moment begins, ends an episode */
} chart;

static bool is_anything(const dr_moment *moment) {
  (void)moment;
  return true;
}

static double any_rate(const dr_moment *moment) {
  (void)moment;
  return 30;
}

static void close_chart(void *self) {
  chart *c = self;
  if (!c) return;
  free(c->values);
  free(c->rewards);
  free(c->first);
  free(c->last);
  free(c);
}

static int open_chart(void **self, const dr_moment *moment, const dr_picture_options *options, char *message) {
  chart *c = calloc(1, sizeof *c);
  if (c) {
    const int32_t size = moment->spec->observation_size;
    *c = (chart){.width = options->width, .height = options->height, .num_rows = size < MAX_ROWS ? size : MAX_ROWS};
    c->values = calloc((size_t)WINDOW * (size_t)c->num_rows, sizeof *c->values);
    c->rewards = calloc(WINDOW, sizeof *c->rewards);
    c->first = calloc(WINDOW, sizeof *c->first);
    c->last = calloc(WINDOW, sizeof *c->last);
    if (c->values && c->rewards && c->first && c->last) {
      *self = c;
      return 0;
    }
  }
  close_chart(c);
  snprintf(message, DR_PICTURE_MESSAGE, "no memory for a chart");
  return -1;
}

static void notice_moment(void *self, const dr_moment *moment) {
  chart *c = self;
  const size_t at = (size_t)(c->num_seen++ % WINDOW);
  memcpy(c->values + at * (size_t)c->num_rows, moment->observation, (size_t)c->num_rows * sizeof *c->values);
  c->rewards[at] = moment->reward;
  c->first[at] = moment->step == 0;
  c->last[at] = moment->terminated || moment->truncated;
}

/* ---- One number over time ---- */

static int64_t oldest(const chart *c) { return c->num_seen > WINDOW ? c->num_seen - WINDOW : 0; }

/* Row -1 is the reward. */
static double value_at(const chart *c, int32_t row, int64_t moment) {
  const size_t at = (size_t)(moment % WINDOW);
  return row < 0 ? c->rewards[at] : (double)c->values[at * (size_t)c->num_rows + (size_t)row];
}

static void find_range(const chart *c, int32_t row, double *low, double *high) {
  *low = INFINITY, *high = -INFINITY;
  for (int64_t k = oldest(c); k < c->num_seen; k++) {
    if (row < 0 && c->first[k % WINDOW]) continue;
    *low = fmin(*low, value_at(c, row, k));
    *high = fmax(*high, value_at(c, row, k));
  }
  if (!(*low <= *high)) *low = *high = 0;
}

typedef struct area {
  double x, y, width, height;
} area;

static double x_of(const area *a, const chart *c, int64_t moment) {
  return a->x + a->width * (double)(moment - oldest(c)) / (WINDOW - 1);
}

static void draw_lane(cairo_t *canvas, const chart *c, int32_t row, const area *a, uint32_t colour) {
  double low, high;
  find_range(c, row, &low, &high);
  const double middle = (low + high) / 2, half = fmax((high - low) / 2, 1e-9 + 1e-3 * fabs(middle));
  bool drawing = false;
  for (int64_t k = oldest(c); k < c->num_seen; k++) {
    if (c->first[k % WINDOW]) drawing = false;
    if (row < 0 && c->first[k % WINDOW]) continue;
    const double y = a->y + a->height * (0.5 - 0.42 * (value_at(c, row, k) - middle) / half);
    if (drawing)
      cairo_line_to(canvas, x_of(a, c, k), y);
    else
      cairo_move_to(canvas, x_of(a, c, k), y);
    drawing = true;
  }
  dr_set_colour(canvas, colour, 1);
  cairo_set_line_width(canvas, fmax(1.2, c->height / 300.0));
  cairo_set_line_join(canvas, CAIRO_LINE_JOIN_ROUND);
  cairo_stroke(canvas);
}

static void draw_label(cairo_t *canvas, const chart *c, int32_t row, const area *a, const char *name) {
  char words[48];
  const double size = fmin(fmax(9, c->height * 0.028), a->height * 0.55);
  if (size < 6) return;
  dr_set_font(canvas, size, false);
  dr_set_colour(canvas, DR_SLATE, 1);
  dr_draw_text(canvas, name, a->x - size * 0.6, a->y + a->height / 2 + size * 0.35, DR_RIGHT);
  snprintf(words, sizeof words, "%.3g", c->num_seen ? value_at(c, row, c->num_seen - 1) : 0);
  dr_set_colour(canvas, DR_INK, 1);
  dr_draw_text(canvas, words, a->x + a->width + size * 0.5, a->y + a->height / 2 + size * 0.35, DR_LEFT);
}

/* ---- Many numbers over time ---- */

static uint32_t signed_colour(double x) { return x < 0 ? dr_mix(DR_WHITE, DR_BLUE, -x) : dr_mix(DR_WHITE, DR_RED, x); }

static int draw_map(cairo_t *canvas, const chart *c, const area *a) {
  cairo_surface_t *map = cairo_image_surface_create(CAIRO_FORMAT_RGB24, WINDOW, c->num_rows);
  if (cairo_surface_status(map) != CAIRO_STATUS_SUCCESS) {
    cairo_surface_destroy(map);
    return -1;
  }
  unsigned char *pixels = cairo_image_surface_get_data(map);
  const int stride = cairo_image_surface_get_stride(map);
  for (int32_t row = 0; row < c->num_rows; row++) {
    double low, high;
    find_range(c, row, &low, &high);
    for (int x = 0; x < WINDOW; x++) {
      const int64_t k = oldest(c) + x;
      const double scaled = high > low && k < c->num_seen ? 2 * (value_at(c, row, k) - low) / (high - low) - 1 : 0;
      const uint32_t colour = k < c->num_seen ? signed_colour(scaled) : DR_PAPER;
      memcpy(pixels + (size_t)row * (size_t)stride + (size_t)x * 4, &colour, 4);
    }
  }
  cairo_surface_mark_dirty(map);
  cairo_save(canvas);
  cairo_translate(canvas, a->x, a->y);
  cairo_scale(canvas, a->width / WINDOW, a->height / c->num_rows);
  cairo_set_source_surface(canvas, map, 0, 0);
  cairo_pattern_set_filter(cairo_get_source(canvas), CAIRO_FILTER_NEAREST);
  cairo_paint(canvas);
  cairo_restore(canvas);
  cairo_surface_destroy(map);
  return 0;
}

/* ---- All of it ---- */

/* A line where an episode ended. */
static void draw_ends(cairo_t *canvas, const chart *c, const area *a) {
  dr_set_colour(canvas, DR_ORANGE, 0.6);
  for (int64_t k = oldest(c); k < c->num_seen; k++)
    if (c->last[k % WINDOW]) dr_draw_line(canvas, x_of(a, c, k), a->y, x_of(a, c, k), a->y + a->height, 1);
}

static int draw_chart(void *self, const dr_moment *moment, cairo_t *canvas, char *message) {
  (void)moment;
  const chart *c = self;
  const double width = c->width, height = c->height;
  const bool lanes = c->num_rows <= MAX_LANES;
  const double shares = lanes ? c->num_rows + 1 : 6; /* of the height; the reward has one */
  const area all = {width * 0.16, height * 0.04, width * 0.70, height * 0.86};
  area reward = all;
  reward.height = all.height / shares;
  reward.y = all.y + all.height - reward.height;
  dr_fill_background(canvas, width, height, DR_WHITE, DR_WHITE);

  if (lanes) {
    for (int32_t row = 0; row < c->num_rows; row++) {
      char name[32];
      const area lane = {all.x, all.y + row * reward.height, all.width, reward.height};
      dr_set_colour(canvas, row % 2 ? DR_WHITE : DR_PAPER, 1);
      cairo_rectangle(canvas, lane.x, lane.y, lane.width, lane.height);
      cairo_fill(canvas);
      draw_lane(canvas, c, row, &lane, DR_BLUE);
      snprintf(name, sizeof name, "obs[%d]", row);
      draw_label(canvas, c, row, &lane, name);
    }
  } else {
    const area map = {all.x, all.y, all.width, all.height - 1.1 * reward.height};
    if (draw_map(canvas, c, &map)) {
      snprintf(message, DR_PICTURE_MESSAGE, "no memory for a chart");
      return -1;
    }
    const double size = fmax(9, height * 0.028);
    char last[32];
    dr_set_font(canvas, size, false);
    dr_set_colour(canvas, DR_SLATE, 1);
    dr_draw_text(canvas, "obs[0]", map.x - size * 0.6, map.y + size, DR_RIGHT);
    snprintf(last, sizeof last, "obs[%d]", c->num_rows - 1);
    dr_draw_text(canvas, last, map.x - size * 0.6, map.y + map.height, DR_RIGHT);
  }
  dr_set_colour(canvas, DR_MIST, 0.6);
  cairo_rectangle(canvas, reward.x, reward.y, reward.width, reward.height);
  cairo_fill(canvas);
  draw_lane(canvas, c, -1, &reward, DR_TEAL);
  draw_label(canvas, c, -1, &reward, "reward");
  draw_ends(canvas, c, &all);
  return 0;
}

const dr_picture dr_picture_chart = {.fits = is_anything,
                                     .frames_per_second = any_rate,
                                     .open = open_chart,
                                     .notice = notice_moment,
                                     .draw = draw_chart,
                                     .close = close_chart};
