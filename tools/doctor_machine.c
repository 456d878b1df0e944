/* doctor_machine.c: the machine, as far as it matters to threads: CPUs, SMT, NUMA nodes, the allocator. */
#include <ctype.h>
#include <dlfcn.h>
#include <limits.h>
#include <link.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/threads/maps.h"
#include "runtime/threads/procfs.h"
#include "tools/doctor.h"

enum { MAX_CPUS = 8192 };

/* A set of CPUs; from the kernel's lists, "0-7,16". */
typedef struct cpu_list {
  unsigned char has[MAX_CPUS];
  int32_t count;
} cpu_list;

static void parse_list(const char *text, cpu_list *out) {
  memset(out, 0, sizeof *out);
  for (const char *at = text; at != NULL && isdigit((unsigned char)*at);) {
    char *end = NULL;
    const long first = strtol(at, &end, 10);
    const long last = *end == '-' ? strtol(end + 1, &end, 10) : first;
    for (long cpu = first; cpu <= last && cpu < MAX_CPUS; cpu++) {
      out->count += !out->has[cpu];
      out->has[cpu] = 1;
    }
    at = *end == ',' ? end + 1 : NULL;
  }
}

/* The first line of root + path, or NULL. Free it. */
static char *read_line(const char *root, const char *format, ...) DROVER_PRINTF(2, 3);
static char *read_line(const char *root, const char *format, ...) {
  char *rest = NULL;
  va_list args;
  va_start(args, format);
  const int length = vasprintf(&rest, format, args);
  va_end(args);
  char *path = length < 0 ? NULL : dr_procfs_path(root, "%s", rest);
  char *text = path == NULL ? NULL : dr_procfs_read(path, NULL);
  if (length >= 0) free(rest);
  free(path);
  if (text != NULL) text[strcspn(text, "\n")] = '\0';
  return text;
}

/* "key<white space>: value" in a file of such lines, or NULL. Free it. */
static char *read_field(const char *root, int32_t pid, const char *file, const char *key) {
  char *path = file[0] == '/' ? dr_procfs_path(root, "%s", file) : NULL;
  char *text = path != NULL ? dr_procfs_read(path, NULL) : dr_procfs_read_of(root, pid, file, NULL);
  free(path);
  char *cursor = text, *found = NULL;
  for (char *line; text != NULL && found == NULL && (line = dr_procfs_line(&cursor)) != NULL;) {
    const size_t length = strlen(key);
    const char *colon = strncmp(line, key, length) == 0 ? strchr(line, ':') : NULL;
    if (colon != NULL && strspn(line + length, " \t") == (size_t)(colon - line) - length)
      found = strdup(colon + 1 + strspn(colon + 1, " \t"));
  }
  free(text);
  return found;
}

static void add_finding(dr_machine *machine, drover_severity severity, const char *code, const char *remedy,
                        const char *format, ...) DROVER_PRINTF(5, 6);
static void add_finding(dr_machine *machine, drover_severity severity, const char *code, const char *remedy,
                        const char *format, ...) {
  if (machine->num_findings == DR_DOCTOR_MAX_FINDINGS) return;
  char *text = machine->texts[machine->num_findings];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof machine->texts[0], format, args);
  va_end(args);
  machine->findings[machine->num_findings++] = (drover_finding){severity, code, text, remedy};
}

static void read_cpus(const char *root, dr_machine *out) {
  char *model = read_field(root, 0, "/proc/cpuinfo", "model name");
  if (model == NULL) model = read_field(root, 0, "/proc/cpuinfo", "Model");
  if (model != NULL) snprintf(out->cpu, sizeof out->cpu, "%s", model);
  free(model);

  char *online = read_line(root, "/sys/devices/system/cpu/online");
  cpu_list cpus;
  parse_list(online, &cpus);
  out->num_cpus = online != NULL ? cpus.count : (int32_t)sysconf(_SC_NPROCESSORS_ONLN);
  free(online);

  char *siblings = read_line(root, "/sys/devices/system/cpu/cpu0/topology/thread_siblings_list");
  parse_list(siblings, &cpus);
  out->threads_per_core = cpus.count;
  free(siblings);
}

/* How many NUMA nodes there are, and how many of them the mask touches. */
static void read_nodes(const char *root, int32_t pid, dr_machine *out) {
  char *mask_text = read_field(root, pid, "status", "Cpus_allowed_list");
  cpu_list *mask = calloc(2, sizeof *mask), *node = mask + 1;
  if (mask == NULL) {
    free(mask_text);
    return;
  }
  parse_list(mask_text, mask);
  snprintf(out->mask, sizeof out->mask, "%s", mask_text == NULL ? "" : mask_text);
  free(mask_text);
  for (int i = 0; i < 1024; i++) {
    char *cpus = read_line(root, "/sys/devices/system/node/node%d/cpulist", i);
    if (cpus == NULL) continue;
    parse_list(cpus, node);
    free(cpus);
    bool touched = false;
    for (int cpu = 0; cpu < MAX_CPUS && !touched; cpu++) touched = node->has[cpu] && mask->has[cpu];
    out->num_nodes += node->count > 0;
    out->num_mask_nodes += touched;
  }
  free(mask);
}

static void visit_file(void *user, const char *path) {
  static const char *const allocators[] = {"jemalloc", "tcmalloc", "mimalloc", "tbbmalloc_proxy", "hoard", "snmalloc"};
  dr_machine *machine = user;
  const char *file = strrchr(path, '/') + 1;
  for (size_t i = 0; i < sizeof allocators / sizeof allocators[0]; i++)
    if (strncmp(file, "lib", 3) == 0 && strstr(file, allocators[i]) != NULL)
      snprintf(machine->allocator, sizeof machine->allocator, "%s", allocators[i]);
}

static void read_allocator(const char *root, int32_t pid, dr_machine *out) {
  snprintf(out->allocator, sizeof out->allocator, "the C library's");
  if (dr_maps_walk(root, pid, visit_file, out) != 0) snprintf(out->allocator, sizeof out->allocator, "unknown");
  char path[PATH_MAX];
  out->has_jemalloc = dr_find_jemalloc(path, sizeof path);
}

/* The command is linked with jemalloc, so it is loaded, and its path is known. In a build without (sanitizers) the
 * loader is asked where it would search; loading it to see would fail for want of static TLS. */
bool dr_find_jemalloc(char *path, size_t path_size) {
  static const char name[] = "libjemalloc.so.2";
  void *handle = dlopen(name, RTLD_LAZY | RTLD_NOLOAD);
  struct link_map *map = NULL;
  if (handle != NULL && dlinfo(handle, RTLD_DI_LINKMAP, &map) == 0 && map->l_name[0] == '/') {
    const int length = snprintf(path, path_size, "%s", map->l_name);
    dlclose(handle);
    return length > 0 && (size_t)length < path_size;
  }
  if (handle != NULL) dlclose(handle);

  Dl_serinfo size;
  void *program = dlopen(NULL, RTLD_LAZY);
  Dl_serinfo *search = NULL;
  bool found = false;
  if (program != NULL && dlinfo(program, RTLD_DI_SERINFOSIZE, &size) == 0) search = malloc(size.dls_size);
  if (search != NULL && dlinfo(program, RTLD_DI_SERINFOSIZE, search) == 0 &&
      dlinfo(program, RTLD_DI_SERINFO, search) == 0)
    for (unsigned i = 0; i < search->dls_cnt && !found; i++) {
      const int length = snprintf(path, path_size, "%s/%s", search->dls_serpath[i].dls_name, name);
      found = length > 0 && (size_t)length < path_size && access(path, R_OK) == 0;
    }
  free(search);
  if (program != NULL) dlclose(program);
  return found;
}

void dr_machine_read(const char *filesystem_root, int32_t pid, dr_machine *out) {
  memset(out, 0, sizeof *out);
  read_cpus(filesystem_root, out);
  read_nodes(filesystem_root, pid, out);
  read_allocator(filesystem_root, pid, out);
  if (out->num_mask_nodes > 1)
    add_finding(out, DROVER_SEVERITY_NOTE, "numa",
                "run one runtime a node: the runtime's `numa_node` option, or numactl --cpunodebind=N --membind=N CMD",
                "the mask (CPUs %.120s) spans %d NUMA nodes: a runtime that uses it all reads memory of the other node",
                out->mask, out->num_mask_nodes);
  if (out->threads_per_core > 1)
    add_finding(out, DROVER_SEVERITY_NOTE, "smt", "compare --workers at half the CPUs before a long run",
                "every core has %d hardware threads: they share its units, and %d CPUs are %d cores",
                out->threads_per_core, out->num_cpus, out->num_cpus / out->threads_per_core);
}
