/* AVX-512 (VNNI) products of many columns: tiles of 16 rows (one vector) x 8 columns over the
 * panel. */
#ifndef HOLDFAST_KERN_GEMM_AVX512_TMPL_H
#define HOLDFAST_KERN_GEMM_AVX512_TMPL_H

#include "kern/panel_tmpl.h"

enum { TILE_COLS = 8 };

#define EACH(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7)

FORCE_INLINE __m512i broadcast(const void *dword) {
    int32_t v;
    memcpy(&v, dword, sizeof v);
    return _mm512_set1_epi32(v);
}

typedef int32_t __attribute__((may_alias)) dword_t;

/* sum + products with a broadcast of the dword. Written out, because GCC spends an instruction
 * on the broadcast, and adds products as a tree, out of memory. */
#if defined(HOLDFAST_SIMDE)
#define ADD_BYTES(sum, codes, dword) sum = _mm512_dpbusd_epi32(sum, codes, broadcast(dword))
#define ADD_WORDS(sum, words, dword) sum = _mm512_dpwssd_epi32(sum, words, broadcast(dword))
#define ADD_PRODUCTS(sum, a, b)      sum = _mm512_dpwssd_epi32(sum, a, b)
#else
#define ADD_BYTES(sum, codes, dword)                                                               \
    __asm__("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(codes), "m"(*(const dword_t *)(dword)))
#define ADD_WORDS(sum, words, dword)                                                               \
    __asm__("vpdpwssd %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(words), "m"(*(const dword_t *)(dword)))
#define ADD_PRODUCTS(sum, a, b) __asm__("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b))
#endif

/* dot[c] += the sums of 16 codes. */
FORCE_INLINE void dot_bytes(const void *panel, const void *pack, __m512i dot[TILE_COLS]) {
#define LOAD(c) __m512i a##c = dot[c];
    EACH(LOAD)
#undef LOAD
    for (int i = 0; i < 4; i++) {
        __m512i codes = _mm512_load_si512((const char *)panel + 64 * i);
#define STEP(c) ADD_BYTES(a##c, codes, (const char *)pack + 32 * i + 4 * c);
        EACH(STEP)
#undef STEP
    }
#define STORE(c) dot[c] = a##c;
    EACH(STORE)
#undef STORE
}

/* dot[c] += the sums of n pairs of words. */
FORCE_INLINE void dot_words(const void *panel, const void *pack, int n, __m512i dot[TILE_COLS]) {
#define LOAD(c) __m512i a##c = dot[c];
    EACH(LOAD)
#undef LOAD
    for (int i = 0; i < n; i++) {
        __m512i words = _mm512_load_si512((const char *)panel + 64 * i);
#define STEP(c) ADD_WORDS(a##c, words, (const char *)pack + 32 * i + 4 * c);
        EACH(STEP)
#undef STEP
    }
#define STORE(c) dot[c] = a##c;
    EACH(STORE)
#undef STORE
}

/* acc +- (d * dx) * n for 16 rows of a column. */
FORCE_INLINE void add_product(float *acc, const float *d, float dx, __m512 n) {
    __m512 scale = _mm512_mul_ps(_mm512_load_ps(d), _mm512_set1_ps(dx));
    _mm512_store_ps(acc, _mm512_fmadd_ps(scale, n, _mm512_load_ps(acc)));
}
FORCE_INLINE void sub_product(float *acc, const float *d, float dx, __m512 n) {
    __m512 scale = _mm512_mul_ps(_mm512_load_ps(d), _mm512_set1_ps(dx));
    _mm512_store_ps(acc, _mm512_fnmadd_ps(scale, n, _mm512_load_ps(acc)));
}

/* sum[c] += the integers of block i. The dot of narrow codes is an int16, and so the low half of
 * a pair: times a scale below a half that is 0, it is a product of words. */
FORCE_INLINE void super_sums(const struct super_kind *t, const struct panel *p, int i,
                             const struct tile *x, __m512i sum[TILE_COLS]) {
    const char *codes = (const char *)p->code[64 * i], *q = byte_columns(x, 64 * i);
    const int32_t *s = x->b[i].s[0];
    for (int g = 0; g < 16; g++, codes += 256, q += 128, s += TILE_COLS) {
        __m512i dot[TILE_COLS];
        __m512i scale = _mm512_load_si512(p->scale[16 * i + scale_at(g)]);
#define CLEAR(c) dot[c] = _mm512_setzero_si512();
        EACH(CLEAR)
#undef CLEAR
        dot_bytes(codes, q, dot);
#define SCALE(c)                                                                                   \
    __m512i s##c = broadcast(s + c);                                                               \
    if (t->max_code <= NARROW_CODE) ADD_PRODUCTS(sum[c], dot[c], _mm512_mullo_epi16(scale, s##c)); \
    else                                                                                           \
        sum[c] =                                                                                   \
            _mm512_add_epi32(sum[c], _mm512_mullo_epi32(dot[c], _mm512_madd_epi16(scale, s##c)));
        EACH(SCALE)
#undef SCALE
    }
}

FORCE_INLINE void super_tile(const struct super_kind *t, const struct panel *p, int n_blocks,
                             const struct tile *x, float acc[TILE_COLS][PANEL_ROWS]) {
    int offset_log = super_offset_log(t);
    for (int i = 0; i < n_blocks; i++) {
        const struct pack_block *b = x->b + i;
        __m512i sum[TILE_COLS], off[TILE_COLS];
#define CLEAR(c) sum[c] = off[c] = _mm512_setzero_si512();
        EACH(CLEAR)
#undef CLEAR
        /* mins (or the scales of codes with an offset) times sums of activations */
        if (offset_log || t->mins) dot_words(p->min + 8 * i, b->s_sum, 8, off);
#define START(c)                                                                                   \
    if (offset_log)                                                                                \
        sum[c] = _mm512_sub_epi32(sum[c], _mm512_slli_epi32(off[c], (unsigned)offset_log));
        EACH(START)
#undef START
        super_sums(t, p, i, x, sum);
#define FINISH(c)                                                                                  \
    add_product(acc[c], p->block_d[i], b->d[c], _mm512_cvtepi32_ps(sum[c]));                       \
    if (t->mins) sub_product(acc[c], p->block_dmin[i], b->d[c], _mm512_cvtepi32_ps(off[c]));
        EACH(FINISH)
#undef FINISH
    }
}

/* sum[c] = the integers, as floats, of n groups of 16 codes from `step` on: of a chunk or a half.
 * Products of dots and sub-scales, and their sums, are below 2^24: float arithmetic is exact. */
FORCE_INLINE void chunk_sums(const struct panel *p, int step, int n, const struct tile *x,
                             __m512 sum[TILE_COLS]) {
    const struct pack_block *b = x->b + step / 64;
#define CLEAR(c) sum[c] = _mm512_setzero_ps();
    EACH(CLEAR)
#undef CLEAR
    for (int g = 0; g < n; g++) {
        int at = step % 64 / 4 + g;
        __m512i dot[TILE_COLS];
#define START(c) dot[c] = broadcast(&b->sum_128[at][c]);
        EACH(START)
#undef START
        dot_bytes(p->code + step + 4 * g, byte_columns(x, step + 4 * g), dot);
#define SCALE(c)                                                                                   \
    sum[c] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot[c]), _mm512_set1_ps(b->s_f32[at][c]), sum[c]);
        EACH(SCALE)
#undef SCALE
    }
}

/* The same of narrow codes, through products of words as in super_sums. */
FORCE_INLINE void narrow_sums(const struct chunk_kind *t, const struct panel *p, int step,
                              const struct tile *x, __m512 sum[TILE_COLS]) {
    const struct pack_block *b = x->b + step / 64;
    __m512i dot[TILE_COLS], total[TILE_COLS];
    __m512i offset = _mm512_set1_epi16((short)-t->offset);
#define START(c)                                                                                   \
    total[c] = t->offset ? _mm512_madd_epi16(broadcast(b->s_sum[step / 8 % 8][c]), offset)         \
                         : _mm512_setzero_si512();
    EACH(START)
#undef START
    for (int g = 0; g < 2; g++) {
        const int32_t *s = b->s[step % 64 / 4 + g];
#define CLEAR(c) dot[c] = _mm512_setzero_si512();
        EACH(CLEAR)
#undef CLEAR
        dot_bytes(p->code + step + 4 * g, byte_columns(x, step + 4 * g), dot);
#define SCALE(c) ADD_WORDS(total[c], dot[c], s + c);
        EACH(SCALE)
#undef SCALE
    }
#define CONVERT(c) sum[c] = _mm512_cvtepi32_ps(total[c]);
    EACH(CONVERT)
#undef CONVERT
}

FORCE_INLINE void chunk_tile(const struct chunk_kind *t, const struct panel *p, int n_chunks,
                             const struct tile *x, float acc[TILE_COLS][PANEL_ROWS]) {
    _Alignas(64) float lanes[8][TILE_COLS][PANEL_ROWS] = {0};
    for (int j = 0; j < n_chunks; j++) {
        const struct pack_block *b = x->b + j / 8;
        float(*lane)[PANEL_ROWS] = lanes[j % 8];
        __m512 sum[TILE_COLS];
        if (t->max_code <= NARROW_CODE) narrow_sums(t, p, 8 * j, x, sum);
        else chunk_sums(p, 8 * j, t->halves ? 1 : 2, x, sum);
#define ADD(c)  add_product(lane[c], p->d[j], b->d[c], sum[c]);
#define ADD2(c) add_product(lane[c], p->d[PANEL_CHUNKS + j], b->d[c], sum[c]);
#define ADD_M(c)                                                                                   \
    add_product(lane[c], p->m[j], b->d[c],                                                         \
                _mm512_cvtepi32_ps(                                                                \
                    _mm512_madd_epi16(broadcast(b->s_sum[j % 8][c]), _mm512_set1_epi16(1))));
        EACH(ADD)
        if (t->mins) {
            EACH(ADD_M)
        }
        if (!t->halves) continue;
        chunk_sums(p, 8 * j + 4, 1, x, sum);
        EACH(ADD2)
#undef ADD
#undef ADD2
#undef ADD_M
    }
    add_lanes(lanes[0][0], TILE_COLS * PANEL_ROWS, acc[0]);
}

#undef EACH
#undef KEEP

#include "kern/gemm_loop_tmpl.h"

#endif
