/* test_walker.c: episodes of gait2d: how they begin, what is observed, what is rewarded, when they end; arguments,
 * parameters, save and load. The formulas are written out once more, on an mjData of the test's own. */
#include "tests/gait/gait_harness.h"

/* ---- A reference: the pose at a phase, by another route than env/gait/pose.c ---- */

/* Joint angles at a knot of the table; the other leg's is a knot too. */
static void knot_angles(int percent, double angle[6]) {
  static const double table[][4] = {{0, 30, 5, 0},    {10, 25, 16, -3}, {20, 15, 16, 4},   {30, 4, 9, 7},
                                    {40, -5, 5, 10},  {50, -11, 11, 5}, {60, -7, 35, -17}, {70, 12, 60, -12},
                                    {80, 27, 53, -1}, {90, 32, 18, 1}};
  for (int leg = 0; leg < 2; leg++)
    for (int j = 0; j < 3; j++) angle[3 * leg + j] = table[(percent + 50 * leg) % 100 / 10][1 + j] * M_PI / 180;
}

static mjData *pose(const harness *h, double pitch, const double angle[6]) {
  const mjModel *m = &gait_world(h)->model;
  mjData *d = mj_makeData(m);
  d->qpos[2] = pitch;
  memcpy(d->qpos + 3, angle, 6 * sizeof *angle);
  mj_kinematics(m, d);
  return d;
}

static double lowest_point(const harness *h, const mjData *d) {
  double lowest = INFINITY;
  static const char *const names[] = {"heel_r", "toe_r", "heel_l", "toe_l"};
  for (int i = 0; i < 4; i++) {
    const int geom = mj_name2id(&gait_world(h)->model, mjOBJ_GEOM, names[i]);
    lowest = fmin(lowest, d->geom_xpos[3 * geom + 2] - gait_world(h)->model.geom_size[3 * geom]);
  }
  return lowest;
}

static const mjtNum *body_centre(const harness *h, const mjData *d, const char *name) {
  return d->xipos + 3 * mj_name2id(&gait_world(h)->model, mjOBJ_BODY, name);
}

static void open_with(harness *h, const drover_env_arg *args, int32_t n) {
  cr_assert(gait_try_open(h, 2, args, n), "%s", h->message);
}

/* ---- Reset ---- */

Test(gait_walker, an_episode_begins_in_the_references_pose_and_velocity) {
  for (int percent = 0; percent < 100; percent += 10) {
    char phase[16];
    snprintf(phase, sizeof phase, "%g", percent / 100.0);
    const drover_env_arg args[] = {{"reset_phase", phase}, {"reset_noise", "0"}};
    harness h;
    open_with(&h, args, 2);
    harness_reset(&h, 0, 3);
    const mjData *d = gait_env(&h, 0)->data;
    double angle[6];
    knot_angles(percent, angle);
    for (int j = 0; j < 6; j++) cr_assert_float_eq(d->qpos[3 + j], angle[j], 1e-9);
    cr_assert_eq(d->qpos[0], 0);
    cr_assert_float_eq(d->qpos[2], 6 * M_PI / 180, 1e-12);
    cr_assert_float_eq(lowest_point(&h, d), 0, 1e-9, "a sole is %g m over the ground", lowest_point(&h, d));
    cr_assert_eq(d->qvel[0], 1.2);
    cr_assert_eq(d->qvel[2], 0);

    /* A millisecond later by the velocities, against the reference a millisecond later. */
    double later[6], velocity[6];
    dr_gait_reference_joints(gait_world(&h), percent / 100.0 + 1e-3 * 1.2 / 1.37, 1.2, later, velocity);
    for (int j = 0; j < 6; j++) cr_assert_float_eq(d->qpos[3 + j] + 1e-3 * d->qvel[3 + j], later[j], 1e-4);
    mjData *moved = pose(&h, d->qpos[2], later);
    cr_assert_float_eq(0.95 - lowest_point(&h, moved) - d->qpos[1], 1e-3 * d->qvel[1], 2e-4);
    mj_deleteData(moved);
    gait_close(&h);
  }
}

Test(gait_walker, episodes_begin_at_random_phases) {
  enum { EPISODES = 2000 };
  harness h;
  gait_open(&h, 1, NULL, NULL);
  double sum = 0, squares = 0;
  for (uint64_t episode = 0; episode < EPISODES; episode++) {
    harness_reset(&h, 0, episode);
    const double phase = gait_env(&h, 0)->phase;
    cr_assert(phase >= 0 && phase < 1);
    sum += phase;
    squares += phase * phase;
  }
  cr_assert_float_eq(sum / EPISODES, 0.5, 5 * sqrt(1 / 12.0 / EPISODES));
  cr_assert_float_eq(squares / EPISODES, 1 / 3.0, 5 * sqrt(4 / 45.0 / EPISODES));
  gait_close(&h);
}

Test(gait_walker, noise_has_the_deviation_it_was_given) {
  enum { EPISODES = 3000 };
  const drover_env_arg args[] = {{"reset_phase", "0.2"}, {"reset_noise", "0.03"}};
  harness h;
  open_with(&h, args, 2);
  double angle[6], position = 0, velocity = 0;
  knot_angles(20, angle);
  for (uint64_t episode = 0; episode < EPISODES; episode++) {
    harness_reset(&h, 0, episode);
    const mjData *d = gait_env(&h, 0)->data;
    position += pow(d->qpos[3] - angle[0], 2);
    velocity += pow(d->qvel[2], 2);
    cr_assert_float_eq(lowest_point(&h, d), 0, 1e-9);
  }
  cr_assert_float_eq(sqrt(position / EPISODES), 0.03, 0.03 * 5 * sqrt(0.5 / EPISODES));
  cr_assert_float_eq(sqrt(velocity / EPISODES), 0.3, 0.3 * 5 * sqrt(0.5 / EPISODES));
  gait_close(&h);
}

/* ---- Observations ---- */

/* The next number of *o; on to the one after. */
static void see(const float **o, double wanted, double tolerance, const char *what) {
  cr_assert_float_eq((double)**o, wanted, tolerance, "%s: %g, not %g", what, (double)**o, wanted);
  ++*o;
}

static void see_bodies(const harness *h, const float **o, const mjData *d, const mjData *later) {
  static const char *const bodies[] = {"pelvis", "torso",   "femur_r", "tibia_r",
                                       "foot_r", "femur_l", "tibia_l", "foot_l"};
  const mjtNum *pelvis = body_centre(h, d, "pelvis");
  for (int b = 1; b < 8; b++)
    for (int axis = 0; axis < 3; axis += 2)
      see(o, 0.8 * (body_centre(h, d, bodies[b])[axis] - pelvis[axis]), 1e-6, bodies[b]);
  for (int b = 0; b < 8; b++)
    for (int axis = 0; axis < 3; axis += 2) {
      const double velocity = (body_centre(h, later, bodies[b])[axis] - body_centre(h, d, bodies[b])[axis]) / 1e-6;
      see(o, 0.2 * velocity, 2e-5 * (1 + fabs(velocity)), bodies[b]);
    }
}

static void see_contacts(const harness *h, const float **o, const mjData *d) {
  static const char *const soles[] = {"heel_r", "toe_r", "heel_l", "toe_l"};
  const mjModel *m = &gait_world(h)->model;
  for (int s = 0; s < 4; s++) {
    const int geom = mj_name2id(m, mjOBJ_GEOM, soles[s]);
    const double height = d->geom_xpos[3 * geom + 2] - m->geom_size[3 * geom];
    if (fabs(height) > 1e-9)
      see(o, height < 0, 0, soles[s]);
    else
      ++*o; /* it just touches: either is right */
  }
}

static void assert_observed(const harness *h, int32_t env) {
  const mjModel *m = &gait_world(h)->model;
  const dr_gait_env *e = gait_env(h, env);
  const float *o = harness_observation(h, env);
  mjData *d = mj_makeData(m), *later = mj_makeData(m);
  mju_copy(d->qpos, e->data->qpos, 9);
  mju_copy(d->qvel, e->data->qvel, 9);
  mj_forward(m, d);
  for (int i = 0; i < 9; i++) later->qpos[i] = d->qpos[i] + 1e-6 * d->qvel[i];
  mj_kinematics(m, later);
  see_bodies(h, &o, d, later);
  see(&o, d->qpos[1], 1e-6, "height");
  see(&o, d->qpos[2], 1e-6, "pitch");
  see(&o, sin(2 * M_PI * e->phase), 1e-6, "sine");
  see(&o, cos(2 * M_PI * e->phase), 1e-6, "cosine");
  see_contacts(h, &o, d);
  see(&o, e->target_speed, 1e-6, "target speed");
  cr_assert_eq(o - harness_observation(h, env), h->spec.observation_size);
  mj_deleteData(d);
  mj_deleteData(later);
}

Test(gait_walker, an_observation_tells_bodies_phase_contacts_and_target) {
  harness h;
  gait_open(&h, 1, NULL, NULL);
  for (uint64_t episode = 0; episode < 5; episode++) {
    harness_reset(&h, 0, episode);
    for (int step = 0; step < 15; step++) {
      assert_observed(&h, 0);
      cr_assert_eq(gait_step(&h, 0, gait_solve, NULL, NULL, NULL), 0);
    }
  }
  gait_close(&h);
}

/* ---- Rewards and ends ---- */

/* The reward of a step that began at x, and its infos. */
static double expected_reward(const harness *h, double x, const float *infos) {
  const dr_gait_env *e = gait_env(h, 0);
  const mjData *d = e->data;
  double angle[6], velocity[6], joints = 0, velocities = 0, feet = 0;
  dr_gait_reference_leg(&gait_world(h)->reference, e->phase, angle, velocity);
  dr_gait_reference_leg(&gait_world(h)->reference, e->phase + 0.5, angle + 3, velocity + 3);
  for (int j = 0; j < 6; j++) {
    joints += pow(d->qpos[3 + j] - angle[j], 2);
    velocities += pow(d->qvel[3 + j] - velocity[j] * 1.2 / 1.37, 2);
  }
  mjData *reference = pose(h, 6 * M_PI / 180, angle);
  for (int leg = 0; leg < 2; leg++)
    for (int axis = 0; axis < 3; axis += 2) {
      const char *foot = leg ? "foot_l" : "foot_r";
      const mjtNum *there = d->xpos + 3, *wanted = reference->xpos + 3; /* the pelvis's origin: body 1 */
      feet +=
          pow(body_centre(h, d, foot)[axis] - there[axis] - (body_centre(h, reference, foot)[axis] - wanted[axis]), 2);
    }
  mj_deleteData(reference);
  const double speed = (d->qpos[0] - x) * 30;
  cr_assert_float_eq(infos[5], speed, 1e-5);
  cr_assert_float_eq(infos[2], exp(-40 * feet), 1e-5);
  return exp(-40 * feet) * (0.65 * exp(-2 * joints) + 0.1 * exp(-0.1 * velocities)) +
         0.2 * exp(-4 * pow(speed - 1.2, 2)) - 0.02 * (double)infos[4];
}

static double sum_of_squares;
static void counting_inner(const harness *h, const float *row, float *activation, void *context) {
  gait_random_inner(h, row, activation, context);
  activation[3] = 1.5f; /* counts as 1, as it acts */
  for (int i = 0; i < DR_GAIT_MUSCLES; i++) sum_of_squares += pow(fmin((double)activation[i], 1), 2);
}

Test(gait_walker, the_reward_is_the_sum_of_its_terms) {
  harness h;
  gait_open(&h, 1, NULL, NULL);
  uint64_t random = test_seed();
  double best = 0, worst = 1;
  for (uint64_t episode = 0; episode < 20; episode++) {
    harness_reset(&h, 0, episode);
    for (int step = 0; step < 12; step++) {
      float infos[7];
      const double x = gait_env(&h, 0)->data->qpos[0];
      for (int j = 0; j < 6; j++) gait_action(&h, 0)[j] = (float)test_uniform(&random, -2, 2);
      sum_of_squares = 0;
      gait_inner *inner = episode % 2 ? counting_inner : gait_solve;
      cr_assert_eq(gait_step(&h, 0, inner, &random, infos, NULL), 0);
      const double reward = (double)h.rewards[0];
      cr_assert_float_eq(reward, expected_reward(&h, x, infos), 1e-5);
      cr_assert_float_eq(reward, infos[0] + infos[1] + infos[3] - 0.02f * infos[4], 1e-5);
      if (episode % 2) cr_assert_float_eq(infos[4], sum_of_squares / (16 * 18), 1e-5);
      best = fmax(best, reward);
      worst = fmin(worst, reward);
    }
  }
  cr_assert(best > 0.7 && worst < 0.1, "%g, %g", best, worst);
  gait_close(&h);
}

Test(gait_walker, weights_are_arguments_and_imitation_can_be_turned_off) {
  const drover_env_arg args[] = {
      {"speed_weight", "0"}, {"effort_weight", "0"}, {"imitation", "0"}, {"alive_weight", "2"}};
  harness h;
  open_with(&h, args, 4);
  harness_reset(&h, 0, 0);
  cr_assert_eq(gait_step(&h, 0, gait_solve, NULL, NULL, NULL), 0);
  cr_assert_eq(h.rewards[0], 2);
  cr_assert_eq(strcmp(h.spec.param_names[1], "imitation"), 0);
  float infos[7];
  h.type->set_param(h.shared, harness_state(&h, 0), 1, 0.5f);
  gait_step(&h, 0, gait_solve, NULL, infos, NULL);
  cr_assert_float_eq(h.rewards[0], 2 + infos[0] + infos[1], 1e-5);
  cr_assert(infos[0] > 0.1f && infos[0] < 0.33f);
  gait_close(&h);
}

Test(gait_walker, a_fall_ends_the_episode) {
  harness h;
  gait_open(&h, 1, NULL, NULL);
  cr_assert_eq(h.spec.max_episode_steps, 300);
  static const struct {
    double z, pitch;
    bool ends;
  } tests[] = {{0.9, 0.1, false}, {0.6, 0.1, true}, {0.9, 0.9, true}, {0.9, -0.9, true}, {0.9, -0.6, false}};
  for (int t = 0; t < 5; t++) {
    harness_reset(&h, 0, 0);
    double qpos[9] = {0, tests[t].z, tests[t].pitch, 1.7, 2, 0.3, 1.7, 2, 0.3}, qvel[9] = {0}; /* in the air */
    cr_assert_eq(dr_gait_env_place(gait_world(&h), gait_env(&h, 0), qpos, qvel), 0);
    cr_assert_eq(gait_step(&h, 0, gait_solve, NULL, NULL, NULL), 0);
    const mjtNum *q = gait_env(&h, 0)->data->qpos;
    cr_assert_eq(h.terminated[0], q[1] < 0.7 || fabs(q[2]) > 0.8);
    cr_assert_eq(h.terminated[0], tests[t].ends, "%g, %g", q[1], q[2]);
    cr_assert_eq(h.truncated[0], 0);
  }
  gait_close(&h);
}

/* Without any help from the outer policy, the muscles that a solver chooses follow the cycle for a step or two. */
Test(gait_walker, the_reference_is_walkable_for_a_while) {
  harness h;
  gait_open(&h, 1, NULL, NULL);
  double steps = 0, reward = 0, first = 0;
  for (uint64_t episode = 0; episode < 20; episode++) {
    harness_reset(&h, 0, episode);
    for (int step = 0; step < 300; step++) {
      cr_assert_eq(gait_step(&h, 0, gait_solve, NULL, NULL, NULL), 0);
      if (step < 5) first += (double)h.rewards[0] / 100;
      steps += 0.05;
      reward += (double)h.rewards[0];
      if (h.terminated[0]) break;
    }
  }
  fprintf(stderr, "%.1f steps an episode, reward %.3f a step, %.3f of the first five\n", steps, reward / (20 * steps),
          first);
  cr_assert(steps > 30 && first > 0.6);
  gait_close(&h);
}

/* ---- Arguments and parameters ---- */

Test(gait_walker, bad_arguments_are_refused_with_a_reason) {
  static const struct {
    const char *key, *value, *says;
  } bad[] = {{"kp", "x", "kp must be a number"},
             {"kp", "-1", "kp must be a number in 0..10000"},
             {"kd", "nan", "kd must be a number"},
             {"stride", "0", "stride must be a number"},
             {"reset_phase", "2", "reset_phase must be random or a number in 0..1"},
             {"reset_phase", "soon", "reset_phase must be random"},
             {"activation", "fast", "activation must be instant or dynamics"},
             {"max_episode_steps", "1.5", "max_episode_steps must be a whole number"}};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    const drover_env_arg arg = {bad[i].key, bad[i].value};
    harness h;
    cr_assert(!gait_try_open(&h, 1, &arg, 1), "%s=%s", arg.key, arg.value);
    cr_assert(strstr(h.message, bad[i].says), "%s", h.message);
  }
}

/* Half the speed: cadence and steps shrink by the same factor, the root of a half. */
Test(gait_walker, the_target_speed_is_a_parameter_and_outlives_episodes) {
  harness h;
  gait_open(&h, 1, NULL, NULL);
  harness_reset(&h, 0, 0);
  cr_assert_eq(h.type->set_param(h.shared, harness_state(&h, 0), 0, 0.6f), 0);
  for (uint64_t episode = 1; episode < 3; episode++) {
    harness_reset(&h, 0, episode);
    const double phase = gait_env(&h, 0)->phase;
    cr_assert_float_eq(gait_env(&h, 0)->data->qvel[0], 0.6, 1e-6);
    cr_assert_eq(harness_observation(&h, 0)[38], 0.6f);
    gait_step(&h, 0, gait_solve, NULL, NULL, NULL);
    const double moved = gait_env(&h, 0)->phase - phase;
    cr_assert_float_eq(moved - floor(moved), sqrt(0.5) * 1.2 / 1.37 / 30, 1e-6);
  }
  cr_assert_neq(h.type->set_param(h.shared, harness_state(&h, 0), 0, NAN), 0);
  cr_assert_neq(h.type->set_param(h.shared, harness_state(&h, 0), 0, -1), 0);
  gait_close(&h);
}

/* ---- Save and load ---- */

static void record(harness *h, int32_t env, int steps, uint64_t seed, float *rows) {
  uint64_t random = seed;
  for (int step = 0; step < steps; step++) {
    for (int j = 0; j < 6; j++) gait_action(h, env)[j] = (float)test_uniform(&random, -1, 1);
    cr_assert_eq(gait_step(h, env, gait_solve, NULL, NULL, NULL), 0);
    memcpy(rows, harness_observation(h, env), sizeof(float) * DR_GAIT_OBSERVATION);
    rows += DR_GAIT_OBSERVATION;
    *rows++ = h->rewards[env];
  }
}

Test(gait_walker, a_loaded_env_goes_on_bit_for_bit) {
  enum { AFTER = 20, NUMBERS = AFTER * (DR_GAIT_OBSERVATION + 1) };
  static const char *const activations[] = {"instant", "dynamics"};
  for (int dynamics = 0; dynamics < 2; dynamics++) {
    const drover_env_arg args[] = {{"activation", activations[dynamics]}};
    harness h;
    open_with(&h, args, 1);
    static float first[NUMBERS], again[NUMBERS], unused[NUMBERS];
    char *saved = malloc(h.spec.save_size + 1);
    h.type->set_param(h.shared, harness_state(&h, 0), 0, 1.1f);
    harness_reset(&h, 0, 5);
    harness_reset(&h, 1, 6);
    record(&h, 0, 8, 1, unused);
    record(&h, 1, 5, 2, unused);
    cr_assert_eq(h.type->save(h.shared, harness_state(&h, 0), saved + 1), 0); /* at an odd address */
    record(&h, 0, AFTER, 3, first);
    for (int32_t env = 1; env >= 0; env--) { /* into one that has been elsewhere, and into the same */
      cr_assert_eq(h.type->load(h.shared, harness_state(&h, env), saved + 1), 0);
      record(&h, env, AFTER, 3, again);
      cr_assert_eq(memcmp(first, again, sizeof first), 0, "%s, env %d", activations[dynamics], env);
    }
    free(saved);
    gait_close(&h);
  }
}

Test(gait_walker, a_renderer_is_shown_model_data_and_reference) {
  harness h;
  gait_open(&h, 1, NULL, NULL);
  harness_reset(&h, 0, 4);
  for (int step = 0; step < 5; step++) gait_step(&h, 0, gait_solve, NULL, NULL, NULL);
  dr_gait_view view;
  dr_gait_look(h.shared, harness_state(&h, 0), &view);
  cr_assert_eq(view.data, gait_env(&h, 0)->data);
  cr_assert_eq(view.phase, gait_env(&h, 0)->phase);
  cr_assert_eq(view.qpos[0], view.data->qpos[0]);
  mjData *d = mj_makeData(view.model);
  mju_copy(d->qpos, view.qpos, 9);
  mj_kinematics(view.model, d);
  cr_assert_float_eq(lowest_point(&h, d), 0, 1e-9);
  mj_deleteData(d);
  gait_close(&h);
}
