/* reference.h: the gait cycle to imitate: joint angles by phase, as a periodic cubic spline through the rows of a
 * table.
 *
 * A table is a CSV: lines that begin with # are comments, then the line `percent,hip,knee,ankle`, then rows of four
 * numbers: per cent of the cycle (0 or more, less than 100, increasing) and the angles of one leg in degrees, flexion
 * and dorsiflexion positive. The other leg is half a cycle later. */
#ifndef DR_ENV_GAIT_REFERENCE_H
#define DR_ENV_GAIT_REFERENCE_H

#include <stddef.h>
#include <stdint.h>

enum { DR_GAIT_LEG_JOINTS = 3, DR_GAIT_MIN_ROWS = 4, DR_GAIT_MAX_ROWS = 1000 };

/* Knot i is at phase[i] of the cycle, 0 <= phase[i] < phase[i + 1] < 1. */
typedef struct {
  int32_t num_knots;
  double phase[DR_GAIT_MAX_ROWS];
  double angle[DR_GAIT_MAX_ROWS][DR_GAIT_LEG_JOINTS];     /* rad: hip, knee, ankle */
  double curvature[DR_GAIT_MAX_ROWS][DR_GAIT_LEG_JOINTS]; /* second derivative, rad a cycle^2 */
} dr_gait_reference;

/* From the text of a table. -1 and a sentence that names `name` and the line in message. */
int dr_gait_reference_parse(dr_gait_reference *reference, const char *text, size_t size, const char *name,
                            char *message, size_t message_size);
/* The same from a file. */
int dr_gait_reference_load(dr_gait_reference *reference, const char *path, char *message, size_t message_size);

/* One leg at `phase` (any number; whole cycles are left out): rad, and rad a cycle. */
void dr_gait_reference_leg(const dr_gait_reference *reference, double phase, double angle[DR_GAIT_LEG_JOINTS],
                           double slope[DR_GAIT_LEG_JOINTS]);

#endif
