/* plugin_env.c: a minimal plugin, and with -DPLUGIN_... each way in which one can be wrong. */
#include <drover/env.h>

#ifndef PLUGIN_ABI
#define PLUGIN_ABI DROVER_ENV_ABI_VERSION
#endif
#ifndef PLUGIN_NAME
#define PLUGIN_NAME "Plugin-v0"
#endif

static int plugin_open(const drover_env_args *args, drover_env_spec *spec, void **shared, char *message, size_t size) {
  (void)args, (void)shared, (void)message, (void)size;
  spec->observation_size = 1;
  spec->action_kind = DROVER_ACTION_DISCRETE;
  spec->action_size = 1;
  spec->num_actions = 2;
  spec->state_size = 16;
  return 0;
}

static int plugin_reset(void *shared, void *state, const drover_env_rows *rows) {
  (void)shared, (void)state;
  rows->observations[0] = 0;
  return 0;
}

static int plugin_step(void *shared, void *state, const drover_env_rows *rows) {
  (void)shared, (void)state;
  rows->observations[0] = rows->rewards[0] = 1;
  return 0;
}

/* Declared as a plugin's compiler would see it from the header's comment. */
const drover_env_type *drover_env_plugin(void);
const drover_env_type *other_symbol(void);

#ifdef PLUGIN_NO_SYMBOL
const drover_env_type *other_symbol(void) {
#else
const drover_env_type *drover_env_plugin(void) {
#endif
  static const drover_env_type table = {
      .abi_version = PLUGIN_ABI,
      .size = sizeof table,
      .name = PLUGIN_NAME,
      .summary = "for test_plugin.c",
      .open = plugin_open,
      .reset = plugin_reset,
      .step = plugin_step,
  };
#ifdef PLUGIN_NULL_TABLE
  (void)table;
  return NULL;
#else
  return &table;
#endif
}
