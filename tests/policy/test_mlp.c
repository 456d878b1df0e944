/* test_mlp.c: options, the layout of the flat vector, and initial weights. */
#include "tests/policy/reference.h"

static void refuse(drover_mlp_options options, const char *message) {
  dr_mlp mlp;
  cr_assert_eq(dr_mlp_init(&mlp, &options), DROVER_ERROR_ARGUMENT);
  cr_assert_str_eq(drover_last_error(), message);
}

Test(mlp, options_out_of_range_are_refused_with_field_range_and_value) {
  const drover_mlp_options good = test_options(4, 2, 64, 2, DROVER_HEAD_GAUSSIAN, DROVER_ACTIVATION_TANH);
  drover_mlp_options bad = good;
  bad.observation_size = 0;
  refuse(bad, "mlp: observation_size must be 1..65536, got 0");
  bad.observation_size = 65537;
  refuse(bad, "mlp: observation_size must be 1..65536, got 65537");
  bad = good;
  bad.num_outputs = -3;
  refuse(bad, "mlp: num_outputs must be 1..65536, got -3");
  bad = good;
  bad.num_hidden = 16;
  refuse(bad, "mlp: num_hidden must be 0..15, got 16");
  bad.num_hidden = -1;
  refuse(bad, "mlp: num_hidden must be 0..15, got -1");
  bad = good;
  bad.hidden[1] = 0;
  refuse(bad, "mlp: hidden[1] must be 1..65536, got 0");
  bad = good;
  bad.activation = (drover_activation)5;
  refuse(bad, "mlp: activation must be 0..4, got 5");
  bad = good;
  bad.head = (drover_head)3;
  refuse(bad, "mlp: head must be 0..2, got 3");
  bad = good;
  bad.has_values = 2;
  refuse(bad, "mlp: has_values must be 0..1, got 2");
  bad = good;
  bad.leaky_slope = NAN;
  refuse(bad, "mlp: leaky_slope must be 0..1, got nan");
  bad.leaky_slope = 1.5f;
  refuse(bad, "mlp: leaky_slope must be 0..1, got 1.5");
  bad = good;
  bad.initial_log_std = 21;
  refuse(bad, "mlp: initial_log_std must be -20..20, got 21");
  bad = good;
  bad.shared_values = 2;
  refuse(bad, "mlp: shared_values must be 0..1, got 2");
  bad.shared_values = 1;
  bad.has_values = 0;
  refuse(bad, "mlp: shared_values must be 0 where has_values is 0, got 1");
  bad = good;
  bad.normalize_observations = -1;
  refuse(bad, "mlp: normalize_observations must be 0..1, got -1");
  bad = good;
  bad.noise_hold = 0;
  refuse(bad, "mlp: noise_hold must be 1..65536, got 0");
  bad = good;
  bad.size = 0;
  refuse(bad, "mlp: options must be filled by drover_mlp_options_init first (size is 0)");
}

Test(mlp, options_init_fills_the_defaults_and_keeps_to_the_size_it_is_given) {
  drover_mlp_options options;
  memset(&options, 0xFF, sizeof options);
  cr_assert_eq(drover_mlp_options_init(&options, sizeof options), DROVER_OK);
  cr_assert_eq(options.size, sizeof options);
  cr_assert_eq(options.num_hidden, 2);
  cr_assert_eq(options.hidden[0], 64);
  cr_assert_eq(options.activation, DROVER_ACTIVATION_TANH);
  cr_assert_eq(options.has_values, 1);
  cr_assert_eq(options.leaky_slope, 0.2f);
  memset(&options, 0xFF, sizeof options);
  cr_assert_eq(drover_mlp_options_init(&options, 16), DROVER_OK);
  cr_assert_eq(options.num_hidden, -1, "bytes behind the given size were written");
  cr_assert_eq(drover_mlp_options_init(NULL, sizeof options), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_mlp_options_init(&options, 3), DROVER_ERROR_ARGUMENT);
}

Test(mlp, fit_takes_sizes_and_head_from_the_env) {
  drover_mlp_options options = test_options(1, 1, 8, 1, DROVER_HEAD_GAUSSIAN, DROVER_ACTIVATION_RELU);
  drover_env_spec spec = {
      .observation_size = 6, .action_kind = DROVER_ACTION_DISCRETE, .action_size = 1, .num_actions = 3};
  cr_assert_eq(drover_mlp_options_fit(&options, &spec), DROVER_OK);
  cr_assert_eq(options.observation_size, 6);
  cr_assert_eq(options.num_outputs, 3);
  cr_assert_eq(options.head, DROVER_HEAD_CATEGORICAL);
  spec = (drover_env_spec){.observation_size = 3, .action_kind = DROVER_ACTION_CONTINUOUS, .action_size = 2};
  cr_assert_eq(drover_mlp_options_fit(&options, &spec), DROVER_OK);
  cr_assert_eq(options.num_outputs, 2);
  cr_assert_eq(options.head, DROVER_HEAD_GAUSSIAN);
  options.head = DROVER_HEAD_UNIT;
  cr_assert_eq(drover_mlp_options_fit(&options, &spec), DROVER_OK);
  cr_assert_eq(options.head, DROVER_HEAD_UNIT, "a unit head that was asked for is kept for continuous actions");
  cr_assert_eq(drover_mlp_options_fit(NULL, &spec), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_mlp_options_fit(&options, NULL), DROVER_ERROR_ARGUMENT);
}

Test(mlp, the_flat_vector_is_policy_then_log_std_then_value) {
  const drover_mlp_options options = test_options(3, 1, 5, 2, DROVER_HEAD_GAUSSIAN, DROVER_ACTIVATION_RELU);
  dr_mlp mlp;
  cr_assert_eq(dr_mlp_init(&mlp, &options), DROVER_OK);
  cr_assert_eq(mlp.layers[0][0].weights_at, 0);
  cr_assert_eq(mlp.layers[0][0].bias_at, 15);
  cr_assert_eq(mlp.layers[0][1].weights_at, 20);
  cr_assert_eq(mlp.layers[0][1].bias_at, 30);
  cr_assert_eq(mlp.log_std_at, 32);
  cr_assert_eq(mlp.layers[1][0].weights_at, 34);
  cr_assert_eq(mlp.layers[1][1].weights_at, 54);
  cr_assert_eq(mlp.layers[1][1].bias_at, 59);
  cr_assert_eq(mlp.num_weights, 60);
  char text[80];
  dr_mlp_describe_weight(&mlp, 4, text, sizeof text);
  cr_assert_str_eq(text, "layers.0.weight[1,1]");
  dr_mlp_describe_weight(&mlp, 31, text, sizeof text);
  cr_assert_str_eq(text, "layers.1.bias[1]");
  dr_mlp_describe_weight(&mlp, 33, text, sizeof text);
  cr_assert_str_eq(text, "log_std[1]");
  dr_mlp_describe_weight(&mlp, 59, text, sizeof text);
  cr_assert_str_eq(text, "value.1.bias[0]");
}

Test(mlp, fit_inner_takes_sizes_from_the_envs_inner_loop) {
  drover_mlp_options options = test_options(1, 1, 8, 1, DROVER_HEAD_GAUSSIAN, DROVER_ACTIVATION_RELU);
  options.shared_values = 1;
  drover_env_spec spec = {.observation_size = 6, .inner_observation_size = 40, .inner_action_size = 9};
  cr_assert_eq(drover_mlp_options_fit_inner(&options, &spec), DROVER_ERROR_UNSUPPORTED);
  cr_assert_not_null(strstr(drover_last_error(), "no inner loop"));
  spec.num_ticks = 10;
  cr_assert_eq(drover_mlp_options_fit_inner(&options, &spec), DROVER_OK);
  cr_assert_eq(options.observation_size, 40);
  cr_assert_eq(options.num_outputs, 9);
  cr_assert_eq(options.head, DROVER_HEAD_UNIT);
  cr_assert_eq(options.has_values, 0);
  dr_mlp mlp;
  cr_assert_eq(dr_mlp_init(&mlp, &options), DROVER_OK, "%s", drover_last_error());
  cr_assert_eq(drover_mlp_options_fit_inner(NULL, &spec), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_mlp_options_fit_inner(&options, NULL), DROVER_ERROR_ARGUMENT);
}

Test(mlp, a_shared_value_layer_and_the_moments_come_last_in_the_flat_vector) {
  drover_mlp_options options = test_options(3, 1, 5, 2, DROVER_HEAD_GAUSSIAN, DROVER_ACTIVATION_RELU);
  options.shared_values = options.normalize_observations = 1;
  dr_mlp mlp;
  cr_assert_eq(dr_mlp_init(&mlp, &options), DROVER_OK);
  cr_assert_eq(mlp.log_std_at, 32);
  cr_assert_eq(mlp.first_layer[DR_CHAIN_VALUE], 1);
  cr_assert_eq(mlp.layers[1][1].num_inputs, 5);
  cr_assert_eq(mlp.layers[1][1].weights_at, 34);
  cr_assert_eq(mlp.layers[1][1].bias_at, 39);
  cr_assert_eq(mlp.num_trainable, 40);
  cr_assert_eq(mlp.mean_at, 40);
  cr_assert_eq(mlp.std_at, 43);
  cr_assert_eq(mlp.num_weights, 46);
  char text[80];
  static const char *const names[] = {"log_std[1]",          "value.1.weight[0,0]", "value.1.bias[0]",
                                      "observation.mean[0]", "observation.mean[2]", "observation.std[0]",
                                      "observation.std[2]"};
  static const size_t at[] = {33, 34, 39, 40, 42, 43, 45};
  for (size_t i = 0; i < 7; i++) {
    dr_mlp_describe_weight(&mlp, at[i], text, sizeof text);
    cr_assert_str_eq(text, names[i]);
  }
  float weights[46];
  cr_assert_eq(dr_mlp_initial_weights(&mlp, weights), DROVER_OK);
  for (size_t i = 40; i < 46; i++) cr_assert_eq(weights[i], i < 43 ? 0.0f : 1.0f);
  double length = 0;
  for (size_t i = 34; i < 39; i++) length += (double)weights[i] * (double)weights[i];
  cr_assert_float_eq(length, 1, 1e-6, "the value layer's gain");
}

/* The shorter side's vectors are orthogonal and as long as the gain. */
static void check_orthogonal(const float *weights, int32_t rows, int32_t columns, double gain) {
  const bool by_rows = rows <= columns;
  const int32_t count = by_rows ? rows : columns, length = by_rows ? columns : rows;
  const size_t step = by_rows ? 1 : (size_t)columns, vector = by_rows ? (size_t)columns : 1;
  for (int32_t i = 0; i < count; i++)
    for (int32_t j = 0; j <= i; j++) {
      double product = 0;
      for (int32_t k = 0; k < length; k++)
        product += (double)weights[(size_t)i * vector + (size_t)k * step] *
                   (double)weights[(size_t)j * vector + (size_t)k * step];
      cr_assert_leq(fabs(product - (i == j ? gain * gain : 0)), 1e-6 * gain * gain, "%d x %d: vectors %d and %d: %g",
                    rows, columns, i, j, product);
    }
}

Test(mlp, initial_weights_are_orthogonal_with_the_documented_gains) {
  drover_mlp_options options = test_options(17, 3, 64, 6, DROVER_HEAD_GAUSSIAN, DROVER_ACTIVATION_TANH);
  options.hidden[1] = 33;
  options.initial_log_std = -0.5f;
  dr_mlp mlp;
  cr_assert_eq(dr_mlp_init(&mlp, &options), DROVER_OK);
  float *weights = malloc(mlp.num_weights * sizeof *weights);
  cr_assert_eq(dr_mlp_initial_weights(&mlp, weights), DROVER_OK);
  for (int chain = 0; chain < 2; chain++)
    for (int32_t i = 0; i < mlp.num_layers; i++) {
      const dr_layer *layer = &mlp.layers[chain][i];
      const bool last = i + 1 == mlp.num_layers;
      check_orthogonal(weights + layer->weights_at, layer->num_outputs, layer->num_inputs,
                       !last                     ? sqrt(2)
                       : chain == DR_CHAIN_VALUE ? 1
                                                 : 0.01);
      for (int32_t n = 0; n < layer->num_outputs; n++) cr_assert_eq(weights[layer->bias_at + (size_t)n], 0.0f);
    }
  for (size_t n = 0; n < 6; n++) cr_assert_eq(weights[mlp.log_std_at + n], -0.5f);
  cr_assert_neq(compare_bytes(weights + mlp.layers[0][0].weights_at, weights + mlp.layers[1][0].weights_at, 64), 0,
                "the two networks begin differently");
  free(weights);
}

Test(mlp, initial_weights_are_a_function_of_the_seed) {
  drover_mlp_options options = test_options(5, 2, 32, 3, DROVER_HEAD_CATEGORICAL, DROVER_ACTIVATION_RELU);
  dr_mlp mlp;
  cr_assert_eq(dr_mlp_init(&mlp, &options), DROVER_OK);
  float *first = malloc(mlp.num_weights * sizeof *first), *second = malloc(mlp.num_weights * sizeof *second);
  cr_assert_eq(dr_mlp_initial_weights(&mlp, first), DROVER_OK);
  cr_assert_eq(dr_mlp_initial_weights(&mlp, second), DROVER_OK);
  cr_assert_eq(compare_bytes(first, second, mlp.num_weights * sizeof *first), 0);
  mlp.options.seed++;
  cr_assert_eq(dr_mlp_initial_weights(&mlp, second), DROVER_OK);
  for (size_t i = 0; i < 32; i++) cr_assert_neq(first[i], second[i]);
  free(first);
  free(second);
}

Test(mlp, the_unit_heads_last_bias_begins_at_minus_two) {
  const drover_mlp_options options = test_options(5, 1, 8, 3, DROVER_HEAD_UNIT, DROVER_ACTIVATION_LEAKY_RELU);
  dr_mlp mlp;
  cr_assert_eq(dr_mlp_init(&mlp, &options), DROVER_OK);
  float *weights = malloc(mlp.num_weights * sizeof *weights);
  cr_assert_eq(dr_mlp_initial_weights(&mlp, weights), DROVER_OK);
  for (size_t n = 0; n < 3; n++) cr_assert_eq(weights[mlp.layers[0][1].bias_at + n], -2.0f);
  cr_assert_eq(weights[mlp.layers[0][0].bias_at], 0.0f);
  cr_assert_eq(weights[mlp.layers[1][1].bias_at], 0.0f);
  free(weights);
}
