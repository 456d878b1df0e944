/* interrupt.c: the handlers behind interrupt.h. */
#include "tools/interrupt.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "tools/commands.h"

/* Set by the main thread, read by the handler: publishes a finished runtime. */
static _Atomic(drover_runtime *) watched;
/* How many signals came; written by the handler, read by anyone. */
static atomic_int num_signals;

static void on_signal(int number) {
  (void)number;
  if (atomic_fetch_add_explicit(&num_signals, 1, memory_order_relaxed) > 0) _exit(DR_EXIT_INTERRUPTED);
  dr_interrupt_repeat();
}

void dr_interrupt_install(void) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
}

void dr_interrupt_watch(drover_runtime *runtime) { atomic_store_explicit(&watched, runtime, memory_order_release); }

bool dr_interrupt_pending(void) { return atomic_load_explicit(&num_signals, memory_order_relaxed) > 0; }

void dr_interrupt_repeat(void) {
  drover_runtime *runtime = atomic_load_explicit(&watched, memory_order_acquire);
  if (runtime && dr_interrupt_pending()) drover_runtime_cancel(runtime);
}
