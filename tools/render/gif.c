/* gif.c: an animated GIF. Frames are collected until they fill a window, which gets a palette of its own; of each frame
 * only the rectangle that changes is written, and pixels in it that stay as they are shown are left transparent. */
#include <fcntl.h>
#include <gif_lib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/render/film.h"
#include "tools/render/palette.h"

enum {
  WINDOW_BYTES = 48 << 20,
  MAX_WINDOW = 256,
  TRANSPARENT = DR_PALETTE_COLOURS, /* the 256th colour */
  TOLERANCE = 4,                    /* levels of 255 by which a pixel may be wrong and yet stay */
  MIN_DELAY = 2                     /* hundredths of a second: browsers slow down what is faster */
};

typedef struct gif {
  dr_film_options options;
  GifFileType *file;
  bool begun; /* the screen is written */
  size_t num_pixels;
  int window;                   /* frames that fit */
  int num_frames;               /* collected */
  uint32_t *frames[MAX_WINDOW]; /* [num_pixels] */
  uint32_t *shown;              /* [num_pixels] what the viewer sees after the frames that are written */
  uint8_t *indices;             /* [num_pixels] of the frame that is being written: colours or TRANSPARENT */
  int64_t num_written;
  dr_palette palette;
} gif;

static int fail(char *message, const char *what, int error) {
  const char *why = GifErrorString(error);
  snprintf(message, DR_FILM_MESSAGE, "cannot write %s: %s", what, why ? why : "unknown error");
  return -1;
}

static void close_gif(void *self) {
  gif *g = self;
  if (!g) return;
  int error;
  if (g->file) EGifCloseFile(g->file, &error);
  for (int i = 0; i < g->window; i++) free(g->frames[i]);
  free(g->shown);
  free(g->indices);
  free(g);
}

static int open_gif(void **self, const char *path, const dr_film_options *options, char *message) {
  gif *g = calloc(1, sizeof *g);
  if (!g) goto no_memory;
  g->options = *options;
  g->num_pixels = (size_t)options->width * (size_t)options->height;
  const size_t fit = WINDOW_BYTES / (g->num_pixels * sizeof **g->frames);
  g->window = fit < 2 ? 2 : fit > MAX_WINDOW ? MAX_WINDOW : (int)fit;
  for (int i = 0; i < g->window; i++) {
    g->frames[i] = malloc(g->num_pixels * sizeof **g->frames);
    if (!g->frames[i]) goto no_memory;
  }
  g->shown = malloc(g->num_pixels * sizeof *g->shown);
  g->indices = malloc(g->num_pixels);
  if (!g->shown || !g->indices) goto no_memory;
  int error = 0;
  /* giflib itself would make a file that only its owner can read. */
  const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  g->file = fd >= 0 ? EGifOpenFileHandle(fd, &error) : NULL;
  if (!g->file) {
    if (fd >= 0) close(fd);
    fail(message, path, fd >= 0 ? error : E_GIF_ERR_OPEN_FAILED);
    close_gif(g);
    return -1;
  }
  EGifSetGifVersion(g->file, true);
  *self = g;
  return 0;

no_memory:
  close_gif(g);
  snprintf(message, DR_FILM_MESSAGE, "out of memory");
  return -1;
}

/* ---- One frame ---- */

typedef struct rectangle {
  int x0, y0, x1, y1; /* x1 and y1 are outside */
} rectangle;

static bool is_near(uint32_t a, uint32_t b) {
  for (int shift = 0; shift <= 16; shift += 8)
    if (abs((int)(a >> shift & 255u) - (int)(b >> shift & 255u)) > TOLERANCE) return false;
  return true;
}

/* Map a frame to g->indices; pixels that may stay become transparent, the others are shown from now on. What is left
 * lies in the rectangle, which is never empty: a frame without a change is a pixel that stays. */
static rectangle map_frame(gif *g, const uint32_t *frame) {
  const int width = g->options.width, height = g->options.height;
  const bool first = g->num_written == 0, exact = g->palette.exact;
  rectangle r = {width, height, 0, 0};
  for (int y = 0; y < height; y++) {
    const size_t row = (size_t)y * (size_t)width;
    uint8_t *indices = g->indices + row;
    dr_palette_map(&g->palette, frame + row, width, y, indices);
    for (int x = 0; x < width; x++) {
      uint32_t *shown = &g->shown[row + (size_t)x];
      const uint8_t *c = g->palette.colours[indices[x]];
      const uint32_t colour = (uint32_t)c[0] << 16 | (uint32_t)c[1] << 8 | c[2];
      if (!first && (colour == *shown || (!exact && is_near(frame[row + (size_t)x], *shown)))) {
        indices[x] = TRANSPARENT;
        continue;
      }
      *shown = colour;
      if (x < r.x0) r.x0 = x;
      if (x >= r.x1) r.x1 = x + 1;
      if (y < r.y0) r.y0 = y;
      r.y1 = y + 1;
    }
  }
  return r.x1 > 0 ? r : (rectangle){0, 0, 1, 1};
}

/* Hundredths of a second of frame k, so that the sum never strays from the rate. */
static int delay_of(const gif *g, int64_t k) {
  const double each = 100 / g->options.frames_per_second;
  const int delay = (int)((int64_t)((double)(k + 1) * each + 0.5) - (int64_t)((double)k * each + 0.5));
  return delay < MIN_DELAY ? MIN_DELAY : delay;
}

static int write_frame(gif *g, const uint32_t *frame, ColorMapObject *map, bool last) {
  const rectangle r = map_frame(g, frame);
  const int width = r.x1 - r.x0;
  GraphicsControlBlock control = {.DisposalMode = DISPOSE_DO_NOT,
                                  .DelayTime = delay_of(g, g->num_written),
                                  .TransparentColor = g->num_written > 0 ? TRANSPARENT : NO_TRANSPARENT_COLOR};
  const int hold = (int)(g->options.hold_s * 100);
  if (last && control.DelayTime < hold) control.DelayTime = hold;
  GifByteType block[4];
  EGifGCBToExtension(&control, block);
  if (EGifPutExtension(g->file, GRAPHICS_EXT_FUNC_CODE, sizeof block, block) == GIF_ERROR ||
      EGifPutImageDesc(g->file, r.x0, r.y0, width, r.y1 - r.y0, false, map) == GIF_ERROR)
    return -1;
  int written = GIF_OK;
  for (int y = r.y0; y < r.y1 && written == GIF_OK; y++)
    written = EGifPutLine(g->file, g->indices + (size_t)y * (size_t)g->options.width + (size_t)r.x0, width);
  g->num_written++;
  return written == GIF_OK ? 0 : -1;
}

/* ---- A window of frames ---- */

static int begin_file(gif *g, ColorMapObject *map) {
  if (EGifPutScreenDesc(g->file, g->options.width, g->options.height, 8, 0, map) == GIF_ERROR) return -1;
  /* Without end, as browsers have understood it since Netscape 2.0. */
  static const unsigned char forever[] = {1, 0, 0};
  if (EGifPutExtensionLeader(g->file, APPLICATION_EXT_FUNC_CODE) == GIF_ERROR ||
      EGifPutExtensionBlock(g->file, 11, "NETSCAPE2.0") == GIF_ERROR ||
      EGifPutExtensionBlock(g->file, sizeof forever, forever) == GIF_ERROR ||
      EGifPutExtensionTrailer(g->file) == GIF_ERROR)
    return -1;
  g->begun = true;
  return 0;
}

static int write_window(gif *g, bool last, char *message) {
  if (g->num_frames == 0) return 0;
  ColorMapObject *map = GifMakeMapObject(256, NULL);
  if (!map || dr_palette_make(&g->palette, (const uint32_t *const *)g->frames, g->num_frames, g->num_pixels)) {
    GifFreeMapObject(map);
    snprintf(message, DR_FILM_MESSAGE, "out of memory");
    return -1;
  }
  for (int i = 0; i < g->palette.num_colours; i++) {
    const uint8_t *c = g->palette.colours[i];
    map->Colors[i] = (GifColorType){c[0], c[1], c[2]};
  }
  /* The first window's palette is the file's; later ones stand before each of their frames. */
  const bool first = !g->begun;
  int failed = first ? begin_file(g, map) : 0;
  for (int i = 0; i < g->num_frames && !failed; i++)
    failed = write_frame(g, g->frames[i], first ? NULL : map, last && i == g->num_frames - 1);
  GifFreeMapObject(map);
  if (failed) return fail(message, "the GIF", g->file->Error);
  g->num_frames = 0;
  return 0;
}

static int add_to_gif(void *self, cairo_surface_t *frame, char *message) {
  gif *g = self;
  if (g->num_frames == g->window && write_window(g, false, message)) return -1;
  const unsigned char *pixels = cairo_image_surface_get_data(frame);
  const size_t stride = (size_t)cairo_image_surface_get_stride(frame), row = (size_t)g->options.width * 4;
  uint32_t *out = g->frames[g->num_frames++];
  for (size_t y = 0; y < (size_t)g->options.height; y++)
    memcpy(out + y * (size_t)g->options.width, pixels + y * stride, row);
  /* The upper byte is not defined. */
  for (size_t i = 0; i < g->num_pixels; i++) out[i] &= 0xffffffu;
  return 0;
}

static int finish_gif(void *self, char *message) {
  gif *g = self;
  if (write_window(g, true, message)) return -1;
  int error = 0;
  const int closed = EGifCloseFile(g->file, &error);
  g->file = NULL;
  return closed == GIF_OK ? 0 : fail(message, "the GIF", error);
}

const dr_film_type dr_film_gif = {open_gif, add_to_gif, finish_gif, close_gif};
