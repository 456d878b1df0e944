/* sim.c: an env's mjData, its steps, its room. */
#include "env/mujoco/sim.h"

#include <drover/random.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- The model ---- */

typedef struct {
  const mjModel *model;
  mjData *data;
  dr_mj_room used; /* out */
} probe_call;

/* A little of an episode under random controls, to see how much room it takes: less of it the larger the model. It
 * stops where the state goes bad. An error in here comes again where it can be reported. */
static void probe_body(void *context) {
  probe_call *call = context;
  const mjModel *m = call->model;
  drover_random random = drover_random_at(0, 0, DROVER_RANDOM_USER, 0);
  const int64_t frames = (int64_t)fmax(8, fmin(150, 4000.0 / (double)(m->nv + 1)));
  for (int64_t frame = 0; frame < frames; frame++) {
    for (int i = 0; i < m->nu && frame % 5 == 0; i++) {
      const double low = m->actuator_ctrllimited[i] ? m->actuator_ctrlrange[2 * i] : -1;
      const double high = m->actuator_ctrllimited[i] ? m->actuator_ctrlrange[2 * i + 1] : 1;
      call->data->ctrl[i] = drover_random_range(&random, low, high);
    }
    mj_step(m, call->data);
    const dr_mj_room used = dr_mj_room_used(call->data);
    call->used = dr_mj_room_largest(call->used, used);
    if (call->data->time == 0) return; /* MuJoCo has reset it */
  }
}

/* Rooms of twice the size from one to the next. */
static void make_rooms(dr_mj_model *model, dr_mj_room used) {
  int factor = 1;
  while (model->num_rooms < DR_MJ_MAX_ROOMS - 1 &&
         !dr_mj_room_is_all(model->compiled, dr_mj_room_scaled(used, factor))) {
    model->rooms[model->num_rooms++] = dr_mj_model_with_room(model->compiled, dr_mj_room_scaled(used, factor));
    factor *= 2;
  }
  model->rooms[model->num_rooms++] = *model->compiled;
}

int dr_mj_model_open(dr_mj_model *model, mjModel *compiled) {
  memset(model, 0, sizeof *model);
  model->compiled = compiled;
  model->state_size = dr_mj_state_size(compiled);
  probe_call probe = {.model = compiled, .data = dr_mj_make_data(compiled)};
  if (!probe.data) goto fail;
  probe.used = dr_mj_room_used(probe.data);
  dr_mj_guard(probe_body, &probe);
  make_rooms(model, probe.used);
  mj_deleteData(probe.data);

  mjData *first = dr_mj_make_data(&model->rooms[0]);
  if (!first) goto fail;
  model->data_bytes = dr_mj_data_bytes(first) + (size_t)model->state_size * sizeof(mjtNum);
  mj_deleteData(first);
  return 0;

fail:
  dr_mj_model_close(model);
  return -1;
}

void dr_mj_model_close(dr_mj_model *model) {
  if (model->compiled) mj_deleteModel(model->compiled);
  model->compiled = NULL;
}

/* ---- An env's data ---- */

int dr_mj_env_create(const dr_mj_model *model, dr_mj_env *env) {
  env->before = malloc((size_t)model->state_size * sizeof(mjtNum));
  env->data = env->before ? dr_mj_make_data(&model->rooms[0]) : NULL;
  if (env->data) return 0;
  dr_mj_env_destroy(env);
  return -1;
}

void dr_mj_env_destroy(dr_mj_env *env) {
  if (env->data) mj_deleteData(env->data);
  free(env->before);
  memset(env, 0, sizeof *env);
}

/* A fresh mjData of room `room` in place of the old one. */
static int remake(const dr_mj_model *model, dr_mj_env *env, int32_t room) {
  if (env->data) mj_deleteData(env->data);
  env->data = dr_mj_make_data(&model->rooms[room]);
  env->room = room;
  if (env->data) return 0;
  snprintf(env->why, sizeof env->why, "no memory for its simulation");
  return -1;
}

/* ---- Stepping ---- */

typedef enum { WENT_WELL, NEEDS_ROOM, WENT_BAD } outcome;

typedef struct {
  const mjModel *model;
  mjData *data;
  const float *ctrl;
  int frames; /* 0: mj_forward */
  bool forces;
  double time;    /* simulated, when the step that runs began */
  bool last_room; /* there is no larger one: then MuJoCo leaves contacts out, as it does for everybody */
  outcome result;
} step_call;

/* MuJoCo notes a state that is not finite or too large, resets it and goes on; so does a control, with 0 instead. */
static outcome judge(const step_call *call) {
  const mjWarningStat *w = call->data->warning;
  if (dr_mj_is_bad(call->data, 0, NULL, 0)) return WENT_BAD;
  if (!call->last_room && (w[mjWARN_CONTACTFULL].number || w[mjWARN_CNSTRFULL].number)) return NEEDS_ROOM;
  return WENT_WELL;
}

static void step_body(void *context) {
  step_call *call = context;
  for (int i = 0; i < call->model->nu && call->ctrl; i++) call->data->ctrl[i] = (double)call->ctrl[i];
  call->time = call->data->time;
  if (call->frames == 0) mj_forward(call->model, call->data);
  call->result = judge(call);
  for (int frame = 0; frame < call->frames && call->result == WENT_WELL; frame++) {
    call->time = call->data->time;
    mj_step(call->model, call->data);
    call->result = judge(call);
  }
  if (call->forces && call->result == WENT_WELL) mj_rnePostConstraint(call->model, call->data);
}

static bool is_about_room(const char *error) { return strcasestr(error, "stack") || strcasestr(error, "insufficient"); }

/* Until it goes well or bad; more room means from the beginning again. */
static int run(const dr_mj_model *model, dr_mj_env *env, step_call *call) {
  if (!env->data && remake(model, env, env->room)) return -1; /* an earlier one found no memory */
  dr_mj_get_state(model->compiled, env->data, env->before);
  for (;;) {
    const bool last = env->room == model->num_rooms - 1;
    call->model = &model->rooms[env->room];
    call->data = env->data;
    call->last_room = last;
    const bool returned = dr_mj_guard(step_body, call);
    if (returned && call->result == WENT_WELL) return 0;
    const bool needs_room = returned ? call->result == NEEDS_ROOM : !last && is_about_room(dr_mj_error());
    if (!needs_room) {
      if (returned) {
        dr_mj_is_bad(env->data, call->time, env->why, sizeof env->why);
      } else if (remake(model, env, env->room) == 0) { /* what an error leaves behind is in no known state */
        snprintf(env->why, sizeof env->why, "%s", dr_mj_error());
      }
      return -1;
    }
    if (remake(model, env, env->room + 1)) return -1;
    dr_mj_set_state(model->compiled, env->data, env->before);
  }
}

int dr_mj_env_clear(const dr_mj_model *model, dr_mj_env *env) {
  if (!env->data && remake(model, env, env->room)) return -1;
  mj_resetData(&model->rooms[env->room], env->data);
  return 0;
}

int dr_mj_env_forward(const dr_mj_model *model, dr_mj_env *env) {
  step_call call = {.frames = 0};
  return run(model, env, &call);
}

int dr_mj_env_step(const dr_mj_model *model, dr_mj_env *env, const float *ctrl, int frames, bool forces) {
  for (int i = 0; i < model->compiled->nu; i++) {
    if (isfinite(ctrl[i])) continue;
    snprintf(env->why, sizeof env->why, "action[%d] is %s", i, isnan(ctrl[i]) ? "nan" : ctrl[i] > 0 ? "inf" : "-inf");
    return -1;
  }
  step_call call = {.ctrl = ctrl, .frames = frames, .forces = forces};
  return run(model, env, &call);
}

/* ---- State ---- */

/* By way of `before`, which is aligned and free between steps. */
void dr_mj_env_save(const dr_mj_model *model, const dr_mj_env *env, void *state) {
  const size_t bytes = (size_t)model->state_size * sizeof(mjtNum);
  if (env->data)
    dr_mj_get_state(model->compiled, env->data, env->before);
  else
    memset(env->before, 0, bytes); /* no memory was left for it: its next step fails too */
  memcpy(state, env->before, bytes);
}

void dr_mj_env_load(const dr_mj_model *model, dr_mj_env *env, const void *state) {
  if (dr_mj_env_clear(model, env)) return; /* no memory: the next step says so */
  memcpy(env->before, state, (size_t)model->state_size * sizeof(mjtNum));
  dr_mj_set_state(model->compiled, env->data, env->before);
}
