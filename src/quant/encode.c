/* Scalar encoders (spec/gguf.md 6). q8_0 and q4_0 follow the format's own recipe and are equal to
 * it to the byte; the K types search for the scales with the least squared error. Slow by
 * design: quantizing is not on the path of inference. */
#include "quant/blocks.h"
#include "quant/codecs.h"

#include <math.h>
#include <string.h>

void encode_f32(const float *x, void *blocks, int64_t n) {
    memcpy(blocks, x, (size_t)n * sizeof *x);
}

static void store_u16(void *p, int64_t i, uint16_t h) {
    memcpy((char *)p + 2 * i, &h, sizeof h);
}

void encode_f16(const float *x, void *blocks, int64_t n) {
    for (int64_t i = 0; i < n; i++) store_u16(blocks, i, quant_f32_to_f16(x[i]));
}

void encode_bf16(const float *x, void *blocks, int64_t n) {
    for (int64_t i = 0; i < n; i++) store_u16(blocks, i, quant_f32_to_bf16(x[i]));
}

void encode_q8_0(const float *x, void *blocks, int64_t n) {
    struct block_q8_0 *b = blocks;
    for (int64_t i = 0; i < n; i += 32, b++) {
        float amax = 0;
        for (int j = 0; j < 32; j++) amax = fmaxf(amax, fabsf(x[i + j]));
        float d = amax / 127, inv = d != 0 ? 1 / d : 0;
        b->d = quant_f32_to_f16(d);
        for (int j = 0; j < 32; j++) b->qs[j] = (int8_t)roundf(x[i + j] * inv);
    }
}

void encode_q4_0(const float *x, void *blocks, int64_t n) {
    struct block_q4_0 *b = blocks;
    for (int64_t i = 0; i < n; i += 32, b++) {
        float top = 0; /* of the largest magnitude, with its sign: it becomes exactly -8 */
        for (int j = 0; j < 32; j++)
            if (fabsf(x[i + j]) > fabsf(top)) top = x[i + j];
        float d = top / -8, inv = d != 0 ? 1 / d : 0;
        b->d = quant_f32_to_f16(d);
        for (int j = 0; j < 16; j++) {
            int low = (int)(x[i + j] * inv + 8.5f), high = (int)(x[i + j + 16] * inv + 8.5f);
            b->qs[j] = (uint8_t)((low < 15 ? low : 15) | (high < 15 ? high : 15) << 4);
        }
    }
}

static int nearest(float v, int min, int max) {
    int q = (int)rintf(v < (float)min ? (float)min : v > (float)max ? (float)max : v);
    return q;
}

/* x ~ scale * q - min with q = 0..15: what a 32-group of q4_k can say. */
struct line {
    float scale, min; /* both >= 0 */
};

static float line_error(const float *x, struct line l) {
    float inv = l.scale > 0 ? 1 / l.scale : 0, sum = 0;
    for (int i = 0; i < 32; i++) {
        float e = l.scale * (float)nearest((x[i] + l.min) * inv, 0, 15) - l.min - x[i];
        sum += e * e;
    }
    return sum;
}

/* Least squares for the codes that `l` gives; min is clamped to what the format can hold. */
static struct line line_refit(const float *x, struct line l) {
    float inv = l.scale > 0 ? 1 / l.scale : 0, sx = 0, sq = 0, sqq = 0, sqx = 0;
    for (int i = 0; i < 32; i++) {
        float q = (float)nearest((x[i] + l.min) * inv, 0, 15);
        sx += x[i], sq += q, sqq += q * q, sqx += q * x[i];
    }
    float det = 32 * sqq - sq * sq;
    if (det <= 0) return l;
    struct line r = {(32 * sqx - sq * sx) / det, (sq * sqx - sqq * sx) / det};
    if (r.min < 0 || r.scale < 0) r = (struct line){sqq > 0 ? fmaxf(sqx / sqq, 0) : 0, 0};
    return r;
}

/* Tries steps around (max - min) / 15 and refits each. */
static struct line line_fit(const float *x) {
    float low = 0, high = x[0]; /* min >= 0 keeps zero inside the range */
    for (int i = 0; i < 32; i++) low = fminf(low, x[i]), high = fmaxf(high, x[i]);
    if (high <= low) return (struct line){0, -low};
    struct line best = {(high - low) / 15, -low};
    float least = line_error(x, best);
    for (int step = -12; step <= 12; step++) {
        struct line l = {(high - low) / (15 + 0.25f * (float)step), -low};
        for (int round = 0; round < 2; round++) {
            l = line_refit(x, l);
            float error = line_error(x, l);
            if (error < least) least = error, best = l;
        }
    }
    return best;
}

static void put_k4_scale(uint8_t s[12], int j, int scale, int min) {
    if (j < 4) {
        s[j] = (uint8_t)(s[j] | scale);
        s[j + 4] = (uint8_t)(s[j + 4] | min);
    } else {
        s[j + 4] = (uint8_t)((scale & 15) | (min & 15) << 4);
        s[j - 4] = (uint8_t)(s[j - 4] | (scale >> 4) << 6);
        s[j] = (uint8_t)(s[j] | (min >> 4) << 6);
    }
}

/* The best six-bit pair near the wanted line, given the super-block's steps d and dmin. */
static struct line snap_line(const float *x, struct line want, float d, float dmin, int *scale,
                             int *min) {
    int s0 = nearest(d > 0 ? want.scale / d : 0, 0, 63);
    int m0 = nearest(dmin > 0 ? want.min / dmin : 0, 0, 63);
    struct line best = {0};
    float least = INFINITY;
    for (int s = s0 > 0 ? s0 - 1 : 0; s <= s0 + 1 && s <= 63; s++) {
        for (int m = m0 > 0 ? m0 - 1 : 0; m <= m0 + 1 && m <= 63; m++) {
            struct line l = {d * (float)s, dmin * (float)m};
            float error = line_error(x, l);
            if (error < least) least = error, best = l, *scale = s, *min = m;
        }
    }
    return best;
}

void encode_q4_k(const float *x, void *blocks, int64_t n) {
    struct block_q4_k *b = blocks;
    for (const float *end = x + n; x < end; x += 256, b++) {
        struct line fit[8];
        float top_scale = 0, top_min = 0;
        for (int j = 0; j < 8; j++) {
            fit[j] = line_fit(x + 32 * j);
            top_scale = fmaxf(top_scale, fit[j].scale);
            top_min = fmaxf(top_min, fit[j].min);
        }
        memset(b, 0, sizeof *b);
        b->d = quant_f32_to_f16(top_scale / 63);
        b->dmin = quant_f32_to_f16(top_min / 63);
        float d = quant_f16_to_f32(b->d), dmin = quant_f16_to_f32(b->dmin);
        for (int j = 0; j < 8; j++) {
            int scale = 0, min = 0;
            struct line l = snap_line(x + 32 * j, fit[j], d, dmin, &scale, &min);
            put_k4_scale(b->scales, j, scale, min);
            float inv = l.scale > 0 ? 1 / l.scale : 0;
            for (int i = 0; i < 32; i++) {
                int q = nearest((x[32 * j + i] + l.min) * inv, 0, 15);
                uint8_t *byte = &b->qs[32 * (j / 2) + i];
                *byte = (uint8_t)(*byte | q << (4 * (j % 2)));
            }
        }
    }
}

/* Squared error of 16 values with codes -32..31; *refit: the least-squares scale for them. */
static float q6_error(const float *x, float scale, float *refit) {
    float inv = scale != 0 ? 1 / scale : 0, sum = 0, sqq = 0, sqx = 0;
    for (int i = 0; i < 16; i++) {
        float q = (float)nearest(x[i] * inv, -32, 31), e = scale * q - x[i];
        sum += e * e, sqq += q * q, sqx += q * x[i];
    }
    *refit = sqq > 0 ? sqx / sqq : 0;
    return sum;
}

/* The signed scale of a 16-group; the sign decides which end gets the code -32. */
static float q6_fit(const float *x) {
    float top = 0;
    for (int i = 0; i < 16; i++)
        if (fabsf(x[i]) > fabsf(top)) top = x[i];
    float best = top / -32, refit, least = q6_error(x, best, &refit);
    for (int step = -16; step <= 16; step++) {
        float scale, error = q6_error(x, top / (-32 + 0.125f * (float)step), &scale);
        error = q6_error(x, scale, &refit);
        if (error < least) least = error, best = scale;
    }
    return best;
}

static void put_q6(struct block_q6_k *b, int e, int q) {
    uint8_t *low = &b->ql[64 * (e / 128) + e % 64], *high = &b->qh[32 * (e / 128) + e % 32];
    *low = (uint8_t)(*low | (q & 15) << (e % 128 < 64 ? 0 : 4));
    *high = (uint8_t)(*high | (q >> 4) << (2 * (e % 128 / 32)));
}

void encode_q6_k(const float *x, void *blocks, int64_t n) {
    struct block_q6_k *b = blocks;
    for (const float *end = x + n; x < end; x += 256, b++) {
        float fit[16], top = 0, refit;
        for (int j = 0; j < 16; j++) {
            fit[j] = q6_fit(x + 16 * j);
            if (fabsf(fit[j]) > fabsf(top)) top = fit[j];
        }
        memset(b, 0, sizeof *b);
        b->d = quant_f32_to_f16(top / -128);
        float d = quant_f16_to_f32(b->d);
        for (int j = 0; j < 16; j++) {
            int at = nearest(d != 0 ? fit[j] / d : 0, -128, 127), scale = at;
            float least = INFINITY;
            for (int s = at > -128 ? at - 1 : at; s <= at + 1 && s <= 127; s++) {
                float error = q6_error(x + 16 * j, d * (float)s, &refit);
                if (error < least) least = error, scale = s;
            }
            b->scales[j] = (int8_t)scale;
            float inv = d * (float)scale != 0 ? 1 / (d * (float)scale) : 0;
            for (int i = 0; i < 16; i++)
                put_q6(b, 16 * j + i, nearest(x[16 * j + i] * inv, -32, 31) + 32);
        }
    }
}
