/* mp4.c: an MP4 by way of ffmpeg: a process of its own that is given raw frames through a pipe. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/render/film.h"

extern char **environ;

typedef struct mp4 {
  dr_film_options options;
  pid_t process; /* 0 = none */
  int pipe;      /* its standard input, -1 = closed */
  FILE *words;   /* what it says: a file without a name */
} mp4;

static void close_pipe(mp4 *m) {
  if (m->pipe >= 0) close(m->pipe);
  m->pipe = -1;
}

/* Its exit code, or -1. */
static int wait_for(mp4 *m) {
  int status = 0;
  while (waitpid(m->process, &status, 0) < 0)
    if (errno != EINTR) return -1;
  m->process = 0;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void close_mp4(void *self) {
  mp4 *m = self;
  if (!m) return;
  close_pipe(m);
  if (m->process > 0) {
    kill(m->process, SIGTERM);
    wait_for(m);
  }
  if (m->words) fclose(m->words);
  free(m);
}

/* The last line of what ffmpeg said. */
static int fail_with_its_words(mp4 *m, char *message) {
  char line[512], last[512] = "it ended without a word";
  if (fseek(m->words, 0, SEEK_SET) == 0)
    while (fgets(line, sizeof line, m->words))
      if (line[0] != '\n') memcpy(last, line, sizeof last);
  last[strcspn(last, "\r\n")] = '\0';
  snprintf(message, DR_FILM_MESSAGE, "ffmpeg failed: %s", last);
  return -1;
}

/* Start ffmpeg with `input` as its standard input. Its process group is its own: a Ctrl-C on the terminal is ours
 * alone, and ffmpeg ends when the pipe does. Returns 0 or an error number. */
static int spawn(mp4 *m, int input, const char *const *arguments) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, fileno(m->words), STDERR_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  posix_spawnattr_setpgroup(&attributes, 0);
  const int failed = posix_spawnp(&m->process, "ffmpeg", &actions, &attributes, (char *const *)arguments, environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (failed) m->process = 0;
  return failed;
}

static int start(mp4 *m, const char *path, char *message) {
  char size[32], rate[32];
  snprintf(size, sizeof size, "%dx%d", m->options.width, m->options.height);
  snprintf(rate, sizeof rate, "%.6g", m->options.frames_per_second);
  /* H.264 in 4:2:0, which every player takes, wants even sides. */
  const char *const arguments[] = {"ffmpeg",
                                   "-hide_banner",
                                   "-loglevel",
                                   "error",
                                   "-y",
                                   "-f",
                                   "rawvideo",
                                   "-pixel_format",
                                   "bgr0",
                                   "-video_size",
                                   size,
                                   "-framerate",
                                   rate,
                                   "-i",
                                   "pipe:0",
                                   "-vf",
                                   "pad=ceil(iw/2)*2:ceil(ih/2)*2:color=white",
                                   "-c:v",
                                   "libx264",
                                   "-preset",
                                   "medium",
                                   "-crf",
                                   "18",
                                   "-pix_fmt",
                                   "yuv420p",
                                   "-movflags",
                                   "+faststart",
                                   "-f",
                                   "mp4",
                                   path,
                                   NULL};
  int ends[2];
  if (pipe2(ends, O_CLOEXEC)) {
    snprintf(message, DR_FILM_MESSAGE, "cannot make a pipe: %s", strerror(errno));
    return -1;
  }
  const int failed = spawn(m, ends[0], arguments);
  close(ends[0]);
  m->pipe = ends[1];
  if (failed == 0) return 0;
  if (failed == ENOENT)
    snprintf(message, DR_FILM_MESSAGE,
             "MP4 needs ffmpeg, which is not installed: `apt install ffmpeg`, or write a .gif instead");
  else
    snprintf(message, DR_FILM_MESSAGE, "cannot start ffmpeg: %s", strerror(failed));
  return -1;
}

static int open_mp4(void **self, const char *path, const dr_film_options *options, char *message) {
  mp4 *m = calloc(1, sizeof *m);
  if (!m) {
    snprintf(message, DR_FILM_MESSAGE, "out of memory");
    return -1;
  }
  m->options = *options;
  m->pipe = -1;
  m->words = tmpfile();
  /* A pipe that ffmpeg closes is an error here, not the end of us. */
  signal(SIGPIPE, SIG_IGN);
  if (!m->words) snprintf(message, DR_FILM_MESSAGE, "cannot make a temporary file: %s", strerror(errno));
  if (!m->words || start(m, path, message)) {
    close_mp4(m);
    return -1;
  }
  *self = m;
  return 0;
}

static int add_to_mp4(void *self, cairo_surface_t *frame, char *message) {
  mp4 *m = self;
  const unsigned char *pixels = cairo_image_surface_get_data(frame);
  const int stride = cairo_image_surface_get_stride(frame);
  for (int y = 0; y < m->options.height; y++) {
    const unsigned char *row = pixels + (size_t)y * (size_t)stride;
    for (size_t left = (size_t)m->options.width * 4; left > 0;) {
      const ssize_t written = write(m->pipe, row, left);
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) {
        close_pipe(m);
        wait_for(m);
        return fail_with_its_words(m, message);
      }
      row += written;
      left -= (size_t)written;
    }
  }
  return 0;
}

static int finish_mp4(void *self, char *message) {
  mp4 *m = self;
  close_pipe(m);
  /* It may end well although it could not write all: what it says on the level of errors is one. */
  const bool failed = wait_for(m) != 0 || fseek(m->words, 0, SEEK_END) != 0 || ftell(m->words) > 0;
  return failed ? fail_with_its_words(m, message) : 0;
}

const dr_film_type dr_film_mp4 = {open_mp4, add_to_mp4, finish_mp4, close_mp4};
