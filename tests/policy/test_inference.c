/* test_inference.c: whole networks against a double-precision reference, and rows against themselves. */
#include "tests/policy/reference.h"

/* Means (or logits, by their log-probabilities) and values of `count` rows against the reference. */
static void compare_with_reference(const drover_mlp_options *options, const dr_kernels *kernels, bool use_wide,
                                   int32_t count, uint64_t *random) {
  network n = network_open(options, kernels, use_wide, random);
  acted a = acted_open(&n.mlp, count, random);
  network_act(&n, &a, 0, count, true);
  double *want = calloc((size_t)options->num_outputs, sizeof *want);
  for (int32_t i = 0; i < count; i++) {
    const float *x = a.observations + (size_t)i * (size_t)options->observation_size;
    reference_forward(&n.mlp, n.flat, DR_CHAIN_POLICY, x, want);
    for (int32_t j = 0; options->head != DROVER_HEAD_CATEGORICAL && j < options->num_outputs; j++) {
      const double unit = 1 / (1 + exp(-want[j])), wanted = options->head == DROVER_HEAD_UNIT ? unit : want[j];
      const float got = ((const float *)a.actions)[(size_t)i * (size_t)options->num_outputs + (size_t)j];
      cr_assert(nearly((double)got, wanted),
                "obs %d hidden %d width %d outputs %d act %d: row %d output %d: %g, not %g", options->observation_size,
                options->num_hidden, options->hidden[0], options->num_outputs, (int)options->activation, i, j,
                (double)got, wanted);
    }
    if (options->has_values) {
      double value = 0;
      reference_forward(&n.mlp, n.flat, DR_CHAIN_VALUE, x, &value);
      cr_assert(nearly((double)a.values[i], value), "row %d: value %g, not %g", i, (double)a.values[i], value);
    }
  }
  free(want);
  acted_close(&a);
  network_close(&n);
}

static const char *const instruction_sets[] = {"avx512", "avx2", "sse2"};

Test(inference, outputs_match_a_double_reference_on_every_instruction_set) {
  uint64_t random = test_seed();
  static const int32_t shapes[][4] = {/* observation, hidden layers, width, outputs */
                                      {1, 0, 0, 1},   {3, 0, 0, 17},  {1, 1, 1, 1},    {4, 2, 64, 2},
                                      {17, 3, 33, 3}, {51, 2, 17, 4}, {376, 1, 51, 5}, {8, 4, 100, 51}};
  for (int set = 0; set < 3; set++) {
    const dr_kernels *kernels = dr_kernels_named(instruction_sets[set]);
    if (!kernels) continue;
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
      for (int activation = 0; activation <= DROVER_ACTIVATION_IDENTITY; activation++) {
        const drover_mlp_options options = test_options(shapes[s][0], shapes[s][1], shapes[s][2], shapes[s][3],
                                                        DROVER_HEAD_GAUSSIAN, (drover_activation)activation);
        compare_with_reference(&options, kernels, false, 37, &random);
      }
  }
}

Test(inference, wide_layers_match_a_double_reference) {
  uint64_t random = test_seed();
  for (int activation = 0; activation <= DROVER_ACTIVATION_IDENTITY; activation++)
    for (int use_wide = 0; use_wide < 2; use_wide++) {
      drover_mlp_options options = test_options(376, 2, 200, 17, DROVER_HEAD_GAUSSIAN, (drover_activation)activation);
      options.hidden[1] = 251; /* not a multiple of anything */
      compare_with_reference(&options, NULL, use_wide == 1, 41, &random);
    }
}

Test(inference, a_wide_last_layer_matches_a_double_reference) {
  uint64_t random = test_seed();
  const drover_mlp_options options = test_options(200, 0, 0, 300, DROVER_HEAD_UNIT, DROVER_ACTIVATION_RELU);
  compare_with_reference(&options, NULL, true, 19, &random);
}

Test(inference, more_inputs_than_a_cache_piece_match_a_double_reference) {
  uint64_t random = test_seed();
  for (int set = 0; set < 3; set++) {
    const dr_kernels *kernels = dr_kernels_named(instruction_sets[set]);
    const drover_mlp_options options = test_options(3001, 0, 0, 9, DROVER_HEAD_GAUSSIAN, DROVER_ACTIVATION_RELU);
    if (kernels) compare_with_reference(&options, kernels, false, 17, &random);
  }
}

/* Every count and every way of cutting must give the rows of one call over all of them. */
static void rows_do_not_depend_on_cuts(const drover_mlp_options *options, bool use_wide, const dr_kernels *kernels) {
  uint64_t random = test_seed();
  enum { ROWS = 300 };
  network n = network_open(options, kernels, use_wide, &random);
  acted all = acted_open(&n.mlp, ROWS, &random), some = acted_open(&n.mlp, ROWS, &random);
  memcpy(some.counters, all.counters, ROWS * sizeof *some.counters);
  memcpy(some.observations, all.observations, ROWS * (size_t)options->observation_size * sizeof(float));
  network_act(&n, &all, 0, ROWS, false);
  for (int32_t count = 1; count <= ROWS; count++) {
    /* From a random first row, whatever was in the outputs before. */
    const int32_t first = (int32_t)(test_random(&random) % (uint64_t)(ROWS - count + 1));
    memset(some.actions, 0xFF, ROWS * some.action_bytes);
    memset(some.logprobs, 0xFF, ROWS * sizeof(float));
    memset(some.values, 0xFF, ROWS * sizeof(float));
    network_act(&n, &some, first, count, false);
    const size_t at = (size_t)first, num = (size_t)count;
    cr_assert_eq(compare_bytes((char *)some.actions + at * some.action_bytes,
                               (char *)all.actions + at * all.action_bytes, num * all.action_bytes),
                 0, "actions of rows %d..%d", first, first + count - 1);
    cr_assert_eq(compare_bytes(some.logprobs + at, all.logprobs + at, num * sizeof(float)), 0, "logprobs of %d rows",
                 count);
    cr_assert_eq(compare_bytes(some.values + at, all.values + at, num * sizeof(float)), 0, "values of %d rows", count);
    /* Nothing beside the rows was written. */
    const unsigned char *bytes = some.actions;
    for (size_t i = 0; i < ROWS * some.action_bytes; i++)
      if (i < at * some.action_bytes || i >= (at + num) * some.action_bytes)
        cr_assert_eq(bytes[i], 0xFF, "%d rows from %d on: byte %zu of the actions was written", count, first, i);
  }
  acted_close(&all);
  acted_close(&some);
  network_close(&n);
}

Test(inference, categorical_rows_do_not_depend_on_count_or_position) {
  const drover_mlp_options options = test_options(4, 2, 64, 3, DROVER_HEAD_CATEGORICAL, DROVER_ACTIVATION_TANH);
  for (int set = 0; set < 3; set++)
    if (dr_kernels_named(instruction_sets[set]))
      rows_do_not_depend_on_cuts(&options, false, dr_kernels_named(instruction_sets[set]));
}

Test(inference, gaussian_rows_do_not_depend_on_count_or_position) {
  const drover_mlp_options options = test_options(11, 2, 30, 7, DROVER_HEAD_GAUSSIAN, DROVER_ACTIVATION_ELU);
  for (int set = 0; set < 3; set++)
    if (dr_kernels_named(instruction_sets[set]))
      rows_do_not_depend_on_cuts(&options, false, dr_kernels_named(instruction_sets[set]));
}

Test(inference, unit_rows_do_not_depend_on_count_or_position) {
  const drover_mlp_options options = test_options(5, 1, 20, 19, DROVER_HEAD_UNIT, DROVER_ACTIVATION_LEAKY_RELU);
  for (int set = 0; set < 3; set++)
    if (dr_kernels_named(instruction_sets[set]))
      rows_do_not_depend_on_cuts(&options, false, dr_kernels_named(instruction_sets[set]));
}

Test(inference, rows_of_wide_layers_do_not_depend_on_count_or_position) {
  drover_mlp_options options = test_options(130, 2, 260, 5, DROVER_HEAD_GAUSSIAN, DROVER_ACTIVATION_TANH);
  rows_do_not_depend_on_cuts(&options, true, NULL);
}

/* Tiles are mixed by their times; whichever mix is taken, the bits are the same. */
Test(inference, rows_of_wide_layers_do_not_depend_on_the_plan) {
  uint64_t random = test_seed();
  const drover_mlp_options options = test_options(130, 1, 260, 4, DROVER_HEAD_GAUSSIAN, DROVER_ACTIVATION_RELU);
  network n = network_open(&options, NULL, true, &random);
  if (n.inference->wide) {
    acted a = acted_open(&n.mlp, 256, &random);
    float *first = NULL;
    for (int32_t tile = 0; tile < DR_NUM_TILES; tile++) {
      if (!dr_matmul_set_has_tile(n.inference->wide, tile)) continue;
      for (int32_t rows = 1; rows <= DR_MAX_TILE; rows++) n.inference->next_tile[rows] = (uint8_t)tile;
      network_act(&n, &a, 0, 256, false);
      if (!first) {
        first = malloc(256 * a.action_bytes);
        memcpy(first, a.actions, 256 * a.action_bytes);
      }
      cr_assert_eq(compare_bytes(first, a.actions, 256 * a.action_bytes), 0, "tile of %d", dr_tile_sizes[tile]);
    }
    free(first);
    acted_close(&a);
  }
  network_close(&n);
}

Test(inference, unaligned_observations_give_the_same_bits) {
  uint64_t random = test_seed();
  for (int wide = 0; wide < 2; wide++) {
    const drover_mlp_options options =
        test_options(150, 1, wide ? 260 : 40, 3, DROVER_HEAD_GAUSSIAN, DROVER_ACTIVATION_RELU);
    network n = network_open(&options, NULL, true, &random);
    acted a = acted_open(&n.mlp, 64, &random);
    network_act(&n, &a, 0, 64, false);
    const size_t bytes = 64 * 150 * sizeof(float);
    float *buffer = malloc(bytes + 64), *aligned = a.observations, *actions = malloc(64 * a.action_bytes);
    memcpy(actions, a.actions, 64 * a.action_bytes);
    for (size_t shift = 1; shift < 16; shift += 2) {
      a.observations = memcpy(buffer + shift, aligned, bytes);
      network_act(&n, &a, 0, 64, false);
      cr_assert_eq(compare_bytes(actions, a.actions, 64 * a.action_bytes), 0, "shifted by %zu floats", shift);
    }
    a.observations = aligned;
    free(buffer);
    free(actions);
    acted_close(&a);
    network_close(&n);
  }
}

Test(inference, value_alone_equals_the_values_of_act) {
  uint64_t random = test_seed();
  for (int wide = 0; wide < 2; wide++) {
    const drover_mlp_options options =
        test_options(130, 2, wide ? 300 : 64, 2, DROVER_HEAD_CATEGORICAL, DROVER_ACTIVATION_TANH);
    network n = network_open(&options, NULL, true, &random);
    acted a = acted_open(&n.mlp, 300, &random);
    float values[300];
    network_act(&n, &a, 0, 300, false);
    cr_assert_eq(dr_inference_value(n.inference, n.weights, n.context, 300, a.observations, values), 0);
    cr_assert_eq(compare_bytes(values, a.values, sizeof values), 0);
    cr_assert_eq(dr_inference_value(n.inference, n.weights, n.context, 1, a.observations + 130 * 299, values), 0);
    cr_assert_eq(compare_bytes(values, a.values + 299, sizeof values[0]), 0);
    acted_close(&a);
    network_close(&n);
  }
}

Test(inference, logprobs_and_values_may_be_left_out) {
  uint64_t random = test_seed();
  for (int head = 0; head <= DROVER_HEAD_UNIT; head++) {
    const drover_mlp_options options = test_options(4, 1, 16, 3, (drover_head)head, DROVER_ACTIVATION_TANH);
    network n = network_open(&options, NULL, true, &random);
    acted a = acted_open(&n.mlp, 20, &random);
    network_act(&n, &a, 0, 20, false);
    void *actions = malloc(20 * a.action_bytes);
    memcpy(actions, a.actions, 20 * a.action_bytes);
    drover_policy_rows rows = acted_rows(&a, &n.mlp, 0, 20);
    rows.logprobs = rows.values = NULL;
    cr_assert_eq(dr_inference_act(n.inference, n.weights, n.context, &rows), 0);
    cr_assert_eq(compare_bytes(actions, a.actions, 20 * a.action_bytes), 0);
    free(actions);
    acted_close(&a);
    network_close(&n);
  }
}

Test(inference, a_bad_row_does_not_reach_its_neighbours) {
  uint64_t random = test_seed();
  for (int wide = 0; wide < 2; wide++) {
    const drover_mlp_options options =
        test_options(130, 1, wide ? 300 : 64, 2, DROVER_HEAD_GAUSSIAN, DROVER_ACTIVATION_TANH);
    network n = network_open(&options, NULL, true, &random);
    acted a = acted_open(&n.mlp, 50, &random), b = acted_open(&n.mlp, 50, &random);
    memcpy(b.counters, a.counters, 50 * sizeof *b.counters);
    memcpy(b.observations, a.observations, 50 * 130 * sizeof(float));
    network_act(&n, &a, 0, 50, false);
    for (int k = 0; k < 130; k++) b.observations[20 * 130 + k] = k % 2 ? NAN : INFINITY;
    network_act(&n, &b, 0, 50, false);
    for (size_t row = 0; row < 50; row++)
      if (row != 20)
        cr_assert_eq(compare_bytes((char *)a.actions + row * 8, (char *)b.actions + row * 8, 8), 0, "row %zu", row);
    cr_assert(isnan(((float *)b.actions)[40]), "a NaN observation must be seen in its action");
    acted_close(&a);
    acted_close(&b);
    network_close(&n);
  }
}

Test(inference, weights_that_are_not_finite_are_named) {
  const drover_mlp_options options = test_options(4, 1, 8, 2, DROVER_HEAD_GAUSSIAN, DROVER_ACTIVATION_RELU);
  uint64_t random = test_seed();
  network n = network_open(&options, NULL, true, &random);
  dr_weights *weights = NULL;
  n.flat[n.mlp.layers[DR_CHAIN_VALUE][0].weights_at + 4 * 3 + 1] = NAN;
  cr_assert_eq(dr_weights_create(&weights, n.inference, n.flat), DROVER_ERROR_ARGUMENT);
  cr_assert_str_eq(drover_last_error(), "mlp: value.0.weight[3,1] must be finite, got nan");
  n.flat[n.mlp.layers[DR_CHAIN_POLICY][1].bias_at + 1] = -INFINITY;
  cr_assert_eq(dr_weights_create(&weights, n.inference, n.flat), DROVER_ERROR_ARGUMENT);
  cr_assert_str_eq(drover_last_error(), "mlp: layers.1.bias[1] must be finite, got -inf");
  n.flat[n.mlp.layers[DR_CHAIN_POLICY][1].bias_at + 1] = 0;
  n.flat[n.mlp.log_std_at + 1] = 21;
  cr_assert_eq(dr_weights_create(&weights, n.inference, n.flat), DROVER_ERROR_ARGUMENT);
  cr_assert_str_eq(drover_last_error(), "mlp: log_std[1] must be -20..20, got 21");
  cr_assert_null(weights);
  network_close(&n);
}

/* The two options that change what is computed, in all combinations: bit 0 shared_values, bit 1
 * normalize_observations. */
static drover_mlp_options with_variant(drover_mlp_options options, int variant) {
  options.shared_values = variant & 1;
  options.normalize_observations = variant >> 1 & 1;
  return options;
}

Test(inference, shared_values_and_normalized_observations_match_a_double_reference) {
  uint64_t random = test_seed();
  static const int32_t shapes[][4] = {{1, 0, 0, 1}, {3, 0, 0, 17}, {5, 1, 1, 1}, {4, 2, 64, 2}, {17, 3, 33, 3}};
  for (int variant = 1; variant < 4; variant++) {
    for (int set = 0; set < 3; set++) {
      const dr_kernels *kernels = dr_kernels_named(instruction_sets[set]);
      for (size_t s = 0; kernels && s < sizeof shapes / sizeof shapes[0]; s++) {
        const drover_mlp_options options = test_options(shapes[s][0], shapes[s][1], shapes[s][2], shapes[s][3],
                                                        DROVER_HEAD_GAUSSIAN, DROVER_ACTIVATION_TANH);
        const drover_mlp_options varied = with_variant(options, variant);
        compare_with_reference(&varied, kernels, false, 37, &random);
      }
    }
    drover_mlp_options wide = test_options(376, 2, 200, 17, DROVER_HEAD_GAUSSIAN, DROVER_ACTIVATION_TANH);
    wide.hidden[1] = 251;
    wide = with_variant(wide, variant);
    compare_with_reference(&wide, NULL, true, 300, &random);
  }
}

Test(inference, rows_with_shared_values_and_normalized_observations_do_not_depend_on_count_or_position) {
  const drover_mlp_options narrow =
      with_variant(test_options(11, 2, 30, 7, DROVER_HEAD_GAUSSIAN, DROVER_ACTIVATION_ELU), 3);
  for (int set = 0; set < 3; set++)
    if (dr_kernels_named(instruction_sets[set]))
      rows_do_not_depend_on_cuts(&narrow, false, dr_kernels_named(instruction_sets[set]));
  const drover_mlp_options wide =
      with_variant(test_options(130, 2, 260, 5, DROVER_HEAD_GAUSSIAN, DROVER_ACTIVATION_TANH), 3);
  rows_do_not_depend_on_cuts(&wide, true, NULL);
}

Test(inference, value_alone_equals_the_values_of_act_where_they_share_layers) {
  uint64_t random = test_seed();
  for (int wide = 0; wide < 2; wide++) {
    const drover_mlp_options options =
        with_variant(test_options(130, 2, wide ? 300 : 64, 2, DROVER_HEAD_CATEGORICAL, DROVER_ACTIVATION_TANH), 3);
    network n = network_open(&options, NULL, true, &random);
    acted a = acted_open(&n.mlp, 300, &random);
    float values[300];
    network_act(&n, &a, 0, 300, false);
    cr_assert_eq(dr_inference_value(n.inference, n.weights, n.context, 300, a.observations, values), 0);
    cr_assert_eq(compare_bytes(values, a.values, sizeof values), 0);
    acted_close(&a);
    network_close(&n);
  }
}

Test(inference, normalized_observations_that_are_not_finite_are_seen_and_stay_in_their_row) {
  uint64_t random = test_seed();
  const drover_mlp_options options =
      with_variant(test_options(13, 1, 20, 2, DROVER_HEAD_GAUSSIAN, DROVER_ACTIVATION_TANH), 2);
  network n = network_open(&options, NULL, true, &random);
  acted a = acted_open(&n.mlp, 40, &random), b = acted_open(&n.mlp, 40, &random);
  memcpy(b.counters, a.counters, 40 * sizeof *b.counters);
  memcpy(b.observations, a.observations, 40 * 13 * sizeof(float));
  b.observations[20 * 13 + 5] = NAN;
  network_act(&n, &a, 0, 40, false);
  network_act(&n, &b, 0, 40, false);
  for (size_t row = 0; row < 40; row++)
    if (row != 20) cr_assert_eq(compare_bytes((char *)a.actions + row * 8, (char *)b.actions + row * 8, 8), 0);
  cr_assert(isnan(((float *)b.actions)[40]));
  acted_close(&a);
  acted_close(&b);
  network_close(&n);
}

Test(inference, a_std_that_is_not_above_0_is_named) {
  const drover_mlp_options options =
      with_variant(test_options(4, 1, 8, 2, DROVER_HEAD_GAUSSIAN, DROVER_ACTIVATION_RELU), 2);
  uint64_t random = test_seed();
  network n = network_open(&options, NULL, true, &random);
  dr_weights *weights = NULL;
  n.flat[n.mlp.std_at + 2] = 0;
  cr_assert_eq(dr_weights_create(&weights, n.inference, n.flat), DROVER_ERROR_ARGUMENT);
  cr_assert_str_eq(drover_last_error(), "mlp: observation.std[2] must be finite and above 0, got 0");
  n.flat[n.mlp.mean_at + 1] = NAN;
  cr_assert_eq(dr_weights_create(&weights, n.inference, n.flat), DROVER_ERROR_ARGUMENT);
  cr_assert_str_eq(drover_last_error(), "mlp: observation.mean[1] must be finite, got nan");
  cr_assert_null(weights);
  network_close(&n);
}

/* Noise of counter c with noise_hold h is that of counter c / h without. */
Test(inference, held_noise_is_that_of_the_counter_divided) {
  uint64_t random = test_seed();
  drover_mlp_options options = test_options(4, 1, 16, 3, DROVER_HEAD_GAUSSIAN, DROVER_ACTIVATION_TANH);
  network plain = network_open(&options, NULL, true, &random);
  options.noise_hold = 5;
  network held = network_open(&options, NULL, true, &random);
  dr_weights_destroy(held.weights);
  cr_assert_eq(dr_weights_create(&held.weights, held.inference, plain.flat), DROVER_OK);
  acted a = acted_open(&plain.mlp, 50, &random), b = acted_open(&plain.mlp, 50, &random);
  memcpy(b.observations, a.observations, 50 * 4 * sizeof(float));
  for (size_t i = 0; i < 50; i++) {
    b.counters[i] = i == 49 ? UINT64_C(0xFFFFFFFFFFFF) : i + 3;
    a.counters[i] = b.counters[i] / 5;
  }
  network_act(&plain, &a, 0, 50, false);
  network_act(&held, &b, 0, 50, false);
  cr_assert_eq(compare_bytes(a.actions, b.actions, 50 * a.action_bytes), 0);
  cr_assert_eq(compare_bytes(a.logprobs, b.logprobs, 50 * sizeof(float)), 0);
  acted_close(&a);
  acted_close(&b);
  network_close(&plain);
  network_close(&held);
}
