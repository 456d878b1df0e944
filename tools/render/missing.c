/* missing.c: `drover render` in a build without it. */
#include <stdio.h>

#include "tools/commands.h"

int dr_cmd_render(int argc, char **argv) {
  (void)argc, (void)argv;
  fputs(
      "drover render: this drover was built without drawing; install libcairo2-dev and libgif-dev (tools/deps does), "
      "then configure again with -DDROVER_RENDER=ON\n",
      stderr);
  return DR_EXIT_FAILED;
}
