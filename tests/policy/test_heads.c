/* test_heads.c: actions as samples of their distributions, log-probabilities as closed forms. */
#include <drover/random.h>

#include "tests/policy/reference.h"

static const char *const instruction_sets[] = {"avx512", "avx2", "sse2"};

/* Heads are fed outputs directly. */
typedef struct head_call {
  drover_policy_rows rows;
  dr_head_rows head;
  float *outputs;
  int32_t *chosen; /* actions seen as int32 */
  float *actions;  /* and as float */
  float *logprobs;
  uint64_t *counters;
  float *std_dev, *inverse_std, *scratch;
} head_call;

static head_call call_open(int32_t count, int32_t num_outputs, uint64_t seed) {
  head_call c = {.outputs = calloc(((size_t)count + 16) * dr_stride(num_outputs), sizeof(float)),
                 .actions = calloc((size_t)count * (size_t)num_outputs, sizeof(float)),
                 .logprobs = calloc((size_t)count, sizeof(float)),
                 .counters = calloc((size_t)count, sizeof(uint64_t)),
                 .std_dev = calloc((size_t)num_outputs, sizeof(float)),
                 .inverse_std = calloc((size_t)num_outputs, sizeof(float)),
                 .scratch = calloc(2 * (size_t)num_outputs * DR_WIDTH_MULTIPLE, sizeof(float))};
  c.chosen = (int32_t *)(void *)c.actions;
  c.rows = (drover_policy_rows){.count = count,
                                .first_env = 5,
                                .seed = seed,
                                .counters = c.counters,
                                .actions = c.actions,
                                .logprobs = c.logprobs};
  c.head = (dr_head_rows){.count = count,
                          .num_outputs = num_outputs,
                          .stride = dr_stride(num_outputs),
                          .outputs = c.outputs,
                          .std_dev = c.std_dev,
                          .inverse_std = c.inverse_std,
                          .scratch = c.scratch};
  return c;
}

static void call_close(head_call *c) {
  free(c->outputs);
  free(c->actions);
  free(c->logprobs);
  free(c->counters);
  free(c->std_dev);
  free(c->inverse_std);
  free(c->scratch);
}

/* log softmax in long double; log(1 + s) over the others, or the reference were the less accurate one. */
static double log_softmax(const float *logits, int32_t count, int32_t action) {
  int32_t best = 0;
  for (int32_t a = 1; a < count; a++)
    if (logits[a] > logits[best]) best = a;
  long double others = 0;
  for (int32_t a = 0; a < count; a++)
    if (a != best) others += expl((long double)logits[a] - (long double)logits[best]);
  return (double)((long double)logits[action] - (long double)logits[best] - log1pl(others));
}

Test(heads, categorical_frequencies_fit_their_probabilities) {
  enum { ROWS = 100000, ACTIONS = 7 };
  const uint64_t seed = test_seed();
  static const float logits[ACTIONS] = {0.3f, -1.2f, 2.0f, 0.0f, -3.0f, 1.1f, 0.9f};
  for (int set = 0; set < 3; set++) {
    const dr_kernels *kernels = dr_kernels_named(instruction_sets[set]);
    if (!kernels) continue;
    head_call c = call_open(ROWS, ACTIONS, seed);
    c.head.rows = &c.rows;
    for (size_t i = 0; i < ROWS; i++) memcpy(c.outputs + i * c.head.stride, logits, sizeof logits);
    for (size_t i = 0; i < ROWS; i++) c.counters[i] = i % 10;
    kernels->categorical(&c.head);
    double counts[ACTIONS] = {0}, chi_square = 0;
    for (int i = 0; i < ROWS; i++) counts[c.chosen[i]]++;
    for (int a = 0; a < ACTIONS; a++) {
      const double expected = ROWS * exp(log_softmax(logits, ACTIONS, a));
      chi_square += (counts[a] - expected) * (counts[a] - expected) / expected;
    }
    cr_assert_lt(chi_square, 27.9, "%s: chi square %g with 6 degrees of freedom (p = 1e-4)", kernels->name, chi_square);
    call_close(&c);
  }
}

/* The sample is the inverse of the cumulative distribution at the stream's first uniform. */
Test(heads, categorical_inverts_the_cumulative_distribution_at_the_streams_uniform) {
  enum { ROWS = 3001, ACTIONS = 5 };
  uint64_t random = test_seed();
  for (int set = 0; set < 3; set++) {
    const dr_kernels *kernels = dr_kernels_named(instruction_sets[set]);
    if (!kernels) continue;
    head_call c = call_open(ROWS, ACTIONS, 0xABCDEF0123456789u);
    c.head.rows = &c.rows;
    for (size_t i = 0; i < ROWS * c.head.stride; i++) c.outputs[i] = (float)test_uniform(&random, -3, 3);
    for (int i = 0; i < ROWS; i++) c.counters[i] = test_random(&random) >> 8;
    kernels->categorical(&c.head);
    for (int i = 0; i < ROWS; i++) {
      const float *logits = c.outputs + (size_t)i * c.head.stride;
      drover_random stream = drover_random_at(c.rows.seed, (uint32_t)(5 + i), DROVER_RANDOM_ACTION, c.counters[i]);
      const double u = (double)drover_random_uniformf(&stream);
      double before = 0;
      for (int a = 0; a < c.chosen[i]; a++) before += exp(log_softmax(logits, ACTIONS, a));
      const double after = before + exp(log_softmax(logits, ACTIONS, c.chosen[i]));
      cr_assert(u >= before - 1e-6 && u < after + 1e-6, "%s row %d: u = %g is not in %g..%g", kernels->name, i, u,
                before, after);
    }
    call_close(&c);
  }
}

Test(heads, categorical_logprobs_match_the_closed_form_also_near_certainty) {
  enum { ROWS = 4000, ACTIONS = 6 };
  uint64_t random = test_seed();
  for (int set = 0; set < 3; set++) {
    const dr_kernels *kernels = dr_kernels_named(instruction_sets[set]);
    if (!kernels) continue;
    head_call c = call_open(ROWS, ACTIONS, random);
    c.head.rows = &c.rows;
    for (size_t i = 0; i < ROWS; i++) {
      const double size = i % 4 == 0 ? 1 : i % 4 == 1 ? 10 : i % 4 == 2 ? 40 : 0.01;
      for (size_t a = 0; a < ACTIONS; a++) c.outputs[i * c.head.stride + a] = (float)test_uniform(&random, -size, size);
    }
    for (int mode = 0; mode < 2; mode++) {
      c.rows.deterministic = mode;
      kernels->categorical(&c.head);
      for (int i = 0; i < ROWS; i++) {
        const double want = log_softmax(c.outputs + (size_t)i * c.head.stride, ACTIONS, c.chosen[i]);
        cr_assert_leq(fabs((double)c.logprobs[i] - want), 1e-5 * fabs(want) + 1e-30, "%s row %d: %.9g, not %.9g",
                      kernels->name, i, (double)c.logprobs[i], want);
      }
    }
    call_close(&c);
  }
}

Test(heads, categorical_deterministic_takes_the_largest_and_the_lowest_on_ties) {
  for (int set = 0; set < 3; set++) {
    const dr_kernels *kernels = dr_kernels_named(instruction_sets[set]);
    if (!kernels) continue;
    static const float rows[4][4] = {{0, 3, 2, 3}, {1, 1, 1, 1}, {-5, -4, -3, -2}, {7, 0, 0, 7}};
    static const int32_t want[4] = {1, 0, 3, 0};
    head_call c = call_open(4, 4, 1);
    c.head.rows = &c.rows;
    c.rows.deterministic = 1;
    for (size_t i = 0; i < 4; i++) memcpy(c.outputs + i * c.head.stride, rows[i], sizeof rows[i]);
    kernels->categorical(&c.head);
    cr_assert_eq(compare_bytes(c.chosen, want, sizeof want), 0, "%s", kernels->name);
    call_close(&c);
  }
}

Test(heads, categorical_never_takes_an_action_without_weight) {
  enum { ROWS = 20000 };
  for (int set = 0; set < 3; set++) {
    const dr_kernels *kernels = dr_kernels_named(instruction_sets[set]);
    if (!kernels) continue;
    head_call c = call_open(ROWS, 3, 99);
    c.head.rows = &c.rows;
    for (size_t i = 0; i < ROWS; i++) {
      c.outputs[i * c.head.stride] = -200;
      c.outputs[i * c.head.stride + 1] = 1;
      c.outputs[i * c.head.stride + 2] = -300;
    }
    kernels->categorical(&c.head);
    for (int i = 0; i < ROWS; i++) {
      cr_assert_eq(c.chosen[i], 1);
      cr_assert_eq(c.logprobs[i], 0.0f);
    }
    call_close(&c);
  }
}

Test(heads, a_single_action_is_certain) {
  for (int set = 0; set < 3; set++) {
    const dr_kernels *kernels = dr_kernels_named(instruction_sets[set]);
    if (!kernels) continue;
    head_call c = call_open(33, 1, 3);
    c.head.rows = &c.rows;
    for (size_t i = 0; i < 33; i++) c.outputs[i * c.head.stride] = (float)i - 16;
    kernels->categorical(&c.head);
    for (int i = 0; i < 33; i++) {
      cr_assert_eq(c.chosen[i], 0);
      cr_assert_eq(c.logprobs[i], 0.0f);
    }
    call_close(&c);
  }
}

static void set_std(head_call *c, double log_std_step) {
  const int32_t middle = c->head.num_outputs / 2;
  c->head.logprob_constant = 0;
  for (int32_t n = 0; n < c->head.num_outputs; n++) {
    const double log_std = log_std_step * (n - middle);
    c->std_dev[n] = (float)exp(log_std);
    c->inverse_std[n] = (float)exp(-log_std);
    c->head.logprob_constant -= log_std + 0.5 * log(2 * M_PI);
  }
}

static int compare_doubles(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Kolmogorov-Smirnov against the normal distribution, and no correlation between neighbours. */
Test(heads, gaussian_samples_are_normal_and_independent) {
  enum { ROWS = 20000, SIZE = 5 };
  const uint64_t seed = test_seed();
  for (int set = 0; set < 3; set++) {
    const dr_kernels *kernels = dr_kernels_named(instruction_sets[set]);
    if (!kernels) continue;
    head_call c = call_open(ROWS, SIZE, seed);
    c.head.rows = &c.rows;
    set_std(&c, 0.3);
    for (size_t i = 0; i < ROWS; i++)
      for (size_t n = 0; n < SIZE; n++) c.outputs[i * c.head.stride + n] = (float)n;
    kernels->gaussian(&c.head);
    double *z = calloc((size_t)ROWS * SIZE, sizeof *z), neighbours = 0, rows = 0;
    for (size_t i = 0; i < (size_t)ROWS * SIZE; i++)
      z[i] = ((double)c.actions[i] - (double)(i % SIZE)) / (double)c.std_dev[i % SIZE];
    for (size_t i = 1; i < (size_t)ROWS * SIZE; i++) neighbours += z[i] * z[i - 1];
    for (size_t i = SIZE; i < (size_t)ROWS * SIZE; i++) rows += z[i] * z[i - SIZE];
    const double count = ROWS * SIZE;
    cr_assert_lt(fabs(neighbours) / sqrt(count), 4.0);
    cr_assert_lt(fabs(rows) / sqrt(count), 4.0);
    qsort(z, (size_t)count, sizeof *z, compare_doubles);
    double distance = 0;
    for (size_t i = 0; i < (size_t)count; i++) {
      const double cumulative = 0.5 * erfc(-z[i] / sqrt(2));
      distance = fmax(distance, fmax(cumulative - (double)i / count, ((double)i + 1) / count - cumulative));
    }
    cr_assert_lt(distance * sqrt(count), 2.23, "%s: Kolmogorov-Smirnov %g (p = 1e-4)", kernels->name,
                 distance * sqrt(count));
    cr_assert_lt(z[0], -3.5);
    cr_assert_gt(z[(size_t)count - 1], 3.5);
    free(z);
    call_close(&c);
  }
}

/* The noise of output j is word j of the row's stream, in pairs. */
Test(heads, gaussian_noise_is_box_muller_of_the_streams_words) {
  enum { ROWS = 501, SIZE = 7 };
  uint64_t random = test_seed();
  for (int set = 0; set < 3; set++) {
    const dr_kernels *kernels = dr_kernels_named(instruction_sets[set]);
    if (!kernels) continue;
    head_call c = call_open(ROWS, SIZE, 0x55AA55AA12345678u);
    c.head.rows = &c.rows;
    set_std(&c, 0);
    for (int i = 0; i < ROWS; i++) c.counters[i] = test_random(&random) >> 8;
    kernels->gaussian(&c.head);
    for (int i = 0; i < ROWS; i++) {
      drover_random stream = drover_random_at(c.rows.seed, (uint32_t)(5 + i), DROVER_RANDOM_ACTION, c.counters[i]);
      for (int n = 0; n < SIZE; n += 2) {
        const double radius = sqrt(-2 * log(((double)drover_random_u32(&stream) + 0.5) * 0x1.0p-32));
        const double angle = 2 * M_PI * (double)drover_random_uniformf(&stream);
        const float *got = c.actions + (size_t)i * SIZE + n;
        cr_assert_leq(fabs((double)got[0] - radius * cos(angle)), 3e-6 * fmax(1, radius), "row %d output %d", i, n);
        if (n + 1 < SIZE) cr_assert_leq(fabs((double)got[1] - radius * sin(angle)), 3e-6 * fmax(1, radius));
      }
    }
    call_close(&c);
  }
}

Test(heads, gaussian_logprobs_match_the_closed_form_of_the_stored_action) {
  enum { ROWS = 1000 };
  static const int32_t sizes[] = {1, 2, 3, 4, 6, 17, 51};
  uint64_t random = test_seed();
  for (int set = 0; set < 3; set++) {
    const dr_kernels *kernels = dr_kernels_named(instruction_sets[set]);
    if (!kernels) continue;
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
      const int32_t size = sizes[s], middle = size / 2;
      head_call c = call_open(ROWS, size, 11);
      c.head.rows = &c.rows;
      set_std(&c, 0.05);
      for (size_t i = 0; i < ROWS * c.head.stride; i++) c.outputs[i] = (float)test_uniform(&random, -2, 2);
      kernels->gaussian(&c.head);
      for (size_t i = 0; i < ROWS; i++) {
        double want = 0;
        for (int32_t n = 0; n < size; n++) {
          const double std = exp(0.05 * (n - middle)), mean = (double)c.outputs[i * c.head.stride + (size_t)n];
          const double z = ((double)c.actions[i * (size_t)size + (size_t)n] - mean) / std;
          want -= 0.5 * z * z + log(std) + 0.5 * log(2 * M_PI);
        }
        cr_assert(nearly((double)c.logprobs[i], want), "%s size %d: %.9g, not %.9g", kernels->name, size,
                  (double)c.logprobs[i], want);
      }
      call_close(&c);
    }
  }
}

Test(heads, gaussian_deterministic_is_the_mean) {
  for (int set = 0; set < 3; set++) {
    const dr_kernels *kernels = dr_kernels_named(instruction_sets[set]);
    if (!kernels) continue;
    head_call c = call_open(21, 3, 1);
    c.head.rows = &c.rows;
    c.rows.deterministic = 1;
    set_std(&c, 0.1);
    for (size_t i = 0; i < 21; i++)
      for (size_t n = 0; n < 3; n++) c.outputs[i * c.head.stride + n] = (float)(i * 3 + n);
    kernels->gaussian(&c.head);
    for (int i = 0; i < 63; i++) cr_assert_eq(c.actions[i], (float)i);
    for (int i = 0; i < 21; i++) cr_assert_float_eq(c.logprobs[i], (float)c.head.logprob_constant, 1e-6);
    call_close(&c);
  }
}

Test(heads, unit_is_the_logistic_function_and_has_logprob_zero) {
  uint64_t random = test_seed();
  for (int set = 0; set < 3; set++) {
    const dr_kernels *kernels = dr_kernels_named(instruction_sets[set]);
    if (!kernels) continue;
    head_call c = call_open(60, 21, 1);
    c.head.rows = &c.rows;
    for (size_t i = 0; i < 60 * c.head.stride; i++) c.outputs[i] = (float)test_uniform(&random, -20, 20);
    c.outputs[0] = -200;
    c.outputs[1] = 200;
    c.logprobs[59] = 5;
    kernels->unit(&c.head);
    for (size_t i = 0; i < 60; i++) {
      cr_assert_eq(c.logprobs[i], 0.0f);
      for (size_t n = 0; n < 21; n++) {
        const double want = 1 / (1 + exp(-(double)c.outputs[i * c.head.stride + n]));
        cr_assert_leq(fabs((double)c.actions[i * 21 + n] - want), 1e-6 * want + 1e-37);
      }
    }
    call_close(&c);
  }
}

Test(heads, noise_differs_by_seed_env_and_counter) {
  const dr_kernels *kernels = dr_kernels_best();
  head_call c = call_open(32, 1, 1);
  c.head.rows = &c.rows;
  set_std(&c, 0);
  float first[32];
  kernels->gaussian(&c.head);
  memcpy(first, c.actions, sizeof first);
  for (int i = 1; i < 32; i++) cr_assert_neq(first[i], first[0]);
  c.rows.seed = 1ull << 40;
  kernels->gaussian(&c.head);
  for (int i = 0; i < 32; i++) cr_assert_neq(first[i], c.actions[i]);
  c.rows.seed = 1;
  for (int i = 0; i < 32; i++) c.counters[i] = 1ull << 40;
  kernels->gaussian(&c.head);
  for (int i = 0; i < 32; i++) cr_assert_neq(first[i], c.actions[i]);
  memset(c.counters, 0, 32 * sizeof *c.counters);
  c.rows.first_env = 6;
  kernels->gaussian(&c.head);
  cr_assert_eq(compare_bytes(first + 1, c.actions, 31 * sizeof(float)), 0,
               "row i of env 6 on is row i + 1 of env 5 on");
  call_close(&c);
}
