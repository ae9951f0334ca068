/* The scalar matmul: the definition of every product's bits (kern.h), and what machines without
 * a better level run. Eight columns at a time share the unpacking of a row. */
#include <math.h>

#include "kern/levels.h"
#include "kern/panel.h"
#include "kern/unpack_scalar.h"

#define FORCE_INLINE static inline __attribute__((always_inline))

static int dot_codes(const int8_t *a, const int8_t *b, int n) {
    int sum = 0;
    for (int i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

/* ---- super-block types ---- */

static float super_add(const struct super *u, bool mins, const struct act_block *a, float acc) {
    int32_t sum = 0, min_sum = 0;
    for (int j = 0; j < 16; j++) {
        sum += a->s[j] * u->scale[j] * dot_codes(u->code + 16 * j, a->q + 16 * j, 16);
        if (mins) min_sum += a->s[j] * u->min[j] * a->sum[j];
    }
    acc = fmaf(u->d * a->d, (float)sum, acc);
    return mins ? fmaf(-(u->dmin * a->d), (float)min_sum, acc) : acc;
}

FORCE_INLINE void super_matmul(void (*unpack)(const void *, struct super *), size_t block_bytes,
                               bool mins, const struct matmul_args *g) {
    int64_t n_blocks = act_blocks(g->x->k);
    for (int64_t r = g->row0; r < g->row1; r++) {
        const char *row = g->rows + (size_t)r * g->row_bytes;
        for (int c0 = 0; c0 < g->x->n_cols; c0 += PANEL_COLS) {
            int n = g->x->n_cols - c0 < PANEL_COLS ? g->x->n_cols - c0 : PANEL_COLS;
            float acc[PANEL_COLS] = {0};
            for (int64_t i = 0; i < n_blocks; i++) {
                struct super u;
                unpack(row + (size_t)i * block_bytes, &u);
                for (int c = 0; c < n; c++)
                    acc[c] = super_add(&u, mins, g->x->q + (c0 + c) * n_blocks + i, acc[c]);
            }
            for (int c = 0; c < n; c++) g->y[(c0 + c) * g->y_ld + r] = acc[c];
        }
    }
}

/* ---- 32-wide types ---- */

static float lane_sum(const float l[8]) {
    return ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]));
}

enum chunk_kind { PLAIN, OFFSET, HALVES }; /* one d; d and m; a d per 16 */

FORCE_INLINE float chunk_add(const struct chunk *u, enum chunk_kind kind, const struct act_block *a,
                             int j, float lane) {
    const uint8_t *s = a->s + 2 * j;
    const int16_t *sum = a->sum + 2 * j;
    int32_t first = s[0] * dot_codes(u->code, a->q + 32 * j, 16);
    int32_t second = s[1] * dot_codes(u->code + 16, a->q + 32 * j + 16, 16);
    if (kind == HALVES) {
        lane = fmaf(u->d[0] * a->d, (float)first, lane);
        return fmaf(u->d[1] * a->d, (float)second, lane);
    }
    lane = fmaf(u->d[0] * a->d, (float)(first + second), lane);
    if (kind == OFFSET) lane = fmaf(u->m * a->d, (float)(s[0] * sum[0] + s[1] * sum[1]), lane);
    return lane;
}

FORCE_INLINE void chunk_matmul(void (*unpack)(const void *, int64_t, struct chunk *),
                               enum chunk_kind kind, const struct matmul_args *g) {
    int64_t n_chunks = g->x->k / 32, n_blocks = act_blocks(g->x->k);
    for (int64_t r = g->row0; r < g->row1; r++) {
        const char *row = g->rows + (size_t)r * g->row_bytes;
        for (int c0 = 0; c0 < g->x->n_cols; c0 += PANEL_COLS) {
            int n = g->x->n_cols - c0 < PANEL_COLS ? g->x->n_cols - c0 : PANEL_COLS;
            float acc[PANEL_COLS] = {0}, lane[PANEL_COLS][8] = {{0}};
            for (int64_t j = 0; j < n_chunks; j++) {
                struct chunk u;
                unpack(row, j, &u);
                for (int c = 0; c < n; c++) {
                    const struct act_block *a = g->x->q + (c0 + c) * n_blocks + j / 8;
                    lane[c][j % 8] = chunk_add(&u, kind, a, (int)(j % 8), lane[c][j % 8]);
                }
                if ((j + 1) % PANEL_CHUNKS != 0 && j + 1 != n_chunks) continue;
                for (int c = 0; c < n; c++) acc[c] += lane_sum(lane[c]);
                memset(lane, 0, sizeof lane);
            }
            for (int c = 0; c < n; c++) g->y[(c0 + c) * g->y_ld + r] = acc[c];
        }
    }
}

/* ---- dense types ---- */

static float load_f32(const char *p, int64_t i) {
    float f;
    memcpy(&f, p + 4 * i, sizeof f);
    return f;
}
static float load_f16(const char *p, int64_t i) {
    uint16_t h;
    memcpy(&h, p + 2 * i, sizeof h);
    return quant_f16_to_f32(h);
}
static float load_bf16(const char *p, int64_t i) {
    uint16_t h;
    memcpy(&h, p + 2 * i, sizeof h);
    return quant_bf16_to_f32(h);
}

FORCE_INLINE void dense_matmul(float (*load)(const char *, int64_t), const struct matmul_args *g) {
    for (int64_t r = g->row0; r < g->row1; r++) {
        const char *row = g->rows + (size_t)r * g->row_bytes;
        for (int c = 0; c < g->x->n_cols; c++) {
            const float *x = g->x->f32 + c * g->x->ld;
            float lane[16] = {0};
            for (int64_t i = 0; i < g->x->k; i++)
                lane[i % 16] = fmaf(load(row, i), x[i], lane[i % 16]);
            for (int n = 8; n > 0; n /= 2)
                for (int l = 0; l < n; l++) lane[l] += lane[l + n];
            g->y[c * g->y_ld + r] = lane[0];
        }
    }
}

#define MATMUL(type, body)                                                                         \
    static void matmul_##type(const void *rows, size_t row_bytes, int64_t row0, int64_t row1,      \
                              const struct kern_cols *x, float *y, int64_t y_ld, void *scratch) {  \
        struct matmul_args g = {rows, row_bytes, row0, row1, x, y, y_ld};                          \
        (void)scratch;                                                                             \
        body;                                                                                      \
    }
#define SUPER(type, mins)                                                                          \
    MATMUL(type, super_matmul(unpack_##type, sizeof(struct block_##type), mins, &g))
#define CHUNK(type, kind) MATMUL(type, chunk_matmul(unpack_##type, kind, &g))
#define DENSE(type)       MATMUL(type, dense_matmul(load_##type, &g))

SUPER(q2_k, true)
SUPER(q3_k, false)
SUPER(q4_k, true)
SUPER(q5_k, true)
SUPER(q6_k, false)
SUPER(iq4_xs, false)
CHUNK(q4_0, PLAIN)
CHUNK(q4_1, OFFSET)
CHUNK(q5_0, PLAIN)
CHUNK(q5_1, OFFSET)
CHUNK(q8_0, PLAIN)
CHUNK(iq4_nl, PLAIN)
CHUNK(mxfp4, PLAIN)
CHUNK(nvfp4, HALVES)
DENSE(f32)
DENSE(f16)
DENSE(bf16)

void kern_matmul_scalar(struct kern *k) {
    k->gemv_cols = KERN_PACK_COLS;
#define ROW(id, type) k->matmul[QUANT_##id] = matmul_##type;
#include "kern/matmul_types.h"
}
