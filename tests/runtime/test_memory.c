/* test_memory.c: a plain program linked with jemalloc: every worker allocates from a heap of its own, the caller keeps
 * its own, heaps are used again, and what envs allocate in a step is counted. */
#include <jemalloc/jemalloc.h>
#include <pthread.h>

#include "tests/support/meeting.h"
#include "tests/support/world.h"

static int num_failures;

#define EXPECT(condition, ...)           \
  do {                                   \
    if (condition) break;                \
    fprintf(stderr, "%s: ", #condition); \
    fprintf(stderr, __VA_ARGS__);        \
    fprintf(stderr, "\n");               \
    num_failures++;                      \
  } while (0)

static unsigned my_arena(void) {
  unsigned arena = 0;
  size_t size = sizeof arena;
  if (mallctl("thread.arena", &arena, &size, NULL, 0) != 0) abort();
  return arena;
}

static unsigned num_arenas(void) {
  unsigned count = 0;
  size_t size = sizeof count;
  if (mallctl("arenas.narenas", &count, &size, NULL, 0) != 0) abort();
  return count;
}

/* What the envs' steps saw: which threads, and the arena of each. */
enum { MAX_SEEN = 16 };
typedef struct seen {
  meeting meeting;
  pthread_mutex_t lock;
  int32_t count;
  pthread_t threads[MAX_SEEN];
  unsigned arenas[MAX_SEEN];
  int32_t num_moved; /* steps of a thread in another arena than before */
  size_t bytes;      /* allocated a step */
} seen;

static void look(void *user, int32_t env, uint64_t step) {
  seen *s = user;
  meet(&s->meeting, env, step);
  void *volatile memory = s->bytes > 0 ? malloc(s->bytes) : NULL; /* volatile: or the compiler leaves it out */
  free(memory);
  const unsigned arena = my_arena();
  pthread_mutex_lock(&s->lock);
  int32_t i = 0;
  while (i < s->count && !pthread_equal(s->threads[i], pthread_self())) i++;
  if (i == s->count && i < MAX_SEEN) {
    s->threads[s->count++] = pthread_self();
    s->arenas[i] = arena;
  }
  s->num_moved += s->arenas[i] != arena;
  pthread_mutex_unlock(&s->lock);
}

static void heaps_are_apart(void) {
  seen s = {.lock = PTHREAD_MUTEX_INITIALIZER};
  meeting_init(&s.meeting, 3);
  const unsigned mine = my_arena();
  world w;
  world_init(&w);
  w.runtime_options.num_workers = 5;
  w.config.sleep_us = 200;
  w.config.probe = look;
  w.config.probe_user = &s;
  world_open(&w);
  OK(drover_rollout_collect(w.rollout));
  OK(drover_rollout_collect(w.rollout));
  EXPECT(runtime_stats(w.runtime).has_heaps == 1, "no heaps");
  EXPECT(my_arena() == mine, "the caller was left in arena %u, it came with %u", my_arena(), mine);
  EXPECT(s.count >= 3, "only %d workers came", s.count);
  EXPECT(s.num_moved == 0, "%d steps in another arena", s.num_moved);
  for (int32_t i = 0; i < s.count; i++) {
    const bool caller = pthread_equal(s.threads[i], pthread_self());
    EXPECT(caller == (s.arenas[i] == mine), "a worker in the caller's arena %u", mine);
    for (int32_t j = 0; j < i; j++) EXPECT(s.arenas[i] != s.arenas[j], "two threads in arena %u", s.arenas[i]);
  }
  world_close(&w);
}

static void allocations_are_counted(void) {
  for (int32_t workers = 1; workers <= 4; workers += 3) {
    seen s = {.lock = PTHREAD_MUTEX_INITIALIZER};
    world w;
    world_init(&w);
    w.runtime_options.num_workers = workers;
    w.config.sleep_us = 100;
    w.config.probe = look;
    w.config.probe_user = &s;
    world_open(&w);
    OK(drover_rollout_collect(w.rollout));
    OK(drover_runtime_reset_stats(w.runtime));
    OK(drover_rollout_collect(w.rollout));
    const uint64_t without = runtime_stats(w.runtime).total.allocated_bytes;
    s.bytes = 1000;
    OK(drover_runtime_reset_stats(w.runtime));
    OK(drover_rollout_collect(w.rollout));
    const uint64_t with = runtime_stats(w.runtime).total.allocated_bytes;
    /* 320 steps of 1,000 bytes, rounded up to jemalloc's size class of 1,024. */
    EXPECT(with - without >= 320 * 1000 && with - without <= 320 * 1100, "%d workers: %d bytes with, %d without",
           workers, (int)with, (int)without);
    EXPECT(without < 320, "%d workers: %d bytes in 320 steps that allocate nothing", workers, (int)without);
    world_close(&w);
  }
}

static void heaps_are_used_again(void) {
  world w;
  for (int32_t i = 0; i < 3; i++) {
    world_init(&w);
    w.runtime_options.num_workers = 4;
    world_open(&w);
    world_close(&w);
  }
  const unsigned before = num_arenas();
  for (int32_t i = 0; i < 20; i++) {
    world_init(&w);
    w.runtime_options.num_workers = 4;
    world_open(&w);
    OK(drover_rollout_collect(w.rollout));
    world_close(&w);
  }
  EXPECT(num_arenas() == before, "%u arenas after 20 more runtimes, %u before", num_arenas(), before);
}

int main(void) {
  heaps_are_apart();
  allocations_are_counted();
  heaps_are_used_again();
  return num_failures > 0;
}
