/* maps.c: the files mapped into another process, out of /proc/PID/maps. */
#include "runtime/threads/maps.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/threads/procfs.h"

/* "7f00-7f10 r-xp 00000000 08:01 1234    /usr/lib/libgomp.so.1": the path is the sixth field and may hold spaces. */
int dr_maps_walk(const char *root, pid_t pid, void (*visit)(void *user, const char *path), void *user) {
  char *text = dr_procfs_read_of(root, pid, "maps", NULL);
  if (text == NULL) return -1;
  char *cursor = text;
  const char *last = "";
  for (char *line; (line = dr_procfs_line(&cursor)) != NULL;) {
    char *path = strchr(line, '/');
    if (path == NULL) continue;
    char *deleted = strstr(path, " (deleted)");
    if (deleted != NULL) *deleted = '\0';
    if (strcmp(path, last) == 0) continue;
    visit(user, path);
    last = path;
  }
  free(text);
  return 0;
}
