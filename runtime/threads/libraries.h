/* libraries.h: the threading runtimes loaded into this process, and the calls that read and limit their threads. */
#ifndef DR_RUNTIME_THREADS_LIBRARIES_H
#define DR_RUNTIME_THREADS_LIBRARIES_H

#include <drover/threads.h>
#include <stdatomic.h>
#include <stdbool.h>

enum { DR_LIBRARIES_MAX = 64 };

/* The calls of one library. NULL where it has none. All are looked up in the library's own handle, because a process
 * may hold two OpenMP runtimes that define the same names. */
typedef struct dr_library_calls {
  int (*get_threads)(void); /* what a parallel call made by this thread would use */
  void (*set_threads)(int);
  int (*get_levels)(void); /* OpenMP: nested regions that may be active; 0 = every region gets one thread */
  void (*set_levels)(int);
  int (*exchange_local)(int);     /* MKL: set this thread's own limit, return the last (0 = the process's) */
  int64_t (*get_threads64)(void); /* BLIS */
} dr_library_calls;

/* One loaded library. Immutable once it is in the list; never removed, and its handle keeps it loaded. */
typedef struct dr_library {
  drover_library_kind kind;
  uintptr_t base; /* load address: with the path, its identity */
  char *path;
  char version[64];
  char detail[64];
  drover_limit_scope scope;
  bool has_thread_levels; /* OpenMP: the level is per thread, so the guard may set it to 0 */
  dr_library_calls calls;
} dr_library;

/* All libraries found so far. A list only grows: the first `count` pointers of a newer list are those of an older. */
typedef struct dr_library_list {
  size_t count;
  const dr_library *items[DR_LIBRARIES_MAX];
  size_t num_dropped; /* found beyond DR_LIBRARIES_MAX: not guarded, a finding */
} dr_library_list;

/* True if objects were loaded or unloaded since the last dr_libraries_scan. Any thread, cheap (one walk step). */
bool dr_libraries_changed(void);

/* Walk the loaded objects and add what is new. The caller holds the guard's lock. *out is a copy of the list. */
void dr_libraries_scan(dr_library_list *out);

/* What a call made by this thread may use now; 0 = unknown. */
int32_t dr_library_limit(const dr_library *library);

#endif
