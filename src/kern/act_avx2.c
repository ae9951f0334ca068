/* Activation quantization and packing with AVX2: the bits of act_scalar.c. */
#include "kern/levels.h"

#if defined(__AVX2__)
#include <float.h>
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "kern/panel.h"

static __m256i magnitude_bits(const float *x) {
    return _mm256_and_si256(_mm256_castps_si256(_mm256_loadu_ps(x)), _mm256_set1_epi32(0x7FFFFFFF));
}

static int32_t max_lane(__m256i v) {
    __m128i m = _mm_max_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4E));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0xB1));
    return _mm_cvtsi128_si32(m);
}

static __m256i round_codes(const float *x, __m256 inverse) {
    __m256 v = _mm256_mul_ps(_mm256_loadu_ps(x), inverse);
    v = _mm256_min_ps(_mm256_max_ps(v, _mm256_set1_ps(-127)), _mm256_set1_ps(127));
    return _mm256_cvtps_epi32(v);
}

static void quantize_chunk(const float *x, const float inverse[2], int8_t *q, int16_t *sum) {
    __m256 first = _mm256_set1_ps(inverse[0]), second = _mm256_set1_ps(inverse[1]);
    __m256i a = _mm256_packs_epi32(round_codes(x, first), round_codes(x + 8, first));
    __m256i b = _mm256_packs_epi32(round_codes(x + 16, second), round_codes(x + 24, second));
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    __m256i codes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(a, b), order);
    _mm256_store_si256((__m256i *)q, codes);
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), codes);
    pairs = _mm256_madd_epi16(pairs, ones); /* 4 int32 of each half */
    pairs = _mm256_hadd_epi32(pairs, pairs);
    pairs = _mm256_hadd_epi32(pairs, pairs);
    sum[0] = (int16_t)_mm256_extract_epi32(pairs, 0);
    sum[1] = (int16_t)_mm256_extract_epi32(pairs, 4);
}

/* Sub-scales of 8 groups with these maxima, and the inverses of their steps. */
static __m256i sub_scales(__m256i max_bits, float limit, float d, float inverse[8]) {
    __m256 s = _mm256_mul_ps(_mm256_castsi256_ps(max_bits), _mm256_set1_ps(limit));
    s = _mm256_min_ps(_mm256_max_ps(_mm256_ceil_ps(s), _mm256_set1_ps(1)), _mm256_set1_ps(15));
    _mm256_store_ps(inverse, _mm256_div_ps(_mm256_set1_ps(1), _mm256_mul_ps(_mm256_set1_ps(d), s)));
    return _mm256_cvtps_epi32(s);
}

static void quantize_block(const float *x, int n, int group, struct act_block *out) {
    _Alignas(32) int32_t group_max[16] = {0};
    _Alignas(32) float inverse[16];
    if (n < 256) memset(out, 0, sizeof *out);
    for (int j = 0; j < n / 16; j++)
        group_max[j] =
            max_lane(_mm256_max_epi32(magnitude_bits(x + 16 * j), magnitude_bits(x + 16 * j + 8)));
    __m256i low = _mm256_load_si256((const __m256i *)group_max);
    __m256i high = _mm256_load_si256((const __m256i *)(group_max + 8));
    if (group == 32) { /* neighbours share theirs */
        low = _mm256_max_epi32(low, _mm256_shuffle_epi32(low, 0xB1));
        high = _mm256_max_epi32(high, _mm256_shuffle_epi32(high, 0xB1));
    }
    int32_t max_bits = max_lane(_mm256_max_epi32(low, high));
    float max = _mm256_cvtss_f32(_mm256_castsi256_ps(_mm256_set1_epi32(max_bits)));
    if (max < ACT_TINY || !(max <= FLT_MAX)) {
        memset(out, 0, sizeof *out);
        memset(out->s, 1, sizeof out->s);
        if (!(max < ACT_TINY)) out->d = NAN;
        return;
    }
    out->d = max / (float)(127 * 15);
    low = sub_scales(low, 15.0f / max, out->d, inverse);
    high = sub_scales(high, 15.0f / max, out->d, inverse + 8);
    __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xD8);
    __m128i bytes =
        _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128((__m128i *)out->s, bytes);
    for (int j = 0; j < n / 32; j++)
        quantize_chunk(x + 32 * j, inverse + 2 * j, out->q + 32 * j, out->sum + 2 * j);
}

static void act_quantize(const float *x, int64_t k, int group, struct act_block *out) {
    for (int64_t i = 0; i < k; i += 256)
        quantize_block(x + i, k - i < 256 ? (int)(k - i) : 256, group, out++);
}

/* What both levels read of a column of 256 values, to column c of a pack. */
static void pack_column(const struct act_block *a, int c, struct pack_block *b) {
    for (int i = 0; i < 64; i++) memcpy(b->q[i][c], a->q + 4 * i, 4);
    for (int j = 0; j < 16; j++) b->s_sum[j / 2][c][j % 2] = (int16_t)(a->s[j] * a->sum[j]);
    b->d[c] = a->d;
}

static void pack_avx2(const struct act_block *a, int c, struct pack_block *b,
                      struct pack_wide *wide) {
    pack_column(a, c, b);
    for (int i = 0; i < 16; i++) {
        __m256i w = _mm256_cvtepi8_epi16(_mm_load_si128((const __m128i *)(a->q + 16 * i)));
        _Alignas(32) int32_t pairs[8];
        w = _mm256_mullo_epi16(w, _mm256_set1_epi16(a->s[i]));
        _mm256_store_si256((__m256i *)pairs, w);
        for (int p = 0; p < 8; p++) memcpy(wide->q[8 * i + p][c], &pairs[p], 4);
        b->s_pair[i][c][0] = b->s_pair[i][c][1] = a->s[i];
    }
}

static void pack_avx512(const struct act_block *a, int c, struct pack_block *b,
                        struct pack_wide *wide) {
    (void)wide;
    pack_column(a, c, b);
    for (int j = 0; j < 16; j++) {
        b->s[j][c] = a->s[j];
        b->s_f32[j][c] = a->s[j];
        b->sum_128[j][c] = -128 * a->sum[j];
    }
}

static inline void pack_columns(void (*pack)(const struct act_block *, int, struct pack_block *,
                                             struct pack_wide *),
                                const struct kern_cols *x, int c0, void *packed) {
    int64_t n_blocks = act_blocks(x->k);
    char *group = (char *)packed + (size_t)(c0 / PANEL_COLS) * (size_t)n_blocks *
                                       (sizeof(struct pack_block) + sizeof(struct pack_wide));
    struct pack_block *b = (struct pack_block *)group;
    struct pack_wide *wide = (struct pack_wide *)(b + n_blocks);
    static const struct act_block zero = {.d = 0};
    for (int c = 0; c < PANEL_COLS; c++)
        for (int64_t i = 0; i < n_blocks; i++)
            pack(c0 + c < x->n_cols ? x->q + (c0 + c) * n_blocks + i : &zero, c, b + i, wide + i);
}

static void act_pack_avx2(const struct kern_cols *x, int c0, void *packed) {
    pack_columns(pack_avx2, x, c0, packed);
}
static void act_pack_avx512(const struct kern_cols *x, int c0, void *packed) {
    pack_columns(pack_avx512, x, c0, packed);
}

void kern_act_avx2(struct kern *k) {
    k->act_quantize = act_quantize;
    k->act_pack = act_pack_avx2;
}
void kern_act_avx512(struct kern *k) {
    k->act_pack = act_pack_avx512;
}
#endif
