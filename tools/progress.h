/* progress.h: how far a run is, on stderr: a bar on a terminal, plain lines elsewhere, nothing with --quiet. */
#ifndef DR_TOOLS_PROGRESS_H
#define DR_TOOLS_PROGRESS_H

#include <drover/rollout.h>
#include <stdatomic.h>
#include <stdbool.h>

/* Owned by the main thread; dr_progress_show may be called from one worker after another. */
typedef struct dr_progress {
  bool quiet;
  bool terminal;
  bool drawn;           /* a bar is on the terminal's present line */
  atomic_bool busy;     /* a worker is drawing: others skip */
  double seconds_shown; /* when the last line was drawn, in the run's own time */
  char label[96];       /* what runs: "CartPole-v1", "warm-up" */
} dr_progress;

void dr_progress_begin(dr_progress *progress, bool quiet);

/* What the next lines are about. Clears the clock of plain lines. */
void dr_progress_label(dr_progress *progress, const char *format, ...) DROVER_PRINTF(2, 3);

/* For drover_rollout_options.progress, with a dr_progress as user. Also repeats a cancellation that came too early. */
void dr_progress_show(void *user, const drover_progress *done);

/* How far something of several measures is: a label, a bar for `fraction` (0..1), and words. Drawn at most ten times a
 * second on a terminal, as long as its line, and every 5 s elsewhere; `seconds` is the run's own time. */
void dr_progress_line(dr_progress *progress, const char *label, double fraction, double seconds, const char *format,
                      ...) DROVER_PRINTF(5, 6);

/* Item `index` (from 1) of `count` begins. */
void dr_progress_item(dr_progress *progress, int index, int count, const char *name);

/* Take the bar off the terminal. */
void dr_progress_end(dr_progress *progress);

#endif
