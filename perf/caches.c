/* caches.c: cache sizes from sysconf, sharing from the kernel's list of CPU 0's caches. */
#include "perf/caches.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The first line of cpu0's file about its index'th cache; 0 if there is none. */
static int read_about(int index, const char *what, char *out, int size) {
  char path[96];
  snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/%s", index, what);
  FILE *file = fopen(path, "re");
  if (!file) return 0;
  const int good = fgets(out, size, file) != NULL;
  fclose(file);
  return good;
}

/* How many CPUs a list such as "0-3,8,10-11" names. */
static int32_t count_cpus(const char *list) {
  int32_t count = 0;
  for (const char *at = list; *at;) {
    char *end;
    const long first = strtol(at, &end, 10);
    if (end == at) break;
    long last = first;
    if (*end == '-') last = strtol(end + 1, &end, 10);
    count += (int32_t)(last - first + 1);
    at = *end == ',' ? end + 1 : end;
  }
  return count;
}

void dr_caches_read(dr_caches *caches) {
  static const int names[DR_MAX_CACHE_LEVELS + 1] = {0, _SC_LEVEL1_DCACHE_SIZE, _SC_LEVEL2_CACHE_SIZE,
                                                     _SC_LEVEL3_CACHE_SIZE, _SC_LEVEL4_CACHE_SIZE};
  memset(caches, 0, sizeof *caches);
  for (int level = 1; level <= DR_MAX_CACHE_LEVELS; level++) {
    const long bytes = sysconf(names[level]);
    caches->bytes[level] = bytes > 0 ? bytes : 0;
  }
  char text[512];
  for (int index = 0; read_about(index, "type", text, sizeof text); index++) {
    if (strncmp(text, "Instruction", 11) == 0 || !read_about(index, "level", text, sizeof text)) continue;
    const int level = atoi(text);
    if (level < 1 || level > DR_MAX_CACHE_LEVELS) continue;
    if (read_about(index, "shared_cpu_list", text, sizeof text)) caches->cpus_sharing[level] = count_cpus(text);
    if (caches->bytes[level] == 0 && read_about(index, "size", text, sizeof text)) {
      char *unit;
      const long size = strtol(text, &unit, 10);
      caches->bytes[level] = (int64_t)size << (*unit == 'K' ? 10 : *unit == 'M' ? 20 : 0);
    }
  }
}

int dr_caches_level_holding(const dr_caches *caches, double bytes, int32_t num_threads) {
  for (int level = 1; level <= DR_MAX_CACHE_LEVELS; level++) {
    /* Not known: the first two levels are a core's own, the others shared by all. */
    const int32_t sharing = caches->cpus_sharing[level] > 0 ? caches->cpus_sharing[level]
                            : level <= 2                    ? 1
                                                            : num_threads;
    const int32_t in_use = (num_threads + sharing - 1) / sharing;
    if (bytes <= (double)caches->bytes[level] * in_use) return level;
  }
  return 0;
}
