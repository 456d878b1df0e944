/* view.c: choosing a view from what a model can do: what runs is followed, what moves in a plane is seen from the side.
 */
#include "tools/render/view.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- What moves, and how ---- */

typedef enum motion { ANYHOW, UPRIGHT /* in the x-z plane */, FLAT /* in the x-y plane */ } motion;

/* A hinge about `normal`, or a slide across it. */
static bool stays_in_plane(const mjModel *m, const mjData *d, int joint, int normal) {
  const double along = fabs(d->xaxis[3 * joint + normal]);
  if (m->jnt_type[joint] == mjJNT_HINGE) return along > 0.99;
  return m->jnt_type[joint] == mjJNT_SLIDE && along < 0.01;
}

static motion motion_of(const mjModel *m, const mjData *d) {
  bool upright = m->njnt > 0, flat = m->njnt > 0;
  for (int j = 0; j < m->njnt; j++) {
    upright &= stays_in_plane(m, d, j, 1);
    flat &= stays_in_plane(m, d, j, 2);
  }
  return upright ? UPRIGHT : flat ? FLAT : ANYHOW;
}

/* The heaviest body that stands in the world by itself and moves, if it can leave its place; else 0. */
static int find_runner(const mjModel *m) {
  int runner = 0;
  for (int b = 1; b < m->nbody; b++)
    if (m->body_parentid[b] == 0 && m->body_jntnum[b] > 0 &&
        (runner == 0 || m->body_subtreemass[b] > m->body_subtreemass[runner]))
      runner = b;
  for (int i = 0; i < m->body_jntnum[runner]; i++) {
    const int j = m->body_jntadr[runner] + i;
    const int type = m->jnt_type[j];
    if (type == mjJNT_FREE || (type == mjJNT_SLIDE && !m->jnt_limited[j])) return runner;
  }
  return 0;
}

/* The box around geom g; false for a plane, which has none. */
static bool box_of(const mjModel *m, const mjData *d, int g, double low[3], double high[3]) {
  const int type = m->geom_type[g];
  if (m->geom_rbound[g] <= 0) return false;
  const bool long_one = type == mjGEOM_CAPSULE || type == mjGEOM_CYLINDER;
  for (int i = 0; i < 3; i++) {
    const double along = long_one ? fabs(d->geom_xmat[9 * g + 3 * i + 2]) * m->geom_size[3 * g + 1] : 0;
    const double half = long_one ? along + m->geom_size[3 * g] : m->geom_rbound[g];
    low[i] = d->geom_xpos[3 * g + i] - half;
    high[i] = d->geom_xpos[3 * g + i] + half;
  }
  return true;
}

/* The box around all geoms (of the runner, if there is one): its middle, and half of its diagonal. */
static double find_extent(const mjModel *m, const mjData *d, int runner, double middle[3]) {
  double low[3] = {INFINITY, INFINITY, INFINITY}, high[3] = {-INFINITY, -INFINITY, -INFINITY};
  for (int g = 0; g < m->ngeom; g++) {
    double from[3], to[3];
    if ((runner && m->body_rootid[m->geom_bodyid[g]] != runner) || !box_of(m, d, g, from, to)) continue;
    for (int i = 0; i < 3; i++) {
      low[i] = fmin(low[i], from[i]);
      high[i] = fmax(high[i], to[i]);
    }
  }
  double squares = 0;
  for (int i = 0; i < 3; i++) {
    middle[i] = low[i] <= high[i] ? (low[i] + high[i]) / 2 : m->stat.center[i];
    squares += low[i] <= high[i] ? (high[i] - low[i]) * (high[i] - low[i]) / 4 : 0;
  }
  return squares > 0 ? sqrt(squares) : fmax(0.1, m->stat.extent);
}

/* ---- The camera ---- */

static int use_named(dr_view *view, const mjModel *m, const char *name, char *message) {
  view->camera.type = mjCAMERA_FIXED;
  view->camera.fixedcamid = mj_name2id(m, mjOBJ_CAMERA, name);
  if (view->camera.fixedcamid >= 0) return 0;
  char names[300] = "";
  for (int c = 0; c < m->ncam; c++) {
    const char *known = mj_id2name(m, mjOBJ_CAMERA, c);
    const size_t used = strlen(names);
    if (known && known[0]) snprintf(names + used, sizeof names - used, ", %s", known);
  }
  snprintf(message, DR_PICTURE_MESSAGE, "--camera: the model has no camera '%s'; there are: follow, free%s", name,
           names);
  return -1;
}

int dr_view_choose(dr_view *view, const mjModel *m, const mjData *d, const dr_picture_options *options, char *message) {
  static const struct { double azimuth, elevation; } sides[] = {{118, -22}, {90, -9}, {90, -55}};
  memset(view, 0, sizeof *view);
  mjv_defaultCamera(&view->camera);
  view->camera.type = mjCAMERA_FREE;
  const motion how = motion_of(m, d);
  const int runner = find_runner(m);
  double centre[3];
  view->radius = find_extent(m, d, runner, centre);
  view->height = centre[2];
  memcpy(view->offset, centre, sizeof centre);
  view->body = options->camera && strcmp(options->camera, "free") == 0 ? 0 : runner;
  view->camera.azimuth = options->has_view ? options->azimuth : sides[how].azimuth;
  view->camera.elevation = options->has_view ? options->elevation : sides[how].elevation;
  /* A runner needs room to move its limbs. */
  const double half_angle = 0.5 * M_PI / 180 * (double)m->vis.global.fovy;
  view->camera.distance = (runner ? 1.4 : 1.0) * view->radius / sin(half_angle);
  if (options->has_view && options->distance > 0) view->camera.distance = options->distance;
  dr_view_follow(view, d);
  if (!options->camera || strcmp(options->camera, "follow") == 0 || strcmp(options->camera, "free") == 0) return 0;
  return use_named(view, m, options->camera, message);
}

void dr_view_follow(dr_view *view, const mjData *d) {
  for (int i = 0; i < 3; i++)
    view->camera.lookat[i] = view->body ? d->subtree_com[3 * view->body + i] : view->offset[i];
  if (!view->body) return;
  /* The height gives way only to what flies or falls far. */
  const double z = view->camera.lookat[2], slack = 0.3 * view->radius;
  view->height = fmin(fmax(view->height, z - slack), z + slack);
  view->camera.lookat[2] = view->height;
}
