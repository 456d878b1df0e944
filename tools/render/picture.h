/* picture.h: what can be drawn: one env between two steps, and the ways of drawing it.
 *
 * A way of drawing is a table of functions. dr_pictures lists them; the first that fits an env draws it, and the last
 * fits everything. Colours and shapes are in canvas.h, the files that pictures end up in behind film.h. */
#ifndef DR_TOOLS_RENDER_PICTURE_H
#define DR_TOOLS_RENDER_PICTURE_H

#include <cairo.h>
#include <drover/drover.h>
#include <stdbool.h>
#include <stdint.h>

enum { DR_PICTURE_MESSAGE = 512 }; /* bytes of an error's sentence */

/* One env between two steps. Everything is the batch's and may change with the next step. */
typedef struct dr_moment {
  const drover_env_type *type;
  const drover_env_spec *spec;
  const char *name;         /* what the caption calls it */
  const void *shared;       /* what the type's open made, and */
  void *state;              /* the env's state: for a drawing that knows the type from inside */
  const float *observation; /* [observation_size]; of an ended episode the final one */
  const void *action;       /* [action_size] that led here; NULL at the beginning of an episode */
  const float *infos;       /* [spec->num_infos] of that action; NULL at the beginning, or where there are none */
  double reward;            /* of that action */
  double episode_return;    /* sum of rewards of this episode */
  int32_t step;             /* in this episode; 0 = its beginning */
  int32_t episode;          /* from 1 */
  bool terminated, truncated;
} dr_moment;

/* What the user asks of a drawing. */
typedef struct dr_picture_options {
  int width, height;  /* pixels of a frame */
  const char *camera; /* a camera's name, "track" or "free"; NULL = the drawing's choice */
  bool has_view;      /* azimuth and elevation (degrees) and distance (m, 0 = chosen) are given */
  double azimuth, elevation, distance;
} dr_picture_options;

typedef struct dr_picture {
  bool (*fits)(const dr_moment *moment);
  bool takes_camera; /* camera and view mean something */

  /* Frames a second at which the env's own time passes as fast as the viewer's. */
  double (*frames_per_second)(const dr_moment *moment);

  /* Optional: make what drawing needs. -1 and a sentence in message (DR_PICTURE_MESSAGE bytes) on failure. */
  int (*open)(void **self, const dr_moment *moment, const dr_picture_options *options, char *message);

  /* Optional: every step is shown to it, drawn or not, in order; the first after open is step 0. */
  void (*notice)(void *self, const dr_moment *moment);

  /* Draw onto a canvas of options' size in pixels, y downwards. -1 and a sentence as above. */
  int (*draw)(void *self, const dr_moment *moment, cairo_t *canvas, char *message);

  /* Optional: what the caption says instead of the step. */
  void (*describe)(const dr_moment *moment, char *out, size_t size);

  void (*close)(void *self); /* optional */
} dr_picture;

extern const dr_picture dr_picture_cartpole, dr_picture_mountain_car, dr_picture_pendulum, dr_picture_acrobot;
extern const dr_picture dr_picture_chart; /* fits everything */
#ifdef DROVER_MUJOCO
extern const dr_picture dr_picture_mujoco, dr_picture_walker;
#endif

/* The one for this env. */
const dr_picture *dr_picture_for(const dr_moment *moment);

/* The caption: a bar along the lower edge with the env's name, the step and the return. */
void dr_draw_caption(cairo_t *canvas, const dr_picture *picture, const dr_moment *moment, int width, int height);

#endif
