/* test_ticks.c: the inner loop of gait2d: torques as a linear function of activations, rows, samples, faults, memory.
 */
#include <malloc.h>

#include "tests/gait/gait_harness.h"

enum { JTA = DR_GAIT_INNER_OBSERVATION, B = JTA + 6 * 18, TAU = B + 6, VALID = TAU + 6 };

static void random_actions(harness *h, uint64_t *random) {
  for (int j = 0; j < DR_GAIT_JOINTS; j++) gait_action(h, 0)[j] = (float)test_uniform(random, -2, 2);
}

/* ---- Torques ---- */

typedef struct {
  uint64_t random;
  double moment[DR_GAIT_MOMENTS], passive[DR_GAIT_JOINTS], activation[DR_GAIT_MUSCLES];
  double worst, largest;
  int ticks;
} identity;

/* What the tick before made, against what was foretold of it; then the next. */
static void check_identity(identity *check, const harness *h) {
  const double *made = gait_env(h, 0)->data->qfrc_actuator + DR_GAIT_ROOT;
  for (int joint = 0; joint < DR_GAIT_JOINTS && check->ticks > 0; joint++) {
    double torque = check->passive[joint];
    for (int k = 0; k < DR_GAIT_MOMENTS; k++)
      if (gait_world(h)->pair[k].joint == joint)
        torque += check->moment[k] * check->activation[gait_world(h)->pair[k].muscle];
    check->worst = fmax(check->worst, fabs(torque - made[joint]));
    check->largest = fmax(check->largest, fabs(torque));
  }
  dr_gait_moments(gait_world(h), gait_env(h, 0)->data, check->moment, check->passive);
}

static void identity_inner(const harness *h, const float *row, float *activation, void *context) {
  identity *check = context;
  check_identity(check, h);
  gait_random_inner(h, row, activation, &check->random);
  for (int i = 0; i < DR_GAIT_MUSCLES; i++) check->activation[i] = (double)activation[i];
  check->ticks++;
}

Test(gait_ticks, torques_are_linear_in_the_activations) {
  harness h;
  gait_open(&h, 1, NULL, NULL);
  identity check = {.random = test_seed()};
  for (uint64_t episode = 0; episode < 20; episode++) {
    harness_reset(&h, 0, episode);
    check.ticks = 0;
    for (int step = 0; step < 10; step++) {
      random_actions(&h, &check.random);
      cr_assert_eq(gait_step(&h, 0, identity_inner, &check, NULL, NULL), 0);
    }
  }
  fprintf(stderr, "J^T A a + b is the joints' torque to %.2g of up to %.0f N m\n", check.worst, check.largest);
  cr_assert_leq(check.worst, 1e-9);
  cr_assert_gt(check.largest, 100);
  gait_close(&h);
}

/* Anywhere in the joints' ranges, also where a fibre is shorter than its curve (MuJoCo 2.2 has it push there). */
Test(gait_ticks, muscles_pull_or_do_nothing_in_any_posture) {
  static const char *const kinds[] = {"instant", "dynamics"};
  uint64_t random = test_seed();
  for (int kind = 0; kind < 2; kind++) {
    harness h;
    gait_open(&h, 1, "activation", kinds[kind]);
    const mjModel *m = &gait_world(&h)->model;
    int short_ones = 0;
    for (int trial = 0; trial < 500; trial++) {
      double qpos[DR_GAIT_DOFS] = {0, 1.2}, qvel[DR_GAIT_DOFS] = {0}, moment[DR_GAIT_MOMENTS], torque[DR_GAIT_JOINTS];
      for (int i = DR_GAIT_ROOT; i < DR_GAIT_DOFS; i++) {
        qpos[i] = test_uniform(&random, m->jnt_range[2 * i], m->jnt_range[2 * i + 1]);
        qvel[i] = test_uniform(&random, -5, 5);
      }
      cr_assert_eq(dr_gait_env_place(gait_world(&h), gait_env(&h, 0), qpos, qvel), 0);
      mjData *d = gait_env(&h, 0)->data;
      for (int i = 0; i < m->na; i++) d->act[i] = 1;
      for (int i = 0; i < DR_GAIT_MUSCLES; i++) {
        const mjtNum *range = m->actuator_lengthrange + 2 * i;
        short_ones += (d->actuator_length[i] - range[0]) / (range[1] - range[0]) + 0.5 < 0.1;
      }
      dr_gait_moments(gait_world(&h), d, moment, torque);
      for (int k = 0; k < DR_GAIT_MOMENTS; k++) torque[gait_world(&h)->pair[k].joint] += moment[k];
      float activation[DR_GAIT_MUSCLES];
      for (int i = 0; i < DR_GAIT_MUSCLES; i++) activation[i] = 1;
      cr_assert_eq(dr_gait_env_tick(gait_world(&h), gait_env(&h, 0), activation), 0);
      for (int i = 0; i < DR_GAIT_MUSCLES; i++) cr_assert_leq(d->actuator_force[i], 0);
      for (int j = 0; j < DR_GAIT_JOINTS; j++)
        cr_assert_float_eq(d->qfrc_actuator[DR_GAIT_ROOT + j], torque[j], 1e-9, "%g, not %g",
                           d->qfrc_actuator[DR_GAIT_ROOT + j], torque[j]);
    }
    cr_assert_gt(short_ones, 100);
    gait_close(&h);
  }
}

/* With activation dynamics the same holds for what the muscles' activations are, not for what is asked of them. */
Test(gait_ticks, with_dynamics_activations_follow_in_10_and_40_ms) {
  harness h;
  gait_open(&h, 1, "activation", "dynamics");
  harness_reset(&h, 0, 0);
  cr_assert_eq(gait_world(&h)->model.na, DR_GAIT_MUSCLES);
  float on[DR_GAIT_MUSCLES], off[DR_GAIT_MUSCLES];
  for (int i = 0; i < DR_GAIT_MUSCLES; i++) on[i] = 1, off[i] = 0;
  double act = 0;
  for (int tick = 0; tick < 60; tick++) {
    /* Millard, Uchida, Seth and Delp, 2013, equation 1 and 2: the rates that MuJoCo uses. */
    const bool rising = tick < 20;
    const double wanted = rising ? 1 : 0, speed = 0.5 + 1.5 * act;
    const double constant = rising ? 0.01 * speed : 0.04 / speed;
    double moment[DR_GAIT_MOMENTS], torque[DR_GAIT_JOINTS];
    dr_gait_moments(gait_world(&h), gait_env(&h, 0)->data, moment, torque);
    for (int k = 0; k < DR_GAIT_MOMENTS; k++) torque[gait_world(&h)->pair[k].joint] += moment[k] * act;
    cr_assert_eq(dr_gait_env_tick(gait_world(&h), gait_env(&h, 0), rising ? on : off), 0);
    for (int j = 0; j < DR_GAIT_JOINTS; j++)
      cr_assert_float_eq(gait_env(&h, 0)->data->qfrc_actuator[DR_GAIT_ROOT + j], torque[j], 1e-9);
    act += (wanted - act) / constant / 480;
    cr_assert_float_eq(gait_env(&h, 0)->data->act[0], act, 1e-9);
    if (tick == 7) cr_assert(act > 0.7 && act < 0.9, "%g after 8 ticks", act);
  }
  gait_close(&h);
}

Test(gait_ticks, wanted_torques_are_a_pd_rule_refreshed_every_tick) {
  harness h;
  gait_open(&h, 1, NULL, NULL);
  harness_reset(&h, 0, 2);
  uint64_t random = test_seed();
  static float samples[16 * DR_GAIT_SAMPLE];
  for (int step = 0; step < 10; step++) {
    random_actions(&h, &random);
    double target[6], velocity[6];
    dr_gait_reference_joints(gait_world(&h), gait_env(&h, 0)->phase + 1.2 / 1.37 / 30, 1.2, target, velocity);
    /* Tick by tick, with the torques worked out from the state before each. */
    float row[DR_GAIT_INNER_OBSERVATION], activation[DR_GAIT_MUSCLES];
    memset(samples, 0, sizeof samples);
    drover_env_tick tick = {.tick = -1, .action = gait_action(&h, 0), .inner_observation = row, .sample = samples};
    cr_assert_eq(h.type->begin(h.shared, harness_state(&h, 0), &tick), 0);
    for (tick.tick = 0; tick.tick < 16; tick.tick++) {
      const mjData *d = gait_env(&h, 0)->data;
      for (int j = 0; j < 6; j++) {
        const double torque = 300 * (target[j] + 0.1 * (double)gait_action(&h, 0)[j] - d->qpos[3 + j]) +
                              24.5 * (velocity[j] - d->qvel[3 + j]);
        cr_assert_float_eq(samples[tick.tick * DR_GAIT_SAMPLE + TAU + j], fmin(fmax(torque, -250), 250), 1e-4);
      }
      gait_solve(&h, row, activation, NULL);
      tick.inner_action = activation;
      tick.inner_observation = tick.tick < 15 ? row : NULL;
      tick.sample = tick.tick < 15 ? samples + (tick.tick + 1) * DR_GAIT_SAMPLE : NULL;
      cr_assert_eq(h.type->tick(h.shared, harness_state(&h, 0), &tick), 0);
    }
  }
  gait_close(&h);
}

/* ---- Rows and samples ---- */

/* That a sample's parts agree with each other: the observation with JtA, b and tau, and JtA with anatomy. */
static void check_sample(const harness *h, const float *sample) {
  int k = 0;
  for (int joint = 0; joint < 6; joint++)
    for (int muscle = 0; muscle < 18; muscle++) {
      const float moment = sample[JTA + 18 * joint + muscle];
      /* hamstrings and rectus femoris: hip, knee; gastrocnemius: knee, ankle; the others one joint */
      static const int crossed[9][2] = {{0, 1}, {1, 1}, {0, 0}, {0, 0}, {0, 1}, {1, 1}, {1, 2}, {2, 2}, {2, 2}};
      const int *joints = crossed[muscle % 9];
      if (muscle / 9 == joint / 3 && (joints[0] == joint % 3 || joints[1] == joint % 3)) {
        cr_assert_float_eq(sample[k], moment / 200, 1e-6f * (1 + fabsf(moment)));
        k++;
      } else {
        cr_assert_eq(moment, 0);
      }
    }
  cr_assert_eq(k, DR_GAIT_MOMENTS);
  for (int j = 0; j < 6; j++)
    cr_assert_float_eq(sample[DR_GAIT_MOMENTS + j], (sample[TAU + j] - sample[B + j]) / 200, 1e-5f);
  cr_assert_eq(sample[VALID], 1);
  cr_assert_eq(h->spec.inner_sample_size, VALID + 1);
  cr_assert_eq(h->spec.inner_sample_size, 151);
}

Test(gait_ticks, samples_have_the_layout_of_the_inner_learner) {
  harness h;
  gait_open(&h, 1, NULL, NULL);
  harness_reset(&h, 0, 1);
  static float samples[16 * DR_GAIT_SAMPLE];
  for (int step = 0; step < 10; step++) {
    memset(samples, 0, sizeof samples);
    cr_assert_eq(gait_step(&h, 0, gait_solve, NULL, NULL, samples), 0);
    for (int tick = 0; tick < 16; tick++) check_sample(&h, samples + tick * DR_GAIT_SAMPLE);
  }
  gait_close(&h);
}

Test(gait_ticks, a_row_does_not_depend_on_whether_a_sample_is_kept) {
  harness h;
  gait_open(&h, 2, NULL, NULL);
  float rows[2][DR_GAIT_INNER_OBSERVATION], sample[DR_GAIT_SAMPLE] = {0};
  for (int kept = 0; kept < 2; kept++) {
    harness_reset(&h, 0, 1);
    const drover_env_tick tick = {
        .tick = -1, .action = gait_action(&h, 0), .inner_observation = rows[kept], .sample = kept ? sample : NULL};
    cr_assert_eq(h.type->begin(h.shared, harness_state(&h, 0), &tick), 0);
  }
  cr_assert_eq(memcmp(rows[0], rows[1], sizeof rows[0]), 0);
  cr_assert_eq(memcmp(rows[0], sample, sizeof rows[0]), 0);
  gait_close(&h);
}

/* How far the solver's activations are from the wanted torques: |JtA a + b - tau| / |tau|. */
static double torque_error(const harness *h, const float *sample) {
  float activation[DR_GAIT_MUSCLES];
  gait_solve(h, sample, activation, NULL);
  double missing = 0, wanted = 0;
  for (int joint = 0; joint < 6; joint++) {
    double torque = (double)sample[B + joint] - (double)sample[TAU + joint];
    for (int i = 0; i < 18; i++) torque += (double)sample[JTA + 18 * joint + i] * (double)activation[i];
    missing += torque * torque;
    wanted += pow((double)sample[TAU + joint], 2);
  }
  return wanted > 0 ? sqrt(missing / wanted) : 0;
}

Test(gait_ticks, drawn_samples_ask_for_torques_that_muscles_can_make) {
  enum { SAMPLES = 2000 };
  harness h;
  gait_open(&h, 1, NULL, NULL);
  double sum = 0, worst = 0, hip = 0, knee = 0, ankle = 0;
  for (uint64_t i = 0; i < SAMPLES; i++) {
    drover_random random = drover_random_at(1, 0, DROVER_RANDOM_DRAW, i);
    float sample[DR_GAIT_SAMPLE] = {0};
    cr_assert_eq(h.type->draw_sample(h.shared, harness_state(&h, 0), &random, sample), 0);
    check_sample(&h, sample);
    const double error = torque_error(&h, sample);
    sum += error / SAMPLES;
    worst = fmax(worst, error);
    hip = fmax(hip, fabs((double)sample[TAU]));
    knee = fmax(knee, fabs((double)sample[TAU + 1]));
    ankle = fmax(ankle, fabs((double)sample[TAU + 2]));
  }
  fprintf(stderr, "relative error %.2g, at worst %.2g; up to %.0f, %.0f, %.0f N m\n", sum, worst, hip, knee, ankle);
  cr_assert(sum < 0.01);
  cr_assert(hip > 60 && knee > 60 && ankle > 60);
  gait_close(&h);
}

/* The rule's torques on the way are nearly always within reach: what a trained inner policy can do is not the limit. */
Test(gait_ticks, wanted_torques_of_walking_are_within_reach) {
  harness h;
  gait_open(&h, 1, NULL, NULL);
  double squares = 0;
  int steps = 0;
  for (uint64_t episode = 0; episode < 20; episode++) {
    harness_reset(&h, 0, episode);
    for (int step = 0; step < 20; step++) {
      float infos[7];
      cr_assert_eq(gait_step(&h, 0, gait_solve, NULL, infos, NULL), 0);
      squares += pow((double)infos[6], 2);
      steps++;
    }
  }
  const double error = sqrt(squares / steps);
  fprintf(stderr, "%.2f N m from the wanted torque (root mean square)\n", error);
  cr_assert(error < 10);
  gait_close(&h);
}

/* ---- Faults and memory ---- */

Test(gait_ticks, numbers_that_are_not_finite_are_faults_of_that_env) {
  harness h;
  gait_open(&h, 2, NULL, NULL);
  const float bad[] = {NAN, INFINITY, -INFINITY};
  float row[DR_GAIT_INNER_OBSERVATION], activation[DR_GAIT_MUSCLES] = {0};
  for (int i = 0; i < 3; i++) {
    harness_reset(&h, 0, 0);
    harness_reset(&h, 1, 0);
    drover_env_tick tick = {.tick = -1, .action = gait_action(&h, 0), .inner_observation = row};
    gait_action(&h, 0)[i] = bad[i];
    cr_assert_neq(h.type->begin(h.shared, harness_state(&h, 0), &tick), 0);
    gait_action(&h, 0)[i] = 0;
    cr_assert_eq(h.type->begin(h.shared, harness_state(&h, 0), &tick), 0);
    tick = (drover_env_tick){.action = gait_action(&h, 0), .inner_action = activation, .inner_observation = row};
    activation[5 + i] = bad[i];
    cr_assert_neq(h.type->tick(h.shared, harness_state(&h, 0), &tick), 0);
    activation[5 + i] = 0;
    cr_assert_eq(gait_step(&h, 1, gait_solve, NULL, NULL, NULL), 0);
  }
  gait_close(&h);
}

/* MuJoCo would reset such a state silently and go on. */
Test(gait_ticks, a_state_that_explodes_is_a_fault_until_it_is_reset) {
  harness h;
  gait_open(&h, 1, NULL, NULL);
  for (uint64_t episode = 0; episode < 3; episode++) {
    harness_reset(&h, 0, episode);
    gait_env(&h, 0)->data->qvel[4] = 1e11;
    cr_assert_neq(gait_step(&h, 0, gait_solve, NULL, NULL, NULL), 0);
    cr_assert_neq(gait_step(&h, 0, gait_solve, NULL, NULL, NULL), 0);
  }
  harness_reset(&h, 0, 9);
  cr_assert_eq(gait_step(&h, 0, gait_solve, NULL, NULL, NULL), 0);
  gait_close(&h);
}

static void assert_says(const harness *h, const char *words) {
  char said[128] = "";
  h->type->explain(h->shared, harness_state(h, 0), said, sizeof said);
  cr_assert(strstr(said, words), "it says '%s'", said);
}

Test(gait_ticks, a_fault_says_what_failed) {
  harness h;
  gait_open(&h, 1, NULL, NULL);
  harness_reset(&h, 0, 0);
  float row[DR_GAIT_INNER_OBSERVATION];
  const drover_env_tick tick = {.tick = -1, .action = gait_action(&h, 0), .inner_observation = row};
  gait_action(&h, 0)[2] = NAN;
  cr_assert_neq(h.type->begin(h.shared, harness_state(&h, 0), &tick), 0);
  assert_says(&h, "action[2] is not finite");
  gait_action(&h, 0)[2] = 0;
  cr_assert_eq(gait_step(&h, 0, gait_solve, NULL, NULL, NULL), 0);
  gait_env(&h, 0)->data->qvel[4] = 1e11; /* found at the beginning of the next mj_step1: after one tick of 1/480 s */
  cr_assert_neq(gait_step(&h, 0, gait_solve, NULL, NULL, NULL), 0);
  assert_says(&h, "Nan, Inf or huge value in Q");
  assert_says(&h, "The simulation is unstable. Time = 0.03");
  gait_close(&h);
}

static void raise_error(void *context) {
  (void)context;
  mju_error("a test's error");
}

/* Room for contacts and the stack that is far too small: each step fails with MuJoCo's words, and nothing is printed.
 */
Test(gait_ticks, an_error_inside_mujoco_is_a_fault_and_the_env_lives_on) {
  harness h;
  gait_open(&h, 1, NULL, NULL);
  harness_reset(&h, 0, 0);
  cr_assert(!dr_mj_guard(raise_error, NULL));
  dr_gait_world *world = h.shared;
  const mjModel roomy = world->model;
#if DR_MJ_HAS_ARENA
  world->model = dr_mj_model_with_room(&roomy, (dr_mj_room){.arena = 600});
#else
  world->model = dr_mj_model_with_room(&roomy, (dr_mj_room){.contacts = 8, .constraints = 40, .stack = 60});
#endif
  mj_deleteData(gait_env(&h, 0)->data);
  gait_env(&h, 0)->data = dr_mj_make_data(&world->model);
  const double qpos[DR_GAIT_DOFS] = {0, 0.9}, qvel[DR_GAIT_DOFS] = {0};
  cr_assert_neq(dr_gait_env_place(world, gait_env(&h, 0), qpos, qvel), 0);
  cr_assert_neq(dr_gait_env_place(world, gait_env(&h, 0), qpos, qvel), 0);
  mj_deleteData(gait_env(&h, 0)->data);
  world->model = roomy;
  gait_env(&h, 0)->data = dr_mj_make_data(&world->model);
  harness_reset(&h, 0, 1);
  cr_assert_eq(gait_step(&h, 0, gait_solve, NULL, NULL, NULL), 0);
  gait_close(&h);
}

Test(gait_ticks, the_room_is_enough_for_the_worst_posture) {
  harness h;
  gait_open(&h, 1, NULL, NULL);
  uint64_t random = test_seed();
  float activation[DR_GAIT_MUSCLES];
  for (int trial = 0; trial < 300; trial++) { /* in the ground, joints anywhere, also beyond their limits */
    double qpos[DR_GAIT_DOFS] = {0, test_uniform(&random, -0.3, 0.9), test_uniform(&random, -3, 3)}, qvel[DR_GAIT_DOFS];
    for (int i = DR_GAIT_ROOT; i < DR_GAIT_DOFS; i++) qpos[i] = test_uniform(&random, -2.5, 2.5);
    for (int i = 0; i < DR_GAIT_DOFS; i++) qvel[i] = test_uniform(&random, -3, 3);
    cr_assert_eq(dr_gait_env_place(gait_world(&h), gait_env(&h, 0), qpos, qvel), 0, "%s", dr_mj_error());
    gait_random_inner(&h, NULL, activation, &random);
    for (int tick = 0; tick < 4; tick++)
      cr_assert_eq(dr_gait_env_tick(gait_world(&h), gait_env(&h, 0), activation), 0, "%s", dr_mj_error());
  }
  fprintf(stderr, "%zu bytes an env\n", h.spec.memory_bytes);
  cr_assert_leq(h.spec.memory_bytes, (DR_MJ_HAS_ARENA ? 400u : 160u) * 1024);
  cr_assert_eq(h.spec.memory_bytes, dr_mj_data_bytes(gait_env(&h, 0)->data));
  gait_close(&h);
}

Test(gait_ticks, steps_take_no_memory) {
  harness h;
  gait_open(&h, 1, NULL, NULL);
  uint64_t random = test_seed(), episode = 0;
  harness_reset(&h, 0, episode++);
  size_t at_first = 0;
  for (int step = 0; step < 1000; step++) {
    if (step == 20) at_first = mallinfo2().uordblks + mallinfo2().hblkhd;
    cr_assert_eq(gait_step(&h, 0, gait_random_inner, &random, NULL, NULL), 0);
    if (h.terminated[0]) harness_reset(&h, 0, episode++);
  }
  cr_assert_eq(mallinfo2().uordblks + mallinfo2().hblkhd, at_first);
  cr_assert_gt(episode, 5);
  gait_close(&h);
}
