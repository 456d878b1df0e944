/* verify.c: `drover verify`: does every way of running a rollout give the bytes of a plain loop on one thread? */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/commands.h"
#include "tools/interrupt.h"
#include "tools/json.h"
#include "tools/options.h"
#include "tools/setup.h"
#include "tools/verify_loop.h"

enum {
  DEFAULT_NUM_ENVS = 50, /* no multiple of a SIMD width or a tile */
  DEFAULT_NUM_STEPS = 64,
  MAX_RUNS = 512,
  NUM_WORKERS = 4,
  NUM_SHARDS = 4,
  MORE_ENVS = 13, /* that stand beside the others in mode `wider` */
  KEY_ACTIVATION = DR_KEY_OWN,
  KEY_AUTORESET
};
static const float GAMMA = 0.99f, GAE_LAMBDA = 0.95f;

static const struct argp_option rows[] = {
    {NULL, 0, NULL, 0, "What runs:", 1},
    DR_OPTION_ENV,
    DR_OPTION_ENV_ARG,
    DR_OPTION_NUM_ENVS,
    DR_OPTION_STEPS,
    DR_OPTION_SEED,
    DR_OPTION_POLICY,
    {"activation", KEY_ACTIVATION, "A", 0, "Of an mlp: relu, tanh (default), elu, leaky-relu or identity", 1},
    {"autoreset", KEY_AUTORESET, "WHEN", 0, "same-step (default) or next-step", 1},
    {NULL, 0, NULL, 0, "What comes out:", 3},
    DR_OPTION_JSON,
    DR_OPTION_QUIET,
    {0}};

typedef struct request {
  dr_options common;
  const drover_env_type *type;
  dr_policy_choice policy;
  const char *activation;
  drover_autoreset autoreset;
} request;

static error_t parse(int key, char *arg, struct argp_state *state) {
  static const char *const autoreset_names[] = {"same-step", "next-step", NULL};
  request *q = state->input;
  switch (key) {
    case KEY_ACTIVATION:
      q->activation = arg;
      return 0;
    case KEY_AUTORESET:
      q->autoreset = (drover_autoreset)dr_options_choice(q->common.command, "autoreset", arg, autoreset_names);
      return 0;
    case ARGP_KEY_ARG:
      if (q->common.env)
        dr_usage_error(q->common.command, "takes one environment, got '%s' and '%s'", q->common.env, arg);
      q->common.env = arg;
      return 0;
    default:
      return dr_options_parse(key, arg, &q->common);
  }
}

/* ---- The grid --------------------------------------------------------------------------------------------------- */

typedef enum mode {
  MODE_FUSED,    /* collect: chains without barriers */
  MODE_BARRIER,  /* collect with a barrier after every step */
  MODE_HALVES,   /* two collects of half the steps */
  MODE_WIDER,    /* more envs beside them */
  MODE_STEP,     /* act, step, record by the caller */
  MODE_EXCHANGE, /* act, send, recv in portions, record */
  NUM_MODES
} mode;
static const char *const mode_names[NUM_MODES] = {"fused", "barrier", "halves", "wider", "step", "send/recv"};

static const int32_t worker_counts[NUM_WORKERS] = {1, 2, 3, 8};

/* One way to run, and what came of it. */
typedef struct run {
  mode mode;
  int32_t workers, shard, chunk; /* shard, chunk 0 = automatic */
  bool scalar;
  bool equal;
  int32_t joined; /* workers that took part */
  uint64_t digest;
} run;

/* The first place where a run differs from the loop. */
typedef struct difference {
  bool found;
  run where;
  const char *field;
  int64_t step, env, element; /* of a list: step is the place in it, env -1 */
  double expected, got;
  uint64_t expected_bits, got_bits;
} difference;

typedef struct grid {
  const request *q;
  drover_rollout_view loop;
  run runs[MAX_RUNS];
  int32_t num_runs, num_equal;
  difference first;
  bool interrupted;
} grid;

static void add_run(grid *g, run r) {
  if (g->num_runs < MAX_RUNS) g->runs[g->num_runs++] = r;
}

/* All shards, chunks and ways of stepping for the fused mode; the others with a few each. */
static void plan(grid *g) {
  const int32_t n = g->q->common.num_envs, half = g->q->common.num_steps / 2;
  const int32_t shards[NUM_SHARDS] = {0, 1, n < 7 ? n : 7, n};
  const int num_kinds = g->q->type->step_many ? 2 : 1;
  for (int w = 0; w < NUM_WORKERS; w++) {
    const int32_t workers = worker_counts[w];
    for (int s = 0; s < NUM_SHARDS; s++)
      for (int32_t chunk = 0; chunk <= 3; chunk += 3)
        for (int kind = 0; kind < num_kinds; kind++)
          add_run(
              g,
              (run){.mode = MODE_FUSED, .workers = workers, .shard = shards[s], .chunk = chunk, .scalar = kind == 1});
    for (mode m = MODE_BARRIER; m < NUM_MODES; m++) {
      if (m == MODE_HALVES && half == 0) continue;
      if (m == MODE_WIDER && n > DROVER_MAX_ENVS - MORE_ENVS) continue;
      add_run(g, (run){.mode = m, .workers = workers});
      add_run(g, (run){.mode = m, .workers = workers, .shard = shards[2], .chunk = 1});
    }
  }
}

/* ---- Comparing -------------------------------------------------------------------------------------------------- */

typedef enum kind { KIND_FLOAT, KIND_INT, KIND_BYTE } kind;

static double read_element(kind k, const void *array, size_t i, uint64_t *bits) {
  *bits = 0;
  if (k == KIND_BYTE) return (double)(*bits = ((const uint8_t *)array)[i]);
  memcpy(bits, (const char *)array + 4 * i, 4);
  return k == KIND_INT ? (double)((const int32_t *)array)[i] : (double)((const float *)array)[i];
}

/* Where in the run's view the loop's rows lie. */
typedef struct window {
  int32_t num_envs;   /* of the run; the loop's are the first of them */
  int32_t num_steps;  /* compared */
  int32_t first_step; /* of the loop, that belongs to the run's step 0 */
} window;

static void note_difference(grid *g, const run *r, const char *field, kind k, int64_t step, int64_t env,
                            int64_t element, const void *expected, size_t at, const void *got, size_t other) {
  if (g->first.found) return;
  difference *d = &g->first;
  *d = (difference){.found = true, .where = *r, .field = field, .step = step, .env = env, .element = element};
  d->where.equal = false;
  d->expected = read_element(k, expected, at, &d->expected_bits);
  d->got = read_element(k, got, other, &d->got_bits);
}

/* Equal buffers of equal shape under two digests. */
static void note_digest(grid *g, const run *r) {
  const int32_t halves[2] = {(int32_t)(g->runs[0].digest >> 32), (int32_t)(r->digest >> 32)};
  note_difference(g, r, "digest", KIND_INT, -1, -1, -1, halves, 0, halves, 1);
}

/* [steps x N x width] of the loop against the run's. */
static bool compare_rows(grid *g, const run *r, const char *field, kind k, const window *w, int32_t num_steps,
                         int32_t width, const void *expected, const void *got) {
  if (!expected && !got) return true;
  const size_t n = (size_t)g->loop.num_envs, size = k == KIND_BYTE ? 1 : 4, wide = (size_t)width;
  if (!expected || !got) {
    const uint8_t has_none = 0, has = 1;
    note_difference(g, r, field, KIND_BYTE, -1, -1, -1, expected ? &has : &has_none, 0, got ? &has : &has_none, 0);
    return false;
  }
  for (int32_t t = 0; t < num_steps; t++) {
    const size_t at = (size_t)(t + w->first_step) * n * wide, other = (size_t)t * (size_t)w->num_envs * wide;
    if (memcmp((const char *)expected + at * size, (const char *)got + other * size, n * wide * size) == 0) continue;
    for (size_t i = 0; i < n * wide; i++)
      if (memcmp((const char *)expected + (at + i) * size, (const char *)got + (other + i) * size, size) != 0) {
        note_difference(g, r, field, k, t + w->first_step, (int64_t)(i / wide), (int64_t)(i % wide), expected, at + i,
                        got, other + i);
        return false;
      }
  }
  return true;
}

/* A list of `count` items against the loop's, as numbers of four bytes. */
static bool compare_list(grid *g, const run *r, const char *field, kind k, int64_t count, int64_t other_count,
                         size_t width, const void *expected, const void *got) {
  if (count != other_count) {
    const int32_t counts[2] = {(int32_t)count, (int32_t)other_count};
    note_difference(g, r, field, KIND_INT, -1, -1, -1, counts, 0, counts, 1);
    return false;
  }
  for (size_t i = 0; i < (size_t)count * width; i++)
    if (memcmp((const char *)expected + 4 * i, (const char *)got + 4 * i, 4) != 0) {
      note_difference(g, r, field, k, (int64_t)(i / width), -1, (int64_t)(i % width), expected, i, got, i);
      return false;
    }
  return true;
}

static bool compare_lists(grid *g, const run *r, const drover_rollout_view *v) {
  const drover_rollout_view *l = &g->loop;
  _Static_assert(sizeof(drover_episode) == 24 && sizeof(drover_fault) == 16,
                 "lists are compared in words of four bytes");
  return compare_list(g, r, "episodes", KIND_INT, l->num_episodes, v->num_episodes, 6, l->episodes, v->episodes) &&
         compare_list(g, r, "faults", KIND_INT, l->num_faults, v->num_faults, 4, l->faults, v->faults) &&
         compare_list(g, r, "final_observations", KIND_FLOAT, l->num_episodes, v->num_episodes,
                      (size_t)l->observation_size, l->final_observations, v->final_observations) &&
         (!l->values || compare_list(g, r, "final_values", KIND_FLOAT, l->num_episodes, v->num_episodes, 1,
                                     l->final_values, v->final_values));
}

static bool compare(grid *g, const run *r, const drover_rollout_view *v, const window *w) {
  const drover_rollout_view *l = &g->loop;
  const int32_t t = w->num_steps;
  const kind action = l->action_kind == DROVER_ACTION_DISCRETE ? KIND_INT : KIND_FLOAT;
  const bool rows_equal =
      compare_rows(g, r, "observations", KIND_FLOAT, w, t + 1, l->observation_size, l->observations, v->observations) &&
      compare_rows(g, r, "actions", action, w, t, l->action_size, l->actions, v->actions) &&
      compare_rows(g, r, "logprobs", KIND_FLOAT, w, t, 1, l->logprobs, v->logprobs) &&
      compare_rows(g, r, "values", KIND_FLOAT, w, t + 1, 1, l->values, v->values) &&
      compare_rows(g, r, "rewards", KIND_FLOAT, w, t, 1, l->rewards, v->rewards) &&
      compare_rows(g, r, "terminated", KIND_BYTE, w, t, 1, l->terminated, v->terminated) &&
      compare_rows(g, r, "truncated", KIND_BYTE, w, t, 1, l->truncated, v->truncated) &&
      compare_rows(g, r, "valid", KIND_BYTE, w, t, 1, l->valid, v->valid) &&
      compare_rows(g, r, "infos", KIND_FLOAT, w, t, l->num_infos, l->infos, v->infos);
  if (!rows_equal || t != l->num_steps) return rows_equal; /* half a rollout has other advantages */
  return compare_rows(g, r, "advantages", KIND_FLOAT, w, t, 1, l->advantages, v->advantages) &&
         compare_rows(g, r, "returns", KIND_FLOAT, w, t, 1, l->returns, v->returns) &&
         (w->num_envs != l->num_envs || compare_lists(g, r, v));
}

/* ---- Running ---------------------------------------------------------------------------------------------------- */

typedef struct objects {
  drover_runtime *runtime;
  drover_policy *policy;
  drover_batch *batch;
  drover_rollout *rollout;
  drover_env_spec spec;
  unsigned char *actions, *given; /* [N x action_size] for the modes that the caller drives; scratch of the largest N */
  float *logprobs, *values;
  int32_t *ids;
} objects;

static drover_status open_runtime(objects *o, const request *q, int32_t workers);

static drover_status make_batch(objects *o, const request *q, int32_t num_envs, const run *r) {
  drover_batch_options options;
  drover_status status = drover_batch_options_init(&options, sizeof options);
  if (status != DROVER_OK) return status;
  options.num_envs = num_envs;
  options.seed = q->common.seed;
  options.shard = r->shard;
  options.chunk = r->chunk;
  options.scalar = r->scalar;
  options.autoreset = q->autoreset;
  options.fault_limit = INT64_MAX;
  options.args = (drover_env_args){q->common.num_env_args, q->common.env_args};
  status = drover_batch_create(&o->batch, o->runtime, q->type, &options);
  if (status != DROVER_OK) return status;
  drover_batch_view view = {.size = sizeof view};
  status = drover_batch_get_view(o->batch, &view);
  o->spec = *view.spec;
  return status;
}

/* As collect does by itself: continuous actions reach the env within its bounds. */
static const void *clip(const objects *o, int32_t num_envs) {
  if (o->spec.action_kind == DROVER_ACTION_DISCRETE) return o->actions;
  const float *raw = (const float *)(const void *)o->actions;
  float *to = (float *)(void *)o->given;
  const int32_t size = o->spec.action_size;
  for (int32_t i = 0; i < num_envs * size; i++) {
    const float low = o->spec.action_low[i % size], high = o->spec.action_high[i % size];
    to[i] = raw[i] < low ? low : raw[i] > high ? high : raw[i];
  }
  return to;
}

/* Receive everything, in portions of a third; odd steps send the envs in two parts. */
static drover_status exchange(const objects *o, int32_t num_envs, const void *actions, int32_t t) {
  const size_t action_bytes = (size_t)o->spec.action_size * 4;
  const int32_t first = t % 2 ? num_envs / 2 : num_envs;
  for (int32_t e = 0; e < num_envs; e++) o->ids[e] = e;
  drover_status status = DROVER_OK;
  if (first > 0) status = drover_batch_send(o->batch, first, o->ids, actions);
  if (status == DROVER_OK && first < num_envs)
    status = drover_batch_send(o->batch, num_envs - first, o->ids + first,
                               (const char *)actions + (size_t)first * action_bytes);
  for (int32_t got = 0, count = 0; status == DROVER_OK && got < num_envs; got += count)
    status = drover_batch_recv(o->batch, num_envs / 3 + 1, -1, o->ids, &count);
  return status;
}

/* The caller drives: act, step or send and receive, record. */
static drover_status drive(const objects *o, int32_t num_envs, int32_t num_steps, bool exchanges, bool has_values) {
  float *values = has_values ? o->values : NULL;
  drover_status status = drover_rollout_begin(o->rollout);
  for (int32_t t = 0; t < num_steps && status == DROVER_OK; t++) {
    status = drover_policy_act(o->policy, o->batch, 0, o->actions, o->logprobs, values);
    const void *given = clip(o, num_envs);
    if (status == DROVER_OK) status = exchanges ? exchange(o, num_envs, given, t) : drover_batch_step(o->batch, given);
    if (status == DROVER_OK) status = drover_rollout_record(o->rollout, o->actions, o->logprobs, values);
  }
  return status == DROVER_OK ? drover_rollout_finish(o->rollout) : status;
}

static drover_status compare_run(grid *g, run *r, const objects *o, const window *w) {
  drover_rollout_view v = {.size = sizeof v};
  const drover_status status = drover_rollout_get_view(o->rollout, &v);
  if (status == DROVER_OK) r->equal = compare(g, r, &v, w) && r->equal;
  return status;
}

static drover_status collect_and_compare(grid *g, run *r, objects *o, int32_t num_envs) {
  const int32_t num_steps = g->q->common.num_steps, half = num_steps / 2;
  window w = {.num_envs = num_envs, .num_steps = r->mode == MODE_HALVES ? half : num_steps};
  drover_status status = DROVER_OK;
  if (r->mode == MODE_STEP || r->mode == MODE_EXCHANGE)
    status = drive(o, num_envs, num_steps, r->mode == MODE_EXCHANGE, g->loop.values != NULL);
  else
    status = drover_rollout_collect(o->rollout);
  if (status == DROVER_OK) status = drover_rollout_digest(o->rollout, &r->digest);
  if (status == DROVER_OK) status = compare_run(g, r, o, &w);
  if (r->equal && num_envs == g->loop.num_envs && r->mode != MODE_HALVES && r->digest != g->runs[0].digest) {
    r->equal = false;
    note_digest(g, r);
  }
  if (r->mode != MODE_HALVES || status != DROVER_OK) return status;
  w.first_step = half;
  status = drover_rollout_collect(o->rollout);
  return status == DROVER_OK ? compare_run(g, r, o, &w) : status;
}

static drover_status do_run(grid *g, run *r, objects *o) {
  const request *q = g->q;
  const int32_t num_envs = q->common.num_envs + (r->mode == MODE_WIDER ? MORE_ENVS : 0);
  drover_rollout_options options;
  drover_status status = drover_rollout_options_init(&options, sizeof options);
  options.num_steps = r->mode == MODE_HALVES ? q->common.num_steps / 2 : q->common.num_steps;
  options.gamma = GAMMA;
  options.gae_lambda = GAE_LAMBDA;
  options.barrier = r->mode == MODE_BARRIER;
  r->equal = true;
  drover_runtime_reset_stats(o->runtime);
  if (status == DROVER_OK) status = make_batch(o, q, num_envs, r);
  if (status == DROVER_OK) status = drover_rollout_create(&o->rollout, o->batch, o->policy, &options);
  if (status == DROVER_OK) status = collect_and_compare(g, r, o, num_envs);
  drover_runtime_stats stats = {.size = sizeof stats};
  if (status == DROVER_OK) status = drover_runtime_get_stats(o->runtime, &stats);
  r->joined = stats.num_joined;
  drover_rollout_destroy(o->rollout);
  drover_batch_destroy(o->batch);
  o->rollout = NULL;
  o->batch = NULL;
  return status;
}

/* ---- Objects ---------------------------------------------------------------------------------------------------- */

/* A runtime of so many workers with the policy; a batch that tells the env's spec lives for a moment. */
static drover_status open_runtime(objects *o, const request *q, int32_t workers) {
  drover_runtime_options options;
  drover_status status = drover_runtime_options_init(&options, sizeof options);
  options.num_workers = workers;
  if (status == DROVER_OK) status = drover_runtime_create(&o->runtime, &options);
  if (status == DROVER_OK) dr_interrupt_watch(o->runtime);
  if (status == DROVER_OK) status = make_batch(o, q, 1, &(run){0});
  if (status == DROVER_OK)
    status = dr_policy_choice_create(&o->policy, o->runtime, &o->spec, &q->policy, q->common.seed);
  drover_batch_destroy(o->batch);
  o->batch = NULL;
  const size_t n = (size_t)q->common.num_envs + MORE_ENVS,
               bytes = n * (size_t)(o->spec.action_size > 0 ? o->spec.action_size : 1) * 4;
  o->actions = calloc(1, bytes);
  o->given = calloc(1, bytes);
  o->logprobs = calloc(n, sizeof *o->logprobs);
  o->values = calloc(n, sizeof *o->values);
  o->ids = calloc(n, sizeof *o->ids);
  const bool good = o->actions && o->given && o->logprobs && o->values && o->ids;
  return status == DROVER_OK && !good ? DROVER_ERROR_NO_MEMORY : status;
}

static void close_runtime(objects *o) {
  dr_interrupt_watch(NULL);
  drover_policy_destroy(o->policy);
  drover_runtime_destroy(o->runtime);
  free(o->actions);
  free(o->given);
  free(o->logprobs);
  free(o->values);
  free(o->ids);
  *o = (objects){0};
}

static drover_status run_loop(grid *g) {
  const request *q = g->q;
  objects o = {0};
  drover_status status = open_runtime(&o, q, 1);
  if (status == DROVER_OK)
    status = dr_loop_run(&(dr_loop_request){.type = q->type,
                                            .args = {q->common.num_env_args, q->common.env_args},
                                            .policy = o.policy,
                                            .runtime = o.runtime,
                                            .num_envs = q->common.num_envs,
                                            .num_steps = q->common.num_steps,
                                            .seed = q->common.seed,
                                            .autoreset = q->autoreset,
                                            .gamma = GAMMA,
                                            .gae_lambda = GAE_LAMBDA},
                         &g->loop);
  close_runtime(&o);
  return status;
}

/* Runs are planned by number of workers, so one runtime serves its runs one after the other. */
static drover_status run_grid(grid *g) {
  drover_status status = run_loop(g);
  objects o = {0};
  for (int32_t i = 0; i < g->num_runs && status == DROVER_OK && !g->interrupted; i++) {
    run *r = &g->runs[i];
    if (i == 0 || r->workers != g->runs[i - 1].workers) {
      close_runtime(&o);
      status = open_runtime(&o, g->q, r->workers);
    }
    if (status == DROVER_OK) status = do_run(g, r, &o);
    if (status == DROVER_OK) g->num_equal += r->equal;
    g->interrupted = dr_interrupt_pending();
  }
  close_runtime(&o);
  return status;
}

/* ---- Reporting -------------------------------------------------------------------------------------------------- */

/* The runs of one mode with so many workers, as a word for the table. */
static const char *verdict(const grid *g, mode m, int32_t workers, int32_t *joined) {
  int32_t num_runs = 0, num_equal = 0;
  for (int32_t i = 0; i < g->num_runs; i++) {
    const run *r = &g->runs[i];
    if (r->mode != m || r->workers != workers) continue;
    num_runs++;
    num_equal += r->equal;
    if (r->joined > *joined) *joined = r->joined;
  }
  return num_runs == 0 ? "-" : num_runs == num_equal ? "ok" : "DIFFERS";
}

static void print_difference(const difference *d) {
  const run *r = &d->where;
  char shard[16] = "auto", chunk[16] = "auto";
  if (r->shard) snprintf(shard, sizeof shard, "%d", (int)r->shard);
  if (r->chunk) snprintf(chunk, sizeof chunk, "%d", (int)r->chunk);
  printf("\nFirst difference: %s, --workers %d, shard %s, chunk %s%s\n", mode_names[r->mode], (int)r->workers, shard,
         chunk, r->scalar ? ", scalar steps" : "");
  if (d->step < 0)
    printf("  %s: the loop has %g, the run %g of them\n", d->field, d->expected, d->got);
  else if (d->env < 0)
    printf("  %s[%" PRId64 "], word %" PRId64 ": the loop has %.9g (%08" PRIx64 "), the run %.9g (%08" PRIx64 ")\n",
           d->field, d->step, d->element, d->expected, d->expected_bits, d->got, d->got_bits);
  else
    printf("  %s at step %" PRId64 ", env %" PRId64 ", element %" PRId64 ": the loop has %.9g (%08" PRIx64
           "), the run %.9g (%08" PRIx64 ")\n",
           d->field, d->step, d->env, d->element, d->expected, d->expected_bits, d->got, d->got_bits);
}

static void print_report(const grid *g) {
  const dr_options *c = &g->q->common;
  printf("%s, %d envs, %d steps, policy %s, seed %" PRIu64 "\n", g->q->type->name, (int)c->num_envs, (int)c->num_steps,
         c->policy, c->seed);
  printf("Against a plain loop over the env's functions on one thread, byte for byte:\n\n%-10s", "workers");
  for (int m = 0; m < NUM_MODES; m++) printf("  %-9s", mode_names[m]);
  printf("  joined\n");
  for (int w = 0; w < NUM_WORKERS; w++) {
    int32_t joined = 0;
    printf("%-10d", (int)worker_counts[w]);
    for (mode m = 0; m < NUM_MODES; m++) printf("  %-9s", verdict(g, m, worker_counts[w], &joined));
    printf("  %d\n", (int)joined);
  }
  if (g->first.found) print_difference(&g->first);
  printf("\n%d of %d runs give the loop's bytes (shards auto, 1, 7 and all; chunks auto and 3; %s)", (int)g->num_equal,
         (int)g->num_runs, g->q->type->step_many ? "step_many and step" : "step");
  if (g->num_runs > 0 && g->num_equal == g->num_runs) printf("; digest %016" PRIx64, g->runs[0].digest);
  printf("\n");
}

static json_t *describe(const run *r) {
  return json_pack("{s:s, s:i, s:i, s:i, s:i, s:b, s:b, s:o}", "mode", mode_names[r->mode], "workers", (int)r->workers,
                   "joined", (int)r->joined, "shard", (int)r->shard, "chunk", (int)r->chunk, "scalar", (int)r->scalar,
                   "equal", (int)r->equal, "digest", dr_json_digest(r->digest));
}

static json_t *describe_difference(const difference *d) {
  if (!d->found) return json_null();
  json_t *object = describe(&d->where);
  json_object_set_new(object, "field", json_string(d->field));
  json_object_set_new(object, "step", json_integer(d->step));
  json_object_set_new(object, "env", json_integer(d->env));
  json_object_set_new(object, "element", json_integer(d->element));
  json_object_set_new(object, "expected", dr_json_number(d->expected));
  json_object_set_new(object, "got", dr_json_number(d->got));
  return object;
}

static int print_json(const grid *g) {
  const dr_options *c = &g->q->common;
  const bool all_equal = g->num_equal == g->num_runs;
  json_t *runs = json_array();
  for (int32_t i = 0; i < g->num_runs; i++) json_array_append_new(runs, describe(&g->runs[i]));
  return dr_json_print(json_pack("{s:s, s:i, s:i, s:I, s:s, s:i, s:i, s:b, s:o, s:o, s:o}", "env", g->q->type->name,
                                 "num_envs", (int)c->num_envs, "num_steps", (int)c->num_steps, "seed",
                                 (json_int_t)c->seed, "policy", c->policy, "num_runs", (int)g->num_runs, "num_equal",
                                 (int)g->num_equal, "equal", (int)all_equal, "digest",
                                 all_equal ? dr_json_digest(g->runs[0].digest) : json_null(), "first_difference",
                                 describe_difference(&g->first), "runs", runs));
}

/* ---- The command ------------------------------------------------------------------------------------------------ */

static void complete(request *q) {
  dr_options *c = &q->common;
  if (!c->env) dr_usage_error(c->command, "which environment? `drover envs` lists them");
  if (!c->policy) c->policy = "mlp:64,64";
  q->type = dr_find_env(c->command, c->env);
  if (c->num_envs == 0) c->num_envs = DEFAULT_NUM_ENVS;
  if (c->num_steps == 0) c->num_steps = DEFAULT_NUM_STEPS;
  dr_policy_choice_parse(&q->policy, c->command, c->policy, q->activation);
}

int dr_cmd_verify(int argc, char **argv) {
  static const struct argp argp = {
      rows,
      parse,
      "ENV",
      "Compute a rollout in a plain loop on one thread, without the scheduler, and then in every other way, on 1, 2, 3 "
      "and "
      "8 workers; compare all buffers byte for byte, and say where the first difference is.\v"
      "Ways: fused (no barriers), barrier (all wait after every step), halves (two rollouts of half the steps), wider "
      "(more envs beside these), step (the caller acts and steps), send/recv. An env that differs keeps state outside "
      "its own, draws random numbers elsewhere than from its stream, or has a step_many that is not its step.\n\n"
      "Examples:\n"
      "  drover verify CartPole-v1\n"
      "  drover verify Spin-v0 --env-arg cost=5us,dist=pareto --policy random\n"
      "  drover verify ./my_env.so --num-envs 200 --steps 500\n"
      "\n"
      "Defaults: 50 environments, 64 steps, mlp:64,64. Exit code 1 on a difference.",
      NULL,
      NULL,
      NULL};
  request q = {.common = {.command = "verify"}};
  dr_options_run(&argp, "verify", argc, argv, &q);
  complete(&q);
  dr_interrupt_install();
  grid *g = calloc(1, sizeof *g);
  if (!g) {
    fputs("drover verify: out of memory\n", stderr);
    return DR_EXIT_FAILED;
  }
  g->q = &q;
  plan(g);
  const drover_status status = run_grid(g);
  int code = g->num_equal == g->num_runs ? DR_EXIT_DONE : DR_EXIT_FAILED;
  if (g->interrupted || status == DROVER_ERROR_CANCELLED) {
    fputs("drover verify: interrupted\n", stderr);
    code = DR_EXIT_INTERRUPTED;
  } else if (status != DROVER_OK) {
    code = dr_report_failure("verify", NULL, status);
  } else if (!q.common.json) {
    print_report(g);
  } else if (print_json(g) != 0) {
    code = DR_EXIT_FAILED;
  }
  dr_loop_free(&g->loop);
  free(g);
  return code;
}
