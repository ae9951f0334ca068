/* Made-up weights: random bits with scales chosen so that the decoded numbers have mean about 0
 * and the wanted spread. Written straight as blocks, at the speed of the generator; for synth
 * and tests. */
#include "quant/blocks.h"
#include "quant/quant.h"
#include "base/rng.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum { SAMPLE = 2048 }; /* elements that measure the spread of a type's random codes */

static void put16(unsigned char *p, uint16_t v) {
    memcpy(p, &v, sizeof v);
}

/* Six-bit scales 32..63 with equal mins: q4_k and q5_k. */
static void even_k4(struct rng *r, unsigned char *block) {
    unsigned char *s = block + 4;
    for (int i = 0; i < 4; i++) {
        uint64_t bits = rng_u64(r);
        unsigned a = 32 | (bits & 31), b = 32 | (bits >> 8 & 31);
        s[i] = s[i + 4] = (unsigned char)(a | b >> 4 << 6);
        s[i + 8] = (unsigned char)((b & 15) | (b & 15) << 4);
    }
}
/* Equal scale and min: q2_k. */
static void even_q2(struct rng *r, unsigned char *block) {
    (void)r;
    for (int i = 0; i < 16; i++) block[i] = (unsigned char)((block[i] & 15) | (block[i] & 15) << 4);
}
/* -128 does not occur in files made by a quantizer. */
static void no_minimum(struct rng *r, unsigned char *block) {
    (void)r;
    for (int i = 2; i < 34; i++) block[i] |= block[i] == 0x80;
}

/* Where the scale and the offset of a block stand (-1: nowhere), and the offset in units of the
 * scale that brings the mean to 0. fix: what else random bits need. */
static const struct filler {
    enum quant_type type;
    int d_at, m_at;
    float offset;
    void (*fix)(struct rng *r, unsigned char *block);
} fillers[] = {
    {QUANT_Q4_0, 0, -1, 0, NULL},       {QUANT_Q4_1, 0, 2, -7.5f, NULL},
    {QUANT_Q5_0, 0, -1, 0, NULL},       {QUANT_Q5_1, 0, 2, -15.5f, NULL},
    {QUANT_Q8_0, 0, -1, 0, no_minimum}, {QUANT_Q2_K, 80, 82, 1.5f, even_q2},
    {QUANT_Q3_K, 108, -1, 0, NULL},     {QUANT_Q4_K, 0, 2, 7.5f, even_k4},
    {QUANT_Q5_K, 0, 2, 15.5f, even_k4}, {QUANT_Q6_K, 208, -1, 0, NULL},
    {QUANT_IQ4_NL, 0, -1, 0, NULL},     {QUANT_IQ4_XS, 0, -1, 0, NULL},
};

static void random_bytes(struct rng *r, unsigned char *p, size_t len) {
    for (; len >= 8; p += 8, len -= 8) {
        uint64_t v = rng_u64(r);
        memcpy(p, &v, 8);
    }
    uint64_t v = rng_u64(r);
    memcpy(p, &v, len);
}

static void fill_blocks(const struct filler *f, float d, struct rng *r, unsigned char *p,
                        int64_t n) {
    const struct quant_info *q = quant_info((int)f->type);
    random_bytes(r, p, quant_row_bytes((int)f->type, n));
    uint16_t scale = quant_f32_to_f16(d), offset = quant_f32_to_f16(d * f->offset);
    for (int64_t i = 0; i < n; i += q->block, p += q->bytes) {
        put16(p + f->d_at, scale);
        if (f->m_at >= 0) put16(p + f->m_at, offset);
        if (f->fix) f->fix(r, p);
    }
}

/* The spread of a type's random codes at scale 1, measured. */
static float spread(const struct filler *f) {
    struct rng rng = {1};
    unsigned char blocks[SAMPLE * 2];
    float y[SAMPLE];
    double sum = 0;
    fill_blocks(f, 1, &rng, blocks, SAMPLE);
    quant_info((int)f->type)->decode(blocks, y, SAMPLE);
    for (int i = 0; i < SAMPLE; i++) sum += (double)y[i] * (double)y[i];
    return (float)sqrt(sum / SAMPLE);
}

/* Types of one byte-sized exponent or scale per group. */
static void fill_fp4(int type, float std, struct rng *r, unsigned char *p, int64_t n) {
    const struct quant_info *q = quant_info(type);
    const float code_spread = 5.46f; /* RMS of quant_fp4_code */
    unsigned char scale = 0;
    random_bytes(r, p, quant_row_bytes(type, n));
    /* the byte whose scale is the nearest from below: both formulas grow with it */
    if (type == QUANT_MXFP4)
        while (scale < 254 && quant_e8m0_half((uint8_t)(scale + 1)) * code_spread <= std) scale++;
    else
        while (scale < 126 && quant_ue4m3_half((uint8_t)(scale + 1)) * code_spread <= std) scale++;
    for (int64_t i = 0; i < n; i += q->block, p += q->bytes)
        memset(p, scale, type == QUANT_MXFP4 ? 1 : 4);
}

/* f32, f16, bf16: uniform numbers of 16 random bits each. */
static void fill_plain(int type, float std, struct rng *r, unsigned char *p, int64_t n) {
    const struct quant_info *q = quant_info(type);
    const float step = std * 1.7320508f / 32768;
    for (int64_t i = 0; i < n; i += 4) {
        uint64_t bits = rng_u64(r);
        float x[4];
        int64_t count = n - i < 4 ? n - i : 4;
        for (int k = 0; k < 4; k++)
            x[k] = ((float)(int16_t)(uint16_t)(bits >> (16 * k)) + 0.5f) * step;
        q->encode(x, p + i * q->bytes, count);
    }
}

void quant_random(int type, float std, struct rng *r, void *blocks, int64_t n) {
    assert(quant_info(type) && quant_info(type)->decode && n % quant_info(type)->block == 0);
    for (size_t i = 0; i < sizeof fillers / sizeof *fillers; i++) {
        if ((int)fillers[i].type != type) continue;
        fill_blocks(&fillers[i], std / spread(&fillers[i]), r, blocks, n);
        return;
    }
    if (quant_info(type)->block > 1) fill_fp4(type, std, r, blocks, n);
    else fill_plain(type, std, r, blocks, n);
}
