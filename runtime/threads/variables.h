/* variables.h: the environment variables that decide how many threads a library starts, and where they run. */
#ifndef DR_RUNTIME_THREADS_VARIABLES_H
#define DR_RUNTIME_THREADS_VARIABLES_H

#include <drover/threads.h>
#include <stdbool.h>

/* The index'th variable of the table (value NULL); false past the end. */
bool dr_variable_at(int32_t index, drover_thread_variable *out);

/* True if the name is not in the table but belongs to one of its families (KMP_..., MKL_...). */
bool dr_variable_is_relative(const char *name);

/* The value of `name` in an environment as /proc/PID/environ holds it (NUL-separated, `length` bytes), or NULL. */
const char *dr_environ_find(const char *environment, size_t length, const char *name);

/* A whole number >= 1 at the beginning of a value ("4", "4,2", " 8 "); 0 = unset; -1 = not one. */
int32_t dr_variable_count(const char *value);

/* DROVER_WORKERS of this process, for a runtime that was not told how many; 0 = unset or not a number in 1..65536. */
int32_t dr_requested_workers(void);

#endif
