/* reach.c: Reacher-v5 and Pusher-v5: arms whose hand is to come near a target, or to push something there.
 * Rewards and draws as in Gymnasium's reacher_v5.py and pusher_v5.py. */
#include "env/mujoco/task.h"

/* out = the vector from body b to body a. */
static void between(const mjData *data, int32_t a, int32_t b, double out[3]) {
  for (int i = 0; i < 3; i++) out[i] = data->xpos[3 * a + i] - data->xpos[3 * b + i];
}

static double distance(const mjData *data, int32_t a, int32_t b) {
  double v[3];
  between(data, a, b, v);
  return sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
}

static double control_reward(const dr_mj_step *step) {
  return -dr_mj_sum_of_squares(step->action, (int32_t)step->world->model.compiled->nu) *
         step->world->config.reward_control_weight;
}

static void draw_slow_velocities(const mjModel *m, mjData *data, drover_random *random, int still) {
  for (int i = 0; i < m->nv - still; i++) data->qvel[i] += drover_random_range(random, -0.005, 0.005);
}

/* ---- Reacher: two links in a plane; the last two positions are the target ---- */

enum { FINGERTIP, TARGET };
static const char *const reacher_bodies[] = {"fingertip", "target", NULL};

static void reacher_draw(const dr_mj_world *world, mjData *data, drover_random *random) {
  const mjModel *m = world->model.compiled;
  for (int i = 0; i < m->nq - 2; i++) data->qpos[i] += drover_random_range(random, -0.1, 0.1);
  double *target = data->qpos + m->nq - 2;
  do {
    target[0] = drover_random_range(random, -0.2, 0.2);
    target[1] = drover_random_range(random, -0.2, 0.2);
  } while (!(sqrt(target[0] * target[0] + target[1] * target[1]) < 0.2));
  draw_slow_velocities(m, data, random, 2);
}

static int32_t reacher_size(const dr_mj_world *world) { return 4 + (int32_t)world->model.compiled->nq - 2 + 2 + 2; }

static void reacher_observe(const dr_mj_world *world, const mjData *data, float *o) {
  double to_target[3];
  between(data, world->body[FINGERTIP], world->body[TARGET], to_target);
  for (int i = 0; i < 2; i++) *o++ = (float)cos(data->qpos[i]);
  for (int i = 0; i < 2; i++) *o++ = (float)sin(data->qpos[i]);
  o = dr_mj_put(o, data->qpos + 2, (int32_t)world->model.compiled->nq - 2);
  o = dr_mj_put(o, data->qvel, 2);
  dr_mj_put(o, to_target, 2);
}

static void reacher_judge(dr_mj_step *step) {
  const dr_mj_world *world = step->world;
  const double near =
      -distance(step->data, world->body[FINGERTIP], world->body[TARGET]) * world->config.reward_dist_weight;
  const double control = control_reward(step);
  step->reward = near + control;
  step->infos[0] = near;
  step->infos[1] = control;
}

static const drover_env_arg_info reacher_args[] = {
    DR_MJ_ARG_XML_FILE,
    DR_MJ_ARG_FRAME_SKIP("2"),
    {"reward_dist_weight", "1", "cost a metre between fingertip and target"},
    {"reward_control_weight", "1", "cost of the sum of the squared controls"},
    {NULL, NULL, NULL}};
static const char *const reacher_infos[] = {"reward_dist", "reward_ctrl"};

static const dr_mj_task reacher = {.model = "reacher",
                                   .max_episode_steps = 50,
                                   .arg_infos = reacher_args,
                                   .num_infos = DR_MJ_COUNT(reacher_infos),
                                   .info_names = reacher_infos,
                                   .min_nq = 4,
                                   .min_nv = 4,
                                   .bodies = reacher_bodies,
                                   .observation_size = reacher_size,
                                   .draw = reacher_draw,
                                   .observe = reacher_observe,
                                   .judge = reacher_judge};

DR_MJ_ENV(dr_env_reacher, "Reacher-v5", reacher, "bring the tip of a two-link arm to a target (MuJoCo)");

/* ---- Pusher: seven joints; the last four positions are the object (2) and the goal (2) ---- */

enum { ARM_JOINTS = 7, TIPS = 0, OBJECT, GOAL };
static const char *const pusher_bodies[] = {"tips_arm", "object", "goal", NULL};

static void pusher_draw(const dr_mj_world *world, mjData *data, drover_random *random) {
  const mjModel *m = world->model.compiled;
  double *object = data->qpos + m->nq - 4, *goal = data->qpos + m->nq - 2;
  do {
    object[0] = drover_random_range(random, -0.3, 0);
    object[1] = drover_random_range(random, -0.2, 0.2);
  } while (!(sqrt(object[0] * object[0] + object[1] * object[1]) > 0.17));
  goal[0] = goal[1] = 0;
  draw_slow_velocities(m, data, random, 4);
}

static int32_t pusher_size(const dr_mj_world *world) {
  (void)world;
  return 2 * ARM_JOINTS + 9;
}

static void pusher_observe(const dr_mj_world *world, const mjData *data, float *o) {
  o = dr_mj_put(o, data->qpos, ARM_JOINTS);
  o = dr_mj_put(o, data->qvel, ARM_JOINTS);
  for (int i = 0; i < 3; i++) o = dr_mj_put(o, data->xpos + 3 * world->body[i], 3);
}

static void pusher_judge(dr_mj_step *step) {
  const dr_mj_world *world = step->world;
  const double near = -distance(step->data, world->body[OBJECT], world->body[TIPS]) * world->config.reward_near_weight;
  const double there = -distance(step->data, world->body[OBJECT], world->body[GOAL]) * world->config.reward_dist_weight;
  const double control = control_reward(step);
  step->reward = there + control + near;
  step->infos[0] = there;
  step->infos[1] = control;
  step->infos[2] = near;
}

static const drover_env_arg_info pusher_args[] = {
    DR_MJ_ARG_XML_FILE,
    DR_MJ_ARG_FRAME_SKIP("5"),
    {"reward_near_weight", "0.5", "cost a metre between hand and object"},
    {"reward_dist_weight", "1", "cost a metre between object and goal"},
    {"reward_control_weight", "0.1", "cost of the sum of the squared controls"},
    {NULL, NULL, NULL}};
static const char *const pusher_infos[] = {"reward_dist", "reward_ctrl", "reward_near"};

static const dr_mj_task pusher = {.model = "pusher",
                                  .max_episode_steps = 100,
                                  .arg_infos = pusher_args,
                                  .num_infos = DR_MJ_COUNT(pusher_infos),
                                  .info_names = pusher_infos,
                                  .min_nq = ARM_JOINTS + 4,
                                  .min_nv = ARM_JOINTS + 4,
                                  .bodies = pusher_bodies,
                                  .observation_size = pusher_size,
                                  .draw = pusher_draw,
                                  .observe = pusher_observe,
                                  .judge = pusher_judge};

DR_MJ_ENV(dr_env_pusher, "Pusher-v5", pusher, "push a cylinder to a goal with a seven-joint arm (MuJoCo)");
