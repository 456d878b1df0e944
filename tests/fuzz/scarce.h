/* scarce.h: an allocator that fails on request. scarce.c defines malloc and its relatives for the whole program, so it
 * cannot be linked under a sanitizer that brings its own. */
#ifndef DR_TESTS_FUZZ_SCARCE_H
#define DR_TESTS_FUZZ_SCARCE_H

#include <stdbool.h>
#include <stdint.h>

/* From here on the k-th allocation of this thread fails (k >= 1), and if `keeps` all later ones too. */
void scarce_begin(int64_t k, bool keeps);

/* Memory is plentiful again; whether an allocation failed. */
bool scarce_end(void);

/* How many allocations this thread made since scarce_begin. */
int64_t scarce_count(void);

/* Blocks alive, of all threads. */
int64_t scarce_live(void);

#endif
