/* film.h: where frames go: a GIF, an MP4, or a PNG of one frame or of a sheet of them. The file's ending says which.
 *
 * Frames are cairo image surfaces of CAIRO_FORMAT_RGB24. A film is written beside its final name and takes that name
 * when it is finished; whatever went wrong before, the name holds what it held. */
#ifndef DR_TOOLS_RENDER_FILM_H
#define DR_TOOLS_RENDER_FILM_H

#include <cairo.h>
#include <stdbool.h>
#include <stdint.h>

enum { DR_FILM_MESSAGE = 1024 };

typedef enum dr_film_kind { DR_FILM_GIF, DR_FILM_PNG, DR_FILM_MP4, DR_FILM_UNKNOWN } dr_film_kind;

typedef struct dr_film_options {
  const char *path;
  dr_film_kind kind;
  int width, height; /* of a frame */
  double frames_per_second;
  int num_frames; /* PNG: how many make the sheet */
  int columns;    /* PNG: how many of them side by side */
  double hold_s;  /* GIF: how long the last frame stays before the film begins again */
} dr_film_options;

typedef struct dr_film dr_film;

/* What the path's ending asks for. */
dr_film_kind dr_film_kind_of(const char *path);

/* A kind of film: its functions return 0, or -1 and a sentence in message (DR_FILM_MESSAGE bytes). */
typedef struct dr_film_type {
  int (*open)(void **self, const char *path, const dr_film_options *options, char *message);
  int (*add)(void *self, cairo_surface_t *frame, char *message);
  int (*finish)(void *self, char *message); /* all that is left to write */
  void (*close)(void *self);                /* after finish, or instead of it; NULL is accepted */
} dr_film_type;

extern const dr_film_type dr_film_gif, dr_film_png, dr_film_mp4;

/* The calls below return like those; after a failure only dr_film_close is possible. */
int dr_film_open(dr_film **out, const dr_film_options *options, char *message);
int dr_film_add(dr_film *film, cairo_surface_t *frame, char *message);
int dr_film_finish(dr_film *film, char *message);
/* Frees the film, and removes what was written of one that was not finished. NULL is accepted. */
void dr_film_close(dr_film *film);

#endif
