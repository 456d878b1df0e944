/* lanes.h: double arithmetic on DR_LANES envs at once, so that an env's dynamics are written once for every SIMD width.
 *
 * A source file defines DR_LANES as 1, 4 (needs AVX2 and FMA) or 8 (needs AVX-512F), includes this header and then the
 * *_dynamics.h it wants. `lanes` is a plain double for width 1 and a GCC vector otherwise: + - * / and unary minus are
 * C's own operators (a double constant beside a vector is broadcast); the rest has the names below.
 *
 * Every lane gets the bits that width 1 gives: each operation here is one correctly rounded IEEE 754 operation, none
 * is contracted into another (-ffp-contract=off), and sin and cos come from SLEEF's functions whose results do not
 * depend on the width. States and observations lie env after env ("records"); unpack turns DR_LANES records into one
 * `lanes` a field, pack turns them back, in registers. */
#ifndef DR_ENV_CLASSIC_LANES_H
#define DR_ENV_CLASSIC_LANES_H

#include <math.h>
#include <sleef.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "env/classic/simd.h"

#if DR_LANES == 1

typedef double lanes;
typedef float lanes_float;
typedef int lanes_mask;

static inline lanes lanes_splat(double c) { return c; }
static inline lanes_mask lanes_less(lanes a, lanes b) { return a < b; }
static inline lanes_mask lanes_at_least(lanes a, lanes b) { return a >= b; }
static inline lanes_mask lanes_either(lanes_mask a, lanes_mask b) { return a | b; }
static inline lanes_mask lanes_both(lanes_mask a, lanes_mask b) { return a & b; }
static inline unsigned lanes_bits(lanes_mask m) { return (unsigned)m; }
static inline lanes lanes_select(lanes_mask m, lanes yes, lanes no) { return m ? yes : no; }
static inline lanes lanes_floor(lanes x) { return floor(x); }
static inline lanes lanes_fma(lanes a, lanes b, lanes c) { return fma(a, b, c); }
static inline lanes_float lanes_narrow(lanes x) { return (float)x; }
static inline lanes lanes_widen(lanes_float x) { return (double)x; }

static inline void lanes_sincos(lanes x, lanes *sine, lanes *cosine) {
  const Sleef_double_2 r = dr_sincos(x);
  *sine = r.x;
  *cosine = r.y;
}

static inline lanes lanes_load(const double *in) { return *in; }
static inline void lanes_store(double *out, lanes x) { *out = x; }
static inline lanes lanes_from_ints(const int32_t *in) { return *in; }
static inline lanes lanes_from_floats(const float *in) { return (double)*in; }
static inline void lanes_to_floats(float *out, lanes x) { *out = (float)x; }

static inline void lanes_store_flags(uint8_t *out, lanes_mask m) { *out = (uint8_t)m; }

static inline void lanes_unpack2(lanes r[2]) { (void)r; }
static inline void lanes_unpack4(lanes r[4]) { (void)r; }
static inline void lanes_pack2(lanes f[2]) { (void)f; }
static inline void lanes_pack4(lanes f[4]) { (void)f; }

#else /* 4 or 8 lanes on x86 */

#include <immintrin.h>

typedef double lanes __attribute__((vector_size(8 * DR_LANES)));
typedef float lanes_float __attribute__((vector_size(4 * DR_LANES)));
typedef int32_t lanes_int __attribute__((vector_size(4 * DR_LANES)));

static inline lanes_float lanes_narrow(lanes x) { return __builtin_convertvector(x, lanes_float); }
static inline lanes lanes_widen(lanes_float x) { return __builtin_convertvector(x, lanes); }

/* The same vectors where they need not be aligned. (A memcpy of a vector is compiled to moves of 16 bytes through the
 * stack, and then costs more than all the arithmetic.) */
#define UNALIGNED(element) __attribute__((vector_size(sizeof(element) * DR_LANES), aligned(sizeof(element)), may_alias))
typedef double lanes_unaligned UNALIGNED(double);
typedef float lanes_float_unaligned UNALIGNED(float);
typedef int32_t lanes_int_unaligned UNALIGNED(int32_t);
#undef UNALIGNED

static inline lanes lanes_load(const double *in) { return *(const lanes_unaligned *)in; }
static inline void lanes_store(double *out, lanes x) { *(lanes_unaligned *)out = x; }

static inline lanes lanes_from_ints(const int32_t *in) {
  const lanes_int v = *(const lanes_int_unaligned *)in;
  return __builtin_convertvector(v, lanes);
}

static inline lanes lanes_from_floats(const float *in) { return lanes_widen(*(const lanes_float_unaligned *)in); }
static inline void lanes_to_floats(float *out, lanes x) { *(lanes_float_unaligned *)out = lanes_narrow(x); }

#define SHUFFLE __builtin_shufflevector

#if DR_LANES == 4

typedef __m256d lanes_mask; /* all bits of a lane set, or none */

static inline lanes lanes_splat(double c) { return _mm256_set1_pd(c); }
static inline lanes_mask lanes_less(lanes a, lanes b) { return _mm256_cmp_pd(a, b, _CMP_LT_OQ); }
static inline lanes_mask lanes_at_least(lanes a, lanes b) { return _mm256_cmp_pd(a, b, _CMP_GE_OQ); }
static inline lanes_mask lanes_either(lanes_mask a, lanes_mask b) { return _mm256_or_pd(a, b); }
static inline lanes_mask lanes_both(lanes_mask a, lanes_mask b) { return _mm256_and_pd(a, b); }
static inline unsigned lanes_bits(lanes_mask m) { return (unsigned)_mm256_movemask_pd(m); }
static inline lanes lanes_select(lanes_mask m, lanes yes, lanes no) { return _mm256_blendv_pd(no, yes, m); }
static inline lanes lanes_floor(lanes x) { return _mm256_floor_pd(x); }
static inline lanes lanes_fma(lanes a, lanes b, lanes c) { return _mm256_fmadd_pd(a, b, c); }

static inline void lanes_sincos(lanes x, lanes *sine, lanes *cosine) {
  const Sleef___m256d_2 r = Sleef_finz_sincosd4_u35avx2(x);
  *sine = r.x;
  *cosine = r.y;
}

static inline void lanes_unpack2(lanes r[2]) {
  const lanes a = r[0], b = r[1];
  r[0] = SHUFFLE(a, b, 0, 2, 4, 6);
  r[1] = SHUFFLE(a, b, 1, 3, 5, 7);
}

static inline void lanes_pack2(lanes f[2]) {
  const lanes a = f[0], b = f[1];
  f[0] = SHUFFLE(a, b, 0, 4, 1, 5);
  f[1] = SHUFFLE(a, b, 2, 6, 3, 7);
}

/* A 4x4 transpose; its own inverse. */
static inline void lanes_unpack4(lanes r[4]) {
  const lanes a = SHUFFLE(r[0], r[1], 0, 4, 2, 6), b = SHUFFLE(r[0], r[1], 1, 5, 3, 7);
  const lanes c = SHUFFLE(r[2], r[3], 0, 4, 2, 6), d = SHUFFLE(r[2], r[3], 1, 5, 3, 7);
  r[0] = SHUFFLE(a, c, 0, 1, 4, 5);
  r[1] = SHUFFLE(b, d, 0, 1, 4, 5);
  r[2] = SHUFFLE(a, c, 2, 3, 6, 7);
  r[3] = SHUFFLE(b, d, 2, 3, 6, 7);
}

static inline void lanes_pack4(lanes f[4]) { lanes_unpack4(f); }

#elif DR_LANES == 8

typedef __mmask8 lanes_mask; /* bit k for lane k */

static inline lanes lanes_splat(double c) { return _mm512_set1_pd(c); }
static inline lanes_mask lanes_less(lanes a, lanes b) { return _mm512_cmp_pd_mask(a, b, _CMP_LT_OQ); }
static inline lanes_mask lanes_at_least(lanes a, lanes b) { return _mm512_cmp_pd_mask(a, b, _CMP_GE_OQ); }
static inline lanes_mask lanes_either(lanes_mask a, lanes_mask b) { return (lanes_mask)(a | b); }
static inline lanes_mask lanes_both(lanes_mask a, lanes_mask b) { return (lanes_mask)(a & b); }
static inline unsigned lanes_bits(lanes_mask m) { return m; }
static inline lanes lanes_select(lanes_mask m, lanes yes, lanes no) { return _mm512_mask_blend_pd(m, no, yes); }
static inline lanes lanes_floor(lanes x) { return _mm512_floor_pd(x); }
static inline lanes lanes_fma(lanes a, lanes b, lanes c) { return _mm512_fmadd_pd(a, b, c); }

static inline void lanes_sincos(lanes x, lanes *sine, lanes *cosine) {
  const Sleef___m512d_2 r = Sleef_finz_sincosd8_u35avx512f(x);
  *sine = r.x;
  *cosine = r.y;
}

static inline void lanes_unpack2(lanes r[2]) {
  const lanes a = r[0], b = r[1];
  r[0] = SHUFFLE(a, b, 0, 2, 4, 6, 8, 10, 12, 14);
  r[1] = SHUFFLE(a, b, 1, 3, 5, 7, 9, 11, 13, 15);
}

static inline void lanes_pack2(lanes f[2]) {
  const lanes a = f[0], b = f[1];
  f[0] = SHUFFLE(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
  f[1] = SHUFFLE(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
}

static inline void lanes_unpack4(lanes r[4]) {
  /* Fields 0,1 and 2,3 of envs 0..3, then of envs 4..7. */
  const lanes a = SHUFFLE(r[0], r[1], 0, 4, 8, 12, 1, 5, 9, 13), b = SHUFFLE(r[0], r[1], 2, 6, 10, 14, 3, 7, 11, 15);
  const lanes c = SHUFFLE(r[2], r[3], 0, 4, 8, 12, 1, 5, 9, 13), d = SHUFFLE(r[2], r[3], 2, 6, 10, 14, 3, 7, 11, 15);
  r[0] = SHUFFLE(a, c, 0, 1, 2, 3, 8, 9, 10, 11);
  r[1] = SHUFFLE(a, c, 4, 5, 6, 7, 12, 13, 14, 15);
  r[2] = SHUFFLE(b, d, 0, 1, 2, 3, 8, 9, 10, 11);
  r[3] = SHUFFLE(b, d, 4, 5, 6, 7, 12, 13, 14, 15);
}

static inline void lanes_pack4(lanes f[4]) {
  /* Fields 0,1 side by side and fields 2,3 side by side, for envs 0..3 and for envs 4..7. */
  const lanes a = SHUFFLE(f[0], f[1], 0, 8, 1, 9, 2, 10, 3, 11), b = SHUFFLE(f[2], f[3], 0, 8, 1, 9, 2, 10, 3, 11);
  const lanes c = SHUFFLE(f[0], f[1], 4, 12, 5, 13, 6, 14, 7, 15), d = SHUFFLE(f[2], f[3], 4, 12, 5, 13, 6, 14, 7, 15);
  f[0] = SHUFFLE(a, b, 0, 1, 8, 9, 2, 3, 10, 11);
  f[1] = SHUFFLE(a, b, 4, 5, 12, 13, 6, 7, 14, 15);
  f[2] = SHUFFLE(c, d, 0, 1, 8, 9, 2, 3, 10, 11);
  f[3] = SHUFFLE(c, d, 4, 5, 12, 13, 6, 7, 14, 15);
}

#else
#error "DR_LANES must be 1, 4 or 8"
#endif

#undef SHUFFLE

static inline void lanes_store_flags(uint8_t *out, lanes_mask m) {
  /* Copy the bits to every byte, keep bit k in byte k, and bring it down to bit 0. */
  const uint64_t kept = (lanes_bits(m) * 0x0101010101010101u) & 0x8040201008040201u;
  const uint64_t flags = ((kept + 0x7F7F7F7F7F7F7F7Fu) >> 7) & 0x0101010101010101u;
  memcpy(out, &flags, DR_LANES);
}

#endif /* DR_LANES */

/* What follows is the same for every width. */

static inline lanes_mask lanes_greater(lanes a, lanes b) { return lanes_less(b, a); }

static inline lanes lanes_clip(lanes x, double low, double high) {
  x = lanes_select(lanes_less(x, lanes_splat(low)), lanes_splat(low), x);
  return lanes_select(lanes_greater(x, lanes_splat(high)), lanes_splat(high), x); /* NaN stays NaN */
}

/* DR_LANES records of 2 doubles <-> fields[2]; the same records rounded to float32. */
static inline void lanes_load2(const double *records, lanes fields[2]) {
  for (int k = 0; k < 2; k++) fields[k] = lanes_load(records + DR_LANES * k);
  lanes_unpack2(fields);
}

static inline void lanes_store2(double *records, const lanes fields[2]) {
  lanes r[2] = {fields[0], fields[1]};
  lanes_pack2(r);
  for (int k = 0; k < 2; k++) lanes_store(records + DR_LANES * k, r[k]);
}

static inline void lanes_store2_floats(float *records, const lanes fields[2]) {
  lanes r[2] = {fields[0], fields[1]};
  lanes_pack2(r);
  for (int k = 0; k < 2; k++) lanes_to_floats(records + DR_LANES * k, r[k]);
}

/* DR_LANES records of 4 doubles <-> fields[4]; the same records rounded to float32. */
static inline void lanes_load4(const double *records, lanes fields[4]) {
  for (int k = 0; k < 4; k++) fields[k] = lanes_load(records + DR_LANES * k);
  lanes_unpack4(fields);
}

static inline void lanes_store4(double *records, const lanes fields[4]) {
  lanes r[4] = {fields[0], fields[1], fields[2], fields[3]};
  lanes_pack4(r);
  for (int k = 0; k < 4; k++) lanes_store(records + DR_LANES * k, r[k]);
}

static inline void lanes_store4_floats(float *records, const lanes fields[4]) {
  lanes r[4] = {fields[0], fields[1], fields[2], fields[3]};
  lanes_pack4(r);
  for (int k = 0; k < 4; k++) lanes_to_floats(records + DR_LANES * k, r[k]);
}

/* Column `column` of DR_LANES rows of `width` float32. */
static inline void lanes_store_column(float *rows, int32_t width, int32_t column, lanes x) {
  float v[DR_LANES];
  lanes_to_floats(v, x);
  for (int k = 0; k < DR_LANES; k++) rows[k * width + column] = v[k];
}

#endif
