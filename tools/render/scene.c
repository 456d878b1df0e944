/* scene.c: MuJoCo envs, drawn by MuJoCo's own renderer. The env's state is copied into an mjData of the drawing's own,
 * whose derived quantities are then computed: the env is only read, and what is shown is its present state. */
#include <stdio.h>
#include <string.h>

#include "env/mujoco/task.h"
#include "tools/render/gl.h"
#include "tools/render/look.h"
#include "tools/render/picture.h"
#include "tools/render/view.h"

enum { MAX_GEOMS = 5000 };

typedef struct scene {
  int width, height;
  dr_picture_options options;
  const dr_mj_world *world;
  dr_look look;
  dr_view view;
  mjData *data;
  mjtNum *state; /* [dr_mj_state_size] */
  dr_gl *gl;
  mjrContext renderer;
  mjvScene objects;
  mjvOption visible;
  unsigned char *pixels; /* [height x width x 3], the lowest row first */
  const dr_moment *moment;
  char *message;
  bool failed, has_look, has_renderer, has_objects;
} scene;

static bool is_mujoco(const dr_moment *moment) { return moment->type->step == dr_mj_step_env; }

static double real_time(const dr_moment *moment) {
  const dr_mj_world *world = moment->shared;
  return 1 / world->step_time;
}

/* The env's state in our own data, and what follows from it. */
static void copy_state(scene *s, const dr_moment *moment) {
  const dr_mj_env *env = moment->state;
  dr_mj_get_state(s->world->model.compiled, env->data, s->state);
  dr_mj_set_state(s->world->model.compiled, s->data, s->state);
  mj_forward(&s->look.model, s->data);
}

/* The size of what is to be seen is needed for the look, and the look's model for drawing: the view is chosen with the
 * compiled model, whose numbers are the same. */
static void open_parts(void *context) {
  scene *s = context;
  const mjModel *compiled = s->world->model.compiled;
  const bool builtin = s->world->task->model && !s->world->config.xml_file[0];
  s->failed = true;
  s->data = dr_mj_make_data(compiled);
  s->state = malloc((size_t)dr_mj_state_size(compiled) * sizeof *s->state);
  s->pixels = malloc((size_t)s->width * (size_t)s->height * 3);
  if (!s->data || !s->state || !s->pixels) return;
  s->look.model = *compiled;
  copy_state(s, s->moment);
  if (dr_view_choose(&s->view, compiled, s->data, &s->options, s->message)) return;
  s->has_look = dr_look_open(&s->look, compiled, builtin, s->view.radius, s->width, s->height) == 0;
  if (!s->has_look || dr_gl_open(&s->gl, s->message)) return;
  mjr_defaultContext(&s->renderer);
  mjr_makeContext(&s->look.model, &s->renderer, mjFONTSCALE_100);
  s->has_renderer = true;
  mjr_setBuffer(mjFB_OFFSCREEN, &s->renderer);
  mjv_defaultOption(&s->visible);
  mjv_defaultScene(&s->objects);
  mjv_makeScene(&s->look.model, &s->objects, MAX_GEOMS);
  s->has_objects = true;
  s->objects.flags[mjRND_REFLECTION] = 0;
  s->objects.flags[mjRND_HAZE] = 1;
  s->failed = false;
}

static void close_parts(void *context) {
  scene *s = context;
  if (s->has_objects) mjv_freeScene(&s->objects);
  if (s->has_renderer) mjr_freeContext(&s->renderer);
  if (s->data) mj_deleteData(s->data);
}

static void close_scene(void *self) {
  scene *s = self;
  if (!s) return;
  dr_mj_guard(close_parts, s);
  dr_gl_close(s->gl);
  if (s->has_look) dr_look_close(&s->look);
  free(s->state);
  free(s->pixels);
  free(s);
}

static int open_scene(void **self, const dr_moment *moment, const dr_picture_options *options, char *message) {
  scene *s = calloc(1, sizeof *s);
  message[0] = '\0';
  if (!s) {
    snprintf(message, DR_PICTURE_MESSAGE, "no memory for a scene");
    return -1;
  }
  s->width = options->width, s->height = options->height;
  s->options = *options;
  s->world = moment->shared;
  s->moment = moment;
  s->message = message;
  const bool returned = dr_mj_guard(open_parts, s);
  s->moment = NULL;
  s->message = NULL;
  if (returned && !s->failed) {
    *self = s;
    return 0;
  }
  if (!returned)
    snprintf(message, DR_PICTURE_MESSAGE, "MuJoCo cannot draw this model: %.300s", dr_mj_error());
  else if (!message[0])
    snprintf(message, DR_PICTURE_MESSAGE, "no memory for a scene");
  close_scene(s);
  return -1;
}

static void draw_parts(void *context) {
  scene *s = context;
  copy_state(s, s->moment);
  dr_view_follow(&s->view, s->data);
  mjv_updateScene(&s->look.model, s->data, &s->visible, NULL, &s->view.camera, mjCAT_ALL, &s->objects);
  dr_look_light(&s->look, &s->objects, s->view.camera.lookat, s->view.radius);
  const mjrRect all = {0, 0, s->width, s->height};
  mjr_render(all, &s->objects, &s->renderer);
  mjr_readPixels(s->pixels, NULL, all, &s->renderer);
}

/* Turn the picture upright, into cairo's pixels. */
static int copy_pixels(const scene *s, cairo_t *canvas) {
  cairo_surface_t *picture = cairo_image_surface_create(CAIRO_FORMAT_RGB24, s->width, s->height);
  unsigned char *out = cairo_image_surface_get_data(picture);
  if (!out) {
    cairo_surface_destroy(picture);
    return -1;
  }
  const size_t stride = (size_t)cairo_image_surface_get_stride(picture), width = (size_t)s->width;
  for (size_t y = 0; y < (size_t)s->height; y++) {
    const unsigned char *from = s->pixels + ((size_t)s->height - 1 - y) * width * 3;
    for (size_t x = 0; x < width; x++) {
      const uint32_t pixel = (uint32_t)from[3 * x] << 16 | (uint32_t)from[3 * x + 1] << 8 | (uint32_t)from[3 * x + 2];
      memcpy(out + y * stride + 4 * x, &pixel, sizeof pixel);
    }
  }
  cairo_surface_mark_dirty(picture);
  cairo_set_source_surface(canvas, picture, 0, 0);
  cairo_paint(canvas);
  cairo_surface_destroy(picture);
  return 0;
}

static int draw_scene(void *self, const dr_moment *moment, cairo_t *canvas, char *message) {
  scene *s = self;
  s->moment = moment;
  const bool returned = dr_mj_guard(draw_parts, s);
  s->moment = NULL;
  if (!returned) {
    snprintf(message, DR_PICTURE_MESSAGE, "MuJoCo cannot draw this state: %.300s", dr_mj_error());
    return -1;
  }
  if (copy_pixels(s, canvas) == 0) return 0;
  snprintf(message, DR_PICTURE_MESSAGE, "no memory for a frame");
  return -1;
}

const dr_picture dr_picture_mujoco = {.fits = is_mujoco,
                                      .takes_camera = true,
                                      .frames_per_second = real_time,
                                      .open = open_scene,
                                      .draw = draw_scene,
                                      .close = close_scene};
