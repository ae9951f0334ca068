/* Vectors of VL floats for kernels that are written once and compiled at every level: VL is 1
 * (scalar), 8 (AVX2) or 16 (AVX-512), picked by the flags of the including file. Each operation
 * is one IEEE operation per lane, so all levels give the same bits. Sums over a row always run
 * in 16 lanes (element i to lane i % 16) and add as l+8, l+4, l+2, l+1; V16 vectors make 16.
 * size: the same short list of operations for each instruction set, side by side. */
#ifndef HOLDFAST_KERN_SIMD_H
#define HOLDFAST_KERN_SIMD_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "quant/quant.h"

/* Before a loop of constant length, so that arrays of vectors stay in registers. */
#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
/* A vector is in a register here: gcc otherwise reorders sums of integers until they spill. */
#define V_PIN(x)      __asm__("" : "+x"(x))
#define ALWAYS_INLINE inline __attribute__((always_inline))

#if defined(__AVX512F__)
#include <immintrin.h>
enum { VL = 16 };
typedef __m512 vf;
typedef __mmask16 vmask;
static inline vf v_set(float x) {
    return _mm512_set1_ps(x);
}
static inline vf v_load(const float *p) {
    return _mm512_loadu_ps(p);
}
static inline vf v_load_f16(const uint16_t *p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}
static inline vf v_load_i32(const int32_t *p) {
    return _mm512_cvtepi32_ps(_mm512_loadu_si512(p));
}
/* The low 16 bits of each lane, for integers made with V_ROUND. */
static inline void v_store_i16(int16_t *p, vf x) {
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtepi32_epi16(_mm512_castps_si512(x)));
}
static inline void v_store(float *p, vf x) {
    _mm512_storeu_ps(p, x);
}
/* The first n lanes (0 < n < VL); the others read as 0 and are not written. */
static inline vf v_load_n(const float *p, int64_t n) {
    return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
}
static inline void v_store_n(float *p, int64_t n, vf x) {
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), x);
}
static inline vf v_add(vf a, vf b) {
    return _mm512_add_ps(a, b);
}
static inline vf v_sub(vf a, vf b) {
    return _mm512_sub_ps(a, b);
}
static inline vf v_mul(vf a, vf b) {
    return _mm512_mul_ps(a, b);
}
static inline vf v_div(vf a, vf b) {
    return _mm512_div_ps(a, b);
}
static inline vf v_fma(vf a, vf b, vf c) {
    return _mm512_fmadd_ps(a, b, c);
}
/* a > b ? a : b, and b when either is NaN */
static inline vf v_max(vf a, vf b) {
    return _mm512_max_ps(a, b);
}
static inline vf v_min(vf a, vf b) {
    return _mm512_min_ps(a, b);
}
static inline vmask v_less(vf a, vf b) {
    return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ);
}
static inline vf v_select(vmask m, vf yes, vf no) {
    return _mm512_mask_blend_ps(m, no, yes);
}
static inline vf v_abs(vf a) {
    return _mm512_castsi512_ps(
        _mm512_and_si512(_mm512_castps_si512(a), _mm512_set1_epi32(0x7fffffff)));
}
/* magnitude's bits with the sign of s */
static inline vf v_sign(vf magnitude, vf s) {
    __m512i top = _mm512_set1_epi32((int)0x80000000);
    return _mm512_castsi512_ps(_mm512_or_si512(_mm512_castps_si512(magnitude),
                                               _mm512_and_si512(_mm512_castps_si512(s), top)));
}
/* 2^n from V_ROUND + n, -126 <= n <= 127 */
static inline vf v_pow2(vf n) {
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_slli_epi32(_mm512_castps_si512(n), 23),
                                                _mm512_set1_epi32(0x3f800000)));
}
/* Lane l gets lane l ^ h; h is 1, 2, 4 or 8, below VL. */
static ALWAYS_INLINE vf v_swap(vf x, const int h) {
    if (h == 1) return _mm512_permute_ps(x, 0xb1);
    if (h == 2) return _mm512_permute_ps(x, 0x4e);
    return h == 4 ? _mm512_shuffle_f32x4(x, x, 0xb1) : _mm512_shuffle_f32x4(x, x, 0x4e);
}
/* Lanes 0..7 or 8..15 of 16. */
static inline __m256 v_half(const vf *acc, int i) {
    return i ? _mm512_extractf32x8_ps(*acc, 1) : _mm512_castps512_ps256(*acc);
}
#elif defined(__AVX2__)
#include <immintrin.h>
enum { VL = 8 };
typedef __m256 vf;
typedef __m256 vmask;
static inline vf v_set(float x) {
    return _mm256_set1_ps(x);
}
static inline vf v_load(const float *p) {
    return _mm256_loadu_ps(p);
}
static inline vf v_load_f16(const uint16_t *p) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
}
static inline vf v_load_i32(const int32_t *p) {
    return _mm256_cvtepi32_ps(_mm256_loadu_si256((const __m256i *)p));
}
static inline void v_store_i16(int16_t *p, vf x) {
    __m256i low = _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(0xffff));
    __m128i a = _mm256_castsi256_si128(low), b = _mm256_extracti128_si256(low, 1);
    _mm_storeu_si128((__m128i *)p, _mm_packus_epi32(a, b));
}
static inline void v_store(float *p, vf x) {
    _mm256_storeu_ps(p, x);
}
static inline __m256i v_first(int64_t n) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), lane);
}
static inline vf v_load_n(const float *p, int64_t n) {
    return _mm256_maskload_ps(p, v_first(n));
}
static inline void v_store_n(float *p, int64_t n, vf x) {
    _mm256_maskstore_ps(p, v_first(n), x);
}
static inline vf v_add(vf a, vf b) {
    return _mm256_add_ps(a, b);
}
static inline vf v_sub(vf a, vf b) {
    return _mm256_sub_ps(a, b);
}
static inline vf v_mul(vf a, vf b) {
    return _mm256_mul_ps(a, b);
}
static inline vf v_div(vf a, vf b) {
    return _mm256_div_ps(a, b);
}
static inline vf v_fma(vf a, vf b, vf c) {
    return _mm256_fmadd_ps(a, b, c);
}
static inline vf v_max(vf a, vf b) {
    return _mm256_max_ps(a, b);
}
static inline vf v_min(vf a, vf b) {
    return _mm256_min_ps(a, b);
}
static inline vmask v_less(vf a, vf b) {
    return _mm256_cmp_ps(a, b, _CMP_LT_OQ);
}
static inline vf v_select(vmask m, vf yes, vf no) {
    return _mm256_blendv_ps(no, yes, m);
}
static inline vf v_abs(vf a) {
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a);
}
static inline vf v_sign(vf magnitude, vf s) {
    return _mm256_or_ps(magnitude, _mm256_and_ps(_mm256_set1_ps(-0.0f), s));
}
static inline vf v_pow2(vf n) {
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_slli_epi32(_mm256_castps_si256(n), 23),
                                                _mm256_set1_epi32(0x3f800000)));
}
static ALWAYS_INLINE vf v_swap(vf x, const int h) {
    if (h == 1) return _mm256_permute_ps(x, 0xb1);
    return h == 2 ? _mm256_permute_ps(x, 0x4e) : _mm256_permute2f128_ps(x, x, 1);
}
static inline __m256 v_half(const vf *acc, int i) {
    return acc[i];
}
#else
enum { VL = 1 };
typedef float vf;
typedef int vmask;
static inline vf v_set(float x) {
    return x;
}
static inline vf v_load(const float *p) {
    return *p;
}
static inline vf v_load_f16(const uint16_t *p) {
    return quant_f16_to_f32(*p);
}
static inline vf v_load_i32(const int32_t *p) {
    return (float)*p;
}
static inline void v_store_i16(int16_t *p, vf x) {
    *p = (int16_t)(quant_bits(x) & 0xffff);
}
static inline void v_store(float *p, vf x) {
    *p = x;
}
static inline vf v_load_n(const float *p, int64_t n) {
    return n ? *p : 0;
}
static inline void v_store_n(float *p, int64_t n, vf x) {
    if (n) *p = x;
}
static inline vf v_add(vf a, vf b) {
    return a + b;
}
static inline vf v_sub(vf a, vf b) {
    return a - b;
}
static inline vf v_mul(vf a, vf b) {
    return a * b;
}
static inline vf v_div(vf a, vf b) {
    return a / b;
}
static inline vf v_fma(vf a, vf b, vf c) {
    return fmaf(a, b, c);
}
static inline vf v_max(vf a, vf b) {
    return a > b ? a : b;
}
static inline vf v_min(vf a, vf b) {
    return a < b ? a : b;
}
static inline vmask v_less(vf a, vf b) {
    return a < b;
}
static inline vf v_select(vmask m, vf yes, vf no) {
    return m ? yes : no;
}
static inline vf v_abs(vf a) {
    return quant_from_bits(quant_bits(a) & 0x7fffffffu);
}
static inline vf v_sign(vf magnitude, vf s) {
    return quant_from_bits(quant_bits(magnitude) | (quant_bits(s) & 0x80000000u));
}
static inline vf v_pow2(vf n) {
    return quant_from_bits((quant_bits(n) << 23) + 0x3f800000u);
}
static ALWAYS_INLINE vf v_swap(vf x, const int h) {
    (void)h;
    return x;
}
#endif

enum { V16 = 16 / VL };
/* x + V_ROUND rounds |x| < 2^22 to an integer, which stands in the low bits. */
#define V_ROUND 0x1.8p23f

/* The sum of 16 lanes and their maximum, in the order that every level keeps: l with l+8, then
 * with l+4, l+2, l+1. */
#if defined(__AVX2__)
static inline float v_sum16(const vf acc[V16]) {
    __m256 h = _mm256_add_ps(v_half(acc, 0), v_half(acc, 1));
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}
static inline float v_max16(const vf acc[V16]) {
    __m256 h = _mm256_max_ps(v_half(acc, 0), v_half(acc, 1));
    __m128 q = _mm_max_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    q = _mm_max_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_max_ss(q, _mm_movehdup_ps(q)));
}
#else
static inline float v_sum16(const vf acc[V16]) {
    float l[16];
    memcpy(l, acc, sizeof l);
    for (int step = 8; step; step /= 2)
        for (int i = 0; i < step; i++) l[i] += l[i + step];
    return l[0];
}
static inline float v_max16(const vf acc[V16]) {
    float l[16];
    memcpy(l, acc, sizeof l);
    for (int step = 8; step; step /= 2)
        for (int i = 0; i < step; i++) l[i] = l[i] > l[i + step] ? l[i] : l[i + step];
    return l[0];
}
#endif

#endif
