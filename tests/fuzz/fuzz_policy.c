/* fuzz_policy.c: policies in safetensors files. One that is taken must act in a batch and survive being saved. */
#include <drover/drover.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "tests/support/check.h"

enum { NUM_SEEDS = 7, NUM_ENVS = 5, NUM_STEPS = 3, WIDEST = 64 };

static fuzz_bytes seeds[NUM_SEEDS];
static drover_runtime *runtime;

/* ---- An env of any sizes ------------------------------------------------------------------------------------- */

static drover_policy_spec wanted; /* what the present policy asks for */
static float lows[WIDEST], highs[WIDEST];

static int any_open(const drover_env_args *args, drover_env_spec *spec, void **shared, char *message, size_t size) {
  (void)args, (void)shared, (void)message, (void)size;
  spec->observation_size = wanted.observation_size;
  spec->action_kind = wanted.action_kind;
  spec->action_size = wanted.action_size;
  spec->num_actions = wanted.num_actions;
  spec->action_low = lows;
  spec->action_high = highs;
  return 0;
}

static void observe(const drover_env_rows *rows) {
  drover_random random = drover_env_random(rows, 0);
  for (int32_t i = 0; i < wanted.observation_size; i++)
    rows->observations[i] = (float)drover_random_range(&random, -3, 3);
}

static int any_reset(void *shared, void *state, const drover_env_rows *rows) {
  (void)shared, (void)state;
  observe(rows);
  return 0;
}

/* What the runtime hands over is a legal action, whatever the network is. */
static int any_step(void *shared, void *state, const drover_env_rows *rows) {
  (void)shared, (void)state;
  for (int32_t i = 0; i < wanted.action_size; i++) {
    if (wanted.action_kind == DROVER_ACTION_DISCRETE) {
      const int32_t action = ((const int32_t *)rows->actions)[i];
      FUZZ_EXPECT(action >= 0 && action < wanted.num_actions, "the env got action %d of %d", (int)action,
                  (int)wanted.num_actions);
    }
  }
  observe(rows);
  rows->rewards[0] = 1;
  return 0;
}

static const drover_env_type any_env = {.abi_version = DROVER_ENV_ABI_VERSION,
                                        .size = sizeof any_env,
                                        .name = "any",
                                        .open = any_open,
                                        .reset = any_reset,
                                        .step = any_step};

/* ---- What a policy that was taken does ----------------------------------------------------------------------- */

static void check_numbers(const drover_rollout_view *v) {
  const size_t rows = (size_t)v->num_steps_done * (size_t)v->num_envs;
  for (size_t i = 0; i < rows; i++) {
    bool finite = isfinite(v->logprobs[i]) && (!v->values || isfinite(v->values[i]));
    for (int32_t a = 0; a < v->action_size && v->action_kind == DROVER_ACTION_CONTINUOUS; a++)
      finite = finite && isfinite(((const float *)v->actions)[i * (size_t)v->action_size + (size_t)a]);
    if (finite) continue;
    fuzz_fail("a rollout that succeeded has numbers that are not finite: logprob %g, value %g", (double)v->logprobs[i],
              v->values ? (double)v->values[i] : 0.0);
    return;
  }
}

static float largest_weight(drover_policy *policy) {
  size_t count = 0;
  OK(drover_policy_num_weights(policy, &count));
  float *weights = malloc(count * sizeof *weights), largest = 0;
  OK(drover_policy_get_weights(policy, weights, count));
  for (size_t i = 0; i < count; i++) largest = fmaxf(largest, fabsf(weights[i]));
  free(weights);
  return largest;
}

static void act(drover_policy *policy) {
  OK(drover_policy_get_spec(policy, &wanted));
  if (wanted.observation_size > WIDEST || wanted.action_size > WIDEST) return;
  drover_batch_options batch_options;
  OK(drover_batch_options_init(&batch_options, sizeof batch_options));
  batch_options.num_envs = NUM_ENVS;
  drover_rollout_options rollout_options;
  OK(drover_rollout_options_init(&rollout_options, sizeof rollout_options));
  rollout_options.num_steps = NUM_STEPS;
  drover_batch *batch;
  drover_rollout *rollout;
  OK(drover_batch_create(&batch, runtime, &any_env, &batch_options));
  OK(drover_rollout_create(&rollout, batch, policy, &rollout_options));
  const drover_status status = drover_rollout_collect(rollout);
  drover_rollout_view view = {.size = sizeof view};
  OK(drover_rollout_get_view(rollout, &view));
  if (status)
    fuzz_refused(status, drover_last_error());
  else if (largest_weight(policy) < 1e6f) /* products of larger ones may overflow: the learner calls it diverged */
    check_numbers(&view);
  OK(drover_rollout_destroy(rollout));
  OK(drover_batch_destroy(batch));
}

/* Saved and loaded again it is the same network. */
static void save_again(drover_policy *policy) {
  OK(drover_policy_save(policy, fuzz_path));
  drover_policy *again;
  OK(drover_policy_load(&again, runtime, fuzz_path));
  size_t count = 0, count_again = 0;
  OK(drover_policy_num_weights(policy, &count));
  OK(drover_policy_num_weights(again, &count_again));
  FUZZ_EXPECT(count == count_again, "%zu weights were saved, %zu read", count, count_again);
  float *weights = malloc(2 * count * sizeof *weights);
  if (weights && count == count_again) {
    OK(drover_policy_get_weights(policy, weights, count));
    OK(drover_policy_get_weights(again, weights + count, count));
    FUZZ_EXPECT(memcmp(weights, weights + count, count * sizeof *weights) == 0, "saved weights are read as others");
  }
  free(weights);
  OK(drover_policy_destroy(again));
}

/* ---- Inputs -------------------------------------------------------------------------------------------------- */

static const char *const words[] = {"F32",
                                    "F64",
                                    "F16",
                                    "I8",
                                    "U8",
                                    "dtype",
                                    "shape",
                                    "weight",
                                    "bias",
                                    "layers",
                                    "value",
                                    "log_std",
                                    "head",
                                    "unit",
                                    "tanh",
                                    "relu",
                                    "leaky_slope",
                                    "format",
                                    "categorical",
                                    "0",
                                    "1",
                                    "gaussian",
                                    "data_offsets",
                                    "__metadata__",
                                    "shared_values",
                                    "observation.mean",
                                    "\\u0000",
                                    "\\n",
                                    "\xff\xfe",
                                    "[[[[[[[[[[[[",
                                    NULL};

/* Header and data apart, with a length that fits again: what gets beyond the first check. */
static fuzz_bytes change_parts(const fuzz_bytes *seed, drover_random *random) {
  uint64_t length;
  memcpy(&length, seed->data, 8);
  fuzz_bytes header = fuzz_copy(seed->data + 8, (size_t)length);
  fuzz_bytes data = fuzz_copy(seed->data + 8 + length, seed->size - 8 - (size_t)length);
  if (fuzz_below(random, 3) > 0) fuzz_change_text(&header, words, random);
  if (fuzz_below(random, 3) == 0) fuzz_change_bytes(&data, NULL, random);
  length = header.size;
  fuzz_bytes file = fuzz_copy(&length, sizeof length);
  fuzz_append(&file, &header);
  fuzz_append(&file, &data);
  fuzz_free(&header);
  fuzz_free(&data);
  return file;
}

static void attempt(drover_random *random) {
  const fuzz_bytes *seed = &seeds[fuzz_below(random, NUM_SEEDS)], *other = &seeds[fuzz_below(random, NUM_SEEDS)];
  fuzz_bytes input;
  if (fuzz_below(random, 4) > 0) {
    input = change_parts(seed, random);
  } else {
    input = fuzz_copy(seed->data, seed->size);
    fuzz_change_bytes(&input, other, random);
  }
  fuzz_input(&input);
  fuzz_write(fuzz_path, &input);
  fuzz_free(&input);
  drover_policy *policy = NULL;
  const drover_status status = drover_policy_load(&policy, runtime, fuzz_path);
  FUZZ_EXPECT(!status == !!policy, "%s, and the handle is %s", drover_status_name(status), policy ? "set" : "NULL");
  if (status) {
    fuzz_refused(status, drover_last_error());
    return;
  }
  fuzz_accepted();
  act(policy);
  save_again(policy);
  OK(drover_policy_destroy(policy));
}

static void open_seeds(void) {
  drover_runtime_options runtime_options;
  OK(drover_runtime_options_init(&runtime_options, sizeof runtime_options));
  runtime_options.num_workers = 1;
  OK(drover_runtime_create(&runtime, &runtime_options));
  for (int i = 0; i < WIDEST; i++) {
    lows[i] = -1;
    highs[i] = 1;
  }
  for (int i = 0; i < NUM_SEEDS; i++) {
    drover_mlp_options options;
    OK(drover_mlp_options_init(&options, sizeof options));
    options.observation_size = 3 + i % 2;
    options.num_outputs = 2;
    options.num_hidden = i % 3;
    options.hidden[0] = 5;
    options.hidden[1] = 4;
    options.head = (drover_head)(i % 3);
    options.activation = (drover_activation)(i % 5);
    options.has_values = options.head != DROVER_HEAD_UNIT;
    options.shared_values = options.has_values && i > 3;
    options.normalize_observations = i % 2;
    options.seed = (uint64_t)i;
    drover_policy *policy;
    OK(drover_policy_create_mlp(&policy, runtime, &options));
    OK(drover_policy_save(policy, fuzz_path));
    OK(drover_policy_destroy(policy));
    seeds[i] = fuzz_read(fuzz_path);
  }
}

static void close_seeds(void) {
  for (int i = 0; i < NUM_SEEDS; i++) fuzz_free(&seeds[i]);
  OK(drover_runtime_destroy(runtime));
}

const fuzz_format fuzz_policy = {.name = "policy", .open = open_seeds, .attempt = attempt, .close = close_seeds};
