/* spin.c: Spin-v0, an env whose steps cost what they are told, for measuring what happens around them.
 *
 * Two actions; the observation shows bits of a hidden 64-bit word, the sign of its first number being the action that
 * is rewarded with 1. The word follows from the reset stream and the actions alone, so that trajectories do not depend
 * on how fast the machine is. Episodes never terminate.
 *
 * The cost of a step is drawn from the env's own stream: constant, or min(s X, cap) * cost with X lognormal or Pareto
 * of mean 1 (Pareto: x_m = (alpha - 1) / alpha) and s such that the mean after capping is exactly `cost`. With the
 * defaults s is 1.015; without it the mean of the capped Pareto would be 1.4 % short.
 *
 * Beside the loop a step takes 10 ns, with lognormal and Pareto costs 40 to 50 ns more for drawing them. */
#include "env/synthetic/spin.h"
#include "env/registry.h"

typedef struct {
  dr_spin_dist dist;
  double shape;             /* sigma or alpha */
  double scale;             /* iterations: the s above, times those of the mean */
  double most;              /* iterations: the cap */
  uint64_t step_iterations; /* of every step if constant */
  uint64_t reset_iterations;
  int32_t observation_size;
} spin_config;

static const drover_env_arg_info arg_infos[] = {
    {"cost", "20us", "mean time of a step: a number with ns, us, ms or s"},
    {"dist", "constant", "of the cost: constant, lognormal or pareto"},
    {"alpha", "1.6", "pareto: the shape, above 1; smaller has a heavier tail"},
    {"sigma", "1", "lognormal: the standard deviation of the logarithm"},
    {"cap", "200", "the largest cost, as a multiple of the mean, above 1"},
    {"reset_cost", "0", "time of a reset: a number with ns, us, ms or s"},
    {"observation_size", "8", "numbers in an observation"},
    {"max_episode_steps", "1000", "time limit in steps, 0 for none"},
    {NULL, NULL, NULL},
};

/* Mean of min(scale X, cap): E = P(scale X > cap) cap + the integral of the density times x below. */
double dr_spin_capped_mean(dr_spin_dist dist, double shape, double scale, double cap) {
  if (dist == DR_SPIN_PARETO) {
    const double least = scale * (shape - 1) / shape;
    return least < cap ? scale - pow(least / cap, shape) * cap / (shape - 1) : cap;
  }
  if (dist == DR_SPIN_LOGNORMAL && shape > 0) {
    const double above_median = (log(cap / scale) + shape * shape / 2) / shape; /* of the cap, in sigmas */
    return scale * 0.5 * erfc((shape - above_median) / M_SQRT2) + cap * 0.5 * erfc(above_median / M_SQRT2);
  }
  return fmin(scale, cap);
}

/* The scale at which the capped mean is 1, by bisection: it grows from at most 1 to cap > 1. */
static double unit_mean_scale(dr_spin_dist dist, double shape, double cap) {
  double low = 1, high = 2;
  while (dr_spin_capped_mean(dist, shape, high, cap) < 1 && high < 1e300) high *= 2;
  for (int i = 0; i < 200; i++) {
    const double middle = 0.5 * (low + high);
    *(dr_spin_capped_mean(dist, shape, middle, cap) < 1 ? &low : &high) = middle;
  }
  return high;
}

/* A time with its unit, into microseconds. Plain 0 needs none. */
static int parse_time(const drover_env_args *args, const char *key, const char *fallback, double *us, char *message,
                      size_t message_size) {
  static const struct {
    const char *name;
    double us;
  } units[] = {{"ns", 1e-3}, {"us", 1}, {"ms", 1e3}, {"s", 1e6}};
  const char *text = drover_env_arg_string(args, key, fallback);
  char *end = NULL;
  const double number = strtod(text, &end);
  double unit = number == 0 && end != text && *end == '\0' ? 1 : 0;
  for (size_t i = 0; i < sizeof units / sizeof *units; i++)
    if (end != text && strcmp(end, units[i].name) == 0) unit = units[i].us;
  *us = number * unit;
  if (unit > 0 && *us >= 0 && *us <= 1e7) return 0;
  snprintf(message, message_size, "%s must be a time in 0..10s such as 500ns, 20us or 1.5ms, got '%s'", key, text);
  return -1;
}

static int parse_int(const drover_env_args *args, const char *key, double fallback, double low, double high,
                     int32_t *out, char *message, size_t message_size) {
  double number;
  if (drover_env_arg_number(args, key, fallback, low, high, &number, message, message_size)) return -1;
  *out = (int32_t)number;
  if (*out == number) return 0;
  snprintf(message, message_size, "%s must be a whole number, got %g", key, number);
  return -1;
}

static int parse_dist(const drover_env_args *args, dr_spin_dist *out, char *message, size_t message_size) {
  static const char *const names[] = {"constant", "lognormal", "pareto"};
  const char *text = drover_env_arg_string(args, "dist", "constant");
  for (int i = 0; i < 3; i++)
    if (strcmp(text, names[i]) == 0) {
      *out = (dr_spin_dist)i;
      return 0;
    }
  snprintf(message, message_size, "dist must be constant, lognormal or pareto, got '%s'", text);
  return -1;
}

static int spin_open(const drover_env_args *args, drover_env_spec *spec, void **shared, char *message,
                     size_t message_size) {
  spin_config config = {0};
  double cost_us, reset_us, alpha, sigma, cap;
  if (parse_time(args, "cost", "20us", &cost_us, message, message_size) ||
      parse_time(args, "reset_cost", "0", &reset_us, message, message_size) ||
      parse_dist(args, &config.dist, message, message_size) ||
      drover_env_arg_number(args, "alpha", 1.6, 1.001, 1000, &alpha, message, message_size) ||
      drover_env_arg_number(args, "sigma", 1, 0, 10, &sigma, message, message_size) ||
      drover_env_arg_number(args, "cap", 200, 1.001, 1e6, &cap, message, message_size) ||
      parse_int(args, "observation_size", 8, 1, 1 << 20, &config.observation_size, message, message_size) ||
      parse_int(args, "max_episode_steps", 1000, 0, INT32_MAX, &spec->max_episode_steps, message, message_size))
    return -1;

  const double mean = cost_us * dr_spin_rate();
  config.shape = config.dist == DR_SPIN_PARETO ? alpha : sigma;
  config.scale = mean * unit_mean_scale(config.dist, config.shape, cap);
  config.most = mean * cap;
  config.step_iterations = (uint64_t)llround(mean);
  config.reset_iterations = (uint64_t)llround(reset_us * dr_spin_rate());

  spin_config *kept = (spin_config *)malloc(sizeof *kept);
  if (!kept) {
    snprintf(message, message_size, "no memory for the configuration");
    return -1;
  }
  *kept = config;
  *shared = kept;
  spec->observation_size = config.observation_size;
  spec->action_kind = DROVER_ACTION_DISCRETE;
  spec->action_size = 1;
  spec->num_actions = 2;
  spec->state_size = sizeof(uint64_t);
  spec->state_align = sizeof(uint64_t);
  spec->save_size = sizeof(uint64_t);
  return 0;
}

static void spin_close(void *shared) { free(shared); }

uint64_t dr_spin_draw(const void *shared, const drover_env_rows *rows, int32_t row) {
  const spin_config *config = (const spin_config *)shared;
  if (config->dist == DR_SPIN_CONSTANT) return config->step_iterations;

  drover_random random = drover_env_random(rows, row);
  const double u = 1.0 - drover_random_uniform(&random); /* in (0, 1] */
  double x;
  if (config->dist == DR_SPIN_PARETO) {
    x = (config->shape - 1) / config->shape * pow(u, -1 / config->shape);
  } else { /* G. E. P. Box and M. E. Muller, "A note on the generation of random normal deviates", 1958 */
    const double z = sqrt(-2 * log(u)) * cos(2 * M_PI * drover_random_uniform(&random));
    x = exp(config->shape * (z - config->shape / 2));
  }
  return (uint64_t)(fmin(config->scale * x, config->most) + 0.5);
}

/* Number j is the top half of (word + j g) c, as a fraction of 2^31: odd multipliers keep distinct words distinct. */
static void observe(uint64_t word, int32_t size, float *observation) {
  for (int32_t j = 0; j < size; j++) {
    const uint64_t mixed = (word + (uint64_t)j * 0x9E3779B97F4A7C15u) * 0xD1342543DE82EF95u;
    observation[j] = (float)(int32_t)(uint32_t)(mixed >> 32) * 0x1p-31f;
  }
}

static int spin_reset(void *shared, void *state, const drover_env_rows *rows) {
  const spin_config *config = (const spin_config *)shared;
  drover_random random = drover_env_random(rows, 0);
  const uint64_t word = drover_random_u64(&random);
  *(uint64_t *)state = word;
  observe(word, config->observation_size, rows->observations);
  dr_spin(config->reset_iterations);
  return 0;
}

static int spin_step(void *shared, void *state, const drover_env_rows *rows) {
  const spin_config *config = (const spin_config *)shared;
  uint64_t *word = (uint64_t *)state;
  const uint32_t action = *(const uint32_t *)rows->actions;
  if (action > 1) return -1;
  dr_spin(dr_spin_draw(shared, rows, 0));

  float first;
  observe(*word, 1, &first);
  rows->rewards[0] = (first >= 0) == (action == 1);
  *word = (*word ^ action) * 6364136223846793005u + 1442695040888963407u;
  observe(*word, config->observation_size, rows->observations);
  return 0;
}

static int spin_save(void *shared, const void *state, void *bytes) {
  (void)shared;
  memcpy(bytes, state, sizeof(uint64_t));
  return 0;
}

static int spin_load(void *shared, void *state, const void *bytes) {
  (void)shared;
  memcpy(state, bytes, sizeof(uint64_t));
  return 0;
}

const drover_env_type dr_env_spin = {
    .abi_version = DROVER_ENV_ABI_VERSION,
    .size = sizeof(drover_env_type),
    .name = "Spin-v0",
    .summary = "costs what it is told: constant, lognormal or Pareto step times, for measuring",
    .arg_infos = arg_infos,
    .open = spin_open,
    .close = spin_close,
    .reset = spin_reset,
    .step = spin_step,
    .save = spin_save,
    .load = spin_load,
};
