/* learner.c: the beginning, the calls and the end of any learner's handle. */
#include "policy/learn/learner.h"

#include "runtime/error.h"
#include "runtime/runtime.h"
#include "runtime/worker.h"

void dr_learner_open(dr_learner *self, dr_handle_kind kind) {
  atomic_fetch_add_explicit(&self->policy->num_users, 1, memory_order_relaxed);
  atomic_fetch_add_explicit(&self->runtime->num_objects, 1, memory_order_relaxed);
  dr_handle_open(&self->handle, kind);
}

drover_status dr_learner_enter(dr_learner *self, dr_handle_kind kind, const char *what) {
  drover_status status = dr_handle_check(self, kind, what);
  if (!status) status = dr_runtime_check(self->runtime, what);
  if (!status) status = dr_worker_check_outside(what);
  if (status) return status;
  /* acquire/release of `busy`: calls from different threads, one after the other, see each other's state. */
  if (atomic_exchange_explicit(&self->busy, 1, memory_order_acquire) == 0) return DROVER_OK;
  return dr_fail(DROVER_ERROR_STATE,
                 "%s: another call on this learner is in progress; calls on one learner must not overlap", what);
}

void dr_learner_leave(dr_learner *self) { atomic_store_explicit(&self->busy, 0, memory_order_release); }

drover_status dr_learner_destroy(dr_learner *self, dr_handle_kind kind, const char *what,
                                 void (*release)(dr_learner *self)) {
  if (!self) return DROVER_OK;
  drover_status status = dr_handle_check(self, kind, what);
  if (status) return status;
  if (dr_runtime_check_fork(self->runtime, what)) return DROVER_OK;
  status = dr_learner_enter(self, kind, what);
  if (status) return status;
  drover_runtime *const runtime = self->runtime;
  drover_policy *const policy = self->policy;
  release(self);
  dr_handle_bury(&self->handle);
  /* release: destroy of the policy and the runtime, which acquire, must see the learner gone. */
  atomic_fetch_sub_explicit(&policy->num_users, 1, memory_order_release);
  atomic_fetch_sub_explicit(&runtime->num_objects, 1, memory_order_release);
  return DROVER_OK;
}
