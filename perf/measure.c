/* measure.c: timing of subjects: calibrated runs from a restored state, rates and paired ratios. */
#include <math.h>
#include <stddef.h>

#include "perf/clock.h"
#include "perf/subject.h"

void dr_subject_destroy(dr_subject *subject) {
  if (subject) subject->type->destroy(subject);
}

int dr_time_run(dr_subject *subject, int64_t iterations, double *seconds, uint64_t *digest) {
  if (subject->bench->stop && subject->bench->stop()) return dr_bench_fail(subject->bench, "interrupted");
  if (subject->type->restore(subject) != 0) return -1;
  const double begin = dr_seconds_now();
  const int failed = subject->type->run(subject, iterations);
  *seconds = dr_seconds_now() - begin;
  return failed ? -1 : subject->type->result(subject, digest);
}

int dr_calibrate(dr_subject *subject, int64_t *iterations) {
  const double wanted = subject->bench->sample_s;
  int64_t count = 1;
  for (;;) {
    double seconds = 0, again = 0;
    uint64_t digest = 0;
    if (dr_time_run(subject, count, &seconds, &digest) != 0) return -1;
    /* A run that was long because the machine was busy elsewhere must not pass for long work: the second one decides.
     */
    if (seconds >= wanted && dr_time_run(subject, count, &again, &digest) != 0) return -1;
    if (seconds >= wanted) seconds = fmin(seconds, again);
    if (seconds >= 0.8 * wanted || count >= INT64_C(1) << 40) break;
    /* Aim a tenth too high; a short first run says little, so never grow more than tenfold at once. */
    const double factor = seconds > 0 ? 1.1 * wanted / seconds : 10;
    count = (int64_t)ceil((double)count * fmin(fmax(factor, 1.2), 10));
  }
  *iterations = count;
  return 0;
}

int dr_measure_rate(dr_subject *subject, dr_samples *samples) {
  int64_t iterations = 0;
  if (dr_calibrate(subject, &iterations) != 0) return -1;
  uint64_t first = 0;
  samples->count = 0;
  for (int32_t i = 0; i < subject->bench->num_samples; i++) {
    double seconds = 0;
    uint64_t digest = 0;
    if (dr_time_run(subject, iterations, &seconds, &digest) != 0) return -1;
    if (i == 0) first = digest;
    if (digest != first)
      return dr_bench_fail(subject->bench, "run %d left other bytes than run 0 from the same beginning", i);
    samples->values[samples->count++] = (double)iterations * subject->units / seconds;
  }
  return 0;
}

/* Iterations of both for the same work, long enough for the faster of them. An iteration of one must be a whole number
 * of iterations of the other. */
static int calibrate_pair(dr_subject *a, dr_subject *b, int64_t *a_iterations, int64_t *b_iterations) {
  dr_subject *large = a->units >= b->units ? a : b, *small = large == a ? b : a;
  const double factor = large->units / small->units;
  int64_t large_iterations = 0, small_iterations = 0;
  if (factor != floor(factor)) return dr_bench_fail(a->bench, "the two subjects have no common amount of work");
  if (dr_calibrate(large, &large_iterations) != 0 || dr_calibrate(small, &small_iterations) != 0) return -1;
  const double needed = ceil((double)small_iterations / factor);
  if (needed > (double)large_iterations) large_iterations = (int64_t)needed;
  *(large == a ? a_iterations : b_iterations) = large_iterations;
  *(large == a ? b_iterations : a_iterations) = large_iterations * (int64_t)factor;
  return 0;
}

int dr_measure_ratio(dr_subject *a, dr_subject *b, bool same_bytes, dr_samples *samples) {
  int64_t a_iterations = 0, b_iterations = 0;
  if (calibrate_pair(a, b, &a_iterations, &b_iterations) != 0) return -1;
  uint64_t a_first = 0, b_first = 0;
  samples->count = 0;
  for (int32_t i = 0; i < a->bench->num_pairs; i++) {
    double a_seconds = 0, b_seconds = 0;
    uint64_t a_digest = 0, b_digest = 0;
    /* a b, b a, a b ...: a machine that gets slower or faster favours neither. */
    for (int half = 0; half < 2; half++) {
      const bool is_a = half == i % 2;
      if (dr_time_run(is_a ? a : b, is_a ? a_iterations : b_iterations, is_a ? &a_seconds : &b_seconds,
                      is_a ? &a_digest : &b_digest) != 0)
        return -1;
    }
    if (i == 0) {
      a_first = a_digest;
      b_first = b_digest;
    }
    if (a_digest != a_first || b_digest != b_first)
      return dr_bench_fail(a->bench, "pair %d left other bytes than pair 0 from the same beginning", i);
    if (same_bytes && a_digest != b_digest)
      return dr_bench_fail(a->bench, "the two sides did the same work and left different bytes");
    samples->values[samples->count++] = a_seconds / b_seconds;
  }
  return 0;
}

/* Its name is what perf/callgrind switches the counting by: never inlined, never cloned. */
__attribute__((noinline, noclone)) int dr_bench_once_body(dr_subject *subject);
int dr_bench_once_body(dr_subject *subject) { return subject->type->run(subject, 1); }

int dr_run_once(dr_subject *subject) {
  /* Once to warm up: what is made on first use is not part of the count. */
  uint64_t digest = 0;
  if (subject->type->restore(subject) != 0 || subject->type->run(subject, 1) != 0) return -1;
  if (subject->type->restore(subject) != 0 || dr_bench_once_body(subject) != 0) return -1;
  return subject->type->result(subject, &digest);
}
