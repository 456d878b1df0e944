/* fuzz_memory.c: networks, learners, checkpoints and every built-in env type where memory ends at the k-th allocation,
 * for k = 1, 2, ... A failure is a status with a sentence, leaks nothing, and what was there before still works. What
 * belongs to the runtime itself is in tests/runtime/test_no_memory.c. */
#include <drover/drover.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/fuzz/scarce.h"
#include "tests/support/check.h"
#include "tests/support/toy_env.h"

enum { MOST_TRIES = 400 };

static int num_failures;
static char now_testing[160];

static void fail(const char *format, ...) DROVER_PRINTF(1, 2);
static void fail(const char *format, ...) {
  if (++num_failures > 40) return;
  va_list args;
  va_start(args, format);
  fprintf(stderr, "FAILED  %s: ", now_testing);
  vfprintf(stderr, format, args);
  fputc('\n', stderr);
  va_end(args);
}

/* ---- The world ----------------------------------------------------------------------------------------------- */

static toy_config config, inner_config;
static drover_runtime *runtime;
static drover_batch *batch, *inner_batch, *made_batch;
static drover_policy *policy, *unit_policy, *made_policy;
static drover_rollout *rollout;
static drover_ppo *ppo, *made_ppo;
static drover_inner *inner, *made_inner;
static const drover_env_type *type; /* for create_batch */
static char path[] = "/tmp/drover-scarce-XXXXXX";
static float *weights, *samples;
static size_t num_weights, num_ppo_bytes, num_inner_bytes;
static void *ppo_bytes, *inner_bytes;
static drover_mlp_options mlp, unit_mlp;

enum { NUM_ENVS = 5, NUM_STEPS = 7, NUM_SAMPLES = 20, SAMPLE = 9 /* 4 observed, 1 joint, 2 actions */ };

static void make_toy_batch(drover_batch **out, toy_config *of) {
  drover_batch_options options;
  OK(drover_batch_options_init(&options, sizeof options));
  options.num_envs = NUM_ENVS;
  OK(toy_batch_create(out, runtime, of, &options));
}

static drover_batch_view view_of(drover_batch *of) {
  drover_batch_view view = {.size = sizeof view};
  OK(drover_batch_get_view(of, &view));
  return view;
}

static drover_status create_ppo(void);
static drover_status create_inner(void);

static void open_world(void) {
  drover_runtime_options options;
  OK(drover_runtime_options_init(&options, sizeof options));
  options.num_workers = 1; /* allocations fail on one thread: all work is on it */
  OK(drover_runtime_create(&runtime, &options));
  toy_init(&config);
  toy_init_inner(&inner_config);
  make_toy_batch(&batch, &config);
  make_toy_batch(&inner_batch, &inner_config);
  OK(drover_mlp_options_init(&mlp, sizeof mlp));
  OK(drover_mlp_options_fit(&mlp, view_of(batch).spec));
  mlp.normalize_observations = 1;
  mlp.hidden[0] = 16;
  OK(drover_policy_create_mlp(&policy, runtime, &mlp));
  OK(drover_mlp_options_init(&unit_mlp, sizeof unit_mlp));
  OK(drover_mlp_options_fit_inner(&unit_mlp, view_of(inner_batch).spec));
  unit_mlp.num_hidden = 1;
  OK(drover_policy_create_mlp(&unit_policy, runtime, &unit_mlp));
  drover_rollout_options rollout_options;
  OK(drover_rollout_options_init(&rollout_options, sizeof rollout_options));
  rollout_options.num_steps = NUM_STEPS;
  OK(drover_rollout_create(&rollout, batch, policy, &rollout_options));
  OK(drover_rollout_collect(rollout));
  OK(create_ppo());
  ppo = made_ppo;
  OK(create_inner());
  inner = made_inner;
  OK(drover_policy_num_weights(policy, &num_weights));
  weights = malloc(num_weights * sizeof *weights);
  OK(drover_policy_get_weights(policy, weights, num_weights));
  samples = calloc((size_t)NUM_SAMPLES * SAMPLE, sizeof *samples);
  for (int i = 0; i < NUM_SAMPLES * SAMPLE; i++) samples[i] = (float)(i % 7) * 0.1f + 0.1f;
  OK(drover_inner_add(inner, NUM_SAMPLES, samples));
  OK(drover_ppo_save(ppo, NULL, &num_ppo_bytes));
  OK(drover_inner_save(inner, NULL, &num_inner_bytes));
  ppo_bytes = malloc(num_ppo_bytes);
  inner_bytes = malloc(num_inner_bytes);
  OK(drover_ppo_save(ppo, ppo_bytes, &num_ppo_bytes));
  OK(drover_inner_save(inner, inner_bytes, &num_inner_bytes));
  close(mkstemp(path));
  OK(drover_policy_save(policy, path));
}

static void close_world(void) {
  unlink(path);
  free(weights);
  free(samples);
  free(ppo_bytes);
  free(inner_bytes);
  OK(drover_ppo_destroy(ppo));
  OK(drover_inner_destroy(inner));
  OK(drover_rollout_destroy(rollout));
  OK(drover_policy_destroy(policy));
  OK(drover_policy_destroy(unit_policy));
  OK(drover_batch_destroy(batch));
  OK(drover_batch_destroy(inner_batch));
  OK(drover_runtime_destroy(runtime));
}

/* ---- The calls ----------------------------------------------------------------------------------------------- */

static drover_status create_mlp(void) { return drover_policy_create_mlp(&made_policy, runtime, &mlp); }
static drover_status load_policy(void) { return drover_policy_load(&made_policy, runtime, path); }
static drover_status end_policy(void) { return drover_policy_destroy(made_policy); }
static drover_status save_policy(void) { return drover_policy_save(policy, path); }
static drover_status set_weights(void) { return drover_policy_set_weights(policy, weights, num_weights); }

static drover_status act(void) {
  int32_t actions[NUM_ENVS];
  float logprobs[NUM_ENVS], values[NUM_ENVS];
  return drover_policy_act(policy, batch, 0, actions, logprobs, values);
}
static drover_status collect(void) { return drover_rollout_collect(rollout); }

static drover_status create_ppo(void) {
  drover_ppo_options options;
  OK(drover_ppo_options_init(&options, sizeof options));
  options.scale_rewards = 1;
  return drover_ppo_create(&made_ppo, policy, rollout, &options);
}
static drover_status end_ppo(void) { return drover_ppo_destroy(made_ppo); }
static drover_status update_ppo(void) { return drover_ppo_update(ppo, rollout, NULL); }
static drover_status observe_ppo(void) { return drover_ppo_observe(ppo, rollout); }
static drover_status load_ppo(void) { return drover_ppo_load(ppo, ppo_bytes, num_ppo_bytes); }
static drover_status save_ppo(void) { return drover_ppo_save(ppo, ppo_bytes, &num_ppo_bytes); }

static drover_status create_inner(void) {
  drover_inner_options options;
  OK(drover_inner_options_init(&options, sizeof options));
  options.sample_size = SAMPLE;
  options.capacity = 64;
  options.minibatch = 8;
  return drover_inner_create(&made_inner, unit_policy, &options);
}
static drover_status end_inner(void) { return drover_inner_destroy(made_inner); }
static drover_status update_inner(void) { return drover_inner_update(inner, 2, NULL); }
static drover_status add_inner(void) { return drover_inner_add(inner, NUM_SAMPLES, samples); }
static drover_status evaluate_inner(void) {
  float errors[NUM_SAMPLES];
  return drover_inner_evaluate(inner, NUM_SAMPLES, samples, NULL, errors);
}
static drover_status load_inner(void) { return drover_inner_load(inner, inner_bytes, num_inner_bytes); }

static drover_status create_batch(void) {
  drover_batch_options options;
  OK(drover_batch_options_init(&options, sizeof options));
  options.num_envs = 2;
  return drover_batch_create(&made_batch, runtime, type, &options);
}
static drover_status end_batch(void) { return drover_batch_destroy(made_batch); }

typedef struct attempt {
  const char *name;
  drover_status (*call)(void);
  drover_status (*undo)(void); /* what a success made; may be NULL */
  bool caches;                 /* a library keeps blocks beyond the call: no exact count of live ones */
} attempt;

static const attempt attempts[] = {{"create an MLP", create_mlp, end_policy, true},
                                   {"load a policy", load_policy, end_policy, true},
                                   {"save a policy", save_policy, NULL, false},
                                   {"set weights", set_weights, NULL, true},
                                   {"act", act, NULL, true},
                                   {"collect", collect, NULL, true},
                                   {"create a PPO learner", create_ppo, end_ppo, true},
                                   {"observe", observe_ppo, NULL, true},
                                   {"update by PPO", update_ppo, NULL, true},
                                   {"save PPO", save_ppo, NULL, false},
                                   {"load PPO", load_ppo, NULL, false},
                                   {"create an inner learner", create_inner, end_inner, true},
                                   {"add samples", add_inner, NULL, false},
                                   {"update the inner policy", update_inner, NULL, true},
                                   {"evaluate the inner policy", evaluate_inner, NULL, true},
                                   {"load an inner learner", load_inner, NULL, false}};

/* ---- Trying -------------------------------------------------------------------------------------------------- */

static void check_refusal(drover_status status, bool failed, const char *message) {
  if (!failed) fail("%s without a failing allocation: %s", drover_status_name(status), message);
  /* An env's or a policy's own allocations fail as what they are. */
  const bool told = status == DROVER_ERROR_NO_MEMORY || status == DROVER_ERROR_ENV || status == DROVER_ERROR_POLICY;
  /* Jansson 2.14 loses the last letter of a name where its buffer cannot grow: then a tensor of that name is missing.
   */
  if (!told && !strstr(message, "memory") && !strstr(message, "is missing"))
    fail("%s: %s", drover_status_name(status), message);
  if (strlen(message) < 10) fail("%s without a sentence: '%s'", drover_status_name(status), message);
}

/* Every allocation of the call fails once, of very many every some; returns how many failures there were. */
static int try_all(const attempt *a, bool keeps) {
  int num_refused = 0;
  for (int64_t k = 1; k < 1000000; k += 1 + k / MOST_TRIES * 4) {
    snprintf(now_testing, sizeof now_testing, "%s, allocation %" PRId64 " fails%s", a->name, k,
             keeps ? " and all later ones" : "");
    if (getenv("VERBOSE")) fprintf(stderr, "%s\n", now_testing);
    const int64_t live = scarce_live();
    scarce_begin(k, keeps);
    const drover_status status = a->call();
    const bool failed = scarce_end();
    char message[512];
    snprintf(message, sizeof message, "%s", drover_last_error());
    if (status == DROVER_OK) {
      if (a->undo) OK(a->undo());
      if (!failed) return num_refused;
      continue; /* it could do without */
    }
    num_refused++;
    check_refusal(status, failed, message);
    const int64_t kept = scarce_live() - live;
    if (!a->caches && kept != 0) fail("%" PRId64 " blocks leaked (%s)", kept, message);
    if (!failed) return num_refused;
  }
  fail("it never succeeds");
  return num_refused;
}

static void try_both(const attempt *a) {
  const drover_status status = a->call(); /* what is made once a process is there from now on */
  if (status) {
    printf("  %-28s left out: %s\n", a->name, drover_last_error());
    return;
  }
  if (a->undo) OK(a->undo());
  /* Where libraries keep blocks: as many failures must not keep more than a few each. */
  const int64_t live = scarce_live();
  const int one = try_all(a, false), all = try_all(a, true);
  printf("  %-28s %5d failures one at a time, %5d of all from one on, %4" PRId64 " blocks more\n", a->name, one, all,
         scarce_live() - live);
  OK(a->call());
  if (a->undo) OK(a->undo());
}

/* MuJoCo's parser and compiler keep what they had made where memory ended; they are run once a batch. */
static bool is_in_libmujoco(const drover_env_type *of) {
  return strstr(of->summary, "MuJoCo") || strcmp(of->name, "gait2d") == 0;
}

int main(void) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  open_world();
  for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++) try_both(&attempts[i]);
  for (int32_t i = 0; (type = drover_env_at(i)) != NULL; i++)
    try_both(&(attempt){type->name, create_batch, end_batch, is_in_libmujoco(type)});
  close_world();
  printf("%d failures\n", num_failures);
  return num_failures > 0;
}
