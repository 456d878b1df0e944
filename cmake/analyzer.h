/* analyzer.h: what tools/check puts before every source for clang-tidy alone, and no compiler sees.
 *
 * dr_fail and dr_fail_with return their first argument. The analyzer looks at one source at a time, cannot know that,
 * and would follow paths on which a failed call returned success. */
#include "runtime/error.h"

#define dr_fail(status, ...)          ((void)dr_fail(status, __VA_ARGS__), (status))
#define dr_fail_with(status, message) ((void)dr_fail_with(status, message), (status))
