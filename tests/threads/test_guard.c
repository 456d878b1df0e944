/* test_guard.c: while a thread is inside the guard, every OpenMP and BLAS runtime gives that thread one thread; other
 * threads, and the process-wide settings, are untouched. Stub libraries record what was called. */
#include <pthread.h>
#include <time.h>

#include "tests/threads/loaded.h"

static void expect_openmp(void *handle, int threads, int levels) {
  cr_expect(eq(int, ask(handle, "omp_get_max_threads"), threads));
  cr_expect(eq(int, ask(handle, "omp_get_max_active_levels"), levels));
}

Test(guard, without_libraries_it_costs_nothing_worth_mentioning) {
  dr_guard_rescan();
  saved_bytes saved;
  struct timespec begin, end;
  enum { N = 100000 };
  double least = 1e9; /* of some rounds: whatever disturbs one only makes it slower */
  for (int round = 0; round < 20; round++) {
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (int i = 0; i < N; i++) {
      dr_guard_enter(NULL, &saved);
      dr_guard_leave(NULL, &saved);
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    const double ns = ((double)(end.tv_sec - begin.tv_sec) * 1e9 + (double)(end.tv_nsec - begin.tv_nsec)) / N;
    if (ns < least) least = ns;
  }
  cr_expect(least < 1000.0, "%g ns a pair", least); /* measured: 2; a wide margin for slow machines and sanitizers */
}

Test(guard, openmp_loaded_before_is_limited_and_restored) {
  void *iomp = load("libiomp5.so");
  dr_guard_rescan();
  saved_bytes saved;
  dr_guard_enter(NULL, &saved);
  expect_openmp(iomp, 1, 0);
  dr_guard_leave(NULL, &saved);
  expect_openmp(iomp, 4, 7);
}

Test(guard, openmp_loaded_after_is_limited_from_the_next_rescan_on) {
  dr_guard_rescan();
  void *iomp = load("libiomp5.so");
  saved_bytes saved;
  dr_guard_enter(NULL, &saved);
  expect_openmp(iomp, 4, 7);
  dr_guard_rescan();
  dr_guard_leave(NULL, &saved); /* with the table of its enter: nothing to restore */
  expect_openmp(iomp, 4, 7);
  dr_guard_enter(NULL, &saved);
  expect_openmp(iomp, 1, 0);
  dr_guard_leave(NULL, &saved);
  expect_openmp(iomp, 4, 7);
}

Test(guard, the_hosts_own_limit_is_what_is_restored) {
  void *iomp = load("libiomp5.so");
  put(iomp, "omp_set_num_threads", 3);
  put(iomp, "omp_set_max_active_levels", 2);
  dr_guard_rescan();
  saved_bytes saved;
  dr_guard_enter(NULL, &saved);
  dr_guard_leave(NULL, &saved);
  expect_openmp(iomp, 3, 2);
}

Test(guard, a_rescan_without_news_calls_nothing) {
  void *iomp = load("libiomp5.so");
  dr_guard_rescan();
  const int calls = ask(iomp, "stub_num_set_threads");
  for (int i = 0; i < 100; i++) dr_guard_rescan();
  load("libother.so"); /* no threading runtime: nothing to probe */
  dr_guard_rescan();
  cr_expect(eq(int, ask(iomp, "stub_num_set_threads"), calls));
}

Test(guard, pairs_nest) {
  void *iomp = load("libiomp5.so");
  dr_guard_rescan();
  saved_bytes outer, inner;
  dr_guard_enter(NULL, &outer);
  dr_guard_enter(NULL, &inner);
  dr_guard_leave(NULL, &inner);
  expect_openmp(iomp, 1, 0);
  dr_guard_leave(NULL, &outer);
  expect_openmp(iomp, 4, 7);
}

static void *other_thread(void *iomp) {
  expect_openmp(iomp, 4, 7);
  return NULL;
}

Test(guard, other_threads_keep_their_limits) {
  void *iomp = load("libiomp5.so");
  dr_guard_rescan();
  saved_bytes saved;
  dr_guard_enter(NULL, &saved);
  pthread_t thread;
  cr_assert(pthread_create(&thread, NULL, other_thread, iomp) == 0);
  pthread_join(thread, NULL);
  dr_guard_leave(NULL, &saved);
}

Test(guard, process_wide_levels_are_left_alone) {
  void *old = load("old/libgomp.so.1");
  dr_guard_rescan();
  cr_expect(eq(int, ask(old, "omp_get_max_active_levels"), 7), "the probe put it back");
  const int calls = ask(old, "stub_num_set_levels");
  saved_bytes saved;
  dr_guard_enter(NULL, &saved);
  expect_openmp(old, 1, 7);
  dr_guard_leave(NULL, &saved);
  expect_openmp(old, 4, 7);
  cr_expect(eq(int, ask(old, "stub_num_set_levels"), calls));
  const dr_library *library = find_library("old/libgomp");
  cr_assert(library != NULL);
  cr_expect(eq(int, library->has_thread_levels, 0));
}

Test(guard, the_probe_never_sets_a_process_wide_level_to_zero) {
  void *old = load("old/libgomp.so.1");
  dr_guard_rescan();
  cr_expect(eq(int, ask(old, "stub_last_levels"), 7), "the last value is the one that was put back");
}

Test(guard, process_wide_thread_counts_are_left_alone) {
  void *wide = load("wide/libomp.so");
  dr_guard_rescan();
  cr_expect(eq(int, ask(wide, "omp_get_max_threads"), 4), "the probe put it back");
  const int calls = ask(wide, "stub_num_set_threads");
  saved_bytes saved;
  dr_guard_enter(NULL, &saved);
  dr_guard_leave(NULL, &saved);
  cr_expect(eq(int, ask(wide, "stub_num_set_threads"), calls));
  const dr_library *library = find_library("wide/libomp");
  cr_assert(library != NULL);
  cr_expect(eq(int, library->scope, DROVER_SCOPE_PROCESS));
  cr_expect(eq(int, dr_guard_limits(library), 0));
}

Test(guard, mkl_gets_a_thread_local_limit_and_the_last_one_back) {
  void *mkl = load("libmkl_rt.so.2");
  dr_guard_rescan();
  for (int own = 0; own <= 3; own += 3) { /* 0: the thread followed the process's limit */
    tell(mkl, "MKL_Set_Num_Threads_Local", own);
    saved_bytes saved;
    dr_guard_enter(NULL, &saved);
    cr_expect(eq(int, ask(mkl, "MKL_Get_Max_Threads"), 1));
    dr_guard_leave(NULL, &saved);
    cr_expect(eq(int, ask(mkl, "MKL_Get_Max_Threads"), own == 0 ? 4 : own));
    cr_expect(eq(int, tell(mkl, "MKL_Set_Num_Threads_Local", own), own));
  }
  cr_expect(eq(int, ask(mkl, "stub_num_process_calls"), 0));
  const dr_library *library = find_library("libmkl_rt");
  cr_assert(library != NULL);
  cr_expect(eq(str, (char *)library->version, "2024.2"));
}

Test(guard, mkl_inside_a_library_of_another_name_is_found) {
  void *host = load("libtorch_stub.so");
  dr_guard_rescan();
  saved_bytes saved;
  dr_guard_enter(NULL, &saved);
  cr_expect(eq(int, ask(host, "MKL_Get_Max_Threads"), 1));
  dr_guard_leave(NULL, &saved);
  cr_expect(eq(int, ask(host, "MKL_Get_Max_Threads"), 4));
}

static void expect_blas(const char *file, drover_library_kind kind, drover_limit_scope scope, const char *version,
                        const char *detail) {
  void *blas = load(file);
  dr_guard_rescan();
  saved_bytes saved;
  dr_guard_enter(NULL, &saved);
  dr_guard_leave(NULL, &saved);
  cr_expect(eq(int, ask(blas, "stub_num_set_calls"), 0), "%s: a process-wide setter was called", file);
  const dr_library *library = find_library(file);
  cr_assert(library != NULL, "%s was not found", file);
  cr_expect(eq(int, library->kind, kind));
  cr_expect(eq(int, library->scope, scope));
  cr_expect(eq(int, dr_library_limit(library), 4));
  cr_expect(eq(str, (char *)library->version, (char *)version));
  cr_expect(eq(str, (char *)library->detail, (char *)detail));
}

Test(guard, openblas_on_pthreads_is_never_set) {
  expect_blas("pthread/libopenblas.so.0", DROVER_LIBRARY_OPENBLAS, DROVER_SCOPE_PROCESS, "0.3.99", "pthreads, Stub");
}

Test(guard, openblas_on_openmp_follows_openmp) {
  expect_blas("openmp/libopenblas.so.0", DROVER_LIBRARY_OPENBLAS, DROVER_SCOPE_OPENMP, "0.3.99", "OpenMP, Stub");
}

Test(guard, blis_on_pthreads_is_never_set) {
  expect_blas("pthread/libblis.so.4", DROVER_LIBRARY_BLIS, DROVER_SCOPE_PROCESS, "9.8.7", "pthreads");
}

Test(guard, blis_on_openmp_follows_openmp) {
  expect_blas("openmp/libblis.so.4", DROVER_LIBRARY_BLIS, DROVER_SCOPE_OPENMP, "9.8.7", "OpenMP");
}

Test(guard, two_openmp_runtimes_are_limited_each_by_its_own_calls) {
  void *iomp = load("libiomp5.so");
  void *old = load("old/libgomp.so.1");
  put(iomp, "omp_set_num_threads", 6);
  dr_guard_rescan();
  saved_bytes saved;
  dr_guard_enter(NULL, &saved);
  expect_openmp(iomp, 1, 0);
  expect_openmp(old, 1, 7);
  dr_guard_leave(NULL, &saved);
  expect_openmp(iomp, 6, 7);
  expect_openmp(old, 4, 7);
}

Test(guard, a_library_that_the_host_closes_stays_callable) {
  void *iomp = load("libiomp5.so");
  dr_guard_rescan();
  saved_bytes saved;
  dr_guard_enter(NULL, &saved);
  dlclose(iomp);
  dr_guard_leave(NULL, &saved);
  dr_guard_rescan();
  dr_guard_enter(NULL, &saved);
  dr_guard_leave(NULL, &saved);
  cr_expect(dlopen(STUBS "/libiomp5.so", RTLD_NOW | RTLD_NOLOAD) != NULL, "the guard's reference keeps it");
}

Test(guard, the_public_guard_is_the_same_one) {
  void *iomp = load("libiomp5.so");
  drover_threads_rescan();
  const drover_task_guard *guard = drover_threads_get_guard();
  saved_bytes saved;
  guard->enter(guard->user, &saved);
  expect_openmp(iomp, 1, 0);
  guard->leave(guard->user, &saved);
  expect_openmp(iomp, 4, 7);
}
