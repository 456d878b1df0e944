/* test_report.c: drover_threads_inspect: what a snapshot shows, and the findings that it draws from it. */
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "runtime/threads/rules.h"
#include "runtime/threads/variables.h"
#include "tests/threads/fake_tree.h"
#include "tests/threads/loaded.h"

typedef struct snapshot {
  drover_threads_report *report;
  drover_threads_view view;
} snapshot;

static drover_inspect_options options_of(void) {
  drover_inspect_options options;
  cr_assert(eq(int, drover_inspect_options_init(&options, sizeof options), DROVER_OK));
  return options;
}

static snapshot inspect(const drover_inspect_options *options) {
  snapshot s = {.view = {.size = sizeof s.view}};
  cr_assert(eq(int, drover_threads_inspect(&s.report, options), DROVER_OK), "%s", drover_last_error());
  cr_assert(eq(int, drover_threads_report_get_view(s.report, &s.view), DROVER_OK));
  return s;
}

static const drover_finding *find(const snapshot *s, const char *code) {
  for (int32_t i = 0; i < s->view.num_findings; i++)
    if (strcmp(s->view.findings[i].code, code) == 0) return &s->view.findings[i];
  return NULL;
}

static const drover_thread_library *find_kind(const snapshot *s, drover_library_kind kind) {
  for (int32_t i = 0; i < s->view.num_libraries; i++)
    if (s->view.libraries[i].kind == kind) return &s->view.libraries[i];
  return NULL;
}

static const char *value_of(const snapshot *s, const char *name) {
  for (int32_t i = 0; i < s->view.num_variables; i++)
    if (strcmp(s->view.variables[i].name, name) == 0) return s->view.variables[i].value;
  return NULL;
}

static void clear_environment(void) {
  drover_thread_variable row;
  for (int32_t i = 0; dr_variable_at(i, &row); i++) unsetenv(row.name);
}

TestSuite(report, .init = clear_environment);

Test(report, shows_this_process) {
  setenv("OMP_NUM_THREADS", "2", 1);
  setenv("KMP_HW_SUBSET", "1s", 1);
  load("libiomp5.so");
  snapshot s = inspect(NULL);
  cr_expect(eq(int, s.view.pid, getpid()));
  cr_expect(s.view.command[0] != '\0');
  cr_expect(s.view.num_threads >= 1 && s.view.cores.num_cores >= 1);
  cr_expect(eq(str, (char *)value_of(&s, "OMP_NUM_THREADS"), "2"));
  cr_expect(eq(str, (char *)value_of(&s, "KMP_HW_SUBSET"), "1s"), "a relative of the table's variables is shown");
  const drover_thread_library *iomp = find_kind(&s, DROVER_LIBRARY_IOMP);
  cr_assert(iomp != NULL);
  cr_expect(eq(int, iomp->limit, 4));
  cr_expect(eq(int, iomp->scope, DROVER_SCOPE_THREAD));
  cr_expect(eq(int, iomp->guarded, 1));
  cr_expect(eq(int, iomp->regions, 1));
  cr_expect(eq(int, s.view.threads_at_once, s.view.num_workers), "a guarded library adds no thread");
  drover_threads_report_destroy(s.report);
}

Test(report, only_what_was_asked_for) {
  drover_inspect_options options = options_of();
  options.parts = DROVER_INSPECT_THREADS;
  snapshot s = inspect(&options);
  cr_expect(s.view.num_threads >= 1);
  cr_expect(s.view.num_libraries == 0 && s.view.num_variables == 0 && s.view.num_findings == 0);
  drover_threads_report_destroy(s.report);
}

Test(report, more_workers_than_cores_is_oversubscribed) {
  drover_inspect_options options = options_of();
  options.num_workers = 1000;
  snapshot s = inspect(&options);
  const drover_finding *finding = find(&s, "oversubscribed");
  cr_assert(finding != NULL);
  cr_expect(eq(int, finding->severity, DROVER_SEVERITY_ERROR));
  cr_expect(finding == s.view.findings, "the worst comes first");
  cr_expect(strstr(finding->text, "1000 workers") != NULL, "%s", finding->text);
  cr_expect(eq(int, s.view.threads_at_once, 1000));
  drover_threads_report_destroy(s.report);
  cr_expect(eq(int, drover_threads_check(1000), DROVER_ERROR_OVERSUBSCRIBED));
  cr_expect(strstr(drover_last_error(), "1000 workers") != NULL);
  cr_expect(eq(int, drover_threads_check(0), DROVER_OK));
}

Test(report, a_pool_of_its_own_is_counted) {
  load("pthread/libopenblas.so.0");
  snapshot s = inspect(NULL);
  cr_expect(eq(int, s.view.threads_at_once, s.view.num_workers + 3), "the stub's pool has 4 threads");
  cr_expect(find(&s, "oversubscribed") != NULL);
  cr_expect(find(&s, "process-wide") != NULL);
  drover_threads_report_destroy(s.report);
}

Test(report, a_library_without_a_per_thread_limit_is_counted_for_every_worker) {
  load("wide/libomp.so");
  drover_inspect_options options = options_of();
  options.num_workers = 3;
  snapshot s = inspect(&options);
  cr_expect(eq(int, s.view.threads_at_once, 3 * 4));
  cr_expect(find(&s, "unguarded") != NULL);
  drover_threads_report_destroy(s.report);
}

Test(report, drover_workers_is_the_request) {
  setenv("DROVER_WORKERS", "7", 1);
  cr_expect(eq(int, dr_requested_workers(), 7));
  snapshot s = inspect(NULL);
  cr_expect(eq(int, s.view.num_workers, 7));
  drover_threads_report_destroy(s.report);
  static const char *const malformed[] = {"", "x", "-1", "0", "3,4", "70000", "9999999999999"};
  for (size_t i = 0; i < sizeof malformed / sizeof malformed[0]; i++) {
    setenv("DROVER_WORKERS", malformed[i], 1);
    cr_expect(eq(int, dr_requested_workers(), 0), "'%s'", malformed[i]);
  }
}

/* One variable, the finding that it must cause, and a value that must not. */
Test(report, variables_that_harm_are_found) {
  static const struct {
    const char *name, *bad, *good, *code;
  } rows[] = {
      {"OMP_NUM_THREADS", "many", "4,2", "malformed"}, {"DROVER_WORKERS", "-2", "2", "malformed"},
      {"OMP_PROC_BIND", "true", "false", "bound"},     {"OMP_PROC_BIND", "close,spread", "FALSE", "bound"},
      {"GOMP_CPU_AFFINITY", "0-1", NULL, "bound"},     {"KMP_AFFINITY", "compact", "disabled", "bound"},
      {"OMP_PLACES", "cores", NULL, "bound"},          {"OMP_WAIT_POLICY", "active", "PASSIVE", "spinning"},
      {"KMP_BLOCKTIME", "infinite", "0", "spinning"},  {"GOMP_SPINCOUNT", "INFINITY", "1000", "spinning"},
      {"OMP_MAX_ACTIVE_LEVELS", "2", "1", "nested"},   {"OMP_NESTED", "TRUE", "false", "nested"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    clear_environment();
    setenv(rows[i].name, rows[i].bad, 1);
    snapshot s = inspect(NULL);
    const drover_finding *finding = find(&s, rows[i].code);
    cr_expect(finding != NULL && finding->severity == DROVER_SEVERITY_WARNING && finding->remedy[0] != '\0',
              "%s=%s causes no warning", rows[i].name, rows[i].bad);
    drover_threads_report_destroy(s.report);
    if (rows[i].good == NULL) continue;
    setenv(rows[i].name, rows[i].good, 1);
    s = inspect(NULL);
    cr_expect(find(&s, rows[i].code) == NULL, "%s=%s is no reason for a warning", rows[i].name, rows[i].good);
    drover_threads_report_destroy(s.report);
  }
}

Test(report, a_limit_set_too_late_is_found) {
  setenv("OMP_NUM_THREADS", "1", 1); /* the stub says 4 all the same, as a runtime does that was loaded before */
  load("libiomp5.so");
  snapshot s = inspect(NULL);
  cr_expect(find(&s, "set-too-late") != NULL);
  drover_threads_report_destroy(s.report);
}

Test(report, two_openmp_runtimes_are_found) {
  load("libiomp5.so");
  load("old/libgomp.so.1");
  snapshot s = inspect(NULL);
  cr_expect(find(&s, "two-openmp") != NULL);
  cr_expect(find(&s, "regions") != NULL, "the old one cannot stop num_threads(n)");
  drover_threads_report_destroy(s.report);
}

Test(report, a_clean_process_has_notes_at_most) {
  snapshot s = inspect(NULL);
  for (int32_t i = 0; i < s.view.num_findings; i++)
    cr_expect(eq(int, s.view.findings[i].severity, DROVER_SEVERITY_NOTE), "%s", s.view.findings[i].text);
  drover_threads_report_destroy(s.report);
  cr_expect(eq(int, drover_threads_check(1), DROVER_OK));
}

/* ---- Another process, out of fake files ------------------------------------------------------------------------- */

static fake_tree fake_process(const char *maps, const char *environment, size_t environment_bytes, int num_running) {
  const fake_tree tree = fake_tree_make();
  fake_tree_write(&tree, "/proc/self/stat", "1 (init) S 0 1 1 0 -1 0 0 0 0 0 0 0 0 0\n");
  fake_tree_write(&tree, "/proc/77/status", "Name:\tgait\nCpus_allowed:\t3\n");
  fake_tree_write(&tree, "/proc/77/cgroup", "0::/\n");
  fake_tree_write(&tree, "/proc/77/mountinfo", "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
  fake_tree_write(&tree, "/proc/77/cmdline", "python3");
  if (maps != NULL) fake_tree_write(&tree, "/proc/77/maps", maps);
  for (int i = 0; i < num_running; i++) {
    char path[64], text[128];
    snprintf(path, sizeof path, "/proc/77/task/%d/stat", 77 + i);
    snprintf(text, sizeof text, "%d (pool) R 1 1 1 0 -1 0 0 0 0 0 100 0 0 0\n", 77 + i);
    fake_tree_write(&tree, path, text);
  }
  if (environment == NULL) return tree;
  char path[128];
  snprintf(path, sizeof path, "%s/proc/77/environ", tree.root);
  FILE *file = fopen(path, "w");
  cr_assert(file != NULL && fwrite(environment, 1, environment_bytes, file) == environment_bytes);
  fclose(file);
  return tree;
}

#define GOMP_MAP                                                                                             \
  "7f00-7f10 r--p 00000000 08:01 99  /usr/lib/libgomp.so.1.0.0\n7f10-7f20 r-xp 00010000 08:01 99  /usr/lib/" \
  "libgomp.so.1.0.0\n7f30-7f40 r-xp 0 08:01 98  /opt/my libs/libopenblasp-r0.3.21.so (deleted)\n"            \
  "7f50-7f60 rw-p 0 00:00 0 [heap]\n"

Test(report, another_process_is_read_from_its_files) {
  static const char environment[] = "HOME=/root\0OMP_NUM_THREADS=16\0MKL_NUM_THREADS=1";
  const fake_tree tree = fake_process(GOMP_MAP, environment, sizeof environment, 32);
  drover_inspect_options options = options_of();
  options.pid = 77;
  options.sample_ms = 20;
  options.filesystem_root = tree.root;
  snapshot s = inspect(&options);
  cr_expect(eq(int, s.view.num_threads, 32));
  cr_expect(eq(int, s.view.cores.num_cores, 2));
  cr_expect(eq(str, (char *)s.view.command, "python3"));
  cr_expect(eq(str, (char *)value_of(&s, "OMP_NUM_THREADS"), "16"));
  cr_assert(eq(int, s.view.num_libraries, 2), "a file that is mapped twice is one library");
  const drover_thread_library *gomp = find_kind(&s, DROVER_LIBRARY_GOMP);
  const drover_thread_library *blas = find_kind(&s, DROVER_LIBRARY_OPENBLAS);
  cr_assert(gomp != NULL && blas != NULL);
  cr_expect(eq(int, gomp->limit, 16));
  cr_expect(eq(int, gomp->guarded, 0), "no Drover in that process");
  cr_expect(eq(str, (char *)gomp->version, "1.0.0"));
  cr_expect(eq(str, (char *)blas->version, "0.3.21"));
  cr_expect(eq(str, (char *)blas->path, "/opt/my libs/libopenblasp-r0.3.21.so"));
  const drover_finding *finding = find(&s, "oversubscribed");
  cr_assert(finding != NULL);
  cr_expect(strstr(finding->text, "32.0 threads") != NULL, "%s", finding->text);
  cr_expect(find(&s, "limit-above-cores") != NULL);
  drover_threads_report_destroy(s.report);
  fake_tree_remove(&tree);
}

Test(report, drover_in_another_process_guards_it) {
  static const char environment[] = "OMP_NUM_THREADS=2";
  const fake_tree tree =
      fake_process(GOMP_MAP "7f70-7f80 r-xp 0 08:01 9 /usr/lib/libdrover.so.0\n", environment, sizeof environment, 2);
  drover_inspect_options options = options_of();
  options.pid = 77;
  options.sample_ms = 0;
  options.filesystem_root = tree.root;
  snapshot s = inspect(&options);
  cr_expect(eq(int, find_kind(&s, DROVER_LIBRARY_GOMP)->guarded, 1));
  cr_expect(eq(int, s.view.num_workers, 2));
  cr_expect(find(&s, "limit-above-cores") == NULL);
  drover_threads_report_destroy(s.report);
  fake_tree_remove(&tree);
}

Test(report, what_may_not_be_read_is_said) {
  const fake_tree tree = fake_process(NULL, NULL, 0, 2);
  drover_inspect_options options = options_of();
  options.pid = 77;
  options.sample_ms = 0;
  options.filesystem_root = tree.root;
  snapshot s = inspect(&options);
  cr_expect(eq(int, s.view.environment_known, 0));
  cr_expect(eq(int, s.view.libraries_known, 0));
  const drover_finding *finding = find(&s, "unreadable");
  cr_assert(finding != NULL);
  cr_expect(strstr(finding->text, "environment and memory map") != NULL, "%s", finding->text);
  cr_expect(find(&s, "unset") == NULL, "nothing is claimed about an environment that was not seen");
  drover_threads_report_destroy(s.report);
  fake_tree_remove(&tree);
}

Test(report, wrong_arguments_are_named) {
  drover_threads_report *report = NULL;
  drover_inspect_options options = options_of();
  cr_expect(eq(int, drover_threads_inspect(NULL, NULL), DROVER_ERROR_ARGUMENT));
  options.pid = -1;
  cr_expect(eq(int, drover_threads_inspect(&report, &options), DROVER_ERROR_ARGUMENT));
  options = options_of();
  options.parts = 0;
  cr_expect(eq(int, drover_threads_inspect(&report, &options), DROVER_ERROR_ARGUMENT));
  options = options_of();
  options.size--;
  cr_expect(eq(int, drover_threads_inspect(&report, &options), DROVER_ERROR_ARGUMENT));
  options = options_of();
  options.pid = 2147483647;
  cr_expect(eq(int, drover_threads_inspect(&report, &options), DROVER_ERROR_NOT_FOUND));
  cr_expect(report == NULL);
  cr_expect(eq(int, drover_inspect_options_init(&options, 3), DROVER_ERROR_ARGUMENT));
  drover_threads_report_destroy(NULL);
}

/* ---- File names ------------------------------------------------------------------------------------------------- */

Test(report, files_are_told_by_their_names) {
  static const struct {
    const char *path;
    int kind; /* -1: none */
    const char *version;
  } rows[] = {
      {"/usr/lib/libgomp.so.1.0.0", DROVER_LIBRARY_GOMP, "1.0.0"},
      {"/x/torch/lib/libgomp-a34b3233.so.1", DROVER_LIBRARY_GOMP, "1"},
      {"/usr/lib/llvm-14/lib/libomp-14.so.5", DROVER_LIBRARY_OMP, "5"},
      {"/usr/lib/llvm-14/lib/libomptarget.so.14", -1, "14"},
      {"libiomp5.so", DROVER_LIBRARY_IOMP, ""},
      {"/opt/intel/libmkl_rt.so.2", DROVER_LIBRARY_MKL, "2"},
      {"/opt/intel/libmkl_core.so.2", -1, "2"},
      {"/usr/lib/openblas-pthread/libopenblasp-r0.3.21.so", DROVER_LIBRARY_OPENBLAS, "0.3.21"},
      {"/x/numpy.libs/libscipy_openblas64_-ff651d7f.so", DROVER_LIBRARY_OPENBLAS, ""},
      {"/usr/lib/libblis.so.4.0.0", DROVER_LIBRARY_BLIS, "4.0.0"},
      {"/usr/lib/libdnnl.so.2.6", DROVER_LIBRARY_ONEDNN, "2.6"},
      {"/usr/lib/libtbb.so.12.8", DROVER_LIBRARY_TBB, "12.8"},
      {"/usr/lib/libtbbmalloc.so.2.8", -1, "2.8"},
      {"/usr/lib/libc.so.6", -1, "6"},
      {"/opt/me/libgomp", -1, ""},
      {"", -1, ""},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    char version[64];
    const dr_library_rule *rule = dr_library_rule_of(rows[i].path);
    dr_library_version_of(rows[i].path, version, sizeof version);
    cr_expect(eq(int, rule == NULL ? -1 : (int)rule->kind, rows[i].kind), "%s", rows[i].path);
    cr_expect(eq(str, version, (char *)rows[i].version), "%s", rows[i].path);
  }
}
