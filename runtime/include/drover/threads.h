/* threads.h: thread hygiene: usable cores and why, loaded threading runtimes, findings, configuration, the task guard.
 *
 * Three rules (DESIGN.md, section 7):
 * - A program configures the process once, before anything else loads: drover_threads_configure, or it is started by
 *   `drover exec -- CMD`. Only what is unset is set; coming twice or too late is a state, never an error.
 * - A library never touches process-wide settings. The runtime's task guard limits the OpenMP and BLAS runtimes that
 *   it finds loaded to one thread, for the thread that runs a task and while it runs; host threads are untouched.
 * - Anybody can look: drover_threads_inspect takes a snapshot of this process or another one, with findings in words.
 */
#ifndef DROVER_THREADS_H
#define DROVER_THREADS_H

#include <drover/base.h>
#include <drover/runtime.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How many cores this process may really use, and why: num_cores = min(affinity, ceil(smallest cgroup quota)). */
typedef struct drover_cores {
  size_t size;          /* set by the caller to sizeof(drover_cores) */
  int32_t num_cores;    /* at least 1 */
  int32_t num_affinity; /* CPUs in the calling thread's mask */
  double quota;         /* smallest CPU quota of this cgroup and its ancestors, in cores; 0 = none */
  char quota_path[256]; /* the file that holds it; "" = none */
} drover_cores;

/* filesystem_root: where /proc and /sys/fs/cgroup are looked up, NULL = "/". Unreadable or malformed files count as
 * no quota. Any thread. */
DROVER_API drover_status drover_threads_get_cores(const char *filesystem_root, drover_cores *out);

/* ---- Configuring a process -------------------------------------------------------------------------------------- */

typedef enum drover_threads_state {
  DROVER_THREADS_CONFIGURED = 0,         /* variables were unset and have been set by this call */
  DROVER_THREADS_ALREADY_CONFIGURED = 1, /* every variable had a value: nothing to do */
  DROVER_THREADS_TOO_LATE = 2            /* a second thread or a threading runtime exists: nothing was changed */
} drover_threads_state;

/* What drover_threads_configure did. */
typedef struct drover_threads_configuration {
  size_t size; /* set by the caller to sizeof(drover_threads_configuration) */
  drover_threads_state state;
  int32_t num_set;  /* variables set by this call */
  int32_t num_kept; /* variables that had a value and kept it */
  char set[256];    /* "OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 ..." */
  char kept[256];   /* likewise, what was left alone */
  char reason[256]; /* TOO_LATE: why, and what to do instead; else "" */
} drover_threads_configuration;

/* For entry points (main), before other libraries are loaded and threads started: set OMP_NUM_THREADS,
 * MKL_NUM_THREADS and the like (drover_threads_default_at) where they are unset. Library code must not call it.
 * out may be NULL. Never fails for being called twice or late: read out->state. Main thread. */
DROVER_API drover_status drover_threads_configure(drover_threads_configuration *out);

/* The index'th variable that configure and `drover exec` set where it is unset, and the value; NULL past the end. */
DROVER_API const char *drover_threads_default_at(int32_t index, const char **value);

/* ---- Looking at a process --------------------------------------------------------------------------------------- */

/* A thread of the process. */
typedef struct drover_thread {
  int32_t tid;
  char state; /* as in /proc: R running or runnable, S asleep, D in the kernel, T stopped, Z dead */
  char name[32];
  double cpu_seconds;         /* processor time used so far */
  int32_t num_cpus;           /* CPUs in its mask; 0 = unknown */
  int64_t voluntary_switches; /* it went to sleep; -1 = not asked for */
  int64_t forced_switches;    /* it was preempted: with more runnable threads than cores this grows fast */
} drover_thread;

/* X(name, value, text): the kinds of library that bring threads along. */
#define DROVER_LIBRARY_KIND_LIST(X)         \
  X(DROVER_LIBRARY_GOMP, 0, "GNU OpenMP")   \
  X(DROVER_LIBRARY_OMP, 1, "LLVM OpenMP")   \
  X(DROVER_LIBRARY_IOMP, 2, "Intel OpenMP") \
  X(DROVER_LIBRARY_MKL, 3, "Intel MKL")     \
  X(DROVER_LIBRARY_OPENBLAS, 4, "OpenBLAS") \
  X(DROVER_LIBRARY_BLIS, 5, "BLIS")         \
  X(DROVER_LIBRARY_ONEDNN, 6, "oneDNN")     \
  X(DROVER_LIBRARY_TBB, 7, "oneTBB")

typedef enum drover_library_kind {
#define DROVER_LIBRARY_KIND_ENUM(name, value, text) name = value,
  DROVER_LIBRARY_KIND_LIST(DROVER_LIBRARY_KIND_ENUM)
#undef DROVER_LIBRARY_KIND_ENUM
} drover_library_kind;

/* Whom a library's limit binds. */
typedef enum drover_limit_scope {
  DROVER_SCOPE_UNKNOWN = 0, /* another process, or a library whose calls could not be tried */
  DROVER_SCOPE_THREAD = 1,  /* the thread that sets it: Drover's tasks run with 1 */
  DROVER_SCOPE_OPENMP = 2,  /* it follows the OpenMP runtime that it uses */
  DROVER_SCOPE_PROCESS = 3, /* all threads: left alone; a finding if it is above 1 */
  DROVER_SCOPE_ARENA = 4    /* it runs in the task arena or thread pool that its caller gives it */
} drover_limit_scope;

/* A loaded library that can start threads. Strings are the report's. */
typedef struct drover_thread_library {
  drover_library_kind kind;
  const char *path;
  const char *version; /* "" = unknown */
  const char *detail;  /* how it was built or what it follows: "OpenMP", "pthreads, Haswell"; "" = nothing to say */
  int32_t limit;       /* threads that a call made by the inspecting thread may use; 0 = unknown */
  drover_limit_scope scope;
  int32_t guarded; /* 1: Drover's tasks run with a limit of 1 here */
  int32_t regions; /* OpenMP: 1 = the guard also stops regions that ask for threads by num_threads(n) */
} drover_thread_library;

/* An environment variable that decides how many threads a library starts, or where they run. */
typedef struct drover_thread_variable {
  const char *name;
  const char *value;         /* NULL = unset */
  const char *default_value; /* what configure sets where it is unset; NULL = nothing */
  const char *meaning;
} drover_thread_variable;

/* A CPU quota above the process, innermost first. */
typedef struct drover_quota {
  const char *path;
  double cores;
} drover_quota;

typedef enum drover_severity {
  DROVER_SEVERITY_NOTE = 0,    /* worth knowing */
  DROVER_SEVERITY_WARNING = 1, /* will cost speed under circumstances that the text names */
  DROVER_SEVERITY_ERROR = 2    /* more threads want to run than there are cores, or nothing could be seen */
} drover_severity;

typedef struct drover_finding {
  drover_severity severity;
  const char *code;   /* short and stable: "oversubscribed" */
  const char *text;   /* what is so */
  const char *remedy; /* what to do; "" = nothing */
} drover_finding;

/* What to look at. */
enum {
  DROVER_INSPECT_THREADS = 1,  /* the census */
  DROVER_INSPECT_SWITCHES = 2, /* masks and context switches of each thread too (one more file a thread) */
  DROVER_INSPECT_LIBRARIES = 4,
  DROVER_INSPECT_VARIABLES = 8,
  DROVER_INSPECT_CORES = 16,
  DROVER_INSPECT_ALL = 31 /* findings are made only if everything is looked at */
};

typedef struct drover_inspect_options {
  size_t size;         /* set by init */
  int32_t pid;         /* the process; 0 = this one */
  int32_t parts;       /* DROVER_INSPECT_...; default all */
  int32_t num_workers; /* for the budget: workers meant to run; 0 = DROVER_WORKERS if set, else the usable cores */
  int32_t sample_ms;   /* another process: watch its runnable threads for so long, default 200; 0 = one look */
  const char *filesystem_root; /* where /proc and /sys are looked up, NULL = "/" */
} drover_inspect_options;

typedef struct drover_threads_report drover_threads_report;

/* The snapshot; the report's memory, valid until it is destroyed. */
typedef struct drover_threads_view {
  size_t size; /* set by the caller to sizeof(drover_threads_view) */
  int32_t pid;
  const char *command; /* its command line, arguments separated by spaces; "" = not readable */
  drover_cores cores;
  int32_t num_quotas;
  const drover_quota *quotas;
  int32_t num_threads;
  const drover_thread *threads;
  int32_t num_libraries;
  const drover_thread_library *libraries;
  int32_t num_variables;
  const drover_thread_variable *variables;
  int32_t num_findings;
  const drover_finding *findings; /* worst first */
  /* The budget: threads_at_once <= cores.num_cores, or there is a finding "oversubscribed". */
  int32_t num_workers;     /* workers assumed */
  int32_t threads_at_once; /* workers, plus what unguarded libraries add inside tasks */
  double runnable_mean;    /* another process: threads that ran or wanted to, over sample_ms; else 0 */
  int32_t runnable_max;
  int32_t environment_known; /* 0: another process's environment may not be read */
  int32_t libraries_known;   /* 0: its memory map may not be read */
} drover_threads_view;

DROVER_API drover_status drover_inspect_options_init(drover_inspect_options *options, size_t size);

/* Take a snapshot. options may be NULL. Limits are those of the calling thread. DROVER_ERROR_NOT_FOUND: no such
 * process; DROVER_ERROR_IO: /proc cannot be read. Any thread; not from a constructor or while a library is loading. */
DROVER_API drover_status drover_threads_inspect(drover_threads_report **out, const drover_inspect_options *options);
DROVER_API drover_status drover_threads_report_get_view(const drover_threads_report *report, drover_threads_view *out);
DROVER_API void drover_threads_report_destroy(drover_threads_report *report);

/* Can num_workers workers (0 = as inspect) and what the loaded libraries add run at once? DROVER_OK, or
 * DROVER_ERROR_OVERSUBSCRIBED with the finding and its remedy as drover_last_error. Any thread. */
DROVER_API drover_status drover_threads_check(int32_t num_workers);

DROVER_API const char *drover_library_kind_name(drover_library_kind kind);
DROVER_API const char *drover_limit_scope_name(drover_limit_scope scope);
DROVER_API const char *drover_severity_name(drover_severity severity);

/* ---- The guard -------------------------------------------------------------------------------------------------- */

/* The built-in task guard, for an embedder who wraps it in one of his own or uses it around his own threads' work.
 * enter and leave: any thread, in pairs, each pair with its own 256 bytes; they nest. */
DROVER_API const drover_task_guard *drover_threads_get_guard(void);

/* Let the guard find libraries loaded since the last time. Every public call that runs tasks does it by itself. */
DROVER_API void drover_threads_rescan(void);

#ifdef __cplusplus
}
#endif
#endif
