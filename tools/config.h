/* config.h: options as text, one `name = value` a line: what --config reads, what checkpoints keep, what the tables of
 * defaults hold. A line is understood as if --name=value had been typed. */
#ifndef DR_TOOLS_CONFIG_H
#define DR_TOOLS_CONFIG_H

#include <argp.h>
#include <stdbool.h>

/* Where lines go: a subcommand's own argp parser, called with `input`. */
typedef struct dr_config_target {
  const struct argp *argp;
  void *input;
  const char **command;               /* begins the messages of the parser: for the time of a line "train: FILE:LINE" */
  bool (*skip)(void *input, int key); /* whether an option was given already, where that one wins; may be NULL */
} dr_config_target;

/* Read a whole file as text, or exit with a usage error that names --`name`. The caller frees it. */
char *dr_config_read(const char *command, const char *name, const char *path);

/* Take the lines of text, which is changed and must outlive what the parser keeps of it. Empty lines and those that
 * begin with # say nothing. An unknown name, a missing value or one out of range is a usage error that begins with
 * "origin:line". A switch that takes no value on the command line is given as `name = on` or `off`. */
void dr_config_apply(const dr_config_target *target, const char *origin, char *text);

#endif
