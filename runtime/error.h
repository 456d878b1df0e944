/* error.h: how a failing call leaves its sentence for drover_last_error. */
#ifndef DR_RUNTIME_ERROR_H
#define DR_RUNTIME_ERROR_H

#include <drover/base.h>
#include <stdarg.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { DR_MESSAGE_BYTES = 512 };

/* Keep "<what was wrong, where, and what would be right>" for this thread and return status. */
drover_status dr_fail(drover_status status, const char *format, ...) DROVER_PRINTF(2, 3);

/* The same message under another status or from another thread: copy a finished sentence. */
drover_status dr_fail_with(drover_status status, const char *message);

#ifdef __cplusplus
}
#endif
#endif
