/* The matmul kernels: the scalar level against decoded weights in double, every other level
 * against the scalar one with ==, golden hashes that must hold on every machine. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "tests/kernels/matmul_cases.h"

/* Value i of column c as its codes have it, and the distance between two codes. */
static double act_value(const struct product *p, int c, int64_t i, double *step) {
    *step = 0;
    if (quant_info(p->type->type)->block == 1) return p->x[c * p->k + i];
    const struct act_block *a = p->q + c * act_blocks(p->k) + i / 256;
    *step = (double)a->d * a->s[i % 256 / 32];
    return *step * a->q[i % 256];
}

/* Scalar results against double: equal but for float rounding when the quantized activations
 * are taken as they are, and as far from the exact ones as rounding to codes explains. */
static void check_scalar(const struct type_case *t, int64_t k) {
    enum { ROWS = 5, COLS = 3 };
    struct product p = product_make(t, ROWS, COLS, k, 7 + (uint64_t)k);
    const struct kern *scalar = kern_level("scalar");
    float y[ROWS * COLS], *w = test_alloc((size_t)k * sizeof *w);
    product_quantize(&p, scalar);
    product_run(&p, scalar, y);
    double error = 0, variance = 0;
    for (int r = 0; r < ROWS; r++) {
        quant_info(t->type)->decode(p.w.data + (size_t)r * p.row_bytes, w, k);
        for (int c = 0; c < COLS; c++) {
            double same = 0, exact = 0, size = 0;
            for (int64_t i = 0; i < k; i++) {
                double x = p.x[c * k + i], step, coded = act_value(&p, c, i, &step);
                assert_true(fabs(x - coded) <= 0.50001 * step);
                same += w[i] * coded;
                size += fabs(w[i] * x);
                exact += w[i] * x;
                variance += pow(w[i] * step, 2) / 12;
            }
            double got = y[c * ROWS + r];
            if (!(fabs(got - same) <= 1e-6 * size + 1e-30))
                fail_msg("%s k %d row %d col %d: %g, expected %g", type_name(&p), (int)k, r, c, got,
                         same);
            error += pow(got - exact, 2);
            variance += pow(1e-6 * size, 2);
        }
    }
    assert_true(error <= 3 * variance);
    mem_free_aligned(w);
    product_free(&p);
}

static void scalar_is_right(void **state) {
    (void)state;
    for (int i = 0; i < N_TYPE_CASES; i++) {
        check_scalar(&type_cases[i], 256);
        check_scalar(&type_cases[i], 4352);
        if (quant_info(type_cases[i].type)->block < 256) check_scalar(&type_cases[i], 576);
    }
}

static void check_levels(const struct type_case *t, int rows, int cols, int64_t k) {
    for (int l = 0; l < 2; l++) {
        const struct kern *kern = kern_level(l ? "avx512" : "avx2");
        if (kern) check_level(kern, t, rows, cols, k);
    }
}

static void levels_agree(void **state) {
    (void)state;
    for (int i = 0; i < N_TYPE_CASES; i++) {
        const struct type_case *t = &type_cases[i];
        int block = quant_info(t->type)->block;
        for (int cols = 1; cols <= 19; cols++) check_levels(t, 1 + cols * 5 % 37, cols, 512);
        check_levels(t, 3, 1, 256);
        check_levels(t, 33, 9, 2304);
        check_levels(t, 17, 2, 4352);
        check_levels(t, 16, 24, 4096);
        if (block == 256) continue;
        for (int64_t k = 64; k < 700; k += 64) check_levels(t, 7, 3 + (int)(k / 64), k);
        if (block == 64) continue;
        for (int64_t k = 32; k < 640; k += 96) check_levels(t, 6, 2 + (int)(k / 32), k);
        if (block == 32) continue;
        for (int64_t k = 1; k < 70; k += 3) check_levels(t, 5, 1 + (int)(k % 11), k);
    }
}

/* FNV-1a of the bits of the results; zeros have no sign. */
static uint64_t hash_results(const struct type_case *t, int cols) {
    struct product p = product_make(t, 17, cols, 2304, 42);
    size_t n = (size_t)(17 * cols);
    float *y = test_alloc(n * sizeof *y);
    product_quantize(&p, kern_get());
    product_run(&p, kern_get(), y);
    uint64_t hash = 0xCBF29CE484222325u;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = quant_bits(y[i] == 0 ? 0 : y[i]);
        for (int b = 0; b < 32; b += 8) hash = (hash ^ (bits >> b & 0xFF)) * 0x100000001B3u;
    }
    mem_free_aligned(y);
    product_free(&p);
    return hash;
}

/* What every machine, level and compiler has to give. */
static const struct {
    int type;
    uint64_t hash[2]; /* 3 and 11 columns */
} golden[] = {
    {QUANT_F32, {0xB6EEAF165A0F7CDD, 0x58D774D61490EC01}},
    {QUANT_F16, {0x3A6E58A972FA7469, 0x86CA8027555D0294}},
    {QUANT_BF16, {0xB3E45937C577D2B5, 0xB226B403C1B3091E}},
    {QUANT_Q4_0, {0x1D978891DE875A7A, 0x596DAADA73194CDA}},
    {QUANT_Q4_1, {0x8D629F170F63667F, 0x6B7AF9C72D791DE0}},
    {QUANT_Q5_0, {0x07F1A8CF45F0EFC5, 0x277641B655415C7F}},
    {QUANT_Q5_1, {0xE157137A903FAFDB, 0x77A014659B00C0CB}},
    {QUANT_Q8_0, {0xC38D8623600F3999, 0xBB4C51F88CC51C05}},
    {QUANT_IQ4_NL, {0x549461E890CF96B4, 0xA400B624E86E6408}},
    {QUANT_MXFP4, {0xCDD75EE759C7B44B, 0x54B34DE358B2D6FD}},
    {QUANT_NVFP4, {0xC5953F5F2D46BD6D, 0x090A9C2F95529751}},
    {QUANT_Q2_K, {0xFE6E20908FD2A0DC, 0x06521DF1C7FE0353}},
    {QUANT_Q3_K, {0xB2A8A0597B9E5E46, 0x1BB02A2D006EB2FB}},
    {QUANT_Q4_K, {0x618EFC60E287977F, 0x19A1F5D89A4BDF3E}},
    {QUANT_Q5_K, {0x8C38FDDF84D8DC4C, 0xFA372D53EAE11162}},
    {QUANT_Q6_K, {0x5463B8657E16B7F3, 0x924511C69F114E43}},
    {QUANT_IQ4_XS, {0x62F6C56E07243624, 0xEFD6B58C32548790}},
};

static void hashes_hold(void **state) {
    (void)state;
    for (int i = 0; i < N_TYPE_CASES; i++) {
        assert_int_equal(golden[i].type, type_cases[i].type);
        for (int cols = 3; cols <= 11; cols += 8) {
            uint64_t hash = hash_results(&type_cases[i], cols);
            if (hash != golden[i].hash[cols > 8])
                fail_msg("%s: hash 0x%016llX", quant_info(golden[i].type)->name,
                         (unsigned long long)hash);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalar_is_right),
        cmocka_unit_test(levels_agree),
        cmocka_unit_test(hashes_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
