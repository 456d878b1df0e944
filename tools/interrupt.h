/* interrupt.h: Ctrl-C and SIGTERM end a run gently; a second one ends the process at once. */
#ifndef DR_TOOLS_INTERRUPT_H
#define DR_TOOLS_INTERRUPT_H

#include <drover/runtime.h>
#include <stdbool.h>

/* From now on the first SIGINT or SIGTERM cancels runs on the runtime of dr_interrupt_watch, the second exits with
 * DR_EXIT_INTERRUPTED at once. */
void dr_interrupt_install(void);

/* The runtime to cancel; NULL before it is destroyed. Main thread. */
void dr_interrupt_watch(drover_runtime *runtime);

/* Whether a signal came. Any thread. */
bool dr_interrupt_pending(void);

/* Cancel again if a signal came: closes the gap in which one arrives just before a call begins, whose beginning
 * ends the cancellation. For progress callbacks; any thread. */
void dr_interrupt_repeat(void);

#endif
