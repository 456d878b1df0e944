/* test_speeds.c: the walker's target speeds (how its reference changes with them, when they are drawn) and pushes. */
#include "tests/gait/gait_harness.h"

static void open_with(harness *h, const drover_env_arg *args, int32_t n) {
  cr_assert(gait_try_open(h, 2, args, n), "%s", h->message);
}

static const double speeds[] = {0.5, 0.8, 1.0, 1.2, 1.5, 2.0};
enum { SPEEDS = sizeof speeds / sizeof *speeds };

/* ---- The reference ---- */

/* The walk ratio, step length over cadence, does not depend on the speed; and they are the table's at 1.2 m/s. */
Test(gait_speeds, length_and_cadence_share_a_change_of_speed) {
  harness h;
  gait_open(&h, 1, NULL, NULL);
  for (int i = 0; i < SPEEDS; i++) {
    const double cadence = dr_gait_phase_rate(gait_world(&h), speeds[i]), length = speeds[i] / cadence;
    cr_assert_float_eq(length / cadence, 1.37 / (1.2 / 1.37), 1e-9);
  }
  cr_assert_eq(dr_gait_phase_rate(gait_world(&h), 1.2), 1.2 / 1.37);
  cr_assert_eq(dr_gait_phase_rate(gait_world(&h), 0), 0);
  gait_close(&h);
}

/* From the posture of standing straight, angles go as far as the stride is long. */
Test(gait_speeds, a_shorter_stride_is_a_smaller_movement) {
  harness h;
  gait_open(&h, 1, NULL, NULL);
  static const double table[3] = {30, 5, 0}, other[3] = {-11, 11, 5}; /* of the legs at phase 0 */
  for (int i = 0; i < SPEEDS; i++) {
    double angle[6], velocity[6], later[6], unused[6];
    dr_gait_reference_joints(gait_world(&h), 0, speeds[i], angle, velocity);
    for (int j = 0; j < 6; j++) {
      const double standing = j % 3 == 0 ? 6 : 0, walking = j < 3 ? table[j] : other[j - 3];
      const double wanted = standing + sqrt(speeds[i] / 1.2) * (walking - standing);
      cr_assert_float_eq(angle[j] * 180 / M_PI, wanted, 1e-9);
    }
    /* Velocities are of this movement at this cadence. */
    dr_gait_reference_joints(gait_world(&h), 1e-6 * dr_gait_phase_rate(gait_world(&h), speeds[i]), speeds[i], later,
                             unused);
    for (int j = 0; j < 6; j++) cr_assert_float_eq((later[j] - angle[j]) / 1e-6, velocity[j], 1e-3);
  }
  gait_close(&h);
}

/* How fast the foot that stands, from 10 to 50 per cent, moves back as seen from the pelvis, m/s. */
static double standing_foot_speed(const harness *h, double speed) {
  double way[2];
  for (int end = 0; end < 2; end++) {
    double angle[6], velocity[6], feet[4];
    dr_gait_reference_joints(gait_world(h), end ? 0.5 : 0.1, speed, angle, velocity);
    dr_gait_feet(gait_world(h), 6 * M_PI / 180, angle, feet);
    way[end] = feet[0];
  }
  return (way[0] - way[1]) / 0.4 * dr_gait_phase_rate(gait_world(h), speed);
}

/* It slides at no speed more than at the table's: angles, length and cadence fit together. */
Test(gait_speeds, the_standing_foot_moves_back_in_proportion_to_the_speed) {
  harness h;
  gait_open(&h, 1, NULL, NULL);
  const double share = standing_foot_speed(&h, 1.2) / 1.2; /* its centre: the sole rolls on over the heel and the toe */
  cr_assert(share > 0.85 && share < 1.1, "%g", share);
  for (int i = 0; i < SPEEDS; i++)
    cr_assert_float_eq(standing_foot_speed(&h, speeds[i]) / speeds[i], share, 0.03 * share, "at %g m/s", speeds[i]);
  gait_close(&h);
}

Test(gait_speeds, a_references_speed_and_the_exponent_are_arguments) {
  const drover_env_arg args[] = {
      {"reference_speed", "1"}, {"stride", "1.5"}, {"stride_exponent", "0"}, {"pelvis_pitch", "0"}};
  harness h;
  open_with(&h, args, 4);
  double slow[6], fast[6], velocity[6];
  dr_gait_reference_joints(gait_world(&h), 0.3, 0.5, slow, velocity);
  dr_gait_reference_joints(gait_world(&h), 0.3, 2, fast, velocity);
  for (int j = 0; j < 6; j++) cr_assert_float_eq(slow[j], fast[j], 1e-12); /* the same steps, faster */
  cr_assert_float_eq(dr_gait_phase_rate(gait_world(&h), 2), 2 / 1.5, 1e-12);
  gait_close(&h);
}

/* ---- Drawn speeds ---- */

Test(gait_speeds, episodes_draw_speeds_from_their_range) {
  enum { EPISODES = 2000 };
  const drover_env_arg args[] = {{"speed_low", "0.8"}, {"speed_high", "1.4"}};
  harness h;
  open_with(&h, args, 2);
  double sum = 0, squares = 0, with_phase = 0;
  for (uint64_t episode = 0; episode < EPISODES; episode++) {
    harness_reset(&h, 0, episode);
    const dr_gait_env *env = gait_env(&h, 0);
    const double u = (env->target_speed - 0.8) / 0.6;
    cr_assert(u >= 0 && u < 1, "%g", env->target_speed);
    cr_assert_eq(harness_observation(&h, 0)[38], (float)env->target_speed);
    sum += u;
    squares += u * u;
    with_phase += (u - 0.5) * (env->phase - 0.5);
  }
  cr_assert_float_eq(sum / EPISODES, 0.5, 5 * sqrt(1 / 12.0 / EPISODES));
  cr_assert_float_eq(squares / EPISODES, 1 / 3.0, 5 * sqrt(4 / 45.0 / EPISODES));
  cr_assert_float_eq(with_phase / EPISODES, 0, 5 / 12.0 / sqrt(EPISODES));
  gait_close(&h);
}

Test(gait_speeds, without_a_range_the_target_is_the_argument) {
  harness h;
  gait_open(&h, 1, "target_speed", "1.1");
  for (uint64_t episode = 0; episode < 20; episode++) {
    harness_reset(&h, 0, episode);
    cr_assert_eq(gait_env(&h, 0)->target_speed, 1.1);
  }
  gait_close(&h);
}

Test(gait_speeds, a_drawn_speed_changes_after_its_time_on_average) {
  enum { STEPS = 3000 };
  const drover_env_arg args[] = {{"speed_low", "1"}, {"speed_high", "1.3"}, {"speed_time", "0.5"}};
  harness h;
  open_with(&h, args, 3);
  int changes = 0;
  uint64_t episode = 0;
  harness_reset(&h, 0, episode++);
  for (int step = 0; step < STEPS; step++) {
    const double before = gait_env(&h, 0)->target_speed, phase = gait_env(&h, 0)->phase;
    cr_assert_eq(gait_step(&h, 0, gait_solve, NULL, NULL, NULL), 0);
    const double moved = gait_env(&h, 0)->phase - phase; /* the step itself was at the speed before */
    cr_assert_float_eq(moved - floor(moved), dr_gait_phase_rate(gait_world(&h), before) / 30, 1e-9);
    cr_assert_eq(harness_observation(&h, 0)[38], (float)gait_env(&h, 0)->target_speed);
    changes += gait_env(&h, 0)->target_speed != before;
    if (h.terminated[0]) harness_reset(&h, 0, episode++);
  }
  const double p = 1 / 30.0 / 0.5;
  cr_assert_float_eq(changes / (double)STEPS, p, 5 * sqrt(p * (1 - p) / STEPS), "%d changes", changes);
  gait_close(&h);
}

/* ---- Pushes ---- */

static double momentum(const harness *h) {
  const mjModel *m = &gait_world(h)->model;
  mjData *d = mj_makeData(m);
  mju_copy(d->qpos, gait_env(h, 0)->data->qpos, m->nq);
  mju_copy(d->qvel, gait_env(h, 0)->data->qvel, m->nv);
  mj_forward(m, d);
  mj_subtreeVel(m, d);
  double mass = 0;
  for (int b = 0; b < m->nbody; b++) mass += m->body_mass[b];
  const double x = mass * d->subtree_linvel[3];
  mj_deleteData(d);
  return x;
}

/* The body's momentum along x after a step in the air, where nothing else acts along it. */
static double momentum_of_a_step(harness *h, uint64_t step) {
  const double qpos[9] = {0, 3, 0.1, 0.3, 0.5, 0, 0.2, 0.4, 0}, qvel[9] = {0};
  cr_assert_eq(dr_gait_env_place(gait_world(h), gait_env(h, 0), qpos, qvel), 0);
  h->counters[0] = step;
  cr_assert_eq(gait_step(h, 0, gait_solve, NULL, NULL, NULL), 0);
  return momentum(h);
}

Test(gait_speeds, pushes_are_impulses_of_the_given_size_and_rate) {
  enum { STEPS = 3000 };
  const drover_env_arg args[] = {{"push", "20"}, {"push_time", "0.1"}};
  harness h, calm; /* what Euler's method adds to the momentum is in both */
  open_with(&h, args, 2);
  gait_open(&calm, 1, NULL, NULL);
  harness_reset(&h, 0, 0);
  harness_reset(&calm, 0, 0);
  int pushes = 0;
  double strongest = 0, sum = 0, squares = 0;
  for (uint64_t step = 0; step < STEPS; step++) {
    const double impulse = momentum_of_a_step(&h, step) - momentum_of_a_step(&calm, step);
    if (impulse == 0) continue;
    pushes++;
    sum += impulse;
    squares += impulse * impulse;
    strongest = fmax(strongest, fabs(impulse));
  }
  const double p = 1 / 3.0, n = pushes;
  fprintf(stderr, "%d pushes in %d steps, at most %.2f N s\n", pushes, STEPS, strongest);
  cr_assert_float_eq(n / STEPS, p, 5 * sqrt(p * (1 - p) / STEPS), "%d pushes", pushes);
  cr_assert(strongest < 20.5 && strongest > 19, "%g N s", strongest);
  cr_assert_float_eq(sum / n, 0, 5 * 20 / sqrt(3 * n));
  cr_assert_float_eq(squares / n, 400 / 3.0, 0.15 * 400 / 3.0);
  gait_close(&h);
  gait_close(&calm);
}

/* ---- All of it ---- */

/* An env that was saved and loaded goes on with the same speeds and pushes. */
Test(gait_speeds, a_loaded_env_is_pushed_and_driven_as_before) {
  enum { AFTER = 60, ROW = DR_GAIT_OBSERVATION };
  const drover_env_arg args[] = {
      {"speed_low", "1"}, {"speed_high", "1.4"}, {"speed_time", "0.2"}, {"push", "30"}, {"push_time", "0.2"}};
  harness h;
  open_with(&h, args, 5);
  static float rows[2][AFTER * ROW];
  char *saved = malloc(h.spec.save_size);
  harness_reset(&h, 0, 7);
  for (int step = 0; step < 5; step++) gait_step(&h, 0, gait_solve, NULL, NULL, NULL);
  cr_assert_eq(h.type->save(h.shared, harness_state(&h, 0), saved), 0);
  const uint64_t counter = h.counters[0];
  for (int again = 0; again < 2; again++) {
    cr_assert_eq(h.type->load(h.shared, harness_state(&h, 0), saved), 0);
    h.counters[0] = counter;
    for (int step = 0; step < AFTER; step++) {
      cr_assert_eq(gait_step(&h, 0, gait_solve, NULL, NULL, NULL), 0);
      memcpy(rows[again] + step * ROW, harness_observation(&h, 0), ROW * sizeof(float));
    }
  }
  cr_assert_eq(memcmp(rows[0], rows[1], sizeof rows[0]), 0);
  free(saved);
  gait_close(&h);
}

Test(gait_speeds, bad_arguments_are_refused_with_a_reason) {
  static const struct {
    drover_env_arg args[2];
    int32_t count;
    const char *says;
  } bad[] = {{{{"speed_low", "1"}}, 1, "speed_low must not be more than speed_high, got 1 and 0"},
             {{{"speed_low", "1.5"}, {"speed_high", "1"}}, 2, "got 1.5 and 1"},
             {{{"speed_high", "-1"}}, 1, "speed_high must be a number in 0..5"},
             {{{"speed_time", "2"}}, 1, "speed_time needs speeds to draw: speed_low and speed_high"},
             {{{"reference_speed", "0"}}, 1, "reference_speed must be a number in"},
             {{{"stride_exponent", "2"}}, 1, "stride_exponent must be a number in 0..1"},
             {{{"push", "-1"}}, 1, "push must be a number"},
             {{{"push_time", "0"}}, 1, "push_time must be a number"}};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    harness h;
    cr_assert(!gait_try_open(&h, 1, bad[i].args, bad[i].count), "%s", bad[i].says);
    cr_assert(strstr(h.message, bad[i].says), "%s", h.message);
  }
}
