/* check.h: a call that has to succeed, in tests and in plain programs. */
#ifndef DR_TESTS_SUPPORT_CHECK_H
#define DR_TESTS_SUPPORT_CHECK_H

#include <drover/base.h>
#include <stdio.h>
#include <stdlib.h>

static inline void check_ok(drover_status status, const char *call, const char *file, int line) {
  if (status == DROVER_OK) return;
  fprintf(stderr, "%s:%d: %s returned %s: %s\n", file, line, call, drover_status_name(status), drover_last_error());
  abort();
}

/* End the program, with the message, unless the call returns DROVER_OK. */
#define OK(call) check_ok((call), #call, __FILE__, __LINE__)

#endif
