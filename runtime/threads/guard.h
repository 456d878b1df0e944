/* guard.h: while a thread runs a task of ours, the OpenMP and BLAS runtimes give that thread one thread. */
#ifndef DR_RUNTIME_THREADS_GUARD_H
#define DR_RUNTIME_THREADS_GUARD_H

#include <drover/threads.h>

#include "runtime/threads/libraries.h"

enum { DR_GUARD_SAVED_BYTES = 256 };

/* The pair of the built-in drover_task_guard. `user` is ignored; `saved` is DR_GUARD_SAVED_BYTES of the task's stack.
 * All workers at once; lock-free, a load and a store where no such library is loaded. */
void dr_guard_enter(void *user, void *saved);
void dr_guard_leave(void *user, void *saved);

/* Once a public call, before its first task: look for libraries loaded since (dlpi_adds) and publish a new table. */
void dr_guard_rescan(void);

/* Rescan, and copy the list of libraries. */
void dr_guard_get_libraries(dr_library_list *out);

/* True if tasks run with a limit of one thread in this library. */
bool dr_guard_limits(const dr_library *library);

#endif
