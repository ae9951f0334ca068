/* Filling the panel: 16 rows of a segment, unpacked once for all columns and turned so that a
 * vector holds the same 4 codes of every row. Shared by the AVX2 and AVX-512 gemms. */
#ifndef HOLDFAST_KERN_PANEL_TMPL_H
#define HOLDFAST_KERN_PANEL_TMPL_H

#include "kern/gemv_tmpl.h"
#include "kern/panel.h"

/* 16 rows of n dwords (a multiple of 4), stride bytes apart, to n columns of 16 dwords. */
FORCE_INLINE void transpose_rows(const void *rows, size_t stride, int n, void *out) {
    for (int i = 0; i < n; i += 4)
        for (int r = 0; r < 16; r += CODES_ROWS)
            transpose_quads((const char *)rows + 4 * i + (size_t)r * stride, stride,
                            (char *)out + 64 * i + 4 * r);
}

/* How a level's tiles take codes that are signed or too large for sums in int16: AVX2 as words,
 * AVX-512 as bytes with 128 added. */
#if defined(__AVX512F__) || defined(HOLDFAST_SIMDE)
enum { WIDE_CODES = 0 };
#else
enum { WIDE_CODES = 1 };
#endif

/* The codes of 16 rows of 256, stride bytes apart, with `add` added, to the panel from value k0
 * on. */
FORCE_INLINE void store_codes(bool wide, int add, codes64 *code, size_t stride, int k0,
                              struct panel *p) {
    __m256i words[16][8];
    for (int r = 0; r < 16 && add && !wide; r++) {
        codes64 *row = (codes64 *)((char *)code + (size_t)r * stride);
        for (int i = 0; i < 4; i++) row[i] = codes_add(row[i], add);
    }
    if (!wide) transpose_rows(code, stride, 64, p->code[k0 / 4]);
    for (int h = 0; h < 2 && wide; h++) {
        for (int r = 0; r < 16; r++)
            for (int i = 0; i < 8; i++)
                words[r][i] = _mm256_cvtepi8_epi16(
                    load128((const char *)code + (size_t)r * stride + 128 * h + 16 * i));
        transpose_rows(words, sizeof words[0], 64, p->wide[k0 / 2 + 64 * h]);
    }
}

/* Panel rows behind row1 repeat the last row: their results are not stored. */
FORCE_INLINE const char *panel_row(const struct matmul_args *g, int64_t r0, int i) {
    int64_t r = r0 + i < g->row1 ? r0 + i : g->row1 - 1;
    return g->rows + (size_t)r * g->row_bytes;
}

FORCE_INLINE void fill_super(const struct super_kind *t, const struct matmul_args *g, int64_t r0,
                             int64_t block0, int n_blocks, struct panel *p) {
    struct super_vec u[PANEL_ROWS];
    __m256i scale[PANEL_ROWS][2], min[PANEL_ROWS];
    for (int i = 0; i < n_blocks; i++) {
        for (int r = 0; r < PANEL_ROWS; r++) {
            const char *block = panel_row(g, r0, r) + (size_t)(block0 + i) * t->bytes;
            prefetch(block, t->bytes, PANELS * PANEL_ROWS * g->row_bytes);
            t->unpack(block, &u[r]);
            panel_words(u[r].scale, scale[r]);
            panel_pairs(t->mins ? u[r].min : u[r].scale, &min[r]);
            p->block_d[i][r] = u[r].d;
            if (t->mins) p->block_dmin[i][r] = u[r].dmin;
        }
        store_codes(t->is_signed && WIDE_CODES, t->is_signed ? 128 : 0, u[0].code, sizeof u[0],
                    256 * i, p);
        transpose_rows(scale, sizeof scale[0], 16, p->scale[16 * i]);
        if (t->mins || t->offset_log || t->is_signed)
            transpose_rows(min, sizeof min[0], 8, p->min[8 * i]);
    }
}

FORCE_INLINE void fill_chunk(const struct chunk_kind *t, const struct matmul_args *g, int64_t r0,
                             int64_t chunk0, int n_chunks, struct panel *p) {
    struct chunk_vec u[PANEL_ROWS];
    const struct chunk_scales *s = &u[0].scales;
    int add = !WIDE_CODES && t->max_code > NARROW_CODE ? 128 - t->offset : 0;
    for (int j = 0; j < n_chunks; j += 8) {
        for (int r = 0; r < PANEL_ROWS; r++) {
            const char *row = panel_row(g, r0, r);
            prefetch(row + (size_t)(chunk0 + j) / (t->two ? 2 : 1) * t->block_bytes,
                     (t->two ? 4 : 8) * t->block_bytes, PANELS * PANEL_ROWS * g->row_bytes);
            if (n_chunks - j >= 8) unpack_chunks(t, row, chunk0 + j, &u[r]);
            else unpack_tail(t, row, chunk0 + j, n_chunks - j, &u[r]);
        }
        store_codes(t->is_signed && WIDE_CODES, add, u[0].code, sizeof u[0], 32 * j, p);
        transpose_rows(&s->d[0], sizeof u[0], 8, p->d[j]);
        if (t->halves) transpose_rows(&s->d[1], sizeof u[0], 8, p->d[PANEL_CHUNKS + j]);
        if (t->mins) transpose_rows(&s->m, sizeof u[0], 8, p->m[j]);
    }
}

/* The packed activations of a tile: columns of a pack, from the segment's first block on. */
struct tile {
    const struct pack_block *b;
    const struct pack_wide *wide;
    int first; /* of the pack */
};
/* Their codes from group `step` of 4 (2) values of the segment on. */
FORCE_INLINE const void *byte_columns(const struct tile *x, int step) {
    return x->b[step / 64].q[step % 64] + x->first;
}
FORCE_INLINE const void *wide_columns(const struct tile *x, int step) {
    return x->wide[step / 128].q[step % 128] + x->first;
}

FORCE_INLINE struct tile tile_at(const void *packed, int64_t n_blocks, int col, int64_t block) {
    const char *pack =
        (const char *)packed + (size_t)(col / PANEL_COLS) * (size_t)n_blocks *
                                   (sizeof(struct pack_block) + sizeof(struct pack_wide));
    const struct pack_block *b = (const struct pack_block *)pack;
    return (struct tile){b + block, (const struct pack_wide *)(b + n_blocks) + block,
                         col % PANEL_COLS};
}

/* acc += ((0+4)+(2+6)) + ((1+5)+(3+7)) of the lanes, for n results. */
FORCE_INLINE void add_lanes(const float *lanes, int n, float *acc) {
    for (int i = 0; i < n; i++) {
        const float *l = lanes + i;
        float even = (l[0] + l[4 * n]) + (l[2 * n] + l[6 * n]);
        float odd = (l[n] + l[5 * n]) + (l[3 * n] + l[7 * n]);
        acc[i] += even + odd;
    }
}

#endif
