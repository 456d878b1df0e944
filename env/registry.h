/* registry.h: the built-in env types, and what registry.c and plugin.c share. */
#ifndef DR_ENV_REGISTRY_H
#define DR_ENV_REGISTRY_H

#include <drover/registry.h>

#ifdef DROVER_MUJOCO
#define DR_MUJOCO_ENVS(X)            \
  X(dr_env_inverted_pendulum)        \
  X(dr_env_inverted_double_pendulum) \
  X(dr_env_reacher)                  \
  X(dr_env_pusher)                   \
  X(dr_env_swimmer)                  \
  X(dr_env_hopper)                   \
  X(dr_env_half_cheetah)             \
  X(dr_env_walker2d)                 \
  X(dr_env_ant)                      \
  X(dr_env_humanoid)                 \
  X(dr_env_humanoid_standup)         \
  X(dr_env_mujoco)
#define DR_GAIT_ENVS(X) X(dr_env_gait2d)
#else
#define DR_MUJOCO_ENVS(X)
#define DR_GAIT_ENVS(X)
#endif

/* X(table): the built-in types, in the order of `drover envs`. */
#define DR_BUILTIN_ENVS(X)          \
  X(dr_env_cartpole)                \
  X(dr_env_mountain_car)            \
  X(dr_env_mountain_car_continuous) \
  X(dr_env_pendulum)                \
  X(dr_env_acrobot)                 \
  X(dr_env_spin)                    \
  DR_MUJOCO_ENVS(X)                 \
  DR_GAIT_ENVS(X)

#define DR_DECLARE_ENV(table) extern const drover_env_type table;
DR_BUILTIN_ENVS(DR_DECLARE_ENV)
#undef DR_DECLARE_ENV

/* drover_env_register with an origin for its messages ("env", or a plugin's path). A table that is registered already
 * is success. */
drover_status dr_env_add(const drover_env_type *type, const char *origin);

#endif
