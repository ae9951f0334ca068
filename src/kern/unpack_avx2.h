/* What a block of each type holds, as vectors: the one place where the AVX2 and AVX-512 levels
 * know a type's bits. Codes come in element order, 32 to a vector; a type's offset (q - 8, ...)
 * stays in the codes and is taken out through the sums of the activations.
 * size: one unpack per type. */
#ifndef HOLDFAST_KERN_UNPACK_AVX2_H
#define HOLDFAST_KERN_UNPACK_AVX2_H

#if !defined(HOLDFAST_SIMDE)
#include <immintrin.h>
#endif
#include <stdint.h>
#include <string.h>

#include "quant/blocks.h"
#include "quant/quant.h"

/* A super-block. Scales and mins are int16, those of the groups of 16 with even index in the low
 * half, those with odd index in the high half: y = d * scale * code - dmin * min. */
struct super_vec {
    __m256i code[8], scale, min;
    float d, dmin;
};

static inline __m256i load256(const void *p) {
    return _mm256_loadu_si256(p);
}
static inline __m128i load128(const void *p) {
    return _mm_loadu_si128(p);
}
static inline __m128i load64(const void *p) {
    return _mm_loadl_epi64(p);
}
static inline __m128i load32(const void *p) {
    int32_t v;
    memcpy(&v, p, sizeof v);
    return _mm_cvtsi32_si128(v);
}
static inline float load_half(uint16_t h) {
    return _cvtsh_ss(h);
}
static inline __m256i and_byte(__m256i v, int mask) {
    return _mm256_and_si256(v, _mm256_set1_epi8((char)mask));
}
/* Bits of every byte moved right (left for n < 0); what crosses a byte has to be masked off. */
static inline __m256i shift_bytes(__m256i v, int n) {
    return n < 0 ? _mm256_slli_epi16(v, -n) : _mm256_srli_epi16(v, n);
}
/* 16 bytes, one per group of 16, as int16 in the order of struct super_vec. */
static inline __m256i spread_scales(__m128i bytes) {
    const __m128i order = _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
    return _mm256_cvtepi8_epi16(_mm_shuffle_epi8(bytes, order));
}

static inline void unpack_q2_k(const void *p, struct super_vec *u) {
    const struct block_q2_k *b = p;
    const __m128i nibble = _mm_set1_epi8(15);
    __m128i s = load128(b->scales);
    u->scale = spread_scales(_mm_and_si128(s, nibble));
    u->min = spread_scales(_mm_and_si128(_mm_srli_epi16(s, 4), nibble));
    u->d = load_half(b->d);
    u->dmin = load_half(b->dmin);
    for (int n = 0; n < 2; n++) {
        __m256i v = load256(b->qs + 32 * n);
        for (int i = 0; i < 4; i++) u->code[4 * n + i] = and_byte(shift_bytes(v, 2 * i), 3);
    }
}

static inline void unpack_q3_k(const void *p, struct super_vec *u) {
    const struct block_q3_k *b = p;
    const __m128i nibble = _mm_set1_epi8(15), two = _mm_set1_epi8(3);
    __m128i low = load64(b->scales), high = _mm_shuffle_epi32(load32(b->scales + 8), 0);
    low = _mm_and_si128(_mm_unpacklo_epi64(low, _mm_srli_epi16(low, 4)), nibble);
    high = _mm_and_si128(_mm_srlv_epi32(high, _mm_setr_epi32(0, 2, 4, 6)), two);
    low = _mm_or_si128(low, _mm_slli_epi16(high, 4));
    u->scale = spread_scales(_mm_sub_epi8(low, _mm_set1_epi8(32)));
    u->d = load_half(b->d);
    __m256i h = load256(b->hmask);
    for (int n = 0; n < 2; n++) {
        __m256i v = load256(b->qs + 32 * n);
        for (int i = 0; i < 4; i++)
            u->code[4 * n + i] = _mm256_or_si256(and_byte(shift_bytes(v, 2 * i), 3),
                                                 and_byte(shift_bytes(h, 4 * n + i - 2), 4));
    }
}

/* The first 16 bytes of q4_k and q5_k: d, dmin and 12 bytes of 6-bit scales and mins (blocks.h:
 * quant_k4_scale), each for two groups of 16. */
static inline void unpack_k4_head(const void *block, struct super_vec *u) {
    const __m128i low_at = _mm_setr_epi8(4, 5, 6, 7, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m128i high_at = _mm_setr_epi8(-1, -1, -1, -1, 4, 5, 6, 7, -1, -1, -1, -1, 8, 9, 10, 11);
    const __m128i low_mask = _mm_setr_epi32(0x3F3F3F3F, 0x0F0F0F0F, 0x3F3F3F3F, 0x0F0F0F0F);
    __m128i v = load128(block);
    __m128i low = _mm_srlv_epi32(_mm_shuffle_epi8(v, low_at), _mm_setr_epi32(0, 0, 0, 4));
    __m128i high = _mm_srli_epi32(_mm_shuffle_epi8(v, high_at), 2);
    low = _mm_and_si128(low, low_mask);
    high = _mm_and_si128(high, _mm_set1_epi8(0x30));
    __m256i both = _mm256_cvtepi8_epi16(_mm_or_si128(low, high));
    u->scale = _mm256_permute4x64_epi64(both, 0x44);
    u->min = _mm256_permute4x64_epi64(both, 0xEE);
    __m128 d = _mm_cvtph_ps(v);
    u->d = _mm_cvtss_f32(d);
    u->dmin = _mm_cvtss_f32(_mm_movehdup_ps(d));
}

static inline void unpack_q4_k(const void *p, struct super_vec *u) {
    const struct block_q4_k *b = p;
    unpack_k4_head(b, u);
    for (int i = 0; i < 4; i++) {
        __m256i v = load256(b->qs + 32 * i);
        u->code[2 * i] = and_byte(v, 15);
        u->code[2 * i + 1] = and_byte(shift_bytes(v, 4), 15);
    }
}

static inline void unpack_q5_k(const void *p, struct super_vec *u) {
    const struct block_q5_k *b = p;
    unpack_k4_head(b, u);
    __m256i h = load256(b->qh);
    for (int i = 0; i < 8; i++)
        u->code[i] =
            _mm256_or_si256(and_byte(shift_bytes(load256(b->qs + 32 * (i / 2)), i % 2 * 4), 15),
                            and_byte(shift_bytes(h, i - 4), 16));
}

static inline void unpack_q6_k(const void *p, struct super_vec *u) {
    const struct block_q6_k *b = p;
    u->scale = spread_scales(load128(b->scales));
    u->d = load_half(b->d);
    for (int i = 0; i < 8; i++) {
        __m256i low = load256(b->ql + i / 4 * 64 + i % 2 * 32), high = load256(b->qh + i / 4 * 32);
        u->code[i] = _mm256_or_si256(and_byte(shift_bytes(low, i % 4 / 2 * 4), 15),
                                     and_byte(shift_bytes(high, i % 4 * 2 - 4), 48));
    }
}

/* Low nibbles of 16 bytes in the low half, high nibbles in the high half. */
static inline __m256i nibbles(const uint8_t *qs) {
    __m128i v = load128(qs);
    return and_byte(_mm256_set_m128i(_mm_srli_epi16(v, 4), v), 15);
}
static inline __m256i look_up(const int8_t table[16], __m256i index) {
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(load128(table)), index);
}

static inline void unpack_iq4_xs(const void *p, struct super_vec *u) {
    const struct block_iq4_xs *b = p;
    __m128i low = load32(b->scales_l);
    low = _mm_and_si128(_mm_unpacklo_epi8(low, _mm_srli_epi16(low, 4)), _mm_set1_epi8(15));
    __m256i high = _mm256_srlv_epi32(_mm256_set1_epi32(b->scales_h),
                                     _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14));
    high = _mm256_slli_epi32(_mm256_and_si256(high, _mm256_set1_epi32(3)), 4);
    __m256i s = _mm256_or_si256(_mm256_cvtepu8_epi32(low), high);
    s = _mm256_sub_epi32(s, _mm256_set1_epi32(32));
    u->scale = _mm256_permute4x64_epi64(_mm256_packs_epi32(s, s), 0x88);
    u->d = load_half(b->d);
    for (int i = 0; i < 8; i++) u->code[i] = look_up(quant_iq4_code, nibbles(b->qs + 16 * i));
}

/* ---- 32-wide types: the codes of chunk j of a row ---- */

static inline __m256i unpack_q4_0(const void *row, int64_t j) {
    return nibbles(((const struct block_q4_0 *)row + j)->qs);
}

static inline __m256i unpack_q4_1(const void *row, int64_t j) {
    return nibbles(((const struct block_q4_1 *)row + j)->qs);
}

/* 16 in every byte whose bit of the 32 is set. */
static inline __m256i fifth_bits(const uint8_t qh[4]) {
    const __m256i source =
        _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const __m256i bit = _mm256_set1_epi64x((int64_t)0x8040201008040201u);
    __m256i v = _mm256_shuffle_epi8(_mm256_broadcastd_epi32(load32(qh)), source);
    return and_byte(_mm256_cmpeq_epi8(_mm256_and_si256(v, bit), bit), 16);
}

static inline __m256i unpack_q5_0(const void *row, int64_t j) {
    const struct block_q5_0 *b = (const struct block_q5_0 *)row + j;
    return _mm256_or_si256(nibbles(b->qs), fifth_bits(b->qh));
}

static inline __m256i unpack_q5_1(const void *row, int64_t j) {
    const struct block_q5_1 *b = (const struct block_q5_1 *)row + j;
    return _mm256_or_si256(nibbles(b->qs), fifth_bits(b->qh));
}

static inline __m256i unpack_q8_0(const void *row, int64_t j) {
    return load256(((const struct block_q8_0 *)row + j)->qs);
}

static inline __m256i unpack_iq4_nl(const void *row, int64_t j) {
    return look_up(quant_iq4_code, nibbles(((const struct block_iq4_nl *)row + j)->qs));
}

/* FP4 codes are -12..12, here with 12 added. */
enum { FP4_OFFSET = 12 };
static inline __m256i fp4_codes(__m256i index) {
    return _mm256_add_epi8(look_up(quant_fp4_code, index), _mm256_set1_epi8(FP4_OFFSET));
}

static inline __m256i unpack_mxfp4(const void *row, int64_t j) {
    return fp4_codes(nibbles(((const struct block_mxfp4 *)row + j)->qs));
}

static inline __m256i unpack_nvfp4(const void *row, int64_t j) {
    __m256i v = nibbles(((const struct block_nvfp4 *)row + j / 2)->qs + j % 2 * 16);
    return fp4_codes(_mm256_permute4x64_epi64(v, 0xD8)); /* group 0 low, high, group 1 low, high */
}

/* ---- 32-wide types: the scales of chunks j..j+7 ---- */

/* f16 numbers at p, p + stride, ... */
static inline __m256 gather_halves(const void *p, size_t stride) {
    const char *c = p;
    uint16_t h[8];
    for (int i = 0; i < 8; i++) memcpy(&h[i], c + (size_t)i * stride, sizeof *h);
    return _mm256_cvtph_ps(_mm_setr_epi16((short)h[0], (short)h[1], (short)h[2], (short)h[3],
                                          (short)h[4], (short)h[5], (short)h[6], (short)h[7]));
}
#define HALVES(type, field)                                                                        \
    static inline __m256 field##_##type(const void *row, int64_t j) {                              \
        return gather_halves(&((const struct block_##type *)row + j)->field,                       \
                             sizeof(struct block_##type));                                         \
    }
HALVES(q4_0, d)
HALVES(q4_1, d)
HALVES(q4_1, m)
HALVES(q5_0, d)
HALVES(q5_1, d)
HALVES(q5_1, m)
HALVES(q8_0, d)
HALVES(iq4_nl, d)
#undef HALVES

static inline __m256 d_mxfp4(const void *row, int64_t j) {
    const struct block_mxfp4 *b = (const struct block_mxfp4 *)row + j;
    __m256i e = _mm256_setr_epi32(b[0].e, b[1].e, b[2].e, b[3].e, b[4].e, b[5].e, b[6].e, b[7].e);
    const __m256i one = _mm256_set1_epi32(1);
    __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(e, one), 23);
    __m256i tiny = _mm256_sllv_epi32(_mm256_set1_epi32(0x00200000), e);
    return _mm256_castsi256_ps(_mm256_blendv_epi8(tiny, normal, _mm256_cmpgt_epi32(e, one)));
}

/* Scales of 8 groups of 16: their bits make a float 2^119 too small, subnormals included. */
static inline __m256 ue4m3_halves(__m128i bytes) {
    __m256i d = _mm256_cvtepu8_epi32(bytes), zero = _mm256_cmpeq_epi32(d, _mm256_set1_epi32(0x7F));
    d = _mm256_slli_epi32(_mm256_and_si256(d, _mm256_set1_epi32(0x7F)), 20);
    d = _mm256_andnot_si256(zero, d);
    return _mm256_mul_ps(_mm256_castsi256_ps(d), _mm256_set1_ps(0x1p119f));
}
/* The scales of the first (half 0) or second 16 of chunks j..j+7. */
static inline __m256 d_nvfp4(const void *row, int64_t j, int half) {
    const struct block_nvfp4 *b = (const struct block_nvfp4 *)row + j / 2;
    uint32_t d[4];
    for (int i = 0; i < 4; i++) memcpy(&d[i], b[i].d, sizeof *d);
    __m128i bytes = _mm_setr_epi32((int)d[0], (int)d[1], (int)d[2], (int)d[3]);
    bytes = _mm_srli_epi16(half ? bytes : _mm_slli_epi16(bytes, 8), 8);
    return ue4m3_halves(_mm_packus_epi16(bytes, bytes));
}

#endif
