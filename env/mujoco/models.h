/* models.h: the built-in models, compiled into the library from models/NAME.xml by embed.cmake. */
#ifndef DR_ENV_MUJOCO_MODELS_H
#define DR_ENV_MUJOCO_MODELS_H

#include <stddef.h>

typedef struct {
  const char *name; /* "half_cheetah"; the last one's is NULL */
  const char *text; /* MJCF, no NUL counted */
  size_t size;      /* bytes */
} dr_mj_text;

extern const dr_mj_text dr_mj_texts[];

#endif
