/* test_registry.c: env types by name. */
#include <drover/registry.h>
#include <pthread.h>

#include "tests/env/harness.h"

static int fake_open(const drover_env_args *args, drover_env_spec *spec, void **shared, char *message, size_t size) {
  (void)args, (void)spec, (void)shared, (void)message, (void)size;
  return -1;
}

static int fake_step(void *shared, void *state, const drover_env_rows *rows) {
  (void)shared, (void)state, (void)rows;
  return -1;
}

static drover_env_type good_table(const char *name) {
  return (drover_env_type){.abi_version = DROVER_ENV_ABI_VERSION,
                           .size = sizeof(drover_env_type),
                           .name = name,
                           .open = fake_open,
                           .reset = fake_step,
                           .step = fake_step};
}

static void assert_error(drover_status got, drover_status want, const char *part) {
  cr_assert_eq(got, want, "%s: %s", drover_status_name(got), drover_last_error());
  cr_assert(strstr(drover_last_error(), part), "'%s' is not in '%s'", part, drover_last_error());
}

Test(registry, built_in_types_are_there_from_the_start) {
  const char *names[] = {"CartPole-v1", "MountainCar-v0", "MountainCarContinuous-v0",
                         "Pendulum-v1", "Acrobot-v1",     "Spin-v0"};
  for (int i = 0; i < 6; i++) {
    const drover_env_type *type = NULL;
    cr_assert_eq(drover_env_find(names[i], &type), DROVER_OK);
    cr_assert_str_eq(type->name, names[i]);
    cr_assert(type->summary && *type->summary);
  }
  cr_assert_geq(drover_env_count(), 6);
  for (int32_t i = 0; i < drover_env_count(); i++) cr_assert_eq(drover_env_at(i)->abi_version, DROVER_ENV_ABI_VERSION);
  cr_assert_null(drover_env_at(drover_env_count()));
  cr_assert_null(drover_env_at(-1));
}

Test(registry, an_unknown_name_is_answered_with_the_closest) {
  const struct {
    const char *asked, *closest;
  } cases[] = {{"CartPol-v1", "CartPole-v1"},        {"cartpole-V1", "CartPole-v1"}, {"Pendulum", "Pendulum-v1"},
               {"MountainCar-v1", "MountainCar-v0"}, {"acrobat-v1", "Acrobot-v1"},   {"spin", "Spin-v0"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const drover_env_type *type = (const drover_env_type *)1;
    char quoted[40];
    snprintf(quoted, sizeof quoted, "'%s'", cases[i].closest);
    assert_error(drover_env_find(cases[i].asked, &type), DROVER_ERROR_NOT_FOUND, quoted);
    cr_assert_null(type);
  }
}

Test(registry, odd_names_are_refused_without_harm) {
  const drover_env_type *type;
  char endless[5000];
  memset(endless, 'x', sizeof endless - 1);
  endless[sizeof endless - 1] = '\0';
  assert_error(drover_env_find(endless, &type), DROVER_ERROR_NOT_FOUND, "no env type is called");
  assert_error(drover_env_find("", &type), DROVER_ERROR_ARGUMENT, "name");
  assert_error(drover_env_find(NULL, &type), DROVER_ERROR_ARGUMENT, "name");
  assert_error(drover_env_find("CartPole-v1", NULL), DROVER_ERROR_ARGUMENT, "out");
  assert_error(drover_env_find("plugin.so", &type), DROVER_ERROR_NOT_FOUND, "'./plugin.so'");
}

Test(registry, a_registered_type_is_found_and_comes_last) {
  static drover_env_type table;
  table = good_table("mine/Env_1.0-v2");
  const int32_t before = drover_env_count();
  cr_assert_eq(drover_env_register(&table), DROVER_OK, "%s", drover_last_error());
  const drover_env_type *found = NULL;
  cr_assert_eq(drover_env_find("mine/Env_1.0-v2", &found), DROVER_OK);
  cr_assert_eq(found, &table);
  cr_assert_eq(drover_env_count(), before + 1);
  cr_assert_eq(drover_env_at(before), &table);
}

Test(registry, a_name_can_be_taken_once) {
  static drover_env_type table, rival;
  table = rival = good_table("Taken-v0");
  cr_assert_eq(drover_env_register(&table), DROVER_OK);
  assert_error(drover_env_register(&rival), DROVER_ERROR_STATE, "Taken-v0");
  assert_error(drover_env_register(&table), DROVER_ERROR_STATE, "already");
  rival.name = "CartPole-v1";
  assert_error(drover_env_register(&rival), DROVER_ERROR_STATE, "CartPole-v1");
}

Test(registry, a_wrong_table_is_refused_and_the_fault_named) {
  const int32_t before = drover_env_count();
  drover_env_type table = good_table("Wrong-v0");
  assert_error(drover_env_register(NULL), DROVER_ERROR_ENV, "NULL");

  table.abi_version = 7;
  assert_error(drover_env_register(&table), DROVER_ERROR_ENV, "built for ABI 7, this library has 1: rebuild it");
  table = good_table("Wrong-v0");
  table.size = (uint32_t)offsetof(drover_env_type, draw_sample); /* the last that has been there from the beginning */
  assert_error(drover_env_register(&table), DROVER_ERROR_ENV, "bytes");
  table.size = (uint32_t)sizeof table + 8; /* of a header to come */
  assert_error(drover_env_register(&table), DROVER_ERROR_ENV, "bytes");

  char long_name[65];
  memset(long_name, 'n', 64);
  long_name[64] = '\0';
  const char *names[] = {NULL, "", "with space", "with\nline", "caf\xC3\xA9", long_name};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    table = good_table(names[i]);
    assert_error(drover_env_register(&table), DROVER_ERROR_ENV, "name must be");
  }

  table = good_table("Wrong-v0"), table.open = NULL;
  assert_error(drover_env_register(&table), DROVER_ERROR_ENV, "no open function");
  table = good_table("Wrong-v0"), table.reset = NULL;
  assert_error(drover_env_register(&table), DROVER_ERROR_ENV, "no reset function");
  table = good_table("Wrong-v0"), table.step = NULL;
  assert_error(drover_env_register(&table), DROVER_ERROR_ENV, "no step function");
  table = good_table("Wrong-v0");
  memcpy(&table.save, &table.step, sizeof table.save); /* any function will do */
  assert_error(drover_env_register(&table), DROVER_ERROR_ENV, "save but not load");
  cr_assert_eq(drover_env_count(), before);
}

Test(registry, a_name_of_63_letters_is_accepted) {
  static char name[64];
  memset(name, 'n', 63);
  static drover_env_type table;
  table = good_table(name);
  cr_assert_eq(drover_env_register(&table), DROVER_OK, "%s", drover_last_error());
}

/* ---- several threads ---- */

enum { THREADS = 4, TYPES_EACH = 50 };
static drover_env_type tables[THREADS][TYPES_EACH];
static char names[THREADS][TYPES_EACH][32];

static void *register_some(void *arg) {
  const int thread = (int)(intptr_t)arg;
  intptr_t wrong = 0;
  for (int i = 0; i < TYPES_EACH; i++) {
    const drover_env_type *found = NULL;
    snprintf(names[thread][i], sizeof names[thread][i], "T%d-%d", thread, i);
    tables[thread][i] = good_table(names[thread][i]);
    wrong += drover_env_register(&tables[thread][i]) != DROVER_OK;
    wrong += drover_env_find(names[thread][i], &found) != DROVER_OK || found != &tables[thread][i];
    for (int32_t k = 0; k < drover_env_count(); k++) wrong += !drover_env_at(k)->name;
  }
  return (void *)wrong;
}

Test(registry, threads_register_and_look_up_at_once) {
  const int32_t before = drover_env_count();
  pthread_t threads[THREADS];
  for (int i = 0; i < THREADS; i++)
    cr_assert_eq(pthread_create(&threads[i], NULL, register_some, (void *)(intptr_t)i), 0);
  for (int i = 0; i < THREADS; i++) {
    void *wrong = NULL;
    pthread_join(threads[i], &wrong);
    cr_assert_null(wrong);
  }
  cr_assert_eq(drover_env_count(), before + THREADS * TYPES_EACH);
}

Test(registry, a_full_registry_says_so) {
  static drover_env_type many[2000];
  static char many_names[2000][20];
  drover_status status = DROVER_OK;
  for (int i = 0; i < 2000 && status == DROVER_OK; i++) {
    snprintf(many_names[i], sizeof many_names[i], "Many-%d", i);
    many[i] = good_table(many_names[i]);
    status = drover_env_register(&many[i]);
  }
  assert_error(status, DROVER_ERROR_NO_MEMORY, "1024");
}
