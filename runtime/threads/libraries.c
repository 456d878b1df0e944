/* libraries.c: the threading runtimes loaded into this process, and the calls that read and limit their threads. */
#include "runtime/threads/libraries.h"

#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/threads/probe.h"
#include "runtime/threads/rules.h"

/* Objects loaded and unloaded when the last scan walked them. Written under the guard's lock, read by any thread:
 * relaxed, for the list itself is published by the guard. */
static _Atomic uint64_t seen_adds, seen_subs;

static dr_library_list list; /* guard's lock */

static int read_counts(struct dl_phdr_info *info, size_t size, void *user) {
  (void)size;
  uint64_t *counts = user;
  counts[0] = info->dlpi_adds;
  counts[1] = info->dlpi_subs;
  return 1; /* the first object tells */
}

bool dr_libraries_changed(void) {
  uint64_t counts[2] = {0, 0};
  dl_iterate_phdr(read_counts, counts);
  return counts[0] != atomic_load_explicit(&seen_adds, memory_order_relaxed) ||
         counts[1] != atomic_load_explicit(&seen_subs, memory_order_relaxed);
}

/* The loaded objects: names are copied, for dlopen must not be called while the walk holds the loader's lock. */
typedef struct object_list {
  size_t count, capacity;
  struct object {
    uintptr_t base;
    char *name;
  } * items;
  uint64_t counts[2];
} object_list;

static int collect_object(struct dl_phdr_info *info, size_t size, void *user) {
  object_list *objects = user;
  read_counts(info, size, objects->counts);
  if (objects->count == objects->capacity) {
    const size_t capacity = objects->capacity == 0 ? 64 : 2 * objects->capacity;
    struct object *larger = realloc(objects->items, capacity * sizeof *larger);
    if (larger == NULL) return 1;
    objects->items = larger;
    objects->capacity = capacity;
  }
  char *name = strdup(info->dlpi_name == NULL ? "" : info->dlpi_name);
  if (name == NULL) return 1;
  objects->items[objects->count++] = (struct object){info->dlpi_addr, name};
  return 0;
}

/* The symbol if this very object defines it: dlsym on a handle also searches what the object depends on. */
static void *own_symbol(void *handle, uintptr_t base, const char *name) {
  void *symbol = dlsym(handle, name);
  Dl_info info;
  struct link_map *map = NULL;
  if (symbol == NULL || dladdr1(symbol, &info, (void **)&map, RTLD_DL_LINKMAP) == 0 || map == NULL) return NULL;
  return map->l_addr == base ? symbol : NULL;
}

/* ISO C has no conversion from void * to a function pointer; POSIX promises that the bits are the same. */
#define TAKE(target, symbol)                         \
  do {                                               \
    void *const symbol_at = (symbol);                \
    memcpy(&(target), &symbol_at, sizeof symbol_at); \
  } while (0)

/* OpenBLAS built for another package carries a prefix or a suffix on every name. */
static void *openblas_symbol(void *handle, uintptr_t base, const char *name) {
  static const char *const forms[] = {"%s", "%s64_", "%s_64", "scipy_%s", "scipy_%s64_"};
  for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
    char full[96];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(full, sizeof full, forms[i], name);
#pragma GCC diagnostic pop
    void *symbol = own_symbol(handle, base, full);
    if (symbol != NULL) return symbol;
  }
  return NULL;
}

/* Does this object, whatever its name, define what only such a library defines? */
static bool is_witness(void *handle, uintptr_t base, const dr_library_rule *rule) {
  if (rule->witness == NULL) return false;
  if (rule->kind == DROVER_LIBRARY_OPENBLAS) return openblas_symbol(handle, base, rule->witness) != NULL;
  return own_symbol(handle, base, rule->witness) != NULL;
}

/* OpenMP: limits are per thread by the standard; a probe has to say so too. */
static bool learn_openmp(void *handle, dr_library *library) {
  const uintptr_t base = library->base;
  TAKE(library->calls.get_threads, own_symbol(handle, base, "omp_get_max_threads"));
  TAKE(library->calls.set_threads, own_symbol(handle, base, "omp_set_num_threads"));
  TAKE(library->calls.get_levels, own_symbol(handle, base, "omp_get_max_active_levels"));
  TAKE(library->calls.set_levels, own_symbol(handle, base, "omp_set_max_active_levels"));
  if (library->calls.get_threads == NULL || library->calls.set_threads == NULL) return false;
  const dr_probe_result threads = dr_probe_setting(library->calls.get_threads, library->calls.set_threads);
  library->scope = threads == DR_PROBE_THREAD    ? DROVER_SCOPE_THREAD
                   : threads == DR_PROBE_PROCESS ? DROVER_SCOPE_PROCESS
                                                 : DROVER_SCOPE_UNKNOWN;
  library->has_thread_levels =
      library->calls.get_levels != NULL && library->calls.set_levels != NULL &&
      dr_probe_setting(library->calls.get_levels, library->calls.set_levels) == DR_PROBE_THREAD;
  return true;
}

static bool learn_mkl(void *handle, dr_library *library) {
  void (*get_version)(char *, int) = NULL;
  TAKE(library->calls.get_threads, own_symbol(handle, library->base, "MKL_Get_Max_Threads"));
  TAKE(library->calls.exchange_local, own_symbol(handle, library->base, "MKL_Set_Num_Threads_Local"));
  TAKE(get_version, own_symbol(handle, library->base, "MKL_Get_Version_String"));
  library->scope = library->calls.exchange_local != NULL ? DROVER_SCOPE_THREAD : DROVER_SCOPE_UNKNOWN;
  if (get_version != NULL) {
    char text[256] = "";
    get_version(text, (int)sizeof text - 1);
    const char *version = strstr(text, "Version ");
    if (version != NULL) sscanf(version + strlen("Version "), "%63[0-9.]", library->version);
  }
  return true;
}

/* OpenBLAS: openblas_get_parallel says 0 = one thread only, 1 = its own pthreads, 2 = OpenMP. The pthread build has no
 * limit of a thread's own: openblas_set_num_threads_local is process-wide in its source, and absent before 0.3.25. */
static bool learn_openblas(void *handle, dr_library *library) {
  int (*get_parallel)(void) = NULL;
  const char *(*get_config)(void) = NULL;
  const char *(*get_core)(void) = NULL;
  TAKE(library->calls.get_threads, openblas_symbol(handle, library->base, "openblas_get_num_threads"));
  TAKE(get_parallel, openblas_symbol(handle, library->base, "openblas_get_parallel"));
  TAKE(get_config, openblas_symbol(handle, library->base, "openblas_get_config"));
  TAKE(get_core, openblas_symbol(handle, library->base, "openblas_get_corename"));
  if (library->calls.get_threads == NULL) return false;
  const int parallel = get_parallel == NULL ? 1 : get_parallel();
  library->scope = parallel == 2 ? DROVER_SCOPE_OPENMP : DROVER_SCOPE_PROCESS;
  snprintf(library->detail, sizeof library->detail, "%s%s%.32s",
           parallel == 2   ? "OpenMP"
           : parallel == 1 ? "pthreads"
                           : "one thread only",
           get_core == NULL ? "" : ", ", get_core == NULL ? "" : get_core());
  if (get_config != NULL) sscanf(get_config(), "OpenBLAS %63s", library->version);
  return true;
}

/* BLIS: its count is process-wide; the OpenMP build asks for num_threads(count), which the guard's level stops. */
static bool learn_blis(void *handle, dr_library *library) {
  int (*has_openmp)(void) = NULL;
  int (*has_pthreads)(void) = NULL;
  const char *(*get_version)(void) = NULL;
  TAKE(library->calls.get_threads64, own_symbol(handle, library->base, "bli_thread_get_num_threads"));
  TAKE(has_openmp, own_symbol(handle, library->base, "bli_info_get_enable_openmp"));
  TAKE(has_pthreads, own_symbol(handle, library->base, "bli_info_get_enable_pthreads"));
  TAKE(get_version, own_symbol(handle, library->base, "bli_info_get_version_str"));
  if (library->calls.get_threads64 == NULL) return false;
  const bool openmp = has_openmp != NULL && has_openmp() != 0;
  const bool pthreads = has_pthreads == NULL || has_pthreads() != 0;
  library->scope = openmp ? DROVER_SCOPE_OPENMP : DROVER_SCOPE_PROCESS;
  snprintf(library->detail, sizeof library->detail, "%s",
           openmp     ? "OpenMP"
           : pthreads ? "pthreads"
                      : "one thread only");
  if (get_version != NULL) snprintf(library->version, sizeof library->version, "%s", get_version());
  return true;
}

/* oneDNN: dnnl_version_t is {int major, minor, patch; const char *hash; unsigned cpu_runtime, gpu_runtime}. */
static bool learn_onednn(void *handle, dr_library *library) {
  struct version {
    int major, minor, patch;
    const char *hash;
    unsigned cpu_runtime, gpu_runtime;
  };
  const struct version *(*get_version)(void) = NULL;
  TAKE(get_version, own_symbol(handle, library->base, "dnnl_version"));
  if (get_version == NULL) return false;
  const struct version *version = get_version();
  snprintf(library->version, sizeof library->version, "%d.%d.%d", version->major, version->minor, version->patch);
  library->scope = version->cpu_runtime == 2 ? DROVER_SCOPE_OPENMP : DROVER_SCOPE_ARENA;
  snprintf(library->detail, sizeof library->detail, "%s",
           version->cpu_runtime == 1   ? "one thread only"
           : version->cpu_runtime == 2 ? "OpenMP"
           : version->cpu_runtime == 4 ? "oneTBB"
           : version->cpu_runtime == 8 ? "thread pool of its caller"
                                       : "");
  return true;
}

static bool learn_tbb(void *handle, dr_library *library) {
  const char *(*get_version)(void) = NULL;
  TAKE(get_version, own_symbol(handle, library->base, "TBB_runtime_version"));
  if (get_version != NULL) snprintf(library->version, sizeof library->version, "%s", get_version());
  library->scope = DROVER_SCOPE_ARENA;
  return true;
}

static bool learn(void *handle, dr_library *library) {
  switch (library->kind) {
    case DROVER_LIBRARY_GOMP:
    case DROVER_LIBRARY_OMP:
    case DROVER_LIBRARY_IOMP:
      return learn_openmp(handle, library);
    case DROVER_LIBRARY_MKL:
      return learn_mkl(handle, library);
    case DROVER_LIBRARY_OPENBLAS:
      return learn_openblas(handle, library);
    case DROVER_LIBRARY_BLIS:
      return learn_blis(handle, library);
    case DROVER_LIBRARY_ONEDNN:
      return learn_onednn(handle, library);
    case DROVER_LIBRARY_TBB:
      return learn_tbb(handle, library);
  }
  return false;
}

static bool is_known(const struct object *object) {
  for (size_t i = 0; i < list.count; i++)
    if (list.items[i]->base == object->base && strcmp(list.items[i]->path, object->name) == 0) return true;
  return false;
}

/* Take one object into the list if it is a threading runtime. Its handle is then never closed. */
static void examine(const struct object *object) {
  if (object->name[0] == '\0' || is_known(object)) return;
  void *handle = dlopen(object->name, RTLD_LAZY | RTLD_NOLOAD);
  if (handle == NULL) return;
  struct link_map *map = NULL;
  const bool same = dlinfo(handle, RTLD_DI_LINKMAP, &map) == 0 && map->l_addr == object->base;
  const dr_library_rule *rule = same ? dr_library_rule_of(object->name) : NULL;
  for (int i = 0; same && rule == NULL && dr_library_rule_at(i) != NULL; i++)
    if (is_witness(handle, object->base, dr_library_rule_at(i))) rule = dr_library_rule_at(i);

  dr_library *library = rule == NULL ? NULL : calloc(1, sizeof *library);
  if (library != NULL) {
    char *real = realpath(object->name, NULL);
    library->kind = rule->kind;
    library->base = object->base;
    library->path = strdup(object->name);
    dr_library_version_of(real == NULL ? object->name : real, library->version, sizeof library->version);
    free(real);
    if (library->path != NULL && learn(handle, library)) {
      if (list.count < DR_LIBRARIES_MAX) {
        list.items[list.count++] = library;
        return;
      }
      list.num_dropped++;
    }
    free(library->path);
    free(library);
  }
  dlclose(handle);
}

void dr_libraries_scan(dr_library_list *out) {
  object_list objects = {0};
  dl_iterate_phdr(collect_object, &objects);
  list.num_dropped = 0;
  for (size_t i = 0; i < objects.count; i++) {
    examine(&objects.items[i]);
    free(objects.items[i].name);
  }
  free(objects.items);
  atomic_store_explicit(&seen_adds, objects.counts[0], memory_order_relaxed);
  atomic_store_explicit(&seen_subs, objects.counts[1], memory_order_relaxed);
  *out = list;
}

int32_t dr_library_limit(const dr_library *library) {
  if (library->calls.get_threads != NULL) return library->calls.get_threads();
  if (library->calls.get_threads64 == NULL) return 0;
  const int64_t limit = library->calls.get_threads64();
  return limit < 1 ? 1 : limit > INT32_MAX ? INT32_MAX : (int32_t)limit; /* BLIS says -1 where nothing was asked for */
}
