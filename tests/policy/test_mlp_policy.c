/* test_mlp_policy.c: the MLP as a policy: its table, its versions, its public calls. */
#include "policy/mlp_policy.h"

#include <unistd.h>

#include "tests/policy/reference.h"

static drover_runtime *runtime;
static drover_policy *policy;

static void make_policy(void) {
  drover_runtime_options options;
  cr_assert_eq(drover_runtime_options_init(&options, sizeof options), DROVER_OK);
  options.num_workers = 1;
  cr_assert_eq(drover_runtime_create(&runtime, &options), DROVER_OK, "%s", drover_last_error());
  const drover_mlp_options layout = test_options(4, 2, 16, 3, DROVER_HEAD_CATEGORICAL, DROVER_ACTIVATION_TANH);
  cr_assert_eq(drover_policy_create_mlp(&policy, runtime, &layout), DROVER_OK, "%s", drover_last_error());
}

static void end_policy(void) {
  cr_assert_eq(drover_policy_destroy(policy), DROVER_OK);
  cr_assert_eq(drover_runtime_destroy(runtime), DROVER_OK);
}

TestSuite(mlp_policy, .init = make_policy, .fini = end_policy);

Test(mlp_policy, the_spec_describes_the_network) {
  drover_policy_spec spec;
  cr_assert_eq(drover_policy_get_spec(policy, &spec), DROVER_OK);
  cr_assert_eq(spec.observation_size, 4);
  cr_assert_eq(spec.action_kind, DROVER_ACTION_DISCRETE);
  cr_assert_eq(spec.action_size, 1);
  cr_assert_eq(spec.num_actions, 3);
  cr_assert_eq(spec.has_values, 1);
  cr_assert_gt(spec.num_tiles, 0);
  for (int32_t i = 1; i < spec.num_tiles; i++) cr_assert_gt(spec.tiles[i], spec.tiles[i - 1]);
}

Test(mlp_policy, the_spec_of_a_gaussian_head_is_continuous) {
  const drover_mlp_options options = test_options(5, 1, 300, 7, DROVER_HEAD_GAUSSIAN, DROVER_ACTIVATION_RELU);
  dr_mlp_policy *self = NULL;
  drover_policy_spec spec;
  cr_assert_eq(dr_mlp_policy_new(&self, &options, NULL), DROVER_OK);
  cr_assert_eq(dr_mlp_policy_type.get_spec(self, &spec), 0);
  cr_assert_eq(spec.action_kind, DROVER_ACTION_CONTINUOUS);
  cr_assert_eq(spec.action_size, 7);
  cr_assert_eq(spec.num_actions, 0);
  dr_mlp_policy_type.destroy(self);
}

Test(mlp_policy, options_that_cannot_be_are_refused) {
  drover_policy *out = policy;
  drover_mlp_options options = test_options(4, 1, 8, 2, DROVER_HEAD_GAUSSIAN, DROVER_ACTIVATION_RELU);
  options.num_outputs = 0;
  cr_assert_eq(drover_policy_create_mlp(&out, runtime, &options), DROVER_ERROR_ARGUMENT);
  cr_assert_null(out);
  cr_assert_str_eq(drover_last_error(), "mlp: num_outputs must be 1..65536, got 0");
  options.num_outputs = 1;
  cr_assert_eq(drover_policy_create_mlp(&out, NULL, &options), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_policy_create_mlp(NULL, runtime, &options), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_policy_create_mlp(&out, runtime, NULL), DROVER_ERROR_ARGUMENT);
}

Test(mlp_policy, get_mlp_returns_the_options) {
  drover_mlp_options options;
  drover_mlp_options_init(&options, sizeof options);
  cr_assert_eq(drover_policy_get_mlp(policy, &options), DROVER_OK);
  cr_assert_eq(options.observation_size, 4);
  cr_assert_eq(options.num_hidden, 2);
  cr_assert_eq(options.hidden[1], 16);
  cr_assert_eq(options.seed, 7);
  options.size = 0;
  cr_assert_eq(drover_policy_get_mlp(policy, &options), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_policy_get_mlp(policy, NULL), DROVER_ERROR_ARGUMENT);
}

Test(mlp_policy, weights_are_set_and_read_back) {
  size_t count = 0;
  cr_assert_eq(drover_policy_num_weights(policy, &count), DROVER_OK);
  cr_assert_eq(count, 4 * 16 + 16 + 16 * 16 + 16 + 16 * 3 + 3 + 4 * 16 + 16 + 16 * 16 + 16 + 16 + 1);
  uint64_t random = test_seed();
  float *weights = test_floats(&random, count, 1), *back = calloc(count, sizeof *back);
  cr_assert_eq(drover_policy_set_weights(policy, weights, count), DROVER_OK);
  cr_assert_eq(drover_policy_get_weights(policy, back, count), DROVER_OK);
  cr_assert_eq(compare_bytes(weights, back, count * sizeof *back), 0);

  cr_assert_eq(drover_policy_set_weights(policy, weights, count - 1), DROVER_ERROR_ARGUMENT);
  cr_assert_not_null(strstr(drover_last_error(), "policy set_weights: count must be"));
  cr_assert_eq(drover_policy_get_weights(policy, back, 0), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_policy_set_weights(policy, NULL, count), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_policy_num_weights(policy, NULL), DROVER_ERROR_ARGUMENT);
  weights[0] = NAN;
  cr_assert_eq(drover_policy_set_weights(policy, weights, count), DROVER_ERROR_ARGUMENT);
  cr_assert_str_eq(drover_last_error(), "mlp: layers.0.weight[0,0] must be finite, got nan");
  cr_assert_eq(drover_policy_get_weights(policy, weights, count), DROVER_OK);
  cr_assert_eq(compare_bytes(weights, back, count * sizeof *back), 0, "a refused vector must change nothing");
  free(weights);
  free(back);
}

Test(mlp_policy, a_saved_policy_is_loaded_as_it_was) {
  char path[] = "/tmp/drover-policy-XXXXXX";
  close(mkstemp(path));
  size_t count = 0;
  drover_policy_num_weights(policy, &count);
  float *saved = calloc(count, sizeof *saved), *loaded = calloc(count, sizeof *loaded);
  drover_policy *other = NULL;
  cr_assert_eq(drover_policy_save(policy, path), DROVER_OK, "%s", drover_last_error());
  cr_assert_eq(drover_policy_load(&other, runtime, path), DROVER_OK, "%s", drover_last_error());
  cr_assert_eq(drover_policy_get_weights(policy, saved, count), DROVER_OK);
  cr_assert_eq(drover_policy_get_weights(other, loaded, count), DROVER_OK);
  cr_assert_eq(compare_bytes(saved, loaded, count * sizeof *saved), 0);
  cr_assert_eq(drover_policy_destroy(other), DROVER_OK);
  cr_assert_eq(drover_policy_load(&other, runtime, "/nonexistent"), DROVER_ERROR_IO);
  cr_assert_null(other);
  cr_assert_eq(drover_policy_load(&other, runtime, NULL), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_policy_load(NULL, runtime, path), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_policy_save(policy, NULL), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_policy_save(policy, "/nonexistent/file"), DROVER_ERROR_IO);
  unlink(path);
  free(saved);
  free(loaded);
}

Test(mlp_policy, calls_of_the_mlp_refuse_other_policies_and_closed_ones) {
  const float low = -1, high = 1;
  const drover_env_spec spec = {.size = sizeof spec,
                                .observation_size = 2,
                                .action_kind = DROVER_ACTION_CONTINUOUS,
                                .action_size = 1,
                                .action_low = &low,
                                .action_high = &high};
  drover_policy *uniform = NULL;
  size_t count = 0;
  cr_assert_eq(drover_policy_create_uniform(&uniform, runtime, &spec), DROVER_OK, "%s", drover_last_error());
  cr_assert_eq(drover_policy_num_weights(uniform, &count), DROVER_ERROR_ARGUMENT);
  cr_assert_not_null(strstr(drover_last_error(), "mlp"));
  cr_assert_eq(drover_policy_save(uniform, "/tmp/x"), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_policy_destroy(uniform), DROVER_OK);
  cr_assert_eq(drover_policy_num_weights(uniform, &count), DROVER_ERROR_CLOSED);
}

/* A version that is held stays what it was, and what is acquired later is new. */
Test(mlp_policy, a_held_version_is_unchanged_by_set_weights) {
  uint64_t random = test_seed();
  for (int wide = 0; wide < 2; wide++) {
    const drover_mlp_options options =
        test_options(130, 1, wide ? 300 : 32, 2, DROVER_HEAD_GAUSSIAN, DROVER_ACTIVATION_TANH);
    dr_mlp_policy *self = NULL;
    cr_assert_eq(dr_mlp_policy_new(&self, &options, NULL), DROVER_OK);
    const drover_policy_type *type = &dr_mlp_policy_type;
    const dr_mlp *mlp = &self->inference->mlp;
    void *context = NULL;
    cr_assert_eq(type->open_context(self, &context), 0);
    acted a = acted_open(mlp, 40, &random), b = acted_open(mlp, 40, &random);
    memcpy(b.counters, a.counters, 40 * sizeof *b.counters);
    memcpy(b.observations, a.observations, 40 * 130 * sizeof(float));
    drover_policy_rows rows = acted_rows(&a, mlp, 0, 40), again = acted_rows(&b, mlp, 0, 40);
    const void *held = type->acquire(self);
    cr_assert_eq(type->act(self, held, context, &rows), 0);
    float *weights = test_floats(&random, mlp->num_weights, 0.1);
    for (int i = 0; i < 3; i++) cr_assert_eq(dr_mlp_policy_replace(self, weights), DROVER_OK);
    cr_assert_eq(type->act(self, held, context, &again), 0);
    cr_assert_eq(compare_bytes(a.actions, b.actions, 40 * a.action_bytes), 0);
    cr_assert_eq(compare_bytes(a.values, b.values, 40 * sizeof(float)), 0);
    const void *newest = type->acquire(self);
    cr_assert_neq(newest, held);
    cr_assert_eq(type->act(self, newest, context, &again), 0);
    cr_assert_neq(compare_bytes(a.values, b.values, 40 * sizeof(float)), 0);
    type->release(self, held);
    type->release(self, newest);
    type->close_context(self, context);
    acted_close(&a);
    acted_close(&b);
    free(weights);
    type->destroy(self);
  }
}
