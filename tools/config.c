/* config.c: options as text, one `name = value` a line. */
#include "tools/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/options.h"
#include "tools/spelling.h"

enum { MOST_BYTES = 1 << 20, MOST_NAMES = 256 };

char *dr_config_read(const char *command, const char *name, const char *path) {
  FILE *file = fopen(path, "re");
  if (!file) dr_usage_error(command, "--%s: '%s' cannot be read: %s", name, path, strerror(errno));
  char *text = malloc(MOST_BYTES + 1);
  if (!text) dr_usage_error(command, "--%s: out of memory", name);
  const size_t bytes = fread(text, 1, MOST_BYTES, file);
  const bool failed = ferror(file) != 0, longer = fgetc(file) != EOF;
  const int reason = errno;
  fclose(file);
  if (failed) dr_usage_error(command, "--%s: '%s' cannot be read: %s", name, path, strerror(reason));
  if (longer) dr_usage_error(command, "--%s: '%s' is longer than %d bytes", name, path, MOST_BYTES);
  text[bytes] = '\0';
  if (strlen(text) != bytes) dr_usage_error(command, "--%s: '%s' is not a text file", name, path);
  return text;
}

static char *trim(char *text) {
  static const char blank[] = " \t\r\n";
  text += strspn(text, blank);
  size_t length = strlen(text);
  while (length > 0 && strchr(blank, text[length - 1])) text[--length] = '\0';
  return text;
}

/* The row of this name, or a usage error with the closest known one. */
static const struct argp_option *find_row(const struct argp *argp, const char *command, const char *name) {
  const char *names[MOST_NAMES + 1] = {NULL};
  int count = 0;
  for (const struct argp_option *row = argp->options; row->name || row->key || row->doc; row++) {
    if (!row->name) continue;
    if (strcmp(row->name, name) == 0) return row;
    if (count < MOST_NAMES) names[count++] = row->name;
  }
  const char *closest = dr_closest_name(name, names);
  if (closest) dr_usage_error(command, "there is no option '%s'; did you mean '%s'?", name, closest);
  dr_usage_error(command, "there is no option '%s'; --help lists them", name);
}

/* A switch on the command line: on or off here. */
static bool switched_on(const char *command, const char *name, const char *value) {
  if (strcmp(value, "on") == 0) return true;
  if (strcmp(value, "off") != 0) dr_usage_error(command, "%s must be on or off, got '%s'", name, value);
  return false;
}

static void apply_line(const dr_config_target *target, const char *where, char *line) {
  char *equals = strchr(line, '=');
  if (!equals) dr_usage_error(where, "expected `name = value`, got '%s'", line);
  *equals = '\0';
  const char *name = trim(line);
  char *value = trim(equals + 1);
  if (name[0] == '\0') dr_usage_error(where, "expected `name = value`, got '= %s'", value);
  const struct argp_option *row = find_row(target->argp, where, name);
  if (value[0] == '\0') dr_usage_error(where, "%s has no value", name);
  if (target->skip && target->skip(target->input, row->key)) return;
  if (!row->arg && !switched_on(where, name, value)) return;

  /* The parser is called as argp would call it, so that a value means what it means on the command line. */
  struct argp_state state;
  memset(&state, 0, sizeof state);
  state.root_argp = target->argp;
  state.input = target->input;
  const char *command = *target->command;
  *target->command = where;
  const error_t failed = target->argp->parser(row->key, row->arg ? value : NULL, &state);
  *target->command = command;
  if (failed) dr_usage_error(where, "%s cannot be given here", name);
}

void dr_config_apply(const dr_config_target *target, const char *origin, char *text) {
  const char *command = *target->command;
  int number = 1;
  for (char *rest = text, *line; (line = strsep(&rest, "\n")) != NULL; number++) {
    line = trim(line);
    if (line[0] == '\0' || line[0] == '#') continue;
    char where[4200];
    snprintf(where, sizeof where, "%s: %s:%d", command, origin, number);
    apply_line(target, where, line);
  }
}
