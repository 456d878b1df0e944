/* arena.h: oneTBB's task arena behind plain C. The only header that arena.cpp shows. */
#ifndef DR_RUNTIME_ARENA_H
#define DR_RUNTIME_ARENA_H

#include <drover/base.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dr_arena dr_arena;

/* What a task calls: worker is the thread's place in the arena, 1..num_workers - 1 (0 for dr_arena_execute). */
typedef void (*dr_arena_fn)(void *arg, uint64_t word, int32_t worker);

/* An arena for num_workers threads, one place of them reserved for a caller. Raises oneTBB's process-wide limit (by one
 * global_control that all arenas share) only where num_workers exceeds what oneTBB gives by itself. */
drover_status dr_arena_create(dr_arena **out, int32_t num_workers);
void dr_arena_destroy(dr_arena *arena);

/* Run fn on the calling thread as a member of the arena, in its reserved place. One thread at a time. */
drover_status dr_arena_execute(dr_arena *arena, dr_arena_fn fn, void *arg);

/* Have some worker run fn(arg, word, its index) soon; first in, first out. Any thread. */
drover_status dr_arena_enqueue(dr_arena *arena, dr_arena_fn fn, void *arg, uint64_t word);

#ifdef __cplusplus
}
#endif
#endif
