/* AVX2 and AVX-512 products of up to GEMV_COLS columns, row after row: a row's blocks are
 * unpacked once and meet every column. The kernels are templates over a type's unpack; the kinds
 * below are compile-time constants of their callers. The bits are those of matmul_scalar.c. */
#ifndef HOLDFAST_KERN_GEMV_TMPL_H
#define HOLDFAST_KERN_GEMV_TMPL_H

#include "kern/levels.h"
#include "kern/unpack_x86.h"

struct super_kind {
    size_t bytes;
    void (*unpack)(const void *block, struct super_vec *u);
    bool mins;
    bool is_signed; /* codes are int8, else 0..63 */
    int offset_log; /* of what has to be taken from each code; 0: nothing */
    int max_code;   /* of unsigned codes */
};

struct chunk_kind {
    size_t block_bytes;
    bool two;                                          /* chunks per block, else one */
    codes64 (*unpack)(const void *row, int64_t chunk); /* of 2 chunks */
    void (*scales)(const void *row, int64_t chunk, struct chunk_scales *u); /* of 8 */
    bool mins, halves; /* which of chunk_scales the type has beside d[0] */
    bool is_signed;
    int offset, max_code;
};

enum { NARROW_CODE = 16 }; /* 16 products of at most this and 127 add to an int16 */

/* Weights that come `ahead` bytes later. Out-of-order execution alone looks only a few blocks
 * ahead, and the hardware's prefetcher then falls short of the memory's rate. */
enum { PREFETCH = 4096 };
FORCE_INLINE void prefetch(const char *p, size_t n, size_t ahead) {
    for (size_t i = 0; i < n; i += 64) _mm_prefetch(p + ahead + i, _MM_HINT_T0);
}

/* ---- super-block types ---- */

/* Lanes that add up to the sum of scaled products of a super-block with 256 activations, and to
 * the sum of its mins (of its scales, where codes have an offset) times those. */
FORCE_INLINE lanes_i32 super_sums_of(const struct super_kind *t, const struct super_vec *u,
                                     const struct act_block *a, __m256i *off) {
    __m256i s = of_groups(load128(a->s)), sums = in_group_order(load256(a->sum));
    __m256i scale = _mm256_mullo_epi16(u->scale, s);
    *off = _mm256_madd_epi16(t->mins ? _mm256_mullo_epi16(u->min, s) : scale, sums);
    return super_products(t->is_signed, u->code, scale, a->q);
}
FORCE_INLINE int super_offset_log(const struct super_kind *t) {
    return CODES_VNNI && t->is_signed ? 7 : t->offset_log;
}

/* acc + the product of a super-block with 256 activations. */
FORCE_INLINE float super_dot(const struct super_kind *t, const struct super_vec *u,
                             const struct act_block *a, float acc) {
    __m256i off, low = fold(super_sums_of(t, u, a, &off));
    int offset_log = super_offset_log(t);
    if (offset_log) low = _mm256_sub_epi32(low, _mm256_slli_epi32(off, offset_log));
    __m128i v = _mm_add_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1));
    __m128i w = v;
    if (t->mins) w = _mm_add_epi32(_mm256_castsi256_si128(off), _mm256_extracti128_si256(off, 1));
    v = _mm_hadd_epi32(v, w);
    v = _mm_add_epi32(v, _mm_shuffle_epi32(v, 0xB1)); /* the sum in 0, that of the mins in 2 */
    __m128 f = _mm_cvtepi32_ps(v), d = _mm_set_ss(u->d * a->d);
    __m128 r = _mm_fmadd_ss(d, f, _mm_set_ss(acc));
    if (t->mins) r = _mm_fnmadd_ss(_mm_set_ss(u->dmin * a->d), _mm_movehl_ps(f, f), r);
    return _mm_cvtss_f32(r);
}

/* The same for n <= 4 columns, ld blocks apart, which share the work of adding lanes up. */
FORCE_INLINE void super_dots(const struct super_kind *t, const struct super_vec *u,
                             const struct act_block *a, int64_t ld, int n, float acc[4]) {
    int offset_log = super_offset_log(t);
    lanes_i32 v[4];
    __m256i m[4];
    float d[4];
    for (int c = 0; c < 4; c++, a += c < n ? ld : 0) {
        v[c] = super_sums_of(t, u, a, &m[c]);
        d[c] = a->d;
    }
    __m128i sum = sum_lanes(v), off = sum_halves(m);
    __m128 dx = _mm_loadu_ps(d), x = _mm_loadu_ps(acc);
    if (offset_log) sum = _mm_sub_epi32(sum, _mm_slli_epi32(off, offset_log));
    x = _mm_fmadd_ps(_mm_mul_ps(_mm_set1_ps(u->d), dx), _mm_cvtepi32_ps(sum), x);
    if (t->mins) x = _mm_fnmadd_ps(_mm_mul_ps(_mm_set1_ps(u->dmin), dx), _mm_cvtepi32_ps(off), x);
    _mm_storeu_ps(acc, x);
}

FORCE_INLINE void gemv_super(const struct super_kind *t, const struct matmul_args *g, int n_cols) {
    const struct act_block *q = g->x->q;
    int64_t n_blocks = act_blocks(g->x->k);
    for (int64_t r = g->row0; r < g->row1; r++) {
        const char *row = g->rows + (size_t)r * g->row_bytes;
        float acc[GEMV_COLS] = {0};
        for (int64_t i = 0; i < n_blocks; i++) {
            struct super_vec u;
            prefetch(row + (size_t)i * t->bytes, t->bytes, PREFETCH);
            t->unpack(row + (size_t)i * t->bytes, &u);
            int c = 0;
            for (; c + 1 < n_cols; c += 4)
                super_dots(t, &u, q + c * n_blocks + i, n_blocks, n_cols - c, acc + c);
            if (c < n_cols) acc[c] = super_dot(t, &u, q + c * n_blocks + i, acc[c]);
        }
        for (int c = 0; c < n_cols; c++) g->y[c * g->y_ld + r] = acc[c];
    }
}

/* ---- 32-wide types: lane = chunk ---- */

struct chunk_vec { /* 8 chunks */
    codes64 code[4];
    struct chunk_scales scales;
};

FORCE_INLINE void unpack_chunks(const struct chunk_kind *t, const void *row, int64_t j,
                                struct chunk_vec *u) {
    for (int i = 0; i < 4; i++) u->code[i] = t->unpack(row, j + 2 * i);
    t->scales(row, j, &u->scales);
}

/* Sums of 16 products, those of narrow codes int16, times sub-scales below 2^15. */
FORCE_INLINE __m256i scale_products(const struct chunk_kind *t, __m256i sum, __m256i s) {
    return t->max_code <= NARROW_CODE ? _mm256_madd_epi16(sum, s) : _mm256_mullo_epi32(sum, s);
}

FORCE_INLINE __m256 chunk_dot(const struct chunk_kind *t, const struct chunk_vec *u,
                              const struct act_block *a, __m256 lanes) {
    const __m256i ones = _mm256_set1_epi16(1);
    const int code_offset = CODES_VNNI && t->is_signed ? 128 : t->offset;
    __m256i first, second, s = _mm256_cvtepu8_epi16(load128(a->s)); /* pairs: of a chunk's halves */
    chunk_products(t->is_signed, u->code, a->q, &first, &second);
    first = scale_products(t, first, _mm256_and_si256(s, _mm256_set1_epi32(0xFFFF)));
    second = scale_products(t, second, _mm256_srli_epi32(s, 16));
    __m256 d = _mm256_set1_ps(a->d);
    __m256i s_sum = _mm256_mullo_epi16(s, _mm256_load_si256((const __m256i *)a->sum));
    if (t->halves) {
        __m256i offset = _mm256_set1_epi32(code_offset);
        first = _mm256_sub_epi32(first, _mm256_madd_epi16(s_sum, offset));
        second = _mm256_sub_epi32(second, _mm256_madd_epi16(s_sum, _mm256_slli_epi32(offset, 16)));
        lanes = _mm256_fmadd_ps(_mm256_mul_ps(u->scales.d[0], d), _mm256_cvtepi32_ps(first), lanes);
        return _mm256_fmadd_ps(_mm256_mul_ps(u->scales.d[1], d), _mm256_cvtepi32_ps(second), lanes);
    }
    __m256i sum = _mm256_add_epi32(first, second);
    if (code_offset)
        sum =
            _mm256_sub_epi32(sum, _mm256_madd_epi16(s_sum, _mm256_set1_epi16((short)code_offset)));
    lanes = _mm256_fmadd_ps(_mm256_mul_ps(u->scales.d[0], d), _mm256_cvtepi32_ps(sum), lanes);
    if (!t->mins) return lanes;
    __m256 code_sum = _mm256_cvtepi32_ps(_mm256_madd_epi16(s_sum, ones));
    return _mm256_fmadd_ps(_mm256_mul_ps(u->scales.m, d), code_sum, lanes);
}

/* ((0+4)+(2+6)) + ((1+5)+(3+7)) */
FORCE_INLINE float lane_sum(__m256 v) {
    __m128 x = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}

/* The last n < 8 chunks of a row, filled up with zero blocks: nothing behind the row is read. */
FORCE_INLINE void unpack_tail(const struct chunk_kind *t, const char *row, int64_t j, int n,
                              struct chunk_vec *u) {
    _Alignas(32) char blocks[8 * 34] = {0};
    int64_t log = t->two ? 1 : 0;
    memcpy(blocks, row + (size_t)(j >> log) * t->block_bytes, (size_t)(n >> log) * t->block_bytes);
    unpack_chunks(t, blocks, 0, u);
}

FORCE_INLINE void gemv_chunk(const struct chunk_kind *t, const struct matmul_args *g, int n_cols) {
    const struct act_block *q = g->x->q;
    int64_t n_chunks = g->x->k / 32, n_blocks = act_blocks(g->x->k);
    for (int64_t r = g->row0; r < g->row1; r++) {
        const char *row = g->rows + (size_t)r * g->row_bytes;
        float acc[GEMV_COLS] = {0};
        for (int64_t i0 = 0; i0 < n_blocks; i0 += KERN_SEGMENT / 256) {
            int64_t i1 = i0 + KERN_SEGMENT / 256 < n_blocks ? i0 + KERN_SEGMENT / 256 : n_blocks;
            __m256 lanes[GEMV_COLS];
            for (int c = 0; c < n_cols; c++) lanes[c] = _mm256_setzero_ps();
            for (int64_t i = i0; i < i1; i++) {
                struct chunk_vec u;
                prefetch(row + (size_t)i * 8 * t->block_bytes, 8 * t->block_bytes, PREFETCH);
                int n = n_chunks - 8 * i < 8 ? (int)(n_chunks - 8 * i) : 8;
                if (n == 8) unpack_chunks(t, row, 8 * i, &u);
                else unpack_tail(t, row, 8 * i, n, &u);
                for (int c = 0; c < n_cols; c++)
                    lanes[c] = chunk_dot(t, &u, q + c * n_blocks + i, lanes[c]);
            }
            for (int c = 0; c < n_cols; c++) acc[c] += lane_sum(lanes[c]);
        }
        for (int c = 0; c < n_cols; c++) g->y[c * g->y_ld + r] = acc[c];
    }
}

#endif
