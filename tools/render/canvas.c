/* canvas.c: the shapes of canvas.h, in cairo's terms. */
#include "tools/render/canvas.h"

#include <math.h>

static double channel(uint32_t colour, int shift) { return (double)(colour >> shift & 255u) / 255; }

void dr_set_colour(cairo_t *canvas, uint32_t colour, double alpha) {
  cairo_set_source_rgba(canvas, channel(colour, 16), channel(colour, 8), channel(colour, 0), alpha);
}

uint32_t dr_mix(uint32_t a, uint32_t b, double t) {
  const double s = t < 0 ? 0 : t > 1 ? 1 : t;
  uint32_t out = 0;
  for (int shift = 0; shift < 24; shift += 8)
    out |= (uint32_t)lround(255 * ((1 - s) * channel(a, shift) + s * channel(b, shift))) << shift;
  return out;
}

void dr_fill_background(cairo_t *canvas, double width, double height, uint32_t top, uint32_t bottom) {
  cairo_pattern_t *fade = cairo_pattern_create_linear(0, 0, 0, height);
  cairo_pattern_add_color_stop_rgb(fade, 0, channel(top, 16), channel(top, 8), channel(top, 0));
  cairo_pattern_add_color_stop_rgb(fade, 1, channel(bottom, 16), channel(bottom, 8), channel(bottom, 0));
  cairo_set_source(canvas, fade);
  cairo_rectangle(canvas, 0, 0, width, height);
  cairo_fill(canvas);
  cairo_pattern_destroy(fade);
}

void dr_use_metres(cairo_t *canvas, double width, double height, double metres, double x, double y) {
  const double scale = width / metres;
  cairo_translate(canvas, width / 2, height / 2);
  cairo_scale(canvas, scale, -scale);
  cairo_translate(canvas, -x, -y);
}

void dr_draw_line(cairo_t *canvas, double x0, double y0, double x1, double y1, double thickness) {
  cairo_set_line_width(canvas, thickness);
  cairo_set_line_cap(canvas, CAIRO_LINE_CAP_ROUND);
  cairo_move_to(canvas, x0, y0);
  cairo_line_to(canvas, x1, y1);
  cairo_stroke(canvas);
}

void dr_draw_disc(cairo_t *canvas, double x, double y, double radius) {
  cairo_new_sub_path(canvas);
  cairo_arc(canvas, x, y, radius, 0, 2 * M_PI);
  cairo_fill(canvas);
}

void dr_draw_box(cairo_t *canvas, double x, double y, double width, double height, double corner) {
  cairo_new_sub_path(canvas);
  cairo_arc(canvas, x + corner, y + corner, corner, M_PI, 1.5 * M_PI);
  cairo_arc(canvas, x + width - corner, y + corner, corner, 1.5 * M_PI, 2 * M_PI);
  cairo_arc(canvas, x + width - corner, y + height - corner, corner, 0, 0.5 * M_PI);
  cairo_arc(canvas, x + corner, y + height - corner, corner, 0.5 * M_PI, M_PI);
  cairo_close_path(canvas);
  cairo_fill(canvas);
}

void dr_draw_limb(cairo_t *canvas, double x0, double y0, double x1, double y1, double thickness, uint32_t colour) {
  dr_set_colour(canvas, dr_mix(colour, DR_INK, 0.35), 1);
  dr_draw_line(canvas, x0, y0, x1, y1, thickness);
  dr_set_colour(canvas, colour, 1);
  dr_draw_line(canvas, x0, y0, x1, y1, 0.8 * thickness);
}

/* The head of an arrow: its tip, the direction it points to, and the thickness of its shaft. */
static void draw_head(cairo_t *canvas, double x, double y, double angle, double thickness) {
  const double length = 3 * thickness, half = 1.7 * thickness;
  const double c = cos(angle), s = sin(angle);
  cairo_move_to(canvas, x, y);
  cairo_line_to(canvas, x - length * c - half * s, y - length * s + half * c);
  cairo_line_to(canvas, x - length * c + half * s, y - length * s - half * c);
  cairo_close_path(canvas);
  cairo_fill(canvas);
}

void dr_draw_arrow(cairo_t *canvas, double x0, double y0, double x1, double y1, double thickness) {
  const double length = hypot(x1 - x0, y1 - y0);
  if (length < thickness) return;
  const double shaft = length > 2.5 * thickness ? 1 - 2.5 * thickness / length : 0;
  cairo_set_line_width(canvas, thickness);
  cairo_set_line_cap(canvas, CAIRO_LINE_CAP_BUTT);
  cairo_move_to(canvas, x0, y0);
  cairo_line_to(canvas, x0 + shaft * (x1 - x0), y0 + shaft * (y1 - y0));
  cairo_stroke(canvas);
  draw_head(canvas, x1, y1, atan2(y1 - y0, x1 - x0), thickness);
}

void dr_draw_turn(cairo_t *canvas, double x, double y, double radius, double from, double turn, double thickness) {
  const double head = 2.5 * thickness / radius; /* the angle that the head covers */
  if (fabs(turn) * radius < thickness) return;
  const double to = from + turn, end = fabs(turn) > head ? to - copysign(head, turn) : from;
  cairo_set_line_width(canvas, thickness);
  cairo_set_line_cap(canvas, CAIRO_LINE_CAP_BUTT);
  cairo_new_sub_path(canvas);
  if (turn > 0)
    cairo_arc(canvas, x, y, radius, from, end);
  else
    cairo_arc_negative(canvas, x, y, radius, from, end);
  cairo_stroke(canvas);
  /* A straight head on a round path looks right when it points along the chord. */
  const double along = to + copysign(M_PI / 2 - head / 2, turn);
  draw_head(canvas, x + radius * cos(to), y + radius * sin(to), along, thickness);
}

void dr_set_font(cairo_t *canvas, double size, bool bold) {
  cairo_select_font_face(canvas, "sans-serif", CAIRO_FONT_SLANT_NORMAL,
                         bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
  cairo_set_font_size(canvas, size);
}

double dr_text_width(cairo_t *canvas, const char *text) {
  cairo_text_extents_t extents;
  cairo_text_extents(canvas, text, &extents);
  return extents.x_advance;
}

void dr_draw_text(cairo_t *canvas, const char *text, double x, double y, dr_align align) {
  const double share = align == DR_LEFT ? 0 : align == DR_CENTRE ? 0.5 : 1;
  cairo_move_to(canvas, x - share * dr_text_width(canvas, text), y);
  cairo_show_text(canvas, text);
}
