/* AVX2 products of many columns: 16 rows of a segment are unpacked once into a panel, then tiles
 * of 16 rows x 4 columns run over the packed activations, lane = row. The kernels are templates
 * over a type's unpack, as in gemv_tmpl.h. Registers are named, because GCC keeps arrays of
 * vectors in memory. */
#ifndef HOLDFAST_KERN_GEMM_AVX2_TMPL_H
#define HOLDFAST_KERN_GEMM_AVX2_TMPL_H

#include "kern/panel_tmpl.h"

enum { TILE_COLS = 4 };

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

/* 8 rows of a column: acc +- (d * dx) * n. */
FORCE_INLINE void add_product(float *acc, const float *d, const float *dx, __m256i n) {
    __m256 scale = _mm256_mul_ps(_mm256_load_ps(d), _mm256_broadcast_ss(dx));
    __m256 sum = _mm256_fmadd_ps(scale, _mm256_cvtepi32_ps(n), _mm256_load_ps(acc));
    _mm256_store_ps(acc, sum);
}
FORCE_INLINE void sub_product(float *acc, const float *d, const float *dx, __m256i n) {
    __m256 scale = _mm256_mul_ps(_mm256_load_ps(d), _mm256_broadcast_ss(dx));
    __m256 sum = _mm256_fnmadd_ps(scale, _mm256_cvtepi32_ps(n), _mm256_load_ps(acc));
    _mm256_store_ps(acc, sum);
}

/* How many steps of 4 codes, each two products of at most max_code * 127 to a lane, add up in
 * int16. A group of 16 is 4 steps. */
FORCE_INLINE int run_of(int max_code) {
    return max_code <= 32 ? 4 : 2;
}

/* sum[v][c] += the integers of block i: codes below 64. */
FORCE_INLINE void super_sums(const struct super_kind *t, const struct panel *p, int i,
                             const struct tile *x, __m256i sum[2][TILE_COLS]) {
    const int run = run_of(t->max_code);
    for (int step = 0; step < 64; step += run) {
        __m256i dot[2][TILE_COLS];
        const void *scale = p->scale[16 * i + scale_at(step / 4)];
        const int16_t(*s)[2] = x->b[i].s_pair[step / 4] + x->first;
        dot_bytes(p->code + 64 * i + step, byte_columns(x, 64 * i + step), run, dot);
#define SCALE(v, c)                                                                                \
    sum[v][c] = _mm256_add_epi32(                                                                  \
        sum[v][c],                                                                                 \
        _mm256_madd_epi16(dot[v][c], _mm256_mullo_epi16(load_lanes(scale, v), broadcast(s[c]))));
        EACH(SCALE)
#undef SCALE
    }
}

/* The same of int8 codes; the sub-scales of the activations are in the wide pack. */
FORCE_INLINE void super_sums_wide(const struct panel *p, int i, const struct tile *x,
                                  __m256i sum[2][TILE_COLS]) {
    for (int j = 0; j < 8; j++) {
        __m256i dot[2][TILE_COLS];
        const void *scale = p->scale[16 * i + scale_at(2 * j)];
        dot_words(p->wide + 128 * i + 16 * j, wide_columns(x, 128 * i + 16 * j), 16, dot);
#define SCALE(v, c)                                                                                \
    sum[v][c] = _mm256_add_epi32(                                                                  \
        sum[v][c], _mm256_mullo_epi32(dot[v][c], _mm256_srai_epi32(load_lanes(scale, v), 16)));
        EACH(SCALE)
#undef SCALE
    }
}

FORCE_INLINE void super_tile(const struct super_kind *t, const struct panel *p, int n_blocks,
                             const struct tile *x, float acc[TILE_COLS][PANEL_ROWS]) {
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
        if (t->is_signed) super_sums_wide(p, i, x, sum);
        else super_sums(t, p, i, x, sum);
#define FINISH(v, c)                                                                               \
    add_product(acc[c] + 8 * v, d + 8 * v, b->d + x->first + c, sum[v][c]);                        \
    if (t->mins) sub_product(acc[c] + 8 * v, dmin + 8 * v, b->d + x->first + c, off[v][c]);
        EACH(FINISH)
#undef FINISH
    }
}

/* The integers of groups [step, step + steps) of 4 codes of the segment: a chunk or a half. */
FORCE_INLINE void chunk_sums(const struct chunk_kind *t, const struct panel *p, int step, int steps,
                             const struct tile *x, __m256i sum[2][TILE_COLS]) {
    const struct pack_block *b = x->b + step / 64;
    const int16_t(*s_sum)[2] = b->s_sum[step / 8 % 8] + x->first;
    if (t->is_signed) {
        dot_words(p->wide + 2 * step, wide_columns(x, 2 * step), 2 * steps, sum);
        return;
    }
    __m256i offset = _mm256_set1_epi16((short)-t->offset);
    if (t->halves) /* the pair of sums is that of the chunk's halves */
        offset = step % 8 ? _mm256_slli_epi32(offset, 16) : _mm256_srli_epi32(offset, 16);
#define START(v, c)                                                                                \
    sum[v][c] = t->offset ? _mm256_madd_epi16(broadcast(s_sum[c]), offset) : _mm256_setzero_si256();
    EACH(START)
#undef START
    const int run = run_of(t->max_code);
    for (int i = step; i < step + steps; i += run) {
        __m256i dot[2][TILE_COLS];
        const int16_t(*s)[2] = b->s_pair[i % 64 / 4] + x->first;
        dot_bytes(p->code + i, byte_columns(x, i), run, dot);
#define WIDEN(v, c)                                                                                \
    sum[v][c] = _mm256_add_epi32(sum[v][c], _mm256_madd_epi16(dot[v][c], broadcast(s[c])));
        EACH(WIDEN)
#undef WIDEN
    }
}

FORCE_INLINE void chunk_tile(const struct chunk_kind *t, const struct panel *p, int n_chunks,
                             const struct tile *x, float acc[TILE_COLS][PANEL_ROWS]) {
    _Alignas(32) float lanes[8][TILE_COLS][PANEL_ROWS] = {0};
    for (int j = 0; j < n_chunks; j++) {
        const struct pack_block *b = x->b + j / 8;
        const float *dx = b->d + x->first;
        float(*lane)[PANEL_ROWS] = lanes[j % 8];
        __m256i sum[2][TILE_COLS];
        chunk_sums(t, p, 8 * j, t->halves ? 4 : 8, x, sum);
#define ADD(v, c)  add_product(lane[c] + 8 * v, p->d[j] + 8 * v, dx + c, sum[v][c]);
#define ADD2(v, c) add_product(lane[c] + 8 * v, p->d[PANEL_CHUNKS + j] + 8 * v, dx + c, sum[v][c]);
#define ADD_M(v, c)                                                                                \
    add_product(                                                                                   \
        lane[c] + 8 * v, p->m[j] + 8 * v, dx + c,                                                  \
        _mm256_madd_epi16(broadcast(b->s_sum[j % 8][x->first + c]), _mm256_set1_epi16(1)));
        EACH(ADD)
        if (t->mins) {
            EACH(ADD_M)
        }
        if (!t->halves) continue;
        chunk_sums(t, p, 8 * j + 4, 4, x, sum);
        EACH(ADD2)
#undef ADD
#undef ADD2
#undef ADD_M
    }
    add_lanes(lanes[0][0], TILE_COLS * PANEL_ROWS, acc[0]);
}

#undef EACH
#undef DECLARE
#undef STORE
#undef KEEP

#include "kern/gemm_loop_tmpl.h"

#endif
