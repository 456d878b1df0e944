/* mujoco_stepper.c: one env of a MuJoCo type for mujoco_parity.py, which compiles this file with env/mujoco into a
 * shared object and calls it by ctypes. Built against the MuJoCo that Python loads, so that both sides run the same
 * engine. */
#include "env/mujoco/task.h"
#include "env/registry.h"

#define EXPORT __attribute__((visibility("default")))

typedef struct {
  const drover_env_type *type;
  drover_env_spec spec;
  void *shared;
  dr_mj_env env;
  uint64_t counter;
  char message[512];
} stepper;

EXPORT int stepper_mujoco_version(void);
EXPORT stepper *stepper_open(const char *name);
EXPORT const char *stepper_message(const stepper *s);
EXPORT int stepper_sizes(const stepper *s, int sizes[6]);
EXPORT void stepper_bounds(const stepper *s, float *low, float *high);
EXPORT const char *stepper_info_name(const stepper *s, int index);
EXPORT void stepper_save_model(const stepper *s, const char *path);
EXPORT int stepper_reset(stepper *s, uint64_t episode, float *observation);
EXPORT void stepper_get(stepper *s, double *state);
EXPORT void stepper_set(stepper *s, const double *state);
EXPORT void stepper_qpos_qvel(const stepper *s, double *out);
EXPORT int stepper_step(stepper *s, const float *action, float *observation, float *reward, uint8_t *flags,
                        float *infos);
EXPORT void stepper_close(stepper *s);

#define TABLE_ENTRY(table) &table,
static const drover_env_type *const types[] = {DR_MUJOCO_ENVS(TABLE_ENTRY)};

int stepper_mujoco_version(void) { return mj_version(); }

/* NULL if the type cannot be opened: its words go to stderr. */
stepper *stepper_open(const char *name) {
  stepper *s = calloc(1, sizeof *s);
  if (!s) abort();
  const drover_env_args none = {0, NULL};
  s->spec.size = sizeof s->spec;
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    if (strcmp(types[i]->name, name) == 0) s->type = types[i];
  if (s->type && s->type->open(&none, &s->spec, &s->shared, s->message, sizeof s->message) == 0 &&
      s->type->create(s->shared, &s->env, 0) == 0)
    return s;
  fprintf(stderr, "%s: %s\n", name, s->type ? s->message : "no such type");
  free(s);
  return NULL;
}

static const dr_mj_world *world(const stepper *s) { return s->shared; }

/* Observation, action, infos, state numbers (place included), time limit, bytes an env. */
int stepper_sizes(const stepper *s, int sizes[6]) {
  const int values[] = {s->spec.observation_size,  s->spec.action_size,
                        s->spec.num_infos,         (int)(s->spec.save_size / sizeof(double)),
                        s->spec.max_episode_steps, (int)(s->spec.state_size + s->spec.memory_bytes)};
  memcpy(sizes, values, sizeof values);
  return 0;
}

void stepper_bounds(const stepper *s, float *low, float *high) {
  memcpy(low, s->spec.action_low, sizeof(float) * (size_t)s->spec.action_size);
  memcpy(high, s->spec.action_high, sizeof(float) * (size_t)s->spec.action_size);
}

const char *stepper_info_name(const stepper *s, int index) { return s->spec.info_names[index]; }

void stepper_save_model(const stepper *s, const char *path) { mj_saveModel(world(s)->model.compiled, path, NULL, 0); }

int stepper_reset(stepper *s, uint64_t episode, float *observation) {
  const drover_env_rows rows = {
      .count = 1, .seed = 1, .purpose = DROVER_RANDOM_RESET, .counters = &episode, .observations = observation};
  return s->type->reset(s->shared, &s->env, &rows);
}

/* Two numbers of place, then MuJoCo's integration state. */
void stepper_get(stepper *s, double *state) { s->type->save(s->shared, &s->env, state); }
void stepper_set(stepper *s, const double *state) { s->type->load(s->shared, &s->env, state); }

void stepper_qpos_qvel(const stepper *s, double *out) {
  const mjModel *m = world(s)->model.compiled;
  memcpy(out, s->env.data->qpos, sizeof(double) * (size_t)m->nq);
  memcpy(out + m->nq, s->env.data->qvel, sizeof(double) * (size_t)m->nv);
}

int stepper_step(stepper *s, const float *action, float *observation, float *reward, uint8_t *flags, float *infos) {
  flags[0] = flags[1] = 0;
  const drover_env_rows rows = {.count = 1,
                                .counters = &s->counter,
                                .actions = action,
                                .observations = observation,
                                .rewards = reward,
                                .terminated = &flags[0],
                                .truncated = &flags[1],
                                .infos = infos};
  return s->type->step(s->shared, &s->env, &rows);
}

void stepper_close(stepper *s) {
  s->type->destroy(s->shared, &s->env);
  s->type->close(s->shared);
  free(s);
}
