/* mutate.c: byte strings and their changes. */
#include "tests/fuzz/mutate.h"

#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *must_have(void *memory) {
  if (memory) return memory;
  fprintf(stderr, "fuzz: no memory\n");
  exit(2);
}

fuzz_bytes fuzz_copy(const void *data, size_t size) {
  fuzz_bytes bytes = {must_have(malloc(size + 1)), size};
  if (size) memcpy(bytes.data, data, size);
  bytes.data[size] = '\0';
  return bytes;
}

fuzz_bytes fuzz_text(const char *text) { return fuzz_copy(text, strlen(text)); }

void fuzz_free(fuzz_bytes *bytes) {
  free(bytes->data);
  *bytes = (fuzz_bytes){0};
}

fuzz_bytes fuzz_read(const char *path) {
  FILE *file = fopen(path, "rb");
  long size = -1;
  if (file && fseek(file, 0, SEEK_END) == 0) size = ftell(file);
  if (size < 0) {
    fprintf(stderr, "fuzz: '%s' cannot be read\n", path);
    exit(2);
  }
  rewind(file);
  fuzz_bytes bytes = {must_have(malloc((size_t)size + 1)), (size_t)size};
  bytes.size = fread(bytes.data, 1, (size_t)size, file);
  bytes.data[bytes.size] = '\0';
  fclose(file);
  return bytes;
}

void fuzz_write(const char *path, const fuzz_bytes *bytes) {
  FILE *file = fopen(path, "wb");
  const size_t written = file ? fwrite(bytes->data, 1, bytes->size, file) : 0;
  if (file && fclose(file) == 0 && written == bytes->size) return;
  fprintf(stderr, "fuzz: '%s' cannot be written\n", path);
  exit(2);
}

size_t fuzz_below(drover_random *random, size_t count) { return (size_t)(drover_random_u64(random) % count); }

/* ---- Ranges -------------------------------------------------------------------------------------------------- */

/* Replace [at, at + length) by `size` bytes of `with`. */
static void splice(fuzz_bytes *bytes, size_t at, size_t length, const void *with, size_t size) {
  const size_t behind = bytes->size - at - length;
  fuzz_bytes made = {must_have(malloc(at + size + behind + 1)), at + size + behind};
  memcpy(made.data, bytes->data, at);
  if (size) memcpy(made.data + at, with, size);
  memcpy(made.data + at + size, bytes->data + at + length, behind);
  made.data[made.size] = '\0';
  free(bytes->data);
  *bytes = made;
}

void fuzz_append(fuzz_bytes *bytes, const fuzz_bytes *more) { splice(bytes, bytes->size, 0, more->data, more->size); }

/* A range of at most `most` bytes; short ones are likely. */
static size_t any_range(const fuzz_bytes *bytes, size_t most, size_t *length, drover_random *random) {
  const size_t at = fuzz_below(random, bytes->size + 1), left = bytes->size - at;
  size_t limit = (size_t)1 << fuzz_below(random, 12);
  if (limit > most) limit = most;
  *length = fuzz_below(random, (left < limit ? left : limit) + 1);
  return at;
}

/* ---- Binary changes ------------------------------------------------------------------------------------------ */

static const uint64_t integers[] = {
    0, 1, 2, 7, 255, 256, 65535, 65536, 0x7fffffff, 0x80000000, 0xfffffff, 0xffffffff, INT64_MAX, UINT64_MAX, 1u << 30};
static const uint32_t floats[] = {0x7fc00000, 0x7f800000, 0xff800000, 0x00000001, 0x7f7fffff, 0xff7fffff, 0x80000000};

/* `size` bytes of an interesting number, or of the present one a little changed, at a multiple of their size. */
static void change_number(fuzz_bytes *bytes, size_t size, drover_random *random) {
  if (bytes->size < size) return;
  /* Headers are at the beginning: half of the changes go there. */
  const size_t count = bytes->size / size, early = count < 16 ? count : 16;
  const size_t at = size * fuzz_below(random, random->used % 2 ? early : count);
  uint64_t number = 0;
  memcpy(&number, bytes->data + at, size);
  switch (fuzz_below(random, 3)) {
    case 0:
      number = integers[fuzz_below(random, sizeof integers / sizeof *integers)];
      break;
    case 1:
      number += fuzz_below(random, 17) - 8;
      break;
    default:
      number = floats[fuzz_below(random, sizeof floats / sizeof *floats)];
      if (size == 8) number = (uint64_t)0x7ff0000000000000u + fuzz_below(random, 2);
  }
  memcpy(bytes->data + at, &number, size);
}

static void change_bytes_once(fuzz_bytes *bytes, const fuzz_bytes *other, drover_random *random) {
  size_t length;
  const size_t at = any_range(bytes, bytes->size, &length, random);
  switch (fuzz_below(random, 9)) {
    case 0:
      if (bytes->size) bytes->data[fuzz_below(random, bytes->size)] ^= (unsigned char)(1u << fuzz_below(random, 8));
      break;
    case 1:
      if (bytes->size) bytes->data[fuzz_below(random, bytes->size)] = (unsigned char)drover_random_u32(random);
      break;
    case 2:
      change_number(bytes, 4, random);
      break;
    case 3:
    case 4:
      change_number(bytes, 8, random);
      break;
    case 5:
      splice(bytes, at, length, NULL, 0);
      break;
    case 6: {
      fuzz_bytes part = fuzz_copy(bytes->data + at, length);
      splice(bytes, at, 0, part.data, part.size);
      fuzz_free(&part);
      break;
    }
    case 7:
      splice(bytes, at, bytes->size - at, NULL, 0);
      break;
    default:
      if (other && other->size) {
        const size_t from = fuzz_below(random, 2) && at < other->size ? at : fuzz_below(random, other->size);
        splice(bytes, at, bytes->size - at, other->data + from, other->size - from);
      }
  }
}

void fuzz_change_bytes(fuzz_bytes *bytes, const fuzz_bytes *other, drover_random *random) {
  for (size_t left = 1 + fuzz_below(random, 4); left > 0; left--) change_bytes_once(bytes, other, random);
}

/* ---- Changes of texts ---------------------------------------------------------------------------------------- */

static const char *const numbers[] = {"0",
                                      "-0",
                                      "1",
                                      "-1",
                                      "65536",
                                      "65537",
                                      "16777217",
                                      "2147483647",
                                      "-2147483648",
                                      "4294967296",
                                      "9223372036854775807",
                                      "99999999999999999999",
                                      "-99999999999999999999",
                                      "1e999",
                                      "-1e999",
                                      "1e-320",
                                      "1e-300",
                                      "1e300",
                                      "nan",
                                      "-nan",
                                      "inf",
                                      "0x10",
                                      "1e",
                                      "1.5",
                                      "0.1",
                                      "",
                                      "--1",
                                      "1,1",
                                      "360"};
enum { NUM_NUMBERS = sizeof numbers / sizeof *numbers };

/* The next piece of the text behind a random place that is a number, a word or a line. */
static size_t find_piece(const fuzz_bytes *bytes, int (*belongs)(int), size_t *length, drover_random *random) {
  size_t at = fuzz_below(random, bytes->size + 1);
  while (at < bytes->size && !belongs(bytes->data[at])) at++;
  while (at > 0 && at < bytes->size && belongs(bytes->data[at - 1])) at--;
  *length = 0;
  while (at + *length < bytes->size && belongs(bytes->data[at + *length])) ++*length;
  return at;
}

static int of_number(int c) { return isdigit(c) || c == '.'; }
static int of_word(int c) { return isalnum(c) || c == '_'; }
static int of_line(int c) { return c != '\n'; }

static void change_text_once(fuzz_bytes *bytes, const char *const *words, drover_random *random) {
  size_t length, num_words = 0;
  while (words[num_words]) num_words++;
  const char *number = numbers[fuzz_below(random, NUM_NUMBERS)];
  const size_t kind = fuzz_below(random, 8);
  if (kind < 3) {
    const size_t at = find_piece(bytes, of_number, &length, random);
    splice(bytes, at, length, number, strlen(number));
  } else if (kind < 5 && num_words > 0) {
    const char *word = words[fuzz_below(random, num_words)];
    const size_t at = find_piece(bytes, of_word, &length, random);
    splice(bytes, at, length, word, strlen(word));
  } else if (kind == 5) {
    const size_t at = find_piece(bytes, of_line, &length, random);
    splice(bytes, at, length < bytes->size - at ? length + 1 : length, NULL, 0);
  } else if (kind == 6) {
    const size_t at = find_piece(bytes, of_line, &length, random);
    fuzz_bytes line = fuzz_copy(bytes->data + at, length < bytes->size - at ? length + 1 : length);
    splice(bytes, find_piece(bytes, of_line, &length, random), 0, line.data, line.size);
    fuzz_free(&line);
  } else {
    change_bytes_once(bytes, NULL, random);
  }
}

void fuzz_change_text(fuzz_bytes *bytes, const char *const *words, drover_random *random) {
  for (size_t left = 1 + fuzz_below(random, 4); left > 0; left--) change_text_once(bytes, words, random);
}
