/* ant.c: Ant-v5: four legs that are to run forward.
 *
 * J. Schulman, P. Moritz, S. Levine, M. Jordan, P. Abbeel, "High-dimensional continuous control using generalized
 * advantage estimation", ICLR 2016; rewards, contact terms and noise as in Gymnasium's ant_v5.py. */
#include "env/mujoco/task.h"

enum { MAIN_BODY };

/* main_body: a name, or the number of a body. */
static int ant_prepare(dr_mj_world *world, char *message, size_t message_size) {
  const mjModel *m = world->model.compiled;
  const char *text = world->config.main_body;
  char *end;
  const long number = strtol(text, &end, 10);
  const bool is_number = end != text && *end == '\0' && number >= 0 && number < m->nbody;
  world->body[MAIN_BODY] = is_number ? (int32_t)number : mj_name2id(m, mjOBJ_BODY, text);
  if (world->body[MAIN_BODY] >= 0) return 0;
  snprintf(message, message_size, "main_body must be the name of a body of the model or 0..%d, got '%.80s'",
           (int)m->nbody - 1, text);
  return -1;
}

static void ant_locate(const dr_mj_world *world, const mjData *data, double place[2]) {
  for (int i = 0; i < 2; i++) place[i] = data->xpos[3 * world->body[MAIN_BODY] + i];
}

static int32_t ant_size(const dr_mj_world *world) {
  const mjModel *m = world->model.compiled;
  return (int32_t)(m->nq + m->nv) - (world->config.exclude_current_positions_from_observation ? 2 : 0) +
         (world->config.include_cfrc_ext_in_observation ? 6 * (int32_t)(m->nbody - 1) : 0);
}

static void ant_observe(const dr_mj_world *world, const mjData *data, float *o) {
  const mjModel *m = world->model.compiled;
  const dr_mj_config *config = &world->config;
  const int32_t from = config->exclude_current_positions_from_observation ? 2 : 0;
  o = dr_mj_put(o, data->qpos + from, (int32_t)m->nq - from);
  o = dr_mj_put(o, data->qvel, (int32_t)m->nv);
  if (config->include_cfrc_ext_in_observation) /* not of body 0, the world */
    dr_mj_put_clipped(o, data->cfrc_ext + 6, 6 * (int32_t)(m->nbody - 1), config->contact_force_range.low,
                      config->contact_force_range.high);
}

static double contact_cost(const dr_mj_step *step) {
  const dr_mj_range range = step->world->config.contact_force_range;
  double sum = 0;
  for (int i = 0; i < 6 * step->world->model.compiled->nbody; i++) {
    const double force = dr_mj_clip(step->data->cfrc_ext[i], range.low, range.high);
    sum += force * force;
  }
  return step->world->config.contact_cost_weight * sum;
}

static bool is_healthy(const dr_mj_step *step) {
  const mjModel *m = step->world->model.compiled;
  const dr_mj_range range = step->world->config.healthy_z_range;
  bool healthy = range.low <= step->data->qpos[2] && step->data->qpos[2] <= range.high;
  for (int i = 0; i < m->nq; i++) healthy &= isfinite(step->data->qpos[i]) != 0;
  for (int i = 0; i < m->nv; i++) healthy &= isfinite(step->data->qvel[i]) != 0;
  return healthy;
}

static void ant_judge(dr_mj_step *step) {
  const dr_mj_config *config = &step->world->config;
  const mjData *d = step->data;
  const bool healthy = is_healthy(step);
  const double forward = step->velocity[0] * config->forward_reward_weight;
  const double survive = healthy ? config->healthy_reward : 0;
  const double control =
      config->ctrl_cost_weight * dr_mj_sum_of_squares(step->action, (int32_t)step->world->model.compiled->nu);
  const double contact = contact_cost(step);
  step->reward = forward + survive - (control + contact);
  step->terminated = !healthy && config->terminate_when_unhealthy;
  const double infos[] = {d->qpos[0],        d->qpos[1],        hypot(d->qpos[0], d->qpos[1]),
                          step->velocity[0], step->velocity[1], forward,
                          -control,          -contact,          survive};
  memcpy(step->infos, infos, sizeof infos);
}

static const drover_env_arg_info ant_args[] = {
    DR_MJ_ARG_XML_FILE,
    DR_MJ_ARG_FRAME_SKIP("5"),
    DR_MJ_ARG_FORWARD("1"),
    DR_MJ_ARG_CTRL_COST("0.5"),
    {"contact_cost_weight", "5e-4", "cost of the sum of the squared contact forces"},
    DR_MJ_ARG_HEALTHY_REWARD("1"),
    {"main_body", "1", "the body whose movement is rewarded: name or number"},
    DR_MJ_ARG_TERMINATE,
    DR_MJ_ARG_Z_RANGE("0.2:1"),
    {"contact_force_range", "-1:1", "LOW:HIGH: contact forces are clipped to it"},
    DR_MJ_ARG_NOISE("0.1"),
    DR_MJ_ARG_EXCLUDE,
    {"include_cfrc_ext_in_observation", "true", "whether contact forces are observed"},
    {NULL, NULL, NULL}};
static const char *const ant_infos[] = {"x_position",  "y_position",     "distance_from_origin",
                                        "x_velocity",  "y_velocity",     "reward_forward",
                                        "reward_ctrl", "reward_contact", "reward_survive"};

static const dr_mj_task ant = {.model = "ant",
                               .max_episode_steps = 1000,
                               .arg_infos = ant_args,
                               .num_infos = DR_MJ_COUNT(ant_infos),
                               .info_names = ant_infos,
                               .needs_forces = true,
                               .min_nq = 3,
                               .min_nv = 3,
                               .prepare = ant_prepare,
                               .observation_size = ant_size,
                               .draw = dr_mj_draw_normal,
                               .locate = ant_locate,
                               .observe = ant_observe,
                               .judge = ant_judge};

DR_MJ_ENV(dr_env_ant, "Ant-v5", ant, "run forward on four legs (MuJoCo)");
