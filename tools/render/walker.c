/* walker.c: gait2d from its right side: bones, muscles coloured by their activation, the reference pose as a ghost. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "env/gait/episode.h"
#include "env/gait/gait.h"
#include "tools/render/canvas.h"
#include "tools/render/picture.h"

enum { RIGHT, LEFT, SIDES };
enum {
  BONE = 0xb9c4d0,
  FAR_BONE = 0xe1e7ed,
  TRUNK = 0xcfd8e1,
  GHOST = 0x8fa9c4,
  REST = 0x4f97d7,
  HALF = 0xb463b8,
  ACTIVE = 0xe0302a
};

/* Metres of the world that fit above each other, and the height in their middle. */
static const double SHOWN = 2.2, MIDDLE = 0.785;

typedef struct point {
  double x, z;
} point;

/* A pose as points in the x-z plane. */
typedef struct figure {
  point pelvis, waist, neck, head;
  point hip[SIDES], knee[SIDES], ankle[SIDES], heel[SIDES], toe[SIDES];
} figure;

typedef struct walker {
  int width, height;
  mjData *reference; /* in the reference's pose */
  const dr_moment *moment;
} walker;

static bool is_walker(const dr_moment *moment) { return moment->type->step == dr_gait_finish; }

static double walker_rate(const dr_moment *moment) {
  (void)moment;
  return 1 / DR_GAIT_STEP_TIME;
}

/* ---- Opening ---- */

static void make_reference(void *context) {
  walker *w = context;
  dr_gait_view view;
  dr_gait_look(w->moment->shared, w->moment->state, &view);
  w->reference = dr_mj_make_data(view.model);
}

static void close_walker(void *self) {
  walker *w = self;
  if (w && w->reference) mj_deleteData(w->reference);
  free(w);
}

static int open_walker(void **self, const dr_moment *moment, const dr_picture_options *options, char *message) {
  walker *w = calloc(1, sizeof *w);
  if (w) {
    *w = (walker){.width = options->width, .height = options->height, .moment = moment};
    if (dr_mj_guard(make_reference, w) && w->reference) {
      *self = w;
      return 0;
    }
  }
  close_walker(w);
  snprintf(message, DR_PICTURE_MESSAGE, "no memory for the walker's reference");
  return -1;
}

/* ---- Bones ---- */

static point at(const mjtNum *xpos) { return (point){xpos[0], xpos[2]}; }

/* A point of a body, by its place in the body's own frame. */
static point on_body(const mjData *d, int body, double x, double z) {
  const mjtNum *place = d->xpos + 3 * body, *turn = d->xmat + 9 * body;
  return (point){place[0] + turn[0] * x + turn[2] * z, place[2] + turn[6] * x + turn[8] * z};
}

static figure figure_of(const dr_gait_world *world, const mjData *d) {
  const int32_t *body = world->body;
  figure f = {.pelvis = on_body(d, body[0], -0.09, 0.0),
              .waist = on_body(d, body[1], 0, 0.02),
              .neck = on_body(d, body[1], -0.03, 0.45),
              .head = on_body(d, body[1], 0.01, 0.62)};
  for (int side = 0; side < SIDES; side++) {
    f.hip[side] = at(d->xpos + 3 * body[2 + 3 * side]);
    f.knee[side] = at(d->xpos + 3 * body[3 + 3 * side]);
    f.ankle[side] = at(d->xpos + 3 * body[4 + 3 * side]);
    f.heel[side] = at(d->geom_xpos + 3 * world->sole[2 * side]);
    f.toe[side] = at(d->geom_xpos + 3 * world->sole[2 * side + 1]);
  }
  return f;
}

/* A limb that is `a` thick (as a radius) at one end and `b` at the other. */
static void trace_limb(cairo_t *canvas, point from, point to, double a, double b) {
  const double angle = atan2(to.z - from.z, to.x - from.x);
  const double length = hypot(to.x - from.x, to.z - from.z);
  /* Where the common tangents touch. */
  const double lean = length > fabs(a - b) ? acos((a - b) / length) : M_PI / 2;
  cairo_new_sub_path(canvas);
  cairo_arc(canvas, from.x, from.z, a, angle + lean, angle - lean + 2 * M_PI);
  cairo_arc(canvas, to.x, to.z, b, angle - lean, angle + lean);
  cairo_close_path(canvas);
}

static void trace_foot(cairo_t *canvas, point ankle, point heel, point toe) {
  cairo_new_sub_path(canvas);
  cairo_move_to(canvas, ankle.x, ankle.z);
  cairo_line_to(canvas, heel.x, heel.z);
  cairo_line_to(canvas, toe.x, toe.z);
  cairo_close_path(canvas);
}

/* Fill what was traced, with an edge; edge < 0: without. */
static void fill(cairo_t *canvas, uint32_t colour, double edge) {
  dr_set_colour(canvas, colour, 1);
  cairo_fill_preserve(canvas);
  dr_set_colour(canvas, edge < 0 ? colour : dr_mix(colour, DR_INK, 0.45), 1);
  cairo_set_line_width(canvas, fabs(edge));
  cairo_set_line_join(canvas, CAIRO_LINE_JOIN_ROUND);
  cairo_stroke(canvas);
}

static void draw_leg(cairo_t *canvas, const figure *f, int side, uint32_t colour, double edge) {
  /* The foot's outline is as wide as its soles are round. */
  trace_foot(canvas, f->ankle[side], f->heel[side], f->toe[side]);
  if (edge >= 0) fill(canvas, dr_mix(colour, DR_INK, 0.45), -0.05);
  trace_foot(canvas, f->ankle[side], f->heel[side], f->toe[side]);
  fill(canvas, colour, -0.042);
  trace_limb(canvas, f->knee[side], f->ankle[side], 0.036, 0.024);
  fill(canvas, colour, edge);
  trace_limb(canvas, f->hip[side], f->knee[side], 0.050, 0.036);
  fill(canvas, colour, edge);
}

static void draw_trunk(cairo_t *canvas, const figure *f, uint32_t colour, double edge) {
  trace_limb(canvas, f->waist, f->neck, 0.075, 0.105);
  fill(canvas, colour, edge);
  trace_limb(canvas, f->pelvis, f->waist, 0.085, 0.075);
  fill(canvas, colour, edge);
  cairo_new_sub_path(canvas);
  cairo_arc(canvas, f->head.x, f->head.z, 0.095, 0, 2 * M_PI);
  fill(canvas, colour, edge);
}

/* All of it in one tone, as if it were one shape. */
static void draw_ghost(cairo_t *canvas, const figure *f) {
  cairo_push_group(canvas);
  draw_leg(canvas, f, LEFT, GHOST, -0.004);
  draw_leg(canvas, f, RIGHT, GHOST, -0.004);
  draw_trunk(canvas, f, GHOST, -0.004);
  cairo_pop_group_to_source(canvas);
  cairo_paint_with_alpha(canvas, 0.30);
}

/* ---- Muscles ---- */

static double activation_of(const mjModel *m, const mjData *d, int muscle) {
  const double a = m->na > 0 ? d->act[muscle] : d->ctrl[muscle];
  return a < 0 ? 0 : a > 1 ? 1 : a;
}

static uint32_t colour_of(double activation) {
  return activation < 0.5 ? dr_mix(REST, HALF, 2 * activation) : dr_mix(HALF, ACTIVE, 2 * activation - 1);
}

/* The point of a muscle's path at a share of its length. */
static point along_path(const mjtNum *points, int count, double share) {
  double total = 0;
  for (int i = 1; i < count; i++)
    total += hypot(points[3 * i] - points[3 * i - 3], points[3 * i + 2] - points[3 * i - 1]);
  double left = share * total;
  for (int i = 1; i < count; i++) {
    const point a = at(points + 3 * i - 3), b = at(points + 3 * i);
    const double length = hypot(b.x - a.x, b.z - a.z);
    if (left <= length && length > 0) {
      const double t = left / length;
      return (point){a.x + t * (b.x - a.x), a.z + t * (b.z - a.z)};
    }
    left -= length;
  }
  return at(points + 3 * (count - 1));
}

/* The belly: a spindle, `most` thick in its middle, along the middle part of the path. */
static void draw_belly(cairo_t *canvas, const mjtNum *points, int count, double most, double edge) {
  enum { PIECES = 24 };
  const double from = 0.13, to = 0.87;
  point before = along_path(points, count, from);
  for (int i = 1; i <= PIECES; i++) {
    const double t = (double)i / PIECES;
    const point here = along_path(points, count, from + t * (to - from));
    const double thickness = most * (0.3 + 0.7 * sin(M_PI * (t - 0.5 / PIECES)));
    dr_draw_line(canvas, before.x, before.z, here.x, here.z, thickness + edge);
    before = here;
  }
}

/* A thin tendon from end to end, and on it the belly: thick and red where the muscle is active. */
static void draw_muscle(cairo_t *canvas, const mjtNum *points, int count, double activation, bool far) {
  const double most = 0.024 + 0.034 * activation;
  uint32_t colour = colour_of(activation);
  if (far) colour = dr_mix(colour, DR_WHITE, 0.45);
  dr_set_colour(canvas, dr_mix(colour, far ? DR_WHITE : DR_SLATE, 0.5), 1);
  for (int i = 1; i < count; i++)
    dr_draw_line(canvas, points[3 * i - 3], points[3 * i - 1], points[3 * i], points[3 * i + 2], 0.009);
  dr_set_colour(canvas, dr_mix(colour, DR_INK, far ? 0.15 : 0.4), 1);
  draw_belly(canvas, points, count, most, 0.007);
  dr_set_colour(canvas, colour, 1);
  draw_belly(canvas, points, count, most, 0);
}

/* The muscles of one side are one half of all, in the model's order. */
static void draw_muscles(cairo_t *canvas, const mjModel *m, const mjData *d, int side) {
  for (int i = 0; i < DR_GAIT_MUSCLES / SIDES; i++) {
    const int muscle = side * (DR_GAIT_MUSCLES / SIDES) + i, tendon = m->actuator_trnid[2 * muscle];
    draw_muscle(canvas, d->wrap_xpos + 3 * d->ten_wrapadr[tendon], d->ten_wrapnum[tendon], activation_of(m, d, muscle),
                side == LEFT);
  }
}

/* ---- Ground and legend ---- */

static void draw_ground(cairo_t *canvas, const walker *w, double x) {
  const double scale = w->height / SHOWN, level = w->height * 0.5 + MIDDLE * scale;
  const double half = 0.5 * w->width / scale, size = fmax(9, w->height * 0.028);
  dr_fill_background(canvas, w->width, w->height, DR_WHITE, 0xf1f4f7);
  dr_set_colour(canvas, 0xe6ebe8, 1);
  cairo_rectangle(canvas, 0, level, w->width, w->height - level);
  cairo_fill(canvas);
  dr_set_colour(canvas, DR_SLATE, 1);
  dr_draw_line(canvas, 0, level, w->width, level, fmax(1.5, w->height / 240.0));
  dr_set_font(canvas, size, false);
  for (int i = (int)ceil((x - half) * 4) - 4; i <= (int)floor((x + half) * 4) + 4; i++) {
    const double column = w->width / 2.0 + (i / 4.0 - x) * scale;
    const bool metre = i % 4 == 0;
    char words[24];
    dr_set_colour(canvas, DR_SLATE, metre ? 1 : 0.5);
    dr_draw_line(canvas, column, level, column, level + (metre ? 0.06 : 0.03) * scale, metre ? 1.5 : 1);
    snprintf(words, sizeof words, "%d m", i / 4);
    if (metre) dr_draw_text(canvas, words, column, level + 0.06 * scale + size, DR_CENTRE);
  }
}

static void draw_legend(cairo_t *canvas, const walker *w) {
  const double size = fmax(9, w->height * 0.028), bar = 6 * size;
  const double y = 1.1 * size, x = w->width - bar - 1.7 * size;
  cairo_pattern_t *colours = cairo_pattern_create_linear(x, 0, x + bar, 0);
  for (int i = 0; i <= 4; i++) {
    const uint32_t c = colour_of(i / 4.0);
    cairo_pattern_add_color_stop_rgb(colours, i / 4.0, (double)(c >> 16 & 255u) / 255, (double)(c >> 8 & 255u) / 255,
                                     (double)(c & 255u) / 255);
  }
  cairo_rectangle(canvas, x, y, bar, 0.55 * size);
  cairo_set_source(canvas, colours);
  cairo_fill(canvas);
  cairo_pattern_destroy(colours);
  dr_set_font(canvas, size, false);
  dr_set_colour(canvas, DR_SLATE, 1);
  dr_draw_text(canvas, "activation 0", x - 0.5 * size, y + 0.7 * size, DR_RIGHT);
  dr_draw_text(canvas, "1", x + bar + 0.4 * size, y + 0.7 * size, DR_LEFT);
  dr_set_colour(canvas, GHOST, 0.45);
  dr_draw_disc(canvas, 1.4 * size, y + 0.3 * size, 0.45 * size);
  dr_set_colour(canvas, DR_SLATE, 1);
  dr_draw_text(canvas, "reference", 2.3 * size, y + 0.7 * size, DR_LEFT);
}

/* ---- All of it ---- */

static void pose_reference(void *context) {
  walker *w = context;
  dr_gait_view view;
  dr_gait_look(w->moment->shared, w->moment->state, &view);
  memcpy(w->reference->qpos, view.qpos, sizeof view.qpos);
  mj_kinematics(view.model, w->reference);
}

static int draw_walker(void *self, const dr_moment *moment, cairo_t *canvas, char *message) {
  walker *w = self;
  const dr_gait_world *world = moment->shared;
  dr_gait_view view;
  w->moment = moment;
  const bool posed = dr_mj_guard(pose_reference, w);
  dr_gait_look(moment->shared, moment->state, &view);
  if (!posed || !view.data) {
    snprintf(message, DR_PICTURE_MESSAGE, "the walker's state cannot be drawn: %.300s", posed ? "lost" : dr_mj_error());
    return -1;
  }
  const figure ghost = figure_of(world, w->reference), body = figure_of(world, view.data);
  const double edge = 0.008, x = view.data->qpos[0];
  draw_ground(canvas, w, x);
  draw_legend(canvas, w);
  cairo_save(canvas);
  dr_use_metres(canvas, w->width, w->height, SHOWN * w->width / w->height, x, MIDDLE);
  draw_ghost(canvas, &ghost);
  draw_leg(canvas, &body, LEFT, FAR_BONE, edge);
  draw_muscles(canvas, view.model, view.data, LEFT);
  draw_trunk(canvas, &body, TRUNK, edge);
  draw_leg(canvas, &body, RIGHT, BONE, edge);
  draw_muscles(canvas, view.model, view.data, RIGHT);
  cairo_restore(canvas);
  return 0;
}

static void describe_walker(const dr_moment *moment, char *out, size_t size) {
  dr_gait_view view;
  dr_gait_look(moment->shared, moment->state, &view);
  double speed = view.data ? view.data->qvel[0] : 0;
  for (int i = 0; moment->infos && i < DR_GAIT_INFOS; i++)
    if (strcmp(dr_gait_info_names[i], "speed") == 0) speed = (double)moment->infos[i];
  snprintf(out, size, "%.2f m/s   %.2f s", speed, moment->step * DR_GAIT_STEP_TIME);
}

const dr_picture dr_picture_walker = {.fits = is_walker,
                                      .frames_per_second = walker_rate,
                                      .open = open_walker,
                                      .draw = draw_walker,
                                      .describe = describe_walker,
                                      .close = close_walker};
