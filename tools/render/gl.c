/* gl.c: the few calls of OSMesa and EGL that make an OpenGL context, looked up when they are needed. MuJoCo finds the
 * OpenGL functions themselves in whichever of the two is loaded. */
#include "tools/render/gl.h"

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/render/picture.h"

/* MuJoCo draws into a framebuffer object of its own: the context's buffer is never looked at. */
enum { BUFFER = 16 };

struct dr_gl {
  void (*close)(dr_gl *gl);
  void *library;
  void *context;
  void *display; /* EGL */
  unsigned char buffer[BUFFER * BUFFER * 4];
};

/* ISO C knows no conversion between what dlsym gives and a function. */
static void find(void *library, const char *name, void *function) {
  void *address = dlsym(library, name);
  memcpy(function, &address, sizeof address);
}

static int open_first(dr_gl *gl, const char *const *names) {
  for (int i = 0; names[i] && !gl->library; i++) gl->library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
  return gl->library ? 0 : -1;
}

/* ---- OSMesa (GL/osmesa.h) ---- */

static void close_osmesa(dr_gl *gl) {
  void (*destroy)(void *) = NULL;
  find(gl->library, "OSMesaDestroyContext", &destroy);
  if (destroy && gl->context) destroy(gl->context);
}

static const char *open_osmesa(dr_gl *gl) {
  enum { RGBA = 0x1908, UNSIGNED_BYTE = 0x1401, DEPTH_BITS = 24 };
  static const char *const names[] = {"libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so", NULL};
  void *(*create)(unsigned, int, int, int, void *) = NULL;
  unsigned char (*make_current)(void *, void *, unsigned, int, int) = NULL;
  if (open_first(gl, names)) return "OSMesa is not installed";
  gl->close = close_osmesa;
  find(gl->library, "OSMesaCreateContextExt", &create);
  find(gl->library, "OSMesaMakeCurrent", &make_current);
  gl->context = create && make_current ? create(RGBA, DEPTH_BITS, 0, 0, NULL) : NULL;
  if (!gl->context || !make_current(gl->context, gl->buffer, UNSIGNED_BYTE, BUFFER, BUFFER))
    return "OSMesa makes no context";
  return NULL;
}

/* ---- EGL (EGL/egl.h, EGL/eglext.h) ---- */

static void close_egl(dr_gl *gl) {
  unsigned (*destroy)(void *, void *) = NULL, (*terminate)(void *) = NULL;
  unsigned (*make_current)(void *, void *, void *, void *) = NULL;
  find(gl->library, "eglMakeCurrent", &make_current);
  find(gl->library, "eglDestroyContext", &destroy);
  find(gl->library, "eglTerminate", &terminate);
  if (gl->context && make_current) make_current(gl->display, NULL, NULL, NULL);
  if (gl->context && destroy) destroy(gl->display, gl->context);
  if (gl->display && terminate) terminate(gl->display);
}

static const char *open_egl(dr_gl *gl) {
  enum { SURFACELESS = 0x31DD, OPENGL_API = 0x30A2, NONE = 0x3038 };
  enum { SURFACE_TYPE = 0x3033, PBUFFER_BIT = 1, RENDERABLE_TYPE = 0x3040, OPENGL_BIT = 8 };
  static const char *const names[] = {"libEGL.so.1", "libEGL.so", NULL};
  static const int32_t wanted[] = {SURFACE_TYPE, PBUFFER_BIT, RENDERABLE_TYPE, OPENGL_BIT, NONE};
  void *(*get_display)(unsigned, void *, const intptr_t *) = NULL;
  void *(*create)(void *, void *, void *, const int32_t *) = NULL;
  unsigned (*initialize)(void *, int32_t *, int32_t *) = NULL, (*bind)(unsigned) = NULL;
  unsigned (*choose)(void *, const int32_t *, void **, int32_t, int32_t *) = NULL;
  unsigned (*make_current)(void *, void *, void *, void *) = NULL;
  if (open_first(gl, names)) return "EGL is not installed";
  gl->close = close_egl;
  find(gl->library, "eglGetPlatformDisplay", &get_display);
  find(gl->library, "eglInitialize", &initialize);
  find(gl->library, "eglBindAPI", &bind);
  find(gl->library, "eglChooseConfig", &choose);
  find(gl->library, "eglCreateContext", &create);
  find(gl->library, "eglMakeCurrent", &make_current);
  if (!get_display || !initialize || !bind || !choose || !create || !make_current) return "EGL is too old";
  gl->display = get_display(SURFACELESS, NULL, NULL);
  if (!gl->display || !initialize(gl->display, NULL, NULL)) return "EGL has no surfaceless display";
  void *config = NULL;
  int32_t num_configs = 0;
  if (!bind(OPENGL_API) || !choose(gl->display, wanted, &config, 1, &num_configs) || num_configs < 1)
    return "EGL has no OpenGL";
  gl->context = create(gl->display, config, NULL, NULL);
  if (!gl->context || !make_current(gl->display, NULL, NULL, gl->context)) return "EGL makes no context";
  return NULL;
}

/* ---- Either ---- */

int dr_gl_open(dr_gl **out, char *message) {
  static const struct {
    const char *name;
    const char *(*open)(dr_gl *);
  } kinds[] = {{"osmesa", open_osmesa}, {"egl", open_egl}};
  const char *asked = getenv("MUJOCO_GL");
  const bool known = asked && (strcmp(asked, "osmesa") == 0 || strcmp(asked, "egl") == 0);
  char reasons[200] = "";
  for (int i = 0; i < 2; i++) {
    if (known && strcmp(asked, kinds[i].name) != 0) continue;
    dr_gl *gl = calloc(1, sizeof *gl);
    const char *reason = gl ? kinds[i].open(gl) : "out of memory";
    if (!reason) {
      *out = gl;
      return 0;
    }
    const size_t used = strlen(reasons);
    snprintf(reasons + used, sizeof reasons - used, "%s%s", used ? ", " : "", reason);
    dr_gl_close(gl);
  }
  snprintf(message, DR_PICTURE_MESSAGE,
           "OpenGL without a screen is needed to draw MuJoCo (%s): `apt install libosmesa6`", reasons);
  return -1;
}

/* The library stays loaded: its threads and exit handlers do not take well to being unmapped. */
void dr_gl_close(dr_gl *gl) {
  if (!gl) return;
  if (gl->close) gl->close(gl);
  free(gl);
}
