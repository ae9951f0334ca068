/* AVX2 products of up to KERN_GEMV_COLS columns, row after row: a row's blocks are unpacked once
 * and meet every column. The kernels are templates over a type's unpack; the kinds below are
 * compile-time constants of their callers. The bits are those of matmul_scalar.c. */
#ifndef HOLDFAST_KERN_GEMV_AVX2_TMPL_H
#define HOLDFAST_KERN_GEMV_AVX2_TMPL_H

#include "kern/kern.h"
#include "kern/unpack_avx2.h"

#define FORCE_INLINE static inline __attribute__((always_inline))

struct matmul_args {
    const char *rows;
    size_t row_bytes;
    int64_t row0, row1;
    const struct kern_cols *x;
    float *y;
    int64_t y_ld;
};

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
    bool two; /* chunks per block, else one */
    __m256i (*unpack)(const void *row, int64_t chunk);
    __m256 (*d)(const void *row, int64_t chunk); /* of 8 chunks */
    __m256 (*m)(const void *row, int64_t chunk);
    __m256 (*d_half)(const void *row, int64_t chunk, int half); /* instead of d: per 16 */
    bool is_signed;
    int offset, max_code;
};

/* The weights PREFETCH bytes on. Out-of-order execution alone looks only a few blocks ahead, and
 * the hardware's prefetcher then falls short of the memory's rate. */
#ifndef PREFETCH
enum { PREFETCH = 4096 };
#endif
FORCE_INLINE void prefetch(const char *p, size_t n) {
    for (size_t i = 0; i < n; i += 64) _mm_prefetch(p + PREFETCH + i, _MM_HINT_T0);
}

/* Sums of 2 products in int16: codes below 64, or any int8 codes against -127..127. */
FORCE_INLINE __m256i dot_pairs(bool is_signed, __m256i code, __m256i q) {
    if (!is_signed) return _mm256_maddubs_epi16(code, q);
    return _mm256_maddubs_epi16(_mm256_abs_epi8(code), _mm256_sign_epi8(q, code));
}

/* ---- super-block types ---- */

/* Sums of 16 codes in the order of struct super_vec. */
FORCE_INLINE __m256i spread_sums(const int16_t sum[16]) {
    const __m256i order = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15));
    __m256i v = _mm256_shuffle_epi8(_mm256_load_si256((const __m256i *)sum), order);
    return _mm256_permute4x64_epi64(v, 0xD8);
}

/* int16 element i of each half, in all 8 places of that half. */
FORCE_INLINE __m256i spread_one(__m256i v, int i) {
    return _mm256_shuffle_epi8(v, _mm256_set1_epi16((short)(2 * i + 256 * (2 * i + 1))));
}

/* acc + the product of a super-block with 256 activations. */
FORCE_INLINE float super_dot(const struct super_kind *t, const struct super_vec *u,
                             const struct act_block *a, float acc) {
    __m256i s = spread_scales(load128(a->s));
    __m256i scale = _mm256_mullo_epi16(u->scale, s), sum = _mm256_setzero_si256();
    for (int i = 0; i < 8; i++) {
        __m256i q = _mm256_load_si256((const __m256i *)(a->q + 32 * i));
        __m256i pairs = dot_pairs(t->is_signed, u->code[i], q);
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, spread_one(scale, i)));
    }
    __m256i low = sum;
    if (t->offset_log) {
        __m256i codes = _mm256_madd_epi16(scale, spread_sums(a->sum));
        low = _mm256_sub_epi32(sum, _mm256_slli_epi32(codes, t->offset_log));
    }
    __m128i v = _mm_add_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1));
    __m128i w = v;
    if (t->mins) {
        __m256i m = _mm256_madd_epi16(_mm256_mullo_epi16(u->min, s), spread_sums(a->sum));
        w = _mm_add_epi32(_mm256_castsi256_si128(m), _mm256_extracti128_si256(m, 1));
    }
    v = _mm_hadd_epi32(v, w);
    v = _mm_add_epi32(v, _mm_shuffle_epi32(v, 0xB1)); /* the sum in 0, that of the mins in 2 */
    __m128 f = _mm_cvtepi32_ps(v), d = _mm_set_ss(u->d * a->d);
    __m128 r = _mm_fmadd_ss(d, f, _mm_set_ss(acc));
    if (t->mins) r = _mm_fnmadd_ss(_mm_set_ss(u->dmin * a->d), _mm_movehl_ps(f, f), r);
    return _mm_cvtss_f32(r);
}

FORCE_INLINE void gemv_super(const struct super_kind *t, const struct matmul_args *g, int n_cols) {
    const struct act_block *q = g->x->q;
    int64_t n_blocks = act_blocks(g->x->k);
    for (int64_t r = g->row0; r < g->row1; r++) {
        const char *row = g->rows + (size_t)r * g->row_bytes;
        float acc[KERN_GEMV_COLS] = {0};
        for (int64_t i = 0; i < n_blocks; i++) {
            struct super_vec u;
            prefetch(row + (size_t)i * t->bytes, t->bytes);
            t->unpack(row + (size_t)i * t->bytes, &u);
            for (int c = 0; c < n_cols; c++)
                acc[c] = super_dot(t, &u, q + c * n_blocks + i, acc[c]);
        }
        for (int c = 0; c < n_cols; c++) g->y[c * g->y_ld + r] = acc[c];
    }
}

/* ---- 32-wide types: lane = chunk ---- */

struct chunk_vec { /* 8 chunks */
    __m256i code[8];
    __m256 d[2], m;
};

FORCE_INLINE void unpack_chunks(const struct chunk_kind *t, const void *row, int64_t j,
                                struct chunk_vec *u) {
    for (int i = 0; i < 8; i++) u->code[i] = t->unpack(row, j + i);
    if (t->d) u->d[0] = t->d(row, j);
    if (t->m) u->m = t->m(row, j);
    for (int h = 0; h < 2 && t->d_half; h++) u->d[h] = t->d_half(row, j, h);
}

/* Totals of the low (high) halves of 4 vectors in the low (high) half. */
FORCE_INLINE __m256i add_across(__m256i a, __m256i b, __m256i c, __m256i d) {
    return _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
}

FORCE_INLINE __m256 chunk_dot(const struct chunk_kind *t, const struct chunk_vec *u,
                              const struct act_block *a, __m256 lanes) {
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i p[8];
    for (int i = 0; i < 8; i++) {
        __m256i q = _mm256_load_si256((const __m256i *)(a->q + 32 * i));
        p[i] = _mm256_madd_epi16(dot_pairs(t->is_signed, u->code[i], q), ones);
    }
    __m256i x = add_across(p[0], p[1], p[2], p[3]), y = add_across(p[4], p[5], p[6], p[7]);
    __m256i first = _mm256_permute2x128_si256(x, y, 0x20);
    __m256i second = _mm256_permute2x128_si256(x, y, 0x31);
    __m256i s = _mm256_cvtepu8_epi16(load128(a->s)); /* pairs: those of a chunk's halves */
    first = _mm256_mullo_epi32(first, _mm256_and_si256(s, _mm256_set1_epi32(0xFFFF)));
    second = _mm256_mullo_epi32(second, _mm256_srli_epi32(s, 16));
    __m256 d = _mm256_set1_ps(a->d);
    __m256i s_sum = _mm256_mullo_epi16(s, _mm256_load_si256((const __m256i *)a->sum));
    if (t->d_half) {
        __m256i offset = _mm256_set1_epi32(t->offset);
        first = _mm256_sub_epi32(first, _mm256_madd_epi16(s_sum, offset));
        second = _mm256_sub_epi32(second, _mm256_madd_epi16(s_sum, _mm256_slli_epi32(offset, 16)));
        lanes = _mm256_fmadd_ps(_mm256_mul_ps(u->d[0], d), _mm256_cvtepi32_ps(first), lanes);
        return _mm256_fmadd_ps(_mm256_mul_ps(u->d[1], d), _mm256_cvtepi32_ps(second), lanes);
    }
    __m256i sum = _mm256_add_epi32(first, second);
    if (t->offset)
        sum = _mm256_sub_epi32(sum, _mm256_madd_epi16(s_sum, _mm256_set1_epi16((short)t->offset)));
    lanes = _mm256_fmadd_ps(_mm256_mul_ps(u->d[0], d), _mm256_cvtepi32_ps(sum), lanes);
    if (!t->m) return lanes;
    __m256 code_sum = _mm256_cvtepi32_ps(_mm256_madd_epi16(s_sum, ones));
    return _mm256_fmadd_ps(_mm256_mul_ps(u->m, d), code_sum, lanes);
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
        float acc[KERN_GEMV_COLS] = {0};
        for (int64_t i0 = 0; i0 < n_blocks; i0 += KERN_SEGMENT / 256) {
            int64_t i1 = i0 + KERN_SEGMENT / 256 < n_blocks ? i0 + KERN_SEGMENT / 256 : n_blocks;
            __m256 lanes[KERN_GEMV_COLS];
            for (int c = 0; c < n_cols; c++) lanes[c] = _mm256_setzero_ps();
            for (int64_t i = i0; i < i1; i++) {
                struct chunk_vec u;
                prefetch(row + (size_t)i * 8 * t->block_bytes, 8 * t->block_bytes);
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
