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

/* Every tile that holds a visible position, every chunk. */
static ALWAYS_INLINE void dot_cols(bool q4, const uint8_t *codes, const struct attn_query *q,
                                   int c0, int32_t *sums, const int C) {
    int dp = attn_pad32(q->dim), chunks = dp / 32, tile_bytes = dp * (q4 ? 8 : 16);
    for (int j = 0; j < chunks; j++) {
        const int8_t *x[COLS_AT_ONCE];
        int x_sum[COLS_AT_ONCE];
        for (int c = 0; c < C; c++) {
            const struct act_block *b = q->q + (c0 + c) * act_blocks(dp) + j / 8;
            x[c] = b->q + j % 8 * 32;
            x_sum[c] = b->sum[j % 8 * 2] + b->sum[j % 8 * 2 + 1];
        }
        for (int tile = q->lo / 16; tile * 16 < q->hi; tile++) {
            const uint8_t *k = codes + tile * tile_bytes + j * (q4 ? 256 : 512);
            int32_t *out[COLS_AT_ONCE];
            for (int c = 0; c < C; c++) out[c] = sums + (c * chunks + j) * ATTN_UNIT + tile * 16;
            dot_tile(q4, k, x, x_sum, out, C);
        }
    }
}
#define DOT(name, q4)                                                                              \
    static void name(const void *codes, const struct attn_query *q, int c0, int n,                 \
                     int32_t *sums) {                                                              \
        if (n == 8) dot_cols(q4, codes, q, c0, sums, 8);                                           \
        if (n == 4) dot_cols(q4, codes, q, c0, sums, 4);                                           \
        if (n == 3) dot_cols(q4, codes, q, c0, sums, 3);                                           \
        if (n == 2) dot_cols(q4, codes, q, c0, sums, 2);                                           \
        if (n == 1) dot_cols(q4, codes, q, c0, sums, 1);                                           \
    }
DOT(dot_q8, false)
DOT(dot_q4, true)

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

static ALWAYS_INLINE void mix_cols(bool q4, const uint8_t *codes, int dim, int group,
                                   const struct attn_step *st, const int16_t *P, int32_t *sums) {
    int stride = attn_pad32(dim) * (q4 ? 1 : 2), pair0 = st->lo / 2, pair1 = (st->hi + 1) / 2;
    const uint8_t *v = codes + group * (q4 ? 32 : 64);
    for (int c = 0, n; c < st->n; c += n) {
        const int16_t *w = P + c * ATTN_UNIT;
        int32_t *out = sums + c * 32;
        n = attn_next_cols(st->n - c, COLS_AT_ONCE);
        if (n == 8) mix_tile(q4, v, stride, pair0, pair1, w, out, 8);
        if (n == 4) mix_tile(q4, v, stride, pair0, pair1, w, out, 4);
        if (n == 3) mix_tile(q4, v, stride, pair0, pair1, w, out, 3);
        if (n == 2) mix_tile(q4, v, stride, pair0, pair1, w, out, 2);
        if (n == 1) mix_tile(q4, v, stride, pair0, pair1, w, out, 1);
    }
}
static void mix_q8(const void *codes, int dim, int group, const struct attn_step *st,
                   const int16_t *P, int32_t *sums) {
    mix_cols(false, codes, dim, group, st, P, sums);
}
static void mix_q4(const void *codes, int dim, int group, const struct attn_step *st,
                   const int16_t *P, int32_t *sums) {
    mix_cols(true, codes, dim, group, st, P, sums);
}

#define ATTN_FILL kern_attn_avx512
#include "kern/attn_tmpl.h"
#endif
