/* host.c: reading of the machine's own files. */
#include "perf/host.h"

#include <drover/threads.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#ifndef DROVER_COMMIT
#define DROVER_COMMIT ""
#endif

/* The first line of a file without its end; "" if there is none. */
static void read_line(const char *path, char *out, size_t size) {
  out[0] = '\0';
  FILE *file = fopen(path, "re");
  if (!file) return;
  if (!fgets(out, (int)size, file)) out[0] = '\0';
  out[strcspn(out, "\n")] = '\0';
  fclose(file);
}

/* "model name : X" of the first CPU. */
static void read_cpu(char *out, size_t size) {
  snprintf(out, size, "unknown");
  FILE *file = fopen("/proc/cpuinfo", "re");
  if (!file) return;
  char line[256];
  while (fgets(line, sizeof line, file)) {
    const char *colon = strchr(line, ':');
    if (strncmp(line, "model name", 10) != 0 || !colon) continue;
    line[strcspn(line, "\n")] = '\0';
    snprintf(out, size, "%s", colon + 1 + (colon[1] == ' '));
    break;
  }
  fclose(file);
}

void dr_host_read(dr_host *host) {
  memset(host, 0, sizeof *host);
  read_cpu(host->cpu, sizeof host->cpu);
  read_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", host->governor, sizeof host->governor);
  struct utsname system;
  if (uname(&system) == 0) snprintf(host->kernel, sizeof host->kernel, "%.20s %.70s", system.sysname, system.release);
#if defined(__clang__)
  snprintf(host->compiler, sizeof host->compiler, "clang %s", __clang_version__);
#elif defined(__GNUC__)
  snprintf(host->compiler, sizeof host->compiler, "gcc %s", __VERSION__);
#endif
  snprintf(host->commit, sizeof host->commit, "%s", DROVER_COMMIT);
  host->num_cpus = (int32_t)sysconf(_SC_NPROCESSORS_ONLN);
  drover_cores cores = {.size = sizeof cores};
  if (drover_threads_get_cores(NULL, &cores) == DROVER_OK) {
    host->num_affinity = cores.num_affinity;
    host->num_cores = cores.num_cores;
    host->quota = cores.quota;
  }
  if (getloadavg(&host->load, 1) != 1) host->load = 0;
}

void dr_host_warn(const dr_host *host, const char *command) {
  if (host->load > 0.5)
    fprintf(stderr, "drover %s: other programs are running (load %.1f): expect worse figures than the machine's own\n",
            command, host->load);
}
