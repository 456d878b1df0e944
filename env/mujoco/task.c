/* task.c: what all MuJoCo env types have in common: arguments, the model, an env's life and its steps. */
#include "env/mujoco/task.h"

#include <errno.h>

#include "env/mujoco/models.h"

/* ---- Arguments ---- */

typedef enum { TEXT, NUMBER, WHOLE, FLAG, RANGE } option_kind;

#define OPTION(kind, field) \
  { #field, kind, offsetof(dr_mj_config, field) }
static const struct {
  const char *key;
  option_kind kind;
  size_t offset;
} options[] = {OPTION(TEXT, xml_file),
               OPTION(TEXT, model),
               OPTION(TEXT, main_body),
               OPTION(TEXT, reward),
               OPTION(TEXT, healthy),
               OPTION(WHOLE, frame_skip),
               OPTION(WHOLE, max_episode_steps),
               OPTION(NUMBER, forward_reward_weight),
               OPTION(NUMBER, ctrl_cost_weight),
               OPTION(NUMBER, contact_cost_weight),
               OPTION(NUMBER, impact_cost_weight),
               OPTION(NUMBER, uph_cost_weight),
               OPTION(NUMBER, reward_near_weight),
               OPTION(NUMBER, reward_dist_weight),
               OPTION(NUMBER, reward_control_weight),
               OPTION(NUMBER, healthy_reward),
               OPTION(NUMBER, reset_noise_scale),
               OPTION(RANGE, healthy_z_range),
               OPTION(RANGE, healthy_angle_range),
               OPTION(RANGE, healthy_state_range),
               OPTION(RANGE, contact_force_range),
               OPTION(RANGE, contact_cost_range),
               OPTION(RANGE, impact_cost_range),
               OPTION(FLAG, terminate_when_unhealthy),
               OPTION(FLAG, exclude_current_positions_from_observation),
               OPTION(FLAG, include_cinert_in_observation),
               OPTION(FLAG, include_cvel_in_observation),
               OPTION(FLAG, include_qfrc_actuator_in_observation),
               OPTION(FLAG, include_cfrc_ext_in_observation)};

/* Each parser returns what a text should have been, or NULL if it was that. */
static const char *parse_number(const char *text, double *out) {
  char *end;
  *out = strtod(text, &end);
  return end != text && *end == '\0' && isfinite(*out) ? NULL : "a number";
}

static const char *parse_whole(const char *text, int32_t *out) {
  double number;
  const bool good = !parse_number(text, &number) && number >= 0 && number <= 1e9 && number == floor(number);
  *out = good ? (int32_t)number : 0;
  return good ? NULL : "a whole number, 0 or more";
}

static const char *parse_flag(const char *text, bool *out) {
  *out = !strcmp(text, "true") || !strcmp(text, "1");
  return *out || !strcmp(text, "false") || !strcmp(text, "0") ? NULL : "true or false";
}

/* LOW:HIGH; a comma would end the argument. inf and -inf are numbers here. */
static const char *parse_range(const char *text, dr_mj_range *out) {
  char *middle, *end;
  out->low = strtod(text, &middle);
  if (middle == text || *middle != ':') return "LOW:HIGH, two numbers";
  out->high = strtod(middle + 1, &end);
  return end != middle + 1 && *end == '\0' && out->low <= out->high ? NULL : "LOW:HIGH, two numbers in this order";
}

static const char *parse_option(option_kind kind, const char *text, void *out) {
  switch (kind) {
    case NUMBER:
      return parse_number(text, out);
    case WHOLE:
      return parse_whole(text, out);
    case FLAG:
      return parse_flag(text, out);
    case RANGE:
      return parse_range(text, out);
    case TEXT:
      *(const char **)out = text;
      break;
  }
  return NULL;
}

static int parse_args(const drover_env_arg_info *infos, const drover_env_args *args, dr_mj_config *config,
                      char *message, size_t message_size) {
  for (const drover_env_arg_info *info = infos; info->key; info++) {
    size_t i = 0;
    while (strcmp(options[i].key, info->key) != 0) i++; /* the table has all keys: the tests open every type */
    const char *text = drover_env_arg_string(args, info->key, info->default_value ? info->default_value : "");
    const char *wanted = parse_option(options[i].kind, text, (char *)config + options[i].offset);
    if (!wanted) continue;
    snprintf(message, message_size, "%s must be %s, got '%.80s'", info->key, wanted, text);
    return -1;
  }
  if (config->frame_skip >= 1 && config->frame_skip <= 100000) return 0;
  snprintf(message, message_size, "frame_skip must be 1..100000, got %d", (int)config->frame_skip);
  return -1;
}

/* ---- Opening ---- */

static mjModel *load_builtin(const char *name, char *error, size_t error_size) {
  for (const dr_mj_text *t = dr_mj_texts; t->name; t++)
    if (strcmp(t->name, name) == 0) return dr_mj_load_model(NULL, t->text, t->size, error, error_size);
  snprintf(error, error_size, "no built-in model is called %s", name);
  return NULL;
}

static mjModel *load(const dr_mj_world *world, char *message, size_t message_size) {
  const dr_mj_config *config = &world->config;
  const char *path = world->task->model ? config->xml_file : config->model;
  char error[DR_MJ_TEXT];
  if (!path[0] && !world->task->model) {
    snprintf(message, message_size, "model=FILE.xml must be given (--env-arg model=FILE.xml)");
    return NULL;
  }
  FILE *file = path[0] ? fopen(path, "re") : NULL;
  if (path[0] && !file) {
    snprintf(message, message_size, "%.300s: cannot read the model: %s", path, strerror(errno));
    return NULL;
  }
  if (file) fclose(file);
  mjModel *m = path[0] ? dr_mj_load_model(path, NULL, 0, error, sizeof error)
                       : load_builtin(world->task->model, error, sizeof error);
  if (!m && path[0])
    snprintf(message, message_size, "%.300s: cannot load the model: %s", path, error);
  else if (!m)
    snprintf(message, message_size, "cannot load the built-in model: %s", error);
  return m;
}

/* The parts that the task reads. */
static int check_model(dr_mj_world *world, char *message, size_t message_size) {
  const mjModel *m = world->model.compiled;
  const dr_mj_task *task = world->task;
  if (m->nu < 1) {
    snprintf(message, message_size, "the model has no actuators: an env needs at least one (<actuator> in MJCF)");
    return -1;
  }
  if (m->nu > 65536) {
    snprintf(message, message_size, "the model has %d actuators; at most 65536 are possible", (int)m->nu);
    return -1;
  }
  if (m->nq < task->min_nq || m->nv < task->min_nv) {
    snprintf(message, message_size,
             "the task needs a model of %d positions and %d velocities or more, this has %d and %d", (int)task->min_nq,
             (int)task->min_nv, (int)m->nq, (int)m->nv);
    return -1;
  }
  for (int32_t i = 0; task->bodies && task->bodies[i]; i++) {
    world->body[i] = mj_name2id(m, mjOBJ_BODY, task->bodies[i]);
    if (world->body[i] >= 0) continue;
    snprintf(message, message_size, "the model has no body called '%s', which the task watches", task->bodies[i]);
    return -1;
  }
  return 0;
}

static int find_bounds(dr_mj_world *world) {
  const mjModel *m = world->model.compiled;
  world->action_low = malloc(2 * (size_t)m->nu * sizeof(float));
  if (!world->action_low) return -1;
  world->action_high = world->action_low + m->nu;
  for (int i = 0; i < m->nu; i++) {
    const bool limited = m->actuator_ctrllimited[i];
    world->action_low[i] = limited ? (float)m->actuator_ctrlrange[2 * i] : -INFINITY;
    world->action_high[i] = limited ? (float)m->actuator_ctrlrange[2 * i + 1] : INFINITY;
  }
  return 0;
}

static int fill_world(dr_mj_world *world, char *message, size_t message_size) {
  mjModel *compiled = load(world, message, message_size);
  if (!compiled) return -1;
  if (dr_mj_model_open(&world->model, compiled)) {
    snprintf(message, message_size, "no memory for the simulation: %s", dr_mj_error());
    return -1;
  }
  world->step_time = compiled->opt.timestep * world->config.frame_skip;
  for (int b = 0; b < compiled->nbody; b++) world->total_mass += compiled->body_mass[b];
  if (check_model(world, message, message_size)) return -1;
  if (world->task->prepare && world->task->prepare(world, message, message_size)) return -1;
  if (find_bounds(world) == 0) return 0;
  snprintf(message, message_size, "no memory for the action bounds");
  return -1;
}

int dr_mj_open(const dr_mj_task *task, const drover_env_args *args, drover_env_spec *spec, void **shared, char *message,
               size_t message_size) {
  if (mj_version() != mjVERSION_HEADER) {
    snprintf(message, message_size,
             "Drover was built for MuJoCo %d but %d is loaded: rebuild it, or set LD_LIBRARY_PATH", mjVERSION_HEADER,
             mj_version());
    return -1;
  }
  dr_mj_install_handlers();
  dr_mj_world *world = calloc(1, sizeof *world);
  if (!world) {
    snprintf(message, message_size, "no memory for the task");
    return -1;
  }
  world->task = task;
  world->config.max_episode_steps = task->max_episode_steps;
  if (parse_args(task->arg_infos, args, &world->config, message, message_size) ||
      fill_world(world, message, message_size)) {
    dr_mj_close(world);
    return -1;
  }
  *shared = world;
  spec->observation_size = task->observation_size(world);
  spec->action_kind = DROVER_ACTION_CONTINUOUS;
  spec->action_size = (int32_t)world->model.compiled->nu;
  spec->action_low = world->action_low;
  spec->action_high = world->action_high;
  spec->max_episode_steps = world->config.max_episode_steps;
  spec->state_size = sizeof(dr_mj_env);
  spec->state_align = 8;
  spec->num_infos = task->num_infos;
  spec->info_names = task->info_names;
  spec->save_size = sizeof((dr_mj_env *)0)->place + (size_t)world->model.state_size * sizeof(mjtNum);
  spec->memory_bytes = world->model.data_bytes;
  return 0;
}

void dr_mj_close(void *shared) {
  dr_mj_world *world = shared;
  dr_mj_model_close(&world->model);
  free(world->action_low);
  free(world->own);
  free(world);
}

/* ---- An env ---- */

int dr_mj_create(void *shared, void *state, int32_t env) {
  (void)env;
  const dr_mj_world *world = shared;
  return dr_mj_env_create(&world->model, state);
}

void dr_mj_destroy(void *shared, void *state) {
  (void)shared;
  dr_mj_env_destroy(state);
}

int dr_mj_reset(void *shared, void *state, const drover_env_rows *rows) {
  const dr_mj_world *world = shared;
  dr_mj_env *env = state;
  drover_random random = drover_env_random(rows, 0);
  if (dr_mj_env_clear(&world->model, env)) return -1;
  world->task->draw(world, env->data, &random);
  if (dr_mj_env_forward(&world->model, env)) return -1;
  if (world->task->locate) world->task->locate(world, env->data, env->place);
  world->task->observe(world, env->data, rows->observations);
  return 0;
}

int dr_mj_step_env(void *shared, void *state, const drover_env_rows *rows) {
  const dr_mj_world *world = shared;
  const dr_mj_task *task = world->task;
  dr_mj_env *env = state;
  if (dr_mj_env_step(&world->model, env, rows->actions, world->config.frame_skip, task->needs_forces)) return -1;

  /* Where the body is: as mj_step left it, not recomputed, like Gymnasium. */
  double infos[DR_MJ_MAX_INFOS] = {0};
  const double from[2] = {env->place[0], env->place[1]};
  if (task->locate) task->locate(world, env->data, env->place);
  dr_mj_step step = {.world = world, .data = env->data, .action = rows->actions, .place = env->place, .infos = infos};
  for (int i = 0; i < 2; i++) step.velocity[i] = (env->place[i] - from[i]) / world->step_time;
  task->judge(&step);

  task->observe(world, env->data, rows->observations);
  rows->rewards[0] = (float)step.reward;
  rows->terminated[0] = step.terminated;
  for (int32_t i = 0; i < task->num_infos && rows->infos; i++) rows->infos[i] = (float)infos[i];
  return 0;
}

int dr_mj_save(void *shared, const void *state, void *bytes) {
  const dr_mj_world *world = shared;
  const dr_mj_env *env = state;
  memcpy(bytes, env->place, sizeof env->place);
  dr_mj_env_save(&world->model, env, (char *)bytes + sizeof env->place);
  return 0;
}

int dr_mj_load(void *shared, void *state, const void *bytes) {
  const dr_mj_world *world = shared;
  dr_mj_env *env = state;
  memcpy(env->place, bytes, sizeof env->place);
  dr_mj_env_load(&world->model, env, (const char *)bytes + sizeof env->place);
  return 0;
}

void dr_mj_explain(void *shared, const void *state, char *message, size_t message_size) {
  (void)shared;
  const dr_mj_env *env = state;
  snprintf(message, message_size, "%s", env->why);
}

/* ---- What several tasks do the same way ---- */

double dr_mj_normal(drover_random *random) {
  const double u = 1.0 - drover_random_uniform(random); /* in (0, 1] */
  return sqrt(-2 * log(u)) * cos(2 * M_PI * drover_random_uniform(random));
}

static void draw(const dr_mj_world *world, mjData *data, drover_random *random, bool normal) {
  const mjModel *m = world->model.compiled;
  const double scale = world->config.reset_noise_scale;
  for (int i = 0; i < m->nq; i++) data->qpos[i] += drover_random_range(random, -scale, scale);
  for (int i = 0; i < m->nv; i++)
    data->qvel[i] += normal ? scale * dr_mj_normal(random) : drover_random_range(random, -scale, scale);
}

void dr_mj_draw_uniform(const dr_mj_world *world, mjData *data, drover_random *random) {
  draw(world, data, random, false);
}

void dr_mj_draw_normal(const dr_mj_world *world, mjData *data, drover_random *random) {
  draw(world, data, random, true);
}

void dr_mj_locate_root(const dr_mj_world *world, const mjData *data, double place[2]) {
  (void)world;
  place[0] = data->qpos[0];
  place[1] = data->qpos[1];
}
