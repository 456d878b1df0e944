/* film.c: the kinds of film by their endings, and the renaming of a finished one. */
#include "tools/render/film.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

struct dr_film {
  const dr_film_type *type;
  void *self;
  char *temporary; /* where it is written */
  char *path;      /* where it goes */
  bool finished;
};

dr_film_kind dr_film_kind_of(const char *path) {
  static const char *const endings[] = {".gif", ".png", ".mp4"};
  const size_t length = strlen(path);
  for (int kind = 0; kind < DR_FILM_UNKNOWN; kind++)
    if (length > 4 && strcasecmp(path + length - 4, endings[kind]) == 0) return (dr_film_kind)kind;
  return DR_FILM_UNKNOWN;
}

int dr_film_open(dr_film **out, const dr_film_options *options, char *message) {
  static const dr_film_type *const types[] = {&dr_film_gif, &dr_film_png, &dr_film_mp4};
  const size_t length = strlen(options->path);
  dr_film *film = calloc(1, sizeof *film);
  if (film) {
    film->type = types[options->kind];
    film->path = strdup(options->path);
    film->temporary = malloc(length + 40);
  }
  if (!film || !film->path || !film->temporary) {
    dr_film_close(film);
    snprintf(message, DR_FILM_MESSAGE, "out of memory");
    return -1;
  }
  /* The ending stays last: ffmpeg looks at it too. */
  snprintf(film->temporary, length + 40, "%s.%ld.tmp%s", film->path, (long)getpid(), film->path + length - 4);
  if (film->type->open(&film->self, film->temporary, options, message)) {
    dr_film_close(film);
    return -1;
  }
  *out = film;
  return 0;
}

int dr_film_add(dr_film *film, cairo_surface_t *frame, char *message) {
  cairo_surface_flush(frame);
  return film->type->add(film->self, frame, message);
}

int dr_film_finish(dr_film *film, char *message) {
  if (film->type->finish(film->self, message)) return -1;
  if (rename(film->temporary, film->path)) {
    snprintf(message, DR_FILM_MESSAGE, "cannot rename %s to %s: %s", film->temporary, film->path, strerror(errno));
    return -1;
  }
  film->finished = true;
  return 0;
}

void dr_film_close(dr_film *film) {
  if (!film) return;
  film->type->close(film->self);
  if (film->temporary && !film->finished) unlink(film->temporary);
  free(film->temporary);
  free(film->path);
  free(film);
}
