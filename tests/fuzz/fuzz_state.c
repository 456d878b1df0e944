/* fuzz_state.c: what drover_ppo_save, drover_inner_save and drover_batch_save gave, changed, to their loads. Half of
 * the changed bytes get a checksum that fits, as a file from elsewhere might have: no memory error is allowed then
 * either. */
#define XXH_INLINE_ALL
#include <drover/drover.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "tests/fuzz/fuzz.h"
#include "tests/support/check.h"
#include "tests/support/toy_env.h"

enum { NUM_ENVS = 6, NUM_STEPS = 5, NUM_SEEDS = 3, MOST_TYPES = 40 };

typedef drover_status (*save_call)(void *handle, void *bytes, size_t *num_bytes);
typedef drover_status (*load_call)(void *handle, const void *bytes, size_t num_bytes);

/* A handle whose state can be saved and loaded; where the headers of its bytes end and their checksum is. */
typedef struct subject {
  void *handle;
  save_call save;
  load_call load;
  size_t header_bytes, hash_at;
  fuzz_bytes seeds[NUM_SEEDS];
} subject;

static fuzz_bytes saved(const subject *s) {
  size_t size = 0;
  OK(s->save(s->handle, NULL, &size));
  unsigned char *bytes = malloc(size);
  OK(s->save(s->handle, bytes, &size));
  fuzz_bytes copy = fuzz_copy(bytes, size);
  free(bytes);
  return copy;
}

static void fit_checksum(const subject *s, fuzz_bytes *bytes) {
  if (bytes->size < s->header_bytes) return;
  uint64_t hash = 0;
  memcpy(bytes->data + s->hash_at, &hash, sizeof hash);
  hash = XXH3_64bits_withSeed(bytes->data + s->header_bytes, bytes->size - s->header_bytes,
                              XXH3_64bits(bytes->data, s->header_bytes));
  memcpy(bytes->data + s->hash_at, &hash, sizeof hash);
}

/* The checksum of a good state is where this file takes it to be: otherwise nothing would be tested. */
static void check_layout(const subject *s) {
  fuzz_bytes copy = fuzz_copy(s->seeds[0].data, s->seeds[0].size);
  fit_checksum(s, &copy);
  FUZZ_EXPECT(memcmp(copy.data, s->seeds[0].data, copy.size) == 0, "the header has another layout");
  fuzz_free(&copy);
}

/* Load a changed state; whether it was taken. */
static bool load_changed(const subject *s, drover_random *random) {
  const fuzz_bytes *seed = &s->seeds[fuzz_below(random, NUM_SEEDS)], *other = &s->seeds[fuzz_below(random, NUM_SEEDS)];
  fuzz_bytes input = fuzz_copy(seed->data, seed->size);
  fuzz_change_bytes(&input, other, random);
  if (fuzz_below(random, 2)) fit_checksum(s, &input);
  fuzz_input(&input);
  fuzz_bytes before = saved(s);
  /* A block of exactly this size, so that a read beyond it is seen. */
  unsigned char *exact = malloc(input.size ? input.size : 1);
  memcpy(exact, input.data, input.size);
  const drover_status status = s->load(s->handle, exact, input.size);
  free(exact);
  if (status) {
    fuzz_refused(status, drover_last_error());
    fuzz_bytes after = saved(s);
    FUZZ_EXPECT(
        status == DROVER_ERROR_ENV || (after.size == before.size && memcmp(after.data, before.data, after.size) == 0),
        "a load that failed changed the state: %s", drover_last_error());
    fuzz_free(&after);
  } else {
    fuzz_accepted();
  }
  fuzz_free(&before);
  fuzz_free(&input);
  return status == DROVER_OK;
}

/* Whatever was loaded before: a good state is taken, and is what it was. */
static void load_good(const subject *s) {
  OK(s->load(s->handle, s->seeds[0].data, s->seeds[0].size));
  fuzz_bytes now = saved(s);
  FUZZ_EXPECT(now.size == s->seeds[0].size && memcmp(now.data, s->seeds[0].data, now.size) == 0,
              "a good state was loaded and is not what it was");
  fuzz_free(&now);
}

static void free_seeds(subject *s) {
  for (int i = 0; i < NUM_SEEDS; i++) fuzz_free(&s->seeds[i]);
}

static void note(drover_status status) {
  if (!status) return;
  const char *message = drover_last_error();
  FUZZ_EXPECT(message[0] != '\0', "%s without a sentence", drover_status_name(status));
}

/* ---- PPO ----------------------------------------------------------------------------------------------------- */

static toy_config config;
static drover_runtime *runtime;
static drover_batch *toy_batch;
static drover_policy *policy, *inner_policy;
static drover_rollout *rollout;
static subject ppo, inner;
static float *first_weights;
static size_t num_weights;

static drover_status ppo_save(void *handle, void *bytes, size_t *size) { return drover_ppo_save(handle, bytes, size); }
static drover_status ppo_load(void *handle, const void *bytes, size_t size) {
  return drover_ppo_load(handle, bytes, size);
}

static void open_runtime(drover_runtime **out) {
  drover_runtime_options options;
  OK(drover_runtime_options_init(&options, sizeof options));
  options.num_workers = 1;
  OK(drover_runtime_create(out, &options));
}

static void open_ppo(void) {
  open_runtime(&runtime);
  toy_init(&config);
  drover_batch_options batch_options;
  OK(drover_batch_options_init(&batch_options, sizeof batch_options));
  batch_options.num_envs = NUM_ENVS;
  OK(toy_batch_create(&toy_batch, runtime, &config, &batch_options));
  drover_batch_view view = {.size = sizeof view};
  OK(drover_batch_get_view(toy_batch, &view));
  drover_mlp_options mlp;
  OK(drover_mlp_options_init(&mlp, sizeof mlp));
  OK(drover_mlp_options_fit(&mlp, view.spec));
  mlp.num_hidden = 1;
  mlp.hidden[0] = 8;
  mlp.normalize_observations = 1;
  OK(drover_policy_create_mlp(&policy, runtime, &mlp));
  drover_rollout_options rollout_options;
  OK(drover_rollout_options_init(&rollout_options, sizeof rollout_options));
  rollout_options.num_steps = NUM_STEPS;
  OK(drover_rollout_create(&rollout, toy_batch, policy, &rollout_options));
  drover_ppo_options options;
  OK(drover_ppo_options_init(&options, sizeof options));
  options.scale_rewards = 1;
  options.num_updates = 10;
  drover_ppo *learner;
  OK(drover_ppo_create(&learner, policy, rollout, &options));
  ppo = (subject){.handle = learner, .save = ppo_save, .load = ppo_load, .header_bytes = 64, .hash_at = 8};
  OK(drover_policy_num_weights(policy, &num_weights));
  first_weights = malloc(num_weights * sizeof *first_weights);
  OK(drover_policy_get_weights(policy, first_weights, num_weights));
  for (int i = 0; i < NUM_SEEDS; i++) {
    ppo.seeds[i] = saved(&ppo);
    OK(drover_rollout_collect(rollout));
    OK(drover_ppo_update(learner, rollout, NULL));
  }
  check_layout(&ppo);
}

static void attempt_ppo(drover_random *random) {
  if (load_changed(&ppo, random)) {
    OK(drover_policy_set_weights(policy, first_weights, num_weights));
    OK(drover_batch_reset(toy_batch, 1));
    OK(drover_rollout_collect(rollout));
    drover_ppo_stats stats = {.size = sizeof stats};
    note(drover_ppo_update(ppo.handle, rollout, &stats));
    note(drover_rollout_collect(rollout));
  }
  load_good(&ppo);
}

static void close_ppo(void) {
  free_seeds(&ppo);
  free(first_weights);
  OK(drover_ppo_destroy(ppo.handle));
  OK(drover_rollout_destroy(rollout));
  OK(drover_policy_destroy(policy));
  OK(drover_batch_destroy(toy_batch));
  OK(drover_runtime_destroy(runtime));
}

const fuzz_format fuzz_ppo = {.name = "ppo", .open = open_ppo, .attempt = attempt_ppo, .close = close_ppo};

/* ---- The inner learner --------------------------------------------------------------------------------------- */

static drover_runtime *inner_runtime;

static drover_status inner_save(void *handle, void *bytes, size_t *size) {
  return drover_inner_save(handle, bytes, size);
}
static drover_status inner_load(void *handle, const void *bytes, size_t size) {
  return drover_inner_load(handle, bytes, size);
}

/* Samples: 3 observed numbers, one joint, two actions. */
enum {
  INNER_OBSERVATIONS = 3,
  INNER_ACTIONS = 2,
  SAMPLE = INNER_OBSERVATIONS + INNER_ACTIONS + 2 + 1,
  NUM_SAMPLES = 9
};

static void add_samples(drover_inner *learner, uint64_t seed) {
  float samples[NUM_SAMPLES][SAMPLE];
  drover_random random = drover_random_at(seed, 0, DROVER_RANDOM_USER, 0);
  for (int i = 0; i < NUM_SAMPLES; i++) {
    for (int j = 0; j < SAMPLE; j++) samples[i][j] = drover_random_uniformf(&random);
    samples[i][SAMPLE - 1] = 1;
  }
  OK(drover_inner_add(learner, NUM_SAMPLES, samples[0]));
}

static void open_inner(void) {
  open_runtime(&inner_runtime);
  drover_mlp_options mlp;
  OK(drover_mlp_options_init(&mlp, sizeof mlp));
  mlp.observation_size = INNER_OBSERVATIONS;
  mlp.num_outputs = INNER_ACTIONS;
  mlp.num_hidden = 1;
  mlp.hidden[0] = 6;
  mlp.head = DROVER_HEAD_UNIT;
  mlp.has_values = 0;
  mlp.normalize_observations = 1;
  OK(drover_policy_create_mlp(&inner_policy, inner_runtime, &mlp));
  drover_inner_options options;
  OK(drover_inner_options_init(&options, sizeof options));
  options.sample_size = SAMPLE;
  options.capacity = 20;
  options.minibatch = 4;
  drover_inner *learner;
  OK(drover_inner_create(&learner, inner_policy, &options));
  inner = (subject){.handle = learner, .save = inner_save, .load = inner_load, .header_bytes = 104, .hash_at = 8};
  for (int i = 0; i < NUM_SEEDS; i++) {
    add_samples(learner, (uint64_t)i);
    OK(drover_inner_update(learner, 3, NULL));
    inner.seeds[i] = saved(&inner);
  }
  check_layout(&inner);
}

static void attempt_inner(drover_random *random) {
  if (load_changed(&inner, random)) {
    drover_inner_stats stats = {.size = sizeof stats};
    note(drover_inner_update(inner.handle, 7, &stats));
    add_samples(inner.handle, 5);
    note(drover_inner_update(inner.handle, 7, &stats));
  }
  load_good(&inner);
}

static void close_inner(void) {
  free_seeds(&inner);
  OK(drover_inner_destroy(inner.handle));
  OK(drover_policy_destroy(inner_policy));
  OK(drover_runtime_destroy(inner_runtime));
}

const fuzz_format fuzz_inner = {.name = "inner", .open = open_inner, .attempt = attempt_inner, .close = close_inner};

/* ---- Batches of every env type that can be saved ------------------------------------------------------------- */

static drover_runtime *batch_runtime;
static drover_policy *ticking[MOST_TYPES]; /* the inner policy of a type that needs one */
static subject batches[MOST_TYPES];
static int num_batches;

static drover_status batch_save(void *handle, void *bytes, size_t *size) {
  return drover_batch_save(handle, bytes, size);
}
static drover_status batch_load(void *handle, const void *bytes, size_t size) {
  return drover_batch_load(handle, bytes, size);
}

/* Some steps of any actions. */
static drover_status step_batch(drover_batch *batch, drover_random *random, int num_steps) {
  drover_batch_view view = {.size = sizeof view};
  OK(drover_batch_get_view(batch, &view));
  const drover_env_spec *spec = view.spec;
  const size_t count = (size_t)view.num_envs * (size_t)spec->action_size;
  void *actions = calloc(count, 4);
  drover_status status = DROVER_OK;
  for (int step = 0; step < num_steps && status == DROVER_OK; step++) {
    for (size_t i = 0; i < count; i++)
      if (spec->action_kind == DROVER_ACTION_DISCRETE)
        ((int32_t *)actions)[i] = (int32_t)fuzz_below(random, (size_t)spec->num_actions);
      else
        ((float *)actions)[i] = drover_random_uniformf(random) - 0.5f;
    status = drover_batch_step(batch, actions);
    if (status == DROVER_OK)
      for (int32_t i = 0; i < view.num_envs * spec->observation_size; i++)
        FUZZ_EXPECT(view.observations[i] - view.observations[i] == 0, "%g is observed", (double)view.observations[i]);
  }
  free(actions);
  return status;
}

static void give_inner_policy(drover_batch *batch, drover_policy **out) {
  drover_batch_view view = {.size = sizeof view};
  OK(drover_batch_get_view(batch, &view));
  if (view.spec->num_ticks == 0) return;
  drover_mlp_options mlp;
  OK(drover_mlp_options_init(&mlp, sizeof mlp));
  OK(drover_mlp_options_fit_inner(&mlp, view.spec));
  mlp.num_hidden = 0;
  OK(drover_policy_create_mlp(out, batch_runtime, &mlp));
  OK(drover_batch_set_inner_policy(batch, *out));
}

static void open_batch(const drover_env_type *type) {
  drover_batch_options options;
  OK(drover_batch_options_init(&options, sizeof options));
  options.num_envs = 3;
  options.seed = 1;
  drover_batch *batch;
  if (drover_batch_create(&batch, batch_runtime, type, &options)) return; /* it needs an argument */
  subject *s = &batches[num_batches];
  *s = (subject){.handle = batch, .save = batch_save, .load = batch_load, .header_bytes = 120, .hash_at = 104};
  size_t size = 0;
  if (drover_batch_save(batch, NULL, &size)) {
    OK(drover_batch_destroy(batch));
    return;
  }
  give_inner_policy(batch, &ticking[num_batches]);
  drover_random random = drover_random_at(1, 0, DROVER_RANDOM_USER, 0);
  for (int i = 0; i < NUM_SEEDS; i++) {
    s->seeds[i] = saved(s);
    OK(step_batch(batch, &random, 2));
  }
  check_layout(s);
  num_batches++;
}

static void open_batches(void) {
  open_runtime(&batch_runtime);
  for (int32_t i = 0; i < drover_env_count() && num_batches < MOST_TYPES; i++) open_batch(drover_env_at(i));
}

static void attempt_batch(drover_random *random) {
  const subject *s = &batches[fuzz_below(random, (size_t)num_batches)];
  if (load_changed(s, random)) note(step_batch(s->handle, random, 2));
  load_good(s);
  OK(step_batch(s->handle, random, 1));
}

static void close_batches(void) {
  for (int i = 0; i < num_batches; i++) {
    free_seeds(&batches[i]);
    OK(drover_batch_destroy(batches[i].handle));
    OK(drover_policy_destroy(ticking[i]));
  }
  OK(drover_runtime_destroy(batch_runtime));
}

const fuzz_format fuzz_batch = {
    .name = "batch", .open = open_batches, .attempt = attempt_batch, .close = close_batches};
