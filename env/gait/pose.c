/* pose.c: the reference as positions of the model: joints, height, feet. Planar chains, without an mjData. */
#include <math.h>

#include "env/gait/gait.h"

/* Step length and cadence both grow with the root of the speed: their quotient, the walk ratio, is the same over a wide
 * range of speeds (Sekiya and Nagasaki 1998; below 1 m/s it grows: Murakami and Otaka 2017). Grieve and Gear,
 * Ergonomics 9(5), 1966, found cadence growing with the power 0.58 of the speed, which leaves 0.42 for the stride. The
 * exponent is the stride's; its share of the table's: */
static double stride_share(const dr_gait_world *world, double speed) {
  return pow(speed / world->config.reference_speed, world->config.stride_exponent);
}

double dr_gait_phase_rate(const dr_gait_world *world, double speed) {
  const dr_gait_config *c = &world->config;
  return c->reference_speed / c->stride * pow(speed / c->reference_speed, 1 - c->stride_exponent);
}

/* A shorter stride is a smaller movement about the same posture: upright on straight legs, feet flat. At the
 * reference's own speed the share is 1, and the angles are the table's to the bit. */
void dr_gait_reference_joints(const dr_gait_world *world, double phase, double speed, double angle[DR_GAIT_JOINTS],
                              double velocity[DR_GAIT_JOINTS]) {
  const double share = stride_share(world, speed), rate = dr_gait_phase_rate(world, speed);
  const double standing[DR_GAIT_LEG_JOINTS] = {world->config.pelvis_pitch * M_PI / 180, 0, 0};
  dr_gait_reference_leg(&world->reference, phase, angle, velocity);
  dr_gait_reference_leg(&world->reference, phase + 0.5, angle + DR_GAIT_LEG_JOINTS, velocity + DR_GAIT_LEG_JOINTS);
  for (int j = 0; j < DR_GAIT_JOINTS; j++) {
    angle[j] = share * angle[j] + (1 - share) * standing[j % DR_GAIT_LEG_JOINTS];
    velocity[j] *= share * rate;
  }
}

/* to += v turned by `angle` about y, which takes z to x. */
static void add_turned(double to[2], const mjtNum v[3], double angle) {
  const double c = cos(angle), s = sin(angle);
  to[0] += c * v[0] + s * v[2];
  to[1] += c * v[2] - s * v[0];
}

/* A point of leg 0 (right) or 1, `local` in the foot's frame: x and z from the pelvis's origin. */
static void foot_point(const dr_gait_world *world, int leg, double pitch, const double *angle, const mjtNum local[3],
                       double point[2]) {
  const mjModel *m = &world->model;
  const int32_t *body = world->body + 2 + 3 * leg; /* femur, tibia, foot */
  angle += DR_GAIT_LEG_JOINTS * leg;
  const double thigh = pitch - angle[0], shank = thigh + angle[1], foot = shank - angle[2];
  point[0] = point[1] = 0;
  add_turned(point, m->body_pos + 3 * body[0], pitch);
  add_turned(point, m->body_pos + 3 * body[1], thigh);
  add_turned(point, m->body_pos + 3 * body[2], shank);
  add_turned(point, local, foot);
}

double dr_gait_height(const dr_gait_world *world, double pitch, const double angle[DR_GAIT_JOINTS]) {
  const mjModel *m = &world->model;
  double lowest = INFINITY;
  for (int i = 0; i < DR_GAIT_SOLES; i++) {
    double centre[2];
    foot_point(world, i / 2, pitch, angle, m->geom_pos + 3 * world->sole[i], centre);
    lowest = fmin(lowest, centre[1] - m->geom_size[3 * world->sole[i]]);
  }
  return -lowest;
}

void dr_gait_feet(const dr_gait_world *world, double pitch, const double angle[DR_GAIT_JOINTS], double feet[4]) {
  for (int leg = 0; leg < 2; leg++)
    foot_point(world, leg, pitch, angle, world->model.body_ipos + 3 * world->body[4 + 3 * leg], feet + 2 * leg);
}

void dr_gait_reference_pose(const dr_gait_world *world, double phase, double speed, double qpos[DR_GAIT_DOFS],
                            double qvel[DR_GAIT_DOFS]) {
  const double rate = dr_gait_phase_rate(world, speed), pitch = world->config.pelvis_pitch * M_PI / 180;
  const double apart = 1e-4; /* cycles, for the height's derivative */
  double height[2];
  for (int side = 0; side < 2; side++) {
    dr_gait_reference_joints(world, phase + (side ? apart : -apart), speed, qpos + DR_GAIT_ROOT, qvel + DR_GAIT_ROOT);
    height[side] = dr_gait_height(world, pitch, qpos + DR_GAIT_ROOT);
  }
  dr_gait_reference_joints(world, phase, speed, qpos + DR_GAIT_ROOT, qvel + DR_GAIT_ROOT);
  qpos[0] = 0;
  qpos[1] = dr_gait_height(world, pitch, qpos + DR_GAIT_ROOT);
  qpos[2] = pitch;
  qvel[0] = speed;
  qvel[1] = (height[1] - height[0]) / (2 * apart) * rate;
  qvel[2] = 0;
}
