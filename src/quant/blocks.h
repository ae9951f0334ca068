/* Blocks of the quantized types, byte for byte as they stand in a file (spec/gguf.md 6), and the
 * small formulas for reading their scales that decoder and kernels share. f16 fields are bit
 * patterns. Blocks have no alignment: kernels load them as if by memcpy. Only quant/ and kern/
 * include this. */
#ifndef HOLDFAST_QUANT_BLOCKS_H
#define HOLDFAST_QUANT_BLOCKS_H

#include <stdint.h>

#include "quant/half.h"

/* elements of a plain block and of a super-block */
enum { QUANT_BLOCK = 32, QUANT_SUPER = 256 };

#define PACKED __attribute__((packed))

struct PACKED block_q4_0 { /* y = (q - 8) * d; low nibbles are elements 0..15, high ones 16..31 */
    uint16_t d;
    uint8_t qs[16];
};
struct PACKED block_q4_1 { /* y = q * d + m */
    uint16_t d, m;
    uint8_t qs[16];
};
struct PACKED block_q5_0 { /* y = (q - 16) * d; bit i of qh is the fifth bit of element i */
    uint16_t d;
    uint8_t qh[4];
    uint8_t qs[16];
};
struct PACKED block_q5_1 { /* y = q * d + m */
    uint16_t d, m;
    uint8_t qh[4];
    uint8_t qs[16];
};
struct PACKED block_q8_0 { /* y = q * d */
    uint16_t d;
    int8_t qs[32];
};
struct PACKED block_q2_k { /* per 16: y = d * (scale & 15) * q - dmin * (scale >> 4) */
    uint8_t scales[16];
    uint8_t qs[64];
    uint16_t d, dmin;
};
struct PACKED block_q3_k { /* per 16: y = d * (scale - 32) * (q - 4) */
    uint8_t hmask[32];
    uint8_t qs[64];
    uint8_t scales[12];
    uint16_t d;
};
struct PACKED block_q4_k { /* per 32: y = d * scale * q - dmin * min */
    uint16_t d, dmin;
    uint8_t scales[12];
    uint8_t qs[128];
};
struct PACKED block_q5_k {
    uint16_t d, dmin;
    uint8_t scales[12];
    uint8_t qh[32];
    uint8_t qs[128];
};
struct PACKED block_q6_k { /* per 16: y = d * scale * (q - 32) */
    uint8_t ql[128];
    uint8_t qh[64];
    int8_t scales[16];
    uint16_t d;
};
struct PACKED block_iq4_nl { /* y = d * quant_iq4_code[q] */
    uint16_t d;
    uint8_t qs[16];
};
struct PACKED block_iq4_xs { /* per 32: y = d * (scale - 32) * quant_iq4_code[q] */
    uint16_t d;
    uint16_t scales_h;
    uint8_t scales_l[4];
    uint8_t qs[128];
};
struct PACKED block_mxfp4 { /* y = quant_e8m0_half(e) * quant_fp4_code[q] */
    uint8_t e;
    uint8_t qs[16];
};
struct PACKED block_nvfp4 { /* per 16: y = quant_ue4m3_half(d[i]) * quant_fp4_code[q] */
    uint8_t d[4];
    uint8_t qs[32];
};

#undef PACKED

_Static_assert(sizeof(struct block_q4_0) == 18, "block layout");
_Static_assert(sizeof(struct block_q4_1) == 20, "block layout");
_Static_assert(sizeof(struct block_q5_0) == 22, "block layout");
_Static_assert(sizeof(struct block_q5_1) == 24, "block layout");
_Static_assert(sizeof(struct block_q8_0) == 34, "block layout");
_Static_assert(sizeof(struct block_q2_k) == 84, "block layout");
_Static_assert(sizeof(struct block_q3_k) == 110, "block layout");
_Static_assert(sizeof(struct block_q4_k) == 144, "block layout");
_Static_assert(sizeof(struct block_q5_k) == 176, "block layout");
_Static_assert(sizeof(struct block_q6_k) == 210, "block layout");
_Static_assert(sizeof(struct block_iq4_nl) == 18, "block layout");
_Static_assert(sizeof(struct block_iq4_xs) == 136, "block layout");
_Static_assert(sizeof(struct block_mxfp4) == 17, "block layout");
_Static_assert(sizeof(struct block_nvfp4) == 36, "block layout");

extern const int8_t quant_iq4_code[16];
extern const int8_t quant_fp4_code[16]; /* E2M1, doubled so that it is an integer */

/* 6-bit scale and min of sub-block j = 0..7 of q4_k and q5_k. */
static inline void quant_k4_scale(const uint8_t s[12], int j, uint8_t *scale, uint8_t *min) {
    if (j < 4) {
        *scale = s[j] & 63;
        *min = s[j + 4] & 63;
    } else {
        *scale = (uint8_t)((s[j + 4] & 15) | (s[j - 4] >> 6) << 4);
        *min = (uint8_t)(s[j + 4] >> 4 | (s[j] >> 6) << 4);
    }
}
/* Scale of 16-group j = 0..15 of q3_k, -32..31. */
static inline int quant_q3_scale(const uint8_t s[12], int j) {
    int low = j < 8 ? s[j] & 15 : s[j - 8] >> 4, high = s[8 + j % 4] >> (2 * (j / 4)) & 3;
    return (low | high << 4) - 32;
}
/* Scale of 32-group j = 0..7 of iq4_xs, -32..31. */
static inline int quant_iq4_xs_scale(const struct block_iq4_xs *b, int j) {
    int low = b->scales_l[j / 2] >> (4 * (j % 2)) & 15, high = b->scales_h >> (2 * j) & 3;
    return (low | high << 4) - 32;
}
/* Half of 2^(e - 127); e = 0 and 1 are float subnormals. */
static inline float quant_e8m0_half(uint8_t e) {
    return quant_from_bits(e < 2 ? 0x00200000u << e : (uint32_t)(e - 1) << 23);
}
/* Half of an unsigned E4M3 number; bit 7 is not part of it, and 0x7F stands for 0. */
static inline float quant_ue4m3_half(uint8_t d) {
    int exp = d >> 3 & 15, man = d & 7;
    if (d == 0x7F) return 0;
    if (exp == 0) return (float)man * 0x1p-10f;
    return quant_from_bits((uint32_t)(exp + 119) << 23 | (uint32_t)man << 20);
}

#endif
