/* torch_learner.c: Drover's learners for torch_gradients.py and torch_update.py, which compile this file against
 * libdrover.so and call it by ctypes: a rollout of an env that makes noise, and updates from it. One of each a process.
 */
#include <drover/drover.h>
#include <time.h>

#define EXPORT __attribute__((visibility("default")))

/* What the scripts say a learner is to be; the same struct is in torch_learner.py. */
typedef struct setup {
  int32_t num_workers, num_envs, num_steps;
  int32_t observation_size, num_outputs, is_discrete;
  int32_t num_hidden, width, activation, shared_values, normalize_observations;
  int32_t num_epochs, num_minibatches, normalize_advantages;
  double learning_rate, adam_beta1, adam_beta2, adam_epsilon;
  double clip_range, value_clip_range, value_coef, entropy_coef, max_grad_norm;
} setup;

EXPORT int learner_open(const setup *s);
EXPORT const char *learner_error(void);
EXPORT int learner_get_view(drover_rollout_view *view);
EXPORT int learner_save_weights(const char *path);
EXPORT int64_t learner_num_weights(void);
EXPORT int learner_get_weights(float *weights);
EXPORT int learner_set_weights(const float *weights);
EXPORT double learner_update(drover_ppo_stats *stats);
EXPORT int inner_open(const setup *s, int32_t sample_size, int64_t num_samples, const float *samples);
EXPORT double inner_update(drover_inner_stats *stats);

static setup sizes;
static drover_runtime *runtime;
static drover_policy *policy;
static drover_batch *batch;
static drover_rollout *rollout;
static drover_ppo *ppo;
static drover_inner *inner;

const char *learner_error(void) { return drover_last_error(); }

/* ---- An env of noise: episodes of about 50 steps, some of which the time limit ends ----------------------------- */

static int noise_open(const drover_env_args *args, drover_env_spec *spec, void **shared, char *message,
                      size_t message_size) {
  static float low[64], high[64];
  (void)args, (void)message, (void)message_size;
  *shared = NULL;
  for (int i = 0; i < 64; i++) low[i] = -1, high[i] = 1;
  spec->observation_size = sizes.observation_size;
  spec->action_kind = sizes.is_discrete ? DROVER_ACTION_DISCRETE : DROVER_ACTION_CONTINUOUS;
  spec->action_size = sizes.is_discrete ? 1 : sizes.num_outputs;
  spec->num_actions = sizes.is_discrete ? sizes.num_outputs : 0;
  spec->action_low = sizes.is_discrete ? NULL : low;
  spec->action_high = sizes.is_discrete ? NULL : high;
  spec->max_episode_steps = 60;
  spec->state_size = 16;
  return sizes.num_outputs > 64 ? -1 : 0;
}

static int noise_reset(void *shared, void *state, const drover_env_rows *rows) {
  (void)shared, (void)state;
  drover_random random = drover_env_random(rows, 0);
  for (int32_t i = 0; i < sizes.observation_size; i++)
    rows->observations[i] = (float)drover_random_range(&random, -2, 2);
  return 0;
}

static int noise_step(void *shared, void *state, const drover_env_rows *rows) {
  noise_reset(shared, state, rows);
  rows->rewards[0] = rows->observations[0] + 0.5f * rows->observations[1];
  rows->terminated[0] = rows->observations[0] > 1.95f;
  return 0;
}

static const drover_env_type noise = {.abi_version = DROVER_ENV_ABI_VERSION,
                                      .size = sizeof(drover_env_type),
                                      .name = "Noise",
                                      .summary = "random observations and rewards",
                                      .open = noise_open,
                                      .reset = noise_reset,
                                      .step = noise_step};

/* ---- Making everything ----------------------------------------------------------------------------------------- */

static drover_status open_runtime(const setup *s) {
  drover_runtime_options options;
  drover_status status = drover_runtime_options_init(&options, sizeof options);
  options.num_workers = s->num_workers;
  sizes = *s;
  return status ? status : drover_runtime_create(&runtime, &options);
}

static drover_status open_policy(drover_head head, int32_t has_values) {
  drover_mlp_options options;
  drover_status status = drover_mlp_options_init(&options, sizeof options);
  options.observation_size = sizes.observation_size;
  options.num_outputs = sizes.num_outputs;
  options.num_hidden = sizes.num_hidden;
  for (int32_t i = 0; i < sizes.num_hidden; i++) options.hidden[i] = sizes.width;
  options.activation = (drover_activation)sizes.activation;
  options.head = head;
  options.has_values = has_values;
  options.shared_values = sizes.shared_values;
  options.normalize_observations = sizes.normalize_observations;
  options.initial_log_std = -0.5f;
  options.seed = 1;
  return status ? status : drover_policy_create_mlp(&policy, runtime, &options);
}

static drover_status open_rollout(void) {
  drover_batch_options batch_options;
  drover_rollout_options rollout_options;
  drover_status status = drover_batch_options_init(&batch_options, sizeof batch_options);
  if (!status) status = drover_rollout_options_init(&rollout_options, sizeof rollout_options);
  if (status) return status;
  batch_options.num_envs = sizes.num_envs;
  rollout_options.num_steps = sizes.num_steps;
  status = drover_batch_create(&batch, runtime, &noise, &batch_options);
  if (!status) status = drover_rollout_create(&rollout, batch, policy, &rollout_options);
  return status ? status : drover_rollout_collect(rollout);
}

static drover_status open_ppo(void) {
  drover_ppo_options options;
  const drover_status status = drover_ppo_options_init(&options, sizeof options);
  options.learning_rate = sizes.learning_rate;
  options.adam_beta1 = sizes.adam_beta1;
  options.adam_beta2 = sizes.adam_beta2;
  options.adam_epsilon = sizes.adam_epsilon;
  options.num_epochs = sizes.num_epochs;
  options.num_minibatches = sizes.num_minibatches;
  options.normalize_advantages = sizes.normalize_advantages;
  options.clip_range = sizes.clip_range;
  options.value_clip_range = sizes.value_clip_range;
  options.value_coef = sizes.value_coef;
  options.entropy_coef = sizes.entropy_coef;
  options.max_grad_norm = sizes.max_grad_norm;
  return status ? status : drover_ppo_create(&ppo, policy, rollout, &options);
}

/* End what there is; the next open may be of another kind. */
static void close_all(void) {
  drover_ppo_destroy(ppo);
  drover_inner_destroy(inner);
  drover_rollout_destroy(rollout);
  drover_batch_destroy(batch);
  drover_policy_destroy(policy);
  drover_runtime_destroy(runtime);
  ppo = NULL;
  inner = NULL;
  rollout = NULL;
  batch = NULL;
  policy = NULL;
  runtime = NULL;
}

int learner_open(const setup *s) {
  close_all();
  drover_status status = open_runtime(s);
  if (!status) status = open_policy(s->is_discrete ? DROVER_HEAD_CATEGORICAL : DROVER_HEAD_GAUSSIAN, 1);
  if (!status) status = open_rollout();
  if (!status) status = open_ppo();
  return status;
}

int inner_open(const setup *s, int32_t sample_size, int64_t num_samples, const float *samples) {
  close_all();
  drover_inner_options options;
  drover_status status = drover_inner_options_init(&options, sizeof options);
  if (!status) status = open_runtime(s);
  if (!status) status = open_policy(DROVER_HEAD_UNIT, 0);
  if (status) return status;
  options.sample_size = sample_size;
  options.minibatch = (int32_t)num_samples;
  options.learning_rate = s->learning_rate;
  options.adam_beta1 = s->adam_beta1;
  options.adam_beta2 = s->adam_beta2;
  options.adam_epsilon = s->adam_epsilon;
  options.grad_limit = 0;
  status = drover_inner_create(&inner, policy, &options);
  return status ? status : drover_inner_add(inner, num_samples, samples);
}

/* ---- Using it -------------------------------------------------------------------------------------------------- */

int learner_get_view(drover_rollout_view *view) {
  *view = (drover_rollout_view){.size = sizeof *view};
  return drover_rollout_get_view(rollout, view);
}

int learner_save_weights(const char *path) { return drover_policy_save(policy, path); }

int64_t learner_num_weights(void) {
  size_t count = 0;
  return drover_policy_num_weights(policy, &count) ? -1 : (int64_t)count;
}

int learner_get_weights(float *weights) {
  return drover_policy_get_weights(policy, weights, (size_t)learner_num_weights());
}

int learner_set_weights(const float *weights) {
  return drover_policy_set_weights(policy, weights, (size_t)learner_num_weights());
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Seconds that the update took; negative if it failed. */
double learner_update(drover_ppo_stats *stats) {
  *stats = (drover_ppo_stats){.size = sizeof *stats};
  const double begin = now();
  const drover_status status = drover_ppo_update(ppo, rollout, stats);
  return status ? -1 : now() - begin;
}

double inner_update(drover_inner_stats *stats) {
  *stats = (drover_inner_stats){.size = sizeof *stats};
  const double begin = now();
  const drover_status status = drover_inner_update(inner, 1, stats);
  return status ? -1 : now() - begin;
}
