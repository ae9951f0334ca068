/* codes.h with AVX2: 64 codes are two vectors; products add up in pairs of int16.
 * size: one short list of operations. */
#ifndef HOLDFAST_KERN_CODES_AVX2_H
#define HOLDFAST_KERN_CODES_AVX2_H

#include "kern/codes.h"

enum { CODES_VNNI = 0, CODES_ROWS = 8, GEMV_COLS = 8 };
typedef struct {
    __m256i h[2];
} codes64;
typedef __m256i lanes_i32;

FORCE_INLINE __m256i and_byte(__m256i v, int mask) {
    return _mm256_and_si256(v, _mm256_set1_epi8((char)mask));
}
FORCE_INLINE __m256i shift_bytes(__m256i v, int n, int mask) {
    return and_byte(n < 0 ? _mm256_slli_epi16(v, -n) : _mm256_srli_epi16(v, n), mask);
}
FORCE_INLINE codes64 codes_or(codes64 a, codes64 b) {
    return (codes64){{_mm256_or_si256(a.h[0], b.h[0]), _mm256_or_si256(a.h[1], b.h[1])}};
}
FORCE_INLINE codes64 codes_add(codes64 a, int n) {
    __m256i v = _mm256_set1_epi8((char)n);
    return (codes64){{_mm256_add_epi8(a.h[0], v), _mm256_add_epi8(a.h[1], v)}};
}
FORCE_INLINE codes64 codes_twice(const void *p, int a, int b, int mask) {
    __m256i v = load256(p);
    return (codes64){{shift_bytes(v, a, mask), shift_bytes(v, b, mask)}};
}
FORCE_INLINE codes64 codes_bytes(const void *a, const void *b) {
    return (codes64){{load256(a), load256(b)}};
}
FORCE_INLINE codes64 codes_of(const void *p, int shift, int mask) {
    codes64 v = codes_bytes(p, (const char *)p + 32);
    return (codes64){{shift_bytes(v.h[0], shift, mask), shift_bytes(v.h[1], shift, mask)}};
}
FORCE_INLINE __m256i nibbles(const void *p) {
    __m128i v = load128(p);
    return and_byte(_mm256_set_m128i(_mm_srli_epi16(v, 4), v), 15);
}
FORCE_INLINE codes64 codes_nibbles(const void *a, const void *b) {
    return (codes64){{nibbles(a), nibbles(b)}};
}
FORCE_INLINE __m256i spread_bits(const void *p, int byte) {
    const __m256i source =
        _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const __m256i bit = _mm256_set1_epi64x((int64_t)0x8040201008040201u);
    __m256i v = _mm256_shuffle_epi8(_mm256_set1_epi32((int)load_u32(p)), source);
    return and_byte(_mm256_cmpeq_epi8(_mm256_and_si256(v, bit), bit), byte);
}
FORCE_INLINE codes64 codes_bits(const void *a, const void *b, int byte) {
    return (codes64){{spread_bits(a, byte), spread_bits(b, byte)}};
}
FORCE_INLINE codes64 codes_look_up(const int8_t table[16], codes64 index) {
    __m256i t = _mm256_broadcastsi128_si256(load128(table));
    return (codes64){{_mm256_shuffle_epi8(t, index.h[0]), _mm256_shuffle_epi8(t, index.h[1])}};
}
FORCE_INLINE codes64 codes_swap(codes64 v) {
    return (codes64){
        {_mm256_permute4x64_epi64(v.h[0], 0xD8), _mm256_permute4x64_epi64(v.h[1], 0xD8)}};
}

FORCE_INLINE __m256 block_halves(const void *p, int stride) {
    return gather_halves(p, stride);
}
FORCE_INLINE void block_pairs(const void *p, int stride, __m256 *first, __m256 *second) {
    *first = gather_halves(p, stride);
    *second = gather_halves((const char *)p + 2, stride);
}

/* Groups with even index in the low half, those with odd index in the high half. */
FORCE_INLINE __m256i of_groups(__m128i bytes) {
    const __m128i order = _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
    return _mm256_cvtepi8_epi16(_mm_shuffle_epi8(bytes, order));
}
FORCE_INLINE __m256i of_chunks(__m128i bytes) {
    return _mm256_cvtepi8_epi16(_mm_unpacklo_epi64(bytes, bytes));
}
FORCE_INLINE __m256i in_group_order(__m256i words) {
    const __m256i order = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15));
    return _mm256_permute4x64_epi64(_mm256_shuffle_epi8(words, order), 0xD8);
}
/* Each word twice. */
FORCE_INLINE void panel_words(__m256i words, void *out) {
    _mm256_storeu_si256(out, _mm256_unpacklo_epi16(words, words));
    _mm256_storeu_si256((__m256i *)out + 1, _mm256_unpackhi_epi16(words, words));
}
FORCE_INLINE void panel_pairs(__m256i words, void *out) {
    _mm256_storeu_si256(out, _mm256_unpacklo_epi16(_mm256_permute4x64_epi64(words, 0x50),
                                                   _mm256_permute4x64_epi64(words, 0xFA)));
}
FORCE_INLINE int scale_at(int group) {
    return group / 8 * 8 + group % 2 * 4 + group / 2 % 4;
}

FORCE_INLINE __m256i quads(const char *p, size_t stride) {
    return _mm256_inserti128_si256(_mm256_castsi128_si256(load128(p)), load128(p + stride), 1);
}

FORCE_INLINE void transpose_quads(const char *rows, size_t stride, char *out) {
    __m256i r[4], t[4];
    for (int i = 0; i < 4; i++) r[i] = quads(rows + (size_t)i * stride, 4 * stride);
    for (int i = 0; i < 4; i += 2) {
        t[i] = _mm256_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_epi32(r[i], r[i + 1]);
    }
    __m256i x[4] = {_mm256_unpacklo_epi64(t[0], t[2]), _mm256_unpackhi_epi64(t[0], t[2]),
                    _mm256_unpacklo_epi64(t[1], t[3]), _mm256_unpackhi_epi64(t[1], t[3])};
    for (int i = 0; i < 4; i++) _mm256_storeu_si256((__m256i *)(out + 64 * i), x[i]);
}

/* Sums of 2 products in int16: of codes below 64, or of any int8 codes against -127..127. */
FORCE_INLINE __m256i dot_pairs(bool is_signed, __m256i code, const int8_t *q) {
    __m256i x = load256(q);
    if (!is_signed) return _mm256_maddubs_epi16(code, x);
    return _mm256_maddubs_epi16(_mm256_abs_epi8(code), _mm256_sign_epi8(x, code));
}

/* int16 element i of each half, in all 8 places of that half. */
FORCE_INLINE __m256i spread_one(__m256i v, int i) {
    return _mm256_shuffle_epi8(v, _mm256_set1_epi16((short)(2 * i + 256 * (2 * i + 1))));
}

FORCE_INLINE lanes_i32 super_products(bool is_signed, const codes64 code[4], __m256i scale,
                                      const int8_t q[256]) {
    __m256i sum = _mm256_setzero_si256();
    for (int i = 0; i < 8; i++) {
        __m256i pairs = dot_pairs(is_signed, code[i / 2].h[i % 2], q + 32 * i);
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, spread_one(scale, i)));
    }
    return sum;
}

FORCE_INLINE __m256i fold(lanes_i32 v) {
    return v;
}
FORCE_INLINE __m128i sum_lanes(const lanes_i32 v[4]) {
    return sum_halves(v);
}

FORCE_INLINE void chunk_products(bool is_signed, const codes64 code[4], const int8_t q[256],
                                 __m256i *first, __m256i *second) {
    __m256i p[8];
    for (int i = 0; i < 8; i++)
        p[i] = _mm256_madd_epi16(dot_pairs(is_signed, code[i / 2].h[i % 2], q + 32 * i),
                                 _mm256_set1_epi16(1));
    __m256i x = add_halves(p), y = add_halves(p + 4);
    *first = _mm256_permute2x128_si256(x, y, 0x20);
    *second = _mm256_permute2x128_si256(x, y, 0x31);
}

#endif
