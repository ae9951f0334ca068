/* Attention kernels: the scalar level, which defines the bits. */
#include "kern/attn.h"
#include "kern/levels.h"
#include "kern/simd.h"

enum { COLS_AT_ONCE = 4 };

/* Code of dim i at position p in a K block. */
static inline int k_q8(const uint8_t *codes, int dp, int p, int i) {
    return (int8_t)codes[(p / 16 * (dp / 4) + i / 4) * 64 + p % 16 * 4 + i % 4];
}
static inline int k_q4(const uint8_t *codes, int dp, int p, int i) {
    uint8_t two = codes[(p / 16 * (dp / 8) + i / 8) * 64 + p % 16 * 4 + i % 4];
    return (i % 8 < 4 ? two & 15 : two >> 4) - 8;
}
static inline int v_q8(const uint8_t *codes, int dp, int p, int i) {
    return (int8_t)codes[(p / 2 * dp + i) * 2 + p % 2];
}
static inline int v_q4(const uint8_t *codes, int dp, int p, int i) {
    uint8_t two = codes[(p / 2 * (dp / 32) + i / 32) * 32 + i % 16 * 2 + p % 2];
    return (i % 32 < 16 ? two & 15 : two >> 4) - 8;
}

typedef int (*code_fn)(const uint8_t *codes, int dp, int p, int i);

static ALWAYS_INLINE void dot_codes(code_fn code, const void *codes, const struct attn_query *q,
                                    int c0, int n, int32_t *sums) {
    int dp = attn_pad32(q->dim), chunks = dp / 32;
    for (int c = 0; c < n; c++)
        for (int j = 0; j < chunks; j++) {
            const struct act_block *b = q->q + (c0 + c) * act_blocks(dp) + j / 8;
            for (int p = q->lo & ~15; p < attn_pad16(q->hi); p++) {
                int32_t sum = 0;
                for (int i = 0; i < 32; i++)
                    sum += code(codes, dp, p, j * 32 + i) * b->q[j % 8 * 32 + i];
                sums[(c * chunks + j) * ATTN_UNIT + p] = sum;
            }
        }
}
static void dot_q8(const void *codes, const struct attn_query *q, int c0, int n, int32_t *sums) {
    dot_codes(k_q8, codes, q, c0, n, sums);
}
static void dot_q4(const void *codes, const struct attn_query *q, int c0, int n, int32_t *sums) {
    dot_codes(k_q4, codes, q, c0, n, sums);
}

static ALWAYS_INLINE void mix_codes(code_fn code, const void *codes, int dim, int group,
                                    const struct attn_step *st, const int16_t *P, int32_t *sums) {
    for (int c = 0; c < st->n; c++)
        for (int i = 0; i < 32; i++) {
            int32_t sum = 0;
            for (int p = st->lo; p < st->hi; p++)
                sum += P[c * ATTN_UNIT + p] * code(codes, attn_pad32(dim), p, group * 32 + i);
            sums[c * 32 + i] = sum;
        }
}
static void mix_q8(const void *codes, int dim, int group, const struct attn_step *st,
                   const int16_t *P, int32_t *sums) {
    mix_codes(v_q8, codes, dim, group, st, P, sums);
}
static void mix_q4(const void *codes, int dim, int group, const struct attn_step *st,
                   const int16_t *P, int32_t *sums) {
    mix_codes(v_q4, codes, dim, group, st, P, sums);
}

#define ATTN_FILL kern_attn_scalar
#include "kern/attn_tmpl.h"
