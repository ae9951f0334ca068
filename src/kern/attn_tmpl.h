/* Attention kernels, written once over simd.h: everything in float, and the stores. A level's
 * attn_*.c includes this after the two integer sums of its own and names ATTN_FILL:
 *  dot_q8, dot_q4   sums[c][chunk][p]: q codes times k codes of each 32 dims, exact
 *  mix_q8, mix_q4   sums[c][i]: P times v codes of 32 dims, exact */
#include "kern/attn.h"
#include "kern/fmath.h"

enum { MAX_CHUNKS = ATTN_MAX_DIM / 32 };

/* ---- f32 and f16: out[c] = sum over rows of a[c][row] * b[row], one fma per row, in order ---- */
struct panel_args {
    const float *a; /* (n, lda) */
    int lda, n, row0, row1;
    const void *b; /* rows of ldb values */
    int ldb, width;
    float *out; /* (n, ld_out) */
    int ld_out;
    const float *keep, *take; /* (n) or NULL: out = sums */
};

/* BLOCKS blocks of 16 values for C columns stay in registers: a power of two, so that it divides
 * the 64 positions of a unit. */
enum { TILE = VL == 16 ? 16 : 4 /* the most of C * BLOCKS */ };
static ALWAYS_INLINE int tile_blocks(const int C) {
    int most = TILE / (C == 3 ? 4 : C);
    return most < 4 ? most : 4;
}

static ALWAYS_INLINE void tile_end(const struct panel_args *p, int c, int i, vf sum) {
    float *out = p->out + (int64_t)c * p->ld_out + i;
    if (!p->keep) v_store(out, sum);
    else if (p->take[c] != 0)
        v_store(out, v_fma(sum, v_set(p->take[c]), v_mul(v_load(out), v_set(p->keep[c]))));
}

#define PANEL(T, LOAD)                                                                             \
    static ALWAYS_INLINE void tile_##T(const struct panel_args *p, int c0, int i0, const int C,    \
                                       const int BLOCKS) {                                         \
        vf acc[TILE * V16];                                                                        \
        UNROLL for (int j = 0; j < C * BLOCKS * V16; j++) acc[j] = v_set(0);                       \
        const float *a = p->a + (int64_t)c0 * p->lda;                                              \
        for (int row = p->row0; row < p->row1; row++) {                                            \
            const T *b = (const T *)p->b + (int64_t)row * p->ldb + i0;                             \
            UNROLL for (int j = 0; j < BLOCKS * V16; j++) {                                        \
                vf x = LOAD(b + j * VL);                                                           \
                UNROLL for (int c = 0; c < C; c++) {                                               \
                    vf *s = &acc[c * BLOCKS * V16 + j];                                            \
                    *s = v_fma(v_set(a[c * p->lda + row]), x, *s);                                 \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
        UNROLL for (int c = 0; c < C; c++) {                                                       \
            UNROLL for (int j = 0; j < BLOCKS * V16; j++)                                          \
                tile_end(p, c0 + c, i0 + j * VL, acc[c * BLOCKS * V16 + j]);                       \
        }                                                                                          \
    }                                                                                              \
    static ALWAYS_INLINE void cols_##T(const struct panel_args *p, int c, const int C) {           \
        const int B = tile_blocks(C);                                                              \
        int i = 0;                                                                                 \
        for (; i + B * 16 <= p->width; i += B * 16) tile_##T(p, c, i, C, B);                       \
        for (; i < p->width; i += 16) tile_##T(p, c, i, C, 1);                                     \
    }                                                                                              \
    static void panel_##T(const struct panel_args *p) {                                            \
        for (int c = 0, n; c < p->n; c += n) {                                                     \
            n = attn_next_cols(p->n - c, COLS_AT_ONCE);                                            \
            if (n == 8) cols_##T(p, c, 8);                                                         \
            if (n == 4) cols_##T(p, c, 4);                                                         \
            if (n == 3) cols_##T(p, c, 3);                                                         \
            if (n == 2) cols_##T(p, c, 2);                                                         \
            if (n == 1) cols_##T(p, c, 1);                                                         \
        }                                                                                          \
    }                                                                                              \
    static void scores_##T(const void *k, const struct attn_query *q, float *s) {                  \
        panel_##T(&(struct panel_args){.a = q->f,                                                  \
                                       .lda = attn_pad32(q->dim),                                  \
                                       .n = q->n,                                                  \
                                       .row1 = q->dim,                                             \
                                       .b = k,                                                     \
                                       .ldb = ATTN_UNIT,                                           \
                                       .width = attn_pad16(q->hi),                                 \
                                       .out = s,                                                   \
                                       .ld_out = ATTN_UNIT});                                      \
    }                                                                                              \
    static void values_##T(const void *v, int dim, const struct attn_step *st, float *acc) {       \
        panel_##T(&(struct panel_args){.a = st->w,                                                 \
                                       .lda = ATTN_UNIT,                                           \
                                       .n = st->n,                                                 \
                                       .row0 = st->lo,                                             \
                                       .row1 = st->hi,                                             \
                                       .b = v,                                                     \
                                       .ldb = attn_pad16(dim),                                     \
                                       .width = attn_pad16(dim),                                   \
                                       .out = acc,                                                 \
                                       .ld_out = attn_pad32(dim),                                  \
                                       .keep = st->keep,                                           \
                                       .take = st->take});                                         \
    }
typedef uint16_t f16;
PANEL(float, v_load)
PANEL(f16, v_load_f16)

/* ---- quantized scores ------------------------------------------------------------------------ */
typedef void (*dot_fn)(const void *codes, const struct attn_query *q, int c0, int n, int32_t *sums);

/* Scores of one column from its sums (chunks, 64), by the lanes of attn.h. Lanes come in the order
 * in which the tree adds them: lane 0, half, ..., and i's trailing ones say how many sums are due.
 */
static ALWAYS_INLINE void sum_lanes(const int32_t *sums, const float *k_scale,
                                    const struct act_block *q, int chunks, const int LANES,
                                    int from, int to, float *s) {
    vf scale[MAX_CHUNKS];
    for (int j = 0; j < chunks; j++) scale[j] = v_set(q[j / 8].d * (float)q[j / 8].s[j % 8 * 2]);
    for (int p = from; p < to; p += VL) {
        vf due[4];
        UNROLL for (int i = 0; i < LANES; i++) {
            int l = LANES == 8 ? (i & 1) * 4 + (i & 2) + i / 4 : LANES == 4 ? i % 2 * 2 + i / 2 : i;
            vf x = v_set(0);
            for (int j = l; j < chunks; j += 8)
                x = v_fma(v_mul(v_load(k_scale + j * ATTN_UNIT + p), scale[j]),
                          v_load_i32(sums + j * ATTN_UNIT + p), x);
            int level = 0;
            UNROLL for (int bit = i; bit & 1; bit >>= 1) x = v_add(due[level++], x);
            due[level] = x;
        }
        v_store(s + p, due[LANES == 8 ? 3 : LANES / 2]);
    }
}

static ALWAYS_INLINE void scores_quant(const void *k, size_t code_bytes, dot_fn dot,
                                       const struct attn_query *q, float *s) {
    _Alignas(64) int32_t sums[COLS_AT_ONCE * MAX_CHUNKS * ATTN_UNIT];
    _Alignas(64) float k_scale[MAX_CHUNKS * ATTN_UNIT];
    int chunks = attn_pad32(q->dim) / 32, from = q->lo & ~15, to = q->hi;
    const f16 *stored = (const f16 *)((const char *)k + code_bytes);
    for (int i = 0; i < chunks * ATTN_UNIT; i += VL) v_store(k_scale + i, v_load_f16(stored + i));
    for (int c0 = 0, n; c0 < q->n; c0 += n) {
        n = attn_next_cols(q->n - c0, COLS_AT_ONCE);
        dot(k, q, c0, n, sums);
        for (int c = 0; c < n; c++) {
            const int32_t *at = sums + c * chunks * ATTN_UNIT;
            const struct act_block *x = q->q + (c0 + c) * act_blocks(attn_pad32(q->dim));
            float *out = s + (c0 + c) * ATTN_UNIT;
            if (chunks == 2) sum_lanes(at, k_scale, x, 2, 2, from, to, out);
            else if (chunks == 4) sum_lanes(at, k_scale, x, 4, 4, from, to, out);
            else if (chunks == 8) sum_lanes(at, k_scale, x, 8, 8, from, to, out);
            else if (chunks > 4) sum_lanes(at, k_scale, x, chunks, 8, from, to, out);
            else if (chunks == 3) sum_lanes(at, k_scale, x, 3, 4, from, to, out);
            else sum_lanes(at, k_scale, x, 1, 1, from, to, out);
        }
    }
}
static void scores_q8(const void *k, const struct attn_query *q, float *s) {
    scores_quant(k, attn_code_bytes(ATTN_Q8_0, q->dim), dot_q8, q, s);
}
static void scores_q4(const void *k, const struct attn_query *q, float *s) {
    scores_quant(k, attn_code_bytes(ATTN_Q4_0, q->dim), dot_q4, q, s);
}

/* ---- quantized values ------------------------------------------------------------------------ */
typedef void (*mix_fn)(const void *codes, int dim, int group, const struct attn_step *st,
                       const int16_t *P, int32_t *sums);

/* P (64) of one column for one group of 32 dims; returns the scale of its sums. */
static ALWAYS_INLINE float quantize_weights(const float *w, const float *v_scale, int16_t *P) {
    vf u[ATTN_UNIT / VL], top[V16];
    UNROLL for (int j = 0; j < V16; j++) top[j] = v_set(0);
    UNROLL for (int i = 0; i < ATTN_UNIT / VL; i++) {
        u[i] = v_mul(v_load(w + i * VL), v_load(v_scale + i * VL));
        top[i % V16] = v_max(v_abs(u[i]), top[i % V16]);
    }
    float max = v_max16(top);
    vf inverse = v_set(max > 1e-30f ? 32767.0f / max : 0), round = v_set(V_ROUND);
    UNROLL for (int i = 0; i < ATTN_UNIT / VL; i++)
        v_store_i16(P + i * VL, v_add(v_mul(u[i], inverse), round));
    return max / 32767.0f;
}

static ALWAYS_INLINE void values_quant(const void *v, size_t code_bytes, mix_fn mix, int dim,
                                       const struct attn_step *st, float *acc) {
    _Alignas(64) int16_t P[ATTN_COLS * ATTN_UNIT];
    _Alignas(64) int32_t sums[ATTN_COLS * 32];
    _Alignas(64) float v_scale[ATTN_UNIT];
    float scale[ATTN_COLS];
    int dp = attn_pad32(dim);
    const f16 *stored = (const f16 *)((const char *)v + code_bytes);
    for (int g = 0; g < dp / 32; g++, stored += ATTN_UNIT) {
        for (int p = 0; p < ATTN_UNIT; p += VL) v_store(v_scale + p, v_load_f16(stored + p));
        for (int c = 0; c < st->n; c++)
            scale[c] = quantize_weights(st->w + c * ATTN_UNIT, v_scale, P + c * ATTN_UNIT);
        mix(v, dim, g, st, P, sums);
        for (int c = 0; c < st->n; c++) {
            if (st->take[c] == 0) continue;
            float *out = acc + c * dp + g * 32;
            vf take = v_set(scale[c] * st->take[c]), keep = v_set(st->keep[c]);
            UNROLL for (int i = 0; i < 32; i += VL) v_store(
                out + i, v_fma(v_load_i32(sums + c * 32 + i), take, v_mul(v_load(out + i), keep)));
        }
    }
}
static void values_q8(const void *v, int dim, const struct attn_step *st, float *acc) {
    values_quant(v, attn_code_bytes(ATTN_Q8_0, dim), mix_q8, dim, st, acc);
}
static void values_q4(const void *v, int dim, const struct attn_step *st, float *acc) {
    values_quant(v, attn_code_bytes(ATTN_Q4_0, dim), mix_q4, dim, st, acc);
}

/* ---- softmax --------------------------------------------------------------------------------- */
/* Merges maxima and sums of n columns, and leaves the factors of both sides. */
static void merge_sums(const float *max, const float *sum, struct attn_state *st, int n,
                       float *keep, float *take) {
    for (int c = 0; c < n; c += VL) {
        vf m0 = v_load(st->max + c), m1 = v_load(max + c);
        vf d = v_sub(m1, m0), e = v_exp_weight(v_sub(v_set(0), v_abs(d)));
        vmask rises = v_less(m0, m1), none = v_less(m1, v_set(-3e38f));
        vf k = v_select(none, v_set(1), v_select(rises, e, v_set(1)));
        vf t = v_select(none, v_set(0), v_select(rises, v_set(1), e));
        v_store(keep + c, k);
        v_store(take + c, t);
        v_store(st->max + c, v_select(rises, m1, m0));
        v_store(st->sum + c, v_fma(v_load(sum + c), t, v_mul(v_load(st->sum + c), k)));
    }
}

static const float position[ATTN_UNIT] = {
    0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
    22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43,
    44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63};

/* Scores of one column scaled, capped and masked; returns their maximum. */
static float mask_scores(const struct attn_step *step, int c) {
    float *w = step->w + c * ATTN_UNIT;
    vf scale = v_set(step->scale), cap = v_set(step->softcap), hidden = v_set(-INFINITY);
    vf first = v_set((float)step->first[c]), end = v_set((float)step->end[c]);
    bool masked = step->first[c] > 0 || step->end[c] < ATTN_UNIT;
    vf top[V16];
    for (int j = 0; j < V16; j++) top[j] = hidden;
    for (int p = 0; p < ATTN_UNIT; p += VL) {
        vf x = v_mul(v_load(w + p), scale), at = v_load(position + p);
        if (step->softcap != 0) x = v_mul(cap, v_tanh(v_div(x, cap)));
        if (masked) x = v_select(v_less(at, end), v_select(v_less(at, first), hidden, x), hidden);
        v_store(w + p, x);
        top[p / VL % V16] = v_max(x, top[p / VL % V16]);
    }
    return v_max16(top);
}

/* Scores to weights; returns their sum. */
static float exp_scores(float *w, float max) {
    vf m = v_set(max), acc[V16];
    for (int j = 0; j < V16; j++) acc[j] = v_set(0);
    for (int p = 0; p < ATTN_UNIT; p += VL) {
        vf e = v_exp_weight(v_sub(v_load(w + p), m));
        v_store(w + p, e);
        acc[p / VL % V16] = v_add(acc[p / VL % V16], e);
    }
    return v_sum16(acc);
}

static void weights(struct attn_step *step, struct attn_state *st) {
    _Alignas(64) float max[ATTN_COLS], sum[ATTN_COLS];
    for (int c = 0; c < ATTN_COLS; c++) max[c] = -INFINITY, sum[c] = 0;
    for (int c = 0; c < step->n; c++)
        if (step->first[c] < step->end[c]) max[c] = mask_scores(step, c);
    for (int c = 0; c < step->n; c++) {
        float *w = step->w + c * ATTN_UNIT;
        if (step->first[c] < step->end[c]) sum[c] = exp_scores(w, max[c]);
        else memset(w, 0, ATTN_UNIT * sizeof *w);
    }
    merge_sums(max, sum, st, step->n, step->keep, step->take);
}

static void merge(struct attn_state *into, const struct attn_state *part, int n, int dim) {
    _Alignas(64) float keep[ATTN_COLS], take[ATTN_COLS];
    merge_sums(part->max, part->sum, into, n, keep, take);
    int ld = attn_pad32(dim);
    for (int c = 0; c < n; c++) {
        if (take[c] == 0) continue;
        float *acc = into->acc + c * ld;
        const float *add = part->acc + c * ld;
        vf k = v_set(keep[c]), t = v_set(take[c]);
        for (int i = 0; i < ld; i += VL)
            v_store(acc + i, v_fma(v_load(add + i), t, v_mul(v_load(acc + i), k)));
    }
}

static float exp_weight(float x) {
    float lanes[VL];
    v_store(lanes, v_exp_weight(v_set(x)));
    return lanes[0];
}

static void finish(const struct attn_state *st, int c, int dim, const float *sink, float *out) {
    float sum = st->sum[c], keep = 1;
    if (sink) {
        float max = st->max[c] > *sink ? st->max[c] : *sink;
        keep = exp_weight(st->max[c] - max);
        sum = fmaf(sum, keep, exp_weight(*sink - max));
    }
    float f = keep / sum;
    const float *acc = st->acc + c * attn_pad32(dim);
    for (int i = 0; i < dim; i++) out[i] = acc[i] * f;
}

/* ---- stores ---------------------------------------------------------------------------------- */
static void store_k_f32(void *block, int dim, int pos, const float *x) {
    for (int i = 0; i < dim; i++) ((float *)block)[i * ATTN_UNIT + pos] = x[i];
}
static void store_v_f32(void *block, int dim, int pos, const float *x) {
    memcpy((float *)block + pos * attn_pad16(dim), x, (size_t)dim * sizeof *x);
}
/* Values beyond f16's range are stored as its largest: an infinity would outlive its token. */
static inline f16 to_f16(float x) {
    float c = x > 65504 ? 65504 : x;
    return quant_f32_to_f16(c < -65504 ? -65504 : c);
}
static void store_k_f16(void *block, int dim, int pos, const float *x) {
    for (int i = 0; i < dim; i++) ((f16 *)block)[i * ATTN_UNIT + pos] = to_f16(x[i]);
}
static void store_v_f16(void *block, int dim, int pos, const float *x) {
    f16 *row = (f16 *)block + pos * attn_pad16(dim);
    for (int i = 0; i < dim; i++) row[i] = to_f16(x[i]);
}

/* The largest magnitude, with its sign; a NaN counts as larger than anything. */
static float extreme(const float *x, int n) {
    uint32_t best = 0, sign = 0;
    for (int i = 0; i < n; i++) {
        uint32_t u = quant_bits(x[i]), mag = u & 0x7fffffffu;
        sign = mag > best ? u & 0x80000000u : sign;
        best = mag > best ? mag : best;
    }
    return quant_from_bits(best | sign);
}
/* Codes of up to 32 values in steps of the f16 nearest to `step`; the rest are zero. */
static f16 quantize_group(const float *x, int n, float step, float lo, float hi, int8_t *codes) {
    f16 scale = quant_f32_to_f16(step);
    float d = quant_f16_to_f32(scale), inverse = d != 0 ? 1.0f / d : 0;
    memset(codes, 0, 32);
    for (int i = 0; i < n; i++) {
        float t = x[i] * inverse;
        t = t > lo ? t : lo;
        t = (t < hi ? t : hi) + V_ROUND;
        codes[i] = (int8_t)(quant_bits(t) & 0xff);
    }
    return scale;
}
static f16 quantize_q8(const float *x, int n, int8_t *codes) {
    return quantize_group(x, n, fabsf(extreme(x, n)) / 127, -127, 127, codes);
}
/* The extreme value gets code -8, so its sign goes to the scale. */
static f16 quantize_q4(const float *x, int n, int8_t *codes) {
    f16 scale = quantize_group(x, n, extreme(x, n) / -8, -8, 7, codes);
    for (int i = 0; i < 32; i++) codes[i] = (int8_t)(codes[i] + 8);
    return scale;
}

typedef f16 (*quantize_fn)(const float *x, int n, int8_t *codes);
typedef void (*place_fn)(uint8_t *codes, int dp, int pos, int group, const int8_t *q);

/* Writes the codes and scales of one position, 32 dims at a time. */
static ALWAYS_INLINE void store_quant(void *block, int dim, int pos, const float *x,
                                      enum attn_type type, quantize_fn quantize, place_fn place) {
    f16 *scale = (f16 *)((char *)block + attn_code_bytes(type, dim));
    for (int g = 0; g * 32 < dim; g++) {
        int8_t q[32];
        int n = dim - g * 32 < 32 ? dim - g * 32 : 32;
        scale[g * ATTN_UNIT + pos] = quantize(x + g * 32, n, q);
        place(block, attn_pad32(dim), pos, g, q);
    }
}

static inline void place_k_q8(uint8_t *codes, int dp, int pos, int group, const int8_t *q) {
    uint8_t *at = codes + (pos / 16 * (dp / 4) + group * 8) * 64 + pos % 16 * 4;
    for (int i = 0; i < 8; i++) memcpy(at + i * 64, q + 4 * i, 4);
}
static inline void place_v_q8(uint8_t *codes, int dp, int pos, int group, const int8_t *q) {
    uint8_t *at = codes + (pos / 2 * dp + group * 32) * 2 + pos % 2;
    for (int i = 0; i < 32; i++) at[2 * i] = (uint8_t)q[i];
}
static inline void place_k_q4(uint8_t *codes, int dp, int pos, int group, const int8_t *q) {
    uint8_t *at = codes + (pos / 16 * (dp / 8) + group * 4) * 64 + pos % 16 * 4;
    for (int i = 0; i < 4; i++)
        for (int e = 0; e < 4; e++)
            at[i * 64 + e] = (uint8_t)(q[8 * i + e] | q[8 * i + 4 + e] << 4);
}
static inline void place_v_q4(uint8_t *codes, int dp, int pos, int group, const int8_t *q) {
    uint8_t *at = codes + (pos / 2 * (dp / 32) + group) * 32 + pos % 2;
    for (int e = 0; e < 16; e++) at[2 * e] = (uint8_t)(q[e] | q[16 + e] << 4);
}

static void store_k_q8(void *block, int dim, int pos, const float *x) {
    store_quant(block, dim, pos, x, ATTN_Q8_0, quantize_q8, place_k_q8);
}
static void store_v_q8(void *block, int dim, int pos, const float *x) {
    store_quant(block, dim, pos, x, ATTN_Q8_0, quantize_q8, place_v_q8);
}
static void store_k_q4(void *block, int dim, int pos, const float *x) {
    store_quant(block, dim, pos, x, ATTN_Q4_0, quantize_q4, place_k_q4);
}
static void store_v_q4(void *block, int dim, int pos, const float *x) {
    store_quant(block, dim, pos, x, ATTN_Q4_0, quantize_q4, place_v_q4);
}

/* ---- rotations ------------------------------------------------------------------------------- */
static void rope(float *x, const float *cs, int n_rot, bool neox) {
    int half = n_rot / 2, step = neox ? 1 : 2, other = neox ? half : 1;
    for (int i = 0; i < half; i++) {
        float *a = x + i * step, *b = a + other;
        float cos_i = cs[i], sin_i = cs[half + i], a0 = *a, b0 = *b;
        *a = a0 * cos_i - b0 * sin_i;
        *b = a0 * sin_i + b0 * cos_i;
    }
}

/* The sign of a lane's own value in a butterfly with the lane h = 1, 2, 4, 8 away. */
static const float own_sign[4][16] = {
    {1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1},
    {1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1},
    {1, 1, 1, 1, -1, -1, -1, -1, 1, 1, 1, 1, -1, -1, -1, -1},
    {1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1, -1},
};
/* The butterflies within a vector; lanes beyond size stay 0. */
static ALWAYS_INLINE vf rotate_lanes(vf x, int size) {
    if (VL > 1 && size > 1) x = v_fma(x, v_load(own_sign[0]), v_swap(x, 1));
    if (VL > 2 && size > 2) x = v_fma(x, v_load(own_sign[1]), v_swap(x, 2));
    if (VL > 4 && size > 4) x = v_fma(x, v_load(own_sign[2]), v_swap(x, 4));
    if (VL > 8 && size > 8) x = v_fma(x, v_load(own_sign[3]), v_swap(x, 8));
    return x;
}

static void rotate_block(float *x, int size, vf norm) {
    if (size < VL) {
        v_store_n(x, size, v_mul(rotate_lanes(v_load_n(x, size), size), norm));
        return;
    }
    for (int i = 0; i < size; i += VL) v_store(x + i, rotate_lanes(v_load(x + i), size));
    for (int h = VL; h < size; h *= 2)
        for (int j = 0; j < size; j += 2 * h)
            for (int i = j; i < j + h; i += VL) {
                vf a = v_load(x + i), b = v_load(x + i + h);
                v_store(x + i, v_add(a, b));
                v_store(x + i + h, v_sub(a, b));
            }
    for (int i = 0; i < size; i += VL) v_store(x + i, v_mul(v_load(x + i), norm));
}

static void hadamard(float *x, int n) {
    int size = n & -n;
    float norm = 1;
    for (int s = size; s > 1; s /= 4) norm *= s == 2 ? 0.707106781f : 0.5f;
    for (int i = 0; i < n; i += size) rotate_block(x + i, size, v_set(norm));
}

static const struct kern_attn table = {
    .store_k = {store_k_f32, store_k_f16, store_k_q8, store_k_q4},
    .store_v = {store_v_f32, store_v_f16, store_v_q8, store_v_q4},
    .scores = {scores_float, scores_f16, scores_q8, scores_q4},
    .weights = weights,
    .values = {values_float, values_f16, values_q8, values_q4},
    .merge = merge,
    .finish = finish,
    .rope = rope,
    .hadamard = hadamard,
};

void ATTN_FILL(struct kern *k) {
    k->attn = &table;
}
