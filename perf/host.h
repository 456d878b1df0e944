/* host.h: where figures come from: without it none of them means anything. */
#ifndef DR_PERF_HOST_H
#define DR_PERF_HOST_H

#include <stdbool.h>
#include <stdint.h>

/* Empty strings and zeros where the machine does not say. */
typedef struct dr_host {
  char cpu[96];
  char governor[32];
  char kernel[96];
  char compiler[96];
  char commit[48];      /* of the build, as CMake saw it; "" outside a repository */
  int32_t num_cpus;     /* online */
  int32_t num_affinity; /* in this process's mask */
  int32_t num_cores;    /* that it may really use */
  double quota;         /* CPU quota in cores, 0 = none */
  double load;          /* running processes, mean of the last minute: other work spoils figures */
} dr_host;

void dr_host_read(dr_host *host);

/* A sentence on stderr, "drover COMMAND: ...", if other programs keep the machine busy. */
void dr_host_warn(const dr_host *host, const char *command);

#endif
