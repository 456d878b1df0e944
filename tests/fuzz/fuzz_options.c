/* fuzz_options.c: every option struct, env table and spec with every field at values that nobody would choose, one at a
 * time and several at once; every public call with NULL and with a handle that was destroyed. A refusal has a sentence
 * that names the field; what is accepted works and ends.
 *
 *   fuzz_options [--seconds S] [--seed N] */
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/fuzz/mutate.h"
#include "tests/fuzz/options.h"
#include "tests/support/check.h"

static int num_failures;
static int64_t num_accepted;
int64_t num_tried;
char now_testing[256];

void fail(const char *format, ...) {
  if (++num_failures > 40) return;
  va_list args;
  va_start(args, format);
  fprintf(stderr, "FAILED  %s: ", now_testing);
  vfprintf(stderr, format, args);
  fputc('\n', stderr);
  va_end(args);
}

/* ---- Fields -------------------------------------------------------------------------------------------------- */

static const int64_t integers[] = {0,         1,
                                   -1,        2,
                                   3,         7,
                                   -2,        64,
                                   65,        1000,
                                   65536,     65537,
                                   1 << 20,   (1 << 20) + 1,
                                   1 << 24,   (1 << 24) + 1,
                                   INT_MAX,   INT_MIN,
                                   1ll << 32, 1ll << 40,
                                   INT64_MAX, INT64_MIN};
static const double reals[] = {0,    -0.0, 1,    -1,    0.5,    1.0000001, 2,         1e-300, 1e-40,
                               1e30, 3e38, 1e39, 1e308, -1e308, INFINITY,  -INFINITY, NAN,    DROVER_MAX_ENVS};
enum { NUM_INTEGERS = sizeof integers / sizeof *integers, NUM_REALS = sizeof reals / sizeof *reals };

static int num_values(field_kind kind) {
  return kind == POINTER ? 1 : kind == FLOAT || kind == DOUBLE ? NUM_REALS : NUM_INTEGERS;
}

static void set_field(void *object, const field *f, int value, char *text, size_t size) {
  unsigned char *at = (unsigned char *)object + f->offset;
  if (f->kind == FLOAT || f->kind == DOUBLE) {
    snprintf(text, size, "%s = %g", f->name, reals[value]);
    const float narrow = (float)reals[value];
    memcpy(at, f->kind == FLOAT ? (const void *)&narrow : (const void *)&reals[value], f->kind == FLOAT ? 4 : 8);
  } else if (f->kind == POINTER) {
    snprintf(text, size, "%s = NULL", f->name);
    memset(at, 0, sizeof(void *));
  } else {
    snprintf(text, size, "%s = %" PRId64, f->name, integers[value]);
    const int32_t narrow = (int32_t)(uint32_t)(uint64_t)integers[value];
    memcpy(at, f->kind == INT32 ? (const void *)&narrow : (const void *)&integers[value], f->kind == INT32 ? 4 : 8);
  }
}

/* ---- Trying -------------------------------------------------------------------------------------------------- */

/* The words that stand for a field where its name would say less. */
static bool names_field(const char *message, const char *field_name) {
  static const char *const words[][2] = {{"size", "_init"},
                                         {"size", "bytes"},
                                         {"abi_version", "ABI version"},
                                         {"num_hidden", "hidden"},
                                         {"save", "save and load"},
                                         {"action_kind", "action_size"},
                                         {"num_infos", "info_names"},
                                         {"num_params", "param_names"},
                                         {"num_ticks", "inner_observation_size"}};
  if (strstr(message, field_name)) return true;
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (strcmp(words[i][0], field_name) == 0 && strstr(message, words[i][1])) return true;
  return false;
}

void check_refusal(drover_status status, const char *changed) {
  const char *message = drover_last_error();
  if (strcmp(drover_status_name(status), "unknown status") == 0) fail("status %d is unknown", (int)status);
  if (strlen(message) < 10) fail("%s without a sentence: '%s'", drover_status_name(status), message);
  /* Too much memory is told in the numbers that multiply. */
  if (changed && status != DROVER_ERROR_NO_MEMORY && !names_field(message, changed))
    fail("the message does not name the field: '%s'", message);
}

static void try_one(const subject *s, void *object, const char *changed) {
  num_tried++;
  const drover_status status = s->use(object);
  if (status)
    check_refusal(status, changed);
  else
    num_accepted++;
}

static int count_fields(const subject *s) {
  int count = 0;
  while (s->fields[count].name) count++;
  return count;
}

static void try_each(const subject *s) {
  void *object = malloc(s->size);
  for (const field *f = s->fields; f->name; f++)
    for (int value = 0; value < num_values(f->kind); value++) {
      char text[100];
      s->init(object);
      set_field(object, f, value, text, sizeof text);
      snprintf(now_testing, sizeof now_testing, "%s, %s", s->name, text);
      try_one(s, object, f->name);
    }
  free(object);
}

static void try_several(const subject *s, drover_random *random) {
  void *object = malloc(s->size);
  s->init(object);
  size_t used = (size_t)snprintf(now_testing, sizeof now_testing, "%s", s->name);
  for (size_t left = 2 + fuzz_below(random, 3); left > 0; left--) {
    const field *f = &s->fields[fuzz_below(random, (size_t)count_fields(s))];
    char text[100];
    set_field(object, f, (int)fuzz_below(random, (size_t)num_values(f->kind)), text, sizeof text);
    if (used < sizeof now_testing)
      used += (size_t)snprintf(now_testing + used, sizeof now_testing - used, ", %s", text);
  }
  try_one(s, object, NULL);
  free(object);
}

/* ---- The world around ---------------------------------------------------------------------------------------- */

fuzz_world world;

void make_batch(drover_batch **out, toy_config *of) {
  drover_batch_options options;
  OK(drover_batch_options_init(&options, sizeof options));
  options.num_envs = NUM_ENVS;
  OK(toy_batch_create(out, world.runtime, of, &options));
}

static const drover_env_spec *spec_of(drover_batch *of) {
  drover_batch_view view = {.size = sizeof view};
  OK(drover_batch_get_view(of, &view));
  return view.spec;
}

static void open_world(void) {
  drover_runtime_options options;
  OK(drover_runtime_options_init(&options, sizeof options));
  options.num_workers = 1;
  OK(drover_runtime_create(&world.runtime, &options));
  toy_init(&world.config);
  toy_init_inner(&world.inner_config);
  make_batch(&world.batch, &world.config);
  make_batch(&world.inner_batch, &world.inner_config);
  world.spec = spec_of(world.batch);
  drover_mlp_options mlp;
  OK(drover_mlp_options_init(&mlp, sizeof mlp));
  OK(drover_mlp_options_fit(&mlp, world.spec));
  mlp.num_hidden = 0;
  OK(drover_policy_create_mlp(&world.policy, world.runtime, &mlp));
  OK(drover_mlp_options_init(&mlp, sizeof mlp));
  OK(drover_mlp_options_fit_inner(&mlp, spec_of(world.inner_batch)));
  mlp.num_hidden = 0;
  OK(drover_policy_create_mlp(&world.unit_policy, world.runtime, &mlp));
  drover_rollout_options rollout_options;
  OK(drover_rollout_options_init(&rollout_options, sizeof rollout_options));
  rollout_options.num_steps = NUM_STEPS;
  OK(drover_rollout_create(&world.rollout, world.batch, world.policy, &rollout_options));
  OK(drover_rollout_collect(world.rollout));
}

static void close_world(void) {
  OK(drover_rollout_destroy(world.rollout));
  OK(drover_policy_destroy(world.policy));
  OK(drover_policy_destroy(world.unit_policy));
  OK(drover_batch_destroy(world.batch));
  OK(drover_batch_destroy(world.inner_batch));
  OK(drover_runtime_destroy(world.runtime));
}

/* ---- The program --------------------------------------------------------------------------------------------- */

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

int main(int argc, char **argv) {
  double limit = 2;
  uint64_t seed = 1;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (strcmp(argv[i], "--seconds") == 0) limit = strtod(argv[i + 1], NULL);
    if (strcmp(argv[i], "--seed") == 0) seed = strtoull(argv[i + 1], NULL, 10);
  }
  open_world();
  try_handles();
  printf("handles and arguments: %" PRId64 " calls\n", num_tried);
  const subject *subjects[16];
  uint32_t num_subjects = 0;
  for (const subject *s = option_subjects; s->name; s++) subjects[num_subjects++] = s;
  for (const subject *s = env_subjects; s->name; s++) subjects[num_subjects++] = s;
  for (uint32_t s = 0; s < num_subjects; s++) try_each(subjects[s]);
  const double begin = seconds();
  for (uint64_t turn = 0; turn == 0 || seconds() - begin < limit; turn++)
    for (uint32_t s = 0; s < num_subjects; s++) {
      drover_random random = drover_random_at(seed, s, DROVER_RANDOM_USER, turn);
      try_several(subjects[s], &random);
    }
  close_world();
  printf("%" PRId64 " inputs, %" PRId64 " of them taken, %d failures, seed %" PRIu64 "\n", num_tried, num_accepted,
         num_failures, seed);
  return num_failures > 0;
}
