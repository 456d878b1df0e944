/* test_simd.c: whatever the SIMD width, the same bytes. */
#include "env/classic/simd.h"
#include "tests/env/harness.h"

static const char *const wide_envs[] = {"CartPole-v1", "MountainCar-v0", "Pendulum-v1", "Acrobot-v1"};
enum { NUM_WIDE_ENVS = 4, MOST = 33, SHIFT = 3 };

/* Widths 1, 4, 8 that this CPU has, one after the other; 0 after the last. */
static int next_width(int width) {
  const int wider = width == 0 ? 1 : width == 1 ? 4 : 8;
  return width == 8 || dr_simd_set_width(wider) != wider ? 0 : wider;
}

/* Random states, within their range and (one in 8) far outside; random actions, one in 16 out of range. */
static void randomize(harness *h, uint64_t *random, bool with_invalid) {
  const size_t doubles = h->spec.state_size / sizeof(double);
  for (int32_t env = 0; env < h->count; env++) {
    const double range = test_random(random) % 8 == 0 ? 1e4 : 3;
    for (size_t j = 0; j < doubles; j++) harness_state(h, env)[j] = test_uniform(random, -range, range);
    const bool invalid = with_invalid && test_random(random) % 16 == 0;
    if (h->spec.action_kind == DROVER_ACTION_DISCRETE)
      ((int32_t *)h->actions)[env] =
          invalid ? (int32_t)test_random(random) | 4 : (int32_t)(test_random(random) % (uint64_t)h->spec.num_actions);
    else
      ((float *)h->actions)[env] = invalid ? NAN : (float)test_uniform(random, -3, 3);
  }
  memset(h->observations, 0x55, sizeof(float) * (size_t)h->count * (size_t)h->spec.observation_size);
  memset(h->rewards, 0x55, sizeof(float) * (size_t)h->count);
}

static void copy_inputs(harness *to, const harness *from) {
  const size_t n = (size_t)to->count;
  memcpy(to->states, from->states, n * to->spec.state_size);
  memcpy(to->actions, from->actions, n * 4);
  memcpy(to->observations, from->observations, n * 4 * (size_t)to->spec.observation_size);
  memcpy(to->rewards, from->rewards, n * 4);
}

/* All that a step wrote, and all that it had to leave alone. */
static void assert_same_bytes(const harness *a, const harness *b, const char *what, int width, int count) {
  const size_t n = (size_t)a->count;
  const struct {
    const char *name;
    const void *x, *y;
    size_t bytes;
  } parts[] = {{"states", a->states, b->states, n * a->spec.state_size},
               {"observations", a->observations, b->observations, n * 4 * (size_t)a->spec.observation_size},
               {"rewards", a->rewards, b->rewards, n * 4},
               {"terminated", a->terminated, b->terminated, n},
               {"truncated", a->truncated, b->truncated, n},
               {"failed", a->failed, b->failed, n}};
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
    cr_assert_eq(memcmp(parts[i].x, parts[i].y, parts[i].bytes), 0, "%s: %s differ at width %d, %d envs", what,
                 parts[i].name, width, count);
}

/* step_many over rows SHIFT..SHIFT+count against step on each, starting from the same bytes everywhere. */
static void compare(const char *name, uint64_t *random, int width, int32_t count, bool with_invalid) {
  harness one, many;
  harness_open(&one, name, MOST + 2 * SHIFT);
  harness_open(&many, name, MOST + 2 * SHIFT);
  randomize(&one, random, with_invalid);
  copy_inputs(&many, &one);

  for (int32_t env = SHIFT; env < SHIFT + count; env++) {
    const int failed = harness_step(&one, env) != 0;
    one.failed[env] = (uint8_t)failed;
  }
  const drover_env_rows rows = harness_rows(&many, DROVER_RANDOM_STEP, SHIFT, count);
  cr_assert_eq(many.type->step_many(many.shared, harness_state(&many, SHIFT), &rows), 0);
  assert_same_bytes(&one, &many, name, width, count);
  harness_close(&one);
  harness_close(&many);
}

Test(simd, step_many_gives_the_bytes_of_step_at_every_width_and_count) {
  uint64_t random = test_seed();
  for (int width = next_width(0); width; width = next_width(width)) {
    fprintf(stderr, "width %d\n", width);
    for (int env = 0; env < NUM_WIDE_ENVS; env++)
      for (int32_t count = 0; count <= MOST; count++)
        for (int round = 0; round < 20; round++) compare(wide_envs[env], &random, width, count, false);
  }
}

Test(simd, an_invalid_action_fails_its_env_alone) {
  uint64_t random = test_seed();
  for (int width = next_width(0); width; width = next_width(width))
    for (int env = 0; env < NUM_WIDE_ENVS; env++)
      for (int round = 0; round < 100; round++) compare(wide_envs[env], &random, width, MOST, true);
}

Test(simd, whole_episodes_agree) {
  enum { ENVS = 24, STEPS = 600 };
  uint64_t random = test_seed();
  for (int env = 0; env < NUM_WIDE_ENVS; env++) {
    harness one, many;
    harness_open(&one, wide_envs[env], ENVS);
    harness_open(&many, wide_envs[env], ENVS);
    for (int32_t i = 0; i < ENVS; i++) harness_reset(&one, i, 0), harness_reset(&many, i, 0);
    dr_simd_set_width(0);
    for (int step = 0; step < STEPS; step++) {
      for (int32_t i = 0; i < ENVS; i++) {
        const uint64_t bits = test_random(&random);
        ((int32_t *)one.actions)[i] = (int32_t)(bits & 1);
        if (one.spec.action_kind == DROVER_ACTION_CONTINUOUS) ((float *)one.actions)[i] = bits & 1 ? 2 : -2;
        harness_step(&one, i);
      }
      memcpy(many.actions, one.actions, ENVS * 4);
      const drover_env_rows rows = harness_rows(&many, DROVER_RANDOM_STEP, 0, ENVS);
      cr_assert_eq(many.type->step_many(many.shared, many.states, &rows), 0);
      assert_same_bytes(&one, &many, wide_envs[env], 0, step);
    }
    harness_close(&one);
    harness_close(&many);
  }
}

/* ---- sin and cos ---- */

static double random_argument(uint64_t *random, int kind) {
  static const double special[] = {0.0,  -0.0,  5e-324, -5e-324, 2.3e-308, -1e-310, INFINITY, -INFINITY, NAN,
                                   15.0, -15.0, 1e14,   -1e14,   1e300,    -1e300,  0x1p1023, M_PI_2,    M_PI};
  const uint64_t bits = test_random(random);
  double any;
  switch (kind) {
    case 0:
      return test_uniform(random, -0.4, 0.4);
    case 1:
      return test_uniform(random, -15.5, 15.5);
    case 2:
      return test_uniform(random, -2000, 2000);
    case 3:
      return (double)(int64_t)(bits >> 44) * M_PI_4;
    case 4:
      memcpy(&any, &bits, sizeof any);
      return any;
    case 5:
      return ldexp(test_uniform(random, -1, 1), (int)(bits % 2000) - 1000);
    default:
      return special[bits % (sizeof special / sizeof *special)];
  }
}

static uint64_t bits_of(double x) {
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

/* Each lane of each width against the function of one lane, kinds of arguments mixed within a vector. */
Test(simd, sine_and_cosine_have_the_same_bits_at_every_width) {
  const int width = dr_simd_set_width(0);
  uint64_t random = test_seed();
  for (int round = 0; width >= 4 && round < 200000; round++) {
    double x[8], sine[8], cosine[8];
    const int kind = (int)(test_random(&random) % 8);
    for (int k = 0; k < 8; k++) x[k] = random_argument(&random, kind == 7 ? (int)(test_random(&random) % 7) : kind);
    for (int wide = 4; wide <= width; wide += 4) {
      if (wide == 8) {
        dr_sincos8(x, sine, cosine);
      } else {
        dr_sincos4(x, sine, cosine);
        dr_sincos4(x + 4, sine + 4, cosine + 4);
      }
      for (int k = 0; k < 8; k++) {
        const Sleef_double_2 one = dr_sincos(x[k]);
        cr_assert_eq(bits_of(one.x), bits_of(sine[k]), "sin(%a) at width %d", x[k], wide);
        cr_assert_eq(bits_of(one.y), bits_of(cosine[k]), "cos(%a) at width %d", x[k], wide);
      }
    }
  }
}

Test(simd, sine_and_cosine_are_accurate) {
  uint64_t random = test_seed();
  for (int round = 0; round < 300000; round++) {
    const double x = random_argument(&random, round % 4);
    const Sleef_double_2 r = dr_sincos(x);
    const long double sine = sinl(x), cosine = cosl(x);
    cr_assert(fabsl(r.x - sine) <= 4 * 0x1p-52L * fabsl(sine), "sin(%a)", x); /* SLEEF says 3.5 ulp */
    cr_assert(fabsl(r.y - cosine) <= 4 * 0x1p-52L * fabsl(cosine), "cos(%a)", x);
  }
}
