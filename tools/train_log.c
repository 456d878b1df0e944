/* train_log.c: what `drover train` tells: the CSV log, the live line, the words at the beginning and at the end. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/format.h"
#include "tools/json.h"
#include "tools/train.h"

/* ---- The log: one table of columns for its header and its lines ---- */

typedef struct columns {
  FILE *out;
  bool names; /* print the name instead of the value */
  bool begun; /* a comma is needed */
} columns;

static void begin_column(columns *c, const char *name) {
  if (c->begun) fputc(',', c->out);
  c->begun = true;
  if (c->names) fputs(name, c->out);
}

static void put_integer(columns *c, const char *name, int64_t value) {
  begin_column(c, name);
  if (!c->names) fprintf(c->out, "%" PRId64, value);
}

/* Empty where there is nothing to say. */
static void put_number(columns *c, const char *name, double value) {
  begin_column(c, name);
  if (!c->names && isfinite(value)) fprintf(c->out, "%.7g", value);
}

static void put_inner(columns *c, const dr_train_row *row) {
  const drover_inner_stats *inner = &row->inner;
  const bool there = inner->size > 0;
  put_number(c, "inner_loss", there ? inner->loss : (double)NAN);
  put_number(c, "inner_torque_loss", there ? inner->torque_loss : (double)NAN);
  put_number(c, "inner_effort_loss", there ? inner->effort_loss : (double)NAN);
}

static void put_row(const dr_train *train, FILE *out, bool names) {
  columns c = {.out = out, .names = names};
  const dr_train_counters *counters = &train->counters;
  const dr_train_row *row = &train->row;
  put_integer(&c, "update", counters->num_updates);
  put_integer(&c, "steps", counters->num_steps);
  put_number(&c, "seconds", counters->seconds);
  put_number(&c, "steps_per_second", row->steps_per_second);
  put_integer(&c, "episodes", counters->num_episodes);
  put_number(&c, "mean_return", dr_train_mean_return(train));
  put_number(&c, "mean_length", dr_train_mean_length(train));
  put_number(&c, "policy_loss", row->ppo.policy_loss);
  put_number(&c, "value_loss", row->ppo.value_loss);
  put_number(&c, "entropy", row->ppo.entropy);
  put_number(&c, "approx_kl", row->ppo.approx_kl);
  put_number(&c, "clip_fraction", row->ppo.clip_fraction);
  put_number(&c, "grad_norm", row->ppo.grad_norm);
  put_number(&c, "explained_variance", row->ppo.explained_variance);
  put_number(&c, "mean_std", row->ppo.mean_std);
  put_number(&c, "learning_rate", row->ppo.learning_rate);
  put_integer(&c, "epochs", row->ppo.num_epochs);
  put_number(&c, "reward_scale", row->ppo.reward_scale);
  put_number(&c, "rollout_share", row->rollout_share);
  put_number(&c, "learner_share", row->learner_share);
  put_integer(&c, "faults", counters->num_faults);
  if (train->inner) put_inner(&c, row);
  for (int32_t i = 0; i < train->spec->num_infos; i++) {
    char name[80];
    snprintf(name, sizeof name, "info.%s", train->spec->info_names[i]);
    put_number(&c, name, train->info_means[i]);
  }
  begin_column(&c, "weights");
  if (!names) fprintf(out, "%016" PRIx64, row->weights_digest);
  fputc('\n', out);
}

/* The lines of an earlier log up to the update that is resumed from, into `out`. -1: it has other columns. */
static int copy_lines(FILE *from, FILE *out, const char *header, int64_t last_update) {
  char *line = NULL;
  size_t bytes = 0;
  int result = getline(&line, &bytes, from) > 0 && strcmp(line, header) == 0 ? 0 : -1;
  while (result == 0 && getline(&line, &bytes, from) > 0)
    if (strchr(line, '\n') && strtoll(line, NULL, 10) <= last_update) fputs(line, out);
  free(line);
  return result;
}

/* Begin the log anew, or with what an earlier run logged: written beside it and renamed over it. */
static drover_status begin_log(dr_train *train, const char *path, bool resumed) {
  const char *command = train->request->common.command;
  char *header = NULL, temporary[4200];
  size_t bytes = 0;
  FILE *memory = open_memstream(&header, &bytes);
  if (!memory) return DROVER_ERROR_NO_MEMORY;
  put_row(train, memory, true);
  fclose(memory);
  snprintf(temporary, sizeof temporary, "%s.%ld.tmp", path, (long)getpid());
  FILE *earlier = resumed ? fopen(path, "re") : NULL;
  FILE *out = fopen(temporary, "we");
  if (!out) dr_usage_error(command, "--log: '%s' cannot be written: %s", temporary, strerror(errno));
  fputs(header, out);
  const int copied = earlier ? copy_lines(earlier, out, header, train->counters.num_updates) : 0;
  if (earlier) fclose(earlier);
  free(header);
  if (copied != 0) {
    fclose(out);
    unlink(temporary);
    dr_usage_error(command, "--log: '%s' is not the log of such a run: its columns are others", path);
  }
  if (fflush(out) != 0 || rename(temporary, path) != 0) {
    const int reason = errno;
    fclose(out);
    unlink(temporary);
    dr_usage_error(command, "--log: '%s' cannot be written: %s", path, strerror(reason));
  }
  train->log = out;
  return DROVER_OK;
}

drover_status dr_train_log_open(dr_train *train) {
  const dr_train_request *request = train->request;
  if (request->log) {
    train->log_path = strdup(request->log);
    return train->log_path ? begin_log(train, request->log, request->resume != NULL) : DROVER_ERROR_NO_MEMORY;
  }
  if (!request->plot) return DROVER_OK;
  const char *folder = getenv("TMPDIR");
  char path[4200];
  snprintf(path, sizeof path, "%s/drover-log-XXXXXX", folder && folder[0] ? folder : "/tmp");
  const int fd = mkstemp(path);
  if (fd < 0)
    dr_usage_error(request->common.command, "--plot: a temporary file '%s' cannot be made: %s", path, strerror(errno));
  train->log = fdopen(fd, "w");
  train->log_path = strdup(path);
  train->log_is_temporary = true;
  if (!train->log || !train->log_path) return DROVER_ERROR_NO_MEMORY;
  put_row(train, train->log, true);
  return DROVER_OK;
}

static void tell_log_failure(dr_train *train) {
  if (!train->output_failed)
    fprintf(stderr, "drover train: the log '%s' cannot be written: %s\n", train->log_path, strerror(errno));
  train->output_failed = true;
}

void dr_train_log_row(dr_train *train) {
  if (!train->log) return;
  put_row(train, train->log, false);
  if (fflush(train->log) != 0) tell_log_failure(train);
}

/* A temporary log is removed when everything is over: called a second time. */
void dr_train_log_close(dr_train *train) {
  if (train->log) {
    if (fclose(train->log) != 0) tell_log_failure(train);
    train->log = NULL;
  } else if (train->log_is_temporary) {
    unlink(train->log_path);
  }
}

/* ---- The live line ---- */

void dr_train_show(dr_train *train, int64_t num_steps, double seconds) {
  const dr_train_counters *counters = &train->counters;
  const dr_train_row *row = &train->row;
  const int64_t total = train->max_updates * train->rows_per_update;
  const double rate = counters->num_updates > 0 ? (double)counters->num_steps / counters->seconds
                      : seconds > 0             ? (double)num_steps / seconds
                                                : 0;
  char steps[DR_FORMAT_BYTES], speed[DR_FORMAT_BYTES], left[DR_FORMAT_BYTES + 8] = "", inner[48] = "";
  dr_format_scaled(steps, (double)num_steps);
  dr_format_scaled(speed, rate);
  char duration[DR_FORMAT_BYTES];
  if (num_steps < total)
    snprintf(left, sizeof left, "  %s left",
             dr_format_seconds(duration, rate > 0 ? (double)(total - num_steps) / rate : 0));
  if (row->inner.size > 0) snprintf(inner, sizeof inner, "  inner %.4f", row->inner.loss);
  const double fraction = (double)num_steps / (double)total;
  const char *name = train->request->type->name;
  if (counters->num_updates == 0) {
    dr_progress_line(&train->progress, name, fraction, seconds, "first rollout, %s steps, %s/s", steps, speed);
    return;
  }
  char mean_return[DR_FORMAT_BYTES] = "-"; /* no episode has ended */
  if (counters->num_episodes > 0) snprintf(mean_return, sizeof mean_return, "%.5g", dr_train_mean_return(train));
  if (row->ppo.size == 0) { /* resumed, and nothing learned since */
    dr_progress_line(&train->progress, name, fraction, seconds, "return %s  %s steps/s%s", mean_return, speed, left);
    return;
  }
  dr_progress_line(&train->progress, name, fraction, seconds,
                   "return %s  %s steps/s%s  KL %.4f  EV %.2f%s  rollout %.0f %% learner %.0f %%", mean_return, speed,
                   left, row->ppo.approx_kl, row->ppo.explained_variance, inner, row->rollout_share * 100,
                   row->learner_share * 100);
}

/* ---- Beginning and end ---- */

/* Whether a line is among those of a request that nothing was said to. */
static bool is_usual(const char *line, const char *usual) {
  const char *at = strstr(usual, line);
  return at && (at == usual || at[-1] == '\n') && at[strlen(line)] == '\n';
}

/* The settings that are not what they are for every env, and the most asked for, as many a line as fit. */
static void print_settings(const dr_train *train) {
  enum { WIDTH = 110 };
  static const char *const shown[] = {"policy = ",          "total-steps = ", "learning-rate = ", "num-epochs = ",
                                      "num-minibatches = ", "gamma = ",       "gae-lambda = "};
  static const char *const told[] = {"env = ", "num-envs = ", "steps = "};
  dr_train_request *usual = calloc(1, sizeof *usual);
  if (usual) dr_train_request_init(usual);
  char *usual_text = usual ? dr_train_settings_text(usual) : NULL;
  char *text = dr_train_settings_text(train->request), *rest = text;
  size_t used = 0;
  for (char *line; usual_text && (line = strsep(&rest, "\n")) != NULL;) {
    bool wanted = line[0] != '\0' && !is_usual(line, usual_text);
    for (size_t i = 0; i < sizeof shown / sizeof shown[0]; i++)
      wanted = wanted || strncmp(line, shown[i], strlen(shown[i])) == 0;
    for (size_t i = 0; i < sizeof told / sizeof told[0]; i++)
      wanted = wanted && strncmp(line, told[i], strlen(told[i])) != 0;
    if (!wanted || (strncmp(line, "inner-", 6) == 0 && !train->inner_policy)) continue;
    char *equals = strstr(line, " = ");
    *equals = '\0';
    const size_t length = strlen(line) + strlen(equals + 3) + 3;
    const bool wraps = used > 0 && used + length > WIDTH;
    fprintf(stderr, "%s%s %s", used == 0 ? "  " : wraps ? ",\n  " : ", ", line, equals + 3);
    used = wraps ? length : used + length;
  }
  if (used > 0) fputc('\n', stderr);
  free(usual);
  free(usual_text);
  free(text);
}

void dr_train_print_begin(const dr_train *train) {
  const dr_options *common = &train->request->common;
  if (common->quiet) return;
  char steps[DR_FORMAT_BYTES], updates[DR_FORMAT_BYTES];
  drover_runtime_stats stats = {.size = sizeof stats};
  drover_runtime_get_stats(train->runtime, &stats);
  fprintf(stderr, "%s: %d envs x %d steps an update, %s update%s = %s steps, %d worker%s\n", train->request->type->name,
          common->num_envs, common->num_steps, dr_format_integer(updates, train->max_updates),
          train->max_updates == 1 ? "" : "s", dr_format_integer(steps, train->max_updates * train->rows_per_update),
          stats.num_workers, stats.num_workers == 1 ? "" : "s");
  print_settings(train);
}

static const char *end_words(dr_train_end end) {
  switch (end) {
    case DR_TRAIN_TARGET:
      return "the target return was reached";
    case DR_TRAIN_INTERRUPTED:
      return "interrupted";
    default:
      return "all steps were made";
  }
}

static int print_json(dr_train *train, dr_train_end end) {
  static const char *const ends[] = {"steps", "target", "interrupted", "failed"};
  const dr_train_request *request = train->request;
  const dr_train_counters *counters = &train->counters;
  uint64_t digest = 0;
  dr_train_digest(train, &digest);
  const double seconds = counters->seconds > 0 ? counters->seconds : (double)NAN;
  json_t *object = json_object();
  json_object_set_new(object, "env", json_string(request->type->name));
  json_object_set_new(object, "seed", json_integer((json_int_t)request->common.seed));
  json_object_set_new(object, "end", json_string(ends[end]));
  json_object_set_new(object, "num_envs", json_integer(request->common.num_envs));
  json_object_set_new(object, "num_steps", json_integer(request->common.num_steps));
  json_object_set_new(object, "updates", json_integer(counters->num_updates));
  json_object_set_new(object, "steps", json_integer(counters->num_steps));
  json_object_set_new(object, "episodes", json_integer(counters->num_episodes));
  json_object_set_new(object, "seconds", dr_json_number(counters->seconds));
  json_object_set_new(object, "steps_per_second", dr_json_number((double)counters->num_steps / seconds));
  json_object_set_new(object, "rollout_share", dr_json_number(counters->rollout_seconds / seconds));
  json_object_set_new(object, "learner_share", dr_json_number(counters->learner_seconds / seconds));
  json_object_set_new(object, "mean_return", dr_json_number(dr_train_mean_return(train)));
  json_object_set_new(object, "mean_length", dr_json_number(dr_train_mean_length(train)));
  json_object_set_new(object, "num_faults", json_integer(counters->num_faults));
  json_object_set_new(object, "inner_loss",
                      train->row.inner.size > 0 ? dr_json_number(train->row.inner.loss) : json_null());
  json_object_set_new(object, "weights", dr_json_digest(digest));
  json_object_set_new(object, "save", request->save ? json_string(request->save) : json_null());
  json_object_set_new(object, "version", json_string(drover_version()));
  return dr_json_print(object);
}

void dr_train_print_option(FILE *out, const char *name, const char *word) {
  static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=.,/:@%";
  if (!word) return;
  fprintf(out, " --%s ", name);
  if (word[0] != '\0' && word[strspn(word, plain)] == '\0') {
    fputs(word, out);
    return;
  }
  fputc('\'', out);
  for (const char *c = word; *c; c++) {
    if (*c == '\'')
      fputs("'\\''", out);
    else
      fputc(*c, out);
  }
  fputc('\'', out);
}

int dr_train_print_end(dr_train *train, dr_train_end end) {
  const dr_train_request *request = train->request;
  const dr_train_counters *counters = &train->counters;
  if (request->common.json) return print_json(train, end);
  uint64_t digest = 0;
  dr_train_digest(train, &digest);
  char steps[DR_FORMAT_BYTES], seconds[DR_FORMAT_BYTES], speed[DR_FORMAT_BYTES], episodes[DR_FORMAT_BYTES];
  const double all = counters->seconds > 0 ? counters->seconds : 1;
  printf("%s: %s\n", request->type->name, end_words(end));
  printf("  trained    %s steps in %s: %s steps/s (rollout %.0f %%, learner %.0f %%)\n",
         dr_format_integer(steps, counters->num_steps), dr_format_seconds(seconds, counters->seconds),
         dr_format_scaled(speed, (double)counters->num_steps / all), counters->rollout_seconds / all * 100,
         counters->learner_seconds / all * 100);
  const int64_t window = counters->num_episodes < DR_TRAIN_WINDOW ? counters->num_episodes : DR_TRAIN_WINDOW;
  if (window > 0)
    printf("  return     %.6g, mean of the last %" PRId64 " of %s episodes (mean length %.4g)\n",
           dr_train_mean_return(train), window, dr_format_integer(episodes, counters->num_episodes),
           dr_train_mean_length(train));
  else
    puts("  return     no episode has ended");
  if (counters->num_faults > 0) printf("  faults     %" PRId64 "\n", counters->num_faults);
  printf("  weights    %016" PRIx64 " (XXH3)\n", digest);
  if (request->save) {
    printf("  saved      %s; try: drover eval", request->save);
    dr_train_print_option(stdout, "env", request->common.env);
    dr_train_print_option(stdout, "policy", request->save);
    dr_train_print_option(stdout, "inner-policy", request->save_inner);
    putchar('\n');
  }
  if (request->log) printf("  log        %s\n", request->log);
  if (request->plot) printf("  plot       %s\n", request->plot);
  return 0;
}
