/* blis.c: a stand-in for libblis.so. STUB_OPENMP: 1 = OpenMP, 0 = pthreads. */
#include <stdint.h>

static int64_t threads = 4;
static int num_set_calls; /* process-wide, so nobody may call it */

int64_t bli_thread_get_num_threads(void);
void bli_thread_set_num_threads(int64_t n);
int bli_info_get_enable_openmp(void);
int bli_info_get_enable_pthreads(void);
const char *bli_info_get_version_str(void);
int stub_num_set_calls(void);

int64_t bli_thread_get_num_threads(void) { return threads; }
void bli_thread_set_num_threads(int64_t n) {
  num_set_calls++;
  threads = n;
}
int bli_info_get_enable_openmp(void) { return STUB_OPENMP; }
int bli_info_get_enable_pthreads(void) { return !STUB_OPENMP; }
const char *bli_info_get_version_str(void) { return "9.8.7"; }
int stub_num_set_calls(void) { return num_set_calls; }
