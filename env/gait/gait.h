/* gait.h: the muscle-driven walker gait2d, as its own files and a renderer see it.
 *
 * A planar body of nine degrees of freedom walks by 18 muscles. A step of 1/30 s: the outer action moves the angles
 * that the joints are to reach; a PD rule makes of them, 16 times, the torques that are wanted now; the inner policy
 * makes of these the activations of the muscles. Lee, Park, Lee and Lee, "Scalable muscle-actuated human simulation and
 * control", ACM Transactions on Graphics 38(4), article 73, 2019, is where this order of things is from.
 *
 * qpos: x, z (m), pitch, then hip, knee, ankle of the right leg and of the left one (rad). Pitch is positive leaning
 * forward, joints are positive in flexion and dorsiflexion. Joints and muscles are counted in the model's order. */
#ifndef DR_ENV_GAIT_GAIT_H
#define DR_ENV_GAIT_GAIT_H

#include <drover/env.h>

#include "env/gait/reference.h"
#include "env/mujoco/engine.h"

enum {
  DR_GAIT_DOFS = 9,
  DR_GAIT_ROOT = 3,   /* the first degrees of freedom: x, z, pitch */
  DR_GAIT_JOINTS = 6, /* the other ones */
  DR_GAIT_MUSCLES = 18,
  DR_GAIT_MOMENTS = 24, /* pairs of a muscle and a joint that it crosses */
  DR_GAIT_TICKS = 16,
  DR_GAIT_BODIES = 8,      /* that are observed */
  DR_GAIT_SOLES = 4,       /* spheres under heel and toe */
  DR_GAIT_MAX_STATE = 500, /* at most so many numbers of MuJoCo's state; 109 in version 2.2 */
  DR_GAIT_OBSERVATION = 39,
  DR_GAIT_INNER_OBSERVATION = DR_GAIT_MOMENTS + DR_GAIT_JOINTS,
  DR_GAIT_SAMPLE = DR_GAIT_INNER_OBSERVATION + DR_GAIT_JOINTS * DR_GAIT_MUSCLES + 2 * DR_GAIT_JOINTS + 1
};

#define DR_GAIT_STEP_TIME    (1 / 30.0) /* s */
#define DR_GAIT_TORQUE_SCALE 200.0      /* N m: inner observations are in this unit */

/* The numbers that can be set by --env-arg: X(name, default, lowest, highest, what it is). */
#define DR_GAIT_OPTIONS(X)                                                                                             \
  X(target_speed, 1.2, 0, 5, "speed to walk at, m/s; also a parameter")                                                \
  X(speed_low, 0, 0, 5, "lowest target speed that an episode draws, m/s")                                              \
  X(speed_high, 0, 0, 5, "highest, m/s: drawn speeds take target_speed's place; 0 = none are drawn")                   \
  X(speed_time, 0, 0, 1000, "mean time until a drawn speed changes within an episode, s; 0 = it stays")                \
  X(stride, 1.37, 0.05, 10, "length of the reference's cycle at reference_speed, m")                                   \
  X(reference_speed, 1.2, 0.05, 5, "speed at which the reference walks as its table says, m/s")                        \
  X(stride_exponent, 0.5, 0, 1, "length and movement of a stride grow with this power of the speed")                   \
  X(pelvis_pitch, 6, -45, 45, "how far the reference's trunk leans forward, degrees")                                  \
  X(reset_noise, 0.02, 0, 1, "deviation of the first joint angles and pitch, rad; of their velocities ten times that") \
  X(push, 0, 0, 1000, "pushes against the torso, forward or backward, last a step: at most so strong, N s")            \
  X(push_time, 2, 0.04, 1000, "mean time from one to the next, s")                                                     \
  X(action_scale, 0.1, 0, 1, "what an action of 1 adds to a joint's wanted angle, rad")                                \
  X(kp, 300, 0, 10000, "torque a radian, N m")                                                                         \
  X(kd, 24.5, 0, 1000, "torque a rad/s, N m s")                                                                        \
  X(max_torque, 250, 0, 10000, "limit of the wanted torques, N m")                                                     \
  X(imitation, 1, 0, 100, "factor of the reward's two imitation terms; also a parameter")                              \
  X(joint_weight, 0.65, 0, 100, "weight of exp(-joint_gain |joint error|^2)")                                          \
  X(joint_gain, 2, 0, 1000, "its gain, 1/rad^2")                                                                       \
  X(velocity_weight, 0.1, 0, 100, "weight of exp(-velocity_gain |joint velocity error|^2)")                            \
  X(velocity_gain, 0.1, 0, 1000, "its gain, s^2/rad^2")                                                                \
  X(feet_gain, 40, 0, 1000, "both are multiplied by exp(-feet_gain |feet error|^2), 1/m^2")                            \
  X(speed_weight, 0.2, 0, 100, "weight of exp(-speed_gain (speed - target_speed)^2)")                                  \
  X(speed_gain, 4, 0, 1000, "its gain, s^2/m^2")                                                                       \
  X(effort_weight, 0.02, 0, 100, "cost of the mean squared activation")                                                \
  X(alive_weight, 0, -100, 100, "reward of a step that does not end in a fall")                                        \
  X(min_height, 0.7, 0, 2, "a pelvis below is a fall, m")                                                              \
  X(max_pitch, 0.8, 0, 4, "a pitch beyond, either way, is a fall, rad")                                                \
  X(max_episode_steps, 300, 0, 1000000000, "time limit in steps, 0 for none")

typedef struct {
#define DR_GAIT_FIELD(name, value, low, high, help) double name;
  DR_GAIT_OPTIONS(DR_GAIT_FIELD)
#undef DR_GAIT_FIELD
  double reset_phase; /* negative = random */
  bool dynamics;      /* activations follow the controls in 10 and 40 ms; otherwise they are the controls */
} dr_gait_config;

typedef struct {
  int32_t joint, muscle;
} dr_gait_pair;

/* What all envs of a batch share: read only after open. */
typedef struct {
  mjModel *compiled;
  mjModel model; /* `compiled` with just the room that it can need; they share its arrays */
  dr_gait_reference reference;
  dr_gait_config config;
  int state_size;                     /* numbers */
  size_t data_bytes;                  /* heap of an env */
  int32_t body[DR_GAIT_BODIES];       /* pelvis, torso; femur, tibia, foot of the right leg; of the left */
  int32_t sole[DR_GAIT_SOLES];        /* geoms: heel and toe, right and left */
  dr_gait_pair pair[DR_GAIT_MOMENTS]; /* by joint, then by muscle: the order of the inner observation */
  float action_low[DR_GAIT_JOINTS], action_high[DR_GAIT_JOINTS];
} dr_gait_world;

/* One env. Between calls mj_step1 has been done for the present state: positions and velocities of bodies, muscle
 * lengths and moments are those of qpos and qvel. */
typedef struct {
  mjData *data;                           /* NULL only after an error for which there was no memory left */
  double phase;                           /* of the right leg's cycle, 0..1 */
  double target_speed, imitation;         /* parameters: they outlive episodes */
  double start_x;                         /* m: where the step began */
  double target[DR_GAIT_JOINTS];          /* rad: what the step's wanted torques pull to */
  double target_velocity[DR_GAIT_JOINTS]; /* rad/s */
  double torque[DR_GAIT_JOINTS];          /* N m: wanted now */
  double effort;                          /* sum over the step's ticks of the mean squared activation */
  double torque_error;                    /* sum over the ticks and joints of (made - wanted)^2 */
  char why[128];                          /* a sentence, where a call has failed */
} dr_gait_env;

/* ---- pose.c: the reference as positions of the model ---- */

/* Cycles a second walking at `speed`. */
double dr_gait_phase_rate(const dr_gait_world *world, double speed);
/* All joints' angles and velocities at `phase` walking at `speed`. */
void dr_gait_reference_joints(const dr_gait_world *world, double phase, double speed, double angle[DR_GAIT_JOINTS],
                              double velocity[DR_GAIT_JOINTS]);
/* The pelvis's height at which the lower sole just touches the ground. */
double dr_gait_height(const dr_gait_world *world, double pitch, const double angle[DR_GAIT_JOINTS]);
/* The feet's mass centres as seen from the pelvis's origin, x and z: right, then left. */
void dr_gait_feet(const dr_gait_world *world, double pitch, const double angle[DR_GAIT_JOINTS], double feet[4]);
/* All positions and velocities at `phase` walking at `speed`, x being 0. */
void dr_gait_reference_pose(const dr_gait_world *world, double phase, double speed, double qpos[DR_GAIT_DOFS],
                            double qvel[DR_GAIT_DOFS]);

/* ---- muscle.c: what the muscles can do now ---- */

/* JtA's moments in the order of world->pair, and b: torques of the joints = JtA a + b, exactly, for activations a. */
void dr_gait_moments(const dr_gait_world *world, const mjData *data, double moment[DR_GAIT_MOMENTS],
                     double passive[DR_GAIT_JOINTS]);
/* The inner policy's row, and its sample if that is not NULL, for the wanted torques. */
void dr_gait_inner_row(const dr_gait_world *world, const mjData *data, const double torque[DR_GAIT_JOINTS], float *row,
                       float *sample);
int dr_gait_draw_sample(void *shared, void *state, drover_random *random, float *sample);

/* ---- sim.c: an env's mjData ---- */

/* Takes `compiled` over, also on failure. */
int dr_gait_model_open(dr_gait_world *world, mjModel *compiled);
int dr_gait_env_create(const dr_gait_world *world, dr_gait_env *env);
/* qpos and qvel as given, all else as at first, then mj_step1. -1 = the env failed. */
int dr_gait_env_place(const dr_gait_world *world, dr_gait_env *env, const double qpos[DR_GAIT_DOFS],
                      const double qvel[DR_GAIT_DOFS]);
/* mj_step2 under these activations, then mj_step1. env->effort and torque_error grow. */
int dr_gait_env_tick(const dr_gait_world *world, dr_gait_env *env, const float activation[DR_GAIT_MUSCLES]);
int dr_gait_env_set_state(const dr_gait_world *world, dr_gait_env *env, const mjtNum *state);

/* ---- For a renderer ---- */

/* What is to be drawn of one env; the model and the data are the env's, valid until its next call. */
typedef struct {
  const mjModel *model;
  const mjData *data;
  double phase;              /* 0..1 */
  double qpos[DR_GAIT_DOFS]; /* the reference at this phase, at the env's x, on the ground */
} dr_gait_view;

/* shared and state as in the env table. */
void dr_gait_look(const void *shared, const void *state, dr_gait_view *view);

#endif
