/* maps.h: the files mapped into another process, out of /proc/PID/maps. */
#ifndef DR_RUNTIME_THREADS_MAPS_H
#define DR_RUNTIME_THREADS_MAPS_H

#include <sys/types.h>

/* Call visit once for each mapped file (path as that process sees it, without " (deleted)"). 0; or -1 with errno if
 * the map may not be read. A process with several thousand mappings is fine: names are compared with the last one and
 * visit must expect a name again. */
int dr_maps_walk(const char *root, pid_t pid, void (*visit)(void *user, const char *path), void *user);

#endif
