/* What a block of each type holds, as plain integers and scales: the one place where the scalar
 * level knows a type's bits. Offsets are taken out here (codes are signed).
 * size: one unpack per type. */
#ifndef HOLDFAST_KERN_UNPACK_SCALAR_H
#define HOLDFAST_KERN_UNPACK_SCALAR_H

#include <stdint.h>
#include <string.h>

#include "quant/blocks.h"
#include "quant/quant.h"

/* A super-block: y = d * scale * code - dmin * min, scale and min per 16. */
struct super {
    int8_t code[256];
    int16_t scale[16], min[16];
    float d, dmin;
};
/* 32 values of a type with float scales: y = d * code + m; d[1] is for values 16..31. */
struct chunk {
    int8_t code[32];
    float d[2], m;
};

/* Value e of the packing that q2_k and q3_k share. */
static inline int two_bits(const uint8_t *qs, int e) {
    return qs[e / 128 * 32 + e % 32] >> (e % 128 / 32 * 2) & 3;
}
/* Low (high) nibbles of 32 bytes are an even (odd) group of 32. */
static inline int nibble_of_64(const uint8_t *qs, int e) {
    return qs[e / 64 * 32 + e % 32] >> (e / 32 % 2 * 4) & 15;
}
/* Low (high) nibbles of 16 bytes are the first (second) 16 of 32. */
static inline int nibble_of_32(const uint8_t *qs, int e) {
    return qs[e / 32 * 16 + e % 16] >> (e / 16 % 2 * 4) & 15;
}

static inline void unpack_q2_k(const void *p, struct super *u) {
    const struct block_q2_k *b = p;
    u->d = quant_f16_to_f32(b->d);
    u->dmin = quant_f16_to_f32(b->dmin);
    for (int j = 0; j < 16; j++) {
        u->scale[j] = b->scales[j] & 15;
        u->min[j] = b->scales[j] >> 4;
    }
    for (int e = 0; e < 256; e++) u->code[e] = (int8_t)two_bits(b->qs, e);
}

static inline void unpack_q3_k(const void *p, struct super *u) {
    const struct block_q3_k *b = p;
    u->d = quant_f16_to_f32(b->d);
    for (int j = 0; j < 16; j++) u->scale[j] = (int16_t)quant_q3_scale(b->scales, j);
    for (int e = 0; e < 256; e++)
        u->code[e] = (int8_t)(two_bits(b->qs, e) - (b->hmask[e % 32] >> (e / 32) & 1 ? 0 : 4));
}

static inline void unpack_k4_scales(const uint8_t scales[12], struct super *u) {
    for (int j = 0; j < 8; j++) {
        uint8_t scale, min;
        quant_k4_scale(scales, j, &scale, &min);
        u->scale[2 * j] = u->scale[2 * j + 1] = scale;
        u->min[2 * j] = u->min[2 * j + 1] = min;
    }
}

static inline void unpack_q4_k(const void *p, struct super *u) {
    const struct block_q4_k *b = p;
    u->d = quant_f16_to_f32(b->d);
    u->dmin = quant_f16_to_f32(b->dmin);
    unpack_k4_scales(b->scales, u);
    for (int e = 0; e < 256; e++) u->code[e] = (int8_t)nibble_of_64(b->qs, e);
}

static inline void unpack_q5_k(const void *p, struct super *u) {
    const struct block_q5_k *b = p;
    u->d = quant_f16_to_f32(b->d);
    u->dmin = quant_f16_to_f32(b->dmin);
    unpack_k4_scales(b->scales, u);
    for (int e = 0; e < 256; e++)
        u->code[e] = (int8_t)(nibble_of_64(b->qs, e) | (b->qh[e % 32] >> (e / 32) & 1) << 4);
}

static inline void unpack_q6_k(const void *p, struct super *u) {
    const struct block_q6_k *b = p;
    u->d = quant_f16_to_f32(b->d);
    for (int j = 0; j < 16; j++) u->scale[j] = b->scales[j];
    for (int e = 0; e < 256; e++) {
        int low = b->ql[e / 128 * 64 + e % 64] >> (e / 64 % 2 * 4) & 15;
        u->code[e] = (int8_t)((low | two_bits(b->qh, e) << 4) - 32);
    }
}

static inline void unpack_iq4_xs(const void *p, struct super *u) {
    const struct block_iq4_xs *b = p;
    u->d = quant_f16_to_f32(b->d);
    for (int j = 0; j < 16; j++) u->scale[j] = (int16_t)quant_iq4_xs_scale(b, j / 2);
    for (int e = 0; e < 256; e++) u->code[e] = quant_iq4_code[nibble_of_32(b->qs, e)];
}

static inline void unpack_q4_0(const void *p, int64_t j, struct chunk *u) {
    const struct block_q4_0 *b = (const struct block_q4_0 *)p + j;
    u->d[0] = u->d[1] = quant_f16_to_f32(b->d);
    for (int e = 0; e < 32; e++) u->code[e] = (int8_t)(nibble_of_32(b->qs, e) - 8);
}

static inline void unpack_q4_1(const void *p, int64_t j, struct chunk *u) {
    const struct block_q4_1 *b = (const struct block_q4_1 *)p + j;
    u->d[0] = u->d[1] = quant_f16_to_f32(b->d);
    u->m = quant_f16_to_f32(b->m);
    for (int e = 0; e < 32; e++) u->code[e] = (int8_t)nibble_of_32(b->qs, e);
}

static inline int fifth_bit(const uint8_t qh[4], int e) {
    return (qh[e / 8] >> (e % 8) & 1) << 4;
}

static inline void unpack_q5_0(const void *p, int64_t j, struct chunk *u) {
    const struct block_q5_0 *b = (const struct block_q5_0 *)p + j;
    u->d[0] = u->d[1] = quant_f16_to_f32(b->d);
    for (int e = 0; e < 32; e++)
        u->code[e] = (int8_t)((nibble_of_32(b->qs, e) | fifth_bit(b->qh, e)) - 16);
}

static inline void unpack_q5_1(const void *p, int64_t j, struct chunk *u) {
    const struct block_q5_1 *b = (const struct block_q5_1 *)p + j;
    u->d[0] = u->d[1] = quant_f16_to_f32(b->d);
    u->m = quant_f16_to_f32(b->m);
    for (int e = 0; e < 32; e++)
        u->code[e] = (int8_t)(nibble_of_32(b->qs, e) | fifth_bit(b->qh, e));
}

static inline void unpack_q8_0(const void *p, int64_t j, struct chunk *u) {
    const struct block_q8_0 *b = (const struct block_q8_0 *)p + j;
    u->d[0] = u->d[1] = quant_f16_to_f32(b->d);
    memcpy(u->code, b->qs, sizeof u->code);
}

static inline void unpack_iq4_nl(const void *p, int64_t j, struct chunk *u) {
    const struct block_iq4_nl *b = (const struct block_iq4_nl *)p + j;
    u->d[0] = u->d[1] = quant_f16_to_f32(b->d);
    for (int e = 0; e < 32; e++) u->code[e] = quant_iq4_code[nibble_of_32(b->qs, e)];
}

static inline void unpack_mxfp4(const void *p, int64_t j, struct chunk *u) {
    const struct block_mxfp4 *b = (const struct block_mxfp4 *)p + j;
    u->d[0] = u->d[1] = quant_e8m0_half(b->e);
    for (int e = 0; e < 32; e++) u->code[e] = quant_fp4_code[nibble_of_32(b->qs, e)];
}

/* A block of nvfp4 is two chunks; the nibbles of 8 bytes are one group of 16. */
static inline void unpack_nvfp4(const void *p, int64_t j, struct chunk *u) {
    const struct block_nvfp4 *b = (const struct block_nvfp4 *)p + j / 2;
    for (int g = 0; g < 2; g++) {
        const uint8_t *qs = b->qs + j % 2 * 16 + 8 * g;
        u->d[g] = quant_ue4m3_half(b->d[j % 2 * 2 + g]);
        for (int e = 0; e < 16; e++)
            u->code[16 * g + e] = quant_fp4_code[qs[e % 8] >> (e / 8 * 4) & 15];
    }
}

#endif
