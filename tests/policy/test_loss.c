/* test_loss.c: the clipped loss against a slow one in double, and its derivatives against central differences of it. */
#include "policy/learn/loss.h"

#include "tests/policy/reference.h"

enum { NUM_ROWS = 40, MAX_OUTPUTS = 5, NUM_INPUTS = MAX_OUTPUTS + 1 };

/* A minibatch: arrays by row, and what the network gave for its rows, in double so that it can be moved a little. */
typedef struct minibatch {
  dr_ppo_loss loss;
  int32_t discrete[NUM_ROWS];
  float continuous[NUM_ROWS * MAX_OUTPUTS];
  float old_logprobs[NUM_ROWS], old_values[NUM_ROWS], advantages[NUM_ROWS], returns[NUM_ROWS];
  double outputs[NUM_ROWS][MAX_OUTPUTS], values[NUM_ROWS], log_std[MAX_OUTPUTS], inverse_std[MAX_OUTPUTS];
} minibatch;

/* Differences across a corner of the loss are none of its derivatives: rows keep away from them. */
static const double CLIP_RANGE = 0.2, VALUE_CLIP_RANGE = 0.5, CORNER = 1e-3;

/* Near where V leaves its range, or where the clipped square becomes the larger one. */
static bool is_near_corner(double value, double old, double target) {
  const double moved = value - old, limited = moved < 0 ? -VALUE_CLIP_RANGE : VALUE_CLIP_RANGE;
  return fabs(fabs(moved) - VALUE_CLIP_RANGE) < CORNER ||
         fabs(fabs(value - target) - fabs(old + limited - target)) < CORNER;
}

static double reference_logprob(const minibatch *m, int32_t i) {
  const int32_t count = m->loss.num_outputs;
  if (m->loss.head == DROVER_HEAD_CATEGORICAL) {
    double total = 0;
    for (int32_t j = 0; j < count; j++) total += exp(m->outputs[i][j]);
    return log(exp(m->outputs[i][m->discrete[i]]) / total);
  }
  double density = 1;
  for (int32_t j = 0; j < count; j++) {
    const double std = exp(m->log_std[j]), x = (double)m->continuous[i * count + j] - m->outputs[i][j];
    density *= exp(-x * x / (2 * std * std)) / (std * sqrt(2 * 3.14159265358979323846));
  }
  return log(density);
}

static double reference_entropy(const minibatch *m, int32_t i) {
  const int32_t count = m->loss.num_outputs;
  double total = 0, entropy = 0;
  for (int32_t j = 0; j < count; j++) total += exp(m->outputs[i][j]);
  for (int32_t j = 0; j < count; j++) {
    const double p = exp(m->outputs[i][j]) / total, variance = exp(2 * m->log_std[j]);
    entropy += m->loss.head == DROVER_HEAD_CATEGORICAL
                   ? -p * log(p)
                   : 0.5 * log(2 * 3.14159265358979323846 * 2.71828182845904523536 * variance);
  }
  return entropy;
}

static double clamp(double x, double low, double high) { return x < low ? low : x > high ? high : x; }

/* The row's terms, as in the paper. */
static void reference_row(const minibatch *m, int32_t i, double terms[DR_PPO_NUM_SUMS]) {
  const dr_ppo_loss *l = &m->loss;
  const double ratio = exp(reference_logprob(m, i)) / exp((double)m->old_logprobs[i]);
  const double advantage = ((double)m->advantages[i] - l->advantage_mean) * l->advantage_scale;
  const double clipped = clamp(ratio, 1 - l->clip_range, 1 + l->clip_range);
  terms[DR_PPO_SUM_POLICY] = -(ratio * advantage < clipped * advantage ? ratio * advantage : clipped * advantage);
  const double v = m->values[i], target = (double)m->returns[i], old = (double)m->old_values[i];
  const double near = l->value_clip_range > 0 ? clamp(v, old - l->value_clip_range, old + l->value_clip_range) : v;
  const double far_square = (v - target) * (v - target), near_square = (near - target) * (near - target);
  terms[DR_PPO_SUM_VALUE] = (far_square > near_square ? far_square : near_square) / 2;
  terms[DR_PPO_SUM_ENTROPY] = reference_entropy(m, i);
  terms[DR_PPO_SUM_KL] = (ratio - 1) - log(ratio);
  terms[DR_PPO_SUM_CLIPPED] = fabs(ratio - 1) > l->clip_range;
}

static double reference_loss(const minibatch *m) {
  double sum = 0, terms[DR_PPO_NUM_SUMS];
  for (int32_t i = 0; i < NUM_ROWS; i++) {
    reference_row(m, i, terms);
    sum += terms[DR_PPO_SUM_POLICY] + m->loss.value_coef * terms[DR_PPO_SUM_VALUE] -
           m->loss.entropy_coef * terms[DR_PPO_SUM_ENTROPY];
  }
  return sum / NUM_ROWS;
}

static double slope(const minibatch *m, double *x) {
  const double x0 = *x, h = 1e-6;
  *x = x0 + h;
  const double above = reference_loss(m);
  *x = x0 - h;
  const double below = reference_loss(m);
  *x = x0;
  return (above - below) / (2 * h);
}

/* Ratios from 0.5 to 2 and values a good way from the old ones, so that every branch is taken. */
static minibatch *make_minibatch(drover_head head, int32_t num_outputs, uint64_t *random) {
  static minibatch m;
  memset(&m, 0, sizeof m);
  for (int32_t j = 0; j < num_outputs; j++) {
    m.log_std[j] = (double)(float)test_uniform(random, -0.7, 0.3);
    m.inverse_std[j] = exp(-m.log_std[j]);
    m.loss.log_std_sum += m.log_std[j];
  }
  m.loss.head = head;
  m.loss.num_outputs = num_outputs;
  for (int32_t i = 0; i < NUM_ROWS; i++) {
    for (int32_t j = 0; j < num_outputs; j++) {
      m.outputs[i][j] = (double)(float)test_uniform(random, -2, 2);
      m.continuous[i * num_outputs + j] = (float)test_uniform(random, -2, 2);
    }
    m.discrete[i] = (int32_t)(test_random(random) % (uint64_t)num_outputs);
    do m.old_logprobs[i] = (float)(reference_logprob(&m, i) + test_uniform(random, -0.7, 0.7));
    while (fabs(fabs(exp(reference_logprob(&m, i) - (double)m.old_logprobs[i]) - 1) - CLIP_RANGE) < CORNER);
    m.returns[i] = (float)test_uniform(random, -2, 2);
    do {
      m.values[i] = (double)(float)test_uniform(random, -2, 2);
      m.old_values[i] = (float)test_uniform(random, -2, 2);
    } while (is_near_corner(m.values[i], (double)m.old_values[i], (double)m.returns[i]));
    m.advantages[i] = (float)test_uniform(random, -3, 5);
  }
  m.loss.actions = head == DROVER_HEAD_CATEGORICAL ? (const void *)m.discrete : m.continuous;
  m.loss.old_logprobs = m.old_logprobs;
  m.loss.old_values = m.old_values;
  m.loss.advantages = m.advantages;
  m.loss.returns = m.returns;
  m.loss.advantage_mean = 0.8;
  m.loss.advantage_scale = 0.6;
  m.loss.clip_range = CLIP_RANGE;
  m.loss.value_coef = 0.7;
  m.loss.inverse_count = 1.0 / NUM_ROWS;
  m.loss.inverse_std = m.inverse_std;
  return &m;
}

/* What the loss gives for the whole minibatch as one block, its rows in descending order. */
typedef struct answer {
  float outputs[NUM_ROWS * MAX_OUTPUTS], values[NUM_ROWS];
  double log_std[MAX_OUTPUTS], sums[DR_MAX_LOSS_SUMS];
} answer;

static answer ask(minibatch *m) {
  answer a = {0};
  float outputs[NUM_ROWS * MAX_OUTPUTS], values[NUM_ROWS];
  int32_t rows[NUM_ROWS];
  for (int32_t i = 0; i < NUM_ROWS; i++) {
    rows[i] = NUM_ROWS - 1 - i;
    values[i] = (float)m->values[rows[i]];
    for (int32_t j = 0; j < m->loss.num_outputs; j++)
      outputs[i * m->loss.num_outputs + j] = (float)m->outputs[rows[i]][j];
  }
  const dr_loss_block block = {.num_rows = NUM_ROWS,
                               .rows = rows,
                               .outputs = outputs,
                               .values = values,
                               .output_gradients = a.outputs,
                               .value_gradients = a.values,
                               .log_std_gradients = a.log_std,
                               .sums = a.sums};
  cr_assert_eq(dr_ppo_loss_block(&m->loss, &block), 0);
  return a;
}

static void check(minibatch *m) {
  const answer a = ask(m);
  const int32_t count = m->loss.num_outputs;
  double sums[DR_PPO_NUM_SUMS] = {0}, terms[DR_PPO_NUM_SUMS];
  for (int32_t i = 0; i < NUM_ROWS; i++) {
    reference_row(m, i, terms);
    for (int k = 0; k < DR_PPO_NUM_SUMS; k++) sums[k] += terms[k];
  }
  for (int k = 0; k < DR_PPO_NUM_SUMS; k++)
    cr_assert_float_eq(a.sums[k], sums[k], 1e-6, "sum %d is %.9g, expected %.9g", k, a.sums[k], sums[k]);
  for (int32_t i = 0; i < NUM_ROWS; i++) {
    const int32_t row = NUM_ROWS - 1 - i;
    for (int32_t j = 0; j < count; j++) {
      const double want = slope(m, &m->outputs[row][j]), got = (double)a.outputs[i * count + j];
      cr_assert_float_eq(got, want, 1e-7, "row %d output %d: %.9g, expected %.9g", (int)row, (int)j, got, want);
    }
    const double want = slope(m, &m->values[row]), got = (double)a.values[i];
    cr_assert_float_eq(got, want, 1e-7, "row %d value: %.9g, expected %.9g", (int)row, got, want);
  }
  for (int32_t j = 0; j < count && m->loss.head == DROVER_HEAD_GAUSSIAN; j++) {
    const double want = slope(m, &m->log_std[j]);
    cr_assert_float_eq(a.log_std[j], want, 1e-7, "log_std %d: %.9g, expected %.9g", (int)j, a.log_std[j], want);
  }
}

static void check_head(drover_head head, int32_t fewest) {
  uint64_t random = test_seed();
  for (int32_t num_outputs = fewest; num_outputs <= MAX_OUTPUTS; num_outputs++)
    for (int variant = 0; variant < 4; variant++) {
      minibatch *m = make_minibatch(head, num_outputs, &random);
      if (variant & 1) m->loss.entropy_coef = 0.03;
      if (variant & 2) m->loss.value_clip_range = VALUE_CLIP_RANGE;
      check(m);
    }
}

Test(loss, derivatives_of_a_categorical_head_are_those_of_the_loss) { check_head(DROVER_HEAD_CATEGORICAL, 2); }

Test(loss, derivatives_of_a_gaussian_head_are_those_of_the_loss) { check_head(DROVER_HEAD_GAUSSIAN, 1); }

Test(loss, a_ratio_beyond_the_clip_range_moves_nothing_where_the_advantage_would_push_it_further) {
  uint64_t random = test_seed();
  minibatch *m = make_minibatch(DROVER_HEAD_CATEGORICAL, 3, &random);
  m->loss.advantage_mean = 0;
  m->loss.advantage_scale = 1;
  for (int32_t i = 0; i < NUM_ROWS; i++) {
    const double sign = i % 2 ? 1 : -1;
    m->old_logprobs[i] = (float)(reference_logprob(m, i) - sign * 0.5); /* r = 1.65 or 0.61 */
    m->advantages[i] = (float)sign;
  }
  const answer a = ask(m);
  for (int32_t i = 0; i < NUM_ROWS * 3; i++) cr_assert_eq(a.outputs[i], 0.0f);
  cr_assert_eq(a.sums[DR_PPO_SUM_CLIPPED], NUM_ROWS);
}

Test(loss, logits_far_apart_give_finite_numbers) {
  uint64_t random = test_seed();
  minibatch *m = make_minibatch(DROVER_HEAD_CATEGORICAL, 3, &random);
  m->loss.entropy_coef = 0.1;
  for (int32_t i = 0; i < NUM_ROWS; i++) {
    m->outputs[i][0] = 3e4;
    m->outputs[i][1] = -3e4;
    m->discrete[i] = 0;
    m->old_logprobs[i] = 0;
  }
  const answer a = ask(m);
  for (int32_t i = 0; i < NUM_ROWS * 3; i++) cr_assert(isfinite(a.outputs[i]));
  for (int k = 0; k < DR_PPO_NUM_SUMS; k++) cr_assert(isfinite(a.sums[k]));
}

Test(loss, a_number_that_is_not_finite_shows_in_the_sums) {
  uint64_t random = test_seed();
  for (int head = 0; head <= DROVER_HEAD_GAUSSIAN; head++)
    for (int place = 0; place < 2; place++) {
      minibatch *m = make_minibatch((drover_head)head, 2, &random);
      *(place ? &m->values[17] : &m->outputs[17][0]) = NAN;
      const answer a = ask(m);
      cr_assert(isnan(a.sums[place ? DR_PPO_SUM_VALUE : DR_PPO_SUM_KL]));
    }
}
