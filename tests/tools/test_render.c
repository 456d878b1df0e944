/* Drawing without the command: that pictures show what an observation says, that a palette has the colours that matter,
 * and that a GIF decoded by another's decoder gives the frames that went into it. */
#include <criterion/criterion.h>
#include <gif_lib.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "tools/render/canvas.h"
#include "tools/render/film.h"
#include "tools/render/palette.h"
#include "tools/render/picture.h"

enum { WIDTH = 160, HEIGHT = 120 };

/* ---- Classic pictures ---- */

static cairo_surface_t *draw(const dr_picture *picture, const char *name, const float *observation,
                             const void *action) {
  char message[DR_PICTURE_MESSAGE];
  const drover_env_type type = {.name = name};
  const drover_env_spec spec = {.observation_size = 6};
  const dr_moment moment = {.type = &type, .spec = &spec, .name = name, .observation = observation, .action = action};
  const dr_picture_options options = {.width = WIDTH, .height = HEIGHT};
  cr_assert_eq(dr_picture_for(&moment), picture);
  void *self = NULL;
  cr_assert_eq(picture->open(&self, &moment, &options, message), 0);
  cairo_surface_t *surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, WIDTH, HEIGHT);
  cairo_t *canvas = cairo_create(surface);
  cr_assert_eq(picture->draw(self, &moment, canvas, message), 0);
  cairo_destroy(canvas);
  picture->close(self);
  cairo_surface_flush(surface);
  return surface;
}

static uint32_t pixel(cairo_surface_t *surface, int x, int y) {
  uint32_t out;
  memcpy(&out, cairo_image_surface_get_data(surface) + y * cairo_image_surface_get_stride(surface) + 4 * x, sizeof out);
  return out & 0xffffffu;
}

/* The mean place of the pixels of one colour, and how many there are. */
static int find_colour(cairo_surface_t *surface, uint32_t colour, double *x, double *y) {
  int count = 0;
  *x = *y = 0;
  for (int row = 0; row < HEIGHT; row++)
    for (int column = 0; column < WIDTH; column++)
      if (pixel(surface, column, row) == colour) *x += column, *y += row, count++;
  if (count > 0) *x /= count, *y /= count;
  return count;
}

Test(render, cartpole_stands_where_it_is_and_leans_where_it_falls) {
  double pole_x, cart_x, y;
  for (int side = -1; side <= 1; side += 2) {
    const float observation[4] = {(float)side, 0, 0.3F * (float)side, 0};
    cairo_surface_t *surface = draw(&dr_picture_cartpole, "CartPole-v1", observation, NULL);
    cr_assert_gt(find_colour(surface, DR_INK, &cart_x, &y), 20);
    cr_assert_gt(find_colour(surface, DR_ORANGE, &pole_x, &y), 10);
    /* 5.6 m are 160 pixels. */
    cr_expect_float_eq(cart_x, WIDTH / 2.0 + side * WIDTH / 5.6, 2);
    cr_expect_gt((pole_x - cart_x) * side, 2);
    cairo_surface_destroy(surface);
  }
}

Test(render, cartpole_is_pushed_to_the_side_of_its_action) {
  const float observation[4] = {0};
  double x, y;
  for (int32_t action = 0; action <= 1; action++) {
    cairo_surface_t *surface = draw(&dr_picture_cartpole, "CartPole-v1", observation, &action);
    cr_assert_gt(find_colour(surface, DR_TEAL, &x, &y), 5);
    cr_expect_gt((x - WIDTH / 2.0) * (action ? 1 : -1), 5);
    cairo_surface_destroy(surface);
  }
}

Test(render, pendulum_at_a_positive_angle_is_on_the_left) {
  double x, y;
  const float angles[] = {0, 1.5707963F, 3.1415927F, -1.5707963F};
  const double wanted[][2] = {{0, -1}, {-1, 0}, {0, 1}, {1, 0}};
  for (int i = 0; i < 4; i++) {
    const float observation[3] = {cosf(angles[i]), sinf(angles[i]), 0};
    cairo_surface_t *surface = draw(&dr_picture_pendulum, "Pendulum-v1", observation, NULL);
    cr_assert_gt(find_colour(surface, DR_RED, &x, &y), 20);
    /* The rod's middle is 0.5 m from the pivot, 2.75 m are the picture's height. */
    cr_expect_float_eq(x - WIDTH / 2.0, wanted[i][0] * 0.5 * HEIGHT / 2.75, 5);
    cr_expect_float_eq(y - HEIGHT / 2.0, wanted[i][1] * 0.5 * HEIGHT / 2.75, 6);
    cairo_surface_destroy(surface);
  }
}

Test(render, acrobot_hangs_at_zero_and_its_second_angle_is_relative) {
  double x1, y1, x2, y2;
  const float hanging[6] = {1, 0, 1, 0, 0, 0}, bent[6] = {1, 0, 0, 1, 0, 0}, turned[6] = {0, 1, 1, 0, 0, 0};
  cairo_surface_t *surface = draw(&dr_picture_acrobot, "Acrobot-v1", hanging, NULL);
  cr_assert_gt(find_colour(surface, DR_BLUE, &x1, &y1), 10);
  cr_assert_gt(find_colour(surface, DR_SKY, &x2, &y2), 10);
  cr_expect(fabs(x1 - x2) < 2 && y2 > y1 + 10, "both links hang");
  cairo_surface_destroy(surface);
  surface = draw(&dr_picture_acrobot, "Acrobot-v1", bent, NULL);
  find_colour(surface, DR_BLUE, &x1, &y1), find_colour(surface, DR_SKY, &x2, &y2);
  cr_expect(fabs(x1 - WIDTH / 2.0) < 2 && x2 > x1 + 8, "the second link points to the right");
  cairo_surface_destroy(surface);
  surface = draw(&dr_picture_acrobot, "Acrobot-v1", turned, NULL);
  find_colour(surface, DR_BLUE, &x1, &y1), find_colour(surface, DR_SKY, &x2, &y2);
  cr_expect(x1 > WIDTH / 2.0 + 5 && x2 > x1 + 10 && fabs(y1 - y2) < 3, "both links point to the right");
  cairo_surface_destroy(surface);
}

Test(render, mountain_car_is_on_its_hill) {
  const double places[] = {-1.2, -0.5236, 0.3};
  for (int i = 0; i < 3; i++) {
    const float observation[2] = {(float)places[i], 0};
    double x, y;
    cairo_surface_t *surface = draw(&dr_picture_mountain_car, "MountainCar-v0", observation, NULL);
    cr_assert_gt(find_colour(surface, DR_BLUE, &x, &y), 5);
    /* 1.95 m are 160 pixels, (-0.3, 0.62) is in the middle; the body's middle is about 0.06 m above the ground. */
    const double scale = WIDTH / 1.95, height = 0.45 * sin(3 * places[i]) + 0.55;
    cr_expect_float_eq(x, WIDTH / 2.0 + scale * (places[i] + 0.3), 8);
    cr_expect_float_eq(y, HEIGHT / 2.0 - scale * (height + 0.05 - 0.62), 8);
    cairo_surface_destroy(surface);
  }
}

/* ---- Palettes ---- */

static uint32_t noise(uint32_t *state) {
  *state = *state * 1664525u + 1013904223u;
  return *state >> 8;
}

Test(render, few_colours_are_kept_exactly) {
  enum { PIXELS = 4000 };
  static dr_palette palette;
  static uint32_t pixels[PIXELS], colours[DR_PALETTE_COLOURS];
  static uint8_t mapped[PIXELS];
  uint32_t state = 7;
  for (int i = 0; i < DR_PALETTE_COLOURS; i++) colours[i] = noise(&state) & 0xffffffu;
  for (int i = 0; i < PIXELS; i++)
    pixels[i] = colours[(i < DR_PALETTE_COLOURS ? (uint32_t)i : noise(&state)) % DR_PALETTE_COLOURS];
  const uint32_t *frames[] = {pixels};
  cr_assert_eq(dr_palette_make(&palette, frames, 1, PIXELS), 0);
  cr_assert(palette.exact);
  dr_palette_map(&palette, pixels, PIXELS, 0, mapped);
  for (int i = 0; i < PIXELS; i++) {
    const uint8_t *c = palette.colours[mapped[i]];
    cr_assert_eq((uint32_t)(c[0] << 16 | c[1] << 8 | c[2]), pixels[i]);
  }
}

Test(render, many_colours_are_near_and_right_on_average) {
  enum { SIDE = 256 };
  static dr_palette palette;
  static uint32_t pixels[SIDE * SIDE];
  /* A plane of colours, more than a palette has. */
  for (int y = 0; y < SIDE; y++)
    for (int x = 0; x < SIDE; x++) pixels[y * SIDE + x] = (uint32_t)(x << 16 | y << 8 | (255 - x));
  const uint32_t *frames[] = {pixels};
  cr_assert_eq(dr_palette_make(&palette, frames, 1, SIDE * SIDE), 0);
  cr_assert_not(palette.exact);
  cr_assert_leq(palette.num_colours, DR_PALETTE_COLOURS);
  double squares = 0, sums[3] = {0};
  for (int y = 0; y < SIDE; y++) {
    uint8_t mapped[SIDE];
    dr_palette_map(&palette, pixels + y * SIDE, SIDE, y, mapped);
    for (int x = 0; x < SIDE; x++) {
      const int wanted[3] = {x, y, 255 - x};
      for (int c = 0; c < 3; c++) {
        const double error = palette.colours[mapped[x]][c] - wanted[c];
        squares += error * error;
        sums[c] += error;
      }
    }
  }
  /* 255 square cells on a plane of 256 x 256 (times root 2 in x) are some 19 wide: 19 / sqrt(12) in each direction. */
  cr_expect_lt(sqrt(squares / (SIDE * SIDE)), 9.5);
  for (int c = 0; c < 3; c++) cr_expect_lt(fabs(sums[c]) / (SIDE * SIDE), 1.5);
}

/* ---- GIF ---- */

/* Frame k: a coloured bar that moves over a ground that stays, and in the last frames nothing that moves. */
static void paint(cairo_surface_t *surface, int k) {
  cairo_t *canvas = cairo_create(surface);
  dr_set_colour(canvas, DR_PAPER, 1);
  cairo_paint(canvas);
  dr_set_colour(canvas, k % 2 ? DR_RED : DR_BLUE, 1);
  cairo_rectangle(canvas, k < 8 ? 5 * k : 40, 10, 12, 20);
  cairo_fill(canvas);
  cairo_destroy(canvas);
  cairo_surface_flush(surface);
}

/* What a viewer shows after each frame, kept in `screen` (0xRRGGBB). */
static void show_frame(const GifFileType *gif, int k, uint32_t *screen) {
  const SavedImage *image = &gif->SavedImages[k];
  const GifImageDesc *d = &image->ImageDesc;
  const ColorMapObject *map = d->ColorMap ? d->ColorMap : gif->SColorMap;
  GraphicsControlBlock control;
  cr_assert_eq(DGifSavedExtensionToGCB((GifFileType *)gif, k, &control), GIF_OK);
  for (int y = 0; y < d->Height; y++)
    for (int x = 0; x < d->Width; x++) {
      const int index = image->RasterBits[y * d->Width + x];
      if (index == control.TransparentColor) continue;
      const GifColorType *c = &map->Colors[index];
      screen[(d->Top + y) * WIDTH + d->Left + x] = (uint32_t)(c->Red << 16 | c->Green << 8 | c->Blue);
    }
}

Test(render, a_gif_shows_the_frames_that_went_into_it) {
  enum { FRAMES = 12 };
  char path[] = "/tmp/drover-test-XXXXXX.gif", message[DR_FILM_MESSAGE];
  const int made = mkstemps(path, 4);
  cr_assert_geq(made, 0);
  close(made);
  const dr_film_options options = {
      .path = path, .kind = DR_FILM_GIF, .width = WIDTH, .height = HEIGHT, .frames_per_second = 30, .hold_s = 1};
  dr_film *film = NULL;
  cairo_surface_t *surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, WIDTH, HEIGHT);
  cr_assert_eq(dr_film_open(&film, &options, message), 0, "%s", message);
  for (int k = 0; k < FRAMES; k++) {
    paint(surface, k);
    cr_assert_eq(dr_film_add(film, surface, message), 0, "%s", message);
  }
  cr_assert_eq(dr_film_finish(film, message), 0, "%s", message);
  dr_film_close(film);

  int error;
  GifFileType *gif = DGifOpenFileName(path, &error);
  cr_assert_not_null(gif);
  cr_assert_eq(DGifSlurp(gif), GIF_OK);
  cr_assert_eq(gif->ImageCount, FRAMES);
  static uint32_t screen[WIDTH * HEIGHT];
  for (int k = 0; k < FRAMES; k++) {
    paint(surface, k);
    show_frame(gif, k, screen);
    for (int i = 0; i < WIDTH * HEIGHT; i++) cr_assert_eq(screen[i], pixel(surface, i % WIDTH, i / WIDTH));
  }
  DGifCloseFile(gif, &error);
  cairo_surface_destroy(surface);
  unlink(path);
}

Test(render, a_film_that_is_not_finished_leaves_nothing) {
  char folder[] = "/tmp/drover-test-XXXXXX", path[64], message[DR_FILM_MESSAGE];
  cr_assert_not_null(mkdtemp(folder));
  snprintf(path, sizeof path, "%s/a.gif", folder);
  const dr_film_options options = {
      .path = path, .kind = DR_FILM_GIF, .width = WIDTH, .height = HEIGHT, .frames_per_second = 30};
  dr_film *film = NULL;
  cr_assert_eq(dr_film_open(&film, &options, message), 0, "%s", message);
  dr_film_close(film);
  cr_expect_eq(rmdir(folder), 0, "the folder is not empty");
}

Test(render, endings_say_what_a_film_is) {
  cr_expect_eq(dr_film_kind_of("a.gif"), DR_FILM_GIF);
  cr_expect_eq(dr_film_kind_of("b/c.PNG"), DR_FILM_PNG);
  cr_expect_eq(dr_film_kind_of("x.mp4"), DR_FILM_MP4);
  cr_expect_eq(dr_film_kind_of(".gif"), DR_FILM_UNKNOWN);
  cr_expect_eq(dr_film_kind_of("gif"), DR_FILM_UNKNOWN);
  cr_expect_eq(dr_film_kind_of("a.gif.txt"), DR_FILM_UNKNOWN);
}
