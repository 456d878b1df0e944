/* commands.h: the subcommands of `drover`. A new one is a line here, a file tools/NAME.c and its line in
 * tools/CMakeLists.txt. argv[0] is the subcommand's name; what it returns is the program's exit code. */
#ifndef DR_TOOLS_COMMANDS_H
#define DR_TOOLS_COMMANDS_H

/* X(name, one line for `drover --help`), in the order of the help. */
#define DR_COMMANDS(X)                                                         \
  X(envs, "list the environments, or describe one")                            \
  X(rollout, "run environments under a policy, and time or save it")           \
  X(render, "draw an environment under a policy: GIF, MP4 or PNG")             \
  X(train, "train a policy by PPO, with checkpoints, log and curves")          \
  X(eval, "play whole episodes under a policy, and say how well it did")       \
  X(plot, "draw the curves of training logs")                                  \
  X(bench, "measure this machine: environments, network, scheduler")           \
  X(verify, "check that every way of running gives the bytes of a plain loop") \
  X(doctor, "say what limits threads here, and what to do about it")           \
  X(exec, "start another program with threads limited and jemalloc preloaded")

#define DR_COMMAND_PROTOTYPE(name, summary) int dr_cmd_##name(int argc, char **argv);
DR_COMMANDS(DR_COMMAND_PROTOTYPE)
#undef DR_COMMAND_PROTOTYPE

/* Exit codes of every subcommand (`exec` adds a shell's 126 and 127). */
enum {
  DR_EXIT_DONE = 0,
  DR_EXIT_FAILED = 1,
  DR_EXIT_USAGE = 2,
  DR_EXIT_INTERRUPTED = 3 /* what was done is saved */
};

#endif
