/* env.h: the table of functions that makes an env type, built in or a plugin.
 *
 * An env author fills a drover_env_type. The runtime calls `open` once a batch, `create` once an env, and then `reset`
 * and `step` (or `step_many` over a run of neighbouring envs) from whichever worker has claimed the env. It never
 * calls two functions on one env at a time, and everything one call wrote is visible to the next, on any thread.
 *
 * What the runtime does, so that an env need not: time limits, auto-reset, final observations, episode returns and
 * lengths, seeding (a counter-based stream for each env and step: drover_env_random), checks for non-finite results.
 *
 * An env must draw all randomness from drover_env_random, keep no state outside `state` (and what it points to), and
 * write nothing to `shared` after `open`: then its trajectories do not depend on scheduling.
 *
 * A plugin is a shared object that exports `const drover_env_type *drover_env_plugin(void)` and includes only
 * this header: it need not link with Drover. See tests/embed/ for a small one, point_mass.c, and one with an
 * inner loop, thrusters.c. */
#ifndef DROVER_ENV_H
#define DROVER_ENV_H

#include <drover/base.h>
#include <drover/random.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DROVER_ENV_ABI_VERSION 1u

typedef enum drover_action_kind {
  DROVER_ACTION_DISCRETE = 0,  /* one int32 in [0, num_actions) */
  DROVER_ACTION_CONTINUOUS = 1 /* action_size float32, with bounds */
} drover_action_kind;

/* One `key=value` given by the user (`--env-arg cost=20us,dist=pareto`). Strings are the caller's. */
typedef struct drover_env_arg {
  const char *key;
  const char *value;
} drover_env_arg;

typedef struct drover_env_args {
  int32_t count;
  const drover_env_arg *items; /* [count]; keys are unique and known: the runtime checked them against arg_infos */
} drover_env_args;

/* An argument that an env type understands, for checking and for `drover envs`. */
typedef struct drover_env_arg_info {
  const char *key;
  const char *default_value;
  const char *help; /* one phrase, with the unit */
} drover_env_arg_info;

/* What `open` decides for one configuration. The runtime has zeroed it; pointers must stay valid until `close`. */
typedef struct drover_env_spec {
  uint32_t size;                 /* sizeof(drover_env_spec) of the author's header; set by the runtime before `open` */
  int32_t observation_size;      /* float32 an observation, 1..1048576 */
  const float *observation_low;  /* [observation_size] or NULL = unbounded; informative */
  const float *observation_high; /* [observation_size] or NULL */
  drover_action_kind action_kind;
  int32_t action_size;       /* numbers an action: 1 if discrete, else 1..65536 */
  int32_t num_actions;       /* discrete: how many, >= 1; else 0 */
  const float *action_low;   /* continuous: [action_size], finite or -INFINITY; NULL if discrete */
  const float *action_high;  /* continuous: [action_size] */
  int32_t max_episode_steps; /* time limit in steps, 0 = none; enforced by the runtime as `truncated` */
  size_t state_size;         /* bytes an env; the runtime owns this memory, zeroed, at a stride of exactly state_size */
  size_t state_align;        /* power of two dividing state_size, at most 64; 0 = 16 */
  int32_t lanes;             /* step_many works best on multiples of this many envs; 0 or 1 = no preference */
  int32_t num_infos;         /* float32 info columns a step (reward terms and the like) */
  const char *const *info_names;  /* [num_infos] */
  int32_t num_params;             /* parameters that can be set while running */
  const char *const *param_names; /* [num_params] */
  size_t save_size;               /* bytes an env that save/load use; 0 = save/load are not possible */
  size_t memory_bytes;            /* informative: bytes an env allocates by itself besides state_size */

  /* The inner loop, for hierarchical control (see drover_env_tick); all 0 = there is none. */
  int32_t num_ticks;              /* K, ticks a step, 1..4096 */
  int32_t inner_observation_size; /* float32 that the inner policy sees, 1..65536 */
  int32_t inner_action_size;      /* float32 that it answers, 1..65536 */
  int32_t
      inner_sample_size; /* float32 of the sample kept of one tick a step, 0 (none)..1048576; for the inner learner */
} drover_env_spec;

/* `count` neighbouring envs, one call. Row i is env first_env + i. Everything is the runtime's; valid in the call. */
typedef struct drover_env_rows {
  int32_t count;
  int32_t first_env; /* absolute index of row 0's env */
  uint64_t seed;
  uint32_t purpose;         /* DROVER_RANDOM_STEP or DROVER_RANDOM_RESET */
  const uint64_t *counters; /* [count]: lifetime step (step) or episode number (reset) of each env */
  const void *actions;      /* [count x action_size] int32 or float32; NULL in reset */
  float *observations;      /* [count x observation_size], out. In step: holds anything before the call */
  float *rewards;           /* [count], out; NULL in reset */
  uint8_t *terminated; /* [count], out, zero before the call; the episode ended by the task's own rule. NULL in reset */
  uint8_t *truncated;  /* [count], out, zero before the call; ended for another reason than the time limit */
  float *infos;        /* [count x num_infos], out, zero before the call; NULL if num_infos = 0 or in reset */
  uint8_t *failed;     /* [count], out, zero before the call: step_many sets 1 where an env failed */
} drover_env_rows;

/* The random stream of row i of this call. Cheap: make it when it is needed. Any two calls for the same row in the
 * same call give the same stream, from its beginning. */
static inline drover_random drover_env_random(const drover_env_rows *rows, int32_t i) {
  return drover_random_at(rows->seed, (uint32_t)(rows->first_env + i), rows->purpose, rows->counters[i]);
}

/* One tick of one env: a call of `begin` or `tick`. Everything is the runtime's; valid in the call.
 *
 * A step of an env with an inner loop is: the outer policy's action -> `begin` -> K times (the inner policy, on the
 * rows of many envs at once -> `tick`) -> `step`, which judges what came of it. `begin` writes the inner observation of
 * tick 0 and `tick` k that of tick k + 1. All K ticks always run. The sample of one tick, drawn for each step, is kept:
 * who writes that tick's inner observation is given `sample` too. Which tick: the first 32 bits of the stream (seed,
 * env, DROVER_RANDOM_SAMPLE, counter), modulo K. Non-finite inner numbers are a fault. */
typedef struct drover_env_tick {
  int32_t env;  /* absolute index */
  int32_t tick; /* `tick`: which one, 0..K-1; `begin`: -1 */
  uint64_t seed;
  uint64_t counter;          /* lifetime step of the env */
  const void *action;        /* [action_size] the outer action */
  const float *inner_action; /* [inner_action_size] for this tick; NULL in `begin` */
  float *inner_observation;  /* [inner_observation_size] of tick + 1, out; NULL in the last tick */
  float *sample;             /* [inner_sample_size] of tick + 1, out, zero before; NULL where it is not wanted */
} drover_env_tick;

/* The random stream of this tick; `begin` has one of its own. */
static inline drover_random drover_env_tick_random(const drover_env_tick *tick) {
  return drover_random_at(tick->seed, (uint32_t)tick->env, DROVER_RANDOM_TICK,
                          tick->counter * 4097 + (uint64_t)(tick->tick + 1));
}

/* The table. All functions return 0 on success and anything else on failure, and must not unwind through the caller.
 * Functions marked optional may be NULL. `shared` is what `open` made, `state` this env's state_size bytes. */
typedef struct drover_env_type {
  uint32_t abi_version;                 /* DROVER_ENV_ABI_VERSION */
  uint32_t size;                        /* sizeof(drover_env_type) of the author's header */
  const char *name;                     /* "CartPole-v1": letters, digits, - _ . / only, at most 63 */
  const char *summary;                  /* one line for `drover envs` */
  const drover_env_arg_info *arg_infos; /* ended by a NULL key; NULL = takes no arguments */

  /* Once a batch, on the caller's thread: read args, fill spec, make read-only data for all envs of the batch. Numbers
   * have a decimal point in this call (LC_NUMERIC is "C" for its thread), whatever the host's locale. On failure write
   * a sentence into message (message_size bytes, NUL included) and free what was made. */
  int (*open)(const drover_env_args *args, drover_env_spec *spec, void **shared, char *message, size_t message_size);
  void (*close)(void *shared); /* optional */

  /* Once an env, on a worker or the caller: allocate what state needs beyond its own bytes. Both optional. */
  int (*create)(void *shared, void *state, int32_t env);
  void (*destroy)(void *shared, void *state);

  /* Begin an episode: rows->count is 1; write rows->observations. */
  int (*reset)(void *shared, void *state, const drover_env_rows *rows);

  /* Advance one step: rows->count is 1; write the observation after the action, reward and flags. Nonzero = this env
   * failed: a fault, the runtime resets it and the others do not notice. */
  int (*step)(void *shared, void *state, const drover_env_rows *rows);

  /* Optional: the same for rows->count envs whose states lie state_size bytes apart from `states` on. Must give each
   * env the same bytes as `step`. Nonzero = all of them failed; single failures go to rows->failed. */
  int (*step_many)(void *shared, void *states, const drover_env_rows *rows);

  /* Optional: copy an env's state out of and into save_size bytes; an env restored so goes on bit for bit. */
  int (*save)(void *shared, const void *state, void *bytes);
  int (*load)(void *shared, void *state, const void *bytes);

  /* Optional: parameter `param` (index into spec.param_names) of one env becomes `value`; between steps. */
  int (*set_param)(void *shared, void *state, int32_t param, float value);

  /* The inner loop: both if spec.num_ticks > 0, else never called. Nonzero = this env failed: its other ticks and its
   * `step` are left out, and it is reset. `step` is called after the last tick, `step_many` never. If the inner policy
   * fails, the run ends in the middle of a step: `begin` may follow a `tick` then. */
  int (*begin)(void *shared, void *state, const drover_env_tick *tick);
  int (*tick)(void *shared, void *state, const drover_env_tick *tick);

  /* Optional: one sample [inner_sample_size, zero before] for pretraining the inner policy, drawn from the env type's
   * own distribution (postures, reachable torques). The env's state is scratch memory: it is reset before it steps
   * again. */
  int (*draw_sample)(void *shared, void *state, drover_random *random, float *sample);

  /* Optional: why the reset, step, step_many, begin or tick that has just failed did so, as a sentence for the user:
   * ASCII, one line, in message (message_size bytes, NUL included; "" on entry). Called before anything else is done
   * with this env, on the same thread; with step_many, and with step in batches, the neighbours' steps may come
   * between, so what it takes must lie in `state`. Must be as repeatable as the env. A table whose `size` ends before
   * this field is accepted. */
  void (*explain)(void *shared, const void *state, char *message, size_t message_size);
} drover_env_type;

/* What a plugin exports under the name DROVER_ENV_PLUGIN_SYMBOL. The table lives as long as the shared object. */
typedef const drover_env_type *(*drover_env_plugin_fn)(void);
#define DROVER_ENV_PLUGIN_SYMBOL "drover_env_plugin"

/* The value given for key, or fallback. For `open`. */
static inline const char *drover_env_arg_string(const drover_env_args *args, const char *key, const char *fallback) {
  for (int32_t i = 0; i < args->count; i++)
    if (strcmp(args->items[i].key, key) == 0) return args->items[i].value;
  return fallback;
}

/* The number given for key, or fallback, into *out. Returns 0; or -1 and a sentence in message if the text is not a
 * finite number in [low, high]. For `open`. */
static inline int drover_env_arg_number(const drover_env_args *args, const char *key, double fallback, double low,
                                        double high, double *out, char *message, size_t message_size) {
  const char *text = drover_env_arg_string(args, key, NULL);
  char *end = NULL;
  *out = text ? strtod(text, &end) : fallback;
  if (text && (end == text || *end != '\0' || !(*out >= low && *out <= high))) {
    snprintf(message, message_size, "%s must be a number in %g..%g, got '%s'", key, low, high, text);
    return -1;
  }
  return 0;
}

#ifdef __cplusplus
}
#endif
#endif
