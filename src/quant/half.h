/* f16 and bf16 bit patterns to float and back: exact, round to nearest even, the same on every
 * machine and instruction set (no F16C). Signalling NaNs come out quiet, as hardware does it.
 * Included through quant.h. */
#ifndef HOLDFAST_QUANT_HALF_H
#define HOLDFAST_QUANT_HALF_H

#include <stdint.h>
#include <string.h>

static inline uint32_t quant_bits(float f) {
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}
static inline float quant_from_bits(uint32_t u) {
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static inline float quant_f16_to_f32(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, rest = h & 0x7FFFu;
    uint32_t normal = (rest << 13) + 0x38000000u; /* rebias the exponent: 112 << 23 */
    /* a subnormal is its mantissa in units of 2^-24: put it below 0.5, whose ulp that is */
    uint32_t small = quant_bits(quant_from_bits(0x3F000000u | rest) - 0.5f);
    uint32_t u = rest < 0x400 ? small : normal;
    if (rest >= 0x7C00) u = 0x7F800000u | rest << 13 | (rest > 0x7C00 ? 0x400000u : 0);
    return quant_from_bits(sign | u);
}

static inline uint16_t quant_f32_to_f16(float f) {
    uint32_t u = quant_bits(f), sign = u >> 16 & 0x8000u, a = u & 0x7FFFFFFFu;
    if (a > 0x7F800000u) return (uint16_t)(sign | 0x7E00u | (a >> 13 & 0x3FFu));
    if (a >= 0x477FF000u) return (uint16_t)(sign | 0x7C00u); /* from 65520 on: infinity */
    if (a < 0x38800000u) /* below 2^-14: the addition rounds to units of 2^-24 */
        return (uint16_t)(sign | (quant_bits(quant_from_bits(a) + 0.5f) - 0x3F000000u));
    a += 0xFFFu + (a >> 13 & 1);
    return (uint16_t)(sign | (a - 0x38000000u) >> 13);
}

static inline float quant_bf16_to_f32(uint16_t h) {
    return quant_from_bits((uint32_t)h << 16);
}

static inline uint16_t quant_f32_to_bf16(float f) {
    uint32_t u = quant_bits(f);
    if ((u & 0x7FFFFFFFu) > 0x7F800000u) return (uint16_t)(u >> 16 | 64);
    return (uint16_t)((u + 0x7FFFu + (u >> 16 & 1)) >> 16);
}

#endif
