/* pendulum.c: InvertedPendulum-v5 and InvertedDoublePendulum-v5: poles on a cart.
 *
 * A. G. Barto, R. S. Sutton, C. W. Anderson, "Neuronlike adaptive elements that can solve difficult learning control
 * problems", IEEE Trans. SMC 13, 1983; rewards and noise as in Gymnasium's inverted_*pendulum_v5.py. */
#include "env/mujoco/task.h"

/* ---- One pole ---- */

static int32_t single_size(const dr_mj_world *world) {
  return (int32_t)(world->model.compiled->nq + world->model.compiled->nv);
}

static void single_observe(const dr_mj_world *world, const mjData *data, float *o) {
  o = dr_mj_put(o, data->qpos, (int32_t)world->model.compiled->nq);
  dr_mj_put(o, data->qvel, (int32_t)world->model.compiled->nv);
}

static void single_judge(dr_mj_step *step) {
  step->terminated = fabs(step->data->qpos[1]) > 0.2; /* rad */
  step->reward = step->terminated ? 0 : 1;
  step->infos[0] = step->reward;
}

static const drover_env_arg_info single_args[] = {
    DR_MJ_ARG_XML_FILE, DR_MJ_ARG_FRAME_SKIP("2"), DR_MJ_ARG_NOISE("0.01"), {NULL, NULL, NULL}};
static const char *const single_infos[] = {"reward_survive"};

static const dr_mj_task single = {.model = "inverted_pendulum",
                                  .max_episode_steps = 1000,
                                  .arg_infos = single_args,
                                  .num_infos = DR_MJ_COUNT(single_infos),
                                  .info_names = single_infos,
                                  .min_nq = 2,
                                  .min_nv = 2,
                                  .observation_size = single_size,
                                  .draw = dr_mj_draw_uniform,
                                  .observe = single_observe,
                                  .judge = single_judge};

DR_MJ_ENV(dr_env_inverted_pendulum, "InvertedPendulum-v5", single, "keep a pole upright on a cart (MuJoCo)");

/* ---- Two poles, one on the other ---- */

static int double_prepare(dr_mj_world *world, char *message, size_t message_size) {
  if (world->model.compiled->nsite >= 1) return 0;
  snprintf(message, message_size,
           "the task needs a model whose first site is the tip of the upper pole, this has none");
  return -1;
}

static int32_t double_size(const dr_mj_world *world) {
  const mjModel *m = world->model.compiled;
  return (int32_t)(1 + 2 * (m->nq - 1) + m->nv + 1);
}

/* The cart, sines and cosines of the angles, clipped velocities, the force of the rail's ends on the cart. */
static void double_observe(const dr_mj_world *world, const mjData *data, float *o) {
  const mjModel *m = world->model.compiled;
  o = dr_mj_put(o, data->qpos, 1);
  for (int i = 1; i < m->nq; i++) *o++ = (float)sin(data->qpos[i]);
  for (int i = 1; i < m->nq; i++) *o++ = (float)cos(data->qpos[i]);
  o = dr_mj_put_clipped(o, data->qvel, (int32_t)m->nv, -10, 10);
  dr_mj_put_clipped(o, data->qfrc_constraint, 1, -10, 10);
}

static void double_judge(dr_mj_step *step) {
  const double x = step->data->site_xpos[0], z = step->data->site_xpos[2]; /* of the upper pole's tip */
  const double v1 = step->data->qvel[1], v2 = step->data->qvel[2];
  step->terminated = z <= 1;
  const double alive = step->terminated ? 0 : step->world->config.healthy_reward;
  const double distance = 0.01 * x * x + (z - 2) * (z - 2);
  const double speed = 1e-3 * v1 * v1 + 5e-3 * v2 * v2;
  step->reward = alive - distance - speed;
  step->infos[0] = alive;
  step->infos[1] = -distance;
  step->infos[2] = -speed;
}

static const drover_env_arg_info twofold_args[] = {DR_MJ_ARG_XML_FILE,
                                                   DR_MJ_ARG_FRAME_SKIP("5"),
                                                   DR_MJ_ARG_HEALTHY_REWARD("10"),
                                                   DR_MJ_ARG_NOISE("0.1"),
                                                   {NULL, NULL, NULL}};
static const char *const twofold_infos[] = {"reward_survive", "distance_penalty", "velocity_penalty"};

static const dr_mj_task twofold = {.model = "inverted_double_pendulum",
                                   .max_episode_steps = 1000,
                                   .arg_infos = twofold_args,
                                   .num_infos = DR_MJ_COUNT(twofold_infos),
                                   .info_names = twofold_infos,
                                   .min_nq = 3,
                                   .min_nv = 3,
                                   .prepare = double_prepare,
                                   .observation_size = double_size,
                                   .draw = dr_mj_draw_normal,
                                   .observe = double_observe,
                                   .judge = double_judge};

DR_MJ_ENV(dr_env_inverted_double_pendulum, "InvertedDoublePendulum-v5", twofold,
          "keep two poles, one on the other, upright on a cart (MuJoCo)");
