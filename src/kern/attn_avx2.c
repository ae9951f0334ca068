/* Attention kernels: AVX2. */
#include "kern/attn.h"
#include "kern/levels.h"
#include "kern/simd.h"

#if defined(__AVX2__)
enum { COLS_AT_ONCE = 4 };

static inline __m256i load(const void *p) {
    return _mm256_loadu_si256((const __m256i *)p);
}
static inline void store(void *p, __m256i x) {
    _mm256_storeu_si256((__m256i *)p, x);
}
/* Four bytes in every lane. */
static inline __m256i spread(const void *p) {
    int32_t x;
    memcpy(&x, p, sizeof x);
    return _mm256_set1_epi32(x);
}

/* One chunk of 32 dims at 16 positions for C columns. |k| <= 127 and |q| <= 127, so a pair of
 * products fits int16. */
static ALWAYS_INLINE void dot_tile_q8(const uint8_t *k, const int8_t *const *q, int32_t *const *out,
                                      const int C) {
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i acc[2 * COLS_AT_ONCE];
    UNROLL for (int i = 0; i < 2 * C; i++) acc[i] = _mm256_setzero_si256();
    UNROLL for (int quad = 0; quad < 8; quad++) {
        __m256i a = load(k + quad * 64), b = load(k + quad * 64 + 32);
        __m256i abs_a = _mm256_abs_epi8(a), abs_b = _mm256_abs_epi8(b);
        UNROLL for (int c = 0; c < C; c++) {
            __m256i x = spread(q[c] + quad * 4);
            __m256i pa = _mm256_maddubs_epi16(abs_a, _mm256_sign_epi8(x, a));
            __m256i pb = _mm256_maddubs_epi16(abs_b, _mm256_sign_epi8(x, b));
            acc[2 * c] = _mm256_add_epi32(acc[2 * c], _mm256_madd_epi16(pa, ones));
            acc[2 * c + 1] = _mm256_add_epi32(acc[2 * c + 1], _mm256_madd_epi16(pb, ones));
            V_PIN(acc[2 * c]);
            V_PIN(acc[2 * c + 1]);
        }
    }
    UNROLL for (int c = 0; c < C; c++) {
        store(out[c], acc[2 * c]);
        store(out[c] + 8, acc[2 * c + 1]);
    }
}

/* The same for q4_0: byte codes of quads 2i (low) and 2i+1 (high). A chunk's products fit int16
 * (8 * 2 * 15 * 127); the codes' offset of 8 is taken off through the sum of q. */
static ALWAYS_INLINE void dot_tile_q4(const uint8_t *k, const int8_t *const *q, const int *q_sum,
                                      int32_t *const *out, const int C) {
    const __m256i nibble = _mm256_set1_epi8(15), ones = _mm256_set1_epi16(1);
    __m256i acc[2 * COLS_AT_ONCE];
    UNROLL for (int i = 0; i < 2 * C; i++) acc[i] = _mm256_setzero_si256();
    UNROLL for (int i = 0; i < 8; i++) {
        int side = i % 2;
        __m256i codes = load(k + i / 2 * 64 + side * 32);
        __m256i l = _mm256_and_si256(codes, nibble);
        __m256i h = _mm256_and_si256(_mm256_srli_epi16(codes, 4), nibble);
        UNROLL for (int c = 0; c < C; c++) {
            __m256i pl = _mm256_maddubs_epi16(l, spread(q[c] + i / 2 * 8));
            __m256i ph = _mm256_maddubs_epi16(h, spread(q[c] + i / 2 * 8 + 4));
            __m256i *s = &acc[2 * c + side];
            *s = _mm256_add_epi16(*s, _mm256_add_epi16(pl, ph));
            V_PIN(*s);
        }
    }
    UNROLL for (int i = 0; i < 2 * C; i++) {
        __m256i sum = _mm256_madd_epi16(acc[i], ones);
        store(out[i / 2] + i % 2 * 8, _mm256_sub_epi32(sum, _mm256_set1_epi32(8 * q_sum[i / 2])));
    }
}

static ALWAYS_INLINE void dot_tile(bool q4, const uint8_t *k, const int8_t *const *q,
                                   const int *q_sum, int32_t *const *out, const int C) {
    if (q4) dot_tile_q4(k, q, q_sum, out, C);
    else dot_tile_q8(k, q, out, C);
}

/* Sum of one column's P, for the offset of q4_0 codes. */
static inline int32_t sum_weights(const int16_t *P) {
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i s = _mm256_madd_epi16(load(P), ones);
    for (int i = 16; i < ATTN_UNIT; i += 16)
        s = _mm256_add_epi32(s, _mm256_madd_epi16(load(P + i), ones));
    __m128i h = _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
    h = _mm_add_epi32(h, _mm_shuffle_epi32(h, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(h, _mm_shuffle_epi32(h, 0xb1)));
}

/* Half a group's 16 dims of C columns over the position pairs [pair0, pair1). q8_0: 8 dims in each
 * vector, in order. q4_0: 8 bytes' low nibbles (dims e) and high nibbles (16 + e), as 0..15. */
static ALWAYS_INLINE void mix_half(bool q4, const uint8_t *v, int stride, int half, int pair0,
                                   int pair1, const int16_t *P, int32_t *sums, const int C) {
    __m256i acc[2 * COLS_AT_ONCE];
    UNROLL for (int i = 0; i < 2 * C; i++) acc[i] = _mm256_setzero_si256();
    for (int i = pair0; i < pair1; i++) {
        const __m128i *at = (const __m128i *)(v + i * stride + half * (q4 ? 16 : 32));
        __m256i a = q4 ? _mm256_cvtepu8_epi16(_mm_loadu_si128(at))
                       : _mm256_cvtepi8_epi16(_mm_loadu_si128(at));
        __m256i b = q4 ? _mm256_srli_epi16(a, 4) : _mm256_cvtepi8_epi16(_mm_loadu_si128(at + 1));
        if (q4) a = _mm256_and_si256(a, _mm256_set1_epi16(15));
        UNROLL for (int c = 0; c < C; c++) {
            __m256i x = spread(P + c * ATTN_UNIT + 2 * i);
            acc[2 * c] = _mm256_add_epi32(acc[2 * c], _mm256_madd_epi16(a, x));
            acc[2 * c + 1] = _mm256_add_epi32(acc[2 * c + 1], _mm256_madd_epi16(b, x));
            V_PIN(acc[2 * c]);
            V_PIN(acc[2 * c + 1]);
        }
    }
    UNROLL for (int c = 0; c < C; c++) {
        __m256i o = _mm256_set1_epi32(q4 ? 8 * sum_weights(P + c * ATTN_UNIT) : 0);
        int32_t *out = sums + c * 32 + half * (q4 ? 8 : 16);
        store(out, _mm256_sub_epi32(acc[2 * c], o));
        store(out + (q4 ? 16 : 8), _mm256_sub_epi32(acc[2 * c + 1], o));
    }
}

static ALWAYS_INLINE void mix_tile(bool q4, const uint8_t *v, int stride, int pair0, int pair1,
                                   const int16_t *P, int32_t *sums, const int C) {
    for (int half = 0; half < 2; half++) mix_half(q4, v, stride, half, pair0, pair1, P, sums, C);
}

#include "kern/attn_cols_tmpl.h"

#define ATTN_FILL kern_attn_avx2
#include "kern/attn_tmpl.h"
#endif
