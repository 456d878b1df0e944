/* registry.h: env types by name: the built-in ones, the embedder's own, and plugins. Thread-safe. */
#ifndef DROVER_REGISTRY_H
#define DROVER_REGISTRY_H

#include <drover/base.h>
#include <drover/env.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Make a type known by its name for the life of the process. The table must stay valid. Checked: ABI version, size,
 * name, required functions. A name that is taken is DROVER_ERROR_STATE. */
DROVER_API drover_status drover_env_register(const drover_env_type *type);

/* Load a plugin (a path to a shared object) and check its table; *out is its type, also found by name from then on.
 * Loading the same file again gives the same type. It is never unloaded. */
DROVER_API drover_status drover_env_open_plugin(const char *path, const drover_env_type **out);

/* The type of this name; a name that contains '/' and ends in ".so" is loaded as a plugin. DROVER_ERROR_NOT_FOUND
 * otherwise, with the closest known name in the message. */
DROVER_API drover_status drover_env_find(const char *name, const drover_env_type **out);

/* How many types are known, and the index'th in order of registration (NULL past the end). */
DROVER_API int32_t drover_env_count(void);
DROVER_API const drover_env_type *drover_env_at(int32_t index);

#ifdef __cplusplus
}
#endif
#endif
