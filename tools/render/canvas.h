/* canvas.h: one set of colours and shapes for all vector drawings. */
#ifndef DR_TOOLS_RENDER_CANVAS_H
#define DR_TOOLS_RENDER_CANVAS_H

#include <cairo.h>
#include <stdbool.h>
#include <stdint.h>

/* 0xRRGGBB */
enum {
  DR_WHITE = 0xffffff,
  DR_PAPER = 0xf6f7f9,
  DR_MIST = 0xdde3ea,
  DR_STONE = 0x9aa7b5,
  DR_SLATE = 0x5b6b7c,
  DR_INK = 0x26323f,
  DR_BLUE = 0x3a74b4,
  DR_SKY = 0x8fb8de,
  DR_TEAL = 0x2a9d8f,
  DR_ORANGE = 0xe58a3c,
  DR_RED = 0xc8433f,
  DR_GREEN = 0x6aa84f
};

typedef enum dr_align { DR_LEFT, DR_CENTRE, DR_RIGHT } dr_align;

void dr_set_colour(cairo_t *canvas, uint32_t colour, double alpha);

/* Fill all of it, from `top` to `bottom`. */
void dr_fill_background(cairo_t *canvas, double width, double height, uint32_t top, uint32_t bottom);

/* From here on (x, y) are metres, y upwards: `metres` fit into the width, (x, y) is in the middle of the picture. */
void dr_use_metres(cairo_t *canvas, double width, double height, double metres, double x, double y);

/* Shapes in the present units and colour. */
void dr_draw_line(cairo_t *canvas, double x0, double y0, double x1, double y1, double thickness);
void dr_draw_disc(cairo_t *canvas, double x, double y, double radius);
void dr_draw_box(cairo_t *canvas, double x, double y, double width, double height, double corner);
/* A thick line with round ends, filled with `colour` and edged with a darker tone of it. */
void dr_draw_limb(cairo_t *canvas, double x0, double y0, double x1, double y1, double thickness, uint32_t colour);
/* A straight arrow whose head has its tip at (x1, y1). Nothing if it is shorter than its thickness. */
void dr_draw_arrow(cairo_t *canvas, double x0, double y0, double x1, double y1, double thickness);
/* An arc with a head, around (x, y) from angle `from` over `turn` radians; counter-clockwise is positive. */
void dr_draw_turn(cairo_t *canvas, double x, double y, double radius, double from, double turn, double thickness);

/* Text is in pixels: with the canvas as it was made. */
void dr_set_font(cairo_t *canvas, double size, bool bold);
double dr_text_width(cairo_t *canvas, const char *text);
void dr_draw_text(cairo_t *canvas, const char *text, double x, double y, dr_align align);

/* `a` where t = 0, `b` where t = 1. */
uint32_t dr_mix(uint32_t a, uint32_t b, double t);

#endif
