/* test_plugin.c: env types from shared objects. PLUGIN_DIR holds those that CMakeLists.txt makes of plugin_env.c. */
#include <drover/registry.h>
#include <fcntl.h>
#include <unistd.h>

#include "tests/env/harness.h"

static void assert_refused(const char *path, drover_status want, const char *part) {
  const int32_t before = drover_env_count();
  const drover_env_type *type = (const drover_env_type *)1;
  const drover_status got = drover_env_open_plugin(path, &type);
  cr_assert_eq(got, want, "%s: %s", drover_status_name(got), drover_last_error());
  cr_assert(strstr(drover_last_error(), part), "'%s' is not in '%s'", part, drover_last_error());
  cr_assert_null(type);
  cr_assert_eq(drover_env_count(), before);
}

Test(plugin, is_found_by_path_and_then_by_name) {
  const drover_env_type *opened = NULL, *again = NULL, *by_name = NULL, *by_path = NULL;
  cr_assert_eq(drover_env_open_plugin(PLUGIN_DIR "/plugin_good.so", &opened), DROVER_OK, "%s", drover_last_error());
  cr_assert_str_eq(opened->name, "Plugin-v0");
  const int32_t count = drover_env_count();
  cr_assert_eq(drover_env_open_plugin(PLUGIN_DIR "/plugin_good.so", &again), DROVER_OK, "%s", drover_last_error());
  cr_assert_eq(drover_env_find("Plugin-v0", &by_name), DROVER_OK);
  cr_assert_eq(drover_env_find(PLUGIN_DIR "/plugin_good.so", &by_path), DROVER_OK);
  cr_assert(again == opened && by_name == opened && by_path == opened);
  cr_assert_eq(drover_env_count(), count);
}

Test(plugin, steps_like_any_env) {
  const drover_env_type *type = NULL;
  cr_assert_eq(drover_env_open_plugin(PLUGIN_DIR "/plugin_good.so", &type), DROVER_OK);
  harness h;
  harness_open(&h, "Plugin-v0", 1);
  harness_reset(&h, 0, 0);
  cr_assert_eq(harness_step_discrete(&h, 0, 1), 0);
  cr_assert_eq(h.rewards[0], 1);
  harness_close(&h);
}

Test(plugin, a_path_without_a_folder_is_a_file_here) {
  cr_assert_eq(chdir(PLUGIN_DIR), 0);
  const drover_env_type *type = NULL;
  cr_assert_eq(drover_env_open_plugin("plugin_good.so", &type), DROVER_OK, "%s", drover_last_error());
}

Test(plugin, of_another_abi_is_refused) {
  assert_refused(PLUGIN_DIR "/plugin_abi.so", DROVER_ERROR_ENV, "built for ABI 7, this library has 1: rebuild it");
}

Test(plugin, without_the_symbol_is_refused) {
  assert_refused(PLUGIN_DIR "/plugin_no_symbol.so", DROVER_ERROR_ENV, "does not export drover_env_plugin()");
}

Test(plugin, with_a_null_table_is_refused) {
  assert_refused(PLUGIN_DIR "/plugin_null.so", DROVER_ERROR_ENV, "the env table is NULL");
}

Test(plugin, with_a_name_that_is_taken_is_refused) {
  assert_refused(PLUGIN_DIR "/plugin_taken.so", DROVER_ERROR_STATE, "'CartPole-v1' exists already");
}

Test(plugin, that_is_not_there_is_refused) {
  assert_refused("/nowhere/plugin.so", DROVER_ERROR_IO, "No such file");
  assert_refused("/", DROVER_ERROR_IO, "not a file");
  assert_refused("", DROVER_ERROR_ARGUMENT, "path");
  assert_refused(NULL, DROVER_ERROR_ARGUMENT, "path");
  const drover_env_type *type = NULL;
  cr_assert_eq(drover_env_find("./nowhere.so", &type), DROVER_ERROR_IO);
}

Test(plugin, that_is_no_shared_object_is_refused) {
  char path[] = "/tmp/drover-test-plugin-XXXXXX";
  const int file = mkstemp(path);
  cr_assert_geq(file, 0);
  assert_refused(path, DROVER_ERROR_ENV, "not a shared object");
  cr_assert_eq(write(file, "#!/bin/sh\n", 10), 10);
  close(file);
  assert_refused(path, DROVER_ERROR_ENV, "not a shared object");
  unlink(path);
}
