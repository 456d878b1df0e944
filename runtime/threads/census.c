/* census.c: the threads of a process, out of /proc. */
#include "runtime/threads/census.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/error.h"
#include "runtime/threads/procfs.h"

/* "tid (name) S ppid ... utime stime ...": a name may hold spaces and parentheses, so it ends at the last ')'. Fields
 * 14 and 15 of proc(5) are user and system time in clock ticks. */
bool dr_census_parse_stat(const char *text, double ticks_per_second, drover_thread *out) {
  const char *open = strchr(text, '(');
  const char *close = strrchr(text, ')');
  unsigned long long user = 0, system = 0;
  char state = '\0';
  int tid = 0;
  if (open == NULL || close == NULL || close < open || sscanf(text, "%d", &tid) != 1) return false;
  if (sscanf(close + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &state, &user, &system) != 3)
    return false;
  memset(out, 0, sizeof *out);
  out->tid = tid;
  out->state = state;
  out->cpu_seconds = (double)(user + system) / ticks_per_second;
  out->voluntary_switches = -1;
  out->forced_switches = -1;
  snprintf(out->name, sizeof out->name, "%.*s", (int)(close - open - 1), open + 1);
  for (char *at = out->name; *at != '\0'; at++)
    if ((unsigned char)*at < 0x20 || *at == 0x7f) *at = '?'; /* a name is any bytes: keep terminals safe */
  return true;
}

int32_t dr_census_count_mask(const char *mask) {
  int32_t count = 0;
  for (const char *at = mask; *at != '\0' && *at != '\n'; at++) {
    const char digit[2] = {*at, '\0'};
    if (*at != ',') count += __builtin_popcountl(strtoul(digit, NULL, 16));
  }
  return count;
}

/* What a status file says behind "<key>:" and white space, or NULL. */
static const char *status_field(const char *text, const char *key) {
  const size_t length = strlen(key);
  for (const char *at = text; at != NULL; at = strchr(at, '\n')) {
    if (*at == '\n') at++;
    if (strncmp(at, key, length) == 0 && at[length] == ':') return at + length + 1 + strspn(at + length + 1, " \t");
  }
  return NULL;
}

int32_t dr_census_affinity_of(const char *root, pid_t pid) {
  char *text = dr_procfs_read_of(root, pid, "status", NULL);
  const char *mask = text == NULL ? NULL : status_field(text, "Cpus_allowed");
  const int32_t count = mask == NULL ? 0 : dr_census_count_mask(mask);
  free(text);
  return count;
}

static void read_switches(const char *folder, const char *tid, drover_thread *out) {
  char *path = dr_procfs_path(NULL, "%s/%s/status", folder, tid);
  char *text = path == NULL ? NULL : dr_procfs_read(path, NULL);
  free(path);
  if (text == NULL) return;
  const char *mask = status_field(text, "Cpus_allowed");
  const char *voluntary = status_field(text, "voluntary_ctxt_switches");
  const char *forced = status_field(text, "nonvoluntary_ctxt_switches");
  if (mask != NULL) out->num_cpus = dr_census_count_mask(mask);
  if (voluntary != NULL) out->voluntary_switches = strtoll(voluntary, NULL, 10);
  if (forced != NULL) out->forced_switches = strtoll(forced, NULL, 10);
  free(text);
}

static bool add_thread(const char *folder, const char *tid, bool with_switches, double ticks, dr_census *out) {
  if (out->count == out->capacity) {
    const size_t capacity = out->capacity == 0 ? 32 : 2 * out->capacity;
    drover_thread *larger = realloc(out->items, capacity * sizeof *larger);
    if (larger == NULL) return false;
    out->items = larger;
    out->capacity = capacity;
  }
  char *path = dr_procfs_path(NULL, "%s/%s/stat", folder, tid);
  char *text = path == NULL ? NULL : dr_procfs_read(path, NULL);
  drover_thread *thread = &out->items[out->count];
  if (text != NULL && dr_census_parse_stat(text, ticks, thread)) { /* else: it has ended */
    if (with_switches) read_switches(folder, tid, thread);
    out->count++;
  }
  free(path);
  free(text);
  return true;
}

static int compare_tids(const void *a, const void *b) {
  const drover_thread *x = a, *y = b;
  return (x->tid > y->tid) - (x->tid < y->tid);
}

drover_status dr_census_take(const char *root, pid_t pid, bool with_switches, dr_census *out) {
  out->count = 0;
  char *folder = pid == 0 ? dr_procfs_path(root, "/proc/self/task") : dr_procfs_path(root, "/proc/%ld/task", (long)pid);
  if (folder == NULL) return dr_fail(DROVER_ERROR_NO_MEMORY, "census: no memory");
  DIR *tasks = opendir(folder);
  const int error = errno;
  if (tasks == NULL) {
    free(folder);
    char *proc = dr_procfs_path(root, "/proc/self/stat");
    const bool has_proc = proc != NULL && access(proc, R_OK) == 0;
    free(proc);
    if (error == ENOENT && has_proc) return dr_fail(DROVER_ERROR_NOT_FOUND, "there is no process %ld", (long)pid);
    if (!has_proc) return dr_fail(DROVER_ERROR_IO, "%s/proc cannot be read; is it mounted?", root == NULL ? "" : root);
    return dr_fail(DROVER_ERROR_IO, "process %ld may not be looked at: %s", (long)pid, strerror(error));
  }
  const long ticks = sysconf(_SC_CLK_TCK);
  bool good = true;
  for (const struct dirent *entry; good && (entry = readdir(tasks)) != NULL;)
    if (entry->d_name[0] != '.')
      good = add_thread(folder, entry->d_name, with_switches, ticks > 0 ? (double)ticks : 100.0, out);
  closedir(tasks);
  free(folder);
  if (!good) return dr_fail(DROVER_ERROR_NO_MEMORY, "census: no memory for %zu threads", out->count + 1);
  if (out->count == 0) return dr_fail(DROVER_ERROR_NOT_FOUND, "process %ld has just ended", (long)pid);
  qsort(out->items, out->count, sizeof *out->items, compare_tids);
  return DROVER_OK;
}

void dr_census_free(dr_census *census) {
  free(census->items);
  *census = (dr_census){0, 0, NULL};
}

int32_t dr_census_runnable(const dr_census *census) {
  int32_t count = 0;
  for (size_t i = 0; i < census->count; i++) count += census->items[i].state == 'R';
  return count;
}
