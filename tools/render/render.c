/* render.c: `drover render`: play an env under a policy, and draw it: a GIF, an MP4, a PNG. */
#include "tools/render/render.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "perf/clock.h"
#include "tools/commands.h"
#include "tools/format.h"
#include "tools/interrupt.h"
#include "tools/json.h"
#include "tools/progress.h"
#include "tools/render/film.h"
#include "tools/render/play.h"

/* What the run gave, for the report. */
typedef struct figures {
  int64_t num_steps, num_frames, num_faults;
  int32_t num_episodes; /* that ended */
  double first_return;  /* of the first episode, ended or not */
  int32_t first_length;
  const char *first_end;
  double frames_per_second;
  double seconds;
  int every;
  bool interrupted;
} figures;

typedef struct session {
  const dr_render_request *request;
  dr_play play;
  const dr_picture *picture;
  void *drawing;
  cairo_surface_t *frame;
  cairo_t *canvas;
  dr_film *film;
  figures figures;
  dr_progress progress;
  double begin, shown; /* seconds */
  char message[DR_FILM_MESSAGE];
} session;
_Static_assert((int)DR_FILM_MESSAGE >= (int)DR_PICTURE_MESSAGE, "session.message is for both");

static int fail(const session *s, const char *what) {
  fprintf(stderr, "drover render: %s%s%s\n", what ? what : "", what ? ": " : "", s->message);
  return DR_EXIT_FAILED;
}

/* ---- How long, which frames ---- */

/* Play once without drawing, up to the end of the first episode: one seed, one play. */
static drover_status count_steps(session *s, int32_t most, int32_t *out) {
  drover_status status = DROVER_OK;
  while (status == DROVER_OK && !dr_play_has_ended(&s->play) && s->play.num_steps < most && !dr_interrupt_pending())
    status = dr_play_step(&s->play);
  *out = (int32_t)s->play.num_steps;
  return status == DROVER_OK ? dr_play_restart(&s->play) : status;
}

/* How many frames are made of moment k of the play, k = 0..num_steps: 0 or more (a sheet may show one twice). A film
 * shows the end of every episode. */
static int frames_of(const dr_render_request *request, int every, bool ended, int32_t k, int32_t num_steps) {
  if (request->kind != DR_FILM_PNG) return k % every == 0 || ended || k == num_steps;
  if (request->num_frames == 1) return k == (request->still < 0 ? num_steps : request->still);
  int count = 0;
  for (int i = 0; i < request->num_frames; i++) {
    const int64_t at = ((int64_t)num_steps * 2 * i + request->num_frames - 1) / (2 * (request->num_frames - 1));
    count += at == k;
  }
  return count;
}

/* The rate at which the film is as fast as the env, by leaving out steps where that is more than it can show. */
static void choose_rate(session *s) {
  const dr_render_request *request = s->request;
  const double rate = s->picture->frames_per_second(&s->play.moment), most = request->kind == DR_FILM_GIF ? 50 : 60;
  figures *f = &s->figures;
  f->every = request->every ? request->every : request->frames_per_second > 0 ? 1 : (int)ceil(rate / most - 1e-9);
  f->frames_per_second = request->frames_per_second > 0 ? request->frames_per_second : fmin(rate / f->every, most);
}

/* ---- Opening ---- */

static int open_play(session *s) {
  const dr_render_request *request = s->request;
  const dr_play_options options = {.common = &request->common,
                                   .type = request->type,
                                   .policy = &request->policy,
                                   .inner_policy = &request->inner_policy,
                                   .deterministic = request->deterministic};
  const drover_status status = dr_play_open(&s->play, &options);
  return status == DROVER_OK ? DR_EXIT_DONE : dr_report_failure("render", NULL, status);
}

static int open_drawing(session *s) {
  const dr_render_request *request = s->request;
  const dr_picture_options *options = &request->picture;
  s->picture = dr_picture_for(&s->play.moment);
  if (!s->picture->takes_camera && (options->camera || options->has_view)) {
    snprintf(s->message, sizeof s->message, "--camera and --view are for MuJoCo environments; %s is drawn flat",
             request->type->name);
    fail(s, NULL);
    return DR_EXIT_USAGE;
  }
  if (s->picture->open && s->picture->open(&s->drawing, &s->play.moment, options, s->message)) {
    fail(s, NULL);
    return strncmp(s->message, "--", 2) == 0 ? DR_EXIT_USAGE : DR_EXIT_FAILED;
  }
  s->frame = cairo_image_surface_create(CAIRO_FORMAT_RGB24, options->width, options->height);
  s->canvas = cairo_create(s->frame);
  if (cairo_status(s->canvas) == CAIRO_STATUS_SUCCESS) return DR_EXIT_DONE;
  snprintf(s->message, sizeof s->message, "%s", cairo_status_to_string(cairo_status(s->canvas)));
  return fail(s, "cannot make a frame");
}

static int open_film(session *s) {
  const dr_render_request *request = s->request;
  const dr_film_options options = {.path = request->out,
                                   .kind = request->kind,
                                   .width = request->picture.width,
                                   .height = request->picture.height,
                                   .frames_per_second = s->figures.frames_per_second,
                                   .num_frames = request->num_frames,
                                   .columns = request->columns,
                                   .hold_s = 1};
  return dr_film_open(&s->film, &options, s->message) ? fail(s, "--out") : DR_EXIT_DONE;
}

/* ---- Playing ---- */

static int draw(session *s, int count) {
  const dr_picture_options *options = &s->request->picture;
  if (s->picture->draw(s->drawing, &s->play.moment, s->canvas, s->message)) return fail(s, NULL);
  if (!s->request->no_caption) dr_draw_caption(s->canvas, s->picture, &s->play.moment, options->width, options->height);
  for (int i = 0; i < count; i++) {
    if (dr_film_add(s->film, s->frame, s->message)) return fail(s, "--out");
    s->figures.num_frames++;
  }
  return DR_EXIT_DONE;
}

static void show_progress(session *s, int32_t done, int32_t total) {
  const double now = dr_seconds_now();
  if (now - s->shown < 0.1) return;
  s->shown = now;
  const drover_progress progress = {done, total, now - s->begin};
  dr_progress_show(&s->progress, &progress);
}

/* Keep what the report says of the first episode. */
static void note_episode(session *s) {
  const dr_moment *moment = &s->play.moment;
  figures *f = &s->figures;
  f->num_episodes += dr_play_has_ended(&s->play);
  if (moment->episode > 1) return;
  f->first_return = moment->episode_return;
  f->first_length = moment->step;
  f->first_end = moment->terminated ? "terminated" : moment->truncated ? "truncated" : "not ended";
}

/* Steps 0..num_steps: notice all, draw those that are wanted. */
static int play_all(session *s, int32_t num_steps) {
  for (int32_t k = 0;; k++) {
    if (s->picture->notice) s->picture->notice(s->drawing, &s->play.moment);
    note_episode(s);
    const bool last = k == num_steps || dr_interrupt_pending();
    /* A film that was interrupted is still a film; of a sheet the rest stays white. */
    const int wanted = frames_of(s->request, s->figures.every, dr_play_has_ended(&s->play), k, num_steps);
    const int code = wanted > 0 ? draw(s, wanted) : DR_EXIT_DONE;
    s->figures.num_steps = k;
    if (code != DR_EXIT_DONE || last) return code;
    show_progress(s, k, num_steps);

    drover_status status = DROVER_OK;
    if (dr_play_has_ended(&s->play)) {
      status = dr_play_next_episode(&s->play);
      if (status == DROVER_OK && s->picture->notice) s->picture->notice(s->drawing, &s->play.moment);
    }
    if (status == DROVER_OK) status = dr_play_step(&s->play);
    if (status == DROVER_ERROR_CANCELLED) return DR_EXIT_DONE;
    if (status != DROVER_OK) return dr_report_failure("render", NULL, status);
  }
}

static int32_t last_wanted(const dr_render_request *request, int32_t num_steps) {
  return request->still >= 0 && request->num_frames == 1 ? request->still : num_steps;
}

static int render(session *s) {
  const dr_render_request *request = s->request;
  int code = open_play(s);
  if (code == DR_EXIT_DONE) code = open_drawing(s);
  if (code != DR_EXIT_DONE) return code;
  choose_rate(s);
  code = open_film(s);
  if (code != DR_EXIT_DONE) return code;

  int32_t num_steps = request->common.num_steps;
  if (num_steps == 0 && request->still < 0) {
    const drover_status status = count_steps(s, DR_RENDER_MOST_STEPS, &num_steps);
    if (status != DROVER_OK) return dr_report_failure("render", NULL, status);
  }
  code = play_all(s, last_wanted(request, num_steps));
  dr_progress_end(&s->progress);
  if (code != DR_EXIT_DONE) return code;
  s->figures.interrupted = dr_interrupt_pending();
  s->figures.num_faults = s->play.num_faults;
  if (s->figures.num_frames == 0) {
    snprintf(s->message, sizeof s->message, "interrupted before the first frame: nothing was written");
    fail(s, NULL);
    return DR_EXIT_INTERRUPTED;
  }
  if (dr_film_finish(s->film, s->message)) return fail(s, "--out");
  return s->figures.interrupted ? DR_EXIT_INTERRUPTED : DR_EXIT_DONE;
}

static void close_session(session *s) {
  dr_film_close(s->film);
  if (s->canvas) cairo_destroy(s->canvas);
  if (s->frame) cairo_surface_destroy(s->frame);
  if (s->drawing && s->picture->close) s->picture->close(s->drawing);
  dr_play_close(&s->play);
}

/* ---- The report ---- */

static double file_bytes(const char *path) {
  struct stat info;
  return stat(path, &info) == 0 ? (double)info.st_size : 0;
}

static void print_report(const session *s) {
  const dr_render_request *request = s->request;
  const figures *f = &s->figures;
  char bytes[DR_FORMAT_BYTES], took[DR_FORMAT_BYTES], steps[DR_FORMAT_BYTES];
  const int columns = request->num_frames < request->columns ? request->num_frames : request->columns;
  printf("%s under %s, seed %llu: %s steps; first episode: %d steps, return %.6g, %s\n", request->type->name,
         request->policy.text, (unsigned long long)request->common.seed, dr_format_integer(steps, f->num_steps),
         f->first_length, f->first_return, f->first_end);
  if (f->num_faults > 0) printf("  the environment failed %lld times\n", (long long)f->num_faults);
  printf("  %s: ", request->out);
  if (request->kind != DR_FILM_PNG)
    printf("%lld frames of %d x %d at %.4g a second (%.1f s)", (long long)f->num_frames, request->picture.width,
           request->picture.height, f->frames_per_second, (double)f->num_frames / f->frames_per_second);
  else if (request->num_frames == 1)
    printf("%d x %d", request->picture.width, request->picture.height);
  else
    printf("%lld frames of %d x %d, %d side by side", (long long)f->num_frames, request->picture.width,
           request->picture.height, columns);
  printf(", %s, in %s\n", dr_format_bytes(bytes, file_bytes(request->out)), dr_format_seconds(took, f->seconds));
}

static int print_json(const session *s) {
  const dr_render_request *request = s->request;
  const figures *f = &s->figures;
  json_t *report = json_pack(
      "{s:s, s:s, s:I, s:s, s:b, s:I, s:i, s:o, s:i, s:s, s:I, s:I, s:i, s:i, s:o, s:i, s:o, s:o, s:b}", "env",
      request->type->name, "policy", request->policy.text, "seed", (json_int_t)request->common.seed, "out",
      request->out, "deterministic", request->deterministic, "num_steps", (json_int_t)f->num_steps, "num_episodes",
      f->num_episodes, "first_return", dr_json_number(f->first_return), "first_length", f->first_length, "first_end",
      f->first_end, "num_faults", (json_int_t)f->num_faults, "num_frames", (json_int_t)f->num_frames, "width",
      request->picture.width, "height", request->picture.height, "frames_per_second",
      dr_json_number(f->frames_per_second), "every", f->every, "bytes", dr_json_number(file_bytes(request->out)),
      "seconds", dr_json_number(f->seconds), "interrupted", f->interrupted);
  return dr_json_print(report);
}

int dr_cmd_render(int argc, char **argv) {
  dr_render_request request;
  dr_render_parse(&request, argc, argv);
  dr_interrupt_install();
  session *s = calloc(1, sizeof *s);
  if (!s) {
    fputs("drover render: out of memory\n", stderr);
    return DR_EXIT_FAILED;
  }
  s->request = &request;
  s->begin = dr_seconds_now();
  dr_progress_begin(&s->progress, request.common.quiet);
  dr_progress_label(&s->progress, "%s", request.type->name);
  int code = render(s);
  dr_progress_end(&s->progress);
  s->figures.seconds = dr_seconds_now() - s->begin;
  const bool written = code == DR_EXIT_DONE || (code == DR_EXIT_INTERRUPTED && s->figures.num_frames > 0);
  if (written && s->figures.interrupted)
    fprintf(stderr, "drover render: interrupted; the %lld steps that were played are in the file\n",
            (long long)s->figures.num_steps);
  if (written && !request.common.json) print_report(s);
  if (written && request.common.json && print_json(s) && code == DR_EXIT_DONE) code = DR_EXIT_FAILED;
  close_session(s);
  free(s);
  return code;
}
