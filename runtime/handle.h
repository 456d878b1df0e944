/* handle.h: how a public handle is told from a destroyed one.
 *
 * Every handle struct begins with a dr_handle. `destroy` frees what the handle owns and hands the struct itself to a
 * graveyard that keeps the last 1,024, so that a call on a closed handle reads valid memory and finds it dead. */
#ifndef DR_RUNTIME_HANDLE_H
#define DR_RUNTIME_HANDLE_H

#include <drover/base.h>
#include <stdatomic.h>

typedef enum dr_handle_kind {
  DR_HANDLE_RUNTIME = 0x52755f44,
  DR_HANDLE_BATCH = 0x42615f44,
  DR_HANDLE_POLICY = 0x506f5f44,
  DR_HANDLE_ROLLOUT = 0x526f5f44,
  DR_HANDLE_PPO = 0x50705f44,
  DR_HANDLE_INNER = 0x496e5f44
} dr_handle_kind;

typedef struct dr_handle {
  _Atomic uint32_t
      kind; /* a dr_handle_kind while alive, 0 once destroyed; relaxed: a race with destroy is the caller's bug */
} dr_handle;

void dr_handle_open(dr_handle *handle, dr_handle_kind kind);

/* DROVER_OK if handle is alive and of this kind; else ARGUMENT (NULL or another kind) or CLOSED, naming `what`. */
drover_status dr_handle_check(const void *handle, dr_handle_kind kind, const char *what);

/* Mark the struct dead and give its memory (from malloc or aligned_alloc) to the graveyard. */
void dr_handle_bury(dr_handle *handle);

#endif
