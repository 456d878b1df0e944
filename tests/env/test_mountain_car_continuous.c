/* test_mountain_car_continuous.c: MountainCarContinuous-v0 against the equations, in the float types of NumPy 2. */
#include "tests/env/harness.h"

/* The state as mountain_car_continuous.c keeps it. */
typedef struct {
  double position;
  float velocity;
  int32_t is_float32;
} car;

static void set_state(harness *h, double position, float velocity, bool is_float32) {
  cr_assert_eq(h->spec.state_size, sizeof(car));
  *(car *)(void *)h->states = (car){position, velocity, is_float32};
}

static car state_of(const harness *h) { return *(const car *)(const void *)h->states; }

/* A state that is float32: everything that touches it is computed in float32; the cosine is a double. */
static void reference_float32(float position, float velocity, float action, float out[2], int *goal) {
  const double pull = 0.0025 * cos((double)(3.0f * position));
  float change = (float)((action < -1.0f ? -0.0015 : 0.0015) - pull);
  if (action >= -1.0f && action <= 1.0f) change = action * 0.0015f - (float)pull;
  velocity += change;
  velocity = fminf(fmaxf(velocity, -0.07f), 0.07f);
  position = fminf(fmaxf(position + velocity, -1.2f), 0.6f);
  if (position == -1.2f && velocity < 0) velocity = 0;
  *goal = position >= 0.45f && velocity >= 0;
  out[0] = position;
  out[1] = velocity;
}

/* The first step of an episode: the state is double, the velocity 0, an action within bounds makes the change float32.
 */
static void reference_first(double position, float action, float out[2], int *goal) {
  const double pull = 0.0025 * cos(3.0 * position);
  double change = (action < -1.0f ? -0.0015 : 0.0015) - pull;
  if (action >= -1.0f && action <= 1.0f) change = action * 0.0015f - (float)pull;
  double velocity = fmin(fmax(change, -0.07), 0.07);
  position = fmin(fmax(position + velocity, -1.2), 0.6);
  if (position == -1.2 && velocity < 0) velocity = 0;
  *goal = position >= 0.45 && velocity >= 0;
  out[0] = (float)position;
  out[1] = (float)velocity;
}

/* The cosines may differ in their last bit, which moves a float32 once in 10^8 steps: then by one ulp. */
static bool same_float32(float a, float b) { return a == b || a == nextafterf(b, 9) || a == nextafterf(b, -9); }

static void compare_steps(bool first) {
  harness h;
  harness_open(&h, "MountainCarContinuous-v0", 1);
  uint64_t random = test_seed();
  int at_goal = 0, at_wall = 0, at_top_speed = 0, different = 0;
  for (int step = 0; step < 20000; step++) {
    const double position = test_uniform(&random, -1.2, 0.6);
    const float velocity = (float)test_uniform(&random, -0.07, 0.07), action = (float)test_uniform(&random, -1.5, 1.5);
    float want[2];
    int goal;
    if (first) {
      reference_first(position, action, want, &goal);
      set_state(&h, position, 0, false);
    } else {
      reference_float32((float)position, velocity, action, want, &goal);
      set_state(&h, (float)position, velocity, true);
    }

    cr_assert_eq(harness_step_continuous(&h, 0, action), 0);
    const car s = state_of(&h);
    const float *got = harness_observation(&h, 0);
    for (int j = 0; j < 2; j++) {
      cr_assert(same_float32(got[j], want[j]), "step %d field %d: %.9g, not %.9g", step, j, (double)got[j],
                (double)want[j]);
      different += got[j] != want[j];
    }
    cr_assert(s.position == (double)got[0] && s.velocity == got[1] && s.is_float32 == 1); /* float32 from now on */
    cr_assert_eq(h.terminated[0], goal);
    cr_assert_float_eq(h.rewards[0], (goal ? 100.0 : 0.0) - 0.1 * (double)action * (double)action, 1e-5);
    at_goal += goal;
    at_wall += got[0] == -1.2f && got[1] == 0;
    at_top_speed += fabsf(got[1]) == 0.07f;
  }
  cr_assert(at_goal > 100 && (first || (at_wall > 100 && at_top_speed > 100)));
  cr_assert_leq(different, 2);
  harness_close(&h);
}

Test(mountain_car_continuous, single_steps_match_the_equations) { compare_steps(false); }

Test(mountain_car_continuous, first_steps_start_from_a_double_state) { compare_steps(true); }

Test(mountain_car_continuous, reward_counts_the_force_before_clipping) {
  harness h;
  harness_open(&h, "MountainCarContinuous-v0", 1);
  set_state(&h, -0.5, 0, true);
  harness_step_continuous(&h, 0, 3.0f);
  cr_assert_float_eq(h.rewards[0], -0.9, 1e-6);
  const float pushed = state_of(&h).velocity;
  set_state(&h, -0.5, 0, true);
  harness_step_continuous(&h, 0, nextafterf(1.0f, 2)); /* the force itself is clipped */
  cr_assert_eq(state_of(&h).velocity, pushed);
  harness_close(&h);
}

Test(mountain_car_continuous, goal_is_reached_on_the_line_and_not_before) {
  harness h;
  harness_open(&h, "MountainCarContinuous-v0", 1);
  float start = 0.38f; /* at top speed and full force the position becomes exactly start + 0.07 */
  while (start + 0.07f < 0.45f) start = nextafterf(start, 1);
  while (nextafterf(start, 0) + 0.07f >= 0.45f) start = nextafterf(start, 0);
  set_state(&h, start, 0.07f, true);
  harness_step_continuous(&h, 0, 1.0f);
  cr_assert_eq(h.terminated[0], 1);
  cr_assert_float_eq(h.rewards[0], 99.9, 1e-5);
  set_state(&h, nextafterf(start, 0), 0.07f, true);
  harness_step_continuous(&h, 0, 1.0f);
  cr_assert_eq(h.terminated[0], 0);
  cr_assert_float_eq(h.rewards[0], -0.1, 1e-6);
  harness_close(&h);
}

Test(mountain_car_continuous, a_nan_action_shows_in_the_observation) {
  harness h;
  harness_open(&h, "MountainCarContinuous-v0", 1);
  harness_reset(&h, 0, 0);
  cr_assert_eq(harness_step_continuous(&h, 0, NAN), 0);
  cr_assert(isnan(harness_observation(&h, 0)[1]) && isnan(h.rewards[0]));
  harness_close(&h);
}

Test(mountain_car_continuous, resets_are_uniform_in_the_valley) {
  harness h;
  harness_open(&h, "MountainCarContinuous-v0", 1);
  assert_uniform_resets(&h, 0, -0.6, -0.4);
  cr_assert(state_of(&h).velocity == 0 && !state_of(&h).is_float32);
  harness_close(&h);
}
