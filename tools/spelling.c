/* spelling.c: the name that was probably meant. */
#include "tools/spelling.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Edit distance of Levenshtein, without case; names longer than the table count as far away. */
static size_t edit_distance(const char *a, const char *b) {
  enum { MOST = 63 };
  size_t row[MOST + 1];
  const size_t a_length = strlen(a), b_length = strlen(b);
  if (a_length > MOST || b_length > MOST) return SIZE_MAX;
  for (size_t j = 0; j <= b_length; j++) row[j] = j;
  for (size_t i = 1; i <= a_length; i++) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b_length; j++) {
      const size_t change = diagonal + ((a[i - 1] | 0x20) != (b[j - 1] | 0x20));
      diagonal = row[j];
      const size_t best = (row[j - 1] < diagonal ? row[j - 1] : diagonal) + 1;
      row[j] = change < best ? change : best;
    }
  }
  return row[b_length];
}

const char *dr_closest_name(const char *text, const char *const *names) {
  const char *closest = NULL;
  size_t closest_distance = strlen(text) / 2 + 1;
  for (int i = 0; names[i]; i++) {
    /* The beginning of a name is as good as a small slip. */
    const bool prefix = text[0] != '\0' && strncmp(text, names[i], strlen(text)) == 0;
    const size_t distance = prefix ? 1 : edit_distance(text, names[i]);
    if (distance < closest_distance) {
      closest = names[i];
      closest_distance = distance;
    }
  }
  return closest;
}
