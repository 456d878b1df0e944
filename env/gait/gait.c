/* gait.c: the env type gait2d: its arguments, its model, an env's life. */
#include "env/gait/gait.h"

#include <math.h>

#include "env/gait/episode.h"
#include "env/mujoco/models.h"

extern const dr_mj_text dr_gait_texts[]; /* gait2d and normal_walking, compiled in */

static const char *const body_names[DR_GAIT_BODIES] = {"pelvis", "torso",   "femur_r", "tibia_r",
                                                       "foot_r", "femur_l", "tibia_l", "foot_l"};
static const char *const sole_names[DR_GAIT_SOLES] = {"heel_r", "toe_r", "heel_l", "toe_l"};
static const char *const param_names[] = {"target_speed", "imitation"};

/* ---- Arguments ---- */

#define TEXT(x)                                   #x
#define OPTION_INFO(name, value, low, high, help) {#name, TEXT(value), help},
static const drover_env_arg_info arg_infos[] = {
    {"reference", NULL, "CSV of joint angles to walk by (percent,hip,knee,ankle, degrees); without it normal walking"},
    {"activation", "instant", "instant, or dynamics: activations follow in 10 and 40 ms"},
    {"reset_phase", "random", "where in the cycle an episode begins, 0..1, or random"},
    DR_GAIT_OPTIONS(OPTION_INFO){NULL, NULL, NULL}};

static int parse_args(const drover_env_args *args, dr_gait_config *config, char *message, size_t size) {
#define PARSE(name, value, low, high, help) \
  if (drover_env_arg_number(args, #name, value, low, high, &config->name, message, size)) return -1;
  DR_GAIT_OPTIONS(PARSE)
#undef PARSE
  const char *phase = drover_env_arg_string(args, "reset_phase", "random");
  config->reset_phase = -1;
  if (strcmp(phase, "random") != 0) {
    char *end;
    config->reset_phase = strtod(phase, &end);
    if (end == phase || *end || !(config->reset_phase >= 0 && config->reset_phase <= 1)) {
      snprintf(message, size, "reset_phase must be random or a number in 0..1, got '%.80s'", phase);
      return -1;
    }
  }
  const char *activation = drover_env_arg_string(args, "activation", "instant");
  config->dynamics = strcmp(activation, "dynamics") == 0;
  if (!config->dynamics && strcmp(activation, "instant") != 0) {
    snprintf(message, size, "activation must be instant or dynamics, got '%.80s'", activation);
    return -1;
  }
  if (config->speed_low > config->speed_high) {
    snprintf(message, size, "speed_low must not be more than speed_high, got %g and %g", config->speed_low,
             config->speed_high);
    return -1;
  }
  if (config->speed_time > 0 && config->speed_high == 0) {
    snprintf(message, size, "speed_time needs speeds to draw: speed_low and speed_high");
    return -1;
  }
  if (config->max_episode_steps == floor(config->max_episode_steps)) return 0;
  snprintf(message, size, "max_episode_steps must be a whole number, got %g", config->max_episode_steps);
  return -1;
}

/* ---- The model ---- */

static const dr_mj_text *find_text(const char *name) {
  const dr_mj_text *t = dr_gait_texts;
  while (t->name && strcmp(t->name, name) != 0) t++;
  return t;
}

/* The same model with the muscles' activation dynamics: their dyntype is named once, in the defaults. */
static mjModel *load_dynamic(const dr_mj_text *text, char *error, size_t error_size) {
  static const char none[] = "dyntype=\"none\"", muscle[] = "dyntype=\"muscle\"";
  const char *at = memmem(text->text, text->size, none, sizeof none - 1);
  const size_t size = text->size + sizeof muscle - sizeof none;
  char *changed = at ? malloc(size) : NULL;
  if (!changed) {
    snprintf(error, error_size, at ? "no memory" : "the model does not say %s", none);
    return NULL;
  }
  const size_t before = (size_t)(at - text->text);
  memcpy(changed, text->text, before);
  memcpy(changed + before, muscle, sizeof muscle - 1);
  memcpy(changed + before + sizeof muscle - 1, at + sizeof none - 1, text->size - before - (sizeof none - 1));
  mjModel *m = dr_mj_load_model(NULL, changed, size, error, error_size);
  free(changed);
  return m;
}

static mjModel *load_model(const dr_gait_config *config, char *message, size_t size) {
  char error[DR_MJ_TEXT];
  const dr_mj_text *text = find_text("gait2d");
  mjModel *m = config->dynamics ? load_dynamic(text, error, sizeof error)
                                : dr_mj_load_model(NULL, text->text, text->size, error, sizeof error);
  if (!m) snprintf(message, size, "cannot load the built-in model: %s", error);
  return m;
}

/* Whether body `b` is moved by the joint of body `joint_body`. */
static bool is_below(const mjModel *m, int b, int joint_body) {
  while (b > joint_body) b = m->body_parentid[b]; /* parents come first */
  return b == joint_body;
}

/* Whether a muscle crosses a joint: some of its path moves with it, some does not. */
static bool crosses(const mjModel *m, int32_t muscle, int32_t joint) {
  const int tendon = m->actuator_trnid[2 * muscle], first = m->tendon_adr[tendon];
  const int joint_body = m->jnt_bodyid[DR_GAIT_ROOT + joint];
  const bool begins_below = is_below(m, m->site_bodyid[m->wrap_objid[first]], joint_body);
  for (int w = first; w < first + m->tendon_num[tendon]; w++)
    if (is_below(m, m->site_bodyid[m->wrap_objid[w]], joint_body) != begins_below) return true;
  return false;
}

/* The parts of the model that this code counts on. They are compiled in: only a change of the model can miss one. */
static int find_parts(dr_gait_world *world, char *message, size_t size) {
  const mjModel *m = world->compiled;
  int32_t found = 0;
  if (m->nq != DR_GAIT_DOFS || m->nv != DR_GAIT_DOFS || m->nu != DR_GAIT_MUSCLES) goto fail;
  if (world->state_size > DR_GAIT_MAX_STATE) goto fail;
  for (int b = 0; b < DR_GAIT_BODIES; b++)
    if ((world->body[b] = mj_name2id(m, mjOBJ_BODY, body_names[b])) < 0) goto fail;
  for (int s = 0; s < DR_GAIT_SOLES; s++)
    if ((world->sole[s] = mj_name2id(m, mjOBJ_GEOM, sole_names[s])) < 0) goto fail;
  for (int32_t joint = 0; joint < DR_GAIT_JOINTS; joint++)
    for (int32_t muscle = 0; muscle < DR_GAIT_MUSCLES; muscle++) {
      if (!crosses(m, muscle, joint)) continue;
      if (found == DR_GAIT_MOMENTS) goto fail;
      world->pair[found++] = (dr_gait_pair){joint, muscle};
    }
  if (found == DR_GAIT_MOMENTS) return 0;

fail:
  snprintf(message, size, "the built-in model does not have the parts that gait2d needs");
  return -1;
}

static int load_reference(dr_gait_world *world, const drover_env_args *args, char *message, size_t size) {
  const char *path = drover_env_arg_string(args, "reference", "");
  const dr_mj_text *text = find_text("normal_walking");
  return path[0] ? dr_gait_reference_load(&world->reference, path, message, size)
                 : dr_gait_reference_parse(&world->reference, text->text, text->size, text->name, message, size);
}

static int fill_world(dr_gait_world *world, const drover_env_args *args, char *message, size_t size) {
  if (parse_args(args, &world->config, message, size) || load_reference(world, args, message, size)) return -1;
  mjModel *compiled = load_model(&world->config, message, size);
  if (!compiled) return -1;
  if (dr_gait_model_open(world, compiled)) {
    snprintf(message, size, "no memory for the simulation: %s", dr_mj_error());
    return -1;
  }
  return find_parts(world, message, size);
}

/* ---- The table ---- */

static void gait_close(void *shared) {
  dr_gait_world *world = shared;
  if (world->compiled) mj_deleteModel(world->compiled);
  free(world);
}

static void fill_spec(dr_gait_world *world, drover_env_spec *spec) {
  for (int j = 0; j < DR_GAIT_JOINTS; j++) {
    world->action_low[j] = -10;
    world->action_high[j] = 10;
  }
  spec->observation_size = DR_GAIT_OBSERVATION;
  spec->action_kind = DROVER_ACTION_CONTINUOUS;
  spec->action_size = DR_GAIT_JOINTS;
  spec->action_low = world->action_low;
  spec->action_high = world->action_high;
  spec->max_episode_steps = (int32_t)world->config.max_episode_steps;
  spec->state_size = sizeof(dr_gait_env);
  spec->state_align = 8;
  spec->num_infos = DR_GAIT_INFOS;
  spec->info_names = dr_gait_info_names;
  spec->num_params = sizeof param_names / sizeof *param_names;
  spec->param_names = param_names;
  spec->save_size = (3 + (size_t)world->state_size) * sizeof(double);
  spec->memory_bytes = world->data_bytes;
  spec->num_ticks = DR_GAIT_TICKS;
  spec->inner_observation_size = DR_GAIT_INNER_OBSERVATION;
  spec->inner_action_size = DR_GAIT_MUSCLES;
  spec->inner_sample_size = DR_GAIT_SAMPLE;
}

static int gait_open(const drover_env_args *args, drover_env_spec *spec, void **shared, char *message, size_t size) {
  if (mj_version() != mjVERSION_HEADER) {
    snprintf(message, size, "Drover was built for MuJoCo %d but %d is loaded: rebuild it, or set LD_LIBRARY_PATH",
             mjVERSION_HEADER, mj_version());
    return -1;
  }
  dr_mj_install_handlers();
  dr_gait_world *world = calloc(1, sizeof *world);
  if (!world) {
    snprintf(message, size, "no memory for the world of gait2d");
    return -1;
  }
  if (fill_world(world, args, message, size)) {
    gait_close(world);
    return -1;
  }
  fill_spec(world, spec);
  *shared = world;
  return 0;
}

static int gait_create(void *shared, void *state, int32_t env) {
  (void)env;
  const dr_gait_world *world = shared;
  dr_gait_env *e = state;
  e->target_speed = world->config.target_speed;
  e->imitation = world->config.imitation;
  return dr_gait_env_create(world, e);
}

static void gait_destroy(void *shared, void *state) {
  (void)shared;
  dr_gait_env *env = state;
  if (env->data) mj_deleteData(env->data);
  env->data = NULL;
}

/* phase, target_speed, imitation, MuJoCo's state; at any address. The rest is made anew at the next step. */
static int gait_save(void *shared, const void *state, void *bytes) {
  const dr_gait_world *world = shared;
  const dr_gait_env *env = state;
  if (!env->data) return -1;
  double numbers[3 + DR_GAIT_MAX_STATE];
  numbers[0] = env->phase;
  numbers[1] = env->target_speed;
  numbers[2] = env->imitation;
  dr_mj_get_state(&world->model, env->data, numbers + 3);
  memcpy(bytes, numbers, (3 + (size_t)world->state_size) * sizeof(double));
  return 0;
}

static int gait_load(void *shared, void *state, const void *bytes) {
  const dr_gait_world *world = shared;
  dr_gait_env *env = state;
  double numbers[3 + DR_GAIT_MAX_STATE];
  memcpy(numbers, bytes, (3 + (size_t)world->state_size) * sizeof(double));
  env->phase = numbers[0];
  env->target_speed = numbers[1];
  env->imitation = numbers[2];
  return dr_gait_env_set_state(world, env, numbers + 3);
}

static int gait_set_param(void *shared, void *state, int32_t param, float value) {
  (void)shared;
  dr_gait_env *env = state;
  if (!isfinite(value) || value < 0) return -1;
  if (param == 0)
    env->target_speed = (double)value;
  else
    env->imitation = (double)value;
  return 0;
}

void dr_gait_look(const void *shared, const void *state, dr_gait_view *view) {
  const dr_gait_world *world = shared;
  const dr_gait_env *env = state;
  double qvel[DR_GAIT_DOFS];
  view->model = &world->model;
  view->data = env->data;
  view->phase = env->phase;
  dr_gait_reference_pose(world, env->phase, env->target_speed, view->qpos, qvel);
  if (env->data) view->qpos[0] = env->data->qpos[0];
}

static void gait_explain(void *shared, const void *state, char *message, size_t message_size) {
  (void)shared;
  const dr_gait_env *env = state;
  snprintf(message, message_size, "%s", env->why);
}

const drover_env_type dr_env_gait2d = {
    .abi_version = DROVER_ENV_ABI_VERSION,
    .size = sizeof(drover_env_type),
    .name = "gait2d",
    .summary = "a planar body walks by 18 muscles (inner policy: torques to activations)",
    .arg_infos = arg_infos,
    .open = gait_open,
    .close = gait_close,
    .create = gait_create,
    .destroy = gait_destroy,
    .reset = dr_gait_reset,
    .step = dr_gait_finish,
    .save = gait_save,
    .load = gait_load,
    .set_param = gait_set_param,
    .begin = dr_gait_begin,
    .tick = dr_gait_tick,
    .draw_sample = dr_gait_draw_sample,
    .explain = gait_explain};
