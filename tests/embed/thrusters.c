/* thrusters.c: an env type of one's own with two levels: a puck in the air with four thrusters. A slow policy says
 * where to be; inside each step a fast one opens and closes the thrusters, 8 times a step, for many pucks at once.
 *
 *   cc -std=c11 -O2 -ffp-contract=off -shared -fPIC -I PREFIX/include thrusters.c -o thrusters.so -lm
 *   drover rollout --env ./thrusters.so --inner-policy mlp:32,32 */
#include <drover/env.h>

enum { NUM_TICKS = 8, INNER_OBSERVATION = 4, INNER_ACTION = 4, SAMPLE = INNER_OBSERVATION + 2 };

typedef struct puck {
  double x[2], v[2]; /* position in m, velocity in m/s */
  double effort;     /* of the step in progress: sum of squared openings */
} puck;
static const float low[2] = {-1, -1}, high[2] = {1, 1}; /* the outer action: the wanted position in m */
static const double dt = 0.0125;                        /* seconds a tick: 80 Hz under 10 Hz */

static int open_air(const drover_env_args *args, drover_env_spec *spec, void **shared, char *message, size_t size) {
  (void)args, (void)message, (void)size;
  *shared = NULL;
  spec->observation_size = 4;
  spec->action_kind = DROVER_ACTION_CONTINUOUS;
  spec->action_size = 2;
  spec->action_low = low;
  spec->action_high = high;
  spec->max_episode_steps = 100;
  spec->state_size = sizeof(puck);
  spec->save_size = sizeof(puck);
  spec->num_ticks = NUM_TICKS;
  spec->inner_observation_size = INNER_OBSERVATION; /* how far it is to the wanted position, and the velocity */
  spec->inner_action_size = INNER_ACTION;           /* openings of the thrusters to +x, -x, +y, -y, each in 0..1 */
  spec->inner_sample_size = SAMPLE;                 /* the inner observation, and the force one would wish for */
  return 0;
}

static void observe(const puck *p, float *observation) {
  for (int i = 0; i < 2; i++) observation[i] = (float)p->x[i], observation[2 + i] = (float)p->v[i];
}

static int reset(void *shared, void *state, const drover_env_rows *rows) {
  (void)shared;
  puck *const p = state;
  drover_random random = drover_env_random(rows, 0);
  for (int i = 0; i < 2; i++) p->x[i] = drover_random_range(&random, -1, 1), p->v[i] = 0;
  observe(p, rows->observations);
  return 0;
}

/* A critically damped spring of 2 rad/s, for 1 kg. */
static void put_sample(const float *inner_observation, float *sample) {
  memcpy(sample, inner_observation, INNER_OBSERVATION * sizeof *sample);
  for (int i = 0; i < 2; i++) sample[4 + i] = 4 * inner_observation[i] - 4 * inner_observation[2 + i];
}

/* What the inner policy sees next, and the sample if this tick is the one that is kept. */
static void look_inside(const puck *p, const drover_env_tick *tick) {
  const float *const wanted = tick->action;
  if (!tick->inner_observation) return; /* after the last tick */
  for (int i = 0; i < 2; i++) {
    const double target = fmin(fmax((double)wanted[i], -1), 1);
    tick->inner_observation[i] = (float)(target - p->x[i]);
    tick->inner_observation[2 + i] = (float)p->v[i];
  }
  if (tick->sample) put_sample(tick->inner_observation, tick->sample);
}

static int begin(void *shared, void *state, const drover_env_tick *tick) {
  (void)shared;
  puck *const p = state;
  p->effort = 0;
  look_inside(p, tick);
  return 0;
}

/* m a = F with m = 1 kg and 4 N a thruster (semi-implicit Euler), and a little turbulence. */
static int tick_once(void *shared, void *state, const drover_env_tick *tick) {
  (void)shared;
  puck *const p = state;
  const float *const opening = tick->inner_action;
  drover_random random = drover_env_tick_random(tick);
  for (int i = 0; i < 2; i++) {
    const double plus = fmin(fmax((double)opening[2 * i], 0), 1), minus = fmin(fmax((double)opening[2 * i + 1], 0), 1);
    p->v[i] += dt * (4 * (plus - minus) + drover_random_range(&random, -0.1, 0.1));
    p->x[i] += dt * p->v[i];
    p->effort += plus * plus + minus * minus;
  }
  look_inside(p, tick);
  return 0;
}

/* After the ticks: what came of them. */
static int step(void *shared, void *state, const drover_env_rows *rows) {
  (void)shared;
  const puck *const p = state;
  rows->rewards[0] = (float)(-p->x[0] * p->x[0] - p->x[1] * p->x[1] - 0.01 * p->effort / NUM_TICKS);
  rows->terminated[0] = fabs(p->x[0]) > 3 || fabs(p->x[1]) > 3;
  observe(p, rows->observations);
  return 0;
}

/* For pretraining: anywhere within reach, at any speed. */
static int draw_sample(void *shared, void *state, drover_random *random, float *sample) {
  (void)shared, (void)state;
  float inner_observation[INNER_OBSERVATION];
  for (int i = 0; i < INNER_OBSERVATION; i++) inner_observation[i] = (float)drover_random_range(random, -2, 2);
  put_sample(inner_observation, sample);
  return 0;
}

static int save(void *shared, const void *state, void *bytes) {
  (void)shared;
  memcpy(bytes, state, sizeof(puck));
  return 0;
}

static int load(void *shared, void *state, const void *bytes) {
  (void)shared;
  memcpy(state, bytes, sizeof(puck));
  return 0;
}

static const drover_env_type type = {
    .abi_version = DROVER_ENV_ABI_VERSION,
    .size = sizeof(drover_env_type),
    .name = "Thrusters-v0",
    .summary = "hover at the middle by four thrusters (inner policy: offset to openings)",
    .open = open_air,
    .reset = reset,
    .step = step,
    .save = save,
    .load = load,
    .begin = begin,
    .tick = tick_once,
    .draw_sample = draw_sample};

DROVER_API const drover_env_type *drover_env_plugin(void);
const drover_env_type *drover_env_plugin(void) { return &type; }
