/* task.h: what makes a MuJoCo env type out of a model: a table of what is particular to it. Everything that the tasks
 * have in common (arguments, memory, stepping, faults, save and load) is in task.c, once.
 *
 * A family (pendulum.c, reach.c, runner.c, ant.c, humanoid.c, file.c) fills a dr_mj_task for each task and makes its
 * env type with DR_MJ_ENV. Semantics: Gymnasium 1.x, gymnasium/envs/mujoco/NAME_v5.py. */
#ifndef DR_ENV_MUJOCO_TASK_H
#define DR_ENV_MUJOCO_TASK_H

#include <drover/env.h>

#include "env/mujoco/sim.h"

typedef struct {
  double low, high;
} dr_mj_range;

/* The arguments of all tasks, under Gymnasium's names. A task reads those that its arg_infos list; the rest are 0. */
typedef struct {
  const char *xml_file, *model; /* "" = the built-in model */
  const char *main_body;
  const char *reward, *healthy;
  int32_t frame_skip, max_episode_steps;
  double forward_reward_weight, ctrl_cost_weight, contact_cost_weight, impact_cost_weight, uph_cost_weight;
  double reward_near_weight, reward_dist_weight, reward_control_weight;
  double healthy_reward, reset_noise_scale;
  dr_mj_range healthy_z_range, healthy_angle_range, healthy_state_range;
  dr_mj_range contact_force_range, contact_cost_range, impact_cost_range;
  bool terminate_when_unhealthy, exclude_current_positions_from_observation;
  bool include_cinert_in_observation, include_cvel_in_observation, include_qfrc_actuator_in_observation,
      include_cfrc_ext_in_observation;
} dr_mj_config;

typedef struct dr_mj_task dr_mj_task;

/* A task opened with a configuration: what `shared` of the env table points to. Read only after open. */
typedef struct {
  const dr_mj_task *task;
  dr_mj_config config;
  dr_mj_model model;
  double step_time;                /* seconds of simulation an env step */
  double total_mass;               /* kg, of all bodies */
  int32_t body[3];                 /* bodies that the task asked for by name in its prepare */
  float *action_low, *action_high; /* [nu] */
  void *own;                       /* the task's own data, freed with free() */
} dr_mj_world;

/* One step, for a task to judge. */
typedef struct {
  const dr_mj_world *world;
  const mjData *data;  /* after the step */
  const float *action; /* [nu], as it came */
  double velocity[2];  /* m/s: how far the place moved, a second */
  const double *place; /* [2], after the step */
  double reward;       /* out */
  bool terminated;     /* out */
  double *infos;       /* [num_infos], out */
} dr_mj_step;

enum { DR_MJ_MAX_INFOS = 16 };

struct dr_mj_task {
  const char *model; /* name of the built-in model, or NULL: the argument `model` names a file */
  int32_t max_episode_steps;
  const drover_env_arg_info *arg_infos;
  int32_t num_infos;
  const char *const *info_names;
  bool needs_forces;         /* reads cfrc_ext: mj_rnePostConstraint after each step */
  int32_t min_nq, min_nv;    /* what a model given by xml_file must have */
  const char *const *bodies; /* names for world->body, ended by NULL; or NULL */
  /* Optional: what else there is to check or to make; -1 and a sentence in message. */
  int (*prepare)(dr_mj_world *world, char *message, size_t message_size);
  int32_t (*observation_size)(const dr_mj_world *world);
  /* Draws the first qpos and qvel into data, which holds the model's initial state. */
  void (*draw)(const dr_mj_world *world, mjData *data, drover_random *random);
  /* Optional: the place whose movement is rewarded. */
  void (*locate)(const dr_mj_world *world, const mjData *data, double place[2]);
  void (*observe)(const dr_mj_world *world, const mjData *data, float *observation);
  void (*judge)(dr_mj_step *step);
};

/* ---- For the tasks ---- */

/* Copies count numbers and returns the end of what it wrote. */
static inline float *dr_mj_put(float *out, const mjtNum *x, int32_t count) {
  for (int32_t i = 0; i < count; i++) out[i] = (float)x[i];
  return out + count;
}

static inline double dr_mj_clip(double x, double low, double high) { return x < low ? low : x > high ? high : x; }

static inline float *dr_mj_put_clipped(float *out, const mjtNum *x, int32_t count, double low, double high) {
  for (int32_t i = 0; i < count; i++) out[i] = (float)dr_mj_clip(x[i], low, high);
  return out + count;
}

static inline double dr_mj_sum_of_squares(const float *x, int32_t count) {
  double sum = 0;
  for (int32_t i = 0; i < count; i++) sum += (double)x[i] * (double)x[i];
  return sum;
}

static inline bool dr_mj_inside(double x, dr_mj_range range) { return range.low < x && x < range.high; }

/* Standard normal: G. E. P. Box and M. E. Muller, "A note on the generation of random normal deviates", 1958. */
double dr_mj_normal(drover_random *random);

/* qpos += uniform(-scale, scale); qvel += the same, or a normal one of that deviation. The draws of most tasks. */
void dr_mj_draw_uniform(const dr_mj_world *world, mjData *data, drover_random *random);
void dr_mj_draw_normal(const dr_mj_world *world, mjData *data, drover_random *random);

/* place = qpos[0], qpos[1] */
void dr_mj_locate_root(const dr_mj_world *world, const mjData *data, double place[2]);

#define DR_MJ_ARG_XML_FILE \
  { "xml_file", NULL, "path of another model with the same parts" }
#define DR_MJ_ARG_FRAME_SKIP(value) \
  { "frame_skip", value, "simulation steps an env step" }
#define DR_MJ_ARG_NOISE(value) \
  { "reset_noise_scale", value, "size of the random change of the first positions and velocities" }
#define DR_MJ_ARG_FORWARD(value) \
  { "forward_reward_weight", value, "reward a m/s" }
#define DR_MJ_ARG_CTRL_COST(value) \
  { "ctrl_cost_weight", value, "cost of the sum of the squared controls" }
#define DR_MJ_ARG_HEALTHY_REWARD(value) \
  { "healthy_reward", value, "reward of a step that ends healthy" }
#define DR_MJ_ARG_TERMINATE \
  { "terminate_when_unhealthy", "true", "whether an episode ends where the body is not healthy" }
#define DR_MJ_ARG_Z_RANGE(value) \
  { "healthy_z_range", value, "LOW:HIGH, m: healthy heights" }
#define DR_MJ_ARG_EXCLUDE \
  { "exclude_current_positions_from_observation", "true", "whether the observation leaves out where the body is" }

/* ---- The env types ---- */

int dr_mj_open(const dr_mj_task *task, const drover_env_args *args, drover_env_spec *spec, void **shared, char *message,
               size_t message_size);
void dr_mj_close(void *shared);
int dr_mj_create(void *shared, void *state, int32_t env);
void dr_mj_destroy(void *shared, void *state);
int dr_mj_reset(void *shared, void *state, const drover_env_rows *rows);
int dr_mj_step_env(void *shared, void *state, const drover_env_rows *rows);
int dr_mj_save(void *shared, const void *state, void *bytes);
int dr_mj_load(void *shared, void *state, const void *bytes);
void dr_mj_explain(void *shared, const void *state, char *message, size_t message_size);

/* The env type `table` of the dr_mj_task `its_task`. */
#define DR_MJ_ENV(table, its_name, its_task, its_summary)                                                   \
  static int table##_open(const drover_env_args *args, drover_env_spec *spec, void **shared, char *message, \
                          size_t message_size) {                                                            \
    return dr_mj_open(&its_task, args, spec, shared, message, message_size);                                \
  }                                                                                                         \
  const drover_env_type table = {.abi_version = DROVER_ENV_ABI_VERSION,                                     \
                                 .size = sizeof(drover_env_type),                                           \
                                 .name = its_name,                                                          \
                                 .summary = its_summary,                                                    \
                                 .arg_infos = its_task##_args,                                              \
                                 .open = table##_open,                                                      \
                                 .close = dr_mj_close,                                                      \
                                 .create = dr_mj_create,                                                    \
                                 .destroy = dr_mj_destroy,                                                  \
                                 .reset = dr_mj_reset,                                                      \
                                 .step = dr_mj_step_env,                                                    \
                                 .save = dr_mj_save,                                                        \
                                 .load = dr_mj_load,                                                        \
                                 .explain = dr_mj_explain}

#define DR_MJ_COUNT(array) ((int32_t)(sizeof(array) / sizeof *(array)))

#endif
