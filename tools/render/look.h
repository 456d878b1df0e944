/* look.h: how a MuJoCo model looks: a model for drawing only, that shares what it can with the one that is stepped.
 *
 * The built-in models carry the published colours and textures, made for a window of 2012. They are drawn on a pale
 * floor without end, under a pale sky, in the light of one high lamp. A user's own model keeps what it says, and gets a
 * floor's pattern, a sky or a lamp only where it has none. */
#ifndef DR_TOOLS_RENDER_LOOK_H
#define DR_TOOLS_RENDER_LOOK_H

#include <mujoco/mujoco.h>
#include <stdbool.h>

enum { DR_LOOK_MAX_BLOCKS = 32 };

typedef struct dr_look {
  mjModel model; /* for mjr_makeContext, mjv_updateScene and an mjData of the drawing's own */
  bool our_light;
  int num_blocks;
  void *blocks[DR_LOOK_MAX_BLOCKS]; /* arrays of `model` that are not shared */
} dr_look;

/* builtin: ours to dress as we like. radius: of what is looked at, in metres; the floor's tiles follow it. -1 = no
 * memory. `compiled` must outlive the look. */
int dr_look_open(dr_look *look, const mjModel *compiled, bool builtin, double radius, int width, int height);
void dr_look_close(dr_look *look);

/* After mjv_updateScene: our lamp, above what the camera looks at. */
void dr_look_light(const dr_look *look, mjvScene *scene, const double lookat[3], double radius);

#endif
