/* window.h: a stretch of code in which this thread's `operator new` takes from a buffer instead of the heap.
 *
 * dnnl_primitive_execute makes two hash tables and a std::function of its arguments and frees them before it returns:
 * about eight allocations a call. Steady-state steps allocate nothing, so inference runs it inside a window. */
#ifndef DR_POLICY_WINDOW_H
#define DR_POLICY_WINDOW_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { DR_WINDOW_BYTES = 4096 };

/* From here to dr_window_close, allocations of this thread by `operator new` come from buffer [bytes], 16-byte aligned
 * (from the heap once it is full). Windows do not nest. */
void dr_window_open(void *buffer, size_t bytes);

/* The end of it. Returns how many of the window's allocations were not freed: anything but 0 means that somebody still
 * points into the buffer. */
long dr_window_close(void);

#ifdef __cplusplus
}
#endif
#endif
