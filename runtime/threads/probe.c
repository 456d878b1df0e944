/* probe.c: is a library's setting the calling thread's own, or the whole process's? */
#include "runtime/threads/probe.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>

typedef struct probe {
  int (*get)(void);
  void (*set)(int);
  bool took;
} probe;

/* A neighbouring value, so that a process-wide setting, wrong for a moment, is wrong by little: the number of threads
 * or of levels goes up by one, or down where it has no room above. */
static void *probe_main(void *user) {
  probe *p = user;
  const int before = p->get();
  const int other = before < 1 << 20 ? before + 1 : before - 1;
  p->set(other);
  p->took = p->get() == other;
  if (!p->took) { /* some have a lower limit than the one they report */
    p->set(before - 1);
    p->took = p->get() == before - 1;
  }
  return NULL;
}

dr_probe_result dr_probe_setting(int (*get)(void), void (*set)(int)) {
  probe p = {get, set, false};
  const int before = get();
  /* The host's signals are not for this thread: it inherits a full mask. */
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  pthread_t thread;
  const int status = pthread_create(&thread, NULL, probe_main, &p);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  if (status != 0) return DR_PROBE_FAILED;
  pthread_join(thread, NULL);
  const int after = get();
  if (after != before) set(before);
  if (!p.took) return DR_PROBE_FAILED;
  return after == before ? DR_PROBE_THREAD : DR_PROBE_PROCESS;
}
