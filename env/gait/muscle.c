/* muscle.c: joint torques as a linear function of activations, the inner policy's rows, samples to pretrain it with. */
#include <math.h>

#include "env/gait/gait.h"
#include "env/mujoco/task.h"

/* A muscle pulls with gain(length, velocity) a + bias(length), and its moment about a joint is the change of its length
 * (MuJoCo, Computation, "Actuation model"): of J^T A a + b, the muscle's column of J^T A is moment gain. */
void dr_gait_moments(const dr_gait_world *world, const mjData *data, double moment[DR_GAIT_MOMENTS],
                     double passive[DR_GAIT_JOINTS]) {
  const mjModel *m = &world->model;
  double gain[DR_GAIT_MUSCLES], bias[DR_GAIT_MUSCLES];
  for (int i = 0; i < DR_GAIT_MUSCLES; i++) {
    const mjtNum *range = m->actuator_lengthrange + 2 * i;
    /* Version 2.2 says that a fibre shorter than its curve pushes; the model's forcerange makes that 0, as later ones.
     */
    gain[i] = fmin(mju_muscleGain(data->actuator_length[i], data->actuator_velocity[i], range, m->actuator_acc0[i],
                                  m->actuator_gainprm + mjNGAIN * i),
                   0);
    bias[i] = mju_muscleBias(data->actuator_length[i], range, m->actuator_acc0[i], m->actuator_biasprm + mjNBIAS * i);
  }
  for (int j = 0; j < DR_GAIT_JOINTS; j++) passive[j] = 0;
  for (int k = 0; k < DR_GAIT_MOMENTS; k++) {
    const dr_gait_pair pair = world->pair[k];
    const double arm = dr_mj_actuator_moment(m, data, pair.muscle, DR_GAIT_ROOT + pair.joint);
    moment[k] = arm * gain[pair.muscle];
    passive[pair.joint] += arm * bias[pair.muscle];
  }
}

/* The wanted torques are told less what the muscles make without being active: that is left for them to do. */
void dr_gait_inner_row(const dr_gait_world *world, const mjData *data, const double torque[DR_GAIT_JOINTS], float *row,
                       float *sample) {
  double moment[DR_GAIT_MOMENTS], passive[DR_GAIT_JOINTS];
  dr_gait_moments(world, data, moment, passive);
  for (int k = 0; k < DR_GAIT_MOMENTS; k++) row[k] = (float)(moment[k] / DR_GAIT_TORQUE_SCALE);
  for (int j = 0; j < DR_GAIT_JOINTS; j++)
    row[DR_GAIT_MOMENTS + j] = (float)((torque[j] - passive[j]) / DR_GAIT_TORQUE_SCALE);
  if (!sample) return;

  /* Zero before: observation, JtA, b, tau, valid. */
  float *jta = sample + DR_GAIT_INNER_OBSERVATION;
  float *b = jta + DR_GAIT_JOINTS * DR_GAIT_MUSCLES;
  memcpy(sample, row, DR_GAIT_INNER_OBSERVATION * sizeof *row);
  for (int k = 0; k < DR_GAIT_MOMENTS; k++)
    jta[world->pair[k].joint * DR_GAIT_MUSCLES + world->pair[k].muscle] = (float)moment[k];
  for (int j = 0; j < DR_GAIT_JOINTS; j++) {
    b[j] = (float)passive[j];
    b[DR_GAIT_JOINTS + j] = (float)torque[j];
  }
  b[2 * DR_GAIT_JOINTS] = 1;
}

/* A posture near the reference's, anywhere in its cycle. */
static int draw_posture(const dr_gait_world *world, dr_gait_env *env, drover_random *random) {
  const double angle_noise = 0.2, velocity_noise = 2; /* rad, rad/s */
  double qpos[DR_GAIT_DOFS], qvel[DR_GAIT_DOFS];
  dr_gait_reference_pose(world, drover_random_uniform(random), env->target_speed, qpos, qvel);
  for (int i = DR_GAIT_ROOT; i < DR_GAIT_DOFS; i++) {
    const mjtNum *range = world->model.jnt_range + 2 * i;
    qpos[i] = dr_mj_clip(qpos[i] + angle_noise * dr_mj_normal(random), range[0], range[1]);
    qvel[i] += velocity_noise * dr_mj_normal(random);
  }
  return dr_gait_env_place(world, env, qpos, qvel);
}

/* Torques that the muscles can make there: those of activations of which a random part is not zero. */
int dr_gait_draw_sample(void *shared, void *state, drover_random *random, float *sample) {
  const dr_gait_world *world = shared;
  dr_gait_env *env = state;
  if (draw_posture(world, env, random)) return -1;
  double moment[DR_GAIT_MOMENTS], torque[DR_GAIT_JOINTS], activation[DR_GAIT_MUSCLES];
  dr_gait_moments(world, env->data, moment, torque);
  const double active = drover_random_uniform(random), strength = drover_random_uniform(random);
  for (int i = 0; i < DR_GAIT_MUSCLES; i++) {
    const double level = strength * drover_random_uniform(random);
    activation[i] = drover_random_uniform(random) < active ? level : 0;
  }
  for (int k = 0; k < DR_GAIT_MOMENTS; k++)
    torque[world->pair[k].joint] += moment[k] * activation[world->pair[k].muscle];
  float row[DR_GAIT_INNER_OBSERVATION];
  dr_gait_inner_row(world, env->data, torque, row, sample);
  return 0;
}
