/* env_type.c: what an env type must be before a batch trusts it: its table, its arguments, its spec. */
#include "runtime/batch.h"
#include "runtime/error.h"

drover_status dr_env_type_check(const drover_env_type *type) {
  if (!type) return dr_fail(DROVER_ERROR_ARGUMENT, "batch: type must not be NULL; drover_env_find gives one by name");
  if (type->abi_version != DROVER_ENV_ABI_VERSION)
    return dr_fail(DROVER_ERROR_ENV, "env type: built for ABI version %u, this library has %u: rebuild it",
                   type->abi_version, DROVER_ENV_ABI_VERSION);
  if (type->size < DR_ENV_TYPE_LEAST_BYTES || type->size > sizeof *type)
    return dr_fail(DROVER_ERROR_ENV,
                   "env type: its table has %u bytes, expected %zu: rebuild it with this library's headers", type->size,
                   sizeof *type);
  static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./";
  if (!type->name || !type->name[0] || strlen(type->name) > 63 || type->name[strspn(type->name, allowed)])
    return dr_fail(DROVER_ERROR_ENV, "env type: its name must have 1..63 letters, digits, - _ . or /, got '%.80s'",
                   type->name ? type->name : "(null)");
  if (!type->open || !type->reset || !type->step)
    return dr_fail(DROVER_ERROR_ENV, "env type %s: open, reset and step must not be NULL", type->name);
  return DROVER_OK;
}

bool dr_env_type_can_explain(const drover_env_type *type) { return type->size >= sizeof *type && type->explain; }

static bool known_argument(const drover_env_type *type, const char *key) {
  for (const drover_env_arg_info *info = type->arg_infos; info && info->key; info++)
    if (strcmp(info->key, key) == 0) return true;
  return false;
}

drover_status dr_env_type_check_args(const drover_env_type *type, const drover_env_args *args) {
  char known[256] = "";
  for (const drover_env_arg_info *info = type->arg_infos; info && info->key; info++)
    snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", known[0] ? ", " : "", info->key);
  for (int32_t i = 0; i < args->count; i++) {
    const drover_env_arg *arg = &args->items[i];
    if (!arg->key || !arg->value)
      return dr_fail(DROVER_ERROR_ARGUMENT, "%s: argument %d has no key or value", type->name, (int)i);
    if (!known_argument(type, arg->key))
      return dr_fail(DROVER_ERROR_ARGUMENT, "%s: unknown argument '%s'; %s%s", type->name, arg->key,
                     known[0] ? "it takes: " : "it takes none", known);
    for (int32_t j = 0; j < i; j++)
      if (strcmp(args->items[j].key, arg->key) == 0)
        return dr_fail(DROVER_ERROR_ARGUMENT, "%s: argument '%s' is given twice", type->name, arg->key);
  }
  return DROVER_OK;
}

/* One rule of a spec: what must hold, what to say if not, and the number that was found. */
#define SPEC_RULE(holds, rule, found) \
  if (!(holds))                       \
  return dr_fail(DROVER_ERROR_ENV, "env type %s: its spec is wrong: " rule ", got %lld", type->name, (long long)(found))

static drover_status check_names(const drover_env_type *type, const char *const *names, int32_t count,
                                 const char *what) {
  for (int32_t i = 0; i < count; i++)
    if (!names || !names[i] || !names[i][0])
      return dr_fail(DROVER_ERROR_ENV, "env type %s: its spec is wrong: %s[%d] has no name", type->name, what, (int)i);
  return DROVER_OK;
}

static drover_status check_action_spec(const drover_env_type *type, const drover_env_spec *s) {
  const bool discrete = s->action_kind == DROVER_ACTION_DISCRETE;
  SPEC_RULE(discrete || s->action_kind == DROVER_ACTION_CONTINUOUS,
            "action_kind must be 0 (discrete) or 1 (continuous)", s->action_kind);
  SPEC_RULE(s->action_size >= 1 && s->action_size <= 65536, "action_size must be 1..65536", s->action_size);
  SPEC_RULE(!discrete || s->action_size == 1, "a discrete action has action_size 1", s->action_size);
  SPEC_RULE(!discrete || s->num_actions >= 1, "num_actions must be 1 or more", s->num_actions);
  if (discrete) return DROVER_OK;
  SPEC_RULE(s->action_low && s->action_high, "continuous actions need action_low and action_high", 0);
  for (int32_t a = 0; a < s->action_size; a++)
    if (!(s->action_low[a] <= s->action_high[a]) || s->action_low[a] == INFINITY || s->action_high[a] == -INFINITY)
      return dr_fail(DROVER_ERROR_ENV, "env type %s: its spec is wrong: action %d has bounds %g..%g", type->name,
                     (int)a, (double)s->action_low[a], (double)s->action_high[a]);
  return DROVER_OK;
}

/* The inner loop: all of it or nothing. */
static drover_status check_inner_spec(const drover_env_type *type, const drover_env_spec *s) {
  SPEC_RULE(s->num_ticks >= 0 && s->num_ticks <= 4096, "num_ticks must be 0 (no inner loop) or 1..4096", s->num_ticks);
  if (s->num_ticks == 0) {
    SPEC_RULE(s->inner_observation_size == 0, "without num_ticks, inner_observation_size must be 0",
              s->inner_observation_size);
    SPEC_RULE(s->inner_action_size == 0, "without num_ticks, inner_action_size must be 0", s->inner_action_size);
    SPEC_RULE(s->inner_sample_size == 0, "without num_ticks, inner_sample_size must be 0", s->inner_sample_size);
    return DROVER_OK;
  }
  SPEC_RULE(type->begin && type->tick, "an inner loop needs begin and tick, which are NULL; num_ticks must be 0",
            s->num_ticks);
  SPEC_RULE(s->inner_observation_size >= 1 && s->inner_observation_size <= 65536,
            "inner_observation_size must be 1..65536", s->inner_observation_size);
  SPEC_RULE(s->inner_action_size >= 1 && s->inner_action_size <= 65536, "inner_action_size must be 1..65536",
            s->inner_action_size);
  SPEC_RULE(s->inner_sample_size >= 0 && s->inner_sample_size <= 1048576,
            "inner_sample_size must be 0 (none) or 1..1048576", s->inner_sample_size);
  return DROVER_OK;
}

drover_status dr_env_spec_check(const drover_env_type *type, drover_env_spec *s) {
  if (s->state_align == 0) s->state_align = s->state_size % 16 == 0 ? 16 : s->state_size % 8 == 0 ? 8 : 1;
  SPEC_RULE(s->observation_size >= 1 && s->observation_size <= 1048576, "observation_size must be 1..1048576",
            s->observation_size);
  SPEC_RULE(s->max_episode_steps >= 0, "max_episode_steps must be 0 (none) or more", s->max_episode_steps);
  SPEC_RULE(s->state_size <= (size_t)1 << 32, "state_size must be 4 GiB at most", s->state_size);
  SPEC_RULE(s->state_align <= 64 && (s->state_align & (s->state_align - 1)) == 0 && s->state_size % s->state_align == 0,
            "state_align must be a power of two up to 64 that divides state_size", s->state_align);
  SPEC_RULE(s->lanes >= 0 && s->lanes <= 1024, "lanes must be 0..1024", s->lanes);
  SPEC_RULE(s->num_infos >= 0 && s->num_infos <= 4096, "num_infos must be 0..4096", s->num_infos);
  SPEC_RULE(s->num_params >= 0 && s->num_params <= 4096, "num_params must be 0..4096", s->num_params);
  SPEC_RULE(s->num_params == 0 || type->set_param, "parameters need set_param, which is NULL; num_params must be 0",
            s->num_params);
  SPEC_RULE(s->save_size <= (size_t)1 << 32, "save_size must be 4 GiB at most", s->save_size);
  SPEC_RULE(s->save_size == 0 || (type->save && type->load), "save_size needs save and load, which are NULL",
            s->save_size);
  drover_status status = check_inner_spec(type, s);
  if (status == DROVER_OK) status = check_names(type, s->info_names, s->num_infos, "info_names");
  if (status == DROVER_OK) status = check_names(type, s->param_names, s->num_params, "param_names");
  return status == DROVER_OK ? check_action_spec(type, s) : status;
}
#undef SPEC_RULE
