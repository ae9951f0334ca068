/* Attention kernels: AVX-512 (VNNI). A vector holds 16 positions of K or 16 dims of V. */
#include "kern/attn.h"
#include "kern/levels.h"
#include "kern/simd.h"

#if defined(__AVX512VNNI__)
enum { COLS_AT_ONCE = 8 };

/* Four bytes in every lane; a product reads them from memory at no cost. */
static inline __m512i spread(const void *p) {
    int32_t x;
    memcpy(&x, p, sizeof x);
    return _mm512_set1_epi32(x);
}

/* One chunk of 32 dims at 16 positions for C columns. K is the unsigned side: the 128 added to its
 * codes (q4_0: the 8 they stand above) is taken off through the sum of q. */
static ALWAYS_INLINE void dot_tile(bool q4, const uint8_t *k, const int8_t *const *q,
                                   const int *q_sum, int32_t *const *out, const int C) {
    const __m512i top = _mm512_set1_epi8((char)0x80), nibble = _mm512_set1_epi8(15);
    __m512i acc[COLS_AT_ONCE];
    UNROLL for (int c = 0; c < C; c++) acc[c] = _mm512_set1_epi32(q_sum[c] * (q4 ? -8 : -128));
    UNROLL for (int i = 0; i < 4; i++) {
        __m512i a = _mm512_loadu_si512(k + i * (q4 ? 64 : 128)), b;
        if (q4) {
            b = _mm512_and_si512(_mm512_srli_epi16(a, 4), nibble);
            a = _mm512_and_si512(a, nibble);
        } else {
            b = _mm512_xor_si512(_mm512_loadu_si512(k + i * 128 + 64), top);
            a = _mm512_xor_si512(a, top);
        }
        UNROLL for (int c = 0; c < C; c++) {
            acc[c] = _mm512_dpbusd_epi32(acc[c], a, spread(q[c] + 8 * i));
            acc[c] = _mm512_dpbusd_epi32(acc[c], b, spread(q[c] + 8 * i + 4));
            V_PIN(acc[c]);
        }
    }
    UNROLL for (int c = 0; c < C; c++) _mm512_storeu_si512(out[c], acc[c]);
}

/* A group's 32 dims of C columns over the position pairs [pair0, pair1), 16 dims a vector. */
static ALWAYS_INLINE void mix_tile(bool q4, const uint8_t *v, int stride, int pair0, int pair1,
                                   const int16_t *P, int32_t *sums, const int C) {
    __m512i acc[2 * COLS_AT_ONCE];
    UNROLL for (int i = 0; i < 2 * C; i++) acc[i] = _mm512_setzero_si512();
    for (int i = pair0; i < pair1; i++) {
        const __m256i *at = (const __m256i *)(v + i * stride);
        __m512i a = q4 ? _mm512_cvtepu8_epi16(_mm256_loadu_si256(at))
                       : _mm512_cvtepi8_epi16(_mm256_loadu_si256(at));
        __m512i b = q4 ? _mm512_srli_epi16(a, 4) : _mm512_cvtepi8_epi16(_mm256_loadu_si256(at + 1));
        if (q4) {
            const __m512i offset = _mm512_set1_epi16(8);
            a = _mm512_sub_epi16(_mm512_and_si512(a, _mm512_set1_epi16(15)), offset);
            b = _mm512_sub_epi16(b, offset);
        }
        UNROLL for (int c = 0; c < C; c++) {
            __m512i x = spread(P + c * ATTN_UNIT + 2 * i);
            acc[2 * c] = _mm512_dpwssd_epi32(acc[2 * c], a, x);
            acc[2 * c + 1] = _mm512_dpwssd_epi32(acc[2 * c + 1], b, x);
            V_PIN(acc[2 * c]);
            V_PIN(acc[2 * c + 1]);
        }
    }
    UNROLL for (int c = 0; c < C; c++) {
        _mm512_storeu_si512(sums + c * 32, acc[2 * c]);
        _mm512_storeu_si512(sums + c * 32 + 16, acc[2 * c + 1]);
    }
}

#include "kern/attn_cols_tmpl.h"

#define ATTN_FILL kern_attn_avx512
#include "kern/attn_tmpl.h"
#endif
