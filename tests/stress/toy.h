/* toy.h: env types and a policy for stress tests. Their results depend on their inputs alone, their costs are uneven,
 * and they notice when the runtime breaks its word: two calls on one env at a time, an env whose steps are not counted
 * one by one, a worker's context used by two threads. */
#ifndef TESTS_STRESS_TOY_H
#define TESTS_STRESS_TOY_H

#include <drover/drover.h>
#include <stdatomic.h>

enum { TOY_OBSERVATION_SIZE = 5, TOY_NUM_TICKS = 4, TOY_SAMPLE_SIZE = 3 };

/* Broken promises seen so far, in the whole process; each is also printed on stderr. */
extern _Atomic int64_t toy_violations;

/* "toy-discrete": 4 actions, step_many, 2 infos, save and load. Arguments: work (mean rounds of a counted loop a step,
 * some steps cost 30 times as much), fail (probability that a step fails or gives a NaN, and that a reset fails). */
extern const drover_env_type toy_discrete;

/* "toy-continuous": 2 numbers in [-1, 1] an action, scalar steps only, memory of its own for each env. The same
 * arguments. */
extern const drover_env_type toy_continuous;

/* "toy-ticking": toy-discrete with an inner loop of 4 ticks, some of which fail. */
extern const drover_env_type toy_ticking;

/* The policy inside its steps. */
drover_status toy_inner_policy_create(drover_policy **out, drover_runtime *runtime);

/* A policy with values and a context a worker, for any of the types. Its samples leave the action bounds now and then.
 * It fails on env fail_env at lifetime step fail_step (fail_env = -1: never). */
drover_status toy_policy_create(drover_policy **out, drover_runtime *runtime, const drover_env_type *type,
                                int32_t fail_env, uint64_t fail_step);

/* The action number `index` of env at its lifetime step, for callers that choose actions themselves. */
int32_t toy_discrete_action(uint64_t seed, int32_t env, uint64_t step);
float toy_continuous_action(uint64_t seed, int32_t env, uint64_t step, int32_t index);

/* A counted loop: the same time on any machine relative to its speed, no clock. */
uint32_t toy_work(uint32_t rounds, uint32_t x);

#endif
