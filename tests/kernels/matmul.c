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
    *step = (double)a->d * a->s[i % 256 / 16];
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
    {QUANT_Q4_0, {0x75570B3B1F683085, 0xA107CED6821DEA1D}},
    {QUANT_Q4_1, {0x6F4408EB5307DA0C, 0xF2B6861204A9095C}},
    {QUANT_Q5_0, {0x2EE32E41458C1EA6, 0xE100E176A9C51B17}},
    {QUANT_Q5_1, {0x1B8D54335DE2D58E, 0xB3E9ED22B5873638}},
    {QUANT_Q8_0, {0x3E19E4C3AE4B984D, 0x4B27F6045A297E9F}},
    {QUANT_IQ4_NL, {0xBEF2CA2E107A1C8D, 0xC39256D0DDF3709B}},
    {QUANT_MXFP4, {0x5AA8DC1AF912B93C, 0x44AC2309BE4238B4}},
    {QUANT_NVFP4, {0x1228FC841A1FA760, 0x985B5E0F9FD532B0}},
    {QUANT_Q2_K, {0x1426DCB4DA7C8FBB, 0x1A729930533AD3FC}},
    {QUANT_Q3_K, {0xEF35BAA8865145D6, 0xA40E695136F725DE}},
    {QUANT_Q4_K, {0x8A4DC1666654D0BD, 0xAA26B70D1D606F71}},
    {QUANT_Q5_K, {0xF1F4F218E66F7356, 0x50B47ACDEE0AE5C7}},
    {QUANT_Q6_K, {0xE5134B16852B0F02, 0x14CF035497FC3384}},
    {QUANT_IQ4_XS, {0x72A868D1915ABC9A, 0xDBE9CA92C444C9B7}},
};

static void hashes_hold(void **state) {
    (void)state;
    bool hold = true;
    for (int i = 0; i < N_TYPE_CASES; i++) {
        assert_int_equal(golden[i].type, type_cases[i].type);
        uint64_t few = hash_results(&type_cases[i], 3), many = hash_results(&type_cases[i], 11);
        if (few == golden[i].hash[0] && many == golden[i].hash[1]) continue;
        print_error("%s: {0x%016llX, 0x%016llX}\n", quant_info(golden[i].type)->name,
                    (unsigned long long)few, (unsigned long long)many);
        hold = false;
    }
    assert_true(hold);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalar_is_right),
        cmocka_unit_test(levels_agree),
        cmocka_unit_test(hashes_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
