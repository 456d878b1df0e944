/* two_level.c: a plugin with an inner loop driven by somebody else's program, through the public interface alone.
 * Usage: two_level THRUSTERS.so
 *
 * First with networks at both levels: the same bytes on one worker and on two, by rollout and by step. Then with a
 * controller of the program's own inside the steps, which must bring every puck to where it was told to be. */
#include <drover/drover.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NUM_ENVS = 48, NUM_STEPS = 32, SAMPLE = 6 };

static void must(drover_status status, const char *what) {
  if (status == DROVER_OK) return;
  fprintf(stderr, "two_level: %s: %s: %s\n", what, drover_status_name(status), drover_last_error());
  exit(1);
}
#define MUST(call) must((call), #call)

static void expect(int truth, const char *what) {
  if (truth) return;
  fprintf(stderr, "two_level: not so: %s\n", what);
  exit(1);
}
#define EXPECT(truth) expect((truth), #truth)

static void make_batch(const drover_env_type *type, int num_workers, drover_runtime **runtime, drover_batch **batch,
                       drover_batch_view *view) {
  drover_runtime_options runtime_options;
  MUST(drover_runtime_options_init(&runtime_options, sizeof runtime_options));
  runtime_options.num_workers = num_workers;
  MUST(drover_runtime_create(runtime, &runtime_options));
  drover_batch_options options;
  MUST(drover_batch_options_init(&options, sizeof options));
  options.num_envs = NUM_ENVS;
  options.seed = 7;
  MUST(drover_batch_create(batch, *runtime, type, &options));
  *view = (drover_batch_view){.size = sizeof *view};
  MUST(drover_batch_get_view(*batch, view));
}

/* ---- Networks at both levels ---- */

static drover_policy *make_network(drover_runtime *runtime, const drover_env_spec *spec, int inner) {
  drover_mlp_options options;
  MUST(drover_mlp_options_init(&options, sizeof options));
  if (inner)
    MUST(drover_mlp_options_fit_inner(&options, spec));
  else
    MUST(drover_mlp_options_fit(&options, spec));
  options.num_hidden = 1;
  options.hidden[0] = 32;
  options.seed = 3 + (uint64_t)inner;
  drover_policy *policy = NULL;
  MUST(drover_policy_create_mlp(&policy, runtime, &options));
  return policy;
}

/* The same rollout by our own loop over drover_batch_step. */
static void step_through(drover_batch *batch, drover_policy *policy, drover_rollout *rollout) {
  static float actions[NUM_ENVS * 2], clipped[NUM_ENVS * 2], logprobs[NUM_ENVS], values[NUM_ENVS];
  MUST(drover_rollout_begin(rollout));
  for (int t = 0; t < NUM_STEPS; t++) {
    MUST(drover_policy_act(policy, batch, 0, actions, logprobs, values));
    for (int i = 0; i < NUM_ENVS * 2; i++) clipped[i] = fminf(fmaxf(actions[i], -1), 1);
    MUST(drover_batch_step(batch, clipped));
    MUST(drover_rollout_record(rollout, actions, logprobs, values));
  }
  MUST(drover_rollout_finish(rollout));
}

static uint64_t two_networks(const drover_env_type *type, int num_workers, int stepped) {
  drover_runtime *runtime;
  drover_batch *batch;
  drover_batch_view now;
  make_batch(type, num_workers, &runtime, &batch, &now);
  drover_policy *const outer = make_network(runtime, now.spec, 0), *const inner = make_network(runtime, now.spec, 1);
  drover_rollout_options options;
  MUST(drover_rollout_options_init(&options, sizeof options));
  options.num_steps = NUM_STEPS;
  drover_rollout *rollout = NULL;
  MUST(drover_rollout_create(&rollout, batch, outer, &options));
  EXPECT(drover_rollout_collect(rollout) == DROVER_ERROR_STATE); /* nobody is inside the steps yet */
  EXPECT(strstr(drover_last_error(), "drover_batch_set_inner_policy") != NULL);
  MUST(drover_batch_set_inner_policy(batch, inner));
  EXPECT(drover_policy_destroy(inner) == DROVER_ERROR_STATE); /* the batch uses it */
  if (stepped)
    step_through(batch, outer, rollout);
  else
    MUST(drover_rollout_collect(rollout));

  drover_rollout_view view = {.size = sizeof view};
  MUST(drover_rollout_get_view(rollout, &view));
  EXPECT(view.num_faults == 0 && view.inner_sample_size == SAMPLE);
  for (int row = 0; row < NUM_STEPS * NUM_ENVS; row++) {
    const float *const sample = view.inner_samples + row * SAMPLE;
    for (int i = 0; i < 2; i++) EXPECT(sample[4 + i] == 4 * sample[i] - 4 * sample[2 + i]);
    EXPECT(sample[0] != 0);
  }
  uint64_t digest = 0;
  MUST(drover_rollout_digest(rollout, &digest));
  MUST(drover_rollout_destroy(rollout));
  MUST(drover_policy_destroy(outer));
  MUST(drover_batch_destroy(batch));
  MUST(drover_policy_destroy(inner));
  MUST(drover_runtime_destroy(runtime));
  return digest;
}

/* ---- A controller of one's own ---- */

static int controller_spec(void *self, drover_policy_spec *spec) {
  (void)self;
  spec->observation_size = 4;
  spec->action_kind = DROVER_ACTION_CONTINUOUS;
  spec->action_size = 4;
  return 0;
}

/* The force of a damped spring, as openings. Called by several workers at once, for many pucks at a time. */
static int controller_act(void *self, const void *version, void *context, const drover_policy_rows *rows) {
  (void)self, (void)version, (void)context;
  float *opening = rows->actions;
  for (int32_t row = 0; row < rows->count; row++)
    for (int i = 0; i < 2; i++, opening += 2) {
      const float force = 4 * rows->observations[4 * row + i] - 4 * rows->observations[4 * row + 2 + i];
      opening[0] = fminf(fmaxf(force / 4, 0), 1);
      opening[1] = fminf(fmaxf(-force / 4, 0), 1);
    }
  return 0;
}

static void own_controller(const drover_env_type *type) {
  const drover_policy_type controller = {.abi_version = DROVER_POLICY_ABI_VERSION,
                                         .size = sizeof controller,
                                         .name = "damped spring",
                                         .get_spec = controller_spec,
                                         .act = controller_act};
  drover_runtime *runtime;
  drover_batch *batch;
  drover_batch_view now;
  make_batch(type, 0, &runtime, &batch, &now);
  drover_policy *policy = NULL;
  MUST(drover_policy_create(&policy, runtime, &controller, NULL));
  MUST(drover_batch_set_inner_policy(batch, policy));
  static float wanted[NUM_ENVS * 2];
  for (int i = 0; i < NUM_ENVS * 2; i++) wanted[i] = 0.8f - 0.03f * (float)i / 2;
  for (int t = 0; t < 60; t++) MUST(drover_batch_step(batch, wanted));
  double furthest = 0;
  for (int i = 0; i < NUM_ENVS * 2; i++)
    furthest = fmax(furthest, fabs((double)(now.observations[i / 2 * 4 + i % 2] - wanted[i])));
  printf("after 6 s the furthest of %d pucks is %.3f m from where it should be\n", NUM_ENVS, furthest);
  EXPECT(furthest < 0.05 && now.num_faults == 0);

  float samples[10 * SAMPLE];
  MUST(drover_batch_draw_samples(batch, 1, 10, samples));
  for (int i = 0; i < 10; i++) EXPECT(samples[i * SAMPLE + 4] == 4 * samples[i * SAMPLE] - 4 * samples[i * SAMPLE + 2]);
  MUST(drover_batch_destroy(batch));
  MUST(drover_policy_destroy(policy));
  MUST(drover_runtime_destroy(runtime));
}

int main(int argc, char **argv) {
  EXPECT(argc == 2);
  const drover_env_type *type = NULL;
  MUST(drover_env_open_plugin(argv[1], &type));
  const uint64_t digest = two_networks(type, 1, 0);
  EXPECT(digest == two_networks(type, 2, 0));
  EXPECT(digest == two_networks(type, 2, 1));
  printf("%s: %d envs x %d steps, digest %016llx with 1 and with 2 workers, by rollout and by step\n", type->name,
         NUM_ENVS, NUM_STEPS, (unsigned long long)digest);
  own_controller(type);
  return 0;
}
