/* sent.h: a world of which only the batch is used, by send and recv. */
#ifndef DR_TESTS_RUNTIME_SENT_H
#define DR_TESTS_RUNTIME_SENT_H

#include "tests/support/world.h"

enum { N = 24 };

static inline void init_batch(world *w) {
  world_init(w);
  w->batch_options.num_envs = N;
}

static inline void open_batch(world *w) {
  OK(drover_runtime_create(&w->runtime, &w->runtime_options));
  OK(toy_batch_create(&w->batch, w->runtime, &w->config, &w->batch_options));
}

static inline void close_batch(world *w) {
  OK(drover_batch_destroy(w->batch));
  OK(drover_runtime_destroy(w->runtime));
}

/* Send all envs action `a`. */
static inline void send_all(world *w, int32_t a) {
  int32_t ids[N], actions[N];
  for (int32_t e = 0; e < N; e++) ids[e] = e, actions[e] = a;
  OK(drover_batch_send(w->batch, N, ids, actions));
}

#endif
