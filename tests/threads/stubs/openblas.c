/* openblas.c: a stand-in for libopenblas.so. STUB_PARALLEL: 1 = pthreads, 2 = OpenMP. */
static int threads = 4;
static int num_set_calls; /* of setters: they are process-wide, so nobody may call one */

int openblas_get_num_threads(void);
void openblas_set_num_threads(int n);
int openblas_set_num_threads_local(int n);
int openblas_get_parallel(void);
const char *openblas_get_config(void);
const char *openblas_get_corename(void);
int stub_num_set_calls(void);

int openblas_get_num_threads(void) { return threads; }
void openblas_set_num_threads(int n) {
  num_set_calls++;
  threads = n;
}
int openblas_set_num_threads_local(int n) {
  const int last = threads;
  openblas_set_num_threads(n);
  return last;
}
int openblas_get_parallel(void) { return STUB_PARALLEL; }
const char *openblas_get_config(void) { return "OpenBLAS 0.3.99 DYNAMIC_ARCH MAX_THREADS=64"; }
const char *openblas_get_corename(void) { return "Stub"; }
int stub_num_set_calls(void) { return num_set_calls; }
