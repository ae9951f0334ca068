/* CPU kernels behind one table. Levels: scalar (defines the bits), AVX2, AVX-512; every level
 * gives the same bits for every input (design.md section 3). kern_get picks the best level of
 * this machine once; HOLDFAST_CPU=scalar|avx2|avx512 forces a lower one.
 *
 * The arithmetic (the scalar level is its reference, every fma is one rounding):
 *  activation x of a row, per 256 values: x[i] = d * s[i/16] * q[i].
 *  super-block types (q2_k..q6_k, iq4_xs), per 256: I = sum s*sc*w*q and, with mins,
 *      M = sum s*m*q in int32; acc = fma(dw*d, (float)I, acc); acc = fma(-(dmin*d), (float)M, acc)
 *  32-wide types (q4_0 q4_1 q5_0 q5_1 q8_0 iq4_nl mxfp4), chunk j of 32 goes to lane j % 8:
 *      I = sum s*w*q in int32; lane[j%8] = fma(dw*d, (float)I, lane[j%8]); with an offset m:
 *      lane[j%8] = fma(m*d, (float)sum(s*q), lane[j%8]);
 *      after every KERN_SEGMENT values and at the end of the row the lanes add as
 *      ((0+4)+(2+6)) + ((1+5)+(3+7)) to acc and start again from 0
 *  nvfp4: two groups of 16 per chunk, in order, each like a 32-wide block, same lanes
 *  f32 f16 bf16: element i goes to lane i % 16 by fma; lanes add l, l+8 then l, l+4 then l, l+2
 *      then l, l+1.
 */
#ifndef HOLDFAST_KERN_KERN_H
#define HOLDFAST_KERN_KERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quant/quant.h"

/* 256 quantized activations. The last block of a row may be shorter (a multiple of 32): the rest
 * is q = 0, s = 1. Codes are -127..127, s is 1..15. */
struct act_block {
    _Alignas(64) int8_t q[256];
    int16_t sum[16]; /* of 16 codes each */
    uint8_t s[16];   /* of 16 codes each */
    float d;
    uint8_t pad[12];
};
_Static_assert(sizeof(struct act_block) == 320, "act_block layout");
static inline int64_t act_blocks(int64_t k) {
    return (k + 255) / 256;
}

/* The right-hand side of a matmul: n_cols activation rows of k values.
 * f32 is read for f32/f16/bf16 weights, q for all others. packed (from kern->act_pack) holds the
 * same codes as q in the order the panel kernels read, 8 columns at a time; it must be present
 * when n_cols > gemv_cols of the table. */
struct kern_cols {
    int n_cols;
    int64_t k;
    const float *f32; /* (n_cols, ld) */
    int64_t ld;
    const struct act_block *q; /* (n_cols, act_blocks(k)) */
    const void *packed;
};
enum { KERN_PACK_COLS = 8, KERN_SEGMENT = 1024 };

/* y[c * y_ld + r] = W[r] . x[c] for rows r in [row0, row1) and every column c.
 * rows: first row of the matrix. scratch: kern_scratch_bytes(k) bytes of the calling worker. */
typedef void (*kern_matmul_fn)(const void *rows, size_t row_bytes, int64_t row0, int64_t row1,
                               const struct kern_cols *x, float *y, int64_t y_ld, void *scratch);

enum kern_act { KERN_SILU, KERN_GELU, KERN_RELU2, KERN_SWIGLU_OAI };

struct kern {
    const char *level;
    int gemv_cols; /* up to so many columns are multiplied as they are, more through `packed` */
    kern_matmul_fn matmul[QUANT_TYPES]; /* every decodable type has one */
    /* Quantizes one row of k floats (k a multiple of 32). group values share a sub-scale: 16, or
     * 32 for attention, whose sums go over 32 dims. */
    void (*act_quantize)(const float *x, int64_t k, int group, struct act_block *out);
    /* Packs columns [c0, c0 + 8) (fewer at the end) into packed; size from kern_packed_bytes. */
    void (*act_pack)(const struct kern_cols *x, int c0, void *packed);

    /* Element-wise, n values each; out may equal the input. */
    void (*rms_norm)(const float *x, const float *w, float *out, int64_t n,
                     float eps); /* w NULL: 1 */
    void (*glu)(enum kern_act act, const float *gate, const float *up, float *out, int64_t n);
    void (*act)(enum kern_act act, const float *x, float *out, int64_t n);
    void (*add)(float *x, const float *y, float scale, int64_t n); /* x = fma(scale, y, x) */
    void (*scale)(float *x, float s, int64_t n);
    void (*softcap)(float *x, float cap, int64_t n); /* cap * tanh(x / cap) */
    void (*softmax)(float *x, int64_t n);            /* in place; one fixed order of the sum */
    /* Attention kernels: kern/attn.h. */
    const struct kern_attn *attn;
};

const struct kern *kern_get(void);
/* The table of a level by name, or NULL when this machine or build lacks it. */
const struct kern *kern_level(const char *name);
/* Scratch one worker needs for matmuls of width k. */
size_t kern_scratch_bytes(int64_t k);
/* Bytes of `packed` for n_cols columns of width k. */
size_t kern_packed_bytes(int n_cols, int64_t k);

#endif
