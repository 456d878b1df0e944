/* region.c: real OpenMP regions in a shared object of their own: linked with libgomp, and once more with libomp. */
int region_threads(int requested);

/* Threads that a region got; requested 0 = without num_threads(n). */
int region_threads(int requested) {
  int count = 0;
  if (requested == 0) {
#pragma omp parallel reduction(+ : count)
    count += 1;
  } else {
#pragma omp parallel num_threads(requested) reduction(+ : count)
    count += 1;
  }
  return count;
}
