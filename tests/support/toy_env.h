/* toy_env.h: an env type for tests of the runtime. A toy_config says how long episodes are, what a step costs, and
 * where which env goes wrong; it holds the env table too, so that a test may change single functions of it.
 *
 * Dynamics: a double x that decays, is pushed by the action and by the env's random stream, and a float that lives
 * among the denormals (so that a wrong floating-point mode shows). Everything is a function of what env.h says it may
 * depend on. No Criterion here: plain programs use it too. */
#ifndef DR_TESTS_SUPPORT_TOY_ENV_H
#define DR_TESTS_SUPPORT_TOY_ENV_H

#include <drover/batch.h>
#include <stdatomic.h>
#include <stdbool.h>

/* What goes wrong, where. `at` is the env's lifetime step; for the kinds about resets its episode number. */
typedef enum toy_trouble_kind {
  TOY_FAIL_STEP,
  TOY_NAN_OBSERVATION, /* in the last number only */
  TOY_INF_OBSERVATION,
  TOY_NAN_REWARD,
  TOY_INF_REWARD,
  TOY_TERMINATE, /* no trouble: the episode ends here */
  TOY_TRUNCATE,
  TOY_SLEEP, /* 30 ms */
  TOY_GATE,  /* wait at the config's gate */
  TOY_FAIL_RESET,
  TOY_NAN_RESET,
  TOY_FAIL_CREATE,
  TOY_FAIL_BEGIN, /* from here on: of an inner loop */
  TOY_NAN_BEGIN,
  TOY_FAIL_TICK,       /* at the config's trouble_tick */
  TOY_NAN_TICK,        /* likewise, in the last number of the inner observation */
  TOY_INF_SAMPLE,      /* of the tick that is kept, whichever it is */
  TOY_NAN_INNER_ACTION /* the toy inner policy's: at any tick of the step */
} toy_trouble_kind;

typedef struct toy_trouble {
  toy_trouble_kind kind;
  int32_t env;
  uint64_t at;
} toy_trouble;

/* Where a step can be held until a test lets it go. */
typedef struct toy_gate {
  _Atomic int32_t num_arrived;
  _Atomic int32_t open;
} toy_gate;

typedef struct toy_config {
  drover_env_type type; /* filled by toy_init; its address is what drover_batch_create gets */

  /* The spec. */
  int32_t observation_size;
  drover_action_kind action_kind;
  int32_t action_size, num_actions;
  const float *action_low, *action_high; /* [action_size] */
  int32_t time_limit;
  int32_t num_infos; /* 0..4 */
  int32_t lanes;
  bool saves;

  /* Episodes: env e terminates by itself after length + e % spread steps (0 = never), or after any step with
   * probability terminate, and is truncated by itself with probability truncate. */
  int32_t length, spread;
  double terminate, truncate;

  /* The inner loop: K ticks, 0 = none. */
  int32_t num_ticks;
  int32_t inner_observation_size, inner_action_size; /* 1..8 */
  int32_t inner_sample_size;                         /* 0, or 3 and more, up to 8 */

  /* Cost of a step, or of each tick: a counted loop and a sleep; slow_every > 0: only in envs that are multiples of it.
   */
  int32_t work;
  int32_t sleep_us;
  int32_t slow_every;

  const toy_trouble *troubles;
  int32_t num_troubles;
  int32_t trouble_tick;
  toy_gate *gate;
  void (*probe)(void *user, int32_t env, uint64_t step); /* called in every step on the thread that runs it */
  void *probe_user;
  bool fails_to_open, fails_to_draw;
  bool long_double; /* x moves in long double arithmetic */

  /* What the env type saw. */
  _Atomic int64_t num_steps, num_resets, num_creates, num_destroys, num_opens, num_closes;
  _Atomic int64_t num_overlaps;    /* calls on an env while another call on it was in progress */
  _Atomic int64_t num_bad_actions; /* discrete ones out of range, continuous ones out of bounds or not finite */
  _Atomic int64_t num_dirty_rows;  /* rows that the runtime promised to zero and did not */
  _Atomic int64_t num_joint_steps; /* envs stepped by step_many */
  _Atomic int64_t num_begins, num_ticks_done;
  _Atomic int64_t num_bad_ticks; /* out of order, after a failure, or with pointers that env.h does not promise */
} toy_config;

/* Defaults: 3 observations, 3 discrete actions, 2 infos, episodes that end after any step with probability 0.05, or are
 * truncated with 0.02; step and step_many; save and load; parameters "gain" and "bias". */
void toy_init(toy_config *config);

/* As toy_init, but 2 continuous actions in [-1, 1] and [0, 3]. */
void toy_init_continuous(toy_config *config);

/* As toy_init, but with an inner loop: 5 ticks, inner observations of 4 numbers, actions of 2, samples of 6. */
void toy_init_inner(toy_config *config);

/* Does the config have this trouble? */
bool toy_has_trouble(const toy_config *config, toy_trouble_kind kind, int32_t env, uint64_t at);

/* drover_batch_create for this config. The config must outlive the batch. */
drover_status toy_batch_create(drover_batch **out, drover_runtime *runtime, toy_config *config,
                               const drover_batch_options *options);

/* Open the config as the runtime would, for references that call the table themselves. */
void toy_open_directly(toy_config *config, drover_env_spec *spec, void **shared);

/* A counted loop that the compiler cannot remove: about n nanoseconds. */
double toy_work(int32_t n);

void toy_gate_wait_for(const toy_gate *gate, int32_t num_arrived);
void toy_gate_open(toy_gate *gate);

#endif
