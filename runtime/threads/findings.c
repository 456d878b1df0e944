/* findings.c: the budget (threads that can run at once <= cores), and in words what is wrong and what to do.
 *
 * One function a subject; each adds its findings. Texts say what is so, remedies what to do. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "runtime/threads/report.h"
#include "runtime/threads/variables.h"

static void add(drover_threads_report *report, drover_severity severity, const char *code, const char *text,
                const char *remedy) {
  drover_finding *to = dr_report_grow(report, (void **)&report->findings, &report->view.num_findings, sizeof *to);
  if (to != NULL) *to = (drover_finding){severity, code, text, remedy};
}

static const char *file_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash == NULL ? path : slash + 1;
}

static bool is_openmp(const drover_thread_library *library) { return library->kind <= DROVER_LIBRARY_IOMP; }

static bool is_one_of(const char *value, const char *const *words) {
  for (; value != NULL && *words != NULL; words++)
    if (strncasecmp(value, *words, strlen(*words)) == 0) return true;
  return false;
}

static bool is_own(const drover_threads_report *report) { return report->options.pid == 0; }

/* What a library of another process will use: its own variable, else OpenMP's, else a thread a CPU of its mask. */
static int32_t guess_limit(const drover_threads_report *report, const drover_thread_library *library) {
  const char *own = library->kind == DROVER_LIBRARY_MKL        ? "MKL_NUM_THREADS"
                    : library->kind == DROVER_LIBRARY_OPENBLAS ? "OPENBLAS_NUM_THREADS"
                    : library->kind == DROVER_LIBRARY_BLIS     ? "BLIS_NUM_THREADS"
                                                               : "OMP_NUM_THREADS";
  if (library->kind > DROVER_LIBRARY_BLIS || !report->view.environment_known) return 0;
  int32_t count = dr_variable_count(dr_report_variable(report, own));
  if (count <= 0) count = dr_variable_count(dr_report_variable(report, "OMP_NUM_THREADS"));
  if (count <= 0) count = library->kind == DROVER_LIBRARY_BLIS ? 1 : report->view.cores.num_affinity;
  return count;
}

/* Threads that a library adds while `workers` workers are inside tasks at once. */
static int64_t added_threads(const drover_thread_library *library, int64_t workers) {
  const int64_t more = library->limit > 1 ? library->limit - 1 : 0;
  if (library->guarded || library->kind > DROVER_LIBRARY_BLIS || library->scope == DROVER_SCOPE_OPENMP) return 0;
  /* OpenBLAS's own pool serves one call at a time; everything else starts threads for each caller. */
  if (library->kind == DROVER_LIBRARY_OPENBLAS) return more;
  return workers * more;
}

/* threads at once = workers + what unguarded libraries add; compared with the cores. Of a process without Drover it
 * is only known what was seen: how many threads wanted to run. */
static void check_budget(drover_threads_report *report) {
  drover_threads_view *view = &report->view;
  const int32_t cores = view->cores.num_cores;
  if (report->has_drover) {
    int32_t workers = report->options.num_workers;
    if (workers == 0) workers = dr_variable_count(dr_report_variable(report, "DROVER_WORKERS"));
    view->num_workers = workers > 0 ? workers : cores;
    int64_t at_once = view->num_workers;
    for (int32_t i = 0; i < view->num_libraries; i++)
      at_once += added_threads(&report->libraries[i], view->num_workers);
    view->threads_at_once = at_once > INT32_MAX ? INT32_MAX : (int32_t)at_once;
    if (view->num_workers > cores) {
      add(report, DROVER_SEVERITY_ERROR, "oversubscribed",
          dr_report_text(report, "%d workers are asked for on %d usable core%s", view->num_workers, cores,
                         cores == 1 ? "" : "s"),
          "leave the number of workers at auto, or give the process more CPUs");
    } else if (view->threads_at_once > cores) {
      add(report, DROVER_SEVERITY_WARNING, "oversubscribed",
          dr_report_text(report,
                         "%d threads can run at once on %d usable core%s: %d workers, and %d that libraries add "
                         "when a task calls them",
                         view->threads_at_once, cores, cores == 1 ? "" : "s", view->num_workers,
                         view->threads_at_once - view->num_workers),
          "start the program with: drover exec -- CMD");
    }
  } else {
    view->threads_at_once = view->runnable_max;
  }
  if (!is_own(report) && view->runnable_mean > 1.1 * cores + 0.5)
    add(report, DROVER_SEVERITY_ERROR, "oversubscribed",
        dr_report_text(report, "%.1f threads on average (up to %d) want to run on %d usable core%s",
                       view->runnable_mean, view->runnable_max, cores, cores == 1 ? "" : "s"),
        "start it with: drover exec -- CMD; or set OMP_NUM_THREADS=1 before it starts");
}

/* Each library: who is not limited inside tasks, and who would start more threads than there are cores outside. */
static void check_libraries(drover_threads_report *report) {
  const drover_threads_view *view = &report->view;
  const int32_t cores = view->cores.num_cores;
  const drover_thread_library *openmp = NULL;
  for (int32_t i = 0; i < view->num_libraries; i++) {
    const drover_thread_library *library = &report->libraries[i];
    const char *name = file_name(library->path);
    if (library->scope == DROVER_SCOPE_PROCESS && library->limit > 1)
      add(report, DROVER_SEVERITY_WARNING, "process-wide",
          dr_report_text(report, "%s (%s) uses up to %d threads in a call and has no limit for one thread alone", name,
                         library->detail[0] != '\0' ? library->detail : drover_library_kind_name(library->kind),
                         library->limit),
          library->kind == DROVER_LIBRARY_OPENBLAS
              ? "set OPENBLAS_NUM_THREADS=1 before it loads (drover exec does), or install its OpenMP build "
                "(Debian: libopenblas0-openmp)"
              : "set its number of threads to 1 before it loads (drover exec does), or install its OpenMP build");
    if (is_openmp(library) && is_own(report) && !library->guarded)
      add(report, DROVER_SEVERITY_WARNING, "unguarded",
          dr_report_text(report, "%s does not keep its limit per thread: tasks that use it are not limited", name),
          "set OMP_NUM_THREADS=1 before it loads (drover exec does)");
    if (is_openmp(library) && library->guarded && is_own(report) && !library->regions)
      add(report, DROVER_SEVERITY_NOTE, "regions",
          dr_report_text(report, "%s: a region that asks for threads by num_threads(n) is not stopped inside tasks",
                         name),
          "set OMP_THREAD_LIMIT, or use a newer OpenMP runtime");
    if (is_openmp(library) && library->limit > cores)
      add(report, DROVER_SEVERITY_WARNING, "limit-above-cores",
          dr_report_text(report, "%s starts %d threads for a region of this process on %d usable core%s", name,
                         library->limit, cores, cores == 1 ? "" : "s"),
          "start it with: drover exec -- CMD; or set OMP_NUM_THREADS before it starts");
    if (is_openmp(library) && openmp != NULL && openmp->kind != library->kind)
      add(report, DROVER_SEVERITY_WARNING, "two-openmp",
          dr_report_text(report, "%s and %s are both loaded: each keeps threads of its own", file_name(openmp->path),
                         name),
          "build against one OpenMP runtime; until then OMP_NUM_THREADS=1 keeps both small");
    if (is_openmp(library)) openmp = library;
    /* Set too late, or undone: the environment says one thing and the runtime another. */
    const int32_t asked = dr_variable_count(dr_report_variable(report, "OMP_NUM_THREADS"));
    if (is_own(report) && is_openmp(library) && asked >= 1 && library->limit > asked)
      add(report, DROVER_SEVERITY_WARNING, "set-too-late",
          dr_report_text(report, "OMP_NUM_THREADS is %d, but %s uses %d threads", asked, name, library->limit),
          "set it before the library loads: first thing in main (drover_threads_configure), or drover exec -- CMD");
  }
  if (report->num_dropped_libraries > 0)
    add(report, DROVER_SEVERITY_WARNING, "too-many-libraries",
        dr_report_text(report, "%zu threading runtimes beyond the table's size are not guarded",
                       report->num_dropped_libraries),
        "set OMP_NUM_THREADS=1 before they load (drover exec does)");
}

/* Variables that hold no number, bind threads or let them spin. */
static void check_variables(drover_threads_report *report) {
  static const char *const counts[] = {"OMP_NUM_THREADS",  "MKL_NUM_THREADS",     "OPENBLAS_NUM_THREADS",
                                       "BLIS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "DROVER_WORKERS"};
  for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
    if (dr_variable_count(dr_report_variable(report, counts[i])) < 0)
      add(report, DROVER_SEVERITY_WARNING, "malformed",
          dr_report_text(report, "%s is '%s', which is no number of threads: libraries ignore it", counts[i],
                         dr_report_variable(report, counts[i])),
          dr_report_text(report, "set %s to a whole number, 1 in most cases", counts[i]));

  const char *active = dr_report_variable(report, "OMP_WAIT_POLICY");
  const char *blocktime = dr_report_variable(report, "KMP_BLOCKTIME");
  const char *spin = dr_report_variable(report, "GOMP_SPINCOUNT");
  static const char *const active_words[] = {"active", NULL}, *const endless_words[] = {"inf", NULL};
  if (is_one_of(active, active_words) || is_one_of(blocktime, endless_words) || is_one_of(spin, endless_words))
    add(report, DROVER_SEVERITY_WARNING, "spinning",
        dr_report_text(report, "%s lets idle OpenMP threads spin on cores that workers need",
                       is_one_of(active, active_words)       ? "OMP_WAIT_POLICY=ACTIVE"
                       : is_one_of(blocktime, endless_words) ? "KMP_BLOCKTIME"
                                                             : "GOMP_SPINCOUNT"),
        "set OMP_WAIT_POLICY=PASSIVE, or unset it");

  const int32_t levels = dr_variable_count(dr_report_variable(report, "OMP_MAX_ACTIVE_LEVELS"));
  static const char *const true_words[] = {"true", "1", "yes", NULL};
  if (levels > 1 || is_one_of(dr_report_variable(report, "OMP_NESTED"), true_words))
    add(report, DROVER_SEVERITY_WARNING, "nested",
        "OpenMP regions inside OpenMP regions get threads too (OMP_MAX_ACTIVE_LEVELS or OMP_NESTED)",
        "set OMP_MAX_ACTIVE_LEVELS=1");
}

/* OpenMP that binds threads shrinks the masks of the threads that call it: workers then share one CPU. */
static void check_binding(drover_threads_report *report) {
  static const char *const bind_words[] = {"true", "close", "spread", "master", "primary", NULL};
  static const char *const off_words[] = {"none", "disabled", "norespect,none", NULL};
  const char *affinity = dr_report_variable(report, "KMP_AFFINITY");
  const char *name =
      is_one_of(dr_report_variable(report, "OMP_PROC_BIND"), bind_words) ? "OMP_PROC_BIND"
      : dr_report_variable(report, "GOMP_CPU_AFFINITY") != NULL          ? "GOMP_CPU_AFFINITY"
      : affinity != NULL && !is_one_of(affinity, off_words)              ? "KMP_AFFINITY"
      : dr_report_variable(report, "OMP_PLACES") != NULL && dr_report_variable(report, "OMP_PROC_BIND") == NULL
          ? "OMP_PLACES"
          : NULL;
  if (name == NULL) return;
  const bool one_cpu = report->view.cores.num_affinity == 1;
  add(report, DROVER_SEVERITY_WARNING, "bound",
      one_cpu
          ? dr_report_text(report, "%s=%s is set and the mask holds one CPU: every thread runs there", name,
                           dr_report_variable(report, name))
          : dr_report_text(report, "%s=%s lets OpenMP shrink the CPU masks of threads that call it, workers among them",
                           name, dr_report_variable(report, name)),
      dr_report_text(report, "unset %s; to pin workers use the runtime's `cpus` option", name));
}

/* A quota below the mask misleads whatever counts CPUs instead of asking for usable cores. */
static void check_cores(drover_threads_report *report) {
  const drover_cores *cores = &report->view.cores;
  if (cores->num_cores < cores->num_affinity)
    add(report, DROVER_SEVERITY_NOTE, "quota",
        dr_report_text(report, "a quota of %.4g cores (%s) allows less than the mask's %d CPUs", cores->quota,
                       cores->quota_path, cores->num_affinity),
        "nothing for Drover, which obeys it; libraries that count CPUs start too many threads unless told (drover "
        "exec)");
}

/* Nothing is wrong yet: libraries that load later, into the host's own threads, will count CPUs. */
static void check_unset(drover_threads_report *report) {
  const drover_threads_view *view = &report->view;
  if (!view->environment_known || view->cores.num_affinity == 1) return;
  if (dr_report_variable(report, "OMP_NUM_THREADS") != NULL && dr_report_variable(report, "MKL_NUM_THREADS") != NULL)
    return;
  add(report, DROVER_SEVERITY_NOTE, "unset",
      dr_report_text(
          report,
          "%s not set: an OpenMP or BLAS library called outside Drover's tasks uses %d threads for every "
          "thread that calls it",
          dr_report_variable(report, "OMP_NUM_THREADS") == NULL ? "OMP_NUM_THREADS is" : "MKL_NUM_THREADS is",
          view->cores.num_affinity),
      "start programs with: drover exec -- CMD; or call drover_threads_configure first thing in main");
}

static void check_readable(drover_threads_report *report) {
  const drover_threads_view *view = &report->view;
  if (view->environment_known && view->libraries_known) return;
  add(report, DROVER_SEVERITY_WARNING, "unreadable",
      dr_report_text(report, "the %s of process %d may not be read: this report is incomplete",
                     view->environment_known ? "memory map"
                     : view->libraries_known ? "environment"
                                             : "environment and memory map",
                     view->pid),
      "run the doctor as the user who owns the process, or as root");
}

/* Worst first; equal ones stay in order. */
static void sort_findings(drover_finding *findings, int32_t count) {
  for (int32_t i = 1; i < count; i++) {
    const drover_finding finding = findings[i];
    int32_t to = i;
    for (; to > 0 && findings[to - 1].severity < finding.severity; to--) findings[to] = findings[to - 1];
    findings[to] = finding;
  }
}

void dr_report_findings(drover_threads_report *report) {
  if (!is_own(report))
    for (int32_t i = 0; i < report->view.num_libraries; i++)
      report->libraries[i].limit = guess_limit(report, &report->libraries[i]);
  check_budget(report);
  check_libraries(report);
  check_variables(report);
  check_binding(report);
  check_cores(report);
  check_unset(report);
  check_readable(report);
  sort_findings(report->findings, report->view.num_findings);
}
