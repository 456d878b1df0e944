/* episode.c: reset, ticks and the end of a step: what is wanted of the joints, what is observed, what is rewarded. */
#include "env/gait/episode.h"

#include <math.h>

#include "env/mujoco/task.h"

const char *const dr_gait_info_names[DR_GAIT_INFOS] = {"joint_term", "velocity_term", "feet_factor", "speed_term",
                                                       "effort",     "speed",         "torque_error"};

/* ---- Wanted torques ---- */

/* The joints' target of a step: where the reference is at its end, moved by the action. */
static int set_target(const dr_gait_world *world, dr_gait_env *env, const float *action) {
  const double speed = env->target_speed, rate = dr_gait_phase_rate(world, speed);
  dr_gait_reference_joints(world, env->phase + rate * DR_GAIT_STEP_TIME, speed, env->target, env->target_velocity);
  for (int j = 0; j < DR_GAIT_JOINTS; j++) {
    if (!isfinite(action[j])) {
      snprintf(env->why, sizeof env->why, "action[%d] is not finite", j);
      return -1;
    }
    env->target[j] += world->config.action_scale * (double)action[j];
  }
  return 0;
}

static void update_torque(const dr_gait_world *world, dr_gait_env *env) {
  const dr_gait_config *c = &world->config;
  const mjtNum *q = env->data->qpos + DR_GAIT_ROOT, *v = env->data->qvel + DR_GAIT_ROOT;
  for (int j = 0; j < DR_GAIT_JOINTS; j++) {
    const double torque = c->kp * (env->target[j] - q[j]) + c->kd * (env->target_velocity[j] - v[j]);
    env->torque[j] = dr_mj_clip(torque, -c->max_torque, c->max_torque);
  }
}

/* A push lasts the step that it is drawn for: nothing of it need be kept. */
static void push(const dr_gait_world *world, const dr_gait_env *env, const drover_env_tick *tick) {
  const dr_gait_config *c = &world->config;
  if (c->push == 0) return;
  drover_random random = drover_env_tick_random(tick);
  const bool now = drover_random_uniform(&random) < DR_GAIT_STEP_TIME / c->push_time;
  const double impulse = drover_random_range(&random, -c->push, c->push);
  env->data->xfrc_applied[6 * world->body[1]] = now ? impulse / DR_GAIT_STEP_TIME : 0;
}

int dr_gait_begin(void *shared, void *state, const drover_env_tick *tick) {
  const dr_gait_world *world = shared;
  dr_gait_env *env = state;
  if (!env->data || set_target(world, env, tick->action)) return -1;
  env->start_x = env->data->qpos[0];
  env->effort = env->torque_error = 0;
  push(world, env, tick);
  update_torque(world, env);
  dr_gait_inner_row(world, env->data, env->torque, tick->inner_observation, tick->sample);
  return 0;
}

int dr_gait_tick(void *shared, void *state, const drover_env_tick *tick) {
  const dr_gait_world *world = shared;
  dr_gait_env *env = state;
  if (dr_gait_env_tick(world, env, tick->inner_action)) return -1;
  if (!tick->inner_observation) return 0;
  update_torque(world, env);
  dr_gait_inner_row(world, env->data, env->torque, tick->inner_observation, tick->sample);
  return 0;
}

/* ---- Observations ---- */

/* A body's mass centre moves with its velocity about the whole body's (cvel: angular, then linear there). */
static void body_velocity(const mjModel *m, const mjData *d, int32_t body, double velocity[2]) {
  const mjtNum *spin = d->cvel + 6 * body, *centre = d->subtree_com + 3 * m->body_rootid[body];
  const double x = d->xipos[3 * body] - centre[0], z = d->xipos[3 * body + 2] - centre[2];
  velocity[0] = spin[3] + spin[1] * z;
  velocity[1] = spin[5] - spin[1] * x;
}

static void observe_contacts(const dr_gait_world *world, const mjData *d, float contact[DR_GAIT_SOLES]) {
  for (int s = 0; s < DR_GAIT_SOLES; s++) contact[s] = 0;
  for (int i = 0; i < d->ncon; i++)
    for (int s = 0; s < DR_GAIT_SOLES; s++)
      if (d->contact[i].geom1 == world->sole[s] || d->contact[i].geom2 == world->sole[s]) contact[s] = 1;
}

void dr_gait_observe(const dr_gait_world *world, const dr_gait_env *env, float *o) {
  const double position_scale = 0.8, velocity_scale = 0.2;
  const mjData *d = env->data;
  const mjtNum *pelvis = d->xipos + 3 * world->body[0];
  for (int b = 1; b < DR_GAIT_BODIES; b++) {
    const mjtNum *place = d->xipos + 3 * world->body[b];
    *o++ = (float)(position_scale * (place[0] - pelvis[0]));
    *o++ = (float)(position_scale * (place[2] - pelvis[2]));
  }
  for (int b = 0; b < DR_GAIT_BODIES; b++) {
    double velocity[2];
    body_velocity(&world->model, d, world->body[b], velocity);
    *o++ = (float)(velocity_scale * velocity[0]);
    *o++ = (float)(velocity_scale * velocity[1]);
  }
  *o++ = (float)d->qpos[1];
  *o++ = (float)d->qpos[2];
  *o++ = (float)sin(2 * M_PI * env->phase);
  *o++ = (float)cos(2 * M_PI * env->phase);
  observe_contacts(world, d, o);
  o[DR_GAIT_SOLES] = (float)env->target_speed;
}

/* ---- Episodes ---- */

static void add_noise(const dr_gait_world *world, double qpos[DR_GAIT_DOFS], double qvel[DR_GAIT_DOFS],
                      drover_random *random) {
  const double noise = world->config.reset_noise;
  if (noise == 0) return;
  for (int i = 2; i < DR_GAIT_DOFS; i++) {
    qpos[i] += noise * dr_mj_normal(random);
    qvel[i] += 10 * noise * dr_mj_normal(random);
    if (i < DR_GAIT_ROOT) continue;
    const mjtNum *range = world->model.jnt_range + 2 * i;
    qpos[i] = dr_mj_clip(qpos[i], range[0], range[1]);
  }
  qpos[1] = dr_gait_height(world, qpos[2], qpos + DR_GAIT_ROOT);
}

/* A target speed, where they are drawn: for an episode, or in its course. */
static void draw_speed(const dr_gait_world *world, dr_gait_env *env, drover_random *random) {
  const dr_gait_config *c = &world->config;
  if (c->speed_high > 0) env->target_speed = drover_random_range(random, c->speed_low, c->speed_high);
}

int dr_gait_reset(void *shared, void *state, const drover_env_rows *rows) {
  const dr_gait_world *world = shared;
  dr_gait_env *env = state;
  drover_random random = drover_env_random(rows, 0);
  const double drawn = drover_random_uniform(&random);
  env->phase = world->config.reset_phase < 0 ? drawn : world->config.reset_phase;
  draw_speed(world, env, &random);
  double qpos[DR_GAIT_DOFS], qvel[DR_GAIT_DOFS];
  dr_gait_reference_pose(world, env->phase, env->target_speed, qpos, qvel);
  add_noise(world, qpos, qvel, &random);
  if (dr_gait_env_place(world, env, qpos, qvel)) return -1;
  dr_gait_observe(world, env, rows->observations);
  return 0;
}

/* ---- Rewards ---- */

static double squared_distance(const double *a, const double *b, int count) {
  double sum = 0;
  for (int i = 0; i < count; i++) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sum;
}

/* Where the feet are, as dr_gait_feet tells them of the reference. */
static double squared_feet_error(const dr_gait_world *world, const mjData *d, const double *reference_angle) {
  const mjtNum *pelvis = d->xpos + 3 * world->body[0];
  double feet[4], wanted[4];
  for (int leg = 0; leg < 2; leg++) {
    const mjtNum *foot = d->xipos + 3 * world->body[4 + 3 * leg];
    feet[2 * leg] = foot[0] - pelvis[0];
    feet[2 * leg + 1] = foot[2] - pelvis[2];
  }
  dr_gait_feet(world, world->config.pelvis_pitch * M_PI / 180, reference_angle, wanted);
  return squared_distance(feet, wanted, 4);
}

/* The imitation terms, their gains and weights are those of the code that Lee et al. (2019) published (github.com
 * lsw9021/MASS, core/Environment.cpp), but that there feet are seen from the mass centre; that of the speed is ours. */
static double reward(const dr_gait_world *world, const dr_gait_env *env, bool fallen, double info[DR_GAIT_INFOS]) {
  const dr_gait_config *c = &world->config;
  const mjData *d = env->data;
  double angle[DR_GAIT_JOINTS], velocity[DR_GAIT_JOINTS];
  dr_gait_reference_joints(world, env->phase, env->target_speed, angle, velocity);
  const double joint_error = squared_distance(angle, d->qpos + DR_GAIT_ROOT, DR_GAIT_JOINTS);
  const double velocity_error = squared_distance(velocity, d->qvel + DR_GAIT_ROOT, DR_GAIT_JOINTS);
  const double speed = (d->qpos[0] - env->start_x) / DR_GAIT_STEP_TIME;
  const double missing = speed - env->target_speed;

  info[2] = exp(-c->feet_gain * squared_feet_error(world, d, angle));
  info[0] = env->imitation * info[2] * c->joint_weight * exp(-c->joint_gain * joint_error);
  info[1] = env->imitation * info[2] * c->velocity_weight * exp(-c->velocity_gain * velocity_error);
  info[3] = c->speed_weight * exp(-c->speed_gain * missing * missing);
  info[4] = env->effort / DR_GAIT_TICKS;
  info[5] = speed;
  info[6] = sqrt(env->torque_error / (DR_GAIT_TICKS * DR_GAIT_JOINTS));
  return info[0] + info[1] + info[3] - c->effort_weight * info[4] + (fallen ? 0 : c->alive_weight);
}

/* The target of the steps that follow. */
static void change_speed(const dr_gait_world *world, dr_gait_env *env, const drover_env_rows *rows) {
  if (world->config.speed_time == 0) return;
  drover_random random = drover_env_random(rows, 0);
  if (drover_random_uniform(&random) < DR_GAIT_STEP_TIME / world->config.speed_time) draw_speed(world, env, &random);
}

int dr_gait_finish(void *shared, void *state, const drover_env_rows *rows) {
  const dr_gait_world *world = shared;
  dr_gait_env *env = state;
  env->phase += dr_gait_phase_rate(world, env->target_speed) * DR_GAIT_STEP_TIME;
  env->phase -= floor(env->phase);
  const mjtNum *q = env->data->qpos;
  const bool fallen = q[1] < world->config.min_height || fabs(q[2]) > world->config.max_pitch;
  double info[DR_GAIT_INFOS];
  rows->rewards[0] = (float)reward(world, env, fallen, info);
  rows->terminated[0] = fallen;
  for (int i = 0; i < DR_GAIT_INFOS && rows->infos; i++) rows->infos[i] = (float)info[i];
  change_speed(world, env, rows);
  dr_gait_observe(world, env, rows->observations);
  return 0;
}
