/* embed.c: Drover inside somebody else's program, through the installed headers and library alone.
 * Usage: embed PLUGIN.so
 *
 * Fused rollouts of a built-in env and of a plugin with a small network, on one worker and on two: the buffers must
 * make sense and be the same bytes. Then the same env with the program's own actions, one env that fails, and a
 * mistake. */
#include <drover/drover.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NUM_ENVS = 48, NUM_STEPS = 64 };

/* Every call returns a status and leaves a sentence. */
static void must(drover_status status, const char *what) {
  if (status == DROVER_OK) return;
  fprintf(stderr, "embed: %s: %s: %s\n", what, drover_status_name(status), drover_last_error());
  exit(1);
}
#define MUST(call) must((call), #call)

static void expect(int truth, const char *what) {
  if (truth) return;
  fprintf(stderr, "embed: not so: %s\n", what);
  exit(1);
}
#define EXPECT(truth) expect((truth), #truth)

static drover_runtime *make_runtime(int num_workers) {
  drover_runtime_options options;
  MUST(drover_runtime_options_init(&options, sizeof options));
  options.num_workers = num_workers;
  drover_runtime *runtime = NULL;
  MUST(drover_runtime_create(&runtime, &options));
  return runtime;
}

static drover_batch *make_batch(drover_runtime *runtime, const drover_env_type *type) {
  drover_batch_options options;
  MUST(drover_batch_options_init(&options, sizeof options));
  options.num_envs = NUM_ENVS;
  options.seed = 7;
  drover_batch *batch = NULL;
  MUST(drover_batch_create(&batch, runtime, type, &options));
  return batch;
}

static const drover_env_spec *spec_of(drover_batch *batch) {
  drover_batch_view view = {.size = sizeof view};
  MUST(drover_batch_get_view(batch, &view));
  EXPECT(view.num_envs == NUM_ENVS);
  return view.spec;
}

/* One rollout of `type` under a 16-16 network; its digest. */
static uint64_t fused(const drover_env_type *type, int num_workers) {
  drover_runtime *const runtime = make_runtime(num_workers);
  drover_batch *const batch = make_batch(runtime, type);

  drover_mlp_options network;
  MUST(drover_mlp_options_init(&network, sizeof network));
  MUST(drover_mlp_options_fit(&network, spec_of(batch)));
  network.num_hidden = 2;
  network.hidden[0] = network.hidden[1] = 16;
  network.seed = 3;
  drover_policy *policy = NULL;
  MUST(drover_policy_create_mlp(&policy, runtime, &network));

  drover_rollout_options options;
  MUST(drover_rollout_options_init(&options, sizeof options));
  options.num_steps = NUM_STEPS;
  drover_rollout *rollout = NULL;
  MUST(drover_rollout_create(&rollout, batch, policy, &options));
  MUST(drover_rollout_collect(rollout));

  drover_rollout_view view = {.size = sizeof view};
  MUST(drover_rollout_get_view(rollout, &view));
  EXPECT(view.num_envs == NUM_ENVS && view.num_steps_done == NUM_STEPS);
  EXPECT(view.num_faults == 0);
  for (size_t i = 0; i < (size_t)NUM_STEPS * NUM_ENVS; i++) {
    EXPECT(isfinite(view.rewards[i]) && isfinite(view.values[i]) && isfinite(view.advantages[i]));
    EXPECT(view.valid[i] == 1);
  }
  for (size_t i = 0; i < (size_t)(NUM_STEPS + 1) * NUM_ENVS * (size_t)view.observation_size; i++)
    EXPECT(isfinite(view.observations[i]));
  uint64_t digest = 0;
  MUST(drover_rollout_digest(rollout, &digest));

  MUST(drover_rollout_destroy(rollout));
  MUST(drover_policy_destroy(policy));
  MUST(drover_batch_destroy(batch));
  MUST(drover_runtime_destroy(runtime));
  return digest;
}

/* An action that is no number for env 3: its fault has the env's own words, and the others go on. */
static void fail_one(drover_batch *batch, float *actions) {
  actions[3 * spec_of(batch)->action_size] = NAN;
  MUST(drover_batch_step(batch, actions));
  drover_batch_view view = {.size = sizeof view};
  MUST(drover_batch_get_view(batch, &view));
  for (int env = 0; env < NUM_ENVS; env++) EXPECT(view.valid[env] == (env != 3));
  drover_batch_fault fault = {.size = sizeof fault};
  MUST(drover_batch_get_fault(batch, 3, &fault));
  EXPECT(fault.reason == DROVER_FAULT_STEP && strncmp(fault.text, "pushed by a force that is no number at", 38) == 0);
  printf("env 3 of %d failed: %s\n", NUM_ENVS, fault.text);
}

/* The same env stepped with this program's own actions. */
static void driven(const drover_env_type *type) {
  drover_runtime *const runtime = make_runtime(0);
  drover_batch *const batch = make_batch(runtime, type);
  const drover_env_spec *const spec = spec_of(batch);
  void *const actions = calloc((size_t)NUM_ENVS * (size_t)spec->action_size, 4); /* all 0, int32 or float32 */
  EXPECT(actions != NULL);
  for (int t = 0; t < 10; t++) MUST(drover_batch_step(batch, actions));
  drover_batch_view view = {.size = sizeof view};
  MUST(drover_batch_get_view(batch, &view));
  for (int env = 0; env < NUM_ENVS; env++) EXPECT(view.lifetime_steps[env] == 10);
  if (spec->action_kind == DROVER_ACTION_CONTINUOUS) fail_one(batch, actions);
  free(actions);
  MUST(drover_batch_destroy(batch));
  MUST(drover_runtime_destroy(runtime));
}

int main(int argc, char **argv) {
  EXPECT(argc == 2);
  const drover_env_type *cartpole = NULL, *plugin = NULL, *none = NULL;
  MUST(drover_env_find("CartPole-v1", &cartpole));
  MUST(drover_env_open_plugin(argv[1], &plugin));

  const drover_env_type *const types[] = {cartpole, plugin};
  for (int i = 0; i < 2; i++) {
    const uint64_t digest = fused(types[i], 1);
    EXPECT(digest == fused(types[i], 2));
    driven(types[i]);
    printf("%s: %d envs x %d steps, digest %016llx with 1 and with 2 workers\n", types[i]->name, NUM_ENVS, NUM_STEPS,
           (unsigned long long)digest);
  }

  EXPECT(drover_env_find("CartPole-v7", &none) == DROVER_ERROR_NOT_FOUND && drover_last_error()[0] != '\0');
  printf("a mistake is told: %s\n", drover_last_error());
  return 0;
}
