/* procfs.h: files of /proc and /sys, read whole, under a root that a test may move. */
#ifndef DR_RUNTIME_THREADS_PROCFS_H
#define DR_RUNTIME_THREADS_PROCFS_H

#include <drover/base.h>
#include <sys/types.h>

/* A path under the root: "<root>/<formatted>", root NULL or "/" = the real one. NULL without memory. Free it. */
char *dr_procfs_path(const char *root, const char *format, ...) DROVER_PRINTF(2, 3);

/* The whole file, NUL-terminated, and its length (may be NULL). NULL with errno set if it cannot be read. Free it. */
char *dr_procfs_read(const char *path, size_t *length);

/* The same of "<root>/proc/<pid>/<file>"; pid 0 = self. */
char *dr_procfs_read_of(const char *root, pid_t pid, const char *file, size_t *length);

/* The next line of *cursor, its newline replaced by NUL, or NULL at the end; moves *cursor behind it. */
char *dr_procfs_line(char **cursor);

#endif
