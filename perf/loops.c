/* loops.c: plain loops in threads of their own. */
#include "perf/loops.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "perf/clock.h"

typedef enum task { TASK_CREATE, TASK_RESTORE, TASK_RUN } task;

/* The envs of one thread. While threads run, each touches its own part only. */
typedef struct part {
  dr_loops *loops;
  dr_subject *loop;
  dr_bench bench; /* for the message of its own */
  int32_t first_env, num_envs;
  task task;
  int64_t num_steps;
  double seconds; /* that the task took */
  int failed;
} part;

struct dr_loops {
  dr_bench *bench;
  dr_loops_request request;
  int32_t num_parts;
  part *parts;        /* [num_parts] */
  pthread_t *threads; /* [num_parts], only while they run */
};

static int create_part(part *p) {
  const dr_loops_request *request = &p->loops->request;
  const dr_plain_request plain = {.type = request->type,
                                  .args = request->args,
                                  .num_envs = p->num_envs,
                                  .first_env = p->first_env,
                                  .seed = DR_SUBJECT_SEED};
  return dr_subject_create_policy_loop(&p->loop, &p->bench, &plain, request->policy, request->inner_policy);
}

static void *perform(void *user) {
  part *p = user;
  const double begin = dr_seconds_now();
  switch (p->task) {
    case TASK_CREATE:
      p->failed = create_part(p);
      break;
    case TASK_RESTORE:
      p->failed = p->loop->type->restore(p->loop);
      break;
    case TASK_RUN:
      p->failed = p->loop->type->run(p->loop, p->num_steps);
      break;
  }
  p->seconds = dr_seconds_now() - begin;
  return NULL;
}

static int first_failure(dr_loops *loops) {
  for (int32_t i = 0; i < loops->num_parts; i++)
    if (loops->parts[i].failed) return dr_bench_fail(loops->bench, "%s", loops->parts[i].bench.message);
  return 0;
}

/* The task for every part: on this thread one after the other, or in a thread each (the last one on this). */
static int perform_all(dr_loops *loops, task t, int64_t num_steps, bool apart) {
  const int32_t last = loops->num_parts - 1;
  int32_t num_started = 0;
  bool refused = false;
  for (int32_t i = 0; i <= last; i++) {
    part *p = loops->parts + i;
    p->task = t;
    p->num_steps = num_steps;
    p->failed = 0;
    if (!apart || i == last)
      perform(p);
    else if (pthread_create(loops->threads + i, NULL, perform, p) == 0)
      num_started++;
    else
      refused = true;
    if (refused) break;
  }
  for (int32_t i = 0; i < num_started; i++) pthread_join(loops->threads[i], NULL);
  if (refused) return dr_bench_fail(loops->bench, "a thread could not be started; %d run already", num_started);
  return first_failure(loops);
}

int dr_loops_create(dr_loops **out, dr_bench *bench, const dr_loops_request *request) {
  dr_loops *loops = calloc(1, sizeof *loops);
  if (!loops) return dr_bench_fail(bench, "out of memory");
  const int32_t count = request->num_threads;
  loops->bench = bench;
  loops->request = *request;
  loops->parts = calloc((size_t)count, sizeof *loops->parts);
  loops->threads = calloc((size_t)count, sizeof *loops->threads);
  if (!loops->parts || !loops->threads) {
    dr_bench_fail(bench, "out of memory for %d loops", count);
    goto fail;
  }
  loops->num_parts = count;
  for (int32_t i = 0, first = 0; i < count; i++) {
    part *p = loops->parts + i;
    p->loops = loops;
    p->bench = *bench;
    p->first_env = first;
    p->num_envs = request->num_envs / count + (i < request->num_envs % count);
    first += p->num_envs;
  }
  if (perform_all(loops, TASK_CREATE, 0, true) != 0) goto fail;
  *out = loops;
  return 0;
fail:
  dr_loops_destroy(loops);
  return -1;
}

void dr_loops_destroy(dr_loops *loops) {
  if (!loops) return;
  for (int32_t i = 0; i < loops->num_parts; i++) dr_subject_destroy(loops->parts[i].loop);
  free(loops->parts);
  free(loops->threads);
  free(loops);
}

int dr_loops_restore(dr_loops *loops) { return perform_all(loops, TASK_RESTORE, 0, true); }

int dr_loops_run(dr_loops *loops, bool apart, int64_t num_steps, double *seconds) {
  if (perform_all(loops, TASK_RUN, num_steps, apart) != 0) return -1;
  double sum = 0, inverse = 0;
  for (int32_t i = 0; i < loops->num_parts; i++) {
    sum += loops->parts[i].seconds;
    inverse += 1 / loops->parts[i].seconds;
  }
  *seconds = apart ? loops->num_parts / inverse : sum;
  return 0;
}

int dr_loops_digest(const dr_loops *loops, uint64_t *digest) {
  const int32_t num_envs = loops->request.num_envs;
  float *all_observations = NULL, *all_rewards = malloc((size_t)num_envs * sizeof *all_rewards);
  drover_policy_spec spec = {0};
  if (drover_policy_get_spec(loops->request.policy, &spec) != DROVER_OK || !all_rewards) goto fail;
  const size_t size = (size_t)spec.observation_size;
  all_observations = malloc((size_t)num_envs * size * sizeof *all_observations);
  if (!all_observations) goto fail;
  for (int32_t i = 0; i < loops->num_parts; i++) {
    const part *p = loops->parts + i;
    const size_t first = (size_t)p->first_env, count = (size_t)p->num_envs;
    const float *observations, *rewards;
    dr_loop_subject_rows(p->loop, &observations, &rewards);
    memcpy(all_observations + first * size, observations, count * size * sizeof *observations);
    memcpy(all_rewards + first, rewards, count * sizeof *rewards);
  }
  *digest = dr_digest_rows(all_observations, all_rewards, num_envs, spec.observation_size);
  free(all_observations);
  free(all_rewards);
  return 0;
fail:
  free(all_observations);
  free(all_rewards);
  return dr_bench_fail(loops->bench, "out of memory for %d envs", num_envs);
}
