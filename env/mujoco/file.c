/* file.c: the env type `mujoco`: any MJCF file as a task.
 *
 * Observed are qpos, qvel and sensordata, in this order; controls are the actuators', within their ctrlrange. The
 * reward is a weighted sum of named quantities (reward=forward:1+effort:-0.01), an episode ends where a named quantity
 * leaves its range (healthy=qpos[2]:0.8:2); without them it is 0 and never. A quantity is a sensor by its name (of one
 * number, or `name[i]`), qpos[i] or qvel[i]. */
#include "env/mujoco/task.h"

enum { MAX_TERMS = 64 };

/* A quantity is one number of the observation: its index there. */
typedef struct {
  int32_t index;
  double weight;     /* of a reward's term */
  dr_mj_range range; /* of a healthy's */
} term;

typedef struct {
  int32_t num_rewards, num_healthy;
  term rewards[MAX_TERMS], healthy[MAX_TERMS];
} file_terms;

static int32_t file_size(const dr_mj_world *world) {
  const mjModel *m = world->model.compiled;
  return (int32_t)(m->nq + m->nv + m->nsensordata);
}

/* ---- The arguments ---- */

/* NAME or NAME[i]: the index of that number in the observation, or -1 and a sentence. */
static int32_t find_quantity(const mjModel *m, const char *text, size_t length, char *message, size_t message_size) {
  char name[104];
  snprintf(name, sizeof name, "%.*s", (int)length, text);
  char *bracket = strchr(name, '[');
  long element = 0;
  if (bracket) {
    char *end;
    element = strtol(bracket + 1, &end, 10);
    if (end == bracket + 1 || strcmp(end, "]") != 0 || element < 0) element = -1;
    *bracket = '\0';
  }

  int64_t first = 0, count = 0;
  const int sensor = mj_name2id(m, mjOBJ_SENSOR, name);
  if (strcmp(name, "qpos") == 0) {
    count = m->nq;
  } else if (strcmp(name, "qvel") == 0) {
    first = m->nq;
    count = m->nv;
  } else if (sensor >= 0) {
    first = m->nq + m->nv + m->sensor_adr[sensor];
    count = m->sensor_dim[sensor];
  }
  if (count == 0)
    snprintf(message, message_size, "the model has no sensor called '%s' (qpos[i] and qvel[i] can be named too)", name);
  else if (!bracket && count > 1)
    snprintf(message, message_size, "'%s' has %d numbers: say which, %s[0] to %s[%d]", name, (int)count, name, name,
             (int)count - 1);
  else if (element < 0 || element >= count)
    snprintf(message, message_size, "'%.*s' is none of the %d numbers of %s", (int)length, text, (int)count, name);
  else
    return (int32_t)(first + element);
  return -1;
}

/* NAME:NUMBER or NAME:NUMBER:NUMBER terms with + between them. */
static int parse_terms(const mjModel *m, const char *key, const char *text, bool ranges, term *terms,
                       int32_t *num_terms, char *message, size_t message_size) {
  for (*num_terms = 0; *text; ++*num_terms) {
    const size_t length = strcspn(text, ":+");
    if (*num_terms == MAX_TERMS || length == 0 || length > 100 || text[length] != ':') goto malformed;
    term *t = &terms[*num_terms];
    char reason[400];
    t->index = find_quantity(m, text, length, reason, sizeof reason);
    if (t->index < 0) {
      snprintf(message, message_size, "%s: %s", key, reason);
      return -1;
    }
    text += length + 1;
    char *end;
    t->weight = t->range.low = strtod(text, &end);
    if (end == text) goto malformed;
    if (ranges) {
      if (*end != ':') goto malformed;
      text = end + 1;
      t->range.high = strtod(text, &end);
      if (end == text || !(t->range.low < t->range.high)) goto malformed;
    } else if (!isfinite(t->weight)) {
      goto malformed;
    }
    if (*end == '+' && end[1])
      end++;
    else if (*end)
      goto malformed;
    text = end;
  }
  return 0;

malformed:
  snprintf(message, message_size, "%s must be %s, with + between up to %d of them; it is wrong at '%.60s'", key,
           ranges ? "NAME:LOW:HIGH" : "NAME:WEIGHT", MAX_TERMS, text);
  return -1;
}

static int file_prepare(dr_mj_world *world, char *message, size_t message_size) {
  file_terms *terms = calloc(1, sizeof *terms);
  if (!terms) {
    snprintf(message, message_size, "no memory for its terms");
    return -1;
  }
  world->own = terms;
  const mjModel *m = world->model.compiled;
  const int64_t size = (int64_t)m->nq + m->nv + m->nsensordata;
  if (size < 1 || size > 1048576) {
    snprintf(message, message_size,
             "the model has %lld positions, velocities and sensor numbers; 1..1048576 are possible", (long long)size);
    return -1;
  }
  const dr_mj_config *config = &world->config;
  return parse_terms(m, "reward", config->reward, false, terms->rewards, &terms->num_rewards, message, message_size) ||
                 parse_terms(m, "healthy", config->healthy, true, terms->healthy, &terms->num_healthy, message,
                             message_size)
             ? -1
             : 0;
}

/* ---- Steps ---- */

static void file_observe(const dr_mj_world *world, const mjData *data, float *o) {
  const mjModel *m = world->model.compiled;
  o = dr_mj_put(o, data->qpos, (int32_t)m->nq);
  o = dr_mj_put(o, data->qvel, (int32_t)m->nv);
  dr_mj_put(o, data->sensordata, (int32_t)m->nsensordata);
}

static double quantity(const mjModel *m, const mjData *data, int32_t index) {
  if (index < m->nq) return data->qpos[index];
  index -= (int32_t)m->nq;
  return index < m->nv ? data->qvel[index] : data->sensordata[index - m->nv];
}

static void file_judge(dr_mj_step *step) {
  const mjModel *m = step->world->model.compiled;
  const file_terms *terms = step->world->own;
  for (int32_t i = 0; i < terms->num_rewards; i++)
    step->reward += terms->rewards[i].weight * quantity(m, step->data, terms->rewards[i].index);
  for (int32_t i = 0; i < terms->num_healthy; i++)
    step->terminated |= !dr_mj_inside(quantity(m, step->data, terms->healthy[i].index), terms->healthy[i].range);
}

static const drover_env_arg_info file_args[] = {
    {"model", NULL, "path of an MJCF (or URDF) file; must be given"},
    DR_MJ_ARG_FRAME_SKIP("1"),
    {"reward", NULL, "NAME:WEIGHT+...: sensors, qpos[i] or qvel[i]; without it 0"},
    {"healthy", NULL, "NAME:LOW:HIGH+...: an episode ends outside; without it never"},
    {"reset_noise_scale", "0", "size of the random change of the first positions and velocities"},
    {"max_episode_steps", "1000", "time limit in steps, 0 for none"},
    {NULL, NULL, NULL}};

static const dr_mj_task file = {.arg_infos = file_args,
                                .prepare = file_prepare,
                                .observation_size = file_size,
                                .draw = dr_mj_draw_uniform,
                                .observe = file_observe,
                                .judge = file_judge};

DR_MJ_ENV(dr_env_mujoco, "mujoco", file, "any MuJoCo model: --env-arg model=FILE.xml");
