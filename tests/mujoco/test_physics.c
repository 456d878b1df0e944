/* test_physics.c: what env/mujoco promises beside the tasks: faults and no exits, state that goes on bit for bit,
 * little memory that grows only where it must, other people's handlers left in place. */
#include <malloc.h>
#include <setjmp.h>
#include <sys/stat.h>
#include <unistd.h>

#include "env/mujoco/models.h"
#include "tests/mujoco/sim_harness.h"

/* ---- Save and load ---- */

static void steps(harness *h, int32_t env, int count, uint64_t random, float *rows) {
  const size_t width = (size_t)h->spec.observation_size;
  for (int i = 0; i < count; i++) {
    sim_random_action(h, env, &random);
    cr_assert_eq(sim_step(h, env, NULL), 0);
    memcpy(rows + (size_t)i * (width + 1), harness_observation(h, env), width * sizeof *rows);
    rows[(size_t)i * (width + 1) + width] = h->rewards[env];
  }
}

Test(mujoco_physics, a_loaded_env_goes_on_bit_for_bit) {
  enum { BEFORE = 30, AFTER = 30 };
  for (int t = 0; t < NUM_TASKS; t++) {
    harness h;
    sim_open(&h, all_tasks[t], 2, NULL, NULL);
    const size_t size = (size_t)AFTER * ((size_t)h.spec.observation_size + 1) * sizeof(float);
    float *first = malloc(size), *again = malloc(size), *unused = malloc(size);
    char *saved = malloc(h.spec.save_size + 1);
    harness_reset(&h, 0, 5);
    harness_reset(&h, 1, 6);
    steps(&h, 0, BEFORE, 1, unused);
    steps(&h, 1, BEFORE, 2, unused);
    cr_assert_eq(h.type->save(h.shared, harness_state(&h, 0), saved + 1), 0); /* at an odd address */
    steps(&h, 0, AFTER, 3, first);

    /* Into another env that has been elsewhere, and into the same. */
    for (int32_t env = 1; env >= 0; env--) {
      cr_assert_eq(h.type->load(h.shared, harness_state(&h, env), saved + 1), 0);
      steps(&h, env, AFTER, 3, again);
      cr_assert_eq(memcmp(first, again, size), 0, "%s, env %d", all_tasks[t], env);
    }
    free(first), free(again), free(unused), free(saved);
    sim_close(&h);
  }
}

Test(mujoco_physics, warm_start_is_part_of_the_state) {
  harness h;
  sim_open(&h, "Ant-v5", 1, NULL, NULL);
  harness_reset(&h, 0, 1);
  float rows[40 * 106];
  steps(&h, 0, 40, 1, rows); /* it has landed */
  double *saved = malloc(h.spec.save_size);
  h.type->save(h.shared, harness_state(&h, 0), saved);
  const mjModel *m = sim_world(&h)->model.compiled;
  const mjtNum *warm = sim_env(&h, 0)->data->qacc_warmstart;
  double most = 0;
  for (int i = 0; i < m->nv; i++) most = fmax(most, fabs(warm[i]));
  cr_assert_gt(most, 0.1);
  size_t found = 0;
  for (size_t i = 0; i + (size_t)m->nv <= h.spec.save_size / sizeof(double); i++)
    found += memcmp(saved + i, warm, sizeof(double) * (size_t)m->nv) == 0;
  cr_assert_eq(found, 1);
  free(saved);
  sim_close(&h);
}

/* ---- Room ---- */

/* The room of size 0..19, from hopelessly little to what most steps need: so that it runs out at every stage. Not 0
 * contacts or constraints: MuJoCo 2.2 takes that for a wish to have none. */
static dr_mj_room room_of_size(int size) {
#if DR_MJ_HAS_ARENA
  return (dr_mj_room){.arena = 2048 + 2500 * (size_t)size};
#else
  return (dr_mj_room){.contacts = 1 + size / 2, .constraints = 1 + 2 * size, .stack = 400 + 100 * size};
#endif
}

static void use_room(harness *h, int32_t env, int32_t room) {
  dr_mj_env *e = sim_env(h, env);
  mj_deleteData(e->data);
  e->data = dr_mj_make_data(&sim_world(h)->model.rooms[room]);
  e->room = room;
}

/* 60 steps of the first episode of seed 0's env 0, whichever env it is. */
static void play(harness *h, int32_t env, float *rows) {
  const uint64_t episode = 0;
  const drover_env_rows reset = {
      .count = 1, .purpose = DROVER_RANDOM_RESET, .counters = &episode, .observations = harness_observation(h, env)};
  cr_assert_eq(h->type->reset(h->shared, harness_state(h, env), &reset), 0);
  steps(h, env, 60, 1, rows);
}

Test(mujoco_physics, small_room_gives_the_same_bytes) {
  static const char *const names[] = {"HalfCheetah-v5", "Ant-v5", "Humanoid-v5", "Pusher-v5"};
  for (size_t t = 0; t < sizeof names / sizeof *names; t++) {
    harness h;
    sim_open(&h, names[t], 2, NULL, NULL);
    dr_mj_model *model = &((dr_mj_world *)h.shared)->model;
    const size_t size = 60 * ((size_t)h.spec.observation_size + 1) * sizeof(float);
    float *small = malloc(size), *all = malloc(size);
    use_room(&h, 1, model->num_rooms - 1); /* what MuJoCo would give it */
    play(&h, 1, all);
    int grown = 0;
    for (int i = 0; i < 20; i++) {
      model->rooms[0] = dr_mj_model_with_room(model->compiled, room_of_size(i));
      use_room(&h, 0, 0);
      play(&h, 0, small);
      cr_assert_eq(memcmp(small, all, size), 0, "%s in room of size %d", names[t], i);
      grown += sim_env(&h, 0)->room > 0;
    }
    cr_assert_gt(grown, 0, "%s: only %d rooms were too small", names[t], grown);
    free(small), free(all);
    sim_close(&h);
  }
}

Test(mujoco_physics, bytes_an_env_are_told_and_few) {
  for (int t = 0; t < NUM_TASKS; t++) {
    harness h;
    sim_open(&h, all_tasks[t], 1, NULL, NULL);
    const dr_mj_model *model = &sim_world(&h)->model;
    cr_assert_eq(h.spec.memory_bytes,
                 dr_mj_data_bytes(sim_env(&h, 0)->data) + sizeof(double) * (size_t)model->state_size);
    harness_reset(&h, 0, 0);
    uint64_t random = test_seed();
    for (int i = 0; i < 200; i++) {
      sim_random_action(&h, 0, &random);
      if (sim_step(&h, 0, NULL)) harness_reset(&h, 0, (uint64_t)i);
    }
    const size_t after = dr_mj_data_bytes(sim_env(&h, 0)->data);
    fprintf(stderr, "%-26s %7zu bytes, %7zu after 200 random steps\n", all_tasks[t], h.spec.memory_bytes, after);
    cr_assert_leq(after, (DR_MJ_HAS_ARENA ? 600u : 400u) * 1024, "%s: %zu", all_tasks[t], after);
    sim_close(&h);
  }
}

Test(mujoco_physics, steps_take_no_memory) {
  harness h;
  sim_open(&h, "InvertedPendulum-v5", 4, NULL, NULL);
  for (int32_t env = 0; env < 4; env++) harness_reset(&h, env, 0);
  uint64_t random = test_seed(), episode = 1;
  size_t at_first = 0;
  for (int i = 0; i < 100000; i++) {
    if (i == 5000) at_first = mallinfo2().uordblks + mallinfo2().hblkhd;
    const int32_t env = i % 4;
    sim_random_action(&h, env, &random);
    cr_assert_eq(sim_step(&h, env, NULL), 0);
    if (h.terminated[env]) harness_reset(&h, env, episode++);
  }
  cr_assert_eq(mallinfo2().uordblks + mallinfo2().hblkhd, at_first);
  cr_assert_gt(episode, 1000);
  sim_close(&h);
}

/* ---- Faults ---- */

Test(mujoco_physics, an_action_that_is_no_number_is_a_fault_of_that_env) {
  const float bad[] = {NAN, INFINITY, -INFINITY}; /* MuJoCo itself would take 0 for them and go on */
  harness h;
  sim_open(&h, "HalfCheetah-v5", 2, NULL, NULL);
  uint64_t random = test_seed();
  for (int i = 0; i < 3; i++) {
    harness_reset(&h, 0, 0);
    harness_reset(&h, 1, 0);
    sim_random_action(&h, 0, &random);
    sim_action(&h, 0)[3] = bad[i];
    cr_assert_neq(sim_step(&h, 0, NULL), 0);
    char said[DR_MJ_WHY] = "";
    h.type->explain(h.shared, harness_state(&h, 0), said, sizeof said);
    cr_assert_str_eq(said, i == 0 ? "action[3] is nan" : i == 1 ? "action[3] is inf" : "action[3] is -inf");
    sim_random_action(&h, 1, &random);
    cr_assert_eq(sim_step(&h, 1, NULL), 0);
    harness_reset(&h, 0, 1);
    sim_random_action(&h, 0, &random);
    cr_assert_eq(sim_step(&h, 0, NULL), 0);
  }
  sim_close(&h);
}

static void write_file(char path[64], const char *text) {
  strcpy(path, "/tmp/drover_mujoco_XXXXXX.xml");
  const int file = mkstemps(path, 4);
  cr_assert_geq(file, 0);
  cr_assert_eq(write(file, text, strlen(text)), (ssize_t)strlen(text));
  close(file);
}

static void open_text(harness *h, const char *text) {
  char path[64];
  write_file(path, text);
  const drover_env_arg args[] = {{"model", path}};
  const bool opened = sim_try_open(h, "mujoco", 1, args, 1);
  unlink(path);
  cr_assert(opened, "%s", h->message);
}

static bool log_exists(void) {
  struct stat info;
  return stat("MUJOCO_LOG.TXT", &info) == 0;
}

/* A push that throws the body out of all bounds: MuJoCo resets the data silently, we must not. */
Test(mujoco_physics, a_state_that_explodes_is_a_fault_every_time) {
  harness h;
  cr_assert_eq(chdir("/tmp"), 0);
  unlink("MUJOCO_LOG.TXT");
  open_text(&h,
            "<mujoco><option timestep='1'/><worldbody><body><joint name='j' type='slide' stiffness='9999'/>"
            "<geom size='0.01' mass='1e-3'/></body></worldbody><actuator><motor joint='j' gear='1e7'/></actuator>"
            "</mujoco>");
  int faults = 0;
  for (uint64_t episode = 0; episode < 5; episode++) {
    harness_reset(&h, 0, episode);
    cr_assert_eq(sim_env(&h, 0)->data->time, 0);
    sim_action(&h, 0)[0] = 1e3f;
    for (int i = 0; i < 200; i++)
      if (sim_step(&h, 0, NULL)) {
        faults++;
        cr_assert_neq(sim_step(&h, 0, NULL), 0); /* until it is reset */
        break;
      }
  }
  cr_assert_eq(faults, 5);
  cr_assert(!log_exists());
  sim_close(&h);
}

static char mujocos_words[256];
static void keep_words(const char *text) { snprintf(mujocos_words, sizeof mujocos_words, "%s", text); }

/* A plain loop of mj_step, in which MuJoCo warns a handler of ours; then the env, which must say the same. */
Test(mujoco_physics, a_fault_says_what_mujoco_says) {
  const char *const texts[] = {
      /* thrown out of all bounds by its motor, after a while; from the first step; by a control too large */
      "<mujoco><option timestep='0.1'/><worldbody><body><joint name='i' type='slide'/><geom size='0.1'/>"
      "<body pos='1 0 0'><joint name='j' type='slide' stiffness='9999'/><geom size='0.01' mass='1e-3'/></body></body>"
      "</worldbody><actuator><motor joint='j' gear='10'/></actuator></mujoco>",
      "<mujoco><worldbody><body><joint name='j' type='slide'/><geom size='0.01' mass='1e-3'/></body></worldbody>"
      "<actuator><motor joint='j' gear='1e15'/></actuator></mujoco>",
      "<mujoco><worldbody><body><joint name='j' type='slide'/><geom size='0.01'/></body></worldbody>"
      "<actuator><motor joint='j'/><motor joint='j' gear='1e13'/></actuator></mujoco>"};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    harness h;
    open_text(&h, texts[i]);
    harness_reset(&h, 0, 0);
    const mjModel *m = sim_world(&h)->model.compiled;
    mjData *d = mj_makeData(m);
    void (*const ours)(const char *) = mju_user_warning;
    mju_user_warning = keep_words;
    mujocos_words[0] = '\0';
    for (int k = 0; k < m->nu; k++) d->ctrl[k] = sim_action(&h, 0)[k] = i == 2 && k == 1 ? 1e11f : 1;
    for (int step = 0; step < 1000 && !mujocos_words[0]; step++) mj_step(m, d);
    mju_user_warning = ours;
    mj_deleteData(d);
    cr_assert(strstr(mujocos_words, "Nan, Inf or huge value in"), "%s", mujocos_words);

    int done = 0;
    while (done < 1000 && sim_step(&h, 0, NULL) == 0) done++;
    char said[DR_MJ_WHY] = "";
    h.type->explain(h.shared, harness_state(&h, 0), said, sizeof said);
    cr_assert_str_eq(said, mujocos_words);
    sim_close(&h);
  }
}

static void raise_error(void *context) {
  (void)context;
  mju_error("a test's error");
}

/* MuJoCo's own: an error would wait for a key and exit, and write a log. */
Test(mujoco_physics, an_error_inside_mujoco_comes_back) {
  cr_assert_eq(chdir("/tmp"), 0);
  unlink("MUJOCO_LOG.TXT");
  dr_mj_install_handlers();
  for (int i = 0; i < 3; i++) {
    cr_assert(!dr_mj_guard(raise_error, NULL));
    cr_assert(strstr(dr_mj_error(), "a test's error"));
  }
  cr_assert(!log_exists());
}

#if !DR_MJ_HAS_ARENA
/* A stack that is too small for contacts, in the largest room: a fault, and the env can be reset and goes on. */
Test(mujoco_physics, an_env_whose_step_errs_is_remade) {
  harness h;
  open_text(&h,
            "<mujoco><size nstack='60' njmax='200' nconmax='50'/><worldbody><geom type='plane' size='5 5 1'/>"
            "<body pos='0 0 0.5'><joint name='j' type='slide' axis='0 0 1'/><geom type='box' size='.2 .2 .2'/></body>"
            "</worldbody><actuator><motor joint='j'/></actuator></mujoco>");
  for (uint64_t episode = 0; episode < 2; episode++) {
    harness_reset(&h, 0, episode);
    sim_action(&h, 0)[0] = 0;
    int done = 0;
    while (done < 1000 && sim_step(&h, 0, NULL) == 0) done++;
    cr_assert(done > 5 && done < 1000, "it failed after %d steps", done);
    char said[DR_MJ_WHY] = "";
    h.type->explain(h.shared, harness_state(&h, 0), said, sizeof said);
    cr_assert(strcasestr(said, "stack"), "%s", said);
    cr_assert_eq(sim_env(&h, 0)->room, sim_world(&h)->model.num_rooms - 1);
  }
  sim_close(&h);
}
#endif

/* ---- Other people's handlers ---- */

static jmp_buf hosts_landing;
static char hosts_error[128], hosts_warning[128];
static void hosts_on_error(const char *text) {
  snprintf(hosts_error, sizeof hosts_error, "%s", text);
  longjmp(hosts_landing, 1);
}
static void hosts_on_warning(const char *text) { snprintf(hosts_warning, sizeof hosts_warning, "%s", text); }

Test(mujoco_physics, the_hosts_handlers_get_what_happens_outside_our_steps) {
  mju_user_error = hosts_on_error;
  mju_user_warning = hosts_on_warning;
  harness h;
  sim_open(&h, "Hopper-v5", 1, NULL, NULL);
  harness_reset(&h, 0, 0);
  cr_assert(mju_user_error != hosts_on_error && mju_user_warning != hosts_on_warning);

  mju_warning("the host's warning");
  cr_assert(strstr(hosts_warning, "the host's warning"));
  if (setjmp(hosts_landing) == 0) {
    mju_error("the host's error");
    cr_assert(false, "the handler did not land");
  }
  cr_assert(strstr(hosts_error, "the host's error"));

  hosts_warning[0] = hosts_error[0] = '\0'; /* ours stay ours */
  sim_env(&h, 0)->data->qpos[2] = NAN;
  sim_action(&h, 0)[0] = sim_action(&h, 0)[1] = sim_action(&h, 0)[2] = 0;
  cr_assert_neq(sim_step(&h, 0, NULL), 0);
  cr_assert(!dr_mj_guard(raise_error, NULL));
  cr_assert(hosts_warning[0] == '\0' && hosts_error[0] == '\0');
  sim_close(&h);
}
