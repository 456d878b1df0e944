/* meeting.h: a probe of toy envs that holds each thread's first step until as many threads as a test wants have come:
 * that so many workers joined does then not depend on how soon a busy machine lets a thread run. */
#ifndef DR_TESTS_SUPPORT_MEETING_H
#define DR_TESTS_SUPPORT_MEETING_H

#include <stdatomic.h>
#include <stdint.h>
#include <unistd.h>

typedef struct meeting {
  int32_t num_wanted;
  int32_t number; /* its own, from 1 */
  _Atomic int32_t num_come;
  _Atomic int32_t given_up; /* half a minute was not enough */
} meeting;

static inline void meeting_init(meeting *m, int32_t num_wanted) {
  static int32_t num_meetings;
  m->num_wanted = num_wanted;
  m->number = ++num_meetings;
  m->num_come = 0;
  m->given_up = 0;
}

/* As toy_config.probe, with the meeting as its user. */
static inline void meet(void *user, int32_t env, uint64_t step) {
  (void)env, (void)step;
  static _Thread_local int32_t latest;
  meeting *m = user;
  if (latest == m->number) return;
  latest = m->number;
  atomic_fetch_add(&m->num_come, 1);
  for (int32_t ms = 0; m->num_come < m->num_wanted && !m->given_up; ms++) {
    usleep(1000);
    if (ms == 30000) m->given_up = 1;
  }
}

#endif
