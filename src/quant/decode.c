/* Scalar decoders: what the bits of each type mean (spec/gguf.md 6). The truth that every kernel
 * and encoder is checked against; used directly where speed does not matter (embedding rows,
 * reference logits). Each expression is evaluated left to right in float, without fma, so that
 * the results are the format's, to the bit. Decoding is memory-safe for any bytes. */
#include "quant/blocks.h"
#include "quant/codecs.h"

#include <string.h>

const int8_t quant_iq4_code[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                   1,    13,   25,  38,  53,  69,  89,  113};
const int8_t quant_fp4_code[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

static int lo(uint8_t b) {
    return b & 15;
}
static int hi(uint8_t b) {
    return b >> 4;
}
static uint32_t load_u32(const uint8_t p[4]) {
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Defines decode_TYPE as a loop over blocks of N elements; the body that follows decodes block b
 * into y. */
#define DECODER(type, N)                                                                           \
    static void type##_block(const struct block_##type *b, float *y);                              \
    void decode_##type(const void *blocks, float *out, int64_t n) {                                \
        const struct block_##type *b = blocks;                                                     \
        for (int64_t i = 0; i < n; i += N) type##_block(b++, out + i);                             \
    }                                                                                              \
    static void type##_block(const struct block_##type *b, float *y)

void decode_f32(const void *blocks, float *out, int64_t n) {
    memcpy(out, blocks, (size_t)n * sizeof *out);
}

static uint16_t load_u16(const void *p, int64_t i) {
    uint16_t h;
    memcpy(&h, (const char *)p + 2 * i, sizeof h);
    return h;
}

void decode_f16(const void *blocks, float *out, int64_t n) {
    for (int64_t i = 0; i < n; i++) out[i] = quant_f16_to_f32(load_u16(blocks, i));
}

void decode_bf16(const void *blocks, float *out, int64_t n) {
    for (int64_t i = 0; i < n; i++) out[i] = quant_bf16_to_f32(load_u16(blocks, i));
}

DECODER(q4_0, 32) {
    float d = quant_f16_to_f32(b->d);
    for (int j = 0; j < 16; j++) {
        y[j] = (float)(lo(b->qs[j]) - 8) * d;
        y[j + 16] = (float)(hi(b->qs[j]) - 8) * d;
    }
}

DECODER(q4_1, 32) {
    float d = quant_f16_to_f32(b->d), m = quant_f16_to_f32(b->m);
    for (int j = 0; j < 16; j++) {
        y[j] = (float)lo(b->qs[j]) * d + m;
        y[j + 16] = (float)hi(b->qs[j]) * d + m;
    }
}

/* The two halves of byte j with their fifth bits. */
static int five_lo(uint8_t q, uint32_t qh, int j) {
    return lo(q) | (int)(qh >> j & 1) << 4;
}
static int five_hi(uint8_t q, uint32_t qh, int j) {
    return hi(q) | (int)(qh >> (j + 16) & 1) << 4;
}

DECODER(q5_0, 32) {
    float d = quant_f16_to_f32(b->d);
    uint32_t qh = load_u32(b->qh);
    for (int j = 0; j < 16; j++) {
        y[j] = (float)(five_lo(b->qs[j], qh, j) - 16) * d;
        y[j + 16] = (float)(five_hi(b->qs[j], qh, j) - 16) * d;
    }
}

DECODER(q5_1, 32) {
    float d = quant_f16_to_f32(b->d), m = quant_f16_to_f32(b->m);
    uint32_t qh = load_u32(b->qh);
    for (int j = 0; j < 16; j++) {
        y[j] = (float)five_lo(b->qs[j], qh, j) * d + m;
        y[j + 16] = (float)five_hi(b->qs[j], qh, j) * d + m;
    }
}

DECODER(q8_0, 32) {
    float d = quant_f16_to_f32(b->d);
    for (int j = 0; j < 32; j++) y[j] = (float)b->qs[j] * d;
}

/* The 2-bit planes of q2_k, q3_k and q6_k: element e of 256 has plane e % 128 / 32 of the byte
 * (e / 128, e % 32). */
static int two_bits(const uint8_t *q, int e) {
    return q[32 * (e / 128) + e % 32] >> (2 * (e % 128 / 32)) & 3;
}

DECODER(q2_k, 256) {
    float d = quant_f16_to_f32(b->d), dmin = quant_f16_to_f32(b->dmin);
    for (int e = 0; e < 256; e++) {
        uint8_t s = b->scales[e / 16];
        y[e] = d * (float)lo(s) * (float)two_bits(b->qs, e) - dmin * (float)hi(s);
    }
}

DECODER(q3_k, 256) {
    float d = quant_f16_to_f32(b->d);
    for (int e = 0; e < 256; e++) {
        int set = b->hmask[e % 32] >> (e / 32) & 1, q = two_bits(b->qs, e) - (set ? 0 : 4);
        y[e] = d * (float)quant_q3_scale(b->scales, e / 16) * (float)q;
    }
}

/* Both types differ only in the fifth bits; qh is NULL for q4_k. */
static void decode_k45(uint16_t d16, uint16_t dmin16, const uint8_t *scales, const uint8_t *qh,
                       const uint8_t *qs, float *y) {
    float d = quant_f16_to_f32(d16), dmin = quant_f16_to_f32(dmin16);
    for (int j = 0; j < 8; j++) {
        uint8_t sc, m;
        quant_k4_scale(scales, j, &sc, &m);
        float scale = d * (float)sc, min = dmin * (float)m;
        for (int c = 0; c < 32; c++) {
            int q = qs[32 * (j / 2) + c] >> (4 * (j % 2)) & 15;
            if (qh) q |= (qh[c] >> j & 1) << 4;
            y[32 * j + c] = scale * (float)q - min;
        }
    }
}

DECODER(q4_k, 256) {
    decode_k45(b->d, b->dmin, b->scales, NULL, b->qs, y);
}
DECODER(q5_k, 256) {
    decode_k45(b->d, b->dmin, b->scales, b->qh, b->qs, y);
}

DECODER(q6_k, 256) {
    float d = quant_f16_to_f32(b->d);
    for (int e = 0; e < 256; e++) {
        uint8_t low = b->ql[64 * (e / 128) + e % 64];
        int q = (e % 128 < 64 ? lo(low) : hi(low)) | two_bits(b->qh, e) << 4;
        y[e] = d * (float)b->scales[e / 16] * (float)(q - 32);
    }
}

/* 2 * half 4-bit codes in file order (low nibbles first) through a table. */
static void decode_codes(const int8_t table[16], float scale, const uint8_t *qs, int half,
                         float *y) {
    for (int j = 0; j < half; j++) {
        y[j] = scale * (float)table[lo(qs[j])];
        y[j + half] = scale * (float)table[hi(qs[j])];
    }
}

DECODER(iq4_nl, 32) {
    decode_codes(quant_iq4_code, quant_f16_to_f32(b->d), b->qs, 16, y);
}

DECODER(iq4_xs, 256) {
    float d = quant_f16_to_f32(b->d);
    for (int j = 0; j < 8; j++)
        decode_codes(quant_iq4_code, d * (float)quant_iq4_xs_scale(b, j), b->qs + 16 * j, 16,
                     y + 32 * j);
}

DECODER(mxfp4, 32) {
    decode_codes(quant_fp4_code, quant_e8m0_half(b->e), b->qs, 16, y);
}

DECODER(nvfp4, 64) {
    for (int j = 0; j < 4; j++)
        decode_codes(quant_fp4_code, quant_ue4m3_half(b->d[j]), b->qs + 8 * j, 8, y + 16 * j);
}
