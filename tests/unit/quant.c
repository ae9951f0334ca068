/* src/quant: the decoders against the self-test table of spec/gguf.md 6, our own vectors and, where
 * they are present, the reference's blocks; encoders against the reference's bytes and error. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "quant/blocks.h"
#include "quant/mix.h"
#include "quant/quant.h"

/* One block with byte i = 37 * i + 11, then the scales set; sums are exact in double. */
static const struct {
    const char *type;
    int d_at, m_at; /* byte offsets of the f16 fields, -1: none */
    float first[4], middle[2], last;
    double sum, weighted;
} table[] = {
    {"q4_0", 0, -1, {-0.75f, 0.5f, 1.75f, -1}, {-0.75f, -0.25f}, 0, -5.25, -129.5},
    {"q4_1", 0, 2, {3.875f, 1.125f, 2.375f, 3.625f}, {2.375f, 3.125f}, 3.125f, 65.25, 1061.75},
    {"q5_0", 0, -1, {2.25f, -0.5f, 0.75f, -2}, {3.5f, 0}, 0.25f, 3.75, 28},
    {"q5_1", 0, 2, {4.875f, 6.125f, 7.375f, 4.625f}, {4.875f, 1.375f}, 1.375f, 130.25, 2041.25},
    {"q8_0", 0, -1, {21.25f, 30.5f, -24.25f, -15}, {-22.75f, -13.5f}, -12, -44, -2020},
    {"q2_k", 80, 82, {8.25f, 0, 2.75f, 5.5f}, {1.875f, -0.375f}, 1.125f, 514.75, 60782.5},
    {"q3_k", 108, -1, {20.25f, -27, 6.75f, -13.5f}, {0.5f, 0}, 10.5f, 239.5, 44286.25},
    {"q4_k", 0, 2, {78.875f, -6.375f, 32.375f, 71.125f}, {105.75f, -1.5f}, 12.125f, 13610, 1893210},
    {"q5_k",
     0,
     2,
     {202.875f, -6.375f, 156.375f, 71.125f},
     {261.75f, -1.5f},
     27.125f,
     29054,
     4006862},
    {"q6_k", 208, -1, {-357.75f, 424, 145.75f, -132.5f}, {-87.75f, 104}, -15, 1153, 196105},
    {"iq4_nl", 0, -1, {-8.75f, 6.25f, 28.25f, -12.25f}, {-8.75f, -2.5f}, 0.25f, -64.25, -1729.75},
    {"iq4_xs",
     0,
     -1,
     {16.25f, -0.25f, -17.25f, 20.75f},
     {-146.25f, 2.25f},
     -4,
     -2751.25,
     -522783.5},
    {"mxfp4", -1, -1, {0, 1.5f, -0.5f, -3}, {0.75f, 1.5f}, 1.5f, 6.25, 159.5},
    {"nvfp4", -1, -1, {-3.75f, 1.25f, -0.3125f, -2.5f}, {-9, 3}, 1.125f, -12.1875, -461.53125},
};

static void put16(unsigned char *p, unsigned v) {
    p[0] = (unsigned char)v;
    p[1] = (unsigned char)(v >> 8);
}

static void test_decode_table(void **state) {
    (void)state;
    for (size_t t = 0; t < sizeof table / sizeof *table; t++) {
        const struct quant_info *q = quant_info(quant_by_name(table[t].type));
        assert_non_null(q);
        unsigned char block[256];
        float y[256];
        for (int i = 0; i < q->bytes; i++) block[i] = (unsigned char)(37 * i + 11);
        if (table[t].d_at >= 0) put16(block + table[t].d_at, 0x3400);
        if (table[t].m_at >= 0) put16(block + table[t].m_at, 0x3000);
        if (strcmp(table[t].type, "mxfp4") == 0) block[0] = 126;
        if (strcmp(table[t].type, "nvfp4") == 0) memcpy(block, "\x32\x37\x3C\x41", 4);
        q->decode(block, y, q->block);
        double sum = 0, weighted = 0;
        for (int i = 0; i < q->block; i++) sum += y[i], weighted += (i + 1) * (double)y[i];
        bool same = memcmp(y, table[t].first, sizeof table[t].first) == 0 &&
                    y[q->block / 2] == table[t].middle[0] &&
                    y[q->block / 2 + 1] == table[t].middle[1] && y[q->block - 1] == table[t].last;
        for (int i = 0; !same && i < 4; i++)
            printf("%s: y[%d] = %g\n", table[t].type, i, (double)y[i]);
        assert_true(same);
        assert_true(sum == table[t].sum);
        assert_true(weighted == table[t].weighted);
    }
}

static void test_half(void **state) {
    (void)state;
    for (unsigned h = 0; h < 65536; h++) {
        float f = quant_f16_to_f32((uint16_t)h);
        int exp = h >> 10 & 31;
        double expect = exp == 31 ? INFINITY
                        : exp     ? ldexp(1024 + (h & 1023), exp - 25)
                                  : ldexp(h & 1023, -24);
        if (exp == 31 && (h & 1023)) {
            assert_true(isnan(f));
            assert_true(isnan(quant_f16_to_f32(quant_f32_to_f16(f))));
            continue;
        }
        assert_true((double)f == (h & 0x8000 ? -expect : expect));
        assert_int_equal(quant_f32_to_f16(f), h);
    }
    /* Rounding: between two neighbours the tie goes to the even one. */
    for (unsigned h = 0; h < 0x7BFF; h++) {
        float a = quant_f16_to_f32((uint16_t)h), b = quant_f16_to_f32((uint16_t)(h + 1));
        float tie = (float)(((double)a + (double)b) / 2);
        assert_int_equal(quant_f32_to_f16(tie), h % 2 ? h + 1 : h);
        assert_int_equal(quant_f32_to_f16(nextafterf(tie, 0)), h);
        assert_int_equal(quant_f32_to_f16(nextafterf(tie, INFINITY)), h + 1);
    }
    assert_int_equal(quant_f32_to_f16(65519.996f), 0x7BFF);
    assert_int_equal(quant_f32_to_f16(65520), 0x7C00);
    assert_int_equal(quant_f32_to_f16(-INFINITY), 0xFC00);
    assert_int_equal(quant_f32_to_f16(0x1p-149f), 0);
    for (unsigned h = 0; h < 65536; h++) {
        float f = quant_bf16_to_f32((uint16_t)h);
        if (isnan(f)) assert_true(isnan(quant_bf16_to_f32(quant_f32_to_bf16(f))));
        else assert_int_equal(quant_f32_to_bf16(f), h);
    }
    assert_int_equal(quant_f32_to_bf16(quant_from_bits(0x3F808000)), 0x3F80);
    assert_int_equal(quant_f32_to_bf16(quant_from_bits(0x3F818000)), 0x3F82);
}

static void test_types(void **state) {
    (void)state;
    int known = 0, decoded = 0;
    for (int i = -2; i < QUANT_TYPES + 2; i++) {
        const struct quant_info *q = quant_info(i);
        if (!q) continue;
        known++;
        decoded += q->decode != NULL;
        assert_int_equal(quant_by_name(q->name), i);
        assert_true(q->block > 0 && q->bytes > 0);
    }
    assert_int_equal(known, 35);
    assert_int_equal(decoded, 17);
    assert_int_equal(quant_by_name("Q4_K"), QUANT_Q4_K);
    assert_int_equal(quant_by_name("q4_k_m"), -1);
    assert_null(quant_info(4));
    assert_int_equal(quant_row_bytes(QUANT_Q6_K, 512), 420);
}

static void test_tensor_row(void **state) {
    (void)state;
    float x[3 * 64], row[64];
    unsigned char blocks[3 * 68];
    struct rng rng = {7};
    for (int i = 0; i < 3 * 64; i++) x[i] = rng_normal(&rng);
    quant_info(QUANT_Q8_0)->encode(x, blocks, 3 * 64);
    struct tensor t = {QUANT_Q8_0, {64, 3, 1, 1}, blocks};
    assert_int_equal(tensor_count(&t), 192);
    tensor_row(&t, 2, row);
    for (int i = 0; i < 64; i++) assert_float_equal(row[i], x[128 + i], 0.02);
}

/* What an encoder makes of normal, constant, zero and spiked rows stays near; the error bound is
 * that of the type's step. */
static void test_encode_bounds(void **state) {
    (void)state;
    static const struct {
        int type;
        double relative; /* RMS error / RMS of a normal row */
    } bound[] = {{QUANT_F32, 0},    {QUANT_F16, 3e-4},   {QUANT_BF16, 3e-3}, {QUANT_Q8_0, 7e-3},
                 {QUANT_Q4_0, 0.1}, {QUANT_Q4_K, 0.075}, {QUANT_Q6_K, 0.019}};
    struct rng rng = {3};
    for (size_t t = 0; t < sizeof bound / sizeof *bound; t++) {
        const struct quant_info *q = quant_info(bound[t].type);
        float x[2048], y[2048];
        unsigned char blocks[8192];
        for (int i = 0; i < 2048; i++)
            x[i] = i < 1024   ? rng_normal(&rng)
                   : i < 1280 ? 0
                   : i < 1536 ? -3.5f
                              : 1e-3f * (float)(i % 7);
        x[1700] = 900;
        q->encode(x, blocks, 2048);
        q->decode(blocks, y, 2048);
        double err = 0, norm = 0;
        for (int i = 0; i < 1024; i++) {
            err += ((double)y[i] - x[i]) * ((double)y[i] - x[i]);
            norm += (double)x[i] * x[i];
        }
        if (sqrt(err / norm) > bound[t].relative) printf("%s: %g\n", q->name, sqrt(err / norm));
        assert_true(sqrt(err / norm) <= bound[t].relative);
        for (int i = 1024; i < 1280; i++) assert_true(y[i] == 0);
        for (int i = 1280; i < 1536; i++) assert_true(fabsf(y[i] + 3.5f) <= 0.015f);
        assert_true(fabsf(y[1700] - 900) <= 4);
    }
}

static void test_random(void **state) {
    (void)state;
    static float y[1 << 15];
    static unsigned char blocks[sizeof y];
    for (int t = 0; t < QUANT_TYPES; t++) {
        const struct quant_info *q = quant_info(t);
        if (!q || !q->decode) continue;
        struct rng rng = {5};
        double sum = 0, square = 0;
        int n = sizeof y / sizeof *y;
        quant_random(t, 0.03f, &rng, blocks, n);
        q->decode(blocks, y, n);
        for (int i = 0; i < n; i++) sum += y[i], square += (double)y[i] * y[i];
        double std = sqrt(square / n);
        if (std < 0.02 || std > 0.033) print_error("%s: std %g\n", q->name, std);
        assert_true(std >= (q->block == 32 || q->block == 64 ? 0.014 : 0.028) && std <= 0.033);
        assert_true(fabs(sum / n) < 0.15 * std);
    }
}

static void test_mix(void **state) {
    (void)state;
    static const struct {
        const char *mix, *tensor;
        int64_t row;
        int layer;
        bool tied;
        int want;
    } rows[] = {
        {"q4_k_m", "token_embd.weight", 2048, -1, true, QUANT_Q6_K},
        {"q4_k_m", "token_embd.weight", 2048, -1, false, QUANT_Q4_K},
        {"q4_k_m", "output.weight", 2048, -1, false, QUANT_Q6_K},
        {"q4_k_m", "token_embd.weight", 576, -1, true, QUANT_Q8_0},
        {"q4_k_m", "blk.0.attn_q.weight", 2048, 0, true, QUANT_Q4_K},
        {"q4_k_m", "blk.1.attn_v.weight", 2048, 1, true, QUANT_Q6_K},
        {"q4_k_m", "blk.2.attn_v.weight", 2048, 2, true, QUANT_Q4_K},
        {"q4_k_m", "blk.4.ffn_down.weight", 8192, 4, true, QUANT_Q6_K},
        {"q4_k_m", "blk.14.ffn_down.weight", 8192, 14, true, QUANT_Q6_K},
        {"q4_k_m", "blk.14.ffn_up.weight", 2048, 14, true, QUANT_Q4_K},
        {"q4_k_m", "blk.3.ffn_up.weight", 576, 3, true, QUANT_Q5_0},
        {"q4_k_m", "blk.3.ffn_gate_inp.weight", 2048, 3, true, QUANT_F32},
        {"q4_k_m", "blk.3.ffn_up.weight", 40, 3, true, QUANT_F16},
        {"q4_k_s", "blk.3.attn_v.weight", 2048, 3, true, QUANT_Q5_K},
        {"q8_0", "output.weight", 2048, -1, false, QUANT_Q8_0},
        {"q4_0", "output.weight", 2048, -1, false, QUANT_Q6_K},
        {"f16", "output.weight", 2048, -1, false, QUANT_F16},
        {"NVFP4", "blk.3.ffn_up.weight", 96, 3, true, QUANT_IQ4_NL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(quant_mix_type(quant_mix_by_name(rows[i].mix), rows[i].tensor, rows[i].row,
                                        rows[i].layer, 16, rows[i].tied),
                         rows[i].want);
    assert_null(quant_mix_by_name("q4_k"));
    assert_string_equal(quant_file_type_name(15), "q4_k_m");
    assert_string_equal(quant_file_type_name(11), "q3_k_s");
    assert_null(quant_file_type_name(5));
}

/* --- blocks with their exact decode: our own (tools/make_vectors.py) and the reference's --- */

static unsigned char *load(const char *dir, const char *name, const char *ext, size_t *len) {
    char path[512], type[32];
    size_t n = 0;
    for (; name[n]; n++)
        type[n] = (char)(name[n] >= 'a' && name[n] <= 'z' ? name[n] - 32 : name[n]);
    snprintf(path, sizeof path, "%s/%.*s%s", dir, (int)n, ext[0] == '/' ? name : type,
             ext[0] == '/' ? "" : ext);
    FILE *f = fopen(path, "rb");
    if (!f) return NULL;
    fseek(f, 0, SEEK_END);
    *len = (size_t)ftell(f);
    rewind(f);
    unsigned char *p = malloc(*len + 1);
    if (!p || fread(p, 1, *len, f) != *len) *len = 0;
    fclose(f);
    return p;
}

/* The folder of a set of vectors, or skip. */
static const char *shared_quant(void) {
    static char dir[512];
    const char *shared = getenv("HOLDFAST_SHARED");
    snprintf(dir, sizeof dir, "%s/vectors/quant", shared ? shared : "../shared");
    FILE *f = fopen(dir, "rb");
    if (!f) skip();
    fclose(f);
    return dir;
}

static void check_blocks(const char *dir) {
    for (int i = 0; i < QUANT_TYPES; i++) {
        const struct quant_info *q = quant_info(i);
        if (!q || !q->decode || i == QUANT_F32) continue;
        size_t n_blocks, n_want;
        unsigned char *blocks = load(dir, q->name, ".blocks", &n_blocks);
        float *want = (float *)(void *)load(dir, q->name, ".f32", &n_want);
        assert_non_null(blocks);
        assert_non_null(want);
        int64_t n = (int64_t)(n_want / sizeof *want);
        assert_int_equal(n_blocks, quant_row_bytes(i, n));
        float *y = malloc(n_want);
        q->decode(blocks, y, n);
        for (int64_t k = 0; k < n; k++) assert_true(y[k] == want[k]);
        free(y);
        free(want);
        free(blocks);
    }
}

static void test_own_blocks(void **state) {
    (void)state;
    check_blocks("tests/vectors/quant");
}

static void test_shared_blocks(void **state) {
    (void)state;
    check_blocks(shared_quant());
}

static double rms(const float *a, const float *b, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
    return sqrt(sum / (double)n);
}

static void test_shared_encode(void **state) {
    (void)state;
    static const struct {
        int type;
        bool equal;
    } want[] = {{QUANT_F16, true},  {QUANT_BF16, true},  {QUANT_Q8_0, true},
                {QUANT_Q4_0, true}, {QUANT_Q4_K, false}, {QUANT_Q6_K, false}};
    const char *dir = shared_quant();
    size_t len;
    float *x = (float *)(void *)load(dir, "source.f32", "/", &len);
    assert_non_null(x);
    size_t n = len / sizeof *x;
    float *y = malloc(len), *z = malloc(len);
    unsigned char *mine = malloc(len);
    for (size_t t = 0; t < sizeof want / sizeof *want; t++) {
        const struct quant_info *q = quant_info(want[t].type);
        size_t n_blocks;
        unsigned char *blocks = load(dir, q->name, ".blocks", &n_blocks);
        q->encode(x, mine, (int64_t)n);
        if (want[t].equal) {
            assert_memory_equal(mine, blocks, quant_row_bytes(want[t].type, (int64_t)n));
        } else {
            q->decode(mine, y, (int64_t)n);
            q->decode(blocks, z, (int64_t)n);
            double ratio = rms(x, y, n) / rms(x, z, n);
            printf("%s: RMS error %.4f of the reference's\n", q->name, ratio);
            assert_true(ratio <= 1.02);
        }
        free(blocks);
    }
    free(mine);
    free(z);
    free(y);
    free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decode_table),  cmocka_unit_test(test_half),
        cmocka_unit_test(test_types),         cmocka_unit_test(test_tensor_row),
        cmocka_unit_test(test_encode_bounds), cmocka_unit_test(test_own_blocks),
        cmocka_unit_test(test_shared_blocks), cmocka_unit_test(test_shared_encode),
        cmocka_unit_test(test_random),        cmocka_unit_test(test_mix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
