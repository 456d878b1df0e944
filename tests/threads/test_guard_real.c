/* test_guard_real.c: the guard and real libraries: libgomp, libomp, OpenBLAS, BLIS. What is not installed is skipped.
 * The host's main thread runs regions of two threads all the while: nobody may disturb it. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "tests/threads/loaded.h"

enum { NUM_WORKERS = 3, NUM_ROUNDS = 300 };

typedef struct scene {
  void *region;           /* the shared object with region_threads */
  atomic_int num_outside; /* worker regions that got another number than one */
  atomic_int num_working;
} scene;

static void *worker_main(void *user) {
  scene *s = user;
  for (int i = 0; i < NUM_ROUNDS; i++) {
    saved_bytes saved;
    dr_guard_enter(NULL, &saved);
    if (tell(s->region, "region_threads", 0) != 1) s->num_outside++;
    if (tell(s->region, "region_threads", 4) != 1) s->num_outside++;
    dr_guard_leave(NULL, &saved);
  }
  s->num_working--;
  return NULL;
}

static void run_scene(const char *library, bool rescan_before) {
#ifndef HAS_LIBGOMP
  cr_skip_test("the tests were not compiled by GCC, whose OpenMP runtime this needs");
#endif
  scene s = {.num_outside = 0, .num_working = NUM_WORKERS};
  if (rescan_before) dr_guard_rescan(); /* the library comes after the first look */
  s.region = load(library);
  cr_assert(eq(int, tell(s.region, "region_threads", 2), 2), "without a guard a region gets what it asks for");
  dr_guard_rescan();
  pthread_t workers[NUM_WORKERS];
  for (int i = 0; i < NUM_WORKERS; i++) cr_assert(pthread_create(&workers[i], NULL, worker_main, &s) == 0);
  int num_disturbed = 0, num_regions = 0;
  do {
    num_disturbed += tell(s.region, "region_threads", 2) != 2;
    num_regions++;
  } while (s.num_working > 0);
  for (int i = 0; i < NUM_WORKERS; i++) pthread_join(workers[i], NULL);
  cr_expect(eq(int, s.num_outside, 0), "regions under the guard had other threads");
  cr_expect(eq(int, num_disturbed, 0), "of %d regions of the host's thread", num_regions);

  /* And the thread itself has its limit back. */
  saved_bytes saved;
  dr_guard_enter(NULL, &saved);
  cr_expect(eq(int, tell(s.region, "region_threads", 3), 1));
  dr_guard_leave(NULL, &saved);
  cr_expect(eq(int, tell(s.region, "region_threads", 3), 3));
}

Test(guard_real, libgomp_loaded_before) { run_scene("libregion_gomp.so", false); }

Test(guard_real, libgomp_loaded_after) { run_scene("libregion_gomp.so", true); }

Test(guard_real, libomp_loaded_after) {
#ifdef HAS_LIBOMP
  run_scene("libregion_omp.so", true);
#else
  cr_skip_test("LLVM's OpenMP runtime is not installed (Debian: libomp-14-dev)");
#endif
}

Test(guard_real, libgomp_and_libomp_in_one_process) {
#ifdef HAS_LIBOMP
  void *gomp = load("libregion_gomp.so"), *omp = load("libregion_omp.so");
  dr_guard_rescan();
  saved_bytes saved;
  dr_guard_enter(NULL, &saved);
  cr_expect(eq(int, tell(gomp, "region_threads", 4), 1));
  cr_expect(eq(int, tell(omp, "region_threads", 4), 1));
  dr_guard_leave(NULL, &saved);
  cr_expect(eq(int, tell(gomp, "region_threads", 2), 2));
  cr_expect(eq(int, tell(omp, "region_threads", 2), 2));
#else
  cr_skip_test("LLVM's OpenMP runtime is not installed (Debian: libomp-14-dev)");
#endif
}

/* cblas_sgemm(order, transA, transB, m, n, k, alpha, A, lda, B, ldb, beta, C, ldc) on 512 x 512: large enough for any
 * library to use all threads that it may. */
typedef void (*sgemm_fn)(int, int, int, int, int, int, float, const float *, int, const float *, int, float, float *,
                         int);

static void multiply(void *blas) {
  enum { N = 512 };
  sgemm_fn sgemm;
  void *found = symbol(blas, "cblas_sgemm");
  memcpy(&sgemm, &found, sizeof sgemm);
  float *matrix = calloc(3 * N * N, sizeof *matrix);
  cr_assert(matrix != NULL);
  for (int i = 0; i < N; i++) matrix[i * N + i] = matrix[N * N + i] = 1.0f;
  sgemm(101, 111, 111, N, N, N, 1.0f, matrix, N, matrix + N * N, N, 0.0f, matrix + 2 * N * N, N);
  cr_expect(matrix[2 * N * N] == 1.0f);
  free(matrix);
}

static void expect_one_thread_inside(const char *path) {
  void *blas = load(path);
  dr_guard_rescan();
  const int before = count_threads();
  saved_bytes saved;
  dr_guard_enter(NULL, &saved);
  multiply(blas);
  cr_expect(eq(int, count_threads(), before), "%s started threads under the guard", path);
  dr_guard_leave(NULL, &saved);
  multiply(blas);
  cr_expect(eq(int, count_threads(), before + 3), "%s: 4 threads were asked for by the environment", path);
}

/* The environment is read when the library loads, which is later than this. */
static void ask_for_four(void) {
  setenv("OMP_NUM_THREADS", "4", 1);
  setenv("BLIS_NUM_THREADS", "4", 1);
}

Test(guard_real, openblas_on_openmp_starts_no_thread, .init = ask_for_four) {
#ifdef OPENBLAS_OPENMP
  expect_one_thread_inside(OPENBLAS_OPENMP);
#else
  cr_skip_test("OpenBLAS on OpenMP is not installed (Debian: libopenblas0-openmp)");
#endif
}

Test(guard_real, blis_on_openmp_starts_no_thread, .init = ask_for_four) {
#ifdef BLIS_OPENMP
  expect_one_thread_inside(BLIS_OPENMP);
#else
  cr_skip_test("BLIS on OpenMP is not installed (Debian: libblis4-openmp)");
#endif
}

Test(guard_real, openblas_on_pthreads_is_a_finding) {
#ifdef OPENBLAS_PTHREAD
  setenv("OPENBLAS_NUM_THREADS", "2", 1);
  load(OPENBLAS_PTHREAD);
  drover_threads_report *report = NULL;
  cr_assert(eq(int, drover_threads_inspect(&report, NULL), DROVER_OK));
  drover_threads_view view = {.size = sizeof view};
  cr_assert(eq(int, drover_threads_report_get_view(report, &view), DROVER_OK));
  const drover_finding *found = NULL;
  for (int32_t i = 0; i < view.num_findings; i++)
    if (strcmp(view.findings[i].code, "process-wide") == 0) found = &view.findings[i];
  cr_assert(found != NULL, "a pool of OpenBLAS's own threads was not reported");
  cr_expect(strstr(found->remedy, "OPENBLAS_NUM_THREADS=1") != NULL);
  drover_threads_report_destroy(report);
#else
  cr_skip_test("OpenBLAS on pthreads is not installed (Debian: libopenblas0-pthread)");
#endif
}
