/* permutation.h: the order of rows in an epoch, out of (seed, update, epoch) alone. */
#ifndef DR_POLICY_LEARN_PERMUTATION_H
#define DR_POLICY_LEARN_PERMUTATION_H

#include <stdint.h>

/* Shuffle items [count] by the stream (seed, DROVER_RANDOM_LEARN, update, epoch). */
void dr_permute(uint64_t seed, int64_t update, int32_t epoch, int32_t *items, int32_t count);

#endif
