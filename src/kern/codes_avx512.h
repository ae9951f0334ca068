/* codes.h with AVX-512 and VNNI: 64 codes are one vector, and 4 products of each lane add up at
 * once.
 * size: one short list of operations. */
#ifndef HOLDFAST_KERN_CODES_AVX512_H
#define HOLDFAST_KERN_CODES_AVX512_H

#include "kern/codes.h"

enum { CODES_VNNI = 1, CODES_ROWS = 16, GEMV_COLS = 4 };
typedef __m512i codes64, lanes_i32;

FORCE_INLINE codes64 codes_or(codes64 a, codes64 b) {
    return _mm512_or_si512(a, b);
}
FORCE_INLINE codes64 codes_add(codes64 a, int n) {
    return _mm512_add_epi8(a, _mm512_set1_epi8((char)n));
}
/* The first 32 bytes shifted right by a, the others by b bits (both left where negative). */
FORCE_INLINE codes64 codes_shift(__m512i v, int a, int b, int mask) {
    bool left = a + b < 0;
    __m512i n = _mm512_inserti64x4(_mm512_set1_epi16((short)(left ? -a : a)),
                                   _mm256_set1_epi16((short)(left ? -b : b)), 1);
    if (a || b) v = left ? _mm512_sllv_epi16(v, n) : _mm512_srlv_epi16(v, n);
    return _mm512_and_si512(v, _mm512_set1_epi8((char)mask));
}
/* Bits of the same 32 bytes, twice. */
FORCE_INLINE codes64 codes_twice(const void *p, int a, int b, int mask) {
    return codes_shift(_mm512_broadcast_i64x4(load256(p)), a, b, mask);
}
/* Bits of 64 bytes. */
FORCE_INLINE codes64 codes_of(const void *p, int shift, int mask) {
    return codes_shift(_mm512_loadu_si512(p), shift, shift, mask);
}
/* 32 bytes at a, 32 at b. */
FORCE_INLINE codes64 codes_bytes(const void *a, const void *b) {
    return _mm512_inserti64x4(_mm512_castsi256_si512(load256(a)), load256(b), 1);
}
/* The low nibbles of 16 bytes, their high nibbles; then those at b. */
FORCE_INLINE codes64 codes_nibbles(const void *a, const void *b) {
    __m256i v = _mm256_inserti128_si256(_mm256_castsi128_si256(load128(a)), load128(b), 1);
    __m512i twice = _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 1, 0, 1, 2, 3, 2, 3),
                                             _mm512_castsi256_si512(v));
    const __m512i shift = _mm512_setr_epi32(0, 0, 0, 0, 0x40004, 0x40004, 0x40004, 0x40004, 0, 0, 0,
                                            0, 0x40004, 0x40004, 0x40004, 0x40004);
    return _mm512_and_si512(_mm512_srlv_epi16(twice, shift), _mm512_set1_epi8(15));
}
/* bit in every byte whose bit of the 32 at a, the 32 at b, is set. */
FORCE_INLINE codes64 codes_bits(const void *a, const void *b, int bit) {
    uint64_t set = load_u32(a) | (uint64_t)load_u32(b) << 32;
    return _mm512_maskz_mov_epi8(set, _mm512_set1_epi8((char)bit));
}
FORCE_INLINE codes64 codes_look_up(const int8_t table[16], codes64 index) {
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(load128(table)), index);
}
/* The middle quarters of each 32 change places. */
FORCE_INLINE codes64 codes_swap(codes64 v) {
    return _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 1, 3, 4, 6, 5, 7), v);
}

/* The same by two loads and a permutation; nothing behind the last block is read. */
FORCE_INLINE __m256 block_halves(const void *p, int stride) {
    if (stride > 20) return gather_halves(p, stride);
    const int a = stride / 2, b = 32; /* words, from 4 blocks on */
    const __m512i at =
        _mm512_setr_epi32(a << 16, 3 * a << 16 | 2 * a, (a + b) << 16 | b,
                          (3 * a + b) << 16 | (2 * a + b), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    __m512i v = _mm512_permutex2var_epi16(_mm512_loadu_si512(p), at,
                                          _mm512_loadu_si512((const char *)p + 4 * stride));
    return _mm256_cvtph_ps(_mm512_castsi512_si128(v));
}
/* The pairs of f16 numbers at p, p + stride, .. */
FORCE_INLINE void block_pairs(const void *p, int stride, __m256 *first, __m256 *second) {
    const char *c = p;
    const int a = stride / 4, last = 6 * a - (2 * stride - 16); /* dwords */
    const __m512i at =
        _mm512_setr_epi32(0, a, 2 * a, 16, 16 + a, 16 + 2 * a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m512i end = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, last, last + a, 0, 0, 0, 0, 0, 0, 0, 0);
    __m512i v =
        _mm512_permutex2var_epi32(_mm512_loadu_si512(c), at, _mm512_loadu_si512(c + 3 * stride));
    v = _mm512_mask_permutexvar_epi32(v, 0xC0, end, _mm512_loadu_si512(c + 8 * stride - 64));
    const __m256i order = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15));
    __m256i w = _mm256_shuffle_epi8(_mm512_castsi512_si256(v), order);
    w = _mm256_permute4x64_epi64(w, 0xD8);
    *first = _mm256_cvtph_ps(_mm256_castsi256_si128(w));
    *second = _mm256_cvtph_ps(_mm256_extracti128_si256(w, 1));
}

FORCE_INLINE __m512i quads(const char *p, size_t stride) {
    __m512i v = _mm512_castsi128_si512(load128(p));
    v = _mm512_inserti32x4(v, load128(p + stride), 1);
    v = _mm512_inserti32x4(v, load128(p + 2 * stride), 2);
    return _mm512_inserti32x4(v, load128(p + 3 * stride), 3);
}

/* int8 numbers of 16 groups of 16, as int16 in the order that super_products wants: this one. */
FORCE_INLINE __m256i of_groups(__m128i bytes) {
    return _mm256_cvtepi8_epi16(bytes);
}
/* The same of 8 chunks, in the low 8 bytes. */
FORCE_INLINE __m256i of_chunks(__m128i bytes) {
    return _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(bytes, bytes));
}
FORCE_INLINE __m256i in_group_order(__m256i words) {
    return words;
}
/* Words in group order as dwords, and their pairs (of a chunk's groups), in a panel's order. */
FORCE_INLINE void panel_words(__m256i words, void *out) {
    _mm256_storeu_si256(out, _mm256_cvtepi16_epi32(_mm256_castsi256_si128(words)));
    _mm256_storeu_si256((__m256i *)out + 1,
                        _mm256_cvtepi16_epi32(_mm256_extracti128_si256(words, 1)));
}
FORCE_INLINE void panel_pairs(__m256i words, void *out) {
    _mm256_storeu_si256(out, words);
}
/* The place of a group's dword among panel_words. */
FORCE_INLINE int scale_at(int group) {
    return group;
}

/* CODES_ROWS rows of 4 dwords, stride bytes apart, to 4 columns that lie 64 bytes apart. Rows are
 * put beside each other as they are loaded, which leaves the shuffle unit half of the work. */
FORCE_INLINE void transpose_quads(const char *rows, size_t stride, char *out) {
    __m512i r[4], t[4];
    for (int i = 0; i < 4; i++) r[i] = quads(rows + (size_t)i * stride, 4 * stride);
    for (int i = 0; i < 4; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    __m512i x[4] = {_mm512_unpacklo_epi64(t[0], t[2]), _mm512_unpackhi_epi64(t[0], t[2]),
                    _mm512_unpacklo_epi64(t[1], t[3]), _mm512_unpackhi_epi64(t[1], t[3])};
    for (int i = 0; i < 4; i++) _mm512_storeu_si512(out + 64 * i, x[i]);
}

/* Sums of 4 products in 16 lanes. Signed codes have 128 added here, which the caller takes out. */
FORCE_INLINE __m512i codes_dot(bool is_signed, codes64 code, const int8_t *q) {
    if (is_signed) code = _mm512_xor_si512(code, _mm512_set1_epi8((char)0x80));
    return _mm512_dpbusd_epi32(_mm512_setzero_si512(), code, _mm512_loadu_si512(q));
}

/* Lanes that add up to the sum of scale * code * q of a super-block. scale: as of_groups
 * has them. 4 products of unsigned codes are an int16: the low half of a pair. */
FORCE_INLINE lanes_i32 super_products(bool is_signed, const codes64 code[4], __m256i scale,
                                      const int8_t q[256]) {
    __m512i sum = _mm512_setzero_si512(), s = _mm512_castsi256_si512(scale);
    for (int i = 0; i < 4; i++) {
        const int a = 4 * i, b = a + 1, c = a + 2, d = a + 3;
        const __m512i at = _mm512_setr_epi32(a, a, a, a, b, b, b, b, c, c, c, c, d, d, d, d);
        __m512i dot = codes_dot(is_signed, code[i], q + 64 * i);
        __m512i t = _mm512_maskz_permutexvar_epi16(0x55555555, at, s);
        if (is_signed) t = _mm512_mullo_epi32(dot, _mm512_madd_epi16(t, _mm512_set1_epi16(1)));
        sum = is_signed ? _mm512_add_epi32(sum, t) : _mm512_dpwssd_epi32(sum, dot, t);
    }
    return sum;
}

FORCE_INLINE __m256i fold(lanes_i32 v) {
    return _mm256_add_epi32(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
}
/* The sums of 4 vectors: of every quarter, in the 4 places of that quarter. */
FORCE_INLINE lanes_i32 add_quads(const lanes_i32 v[4]) {
    lanes_i32 a = _mm512_unpacklo_epi32(v[0], v[1]), b = _mm512_unpackhi_epi32(v[0], v[1]);
    lanes_i32 c = _mm512_unpacklo_epi32(v[2], v[3]), d = _mm512_unpackhi_epi32(v[2], v[3]);
    a = _mm512_add_epi32(a, b);
    c = _mm512_add_epi32(c, d);
    return _mm512_add_epi32(_mm512_unpacklo_epi64(a, c), _mm512_unpackhi_epi64(a, c));
}
FORCE_INLINE __m128i sum_lanes(const lanes_i32 v[4]) {
    __m256i x = fold(add_quads(v));
    return _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
}

/* The sums of code * q of the first (second) 16 of 8 chunks. */
FORCE_INLINE void chunk_products(bool is_signed, const codes64 code[4], const int8_t q[256],
                                 __m256i *first, __m256i *second) {
    __m512i v[4];
    for (int i = 0; i < 4; i++) v[i] = codes_dot(is_signed, code[i], q + 64 * i);
    __m512i x = add_quads(v); /* dword i of quarter g: group 4 * i + g */
    const __m512i even = _mm512_setr_epi32(0, 8, 1, 9, 2, 10, 3, 11, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m512i odd = _mm512_setr_epi32(4, 12, 5, 13, 6, 14, 7, 15, 0, 0, 0, 0, 0, 0, 0, 0);
    *first = _mm512_castsi512_si256(_mm512_permutexvar_epi32(even, x));
    *second = _mm512_castsi512_si256(_mm512_permutexvar_epi32(odd, x));
}

#endif
