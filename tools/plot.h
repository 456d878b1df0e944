/* plot.h: curves of a training log (CSV) as a picture or a page, drawn by gnuplot. */
#ifndef DR_TOOLS_PLOT_H
#define DR_TOOLS_PLOT_H

/* Whether --`name` can name `path` (.html, .svg or .png) and gnuplot is there; a usage error otherwise. */
void dr_plot_check(const char *command, const char *name, const char *path);

/* Draw the curves of one log into path, by its ending; written beside it and renamed. 0; or -1 and a sentence on
 * stderr. */
int dr_plot_file(const char *command, const char *log, const char *path);

/* The same for several logs, in one picture. */
int dr_plot_files(const char *command, int num_logs, const char *const *paths, const char *path);

#endif
