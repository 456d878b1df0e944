/* numerals.c: see numerals.h. */
#include "runtime/numerals.h"

dr_numerals dr_numerals_enter(void) {
  dr_numerals n = {.before = uselocale((locale_t)0)};
  const locale_t copy = duplocale(n.before);
  n.plain = copy ? newlocale(LC_NUMERIC_MASK, "C", copy) : (locale_t)0;
  if (n.plain)
    uselocale(n.plain);
  else if (copy)
    freelocale(copy);
  return n;
}

void dr_numerals_leave(dr_numerals numerals) {
  if (!numerals.plain) return;
  uselocale(numerals.before);
  freelocale(numerals.plain);
}
