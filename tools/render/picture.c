/* picture.c: which drawing an env gets, and the caption under all of them. */
#include "tools/render/picture.h"

#include <math.h>
#include <stdio.h>

#include "tools/render/canvas.h"

static const dr_picture *const pictures[] = {
    &dr_picture_cartpole, &dr_picture_mountain_car, &dr_picture_pendulum, &dr_picture_acrobot,
#ifdef DROVER_MUJOCO
    &dr_picture_mujoco,   &dr_picture_walker,
#endif
    &dr_picture_chart,
};

const dr_picture *dr_picture_for(const dr_moment *moment) {
  int i = 0;
  while (!pictures[i]->fits(moment)) i++; /* the last one fits everything */
  return pictures[i];
}

/* "episode 2   step 7   return 7.0   terminated" */
static void describe(const dr_picture *picture, const dr_moment *moment, char *out, size_t size) {
  char episode[24] = "", step[64];
  const char *end = moment->terminated ? "   terminated" : moment->truncated ? "   truncated" : "";
  if (moment->episode > 1) snprintf(episode, sizeof episode, "episode %d   ", moment->episode);
  snprintf(step, sizeof step, "step %d", moment->step);
  if (picture->describe) picture->describe(moment, step, sizeof step);
  snprintf(out, size, "%s%s   return %.*f%s", episode, step, fabs(moment->episode_return) < 1e4 ? 1 : 0,
           moment->episode_return, end);
}

void dr_draw_caption(cairo_t *canvas, const dr_picture *picture, const dr_moment *moment, int width, int height) {
  const double size = height * 0.036 > 10 ? height * 0.036 : 10;
  const double bar = 1.9 * size, baseline = height - 0.62 * size;
  char words[160];
  cairo_save(canvas);
  dr_set_colour(canvas, DR_WHITE, 0.78);
  cairo_rectangle(canvas, 0, height - bar, width, bar);
  cairo_fill(canvas);

  /* The right part first: the name gives way where the frame is narrow. */
  describe(picture, moment, words, sizeof words);
  dr_set_font(canvas, size, false);
  const double taken = dr_text_width(canvas, words);
  dr_set_colour(canvas, moment->terminated ? DR_RED : DR_INK, 1);
  dr_draw_text(canvas, words, taken < width - size ? width - 0.6 * size : 0.6 * size, baseline,
               taken < width - size ? DR_RIGHT : DR_LEFT);
  dr_set_font(canvas, size, true);
  dr_set_colour(canvas, DR_INK, 1);
  if (dr_text_width(canvas, moment->name) + taken + 2 * size < width)
    dr_draw_text(canvas, moment->name, 0.6 * size, baseline, DR_LEFT);
  cairo_restore(canvas);
}
