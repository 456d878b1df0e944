/* humanoid.c: Humanoid-v5, a body that is to walk forward, and HumanoidStandup-v5, one that is to get up.
 *
 * Y. Tassa, T. Erez, E. Todorov, "Synthesis and stabilization of complex behaviors through online trajectory
 * optimization", IROS 2012; rewards, contact terms and noise as in Gymnasium's humanoid_v5.py and
 * humanoidstandup_v5.py. */
#include "env/mujoco/task.h"

/* The centre of mass, horizontally. */
static void humanoid_locate(const dr_mj_world *world, const mjData *data, double place[2]) {
  const mjModel *m = world->model.compiled;
  place[0] = place[1] = 0;
  for (int b = 0; b < m->nbody; b++)
    for (int i = 0; i < 2; i++) place[i] += m->body_mass[b] * data->xipos[3 * b + i];
  for (int i = 0; i < 2; i++) place[i] /= world->total_mass;
}

static int32_t humanoid_size(const dr_mj_world *world) {
  const mjModel *m = world->model.compiled;
  const dr_mj_config *c = &world->config;
  const int32_t bodies = (int32_t)m->nbody - 1; /* without the world */
  return (int32_t)(m->nq + m->nv) - (c->exclude_current_positions_from_observation ? 2 : 0) +
         (c->include_cinert_in_observation ? 10 * bodies : 0) + (c->include_cvel_in_observation ? 6 * bodies : 0) +
         (c->include_qfrc_actuator_in_observation ? (int32_t)m->nv - 6 : 0) +
         (c->include_cfrc_ext_in_observation ? 6 * bodies : 0);
}

static void humanoid_observe(const dr_mj_world *world, const mjData *data, float *o) {
  const mjModel *m = world->model.compiled;
  const dr_mj_config *c = &world->config;
  const int32_t from = c->exclude_current_positions_from_observation ? 2 : 0;
  const int32_t bodies = (int32_t)m->nbody - 1;
  o = dr_mj_put(o, data->qpos + from, (int32_t)m->nq - from);
  o = dr_mj_put(o, data->qvel, (int32_t)m->nv);
  if (c->include_cinert_in_observation) o = dr_mj_put(o, data->cinert + 10, 10 * bodies);
  if (c->include_cvel_in_observation) o = dr_mj_put(o, data->cvel + 6, 6 * bodies);
  if (c->include_qfrc_actuator_in_observation) o = dr_mj_put(o, data->qfrc_actuator + 6, (int32_t)m->nv - 6);
  if (c->include_cfrc_ext_in_observation) dr_mj_put(o, data->cfrc_ext + 6, 6 * bodies);
}

static double control_cost(const dr_mj_step *step) {
  return step->world->config.ctrl_cost_weight *
         dr_mj_sum_of_squares(step->action, (int32_t)step->world->model.compiled->nu);
}

/* weight x the sum of the squared contact forces, clipped to range. */
static double impact_cost(const dr_mj_step *step, double weight, dr_mj_range range) {
  double sum = 0;
  for (int i = 0; i < 6 * step->world->model.compiled->nbody; i++)
    sum += step->data->cfrc_ext[i] * step->data->cfrc_ext[i];
  return dr_mj_clip(weight * sum, range.low, range.high);
}

/* The model's two tendons, as Gymnasium's infos have them. */
static double *put_tendons(const dr_mj_step *step, double *infos) {
  for (int i = 0; i < 2; i++) *infos++ = step->data->ten_length[i];
  for (int i = 0; i < 2; i++) *infos++ = step->data->ten_velocity[i];
  return infos;
}

static int check_tendons(dr_mj_world *world, char *message, size_t message_size) {
  if (world->model.compiled->ntendon >= 2) return 0;
  snprintf(message, message_size, "the task reports the model's first two tendons, this has %d",
           (int)world->model.compiled->ntendon);
  return -1;
}

static void walk_judge(dr_mj_step *step) {
  const dr_mj_config *config = &step->world->config;
  const mjData *d = step->data;
  const bool healthy = dr_mj_inside(d->qpos[2], config->healthy_z_range);
  const double forward = config->forward_reward_weight * step->velocity[0];
  const double survive = healthy ? config->healthy_reward : 0;
  const double control = control_cost(step);
  const double contact = impact_cost(step, config->contact_cost_weight, config->contact_cost_range);
  step->reward = forward + survive - (control + contact);
  step->terminated = !healthy && config->terminate_when_unhealthy;
  double *infos = step->infos;
  *infos++ = d->qpos[0];
  *infos++ = d->qpos[1];
  infos = put_tendons(step, infos);
  const double rest[] = {
      hypot(d->qpos[0], d->qpos[1]), step->velocity[0], step->velocity[1], survive, forward, -control, -contact};
  memcpy(infos, rest, sizeof rest);
}

static void stand_judge(dr_mj_step *step) {
  const dr_mj_config *config = &step->world->config;
  const mjModel *m = step->world->model.compiled;
  const mjData *d = step->data;
  const double up = d->qpos[2] / m->opt.timestep;
  const double control = control_cost(step);
  const double impact = impact_cost(step, config->impact_cost_weight, config->impact_cost_range);
  step->reward = up - control - impact + 1; /* Gymnasium computes uph_cost_weight's product nowhere */
  double *infos = step->infos;
  *infos++ = d->qpos[0];
  *infos++ = d->qpos[1];
  *infos++ = d->qpos[2] - m->qpos0[2];
  infos = put_tendons(step, infos);
  *infos++ = up;
  *infos++ = -control;
  *infos++ = -impact;
}

#define OBSERVED_ARGS                                                                                        \
  DR_MJ_ARG_EXCLUDE, {"include_cinert_in_observation", "true", "whether the bodies' inertias are observed"}, \
      {"include_cvel_in_observation", "true", "whether the bodies' velocities are observed"},                \
      {"include_qfrc_actuator_in_observation", "true", "whether the actuators' forces are observed"},        \
      {"include_cfrc_ext_in_observation", "true", "whether contact forces are observed"}, {                  \
    NULL, NULL, NULL                                                                                         \
  }

static const drover_env_arg_info walk_args[] = {
    DR_MJ_ARG_XML_FILE,
    DR_MJ_ARG_FRAME_SKIP("5"),
    DR_MJ_ARG_FORWARD("1.25"),
    DR_MJ_ARG_CTRL_COST("0.1"),
    {"contact_cost_weight", "5e-7", "cost of the sum of the squared contact forces"},
    {"contact_cost_range", "-inf:10", "LOW:HIGH: that cost is clipped to it"},
    DR_MJ_ARG_HEALTHY_REWARD("5"),
    DR_MJ_ARG_TERMINATE,
    DR_MJ_ARG_Z_RANGE("1:2"),
    DR_MJ_ARG_NOISE("1e-2"),
    OBSERVED_ARGS};
static const drover_env_arg_info stand_args[] = {
    DR_MJ_ARG_XML_FILE,
    DR_MJ_ARG_FRAME_SKIP("5"),
    {"uph_cost_weight", "1", "accepted and, as in Gymnasium, without effect"},
    DR_MJ_ARG_CTRL_COST("0.1"),
    {"impact_cost_weight", "0.5e-6", "cost of the sum of the squared contact forces"},
    {"impact_cost_range", "-inf:10", "LOW:HIGH: that cost is clipped to it"},
    DR_MJ_ARG_NOISE("1e-2"),
    OBSERVED_ARGS};

static const char *const walk_infos[] = {
    "x_position",        "y_position",           "tendon_length_0", "tendon_length_1", "tendon_velocity_0",
    "tendon_velocity_1", "distance_from_origin", "x_velocity",      "y_velocity",      "reward_survive",
    "reward_forward",    "reward_ctrl",          "reward_contact"};
static const char *const stand_infos[] = {
    "x_position",        "y_position",        "z_distance_from_origin", "tendon_length_0", "tendon_length_1",
    "tendon_velocity_0", "tendon_velocity_1", "reward_linup",           "reward_quadctrl", "reward_impact"};

static const dr_mj_task walk = {.model = "humanoid",
                                .max_episode_steps = 1000,
                                .arg_infos = walk_args,
                                .num_infos = DR_MJ_COUNT(walk_infos),
                                .info_names = walk_infos,
                                .needs_forces = true,
                                .min_nq = 7,
                                .min_nv = 6,
                                .prepare = check_tendons,
                                .observation_size = humanoid_size,
                                .draw = dr_mj_draw_uniform,
                                .locate = humanoid_locate,
                                .observe = humanoid_observe,
                                .judge = walk_judge};
static const dr_mj_task stand = {.model = "humanoid_standup",
                                 .max_episode_steps = 1000,
                                 .arg_infos = stand_args,
                                 .num_infos = DR_MJ_COUNT(stand_infos),
                                 .info_names = stand_infos,
                                 .needs_forces = true,
                                 .min_nq = 7,
                                 .min_nv = 6,
                                 .prepare = check_tendons,
                                 .observation_size = humanoid_size,
                                 .draw = dr_mj_draw_uniform,
                                 .observe = humanoid_observe,
                                 .judge = stand_judge};

DR_MJ_ENV(dr_env_humanoid, "Humanoid-v5", walk, "walk forward as a human body without falling (MuJoCo)");
DR_MJ_ENV(dr_env_humanoid_standup, "HumanoidStandup-v5", stand, "stand up as a human body that lies (MuJoCo)");
