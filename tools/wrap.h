/* wrap.h: text for people, as wide as the place where it is read. */
#ifndef DR_TOOLS_WRAP_H
#define DR_TOOLS_WRAP_H

/* Columns of standard output: COLUMNS if that is set, the terminal's, or `otherwise` where there is no terminal. */
int dr_output_width(int otherwise);

/* Print `text` on standard output in lines of at most `width` columns, broken at spaces, and a newline. `column` is
 * where the first line begins (what is before it has been printed); the others are indented by `indent`. A word that is
 * too long has a line for itself. width <= 0: one line. */
void dr_print_wrapped(const char *text, int column, int indent, int width);

#endif
