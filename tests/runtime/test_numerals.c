/* test_numerals.c: a host whose locale has a decimal comma: numbers in arguments and models are read with a point. */
#include <criterion/criterion.h>
#include <locale.h>
#include <unistd.h>

#include "env/registry.h"
#include "tests/support/world.h"

/* The host's numbers are German from here on: by a locale of our own making, in a folder of our own. False where
 * localedef or its sources are not installed. */
static bool become_german(void) {
  char folder[] = "/tmp/drover_locale_XXXXXX", command[256];
  cr_assert_not_null(mkdtemp(folder));
  snprintf(command, sizeof command,
           "cd %s && printf 'LC_NUMERIC\ncopy \"de_DE\"\nEND LC_NUMERIC\n' >source && "
           "localedef --no-archive -c -f UTF-8 -i ./source ./comma.UTF-8 >/dev/null 2>&1; test -d comma.UTF-8",
           folder);
  setenv("LOCPATH", folder, 1);
  const bool made = system(command) == 0 && setlocale(LC_NUMERIC, "comma.UTF-8");
  snprintf(command, sizeof command, "rm -r %s", folder);
  cr_assert_eq(system(command), 0);
  return made;
}

#define NEEDS_GERMAN() \
  if (!become_german()) cr_skip_test("localedef or its sources are not installed")

static drover_env_type plain;
static double number, plain_number;
static char printed[16];
static bool has_own_locale;

static int open_reading(const drover_env_args *args, drover_env_spec *spec, void **shared, char *message, size_t size) {
  has_own_locale = uselocale((locale_t)0) != LC_GLOBAL_LOCALE;
  if (drover_env_arg_number(args, "x", 0, 0, 1, &number, message, size)) return 1;
  plain_number = strtod("0.25", NULL);
  snprintf(printed, sizeof printed, "%g", 0.5);
  return plain.open(args, spec, shared, message, size);
}

static void open_with(world *w, const char *x) {
  static drover_env_arg arg = {.key = "x"};
  arg.value = x;
  world_init(w);
  plain = w->config.type;
  w->config.type.open = open_reading;
  w->batch_options.args = (drover_env_args){1, &arg};
}

Test(numerals, open_has_a_locale_of_its_own_and_its_thread_the_hosts_afterwards) {
  world w;
  open_with(&w, "0.5");
  world_open(&w);
  cr_assert(has_own_locale);
  cr_assert_eq(uselocale((locale_t)0), LC_GLOBAL_LOCALE);
  world_close(&w);
}

Test(numerals, open_reads_a_point_where_the_host_has_a_comma) {
  NEEDS_GERMAN();
  cr_assert_eq(strtod("0.5", NULL), 0, "this locale has no decimal comma");
  world w;
  open_with(&w, "0.5");
  world_open(&w);
  cr_assert_eq(number, 0.5);
  cr_assert_eq(plain_number, 0.25);
  cr_assert_str_eq(printed, "0.5");
  cr_assert_eq(strtod("0,5", NULL), 0.5, "the host's locale must be back");
  world_close(&w);
}

Test(numerals, a_comma_stays_an_error_in_a_german_host) {
  NEEDS_GERMAN();
  world w;
  open_with(&w, "0,5");
  OK(drover_runtime_create(&w.runtime, &w.runtime_options));
  cr_assert_eq(toy_batch_create(&w.batch, w.runtime, &w.config, &w.batch_options), DROVER_ERROR_ENV);
  cr_assert(strstr(drover_last_error(), "x must be a number in 0..1, got '0,5'"), "%s", drover_last_error());
  cr_assert_eq(strtod("0,5", NULL), 0.5, "the host's locale must be back");
  OK(drover_runtime_destroy(w.runtime));
}

/* What a host's thread has chosen for itself is its own too. */
Test(numerals, a_threads_own_locale_is_put_back) {
  NEEDS_GERMAN();
  const locale_t own = duplocale(LC_GLOBAL_LOCALE);
  setlocale(LC_ALL, "C");
  uselocale(own);
  world w;
  open_with(&w, "0.5");
  world_open(&w);
  cr_assert_eq(number, 0.5);
  cr_assert_eq(uselocale((locale_t)0), own);
  world_close(&w);
  uselocale(LC_GLOBAL_LOCALE);
  freelocale(own);
}

/* 20 steps of a built-in env with arguments that have fractions; 0 if this build does not have it. */
static uint64_t digest_of(const char *env, const char *key, const char *value) {
  const drover_env_type *type;
  if (drover_env_find(env, &type) != DROVER_OK) return 0;
  const drover_env_arg arg = {key, value};
  world w;
  world_init(&w);
  w.batch_options.args = (drover_env_args){1, &arg};
  w.batch_options.num_envs = 2;
  OK(drover_runtime_create(&w.runtime, &w.runtime_options));
  OK(drover_batch_create(&w.batch, w.runtime, type, &w.batch_options));
  const drover_batch_view view = batch_view(w.batch);
  OK(drover_policy_create_uniform(&w.policy, w.runtime, view.spec));
  OK(drover_rollout_create(&w.rollout, w.batch, w.policy, &w.rollout_options));
  OK(drover_rollout_collect(w.rollout));
  const uint64_t digest = rollout_digest(w.rollout);
  world_close(&w);
  return digest;
}

Test(numerals, built_in_envs_and_their_models_do_not_notice_the_hosts_locale) {
  static const char *const envs[][3] = {{"Spin-v0", "cost", "1.5us"},
                                        {"HalfCheetah-v5", "reset_noise_scale", "0.25"},
                                        {"Hopper-v5", "healthy_z_range", "0.75:inf"}};
  uint64_t want[3];
  for (int32_t i = 0; i < 3; i++) want[i] = digest_of(envs[i][0], envs[i][1], envs[i][2]);
  cr_assert_neq(want[0], 0);
  NEEDS_GERMAN();
  for (int32_t i = 0; i < 3; i++)
    cr_assert_eq(digest_of(envs[i][0], envs[i][1], envs[i][2]), want[i], "%s", envs[i][0]);
}
