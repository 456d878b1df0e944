/* command.h: running the command under test in a folder of files that a bad usage must leave as they are. */
#ifndef DR_TESTS_FUZZ_COMMAND_H
#define DR_TESTS_FUZZ_COMMAND_H

#include <drover/base.h>
#include <stdbool.h>
#include <stdint.h>

#include "tests/fuzz/mutate.h"

enum { DONE = 0, FAILED = 1, USAGE = 2, NUM_CODES = 4 };

extern char **environ;

/* The program, and whether every line that runs is printed. */
extern const char *drover;
extern bool verbose;

extern int num_failures;
extern int64_t num_runs, num_codes[NUM_CODES];

typedef struct result {
  int code; /* exit code; -1: a signal or the time limit */
  fuzz_bytes out, err;
} result;

/* Run with these arguments (ended by NULL; [0] is the program's name) and variables, in the present folder. A signal, a
 * sanitizer's report, an exit code of its own and two minutes without an end are failures. */
result run(char *const *arguments, char *const *variables);
void free_result(result *r);

/* Count and tell a failure of the line that ran last. */
void fail(const result *r, const char *format, ...) DROVER_PRINTF(2, 3);

/* After bad usage: one sentence (argp adds where help is) that names the option or its value, unless name is NULL, and
 * nothing on standard output. */
void check_usage(const result *r, const char *name, const char *value);

/* The files that exist before every run, and what they hold. */
enum { POLICY, LOG, CONFIG, CHECKPOINT, PICTURE, NUM_EXISTING };
extern const char *const existing[NUM_EXISTING];
extern fuzz_bytes contents[NUM_EXISTING];

void lay_out_files(void);

/* Unless files may change: nothing is in the folder but what was, unchanged. Clean it in any case. */
void check_files(const result *r, bool may_change);

double seconds(void);

#endif
