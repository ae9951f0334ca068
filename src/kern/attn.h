/* Attention kernels and the layout of K and V in a unit: 64 positions of one kv head. Columns are
 * (query head, query) pairs that read that kv head; up to ATTN_COLS go over a unit at once.
 *
 * Layouts, D the head's dims (quantized types: padded to Dp, a multiple of 32):
 *  f32 f16   K [D][64]; V [64][D padded to 16]
 *  q8_0      K codes int8 [4 tiles][Dp/4][16 positions][4], scales f16 [Dp/32][64]
 *            V codes int8 [32 pairs][Dp][2 positions],      scales f16 [Dp/32][64]
 *  q4_0      codes 0..15 stand for -8..7, two a byte (low nibble first):
 *            K [4][Dp/8][16][4]: dims 8i+e and 8i+4+e; V [32][Dp/32][16][2]: dims 32g+e, 32g+16+e
 *  Quantized K and q4_0 V are stored rotated (hadamard), which spreads outliers over the steps of
 *  a group; a query is rotated like its K, an output back. q8_0 V gains nothing from it.
 *
 * Arithmetic (every fma rounds once; kern.h has the query's format):
 *  score     f32 f16: fma over dims in order. Quantized: chunk j of 32 dims goes to lane j % 8,
 *            lane = fma(scale_k * (d * s_j), (float)isum, lane); the lanes in use, rounded up to a
 *            power of two, add by halves (l, l+4), (l, l+2), (l, l+1)
 *  weight    x = score * scale, capped; w = e^(x - unit's max), 0 where masked; sum in 16 lanes
 *  value     f32 f16: fma over positions in order. Quantized, per 32 dims: u = w * scale_v,
 *            m = max |u|, P = round(u * (32767 / m)), value = (m / 32767) * (float)(sum P * code)
 *  merge     a part with a new maximum: acc = fma(value, take, acc * keep), one of keep, take is 1;
 *            a part that sees nothing, or whose take is 0, changes nothing. */
#ifndef HOLDFAST_KERN_ATTN_H
#define HOLDFAST_KERN_ATTN_H

#include "kern/kern.h"

enum attn_type { ATTN_F32, ATTN_F16, ATTN_Q8_0, ATTN_Q4_0, ATTN_TYPES }; /* ORDER KV: ops.h */
enum { ATTN_UNIT = 64, ATTN_COLS = 32, ATTN_MAX_DIM = 1024 };

static inline int attn_pad16(int dim) {
    return (dim + 15) & ~15;
}
static inline int attn_pad32(int dim) {
    return (dim + 31) & ~31;
}
/* How many of the remaining columns a kernel takes at once: `most`, 4, 3, 2 or 1. */
static inline int attn_next_cols(int rest, int most) {
    return rest >= most ? most : rest >= 4 ? 4 : rest;
}
static inline bool attn_quantized(enum attn_type t) {
    return t >= ATTN_Q8_0;
}
/* Bytes of codes in a quantized block; its scales follow. */
static inline size_t attn_code_bytes(enum attn_type t, int dim) {
    return (size_t)attn_pad32(dim) * ATTN_UNIT / (t == ATTN_Q4_0 ? 2 : 1);
}
static inline size_t attn_block_bytes(enum attn_type t, int dim, bool is_v) {
    size_t d = (size_t)(is_v ? attn_pad16(dim) : dim);
    if (attn_quantized(t))
        return attn_code_bytes(t, dim) + (size_t)attn_pad32(dim) / 32 * ATTN_UNIT * 2;
    return d * ATTN_UNIT * (t == ATTN_F32 ? 4 : 2);
}

/* Brings a block to the second-level cache: the units of a head lie far apart, so that the hardware
 * does not guess the next one. */
static inline void attn_prefetch(const void *block, size_t bytes) {
    for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch((const char *)block + i, 0, 2);
}

/* n columns of queries over one unit. f for f32 and f16 K, q for quantized K. */
struct attn_query {
    int n, dim;
    const float *f;            /* (n, pad32(dim)) */
    const struct act_block *q; /* (n, act_blocks(pad32(dim))) */
    int lo, hi;                /* positions of the unit that any column sees */
};

/* Softmax so far of n columns: relative to max, which is -inf before anything was seen. */
struct attn_state {
    _Alignas(64) float max[ATTN_COLS], sum[ATTN_COLS];
    float *acc; /* (n, pad32(v_dim)) */
};

/* One unit's step from scores to weights, and the factors that merge it into a state. */
struct attn_step {
    int n, lo, hi;                        /* as in attn_query */
    int first[ATTN_COLS], end[ATTN_COLS]; /* positions [first, end) each column sees */
    float scale, softcap;                 /* softcap 0: none */
    float *w;                             /* (n, 64): scores in, weights out */
    _Alignas(64) float keep[ATTN_COLS], take[ATTN_COLS];
};

struct kern_attn {
    /* Writes x (dim floats) as position pos (0..63) of a block. */
    void (*store_k[ATTN_TYPES])(void *block, int dim, int pos, const float *x);
    void (*store_v[ATTN_TYPES])(void *block, int dim, int pos, const float *x);
    /* s[c * 64 + p] for positions [lo, hi) at least */
    void (*scores[ATTN_TYPES])(const void *k, const struct attn_query *q, float *s);
    /* Scores to weights; updates st->max and st->sum and leaves keep and take for values. */
    void (*weights)(struct attn_step *step, struct attn_state *st);
    void (*values[ATTN_TYPES])(const void *v, int dim, const struct attn_step *step, float *acc);
    /* into = into merged with a later part of the same n columns */
    void (*merge)(struct attn_state *into, const struct attn_state *part, int n, int dim);
    /* out = acc / sum of column c; sink (or NULL) joins the sum. */
    void (*finish)(const struct attn_state *st, int c, int dim, const float *sink, float *out);
    /* Rotates the first n_rot dims: cs holds n_rot/2 cosines, then as many sines. */
    void (*rope)(float *x, const float *cs, int n_rot, bool neox);
    /* Normalised Walsh-Hadamard transform of each 2^k values, the largest that divides n. */
    void (*hadamard)(float *x, int n);
};

#endif
