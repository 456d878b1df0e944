/* plot_log.h: a training log in memory, and the page around its picture. */
#ifndef DR_TOOLS_PLOT_LOG_H
#define DR_TOOLS_PLOT_LOG_H

#include <stddef.h>
#include <stdio.h>

enum { DR_PLOT_MOST_COLUMNS = 128 };

typedef struct dr_plot_log {
  char name[64]; /* the file's, without folder and ending */
  char *header;  /* one text that names points into */
  int num_columns;
  const char *names[DR_PLOT_MOST_COLUMNS];
  double *columns[DR_PLOT_MOST_COLUMNS]; /* [num_rows] each; NAN where the log says nothing */
  size_t num_rows;
} dr_plot_log;

/* Read a log of `drover train`. 0; or -1 and a sentence on stderr, nothing to free then. */
int dr_plot_log_read(dr_plot_log *log, const char *command, const char *path);
void dr_plot_log_free(dr_plot_log *log);

/* A column that has at least one number; NULL otherwise. */
const double *dr_plot_log_column(const dr_plot_log *log, const char *name);

/* Write "steps mean least most" lines of a column, of at most some hundred equal bins. */
void dr_plot_log_bins(const dr_plot_log *log, const double *column, FILE *out);

/* Turn the SVG file `picture`, which is to become `path`, into an HTML page that holds it and a table of the last
 * figures. */
int dr_plot_page(const char *command, const dr_plot_log *logs, int num_logs, const char *picture, const char *path);

#endif
