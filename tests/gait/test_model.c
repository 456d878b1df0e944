/* test_model.c: the walker's body and muscles against the figures that they are made from and against anatomy. */
#include "tests/gait/gait_harness.h"

/* One leg's muscles as published (OpenSim's gait10dof18musc; slack lengths as env/gait/README.md corrects them), and
 * what is known of their moment arms, cm, at a posture near standing, generously: E. M. Arnold et al., "A model of the
 * lower limb for analysis of human movement", Annals of Biomedical Engineering 38, 2010, and the measurements that it
 * is compared with there. Positive: flexion of hip and knee, dorsiflexion. */
static const struct {
  const char *name;
  double force, fibre, slack, pennation;
  double arm[3][2]; /* hip, knee, ankle: lowest, highest */
} muscles[9] = {
    {"hamstrings", 2700, .109, .326, 0, {{-8, -4}, {2, 5}}},
    {"bifemsh", 804, .173, .089, .4014, {{0, 0}, {1.5, 5}}},
    {"glut_max", 1944, .147, .083, 0, {{-8, -3}}},
    {"iliopsoas", 2342, .100, .160, .1396, {{2, 5}}},
    {"rect_fem", 1169, .114, .331, .0873, {{3, 6}, {-5.5, -3}}},
    {"vasti", 5000, .087, .126, .0524, {{0, 0}, {-5.5, -3}}},
    {"gastroc", 2500, .060, .390, .2967, {{0, 0}, {1, 3.5}, {-6, -3.5}}},
    {"soleus", 5137, .050, .250, .4363, {{0, 0}, {0, 0}, {-6, -3.5}}},
    {"tib_ant", 3000, .098, .223, .0873, {{0, 0}, {0, 0}, {3, 5.5}}},
};

static void place(const harness *h, const double qpos[DR_GAIT_DOFS]) {
  const double qvel[DR_GAIT_DOFS] = {0};
  cr_assert_eq(dr_gait_env_place(gait_world(h), gait_env(h, 0), qpos, qvel), 0);
}

static void place_joint(const harness *h, int joint, double degrees) {
  double qpos[DR_GAIT_DOFS] = {0, 0.95};
  qpos[DR_GAIT_ROOT + joint] = degrees * M_PI / 180;
  place(h, qpos);
}

/* Length of a fibre in optimal lengths, its tendon being rigid and without pennation. */
static double fibre_length(const harness *h, int muscle) {
  const double length = gait_env(h, 0)->data->actuator_length[muscle];
  return (length - muscles[muscle % 9].slack) / muscles[muscle % 9].fibre;
}

Test(gait_model, bodies_weigh_what_the_figures_say) {
  harness h;
  gait_open(&h, 1, NULL, NULL);
  const mjModel *m = &gait_world(&h)->model;
  double mass = 0;
  for (int b = 0; b < m->nbody; b++) mass += m->body_mass[b];
  cr_assert_float_eq(mass, 75.16, 0.01);

  /* Talus, calcaneus and toes: one foot. Mass, centre and inertia about z of the three, in the talus's frame. */
  const double masses[3] = {.1, 1.25, .2166}, inertias[3] = {0, .0041, 0};
  const double x[3] = {0, .1 - .0488, .18 + .0346 - .0488}, y[3] = {0, .03 - .042, .006 - .002 - .042};
  double total = 0, cx = 0, cy = 0, inertia = 0;
  for (int i = 0; i < 3; i++) total += masses[i], cx += masses[i] * x[i], cy += masses[i] * y[i];
  cx /= total, cy /= total;
  for (int i = 0; i < 3; i++)
    inertia += inertias[i] + masses[i] * ((x[i] - cx) * (x[i] - cx) + (y[i] - cy) * (y[i] - cy));
  for (int leg = 0; leg < 2; leg++) {
    const int foot = gait_world(&h)->body[4 + 3 * leg];
    cr_assert_float_eq(m->body_mass[foot], total, 1e-4);
    cr_assert_float_eq(m->body_ipos[3 * foot], cx, 1e-3);
    cr_assert_float_eq(m->body_ipos[3 * foot + 2], cy, 1e-3);
    cr_assert_float_eq(m->body_inertia[3 * foot + 1], inertia, 2e-4);
  }
  gait_close(&h);
}

Test(gait_model, muscles_have_the_published_properties) {
  harness h;
  gait_open(&h, 1, NULL, NULL);
  const mjModel *m = &gait_world(&h)->model;
  for (int i = 0; i < DR_GAIT_MUSCLES; i++) {
    char name[32];
    snprintf(name, sizeof name, "%s_%c", muscles[i % 9].name, i < 9 ? 'r' : 'l');
    cr_assert_eq(mj_name2id(m, mjOBJ_ACTUATOR, name), i, "%s", name);
    const mjtNum *gain = m->actuator_gainprm + mjNGAIN * i, *range = m->actuator_lengthrange + 2 * i;
    const double fibre = (range[1] - range[0]) / (gain[1] - gain[0]);
    cr_assert_float_eq(fibre, muscles[i % 9].fibre, 1e-6, "%s", name);
    cr_assert_float_eq(range[0] - gain[0] * fibre, muscles[i % 9].slack, 1e-6, "%s", name);
    cr_assert_float_eq(gain[2], muscles[i % 9].force * cos(muscles[i % 9].pennation), 0.06, "%s", name);
    cr_assert_eq(gain[6], 10, "%s shortens at %g lengths a second", name, gain[6]);
    cr_assert_eq(memcmp(gain, m->actuator_biasprm + mjNBIAS * i, 9 * sizeof *gain), 0, "%s", name);
  }
  gait_close(&h);
}

/* A moment is how a muscle's length changes with the angle: differences of lengths know nothing of MuJoCo's moments. */
Test(gait_model, moments_are_the_derivatives_of_the_lengths) {
  harness h;
  gait_open(&h, 1, NULL, NULL);
  uint64_t random = test_seed();
  for (int trial = 0; trial < 20; trial++) {
    double qpos[DR_GAIT_DOFS] = {0, 0.95}, length[2];
    for (int i = DR_GAIT_ROOT; i < DR_GAIT_DOFS; i++) qpos[i] = test_uniform(&random, -0.5, 1);
    for (int muscle = 0; muscle < DR_GAIT_MUSCLES; muscle++)
      for (int joint = 0; joint < DR_GAIT_JOINTS; joint++) {
        const double at = qpos[DR_GAIT_ROOT + joint], apart = 1e-5;
        for (int side = 0; side < 2; side++) {
          qpos[DR_GAIT_ROOT + joint] = at + (side ? apart : -apart);
          place(&h, qpos);
          length[side] = gait_env(&h, 0)->data->actuator_length[muscle];
        }
        qpos[DR_GAIT_ROOT + joint] = at;
        place(&h, qpos);
        const double moment =
            dr_mj_actuator_moment(&gait_world(&h)->model, gait_env(&h, 0)->data, muscle, DR_GAIT_ROOT + joint);
        cr_assert_float_eq(moment, (length[1] - length[0]) / (2 * apart), 1e-7);
      }
  }
  gait_close(&h);
}

Test(gait_model, moment_arms_have_the_signs_and_sizes_of_anatomy) {
  harness h;
  gait_open(&h, 1, NULL, NULL);
  double qpos[DR_GAIT_DOFS] = {0, 0.95};
  for (int leg = 0; leg < 2; leg++) {
    qpos[DR_GAIT_ROOT + 3 * leg] = 10 * M_PI / 180;
    qpos[DR_GAIT_ROOT + 3 * leg + 1] = 15 * M_PI / 180;
  }
  place(&h, qpos);
  for (int muscle = 0; muscle < DR_GAIT_MUSCLES; muscle++)
    for (int joint = 0; joint < DR_GAIT_JOINTS; joint++) {
      /* A muscle that shortens as the angle grows pulls it up. */
      const double arm =
          -100 * dr_mj_actuator_moment(&gait_world(&h)->model, gait_env(&h, 0)->data, muscle, DR_GAIT_ROOT + joint);
      const bool same_leg = muscle / 9 == joint / 3;
      const double *range = muscles[muscle % 9].arm[joint % 3];
      if (!same_leg)
        cr_assert_eq(arm, 0);
      else
        cr_assert(range[0] - 1e-9 <= arm && arm <= range[1] + 1e-9, "%s about joint %d: %g cm, not %g..%g",
                  muscles[muscle % 9].name, joint % 3, arm, range[0], range[1]);
    }
  gait_close(&h);
}

/* 4.0-4.3 cm over 0-40 degrees, and no reversal (which conditional path points used everywhere would bring) to 100. */
Test(gait_model, the_quadriceps_extend_the_knee_over_its_range) {
  harness h;
  gait_open(&h, 1, NULL, NULL);
  for (double degrees = 0; degrees <= 100; degrees += 5) {
    place_joint(&h, 1, degrees);
    const double arm = 100 * dr_mj_actuator_moment(&gait_world(&h)->model, gait_env(&h, 0)->data, 5, DR_GAIT_ROOT + 1);
    cr_assert(arm > 0.5 && arm < 4.5, "%g degrees: %g cm", degrees, arm);
    if (degrees <= 40) cr_assert(arm > 3.9 && arm < 4.35, "%g degrees: %g cm", degrees, arm);
  }
  gait_close(&h);
}

Test(gait_model, fibres_stay_at_lengths_where_they_have_force) {
  harness h;
  gait_open(&h, 1, NULL, NULL);
  const dr_gait_world *world = gait_world(&h);
  double shortest[DR_GAIT_MUSCLES], longest[DR_GAIT_MUSCLES];
  for (int i = 0; i < DR_GAIT_MUSCLES; i++) shortest[i] = INFINITY, longest[i] = 0;
  for (int step = 0; step < 200; step++) { /* the whole cycle */
    double qpos[DR_GAIT_DOFS], qvel[DR_GAIT_DOFS];
    dr_gait_reference_pose(world, step / 200.0, 1.2, qpos, qvel);
    place(&h, qpos);
    for (int i = 0; i < DR_GAIT_MUSCLES; i++) {
      shortest[i] = fmin(shortest[i], fibre_length(&h, i));
      longest[i] = fmax(longest[i], fibre_length(&h, i));
    }
  }
  for (int i = 0; i < DR_GAIT_MUSCLES; i++) {
    fprintf(stderr, "%-10s %c  %.2f..%.2f optimal lengths\n", muscles[i % 9].name, i < 9 ? 'r' : 'l', shortest[i],
            longest[i]);
    cr_assert(shortest[i] > 0.35 && longest[i] < 1.4, "%s: %g..%g", muscles[i % 9].name, shortest[i], longest[i]);
    cr_assert_float_eq(shortest[i], shortest[i % 9], 0.01); /* one leg as the other */
  }

  double qpos[DR_GAIT_DOFS] = {0, 0.95};
  place(&h, qpos); /* standing: 0.54 and 0.56 of vasti and gluteus maximus with the published slack lengths */
  for (int i = 0; i < DR_GAIT_MUSCLES; i++)
    cr_assert(fibre_length(&h, i) > 0.7 && fibre_length(&h, i) < 1.1, "%s", muscles[i % 9].name);
  for (double degrees = 0; degrees <= 70; degrees += 10) {
    place_joint(&h, 1, degrees);
    cr_assert(fibre_length(&h, 5) > 0.74 && fibre_length(&h, 5) < 1.31, "vasti at %g degrees", degrees);
  }
  gait_close(&h);
}

/* Strongest isometric torques, N m, as dynamometers find them in adults, in wide ranges: Anderson, Madigan and
 * Nussbaum, "Maximum voluntary joint torque as a function of joint angle and angular velocity: model
 * development and application to the lower limb", J. Biomechanics 40,
 * 2007. */
Test(gait_model, joints_are_as_strong_as_people) {
  harness h;
  gait_open(&h, 1, NULL, NULL);
  static const struct {
    int joint;
    double degrees, flexion[2], extension[2];
  } tests[] = {{0, 20, {70, 250}, {90, 400}}, {1, 45, {50, 220}, {120, 350}}, {2, 0, {25, 140}, {90, 350}}};
  for (int t = 0; t < 3; t++) {
    place_joint(&h, tests[t].joint, tests[t].degrees);
    double moment[DR_GAIT_MOMENTS], passive[DR_GAIT_JOINTS], flexion = 0, extension = 0;
    dr_gait_moments(gait_world(&h), gait_env(&h, 0)->data, moment, passive);
    for (int k = 0; k < DR_GAIT_MOMENTS; k++) {
      if (gait_world(&h)->pair[k].joint != tests[t].joint) continue;
      flexion += fmax(moment[k], 0);
      extension += fmax(-moment[k], 0);
    }
    fprintf(stderr, "joint %d at %g degrees: %.0f and %.0f N m\n", tests[t].joint, tests[t].degrees, flexion,
            extension);
    cr_assert(flexion > tests[t].flexion[0] && flexion < tests[t].flexion[1], "%g", flexion);
    cr_assert(extension > tests[t].extension[0] && extension < tests[t].extension[1], "%g", extension);
  }
  gait_close(&h);
}

/* ---- The ground ---- */

Test(gait_model, soles_touch_the_ground_at_standing) {
  harness h;
  gait_open(&h, 1, NULL, NULL);
  double qpos[DR_GAIT_DOFS] = {0, 0.95};
  place(&h, qpos);
  const mjModel *m = &gait_world(&h)->model;
  for (int i = 0; i < DR_GAIT_SOLES; i++) {
    const int geom = gait_world(&h)->sole[i];
    cr_assert_float_eq(gait_env(&h, 0)->data->geom_xpos[3 * geom + 2] - m->geom_size[3 * geom], 0, 1e-4);
  }
  gait_close(&h);
}

/* Dropped to the ground and held upright by hand: after a while the ground carries the weight, all soles in it by less
 * than a millimetre or two, nothing moving. */
Test(gait_model, the_ground_carries_the_weight) {
  harness h;
  gait_open(&h, 1, NULL, NULL);
  double qpos[DR_GAIT_DOFS] = {0, 0.955};
  place(&h, qpos);
  const mjModel *m = &gait_world(&h)->model;
  mjData *d = gait_env(&h, 0)->data;
  for (int step = 0; step < 480; step++) {
    for (int i = 0; i < DR_GAIT_DOFS; i++)
      if (i != 1) d->qfrc_applied[i] = -2000 * (d->qpos[i] - qpos[i]) - 50 * d->qvel[i];
    mj_step(m, d);
  }
  double mass = 0;
  for (int b = 0; b < m->nbody; b++) mass += m->body_mass[b];
  mj_forward(m, d);
  cr_assert_eq(d->ncon, DR_GAIT_SOLES);
  cr_assert_float_eq(d->qfrc_constraint[1], 9.81 * mass, 0.02 * 9.81 * mass, "%g N", d->qfrc_constraint[1]);
  for (int c = 0; c < d->ncon; c++) cr_assert(d->contact[c].dist < 0 && d->contact[c].dist > -2e-3);
  for (int i = 0; i < DR_GAIT_DOFS; i++) cr_assert(fabs(d->qvel[i]) < 0.02, "velocity %d: %g", i, d->qvel[i]);
  gait_close(&h);
}
