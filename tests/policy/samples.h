/* samples.h: samples for tests of the inner learner, their loss written the obvious way, and the best that any actions
 * could do for them. */
#ifndef DR_TESTS_POLICY_SAMPLES_H
#define DR_TESTS_POLICY_SAMPLES_H

#include <drover/drover.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Two legs of three joints and nine muscles each. */
enum {
  LEGS_JOINTS = 6,
  LEGS_MUSCLES = 18,
  LEGS_OBSERVATION = 30,
  LEGS_SAMPLE = LEGS_OBSERVATION + LEGS_JOINTS * (LEGS_MUSCLES + 2) + 1
};

/* Where the numbers of a sample with O observations, J joints and A actions are. */
typedef struct sample_view {
  const float *observation, *jacobian, *bias, *wanted;
  bool valid;
} sample_view;

static inline sample_view view_sample(const float *sample, int32_t num_observations, int32_t num_joints,
                                      int32_t num_actions) {
  const float *jacobian = sample + num_observations, *bias = jacobian + num_joints * num_actions;
  return (sample_view){sample, jacobian, bias, bias + num_joints, bias[2 * num_joints] != 0.0f};
}

/* The loss of one sample with actions a, split. */
typedef struct reference_loss {
  double torque, effort, relative_error;
} reference_loss;

static inline reference_loss reference_inner_loss(const sample_view *sample, int32_t num_joints, int32_t num_actions,
                                                  const double *a, double torque_scale, double effort_coef) {
  reference_loss loss = {0};
  double error = 0, wanted = 0;
  for (int32_t j = 0; j < num_joints; j++) {
    double torque = (double)sample->bias[j];
    for (int32_t i = 0; i < num_actions; i++) torque += (double)sample->jacobian[j * num_actions + i] * a[i];
    const double residual = torque - (double)sample->wanted[j];
    loss.torque += residual * residual / (torque_scale * torque_scale) / num_joints;
    error += residual * residual;
    wanted += (double)sample->wanted[j] * (double)sample->wanted[j];
  }
  for (int32_t i = 0; i < num_actions; i++) loss.effort += effort_coef * a[i] * a[i] / num_actions;
  loss.relative_error = wanted > 0 ? sqrt(error / wanted) : 0;
  return loss;
}

/* min over 0 <= a <= 1 of torque + effort, by projected coordinate descent (convex: it converges to the optimum; it
 * stops when a sweep moves no action by 1e-7). */
static inline reference_loss least_loss(const sample_view *sample, int32_t num_joints, int32_t num_actions,
                                        double torque_scale, double effort_coef) {
  enum { MOST = 64 };
  if (num_actions > MOST || num_joints > MOST) abort();
  double a[MOST] = {0}, residual[MOST];
  for (int32_t j = 0; j < num_joints; j++) residual[j] = ((double)sample->bias[j] - (double)sample->wanted[j]);
  const double per_joint = 1.0 / (torque_scale * torque_scale * num_joints), per_action = effort_coef / num_actions;
  double moved = 1;
  for (int sweep = 0; sweep < 20000 && moved > 1e-7; sweep++) {
    moved = 0;
    for (int32_t i = 0; i < num_actions; i++) {
      double slope = per_action * a[i], curvature = per_action;
      for (int32_t j = 0; j < num_joints; j++) {
        const double m = (double)sample->jacobian[j * num_actions + i];
        slope += per_joint * m * residual[j];
        curvature += per_joint * m * m;
      }
      const double next = fmin(1.0, fmax(0.0, a[i] - slope / curvature)), step = next - a[i];
      a[i] = next;
      moved = fmax(moved, fabs(step));
      for (int32_t j = 0; j < num_joints; j++) residual[j] += step * (double)sample->jacobian[j * num_actions + i];
    }
  }
  return reference_inner_loss(sample, num_joints, num_actions, a, torque_scale, effort_coef);
}

/* The muscles of a leg: the joints each one crosses (0 hip, 1 knee, 2 ankle) and in which direction, and its greatest
 * force in N: gluteus, iliopsoas, vasti, hamstrings, rectus femoris, short biceps, gastrocnemius, soleus, tibialis. */
static const struct leg_muscle {
  double force;
  double direction[3];
} leg_muscles[9] = {{1500, {-1, 0, 0}}, {1200, {1, 0, 0}},   {4000, {0, 1, 0}},  {2200, {-1, -1, 0}}, {1200, {1, 1, 0}},
                    {800, {0, -1, 0}},  {1500, {0, -1, -1}}, {3500, {0, 0, -1}}, {1200, {0, 0, 1}}};

/* One leg's part of a sample: JtA, b and tau = JtA a + b for random activations, at a random posture q[0..2] and speed
 * q[3..5]. */
static inline void draw_leg(drover_random *random, int32_t leg, float *jacobian, float *bias, float *wanted,
                            double q[6]) {
  static const double arms[3] = {0.06, 0.05, 0.045}; /* m */
  double qd[3];
  for (int j = 0; j < 3; j++) {
    q[j] = drover_random_range(random, -0.7, 0.7);
    qd[j] = drover_random_range(random, -5, 5);
    q[3 + j] = qd[j];
  }
  for (int32_t m = 0; m < 9; m++) {
    double arm[3], length = 1, speed = 0;
    for (int j = 0; j < 3; j++) {
      arm[j] = leg_muscles[m].direction[j] * arms[j] * (1 + 0.3 * sin(2 * q[j] + m));
      length -= arm[j] * q[j] / 0.25;
      speed -= arm[j] * qd[j] / 2.5;
    }
    const double stretch = (length - 1) / 0.45;
    const double by_speed = speed < 0 ? fmax(0, (1 + speed) / (1 - 4 * speed)) : 1 + 0.4 * speed / (speed + 0.1);
    const double active = leg_muscles[m].force * exp(-stretch * stretch) * by_speed;
    const double passive = 0.1 * leg_muscles[m].force * pow(fmax(0, length - 1.1), 2);
    const double a = drover_random_range(random, 0, 1);
    for (int j = 0; j < 3; j++) {
      jacobian[(leg * 3 + j) * LEGS_MUSCLES + leg * 9 + m] = (float)(arm[j] * active);
      bias[leg * 3 + j] += (float)(arm[j] * passive);
      wanted[leg * 3 + j] += (float)(arm[j] * (active * a + passive));
    }
  }
}

/* A sample of both legs [LEGS_SAMPLE]; its observation says q, qd, tau, and some functions of q. */
static inline void draw_sample(drover_random *random, float *sample) {
  float *jacobian = sample + LEGS_OBSERVATION, *bias = jacobian + LEGS_JOINTS * LEGS_MUSCLES,
        *wanted = bias + LEGS_JOINTS;
  memset(sample, 0, LEGS_SAMPLE * sizeof *sample);
  for (int32_t leg = 0; leg < 2; leg++) {
    double q[6];
    draw_leg(random, leg, jacobian, bias, wanted, q);
    for (int32_t j = 0; j < 3; j++) {
      const int32_t joint = leg * 3 + j;
      sample[joint] = (float)(q[j] / 0.5);
      sample[6 + joint] = (float)(q[3 + j] / 5);
      sample[12 + joint] = wanted[joint] / 100;
      sample[18 + joint] = (float)cos(q[j]);
      sample[24 + joint] = (float)sin(2 * q[j]);
    }
  }
  sample[LEGS_SAMPLE - 1] = 1;
}

/* `count` of them, the same for the same seed; the caller frees. */
static inline float *draw_samples(uint64_t seed, int64_t count) {
  float *samples = malloc((size_t)count * LEGS_SAMPLE * sizeof *samples);
  if (!samples) abort();
  for (int64_t i = 0; i < count; i++) {
    drover_random random = drover_random_at(seed, 0, DROVER_RANDOM_USER, (uint64_t)i);
    draw_sample(&random, samples + i * LEGS_SAMPLE);
  }
  return samples;
}

#endif
