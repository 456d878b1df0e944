/* subject.h: what can be run and timed. Each constructor gives a subject at its seeded beginning, or -1 with a sentence
 * in bench->message; dr_subject_destroy ends it (NULL and half-made ones are fine). */
#ifndef DR_PERF_SUBJECT_H
#define DR_PERF_SUBJECT_H

#include "perf/bench.h"
#include "perf/plain.h"

typedef struct dr_subject dr_subject;

typedef struct dr_subject_type {
  int (*restore)(dr_subject *subject); /* back to the beginning; not timed */
  int (*run)(dr_subject *subject, int64_t iterations);
  int (*result)(dr_subject *subject, uint64_t *digest); /* of what the run left; not timed */
  void (*destroy)(dr_subject *subject);
} dr_subject_type;

/* The head of every subject's own struct. */
struct dr_subject {
  const dr_subject_type *type;
  dr_bench *bench;
  double units; /* of work in one iteration: env steps, rows */
};

void dr_subject_destroy(dr_subject *subject);

/* How a batch, or the envs of a plain loop, are made for a subject. */
typedef struct dr_batch_request {
  const char *env;
  const char *args; /* "key=value,key=value" or NULL */
  int32_t num_envs;
  int32_t shard;
  int32_t chunk;
  bool scalar; /* never step_many */
} dr_batch_request;

/* How a policy is made: num_hidden < 0 = uniform actions. */
typedef struct dr_net_request {
  int32_t num_hidden;
  int32_t hidden[3];
} dr_net_request;

extern const dr_net_request dr_net_uniform;
extern const dr_net_request dr_net_64_64;

/* One iteration = one step of all envs.
 *
 * A plain C loop over the env's scalar `step`, with time limits and auto-reset done by the loop, on this thread: what
 * one would write without Drover. Actions are given (fixed ones, the same for every subject), or those of the uniform
 * policy, evaluated on all rows before each step, where `acts`. */
int dr_subject_create_loop(dr_subject **out, dr_bench *bench, const dr_batch_request *request, bool acts);

/* The same loop for an env type at hand and any policies, which must outlive it; inner_policy is NULL where the type
 * has no inner loop. Values are computed where the policy has them, actions clipped to the env's bounds, as a rollout
 * does; the inner policy is evaluated on blocks of rows (plain_inner.h). */
int dr_subject_create_policy_loop(dr_subject **out, dr_bench *bench, const dr_plain_request *request,
                                  drover_policy *policy, drover_policy *inner_policy);

/* The rows that the loop left: observations [N x observation_size], rewards [N]; valid until it runs again. */
void dr_loop_subject_rows(const dr_subject *subject, const float **observations, const float **rewards);

/* drover_batch_step with the same given actions. */
int dr_subject_create_step(dr_subject **out, dr_bench *bench, drover_runtime *runtime, const dr_batch_request *request);

/* One iteration = num_steps steps of all envs.
 *
 * A fused rollout. */
int dr_subject_create_rollout(dr_subject **out, dr_bench *bench, drover_runtime *runtime,
                              const dr_batch_request *request, const dr_net_request *net, int32_t num_steps,
                              bool barrier);

/* The parts of the same rollout (infer, sample, step, rows, episodes, values, advantages), shard by shard in one plain
 * C loop through the tables of env and policy; the bytes of its buffers are those of the fused one. */
int dr_subject_create_parts(dr_subject **out, dr_bench *bench, const dr_batch_request *request,
                            const dr_net_request *net, int32_t num_steps);

/* One iteration = one evaluation of a network on `num_rows` rows, on this thread. */
int dr_subject_create_infer(dr_subject **out, dr_bench *bench, int32_t observation_size, int32_t num_outputs,
                            bool discrete, const dr_net_request *net, int32_t num_rows);

/* ---- Measuring ---- */

/* How many iterations of `subject` last bench->sample_s (at least 1), found by running it. */
int dr_calibrate(dr_subject *subject, int64_t *iterations);

/* Seconds of one run of this many iterations from the restored state. *digest as type->result. */
int dr_time_run(dr_subject *subject, int64_t iterations, double *seconds, uint64_t *digest);

/* Units a second, bench->num_samples times. */
int dr_measure_rate(dr_subject *subject, dr_samples *samples);

/* Time of a over time of b for the same work, bench->num_pairs times. same_bytes: both must leave the same result. */
int dr_measure_ratio(dr_subject *a, dr_subject *b, bool same_bytes, dr_samples *samples);

/* Restore and run one iteration inside dr_bench_once_body, the function whose instructions perf/callgrind counts. */
int dr_run_once(dr_subject *subject);

/* ---- Shared by the constructors ---- */

enum { DR_NUM_GIVEN_STEPS = 16, DR_SUBJECT_SEED = 7 };

/* A batch for a subject; the env args' text is copied. */
int dr_make_batch(drover_batch **out, dr_bench *bench, drover_runtime *runtime, const dr_batch_request *request);

/* The same envs, without a batch; close them also after a failure. */
int dr_make_plain(dr_plain *out, dr_bench *bench, const dr_batch_request *request);

/* All envs of a plain loop back to the beginning of their first episode; writes observations. */
int dr_restore_plain(dr_plain *plain, dr_bench *bench, float *observations);

/* A policy that fits an env spec. */
int dr_make_policy(drover_policy **out, dr_bench *bench, drover_runtime *runtime, const drover_env_spec *spec,
                   const dr_net_request *net);

/* The inner policy of an env spec with an inner loop: 256-256-256 with leaky ReLU, as the muscle-driven walker has it.
 */
drover_status dr_make_inner_policy(drover_policy **out, drover_runtime *runtime, const drover_env_spec *spec);

/* Fixed pseudo-random actions [DR_NUM_GIVEN_STEPS x N x action_size], within bounds; the caller frees them. NULL
 * without memory. */
void *dr_make_actions(const drover_env_spec *spec, int32_t num_envs);

/* The bytes of one step's actions [N x action_size]. */
size_t dr_action_bytes(const drover_env_spec *spec, int32_t num_envs);

/* Digest of where envs are: observations [N x observation_size] and the last rewards [N]. */
uint64_t dr_digest_rows(const float *observations, const float *rewards, int32_t num_envs, int32_t observation_size);

#endif
