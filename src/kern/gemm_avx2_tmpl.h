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
/* Keeps a sum in its register: left alone, GCC adds products as a tree, out of memory. */
#define KEEP(v)   __asm__("" : "+x"(v))
#define PRAGMA(x) _Pragma(#x)
#if defined(__clang__)
#define UNROLL(n) PRAGMA(clang loop unroll_count(n))
#else
#define UNROLL(n) PRAGMA(GCC unroll n)
#endif

FORCE_INLINE __m256i broadcast(const void *dword) {
    int32_t v;
    memcpy(&v, dword, sizeof v);
    return _mm256_set1_epi32(v);
}
FORCE_INLINE __m256i load_lanes(const void *p, int v) {
    return _mm256_load_si256((const __m256i *)p + v);
}

/* The sums over `steps` groups of 4 codes, in pairs of int16. */
FORCE_INLINE void dot_bytes(const void *panel, const void *pack, int steps,
                            __m256i out[2][TILE_COLS]) {
    EACH(DECLARE)
    UNROLL(16)
    for (int i = 0; i < steps; i++) {
        const char *w = (const char *)panel + 64 * i, *q = (const char *)pack + 32 * i;
        __m256i w0 = load_lanes(w, 0), w1 = load_lanes(w, 1), x;
#define STEP(c)                                                                                    \
    x = broadcast(q + 4 * c);                                                                      \
    a0##c = _mm256_add_epi16(a0##c, _mm256_maddubs_epi16(w0, x));                                  \
    a1##c = _mm256_add_epi16(a1##c, _mm256_maddubs_epi16(w1, x));                                  \
    KEEP(a0##c);                                                                                   \
    KEEP(a1##c);
        STEP(0) STEP(1) STEP(2) STEP(3)
#undef STEP
    }
    EACH(STORE)
}

/* The sums over `steps` pairs of int16, in int32. */
FORCE_INLINE void dot_words(const void *panel, const void *pack, int steps,
                            __m256i out[2][TILE_COLS]) {
    EACH(DECLARE)
    UNROLL(16)
    for (int i = 0; i < steps; i++) {
        const char *w = (const char *)panel + 64 * i, *q = (const char *)pack + 32 * i;
        __m256i w0 = load_lanes(w, 0), w1 = load_lanes(w, 1), x;
#define STEP(c)                                                                                    \
    x = broadcast(q + 4 * c);                                                                      \
    a0##c = _mm256_add_epi32(a0##c, _mm256_madd_epi16(w0, x));                                     \
    a1##c = _mm256_add_epi32(a1##c, _mm256_madd_epi16(w1, x));                                     \
    KEEP(a0##c);                                                                                   \
    KEEP(a1##c);
        STEP(0) STEP(1) STEP(2) STEP(3)
#undef STEP
    }
    EACH(STORE)
}

/* The packed activations of a tile: 4 columns of a pack, from the segment's first block on. */
struct tile {
    const struct pack_block *b;
    const struct pack_wide *wide;
    int first; /* of the pack: 0 or 4 */
};
/* Their codes from group `step` of 4 (2) values of the segment on. */
FORCE_INLINE const void *byte_columns(const struct tile *x, int step) {
    return x->b[step / 64].q[step % 64] + x->first;
}
FORCE_INLINE const void *wide_columns(const struct tile *x, int step) {
    return x->wide[step / 128].q[step % 128] + x->first;
}

/* acc +- (d * dx) * n for 8 rows, one column. */
FORCE_INLINE __m256 add_product(__m256 acc, const float *d, const float *dx, __m256i n) {
    __m256 scale = _mm256_mul_ps(_mm256_load_ps(d), _mm256_broadcast_ss(dx));
    return _mm256_fmadd_ps(scale, _mm256_cvtepi32_ps(n), acc);
}
FORCE_INLINE __m256 sub_product(__m256 acc, const float *d, const float *dx, __m256i n) {
    __m256 scale = _mm256_mul_ps(_mm256_load_ps(d), _mm256_broadcast_ss(dx));
    return _mm256_fnmadd_ps(scale, _mm256_cvtepi32_ps(n), acc);
}

/* dot as its type has it, times scale * sub-scale (both int16, in pairs), added to sum. */
FORCE_INLINE __m256i add_scaled(bool is_signed, __m256i sum, __m256i dot, __m256i scale,
                                __m256i s) {
    if (!is_signed) /* dot is a pair of int16 */
        return _mm256_add_epi32(sum, _mm256_madd_epi16(dot, _mm256_mullo_epi16(scale, s)));
    scale = _mm256_and_si256(scale, _mm256_set1_epi32(0xFFFF)); /* one of the pair */
    return _mm256_add_epi32(sum, _mm256_mullo_epi32(dot, _mm256_madd_epi16(scale, s)));
}

/* sum[v][c] += the integers of block i. */
FORCE_INLINE void super_sums(const struct super_kind *t, const struct panel *p, int i,
                             const struct tile *x, __m256i sum[2][TILE_COLS]) {
    const struct pack_block *b = x->b + i;
    int run = t->is_signed ? 8 : t->run;
    for (int step = 0; step < 64; step += run) {
        __m256i dot[2][TILE_COLS];
        int j = step / 8;
        const void *scale = p->scale[16 * i + scale_at(j, step / 4 % 2)];
        if (t->is_signed)
            dot_words(p->wide + 128 * i + 16 * j, wide_columns(x, 128 * i + 16 * j), 16, dot);
        else dot_bytes(p->code + 64 * i + step, byte_columns(x, 64 * i + step), run, dot);
#define SCALE(v, c)                                                                                \
    sum[v][c] = add_scaled(t->is_signed, sum[v][c], dot[v][c], load_lanes(scale, v),               \
                           broadcast(b->s[j][x->first + c]));
        EACH(SCALE)
#undef SCALE
    }
}

FORCE_INLINE void super_tile(const struct super_kind *t, const struct panel *p, int n_blocks,
                             const struct tile *x, __m256 acc[2][TILE_COLS]) {
    for (int i = 0; i < n_blocks; i++) {
        const struct pack_block *b = x->b + i;
        const float *d = p->block_d[i], *dmin = p->block_dmin[i];
        __m256i sum[2][TILE_COLS], off[2][TILE_COLS];
        /* mins (or the scales of codes with an offset) times sums of activations */
        if (t->offset_log || t->mins) dot_words(p->min + 8 * i, b->s_sum[0] + x->first, 8, off);
#define START(v, c)                                                                                \
    sum[v][c] = _mm256_setzero_si256();                                                            \
    if (t->offset_log)                                                                             \
        sum[v][c] = _mm256_sub_epi32(sum[v][c], _mm256_slli_epi32(off[v][c], t->offset_log));
        EACH(START)
#undef START
        super_sums(t, p, i, x, sum);
#define FINISH(v, c)                                                                               \
    acc[v][c] = add_product(acc[v][c], d + 8 * v, b->d + x->first + c, sum[v][c]);                 \
    if (t->mins) acc[v][c] = sub_product(acc[v][c], dmin + 8 * v, b->d + x->first + c, off[v][c]);
        EACH(FINISH)
#undef FINISH
    }
}

/* The integers of groups [step, step + steps) of 4 codes of the segment: a chunk or a half. */
FORCE_INLINE void chunk_sums(const struct chunk_kind *t, const struct panel *p, int step, int steps,
                             const struct tile *x, __m256i sum[2][TILE_COLS]) {
    const int16_t(*codes)[2] = x->b[step / 64].sum[step / 8 % 8] + x->first;
    if (t->is_signed) {
        dot_words(p->wide + 2 * step, wide_columns(x, 2 * step), 2 * steps, sum);
        return;
    }
    __m256i offset = _mm256_set1_epi16((short)-t->offset), one = _mm256_set1_epi16(1);
    if (t->d_half) /* the pair of sums is that of the chunk's halves */
        offset = step % 8 ? _mm256_slli_epi32(offset, 16) : _mm256_srli_epi32(offset, 16);
#define START(v, c)                                                                                \
    sum[v][c] = t->offset ? _mm256_madd_epi16(broadcast(codes[c]), offset) : _mm256_setzero_si256();
    EACH(START)
#undef START
    for (int i = step; i < step + steps; i += t->run) {
        __m256i dot[2][TILE_COLS];
        dot_bytes(p->code + i, byte_columns(x, i), t->run, dot);
#define WIDEN(v, c) sum[v][c] = _mm256_add_epi32(sum[v][c], _mm256_madd_epi16(dot[v][c], one));
        EACH(WIDEN)
#undef WIDEN
    }
}

FORCE_INLINE void chunk_tile(const struct chunk_kind *t, const struct panel *p, int n_chunks,
                             const struct tile *x, __m256 acc[2][TILE_COLS]) {
    __m256 lanes[8][2][TILE_COLS] = {0};
    for (int j = 0; j < n_chunks; j++) {
        const struct pack_block *b = x->b + j / 8;
        const float *ds = b->ds[j % 8] + x->first;
        __m256(*lane)[TILE_COLS] = lanes[j % 8];
        __m256i sum[2][TILE_COLS];
        chunk_sums(t, p, 8 * j, t->d_half ? 4 : 8, x, sum);
#define ADD(v, c) lane[v][c] = add_product(lane[v][c], p->d[j] + 8 * v, ds + c, sum[v][c]);
#define ADD2(v, c)                                                                                 \
    lane[v][c] = add_product(lane[v][c], p->d[PANEL_CHUNKS + j] + 8 * v, ds + c, sum[v][c]);
#define ADD_M(v, c)                                                                                \
    lane[v][c] = add_product(                                                                      \
        lane[v][c], p->m[j] + 8 * v, ds + c,                                                       \
        _mm256_madd_epi16(broadcast(b->sum[j % 8][x->first + c]), _mm256_set1_epi16(1)));
        EACH(ADD)
        if (t->m) {
            EACH(ADD_M)
        }
        if (!t->d_half) continue;
        chunk_sums(t, p, 8 * j + 4, 4, x, sum);
        EACH(ADD2)
#undef ADD
#undef ADD2
#undef ADD_M
    }
#define PAIR(i, v, c) _mm256_add_ps(lanes[i][v][c], lanes[i + 4][v][c])
#define FINISH(v, c)                                                                               \
    acc[v][c] =                                                                                    \
        _mm256_add_ps(acc[v][c], _mm256_add_ps(_mm256_add_ps(PAIR(0, v, c), PAIR(2, v, c)),        \
                                               _mm256_add_ps(PAIR(1, v, c), PAIR(3, v, c))));
    EACH(FINISH)
#undef PAIR
#undef FINISH
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
#undef KEEP

#endif
