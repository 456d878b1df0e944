/* options.h: what the parts of fuzz_options share: structs whose fields are set to anything, and a small world. */
#ifndef DR_TESTS_FUZZ_OPTIONS_H
#define DR_TESTS_FUZZ_OPTIONS_H

#include <drover/drover.h>
#include <stdbool.h>
#include <stddef.h>

#include "tests/support/toy_env.h"

typedef enum field_kind { INT32, INT64, SIZE, FLOAT, DOUBLE, POINTER } field_kind;

typedef struct field {
  const char *name;
  size_t offset;
  field_kind kind;
} field;

#define FIELD(type, field_name, kind) \
  { #field_name, offsetof(type, field_name), (kind) }

/* A struct, and what is done with it. */
typedef struct subject {
  const char *name;
  size_t size;
  const field *fields; /* ended by a NULL name */
  void (*init)(void *object);
  drover_status (*use)(void *object); /* create; if that went well, a little use, and destroy */
} subject;

/* Ended by a NULL name. */
extern const subject option_subjects[]; /* options_structs.c */
extern const subject env_subjects[];    /* options_env.c */

/* Every call with bad handles and bad arguments: options_handles.c. */
void try_handles(void);

/* ---- The world: fuzz_options.c ---- */

enum { NUM_ENVS = 3, NUM_STEPS = 2, SAMPLE = 9 }; /* SAMPLE: numbers of a sample for unit_policy */

typedef struct fuzz_world {
  toy_config config, inner_config;
  drover_runtime *runtime;
  drover_batch *batch, *inner_batch;
  drover_policy *policy, *unit_policy;
  drover_rollout *rollout;
  const drover_env_spec *spec; /* of batch */
} fuzz_world;

extern fuzz_world world;
void make_batch(drover_batch **out, toy_config *config);

/* Defaults that fit the world: options_structs.c. */
void runtime_init(void *options);
void batch_init(void *options);
void rollout_init(void *options);
void mlp_init(void *options);
void ppo_init(void *options);
void inner_init(void *options);

/* ---- Counting: fuzz_options.c ---- */

extern char now_testing[256];
extern int64_t num_tried;
void fail(const char *format, ...) DROVER_PRINTF(1, 2);

/* The latest refusal is a sentence, about the field `changed` unless that is NULL. */
void check_refusal(drover_status status, const char *changed);

#endif
