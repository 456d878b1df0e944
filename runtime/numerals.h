/* numerals.h: numbers in arguments and files have a decimal point, whatever locale the host has chosen.
 *
 * For the calling thread only: the host's own setlocale and its other threads are left alone. */
#ifndef DR_RUNTIME_NUMERALS_H
#define DR_RUNTIME_NUMERALS_H

#include <locale.h>

typedef struct dr_numerals {
  locale_t plain;  /* (locale_t)0: there was no memory, and nothing was changed */
  locale_t before; /* the thread's */
} dr_numerals;

/* LC_NUMERIC "C" from here to leave; all other categories stay the thread's. */
dr_numerals dr_numerals_enter(void);
void dr_numerals_leave(dr_numerals numerals);

#endif
