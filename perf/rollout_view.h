/* rollout_view.h: the buffers of rollout and parts subjects, to compare them. */
#ifndef DR_PERF_ROLLOUT_VIEW_H
#define DR_PERF_ROLLOUT_VIEW_H

#include "perf/subject.h"

/* The buffers of a subject made by dr_subject_create_rollout after a run; fails if an env did. */
int dr_rollout_subject_view(dr_subject *subject, drover_rollout_view *view);

/* The same of one made by dr_subject_create_parts. */
int dr_parts_subject_view(dr_subject *subject, drover_rollout_view *view);

/* dr_digest_rows of the observations after the last step and its rewards. */
uint64_t dr_digest_last_row(const drover_rollout_view *view);

/* Whether both hold the same bytes; advantages and returns, whose order of operations is the implementation's, to
 * 1e-4. Returns 0, or -1 with the name of the first buffer that differs in bench->message. */
int dr_compare_views(dr_bench *bench, const drover_rollout_view *a, const drover_rollout_view *b);

#endif
