/* AVX2 products with f32, f16 and bf16 weights, for any number of columns: tiles of rows x
 * columns, each with 16 lanes over k as matmul_scalar.c has them. */
#ifndef HOLDFAST_KERN_DENSE_TMPL_H
#define HOLDFAST_KERN_DENSE_TMPL_H

#include "kern/gemv_tmpl.h"

struct dense_kind {
    int bytes; /* of a weight */
    __m256 (*load)(const void *p);
};

FORCE_INLINE __m256 load_f32(const void *p) {
    return _mm256_loadu_ps(p);
}
FORCE_INLINE __m256 load_f16(const void *p) {
    return _mm256_cvtph_ps(load128(p));
}
FORCE_INLINE __m256 load_bf16(const void *p) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load128(p)), 16));
}

/* l + 8, l + 4, l + 2, l + 1 */
FORCE_INLINE float sum_16(__m256 low, __m256 high) {
    __m256 v = _mm256_add_ps(low, high);
    __m128 x = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}

enum { DENSE_ROWS = 4, DENSE_COLS = 3, DENSE_BLOCK = 32 };

/* Rows r.. and columns c.. of a tile of R x C. */
FORCE_INLINE void dense_tile(const struct dense_kind *t, const struct matmul_args *g, int64_t r,
                             int c, int R, int C) {
    __m256 acc[DENSE_ROWS][DENSE_COLS][2];
    const char *w[DENSE_ROWS];
    const float *x[DENSE_COLS];
    int64_t k = g->x->k, whole = k & ~(int64_t)15;
    for (int i = 0; i < R; i++) w[i] = g->rows + (size_t)(r + i) * g->row_bytes;
    for (int j = 0; j < C; j++) x[j] = g->x->f32 + (c + j) * g->x->ld;
    for (int i = 0; i < R; i++)
        for (int j = 0; j < C; j++) acc[i][j][0] = acc[i][j][1] = _mm256_setzero_ps();
    for (int64_t p = 0; p < whole; p += 16)
        for (int h = 0; h < 2; h++)
            for (int j = 0; j < C; j++) {
                __m256 v = _mm256_loadu_ps(x[j] + p + 8 * h);
                for (int i = 0; i < R; i++)
                    acc[i][j][h] =
                        _mm256_fmadd_ps(t->load(w[i] + (p + 8 * h) * t->bytes), v, acc[i][j][h]);
            }
    for (int i = 0; i < R; i++)
        for (int j = 0; j < C; j++) {
            _Alignas(32) char wt[16 * 4] = {0};
            _Alignas(32) float xt[16] = {0};
            memcpy(wt, w[i] + whole * t->bytes, (size_t)((k - whole) * t->bytes));
            memcpy(xt, x[j] + whole, (size_t)(k - whole) * sizeof *xt);
            for (int h = 0; h < 2 && whole < k; h++)
                acc[i][j][h] = _mm256_fmadd_ps(t->load(wt + 8 * h * t->bytes),
                                               _mm256_load_ps(xt + 8 * h), acc[i][j][h]);
            g->y[(c + j) * g->y_ld + r + i] = sum_16(acc[i][j][0], acc[i][j][1]);
        }
}

/* Columns c.. (C of them) of rows [r0, r1). */
FORCE_INLINE void dense_rows(const struct dense_kind *t, const struct matmul_args *g, int64_t r0,
                             int64_t r1, int c, int C) {
    int64_t r = r0;
    if (C == 1)
        for (; r + 4 <= r1; r += 4) dense_tile(t, g, r, c, 4, C);
    else
        for (; r + 2 <= r1; r += 2) dense_tile(t, g, r, c, 2, C);
    for (; r < r1; r++) dense_tile(t, g, r, c, 1, C);
}

/* Rows in blocks that stay in the L2 cache while the columns pass. */
FORCE_INLINE void matmul_dense(const struct dense_kind *t, const struct matmul_args *g) {
    for (int64_t r = g->row0; r < g->row1; r += DENSE_BLOCK) {
        int64_t end = r + DENSE_BLOCK < g->row1 ? r + DENSE_BLOCK : g->row1;
        int c = 0, n = g->x->n_cols;
        for (; c + 3 <= n; c += 3) dense_rows(t, g, r, end, c, 3);
        if (n - c == 2) dense_rows(t, g, r, end, c, 2);
        if (n - c == 1) dense_rows(t, g, r, end, c, 1);
    }
}

#endif
