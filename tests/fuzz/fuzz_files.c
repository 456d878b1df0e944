/* fuzz_files.c: every kind of file and saved state, changed at random, is either refused with a sentence, and nothing
 * is changed, or taken and then works. To be run under AddressSanitizer, where it means most.
 *
 *   fuzz_files [--seconds S] [--seed N] [--format NAME] [--case N] [--keep FILE] [--verbose]
 *
 * Formats take turns. A case depends on (seed, format, number) alone: --format and --case repeat one, --keep writes its
 * input. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"

static const fuzz_format *const formats[] = {&fuzz_policy,    &fuzz_ppo,  &fuzz_inner, &fuzz_batch, &fuzz_log,
#ifdef DROVER_MUJOCO
                                             &fuzz_reference, &fuzz_model
#endif
};
enum { NUM_FORMATS = sizeof formats / sizeof *formats, MOST_TOLD = 20, TURN = 10 };

char fuzz_path[128];

typedef struct counts {
  int64_t tried, accepted, refused;
} counts;

static counts totals[NUM_FORMATS];
static int present;    /* format */
static int64_t number; /* of its case */
static int num_failures;
static const char *keep;

void fuzz_fail(const char *format, ...) {
  if (++num_failures > MOST_TOLD) return;
  va_list args;
  va_start(args, format);
  fprintf(stderr, "FAILED  --format %s --case %" PRId64 ": ", formats[present]->name, number);
  vfprintf(stderr, format, args);
  fputc('\n', stderr);
  va_end(args);
}

void fuzz_input(const fuzz_bytes *bytes) {
  if (keep) fuzz_write(keep, bytes);
}

void fuzz_accepted(void) { totals[present].accepted++; }

/* One line of text, as it will stand on a terminal. */
void fuzz_refused(drover_status status, const char *message) {
  totals[present].refused++;
  FUZZ_EXPECT(status != DROVER_OK, "success was taken for a failure");
  FUZZ_EXPECT(strcmp(drover_status_name(status), "unknown status") != 0, "status %d is unknown", (int)status);
  FUZZ_EXPECT(strlen(message) > 8, "%s without a sentence: '%s'", drover_status_name(status), message);
  for (const char *c = message; *c; c++)
    if ((unsigned char)*c < ' ' || *c == 127) {
      fuzz_fail("the message has a control character, %d: '%s'", *c, message);
      break;
    }
}

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void attempt(int format, int64_t at, uint64_t seed, bool verbose) {
  present = format;
  number = at;
  if (verbose) fprintf(stderr, "--format %s --case %" PRId64 "\n", formats[format]->name, at);
  drover_random random = drover_random_at(seed, (uint32_t)format, DROVER_RANDOM_USER, (uint64_t)at);
  totals[format].tried++;
  formats[format]->attempt(&random);
}

static int find_format(const char *name) {
  for (int i = 0; i < NUM_FORMATS; i++)
    if (strcmp(formats[i]->name, name) == 0) return i;
  fprintf(stderr, "fuzz_files: there is no format '%s'\n", name);
  exit(2);
}

typedef struct options {
  double seconds;
  uint64_t seed;
  int only;          /* format, or -1 */
  int64_t only_case; /* or -1 */
  bool verbose;
} options;

static options read_options(int argc, char **argv) {
  options o = {.seconds = 5, .seed = 1, .only = -1, .only_case = -1};
  for (int i = 1; i < argc; i++) {
    const char *value = i + 1 < argc ? argv[i + 1] : "";
    if (strcmp(argv[i], "--verbose") == 0) {
      o.verbose = true;
      continue;
    }
    if (strcmp(argv[i], "--seconds") == 0)
      o.seconds = strtod(value, NULL);
    else if (strcmp(argv[i], "--seed") == 0)
      o.seed = strtoull(value, NULL, 10);
    else if (strcmp(argv[i], "--format") == 0)
      o.only = find_format(value);
    else if (strcmp(argv[i], "--case") == 0)
      o.only_case = strtoll(value, NULL, 10);
    else if (strcmp(argv[i], "--keep") == 0)
      keep = value;
    else
      fprintf(stderr, "fuzz_files: unknown option '%s'\n", argv[i]), exit(2);
    i++;
  }
  return o;
}

int main(int argc, char **argv) {
  const options o = read_options(argc, argv);
  char folder[] = "/tmp/drover-fuzz-XXXXXX";
  if (!mkdtemp(folder)) {
    fprintf(stderr, "fuzz_files: no folder for files: %s\n", strerror(errno));
    return 2;
  }
  snprintf(fuzz_path, sizeof fuzz_path, "%s/input", folder);
  for (int f = 0; f < NUM_FORMATS; f++)
    if (o.only < 0 || o.only == f) formats[f]->open();
  const double begin = seconds();
  for (int64_t turn = 0; o.only_case < 0 && (turn == 0 || seconds() - begin < o.seconds); turn++)
    for (int f = 0; f < NUM_FORMATS; f++)
      for (int64_t i = 0; i < TURN && (o.only < 0 || o.only == f); i++) attempt(f, turn * TURN + i, o.seed, o.verbose);
  if (o.only_case >= 0) attempt(o.only < 0 ? 0 : o.only, o.only_case, o.seed, o.verbose);
  for (int f = 0; f < NUM_FORMATS; f++) {
    if (o.only >= 0 && o.only != f) continue;
    formats[f]->close();
    const counts *c = &totals[f];
    printf("%-10s %7" PRId64 " inputs: %" PRId64 " refused, %" PRId64 " taken\n", formats[f]->name, c->tried,
           c->refused, c->accepted);
    /* A test that refuses or takes everything tests nothing. */
    if (o.only_case < 0 && c->tried > 100 && (c->refused == 0 || c->accepted == 0)) num_failures++;
  }
  unlink(fuzz_path);
  rmdir(folder);
  printf("%d failures, seed %" PRIu64 "\n", num_failures, o.seed);
  return num_failures > 0;
}
