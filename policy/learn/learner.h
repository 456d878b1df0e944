/* learner.h: what every learner's handle begins with, and the gate of its public calls: one call at a time. */
#ifndef DR_POLICY_LEARN_LEARNER_H
#define DR_POLICY_LEARN_LEARNER_H

#include "runtime/handle.h"
#include "runtime/policy.h"

typedef struct dr_learner {
  dr_handle handle;
  _Atomic int32_t busy; /* 1 in a call */
  drover_policy *policy;
  drover_runtime *runtime; /* the policy's */
} dr_learner;

/* From now on the learner is one of this kind, a user of its policy and an object of its runtime, which are set. */
void dr_learner_open(dr_learner *self, dr_handle_kind kind);

/* Every public call is between these two. Fails if the handle is not of this kind or closed, after a fork, on a
 * worker's thread, and while another call on this learner is in progress (DROVER_ERROR_STATE). */
drover_status dr_learner_enter(dr_learner *self, dr_handle_kind kind, const char *what);
void dr_learner_leave(dr_learner *self);

/* The whole of a public destroy: release() frees what the learner consists of. NULL is accepted. */
drover_status dr_learner_destroy(dr_learner *self, dr_handle_kind kind, const char *what,
                                 void (*release)(dr_learner *self));

#endif
