/* point_mass.c: an env type of one's own, whole: a puck on a frozen square pond that is pushed towards the middle.
 *
 * Copy this file, change the four numbered parts, and build a shared object from it alone:
 *   cc -std=c11 -O2 -ffp-contract=off -shared -fPIC -I PREFIX/include point_mass.c -o point_mass.so -lm
 *   drover rollout --env ./point_mass.so --env-arg mass=0.5 */
#include <drover/env.h>

/* 1. What one env is: its state, and what all envs of a batch share (made in open, only read afterwards). */
typedef struct puck {
  double x[2], v[2]; /* position in m, velocity in m/s */
} puck;
typedef struct pond {
  double mass; /* kg */
} pond;
static const float low[2] = {-1, -1}, high[2] = {1, 1}; /* the action: a force in N along each axis */
static const double dt = 0.05;                          /* seconds a step */

static void puck_observe(const puck *p, float *observation) {
  for (int i = 0; i < 2; i++) observation[i] = (float)p->x[i], observation[2 + i] = (float)p->v[i];
}

/* 2. The task: what the user may choose, and what a policy sees and does. */
static const drover_env_arg_info arg_infos[] = {{"mass", "1", "mass of the puck in kg"}, {NULL, NULL, NULL}};

static int pond_open(const drover_env_args *args, drover_env_spec *spec, void **shared, char *message, size_t size) {
  double mass;
  if (drover_env_arg_number(args, "mass", 1, 0.1, 10, &mass, message, size)) return -1;
  pond *const world = malloc(sizeof *world);
  if (!world) {
    snprintf(message, size, "no memory for the pond");
    return -1;
  }
  world->mass = mass;
  *shared = world;
  spec->observation_size = 4;
  spec->action_kind = DROVER_ACTION_CONTINUOUS;
  spec->action_size = 2;
  spec->action_low = low;
  spec->action_high = high;
  spec->max_episode_steps = 200; /* enforced by the runtime, as `truncated` */
  spec->state_size = sizeof(puck);
  return 0;
}

/* 3. An episode begins: anywhere in the middle, at rest. All chance comes from this stream. */
static int puck_reset(void *shared, void *state, const drover_env_rows *rows) {
  (void)shared;
  puck *const p = state;
  drover_random random = drover_env_random(rows, 0);
  for (int i = 0; i < 2; i++) p->x[i] = drover_random_range(&random, -1, 1), p->v[i] = 0;
  puck_observe(p, rows->observations);
  return 0;
}

/* 4. A step: m a = F (semi-implicit Euler). The episode ends where the ice does, 2 m from the middle. A force that is
 * no number is a fault of this env alone: the runtime notes it, with the words below, and resets the env. */
static int puck_step(void *shared, void *state, const drover_env_rows *rows) {
  const pond *const world = shared;
  const float *const force = rows->actions; /* out of range is treated as the nearest in range */
  puck *const p = state;
  double distance2 = 0;
  if (!isfinite(force[0]) || !isfinite(force[1])) return -1;
  for (int i = 0; i < 2; i++) {
    p->v[i] += dt * fmin(fmax((double)force[i], -1), 1) / world->mass;
    p->x[i] += dt * p->v[i];
    distance2 += p->x[i] * p->x[i];
  }
  rows->rewards[0] = (float)-distance2;
  rows->terminated[0] = fabs(p->x[0]) > 2 || fabs(p->x[1]) > 2;
  puck_observe(p, rows->observations);
  return 0;
}

static void puck_explain(void *shared, const void *state, char *message, size_t size) {
  (void)shared;
  const puck *const p = state;
  snprintf(message, size, "pushed by a force that is no number at x = %.3f, y = %.3f", p->x[0], p->x[1]);
}

static const drover_env_type type = {.abi_version = DROVER_ENV_ABI_VERSION,
                                     .size = sizeof(drover_env_type),
                                     .name = "PointMass-v0",
                                     .summary = "push a puck to the middle of a frozen pond",
                                     .arg_infos = arg_infos,
                                     .open = pond_open,
                                     .close = free,
                                     .reset = puck_reset,
                                     .step = puck_step,
                                     .explain = puck_explain};

DROVER_API const drover_env_type *drover_env_plugin(void);
const drover_env_type *drover_env_plugin(void) { return &type; }
