/* test_tasks.c: the 11 tasks against plain loops of mj_step with the observations and rewards of Gymnasium's version 5
 * written out once more; the distribution of resets; the arguments. */
#include "tests/mujoco/sim_harness.h"

/* ---- A reference: a model, a roomy mjData, mj_step, and each task's formulas, one after the other ---- */

typedef struct {
  const mjModel *m;
  mjData *d;
  double observation[512], reward;
  bool terminated;
  int size;
} reference;

static double clip(double x, double low, double high) { return fmin(fmax(x, low), high); }
static void see(reference *r, double x) { r->observation[r->size++] = x; }
static void see_all(reference *r, const mjtNum *x, int from, int to) {
  for (int i = from; i < to; i++) see(r, x[i]);
}
static void see_clipped(reference *r, const mjtNum *x, int from, int to, double most) {
  for (int i = from; i < to; i++) see(r, clip(x[i], -most, most));
}

static const mjtNum *body(const reference *r, const char *name) {
  return r->d->xpos + 3 * mj_name2id(r->m, mjOBJ_BODY, name);
}
static double apart(const mjtNum *a, const mjtNum *b) {
  return sqrt(pow(a[0] - b[0], 2) + pow(a[1] - b[1], 2) + pow(a[2] - b[2], 2));
}

/* The horizontal centre of mass, in another order than the code under test. */
static double centre_x(const reference *r) {
  double sum = 0, mass = 0;
  for (int b = (int)r->m->nbody - 1; b >= 0; b--) {
    sum += r->d->xipos[3 * b] * r->m->body_mass[b];
    mass += r->m->body_mass[b];
  }
  return sum / mass;
}

static double squared_forces(const reference *r, double most) {
  double sum = 0;
  for (int i = 0; i < 6 * r->m->nbody; i++) sum += pow(clip(r->d->cfrc_ext[i], -most, most), 2);
  return sum;
}

static bool between_all(const mjtNum *x, int from, int to, double limit) {
  for (int i = from; i < to; i++)
    if (!(-limit < x[i] && x[i] < limit)) return false;
  return true;
}

static void humanoid_sees(reference *r) {
  const int bodies = (int)r->m->nbody;
  see_all(r, r->d->qpos, 2, (int)r->m->nq);
  see_all(r, r->d->qvel, 0, (int)r->m->nv);
  see_all(r, r->d->cinert, 10, 10 * bodies);
  see_all(r, r->d->cvel, 6, 6 * bodies);
  see_all(r, r->d->qfrc_actuator, 6, (int)r->m->nv);
  see_all(r, r->d->cfrc_ext, 6, 6 * bodies);
}

static void reference_observes(reference *r, const char *name) {
  const mjtNum *q = r->d->qpos, *v = r->d->qvel;
  const int nq = (int)r->m->nq, nv = (int)r->m->nv;
  r->size = 0;
  if (!strcmp(name, "InvertedPendulum-v5")) {
    see_all(r, q, 0, 2), see_all(r, v, 0, 2);
  } else if (!strcmp(name, "InvertedDoublePendulum-v5")) {
    see(r, q[0]), see(r, sin(q[1])), see(r, sin(q[2])), see(r, cos(q[1])), see(r, cos(q[2]));
    see_clipped(r, v, 0, 3, 10), see_clipped(r, r->d->qfrc_constraint, 0, 1, 10);
  } else if (!strcmp(name, "Reacher-v5")) {
    see(r, cos(q[0])), see(r, cos(q[1])), see(r, sin(q[0])), see(r, sin(q[1])), see(r, q[2]), see(r, q[3]);
    see(r, v[0]), see(r, v[1]);
    see(r, body(r, "fingertip")[0] - body(r, "target")[0]), see(r, body(r, "fingertip")[1] - body(r, "target")[1]);
  } else if (!strcmp(name, "Pusher-v5")) {
    see_all(r, q, 0, 7), see_all(r, v, 0, 7);
    see_all(r, body(r, "tips_arm"), 0, 3), see_all(r, body(r, "object"), 0, 3), see_all(r, body(r, "goal"), 0, 3);
  } else if (!strcmp(name, "Swimmer-v5")) {
    see_all(r, q, 2, 5), see_all(r, v, 0, 5);
  } else if (!strcmp(name, "HalfCheetah-v5")) {
    see_all(r, q, 1, 9), see_all(r, v, 0, 9);
  } else if (!strcmp(name, "Hopper-v5") || !strcmp(name, "Walker2d-v5")) {
    see_all(r, q, 1, nq), see_clipped(r, v, 0, nv, 10);
  } else if (!strcmp(name, "Ant-v5")) {
    see_all(r, q, 2, nq), see_all(r, v, 0, nv), see_clipped(r, r->d->cfrc_ext, 6, 6 * (int)r->m->nbody, 1);
  } else {
    humanoid_sees(r);
  }
}

/* x: where the body was before the step. */
static void reference_rewards(reference *r, const char *name, double x, const float *action, double step_time) {
  const mjtNum *q = r->d->qpos, *v = r->d->qvel;
  double effort = 0;
  for (int i = 0; i < r->m->nu; i++) effort += pow((double)action[i], 2);
  r->terminated = false;
  if (!strcmp(name, "InvertedPendulum-v5")) {
    r->terminated = fabs(q[1]) > 0.2;
    r->reward = r->terminated ? 0 : 1;
  } else if (!strcmp(name, "InvertedDoublePendulum-v5")) {
    const mjtNum *tip = r->d->site_xpos;
    r->terminated = tip[2] <= 1;
    r->reward = (r->terminated ? 0 : 10) - 0.01 * tip[0] * tip[0] - pow(tip[2] - 2, 2) - 1e-3 * v[1] * v[1] -
                5e-3 * v[2] * v[2];
  } else if (!strcmp(name, "Reacher-v5")) {
    r->reward = -apart(body(r, "fingertip"), body(r, "target")) - effort;
  } else if (!strcmp(name, "Pusher-v5")) {
    r->reward =
        -apart(body(r, "object"), body(r, "goal")) - 0.5 * apart(body(r, "object"), body(r, "tips_arm")) - 0.1 * effort;
  } else if (!strcmp(name, "Swimmer-v5")) {
    r->reward = (q[0] - x) / step_time - 1e-4 * effort;
  } else if (!strcmp(name, "HalfCheetah-v5")) {
    r->reward = (q[0] - x) / step_time - 0.1 * effort;
  } else if (!strcmp(name, "Hopper-v5")) {
    r->terminated = !(q[1] > 0.7 && fabs(q[2]) < 0.2 && between_all(q, 2, 6, 100) && between_all(v, 0, 6, 100));
    r->reward = (q[0] - x) / step_time + !r->terminated - 1e-3 * effort;
  } else if (!strcmp(name, "Walker2d-v5")) {
    r->terminated = !(q[1] > 0.8 && q[1] < 2 && fabs(q[2]) < 1);
    r->reward = (q[0] - x) / step_time + !r->terminated - 1e-3 * effort;
  } else if (!strcmp(name, "Ant-v5")) {
    r->terminated = !(q[2] >= 0.2 && q[2] <= 1);
    r->reward = (body(r, "torso")[0] - x) / step_time + !r->terminated - 0.5 * effort - 5e-4 * squared_forces(r, 1);
  } else if (!strcmp(name, "Humanoid-v5")) {
    r->terminated = !(q[2] > 1 && q[2] < 2);
    r->reward = 1.25 * (centre_x(r) - x) / step_time + (r->terminated ? 0 : 5) - 0.1 * effort -
                fmin(5e-7 * squared_forces(r, INFINITY), 10);
  } else { /* HumanoidStandup-v5 */
    r->reward = q[2] / 0.003 - 0.1 * effort - fmin(0.5e-6 * squared_forces(r, INFINITY), 10) + 1;
  }
}

static double place_x(const reference *r, const char *name) {
  if (!strcmp(name, "Ant-v5")) return body(r, "torso")[0];
  if (!strcmp(name, "Humanoid-v5")) return centre_x(r);
  return r->d->qpos[0];
}

static void assert_same_observation(const harness *h, const reference *r, const char *when, int step) {
  cr_assert_eq(r->size, h->spec.observation_size);
  for (int i = 0; i < r->size; i++)
    cr_assert_eq(harness_observation(h, 0)[i], (float)r->observation[i], "%s, %s %d, number %d: %.9g, not %.9g",
                 h->type->name, when, step, i, (double)harness_observation(h, 0)[i], r->observation[i]);
}

/* One episode: bit for bit the same observations, the same rewards and flags. Goes on past the end of the task. */
static int follow(const char *name, uint64_t *random, int steps) {
  static const int frame_skips[NUM_TASKS] = {2, 5, 2, 5, 4, 4, 5, 4, 5, 5, 5};
  int frames = 0, ended = 0;
  for (int i = 0; i < NUM_TASKS; i++)
    if (!strcmp(name, all_tasks[i])) frames = frame_skips[i];
  harness h;
  sim_open(&h, name, 1, NULL, NULL);
  harness_reset(&h, 0, test_random(random) % 1000);
  reference r = {.m = sim_world(&h)->model.compiled};
  r.d = mj_makeData(r.m);
  mju_copy(r.d->qpos, sim_env(&h, 0)->data->qpos, (int)r.m->nq);
  mju_copy(r.d->qvel, sim_env(&h, 0)->data->qvel, (int)r.m->nv);
  mj_forward(r.m, r.d);
  /* 2.2 normalises the quaternions in qpos whenever it looks at them, which may change their last bits a second time.
   */
  mju_copy(r.d->qpos, sim_env(&h, 0)->data->qpos, (int)r.m->nq);
  mju_copy(r.d->qacc_warmstart, sim_env(&h, 0)->data->qacc_warmstart, (int)r.m->nv);
  reference_observes(&r, name);
  assert_same_observation(&h, &r, "reset", 0);

  for (int step = 0; step < steps; step++) {
    sim_random_action(&h, 0, random);
    const double x = place_x(&r, name);
    for (int i = 0; i < r.m->nu; i++) r.d->ctrl[i] = (double)sim_action(&h, 0)[i];
    for (int frame = 0; frame < frames; frame++) mj_step(r.m, r.d);
    mj_rnePostConstraint(r.m, r.d);
    reference_observes(&r, name);
    reference_rewards(&r, name, x, sim_action(&h, 0), frames * r.m->opt.timestep);

    cr_assert_eq(sim_step(&h, 0, NULL), 0);
    assert_same_observation(&h, &r, "step", step);
    cr_assert(fabs((double)h.rewards[0] - r.reward) <= 1e-6 * (1 + fabs(r.reward)), "%s step %d: %.9g, not %.9g", name,
              step, (double)h.rewards[0], r.reward);
    cr_assert_eq(h.terminated[0] != 0, r.terminated, "%s step %d", name, step);
    cr_assert_eq(h.truncated[0], 0);
    ended += r.terminated;
  }
  mj_deleteData(r.d);
  sim_close(&h);
  return ended;
}

Test(mujoco_tasks, every_task_follows_a_plain_loop_of_mj_step) {
  uint64_t random = test_seed();
  for (int i = 0; i < NUM_TASKS; i++) {
    const int ended = follow(all_tasks[i], &random, 150);
    const bool can_end =
        strstr("InvertedPendulum-v5 InvertedDoublePendulum-v5 Hopper-v5 Walker2d-v5 Humanoid-v5", all_tasks[i]);
    cr_assert(can_end ? ended > 0 : ended == 0 || !strcmp(all_tasks[i], "Ant-v5"), "%s ended %d times", all_tasks[i],
              ended);
  }
}

Test(mujoco_tasks, info_columns_add_up_to_the_reward) {
  static const struct {
    const char *name, *terms; /* info columns that are added */
    double rest;
  } cases[] = {{"HalfCheetah-v5", "reward_forward reward_ctrl", 0},
               {"Hopper-v5", "reward_forward reward_ctrl reward_survive", 0},
               {"Ant-v5", "reward_forward reward_ctrl reward_contact reward_survive", 0},
               {"Humanoid-v5", "reward_survive reward_forward reward_ctrl reward_contact", 0},
               {"HumanoidStandup-v5", "reward_linup reward_quadctrl reward_impact", 1},
               {"Pusher-v5", "reward_dist reward_ctrl reward_near", 0},
               {"InvertedDoublePendulum-v5", "reward_survive distance_penalty velocity_penalty", 0}};
  uint64_t random = test_seed();
  for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
    harness h;
    float infos[DR_MJ_MAX_INFOS];
    sim_open(&h, cases[c].name, 1, NULL, NULL);
    cr_assert_leq(h.spec.num_infos, DR_MJ_MAX_INFOS);
    harness_reset(&h, 0, 0);
    for (int step = 0; step < 20; step++) {
      sim_random_action(&h, 0, &random);
      cr_assert_eq(sim_step(&h, 0, infos), 0);
      double sum = cases[c].rest;
      for (int i = 0; i < h.spec.num_infos; i++)
        if (strstr(cases[c].terms, h.spec.info_names[i])) sum += (double)infos[i];
      cr_assert(fabs(sum - (double)h.rewards[0]) <= 1e-6 * (1 + fabs(sum)), "%s: %g, not %g", cases[c].name,
                (double)h.rewards[0], sum);
    }
    sim_close(&h);
  }
}

/* ---- Resets ---- */

/* Mean and variance of one number of many resets, within 5 standard errors; within [-limit, limit] if that is given. */
static void assert_moments(const char *name, bool velocity, int index, double middle, double deviation, double limit,
                           double kurtosis) {
  enum { EPISODES = 3000 };
  harness h;
  sim_open(&h, name, 1, NULL, NULL);
  double sum = 0, squares = 0;
  for (uint64_t episode = 0; episode < EPISODES; episode++) {
    harness_reset(&h, 0, episode);
    const mjData *d = sim_env(&h, 0)->data;
    const double x = (velocity ? d->qvel[index] : d->qpos[index]) - middle;
    cr_assert(fabs(x) <= limit, "%s: %g is too far from %g", name, x + middle, middle);
    sum += x;
    squares += x * x;
  }
  const double variance = deviation * deviation;
  cr_assert(fabs(sum / EPISODES) < 5 * deviation / sqrt(EPISODES), "%s: mean %g", name, sum / EPISODES);
  cr_assert(fabs(squares / EPISODES - variance) < 5 * variance * sqrt((kurtosis - 1) / EPISODES),
            "%s: variance %g, not %g", name, squares / EPISODES, variance);
  sim_close(&h);
}

static void assert_uniform(const char *name, bool velocity, int index, double middle, double scale) {
  assert_moments(name, velocity, index, middle, scale / sqrt(3), scale, 1.8);
}

static void assert_normal(const char *name, int velocity, double scale) {
  assert_moments(name, true, velocity, 0, scale, INFINITY, 3);
}

Test(mujoco_tasks, resets_have_gymnasiums_distributions) {
  assert_uniform("InvertedPendulum-v5", false, 1, 0, 0.01);
  assert_uniform("InvertedPendulum-v5", true, 0, 0, 0.01);
  assert_uniform("InvertedDoublePendulum-v5", false, 2, 0, 0.1);
  assert_normal("InvertedDoublePendulum-v5", 1, 0.1);
  assert_uniform("Reacher-v5", false, 0, 0, 0.1);
  assert_uniform("Reacher-v5", true, 1, 0, 0.005);
  assert_moments("Reacher-v5", false, 2, 0, 0.1, 0.2, 2); /* in a disc of radius R: variance R^2/4, kurtosis 2 */
  assert_moments("Reacher-v5", false, 3, 0, 0.1, 0.2, 2);
  assert_uniform("Pusher-v5", true, 6, 0, 0.005);
  assert_uniform("Swimmer-v5", false, 4, 0, 0.1);
  assert_uniform("HalfCheetah-v5", false, 0, 0, 0.1);
  assert_normal("HalfCheetah-v5", 8, 0.1);
  assert_uniform("Hopper-v5", false, 1, 1.25, 5e-3);
  assert_uniform("Walker2d-v5", true, 3, 0, 5e-3);
  assert_uniform("Ant-v5", false, 2, 0.75, 0.1);
  assert_normal("Ant-v5", 7, 0.1);
  assert_uniform("HumanoidStandup-v5", false, 2, 0.105, 1e-2);
}

Test(mujoco_tasks, targets_and_objects_lie_where_they_may) {
  harness h;
  sim_open(&h, "Pusher-v5", 1, NULL, NULL);
  for (uint64_t episode = 0; episode < 500; episode++) {
    harness_reset(&h, 0, episode);
    const mjData *d = sim_env(&h, 0)->data;
    for (int i = 0; i < 7; i++) cr_assert_eq(d->qpos[i], 0);
    cr_assert(d->qpos[7] >= -0.3 && d->qpos[7] <= 0 && fabs(d->qpos[8]) <= 0.2);
    cr_assert_gt(hypot(d->qpos[7], d->qpos[8]), 0.17);
    for (int i = 9; i < 11; i++) cr_assert_eq(d->qpos[i], 0);
    for (int i = 7; i < 11; i++) cr_assert_eq(d->qvel[i], 0);
  }
  sim_close(&h);
  sim_open(&h, "Reacher-v5", 1, NULL, NULL);
  for (uint64_t episode = 0; episode < 500; episode++) {
    harness_reset(&h, 0, episode);
    const mjData *d = sim_env(&h, 0)->data;
    cr_assert_lt(hypot(d->qpos[2], d->qpos[3]), 0.2);
    cr_assert(d->qvel[2] == 0 && d->qvel[3] == 0);
  }
  sim_close(&h);
}

Test(mujoco_tasks, resets_depend_on_seed_env_and_episode_alone) {
  harness h;
  sim_open(&h, "Ant-v5", 2, NULL, NULL);
  const size_t bytes = sizeof(float) * (size_t)h.spec.observation_size;
  harness_reset(&h, 0, 3);
  float *first = malloc(bytes);
  memcpy(first, harness_observation(&h, 0), bytes);
  uint64_t random = test_seed();
  for (int i = 0; i < 5; i++) {
    sim_random_action(&h, 0, &random);
    cr_assert_eq(sim_step(&h, 0, NULL), 0);
  }
  harness_reset(&h, 0, 3);
  cr_assert_eq(memcmp(first, harness_observation(&h, 0), bytes), 0);
  harness_reset(&h, 0, 4);
  cr_assert_neq(memcmp(first, harness_observation(&h, 0), bytes), 0);
  harness_reset(&h, 1, 3);
  cr_assert_neq(memcmp(first, harness_observation(&h, 1), bytes), 0);
  free(first);
  sim_close(&h);
}

/* ---- Arguments ---- */

static int32_t size_with(const char *name, const char *key, const char *value) {
  harness h;
  sim_open(&h, name, 1, key, value);
  const int32_t size = h.spec.observation_size;
  harness_reset(&h, 0, 0);
  sim_close(&h);
  return size;
}

Test(mujoco_tasks, arguments_choose_what_is_observed) {
  static const char *const where = "exclude_current_positions_from_observation";
  cr_assert_eq(size_with("Swimmer-v5", NULL, NULL), 8);
  cr_assert_eq(size_with("Swimmer-v5", where, "false"), 10);
  cr_assert_eq(size_with("HalfCheetah-v5", where, "false"), 18);
  cr_assert_eq(size_with("Walker2d-v5", where, "false"), 18);
  cr_assert_eq(size_with("Ant-v5", NULL, NULL), 105);
  cr_assert_eq(size_with("Ant-v5", "include_cfrc_ext_in_observation", "false"), 27);
  cr_assert_eq(size_with("Humanoid-v5", NULL, NULL), 348);
  cr_assert_eq(size_with("Humanoid-v5", "include_cinert_in_observation", "false"), 348 - 130);
  cr_assert_eq(size_with("Humanoid-v5", "include_cvel_in_observation", "false"), 348 - 78);
  cr_assert_eq(size_with("Humanoid-v5", "include_qfrc_actuator_in_observation", "false"), 348 - 17);
  cr_assert_eq(size_with("HumanoidStandup-v5", where, "false"), 350);
}

/* The first step's reward and end under one argument, always from the same state with the same action. */
static double reward_with(const char *name, const char *key, const char *value, bool *ended) {
  harness h;
  sim_open(&h, name, 1, key, value);
  harness_reset(&h, 0, 7);
  for (int32_t i = 0; i < h.spec.action_size; i++) sim_action(&h, 0)[i] = 0.25f;
  cr_assert_eq(sim_step(&h, 0, NULL), 0);
  const double reward = (double)h.rewards[0];
  if (ended) *ended = h.terminated[0] != 0;
  sim_close(&h);
  return reward;
}

Test(mujoco_tasks, arguments_weigh_the_reward_and_end_episodes) {
  const double cheetah = reward_with("HalfCheetah-v5", NULL, NULL, NULL);
  cr_assert_float_eq(reward_with("HalfCheetah-v5", "ctrl_cost_weight", "0", NULL), cheetah + 0.1 * 6 * 0.0625, 1e-5);
  bool ended;
  const double hopper = reward_with("Hopper-v5", NULL, NULL, &ended);
  cr_assert(!ended);
  cr_assert_float_eq(reward_with("Hopper-v5", "healthy_reward", "3.5", NULL), hopper + 2.5, 1e-5);
  cr_assert_float_eq(reward_with("Hopper-v5", "healthy_z_range", "1.5:inf", &ended), hopper - 1, 1e-5);
  cr_assert(ended);
  reward_with("Ant-v5", "healthy_z_range", "0:0.1", &ended);
  cr_assert(ended);
  const double ant = reward_with("Ant-v5", NULL, NULL, &ended);
  cr_assert_float_eq(reward_with("Ant-v5", "main_body", "torso", NULL), ant, 1e-6);
  cr_assert_float_eq(reward_with("Ant-v5", "frame_skip", "5", NULL), ant, 1e-6);
  cr_assert(fabs(reward_with("Ant-v5", "frame_skip", "1", NULL) - ant) > 1e-6);
  const double reacher = reward_with("Reacher-v5", NULL, NULL, NULL);
  cr_assert_float_eq(reward_with("Reacher-v5", "reward_control_weight", "0", NULL), reacher + 2 * 0.0625, 1e-6);
}

Test(mujoco_tasks, wrong_arguments_say_what_would_be_right) {
  static const struct {
    const char *name, *key, *value, *says;
  } cases[] = {
      {"Hopper-v5", "healthy_z_range", "0.7", "healthy_z_range must be LOW:HIGH"},
      {"Hopper-v5", "healthy_z_range", "2:1", "in this order"},
      {"Hopper-v5", "terminate_when_unhealthy", "maybe", "must be true or false, got 'maybe'"},
      {"Ant-v5", "main_body", "wing", "main_body must be the name of a body of the model or 0..13, got 'wing'"},
      {"Ant-v5", "frame_skip", "0", "frame_skip must be 1..100000, got 0"},
      {"Ant-v5", "frame_skip", "2.5", "frame_skip must be a whole number"},
      {"Ant-v5", "ctrl_cost_weight", "nan", "ctrl_cost_weight must be a number, got 'nan'"}};
  for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
    harness h;
    const drover_env_arg arg = {cases[c].key, cases[c].value};
    cr_assert(!harness_try_open(&h, cases[c].name, 1, &arg, 1));
    cr_assert(strstr(h.message, cases[c].says), "%s", h.message);
  }
}
