/* engine.h: MuJoCo made safe to call from a library: errors that return, warnings that print nothing, the differences
 * between its versions. Everything else in this folder goes through here to load, make, guard, save and load.
 *
 * Two lines of MuJoCo are supported: 2.2 (Debian 12's) and 3.3 or newer. */
#ifndef DR_ENV_MUJOCO_ENGINE_H
#define DR_ENV_MUJOCO_ENGINE_H

#include <mujoco/mujoco.h>
#include <stdbool.h>
#include <stddef.h>

#if mjVERSION_HEADER >= 330
#define DR_MJ_HAS_ARENA 1 /* contacts, constraints and the stack share one block of narena bytes */
#elif mjVERSION_HEADER < 230
#define DR_MJ_HAS_ARENA 0 /* room for nconmax contacts, njmax constraints and nstack numbers of stack */
#else
#error "Drover supports MuJoCo 2.2 and MuJoCo 3.3 or newer"
#endif

#ifdef __cplusplus
extern "C" {
#endif

enum { DR_MJ_TEXT = 1024 }; /* bytes of an error's text */

/* body(context), such that an mju_error or a C++ exception inside it makes this return false; dr_mj_error() then says
 * what it was. The mjData that it was about must be thrown away. Nests. */
bool dr_mj_guard(void (*body)(void *context), void *context);

/* body(context); false, with a word about it in *what, if it threw a C++ exception. For dr_mj_guard: catch.cpp. */
bool dr_mj_call(void (*body)(void *context), void *context, const char **what);

/* The last error that a guard of this thread caught. */
const char *dr_mj_error(void);

/* Puts our handlers of MuJoCo's errors and warnings in front of those that are installed. Outside a guard they pass on
 * what they get to those, or do what MuJoCo does by itself, without its prompt. Called before anything is loaded. */
void dr_mj_install_handlers(void);

/* The model in the file `path`, or in `text` if that is not NULL. NULL on failure, with MuJoCo's words in error (one
 * line). Thread-safe. */
mjModel *dr_mj_load_model(const char *path, const char *text, size_t text_size, char *error, size_t error_size);

/* An mjData of m, or NULL. */
mjData *dr_mj_make_data(const mjModel *m);
/* What it takes from the heap. */
size_t dr_mj_data_bytes(const mjData *d);

/* Whether MuJoCo has found the state or a control bad since d was last reset (it resets d and goes on). Then also its
 * own sentence in text, if that is not NULL, with the simulated time `time` at which it was: d's own is reset too. */
bool dr_mj_is_bad(const mjData *d, double time, char *text, size_t text_size);

/* Room for contacts, constraints and MuJoCo's stack: what d has ever needed and something on top; m with that much,
 * never more than it has by itself (the result shares m's arrays). Never 0 of anything, which would turn it off. */
typedef struct {
#if DR_MJ_HAS_ARENA
  size_t arena; /* bytes */
#else
  int contacts, constraints, stack;
#endif
} dr_mj_room;
dr_mj_room dr_mj_room_used(const mjData *d);
dr_mj_room dr_mj_room_largest(dr_mj_room a, dr_mj_room b);
dr_mj_room dr_mj_room_scaled(dr_mj_room room, int factor);
bool dr_mj_room_is_all(const mjModel *m, dr_mj_room room);
mjModel dr_mj_model_with_room(const mjModel *m, dr_mj_room room);

/* Everything that mj_step continues from, warm start included: dr_mj_state_size numbers. */
int dr_mj_state_size(const mjModel *m);
void dr_mj_get_state(const mjModel *m, const mjData *d, mjtNum *state);
void dr_mj_set_state(const mjModel *m, mjData *d, const mjtNum *state);

/* How much an actuator's length changes with a degree of freedom, after mj_step1: its moment. */
mjtNum dr_mj_actuator_moment(const mjModel *m, const mjData *d, int actuator, int dof);

#ifdef __cplusplus
}
#endif
#endif
