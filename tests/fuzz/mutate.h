/* mutate.h: files changed at random: byte strings, and the ways in which they go wrong. Every change comes from a
 * counter-based stream, so that (seed, case) gives the same bytes on every machine. */
#ifndef DR_TESTS_FUZZ_MUTATE_H
#define DR_TESTS_FUZZ_MUTATE_H

#include <drover/random.h>
#include <stddef.h>

typedef struct fuzz_bytes {
  unsigned char *data; /* malloc'ed; one byte more than size, 0 */
  size_t size;
} fuzz_bytes;

fuzz_bytes fuzz_copy(const void *data, size_t size);
fuzz_bytes fuzz_text(const char *text);
void fuzz_append(fuzz_bytes *bytes, const fuzz_bytes *more);
void fuzz_free(fuzz_bytes *bytes);

/* A whole file; the program ends if it cannot be read or written. */
fuzz_bytes fuzz_read(const char *path);
void fuzz_write(const char *path, const fuzz_bytes *bytes);

/* 0..count-1. */
size_t fuzz_below(drover_random *random, size_t count);

/* One to four changes: bits, bytes, integers and floats of interest, ranges removed, doubled or filled, the end cut
 * off, and the end of `other` (may be NULL) in place of its own. */
void fuzz_change_bytes(fuzz_bytes *bytes, const fuzz_bytes *other, drover_random *random);

/* One to four changes of a text: numbers, words of `words` (ended by NULL), lines removed or doubled, bytes. */
void fuzz_change_text(fuzz_bytes *bytes, const char *const *words, drover_random *random);

#endif
