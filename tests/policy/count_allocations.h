/* count_allocations.h: the calls of malloc and its family in this process, counted: the program's own definitions stand
 * before the C library's for every library in it. Included once a program. */
#ifndef DR_TESTS_POLICY_COUNT_ALLOCATIONS_H
#define DR_TESTS_POLICY_COUNT_ALLOCATIONS_H

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

static atomic_long num_allocations;

static void *counted(void *pointer) {
  atomic_fetch_add_explicit(&num_allocations, 1, memory_order_relaxed);
  return pointer;
}

/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name): the C library's names are reserved ones */
void *malloc(size_t size) { return counted(__libc_malloc(size)); }
void *calloc(size_t count, size_t size) { return counted(__libc_calloc(count, size)); }
void *realloc(void *old, size_t size) { return counted(__libc_realloc(old, size)); }
void *memalign(size_t alignment, size_t size) { return counted(__libc_memalign(alignment, size)); }
void *aligned_alloc(size_t alignment, size_t size) { return counted(__libc_memalign(alignment, size)); }
int posix_memalign(void **out, size_t alignment, size_t size) {
  *out = counted(__libc_memalign(alignment, size));
  return *out ? 0 : ENOMEM;
}
/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */

#endif
