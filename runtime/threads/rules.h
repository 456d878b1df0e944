/* rules.h: which files are threading runtimes: one row a kind of library. */
#ifndef DR_RUNTIME_THREADS_RULES_H
#define DR_RUNTIME_THREADS_RULES_H

#include <drover/threads.h>
#include <stdbool.h>

enum { DR_RULE_NAMES = 4 };

/* A kind of library: how its files are named, and a symbol that nothing else defines. */
typedef struct dr_library_rule {
  drover_library_kind kind;
  const char *names[DR_RULE_NAMES]; /* beginnings of the file name, each followed by none of [A-Za-z]; NULL = no more */
  const char *witness;              /* finds copies under other names (static in libtorch, renamed in a wheel); NULL =
                                       by name only */
} dr_library_rule;

/* The index'th rule; NULL past the end. */
const dr_library_rule *dr_library_rule_at(int index);

/* The rule that a file's name fits, or NULL. */
const dr_library_rule *dr_library_rule_of(const char *path);

/* The version in a file name: "libgomp.so.1.0.0" -> "1.0.0", "libopenblasp-r0.3.21.so" -> "0.3.21"; "" if none. */
void dr_library_version_of(const char *path, char *version, size_t version_size);

#endif
