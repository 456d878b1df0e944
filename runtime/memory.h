/* memory.h: slabs, and jemalloc heaps where the process has jemalloc.
 *
 * The library never links jemalloc: it looks mallctl up among what the process has loaded and believes it only if a
 * plain malloc moves jemalloc's own count for this thread. */
#ifndef DR_RUNTIME_MEMORY_H
#define DR_RUNTIME_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* count x size bytes at a DR_LINE_BYTES boundary, not touched; NULL if there is not so much (or it overflows).
 * Released with free. */
void *dr_slab_alloc(size_t count, size_t size);

/* The same, zeroed by the calling thread. */
void *dr_slab_zalloc(size_t count, size_t size);

/* True if malloc is jemalloc's in this process. Looked up once. */
bool dr_heap_available(void);

/* A heap nobody else uses, from the process's pool; -1 if there is none. Give it back with dr_heap_return. */
int32_t dr_heap_take(void);
void dr_heap_return(int32_t heap);

/* Allocations of the calling thread come from this heap from now on. */
void dr_heap_bind(int32_t heap);

/* Bytes malloc has handed to the calling thread so far; 0 without jemalloc. */
uint64_t dr_heap_thread_allocated(void);

#endif
