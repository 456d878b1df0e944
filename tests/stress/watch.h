/* watch.h: a hang becomes a report. A thread looks at a beat that every finished piece of work advances; if it stands
 * still for too long, it prints what each thread of the process is doing (from /proc) and ends the process with code 3.
 */
#ifndef TESTS_STRESS_WATCH_H
#define TESTS_STRESS_WATCH_H

/* Begin to watch. A beat must come every WATCH_SECONDS: longer than a busy machine stands still, shorter than the time
 * limits of the tests (tests/stress/CMakeLists.txt), so that it is this report that tells of a hang. */
enum { WATCH_SECONDS = 150 };
void watch_start(const char *program);
void watch_stop(void);

/* Something was finished. Any thread. */
void watch_beat(void);

/* What this thread does from now on, for the report; copied. */
void watch_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* How much slower than a plain build this one runs: sanitizers multiply time limits. */
int watch_slowness(void);

/* Print every thread of the process, its state and its note, on stderr. */
void watch_print_threads(void);

#endif
