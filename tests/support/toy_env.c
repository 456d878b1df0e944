/* toy_env.c: the dynamics, troubles and counters of toy envs. */
#include "tests/support/toy_env.h"

#include <unistd.h>

typedef struct toy_state {
  double x;
  float tiny; /* decays into the denormals */
  float gain, bias;
  int32_t t;         /* steps of this episode */
  double y;          /* what the ticks of a step move; the step adds it to x */
  int32_t next_tick; /* -1: `begin` or, without an inner loop, `step` comes next */
  _Atomic int32_t busy;
  char *memory; /* from create: a leak or a double destroy shows under AddressSanitizer */
} toy_state;

/* What save writes: no padding, no pointer. */
typedef struct toy_saved {
  double x;
  float tiny, gain, bias;
  int32_t t;
} toy_saved;

static const char *const info_names[] = {"draw", "twice_reward", "time", "push"};
static const char *const param_names[] = {"gain", "bias"};
static const drover_env_arg_info arg_infos[] = {
    {"length", "0", "steps an episode, 0 = random"}, {"x", "0", "anything"}, {NULL, NULL, NULL}};

static _Thread_local toy_config *opening; /* what toy_batch_create gives to open */

double toy_work(int32_t n) {
  volatile double sum = 1;
  for (int32_t i = 0; i < n; i++) sum = sum * 0.999999 + 1e-9;
  return sum;
}

void toy_gate_wait_for(const toy_gate *gate, int32_t num_arrived) {
  while (atomic_load(&gate->num_arrived) < num_arrived) usleep(200);
}

void toy_gate_open(toy_gate *gate) { atomic_store(&gate->open, 1); }

bool toy_has_trouble(const toy_config *c, toy_trouble_kind kind, int32_t env, uint64_t at) {
  for (int32_t i = 0; i < c->num_troubles; i++)
    if (c->troubles[i].kind == kind && c->troubles[i].env == env && c->troubles[i].at == at) return true;
  return false;
}

/* ---- Open, close, create, destroy ---------------------------------------------------------------------------- */

static int toy_open(const drover_env_args *args, drover_env_spec *spec, void **shared, char *message,
                    size_t message_size) {
  toy_config *c = opening;
  atomic_fetch_add(&c->num_opens, 1);
  if (c->fails_to_open) {
    snprintf(message, message_size, "toy: cannot be opened today");
    return 1;
  }
  double length;
  if (drover_env_arg_number(args, "length", c->length, 0, 1e6, &length, message, message_size)) return 1;
  c->length = (int32_t)length;
  spec->observation_size = c->observation_size;
  spec->action_kind = c->action_kind;
  spec->action_size = c->action_size;
  spec->num_actions = c->num_actions;
  spec->action_low = c->action_low;
  spec->action_high = c->action_high;
  spec->max_episode_steps = c->time_limit;
  spec->state_size = sizeof(toy_state);
  spec->state_align = 8;
  spec->lanes = c->lanes;
  spec->num_infos = c->num_infos;
  spec->info_names = info_names;
  spec->num_params = 2;
  spec->param_names = param_names;
  spec->save_size = c->saves ? sizeof(toy_saved) : 0;
  spec->num_ticks = c->num_ticks;
  spec->inner_observation_size = c->inner_observation_size;
  spec->inner_action_size = c->inner_action_size;
  spec->inner_sample_size = c->inner_sample_size;
  *shared = c;
  return 0;
}

static void toy_close(void *shared) { atomic_fetch_add(&((toy_config *)shared)->num_closes, 1); }

static int toy_create(void *shared, void *state, int32_t env) {
  toy_config *c = shared;
  toy_state *s = state;
  if (toy_has_trouble(c, TOY_FAIL_CREATE, env, 0)) return 1;
  s->memory = malloc(16);
  if (!s->memory) return 1;
  s->gain = 1;
  atomic_fetch_add(&c->num_creates, 1);
  return 0;
}

static void toy_destroy(void *shared, void *state) {
  free(((toy_state *)state)->memory);
  atomic_fetch_add(&((toy_config *)shared)->num_destroys, 1);
}

void toy_open_directly(toy_config *config, drover_env_spec *spec, void **shared) {
  const drover_env_args none = {0};
  char message[256];
  memset(spec, 0, sizeof *spec);
  spec->size = sizeof *spec;
  opening = config;
  if (config->type.open(&none, spec, shared, message, sizeof message) != 0) abort();
  opening = NULL;
}

/* ---- Reset and step ------------------------------------------------------------------------------------------ */

static void enter(toy_config *c, toy_state *s) {
  if (atomic_exchange(&s->busy, 1) != 0) atomic_fetch_add(&c->num_overlaps, 1);
}

static void leave(toy_state *s) { atomic_store(&s->busy, 0); }

static void write_observation(const toy_config *c, const toy_state *s, float *observation) {
  for (int32_t k = 0; k < c->observation_size; k++)
    observation[k] = k == 0   ? (float)s->x
                     : k == 1 ? (float)s->t
                     : k == 2 ? s->tiny * 0x1p100f
                              : (float)(s->x / (k + 1));
}

static int toy_reset(void *shared, void *state, const drover_env_rows *rows) {
  toy_config *c = shared;
  toy_state *s = state;
  enter(c, s);
  atomic_fetch_add(&c->num_resets, 1);
  drover_random r = drover_env_random(rows, 0);
  s->x = drover_random_range(&r, -1, 1) / 3;
  s->tiny = 0x1p-125f * drover_random_uniformf(&r);
  s->t = 0;
  s->y = 0;
  s->next_tick = -1;
  write_observation(c, s, rows->observations);
  const bool failed = toy_has_trouble(c, TOY_FAIL_RESET, rows->first_env, rows->counters[0]);
  if (toy_has_trouble(c, TOY_NAN_RESET, rows->first_env, rows->counters[0])) rows->observations[0] = NAN;
  leave(s);
  return failed;
}

/* What the action pushes, and whether it is one that the env may be given. */
static double read_action(toy_config *c, const void *actions, int32_t i) {
  if (c->action_kind == DROVER_ACTION_DISCRETE) {
    const int32_t a = ((const int32_t *)actions)[i];
    if (a < 0 || a >= c->num_actions) atomic_fetch_add(&c->num_bad_actions, 1);
    return (double)a;
  }
  const float *a = (const float *)actions + (size_t)i * (size_t)c->action_size;
  double push = 0;
  for (int32_t k = 0; k < c->action_size; k++) {
    if (!(a[k] >= c->action_low[k] && a[k] <= c->action_high[k])) atomic_fetch_add(&c->num_bad_actions, 1);
    push += (double)a[k] * (k + 1);
  }
  return push;
}

static void spend(toy_config *c, int32_t env, uint64_t step) {
  if (c->probe) c->probe(c->probe_user, env, step);
  if (toy_has_trouble(c, TOY_SLEEP, env, step)) usleep(30000);
  if (toy_has_trouble(c, TOY_GATE, env, step)) {
    atomic_fetch_add(&c->gate->num_arrived, 1);
    while (!atomic_load(&c->gate->open)) usleep(200);
  }
  if (c->slow_every > 0 && env % c->slow_every != 0) return;
  if (c->sleep_us > 0) usleep((useconds_t)c->sleep_us);
  if (c->work > 0) toy_work(c->work);
}

static void move(const toy_config *c, toy_state *s, double push, double draw) {
  if (c->long_double)
    s->x =
        (double)((long double)s->x * 0.9L + (long double)push / 7.0L + (long double)draw * (long double)s->gain / 3.0L);
  else
    s->x = s->x * 0.9 + push / 7 + (double)s->gain * draw / 3;
  s->x += (double)s->bias;
  s->tiny = s->tiny * 0.7f + 0x1p-130f * (float)draw;
  s->t++;
}

static int step_one(toy_config *c, toy_state *s, const drover_env_rows *rows, int32_t i) {
  const int32_t env = rows->first_env + i;
  const uint64_t step = rows->counters[i];
  float *infos = rows->infos ? rows->infos + (size_t)i * (size_t)c->num_infos : NULL;
  float *observation = rows->observations + (size_t)i * (size_t)c->observation_size;
  enter(c, s);
  atomic_fetch_add(&c->num_steps, 1);
  uint8_t dirty = (uint8_t)(rows->terminated[i] | rows->truncated[i] | rows->failed[i]);
  for (int32_t k = 0; infos && k < c->num_infos; k++) dirty |= infos[k] != 0;
  if (dirty) atomic_fetch_add(&c->num_dirty_rows, 1);
  if (s->next_tick != (c->num_ticks > 0 ? c->num_ticks : -1)) atomic_fetch_add(&c->num_bad_ticks, 1);
  s->next_tick = -1;
  spend(c, env, step);
  if (toy_has_trouble(c, TOY_FAIL_STEP, env, step)) {
    for (int32_t k = 0; k < c->observation_size; k++) observation[k] = 12345; /* must not be believed */
    rows->rewards[i] = 12345;
    rows->terminated[i] = 1;
    leave(s);
    return 1;
  }
  drover_random r = drover_env_random(rows, i);
  const double draw = drover_random_range(&r, -1, 1), push = read_action(c, rows->actions, i);
  move(c, s, push, draw);
  s->x += s->y / 4;
  write_observation(c, s, observation);
  rows->rewards[i] = (float)(s->x / 3 - push * 0.01);
  const int32_t length = c->length > 0 ? c->length + (c->spread > 0 ? env % c->spread : 0) : 0;
  rows->terminated[i] = (uint8_t)(drover_random_uniform(&r) < c->terminate || (length > 0 && s->t >= length) ||
                                  toy_has_trouble(c, TOY_TERMINATE, env, step));
  rows->truncated[i] =
      (uint8_t)(drover_random_uniform(&r) < c->truncate || toy_has_trouble(c, TOY_TRUNCATE, env, step));
  const float values[4] = {(float)draw, 2 * rows->rewards[i], (float)s->t, (float)push};
  for (int32_t k = 0; infos && k < c->num_infos; k++) infos[k] = values[k];
  if (toy_has_trouble(c, TOY_NAN_OBSERVATION, env, step)) observation[c->observation_size - 1] = NAN;
  if (toy_has_trouble(c, TOY_INF_OBSERVATION, env, step)) observation[0] = -INFINITY;
  if (toy_has_trouble(c, TOY_NAN_REWARD, env, step)) rows->rewards[i] = NAN;
  if (toy_has_trouble(c, TOY_INF_REWARD, env, step)) rows->rewards[i] = INFINITY;
  leave(s);
  return 0;
}

static int toy_step(void *shared, void *state, const drover_env_rows *rows) { return step_one(shared, state, rows, 0); }

static int toy_step_many(void *shared, void *states, const drover_env_rows *rows) {
  toy_config *c = shared;
  toy_state *s = states;
  atomic_fetch_add(&c->num_joint_steps, rows->count);
  for (int32_t i = 0; i < rows->count; i++) rows->failed[i] = (uint8_t)step_one(c, &s[i], rows, i);
  return 0;
}

/* ---- The inner loop ------------------------------------------------------------------------------------------ */

/* Are the pointers of this call those that env.h promises? */
static bool good_call(const toy_config *c, const drover_env_tick *t) {
  const bool last = t->tick == c->num_ticks - 1;
  bool good = t->action && (t->inner_action == NULL) == (t->tick == -1) && (t->inner_observation == NULL) == last;
  for (int32_t k = 0; t->sample && k < c->inner_sample_size; k++) good = good && t->sample[k] == 0;
  return good && !(t->sample && (last || c->inner_sample_size == 0));
}

/* The inner observation of the tick to come, and its sample. */
static void write_inner(const toy_config *c, toy_state *s, const drover_env_tick *t) {
  for (int32_t k = 0; t->inner_observation && k < c->inner_observation_size; k++)
    t->inner_observation[k] = k == 0 ? (float)s->y : k == 1 ? (float)(t->tick + 1) : (float)(s->x * k + s->y);
  if (t->inner_observation && toy_has_trouble(c, t->tick < 0 ? TOY_NAN_BEGIN : TOY_NAN_TICK, t->env, t->counter) &&
      (t->tick < 0 || t->tick == c->trouble_tick))
    t->inner_observation[c->inner_observation_size - 1] = NAN;
  if (!t->sample) return;
  for (int32_t k = 0; k < c->inner_sample_size; k++) t->sample[k] = (float)(s->y * (k + 1));
  t->sample[1] = (float)(t->tick + 1);
  t->sample[2] = (float)t->env;
  if (toy_has_trouble(c, TOY_INF_SAMPLE, t->env, t->counter)) t->sample[0] = INFINITY;
}

static int toy_begin(void *shared, void *state, const drover_env_tick *t) {
  toy_config *c = shared;
  toy_state *s = state;
  enter(c, s);
  atomic_fetch_add(&c->num_begins, 1);
  if (t->tick != -1 || s->next_tick != -1 || !good_call(c, t)) atomic_fetch_add(&c->num_bad_ticks, 1);
  drover_random r = drover_env_tick_random(t);
  s->y = drover_random_range(&r, -1, 1) + s->x / 10 + read_action(c, t->action, 0) / 5;
  s->next_tick = 0;
  write_inner(c, s, t);
  const bool failed = toy_has_trouble(c, TOY_FAIL_BEGIN, t->env, t->counter);
  if (failed) s->next_tick = -2; /* nothing may come but a reset */
  leave(s);
  return failed;
}

static int toy_tick(void *shared, void *state, const drover_env_tick *t) {
  toy_config *c = shared;
  toy_state *s = state;
  enter(c, s);
  atomic_fetch_add(&c->num_ticks_done, 1);
  if (t->tick != s->next_tick || !good_call(c, t)) atomic_fetch_add(&c->num_bad_ticks, 1);
  spend(c, t->env, t->counter);
  drover_random r = drover_env_tick_random(t);
  double push = drover_random_range(&r, -1, 1) / 8;
  for (int32_t k = 0; k < c->inner_action_size; k++)
    if (!isfinite(t->inner_action[k])) atomic_fetch_add(&c->num_bad_ticks, 1);
  for (int32_t k = 0; k < c->inner_action_size; k++) push += (double)t->inner_action[k] * (k + 1);
  s->y = s->y * 0.75 + push + read_action(c, t->action, 0) / 50;
  s->next_tick++;
  write_inner(c, s, t);
  const bool failed = t->tick == c->trouble_tick && toy_has_trouble(c, TOY_FAIL_TICK, t->env, t->counter);
  if (failed) s->next_tick = -2;
  leave(s);
  return failed;
}

/* Draws, and leaves the env's state such that only a reset helps. */
static int toy_draw_sample(void *shared, void *state, drover_random *random, float *sample) {
  const toy_config *c = shared;
  toy_state *s = state;
  for (int32_t k = 0; k < c->inner_sample_size; k++) {
    if (sample[k] != 0) return 1;
    sample[k] = drover_random_uniformf(random);
  }
  s->x = s->y = 1e9;
  s->next_tick = -2;
  return c->fails_to_draw;
}

/* ---- Saving and parameters ----------------------------------------------------------------------------------- */

static int toy_save(void *shared, const void *state, void *bytes) {
  (void)shared;
  const toy_state *s = state;
  const toy_saved saved = {.x = s->x, .tiny = s->tiny, .gain = s->gain, .bias = s->bias, .t = s->t};
  memcpy(bytes, &saved, sizeof saved);
  return 0;
}

static int toy_load(void *shared, void *state, const void *bytes) {
  (void)shared;
  toy_state *s = state;
  toy_saved saved;
  memcpy(&saved, bytes, sizeof saved);
  s->x = saved.x;
  s->tiny = saved.tiny;
  s->gain = saved.gain;
  s->bias = saved.bias;
  s->t = saved.t;
  s->next_tick = -1;
  return 0;
}

/* A gain above 100 is refused. */
static int toy_set_param(void *shared, void *state, int32_t param, float value) {
  (void)shared;
  toy_state *s = state;
  if (param == 0 && value > 100) return 1;
  *(param == 0 ? &s->gain : &s->bias) = value;
  return 0;
}

/* ---- Configs ------------------------------------------------------------------------------------------------- */

void toy_init(toy_config *config) {
  memset(config, 0, sizeof *config);
  config->type = (drover_env_type){.abi_version = DROVER_ENV_ABI_VERSION,
                                   .size = sizeof config->type,
                                   .name = "Toy-v0",
                                   .summary = "for tests",
                                   .arg_infos = arg_infos,
                                   .open = toy_open,
                                   .close = toy_close,
                                   .create = toy_create,
                                   .destroy = toy_destroy,
                                   .reset = toy_reset,
                                   .step = toy_step,
                                   .step_many = toy_step_many,
                                   .save = toy_save,
                                   .load = toy_load,
                                   .set_param = toy_set_param};
  config->observation_size = 3;
  config->action_kind = DROVER_ACTION_DISCRETE;
  config->action_size = 1;
  config->num_actions = 3;
  config->num_infos = 2;
  config->terminate = 0.05;
  config->truncate = 0.02;
  config->saves = true;
}

void toy_init_continuous(toy_config *config) {
  static const float low[2] = {-1, 0}, high[2] = {1, 3};
  toy_init(config);
  config->action_kind = DROVER_ACTION_CONTINUOUS;
  config->action_size = 2;
  config->num_actions = 0;
  config->action_low = low;
  config->action_high = high;
}

void toy_init_inner(toy_config *config) {
  toy_init(config);
  config->type.begin = toy_begin;
  config->type.tick = toy_tick;
  config->type.draw_sample = toy_draw_sample;
  config->num_ticks = 5;
  config->inner_observation_size = 4;
  config->inner_action_size = 2;
  config->inner_sample_size = 6;
}

drover_status toy_batch_create(drover_batch **out, drover_runtime *runtime, toy_config *config,
                               const drover_batch_options *options) {
  opening = config;
  const drover_status status = drover_batch_create(out, runtime, &config->type, options);
  opening = NULL;
  return status;
}
