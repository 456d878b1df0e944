/* play.h: one env under a policy, one step at a time, with all that a drawing wants to know about each moment. */
#ifndef DR_TOOLS_RENDER_PLAY_H
#define DR_TOOLS_RENDER_PLAY_H

#include <drover/drover.h>
#include <stdbool.h>

#include "tools/render/picture.h"
#include "tools/setup.h"

typedef struct dr_play_options {
  const dr_options *common; /* the env's arguments, seed, and how actions reach it */
  const drover_env_type *type;
  const dr_policy_choice *policy, *inner_policy;
  bool deterministic;
} dr_play_options;

/* A play: the handles, the moment it is at, and the action that is given next. */
typedef struct dr_play {
  dr_play_options options;
  dr_handles handles;
  void *action; /* [action_size] */
  dr_moment moment;
  int64_t num_steps; /* since the play began */
  int64_t num_faults;
} dr_play;

/* Zero `play` before. Close it also after a failure. */
drover_status dr_play_open(dr_play *play, const dr_play_options *options);
void dr_play_close(dr_play *play);

/* Back to the first moment: the same seed gives the same play again. */
drover_status dr_play_restart(dr_play *play);

/* The present episode has ended. */
static inline bool dr_play_has_ended(const dr_play *play) { return play->moment.terminated || play->moment.truncated; }

/* Begin the next episode, after one has ended: step 0. */
drover_status dr_play_next_episode(dr_play *play);

/* One step; the moment is then the one after it. Not after an end. */
drover_status dr_play_step(dr_play *play);

#endif
