/* The forms in which the gemm kernels read their operands: 16 unpacked rows of one segment (the
 * panel, in a worker's scratch) and 8 columns of activations (the pack, shared by all workers).
 * Lane = row; activations are broadcast. Both instruction-set levels use these layouts. */
#ifndef HOLDFAST_KERN_PANEL_H
#define HOLDFAST_KERN_PANEL_H

#include <stdint.h>

#include "kern/kern.h"

enum {
    PANEL_ROWS = 16,
    PANELS = 2, /* that a worker fills before it runs over the columns */
    PANEL_COLS = 8,
    PANEL_CHUNKS = KERN_SEGMENT / 32,
    PANEL_BLOCKS = KERN_SEGMENT / 256
};
#define ACT_TINY 1e-30f /* a block whose largest magnitude is below is all zero */

struct panel {
    union {
        _Alignas(64) uint8_t code[KERN_SEGMENT / 4][PANEL_ROWS][4];
        int16_t wide[KERN_SEGMENT / 2][PANEL_ROWS][2]; /* AVX2, signed codes */
    };
    union {
        struct {                                             /* super-block types */
            int16_t scale[KERN_SEGMENT / 16][PANEL_ROWS][2]; /* of a group of 16, twice */
            int16_t min[PANEL_CHUNKS][PANEL_ROWS]
                       [2]; /* mins (scales where codes have an offset) of a chunk's two groups */
            float block_d[PANEL_BLOCKS][PANEL_ROWS], block_dmin[PANEL_BLOCKS][PANEL_ROWS];
        };
        struct { /* 32-wide types; nvfp4 has two d per chunk */
            float d[2 * PANEL_CHUNKS][PANEL_ROWS], m[PANEL_CHUNKS][PANEL_ROWS];
        };
    };
};
struct pack_block { /* 256 values of 8 columns; absent columns are zero */
    _Alignas(64) int8_t q[64][PANEL_COLS][4];
    union {
        int16_t s_pair[16][PANEL_COLS][2]; /* AVX2: sub-scale of a group of 16, twice */
        struct {                           /* AVX-512 */
            int32_t s[16][PANEL_COLS], sum_128[16][PANEL_COLS]; /* -128 * sum of 16 codes */
            float s_f32[16][PANEL_COLS];
        };
    };
    int16_t s_sum[8][PANEL_COLS][2]; /* sub-scale * sum of codes, of a chunk's two groups */
    float d[PANEL_COLS];
};
struct pack_wide { /* AVX2: codes times sub-scales */
    int16_t q[128][PANEL_COLS][2];
};

#endif
