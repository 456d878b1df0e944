/* look.c: the dressing of a model for drawing. Only pointers of a copy of mjModel's struct are changed. */
#include "tools/render/look.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "env/mujoco/engine.h"

enum {
  SKY_SIDE = 64,
  FLOOR_SIDE = 256,
  SKY_BYTES = 6 * SKY_SIDE * SKY_SIDE * 3,
  FLOOR_BYTES = FLOOR_SIDE * FLOOR_SIDE * 3
};

#if DR_MJ_HAS_ARENA
typedef mjtSize address; /* MuJoCo's types grew between its versions */
enum { ROLES = mjNTEXROLE, COLOUR_ROLE = mjTEXROLE_RGB };
#define TEXELS tex_data
#else
typedef int address;
enum { ROLES = 1, COLOUR_ROLE = 0 };
#define TEXELS tex_rgb
#endif

/* A copy of `count` elements with room for `more` behind them, zeroed. NULL = no memory. */
static void *grown(dr_look *look, const void *old, size_t count, size_t more, size_t element) {
  unsigned char *block = calloc(count + more ? count + more : 1, element);
  if (!block) return NULL;
  if (count) memcpy(block, old, count * element);
  look->blocks[look->num_blocks++] = block;
  return block;
}

#define GROW(field, count, more, width) \
  (look->model.field =                  \
       grown(look, look->model.field, (size_t)(count) * (width), (size_t)(more) * (width), sizeof *look->model.field))

/* ---- Pictures ---- */

static void put(mjtByte *texel, const double colour[3]) {
  for (int c = 0; c < 3; c++) texel[c] = (mjtByte)lround(255 * colour[c]);
}

/* Six faces below each other (right, left, up, down, front, back): white at the horizon, blue above, in y-up
 * coordinates. */
static void paint_sky(mjtByte *texels) {
  static const double zenith[3] = {0.55, 0.71, 0.88}, horizon[3] = {0.95, 0.965, 0.98};
  for (int face = 0; face < 6; face++)
    for (int row = 0; row < SKY_SIDE; row++)
      for (int column = 0; column < SKY_SIDE; column++) {
        const double u = (column + 0.5) / SKY_SIDE * 2 - 1, v = 1 - (row + 0.5) / SKY_SIDE * 2;
        const double up = face == 2 ? 1 : face == 3 ? -1 : v;
        const double sine = up / sqrt(1 + u * u + v * v), t = sine > 0 ? pow(sine, 0.7) : 0;
        double colour[3];
        for (int c = 0; c < 3; c++) colour[c] = (1 - t) * horizon[c] + t * zenith[c];
        put(texels + 3 * ((face * SKY_SIDE + row) * SKY_SIDE + column), colour);
      }
}

/* Two by two tiles. */
static void paint_floor(mjtByte *texels) {
  static const double light[3] = {0.905, 0.92, 0.935}, dark[3] = {0.80, 0.825, 0.85}, seam[3] = {0.965, 0.97, 0.975};
  const int tile = FLOOR_SIDE / 2;
  for (int y = 0; y < FLOOR_SIDE; y++)
    for (int x = 0; x < FLOOR_SIDE; x++) {
      const bool edge = x % tile < 1 || y % tile < 1;
      put(texels + 3 * (y * FLOOR_SIDE + x), edge ? seam : x / tile == y / tile ? light : dark);
    }
}

/* ---- Textures and materials ---- */

static void describe_texture(mjModel *m, int t, int type, int side, int rows, address at) {
  m->tex_type[t] = type;
  m->tex_width[t] = side;
  m->tex_height[t] = rows;
  m->tex_adr[t] = at;
#if DR_MJ_HAS_ARENA
  m->tex_nchannel[t] = 3;
#endif
}

/* Two more textures, the sky and the floor's; other skies go. Returns the floor's index, or -1. */
static int add_textures(dr_look *look, bool builtin) {
  mjModel *m = &look->model;
  const int count = (int)m->ntex;
  bool has_sky = false;
  for (int t = 0; t < count; t++) has_sky |= m->tex_type[t] == mjTEXTURE_SKYBOX;
  const address old_bytes = (address)m->ntexdata;
  if (!GROW(tex_type, count, 2, 1) || !GROW(tex_height, count, 2, 1) || !GROW(tex_width, count, 2, 1) ||
      !GROW(tex_adr, count, 2, 1) || !GROW(TEXELS, old_bytes, SKY_BYTES + FLOOR_BYTES, 1))
    return -1;
#if DR_MJ_HAS_ARENA
  if (!GROW(tex_nchannel, count, 2, 1) || !GROW(tex_colorspace, count, 2, 1) || !GROW(tex_pathadr, count, 2, 1))
    return -1;
#endif
  for (int t = 0; t < count && builtin; t++)
    if (m->tex_type[t] == mjTEXTURE_SKYBOX) m->tex_type[t] = mjTEXTURE_CUBE;
  describe_texture(m, count, mjTEXTURE_2D, FLOOR_SIDE, FLOOR_SIDE, old_bytes);
  paint_floor(m->TEXELS + old_bytes);
  describe_texture(m, count + 1, mjTEXTURE_SKYBOX, SKY_SIDE, 6 * SKY_SIDE, old_bytes + FLOOR_BYTES);
  paint_sky(m->TEXELS + old_bytes + FLOOR_BYTES);
  m->ntex += builtin || !has_sky ? 2 : 1;
  m->ntexdata += SKY_BYTES + FLOOR_BYTES;
  return count;
}

/* Two more materials, the floor's and a plain one. Returns the floor's index, or -1. */
static int add_materials(dr_look *look, int floor_texture, double tile) {
  mjModel *m = &look->model;
  const int count = (int)m->nmat, floor = count, plain = count + 1;
  if (!GROW(mat_texid, count, 2, ROLES) || !GROW(mat_texuniform, count, 2, 1) || !GROW(mat_texrepeat, count, 2, 2) ||
      !GROW(mat_emission, count, 2, 1) || !GROW(mat_specular, count, 2, 1) || !GROW(mat_shininess, count, 2, 1) ||
      !GROW(mat_reflectance, count, 2, 1) || !GROW(mat_rgba, count, 2, 4))
    return -1;
#if DR_MJ_HAS_ARENA
  if (!GROW(mat_metallic, count, 2, 1) || !GROW(mat_roughness, count, 2, 1)) return -1;
#endif
  for (int i = count * ROLES; i < (count + 2) * ROLES; i++) m->mat_texid[i] = -1;
  for (int i = count * 4; i < (count + 2) * 4; i++) m->mat_rgba[i] = 1;
  m->mat_texid[floor * ROLES + COLOUR_ROLE] = floor_texture;
  m->mat_texuniform[floor] = 1;
  m->mat_texrepeat[2 * floor] = m->mat_texrepeat[2 * floor + 1] = (float)(1 / (2 * tile));
  m->mat_specular[plain] = 0.35F;
  m->mat_shininess[plain] = 0.6F;
  m->nmat += 2;
  return floor;
}

/* ---- Geoms ---- */

static bool is_default_grey(const float rgba[4]) {
  return rgba[0] == 0.5F && rgba[1] == 0.5F && rgba[2] == 0.5F && rgba[3] == 1;
}

static int dress_geoms(dr_look *look, bool builtin, int floor) {
  mjModel *m = &look->model;
  const int count = (int)m->ngeom;
  if (!GROW(geom_matid, count, 0, 1) || !GROW(geom_rgba, count, 0, 4) || !GROW(geom_size, count, 0, 3)) return -1;
  for (int g = 0; g < count; g++) {
    float *rgba = m->geom_rgba + 4 * g;
    const bool plane = m->geom_type[g] == mjGEOM_PLANE;
    if (plane && (builtin || m->geom_matid[g] < 0)) {
      m->geom_matid[g] = floor;
      if (builtin || is_default_grey(rgba)) rgba[0] = rgba[1] = rgba[2] = rgba[3] = 1;
    }
    if (!builtin) continue;
    /* A floor has no edge that one could run over. */
    if (plane) m->geom_size[3 * g] = m->geom_size[3 * g + 1] = 0;
    if (plane) continue;
    if (m->geom_matid[g] >= 0 && is_default_grey(rgba))
      memcpy(rgba, m->mat_rgba + 4 * m->geom_matid[g], 4 * sizeof *rgba);
    m->geom_matid[g] = floor + 1;
  }
  return 0;
}

/* ---- All of it ---- */

/* 1, 2 or 5 times a power of ten. */
static double round_length(double x) {
  const double power = pow(10, floor(log10(x))), first = x / power;
  return power * (first < 1.5 ? 1 : first < 3.5 ? 2 : first < 7.5 ? 5 : 10);
}

static void set(float out[3], float r, float g, float b) { out[0] = r, out[1] = g, out[2] = b; }

int dr_look_open(dr_look *look, const mjModel *compiled, bool builtin, double radius, int width, int height) {
  memset(look, 0, sizeof *look);
  look->model = *compiled;
  mjModel *m = &look->model;
  const int floor_texture = add_textures(look, builtin);
  const int floor_material = floor_texture < 0 ? -1 : add_materials(look, floor_texture, round_length(0.6 * radius));
  if (floor_material < 0 || dress_geoms(look, builtin, floor_material)) {
    dr_look_close(look);
    return -1;
  }
  look->our_light = builtin || m->nlight == 0;
  m->vis.global.offwidth = width;
  m->vis.global.offheight = height;
  m->vis.quality.offsamples = 4;
  m->vis.quality.shadowsize = 4096;
  if (look->our_light) {
    set(m->vis.headlight.ambient, 0.42F, 0.43F, 0.45F);
    set(m->vis.headlight.diffuse, 0.28F, 0.28F, 0.28F);
    set(m->vis.headlight.specular, 0.05F, 0.05F, 0.05F);
    m->vis.headlight.active = 1;
  }
  if (builtin) {
    /* Near, far and the reach of shadows are multiples of the extent. */
    m->stat.extent = radius;
    m->vis.map.znear = 0.02F;
    m->vis.map.zfar = 60;
    m->vis.map.shadowclip = 1.7F;
    m->vis.map.haze = 0.35F;
    const float pale[4] = {0.95F, 0.965F, 0.98F, 1};
    memcpy(m->vis.rgba.haze, pale, sizeof pale);
  }
  return 0;
}

void dr_look_close(dr_look *look) {
  for (int i = 0; i < look->num_blocks; i++) free(look->blocks[i]);
  look->num_blocks = 0;
}

void dr_look_light(const dr_look *look, mjvScene *scene, const double lookat[3], double radius) {
  if (!look->our_light) return;
  static const double direction[3] = {0.35, 0.45, -0.82}; /* a unit vector, nearly */
  /* The headlight stays first; lamps of the model's own go out. */
  int count = 0;
  while (count < scene->nlight && scene->lights[count].headlight) count++;
  mjvLight *lamp = &scene->lights[count];
  memset(lamp, 0, sizeof *lamp);
  for (int i = 0; i < 3; i++) {
    lamp->dir[i] = (float)direction[i];
    lamp->pos[i] = (float)(lookat[i] - 4 * radius * direction[i]);
  }
#if DR_MJ_HAS_ARENA
  lamp->type = mjLIGHT_DIRECTIONAL;
  lamp->texid = -1;
#else
  lamp->directional = 1;
#endif
  lamp->attenuation[0] = 1;
  lamp->cutoff = 45;
  /* Version 3's shadow maps of a lamp like this leave stripes on the floor when OpenGL runs on the CPU. */
  lamp->castshadow = !DR_MJ_HAS_ARENA;
  set(lamp->diffuse, 0.52F, 0.51F, 0.49F);
  set(lamp->specular, 0.25F, 0.25F, 0.25F);
  scene->nlight = count + 1;
}
