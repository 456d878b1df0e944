/* census.h: the threads of a process, out of /proc. */
#ifndef DR_RUNTIME_THREADS_CENSUS_H
#define DR_RUNTIME_THREADS_CENSUS_H

#include <drover/threads.h>
#include <stdbool.h>
#include <sys/types.h>

typedef struct dr_census {
  size_t count, capacity;
  drover_thread *items; /* [count] in order of tid, owned */
} dr_census;

/* The threads of process `pid` (0 = this one); with_switches reads masks and context switches too. Threads that end
 * meanwhile are left out. DROVER_ERROR_NOT_FOUND: no such process; DROVER_ERROR_IO: it may not be looked at. `out` may
 * be used again for the next census (its memory is kept) and is freed in any case. */
drover_status dr_census_take(const char *root, pid_t pid, bool with_switches, dr_census *out);
void dr_census_free(dr_census *census);

/* Threads that run or want to. */
int32_t dr_census_runnable(const dr_census *census);

/* One "/proc/.../stat" line into a thread; false if it is malformed. */
bool dr_census_parse_stat(const char *text, double ticks_per_second, drover_thread *out);

/* CPUs in a mask as /proc prints it ("ff,ffffffff"). */
int32_t dr_census_count_mask(const char *mask);

/* CPUs in the mask of process `pid`, out of its status file; 0 = unknown. */
int32_t dr_census_affinity_of(const char *root, pid_t pid);

#endif
