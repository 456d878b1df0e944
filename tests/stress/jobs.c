/* jobs.c: rollouts, steps, sends, failures and checkpoints of cases, each compared with the case's reference. */
#include "tests/stress/jobs.h"

#include <stdarg.h>

#include "tests/stress/cases.h"
#include "tests/stress/toy.h"
#include "tests/stress/watch.h"

_Atomic int64_t num_passed, num_failed;

/* A job in progress. */
typedef struct job {
  stress_caller *caller;
  drover_runtime *runtime;
  const stress_case *c;
  stress_way way;
  stress_objects objects;
  const char *what;
} job;

int32_t stress_pick(drover_random *r, int32_t low, int32_t high) {
  return low + (int32_t)(drover_random_u32(r) % (uint32_t)(high - low + 1));
}

/* ---- Judging ------------------------------------------------------------------------------------------------- */

static bool check(const job *j, bool good, const char *format, ...) __attribute__((format(printf, 3, 4)));

static bool check(const job *j, bool good, const char *format, ...) {
  watch_beat();
  if (good) {
    atomic_fetch_add(&num_passed, 1);
    return true;
  }
  if (atomic_fetch_add(&num_failed, 1) >= 40) return false;
  char text[256];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  drover_runtime_stats stats = {.size = sizeof stats};
  drover_runtime_get_stats(j->runtime, &stats);
  fprintf(stderr,
          "stress: FAILED: caller %d, %s: %s\n    case %d: %s N=%d T=%d autoreset=%d transform=%d uniform=%d fails=%d "
          "work=%s; "
          "workers=%d shard=%d chunk=%d scalar=%d barrier=%d\n    last error of this thread: %s\n",
          (int)j->caller->id, j->what, text, (int)j->c->index, j->c->type->name, (int)j->c->num_envs,
          (int)j->c->num_steps, (int)j->c->autoreset, (int)j->c->transform, j->c->uniform, j->c->fails, j->c->work,
          (int)stats.num_workers, (int)j->way.shard, (int)j->way.chunk, (int)j->way.scalar, (int)j->way.barrier,
          drover_last_error());
  return false;
}

/* True if the call went well. A cancellation is no failure where somebody cancels. */
static bool expect_ok(const job *j, drover_status status, const char *call) {
  if (status == DROVER_ERROR_CANCELLED && j->caller->may_be_cancelled) return false;
  return check(j, status == DROVER_OK, "%s returned %s", call, drover_status_name(status));
}

static bool same(const void *a, const void *b, size_t bytes) { return memcmp(a, b, bytes) == 0; }

/* The rows of one env at step t of a view against step `at` of the reference. */
static const char *first_difference(const drover_rollout_view *v, int32_t t, const drover_rollout_view *ref, int32_t at,
                                    int32_t e) {
  const size_t n = (size_t)v->num_envs, width = (size_t)v->observation_size, action = (size_t)v->action_size * 4;
  const size_t row = (size_t)t * n + (size_t)e, other = (size_t)at * n + (size_t)e;
  if (!same(v->observations + row * width, ref->observations + other * width, width * 4)) return "observation";
  if (!same((char *)v->actions + row * action, (char *)ref->actions + other * action, action)) return "action";
  if (!same(v->logprobs + row, ref->logprobs + other, 4)) return "logprob";
  if (v->values && !same(v->values + row, ref->values + other, 4)) return "value";
  if (!same(v->rewards + row, ref->rewards + other, 4)) return "reward";
  if (v->terminated[row] != ref->terminated[other]) return "terminated";
  if (v->truncated[row] != ref->truncated[other]) return "truncated";
  if (v->valid[row] != ref->valid[other]) return "valid";
  const size_t sample = (size_t)v->inner_sample_size;
  if (sample && !same(v->inner_samples + row * sample, ref->inner_samples + other * sample, sample * 4))
    return "inner sample";
  const size_t infos = (size_t)v->num_infos;
  if (infos && !same(v->infos + row * infos, ref->infos + other * infos, infos * 4)) return "infos";
  return NULL;
}

/* The rollout's rows, where env e began at its lifetime step begin[e], are the reference's. */
static void check_rows(const job *j, const uint64_t *begin) {
  drover_rollout_view v = {.size = sizeof v};
  if (!expect_ok(j, drover_rollout_get_view(j->objects.rollout, &v), "get_view")) return;
  const drover_rollout_view *ref = case_policy_rows(j->c);
  for (int32_t t = 0; t < v.num_steps_done; t++)
    for (int32_t e = 0; e < v.num_envs; e++) {
      const uint64_t at = begin[e] + (uint64_t)t;
      if (at >= (uint64_t)ref->num_steps) continue;
      const char *difference = first_difference(&v, t, ref, (int32_t)at, e);
      if (difference && !check(j, false, "%s of env %d at its step %llu (row %d) differs", difference, (int)e,
                               (unsigned long long)at, (int)t))
        return;
    }
  check(j, true, "rows");
}

/* After a run that stopped early: every env's observation is the one that belongs to its own lifetime step. */
static void check_standing(const job *j) {
  drover_batch_view v = {.size = sizeof v};
  if (!expect_ok(j, drover_batch_get_view(j->objects.batch, &v), "get_view")) return;
  const drover_rollout_view *ref = case_policy_rows(j->c);
  const size_t n = (size_t)v.num_envs, width = TOY_OBSERVATION_SIZE;
  for (size_t e = 0; e < n; e++) {
    const size_t at = (size_t)v.lifetime_steps[e];
    if (at > (size_t)ref->num_steps) continue;
    if (!check(j, same(v.observations + e * width, ref->observations + (at * n + e) * width, width * 4),
               "env %zu stands at step %zu with an observation of another step", e, at))
      return;
  }
}

/* What a stopped run kept is what a run of so many steps gives. */
static void check_kept(const job *j) {
  drover_rollout_view v = {.size = sizeof v};
  if (!expect_ok(j, drover_rollout_get_view(j->objects.rollout, &v), "get_view")) return;
  if (!check(j, v.num_steps_done >= 0 && v.num_steps_done <= j->c->num_steps, "num_steps_done is %d",
             (int)v.num_steps_done))
    return;
  if (v.num_steps_done == 0) return;
  uint64_t digest = 0;
  if (!expect_ok(j, drover_rollout_digest(j->objects.rollout, &digest), "digest")) return;
  check(j, digest == case_digest(j->c, v.num_steps_done), "the digest of the %d steps kept differs",
        (int)v.num_steps_done);
}

static void check_digest(const job *j) {
  uint64_t digest = 0;
  if (!expect_ok(j, drover_rollout_digest(j->objects.rollout, &digest), "digest")) return;
  check(j, digest == case_digest(j->c, j->c->num_steps), "the digest is %016llx, with one worker %016llx",
        (unsigned long long)digest, (unsigned long long)case_digest(j->c, j->c->num_steps));
}

/* Copies of the lifetime steps; the caller frees them. */
static uint64_t *standing(const job *j) {
  drover_batch_view v = {.size = sizeof v};
  uint64_t *copy = calloc((size_t)j->c->num_envs, sizeof *copy);
  if (copy && expect_ok(j, drover_batch_get_view(j->objects.batch, &v), "get_view"))
    memcpy(copy, v.lifetime_steps, (size_t)j->c->num_envs * sizeof *copy);
  return copy;
}

/* ---- Rollouts ------------------------------------------------------------------------------------------------ */

static void collect_on(job *j) {
  uint64_t *begin = standing(j);
  if (!begin) return;
  const drover_status status = drover_rollout_collect(j->objects.rollout);
  if (status == DROVER_OK || status == DROVER_ERROR_CANCELLED) check_rows(j, begin);
  if (!expect_ok(j, status, "collect again")) check_standing(j);
  free(begin);
}

/* One collect; then another, or the same again after a reset. */
static void do_collect(job *j) {
  const drover_status status = drover_rollout_collect(j->objects.rollout);
  if (!expect_ok(j, status, "collect")) {
    if (status != DROVER_ERROR_CANCELLED) return;
    check_kept(j);
    check_standing(j);
  } else {
    check_digest(j);
  }
  const int32_t next = stress_pick(&j->caller->random, 0, 2);
  if (next == 0) collect_on(j);
  if (next == 1 && expect_ok(j, drover_batch_reset(j->objects.batch, j->c->seed), "reset") &&
      expect_ok(j, drover_rollout_collect(j->objects.rollout), "collect after reset"))
    check_digest(j);
}

static void do_record(job *j) {
  const stress_case *c = j->c;
  const size_t n = (size_t)c->num_envs;
  unsigned char *actions = calloc(n, 8), *clipped = calloc(n, 8);
  float *logprobs = calloc(n, sizeof *logprobs), *values = calloc(n, sizeof *values);
  bool good =
      actions && clipped && logprobs && values && expect_ok(j, drover_rollout_begin(j->objects.rollout), "begin");
  for (int32_t t = 0; good && t < c->num_steps; t++)
    good = expect_ok(j,
                     drover_policy_act(j->objects.policy, j->objects.batch, c->deterministic, actions, logprobs,
                                       c->uniform ? NULL : values),
                     "act") &&
           expect_ok(j, drover_batch_step(j->objects.batch, case_transform(c, actions, clipped)), "step") &&
           expect_ok(j, drover_rollout_record(j->objects.rollout, actions, logprobs, c->uniform ? NULL : values),
                     "record");
  if (good && expect_ok(j, drover_rollout_finish(j->objects.rollout), "finish")) check_digest(j);
  free(actions);
  free(clipped);
  free(logprobs);
  free(values);
}

/* ---- Runs that stop ------------------------------------------------------------------------------------------ */

static void do_stop(job *j, drover_status expected) {
  const drover_status status = drover_rollout_collect(j->objects.rollout);
  if (status == DROVER_ERROR_CANCELLED && j->caller->may_be_cancelled) return;
  if (status == DROVER_OK && expected == DROVER_ERROR_FAULTS) return; /* fewer failed than the limit allows */
  if (!check(j, status == expected, "collect returned %s, not %s", drover_status_name(status),
             drover_status_name(expected)))
    return;
  check(j, drover_last_error()[0] != '\0', "no message");
  check_kept(j);
  check_standing(j);
}

/* ---- Checkpoints --------------------------------------------------------------------------------------------- */

static void do_checkpoint(job *j) {
  if (!expect_ok(j, drover_rollout_collect(j->objects.rollout), "collect")) return;
  size_t bytes = 0;
  if (!expect_ok(j, drover_batch_save(j->objects.batch, NULL, &bytes), "save (size)")) return;
  unsigned char *saved = malloc(bytes);
  if (saved && expect_ok(j, drover_batch_save(j->objects.batch, saved, &bytes), "save")) {
    case_close(&j->objects);
    j->way.shard = stress_pick(&j->caller->random, 0, j->c->num_envs);
    if (expect_ok(j, case_open(&j->objects, j->runtime, j->c, &j->way, j->c->num_steps, -1, 0), "open again") &&
        expect_ok(j, drover_batch_load(j->objects.batch, saved, bytes), "load"))
      collect_on(j);
  }
  free(saved);
}

/* ---- Steps and sends ----------------------------------------------------------------------------------------- */

/* Who stands where in a send/recv job. */
typedef struct flight {
  int32_t *position;      /* [N] steps done */
  uint8_t *in_flight;     /* [N] */
  int32_t *ids;           /* [N] */
  unsigned char *actions; /* [N x 8] */
  int32_t num_in_flight;
} flight;

/* Env e's rows after `position` steps are the reference's. */
static bool check_landed(const job *j, const drover_batch_view *v, int32_t e, int32_t position) {
  const drover_rollout_view *ref = case_caller_rows(j->c);
  const size_t n = (size_t)v->num_envs, row = (size_t)(position - 1) * n + (size_t)e, width = TOY_OBSERVATION_SIZE;
  return check(j,
               same(v->observations + (size_t)e * width, ref->observations + (row + n) * width, width * 4) &&
                   same(&v->rewards[e], &ref->rewards[row], 4) && v->terminated[e] == ref->terminated[row] &&
                   v->truncated[e] == ref->truncated[row] && v->valid[e] == ref->valid[row] &&
                   (!v->inner_samples || same(v->inner_samples + (size_t)e * TOY_SAMPLE_SIZE,
                                              ref->inner_samples + row * TOY_SAMPLE_SIZE, (size_t)TOY_SAMPLE_SIZE * 4)),
               "env %d after %d steps differs from the same steps taken one by one", (int)e, (int)position);
}

static bool send_some(const job *j, flight *f) {
  const stress_case *c = j->c;
  const size_t action_bytes = c->type == &toy_continuous ? 8 : 4;
  const int32_t most = stress_pick(&j->caller->random, 1, c->num_envs);
  const int32_t start = stress_pick(&j->caller->random, 0, c->num_envs - 1),
                stride = stress_pick(&j->caller->random, 1, 3);
  int32_t count = 0;
  for (int32_t i = 0; i < c->num_envs && count < most; i += stride) {
    const int32_t e = (start + i) % c->num_envs;
    if (f->in_flight[e] || f->position[e] >= CASE_REACH * c->num_steps) continue;
    case_caller_action(c, e, (uint64_t)f->position[e], f->actions + (size_t)count * action_bytes);
    f->in_flight[e] = 1;
    f->ids[count++] = e;
  }
  if (count == 0) return true;
  f->num_in_flight += count;
  return expect_ok(j, drover_batch_send(j->objects.batch, count, f->ids, f->actions), "send");
}

static bool receive_some(const job *j, flight *f, int32_t wanted) {
  static const double limits[] = {-1, -1, 0, 0.001, 10};
  const double limit = limits[stress_pick(&j->caller->random, 0, 4)];
  int32_t count = 0;
  const int32_t available = f->num_in_flight;
  const drover_status status = drover_batch_recv(j->objects.batch, wanted, limit, f->ids, &count);
  const bool timed_out = status == DROVER_ERROR_TIMEOUT && limit >= 0 && limit < 1;
  if (!timed_out && !expect_ok(j, status, "recv")) return false;
  const int32_t promised = wanted < available ? wanted : available;
  if (!check(j, timed_out ? count <= promised : count == promised, "recv of %d gave %d of %d in flight", (int)wanted,
             (int)count, (int)available))
    return false;
  drover_batch_view v = {.size = sizeof v};
  if (!expect_ok(j, drover_batch_get_view(j->objects.batch, &v), "get_view")) return false;
  for (int32_t i = 0; i < count; i++) {
    const int32_t e = f->ids[i];
    if (!check(j, e >= 0 && e < j->c->num_envs && f->in_flight[e], "recv gave env %d, which was not in flight", (int)e))
      return false;
    f->in_flight[e] = 0;
    f->num_in_flight--;
    if (!check_landed(j, &v, e, ++f->position[e])) return false;
  }
  return true;
}

static bool step_all(const job *j, flight *f) {
  const stress_case *c = j->c;
  const size_t action_bytes = c->type == &toy_continuous ? 8 : 4;
  for (int32_t e = 0; e < c->num_envs; e++) {
    if (f->position[e] >= CASE_REACH * c->num_steps) return true;
    case_caller_action(c, e, (uint64_t)f->position[e], f->actions + (size_t)e * action_bytes);
  }
  if (!expect_ok(j, drover_batch_step(j->objects.batch, f->actions), "step")) return false;
  drover_batch_view v = {.size = sizeof v};
  bool good = expect_ok(j, drover_batch_get_view(j->objects.batch, &v), "get_view");
  for (int32_t e = 0; good && e < c->num_envs; e++) good = check_landed(j, &v, e, ++f->position[e]);
  return good;
}

/* Send, receive and step in a random order; the batch may be destroyed with envs in flight. */
static void do_exchange(job *j) {
  const size_t n = (size_t)j->c->num_envs;
  flight f = {.position = calloc(n, sizeof *f.position),
              .in_flight = calloc(n, 1),
              .ids = calloc(n, sizeof *f.ids),
              .actions = calloc(n, 8)};
  bool good = f.position && f.in_flight && f.ids && f.actions;
  const int32_t rounds = stress_pick(&j->caller->random, 1, 60);
  for (int32_t i = 0; good && i < rounds; i++) {
    const int32_t next = stress_pick(&j->caller->random, 0, 9);
    if (next == 0 && f.num_in_flight == 0)
      good = step_all(j, &f);
    else if (next < 6 || f.num_in_flight == 0)
      good = send_some(j, &f);
    else
      good = receive_some(j, &f, stress_pick(&j->caller->random, 1, j->c->num_envs));
  }
  if (stress_pick(&j->caller->random, 0, 3) != 0)
    while (good && f.num_in_flight > 0) good = receive_some(j, &f, j->c->num_envs);
  free(f.position);
  free(f.in_flight);
  free(f.ids);
  free(f.actions);
}

/* ---- Choosing ------------------------------------------------------------------------------------------------ */

static void run_job(job *j) {
  drover_random *r = &j->caller->random;
  const stress_case *c = j->c;
  int32_t kind = stress_pick(r, 0, 9), fail_env = -1;
  uint64_t fail_step = 0;
  if ((kind == 7 && c->type == &toy_continuous) || (kind == 8 && c->uniform) || (kind == 9 && !c->fails)) kind = 0;
  if ((kind == 3 || kind == 4) && c->type == &toy_continuous && c->transform == DROVER_ACTION_TANH)
    kind = 0; /* no tanh for callers */
  if (kind == 8) {
    fail_env = stress_pick(r, 0, c->num_envs - 1);
    fail_step = (uint64_t)stress_pick(r, 0, c->num_steps - 1);
  }
  if (kind == 9) j->way.fault_limit = stress_pick(r, 0, 5);
  static const char *const names[] = {"collect",  "collect",  "collect",    "record",         "record",
                                      "exchange", "exchange", "checkpoint", "failing policy", "faults"};
  j->what = names[kind];
  watch_note("%s of case %d: N=%d T=%d shard=%d chunk=%d barrier=%d", j->what, (int)c->index, (int)c->num_envs,
             (int)c->num_steps, (int)j->way.shard, (int)j->way.chunk, (int)j->way.barrier);
  const drover_status opened = case_open(&j->objects, j->runtime, c, &j->way, c->num_steps, fail_env, fail_step);
  const bool too_faulty = kind == 9 && opened == DROVER_ERROR_FAULTS; /* already the first resets */
  if (!too_faulty && expect_ok(j, opened, "open")) {
    if (kind <= 2) do_collect(j);
    if (kind == 3 || kind == 4) do_record(j);
    if (kind == 5 || kind == 6) do_exchange(j);
    if (kind == 7) do_checkpoint(j);
    if (kind == 8) do_stop(j, DROVER_ERROR_POLICY);
    if (kind == 9) do_stop(j, DROVER_ERROR_FAULTS);
  }
  case_close(&j->objects);
}

void stress_do_job(stress_caller *caller) {
  drover_random *r = &caller->random;
  const stress_case *c = case_at(stress_pick(r, 0, NUM_CASES - 1));
  job j = {.caller = caller, .runtime = caller->runtime, .c = c, .way = {.fault_limit = INT64_MAX}};
  if (stress_pick(r, 0, 1)) j.way.shard = stress_pick(r, 1, c->num_envs);
  if (stress_pick(r, 0, 2) == 0) j.way.chunk = stress_pick(r, 1, 8);
  j.way.scalar = stress_pick(r, 0, 1);
  j.way.barrier = stress_pick(r, 0, 7) == 0;
  const bool own_runtime = stress_pick(r, 0, 7) == 0;
  if (own_runtime) {
    drover_runtime_options options;
    drover_runtime_options_init(&options, sizeof options);
    options.num_workers = stress_pick(r, 1, caller->most_workers);
    options.trace_events = stress_pick(r, 0, 1) * 100;
    watch_note("creating a runtime of %d workers", (int)options.num_workers);
    j.runtime = NULL;
    j.what = "own runtime";
    if (!check(&j, drover_runtime_create(&j.runtime, &options) == DROVER_OK, "runtime create")) return;
  }
  run_job(&j);
  if (!own_runtime) return;
  watch_note("destroying a runtime");
  j.what = "own runtime";
  check(&j, drover_runtime_destroy(j.runtime) == DROVER_OK, "runtime destroy");
}
