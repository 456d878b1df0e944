/* guard_race.c: threads in and out of the guard while another loads libraries and publishes new tables. A plain
 * program, for ThreadSanitizer. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "runtime/threads/guard.h"

enum { NUM_WORKERS = 4, MIN_PAIRS = 20000 };

static atomic_int stop, num_pairs;

static void *worker_main(void *user) {
  (void)user;
  while (!atomic_load(&stop)) {
    _Alignas(16) char saved[DR_GUARD_SAVED_BYTES];
    dr_guard_enter(NULL, saved);
    dr_guard_leave(NULL, saved);
    atomic_fetch_add(&num_pairs, 1);
  }
  return NULL;
}

int main(void) {
  static const char *const files[] = {"libother.so",    "libiomp5.so",    "old/libgomp.so.1", "openmp/libopenblas.so.0",
                                      "libmkl_rt.so.2", "wide/libomp.so", "libtorch_stub.so"};
  pthread_t workers[NUM_WORKERS];
  for (int i = 0; i < NUM_WORKERS; i++)
    if (pthread_create(&workers[i], NULL, worker_main, NULL) != 0) return 1;
  int failed = 0;
  for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", STUBS, files[i]);
    void *handle = dlopen(path, RTLD_NOW);
    if (handle == NULL) {
      fprintf(stderr, "%s\n", dlerror());
      failed = 1;
      continue;
    }
    dr_guard_rescan();
    dlclose(handle);
    const int until = atomic_load(&num_pairs) + MIN_PAIRS;
    while (atomic_load(&num_pairs) < until) dr_guard_rescan();
  }
  atomic_store(&stop, 1);
  for (int i = 0; i < NUM_WORKERS; i++) pthread_join(workers[i], NULL);
  dr_library_list list;
  dr_guard_get_libraries(&list);
  int num_stubs = 0; /* the program may have been linked with a threading runtime too */
  for (size_t i = 0; i < list.count; i++) num_stubs += strncmp(list.items[i]->path, STUBS, strlen(STUBS)) == 0;
  if (num_stubs != 6) {
    fprintf(stderr, "6 threading runtimes were loaded, %d are known\n", num_stubs);
    failed = 1;
  }
  return failed;
}
