/* simd.h: vectors of one instruction set, for the kernel files only.
 *
 * A kernels_*.c file defines DR_ISA (512, 256 or 128), is compiled for that set, and includes this header and the
 * kernels written on top of it. Arithmetic uses the compilers' vector types; only what C has no operator for is an
 * intrinsic. Transcendental functions are SLEEF's (1.0 or 3.5 units in the last place) except tanh. */
#ifndef DR_POLICY_SIMD_H
#define DR_POLICY_SIMD_H

#include <immintrin.h>
#include <sleef.h>
#include <stdint.h>
#include <string.h>

#define DR_INLINE static inline __attribute__((always_inline))

#if DR_ISA == 512
#define DR_LANES               16
#define DR_MM(name)            _mm512_##name
#define DR_SLEEF(name, error)  Sleef_##name##16_##error##avx512f
#define DR_FMA(a, b, c)        _mm512_fmadd_ps(a, b, c)
#define DR_XOR3(a, b, c)       _mm512_ternarylogic_epi64(a, b, c, 0x96)
#define DR_MM_MUL_WORDS(a, b)  _mm512_mul_epu32(a, b)
#define DR_MM_SET_WORDS(x)     _mm512_set1_epi64((int64_t)(x))
#define DR_MM_TO_FLOATS(x)     _mm512_cvtepi32_ps((__m512i)(x))
#define DR_MM_LOAD_WORDS(from) _mm512_loadu_si512(from)
typedef __m512i dr_words; /* 64-bit lanes that carry 32-bit words */
#elif DR_ISA == 256
#define DR_LANES               8
#define DR_MM(name)            _mm256_##name
#define DR_SLEEF(name, error)  Sleef_##name##8_##error##avx2
#define DR_FMA(a, b, c)        _mm256_fmadd_ps(a, b, c)
#define DR_XOR3(a, b, c)       _mm256_xor_si256(_mm256_xor_si256(a, b), c)
#define DR_MM_MUL_WORDS(a, b)  _mm256_mul_epu32(a, b)
#define DR_MM_SET_WORDS(x)     _mm256_set1_epi64x((int64_t)(x))
#define DR_MM_TO_FLOATS(x)     _mm256_cvtepi32_ps((__m256i)(x))
#define DR_MM_LOAD_WORDS(from) _mm256_loadu_si256((const __m256i *)(from))
typedef __m256i dr_words;
#elif DR_ISA == 128
#define DR_LANES               4
#define DR_MM(name)            _mm_##name
#define DR_SLEEF(name, error)  Sleef_##name##4_##error##sse2
#define DR_FMA(a, b, c)        _mm_add_ps(_mm_mul_ps(a, b), c) /* SSE2 has no fused form: rounds twice */
#define DR_XOR3(a, b, c)       _mm_xor_si128(_mm_xor_si128(a, b), c)
#define DR_MM_MUL_WORDS(a, b)  _mm_mul_epu32(a, b)
#define DR_MM_SET_WORDS(x)     _mm_set1_epi64x((int64_t)(x))
#define DR_MM_TO_FLOATS(x)     _mm_cvtepi32_ps((__m128i)(x))
#define DR_MM_LOAD_WORDS(from) _mm_loadu_si128((const __m128i *)(from))
typedef __m128i dr_words;
#else
#error "define DR_ISA as 512, 256 or 128"
#endif

typedef float dr_floats __attribute__((vector_size(4 * DR_LANES)));
typedef int32_t dr_ints __attribute__((vector_size(4 * DR_LANES)));
typedef double dr_doubles __attribute__((vector_size(8 * DR_LANES)));
typedef uint32_t dr_bits __attribute__((vector_size(4 * DR_LANES)));

DR_INLINE dr_floats load(const float *from) { return DR_MM(loadu_ps)(from); }
DR_INLINE void store(float *to, dr_floats x) { DR_MM(storeu_ps)(to, x); }
DR_INLINE dr_floats splat(float x) { return DR_MM(set1_ps)(x); }
DR_INLINE dr_ints splat_int(int32_t x) { return (dr_ints)DR_MM(set1_epi32)(x); }

/* Numbers `stride` floats apart into the lanes. */
DR_INLINE __m128 four_apart(const float *from, size_t stride) {
  return _mm_setr_ps(from[0], from[stride], from[2 * stride], from[3 * stride]);
}

DR_INLINE dr_floats load_apart(const float *from, size_t stride) {
#if DR_ISA == 512
  dr_floats x = _mm512_castps128_ps512(four_apart(from, stride));
  x = _mm512_insertf32x4(x, four_apart(from + 4 * stride, stride), 1);
  x = _mm512_insertf32x4(x, four_apart(from + 8 * stride, stride), 2);
  return _mm512_insertf32x4(x, four_apart(from + 12 * stride, stride), 3);
#elif DR_ISA == 256
  return _mm256_set_m128(four_apart(from + 4 * stride, stride), four_apart(from, stride));
#else
  return four_apart(from, stride);
#endif
}

/* The sum over all lanes, halves first. */
DR_INLINE float sum_lanes(dr_floats x) {
#if DR_ISA == 512
  const __m256 eight = _mm512_castps512_ps256(x) + _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(x), 1));
  const __m128 four = _mm256_castps256_ps128(eight) + _mm256_extractf128_ps(eight, 1);
#elif DR_ISA == 256
  const __m128 four = _mm256_castps256_ps128(x) + _mm256_extractf128_ps(x, 1);
#else
  const __m128 four = x;
#endif
  const __m128 two = four + _mm_movehl_ps(four, four);
  return _mm_cvtss_f32(two) + _mm_cvtss_f32(_mm_shuffle_ps(two, two, 1));
}

/* The low 32 bits of the 64-bit lanes of `low`, then of `high`. */
DR_INLINE dr_bits join_words(dr_words low, dr_words high) {
#if DR_ISA == 512
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  return (dr_bits)_mm512_permutex2var_epi32(low, even, high);
#elif DR_ISA == 256
  const __m256 both = _mm256_shuffle_ps(_mm256_castsi256_ps(low), _mm256_castsi256_ps(high), 0x88);
  return (dr_bits)_mm256_permute4x64_epi64(_mm256_castps_si256(both), 0xD8);
#else
  return (dr_bits)_mm_shuffle_ps(_mm_castsi128_ps(low), _mm_castsi128_ps(high), 0x88);
#endif
}

/* The larger and the smaller; a NaN in `x` comes out as it is. */
DR_INLINE dr_floats at_least(float low, dr_floats x) { return DR_MM(max_ps)(splat(low), x); }
DR_INLINE dr_floats at_most(float high, dr_floats x) { return DR_MM(min_ps)(splat(high), x); }

/* Lane by lane: where the mask is -1 a, where it is 0 b. */
DR_INLINE dr_ints select_int(dr_ints mask, dr_ints a, dr_ints b) { return (a & mask) | (b & ~mask); }
DR_INLINE dr_floats select_float(dr_ints mask, dr_floats a, dr_floats b) {
  return (dr_floats)select_int(mask, (dr_ints)a, (dr_ints)b);
}

DR_INLINE dr_floats vector_exp(dr_floats x) { return DR_SLEEF(expf, u10)(x); }
DR_INLINE dr_floats vector_expm1(dr_floats x) { return DR_SLEEF(expm1f, u10)(x); }
DR_INLINE dr_floats vector_log(dr_floats x) { return DR_SLEEF(logf, u35)(x); }
DR_INLINE dr_floats vector_log1p(dr_floats x) { return DR_SLEEF(log1pf, u10)(x); }
DR_INLINE dr_floats vector_sqrt(dr_floats x) { return DR_MM(sqrt_ps)(x); }

/* sin(pi x) and cos(pi x). */
DR_INLINE void vector_sincospi(dr_floats x, dr_floats *sine, dr_floats *cosine) {
  __typeof__(DR_SLEEF(sincospif, u35)(x)) both = DR_SLEEF(sincospif, u35)(x);
  *sine = both.x;
  *cosine = both.y;
}

/* tanh as an odd rational function of degree 13 over 6, to 3e-7 relative: the minimax coefficients of Eigen's
 * ptanh_float. Less than half the time of SLEEF's; beyond the limit the result is 1 in float. */
DR_INLINE dr_floats vector_tanh(dr_floats x) {
  const float limit = 7.90531110763549805f;
  x = at_most(limit, at_least(-limit, x));
  const dr_floats square = x * x;
  dr_floats over = splat(-2.76076847742355e-16f);
  over = DR_FMA(over, square, splat(2.00018790482477e-13f));
  over = DR_FMA(over, square, splat(-8.60467152213735e-11f));
  over = DR_FMA(over, square, splat(5.12229709037114e-08f));
  over = DR_FMA(over, square, splat(1.48572235717979e-05f));
  over = DR_FMA(over, square, splat(6.37261928875436e-04f));
  over = DR_FMA(over, square, splat(4.89352455891786e-03f));
  dr_floats under = splat(1.19825839466702e-06f);
  under = DR_FMA(under, square, splat(1.18534705686654e-04f));
  under = DR_FMA(under, square, splat(2.26843463243900e-03f));
  under = DR_FMA(under, square, splat(4.89352518554385e-03f));
  return x * over / under;
}

#endif
