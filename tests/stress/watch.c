/* watch.c: the watchdog and the list of threads it prints. */
#include "tests/stress/watch.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { MAX_NOTES = 64, NOTE_BYTES = 160 };

typedef struct note {
  long thread;
  char text[NOTE_BYTES];
} note;

static const char *program_name;
static _Atomic uint64_t beats;
static pthread_t watcher;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* the four below */
static pthread_cond_t stop_changed = PTHREAD_COND_INITIALIZER;
static bool stopping;
static note notes[MAX_NOTES];
static int num_notes;

int watch_slowness(void) {
#if defined(__SANITIZE_THREAD__)
  return 10;
#elif defined(__SANITIZE_ADDRESS__)
  return 3;
#else
  return 1;
#endif
}

void watch_beat(void) { atomic_fetch_add_explicit(&beats, 1, memory_order_relaxed); }

void watch_note(const char *format, ...) {
  char text[NOTE_BYTES];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  const long thread = syscall(SYS_gettid);
  pthread_mutex_lock(&lock);
  int i = 0;
  while (i < num_notes && notes[i].thread != thread) i++;
  if (i == num_notes) { /* the place of a thread that is long gone, if there is no other */
    i = num_notes < MAX_NOTES ? num_notes++ : (int)(thread % MAX_NOTES);
    notes[i].thread = thread;
  }
  memcpy(notes[i].text, text, sizeof text);
  pthread_mutex_unlock(&lock);
}

/* The first line of a file of a thread in /proc, without its end; "?" if it cannot be read. */
static void read_line(long thread, const char *file, char *out, size_t size) {
  char path[64];
  snprintf(path, sizeof path, "/proc/self/task/%ld/%s", thread, file);
  snprintf(out, size, "?");
  const int in = open(path, O_RDONLY | O_CLOEXEC);
  if (in < 0) return;
  const ssize_t got = read(in, out, size - 1);
  close(in);
  if (got <= 0) return;
  out[got] = '\0';
  out[strcspn(out, "\n")] = '\0';
}

void watch_print_threads(void) {
  DIR *folder = opendir("/proc/self/task");
  if (!folder) return;
  fprintf(stderr, "%10s  %-15s %-6s %-24s %s\n", "thread", "name", "state", "waits in",
          "system call (futex = 202), or what it does");
  for (struct dirent *entry; (entry = readdir(folder));) {
    const long thread = strtol(entry->d_name, NULL, 10);
    if (thread <= 0) continue;
    char name[32], stat[512], waits[64], call[160];
    read_line(thread, "comm", name, sizeof name);
    read_line(thread, "stat", stat, sizeof stat);
    read_line(thread, "wchan", waits, sizeof waits);
    read_line(thread, "syscall", call, sizeof call);
    const char *state = strrchr(stat, ')');
    fprintf(stderr, "%10ld  %-15s %-6.1s %-24s %s\n", thread, name, state ? state + 2 : "?", waits, call);
    for (int i = 0; i < num_notes; i++)
      if (notes[i].thread == thread) fprintf(stderr, "%10s  %s\n", "", notes[i].text);
  }
  closedir(folder);
}

static void *watch(void *unused) {
  (void)unused;
  uint64_t seen = atomic_load_explicit(&beats, memory_order_relaxed);
  int quiet_seconds = 0;
  pthread_mutex_lock(&lock);
  while (!stopping) {
    struct timespec next;
    clock_gettime(CLOCK_REALTIME, &next);
    next.tv_sec++;
    pthread_cond_timedwait(&stop_changed, &lock, &next);
    const uint64_t now = atomic_load_explicit(&beats, memory_order_relaxed);
    quiet_seconds = now == seen ? quiet_seconds + 1 : 0;
    seen = now;
    if (quiet_seconds < WATCH_SECONDS) continue;
    fprintf(stderr, "%s: HANG: nothing was finished for %d s\n", program_name, quiet_seconds);
    watch_print_threads();
    _exit(3);
  }
  pthread_mutex_unlock(&lock);
  return NULL;
}

void watch_start(const char *program) {
  program_name = program;
  stopping = false;
  if (pthread_create(&watcher, NULL, watch, NULL) != 0) {
    fprintf(stderr, "%s: no watchdog: no thread could be made\n", program);
    exit(1);
  }
}

void watch_stop(void) {
  pthread_mutex_lock(&lock);
  stopping = true;
  pthread_cond_signal(&stop_changed);
  pthread_mutex_unlock(&lock);
  pthread_join(watcher, NULL);
}
