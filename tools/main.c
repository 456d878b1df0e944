/* main.c: `drover`: finds the subcommand and runs it. */
#include <drover/drover.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/commands.h"
#include "tools/options.h"
#include "tools/spelling.h"

typedef struct dr_command {
  const char *name;
  const char *summary;
  int (*run)(int argc, char **argv);
} dr_command;

static const dr_command commands[] = {
#define DR_COMMAND_ROW(name, summary) {#name, summary, dr_cmd_##name},
    DR_COMMANDS(DR_COMMAND_ROW)
#undef DR_COMMAND_ROW
};
enum { NUM_COMMANDS = sizeof commands / sizeof commands[0] };

static void print_help(void) {
  puts(
      "Usage: drover COMMAND [OPTION...]\n"
      "\n"
      "Drover steps large batches of simulation environments as work-stealing tasks and\n"
      "runs the policy network inside the same threads. One seed gives one result on\n"
      "any number of them.\n"
      "\n"
      "Commands:");
  for (int i = 0; i < NUM_COMMANDS; i++) printf("  %-9s %s\n", commands[i].name, commands[i].summary);
  puts(
      "\n"
      "Examples:\n"
      "  drover envs CartPole-v1\n"
      "      What the environment observes, what it takes, when it ends.\n"
      "  drover train --env CartPole-v1 --save cartpole.safetensors\n"
      "      A policy that balances the pole, in about a second.\n"
      "  drover eval --env CartPole-v1 --policy cartpole.safetensors\n"
      "      How well: return and length of a hundred episodes.\n"
      "  drover render --env CartPole-v1 --policy cartpole.safetensors --out film.gif\n"
      "      A film of it.\n"
      "  drover rollout --env CartPole-v1 --num-envs 1k --steps 1k --repeat 5\n"
      "      A million steps under a small untrained network, timed five times.\n"
      "\n"
      "`drover COMMAND --help` or `drover help COMMAND` explains a command. Numbers may\n"
      "end in k (1,000) or M (1,000,000); 0 or auto means \"decide for me\".\n"
      "Exit codes: 0 done, 1 failed, 2 bad usage, 3 interrupted (what was done is saved).");
}

static int unknown_command(const char *name) {
  const char *names[NUM_COMMANDS + 1] = {NULL};
  for (int i = 0; i < NUM_COMMANDS; i++) names[i] = commands[i].name;
  const char *closest = dr_closest_name(name, names);
  if (closest)
    fprintf(stderr, "drover: there is no command '%s'; did you mean '%s'? `drover --help` lists them\n", name, closest);
  else
    fprintf(stderr, "drover: there is no command '%s'; `drover --help` lists them\n", name);
  return DR_EXIT_USAGE;
}

/* Output that could not be written (a full disk, a closed pipe) must not look like success. */
static int close_output(int code) {
  errno = 0;
  const bool failed = fflush(stdout) != 0 || ferror(stdout);
  if (!failed) return code;
  fprintf(stderr, "drover: standard output could not be written: %s\n", strerror(errno ? errno : EIO));
  return code == DR_EXIT_DONE ? DR_EXIT_FAILED : code;
}

int main(int argc, char **argv) {
  if (argc < 2) {
    fputs("drover: a command is missing; `drover --help` lists them\n", stderr);
    return DR_EXIT_USAGE;
  }
  /* `drover help COMMAND` is `drover COMMAND --help`. */
  char help_option[] = "--help";
  char *help_of[] = {argv[0], argc > 2 ? argv[2] : NULL, help_option, NULL};
  if (argc == 3 && strcmp(argv[1], "help") == 0) argv = help_of;
  const char *name = argv[1];
  if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "-?") == 0 || strcmp(name, "help") == 0) {
    print_help();
    return close_output(DR_EXIT_DONE);
  }
  if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0 || strcmp(name, "version") == 0) {
    printf("drover %s\n", drover_version());
    return close_output(DR_EXIT_DONE);
  }
  for (int i = 0; i < NUM_COMMANDS; i++)
    if (strcmp(name, commands[i].name) == 0) return close_output(commands[i].run(argc - 1, argv + 1));
  return unknown_command(name);
}
