/* heads_kernel.h: from the network's outputs to actions and log-probabilities, for the kernel files only.
 *
 * Rows are lanes: DR_LANES rows at a time, whole vectors even where fewer rows are left, so that a row's bits do not
 * depend on its lane or its neighbours. Noise is Philox by (seed, env, DROVER_RANDOM_ACTION, counter): word j of a
 * row's stream is output j's, in pairs for the Gaussian, and the number of draws does not depend on their values. */
#ifndef DR_POLICY_HEADS_KERNEL_H
#define DR_POLICY_HEADS_KERNEL_H

#include "policy/kernels.h"
#include "policy/simd.h"

/* DR_LANES rows of one call, and where their streams are: Philox counter words 1..3 in 64-bit lanes, half the rows
 * each (drover/random.h has the layout). */
typedef struct row_streams {
  dr_words step[2], purpose[2], env[2];
} row_streams;

static inline row_streams streams_of(const dr_head_rows *head, int32_t row) {
  enum { HALF = DR_LANES / 2 };
  const drover_policy_rows *rows = head->rows;
  const uint64_t *counters = rows->counters + head->first + row;
  uint64_t copy[DR_LANES] = {0};
  if (head->count - row < DR_LANES) counters = memcpy(copy, counters, (size_t)(head->count - row) * sizeof copy[0]);
  if (head->noise_hold > 1) {
    for (int i = 0; i < DR_LANES; i++) copy[i] = counters[i] / (uint64_t)head->noise_hold;
    counters = copy;
  }
  static const uint64_t lanes[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const dr_words first_env = DR_MM_SET_WORDS(rows->first_env + head->first + row);
  row_streams streams;
  for (int half = 0; half < 2; half++) {
    const dr_words step = DR_MM_LOAD_WORDS(counters + half * HALF);
    streams.step[half] = step;
    streams.purpose[half] = (DR_MM(srli_epi64)(step, 32) & DR_MM_SET_WORDS(0xFFFFFF)) |
                            DR_MM_SET_WORDS((uint64_t)DROVER_RANDOM_ACTION << 24);
    streams.env[half] = first_env + DR_MM_LOAD_WORDS(lanes + half * HALF);
  }
  return streams;
}

/* Block `index` of each row's stream by Philox4x32-10: word[0..3], a row a lane. The upper halves of the 64-bit lanes
 * hold left-overs, which no operation reads. */
static inline void noise_block(const row_streams *streams, uint64_t seed, uint32_t index, dr_bits word[4]) {
  dr_words out[4][2];
#pragma GCC unroll 2
  for (int half = 0; half < 2; half++) {
    dr_words c0 = DR_MM_SET_WORDS(index), c1 = streams->step[half], c2 = streams->purpose[half],
             c3 = streams->env[half];
    const dr_words multiplier0 = DR_MM_SET_WORDS(0xD2511F53), multiplier1 = DR_MM_SET_WORDS(0xCD9E8D57);
    uint32_t key0 = (uint32_t)seed, key1 = (uint32_t)(seed >> 32);
#pragma GCC unroll 10
    for (int round = 0; round < 10; round++) {
      const dr_words p0 = DR_MM_MUL_WORDS(multiplier0, c0), p1 = DR_MM_MUL_WORDS(multiplier1, c2);
      c0 = DR_XOR3(DR_MM(srli_epi64)(p1, 32), c1, DR_MM_SET_WORDS(key0));
      c2 = DR_XOR3(DR_MM(srli_epi64)(p0, 32), c3, DR_MM_SET_WORDS(key1));
      c1 = p1;
      c3 = p0;
      key0 += 0x9E3779B9u;
      key1 += 0xBB67AE85u;
    }
    out[0][half] = c0;
    out[1][half] = c1;
    out[2][half] = c2;
    out[3][half] = c3;
  }
#pragma GCC unroll 4
  for (int j = 0; j < 4; j++) word[j] = join_words(out[j][0], out[j][1]);
}

/* Uniform in [0, 1) with 24 bits, as drover_random_uniformf makes it. */
DR_INLINE dr_floats uniform(dr_bits word) { return DR_MM_TO_FLOATS(word >> 8) * splat(0x1.0p-24f); }

/* Column n of DR_LANES rows of outputs. */
DR_INLINE dr_floats column(const dr_head_rows *head, int32_t row, int32_t n) {
  return load_apart(head->outputs + (size_t)row * head->stride + (size_t)n, head->stride);
}

DR_INLINE int32_t live_rows(const dr_head_rows *head, int32_t row) {
  return head->count - row < DR_LANES ? head->count - row : DR_LANES;
}

DR_INLINE void put_logprobs(const dr_head_rows *head, int32_t row, dr_floats logprob) {
  if (!head->rows->logprobs) return;
  float values[DR_LANES];
  store(values, logprob);
  memcpy(head->rows->logprobs + head->first + row, values, (size_t)live_rows(head, row) * sizeof(float));
}

/* Softmax over outputs; the action is the first whose cumulative weight exceeds u times the sum. With m the largest
 * output, taken at `best`, log p_a = (x_a - m) - log1p(sum of exp(x_j - m) over j != best): accurate near p = 1 too. */
static void categorical(const dr_head_rows *head) {
  const int32_t num_actions = head->num_outputs;
  float *const logits = head->scratch, *const weights = head->scratch + (size_t)num_actions * DR_LANES;
  for (int32_t row = 0; row < head->count; row += DR_LANES) {
    dr_floats most = column(head, row, 0);
    dr_ints best = splat_int(0);
    store(logits, most);
    for (int32_t a = 1; a < num_actions; a++) {
      const dr_floats x = column(head, row, a);
      const dr_ints more = x > most;
      store(logits + (size_t)a * DR_LANES, x);
      most = select_float(more, x, most);
      best = select_int(more, splat_int(a), best);
    }
    dr_floats others = splat(0.0f);
    for (int32_t a = 0; a < num_actions; a++) {
      const dr_floats weight = vector_exp(load(logits + (size_t)a * DR_LANES) - most);
      store(weights + (size_t)a * DR_LANES, weight);
      others += select_float(best == splat_int(a), splat(0.0f), weight);
    }
    dr_ints chosen = best;
    dr_floats logit = most;
    if (!head->rows->deterministic) {
      dr_bits word[4];
      const row_streams streams = streams_of(head, row);
      noise_block(&streams, head->rows->seed, 0, word);
      const dr_floats threshold = uniform(word[0]) * (others + splat(1.0f));
      dr_floats cumulative = splat(0.0f);
      dr_ints open = splat_int(-1); /* lanes still looking; rounding may leave one open: the likeliest action then */
      for (int32_t a = 0; a < num_actions; a++) {
        cumulative += load(weights + (size_t)a * DR_LANES);
        const dr_ints hit = (cumulative > threshold) & open;
        chosen = select_int(hit, splat_int(a), chosen);
        logit = select_float(hit, load(logits + (size_t)a * DR_LANES), logit);
        open &= ~hit;
      }
    }
    int32_t actions[DR_LANES];
    memcpy(actions, &chosen, sizeof actions);
    memcpy((int32_t *)head->rows->actions + head->first + row, actions, (size_t)live_rows(head, row) * sizeof(int32_t));
    put_logprobs(head, row, (logit - most) - vector_log1p(others));
  }
}

/* Two standard normal numbers of two random words (Box and Muller 1958): radius of the first, angle of the second.
 * The radius uses all 32 bits, (w + 1/2) / 2^32, so it reaches 6.7; the angle 24. */
DR_INLINE void normals(dr_bits radius_word, dr_bits angle_word, dr_floats out[2]) {
  const dr_floats high = DR_MM_TO_FLOATS(radius_word >> 16) * splat(0x1.0p-16f);
  const dr_floats low = DR_MM_TO_FLOATS(radius_word & 0xFFFFu) * splat(0x1.0p-32f) + splat(0x1.0p-33f);
  const dr_floats radius = vector_sqrt(splat(-2.0f) * vector_log(high + low));
  dr_floats sine, cosine;
  vector_sincospi(uniform(angle_word) * splat(2.0f), &sine, &cosine);
  out[0] = radius * cosine;
  out[1] = radius * sine;
}

/* action = mean + std z; log p = sum of -((action - mean) / std)^2 / 2 over outputs in ascending order (four in float,
 * the fours in double) + logprob_constant. The action that is stored counts, rounded as it is, not the z behind it. */
static void gaussian(const dr_head_rows *head) {
  const int32_t size = head->num_outputs;
  float *const actions = (float *)head->rows->actions + (size_t)head->first * (size_t)size;
  for (int32_t row = 0; row < head->count; row += DR_LANES) {
    const int32_t live = live_rows(head, row);
    dr_doubles logprob = (dr_doubles){0} + head->logprob_constant;
    const row_streams streams = streams_of(head, row);
    for (int32_t n = 0; n < size; n += 4) {
      const int32_t some = size - n < 4 ? size - n : 4;
      dr_floats z[4] = {splat(0.0f), splat(0.0f), splat(0.0f), splat(0.0f)};
      if (!head->rows->deterministic) {
        dr_bits word[4];
        noise_block(&streams, head->rows->seed, (uint32_t)n / 4, word);
        normals(word[0], word[1], z);
        if (some > 2) normals(word[2], word[3], z + 2);
      }
      dr_floats squares = splat(0.0f);
      for (int32_t j = 0; j < some; j++) {
        const dr_floats mean = column(head, row, n + j), action = mean + splat(head->std_dev[n + j]) * z[j];
        const dr_floats distance = (action - mean) * splat(head->inverse_std[n + j]);
        squares += distance * distance;
        float values[DR_LANES];
        store(values, action);
        for (int32_t lane = 0; lane < live; lane++)
          actions[(size_t)(row + lane) * (size_t)size + (size_t)(n + j)] = values[lane];
      }
      logprob -= __builtin_convertvector(squares * splat(0.5f), dr_doubles);
    }
    put_logprobs(head, row, __builtin_convertvector(logprob, dr_floats));
  }
}

/* 1 / (1 + exp(-x)), without noise; its log-probability is 0. Whole vectors are stored as long as they stay within
 * this call's rows: what they write beyond a row's end, the next row overwrites. */
static void unit(const dr_head_rows *head) {
  const size_t size = (size_t)head->num_outputs, end = (size_t)head->count * size;
  float *const actions = (float *)head->rows->actions + (size_t)head->first * size;
  for (size_t row = 0; row < (size_t)head->count; row++)
    for (size_t n = 0; n < size; n += DR_LANES) {
      const dr_floats x = load(head->outputs + row * head->stride + n);
      const dr_floats value = splat(1.0f) / (splat(1.0f) + vector_exp(-x));
      const size_t at = row * size + n;
      if (at + DR_LANES <= end) {
        store(actions + at, value);
      } else {
        float values[DR_LANES];
        store(values, value);
        for (size_t j = 0; n + j < size && j < DR_LANES; j++) actions[at + j] = values[j];
      }
    }
  if (head->rows->logprobs) memset(head->rows->logprobs + head->first, 0, (size_t)head->count * sizeof(float));
}

#endif
