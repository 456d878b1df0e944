/* test_checkpoint.c: a batch saved and loaded goes on bit for bit; bytes that are not its own are refused. */
#include <criterion/criterion.h>

#include "tests/support/random.h"
#include "tests/support/world.h"

typedef struct bytes {
  unsigned char *data;
  size_t size;
} bytes;

static bytes save(drover_batch *batch) {
  bytes b = {0};
  OK(drover_batch_save(batch, NULL, &b.size));
  b.data = malloc(b.size);
  OK(drover_batch_save(batch, b.data, &b.size));
  return b;
}

static const toy_trouble troubles[] = {{TOY_FAIL_STEP, 3, 25}, {TOY_FAIL_RESET, 4, 2}, {TOY_FAIL_RESET, 4, 3}};

static void init(world *w, drover_autoreset mode) {
  world_init(w);
  w->config.troubles = troubles;
  w->config.num_troubles = 3;
  w->batch_options.autoreset = mode;
  w->batch_options.max_episode_steps = 9;
}

/* ---- Going on ------------------------------------------------------------------------------------------------- */

Test(checkpoint, a_batch_that_is_saved_and_loaded_goes_on_bit_for_bit) {
  for (drover_autoreset mode = DROVER_AUTORESET_SAME_STEP; mode <= DROVER_AUTORESET_NEXT_STEP; mode++)
    for (int32_t before = 0; before <= 3; before++) { /* saved at different moments */
      world w;
      init(&w, mode);
      w.rollout_options.num_steps = 11;
      world_open(&w);
      for (int32_t i = 0; i < before; i++) OK(drover_rollout_collect(w.rollout));
      const bytes b = save(w.batch);
      OK(drover_rollout_collect(w.rollout));
      OK(drover_rollout_collect(w.rollout));
      const world_bytes first = world_read(&w, true);
      OK(drover_batch_load(w.batch, b.data, b.size));
      OK(drover_rollout_collect(w.rollout));
      OK(drover_rollout_collect(w.rollout));
      const world_bytes second = world_read(&w, true);
      cr_assert(world_same(first, second), "mode %d, after %d collects", (int)mode, before);
      free(first.data);
      free(second.data);
      free(b.data);
      world_close(&w);
    }
}

Test(checkpoint, another_batch_of_another_runtime_goes_on_where_the_first_was_saved) {
  world a, b;
  init(&a, DROVER_AUTORESET_SAME_STEP);
  init(&b, DROVER_AUTORESET_SAME_STEP);
  b.batch_options.seed = 99; /* the seed is in the checkpoint */
  b.batch_options.shard = 3;
  b.runtime_options.num_workers = 3;
  world_open(&a);
  world_open(&b);
  OK(drover_batch_set_param(a.batch, "gain", NULL, 2));
  OK(drover_rollout_collect(a.rollout));
  const bytes saved = save(a.batch);
  OK(drover_batch_load(b.batch, saved.data, saved.size));
  OK(drover_rollout_collect(a.rollout));
  OK(drover_rollout_collect(b.rollout));
  const world_bytes first = world_read(&a, true), second = world_read(&b, true);
  cr_assert(world_same(first, second));
  free(first.data);
  free(second.data);
  free(saved.data);
  world_close(&a);
  world_close(&b);
}

Test(checkpoint, loading_restores_the_rows_and_the_fault_count) {
  world w;
  init(&w, DROVER_AUTORESET_SAME_STEP);
  world_open(&w);
  int32_t actions[16] = {0};
  drover_batch_view v = {.size = sizeof v};
  for (int32_t t = 0; t < 26; t++) OK(drover_batch_step(w.batch, actions));
  OK(drover_batch_get_view(w.batch, &v));
  const int64_t num_faults = v.num_faults;
  cr_assert_geq(num_faults, 1);
  float observations[48], rewards[16], infos[32], finals[48];
  uint8_t flags[48];
  double returns[16];
  int32_t lengths[16];
  memcpy(observations, v.observations, sizeof observations);
  memcpy(rewards, v.rewards, sizeof rewards);
  memcpy(infos, v.infos, sizeof infos);
  memcpy(finals, v.final_observations, sizeof finals);
  memcpy(flags, v.terminated, 16);
  memcpy(flags + 16, v.truncated, 16);
  memcpy(flags + 32, v.valid, 16);
  memcpy(returns, v.episode_returns, sizeof returns);
  memcpy(lengths, v.episode_lengths, sizeof lengths);
  const bytes saved = save(w.batch);
  OK(drover_batch_reset(w.batch, 1234));
  for (int32_t t = 0; t < 30; t++) OK(drover_batch_step(w.batch, actions));
  OK(drover_batch_load(w.batch, saved.data, saved.size));
  OK(drover_batch_get_view(w.batch, &v));
  cr_assert_eq(v.num_faults, num_faults);
  cr_assert_eq(v.lifetime_steps[0], 26);
  cr_assert_eq(memcmp(observations, v.observations, sizeof observations), 0);
  cr_assert_eq(memcmp(rewards, v.rewards, sizeof rewards), 0);
  cr_assert_eq(memcmp(infos, v.infos, sizeof infos), 0);
  cr_assert_eq(memcmp(finals, v.final_observations, sizeof finals), 0);
  cr_assert_eq(memcmp(flags, v.terminated, 16), 0);
  cr_assert_eq(memcmp(flags + 16, v.truncated, 16), 0);
  cr_assert_eq(memcmp(flags + 32, v.valid, 16), 0);
  cr_assert_eq(memcmp(returns, v.episode_returns, sizeof returns), 0);
  cr_assert_eq(memcmp(lengths, v.episode_lengths, sizeof lengths), 0);
  free(saved.data);
  world_close(&w);
}

Test(checkpoint, saving_twice_gives_the_same_bytes_and_changes_nothing) {
  world w;
  init(&w, DROVER_AUTORESET_SAME_STEP);
  world_open(&w);
  OK(drover_rollout_collect(w.rollout));
  const bytes a = save(w.batch), b = save(w.batch);
  cr_assert_eq(a.size, b.size);
  cr_assert_eq(memcmp(a.data, b.data, a.size), 0);
  free(a.data);
  free(b.data);
  world_close(&w);
}

/* ---- Refusing ------------------------------------------------------------------------------------------------- */

/* Loading fails with this status, says this, and the batch is as it was. */
static void refuse(world *w, const void *data, size_t size, drover_status status, const char *word) {
  const bytes before = save(w->batch);
  cr_assert_eq(drover_batch_load(w->batch, data, size), status, "%s", drover_last_error());
  cr_assert(strstr(drover_last_error(), word), "'%s' does not say '%s'", drover_last_error(), word);
  const bytes after = save(w->batch);
  cr_assert_eq(memcmp(before.data, after.data, before.size), 0, "a refused load changed the batch");
  free(before.data);
  free(after.data);
}

Test(checkpoint, bytes_of_a_wrong_size_are_refused) {
  world w;
  init(&w, DROVER_AUTORESET_SAME_STEP);
  world_open(&w);
  const bytes b = save(w.batch);
  unsigned char *longer = calloc(1, b.size + 8);
  memcpy(longer, b.data, b.size);
  refuse(&w, NULL, 0, DROVER_ERROR_FORMAT, "too few");
  refuse(&w, NULL, b.size, DROVER_ERROR_FORMAT, "");
  for (size_t size = 0; size < b.size; size += 1 + size / 8) {
    unsigned char *exact = malloc(size ? size : 1); /* so that AddressSanitizer sees a read beyond the end */
    memcpy(exact, b.data, size);
    refuse(&w, exact, size, DROVER_ERROR_FORMAT, "bytes");
    free(exact);
  }
  refuse(&w, longer, b.size + 8, DROVER_ERROR_FORMAT, "expected");
  free(longer);
  free(b.data);
  world_close(&w);
}

Test(checkpoint, a_flipped_bit_anywhere_is_refused) {
  uint64_t seed = test_seed();
  world w;
  init(&w, DROVER_AUTORESET_SAME_STEP);
  world_open(&w);
  OK(drover_rollout_collect(w.rollout));
  const bytes b = save(w.batch);
  for (size_t at = 0; at < b.size; at += 1 + (size_t)(test_random(&seed) % 13)) {
    const unsigned char bit = (unsigned char)(1u << (test_random(&seed) % 8));
    b.data[at] ^= bit;
    cr_assert_eq(drover_batch_load(w.batch, b.data, b.size), DROVER_ERROR_FORMAT,
                 "a flipped bit in byte %zu was not seen", at);
    cr_assert(strstr(drover_last_error(), "batch load"), "%s", drover_last_error());
    b.data[at] ^= bit;
  }
  OK(drover_batch_load(w.batch, b.data, b.size));
  free(b.data);
  world_close(&w);
}

/* A checkpoint of a world that differs in one thing. */
static void refuse_foreign(world *other, const char *word) {
  world w;
  init(&w, DROVER_AUTORESET_SAME_STEP);
  world_open(&w);
  world_open(other);
  const bytes b = save(other->batch);
  refuse(&w, b.data, b.size, DROVER_ERROR_FORMAT, word);
  free(b.data);
  world_close(other);
  world_close(&w);
}

Test(checkpoint, a_checkpoint_of_another_batch_is_refused) {
  world other;
  init(&other, DROVER_AUTORESET_SAME_STEP);
  other.batch_options.num_envs = 15;
  refuse_foreign(&other, "15 envs of Toy-v0, the batch has 16");
  init(&other, DROVER_AUTORESET_SAME_STEP);
  other.config.type.name = "Toy-v1";
  refuse_foreign(&other, "of Toy-v1, the batch has 16 of Toy-v0");
  init(&other, DROVER_AUTORESET_SAME_STEP);
  other.config.observation_size = 4;
  refuse_foreign(&other, "batch load");
  init(&other, DROVER_AUTORESET_SAME_STEP);
  other.config.num_infos = 3;
  refuse_foreign(&other, "bytes");
  init(&other, DROVER_AUTORESET_SAME_STEP);
  other.batch_options.args = (drover_env_args){.count = 1, .items = &(drover_env_arg){"x", "1"}};
  refuse_foreign(&other, "other arguments");
}

Test(checkpoint, the_same_arguments_in_another_order_are_the_same) {
  const drover_env_arg one[] = {{"x", "1"}, {"length", "5"}}, two[] = {{"length", "5"}, {"x", "1"}};
  world a, b;
  init(&a, DROVER_AUTORESET_SAME_STEP);
  init(&b, DROVER_AUTORESET_SAME_STEP);
  a.batch_options.args = (drover_env_args){.count = 2, .items = one};
  b.batch_options.args = (drover_env_args){.count = 2, .items = two};
  world_open(&a);
  world_open(&b);
  const bytes saved = save(a.batch);
  OK(drover_batch_load(b.batch, saved.data, saved.size));
  free(saved.data);
  world_close(&a);
  world_close(&b);
}

Test(checkpoint, an_env_without_save_and_load_says_so) {
  world w;
  world_init(&w);
  w.config.saves = false;
  world_open(&w);
  size_t size = 0;
  cr_assert_eq(drover_batch_save(w.batch, NULL, &size), DROVER_ERROR_UNSUPPORTED);
  cr_assert(strstr(drover_last_error(), "Toy-v0 has no save and load"), "%s", drover_last_error());
  cr_assert_eq(drover_batch_load(w.batch, &size, sizeof size), DROVER_ERROR_UNSUPPORTED);
  world_close(&w);
}

Test(checkpoint, a_buffer_that_is_too_small_is_refused_with_the_size_needed) {
  world w;
  world_init(&w);
  world_open(&w);
  size_t needed = 0, given = 100;
  OK(drover_batch_save(w.batch, NULL, &needed));
  unsigned char *small = malloc(100);
  cr_assert_eq(drover_batch_save(w.batch, small, &given), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(given, needed);
  cr_assert_eq(drover_batch_save(w.batch, small, NULL), DROVER_ERROR_ARGUMENT);
  free(small);
  world_close(&w);
}

static int fail_to_save(void *shared, const void *state, void *to) {
  (void)shared, (void)state, (void)to;
  return 1;
}
static int fail_to_load(void *shared, void *state, const void *from) {
  (void)shared, (void)state, (void)from;
  return 1;
}

Test(checkpoint, an_env_that_fails_to_save_or_load_is_named) {
  world w;
  world_init(&w);
  world_open(&w);
  const bytes b = save(w.batch);
  world_close(&w);
  world_init(&w);
  w.config.type.save = fail_to_save;
  w.config.type.load = fail_to_load;
  world_open(&w);
  size_t size = b.size;
  cr_assert_eq(drover_batch_save(w.batch, b.data, &size), DROVER_ERROR_ENV);
  cr_assert(strstr(drover_last_error(), "env 0 of Toy-v0"), "%s", drover_last_error());
  world_close(&w);
  world_init(&w);
  world_open(&w);
  const bytes c = save(w.batch);
  world_close(&w);
  world_init(&w);
  w.config.type.load = fail_to_load;
  world_open(&w);
  cr_assert_eq(drover_batch_load(w.batch, c.data, c.size), DROVER_ERROR_ENV);
  cr_assert(strstr(drover_last_error(), "env 0 of Toy-v0"), "%s", drover_last_error());
  OK(drover_batch_reset(w.batch, 1)); /* as the message advises */
  OK(drover_rollout_collect(w.rollout));
  free(b.data);
  free(c.data);
  world_close(&w);
}
