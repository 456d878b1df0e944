/* view.h: from where a MuJoCo model is looked at: a side, a distance, and what to follow. */
#ifndef DR_TOOLS_RENDER_VIEW_H
#define DR_TOOLS_RENDER_VIEW_H

#include <mujoco/mujoco.h>
#include <stdbool.h>

#include "tools/render/picture.h"

typedef struct dr_view {
  mjvCamera camera;
  int body;         /* followed, 0 = none */
  double radius;    /* of what is to be seen, m */
  double height;    /* m, of the point looked at: it does not bob with every step */
  double offset[3]; /* from the followed body's centre of mass to the point looked at, where it is not followed: that
                       point */
} dr_view;

/* What to look at, with d in its first state, after mj_forward. -1 and a sentence if there is no such camera. */
int dr_view_choose(dr_view *view, const mjModel *m, const mjData *d, const dr_picture_options *options, char *message);

/* Turn the camera to where the body is now. */
void dr_view_follow(dr_view *view, const mjData *d);

#endif
