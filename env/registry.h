/* registry.h: the built-in env types, and what registry.c and plugin.c share. */
#ifndef DR_ENV_REGISTRY_H
#define DR_ENV_REGISTRY_H

#include <drover/registry.h>

/* X(table): the built-in types, in the order of `drover envs`. */
#define DR_BUILTIN_ENVS(X)          \
  X(dr_env_cartpole)                \
  X(dr_env_mountain_car)            \
  X(dr_env_mountain_car_continuous) \
  X(dr_env_pendulum)                \
  X(dr_env_acrobot)                 \
  X(dr_env_spin)

#define DR_DECLARE_ENV(table) extern const drover_env_type table;
DR_BUILTIN_ENVS(DR_DECLARE_ENV)
#undef DR_DECLARE_ENV

/* drover_env_register with an origin for its messages ("env", or a plugin's path). A table that is registered already
 * is success. */
drover_status dr_env_add(const drover_env_type *type, const char *origin);

#endif
