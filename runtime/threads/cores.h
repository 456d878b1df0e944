/* cores.h: how many cores a process may really use, and why: its affinity mask and its cgroups' CPU quotas. */
#ifndef DR_RUNTIME_THREADS_CORES_H
#define DR_RUNTIME_THREADS_CORES_H

#include <drover/threads.h>
#include <sys/types.h>

/* One cgroup with a CPU quota, innermost first. */
typedef struct dr_quota {
  double cores; /* quota / period */
  char *path;   /* the file that holds it */
} dr_quota;

typedef struct dr_quotas {
  size_t count;
  dr_quota *items; /* [count], owned */
} dr_quotas;

/* CPUs in the mask of thread `tid` (0 = the calling one), or -1 with errno. */
int32_t dr_cores_affinity(pid_t tid);

/* Every quota that binds process `pid` (0 = this one), from its own cgroup up to the mount points, v2 and v1. What
 * cannot be read or understood is no quota. `out` may be freed in any case. */
void dr_cores_quotas(const char *root, pid_t pid, dr_quotas *out);
void dr_quotas_free(dr_quotas *quotas);

/* The same answer as drover_threads_get_cores for another process; num_affinity comes from `num_affinity`. */
void dr_cores_decide(int32_t num_affinity, const dr_quotas *quotas, drover_cores *out);

#endif
