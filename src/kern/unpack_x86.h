/* What a block of each type holds, as vectors: the one place where the AVX2 and AVX-512 levels
 * know a type's bits. Codes come in element order, 64 at a time (codes.h); a type's offset (q - 8,
 * ...) stays in the codes and is taken out through the sums of the activations. size: one unpack
 * per type. */
#ifndef HOLDFAST_KERN_UNPACK_X86_H
#define HOLDFAST_KERN_UNPACK_X86_H

#include <stdint.h>
#include <string.h>

#include "kern/codes.h"
#include "quant/blocks.h"
#include "quant/quant.h"

/* A super-block. Scales and mins are int16, one per group of 16, in the order of of_groups:
 * y = d * scale * code - dmin * min. */
struct super_vec {
    codes64 code[4];
    __m256i scale, min;
    float d, dmin;
};

/* Of 8 chunks of a 32-wide type: y = d * code + m. nvfp4 has a d for each half of a chunk. */
struct chunk_scales {
    __m256 d[2], m;
};

static inline __m128i load64(const void *p) {
    return _mm_loadl_epi64(p);
}
static inline __m128i load32(const void *p) {
    return _mm_cvtsi32_si128((int)load_u32(p));
}
static inline float load_half(uint16_t h) {
    return _cvtsh_ss(h);
}
static inline void unpack_q2_k(const void *p, struct super_vec *u) {
    const struct block_q2_k *b = p;
    const __m128i nibble = _mm_set1_epi8(15);
    __m128i s = load128(b->scales);
    u->scale = of_groups(_mm_and_si128(s, nibble));
    u->min = of_groups(_mm_and_si128(_mm_srli_epi16(s, 4), nibble));
    u->d = load_half(b->d);
    u->dmin = load_half(b->dmin);
    for (int i = 0; i < 4; i++)
        u->code[i] = codes_twice(b->qs + i / 2 * 32, i % 2 * 4, i % 2 * 4 + 2, 3);
}

static inline void unpack_q3_k(const void *p, struct super_vec *u) {
    const struct block_q3_k *b = p;
    const __m128i nibble = _mm_set1_epi8(15), two = _mm_set1_epi8(3);
    __m128i low = load64(b->scales), high = _mm_shuffle_epi32(load32(b->scales + 8), 0);
    low = _mm_and_si128(_mm_unpacklo_epi64(low, _mm_srli_epi16(low, 4)), nibble);
    high = _mm_and_si128(_mm_srlv_epi32(high, _mm_setr_epi32(0, 2, 4, 6)), two);
    low = _mm_or_si128(low, _mm_slli_epi16(high, 4));
    u->scale = of_groups(_mm_sub_epi8(low, _mm_set1_epi8(32)));
    u->d = load_half(b->d);
    for (int i = 0; i < 4; i++)
        u->code[i] = codes_or(codes_twice(b->qs + i / 2 * 32, i % 2 * 4, i % 2 * 4 + 2, 3),
                              codes_twice(b->hmask, 2 * i - 2, 2 * i - 1, 4));
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
    low = _mm_or_si128(low, high);
    u->scale = of_chunks(low);
    u->min = of_chunks(_mm_srli_si128(low, 8));
    __m128 d = _mm_cvtph_ps(v);
    u->d = _mm_cvtss_f32(d);
    u->dmin = _mm_cvtss_f32(_mm_movehdup_ps(d));
}

static inline void unpack_q4_k(const void *p, struct super_vec *u) {
    const struct block_q4_k *b = p;
    unpack_k4_head(b, u);
    for (int i = 0; i < 4; i++) u->code[i] = codes_twice(b->qs + 32 * i, 0, 4, 15);
}

static inline void unpack_q5_k(const void *p, struct super_vec *u) {
    const struct block_q5_k *b = p;
    unpack_k4_head(b, u);
    for (int i = 0; i < 4; i++)
        u->code[i] = codes_or(codes_twice(b->qs + 32 * i, 0, 4, 15),
                              codes_twice(b->qh, 2 * i - 4, 2 * i - 3, 16));
}

static inline void unpack_q6_k(const void *p, struct super_vec *u) {
    const struct block_q6_k *b = p;
    u->scale = of_groups(load128(b->scales));
    u->d = load_half(b->d);
    for (int i = 0; i < 4; i++) {
        codes64 low = codes_of(b->ql + i / 2 * 64, i % 2 * 4, 15);
        int shift = i % 2 * 4 - 4;
        u->code[i] = codes_or(low, codes_twice(b->qh + i / 2 * 32, shift, shift + 2, 48));
    }
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
    low = _mm_packs_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
    u->scale = of_chunks(_mm_packs_epi16(low, low));
    u->d = load_half(b->d);
    for (int i = 0; i < 4; i++)
        u->code[i] =
            codes_look_up(quant_iq4_code, codes_nibbles(b->qs + 32 * i, b->qs + 32 * i + 16));
}

/* ---- 32-wide types: the codes of chunks j and j + 1 of a row ---- */

static inline codes64 unpack_q4_0(const void *row, int64_t j) {
    const struct block_q4_0 *b = (const struct block_q4_0 *)row + j;
    return codes_nibbles(b[0].qs, b[1].qs);
}

static inline codes64 unpack_q4_1(const void *row, int64_t j) {
    const struct block_q4_1 *b = (const struct block_q4_1 *)row + j;
    return codes_nibbles(b[0].qs, b[1].qs);
}

static inline codes64 unpack_q5_0(const void *row, int64_t j) {
    const struct block_q5_0 *b = (const struct block_q5_0 *)row + j;
    return codes_or(codes_nibbles(b[0].qs, b[1].qs), codes_bits(b[0].qh, b[1].qh, 16));
}

static inline codes64 unpack_q5_1(const void *row, int64_t j) {
    const struct block_q5_1 *b = (const struct block_q5_1 *)row + j;
    return codes_or(codes_nibbles(b[0].qs, b[1].qs), codes_bits(b[0].qh, b[1].qh, 16));
}

static inline codes64 unpack_q8_0(const void *row, int64_t j) {
    const struct block_q8_0 *b = (const struct block_q8_0 *)row + j;
    return codes_bytes(b[0].qs, b[1].qs);
}

static inline codes64 unpack_iq4_nl(const void *row, int64_t j) {
    const struct block_iq4_nl *b = (const struct block_iq4_nl *)row + j;
    return codes_look_up(quant_iq4_code, codes_nibbles(b[0].qs, b[1].qs));
}

/* FP4 codes are -12..12, here with 12 added. */
enum { FP4_OFFSET = 12 };
static inline codes64 fp4_codes(codes64 index) {
    return codes_add(codes_look_up(quant_fp4_code, index), FP4_OFFSET);
}

static inline codes64 unpack_mxfp4(const void *row, int64_t j) {
    const struct block_mxfp4 *b = (const struct block_mxfp4 *)row + j;
    return fp4_codes(codes_nibbles(b[0].qs, b[1].qs));
}

static inline codes64 unpack_nvfp4(const void *row, int64_t j) {
    const uint8_t *qs = ((const struct block_nvfp4 *)row + j / 2)->qs;
    return fp4_codes(codes_swap(codes_nibbles(qs, qs + 16))); /* 8 bytes are a group of 16 */
}

/* ---- 32-wide types: the scales of chunks j..j+7 ---- */

#define SCALES(type)                                                                               \
    static inline void scales_##type(const void *row, int64_t j, struct chunk_scales *u) {         \
        const struct block_##type *b = (const struct block_##type *)row + j;                       \
        u->d[0] = block_halves(&b->d, sizeof *b);                                                  \
    }
SCALES(q4_0)
SCALES(q5_0)
SCALES(q8_0)
SCALES(iq4_nl)
#undef SCALES

static inline void scales_q4_1(const void *row, int64_t j, struct chunk_scales *u) {
    const struct block_q4_1 *b = (const struct block_q4_1 *)row + j;
    block_pairs(&b->d, sizeof *b, &u->d[0], &u->m);
}

static inline void scales_q5_1(const void *row, int64_t j, struct chunk_scales *u) {
    const struct block_q5_1 *b = (const struct block_q5_1 *)row + j;
    block_pairs(&b->d, sizeof *b, &u->d[0], &u->m);
}

static inline void scales_mxfp4(const void *row, int64_t j, struct chunk_scales *u) {
    const struct block_mxfp4 *b = (const struct block_mxfp4 *)row + j;
    __m256i e = _mm256_setr_epi32(b[0].e, b[1].e, b[2].e, b[3].e, b[4].e, b[5].e, b[6].e, b[7].e);
    const __m256i one = _mm256_set1_epi32(1);
    __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(e, one), 23);
    __m256i tiny = _mm256_sllv_epi32(_mm256_set1_epi32(0x00200000), e);
    u->d[0] = _mm256_castsi256_ps(_mm256_blendv_epi8(tiny, normal, _mm256_cmpgt_epi32(e, one)));
}

/* Scales of 8 groups of 16: their bits make a float 2^119 too small, subnormals included. */
static inline __m256 ue4m3_halves(__m128i bytes) {
    __m256i d = _mm256_cvtepu8_epi32(bytes), zero = _mm256_cmpeq_epi32(d, _mm256_set1_epi32(0x7F));
    d = _mm256_slli_epi32(_mm256_and_si256(d, _mm256_set1_epi32(0x7F)), 20);
    d = _mm256_andnot_si256(zero, d);
    return _mm256_mul_ps(_mm256_castsi256_ps(d), _mm256_set1_ps(0x1p119f));
}
static inline void scales_nvfp4(const void *row, int64_t j, struct chunk_scales *u) {
    const struct block_nvfp4 *b = (const struct block_nvfp4 *)row + j / 2;
    uint32_t d[4];
    for (int i = 0; i < 4; i++) memcpy(&d[i], b[i].d, sizeof *d);
    __m128i bytes = _mm_setr_epi32((int)d[0], (int)d[1], (int)d[2], (int)d[3]);
    for (int half = 0; half < 2; half++) {
        __m128i v = _mm_srli_epi16(half ? bytes : _mm_slli_epi16(bytes, 8), 8);
        u->d[half] = ue4m3_halves(_mm_packus_epi16(v, v));
    }
}

#endif
