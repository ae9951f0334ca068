/* AVX-512 (VNNI) products of many columns: tiles of 16 rows (one vector) x 8 columns over the
 * panel. All codes are unsigned bytes here; offsets, and the 128 added to signed codes, leave
 * through the sums of the activations. */
#ifndef HOLDFAST_KERN_GEMM_AVX512_TMPL_H
#define HOLDFAST_KERN_GEMM_AVX512_TMPL_H

#include "kern/panel_avx2_tmpl.h"

enum { TILE_COLS = 8 };

#define EACH(M)    M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7)
#define DECLARE(c) __m512i a##c = out[c];
#define STORE(c)   out[c] = a##c;
/* Keeps a sum in its register: GCC would add products as a tree, out of memory. */
#if defined(HOLDFAST_SIMDE)
#define KEEP(v)
#else
#define KEEP(v) __asm__("" : "+v"(v))
#endif

FORCE_INLINE __m512i broadcast(const void *dword) {
    int32_t v;
    memcpy(&v, dword, sizeof v);
    return _mm512_set1_epi32(v);
}

/* out[c] += the sums over `steps` groups of 4 codes. */
FORCE_INLINE void dot_bytes(const uint8_t (*w)[PANEL_ROWS][4], const char *q, int steps,
                            __m512i out[TILE_COLS]) {
    EACH(DECLARE)
    for (int i = 0; i < steps; i++) {
        __m512i codes = _mm512_load_si512(w[i]);
#define STEP(c)                                                                                    \
    a##c = _mm512_dpbusd_epi32(a##c, codes, broadcast(q + 32 * i + 4 * c));                        \
    KEEP(a##c);
        EACH(STEP)
#undef STEP
    }
    EACH(STORE)
}

/* acc +- (d * dx) * n for 16 rows of a column. */
FORCE_INLINE void add_product(float *acc, const float *d, float dx, __m512i n) {
    __m512 scale = _mm512_mul_ps(_mm512_load_ps(d), _mm512_set1_ps(dx));
    _mm512_store_ps(acc, _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(n), _mm512_load_ps(acc)));
}
FORCE_INLINE void sub_product(float *acc, const float *d, float dx, __m512i n) {
    __m512 scale = _mm512_mul_ps(_mm512_load_ps(d), _mm512_set1_ps(dx));
    _mm512_store_ps(acc, _mm512_fnmadd_ps(scale, _mm512_cvtepi32_ps(n), _mm512_load_ps(acc)));
}

/* Pairs of mins (or of scales) of each chunk times sums of activations. */
FORCE_INLINE void pair_sums(const int16_t (*pairs)[PANEL_ROWS][2], const struct pack_block *b,
                            __m512i out[TILE_COLS]) {
    EACH(DECLARE)
    for (int j = 0; j < 8; j++) {
        __m512i w = _mm512_load_si512(pairs[j]);
#define STEP(c)                                                                                    \
    a##c = _mm512_add_epi32(a##c, _mm512_madd_epi16(w, broadcast(b->s_sum[j][c])));                \
    KEEP(a##c);
        EACH(STEP)
#undef STEP
    }
    EACH(STORE)
}

FORCE_INLINE void super_tile(const struct super_kind *t, const struct panel *p, int n_blocks,
                             const struct tile *x, float acc[TILE_COLS][PANEL_ROWS]) {
    int offset_log = t->is_signed ? 7 : t->offset_log;
    for (int i = 0; i < n_blocks; i++) {
        const struct pack_block *b = x->b + i;
        __m512i sum[TILE_COLS], off[TILE_COLS];
#define CLEAR(c) sum[c] = off[c] = _mm512_setzero_si512();
        EACH(CLEAR)
#undef CLEAR
        if (offset_log || t->mins) pair_sums(p->min + 8 * i, b, off);
#define START(c)                                                                                   \
    if (offset_log)                                                                                \
        sum[c] = _mm512_sub_epi32(sum[c], _mm512_slli_epi32(off[c], (unsigned)offset_log));
        EACH(START)
#undef START
        for (int step = 0; step < 64; step += t->group) {
            __m512i dot[TILE_COLS];
            int j = step / 8, group = scale_at(j, step / 4 % 2);
            __m512i scale = _mm512_load_si512(p->scale[16 * i + group]);
            scale = _mm512_and_si512(scale, _mm512_set1_epi32(0xFFFF)); /* one of the pair */
#define CLEAR(c) dot[c] = _mm512_setzero_si512();
            EACH(CLEAR)
#undef CLEAR
            dot_bytes(p->code + 64 * i + step, (const char *)b->q[step], t->group, dot);
#define SCALE(c)                                                                                   \
    sum[c] = _mm512_add_epi32(                                                                     \
        sum[c], _mm512_mullo_epi32(dot[c], _mm512_madd_epi16(scale, broadcast(b->s[j][c]))));
            EACH(SCALE)
#undef SCALE
        }
#define FINISH(c)                                                                                  \
    add_product(acc[c], p->block_d[i], b->d[c], sum[c]);                                           \
    if (t->mins) sub_product(acc[c], p->block_dmin[i], b->d[c], off[c]);
        EACH(FINISH)
#undef FINISH
    }
}

/* The integers of groups [step, step + steps) of 4 codes of the segment: a chunk or a half. */
FORCE_INLINE void chunk_sums(const struct chunk_kind *t, const struct panel *p, int step, int steps,
                             const struct tile *x, __m512i sum[TILE_COLS]) {
    const struct pack_block *b = x->b + step / 64;
    __m512i offset = _mm512_set1_epi16((short)(t->is_signed ? -128 : -t->offset));
    if (t->d_half) /* the pair of sums is that of the chunk's halves */
        offset = step % 8 ? _mm512_slli_epi32(offset, 16) : _mm512_srli_epi32(offset, 16);
#define START(c)                                                                                   \
    sum[c] = t->is_signed || t->offset                                                             \
                 ? _mm512_madd_epi16(broadcast(b->sum[step / 8 % 8][c]), offset)                   \
                 : _mm512_setzero_si512();
    EACH(START)
#undef START
    dot_bytes(p->code + step, (const char *)b->q[step % 64], steps, sum);
}

FORCE_INLINE void chunk_tile(const struct chunk_kind *t, const struct panel *p, int n_chunks,
                             const struct tile *x, float acc[TILE_COLS][PANEL_ROWS]) {
    _Alignas(64) float lanes[8][TILE_COLS][PANEL_ROWS] = {0};
    for (int j = 0; j < n_chunks; j++) {
        const struct pack_block *b = x->b + j / 8;
        const float *ds = b->ds[j % 8];
        float(*lane)[PANEL_ROWS] = lanes[j % 8];
        __m512i sum[TILE_COLS];
        chunk_sums(t, p, 8 * j, t->d_half ? 4 : 8, x, sum);
#define ADD(c)  add_product(lane[c], p->d[j], ds[c], sum[c]);
#define ADD2(c) add_product(lane[c], p->d[PANEL_CHUNKS + j], ds[c], sum[c]);
#define ADD_M(c)                                                                                   \
    add_product(lane[c], p->m[j], ds[c],                                                           \
                _mm512_madd_epi16(broadcast(b->sum[j % 8][c]), _mm512_set1_epi16(1)));
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
    add_lanes(lanes[0][0], TILE_COLS * PANEL_ROWS, acc[0]);
}

#undef EACH
#undef DECLARE
#undef STORE
#undef KEEP

#include "kern/gemm_loop_tmpl.h"

#endif
