/* spelling.h: the name that was probably meant. */
#ifndef DR_TOOLS_SPELLING_H
#define DR_TOOLS_SPELLING_H

/* The name in `names` (ended by NULL) closest to `text` by edit distance, or NULL if none is near. */
const char *dr_closest_name(const char *text, const char *const *names);

#endif
