/* procfs.c: files of /proc and /sys, read whole, under a root that a test may move. */
#include "runtime/threads/procfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char *dr_procfs_path(const char *root, const char *format, ...) {
  char *rest = NULL;
  va_list args;
  va_start(args, format);
  const int length = vasprintf(&rest, format, args);
  va_end(args);
  if (length < 0) return NULL;
  if (root == NULL || strcmp(root, "/") == 0) return rest;
  char *path = NULL;
  if (asprintf(&path, "%s%s", root, rest) < 0) path = NULL;
  free(rest);
  return path;
}

/* Files of /proc say that they are 0 bytes long, so the size is found by reading on. */
char *dr_procfs_read(const char *path, size_t *length) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return NULL;
  size_t used = 0, capacity = 4096;
  char *text = malloc(capacity + 1);
  while (text != NULL) {
    const ssize_t got = read(fd, text + used, capacity - used);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      free(text);
      text = NULL;
      break;
    }
    if (got == 0) break;
    used += (size_t)got;
    if (used < capacity) continue;
    capacity *= 2;
    char *larger = realloc(text, capacity + 1);
    if (larger == NULL) free(text);
    text = larger;
  }
  const int error = errno;
  close(fd);
  errno = error;
  if (text == NULL) return NULL;
  text[used] = '\0';
  if (length != NULL) *length = used;
  return text;
}

char *dr_procfs_read_of(const char *root, pid_t pid, const char *file, size_t *length) {
  char *path =
      pid == 0 ? dr_procfs_path(root, "/proc/self/%s", file) : dr_procfs_path(root, "/proc/%ld/%s", (long)pid, file);
  if (path == NULL) return NULL;
  char *text = dr_procfs_read(path, length);
  const int error = errno;
  free(path);
  errno = error;
  return text;
}

char *dr_procfs_line(char **cursor) {
  if (**cursor == '\0') return NULL;
  char *line = *cursor;
  char *end = strchr(line, '\n');
  if (end == NULL) {
    *cursor = line + strlen(line);
  } else {
    *end = '\0';
    *cursor = end + 1;
  }
  return line;
}
