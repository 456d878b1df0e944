/* toy.c: the toy envs and the toy policy. */
#include "tests/stress/toy.h"

#include <stdbool.h>

_Atomic int64_t toy_violations;

static void violated(const char *what, int32_t env) {
  if (atomic_fetch_add(&toy_violations, 1) < 20) fprintf(stderr, "stress: VIOLATION: %s (env %d)\n", what, (int)env);
}

__attribute__((noinline)) uint32_t toy_work(uint32_t rounds, uint32_t x) {
  for (uint32_t i = 0; i < rounds; i++) x = x * 1664525u + 1013904223u;
  return x;
}

/* ---- Envs ---------------------------------------------------------------------------------------------------- */

typedef struct toy_shared {
  double work, fail;
  bool continuous, ticking;
} toy_shared;

/* 48 bytes, so that neighbours share cache lines. */
typedef struct toy_state {
  _Atomic int32_t inside; /* calls on this env in progress */
  uint32_t mixed;         /* depends on all actions so far */
  uint64_t next_step;     /* the lifetime step expected next: no call may be lost or repeated */
  uint64_t num_steps;
  uint64_t *own;     /* toy-continuous: a copy of num_steps, from malloc */
  int32_t next_tick; /* toy-ticking: -1 = begin, TOY_NUM_TICKS = step, -2 = nothing but a reset */
} toy_state;

static const float low[2] = {-1, -1}, high[2] = {1, 1};
static const char *const info_names[2] = {"mixed", "cost"};
static const drover_env_arg_info arg_infos[] = {
    {"work", "100", "mean rounds of work a step"}, {"fail", "0", "probability of a failing step"}, {NULL, NULL, NULL}};

static int open_toy(const drover_env_args *args, drover_env_spec *spec, void **shared, bool continuous, char *message,
                    size_t message_size) {
  toy_shared *made = calloc(1, sizeof *made);
  if (!made) return -1;
  made->continuous = continuous;
  if (drover_env_arg_number(args, "work", 100, 0, 1e6, &made->work, message, message_size) != 0 ||
      drover_env_arg_number(args, "fail", 0, 0, 1, &made->fail, message, message_size) != 0) {
    free(made);
    return -1;
  }
  spec->observation_size = TOY_OBSERVATION_SIZE;
  spec->action_kind = continuous ? DROVER_ACTION_CONTINUOUS : DROVER_ACTION_DISCRETE;
  spec->action_size = continuous ? 2 : 1;
  spec->num_actions = continuous ? 0 : 4;
  spec->action_low = continuous ? low : NULL;
  spec->action_high = continuous ? high : NULL;
  spec->max_episode_steps = 20;
  spec->state_size = sizeof(toy_state);
  spec->lanes = continuous ? 1 : 4;
  if (!continuous) {
    spec->num_infos = 2;
    spec->info_names = info_names;
    spec->save_size = sizeof(toy_state);
  }
  *shared = made;
  return 0;
}

static int open_discrete(const drover_env_args *args, drover_env_spec *spec, void **shared, char *message,
                         size_t size) {
  return open_toy(args, spec, shared, false, message, size);
}

static int open_continuous(const drover_env_args *args, drover_env_spec *spec, void **shared, char *message,
                           size_t size) {
  return open_toy(args, spec, shared, true, message, size);
}

static int open_ticking(const drover_env_args *args, drover_env_spec *spec, void **shared, char *message, size_t size) {
  if (open_toy(args, spec, shared, false, message, size) != 0) return -1;
  ((toy_shared *)*shared)->ticking = true;
  spec->num_ticks = TOY_NUM_TICKS;
  spec->inner_observation_size = 2;
  spec->inner_action_size = 1;
  spec->inner_sample_size = TOY_SAMPLE_SIZE;
  return 0;
}

static void close_toy(void *shared) { free(shared); }

static int create(void *shared, void *state, int32_t env) {
  (void)shared, (void)env;
  toy_state *s = state;
  s->own = calloc(1, sizeof *s->own);
  return s->own ? 0 : -1;
}

static void destroy(void *shared, void *state) {
  (void)shared;
  free(((toy_state *)state)->own);
}

static void enter(toy_state *s, int32_t env) {
  if (atomic_fetch_add_explicit(&s->inside, 1, memory_order_relaxed) != 0)
    violated("two calls on one env at a time", env);
}

static void leave(toy_state *s) { atomic_fetch_sub_explicit(&s->inside, 1, memory_order_relaxed); }

static void observe(const toy_state *s, uint64_t episode, float *out) {
  out[0] = (float)s->num_steps;
  out[1] = (float)episode;
  out[2] = (float)(s->mixed >> 8) * 0x1p-24f;
  out[3] = (float)(s->mixed & 0xFF);
  out[4] = out[2] - 0.5f;
}

static int reset(void *shared, void *state, const drover_env_rows *rows) {
  const toy_shared *t = shared;
  toy_state *s = state;
  enter(s, rows->first_env);
  drover_random r = drover_env_random(rows, 0);
  if (rows->counters[0] == 0) { /* the batch begins anew */
    s->num_steps = 0;
    s->mixed = (uint32_t)rows->first_env;
    s->next_step = 0;
    if (s->own) *s->own = 0;
  }
  s->mixed = s->mixed * 31 + drover_random_u32(&r);
  s->next_tick = -1;
  const bool fails = drover_random_uniform(&r) < t->fail;
  observe(s, rows->counters[0], rows->observations);
  leave(s);
  return fails;
}

/* What the row's own step does; i is its place in the call. */
static int step_one(const toy_shared *t, toy_state *s, const drover_env_rows *rows, int32_t i) {
  const int32_t env = rows->first_env + i;
  enter(s, env);
  drover_random r = drover_env_random(rows, i);
  const uint64_t counter = rows->counters[i];
  if (counter < s->next_step) violated("a lifetime step was repeated", env);
  if (s->own && *s->own != s->num_steps) violated("an env's own memory is behind its state", env);
  if (t->ticking && s->next_tick != TOY_NUM_TICKS) violated("stepped before its last tick", env);
  s->next_tick = -1;
  s->next_step = counter + 1;
  s->num_steps++;
  if (s->own) *s->own = s->num_steps;

  uint32_t given;
  if (t->continuous)
    memcpy(&given, (const float *)rows->actions + 2 * (size_t)i, sizeof given);
  else
    given = (uint32_t)((const int32_t *)rows->actions)[i];
  if (!t->continuous && given > 3) violated("stepped with an action that the policy never gave", env);

  const double luck = drover_random_uniform(&r);
  const uint32_t rounds = (uint32_t)(t->work * (luck > 0.97 ? 30 : 0.5));
  s->mixed = toy_work(rounds, s->mixed ^ (given * 2654435761u)) ^ drover_random_u32(&r);
  float *observation = rows->observations + (size_t)i * TOY_OBSERVATION_SIZE;
  observe(s, 0, observation);
  rows->rewards[i] = (float)(s->mixed & 0xFFFF) * 0x1p-16f - 0.5f;
  rows->terminated[i] = drover_random_uniform(&r) < 0.03;
  rows->truncated[i] = drover_random_uniform(&r) < 0.01;
  if (rows->infos) {
    rows->infos[2 * (size_t)i] = (float)(s->mixed >> 8);
    rows->infos[2 * (size_t)i + 1] = (float)rounds;
  }
  int failed = 0;
  if (drover_random_uniform(&r) < t->fail) {
    const double how = drover_random_uniform(&r);
    if (how < 0.4)
      failed = 1;
    else if (how < 0.7)
      observation[2] = NAN;
    else
      rows->rewards[i] = INFINITY;
  }
  leave(s);
  return failed;
}

static int step(void *shared, void *state, const drover_env_rows *rows) { return step_one(shared, state, rows, 0); }

static int step_many(void *shared, void *states, const drover_env_rows *rows) {
  toy_state *s = states;
  for (int32_t i = 0; i < rows->count; i++) rows->failed[i] = (uint8_t)(step_one(shared, &s[i], rows, i) != 0);
  return 0;
}

/* begin and tick: mix in what came, observe, and sometimes fail. */
static int tick(void *shared, void *state, const drover_env_tick *t) {
  const toy_shared *toy = shared;
  toy_state *s = state;
  enter(s, t->env);
  if (t->tick != s->next_tick) violated("a tick out of its turn", t->env);
  if (t->counter < s->next_step) violated("a lifetime step was repeated by a tick", t->env);
  drover_random r = drover_env_tick_random(t);
  uint32_t given = (uint32_t) * (const int32_t *)t->action;
  if (t->inner_action) memcpy(&given, t->inner_action, sizeof given);
  s->mixed = toy_work((uint32_t)(toy->work / TOY_NUM_TICKS), s->mixed ^ (given * 2654435761u)) ^ drover_random_u32(&r);
  s->next_tick++;
  if (t->inner_observation) {
    t->inner_observation[0] = (float)(s->mixed >> 8) * 0x1p-24f;
    t->inner_observation[1] = (float)(t->tick + 1);
  }
  if (t->sample) {
    t->sample[0] = (float)(t->tick + 1);
    t->sample[1] = (float)t->env;
    t->sample[2] = (float)(s->mixed >> 8);
  }
  int failed = 0;
  if (drover_random_uniform(&r) < toy->fail) {
    s->next_tick = -2;
    if (t->inner_observation && drover_random_uniform(&r) < 0.5)
      t->inner_observation[0] = NAN;
    else
      failed = 1;
  }
  leave(s);
  return failed;
}

static int save(void *shared, const void *state, void *bytes) {
  (void)shared;
  memcpy(bytes, state, sizeof(toy_state));
  return 0;
}

static int load(void *shared, void *state, const void *bytes) {
  (void)shared;
  memcpy(state, bytes, sizeof(toy_state));
  return 0;
}

const drover_env_type toy_discrete = {.abi_version = DROVER_ENV_ABI_VERSION,
                                      .size = sizeof toy_discrete,
                                      .name = "toy-discrete",
                                      .summary = "uneven costs, failures, step_many",
                                      .arg_infos = arg_infos,
                                      .open = open_discrete,
                                      .close = close_toy,
                                      .reset = reset,
                                      .step = step,
                                      .step_many = step_many,
                                      .save = save,
                                      .load = load};

const drover_env_type toy_continuous = {.abi_version = DROVER_ENV_ABI_VERSION,
                                        .size = sizeof toy_continuous,
                                        .name = "toy-continuous",
                                        .summary = "uneven costs, failures, memory of its own",
                                        .arg_infos = arg_infos,
                                        .open = open_continuous,
                                        .close = close_toy,
                                        .create = create,
                                        .destroy = destroy,
                                        .reset = reset,
                                        .step = step};

const drover_env_type toy_ticking = {.abi_version = DROVER_ENV_ABI_VERSION,
                                     .size = sizeof toy_ticking,
                                     .name = "toy-ticking",
                                     .summary = "uneven costs, failures, an inner loop",
                                     .arg_infos = arg_infos,
                                     .open = open_ticking,
                                     .close = close_toy,
                                     .reset = reset,
                                     .step = step,
                                     .step_many = step_many,
                                     .save = save,
                                     .load = load,
                                     .begin = tick,
                                     .tick = tick};

/* ---- The policy ---------------------------------------------------------------------------------------------- */

typedef struct toy_policy {
  bool continuous;
  int32_t fail_env;
  uint64_t fail_step;
  _Atomic int32_t num_pinned; /* versions acquired and not released */
} toy_policy;

typedef struct toy_context {
  _Atomic int32_t inside;
  uint64_t num_rows; /* plain: ThreadSanitizer sees it if two threads share a context */
} toy_context;

int32_t toy_discrete_action(uint64_t seed, int32_t env, uint64_t step) {
  drover_random r = drover_random_at(seed, (uint32_t)env, DROVER_RANDOM_USER, step);
  return (int32_t)(drover_random_u32(&r) & 3);
}

float toy_continuous_action(uint64_t seed, int32_t env, uint64_t step, int32_t index) {
  drover_random r = drover_random_at(seed, (uint32_t)env, DROVER_RANDOM_USER, step);
  float action = 0;
  for (int32_t i = 0; i <= index; i++) action = 2.4f * drover_random_uniformf(&r) - 1.2f;
  return action;
}

static int get_spec(void *self, drover_policy_spec *spec) {
  const toy_policy *p = self;
  spec->observation_size = TOY_OBSERVATION_SIZE;
  spec->action_kind = p->continuous ? DROVER_ACTION_CONTINUOUS : DROVER_ACTION_DISCRETE;
  spec->action_size = p->continuous ? 2 : 1;
  spec->num_actions = p->continuous ? 0 : 4;
  spec->has_values = 1;
  return 0;
}

static int open_context(void *self, void **context) {
  (void)self;
  *context = calloc(1, sizeof(toy_context));
  return *context ? 0 : -1;
}

static void close_context(void *self, void *context) {
  (void)self;
  free(context);
}

static const void *acquire(void *self) {
  atomic_fetch_add(&((toy_policy *)self)->num_pinned, 1);
  return self;
}

static void release(void *self, const void *version) {
  if (version != self) violated("another version was released than acquired", -1);
  atomic_fetch_sub(&((toy_policy *)self)->num_pinned, 1);
}

static void enter_context(toy_context *c, int32_t count) {
  if (atomic_fetch_add_explicit(&c->inside, 1, memory_order_relaxed) != 0)
    violated("two threads in one worker's context", -1);
  c->num_rows += (uint64_t)count;
}

static void leave_context(toy_context *c) { atomic_fetch_sub_explicit(&c->inside, 1, memory_order_relaxed); }

static float value_of(const float *observation) { return observation[2] * 3 + observation[4] * observation[4] - 0.25f; }

static int act(void *self, const void *version, void *context, const drover_policy_rows *rows) {
  const toy_policy *p = self;
  if (version != self) violated("act without the version", rows->first_env);
  enter_context(context, rows->count);
  int failed = 0;
  for (int32_t i = 0; i < rows->count; i++) {
    const float *observation = rows->observations + (size_t)i * TOY_OBSERVATION_SIZE;
    const int32_t env = rows->first_env + i;
    drover_random r = drover_random_at(rows->seed, (uint32_t)env, DROVER_RANDOM_ACTION, rows->counters[i]);
    const float noise = rows->deterministic ? 0.5f : drover_random_uniformf(&r);
    if (env == p->fail_env && rows->counters[i] >= p->fail_step) { /* whoever steps this row breaks a promise */
      if (!p->continuous) ((int32_t *)rows->actions)[i] = 77;
      failed = 1;
      continue;
    }
    if (p->continuous) {
      float *action = (float *)rows->actions + 2 * (size_t)i;
      action[0] = 2.4f * noise - 1.2f;
      action[1] = observation[2] + noise - 0.9f;
    } else {
      ((int32_t *)rows->actions)[i] = (int32_t)((observation[2] + noise) * 2) & 3;
    }
    if (rows->logprobs) rows->logprobs[i] = -noise;
    if (rows->values) rows->values[i] = value_of(observation);
  }
  leave_context(context);
  return failed;
}

static int value(void *self, const void *version, void *context, int32_t count, const float *observations,
                 float *values) {
  if (version != self) violated("value without the version", -1);
  enter_context(context, count);
  for (int32_t i = 0; i < count; i++) values[i] = value_of(observations + (size_t)i * TOY_OBSERVATION_SIZE);
  leave_context(context);
  return 0;
}

static void end_policy(void *self) {
  if (atomic_load(&((toy_policy *)self)->num_pinned) != 0) violated("a policy's version was never released", -1);
  free(self);
}

static const drover_policy_type policy_type = {.abi_version = DROVER_POLICY_ABI_VERSION,
                                               .size = sizeof policy_type,
                                               .name = "toy",
                                               .get_spec = get_spec,
                                               .open_context = open_context,
                                               .close_context = close_context,
                                               .acquire = acquire,
                                               .release = release,
                                               .act = act,
                                               .value = value,
                                               .destroy = end_policy};

/* ---- The inner policy ---------------------------------------------------------------------------------------- */

static int get_inner_spec(void *self, drover_policy_spec *spec) {
  (void)self;
  spec->observation_size = 2;
  spec->action_kind = DROVER_ACTION_CONTINUOUS;
  spec->action_size = 1;
  return 0;
}

static int act_inside(void *self, const void *version, void *context, const drover_policy_rows *rows) {
  if (version != self) violated("inner act without the version", rows->first_env);
  if (!rows->deterministic || rows->logprobs || rows->values) violated("inner act for more than actions", -1);
  enter_context(context, rows->count);
  for (int32_t i = 0; i < rows->count; i++)
    ((float *)rows->actions)[i] = rows->observations[2 * i] * 3 - rows->observations[2 * i + 1] / 7;
  leave_context(context);
  return 0;
}

static const drover_policy_type inner_policy_type = {.abi_version = DROVER_POLICY_ABI_VERSION,
                                                     .size = sizeof inner_policy_type,
                                                     .name = "toy inside",
                                                     .get_spec = get_inner_spec,
                                                     .open_context = open_context,
                                                     .close_context = close_context,
                                                     .acquire = acquire,
                                                     .release = release,
                                                     .act = act_inside,
                                                     .destroy = end_policy};

drover_status toy_inner_policy_create(drover_policy **out, drover_runtime *runtime) {
  toy_policy *p = calloc(1, sizeof *p);
  if (!p) return DROVER_ERROR_NO_MEMORY;
  const drover_status status = drover_policy_create(out, runtime, &inner_policy_type, p);
  if (status != DROVER_OK) free(p);
  return status;
}

drover_status toy_policy_create(drover_policy **out, drover_runtime *runtime, const drover_env_type *type,
                                int32_t fail_env, uint64_t fail_step) {
  toy_policy *p = calloc(1, sizeof *p);
  if (!p) return DROVER_ERROR_NO_MEMORY;
  p->continuous = type == &toy_continuous;
  p->fail_env = fail_env;
  p->fail_step = fail_step;
  const drover_status status = drover_policy_create(out, runtime, &policy_type, p);
  if (status != DROVER_OK) free(p);
  return status;
}
