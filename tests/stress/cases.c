/* cases.c: making cases and their references. */
#include "tests/stress/cases.h"

#include <pthread.h>

#include "tests/stress/toy.h"

typedef struct reference {
  uint64_t *digests; /* [num_steps + 1]; 0 = not known yet */
  bool has_policy_rows, has_caller_rows;
  stress_objects policy_run, caller_run; /* keep the views' memory */
  drover_rollout_view policy_rows, caller_rows;
} reference;

static stress_case cases[NUM_CASES];
static reference references[NUM_CASES];
static drover_runtime *serial;                           /* one worker */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* references and serial */

static void require(drover_status status, const char *what) {
  if (status == DROVER_OK) return;
  fprintf(stderr, "stress: the reference cannot be computed: %s: %s\n", what, drover_last_error());
  exit(1);
}

static int32_t pick(drover_random *r, int32_t low, int32_t high) {
  return low + (int32_t)(drover_random_u32(r) % (uint32_t)(high - low + 1));
}

void cases_create(uint64_t seed) {
  static const char *const works[] = {"0", "60", "300"};
  drover_runtime_options options;
  drover_runtime_options_init(&options, sizeof options);
  options.num_workers = 1;
  require(drover_runtime_create(&serial, &options), "runtime");
  for (int32_t i = 0; i < NUM_CASES; i++) {
    drover_random r = drover_random_at(seed, (uint32_t)i, DROVER_RANDOM_USER, 0);
    stress_case *c = &cases[i];
    const drover_env_type *const types[] = {&toy_discrete, &toy_continuous, &toy_ticking};
    *c = (stress_case){.index = i, .type = types[pick(&r, 0, 2)]};
    c->num_envs = pick(&r, 0, 1) ? pick(&r, 1, 20) : pick(&r, 20, 130);
    c->num_steps = pick(&r, 1, 40);
    c->seed = drover_random_u64(&r);
    c->autoreset = pick(&r, 0, 2) ? DROVER_AUTORESET_SAME_STEP : DROVER_AUTORESET_NEXT_STEP;
    c->transform = (drover_action_transform)pick(&r, 0, 2);
    c->uniform = pick(&r, 0, 3) == 0;
    c->deterministic = pick(&r, 0, 5) == 0;
    c->fails = pick(&r, 0, 2) == 0;
    snprintf(c->work, sizeof c->work, "%s", works[pick(&r, 0, 2)]);
    snprintf(c->fail, sizeof c->fail, "%s", c->fails ? "0.01" : "0");
    c->args[0] = (drover_env_arg){"work", c->work};
    c->args[1] = (drover_env_arg){"fail", c->fail};
    references[i].digests = calloc((size_t)c->num_steps + 1, sizeof *references[i].digests);
    if (!references[i].digests) require(DROVER_ERROR_NO_MEMORY, "digests");
  }
}

void cases_destroy(void) {
  for (int32_t i = 0; i < NUM_CASES; i++) {
    case_close(&references[i].policy_run);
    case_close(&references[i].caller_run);
    free(references[i].digests);
  }
  require(drover_runtime_destroy(serial), "destroy");
}

const stress_case *case_at(int32_t index) { return &cases[index]; }

static drover_status make_policy(stress_objects *out, drover_runtime *runtime, const stress_case *c, int32_t fail_env,
                                 uint64_t fail_step) {
  if (!c->uniform) return toy_policy_create(&out->policy, runtime, c->type, fail_env, fail_step);
  drover_batch_view view = {.size = sizeof view};
  const drover_status status = drover_batch_get_view(out->batch, &view);
  return status == DROVER_OK ? drover_policy_create_uniform(&out->policy, runtime, view.spec) : status;
}

drover_status case_open(stress_objects *out, drover_runtime *runtime, const stress_case *c, const stress_way *way,
                        int32_t num_steps, int32_t fail_env, uint64_t fail_step) {
  *out = (stress_objects){0};
  drover_batch_options batch;
  drover_batch_options_init(&batch, sizeof batch);
  batch.num_envs = c->num_envs;
  batch.seed = c->seed;
  batch.shard = way->shard;
  batch.chunk = way->chunk;
  batch.scalar = way->scalar;
  batch.autoreset = c->autoreset;
  batch.fault_limit = way->fault_limit;
  batch.args = (drover_env_args){2, c->args};
  drover_rollout_options rollout;
  drover_rollout_options_init(&rollout, sizeof rollout);
  rollout.num_steps = num_steps;
  rollout.deterministic = c->deterministic;
  rollout.transform = c->transform;
  rollout.barrier = way->barrier;
  drover_status status = drover_batch_create(&out->batch, runtime, c->type, &batch);
  if (status == DROVER_OK && c->type == &toy_ticking) {
    status = toy_inner_policy_create(&out->inner_policy, runtime);
    if (status == DROVER_OK) status = drover_batch_set_inner_policy(out->batch, out->inner_policy);
  }
  if (status == DROVER_OK) status = make_policy(out, runtime, c, fail_env, fail_step);
  if (status == DROVER_OK) status = drover_rollout_create(&out->rollout, out->batch, out->policy, &rollout);
  return status;
}

void case_close(stress_objects *objects) {
  require(drover_rollout_destroy(objects->rollout), "destroying a rollout");
  require(drover_policy_destroy(objects->policy), "destroying a policy");
  require(drover_batch_destroy(objects->batch), "destroying a batch");
  require(drover_policy_destroy(objects->inner_policy), "destroying an inner policy");
  *objects = (stress_objects){0};
}

static const stress_way plain_way = {.fault_limit = INT64_MAX};

uint64_t case_digest(const stress_case *c, int32_t num_steps) {
  pthread_mutex_lock(&lock);
  uint64_t *digest = &references[c->index].digests[num_steps];
  if (*digest == 0) {
    stress_objects objects;
    require(case_open(&objects, serial, c, &plain_way, num_steps, -1, 0), "open");
    require(drover_rollout_collect(objects.rollout), "collect");
    require(drover_rollout_digest(objects.rollout, digest), "digest");
    case_close(&objects);
  }
  const uint64_t found = *digest;
  pthread_mutex_unlock(&lock);
  return found;
}

const drover_rollout_view *case_policy_rows(const stress_case *c) {
  reference *ref = &references[c->index];
  pthread_mutex_lock(&lock);
  if (!ref->has_policy_rows) {
    require(case_open(&ref->policy_run, serial, c, &plain_way, CASE_REACH * c->num_steps, -1, 0), "open");
    require(drover_rollout_collect(ref->policy_run.rollout), "collect");
    ref->policy_rows.size = sizeof ref->policy_rows;
    require(drover_rollout_get_view(ref->policy_run.rollout, &ref->policy_rows), "view");
    ref->has_policy_rows = true;
  }
  pthread_mutex_unlock(&lock);
  return &ref->policy_rows;
}

static void compute_caller_rows(const stress_case *c, reference *ref) {
  const int32_t num_steps = CASE_REACH * c->num_steps;
  require(case_open(&ref->caller_run, serial, c, &plain_way, num_steps, -1, 0), "open");
  unsigned char *actions = calloc((size_t)c->num_envs, 8);
  float *values = calloc((size_t)c->num_envs, sizeof *values);
  if (!actions || !values) require(DROVER_ERROR_NO_MEMORY, "actions");
  const size_t action_bytes = c->type == &toy_continuous ? 8 : 4;
  require(drover_rollout_begin(ref->caller_run.rollout), "begin");
  for (int32_t t = 0; t < num_steps; t++) {
    for (int32_t e = 0; e < c->num_envs; e++) case_caller_action(c, e, (uint64_t)t, actions + (size_t)e * action_bytes);
    require(drover_batch_step(ref->caller_run.batch, actions), "step");
    require(drover_rollout_record(ref->caller_run.rollout, actions, NULL, values), "record");
  }
  require(drover_rollout_finish(ref->caller_run.rollout), "finish");
  ref->caller_rows.size = sizeof ref->caller_rows;
  require(drover_rollout_get_view(ref->caller_run.rollout, &ref->caller_rows), "view");
  free(actions);
  free(values);
}

const drover_rollout_view *case_caller_rows(const stress_case *c) {
  reference *ref = &references[c->index];
  pthread_mutex_lock(&lock);
  if (!ref->has_caller_rows) compute_caller_rows(c, ref);
  ref->has_caller_rows = true;
  pthread_mutex_unlock(&lock);
  return &ref->caller_rows;
}

void case_caller_action(const stress_case *c, int32_t env, uint64_t step, void *action) {
  if (c->type == &toy_continuous) {
    for (int32_t i = 0; i < 2; i++) ((float *)action)[i] = toy_continuous_action(c->seed, env, step, i);
  } else {
    *(int32_t *)action = toy_discrete_action(c->seed, env, step);
  }
}

const void *case_transform(const stress_case *c, const void *raw, void *clipped) {
  if (c->type != &toy_continuous || c->transform == DROVER_ACTION_NONE) return raw;
  const float *from = raw;
  float *to = clipped;
  for (int32_t i = 0; i < 2 * c->num_envs; i++) to[i] = from[i] < -1 ? -1 : from[i] > 1 ? 1 : from[i];
  return to;
}
