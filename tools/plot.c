/* plot.c: `drover plot`, and --plot of `drover train`: a log's columns over the steps, drawn by gnuplot.
 *
 * The script goes to gnuplot as a file with the numbers inside; it writes a temporary file beside the wanted one, which
 * is renamed, or put into a page with a table of the last figures. */
#include "tools/plot.h"

#include <errno.h>
#include <libgen.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/commands.h"
#include "tools/options.h"
#include "tools/plot_log.h"

extern char **environ;

enum { MOST_LOGS = 16, PATH_BYTES = 4200, PANEL_WIDTH = 520, PANEL_HEIGHT = 260, TITLE_HEIGHT = 40 };

/* What a panel shows: a column of the log. A panel whose column is empty is left out. */
typedef struct panel {
  const char *title; /* with the unit, where it has one */
  const char *column;
  const char *format; /* of the numbers on the left */
  const char *lowest; /* of gnuplot's yrange */
} panel;

static const panel panels[] = {
    {"mean return of the last 100 episodes", "mean_return", "%g", "*"},
    {"mean length of the last 100 episodes (steps)", "mean_length", "%g", "0"},
    {"approximate KL divergence of an update (nats)", "approx_kl", "%g", "0"},
    /* A return that hardly varies makes it fall without limit: that would hide the rest. */
    {"explained variance of the values (1 is best; cut off at -1)", "explained_variance", "%g", "-1<*"},
    {"policy loss", "policy_loss", "%g", "*"},
    {"value loss", "value_loss", "%g", "0"},
    {"entropy of the policy (nats)", "entropy", "%g", "*"},
    {"inner loss", "inner_loss", "%g", "0"},
    {"environment steps a second", "steps_per_second", "%.1s%c", "0"}};
enum { NUM_PANELS = sizeof panels / sizeof panels[0] };

/* Okabe and Ito's palette, which colour-blind readers can tell apart, less black and its yellow. More logs than colours
 * are dashed. */
static const char *const colors[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#5f6b7a"};
enum { NUM_COLORS = sizeof colors / sizeof colors[0] };

static const char *ending(const char *path) {
  const char *dot = strrchr(path, '.');
  return dot && !strchr(dot, '/') ? dot + 1 : "";
}

static bool have_gnuplot(void) {
  const char *path = getenv("PATH");
  char *copy = strdup(path ? path : "/usr/bin:/bin"), *rest = copy;
  bool found = false;
  for (char *folder; copy && !found && (folder = strsep(&rest, ":")) != NULL;) {
    char file[PATH_BYTES];
    snprintf(file, sizeof file, "%s/gnuplot", folder);
    found = access(file, X_OK) == 0;
  }
  free(copy);
  return found;
}

void dr_plot_check(const char *command, const char *name, const char *path) {
  const char *end = ending(path);
  if (strcmp(end, "html") != 0 && strcmp(end, "svg") != 0 && strcmp(end, "png") != 0)
    dr_usage_error(command, "--%s must end in .html, .svg or .png, got '%s'", name, path);
  if (!have_gnuplot())
    dr_usage_error(command, "--%s needs gnuplot, which is not installed (Debian: apt-get install gnuplot-nox)", name);
}

/* ---- The script ---- */

/* In gnuplot's single quotes. */
static void put_quoted(FILE *out, const char *text) {
  fputc('\'', out);
  for (; *text; text++) fprintf(out, *text == '\'' ? "''" : "%c", *text);
  fputc('\'', out);
}

static bool has_panel(const dr_plot_log *logs, int num_logs, const panel *p) {
  for (int i = 0; i < num_logs; i++)
    if (dr_plot_log_column(&logs[i], p->column)) return true;
  return false;
}

/* The numbers of every log and panel as named blocks: step, mean, least and most of a bin. */
static void put_data(FILE *out, const dr_plot_log *logs, int num_logs) {
  for (int i = 0; i < num_logs; i++)
    for (int p = 0; p < NUM_PANELS; p++) {
      const double *column = dr_plot_log_column(&logs[i], panels[p].column);
      if (!column) continue;
      fprintf(out, "$d%d_%d << EOD\n", i, p);
      dr_plot_log_bins(&logs[i], column, out);
      fputs("EOD\n", out);
    }
}

/* What a unit of the x axis counts: 1, 1,000 or 1,000,000 steps, so that its labels stay short and exact. */
static double step_unit(const dr_plot_log *logs, int num_logs) {
  double most = 0;
  for (int i = 0; i < num_logs; i++) {
    const double *steps = dr_plot_log_column(&logs[i], "steps");
    for (size_t row = 0; steps && row < logs[i].num_rows; row++)
      if (steps[row] > most) most = steps[row];
  }
  return most >= 1e6 ? 1e6 : most >= 1e3 ? 1e3 : 1;
}

static void put_panel(FILE *out, const dr_plot_log *logs, int num_logs, int p, bool with_names) {
  const double unit = step_unit(logs, num_logs);
  fputs("set title ", out);
  put_quoted(out, panels[p].title);
  fprintf(out, " offset 0,-0.6\nset yrange [%s:*]\nset format y '%s'\nplot ", panels[p].lowest, panels[p].format);
  bool begun = false;
  for (int i = 0; i < num_logs; i++) {
    if (!dr_plot_log_column(&logs[i], panels[p].column)) continue;
    const char *color = colors[i % NUM_COLORS];
    /* A single log shows the spread inside each bin behind its mean. */
    if (num_logs == 1)
      fprintf(out,
              "$d%d_%d using ($1/%g):3:4 with filledcurves fillcolor '%s' fillstyle transparent solid 0.2 notitle, ", i,
              p, unit, color);
    fprintf(out, "%s$d%d_%d using ($1/%g):2 with lines linewidth 2 dashtype %d linecolor '%s' ", begun ? ", " : "", i,
            p, unit, 1 + i / NUM_COLORS, color);
    if (with_names) {
      fputs("title ", out);
      put_quoted(out, logs[i].name);
    } else {
      fputs("notitle", out);
    }
    begun = true;
  }
  fputc('\n', out);
}

/* The logs' names, as far as there is room. */
static void put_title(FILE *out, const dr_plot_log *logs, int num_logs) {
  enum { ROOM = 100 };
  char title[ROOM + 8] = "";
  size_t used = 0;
  for (int i = 0; i < num_logs; i++) {
    const size_t length = strlen(logs[i].name) + 2;
    if (used + length > ROOM) {
      snprintf(title + used, sizeof title - used, ", ...");
      break;
    }
    used += (size_t)snprintf(title + used, sizeof title - used, "%s%s", i ? ", " : "", logs[i].name);
  }
  put_quoted(out, title);
}

static void put_script(FILE *out, const dr_plot_log *logs, int num_logs, bool png, const char *picture) {
  int count = 0;
  for (int p = 0; p < NUM_PANELS; p++) count += has_panel(logs, num_logs, &panels[p]);
  const int num_rows = (count + 1) / 2;
  const int width = 2 * PANEL_WIDTH, height = num_rows * PANEL_HEIGHT + TITLE_HEIGHT;
  if (png)
    fprintf(out, "set terminal pngcairo size %d,%d font 'sans,10' background '#ffffff'\n", width, height);
  else
    fprintf(out, "set terminal svg size %d,%d dynamic font 'sans-serif,12' background '#ffffff'\n", width, height);
  fputs("set output ", out);
  put_quoted(out, picture);
  fputs(
      "\nset encoding utf8\nset border 3 linecolor '#888888'\nset tics nomirror textcolor '#444444'\n"
      "set grid linecolor '#e4e4e4' linetype 1\nset key bottom right samplen 1.5 textcolor '#444444' noenhanced\n"
      "set format x '%g'\nset lmargin 11\n"
      "set rmargin 3\nset bmargin 3\nset tmargin 2\nset xtics autofreq\nset ytics autofreq\n",
      out);
  const double unit = step_unit(logs, num_logs);
  fprintf(out, "set xlabel 'environment steps%s' textcolor '#666666' offset 0,0.6\n",
          unit >= 1e6   ? " (millions)"
          : unit >= 1e3 ? " (thousands)"
                        : "");
  put_data(out, logs, num_logs);
  fprintf(out, "set multiplot layout %d,2 title ", num_rows);
  put_title(out, logs, num_logs);
  fputs(" noenhanced font ',14'\n", out);
  bool names = num_logs > 1;
  for (int p = 0; p < NUM_PANELS; p++) {
    if (!has_panel(logs, num_logs, &panels[p])) continue;
    put_panel(out, logs, num_logs, p, names);
    names = false;
  }
  fputs("unset multiplot\n", out);
}

/* ---- Running gnuplot ---- */

/* `gnuplot SCRIPT`, its words to the file `errors`. 0, or -1 if it could not be run or failed. */
static int run_gnuplot(const char *script, const char *errors) {
  char program[] = "gnuplot", argument[PATH_BYTES];
  snprintf(argument, sizeof argument, "%s", script);
  char *arguments[] = {program, argument, NULL};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", 0 /* read only */, 0);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, errors, 01 /* write only */, 0600);
  posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
  pid_t child = 0;
  int state = -1;
  const int failed = posix_spawnp(&child, program, &actions, NULL, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed) return -1;
  while (waitpid(child, &state, 0) < 0 && errno == EINTR) continue;
  return WIFEXITED(state) && WEXITSTATUS(state) == 0 ? 0 : -1;
}

/* What gnuplot said, its first line that is not empty. */
static void tell_failure(const char *command, const char *path, const char *errors) {
  char line[256] = "";
  FILE *file = fopen(errors, "re");
  while (file && fgets(line, sizeof line, file))
    if (strspn(line, " \t\n^") != strlen(line)) break;
  if (file) fclose(file);
  line[strcspn(line, "\n")] = '\0';
  fprintf(stderr, "drover %s: '%s' could not be drawn: gnuplot failed%s%s\n", command, path, line[0] ? ": " : "", line);
}

static int open_temporary(char *path, const char *name) {
  const char *folder = getenv("TMPDIR");
  snprintf(path, PATH_BYTES, "%s/drover-%s-XXXXXX", folder && folder[0] ? folder : "/tmp", name);
  return mkstemp(path);
}

/* gnuplot does not notice a full disk: the picture must end as its format does. */
static bool is_whole(const char *picture, bool png) {
  static const char png_end[] = {0, 0, 0, 0, 'I', 'E', 'N', 'D', (char)0xae, 'B', 0x60, (char)0x82};
  static const char svg_end[] = {'<', '/', 's', 'v', 'g', '>'};
  const char *end = png ? png_end : svg_end;
  const size_t size = png ? sizeof png_end : sizeof svg_end;
  char tail[32] = {0};
  FILE *file = fopen(picture, "re");
  if (!file) return false;
  size_t count = 0;
  if (fseek(file, -(long)sizeof tail, SEEK_END) == 0) count = fread(tail, 1, sizeof tail, file);
  fclose(file);
  while (!png && count > 0 && strchr("\r\n ", tail[count - 1])) count--; /* text ends with a newline */
  return count >= size && memcmp(tail + count - size, end, size) == 0;
}

/* Into the file `picture`, which is to become `path`. */
static int draw(const char *command, const dr_plot_log *logs, int num_logs, bool png, const char *picture,
                const char *path) {
  char script[PATH_BYTES], errors[PATH_BYTES];
  const int script_fd = open_temporary(script, "plot"), errors_fd = open_temporary(errors, "gnuplot");
  FILE *out = script_fd >= 0 && errors_fd >= 0 ? fdopen(script_fd, "w") : NULL;
  int result = -1;
  if (out) {
    put_script(out, logs, num_logs, png, picture);
    const bool failed = ferror(out) != 0;
    result = fclose(out) == 0 && !failed ? run_gnuplot(script, errors) : -1;
    if (result != 0) {
      tell_failure(command, path, errors);
    } else if (!is_whole(picture, png)) {
      fprintf(stderr, "drover %s: '%s' could not be drawn: the picture is cut off; is the disk full?\n", command, path);
      result = -1;
    }
  } else {
    fprintf(stderr, "drover %s: a temporary file '%s' cannot be made: %s\n", command, script, strerror(errno));
    if (script_fd >= 0) close(script_fd);
  }
  if (script_fd >= 0) unlink(script);
  if (errors_fd >= 0) {
    close(errors_fd);
    unlink(errors);
  }
  return result;
}

/* ---- Files ---- */

int dr_plot_files(const char *command, int num_logs, const char *const *paths, const char *path) {
  dr_plot_log logs[MOST_LOGS] = {0};
  const bool html = strcmp(ending(path), "html") == 0, png = strcmp(ending(path), "png") == 0;
  char picture[PATH_BYTES];
  snprintf(picture, sizeof picture, "%s.%ld.tmp", path, (long)getpid());
  int result = 0;
  for (int i = 0; result == 0 && i < num_logs; i++) result = dr_plot_log_read(&logs[i], command, paths[i]);
  if (result == 0) result = draw(command, logs, num_logs, png, picture, path);
  if (result == 0 && html) result = dr_plot_page(command, logs, num_logs, picture, path);
  if (result == 0 && rename(picture, path) != 0) {
    fprintf(stderr, "drover %s: '%s' cannot be written: %s\n", command, path, strerror(errno));
    result = -1;
  }
  if (result != 0) unlink(picture);
  for (int i = 0; i < num_logs; i++) dr_plot_log_free(&logs[i]);
  return result;
}

int dr_plot_file(const char *command, const char *log, const char *path) {
  return dr_plot_files(command, 1, &log, path);
}

/* ---- The command ---- */

typedef struct request {
  const char *logs[MOST_LOGS];
  int num_logs;
  const char *out;
} request;

enum { KEY_OUT = 'o' };
static const struct argp_option rows[] = {{"out", KEY_OUT, "FILE", 0, "What to draw: .html, .svg or .png", 1}, {0}};

static error_t parse(int key, char *arg, struct argp_state *state) {
  request *r = state->input;
  switch (key) {
    case KEY_OUT:
      r->out = arg;
      return 0;
    case ARGP_KEY_ARG:
      if (r->num_logs == MOST_LOGS) dr_usage_error("plot", "at most %d logs fit into a picture", MOST_LOGS);
      r->logs[r->num_logs++] = arg;
      return 0;
    default:
      return ARGP_ERR_UNKNOWN;
  }
}

int dr_cmd_plot(int argc, char **argv) {
  static const struct argp argp = {rows,
                                   parse,
                                   "LOG.csv...",
                                   "Draw the curves of training logs (drover train --log).\v"
                                   "Over the environment steps: mean return and length, KL divergence, explained "
                                   "variance, losses, entropy, steps a second. A log is named after its file. Several "
                                   "(16 at most) are drawn over each other: seeds, or settings. The .html is one file "
                                   "with a table of the last figures. Drawn by gnuplot.\n\n"
                                   "Examples:\n"
                                   "  drover plot hopper.csv --out hopper.html\n"
                                   "  drover plot seed1.csv seed2.csv seed3.csv --out seeds.svg",
                                   NULL,
                                   NULL,
                                   NULL};
  request r = {.num_logs = 0};
  dr_options_run(&argp, "plot", argc, argv, &r);
  if (r.num_logs == 0) dr_usage_error("plot", "the name of a log is missing; drover train --log LOG.csv writes one");
  if (!r.out) dr_usage_error("plot", "--out FILE is missing (.html, .svg or .png)");
  for (int i = 0; i < r.num_logs; i++)
    if (access(r.logs[i], R_OK) != 0) dr_usage_error("plot", "'%s' cannot be read: %s", r.logs[i], strerror(errno));
  dr_plot_check("plot", "out", r.out);
  dr_options_check_output("plot", "out", r.out);
  return dr_plot_files("plot", r.num_logs, r.logs, r.out) == 0 ? DR_EXIT_DONE : DR_EXIT_FAILED;
}
