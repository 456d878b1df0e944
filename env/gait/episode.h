/* episode.h: the functions of gait2d's env table that make episodes. */
#ifndef DR_ENV_GAIT_EPISODE_H
#define DR_ENV_GAIT_EPISODE_H

#include "env/gait/gait.h"

enum { DR_GAIT_INFOS = 7 };
extern const char *const dr_gait_info_names[DR_GAIT_INFOS];

int dr_gait_reset(void *shared, void *state, const drover_env_rows *rows);
int dr_gait_begin(void *shared, void *state, const drover_env_tick *tick);
int dr_gait_tick(void *shared, void *state, const drover_env_tick *tick);
int dr_gait_finish(void *shared, void *state, const drover_env_rows *rows);
void dr_gait_observe(const dr_gait_world *world, const dr_gait_env *env, float *observation);

#endif
