/* plugin.c: env types from shared objects. */
#include <dlfcn.h>
#include <errno.h>
#include <sys/stat.h>

#include "env/registry.h"
#include "runtime/error.h"

/* The table that the plugin `handle` exports, checked and registered. */
static drover_status take_table(void *handle, const char *path, const drover_env_type **out) {
  /* POSIX lets dlsym's object pointer be a function; ISO C has no cast for it. */
  drover_env_plugin_fn plugin = NULL;
  void *symbol = dlsym(handle, DROVER_ENV_PLUGIN_SYMBOL);
  memcpy(&plugin, &symbol, sizeof plugin);
  if (!plugin)
    return dr_fail(DROVER_ERROR_ENV, "%.256s: not an env plugin: it does not export %s(), see drover/env.h", path,
                   DROVER_ENV_PLUGIN_SYMBOL);
  const drover_env_type *type = plugin();
  const drover_status status = dr_env_add(type, path);
  if (status == DROVER_OK) *out = type;
  return status;
}

drover_status drover_env_open_plugin(const char *path, const drover_env_type **out) {
  if (!out) return dr_fail(DROVER_ERROR_ARGUMENT, "env: out must not be NULL");
  *out = NULL;
  if (!path || !*path) return dr_fail(DROVER_ERROR_ARGUMENT, "env: a plugin's path must be given");

  struct stat info;
  if (stat(path, &info) != 0)
    return dr_fail(DROVER_ERROR_IO, "%.300s: cannot open the plugin: %s", path, strerror(errno));
  if (!S_ISREG(info.st_mode)) return dr_fail(DROVER_ERROR_IO, "%.300s: cannot open the plugin: not a file", path);

  /* dlopen searches the library path for a name without '/'; here it is a file in this folder. */
  char in_this_folder[264];
  if (!strchr(path, '/')) {
    snprintf(in_this_folder, sizeof in_this_folder, "./%s", path);
    path = in_this_folder;
  }
  void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!handle) {
    const char *reason = dlerror();
    return dr_fail(DROVER_ERROR_ENV, "%.200s: not a shared object that can be loaded: %s", path, reason ? reason : "?");
  }
  const drover_status status = take_table(handle, path, out);
  if (status) dlclose(handle); /* a plugin that was taken stays for good: its table must */
  return status;
}
