/* registry.c: env types by name. */
#include "env/registry.h"

#include <ctype.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "runtime/batch.h"
#include "runtime/error.h"

enum { MAX_TYPES = 1024, MAX_NAME = 63 };

/* types[0..num_types) are known. Entries are only ever appended, under `appending`, and never change: readers need no
 * lock. The store of num_types (release) publishes the entry below it to those who load it (acquire). */
#define BUILTIN_ENTRY(table) &table,
#define COUNT_ENTRY(table)   +1
static const drover_env_type *types[MAX_TYPES] = {DR_BUILTIN_ENVS(BUILTIN_ENTRY)};
static _Atomic int32_t num_types = 0 DR_BUILTIN_ENVS(COUNT_ENTRY);
static pthread_mutex_t appending = PTHREAD_MUTEX_INITIALIZER;

int32_t drover_env_count(void) { return atomic_load_explicit(&num_types, memory_order_acquire); }

const drover_env_type *drover_env_at(int32_t index) {
  return index >= 0 && index < drover_env_count() ? types[index] : NULL;
}

static const drover_env_type *find_exact(const char *name) {
  const int32_t count = drover_env_count();
  for (int32_t i = 0; i < count; i++)
    if (strcmp(types[i]->name, name) == 0) return types[i];
  return NULL;
}

static bool name_is_valid(const char *name) {
  static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_./";
  const size_t length = strnlen(name, MAX_NAME + 1);
  return length >= 1 && length <= MAX_NAME && strspn(name, letters) == length;
}

/* Whether a table can be used. `origin` begins the message: "env", or a plugin's path. */
static drover_status check_table(const drover_env_type *type, const char *origin) {
  if (type->abi_version != DROVER_ENV_ABI_VERSION)
    return dr_fail(DROVER_ERROR_ENV, "%.256s: the env table was built for ABI %u, this library has %u: rebuild it",
                   origin, type->abi_version, DROVER_ENV_ABI_VERSION);
  if (type->size < DR_ENV_TYPE_LEAST_BYTES || type->size > sizeof(drover_env_type))
    return dr_fail(DROVER_ERROR_ENV,
                   "%.256s: the env table has %u bytes, this library's has %zu: set size to "
                   "sizeof(drover_env_type) and rebuild it",
                   origin, type->size, sizeof(drover_env_type));
  if (!type->name || !name_is_valid(type->name))
    return dr_fail(DROVER_ERROR_ENV,
                   "%.256s: an env's name must be 1..%d letters, digits and - _ . / only, got '%.80s'", origin,
                   MAX_NAME, type->name ? type->name : "(null)");
  const char *missing = !type->open ? "open" : !type->reset ? "reset" : !type->step ? "step" : NULL;
  if (missing) return dr_fail(DROVER_ERROR_ENV, "%.256s: env %s has no %s function", origin, type->name, missing);
  if (!type->save != !type->load)
    return dr_fail(DROVER_ERROR_ENV, "%.256s: env %s has %s but not %s: give both or neither", origin, type->name,
                   type->save ? "save" : "load", type->save ? "load" : "save");
  return DROVER_OK;
}

drover_status dr_env_add(const drover_env_type *type, const char *origin) {
  if (!type) return dr_fail(DROVER_ERROR_ENV, "%.256s: the env table is NULL", origin);
  drover_status status = check_table(type, origin);
  if (status) return status;

  pthread_mutex_lock(&appending);
  const drover_env_type *known = find_exact(type->name);
  const int32_t count = drover_env_count();
  if (known && known != type) {
    status = dr_fail(DROVER_ERROR_STATE, "%.256s: an env type called '%s' exists already: choose another name", origin,
                     type->name);
  } else if (!known && count == MAX_TYPES) {
    status = dr_fail(DROVER_ERROR_NO_MEMORY, "%.256s: no more than %d env types can be registered", origin, MAX_TYPES);
  } else if (!known) {
    types[count] = type;
    atomic_store_explicit(&num_types, count + 1, memory_order_release); /* publishes types[count] */
  }
  pthread_mutex_unlock(&appending);
  return status;
}

drover_status drover_env_register(const drover_env_type *type) {
  /* Registering the same table again is a mistake of the caller's, opening the same plugin again is not. */
  if (type && type->abi_version == DROVER_ENV_ABI_VERSION && type->name && find_exact(type->name) == type)
    return dr_fail(DROVER_ERROR_STATE, "env: the env type '%s' is registered already", type->name);
  return dr_env_add(type, "env");
}

/* How many letters must be inserted, deleted or replaced to make b from a, whatever their case (Wagner and Fischer,
 * "The string-to-string correction problem", J. ACM 21(1), 1974). Only the first MAX_NAME letters count. */
static int edit_distance(const char *a, const char *b) {
  const size_t a_length = strnlen(a, MAX_NAME), b_length = strnlen(b, MAX_NAME);
  int row[MAX_NAME + 1]; /* row[j]: the distance between the letters of a so far and the first j of b */
  for (size_t j = 0; j <= b_length; j++) row[j] = (int)j;
  for (size_t i = 1; i <= a_length; i++) {
    int diagonal = row[0];
    row[0] = (int)i;
    for (size_t j = 1; j <= b_length; j++) {
      const int replaced = diagonal + (tolower((unsigned char)a[i - 1]) != tolower((unsigned char)b[j - 1]));
      const int shorter = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
      diagonal = row[j];
      row[j] = replaced < shorter ? replaced : shorter;
    }
  }
  return row[b_length];
}

static drover_status not_found(const char *name) {
  const char *closest = types[0]->name;
  const int32_t count = drover_env_count();
  for (int32_t i = 1; i < count; i++)
    if (edit_distance(name, types[i]->name) < edit_distance(name, closest)) closest = types[i]->name;
  /* More than half of its letters changed is another name, not a misspelt one. */
  if (2 * (size_t)edit_distance(name, closest) > strlen(closest))
    return dr_fail(DROVER_ERROR_NOT_FOUND, "env: no env type is called '%.80s'; `drover envs` lists all %d", name,
                   (int)count);
  return dr_fail(DROVER_ERROR_NOT_FOUND, "env: no env type is called '%.80s'; the closest name is '%s'", name, closest);
}

drover_status drover_env_find(const char *name, const drover_env_type **out) {
  if (!out) return dr_fail(DROVER_ERROR_ARGUMENT, "env: out must not be NULL");
  *out = NULL;
  if (!name || !*name) return dr_fail(DROVER_ERROR_ARGUMENT, "env: a name must be given");

  *out = find_exact(name);
  if (*out) return DROVER_OK;
  const char *suffix = strrchr(name, '.');
  if (!suffix || strcmp(suffix, ".so") != 0) return not_found(name);
  if (strchr(name, '/')) return drover_env_open_plugin(name, out);
  return dr_fail(DROVER_ERROR_NOT_FOUND,
                 "env: no env type is called '%.200s'; a plugin's path contains a '/': did you "
                 "mean './%.200s'?",
                 name, name);
}
