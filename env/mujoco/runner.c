/* runner.c: Swimmer-v5, HalfCheetah-v5, Hopper-v5 and Walker2d-v5: bodies in a plane that are to move forward.
 *
 * P. Wawrzynski, "A cat-like robot real-time learning to run", 2009 (HalfCheetah); T. Erez, Y. Tassa, E. Todorov,
 * "Infinite-horizon model predictive control for periodic tasks with contacts", RSS 2011 (Hopper, Walker2d);
 * R. Coulom, "Reinforcement learning using neural networks", PhD thesis, 2002 (Swimmer). Rewards, healthy ranges and
 * noise as in Gymnasium's *_v5.py. They differ in the table at the end only. */
#include "env/mujoco/task.h"

/* ---- Observations: qpos without where the body is, qvel (clipped or not) ---- */

static int32_t size_without(const dr_mj_world *world, int32_t excluded) {
  const mjModel *m = world->model.compiled;
  return (int32_t)(m->nq + m->nv) - (world->config.exclude_current_positions_from_observation ? excluded : 0);
}

static void observe_without(const dr_mj_world *world, const mjData *data, int32_t excluded, double most, float *o) {
  const mjModel *m = world->model.compiled;
  const int32_t from = world->config.exclude_current_positions_from_observation ? excluded : 0;
  o = dr_mj_put(o, data->qpos + from, (int32_t)m->nq - from);
  dr_mj_put_clipped(o, data->qvel, (int32_t)m->nv, -most, most);
}

static int32_t swimmer_size(const dr_mj_world *world) { return size_without(world, 2); }
static int32_t runner_size(const dr_mj_world *world) { return size_without(world, 1); }

static void swimmer_observe(const dr_mj_world *world, const mjData *data, float *o) {
  observe_without(world, data, 2, INFINITY, o);
}

static void cheetah_observe(const dr_mj_world *world, const mjData *data, float *o) {
  observe_without(world, data, 1, INFINITY, o);
}

static void hopper_observe(const dr_mj_world *world, const mjData *data, float *o) {
  observe_without(world, data, 1, 10, o);
}

/* ---- Rewards ---- */

static double forward_reward(const dr_mj_step *step) {
  return step->world->config.forward_reward_weight * step->velocity[0];
}

static double control_cost(const dr_mj_step *step) {
  return step->world->config.ctrl_cost_weight *
         dr_mj_sum_of_squares(step->action, (int32_t)step->world->model.compiled->nu);
}

static void swimmer_judge(dr_mj_step *step) {
  const double forward = forward_reward(step), cost = control_cost(step);
  step->reward = forward - cost;
  const double infos[] = {
      step->place[0], step->place[1], hypot(step->place[0], step->place[1]), step->velocity[0], step->velocity[1],
      forward,        -cost};
  memcpy(step->infos, infos, sizeof infos);
}

static void cheetah_judge(dr_mj_step *step) {
  const double forward = forward_reward(step), cost = control_cost(step);
  step->reward = forward - cost;
  const double infos[] = {step->place[0], step->velocity[0], forward, -cost};
  memcpy(step->infos, infos, sizeof infos);
}

/* Hopper and Walker2d. */
static void judge_upright(dr_mj_step *step, bool healthy) {
  const dr_mj_config *config = &step->world->config;
  const double forward = forward_reward(step), cost = control_cost(step);
  const double survive = healthy ? config->healthy_reward : 0;
  step->reward = forward + survive - cost;
  step->terminated = !healthy && config->terminate_when_unhealthy;
  const double infos[] = {
      step->place[0], step->data->qpos[1] - step->world->model.compiled->qpos0[1], step->velocity[0], forward, -cost,
      survive};
  memcpy(step->infos, infos, sizeof infos);
}

static bool is_upright(const dr_mj_step *step) {
  return dr_mj_inside(step->data->qpos[1], step->world->config.healthy_z_range) &&
         dr_mj_inside(step->data->qpos[2], step->world->config.healthy_angle_range);
}

static void hopper_judge(dr_mj_step *step) {
  const mjModel *m = step->world->model.compiled;
  const dr_mj_range range = step->world->config.healthy_state_range;
  bool healthy = is_upright(step);
  for (int i = 2; i < m->nq; i++) healthy &= dr_mj_inside(step->data->qpos[i], range);
  for (int i = 0; i < m->nv; i++) healthy &= dr_mj_inside(step->data->qvel[i], range);
  judge_upright(step, healthy);
}

static void walker_judge(dr_mj_step *step) { judge_upright(step, is_upright(step)); }

/* ---- The tasks ---- */

static const drover_env_arg_info swimmer_args[] = {
    DR_MJ_ARG_XML_FILE,     DR_MJ_ARG_FRAME_SKIP("4"), DR_MJ_ARG_FORWARD("1"), DR_MJ_ARG_CTRL_COST("1e-4"),
    DR_MJ_ARG_NOISE("0.1"), DR_MJ_ARG_EXCLUDE,         {NULL, NULL, NULL}};
static const drover_env_arg_info cheetah_args[] = {
    DR_MJ_ARG_XML_FILE,     DR_MJ_ARG_FRAME_SKIP("5"), DR_MJ_ARG_FORWARD("1"), DR_MJ_ARG_CTRL_COST("0.1"),
    DR_MJ_ARG_NOISE("0.1"), DR_MJ_ARG_EXCLUDE,         {NULL, NULL, NULL}};
static const drover_env_arg_info hopper_args[] = {
    DR_MJ_ARG_XML_FILE,
    DR_MJ_ARG_FRAME_SKIP("4"),
    DR_MJ_ARG_FORWARD("1"),
    DR_MJ_ARG_CTRL_COST("1e-3"),
    DR_MJ_ARG_HEALTHY_REWARD("1"),
    DR_MJ_ARG_TERMINATE,
    {"healthy_state_range", "-100:100", "LOW:HIGH: healthy joint angles and velocities"},
    DR_MJ_ARG_Z_RANGE("0.7:inf"),
    {"healthy_angle_range", "-0.2:0.2", "LOW:HIGH, rad: healthy angles of the torso"},
    DR_MJ_ARG_NOISE("5e-3"),
    DR_MJ_ARG_EXCLUDE,
    {NULL, NULL, NULL}};
static const drover_env_arg_info walker_args[] = {
    DR_MJ_ARG_XML_FILE,
    DR_MJ_ARG_FRAME_SKIP("4"),
    DR_MJ_ARG_FORWARD("1"),
    DR_MJ_ARG_CTRL_COST("1e-3"),
    DR_MJ_ARG_HEALTHY_REWARD("1"),
    DR_MJ_ARG_TERMINATE,
    DR_MJ_ARG_Z_RANGE("0.8:2"),
    {"healthy_angle_range", "-1:1", "LOW:HIGH, rad: healthy angles of the torso"},
    DR_MJ_ARG_NOISE("5e-3"),
    DR_MJ_ARG_EXCLUDE,
    {NULL, NULL, NULL}};

static const char *const swimmer_infos[] = {"x_position", "y_position",     "distance_from_origin", "x_velocity",
                                            "y_velocity", "reward_forward", "reward_ctrl"};
static const char *const cheetah_infos[] = {"x_position", "x_velocity", "reward_forward", "reward_ctrl"};
static const char *const upright_infos[] = {"x_position",  "z_distance_from_origin", "x_velocity", "reward_forward",
                                            "reward_ctrl", "reward_survive"};

#define RUNNER(its_model, its_args, its_infos, least_positions, its_size, its_draw, its_observe, its_judge)      \
  {                                                                                                              \
    .model = its_model, .max_episode_steps = 1000, .arg_infos = its_args, .num_infos = DR_MJ_COUNT(its_infos),   \
    .info_names = its_infos, .min_nq = least_positions, .min_nv = least_positions, .observation_size = its_size, \
    .draw = its_draw, .locate = dr_mj_locate_root, .observe = its_observe, .judge = its_judge                    \
  }

static const dr_mj_task swimmer =
    RUNNER("swimmer", swimmer_args, swimmer_infos, 3, swimmer_size, dr_mj_draw_uniform, swimmer_observe, swimmer_judge);
static const dr_mj_task cheetah = RUNNER("half_cheetah", cheetah_args, cheetah_infos, 2, runner_size, dr_mj_draw_normal,
                                         cheetah_observe, cheetah_judge);
static const dr_mj_task hopper =
    RUNNER("hopper", hopper_args, upright_infos, 3, runner_size, dr_mj_draw_uniform, hopper_observe, hopper_judge);
static const dr_mj_task walker =
    RUNNER("walker2d", walker_args, upright_infos, 3, runner_size, dr_mj_draw_uniform, hopper_observe, walker_judge);

DR_MJ_ENV(dr_env_swimmer, "Swimmer-v5", swimmer, "swim forward with three links in a fluid (MuJoCo)");
DR_MJ_ENV(dr_env_half_cheetah, "HalfCheetah-v5", cheetah, "run forward on two legs in a plane (MuJoCo)");
DR_MJ_ENV(dr_env_hopper, "Hopper-v5", hopper, "hop forward on one leg without falling (MuJoCo)");
DR_MJ_ENV(dr_env_walker2d, "Walker2d-v5", walker, "walk forward on two legs in a plane without falling (MuJoCo)");
