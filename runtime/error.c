/* error.c: statuses and the calling thread's latest message. */
#include "runtime/error.h"

#include <stdio.h>

static _Thread_local char last_message[DR_MESSAGE_BYTES];

drover_status dr_fail(drover_status status, const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(last_message, sizeof last_message, format, args);
  va_end(args);
  /* Names from files are in it, and it ends up on terminals: one line, no control characters. */
  for (char *c = last_message; *c; c++)
    if ((unsigned char)*c < ' ' || *c == 127) *c = '?';
  return status;
}

drover_status dr_fail_with(drover_status status, const char *message) { return dr_fail(status, "%s", message); }

const char *drover_last_error(void) { return last_message; }

const char *drover_status_name(drover_status status) {
  switch (status) {
#define DR_STATUS_NAME(name, value, meaning) \
  case name:                                 \
    return #name;
    DROVER_STATUS_LIST(DR_STATUS_NAME)
#undef DR_STATUS_NAME
  }
  return "unknown status";
}

const char *drover_status_meaning(drover_status status) {
  switch (status) {
#define DR_STATUS_MEANING(name, value, meaning) \
  case name:                                    \
    return meaning;
    DROVER_STATUS_LIST(DR_STATUS_MEANING)
#undef DR_STATUS_MEANING
  }
  return "unknown status";
}

const char *drover_version(void) { return DROVER_VERSION_STRING; }
