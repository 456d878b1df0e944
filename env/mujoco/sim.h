/* sim.h: one model for a batch, one mjData for each env: made, stepped, saved, and given more room when it needs it.
 *
 * MuJoCo reserves room for contacts, constraints and its stack in every mjData, enough for what might happen: 4 to 15
 * MB for these tasks. Here an env starts with little more than its first moments need. A step that finds the room too
 * small is undone and done again in an mjData with twice as much, up to what the model asks for by itself: the numbers
 * are those of a roomy mjData (tests/mujoco: small_room_gives_the_same_bytes). */
#ifndef DR_ENV_MUJOCO_SIM_H
#define DR_ENV_MUJOCO_SIM_H

#include <stdint.h>

#include "env/mujoco/engine.h"

enum { DR_MJ_MAX_ROOMS = 24, DR_MJ_WHY = 128 };

/* What all envs of a batch share; read only once it is made. rooms[i] is `compiled` with the i'th amount of room, the
 * last with all that it asks for; they share its arrays. */
typedef struct {
  mjModel *compiled;
  mjModel rooms[DR_MJ_MAX_ROOMS];
  int num_rooms;
  int state_size;    /* numbers */
  size_t data_bytes; /* heap of an env that has the first room */
} dr_mj_model;

/* One env. Zeroed by its owner before create. */
typedef struct {
  mjData *data;
  mjtNum *before;  /* [state_size]: the state before the step that runs; MuJoCo's numbers are double */
  double place[2]; /* where the task says the body is, as left by the last step or reset: its next velocity's origin */
  int32_t room;    /* index into model->rooms */
  int32_t unused;  /* 0 */
  char why[DR_MJ_WHY]; /* a sentence, where a call below has failed */
} dr_mj_env;

/* Takes `compiled` over, also on failure. 0, or -1 if there is no memory or MuJoCo refuses (dr_mj_error). */
int dr_mj_model_open(dr_mj_model *model, mjModel *compiled);
void dr_mj_model_close(dr_mj_model *model);

int dr_mj_env_create(const dr_mj_model *model, dr_mj_env *env);
void dr_mj_env_destroy(dr_mj_env *env);

/* All to the model's initial state; env->data is then the caller's to change before dr_mj_env_forward. */
int dr_mj_env_clear(const dr_mj_model *model, dr_mj_env *env);
/* The quantities that follow from the state: mj_forward. */
int dr_mj_env_forward(const dr_mj_model *model, dr_mj_env *env);
/* `frames` steps under ctrl[nu], then the contact forces on bodies (cfrc_ext) if `forces`. -1 = the env failed, and
 * env->why says it: a control that is not finite, an error of MuJoCo's, or a state it found bad and reset. */
int dr_mj_env_step(const dr_mj_model *model, dr_mj_env *env, const float *ctrl, int frames, bool forces);

/* state_size numbers, at any address. Load makes no derived quantities: the next step does. */
void dr_mj_env_save(const dr_mj_model *model, const dr_mj_env *env, void *state);
void dr_mj_env_load(const dr_mj_model *model, dr_mj_env *env, const void *state);

#endif
