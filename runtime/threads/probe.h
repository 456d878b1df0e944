/* probe.h: is a library's setting the calling thread's own, or the whole process's? */
#ifndef DR_RUNTIME_THREADS_PROBE_H
#define DR_RUNTIME_THREADS_PROBE_H

typedef enum dr_probe_result {
  DR_PROBE_FAILED = 0, /* no thread could be started, or the setting does not take */
  DR_PROBE_THREAD = 1,
  DR_PROBE_PROCESS = 2
} dr_probe_result;

/* Set it on a fresh thread of our own and see whether this thread notices; if so it is put back. */
dr_probe_result dr_probe_setting(int (*get)(void), void (*set)(int));

#endif
