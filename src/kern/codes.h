/* 64 codes (two chunks of 32 values, in element order) as one vector at the AVX-512 level and two
 * at AVX2's: how they come out of a block's bytes, and their products with activations. What is
 * above this file (unpack_x86.h, gemv_tmpl.h) is the same for both levels. The contracts stand at
 * the AVX-512 functions; AVX2's of the same names do the same. */
#ifndef HOLDFAST_KERN_CODES_H
#define HOLDFAST_KERN_CODES_H

#if !defined(HOLDFAST_SIMDE)
#include <immintrin.h>
#endif
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "kern/kern.h"

#define FORCE_INLINE static inline __attribute__((always_inline))

FORCE_INLINE __m256i load256(const void *p) {
    return _mm256_loadu_si256(p);
}
FORCE_INLINE __m128i load128(const void *p) {
    return _mm_loadu_si128(p);
}
FORCE_INLINE uint32_t load_u32(const void *p) {
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* The f16 numbers at p, p + stride, ..: of 8 blocks of stride bytes. */
FORCE_INLINE __m256 gather_halves(const void *p, int stride) {
    const char *c = p;
    uint16_t h[8];
    for (int i = 0; i < 8; i++) memcpy(&h[i], c + i * stride, sizeof *h);
    return _mm256_cvtph_ps(_mm_setr_epi16((short)h[0], (short)h[1], (short)h[2], (short)h[3],
                                          (short)h[4], (short)h[5], (short)h[6], (short)h[7]));
}

/* The sums of 4 vectors: of the low (high) halves in the 4 places of that half; of all lanes. */
FORCE_INLINE __m256i add_halves(const __m256i v[4]) {
    return _mm256_hadd_epi32(_mm256_hadd_epi32(v[0], v[1]), _mm256_hadd_epi32(v[2], v[3]));
}
FORCE_INLINE __m128i sum_halves(const __m256i v[4]) {
    __m256i x = add_halves(v);
    return _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
}

#if defined(__AVX512VNNI__) || defined(HOLDFAST_SIMDE)
#include "kern/codes_avx512.h"
#else
#include "kern/codes_avx2.h"
#endif

#endif
