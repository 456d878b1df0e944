/* test_batch_options.c: what creating a batch refuses: options, tables, specs and arguments out of range. */
#include <criterion/criterion.h>
#include <limits.h>
#include <math.h>

#include "tests/support/world.h"

enum { N = 12 };

/* ---- Options and specs ---------------------------------------------------------------------------------------- */

/* Creating with these options fails with this status, and the message holds all the words. */
static void refuse(world *w, drover_status status, const char *const words[]) {
  drover_batch *batch = (drover_batch *)w;
  const drover_status got = toy_batch_create(&batch, w->runtime, &w->config, &w->batch_options);
  cr_assert_eq(got, status, "got %s: %s", drover_status_name(got), drover_last_error());
  cr_assert_null(batch, "a failed create must leave NULL");
  for (; *words; words++)
    cr_assert(strstr(drover_last_error(), *words), "the message '%s' does not say '%s'", drover_last_error(), *words);
  cr_assert_eq(w->config.num_opens, w->config.num_closes + w->config.fails_to_open, "opened %d times, closed %d times",
               (int)w->config.num_opens, (int)w->config.num_closes);
  cr_assert_eq(w->config.num_creates, w->config.num_destroys);
}
#define REFUSE(w, status, ...) refuse(w, status, (const char *const[]){__VA_ARGS__, NULL})

static void init_refusal(world *w) {
  world_init(w);
  w->batch_options.num_envs = N;
  OK(drover_runtime_create(&w->runtime, &w->runtime_options));
}

#define REFUSE_OPTION(field, value, ...)                          \
  do {                                                            \
    world spoiled;                                                \
    init_refusal(&spoiled);                                       \
    spoiled.batch_options.field = value;                          \
    REFUSE(&spoiled, DROVER_ERROR_ARGUMENT, #field, __VA_ARGS__); \
    OK(drover_runtime_destroy(spoiled.runtime));                  \
  } while (0)

Test(batch_options, options_out_of_range_are_refused_by_name_range_and_value) {
  REFUSE_OPTION(num_envs, 0, "1..16777216", "got 0");
  REFUSE_OPTION(num_envs, -5, "1..16777216", "got -5");
  REFUSE_OPTION(num_envs, 16777217, "1..16777216", "got 16777217");
  REFUSE_OPTION(shard, -1, "got -1");
  REFUSE_OPTION(shard, 16777217, "got 16777217");
  REFUSE_OPTION(chunk, -3, "got -3");
  REFUSE_OPTION(chunk, INT32_MAX, "got 2147483647");
  REFUSE_OPTION(autoreset, (drover_autoreset)3, "got 3");
  REFUSE_OPTION(max_episode_steps, -2, "got -2");
  REFUSE_OPTION(fault_limit, -2, "got -2");
  REFUSE_OPTION(args.count, 1, "args");
  REFUSE_OPTION(args.count, -1, "args");
}

Test(batch_options, options_that_were_not_initialised_are_refused) {
  world w;
  init_refusal(&w);
  w.batch_options.size = 0;
  REFUSE(&w, DROVER_ERROR_ARGUMENT, "drover_batch_options_init");
  drover_batch *batch;
  cr_assert_eq(drover_batch_create(&batch, w.runtime, &w.config.type, NULL), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_batch_create(NULL, w.runtime, &w.config.type, &w.batch_options), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_batch_create(&batch, NULL, &w.config.type, &w.batch_options), DROVER_ERROR_ARGUMENT);
  w.batch_options.size = sizeof w.batch_options;
  cr_assert_eq(drover_batch_create(&batch, w.runtime, NULL, &w.batch_options), DROVER_ERROR_ARGUMENT);
  drover_batch_options o;
  cr_assert_eq(drover_batch_options_init(&o, 7), DROVER_ERROR_ARGUMENT);
  cr_assert_eq(drover_batch_options_init(NULL, sizeof o), DROVER_ERROR_ARGUMENT);
  OK(drover_runtime_destroy(w.runtime));
}

#define REFUSE_TABLE(field, value, ...)                      \
  do {                                                       \
    world spoiled;                                           \
    init_refusal(&spoiled);                                  \
    spoiled.config.type.field = value;                       \
    REFUSE(&spoiled, DROVER_ERROR_ENV, #field, __VA_ARGS__); \
    OK(drover_runtime_destroy(spoiled.runtime));             \
  } while (0)

Test(batch_options, a_table_that_does_not_fit_is_refused) {
  world w;
  init_refusal(&w);
  w.config.type.abi_version = 7;
  REFUSE(&w, DROVER_ERROR_ENV, "ABI version 7", "rebuild");
  w.config.type.abi_version = DROVER_ENV_ABI_VERSION;
  w.config.type.size = 8;
  REFUSE(&w, DROVER_ERROR_ENV, "8 bytes", "rebuild");
  OK(drover_runtime_destroy(w.runtime));
  REFUSE_TABLE(reset, NULL, "Toy-v0");
  REFUSE_TABLE(step, NULL, "Toy-v0");
  REFUSE_TABLE(open, NULL, "Toy-v0");
  REFUSE_TABLE(name, NULL, "name");
  REFUSE_TABLE(name, "no spaces please", "no spaces please");
  REFUSE_TABLE(name, "", "name");
  REFUSE_TABLE(name, "a-name-that-is-longer-than-the-sixty-three-characters-that-env.h-allows-a-type", "63");
  REFUSE_TABLE(save, NULL, "save");
  REFUSE_TABLE(load, NULL, "load");
  REFUSE_TABLE(set_param, NULL, "set_param");
}

/* A spec that `open` fills wrongly: the toy's own, then one field is changed. */
static void (*spoil)(drover_env_spec *spec);
static int (*toy_open)(const drover_env_args *, drover_env_spec *, void **, char *, size_t);
static int spoiled_open(const drover_env_args *args, drover_env_spec *spec, void **shared, char *message, size_t size) {
  const int status = toy_open(args, spec, shared, message, size);
  spoil(spec);
  return status;
}

static int64_t spoiled_value;

#define REFUSE_SPEC(continuous, field, value, ...)             \
  do {                                                         \
    world spoiled;                                             \
    init_refusal(&spoiled);                                    \
    if (continuous) toy_init_continuous(&spoiled.config);      \
    toy_open = spoiled.config.type.open;                       \
    spoiled.config.type.open = spoiled_open;                   \
    spoil = spoil_##field;                                     \
    spoiled_value = value;                                     \
    REFUSE(&spoiled, DROVER_ERROR_ENV, "Toy-v0", __VA_ARGS__); \
    OK(drover_runtime_destroy(spoiled.runtime));               \
  } while (0)

#define SPOIL(field) \
  static void spoil_##field(drover_env_spec *spec) { spec->field = (__typeof__(spec->field))spoiled_value; }
SPOIL(observation_size)
SPOIL(action_kind)
SPOIL(action_size)
SPOIL(num_actions)
SPOIL(max_episode_steps)
SPOIL(state_size)
SPOIL(state_align)
SPOIL(lanes)
SPOIL(num_infos)
SPOIL(num_params)
static void spoil_action_low(drover_env_spec *spec) {
  static float low[2];
  low[0] = (float)spoiled_value;
  spec->action_low = spoiled_value ? low : NULL;
}
static void spoil_action_high(drover_env_spec *spec) {
  static const float high[2] = {NAN, 3};
  spec->action_high = spoiled_value ? high : NULL;
}
static void spoil_info_names(drover_env_spec *spec) {
  static const char *const names[2] = {"draw", NULL};
  spec->info_names = spoiled_value ? names : NULL;
}
static void spoil_param_names(drover_env_spec *spec) {
  static const char *const names[2] = {NULL, "bias"};
  spec->param_names = spoiled_value ? names : NULL;
}

Test(batch_options, a_spec_out_of_range_is_refused_by_field_and_value) {
  REFUSE_SPEC(false, observation_size, 0, "observation_size", "1..1048576", "got 0");
  REFUSE_SPEC(false, observation_size, 1048577, "observation_size", "1..1048576", "got 1048577");
  REFUSE_SPEC(false, action_kind, 2, "action_kind", "got 2");
  REFUSE_SPEC(true, action_size, 0, "action_size", "1..65536", "got 0");
  REFUSE_SPEC(true, action_size, 65537, "action_size", "1..65536", "got 65537");
  REFUSE_SPEC(false, action_size, 2, "action_size", "got 2");
  REFUSE_SPEC(false, num_actions, 0, "num_actions", "got 0");
  REFUSE_SPEC(false, max_episode_steps, -1, "max_episode_steps", "got -1");
  REFUSE_SPEC(false, state_size, (int64_t)1 << 40, "state_size", "GiB");
  REFUSE_SPEC(false, state_align, 3, "state_align", "got 3");
  REFUSE_SPEC(false, state_align, 128, "state_align", "got 128");
  REFUSE_SPEC(false, lanes, -1, "lanes", "got -1");
  REFUSE_SPEC(false, lanes, INT32_MAX, "lanes", "got 2147483647");
  REFUSE_SPEC(false, num_infos, -1, "num_infos", "got -1");
  REFUSE_SPEC(false, num_params, -1, "num_params", "got -1");
  REFUSE_SPEC(false, info_names, 0, "info_names");
  REFUSE_SPEC(false, info_names, 1, "info_names");
  REFUSE_SPEC(false, param_names, 0, "param_names");
  REFUSE_SPEC(false, param_names, 1, "param_names");
  REFUSE_SPEC(true, action_low, 0, "action_low");
  REFUSE_SPEC(true, action_low, 2, "action 0", "bounds 2..1");
  REFUSE_SPEC(true, action_high, 0, "action_high");
  REFUSE_SPEC(true, action_high, 1, "action 0", "nan");
}

/* ---- Arguments of the env type -------------------------------------------------------------------------------- */

static void refuse_args(int32_t count, const drover_env_arg *items, const char *word, const char *second) {
  world w;
  init_refusal(&w);
  w.batch_options.args = (drover_env_args){.count = count, .items = items};
  REFUSE(&w, DROVER_ERROR_ARGUMENT, "Toy-v0", word, second);
  OK(drover_runtime_destroy(w.runtime));
}

Test(batch_options, unknown_arguments_are_refused_and_the_known_ones_named) {
  refuse_args(1, &(drover_env_arg){"lenght", "5"}, "unknown argument 'lenght'", "length, x");
}

Test(batch_options, an_argument_given_twice_is_refused) {
  const drover_env_arg twice[] = {{"length", "5"}, {"x", "1"}, {"length", "6"}};
  refuse_args(3, twice, "'length'", "twice");
}

Test(batch_options, an_argument_without_key_or_value_is_refused) {
  refuse_args(1, &(drover_env_arg){NULL, "5"}, "argument 0", "key");
  refuse_args(1, &(drover_env_arg){"length", NULL}, "argument 0", "value");
}

Test(batch_options, an_argument_that_open_refuses_gives_its_sentence) {
  world w;
  init_refusal(&w);
  const drover_env_arg bad = {"length", "many"};
  w.batch_options.args = (drover_env_args){.count = 1, .items = &bad};
  drover_batch *batch;
  cr_assert_eq(toy_batch_create(&batch, w.runtime, &w.config, &w.batch_options), DROVER_ERROR_ENV);
  cr_assert(strstr(drover_last_error(), "length must be a number in 0..1e+06, got 'many'"), "%s", drover_last_error());
  OK(drover_runtime_destroy(w.runtime));
}

Test(batch_options, arguments_reach_open_and_are_copied) {
  world w;
  init_refusal(&w);
  w.config.terminate = w.config.truncate = 0;
  char key[] = "length", value[] = "4";
  drover_env_arg item = {key, value};
  w.batch_options.args = (drover_env_args){.count = 1, .items = &item};
  OK(toy_batch_create(&w.batch, w.runtime, &w.config, &w.batch_options));
  memset(key, '?', 6);
  memset(value, '?', 1);
  item.key = NULL;
  const int32_t actions[N] = {0};
  for (int32_t t = 0; t < 4; t++) OK(drover_batch_step(w.batch, actions));
  cr_assert_eq(batch_view(w.batch).terminated[0], 1);
  cr_assert_eq(batch_view(w.batch).episode_lengths[0], 4);
  OK(drover_batch_destroy(w.batch));
  OK(drover_runtime_destroy(w.runtime));
}

Test(batch_options, an_env_type_without_arguments_takes_none) {
  world w;
  init_refusal(&w);
  w.config.type.arg_infos = NULL;
  w.batch_options.args = (drover_env_args){.count = 1, .items = &(drover_env_arg){"length", "5"}};
  REFUSE(&w, DROVER_ERROR_ARGUMENT, "takes none");
  OK(drover_runtime_destroy(w.runtime));
}
