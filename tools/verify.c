/* verify.c: `drover verify`: does every way of running a rollout give the bytes of a plain loop on one thread? */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "perf/clock.h"
#include "tools/commands.h"
#include "tools/interrupt.h"
#include "tools/options.h"
#include "tools/progress.h"
#include "tools/setup.h"
#include "tools/verify.h"
#include "tools/verify_loop.h"

enum {
  DEFAULT_NUM_ENVS = 50, /* no multiple of a SIMD width or a tile */
  DEFAULT_NUM_STEPS = 64,
  NUM_SHARDS = 4,
  MORE_ENVS = 13, /* that stand beside the others in mode `wider` */
  KEY_AUTORESET = DR_KEY_OWN
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
    DR_OPTION_INNER_POLICY,
    DR_OPTION_ACTIVATION,
    {"autoreset", KEY_AUTORESET, "WHEN", 0, "same-step (default) or next-step", 1},
    {NULL, 0, NULL, 0, "What comes out:", 3},
    DR_OPTION_JSON,
    DR_OPTION_QUIET,
    {0}};

static error_t parse(int key, char *arg, struct argp_state *state) {
  static const char *const autoreset_names[] = {"same-step", "next-step", NULL};
  dr_verify_request *q = state->input;
  switch (key) {
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

const int32_t dr_verify_worker_counts[DR_VERIFY_NUM_WORKERS] = {1, 2, 3, 8};

/* ---- The grid --------------------------------------------------------------------------------------------------- */

static void add_run(dr_verify_grid *g, dr_verify_run r) {
  if (g->num_runs < DR_VERIFY_MAX_RUNS) g->runs[g->num_runs++] = r;
}

/* All shards, chunks and ways of stepping for the fused mode; the others with a few each. */
static void plan(dr_verify_grid *g) {
  const int32_t n = g->request->common.num_envs, half = g->request->common.num_steps / 2;
  const int32_t shards[NUM_SHARDS] = {0, 1, n < 7 ? n : 7, n};
  const int num_kinds = g->request->type->step_many ? 2 : 1;
  for (int w = 0; w < DR_VERIFY_NUM_WORKERS; w++) {
    const int32_t workers = dr_verify_worker_counts[w];
    for (int s = 0; s < NUM_SHARDS; s++)
      for (int32_t chunk = 0; chunk <= 3; chunk += 3)
        for (int kind = 0; kind < num_kinds; kind++)
          add_run(g, (dr_verify_run){.mode = DR_VERIFY_FUSED,
                                     .workers = workers,
                                     .shard = shards[s],
                                     .chunk = chunk,
                                     .scalar = kind == 1});
    for (dr_verify_mode m = DR_VERIFY_BARRIER; m < DR_VERIFY_NUM_MODES; m++) {
      if (m == DR_VERIFY_HALVES && half == 0) continue;
      if (m == DR_VERIFY_WIDER && n > DROVER_MAX_ENVS - MORE_ENVS) continue;
      add_run(g, (dr_verify_run){.mode = m, .workers = workers});
      add_run(g, (dr_verify_run){.mode = m, .workers = workers, .shard = shards[2], .chunk = 1});
    }
  }
}

/* ---- Running ---------------------------------------------------------------------------------------------------- */

/* What serves all runs with so many workers, whose batch and rollout are each run's own. */
typedef struct objects {
  dr_handles h;
  drover_rollout *rollout;
  unsigned char *actions, *given; /* [N x action_size] for the modes that the caller drives; scratch of the largest N */
  float *logprobs, *values;
  int32_t *ids;
} objects;

static drover_status batch_options_for(drover_batch_options *out, const dr_verify_request *q, const dr_verify_run *r) {
  const drover_status status = dr_batch_options_for(out, &q->common);
  out->shard = r->shard;
  out->chunk = r->chunk;
  out->scalar = r->scalar;
  out->autoreset = q->autoreset;
  out->fault_limit = INT64_MAX;
  return status;
}

static drover_status make_batch(objects *o, const dr_verify_request *q, int32_t num_envs, const dr_verify_run *r) {
  drover_batch_options options;
  drover_status status = batch_options_for(&options, q, r);
  options.num_envs = num_envs;
  if (status == DROVER_OK) status = drover_batch_create(&o->h.batch, o->h.runtime, q->type, &options);
  if (status != DROVER_OK) return status;
  if (o->h.inner_policy) status = drover_batch_set_inner_policy(o->h.batch, o->h.inner_policy);
  drover_batch_view view = {.size = sizeof view};
  if (status == DROVER_OK) status = drover_batch_get_view(o->h.batch, &view);
  o->h.spec = view.spec;
  return status;
}

/* As collect does by itself: continuous actions reach the env within its bounds. */
static const void *clip(const objects *o, int32_t num_envs) {
  if (o->h.spec->action_kind == DROVER_ACTION_DISCRETE) return o->actions;
  const float *raw = (const float *)(const void *)o->actions;
  float *to = (float *)(void *)o->given;
  const int32_t size = o->h.spec->action_size;
  for (int32_t i = 0; i < num_envs * size; i++) {
    const float low = o->h.spec->action_low[i % size], high = o->h.spec->action_high[i % size];
    to[i] = raw[i] < low ? low : raw[i] > high ? high : raw[i];
  }
  return to;
}

/* Receive everything, in portions of a third; odd steps send the envs in two parts. */
static drover_status exchange(const objects *o, int32_t num_envs, const void *actions, int32_t t) {
  const size_t action_bytes = (size_t)o->h.spec->action_size * 4;
  const int32_t first = t % 2 ? num_envs / 2 : num_envs;
  for (int32_t e = 0; e < num_envs; e++) o->ids[e] = e;
  drover_status status = DROVER_OK;
  if (first > 0) status = drover_batch_send(o->h.batch, first, o->ids, actions);
  if (status == DROVER_OK && first < num_envs)
    status = drover_batch_send(o->h.batch, num_envs - first, o->ids + first,
                               (const char *)actions + (size_t)first * action_bytes);
  for (int32_t got = 0, count = 0; status == DROVER_OK && got < num_envs; got += count)
    status = drover_batch_recv(o->h.batch, num_envs / 3 + 1, -1, o->ids, &count);
  return status;
}

/* The caller drives: act, step or send and receive, record. */
static drover_status drive(const objects *o, int32_t num_envs, int32_t num_steps, bool exchanges, bool has_values) {
  float *values = has_values ? o->values : NULL;
  drover_status status = drover_rollout_begin(o->rollout);
  for (int32_t t = 0; t < num_steps && status == DROVER_OK; t++) {
    status = drover_policy_act(o->h.policy, o->h.batch, 0, o->actions, o->logprobs, values);
    const void *given = clip(o, num_envs);
    if (status == DROVER_OK)
      status = exchanges ? exchange(o, num_envs, given, t) : drover_batch_step(o->h.batch, given);
    if (status == DROVER_OK) status = drover_rollout_record(o->rollout, o->actions, o->logprobs, values);
  }
  return status == DROVER_OK ? drover_rollout_finish(o->rollout) : status;
}

static drover_status compare_run(dr_verify_grid *g, dr_verify_run *r, const objects *o, const dr_verify_window *w) {
  drover_rollout_view v = {.size = sizeof v};
  const drover_status status = drover_rollout_get_view(o->rollout, &v);
  if (status == DROVER_OK) r->equal = dr_verify_compare(g, r, &v, w) && r->equal;
  return status;
}

static drover_status collect_and_compare(dr_verify_grid *g, dr_verify_run *r, objects *o, int32_t num_envs) {
  const int32_t num_steps = g->request->common.num_steps, half = num_steps / 2;
  dr_verify_window w = {.num_envs = num_envs, .num_steps = r->mode == DR_VERIFY_HALVES ? half : num_steps};
  drover_status status = DROVER_OK;
  if (r->mode == DR_VERIFY_STEP || r->mode == DR_VERIFY_EXCHANGE)
    status = drive(o, num_envs, num_steps, r->mode == DR_VERIFY_EXCHANGE, g->loop.values != NULL);
  else
    status = drover_rollout_collect(o->rollout);
  if (status == DROVER_OK) status = drover_rollout_digest(o->rollout, &r->digest);
  if (status == DROVER_OK) status = compare_run(g, r, o, &w);
  if (r->equal && num_envs == g->loop.num_envs && r->mode != DR_VERIFY_HALVES && r->digest != g->runs[0].digest) {
    r->equal = false;
    dr_verify_note_digest(g, r);
  }
  if (r->mode != DR_VERIFY_HALVES || status != DROVER_OK) return status;
  w.first_step = half;
  status = drover_rollout_collect(o->rollout);
  return status == DROVER_OK ? compare_run(g, r, o, &w) : status;
}

static drover_status do_run(dr_verify_grid *g, dr_verify_run *r, objects *o) {
  const dr_verify_request *q = g->request;
  const int32_t num_envs = q->common.num_envs + (r->mode == DR_VERIFY_WIDER ? MORE_ENVS : 0);
  drover_rollout_options options;
  drover_status status = drover_rollout_options_init(&options, sizeof options);
  options.num_steps = r->mode == DR_VERIFY_HALVES ? q->common.num_steps / 2 : q->common.num_steps;
  options.gamma = GAMMA;
  options.gae_lambda = GAE_LAMBDA;
  options.barrier = r->mode == DR_VERIFY_BARRIER;
  r->equal = true;
  drover_runtime_reset_stats(o->h.runtime);
  if (status == DROVER_OK) status = make_batch(o, q, num_envs, r);
  if (status == DROVER_OK) status = drover_rollout_create(&o->rollout, o->h.batch, o->h.policy, &options);
  if (status == DROVER_OK) status = collect_and_compare(g, r, o, num_envs);
  drover_runtime_stats stats = {.size = sizeof stats};
  if (status == DROVER_OK) status = drover_runtime_get_stats(o->h.runtime, &stats);
  r->joined = stats.num_joined;
  drover_rollout_destroy(o->rollout);
  drover_batch_destroy(o->h.batch);
  o->rollout = NULL;
  o->h.batch = NULL;
  return status;
}

/* ---- Objects ---------------------------------------------------------------------------------------------------- */

/* A runtime of so many workers with the policies; the batch of one env that they were fitted to does not stay. */
static drover_status open_objects(objects *o, const dr_verify_request *q, int32_t workers) {
  drover_batch_options options;
  dr_options common = q->common;
  common.num_workers = workers;
  drover_status status = batch_options_for(&options, q, &(dr_verify_run){0});
  options.num_envs = 1;
  if (status == DROVER_OK) status = dr_handles_open(&o->h, &common, q->type, &options);
  if (status == DROVER_OK) status = dr_handles_open_policies(&o->h, &common, &q->policy, &q->inner_policy);
  if (status != DROVER_OK) return status;
  const size_t n = (size_t)common.num_envs + MORE_ENVS, action_bytes = (size_t)o->h.spec->action_size * 4;
  o->actions = calloc(n, action_bytes);
  o->given = calloc(n, action_bytes);
  o->logprobs = calloc(n, sizeof *o->logprobs);
  o->values = calloc(n, sizeof *o->values);
  o->ids = calloc(n, sizeof *o->ids);
  drover_batch_destroy(o->h.batch);
  o->h.batch = NULL;
  return o->actions && o->given && o->logprobs && o->values && o->ids ? DROVER_OK : DROVER_ERROR_NO_MEMORY;
}

static void close_objects(objects *o) {
  dr_handles_close(&o->h);
  free(o->actions);
  free(o->given);
  free(o->logprobs);
  free(o->values);
  free(o->ids);
  *o = (objects){0};
}

static drover_status run_loop(dr_verify_grid *g) {
  const dr_verify_request *q = g->request;
  objects o = {0};
  drover_status status = open_objects(&o, q, 1);
  if (status == DROVER_OK)
    status = dr_loop_run(&(dr_loop_request){.envs = {.type = q->type,
                                                     .args = {q->common.num_env_args, q->common.env_args},
                                                     .num_envs = q->common.num_envs,
                                                     .seed = q->common.seed},
                                            .policy = o.h.policy,
                                            .inner_policy = o.h.inner_policy,
                                            .runtime = o.h.runtime,
                                            .num_steps = q->common.num_steps,
                                            .autoreset = q->autoreset,
                                            .gamma = GAMMA,
                                            .gae_lambda = GAE_LAMBDA},
                         &g->loop);
  close_objects(&o);
  return status;
}

/* Runs are planned by number of workers, so one runtime serves its runs one after the other. */
static drover_status run_grid(dr_verify_grid *g) {
  const dr_options *c = &g->request->common;
  const double begin = dr_seconds_now();
  drover_status status = run_loop(g);
  objects o = {0};
  dr_progress progress;
  dr_progress_begin(&progress, c->quiet);
  for (int32_t i = 0; i < g->num_runs && status == DROVER_OK && !g->interrupted; i++) {
    dr_verify_run *r = &g->runs[i];
    if (i == 0 || r->workers != g->runs[i - 1].workers) {
      close_objects(&o);
      status = open_objects(&o, g->request, r->workers);
    }
    if (status == DROVER_OK) status = do_run(g, r, &o);
    if (status == DROVER_OK) g->num_equal += r->equal;
    dr_progress_line(&progress, c->env, (double)(i + 1) / g->num_runs, dr_seconds_now() - begin, "%d of %d runs", i + 1,
                     (int)g->num_runs);
    g->interrupted = dr_interrupt_pending();
  }
  dr_progress_end(&progress);
  close_objects(&o);
  return status;
}

/* ---- The command ------------------------------------------------------------------------------------------------ */

static void complete(dr_verify_request *q) {
  dr_options *c = &q->common;
  if (!c->env) dr_usage_error(c->command, "which environment? `drover envs` lists them");
  if (!c->policy) c->policy = "mlp:64,64";
  q->type = dr_find_env(c->command, c->env);
  if (c->num_envs == 0) c->num_envs = DEFAULT_NUM_ENVS;
  if (c->num_steps == 0) c->num_steps = DEFAULT_NUM_STEPS;
  dr_policy_choice_parse(&q->policy, c->command, c->policy, c->activation);
  dr_inner_choice_parse(&q->inner_policy, c->command, c->inner_policy);
}

int dr_cmd_verify(int argc, char **argv) {
  static const struct argp argp = {
      rows,
      parse,
      "ENV",
      "Compute a rollout in a plain loop on one thread, without the scheduler, and then in every other way, on 1, 2, "
      "3 and 8 workers; compare all buffers byte for byte, and say where the first difference is.\v"
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
  dr_verify_request q = {.common = {.command = "verify"}};
  dr_options_run(&argp, "verify", argc, argv, &q);
  complete(&q);
  dr_interrupt_install();
  dr_verify_grid *g = calloc(1, sizeof *g);
  if (!g) {
    fputs("drover verify: out of memory\n", stderr);
    return DR_EXIT_FAILED;
  }
  g->request = &q;
  plan(g);
  const drover_status status = run_grid(g);
  int code = g->num_equal == g->num_runs ? DR_EXIT_DONE : DR_EXIT_FAILED;
  if (g->interrupted || status == DROVER_ERROR_CANCELLED) {
    fputs("drover verify: interrupted\n", stderr);
    code = DR_EXIT_INTERRUPTED;
  } else if (status != DROVER_OK) {
    code = dr_report_failure("verify", NULL, status);
  } else if (!q.common.json) {
    dr_verify_print(g);
  } else if (dr_verify_print_json(g) != 0) {
    code = DR_EXIT_FAILED;
  }
  dr_loop_free(&g->loop);
  free(g);
  return code;
}
