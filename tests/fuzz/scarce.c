/* scarce.c: malloc and its relatives over glibc's own, counting and failing. */
#include "tests/fuzz/scarce.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);
void *__libc_memalign(size_t align, size_t size);
void __libc_free(void *memory);

static _Atomic int64_t num_live;
static _Thread_local bool counting, keeps_failing, has_failed;
static _Thread_local int64_t num_calls, fails_at;

static bool fails(void) {
  if (!counting) return false;
  num_calls++;
  if (num_calls != fails_at && !(has_failed && keeps_failing)) return false;
  has_failed = true;
  errno = ENOMEM;
  return true;
}

static void *made(void *memory) {
  if (memory) atomic_fetch_add_explicit(&num_live, 1, memory_order_relaxed);
  return memory;
}

void scarce_begin(int64_t k, bool keeps) {
  num_calls = 0;
  fails_at = k;
  keeps_failing = keeps;
  has_failed = false;
  counting = true;
}

bool scarce_end(void) {
  counting = false;
  return has_failed;
}

int64_t scarce_count(void) { return num_calls; }

int64_t scarce_live(void) { return atomic_load_explicit(&num_live, memory_order_relaxed); }

void *malloc(size_t size) { return fails() ? NULL : made(__libc_malloc(size)); }
void *calloc(size_t count, size_t size) { return fails() ? NULL : made(__libc_calloc(count, size)); }
void *aligned_alloc(size_t align, size_t size) { return fails() ? NULL : made(__libc_memalign(align, size)); }
void *memalign(size_t align, size_t size) { return aligned_alloc(align, size); }

void *realloc(void *memory, size_t size) {
  if (fails()) return NULL;
  void *moved = __libc_realloc(memory, size);
  return memory ? moved : made(moved);
}

int posix_memalign(void **out, size_t align, size_t size) {
  if (fails()) return ENOMEM;
  *out = made(__libc_memalign(align, size));
  return *out ? 0 : ENOMEM;
}

void free(void *memory) {
  if (memory) atomic_fetch_sub_explicit(&num_live, 1, memory_order_relaxed);
  __libc_free(memory);
}
