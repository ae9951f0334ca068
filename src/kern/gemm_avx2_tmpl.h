/* AVX2 products of many columns: 16 rows of a segment are unpacked once into a panel, then tiles
 * of 16 rows x 4 columns run over the packed activations, lane = row. The kernels are templates
 * over a type's unpack, as in gemv_avx2_tmpl.h. Registers are named, because GCC keeps arrays of
 * vectors in memory. */
#ifndef HOLDFAST_KERN_GEMM_AVX2_TMPL_H
#define HOLDFAST_KERN_GEMM_AVX2_TMPL_H

#include "kern/gemv_avx2_tmpl.h"
#include "kern/panel.h"

enum { TILE_COLS = 4 };

/* ---- the panel ---- */

/* 8 rows of 8 dwords, stride bytes apart, to 8 columns of 8: vector i of out holds dword i of
 * every row. */
FORCE_INLINE void transpose_8x8(const char *rows, size_t stride, char *out, size_t out_stride) {
    __m256i r[8], t[8];
    for (int i = 0; i < 8; i++) r[i] = load256(rows + (size_t)i * stride);
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_epi32(r[i], r[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        r[i] = _mm256_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm256_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm256_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm256_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for (int i = 0; i < 4; i++) {
        __m256i low = _mm256_permute2x128_si256(r[i], r[i + 4], 0x20);
        __m256i high = _mm256_permute2x128_si256(r[i], r[i + 4], 0x31);
        _mm256_storeu_si256((__m256i *)(out + (size_t)i * out_stride), low);
        _mm256_storeu_si256((__m256i *)(out + (size_t)(i + 4) * out_stride), high);
    }
}

/* 16 rows of n dwords (a multiple of 8), stride bytes apart, to n columns of 16 dwords. */
FORCE_INLINE void transpose_rows(const void *rows, size_t stride, int n, void *out) {
    for (int i = 0; i < n; i += 8)
        for (int half = 0; half < 2; half++)
            transpose_8x8((const char *)rows + 4 * i + (size_t)(8 * half) * stride, stride,
                          (char *)out + 64 * i + 32 * half, 64);
}

/* The codes of 16 rows of 256 to the panel, from value k0 on. */
FORCE_INLINE void store_codes(bool wide, __m256i code[16][8], int k0, struct panel *p) {
    if (!wide) {
        transpose_rows(code, sizeof code[0], 64, p->code[k0 / 4]);
        return;
    }
    __m256i words[16][8];
    for (int h = 0; h < 2; h++) {
        for (int r = 0; r < 16; r++)
            for (int i = 0; i < 4; i++) {
                __m256i v = code[r][4 * h + i];
                words[r][2 * i] = _mm256_cvtepi8_epi16(_mm256_castsi256_si128(v));
                words[r][2 * i + 1] = _mm256_cvtepi8_epi16(_mm256_extracti128_si256(v, 1));
            }
        transpose_rows(words, sizeof words[0], 64, p->wide[k0 / 2 + 64 * h]);
    }
}

/* Panel rows behind row1 repeat the last row: their results are not stored. */
FORCE_INLINE const char *panel_row(const struct matmul_args *g, int64_t r0, int i) {
    int64_t r = r0 + i < g->row1 ? r0 + i : g->row1 - 1;
    return g->rows + (size_t)r * g->row_bytes;
}

/* Position of the scale of group 2 * chunk + odd among the 16 of a block. */
FORCE_INLINE int scale_at(int chunk, int odd) {
    return chunk / 4 * 8 + odd * 4 + chunk % 4;
}

FORCE_INLINE void fill_super(const struct super_kind *t, const struct matmul_args *g, int64_t r0,
                             int64_t block0, int n_blocks, struct panel *p) {
    __m256i code[16][8], scale[16][2], min[16];
    for (int i = 0; i < n_blocks; i++) {
        for (int r = 0; r < 16; r++) {
            struct super_vec u;
            t->unpack(panel_row(g, r0, r) + (size_t)(block0 + i) * t->bytes, &u);
            for (int v = 0; v < 8; v++) code[r][v] = u.code[v];
            scale[r][0] = _mm256_unpacklo_epi16(u.scale, u.scale);
            scale[r][1] = _mm256_unpackhi_epi16(u.scale, u.scale);
            p->block_d[i][r] = u.d;
            if (t->mins) p->block_dmin[i][r] = u.dmin;
            __m256i m = t->mins ? u.min : u.scale;
            min[r] = _mm256_unpacklo_epi16(_mm256_permute4x64_epi64(m, 0x50),
                                           _mm256_permute4x64_epi64(m, 0xFA));
        }
        store_codes(t->is_signed, code, 256 * i, p);
        transpose_rows(scale, sizeof scale[0], 16, p->scale[16 * i]);
        if (t->mins || t->offset_log) transpose_rows(min, sizeof min[0], 8, p->min[8 * i]);
    }
}

FORCE_INLINE void fill_chunk(const struct chunk_kind *t, const struct matmul_args *g, int64_t r0,
                             int64_t chunk0, int n_chunks, struct panel *p) {
    __m256i code[16][8];
    __m256 d[2][16], m[16];
    for (int j = 0; j < n_chunks; j += 8) {
        for (int r = 0; r < 16; r++) {
            struct chunk_vec u;
            const char *row = panel_row(g, r0, r);
            if (n_chunks - j >= 8) unpack_chunks(t, row, chunk0 + j, &u);
            else unpack_tail(t, row, chunk0 + j, n_chunks - j, &u);
            for (int v = 0; v < 8; v++) code[r][v] = u.code[v];
            d[0][r] = u.d[0];
            if (t->d_half) d[1][r] = u.d[1];
            if (t->m) m[r] = u.m;
        }
        store_codes(t->is_signed, code, 32 * j, p);
        transpose_rows(d[0], sizeof d[0][0], 8, p->d[j]);
        if (t->d_half) transpose_rows(d[1], sizeof d[1][0], 8, p->d[PANEL_CHUNKS + j]);
        if (t->m) transpose_rows(m, sizeof m[0], 8, p->m[j]);
    }
}

/* ---- tiles of 16 rows (2 vectors) x 4 columns ---- */

#define EACH(M)       M(0, 0) M(1, 0) M(0, 1) M(1, 1) M(0, 2) M(1, 2) M(0, 3) M(1, 3)
#define DECLARE(v, c) __m256i a##v##c = _mm256_setzero_si256();
#define STORE(v, c)   out[v][c] = a##v##c;

FORCE_INLINE __m256i broadcast(const void *dword) {
    int32_t v;
    memcpy(&v, dword, sizeof v);
    return _mm256_set1_epi32(v);
}
FORCE_INLINE __m256i load_lanes(const void *p, int v) {
    return _mm256_load_si256((const __m256i *)p + v);
}

/* Sums in int16 over `steps` groups of 4 codes. */
FORCE_INLINE void dot_bytes(const uint8_t (*w)[PANEL_ROWS][4], const int8_t (*q)[PANEL_COLS][4],
                            int steps, __m256i out[2][TILE_COLS]) {
    EACH(DECLARE)
    for (int i = 0; i < steps; i++) {
        __m256i w0 = load_lanes(w[i], 0), w1 = load_lanes(w[i], 1), x;
#define STEP(c)                                                                                    \
    x = broadcast(q[i][c]);                                                                        \
    a0##c = _mm256_add_epi16(a0##c, _mm256_maddubs_epi16(w0, x));                                  \
    a1##c = _mm256_add_epi16(a1##c, _mm256_maddubs_epi16(w1, x));
        STEP(0) STEP(1) STEP(2) STEP(3)
#undef STEP
    }
    EACH(STORE)
}

/* Sums in int32 over `steps` pairs of codes. */
FORCE_INLINE void dot_words(const int16_t (*w)[PANEL_ROWS][2], const int16_t (*q)[PANEL_COLS][2],
                            int steps, __m256i out[2][TILE_COLS]) {
    EACH(DECLARE)
    for (int i = 0; i < steps; i++) {
        __m256i w0 = load_lanes(w[i], 0), w1 = load_lanes(w[i], 1), x;
#define STEP(c)                                                                                    \
    x = broadcast(q[i][c]);                                                                        \
    a0##c = _mm256_add_epi32(a0##c, _mm256_madd_epi16(w0, x));                                     \
    a1##c = _mm256_add_epi32(a1##c, _mm256_madd_epi16(w1, x));
        STEP(0) STEP(1) STEP(2) STEP(3)
#undef STEP
    }
    EACH(STORE)
}

/* The packed activations of a tile: 4 columns of a pack, from the segment's first block on. */
struct tile {
    const struct pack_block *b;
    const struct pack_wide *wide;
    int c; /* 0 or 4 */
};

/* sum[v][c] += a block's integers. */
FORCE_INLINE void super_sums(const struct super_kind *t, const struct panel *p, int i,
                             const struct tile *x, __m256i sum[2][TILE_COLS]) {
    const struct pack_block *b = x->b + i;
    int run = t->is_signed ? 8 : t->run;
    for (int step = 0; step < 64; step += run) {
        __m256i dot[2][TILE_COLS];
        int j = step / 8, group = scale_at(j, step / 4 % 2);
        if (t->is_signed)
            dot_words(p->wide + 128 * i + 16 * j,
                      (const int16_t(*)[PANEL_COLS][2])(x->wide[i].q[16 * j] + x->c), 16, dot);
        else
            dot_bytes(p->code + 64 * i + step, (const int8_t(*)[PANEL_COLS][4])(b->q[step] + x->c),
                      run, dot);
        for (int v = 0; v < 2; v++) {
            __m256i w = load_lanes(p->scale[16 * i + group], v);
            if (t->is_signed) w = _mm256_and_si256(w, _mm256_set1_epi32(0xFFFF));
            for (int c = 0; c < TILE_COLS; c++) {
                __m256i s = broadcast(b->s[j][x->c + c]);
                __m256i y = t->is_signed ? _mm256_mullo_epi32(dot[v][c], _mm256_madd_epi16(w, s))
                                         : _mm256_madd_epi16(dot[v][c], _mm256_mullo_epi16(w, s));
                sum[v][c] = _mm256_add_epi32(sum[v][c], y);
            }
        }
    }
}

/* sum[v][c] += pairs of weights (of the two groups of each chunk) times sums of activations. */
FORCE_INLINE void group_sums(const int16_t (*pairs)[PANEL_ROWS][2], const struct pack_block *b,
                             int c0, __m256i sum[2][TILE_COLS]) {
    dot_words(pairs, (const int16_t(*)[PANEL_COLS][2])(b->s_sum[0] + c0), 8, sum);
}

FORCE_INLINE void super_tile(const struct super_kind *t, const struct panel *p, int n_blocks,
                             const struct tile *x, __m256 acc[2][TILE_COLS]) {
    for (int i = 0; i < n_blocks; i++) {
        const struct pack_block *b = x->b + i;
        __m256i sum[2][TILE_COLS], off[2][TILE_COLS];
        if (t->offset_log || t->mins) group_sums(p->min + 8 * i, b, x->c, off);
        for (int v = 0; v < 2; v++)
            for (int c = 0; c < TILE_COLS; c++)
                sum[v][c] = t->offset_log
                                ? _mm256_sub_epi32(_mm256_setzero_si256(),
                                                   _mm256_slli_epi32(off[v][c], t->offset_log))
                                : _mm256_setzero_si256();
        super_sums(t, p, i, x, sum);
        for (int v = 0; v < 2; v++) {
            __m256 d = _mm256_load_ps(p->block_d[i] + 8 * v);
            __m256 dmin = _mm256_load_ps(p->block_dmin[i] + 8 * v);
            for (int c = 0; c < TILE_COLS; c++) {
                __m256 dx = _mm256_broadcast_ss(b->d + x->c + c);
                __m256 y =
                    _mm256_fmadd_ps(_mm256_mul_ps(d, dx), _mm256_cvtepi32_ps(sum[v][c]), acc[v][c]);
                if (t->mins)
                    y = _mm256_fnmadd_ps(_mm256_mul_ps(dmin, dx), _mm256_cvtepi32_ps(off[v][c]), y);
                acc[v][c] = y;
            }
        }
    }
}

/* One scale group (a chunk, or a half of one) to its lane. */
FORCE_INLINE void add_group(const float *d, const float *ds, __m256i dot[2][TILE_COLS],
                            __m256 lane[2][TILE_COLS]) {
    for (int v = 0; v < 2; v++) {
        __m256 dw = _mm256_load_ps(d + 8 * v);
        for (int c = 0; c < TILE_COLS; c++)
            lane[v][c] = _mm256_fmadd_ps(_mm256_mul_ps(dw, _mm256_broadcast_ss(ds + c)),
                                         _mm256_cvtepi32_ps(dot[v][c]), lane[v][c]);
    }
}

/* The integers of groups [step, step + steps) of 4 codes of chunk j. */
FORCE_INLINE void chunk_sums(const struct chunk_kind *t, const struct panel *p, int step, int steps,
                             const struct tile *x, __m256i sum[2][TILE_COLS]) {
    const struct pack_block *b = x->b + step / 64;
    int at = step % 64;
    if (t->is_signed) {
        dot_words(p->wide + 2 * step,
                  (const int16_t(*)[PANEL_COLS][2])(x->wide[step / 64].q[2 * at] + x->c), 2 * steps,
                  sum);
        return;
    }
    for (int c = 0; c < TILE_COLS; c++) {
        __m256i codes = broadcast(b->sum[at / 8][x->c + c]);
        __m256i offset = _mm256_set1_epi16((short)-t->offset);
        if (t->d_half)
            offset = _mm256_and_si256(offset, _mm256_set1_epi32(at % 8 ? (int)0xFFFF0000 : 0xFFFF));
        sum[0][c] = sum[1][c] =
            t->offset ? _mm256_madd_epi16(codes, offset) : _mm256_setzero_si256();
    }
    for (int i = 0; i < steps; i += t->run) {
        __m256i dot[2][TILE_COLS];
        dot_bytes(p->code + step + i, (const int8_t(*)[PANEL_COLS][4])(b->q[at + i] + x->c), t->run,
                  dot);
        for (int v = 0; v < 2; v++)
            for (int c = 0; c < TILE_COLS; c++)
                sum[v][c] =
                    _mm256_add_epi32(sum[v][c], _mm256_madd_epi16(dot[v][c], _mm256_set1_epi16(1)));
    }
}

FORCE_INLINE void chunk_tile(const struct chunk_kind *t, const struct panel *p, int n_chunks,
                             const struct tile *x, __m256 acc[2][TILE_COLS]) {
    __m256 lane[8][2][TILE_COLS];
    for (int l = 0; l < 8; l++)
        for (int v = 0; v < 2; v++)
            for (int c = 0; c < TILE_COLS; c++) lane[l][v][c] = _mm256_setzero_ps();
    for (int j = 0; j < n_chunks; j++) {
        const struct pack_block *b = x->b + j / 8;
        const float *ds = b->ds[j % 8] + x->c;
        __m256i sum[2][TILE_COLS];
        chunk_sums(t, p, 8 * j, t->d_half ? 4 : 8, x, sum);
        add_group(p->d[j], ds, sum, lane[j % 8]);
        if (t->d_half) {
            chunk_sums(t, p, 8 * j + 4, 4, x, sum);
            add_group(p->d[PANEL_CHUNKS + j], ds, sum, lane[j % 8]);
        }
        if (!t->m) continue;
        for (int c = 0; c < TILE_COLS; c++)
            sum[0][c] = sum[1][c] =
                _mm256_madd_epi16(broadcast(b->sum[j % 8][x->c + c]), _mm256_set1_epi16(1));
        add_group(p->m[j], ds, sum, lane[j % 8]);
    }
    for (int v = 0; v < 2; v++)
        for (int c = 0; c < TILE_COLS; c++) {
#define LANES(i, k) _mm256_add_ps(lane[i][v][c], lane[k][v][c])
            __m256 even = _mm256_add_ps(LANES(0, 4), LANES(2, 6));
            __m256 odd = _mm256_add_ps(LANES(1, 5), LANES(3, 7));
#undef LANES
            acc[v][c] = _mm256_add_ps(acc[v][c], _mm256_add_ps(even, odd));
        }
}

/* ---- the whole product ---- */

/* Results of a tile, which are also its running sums between segments: rows [0, n) of 16. */
FORCE_INLINE void load_results(const float *y, int64_t y_ld, int n, int n_cols,
                               __m256 acc[2][TILE_COLS]) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    for (int v = 0; v < 2; v++)
        for (int c = 0; c < TILE_COLS; c++)
            acc[v][c] =
                c >= n_cols
                    ? _mm256_setzero_ps()
                    : _mm256_maskload_ps(y + c * y_ld + 8 * v,
                                         _mm256_cmpgt_epi32(_mm256_set1_epi32(n - 8 * v), lane));
}
FORCE_INLINE void store_results(float *y, int64_t y_ld, int n, int n_cols,
                                __m256 acc[2][TILE_COLS]) {
    for (int c = 0; c < n_cols; c++) {
        _Alignas(32) float rows[16];
        _mm256_store_ps(rows, acc[0][c]);
        _mm256_store_ps(rows + 8, acc[1][c]);
        if (n == 16) memcpy(y + c * y_ld, rows, sizeof rows);
        else memcpy(y + c * y_ld, rows, (size_t)n * sizeof *rows);
    }
}

/* Exactly one of the kinds is given. */
FORCE_INLINE void gemm(const struct super_kind *s, const struct chunk_kind *t,
                       const struct matmul_args *g, struct panel *p) {
    int64_t k = g->x->k, n_blocks = act_blocks(k);
    size_t pack_bytes = (size_t)n_blocks * (sizeof(struct pack_block) + sizeof(struct pack_wide));
    for (int64_t r = g->row0; r < g->row1; r += PANEL_ROWS) {
        int n_rows = g->row1 - r < PANEL_ROWS ? (int)(g->row1 - r) : PANEL_ROWS;
        for (int64_t k0 = 0; k0 < k; k0 += KERN_SEGMENT) {
            int n = k - k0 < KERN_SEGMENT ? (int)(k - k0) : KERN_SEGMENT;
            if (s) fill_super(s, g, r, k0 / 256, n / 256, p);
            else fill_chunk(t, g, r, k0 / 32, n / 32, p);
            for (int c = 0; c < g->x->n_cols; c += TILE_COLS) {
                const char *pack =
                    (const char *)g->x->packed + (size_t)(c / PANEL_COLS) * pack_bytes;
                struct tile x = {
                    (const struct pack_block *)pack + k0 / 256,
                    (const struct pack_wide *)((const struct pack_block *)pack + n_blocks) +
                        k0 / 256,
                    c % PANEL_COLS};
                int n_cols = g->x->n_cols - c < TILE_COLS ? g->x->n_cols - c : TILE_COLS;
                float *y = g->y + c * g->y_ld + r;
                __m256 acc[2][TILE_COLS];
                load_results(y, g->y_ld, k0 ? n_rows : 0, n_cols, acc);
                if (s) super_tile(s, p, n / 256, &x, acc);
                else chunk_tile(t, p, n / 32, &x, acc);
                store_results(y, g->y_ld, n_rows, n_cols, acc);
            }
        }
    }
}

#undef EACH
#undef DECLARE
#undef STORE

#endif
