/* base.h: what every public header needs: export macros, the version, statuses, the error message.
 *
 * Conventions of all public headers
 * - Every call that can fail returns a drover_status: DROVER_OK (0) or a negative code; the calling thread can read a
 *   sentence about its latest failure with drover_last_error().
 * - Handles are opaque. `create` makes one (out-parameter first), `destroy` ends it and accepts NULL. A call on a
 * handle that was destroyed returns DROVER_ERROR_CLOSED (best effort: the last 1,024 destroyed handles are recognised).
 * - Option structs begin with `size`; fill them with their `_init(options, sizeof *options)` call, then change fields.
 *   A field left at 0 means "decide for me" wherever 0 is not a meaningful value.
 * - Arrays are row-major and C-contiguous; comments give their shape, unit and owner.
 * - The library prints nothing, never exits, and touches no process-wide setting. */
#ifndef DROVER_BASE_H
#define DROVER_BASE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define DROVER_API                        __attribute__((visibility("default")))
#define DROVER_PRINTF(format_at, args_at) __attribute__((format(printf, format_at, args_at)))
#else
#define DROVER_API
#define DROVER_PRINTF(format_at, args_at)
#endif

/* X(name, value, meaning): the statuses, in one place. */
#define DROVER_STATUS_LIST(X)                                                               \
  X(DROVER_OK, 0, "success")                                                                \
  X(DROVER_ERROR_ARGUMENT, -1, "an argument, option or field is out of range")              \
  X(DROVER_ERROR_NO_MEMORY, -2, "memory could not be allocated")                            \
  X(DROVER_ERROR_CLOSED, -3, "the handle was destroyed")                                    \
  X(DROVER_ERROR_STATE, -4, "the call is not possible in the object's present state")       \
  X(DROVER_ERROR_FORKED, -5, "the runtime belongs to the parent of this forked process")    \
  X(DROVER_ERROR_CANCELLED, -6, "the run was cancelled; what all shards completed is kept") \
  X(DROVER_ERROR_FAULTS, -7, "more envs failed than the fault limit allows")                \
  X(DROVER_ERROR_ENV, -8, "an env type could not be opened or its table is wrong")          \
  X(DROVER_ERROR_POLICY, -9, "a policy failed or does not fit the env")                     \
  X(DROVER_ERROR_FORMAT, -10, "a file is malformed")                                        \
  X(DROVER_ERROR_IO, -11, "a file or system call failed")                                   \
  X(DROVER_ERROR_TIMEOUT, -12, "the time limit passed")                                     \
  X(DROVER_ERROR_NOT_FOUND, -13, "no such name")                                            \
  X(DROVER_ERROR_UNSUPPORTED, -14, "not available in this build, env or machine")           \
  X(DROVER_ERROR_OVERSUBSCRIBED, -15, "more threads would run than there are cores")        \
  X(DROVER_ERROR_INTERNAL, -16, "a dependency failed unexpectedly")                         \
  X(DROVER_ERROR_DIVERGED, -17, "a loss or a gradient is not finite")

typedef enum drover_status {
#define DROVER_STATUS_ENUM(name, value, meaning) name = value,
  DROVER_STATUS_LIST(DROVER_STATUS_ENUM)
#undef DROVER_STATUS_ENUM
} drover_status;

/* The name of a status ("DROVER_ERROR_ARGUMENT"); "unknown status" for other numbers. Any thread. */
DROVER_API const char *drover_status_name(drover_status status);

/* What the status means in general, a short phrase. Any thread. */
DROVER_API const char *drover_status_meaning(drover_status status);

/* The sentence of this thread's latest failed call ("" before the first). Owned by the library, valid until the
 * thread's next failing call. */
DROVER_API const char *drover_last_error(void);

/* The version of the library that is loaded, for instance "0.1.0". */
DROVER_API const char *drover_version(void);

#ifdef __cplusplus
}
#endif
#endif
