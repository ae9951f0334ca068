/* Quantizes activations to the one format that every quantized matmul reads (kern.h). The other
 * levels reproduce these bits. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "kern/levels.h"
#include "kern/panel.h"
#include "quant/half.h"

/* Bits of the largest magnitude; NaN counts as larger than infinity, so that it is not lost. */
static uint32_t max_bits(const float *x, int n) {
    uint32_t max = 0;
    for (int i = 0; i < n; i++) {
        uint32_t b = quant_bits(x[i]) & 0x7FFFFFFFu;
        if (b > max) max = b;
    }
    return max;
}

/* Codes of n values in steps of `step`, and the sums of 16 codes each. */
static void quantize_group(const float *x, int n, float step, int8_t *q, int16_t *sum) {
    float inverse = 1.0f / step;
    for (int i = 0; i < n; i++) {
        float v = x[i] * inverse;
        v = v > -127.0f ? v : -127.0f; /* NaN too */
        v = v < 127.0f ? v : 127.0f;
        q[i] = (int8_t)lrintf(v);
        sum[i / 16] = (int16_t)(sum[i / 16] + q[i]);
    }
}

static void quantize_block(const float *x, int n, int group, struct act_block *out) {
    memset(out, 0, sizeof *out);
    memset(out->s, 1, sizeof out->s);
    float max = quant_from_bits(max_bits(x, n));
    if (max < ACT_TINY) return;
    if (!(max <= FLT_MAX)) {
        out->d = NAN; /* the result must show it */
        return;
    }
    out->d = max / (float)(127 * 15);
    float limit = 15.0f / max;
    for (int i = 0; i < n; i += group) {
        float s = ceilf(quant_from_bits(max_bits(x + i, group)) * limit);
        s = s > 1.0f ? s : 1.0f;
        s = s < 15.0f ? s : 15.0f;
        memset(out->s + i / 16, (int)s, (size_t)group / 16);
        quantize_group(x + i, group, out->d * s, out->q + i, out->sum + i / 16);
    }
}

static void act_quantize(const float *x, int64_t k, int group, struct act_block *out) {
    for (int64_t i = 0; i < k; i += 256)
        quantize_block(x + i, k - i < 256 ? (int)(k - i) : 256, group, out++);
}

/* The scalar matmul reads the columns as they are. */
static void act_pack(const struct kern_cols *x, int c0, void *packed) {
    (void)x;
    (void)c0;
    (void)packed;
}

void kern_act_scalar(struct kern *k) {
    k->act_quantize = act_quantize;
    k->act_pack = act_pack;
}
