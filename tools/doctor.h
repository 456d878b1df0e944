/* doctor.h: what the files of `drover doctor` share: the machine beside the library's report, and how both are shown.
 */
#ifndef DR_TOOLS_DOCTOR_H
#define DR_TOOLS_DOCTOR_H

#include <drover/threads.h>
#include <stdbool.h>

enum { DR_DOCTOR_MAX_FINDINGS = 8 };

/* The machine, as far as it matters to threads. Numbers are 0 and texts "" where the kernel does not say. */
typedef struct dr_machine {
  char cpu[128];            /* model name */
  int32_t num_cpus;         /* online */
  int32_t threads_per_core; /* 2 = SMT is on */
  int32_t num_nodes;        /* NUMA nodes with CPUs */
  int32_t num_mask_nodes;   /* of them, how many the examined process's mask touches */
  char mask[256];           /* that mask, as "0-7,16" */
  char allocator[64];       /* whose malloc the process uses, as far as its memory map shows */
  bool has_jemalloc;        /* `drover exec` would find libjemalloc.so.2 */
  int32_t num_findings;
  drover_finding findings[DR_DOCTOR_MAX_FINDINGS]; /* texts are literals or dr_machine's `texts` */
  char texts[DR_DOCTOR_MAX_FINDINGS][256];
} dr_machine;

/* Look at the machine and process `pid` (0 = this one) under filesystem_root (NULL = "/"). */
void dr_machine_read(const char *filesystem_root, int32_t pid, dr_machine *out);

/* Where the loader finds libjemalloc.so.2; false if nowhere. */
bool dr_find_jemalloc(char *path, size_t path_size);

/* The report for a person, on stdout. */
void dr_doctor_print(const dr_machine *machine, const drover_threads_view *view, bool is_self);

/* The report as one JSON object, on stdout. Returns 0, or -1 without memory. */
int dr_doctor_print_json(const dr_machine *machine, const drover_threads_view *view, bool is_self);

typedef struct dr_watch_options {
  int32_t pid;
  double for_s; /* 0 = until the process ends */
  int32_t interval_ms;
  bool constant; /* a thread count that moves is a failure */
  bool json;
} dr_watch_options;

/* `drover doctor --watch`: sample until the process ends, the time is over or the user interrupts. The exit code. */
int dr_doctor_watch(const dr_watch_options *options);

/* The text with everything that a terminal would act on replaced, cut to 255 bytes: what other processes hold in their
 * environments and names is theirs to choose. Returns `out` (256 bytes). */
char *dr_doctor_clean(char *out, const char *text);

#endif
