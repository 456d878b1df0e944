/* loaded.h: shared objects that a test loads, and what the census of libraries says about them. */
#ifndef DR_TESTS_THREADS_LOADED_H
#define DR_TESTS_THREADS_LOADED_H

#include <dirent.h>
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "runtime/threads/guard.h"
#include "tests/threads/test.h"

/* STUBS is the folder of the stub libraries; CMakeLists.txt defines it. */
static inline void *load(const char *file) {
  char path[1024];
  snprintf(path, sizeof path, "%s%s%s", file[0] == '/' ? "" : STUBS, file[0] == '/' ? "" : "/", file);
  void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  cr_assert(handle != NULL, "%s", dlerror());
  return handle;
}

typedef int (*int_call)(void);
typedef void (*void_int_call)(int);
typedef int (*int_int_call)(int);

static inline void *symbol(void *handle, const char *name) {
  void *found = dlsym(handle, name);
  cr_assert(found != NULL, "%s", dlerror());
  return found;
}

/* Call `int name(void)` of a loaded library. */
static inline int ask(void *handle, const char *name) {
  int_call call;
  void *found = symbol(handle, name);
  memcpy(&call, &found, sizeof call);
  return call();
}

static inline int tell(void *handle, const char *name, int value) {
  int_int_call call;
  void *found = symbol(handle, name);
  memcpy(&call, &found, sizeof call);
  return call(value);
}

static inline void put(void *handle, const char *name, int value) {
  void_int_call call;
  void *found = symbol(handle, name);
  memcpy(&call, &found, sizeof call);
  call(value);
}

/* What a task's guard saves in: as the runtime gives it. */
typedef struct saved_bytes {
  _Alignas(16) char bytes[DR_GUARD_SAVED_BYTES];
} saved_bytes;

/* The guard's entry for a library whose path contains `part`, or NULL. */
static inline const dr_library *find_library(const char *part) {
  dr_library_list list;
  dr_guard_get_libraries(&list);
  for (size_t i = 0; i < list.count; i++)
    if (strstr(list.items[i]->path, part) != NULL) return list.items[i];
  return NULL;
}

static inline int count_threads(void) {
  int count = 0;
  DIR *tasks = opendir("/proc/self/task");
  cr_assert(tasks != NULL);
  for (const struct dirent *entry; (entry = readdir(tasks)) != NULL;) count += entry->d_name[0] != '.';
  closedir(tasks);
  return count;
}

#endif
