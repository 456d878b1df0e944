/* cores.c: how many cores a process may really use, and why: its affinity mask and its cgroups' CPU quotas. */
#include "runtime/threads/cores.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/error.h"
#include "runtime/threads/procfs.h"

enum { MAX_CPUS = 1 << 20 };

/* The kernel refuses a mask smaller than its own with EINVAL, so ask with ever larger ones. */
int32_t dr_cores_affinity(pid_t tid) {
  for (size_t num_cpus = 1024; num_cpus <= MAX_CPUS; num_cpus *= 2) {
    cpu_set_t *set = CPU_ALLOC(num_cpus);
    if (set == NULL) return -1;
    const size_t bytes = CPU_ALLOC_SIZE(num_cpus);
    const int status = sched_getaffinity(tid, bytes, set);
    const int error = errno;
    const int count = status == 0 ? CPU_COUNT_S(bytes, set) : -1;
    CPU_FREE(set);
    if (status == 0) return count;
    errno = error;
    if (error != EINVAL) return -1;
  }
  return -1;
}

/* One mount of a cgroup tree: the directory `root` of the hierarchy appears at `point`. */
typedef struct mount {
  char *root;
  char *point;
} mount;

/* Undo mountinfo's octal escapes (\040 is a space) in place. */
static void unescape(char *text) {
  char *to = text;
  for (const char *from = text; *from != '\0';) {
    if (from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] >= '0' && from[2] <= '7' && from[3] >= '0' &&
        from[3] <= '7') {
      *to++ = (char)((from[1] - '0') * 64 + (from[2] - '0') * 8 + (from[3] - '0'));
      from += 4;
    } else {
      *to++ = *from++;
    }
  }
  *to = '\0';
}

/* True if the comma-separated list has this word. */
static bool has_word(const char *list, const char *word) {
  const size_t length = strlen(word);
  for (const char *at = list; at != NULL; at = strchr(at, ',')) {
    if (*at == ',') at++;
    if (strncmp(at, word, length) == 0 && (at[length] == ',' || at[length] == '\0')) return true;
  }
  return false;
}

/* "36 35 98:0 /root /point rw,noatime master:1 - cgroup2 cgroup rw": true and *out (pointing into the line) if it is
 * the v2 tree, or, for v1, the tree that has the cpu controller. */
static bool parse_mount(char *line, bool v2, mount *out) {
  char *separator = strstr(line, " - ");
  if (separator == NULL) return false;
  *separator = '\0';
  char *rest = NULL;
  const char *type = strtok_r(separator + 3, " ", &rest);
  strtok_r(NULL, " ", &rest); /* the source, which means nothing here */
  const char *options = strtok_r(NULL, " ", &rest);
  if (type == NULL || strcmp(type, v2 ? "cgroup2" : "cgroup") != 0) return false;
  if (!v2 && (options == NULL || !has_word(options, "cpu"))) return false;

  char *field = strtok_r(line, " ", &rest);
  for (int i = 0; i < 3 && field != NULL; i++) field = strtok_r(NULL, " ", &rest);
  out->root = field;
  out->point = field == NULL ? NULL : strtok_r(NULL, " ", &rest);
  if (out->point == NULL) return false;
  unescape(out->root);
  unescape(out->point);
  return true;
}

/* The path of the process in the tree, out of /proc/PID/cgroup ("0::/a/b", "4:cpu,cpuacct:/a"), or NULL. */
static char *find_group(const char *cgroup_text, bool v2) {
  char *copy = strdup(cgroup_text);
  char *found = NULL;
  char *cursor = copy;
  for (char *line; copy != NULL && found == NULL && (line = dr_procfs_line(&cursor)) != NULL;) {
    char *controllers = strchr(line, ':');
    char *path = controllers == NULL ? NULL : strchr(controllers + 1, ':');
    if (path == NULL) continue;
    *path++ = '\0';
    controllers++;
    if (v2 ? strncmp(line, "0:", 2) == 0 && *controllers == '\0' : has_word(controllers, "cpu")) found = strdup(path);
  }
  free(copy);
  return found;
}

/* What is left of `path` below `root` ("" if equal), or NULL if it is not below it. */
static const char *below(const char *path, const char *root) {
  const size_t length = strcmp(root, "/") == 0 ? 0 : strlen(root);
  if (strncmp(path, root, length) != 0) return NULL;
  if (path[length] != '\0' && path[length] != '/') return NULL;
  return strcmp(path + length, "/") == 0 ? "" : path + length;
}

/* A positive whole number that fills `text` up to white space; moves *text behind it. */
static bool parse_positive(const char **text, long long *out) {
  if (**text < '0' || **text > '9') return false;
  char *end = NULL;
  errno = 0;
  *out = strtoll(*text, &end, 10);
  if (errno != 0 || *out <= 0 || (*end != '\0' && *end != ' ' && *end != '\n')) return false;
  while (*end == ' ' || *end == '\n') end++;
  *text = end;
  return true;
}

/* The quota of one directory in cores, 0 = none. v2: cpu.max is "<quota us> <period us>" or "max <period us>". */
static double read_quota_v2(const char *file) {
  char *text = dr_procfs_read(file, NULL);
  if (text == NULL) return 0.0;
  const char *at = text;
  long long quota = 0, period = 100000;
  const bool good = parse_positive(&at, &quota) && (*at == '\0' || parse_positive(&at, &period)) && *at == '\0';
  free(text);
  return good ? (double)quota / (double)period : 0.0;
}

/* v1: the quota is a file of its own, -1 = none, and so is the period. */
static double read_quota_v1(const char *quota_file, const char *period_file) {
  char *quota_text = dr_procfs_read(quota_file, NULL);
  char *period_text = quota_text == NULL ? NULL : dr_procfs_read(period_file, NULL);
  double cores = 0.0;
  if (period_text != NULL) {
    const char *quota_at = quota_text, *period_at = period_text;
    long long quota = 0, period = 0;
    if (parse_positive(&quota_at, &quota) && *quota_at == '\0' && parse_positive(&period_at, &period) &&
        *period_at == '\0')
      cores = (double)quota / (double)period;
  }
  free(quota_text);
  free(period_text);
  return cores;
}

/* Keep a quota; without memory it is dropped, as what cannot be read is. Takes `path`. */
static void keep(dr_quotas *quotas, double cores, char *path) {
  dr_quota *larger = cores > 0.0 ? realloc(quotas->items, (quotas->count + 1) * sizeof *larger) : NULL;
  if (larger == NULL) {
    free(path);
    return;
  }
  quotas->items = larger;
  quotas->items[quotas->count++] = (dr_quota){cores, path};
}

/* Look at point/rest and every directory above it up to `point`. */
static void walk_up(const char *fs_root, const char *point, const char *rest, bool v2, dr_quotas *quotas) {
  char *relative = strdup(rest);
  for (bool more = relative != NULL; more;) {
    if (v2) {
      char *file = dr_procfs_path(fs_root, "%s%s/cpu.max", point, relative);
      if (file != NULL) keep(quotas, read_quota_v2(file), file);
    } else {
      char *file = dr_procfs_path(fs_root, "%s%s/cpu.cfs_quota_us", point, relative);
      char *period_file = dr_procfs_path(fs_root, "%s%s/cpu.cfs_period_us", point, relative);
      if (file != NULL && period_file != NULL)
        keep(quotas, read_quota_v1(file, period_file), file);
      else
        free(file);
      free(period_file);
    }
    char *slash = strrchr(relative, '/');
    more = slash != NULL;
    if (more) *slash = '\0';
  }
  free(relative);
}

/* True if a component of the path is "..": the group lies outside this cgroup namespace and cannot be named here. */
static bool leaves_namespace(const char *path) {
  for (const char *at = strstr(path, "/.."); at != NULL; at = strstr(at + 1, "/.."))
    if (at[3] == '\0' || at[3] == '/') return true;
  return false;
}

/* All quotas in one kind of tree. A mount whose root is not above our group shows a part of the tree that we cannot
 * place (a namespace, a bind mount); only if there is no better one, look for our path and then at its top. */
static void add_quotas(const char *fs_root, const char *cgroup_text, const char *mounts_text, bool v2,
                       dr_quotas *quotas) {
  char *group = find_group(cgroup_text, v2);
  for (int placed = 1; group != NULL && placed >= 0; placed--) {
    char *copy = strdup(mounts_text);
    char *cursor = copy;
    bool found = false;
    for (char *line; copy != NULL && (line = dr_procfs_line(&cursor)) != NULL;) {
      mount at;
      if (!parse_mount(line, v2, &at)) continue;
      const char *rest = leaves_namespace(group) ? NULL : below(group, at.root);
      if (placed && rest == NULL) continue;
      found = true;
      if (!placed) rest = leaves_namespace(group) || strcmp(group, "/") == 0 ? "" : group;
      walk_up(fs_root, at.point, rest, v2, quotas);
    }
    free(copy);
    if (found) break;
  }
  free(group);
}

void dr_cores_quotas(const char *root, pid_t pid, dr_quotas *out) {
  *out = (dr_quotas){0, NULL};
  char *cgroup_text = dr_procfs_read_of(root, pid, "cgroup", NULL);
  char *mounts_text = dr_procfs_read_of(root, pid, "mountinfo", NULL);
  if (cgroup_text != NULL && mounts_text != NULL) {
    add_quotas(root, cgroup_text, mounts_text, true, out);
    add_quotas(root, cgroup_text, mounts_text, false, out);
  }
  free(cgroup_text);
  free(mounts_text);
}

void dr_quotas_free(dr_quotas *quotas) {
  for (size_t i = 0; i < quotas->count; i++) free(quotas->items[i].path);
  free(quotas->items);
  *quotas = (dr_quotas){0, NULL};
}

void dr_cores_decide(int32_t num_affinity, const dr_quotas *quotas, drover_cores *out) {
  const dr_quota *smallest = NULL;
  for (size_t i = 0; i < quotas->count; i++)
    if (smallest == NULL || quotas->items[i].cores < smallest->cores) smallest = &quotas->items[i];

  out->num_affinity = num_affinity > 0 ? num_affinity : 1;
  out->num_cores = out->num_affinity;
  out->quota = smallest == NULL ? 0.0 : smallest->cores;
  snprintf(out->quota_path, sizeof out->quota_path, "%s", smallest == NULL ? "" : smallest->path);
  if (smallest != NULL && smallest->cores < (double)out->num_cores) {
    const int32_t whole = (int32_t)smallest->cores;
    out->num_cores = (double)whole < smallest->cores ? whole + 1 : whole; /* ceil, and > 0 as the quota is */
  }
}

drover_status drover_threads_get_cores(const char *filesystem_root, drover_cores *out) {
  if (out == NULL) return dr_fail(DROVER_ERROR_ARGUMENT, "cores: out must not be NULL");
  if (out->size != sizeof *out)
    return dr_fail(DROVER_ERROR_ARGUMENT, "cores: out->size must be sizeof(drover_cores) = %zu, got %zu", sizeof *out,
                   out->size);
  const int32_t num_affinity = dr_cores_affinity(0);
  if (num_affinity < 0) return dr_fail(DROVER_ERROR_IO, "cores: the affinity mask cannot be read: %s", strerror(errno));
  dr_quotas quotas;
  dr_cores_quotas(filesystem_root, 0, &quotas);
  dr_cores_decide(num_affinity, &quotas, out);
  dr_quotas_free(&quotas);
  return DROVER_OK;
}
