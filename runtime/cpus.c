/* cpus.c: parsing CPU lists. */
#include "runtime/cpus.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/error.h"

drover_status dr_cpus_parse(const char *text, cpu_set_t *out, const char *what) {
  CPU_ZERO(out);
  const char *at = text;
  do {
    char *end;
    const long first = strtol(at, &end, 10);
    long last = first;
    bool good = end != at;
    if (good && *end == '-') {
      at = end + 1;
      last = strtol(at, &end, 10);
      good = end != at;
    }
    good = good && first >= 0 && last >= first && last < CPU_SETSIZE && (*end == ',' || *end == '\0' || *end == '\n');
    if (!good)
      return dr_fail(DROVER_ERROR_ARGUMENT, "%s must be a list such as 0-7,16 of CPUs below %d, got '%s'", what,
                     CPU_SETSIZE, text);
    for (long cpu = first; cpu <= last; cpu++) CPU_SET((size_t)cpu, out);
    at = *end == ',' ? end + 1 : end;
  } while (*at != '\0' && *at != '\n');
  return DROVER_OK;
}

drover_status dr_cpus_of_node(const char *filesystem_root, int32_t node, cpu_set_t *out) {
  char path[4096], line[4096];
  snprintf(path, sizeof path, "%s/sys/devices/system/node/node%d/cpulist", filesystem_root ? filesystem_root : "",
           (int)node);
  FILE *file = fopen(path, "re");
  const bool read = file && fgets(line, sizeof line, file);
  if (file) fclose(file);
  if (!read)
    return dr_fail(DROVER_ERROR_NOT_FOUND, "runtime: numa_node %d: there is no such node (cannot read %s)", (int)node,
                   path);
  return dr_cpus_parse(line, out, path);
}
