/* test_fault_text.c: the sentence that comes with a fault: the env type's own, or what the runtime found. */
#include <criterion/criterion.h>

#include "tests/support/world.h"

enum { N = 16, T = 20 };

/* ---- Toy envs that say why they fail --------------------------------------------------------------------------- */

static drover_env_type plain; /* what is wrapped below */
static const void *state_of[N];
static char said[N][200]; /* what env e says if it is asked */
static _Atomic int32_t num_asked;

static int remember(int status, int32_t env, const char *what, uint64_t at) {
  if (status != 0) snprintf(said[env], sizeof said[env], "env %d broke at its %s %d.", env, what, (int)at);
  return status;
}

static int reset(void *shared, void *state, const drover_env_rows *rows) {
  state_of[rows->first_env] = state;
  return remember(plain.reset(shared, state, rows), rows->first_env, "reset", rows->counters[0]);
}

static int step(void *shared, void *state, const drover_env_rows *rows) {
  return remember(plain.step(shared, state, rows), rows->first_env, "step", rows->counters[0]);
}

static int step_many(void *shared, void *states, const drover_env_rows *rows) {
  const int status = plain.step_many(shared, states, rows);
  for (int32_t i = 0; i < rows->count; i++)
    remember(status | rows->failed[i], rows->first_env + i, "step", rows->counters[i]);
  return status;
}

static int begin(void *shared, void *state, const drover_env_tick *tick) {
  return remember(plain.begin(shared, state, tick), tick->env, "begin", tick->counter);
}

static int tick(void *shared, void *state, const drover_env_tick *call) {
  return remember(plain.tick(shared, state, call), call->env, "tick", (uint64_t)call->tick);
}

static void explain(void *shared, const void *state, char *message, size_t message_size) {
  (void)shared;
  num_asked++;
  for (int32_t e = 0; e < N; e++)
    if (state_of[e] == state) snprintf(message, message_size, "%s", said[e]);
}

static void talk(world *w) {
  plain = w->config.type;
  w->config.type.reset = reset;
  w->config.type.step = step;
  w->config.type.step_many = step_many;
  w->config.type.begin = begin;
  w->config.type.tick = tick;
  w->config.type.explain = explain;
  w->config.terminate = w->config.truncate = 0;
  memset(said, 0, sizeof said);
  num_asked = 0;
}

/* ---- What is recorded ------------------------------------------------------------------------------------------ */

typedef struct record {
  int32_t step, env, reason;
  const char *text;
} record;

static void expect(const world *w, const record *records, int32_t count) {
  const drover_rollout_view v = rollout_view(w->rollout);
  cr_assert_eq(v.num_faults, count);
  for (int32_t i = 0; i < count; i++) {
    const drover_fault *f = &v.faults[i];
    cr_assert(f->step == records[i].step && f->env == records[i].env && f->reason == records[i].reason,
              "fault %d is of env %d at step %d: %d", i, f->env, f->step, f->reason);
    cr_assert_str_eq(v.fault_texts[i], records[i].text);
  }
}

/* Every kind at once, two of them in one step of one env. */
static const toy_trouble troubles[] = {
    {TOY_FAIL_STEP, 5, 8},   {TOY_FAIL_RESET, 5, 1}, {TOY_NAN_OBSERVATION, 2, 3}, {TOY_INF_OBSERVATION, 15, 3},
    {TOY_NAN_REWARD, 0, 11}, {TOY_INF_REWARD, 1, 8}, {TOY_FAIL_STEP, 14, 11},     {TOY_TERMINATE, 9, 4},
    {TOY_NAN_RESET, 9, 1},   {TOY_FAIL_RESET, 9, 2}, {TOY_FAIL_STEP, 14, 12},
};
static const record with_words[] = {
    {3, 2, DROVER_FAULT_OBSERVATION, "observation[2] is nan"},
    {3, 15, DROVER_FAULT_OBSERVATION, "observation[0] is -inf"},
    {4, 9, DROVER_FAULT_RESET, "observation[0] is nan"},
    {5, 9, DROVER_FAULT_RESET, "env 9 broke at its reset 2"},
    {8, 1, DROVER_FAULT_REWARD, "reward is inf"},
    {8, 5, DROVER_FAULT_STEP, "env 5 broke at its step 8"},
    {8, 5, DROVER_FAULT_RESET, "env 5 broke at its reset 1"},
    {11, 0, DROVER_FAULT_REWARD, "reward is nan"},
    {11, 14, DROVER_FAULT_STEP, "env 14 broke at its step 11"},
    {12, 14, DROVER_FAULT_STEP, "env 14 broke at its step 12"},
};

Test(fault_text, is_the_envs_own_however_the_envs_are_stepped) {
  for (int32_t workers = 1; workers <= 8; workers = 2 * workers + 1)
    for (int32_t scalar = 0; scalar <= 1; scalar++)
      for (world_way way = WORLD_FUSED; way <= WORLD_STEPPED; way++) {
        world w;
        world_init(&w);
        talk(&w);
        w.config.troubles = troubles;
        w.config.num_troubles = sizeof troubles / sizeof *troubles;
        w.config.work = workers > 1 ? 2000 : 0;
        w.runtime_options.num_workers = workers;
        w.batch_options.shard = workers == 3 ? 5 : 0;
        w.batch_options.scalar = scalar;
        world_set_way(&w, way);
        world_open(&w);
        world_fill(&w, way);
        expect(&w, with_words, sizeof with_words / sizeof *with_words);
        cr_assert_eq(num_asked, 5, "asked %d times", (int)num_asked); /* 3 steps, 2 resets, nobody else */
        world_close(&w);
      }
}

Test(fault_text, changes_no_byte_of_the_rollout) {
  uint64_t digests[2];
  for (int32_t talks = 0; talks <= 1; talks++) {
    world w;
    world_init(&w);
    talk(&w);
    if (!talks) w.config.type.explain = NULL;
    w.config.troubles = troubles;
    w.config.num_troubles = sizeof troubles / sizeof *troubles;
    world_open(&w);
    world_fill(&w, WORLD_FUSED);
    digests[talks] = rollout_digest(w.rollout);
    world_close(&w);
  }
  cr_assert_eq(digests[0], digests[1]);
}

/* A table without the function, and one of a header that did not know it: what lies behind its end is nobody's. */
Test(fault_text, of_an_env_type_that_explains_nothing_is_ours) {
  static const toy_trouble trouble[] = {{TOY_FAIL_STEP, 5, 8}, {TOY_FAIL_RESET, 5, 1}};
  static const record records[] = {{8, 5, DROVER_FAULT_STEP, "its step returned an error"},
                                   {8, 5, DROVER_FAULT_RESET, "its reset returned an error"}};
  for (int32_t old = 0; old <= 1; old++) {
    world w;
    world_init(&w);
    talk(&w);
    if (old)
      w.config.type.size = offsetof(drover_env_type, explain);
    else
      w.config.type.explain = NULL;
    w.config.troubles = trouble;
    w.config.num_troubles = 2;
    world_open(&w);
    world_fill(&w, WORLD_FUSED);
    expect(&w, records, 2);
    cr_assert_eq(num_asked, 0);
    world_close(&w);
  }
}

Test(fault_text, of_an_inner_loop_tells_what_failed_in_it) {
  static const toy_trouble inside[] = {{TOY_FAIL_BEGIN, 1, 2}, {TOY_NAN_BEGIN, 2, 2},  {TOY_FAIL_TICK, 3, 2},
                                       {TOY_NAN_TICK, 4, 2},   {TOY_INF_SAMPLE, 6, 2}, {TOY_NAN_INNER_ACTION, 7, 2}};
  static const record records[] = {{2, 1, DROVER_FAULT_INNER, "env 1 broke at its begin 2"},
                                   {2, 2, DROVER_FAULT_INNER, "inner_observation[3] is nan"},
                                   {2, 3, DROVER_FAULT_INNER, "env 3 broke at its tick 1"},
                                   {2, 4, DROVER_FAULT_INNER, "inner_observation[3] is nan"},
                                   {2, 6, DROVER_FAULT_INNER, "inner_sample[0] is inf"},
                                   {2, 7, DROVER_FAULT_INNER, "inner_action[1] is nan"}};
  for (world_way way = WORLD_FUSED; way <= WORLD_STEPPED; way++) {
    world w;
    world_init(&w);
    toy_init_inner(&w.config);
    talk(&w);
    w.config.trouble_tick = 1;
    w.config.troubles = inside;
    w.config.num_troubles = sizeof inside / sizeof *inside;
    w.runtime_options.num_workers = 3;
    world_set_way(&w, way);
    world_open(&w);
    world_fill(&w, way);
    expect(&w, records, sizeof records / sizeof *records);
    cr_assert_eq(num_asked, 2);
    world_close(&w);
  }
}

/* ---- Words that do not fit ------------------------------------------------------------------------------------- */

static const char *words; /* of babble */
static void babble(void *shared, const void *state, char *message, size_t message_size) {
  (void)shared, (void)state;
  strncpy(message, words, message_size); /* no NUL where they are longer */
}

Test(fault_text, is_one_line_of_ascii_that_ends) {
  char many[300];
  memset(many, 'x', sizeof many - 1);
  many[sizeof many - 1] = '\0';
  char most[DROVER_FAULT_TEXT];
  memset(most, 'x', sizeof most - 1);
  most[sizeof most - 1] = '\0';
  const char *const pairs[][2] = {{"two\nlines\tand a bell\a", "two lines and a bell"},
                                  {"a stop.\n", "a stop"},
                                  {"Kr\xc3\xa4nk\x7f", "Kr??nk?"},
                                  {" . \n", "its step returned an error"},
                                  {many, most}};
  static const toy_trouble trouble = {TOY_FAIL_STEP, 5, 8};
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
    world w;
    world_init(&w);
    talk(&w);
    w.config.type.explain = babble;
    words = pairs[i][0];
    w.config.troubles = &trouble;
    w.config.num_troubles = 1;
    world_open(&w);
    world_fill(&w, WORLD_FUSED);
    expect(&w, &(record){8, 5, DROVER_FAULT_STEP, pairs[i][1]}, 1);
    world_close(&w);
  }
}

/* ---- Asking a batch -------------------------------------------------------------------------------------------- */

static void expect_fault(drover_batch *batch, int32_t env, int32_t reason, const char *text, int32_t reset_reason,
                         const char *reset_text) {
  drover_batch_fault f = {.size = sizeof f};
  OK(drover_batch_get_fault(batch, env, &f));
  cr_assert(f.reason == reason && f.reset_reason == reset_reason, "env %d: %d and %d", env, f.reason, f.reset_reason);
  cr_assert_str_eq(f.text, text);
  cr_assert_str_eq(f.reset_text, reset_text);
}

Test(fault_text, of_the_latest_step_can_be_asked_of_the_batch) {
  static const toy_trouble trouble[] = {
      {TOY_FAIL_STEP, 5, 1}, {TOY_FAIL_RESET, 5, 1}, {TOY_NAN_REWARD, 2, 1}, {TOY_FAIL_RESET, 3, 0}};
  const int32_t actions[N] = {0};
  world w;
  world_init(&w);
  talk(&w);
  w.config.troubles = trouble;
  w.config.num_troubles = 4;
  world_open(&w);
  expect_fault(w.batch, 3, 0, "", DROVER_FAULT_RESET, "env 3 broke at its reset 0"); /* when it was made */
  expect_fault(w.batch, 5, 0, "", 0, "");
  OK(drover_batch_step(w.batch, actions));
  expect_fault(w.batch, 3, 0, "", 0, "");
  OK(drover_batch_step(w.batch, actions));
  expect_fault(w.batch, 5, DROVER_FAULT_STEP, "env 5 broke at its step 1", DROVER_FAULT_RESET,
               "env 5 broke at its reset 1");
  expect_fault(w.batch, 2, DROVER_FAULT_REWARD, "reward is nan", 0, "");
  expect_fault(w.batch, 4, 0, "", 0, "");
  /* A checkpoint that is loaded has no faults: it does not hold them. */
  size_t size = 0;
  OK(drover_batch_save(w.batch, NULL, &size));
  void *bytes = malloc(size);
  OK(drover_batch_save(w.batch, bytes, &size));
  OK(drover_batch_load(w.batch, bytes, size));
  expect_fault(w.batch, 5, 0, "", 0, "");
  free(bytes);
  world_close(&w);
}

Test(fault_text, of_sent_envs_can_be_asked_once_they_are_received) {
  static const toy_trouble trouble = {TOY_FAIL_STEP, 5, 0};
  const int32_t ids[] = {4, 5}, actions[2] = {0};
  int32_t got[2], num_ready;
  drover_batch_fault f = {.size = sizeof f};
  world w;
  world_init(&w);
  talk(&w);
  w.config.troubles = &trouble;
  w.config.num_troubles = 1;
  world_open(&w);
  OK(drover_batch_send(w.batch, 2, ids, actions));
  cr_assert_eq(drover_batch_get_fault(w.batch, 5, &f), DROVER_ERROR_STATE);
  expect_fault(w.batch, 6, 0, "", 0, "");
  OK(drover_batch_recv(w.batch, 2, -1, got, &num_ready));
  expect_fault(w.batch, 5, DROVER_FAULT_STEP, "env 5 broke at its step 0", 0, "");
  world_close(&w);
}

Test(fault_text, asked_wrongly_is_refused) {
  world w;
  world_init(&w);
  world_open(&w);
  drover_batch_fault f = {.size = sizeof f};
  cr_assert_eq(drover_batch_get_fault(NULL, 0, &f), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_batch_get_fault(w.batch, 0, NULL), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_batch_get_fault(w.batch, -1, &f), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_batch_get_fault(w.batch, N, &f), DROVER_ERROR_ARGUMENT);
  f.size--;
  cr_assert_eq(drover_batch_get_fault(w.batch, 0, &f), DROVER_ERROR_ARGUMENT);
  world_close(&w);
}

Test(fault_text, is_in_the_error_of_a_run_with_too_many) {
  static const toy_trouble steps[] = {{TOY_FAIL_STEP, 5, 8}},
                           resets[] = {{TOY_TERMINATE, 5, 8}, {TOY_FAIL_RESET, 5, 1}};
  for (int32_t i = 0; i <= 1; i++) {
    world w;
    world_init(&w);
    talk(&w);
    w.config.troubles = i ? resets : steps;
    w.config.num_troubles = i + 1;
    w.batch_options.fault_limit = 0;
    world_open(&w);
    cr_assert_eq(drover_rollout_collect(w.rollout), DROVER_ERROR_FAULTS);
    cr_assert(strstr(drover_last_error(),
                     i ? "Toy-v0: env 5 failed in the reset before its step 9: env 5 broke at its reset 1; that is"
                       : "Toy-v0: env 5 failed at its step 8: env 5 broke at its step 8; that is"),
              "%s", drover_last_error());
    world_close(&w);
  }
}
