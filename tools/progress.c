/* progress.c: drawing for progress.h. */
#include "tools/progress.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tools/format.h"
#include "tools/interrupt.h"

/* Plain lines are for logs: not more than one in this time. */
static const double PLAIN_INTERVAL_S = 5, TERMINAL_INTERVAL_S = 0.1;

void dr_progress_begin(dr_progress *progress, bool quiet) {
  memset(progress, 0, sizeof *progress);
  progress->quiet = quiet;
  progress->terminal = isatty(STDERR_FILENO) == 1;
}

void dr_progress_label(dr_progress *progress, const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(progress->label, sizeof progress->label, format, args);
  va_end(args);
  progress->seconds_shown = 0;
}

/* `width` letters and a NUL. */
static void fill_bar(char *bar, int width, double fraction) {
  const int filled = (int)(fraction * width);
  for (int i = 0; i < width; i++) bar[i] = i < filled ? '#' : '.';
  bar[width] = '\0';
}

/* The terminal's columns; 80 if it does not say. */
static int terminal_width(void) {
  struct winsize size;
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

void dr_progress_show(void *user, const drover_progress *done) {
  dr_progress *progress = user;
  dr_interrupt_repeat();
  if (done->env_steps_total <= 0 || done->seconds <= 0) return;
  const double rate = (double)done->env_steps_done / done->seconds;
  const double left_s = rate > 0 ? (double)(done->env_steps_total - done->env_steps_done) / rate : 0;
  char speed[DR_FORMAT_BYTES], left[DR_FORMAT_BYTES];
  dr_progress_line(progress, progress->label, (double)done->env_steps_done / (double)done->env_steps_total,
                   done->seconds, "%s steps/s, %s left", dr_format_scaled(speed, rate),
                   dr_format_seconds(left, left_s));
}

void dr_progress_line(dr_progress *progress, const char *label, double fraction, double seconds, const char *format,
                      ...) {
  enum { WIDTH = 20, NARROW = 10, MOST = 512, MOST_LABEL = 96 };
  if (progress->quiet) return;
  const double interval = progress->terminal ? TERMINAL_INTERVAL_S : PLAIN_INTERVAL_S;
  if (seconds >= progress->seconds_shown && seconds - progress->seconds_shown < interval &&
      (fraction < 1 || !progress->terminal))
    return;
  if (atomic_exchange_explicit(&progress->busy, true, memory_order_acquire)) return;

  char words[MOST], line[MOST + MOST_LABEL + WIDTH + 16], bar[WIDTH + 1];
  va_list args;
  va_start(args, format);
  vsnprintf(words, sizeof words, format, args);
  va_end(args);
  if (progress->terminal) {
    const int columns = terminal_width();
    fill_bar(bar, columns < 120 ? NARROW : WIDTH, fraction);
    snprintf(line, sizeof line, "%.*s [%s] %3.0f %%  %s", MOST_LABEL, label, bar, fraction * 100, words);
    fprintf(stderr, "\r%.*s\033[K", columns - 1, line);
  } else {
    fprintf(stderr, "%s: %.0f %%, %s\n", label, fraction * 100, words);
  }
  progress->drawn = progress->terminal;
  progress->seconds_shown = seconds;
  atomic_store_explicit(&progress->busy, false, memory_order_release);
}

void dr_progress_item(dr_progress *progress, int index, int count, const char *name) {
  if (progress->quiet) return;
  if (progress->terminal)
    fprintf(stderr, "\r[%d/%d] %s\033[K", index, count, name);
  else
    fprintf(stderr, "[%d/%d] %s\n", index, count, name);
  progress->drawn = progress->terminal;
}

void dr_progress_end(dr_progress *progress) {
  if (progress->drawn) fputs("\r\033[K", stderr);
  progress->drawn = false;
}
