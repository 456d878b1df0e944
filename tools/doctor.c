/* doctor.c: `drover doctor`: how many cores are usable and why, which libraries bring threads along, and in words what
 * is wrong and what to do. Its options, and the report for a person. */
#include "tools/doctor.h"

#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/commands.h"
#include "tools/options.h"
#include "tools/wrap.h"

/* Control characters: C0, DEL, and C1 in UTF-8 (0xC2 0x80..0x9F). */
char *dr_doctor_clean(char *out, const char *text) {
  enum { SIZE = 256 };
  size_t length = 0;
  for (; text[length] != '\0' && length < SIZE - 1; length++) {
    const unsigned char c = (unsigned char)text[length], next = (unsigned char)text[length + 1];
    const bool control = c < 0x20 || c == 0x7f || (c == 0xc2 && next >= 0x80 && next < 0xa0);
    out[length] = control ? '?' : text[length];
  }
  out[length] = '\0';
  return out;
}

/* ---- The report for a person ---- */

static void print_machine(const dr_machine *machine, const drover_threads_view *view) {
  puts("Machine");
  printf("  CPU            %s\n", machine->cpu[0] ? machine->cpu : "unknown");
  printf("  CPUs online    %d%s\n", machine->num_cpus,
         machine->threads_per_core > 1    ? ", with SMT: two or more share a core"
         : machine->threads_per_core == 1 ? ", one a core"
                                          : "");
  if (machine->num_nodes > 1)
    printf("  NUMA           %d nodes, the mask touches %d\n", machine->num_nodes, machine->num_mask_nodes);
  else
    printf("  NUMA           one node\n");
  printf("  mask           %s (%d CPU%s)\n", machine->mask[0] ? machine->mask : "unknown", view->cores.num_affinity,
         view->cores.num_affinity == 1 ? "" : "s");
  if (view->num_quotas == 0) printf("  quota          none\n");
  for (int32_t i = 0; i < view->num_quotas; i++)
    printf("  quota          %.4g cores by %s\n", view->quotas[i].cores, view->quotas[i].path);
  printf("  usable cores   %d, limited by the %s\n", view->cores.num_cores,
         view->cores.num_cores < view->cores.num_affinity ? "quota"
         : view->cores.num_affinity < machine->num_cpus   ? "mask"
                                                          : "number of CPUs");
  printf("  allocator      %s%s\n", machine->allocator,
         machine->has_jemalloc && strcmp(machine->allocator, "jemalloc") != 0 ? " (drover exec would preload jemalloc)"
                                                                              : "");
}

static void print_variables(const drover_threads_view *view) {
  puts("\nEnvironment");
  if (!view->environment_known) {
    puts("  may not be read");
    return;
  }
  for (int32_t i = 0; i < view->num_variables; i++) {
    const drover_thread_variable *variable = &view->variables[i];
    char value[256];
    if (variable->value)
      printf("  %-22s %-10s %s\n", variable->name, dr_doctor_clean(value, variable->value), variable->meaning);
    else if (variable->default_value)
      printf("  %-22s %-10s %s\n", variable->name, "-", variable->meaning);
  }
}

static const char *scope_words(const drover_thread_library *library) {
  if (library->guarded) return "1 inside Drover's tasks";
  switch (library->scope) {
    case DROVER_SCOPE_THREAD:
      return "a thread's own limit";
    case DROVER_SCOPE_OPENMP:
      return "follows its OpenMP runtime";
    case DROVER_SCOPE_PROCESS:
      return "one limit for the whole process";
    case DROVER_SCOPE_ARENA:
      return "runs in its caller's threads";
    case DROVER_SCOPE_UNKNOWN:
      break;
  }
  return "scope unknown";
}

static void print_libraries(const drover_threads_view *view, bool is_self) {
  puts("\nLibraries that can start threads");
  if (!view->libraries_known) puts("  the memory map may not be read");
  if (view->libraries_known && view->num_libraries == 0) puts("  none loaded");
  for (int32_t i = 0; i < view->num_libraries; i++) {
    const drover_thread_library *library = &view->libraries[i];
    char limit[32] = "";
    if (library->limit > 0)
      snprintf(limit, sizeof limit, "%d thread%s, ", library->limit, library->limit == 1 ? "" : "s");
    printf("  %s%s%s%s%s%s: %s%s%s\n    %s\n", drover_library_kind_name(library->kind), library->version[0] ? " " : "",
           library->version, library->detail[0] ? " (" : "", library->detail, library->detail[0] ? ")" : "",
           !is_self && library->limit > 0 ? "about " : "", limit, scope_words(library), library->path);
  }
}

static int compare_cpu(const void *a, const void *b) {
  const drover_thread *x = a, *y = b;
  return (x->cpu_seconds < y->cpu_seconds) - (x->cpu_seconds > y->cpu_seconds);
}

static void print_threads(const drover_threads_view *view) {
  enum { MAX_SHOWN = 24 };
  drover_thread *threads = malloc((size_t)view->num_threads * sizeof *threads);
  printf("\nThreads: %d%s\n", view->num_threads, view->num_threads > MAX_SHOWN ? ", the busiest of them" : "");
  if (!threads) return;
  memcpy(threads, view->threads, (size_t)view->num_threads * sizeof *threads);
  qsort(threads, (size_t)view->num_threads, sizeof *threads, compare_cpu);
  puts("      tid  state  CPUs       cpu s  forced switches  name");
  for (int32_t i = 0; i < view->num_threads && i < MAX_SHOWN; i++) {
    const drover_thread *thread = &threads[i];
    printf("  %7d  %c      %4d  %10.2f  %15lld  %s\n", thread->tid, thread->state, thread->num_cpus,
           thread->cpu_seconds, (long long)thread->forced_switches, thread->name);
  }
  free(threads);
}

static void print_budget(const drover_threads_view *view, bool is_self) {
  puts("\nBudget");
  if (view->num_workers > 0)
    printf("  %d worker%s%s, %d thread%s at once, %d usable core%s: %s\n", view->num_workers,
           view->num_workers == 1 ? "" : "s", is_self ? "" : " if its runtime decides", view->threads_at_once,
           view->threads_at_once == 1 ? "" : "s", view->cores.num_cores, view->cores.num_cores == 1 ? "" : "s",
           view->threads_at_once <= view->cores.num_cores ? "it fits" : "too many");
  if (!is_self)
    printf("  seen: %.1f threads on average wanted to run (at most %d) on %d usable core%s\n", view->runnable_mean,
           view->runnable_max, view->cores.num_cores, view->cores.num_cores == 1 ? "" : "s");
}

/* Broken to lines on a terminal only: a program that reads them wants each in one. */
static void print_finding(const drover_finding *finding, bool colour, int width) {
  static const char *const colours[] = {"\033[36m", "\033[33m", "\033[1;31m"};
  const char *severity = drover_severity_name(finding->severity);
  printf("  %s%s%s: ", colour ? colours[finding->severity] : "", severity, colour ? "\033[0m" : "");
  dr_print_wrapped(finding->text, (int)strlen(severity) + 4, 6, width);
  if (!finding->remedy[0]) return;
  fputs("      -> ", stdout);
  dr_print_wrapped(finding->remedy, 9, 9, width);
}

void dr_doctor_print(const dr_machine *machine, const drover_threads_view *view, bool is_self) {
  char command[256];
  if (is_self)
    puts("Drover doctor: this machine, and a program started from this shell\n");
  else
    printf("Drover doctor: process %d, %s\n\n", view->pid,
           view->command[0] ? dr_doctor_clean(command, view->command) : "whose command line is not readable");
  print_machine(machine, view);
  print_variables(view);
  print_libraries(view, is_self);
  if (!is_self) print_threads(view);
  print_budget(view, is_self);
  const char *no_colour = getenv("NO_COLOR");
  const bool colour = isatty(STDOUT_FILENO) && !(no_colour && no_colour[0]);
  const int width = dr_output_width(0);
  puts("\nFindings");
  for (int32_t i = 0; i < view->num_findings; i++) print_finding(&view->findings[i], colour, width);
  for (int32_t i = 0; i < machine->num_findings; i++) print_finding(&machine->findings[i], colour, width);
  const bool wrong = view->num_findings > 0 && view->findings[0].severity > DROVER_SEVERITY_NOTE;
  if (!wrong) puts(view->num_findings + machine->num_findings > 0 ? "  nothing is wrong" : "  none: nothing is wrong");
}

/* ---- The subcommand ---- */

enum { KEY_PID = DR_KEY_OWN, KEY_WATCH, KEY_FOR, KEY_INTERVAL, KEY_CONSTANT, KEY_ROOT };

typedef struct doctor_options {
  dr_options common;
  int32_t pid;
  dr_watch_options watch;
  const char *root;
  bool has_watch_option; /* --for, --interval or --constant: useless without --watch */
} doctor_options;

static error_t parse(int key, char *arg, struct argp_state *state) {
  doctor_options *o = state->input;
  switch (key) {
    case KEY_PID:
      o->pid = (int32_t)dr_options_integer("doctor", "pid", arg, 1, INT32_MAX, false);
      return 0;
    case KEY_WATCH:
      o->watch.pid = (int32_t)dr_options_integer("doctor", "watch", arg, 1, INT32_MAX, false);
      return 0;
    case KEY_FOR:
      o->watch.for_s = dr_options_real("doctor", "for", arg, 0.01, 1e7);
      o->has_watch_option = true;
      return 0;
    case KEY_INTERVAL:
      o->watch.interval_ms = (int32_t)dr_options_integer("doctor", "interval", arg, 1, 60000, false);
      o->has_watch_option = true;
      return 0;
    case KEY_CONSTANT:
      o->watch.constant = true;
      o->has_watch_option = true;
      return 0;
    case KEY_ROOT:
      o->root = arg;
      return 0;
    case ARGP_KEY_END:
      if (o->pid && o->watch.pid) dr_usage_error("doctor", "give --pid or --watch, not both");
      if (o->has_watch_option && !o->watch.pid)
        dr_usage_error("doctor", "--for, --interval and --constant belong to --watch PID");
      if (o->watch.pid && o->root) dr_usage_error("doctor", "--root does not go with --watch");
      return 0;
    default:
      return dr_options_parse(key, arg, &o->common);
  }
}

static const struct argp_option option_rows[] = {
    {"pid", KEY_PID, "PID", 0, "Examine a running process", 1},
    {"watch", KEY_WATCH, "PID", 0, "Sample a running process: threads, CPU use, context switches", 1},
    {"for", KEY_FOR, "S", 0, "Watch for S seconds (default: until the process ends)", 1},
    {"interval", KEY_INTERVAL, "MS", 0, "Milliseconds between two samples (default 100)", 1},
    {"constant", KEY_CONSTANT, 0, 0, "Exit with 1 if the number of threads moved while watched", 1},
    DR_OPTION_WORKERS,
    {"root", KEY_ROOT, "DIR", 0, "Where /proc and /sys are looked up (default /)", 2},
    DR_OPTION_JSON,
    {0},
};

static const char help[] =
    "How many cores are really usable and why, which loaded libraries bring threads along, and whether it all fits.\v"
    "Examples:\n"
    "  drover doctor\n"
    "  drover doctor --pid $(pgrep -n python3)\n"
    "  drover doctor --watch $! --for 10 --interval 10 --constant\n"
    "\n"
    "Exit codes: 0 nothing is wrong, 1 something is (or the process cannot be examined), 2 bad usage, 3 interrupted. "
    "Notes are not wrong; warnings and errors are.";

static int examine(const doctor_options *o) {
  drover_inspect_options options;
  drover_threads_report *report = NULL;
  drover_threads_view view = {.size = sizeof view};
  drover_inspect_options_init(&options, sizeof options);
  options.pid = o->pid;
  options.num_workers = o->common.num_workers;
  options.filesystem_root = o->root;
  if (drover_threads_inspect(&report, &options) != DROVER_OK ||
      drover_threads_report_get_view(report, &view) != DROVER_OK) {
    fprintf(stderr, "drover doctor: %s\n", drover_last_error());
    drover_threads_report_destroy(report);
    return DR_EXIT_FAILED;
  }
  dr_machine machine;
  dr_machine_read(o->root, o->pid, &machine);
  int failed = 0;
  if (o->common.json)
    failed = dr_doctor_print_json(&machine, &view, o->pid == 0);
  else
    dr_doctor_print(&machine, &view, o->pid == 0);
  const bool wrong = view.num_findings > 0 && view.findings[0].severity > DROVER_SEVERITY_NOTE;
  drover_threads_report_destroy(report);
  return wrong || failed ? DR_EXIT_FAILED : DR_EXIT_DONE;
}

int dr_cmd_doctor(int argc, char **argv) {
  doctor_options o = {.common = {.command = "doctor"}, .watch = {.interval_ms = 100}};
  const struct argp argp = {option_rows, parse, NULL, help, NULL, NULL, NULL};
  dr_options_run(&argp, "doctor", argc, argv, &o);
  o.watch.json = o.common.json;
  return o.watch.pid ? dr_doctor_watch(&o.watch) : examine(&o);
}
