/* render.h: what the files of `drover render` share: the request. */
#ifndef DR_TOOLS_RENDER_RENDER_H
#define DR_TOOLS_RENDER_RENDER_H

#include "tools/options.h"
#include "tools/render/film.h"
#include "tools/render/picture.h"
#include "tools/setup.h"

/* Without --steps, for an env whose episodes have no end. */
enum { DR_RENDER_MOST_STEPS = 1000 };

typedef struct dr_render_request {
  dr_options common; /* num_steps 0 = until the first episode ends */
  const drover_env_type *type;
  dr_policy_choice policy, inner_policy;
  int sampling; /* as asked for, 0 = not */
  bool deterministic;
  const char *out;
  dr_film_kind kind;
  dr_picture_options picture;
  double frames_per_second; /* 0 = as fast as life */
  int every;                /* 0 = chosen */
  int num_frames, columns;  /* PNG */
  int32_t still;            /* PNG: the step that is drawn, -1 = the last */
  bool no_caption;
} dr_render_request;

/* Understand argv; exits with a usage error, or after --help. */
void dr_render_parse(dr_render_request *request, int argc, char **argv);

#endif
