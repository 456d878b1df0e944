/* memory.c: slabs, and the look-up, pool and binding of jemalloc heaps. */
#include "runtime/memory.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/types.h"

void *dr_slab_alloc(size_t count, size_t size) {
  size_t bytes;
  if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX - DR_LINE_BYTES) return NULL;
  bytes = (bytes + DR_LINE_BYTES - 1) / DR_LINE_BYTES * DR_LINE_BYTES;
  void *slab = NULL;
  return posix_memalign(&slab, DR_LINE_BYTES, bytes ? bytes : DR_LINE_BYTES) == 0 ? slab : NULL;
}

void *dr_slab_zalloc(size_t count, size_t size) {
  void *slab = dr_slab_alloc(count, size);
  if (slab) memset(slab, 0, count * size);
  return slab;
}

typedef int (*mallctl_fn)(const char *name, void *old, size_t *old_size, void *fresh, size_t fresh_size);

enum { POOL_SIZE = 4096 };

static mallctl_fn jemalloc_mallctl; /* NULL = malloc is another allocator; set once */
static pthread_mutex_t pool_lock = PTHREAD_MUTEX_INITIALIZER;
static int32_t pool[POOL_SIZE]; /* heaps that no runtime uses; under pool_lock */
static int32_t pool_count;

/* Another library may export a mallctl that does not serve malloc: allocate and see whether its count moves. */
static void look_up(void) {
  mallctl_fn found = NULL;
  void *symbol = dlsym(RTLD_DEFAULT, "mallctl");
  memcpy(&found, &symbol, sizeof found);
  if (!found) return;
  uint64_t before = 0, after = 0;
  size_t size = sizeof before;
  if (found("thread.allocated", &before, &size, NULL, 0) != 0) return;
  void *volatile probe = malloc(4096);
  const int status = found("thread.allocated", &after, &size, NULL, 0);
  free(probe);
  if (status == 0 && after >= before + 4096) jemalloc_mallctl = found;
}

bool dr_heap_available(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, look_up);
  return jemalloc_mallctl != NULL;
}

int32_t dr_heap_take(void) {
  if (!dr_heap_available()) return -1;
  int32_t heap = -1;
  pthread_mutex_lock(&pool_lock);
  if (pool_count > 0) heap = pool[--pool_count];
  pthread_mutex_unlock(&pool_lock);
  if (heap >= 0) return heap;
  unsigned made = 0;
  size_t size = sizeof made;
  return jemalloc_mallctl("arenas.create", &made, &size, NULL, 0) == 0 ? (int32_t)made : -1;
}

/* Heaps are never destroyed: oneTBB's threads outlive the runtime and may still be bound to them. */
void dr_heap_return(int32_t heap) {
  if (heap < 0) return;
  pthread_mutex_lock(&pool_lock);
  if (pool_count < POOL_SIZE) pool[pool_count++] = heap;
  pthread_mutex_unlock(&pool_lock);
}

void dr_heap_bind(int32_t heap) {
  unsigned index = (unsigned)heap;
  if (dr_heap_available() && heap >= 0) jemalloc_mallctl("thread.arena", NULL, NULL, &index, sizeof index);
}

uint64_t dr_heap_thread_allocated(void) {
  static _Thread_local const uint64_t *allocated; /* jemalloc's own counter of this thread */
  if (!allocated) {
    size_t size = sizeof allocated;
    if (!dr_heap_available() || jemalloc_mallctl("thread.allocatedp", &allocated, &size, NULL, 0) != 0) return 0;
  }
  return *allocated;
}
