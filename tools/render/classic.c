/* classic.c: the classic control tasks as vector drawings. Positions, angles and their signs are those of Gymnasium's
 * own pictures (gymnasium/envs/classic_control/NAME.py, render): each is drawn from its observation alone. */
#include <math.h>
#include <string.h>

#include "tools/render/canvas.h"
#include "tools/render/picture.h"

typedef struct frame {
  int width, height;
} frame;

static int open_frame(void **self, const dr_moment *moment, const dr_picture_options *options, char *message) {
  (void)moment, (void)message;
  frame *f = malloc(sizeof *f);
  if (!f) return -1;
  *f = (frame){options->width, options->height};
  *self = f;
  return 0;
}

static bool is_called(const dr_moment *moment, const char *name) { return strcmp(moment->type->name, name) == 0; }

static int32_t discrete(const dr_moment *moment) { return moment->action ? *(const int32_t *)moment->action : -1; }

static double continuous(const dr_moment *moment) {
  return moment->action ? (double)*(const float *)moment->action : 0;
}

static double clip(double x, double low, double high) { return x < low ? low : x > high ? high : x; }

/* ---- CartPole ---- */

static bool is_cartpole(const dr_moment *moment) { return is_called(moment, "CartPole-v1"); }
static double cartpole_rate(const dr_moment *moment) {
  (void)moment;
  return 50; /* a step is 20 ms */
}

static int draw_cartpole(void *self, const dr_moment *moment, cairo_t *canvas, char *message) {
  (void)message;
  const frame *f = self;
  const double x = (double)moment->observation[0], theta = (double)moment->observation[2];
  const double limit = 2.4, cart_width = 0.52, cart_height = 0.28, wheel = 0.08, pole = 1.0;
  const double rail = 0, top = rail + wheel + cart_height;
  dr_fill_background(canvas, f->width, f->height, DR_WHITE, DR_PAPER);
  cairo_save(canvas);
  dr_use_metres(canvas, f->width, f->height, 5.6, 0, 0.62);

  /* The rail, and where the episode ends. */
  dr_set_colour(canvas, DR_STONE, 1);
  dr_draw_line(canvas, -4, rail, 4, rail, 0.025);
  dr_set_colour(canvas, DR_RED, 0.8);
  for (int side = -1; side <= 1; side += 2) dr_draw_line(canvas, side * limit, rail, side * limit, rail + 0.3, 0.03);
  dr_set_colour(canvas, DR_MIST, 1);
  dr_draw_line(canvas, 0, rail - 0.06, 0, rail - 0.16, 0.02);

  /* The cone in which the pole must stay: 12 degrees. */
  const double cone = 12 * M_PI / 180;
  dr_set_colour(canvas, DR_SKY, 0.22);
  cairo_move_to(canvas, x, top);
  cairo_arc(canvas, x, top, pole + 0.12, M_PI / 2 - cone, M_PI / 2 + cone);
  cairo_close_path(canvas);
  cairo_fill(canvas);

  dr_set_colour(canvas, DR_SLATE, 1);
  dr_draw_disc(canvas, x - 0.15, rail + wheel, wheel);
  dr_draw_disc(canvas, x + 0.15, rail + wheel, wheel);
  dr_set_colour(canvas, DR_INK, 1);
  dr_draw_box(canvas, x - cart_width / 2, rail + wheel, cart_width, cart_height, 0.05);
  dr_draw_limb(canvas, x, top, x + pole * sin(theta), top + pole * cos(theta), 0.09, DR_ORANGE);
  dr_set_colour(canvas, DR_SKY, 1);
  dr_draw_disc(canvas, x, top, 0.045);

  /* The push that led here. */
  const int32_t action = discrete(moment);
  if (action >= 0) {
    const double side = action == 1 ? 1 : -1, from = x + side * (cart_width / 2 + 0.06);
    dr_set_colour(canvas, DR_TEAL, 1);
    dr_draw_arrow(canvas, from, rail + wheel + cart_height / 2, from + side * 0.34, rail + wheel + cart_height / 2,
                  0.05);
  }
  cairo_restore(canvas);
  return 0;
}

const dr_picture dr_picture_cartpole = {
    .fits = is_cartpole, .frames_per_second = cartpole_rate, .open = open_frame, .draw = draw_cartpole, .close = free};

/* ---- MountainCar, both kinds ---- */

static bool is_continuous_car(const dr_moment *moment) { return is_called(moment, "MountainCarContinuous-v0"); }
static bool is_mountain_car(const dr_moment *moment) {
  return is_called(moment, "MountainCar-v0") || is_continuous_car(moment);
}

static double mountain_car_rate(const dr_moment *moment) {
  (void)moment;
  return 30; /* a step has no duration: Gymnasium's rate */
}

static double hill(double x) { return 0.45 * sin(3 * x) + 0.55; }

static void draw_hill(cairo_t *canvas) {
  cairo_pattern_t *ground = cairo_pattern_create_linear(0, 1, 0, -0.4);
  cairo_pattern_add_color_stop_rgb(ground, 0, 0.62, 0.74, 0.58);
  cairo_pattern_add_color_stop_rgb(ground, 1, 0.83, 0.88, 0.80);
  cairo_move_to(canvas, -1.4, -1);
  for (int i = -140; i < 85; i++) cairo_line_to(canvas, i / 100.0, hill(i / 100.0));
  cairo_line_to(canvas, 0.85, -1);
  cairo_close_path(canvas);
  cairo_set_source(canvas, ground);
  cairo_fill_preserve(canvas);
  cairo_pattern_destroy(ground);
  dr_set_colour(canvas, DR_GREEN, 1);
  cairo_set_line_width(canvas, 0.012);
  cairo_stroke(canvas);
}

static void draw_flag(cairo_t *canvas, double x) {
  const double foot = hill(x), top = foot + 0.24;
  dr_set_colour(canvas, DR_INK, 1);
  dr_draw_line(canvas, x, foot, x, top, 0.012);
  dr_set_colour(canvas, DR_RED, 1);
  cairo_move_to(canvas, x + 0.004, top);
  cairo_line_to(canvas, x + 0.125, top - 0.045);
  cairo_line_to(canvas, x + 0.004, top - 0.09);
  cairo_close_path(canvas);
  cairo_fill(canvas);
}

/* In the car's own frame: x along the slope, the ground at y = 0. */
static void draw_car(cairo_t *canvas) {
  dr_set_colour(canvas, DR_BLUE, 1);
  dr_draw_box(canvas, -0.085, 0.025, 0.17, 0.05, 0.018);
  dr_draw_box(canvas, -0.05, 0.055, 0.095, 0.055, 0.02);
  dr_set_colour(canvas, DR_WHITE, 0.85);
  dr_draw_box(canvas, -0.037, 0.075, 0.03, 0.024, 0.006);
  dr_draw_box(canvas, 0.001, 0.075, 0.03, 0.024, 0.006);
  for (int side = -1; side <= 1; side += 2) {
    dr_set_colour(canvas, DR_INK, 1);
    dr_draw_disc(canvas, side * 0.05, 0.026, 0.026);
    dr_set_colour(canvas, DR_STONE, 1);
    dr_draw_disc(canvas, side * 0.05, 0.026, 0.010);
  }
}

static int draw_mountain_car(void *self, const dr_moment *moment, cairo_t *canvas, char *message) {
  (void)message;
  const frame *f = self;
  const double x = (double)moment->observation[0];
  const double push = is_continuous_car(moment) ? clip(continuous(moment), -1, 1)
                      : moment->action          ? (double)(discrete(moment) - 1)
                                                : 0;
  dr_fill_background(canvas, f->width, f->height, 0xdcebf7, DR_WHITE);
  cairo_save(canvas);
  dr_use_metres(canvas, f->width, f->height, 1.95, -0.3, 0.62);
  draw_hill(canvas);
  draw_flag(canvas, is_continuous_car(moment) ? 0.45 : 0.5);
  cairo_translate(canvas, x, hill(x));
  cairo_rotate(canvas, atan(3 * 0.45 * cos(3 * x)));
  draw_car(canvas);
  dr_set_colour(canvas, DR_ORANGE, 1);
  if (push != 0) dr_draw_arrow(canvas, copysign(0.1, push), 0.05, copysign(0.1, push) + 0.16 * push, 0.05, 0.018);
  cairo_restore(canvas);
  return 0;
}

const dr_picture dr_picture_mountain_car = {.fits = is_mountain_car,
                                            .frames_per_second = mountain_car_rate,
                                            .open = open_frame,
                                            .draw = draw_mountain_car,
                                            .close = free};

/* ---- Pendulum ---- */

static bool is_pendulum(const dr_moment *moment) { return is_called(moment, "Pendulum-v1"); }
static double pendulum_rate(const dr_moment *moment) {
  (void)moment;
  return 20; /* a step is 50 ms */
}

static int draw_pendulum(void *self, const dr_moment *moment, cairo_t *canvas, char *message) {
  (void)message;
  const frame *f = self;
  /* The angle is 0 upright and grows counter-clockwise. */
  const double cosine = (double)moment->observation[0], sine = (double)moment->observation[1];
  const double torque = clip(continuous(moment), -2, 2);
  dr_fill_background(canvas, f->width, f->height, DR_WHITE, DR_PAPER);
  cairo_save(canvas);
  dr_use_metres(canvas, f->width, f->height, 2.75 * f->width / f->height, 0, -0.05);
  dr_set_colour(canvas, DR_MIST, 1);
  cairo_set_line_width(canvas, 0.012);
  cairo_new_sub_path(canvas);
  cairo_arc(canvas, 0, 0, 1.08, 0, 2 * M_PI);
  cairo_stroke(canvas);
  dr_set_colour(canvas, DR_TEAL, 1);
  dr_draw_disc(canvas, 0, 1.08, 0.03);
  dr_draw_limb(canvas, 0, 0, -sine, cosine, 0.17, DR_RED);
  dr_set_colour(canvas, DR_INK, 1);
  dr_draw_disc(canvas, 0, 0, 0.055);
  dr_set_colour(canvas, DR_BLUE, 1);
  dr_draw_turn(canvas, 0, 0, 0.3, torque > 0 ? 0 : M_PI, torque * 0.9, 0.045);
  cairo_restore(canvas);
  return 0;
}

const dr_picture dr_picture_pendulum = {
    .fits = is_pendulum, .frames_per_second = pendulum_rate, .open = open_frame, .draw = draw_pendulum, .close = free};

/* ---- Acrobot ---- */

static bool is_acrobot(const dr_moment *moment) { return is_called(moment, "Acrobot-v1"); }
static double acrobot_rate(const dr_moment *moment) {
  (void)moment;
  return 15; /* a step is 200 ms: three times faster than life, as in Gymnasium */
}

static int draw_acrobot(void *self, const dr_moment *moment, cairo_t *canvas, char *message) {
  (void)message;
  const frame *f = self;
  /* theta1 is 0 hanging down, theta2 is relative to the first link; both grow counter-clockwise. */
  const double theta1 = atan2((double)moment->observation[1], (double)moment->observation[0]);
  const double theta2 = theta1 + atan2((double)moment->observation[3], (double)moment->observation[2]);
  const double x1 = sin(theta1), y1 = -cos(theta1), x2 = x1 + sin(theta2), y2 = y1 - cos(theta2);
  dr_fill_background(canvas, f->width, f->height, DR_WHITE, DR_PAPER);
  cairo_save(canvas);
  dr_use_metres(canvas, f->width, f->height, 4.9 * f->width / f->height, 0, -0.12);

  /* The height that the tip must pass. */
  const double dash[] = {0.09, 0.09};
  dr_set_colour(canvas, DR_TEAL, 1);
  cairo_set_dash(canvas, dash, 2, 0);
  dr_draw_line(canvas, -4, 1, 4, 1, 0.022);
  cairo_set_dash(canvas, NULL, 0, 0);

  dr_draw_limb(canvas, 0, 0, x1, y1, 0.18, DR_BLUE);
  dr_draw_limb(canvas, x1, y1, x2, y2, 0.15, DR_SKY);
  dr_set_colour(canvas, DR_INK, 1);
  dr_draw_disc(canvas, 0, 0, 0.07);
  dr_draw_disc(canvas, x1, y1, 0.06);
  dr_set_colour(canvas, y2 > 1 ? DR_TEAL : DR_ORANGE, 1);
  dr_draw_disc(canvas, x2, y2, 0.07);
  const int32_t action = discrete(moment);
  dr_set_colour(canvas, DR_ORANGE, 1);
  if (action == 0 || action == 2)
    dr_draw_turn(canvas, x1, y1, 0.3, theta2 - M_PI / 2 + (action == 2 ? 0.45 : -0.45), action == 2 ? 1.7 : -1.7, 0.05);
  cairo_restore(canvas);
  return 0;
}

const dr_picture dr_picture_acrobot = {
    .fits = is_acrobot, .frames_per_second = acrobot_rate, .open = open_frame, .draw = draw_acrobot, .close = free};
