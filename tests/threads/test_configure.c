/* test_configure.c: drover_threads_configure sets what is unset; twice or too late is a state and never an error.
 *
 * Criterion's test processes have a thread of its own, which would make every call "too late": each scene runs in a
 * forked child, which has one thread. */
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "tests/threads/loaded.h"

/* In a child: count a failure and say which. */
static int num_failed;
static void check(bool holds, int line, const char *condition, const char *why) {
  if (holds) return;
  fprintf(stderr, "%s:%d: not so: %s %s\n", __FILE__, line, condition, why);
  num_failed++;
}
#define CHECK(condition)              check(condition, __LINE__, #condition, "")
#define CHECK_BECAUSE(condition, why) check(condition, __LINE__, #condition, why)

static void run_in_child(void (*scene)(void)) {
  const pid_t pid = fork();
  cr_assert(pid >= 0);
  if (pid == 0) {
    for (int32_t i = 0; drover_threads_default_at(i, NULL) != NULL; i++) unsetenv(drover_threads_default_at(i, NULL));
    scene();
    _exit(num_failed == 0 ? 0 : 1);
  }
  int code = 0;
  waitpid(pid, &code, 0);
  cr_expect(eq(int, code, 0), "see what the child printed");
}

static drover_threads_configuration configure(void) {
  drover_threads_configuration out = {.size = sizeof out};
  CHECK_BECAUSE(drover_threads_configure(&out) == DROVER_OK, drover_last_error());
  return out;
}

static int num_defaults(void) {
  int count = 0;
  while (drover_threads_default_at(count, NULL) != NULL) count++;
  return count;
}

static bool has(const char *name, const char *value) {
  const char *present = getenv(name);
  return present != NULL && strcmp(present, value) == 0;
}

Test(configure, the_defaults_hold_what_the_guide_asks_for) {
  const char *value = NULL;
  cr_expect(eq(str, (char *)drover_threads_default_at(0, &value), "OMP_NUM_THREADS"));
  cr_expect(eq(str, (char *)value, "1"));
  cr_expect(eq(str, (char *)drover_threads_default_at(1, &value), "MKL_NUM_THREADS"));
  cr_expect(eq(str, (char *)value, "1"));
  cr_expect(drover_threads_default_at(-1, &value) == NULL);
  cr_expect(drover_threads_default_at(1000, &value) == NULL);
}

static void first_call(void) {
  const drover_threads_configuration out = configure();
  CHECK_BECAUSE(out.state == DROVER_THREADS_CONFIGURED, out.reason);
  CHECK(out.num_set == num_defaults() && out.num_kept == 0);
  CHECK(has("OMP_NUM_THREADS", "1") && has("MKL_NUM_THREADS", "1"));
  CHECK_BECAUSE(strstr(out.set, "OPENBLAS_NUM_THREADS=1") != NULL, out.set);
  CHECK(out.reason[0] == '\0' && out.kept[0] == '\0');
}

Test(configure, sets_what_is_unset) { run_in_child(first_call); }

static void some_are_set(void) {
  setenv("OMP_NUM_THREADS", "3", 1);
  setenv("BLIS_NUM_THREADS", "", 1); /* empty is a value too */
  const drover_threads_configuration out = configure();
  CHECK_BECAUSE(out.state == DROVER_THREADS_CONFIGURED, out.reason);
  CHECK(out.num_kept == 2 && out.num_set == num_defaults() - 2);
  CHECK(has("OMP_NUM_THREADS", "3") && has("BLIS_NUM_THREADS", "") && has("MKL_NUM_THREADS", "1"));
  CHECK_BECAUSE(strstr(out.kept, "OMP_NUM_THREADS=3") != NULL, out.kept);
}

Test(configure, leaves_alone_what_is_set) { run_in_child(some_are_set); }

static void called_twice(void) {
  configure();
  const drover_threads_configuration out = configure();
  CHECK(out.state == DROVER_THREADS_ALREADY_CONFIGURED);
  CHECK(out.num_set == 0 && out.num_kept == num_defaults());
}

Test(configure, twice_is_already_configured) { run_in_child(called_twice); }

static void *wait_for(void *gate) {
  pthread_mutex_lock(gate);
  pthread_mutex_unlock(gate);
  return NULL;
}

static void with_a_second_thread(void) {
  pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
  pthread_t thread;
  pthread_mutex_lock(&gate);
  CHECK(pthread_create(&thread, NULL, wait_for, &gate) == 0);
  const drover_threads_configuration out = configure();
  CHECK(out.state == DROVER_THREADS_TOO_LATE && out.num_set == 0);
  CHECK_BECAUSE(getenv("OMP_NUM_THREADS") == NULL, "nothing may be changed");
  CHECK_BECAUSE(strstr(out.reason, "2 threads") != NULL && strstr(out.reason, "drover exec") != NULL, out.reason);
  pthread_mutex_unlock(&gate);
  pthread_join(thread, NULL);
}

Test(configure, a_second_thread_makes_it_too_late) { run_in_child(with_a_second_thread); }

static void with_a_loaded_runtime(void) {
  CHECK(dlopen(STUBS "/libiomp5.so", RTLD_NOW) != NULL);
  const drover_threads_configuration out = configure();
  CHECK(out.state == DROVER_THREADS_TOO_LATE && out.num_set == 0);
  CHECK_BECAUSE(getenv("OMP_NUM_THREADS") == NULL, "nothing may be changed");
  CHECK_BECAUSE(strstr(out.reason, "Intel OpenMP") != NULL, out.reason);
}

Test(configure, a_loaded_runtime_makes_it_too_late) { run_in_child(with_a_loaded_runtime); }

static void late_with_everything_set(void) {
  const char *value = NULL;
  for (int32_t i = 0; drover_threads_default_at(i, &value) != NULL; i++)
    setenv(drover_threads_default_at(i, &value), value, 1);
  CHECK(dlopen(STUBS "/libiomp5.so", RTLD_NOW) != NULL);
  CHECK(configure().state == DROVER_THREADS_ALREADY_CONFIGURED);
}

Test(configure, late_but_with_everything_set_is_already_configured) { run_in_child(late_with_everything_set); }

static void odd_arguments(void) {
  drover_threads_configuration out = {.size = 1};
  CHECK(drover_threads_configure(&out) == DROVER_ERROR_ARGUMENT);
  CHECK(getenv("OMP_NUM_THREADS") == NULL);
  CHECK(drover_threads_configure(NULL) == DROVER_OK);
  CHECK(has("OMP_NUM_THREADS", "1"));
}

Test(configure, out_may_be_null_but_not_of_a_wrong_size) { run_in_child(odd_arguments); }
