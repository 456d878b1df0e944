/* openmp.c: a stand-in for an OpenMP runtime (libiomp5.so): it keeps limits and counts calls, and has no threads.
 * STUB_GLOBAL_LEVELS: the nesting level is the process's, as in older libgomp.
 * STUB_GLOBAL_THREADS: so is the number of threads, which no real runtime does. */
#include <stdatomic.h>

#ifdef STUB_GLOBAL_THREADS
static int threads = 4;
#else
static _Thread_local int threads = 4;
#endif
#ifdef STUB_GLOBAL_LEVELS
static int levels = 7;
#else
static _Thread_local int levels = 7;
#endif

static atomic_int num_set_threads, num_set_levels, last_levels = -1;

int omp_get_max_threads(void);
void omp_set_num_threads(int n);
int omp_get_max_active_levels(void);
void omp_set_max_active_levels(int n);
int stub_num_set_threads(void);
int stub_num_set_levels(void);
int stub_last_levels(void);

int omp_get_max_threads(void) { return threads; }
void omp_set_num_threads(int n) {
  num_set_threads++;
  threads = n;
}
int omp_get_max_active_levels(void) { return levels; }
void omp_set_max_active_levels(int n) {
  num_set_levels++;
  last_levels = n;
  levels = n;
}

/* What the test asks: calls since the library was loaded. */
int stub_num_set_threads(void) { return num_set_threads; }
int stub_num_set_levels(void) { return num_set_levels; }
int stub_last_levels(void) { return last_levels; }
