/* sim.c: an env's mjData: made with the room that the walker can need at most, placed, advanced by ticks. */
#include <math.h>
#include <stdio.h>

#include "env/gait/gait.h"

/* ---- Room ---- */

typedef struct {
  const mjModel *model;
  mjData *data;
} probe_call;

/* The most that can come: all soles in the ground, all joints beyond a limit. */
static void probe_body(void *context) {
  const probe_call *call = context;
  const mjModel *m = call->model;
  call->data->qpos[1] = -1;
  for (int i = DR_GAIT_ROOT; i < DR_GAIT_DOFS; i++) call->data->qpos[i] = m->jnt_range[2 * i + 1] + 0.01;
  for (int i = 0; i < m->nu; i++) call->data->ctrl[i] = 1;
  mj_step1(m, call->data);
  mj_step2(m, call->data);
}

int dr_gait_model_open(dr_gait_world *world, mjModel *compiled) {
  world->compiled = compiled;
  world->state_size = dr_mj_state_size(compiled);
  probe_call probe = {.model = compiled, .data = dr_mj_make_data(compiled)};
  if (!probe.data || !dr_mj_guard(probe_body, &probe)) goto fail;
  world->model = dr_mj_model_with_room(compiled, dr_mj_room_used(probe.data));
  mj_deleteData(probe.data);
  probe.data = dr_mj_make_data(&world->model);
  if (!probe.data) goto fail;
  world->data_bytes = dr_mj_data_bytes(probe.data);
  mj_deleteData(probe.data);
  return 0;

fail:
  if (probe.data) mj_deleteData(probe.data);
  return -1;
}

/* ---- An env ---- */

/* The env has failed, and this is why. */
static int fail(dr_gait_env *env, const char *why) {
  snprintf(env->why, sizeof env->why, "%s", why);
  return -1;
}

int dr_gait_env_create(const dr_gait_world *world, dr_gait_env *env) {
  env->data = dr_mj_make_data(&world->model);
  return env->data ? 0 : fail(env, "no memory for its simulation");
}

/* Every way in which MuJoCo says that it did not do what was asked. */
static bool went_well(const mjData *data) {
  static const int bad[] = {mjWARN_BADQPOS, mjWARN_BADQVEL,     mjWARN_BADQACC,
                            mjWARN_BADCTRL, mjWARN_CONTACTFULL, mjWARN_CNSTRFULL};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    if (data->warning[bad[i]].number) return false;
  return true;
}

typedef struct {
  const mjModel *model;
  mjData *data;
} sim_call;

/* body(call) in a guard; what an error leaves behind is in no known state: a fresh mjData takes its place. */
static int run(const dr_gait_world *world, dr_gait_env *env, void (*body)(void *)) {
  sim_call call = {&world->model, env->data};
  const double time = env->data->time; /* MuJoCo resets it with a bad state */
  if (dr_mj_guard(body, &call)) {
    if (went_well(env->data)) return 0;
    if (!dr_mj_is_bad(env->data, time, env->why, sizeof env->why)) fail(env, "more contacts than it has room for");
    return -1;
  }
  mj_deleteData(env->data);
  env->data = dr_mj_make_data(&world->model);
  return fail(env, dr_mj_error());
}

static void first_half(void *context) {
  const sim_call *call = context;
  mj_step1(call->model, call->data);
}

static void both_halves(void *context) {
  const sim_call *call = context;
  mj_step2(call->model, call->data);
  mj_step1(call->model, call->data);
}

static int make_initial(const dr_gait_world *world, dr_gait_env *env) {
  if (!env->data && dr_gait_env_create(world, env)) return -1;
  mj_resetData(&world->model, env->data);
  return 0;
}

int dr_gait_env_place(const dr_gait_world *world, dr_gait_env *env, const double qpos[DR_GAIT_DOFS],
                      const double qvel[DR_GAIT_DOFS]) {
  if (make_initial(world, env)) return -1;
  memcpy(env->data->qpos, qpos, DR_GAIT_DOFS * sizeof *qpos);
  memcpy(env->data->qvel, qvel, DR_GAIT_DOFS * sizeof *qvel);
  return run(world, env, first_half);
}

int dr_gait_env_set_state(const dr_gait_world *world, dr_gait_env *env, const mjtNum *state) {
  if (make_initial(world, env)) return -1;
  dr_mj_set_state(&world->model, env->data, state);
  return run(world, env, first_half);
}

int dr_gait_env_tick(const dr_gait_world *world, dr_gait_env *env, const float activation[DR_GAIT_MUSCLES]) {
  if (!env->data) return fail(env, "no memory for its simulation");
  double squares = 0;
  for (int i = 0; i < DR_GAIT_MUSCLES; i++) {
    if (!isfinite(activation[i])) return fail(env, "an activation is not finite");
    const double a = fmin(fmax((double)activation[i], 0), 1);
    env->data->ctrl[i] = a;
    squares += a * a;
  }
  if (run(world, env, both_halves)) return -1;
  env->effort += squares / DR_GAIT_MUSCLES;
  for (int j = 0; j < DR_GAIT_JOINTS; j++) {
    const double error = env->data->qfrc_actuator[DR_GAIT_ROOT + j] - env->torque[j]; /* as mj_step2 left it */
    env->torque_error += error * error;
  }
  return 0;
}
