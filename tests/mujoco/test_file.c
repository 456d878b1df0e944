/* test_file.c: `mujoco`: any MJCF file: what is observed, rewarded and ends an episode; and what is said of bad models.
 */
#include <unistd.h>

#include "tests/mujoco/sim_harness.h"

static const char model_text[] =
    "<mujoco><option timestep='0.005'/><worldbody>\n"
    " <body><joint name='slide' type='slide' axis='1 0 0'/><geom size='0.1'/>\n"
    "  <body pos='0 0 .5'><joint name='tilt' axis='0 1 0' ref='10'/><geom size='.05'/><site name='tip'/></body>\n"
    " </body></worldbody>\n"
    " <actuator><motor joint='slide' gear='2' ctrllimited='true' ctrlrange='-3 1'/><motor joint='tilt'/></actuator>\n"
    " <sensor><jointvel name='speed' joint='slide'/><framepos name='where' objtype='site' objname='tip'/></sensor>\n"
    "</mujoco>\n";

static char path[64];

static void write_model(const char *text) {
  strcpy(path, "/tmp/drover_mujoco_XXXXXX.xml");
  const int file = mkstemps(path, 4);
  cr_assert_geq(file, 0);
  cr_assert_eq(write(file, text, strlen(text)), (ssize_t)strlen(text));
  close(file);
}

static bool open_with(harness *h, const char *key, const char *value, const char *key2, const char *value2) {
  const drover_env_arg args[] = {{"model", path}, {key, value}, {key2, value2}};
  return sim_try_open(h, "mujoco", 1, args, key2 ? 3 : key ? 2 : 1);
}

Test(mujoco_file, observes_positions_velocities_and_sensors) {
  harness h;
  write_model(model_text);
  cr_assert(open_with(&h, "frame_skip", "4", NULL, NULL), "%s", h.message);
  cr_assert_eq(h.spec.observation_size, 2 + 2 + 4);
  cr_assert_eq(h.spec.action_size, 2);
  cr_assert(h.spec.action_low[0] == -3 && h.spec.action_high[0] == 1);
  cr_assert(h.spec.action_low[1] == -INFINITY && h.spec.action_high[1] == INFINITY);
  cr_assert_eq(h.spec.max_episode_steps, 1000);
  harness_reset(&h, 0, 0);
  sim_action(&h, 0)[0] = 0.5f, sim_action(&h, 0)[1] = 0.01f;
  cr_assert_eq(sim_step(&h, 0, NULL), 0);
  const mjData *d = sim_env(&h, 0)->data;
  cr_assert_float_eq(d->time, 0.02, 1e-12);
  const float *o = harness_observation(&h, 0);
  const double want[] = {d->qpos[0],       d->qpos[1],       d->qvel[0],       d->qvel[1],
                         d->sensordata[0], d->sensordata[1], d->sensordata[2], d->sensordata[3]};
  for (int i = 0; i < 8; i++) cr_assert_eq(o[i], (float)want[i]);
  cr_assert(h.rewards[0] == 0 && !h.terminated[0]);
  sim_close(&h);
  unlink(path);
}

Test(mujoco_file, reward_is_the_weighted_sum_of_named_quantities) {
  harness h;
  write_model(model_text);
  cr_assert(open_with(&h, "reward", "speed:2+where[2]:-0.5+qpos[1]:1e+1", NULL, NULL), "%s", h.message);
  harness_reset(&h, 0, 0);
  sim_action(&h, 0)[0] = 1, sim_action(&h, 0)[1] = 0;
  for (int i = 0; i < 10; i++) {
    cr_assert_eq(sim_step(&h, 0, NULL), 0);
    const mjData *d = sim_env(&h, 0)->data;
    const double want = 2 * d->sensordata[0] - 0.5 * d->sensordata[3] + 10 * d->qpos[1];
    cr_assert(fabs((double)h.rewards[0] - want) <= 1e-6 * (1 + fabs(want)));
  }
  cr_assert(h.rewards[0] != 0);
  sim_close(&h);
  unlink(path);
}

Test(mujoco_file, episode_ends_where_a_quantity_leaves_its_range) {
  harness h;
  write_model(model_text);
  cr_assert(open_with(&h, "healthy", "qpos[0]:-0.5:0.02+qvel[0]:-inf:inf", NULL, NULL), "%s", h.message);
  harness_reset(&h, 0, 0);
  sim_action(&h, 0)[0] = 1, sim_action(&h, 0)[1] = 0;
  int ended_at = -1;
  for (int i = 0; i < 2000 && ended_at < 0; i++) {
    cr_assert_eq(sim_step(&h, 0, NULL), 0);
    cr_assert_eq(h.terminated[0] != 0, sim_env(&h, 0)->data->qpos[0] >= 0.02);
    if (h.terminated[0]) ended_at = i;
  }
  cr_assert_gt(ended_at, 0);
  sim_close(&h);
  unlink(path);
}

static void assert_refused(const char *key, const char *value, const char *says) {
  harness h;
  cr_assert(!open_with(&h, key, value, NULL, NULL), "%s=%s was taken", key ? key : "", value ? value : "");
  cr_assert(strstr(h.message, says), "%s", h.message);
}

Test(mujoco_file, wrong_quantities_are_named) {
  write_model(model_text);
  assert_refused("reward", "spede:1", "reward: the model has no sensor called 'spede'");
  assert_refused("reward", "where:1", "'where' has 3 numbers: say which, where[0] to where[2]");
  assert_refused("reward", "where[3]:1", "'where[3]' is none of the 3 numbers of where");
  assert_refused("reward", "qpos[x]:1", "is none of the 2 numbers of qpos");
  assert_refused("reward", "speed", "reward must be NAME:WEIGHT");
  assert_refused("reward", "speed:1+", "reward must be NAME:WEIGHT");
  assert_refused("reward", "speed:fast", "reward must be NAME:WEIGHT");
  assert_refused("healthy", "speed:1", "healthy must be NAME:LOW:HIGH");
  assert_refused("healthy", "speed:2:1", "healthy must be NAME:LOW:HIGH");
  unlink(path);
}

Test(mujoco_file, a_missing_file_is_named) {
  strcpy(path, "/nonexistent/arm.xml");
  assert_refused(NULL, NULL, "/nonexistent/arm.xml: cannot read the model: No such file or directory");
}

Test(mujoco_file, no_file_at_all_says_what_to_give) {
  harness h;
  cr_assert(!harness_try_open(&h, "mujoco", 1, NULL, 0));
  cr_assert(strstr(h.message, "model=FILE.xml must be given"), "%s", h.message);
}

Test(mujoco_file, malformed_xml_is_reported_with_its_line) {
  write_model("<mujoco>\n<worldbody>\n<body>\n<geom size='0.1' colour='red'/>\n</body>\n</worldbody>\n</mujoco>\n");
  assert_refused(NULL, NULL, "line 4");
  unlink(path);
  write_model("<mujoco><worldbody></mujoco>");
  assert_refused(NULL, NULL, "cannot load the model: XML");
  unlink(path);
  write_model("");
  assert_refused(NULL, NULL, "cannot load the model:");
  unlink(path);
}

Test(mujoco_file, a_model_that_does_not_compile_says_why) {
  write_model("<mujoco><worldbody><body><joint type='slide'/></body></worldbody></mujoco>");
  assert_refused(NULL, NULL, "mass and inertia");
  unlink(path);
}

Test(mujoco_file, a_model_without_actuators_is_refused) {
  write_model("<mujoco><worldbody><body><joint/><geom size='1'/></body></worldbody></mujoco>");
  assert_refused(NULL, NULL, "no actuators");
  unlink(path);
}

Test(mujoco_file, a_task_takes_another_model_only_with_its_parts) {
  harness h;
  write_model(model_text);
  const drover_env_arg arg = {"xml_file", path};
  cr_assert(!harness_try_open(&h, "Reacher-v5", 1, &arg, 1));
  cr_assert(strstr(h.message, "needs a model of 4 positions and 4 velocities or more"), "%s", h.message);
  cr_assert(!harness_try_open(&h, "Humanoid-v5", 1, &arg, 1));
  cr_assert(sim_try_open(&h, "HalfCheetah-v5", 1, &arg, 1), "%s", h.message);
  harness_reset(&h, 0, 0);
  sim_action(&h, 0)[0] = sim_action(&h, 0)[1] = 0.1f;
  cr_assert_eq(sim_step(&h, 0, NULL), 0);
  sim_close(&h);
  unlink(path);
}

/* Debian's libmujoco-samples, where they are installed: whatever has actuators runs. */
Test(mujoco_file, sample_models_run) {
  static const char *const samples[] = {"humanoid/humanoid.xml", "tendon_arm/arm26.xml",
                                        "slider_crank/slider_crank.xml", "adhesion/active_adhesion.xml"};
  uint64_t random = test_seed();
  for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
    harness h;
    char sample[128];
    snprintf(sample, sizeof sample, "/usr/share/mujoco/model/%s", samples[i]);
    if (access(sample, R_OK)) {
      fprintf(stderr, "%s is not installed: skipped\n", sample);
      continue;
    }
    const drover_env_arg args[] = {{"model", sample}, {"frame_skip", "5"}, {"reset_noise_scale", "0.01"}};
    const bool opened = sim_try_open(&h, "mujoco", 1, args, 3);
    cr_assert(opened || DR_MJ_HAS_ARENA, "%s", h.message); /* they are MuJoCo 2.2's: newer ones refuse some */
    if (!opened) {
      fprintf(stderr, "%s: skipped\n", h.message);
      continue;
    }
    harness_reset(&h, 0, 0);
    for (int step = 0; step < 30; step++) {
      for (int32_t a = 0; a < h.spec.action_size; a++) sim_action(&h, 0)[a] = (float)test_uniform(&random, 0, 0.3);
      cr_assert_eq(sim_step(&h, 0, NULL), 0, "%s step %d", sample, step);
    }
    for (int32_t o = 0; o < h.spec.observation_size; o++) cr_assert(isfinite(harness_observation(&h, 0)[o]));
    sim_close(&h);
  }
}
