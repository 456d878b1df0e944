/* options_env.c: env tables and specs: what a plugin may hand over. */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/options.h"
#include "tests/support/check.h"

static drover_env_spec opened_spec; /* what `open` of the table below gives */
static const char *const some_names[8192] = {"first", "second"};
static const float few_low[4] = {-1, -1, -1, -1}, few_high[4] = {1, 1, 1, 1};

static int wild_open(const drover_env_args *args, drover_env_spec *out, void **shared, char *message, size_t size) {
  (void)args, (void)shared, (void)message, (void)size;
  const uint32_t bytes = out->size;
  *out = opened_spec;
  if (opened_spec.size == sizeof opened_spec) out->size = bytes;
  return 0;
}
static int wild_reset(void *shared, void *state, const drover_env_rows *rows) {
  (void)shared, (void)state;
  rows->observations[0] = 0;
  return 0;
}
static int wild_step(void *shared, void *state, const drover_env_rows *rows) {
  (void)shared, (void)state;
  rows->observations[0] = rows->rewards[0] = 0;
  return 0;
}
static int wild_save(void *shared, const void *state, void *bytes) {
  (void)shared, (void)state;
  memset(bytes, 1, opened_spec.save_size);
  return 0;
}
static int wild_load(void *shared, void *state, const void *bytes) {
  (void)shared, (void)state;
  unsigned char sum = 0;
  for (size_t i = 0; i < opened_spec.save_size; i++) sum ^= ((const unsigned char *)bytes)[i];
  return sum > 1;
}
static int wild_set_param(void *shared, void *state, int32_t param, float value) {
  (void)shared, (void)state, (void)value;
  return param > 1;
}
static int wild_tick(void *shared, void *state, const drover_env_tick *tick) {
  (void)shared, (void)state;
  for (int32_t i = 0; i < opened_spec.inner_observation_size && tick->inner_observation; i++)
    tick->inner_observation[i] = 0;
  return 0;
}

static const drover_env_type wild_type = {.abi_version = DROVER_ENV_ABI_VERSION,
                                          .size = sizeof wild_type,
                                          .name = "wild",
                                          .open = wild_open,
                                          .reset = wild_reset,
                                          .step = wild_step,
                                          .save = wild_save,
                                          .load = wild_load,
                                          .set_param = wild_set_param,
                                          .begin = wild_tick,
                                          .tick = wild_tick};

/* A batch of the type: saved, loaded, a parameter set, seen. */
static drover_status use_type(const drover_env_type *type) {
  drover_batch_options options;
  OK(drover_batch_options_init(&options, sizeof options));
  options.num_envs = 2;
  drover_batch *made = NULL;
  const drover_status status = drover_batch_create(&made, world.runtime, type, &options);
  if (status) return status;
  size_t size = 0;
  if (drover_batch_save(made, NULL, &size) == DROVER_OK && size < 1u << 28) {
    void *bytes = malloc(size);
    if (bytes && drover_batch_save(made, bytes, &size) == DROVER_OK) drover_batch_load(made, bytes, size);
    free(bytes);
  }
  if (opened_spec.num_params > 0) OK(drover_batch_set_param(made, "first", NULL, 1));
  return drover_batch_destroy(made);
}

static void table_init(void *o) {
  *(drover_env_type *)o = wild_type;
  opened_spec = (drover_env_spec){.size = sizeof opened_spec,
                                  .observation_size = 1,
                                  .action_kind = DROVER_ACTION_CONTINUOUS,
                                  .action_size = 4,
                                  .action_low = few_low,
                                  .action_high = few_high,
                                  .state_size = 16,
                                  .num_infos = 2,
                                  .info_names = some_names,
                                  .num_params = 2,
                                  .param_names = some_names,
                                  .save_size = 8};
}
static drover_status table_use(void *o) { return use_type(o); }
static const field table_fields[] = {FIELD(drover_env_type, abi_version, INT32), FIELD(drover_env_type, size, INT32),
                                     FIELD(drover_env_type, name, POINTER),      FIELD(drover_env_type, open, POINTER),
                                     FIELD(drover_env_type, reset, POINTER),     FIELD(drover_env_type, step, POINTER),
                                     FIELD(drover_env_type, save, POINTER),      FIELD(drover_env_type, load, POINTER),
                                     FIELD(drover_env_type, set_param, POINTER), {0}};

static void spec_init(void *o) {
  drover_env_type scratch;
  table_init(&scratch);
  *(drover_env_spec *)o = opened_spec;
}
static drover_status spec_use(void *o) {
  opened_spec = *(const drover_env_spec *)o;
  /* Sizes that are allowed come with arrays that fit; some GB of state are not touched. */
  if (opened_spec.action_size > 4 && opened_spec.action_size <= 65536) return DROVER_OK;
  if (opened_spec.state_size > 1 << 24 && opened_spec.state_size <= (size_t)1 << 32) return DROVER_OK;
  return use_type(&wild_type);
}
static const field spec_fields[] = {FIELD(drover_env_spec, size, INT32),
                                    FIELD(drover_env_spec, observation_size, INT32),
                                    FIELD(drover_env_spec, action_kind, INT32),
                                    FIELD(drover_env_spec, action_size, INT32),
                                    FIELD(drover_env_spec, num_actions, INT32),
                                    FIELD(drover_env_spec, action_low, POINTER),
                                    FIELD(drover_env_spec, action_high, POINTER),
                                    FIELD(drover_env_spec, max_episode_steps, INT32),
                                    FIELD(drover_env_spec, state_size, SIZE),
                                    FIELD(drover_env_spec, state_align, SIZE),
                                    FIELD(drover_env_spec, lanes, INT32),
                                    FIELD(drover_env_spec, num_infos, INT32),
                                    FIELD(drover_env_spec, info_names, POINTER),
                                    FIELD(drover_env_spec, num_params, INT32),
                                    FIELD(drover_env_spec, param_names, POINTER),
                                    FIELD(drover_env_spec, save_size, SIZE),
                                    FIELD(drover_env_spec, memory_bytes, SIZE),
                                    FIELD(drover_env_spec, num_ticks, INT32),
                                    FIELD(drover_env_spec, inner_observation_size, INT32),
                                    FIELD(drover_env_spec, inner_action_size, INT32),
                                    FIELD(drover_env_spec, inner_sample_size, INT32),
                                    {0}};

const subject env_subjects[] = {{"env table", sizeof(drover_env_type), table_fields, table_init, table_use},
                                {"env spec", sizeof(drover_env_spec), spec_fields, spec_init, spec_use},
                                {0}};
