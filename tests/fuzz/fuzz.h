/* fuzz.h: what the formats share: cases that are numbered, counted and can be repeated. */
#ifndef DR_TESTS_FUZZ_FUZZ_H
#define DR_TESTS_FUZZ_FUZZ_H

#include <drover/base.h>
#include <stdbool.h>

#include "tests/fuzz/mutate.h"

/* What can be read: seeds made by the library itself, changed, read again. */
typedef struct fuzz_format {
  const char *name;
  void (*open)(void);                     /* make seeds and the objects that read */
  void (*attempt)(drover_random *random); /* one changed input */
  void (*close)(void);
} fuzz_format;

extern const fuzz_format fuzz_policy;    /* policies in safetensors */
extern const fuzz_format fuzz_ppo;       /* drover_ppo_load */
extern const fuzz_format fuzz_inner;     /* drover_inner_load */
extern const fuzz_format fuzz_batch;     /* drover_batch_load of every built-in env type */
extern const fuzz_format fuzz_log;       /* the CSV of `drover train` */
extern const fuzz_format fuzz_reference; /* the CSV of gait2d */
extern const fuzz_format fuzz_model;     /* MJCF */

/* The file that inputs are written to, in a folder of this process. */
extern char fuzz_path[128];

/* Begin a case's input: kept in a file where --keep asks for it. */
void fuzz_input(const fuzz_bytes *bytes);

/* What became of the input. */
void fuzz_accepted(void);
void fuzz_refused(drover_status status, const char *message); /* checks the sentence */

/* Count a failure of this case. */
void fuzz_fail(const char *format, ...) DROVER_PRINTF(1, 2);

#define FUZZ_EXPECT(condition, ...)           \
  do {                                        \
    if (!(condition)) fuzz_fail(__VA_ARGS__); \
  } while (0)

#endif
