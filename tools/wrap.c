/* wrap.c: lines broken for wrap.h. */
#include "tools/wrap.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

int dr_output_width(int otherwise) {
  struct winsize size = {0};
  const char *columns = getenv("COLUMNS");
  const long given = columns ? strtol(columns, NULL, 10) : 0;
  if (given > 0 && given < 10000) return (int)given;
  if (isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return otherwise;
}

void dr_print_wrapped(const char *text, int column, int indent, int width) {
  bool begun = false; /* this line has a word */
  for (const char *word = text + strspn(text, " "); *word; word += strspn(word, " ")) {
    const int length = (int)strcspn(word, " ");
    if (begun && width > 0 && column + 1 + length > width) {
      printf("\n%*s", indent, "");
      column = indent;
      begun = false;
    }
    printf("%s%.*s", begun ? " " : "", length, word);
    column += length + begun;
    begun = true;
    word += length;
  }
  putchar('\n');
}
