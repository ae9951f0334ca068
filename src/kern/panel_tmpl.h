/* Filling the panel: 16 rows of a segment, unpacked once for all columns and turned so that a
 * vector holds the same 4 codes of every row. Shared by the AVX2 and AVX-512 gemms. */
#ifndef HOLDFAST_KERN_PANEL_TMPL_H
#define HOLDFAST_KERN_PANEL_TMPL_H

#include "kern/gemv_tmpl.h"
#include "kern/panel.h"

/* 8 rows of 8 dwords, stride bytes apart, to 8 columns of 8: vector i of out holds dword i of
 * every row. */
FORCE_INLINE void transpose_8x8(const char *rows, size_t stride, char *out, size_t out_stride) {
    __m256i r[8], t[8];
    for (int i = 0; i < 8; i++) r[i] = load256(rows + (size_t)i * stride);
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_epi32(r[i], r[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        r[i] = _mm256_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm256_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm256_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm256_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for (int i = 0; i < 4; i++) {
        __m256i low = _mm256_permute2x128_si256(r[i], r[i + 4], 0x20);
        __m256i high = _mm256_permute2x128_si256(r[i], r[i + 4], 0x31);
        _mm256_storeu_si256((__m256i *)(out + (size_t)i * out_stride), low);
        _mm256_storeu_si256((__m256i *)(out + (size_t)(i + 4) * out_stride), high);
    }
}

/* 16 rows of n dwords (a multiple of 8), stride bytes apart, to n columns of 16 dwords. */
FORCE_INLINE void transpose_rows(const void *rows, size_t stride, int n, void *out) {
    for (int i = 0; i < n; i += 8)
        for (int half = 0; half < 2; half++)
            transpose_8x8((const char *)rows + 4 * i + (size_t)(8 * half) * stride, stride,
                          (char *)out + 64 * i + 32 * half, 64);
}

/* How a level's tiles take codes that are signed or too large for sums in int16: AVX2 as words,
 * AVX-512 as bytes with 128 added. */
#if defined(__AVX512F__) || defined(HOLDFAST_SIMDE)
enum { WIDE_CODES = 0 };
#else
enum { WIDE_CODES = 1 };
#endif

/* The codes of 16 rows of 256, with `add` added, to the panel from value k0 on. */
FORCE_INLINE void store_codes(bool wide, int add, __m256i code[16][8], int k0, struct panel *p) {
    if (!wide) {
        for (int r = 0; r < 16 && add; r++)
            for (int i = 0; i < 8; i++)
                code[r][i] = _mm256_add_epi8(code[r][i], _mm256_set1_epi8((char)add));
        transpose_rows(code, sizeof code[0], 64, p->code[k0 / 4]);
        return;
    }
    __m256i words[16][8];
    for (int h = 0; h < 2; h++) {
        for (int r = 0; r < 16; r++)
            for (int i = 0; i < 4; i++) {
                __m256i v = code[r][4 * h + i];
                words[r][2 * i] = _mm256_cvtepi8_epi16(_mm256_castsi256_si128(v));
                words[r][2 * i + 1] = _mm256_cvtepi8_epi16(_mm256_extracti128_si256(v, 1));
            }
        transpose_rows(words, sizeof words[0], 64, p->wide[k0 / 2 + 64 * h]);
    }
}

/* Panel rows behind row1 repeat the last row: their results are not stored. */
FORCE_INLINE const char *panel_row(const struct matmul_args *g, int64_t r0, int i) {
    int64_t r = r0 + i < g->row1 ? r0 + i : g->row1 - 1;
    return g->rows + (size_t)r * g->row_bytes;
}

/* Position of the scale of group 2 * chunk + odd among the 16 of a block. */
FORCE_INLINE int scale_at(int chunk, int odd) {
    return chunk / 4 * 8 + odd * 4 + chunk % 4;
}

FORCE_INLINE void fill_super(const struct super_kind *t, const struct matmul_args *g, int64_t r0,
                             int64_t block0, int n_blocks, struct panel *p) {
    __m256i code[16][8], scale[16][2], min[16];
    for (int i = 0; i < n_blocks; i++) {
        for (int r = 0; r < 16; r++) {
            struct super_vec u;
            t->unpack(panel_row(g, r0, r) + (size_t)(block0 + i) * t->bytes, &u);
            memcpy(code[r], u.code, sizeof code[r]);
            scale[r][0] = _mm256_unpacklo_epi16(u.scale, u.scale);
            scale[r][1] = _mm256_unpackhi_epi16(u.scale, u.scale);
            p->block_d[i][r] = u.d;
            if (t->mins) p->block_dmin[i][r] = u.dmin;
            __m256i m = t->mins ? u.min : u.scale;
            min[r] = _mm256_unpacklo_epi16(_mm256_permute4x64_epi64(m, 0x50),
                                           _mm256_permute4x64_epi64(m, 0xFA));
        }
        store_codes(t->is_signed && WIDE_CODES, t->is_signed ? 128 : 0, code, 256 * i, p);
        transpose_rows(scale, sizeof scale[0], 16, p->scale[16 * i]);
        if (t->mins || t->offset_log || t->is_signed)
            transpose_rows(min, sizeof min[0], 8, p->min[8 * i]);
    }
}

FORCE_INLINE void fill_chunk(const struct chunk_kind *t, const struct matmul_args *g, int64_t r0,
                             int64_t chunk0, int n_chunks, struct panel *p) {
    __m256i code[16][8];
    __m256 d[2][16], m[16];
    int add = !WIDE_CODES && t->max_code > NARROW_CODE ? 128 - t->offset : 0;
    for (int j = 0; j < n_chunks; j += 8) {
        for (int r = 0; r < 16; r++) {
            struct chunk_vec u;
            const char *row = panel_row(g, r0, r);
            if (n_chunks - j >= 8) unpack_chunks(t, row, chunk0 + j, &u);
            else unpack_tail(t, row, chunk0 + j, n_chunks - j, &u);
            memcpy(code[r], u.code, sizeof code[r]);
            d[0][r] = u.scales.d[0];
            if (t->halves) d[1][r] = u.scales.d[1];
            if (t->mins) m[r] = u.scales.m;
        }
        store_codes(t->is_signed && WIDE_CODES, add, code, 32 * j, p);
        transpose_rows(d[0], sizeof d[0][0], 8, p->d[j]);
        if (t->halves) transpose_rows(d[1], sizeof d[1][0], 8, p->d[PANEL_CHUNKS + j]);
        if (t->mins) transpose_rows(m, sizeof m[0], 8, p->m[j]);
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
