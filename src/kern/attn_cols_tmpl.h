/* The integer dots of quantized attention over all columns: COLS_AT_ONCE, 4, 3, 2 or 1 at a time.
 * The including file has defined COLS_AT_ONCE and its level's dot_tile and mix_tile. */

/* Every tile that holds a visible position, every chunk. */
static ALWAYS_INLINE void dot_cols(bool q4, const uint8_t *codes, const struct attn_query *q,
                                   int c0, int32_t *sums, const int C) {
    int dp = attn_pad32(q->dim), chunks = dp / 32, tile_bytes = dp * (q4 ? 8 : 16);
    for (int j = 0; j < chunks; j++) {
        const int8_t *x[COLS_AT_ONCE];
        int x_sum[COLS_AT_ONCE];
        for (int c = 0; c < C; c++) {
            const struct act_block *b = q->q + (c0 + c) * act_blocks(dp) + j / 8;
            x[c] = b->q + j % 8 * 32;
            x_sum[c] = b->sum[j % 8 * 2] + b->sum[j % 8 * 2 + 1];
        }
        for (int tile = q->lo / 16; tile * 16 < q->hi; tile++) {
            const uint8_t *k = codes + tile * tile_bytes + j * (q4 ? 256 : 512);
            int32_t *out[COLS_AT_ONCE];
            for (int c = 0; c < C; c++) out[c] = sums + (c * chunks + j) * ATTN_UNIT + tile * 16;
            dot_tile(q4, k, x, x_sum, out, C);
        }
    }
}
#define DOT(name, q4)                                                                              \
    static void name(const void *codes, const struct attn_query *q, int c0, int n,                 \
                     int32_t *sums) {                                                              \
        if (n == COLS_AT_ONCE) dot_cols(q4, codes, q, c0, sums, COLS_AT_ONCE);                     \
        else if (n == 4) dot_cols(q4, codes, q, c0, sums, 4);                                      \
        if (n == 3) dot_cols(q4, codes, q, c0, sums, 3);                                           \
        if (n == 2) dot_cols(q4, codes, q, c0, sums, 2);                                           \
        if (n == 1) dot_cols(q4, codes, q, c0, sums, 1);                                           \
    }
DOT(dot_q8, false)
DOT(dot_q4, true)

static ALWAYS_INLINE void mix_cols(bool q4, const uint8_t *codes, int dim, int group,
                                   const struct attn_step *st, const int16_t *P, int32_t *sums) {
    int stride = attn_pad32(dim) * (q4 ? 1 : 2), pair0 = st->lo / 2, pair1 = (st->hi + 1) / 2;
    const uint8_t *v = codes + group * (q4 ? 32 : 64);
    for (int c = 0, n; c < st->n; c += n) {
        const int16_t *w = P + c * ATTN_UNIT;
        int32_t *out = sums + c * 32;
        n = attn_next_cols(st->n - c, COLS_AT_ONCE);
        if (n == COLS_AT_ONCE) mix_tile(q4, v, stride, pair0, pair1, w, out, COLS_AT_ONCE);
        else if (n == 4) mix_tile(q4, v, stride, pair0, pair1, w, out, 4);
        if (n == 3) mix_tile(q4, v, stride, pair0, pair1, w, out, 3);
        if (n == 2) mix_tile(q4, v, stride, pair0, pair1, w, out, 2);
        if (n == 1) mix_tile(q4, v, stride, pair0, pair1, w, out, 1);
    }
}
static void mix_q8(const void *codes, int dim, int group, const struct attn_step *st,
                   const int16_t *P, int32_t *sums) {
    mix_cols(false, codes, dim, group, st, P, sums);
}
static void mix_q4(const void *codes, int dim, int group, const struct attn_step *st,
                   const int16_t *P, int32_t *sums) {
    mix_cols(true, codes, dim, group, st, P, sums);
}
