/* png.c: a still, or a sheet of frames in rows, as a PNG. */
#include <stdio.h>
#include <stdlib.h>

#include "tools/render/canvas.h"
#include "tools/render/film.h"

enum { GAP = 4 }; /* pixels between the frames of a sheet */

typedef struct sheet {
  dr_film_options options;
  char path[4096 + 64];
  cairo_surface_t *surface;
  cairo_t *canvas;
  int num_frames;
} sheet;

static void close_sheet(void *self) {
  sheet *s = self;
  if (!s) return;
  if (s->canvas) cairo_destroy(s->canvas);
  if (s->surface) cairo_surface_destroy(s->surface);
  free(s);
}

static int open_sheet(void **self, const char *path, const dr_film_options *options, char *message) {
  sheet *s = calloc(1, sizeof *s);
  if (!s) {
    snprintf(message, DR_FILM_MESSAGE, "out of memory");
    return -1;
  }
  s->options = *options;
  snprintf(s->path, sizeof s->path, "%s", path);
  const int columns = options->columns, rows = (options->num_frames + columns - 1) / columns;
  const int width = columns * (options->width + GAP) - GAP, height = rows * (options->height + GAP) - GAP;
  s->surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, width, height);
  s->canvas = cairo_create(s->surface);
  if (cairo_status(s->canvas) != CAIRO_STATUS_SUCCESS) {
    snprintf(message, DR_FILM_MESSAGE, "cannot make a picture of %d x %d pixels: %s", width, height,
             cairo_status_to_string(cairo_status(s->canvas)));
    close_sheet(s);
    return -1;
  }
  dr_set_colour(s->canvas, DR_WHITE, 1);
  cairo_paint(s->canvas);
  *self = s;
  return 0;
}

static int add_to_sheet(void *self, cairo_surface_t *frame, char *message) {
  (void)message;
  sheet *s = self;
  const int column = s->num_frames % s->options.columns, row = s->num_frames / s->options.columns;
  s->num_frames++;
  cairo_set_source_surface(s->canvas, frame, column * (s->options.width + GAP), row * (s->options.height + GAP));
  cairo_paint(s->canvas);
  return 0;
}

static int write_sheet(void *self, char *message) {
  sheet *s = self;
  const cairo_status_t status = cairo_surface_write_to_png(s->surface, s->path);
  if (status == CAIRO_STATUS_SUCCESS) return 0;
  snprintf(message, DR_FILM_MESSAGE, "cannot write %.900s: %s", s->path, cairo_status_to_string(status));
  return -1;
}

const dr_film_type dr_film_png = {open_sheet, add_to_sheet, write_sheet, close_sheet};
