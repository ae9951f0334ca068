/* The matmul kernels: the scalar level against decoded weights in double, every other level
 * against the scalar one with ==, golden hashes that must hold on every machine. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "tests/kernels/matmul_cases.h"

static const char *type_name(const struct product *p) {
    return quant_info(p->type->type)->name;
}

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

static void compare(struct product *p, const struct kern *kern, float *y, const float *expected) {
    size_t n = (size_t)(p->rows * p->cols);
    memset(y, 0xFF, (n + 1) * sizeof *y);
    product_run(p, kern, y);
    for (size_t i = 0; i < n; i++)
        if (!(y[i] == expected[i]))
            fail_msg("%s %s: %d rows %d cols k %d: row %d col %d is %a, scalar has %a", kern->level,
                     type_name(p), p->rows, p->cols, (int)p->k, (int)i % p->rows, (int)i / p->rows,
                     (double)y[i], (double)expected[i]);
    uint32_t behind;
    memcpy(&behind, y + n, sizeof behind);
    assert_int_equal(behind, 0xFFFFFFFFu);
}

/* Every level on one product, quantization included. */
static void check_levels(const struct type_case *t, int rows, int cols, int64_t k) {
    struct product p = product_make(t, rows, cols, k, (uint64_t)(rows * 1000 + cols + k));
    size_t n = (size_t)(rows * cols), q_bytes = (size_t)(cols * act_blocks(k)) * sizeof *p.q;
    float *expected = test_alloc(n * sizeof *expected), *y = test_alloc((n + 1) * sizeof *y);
    void *q = test_alloc(q_bytes);
    product_quantize(&p, kern_level("scalar"));
    product_run(&p, kern_level("scalar"), expected);
    memcpy(q, p.q, q_bytes);
    for (int l = 0; l < 2; l++) {
        const struct kern *kern = kern_level(l ? "avx512" : "avx2");
        if (!kern) continue;
        product_quantize(&p, kern);
        assert_memory_equal(q, p.q, q_bytes);
        compare(&p, kern, y, expected);
    }
    mem_free_aligned(expected);
    mem_free_aligned(y);
    mem_free_aligned(q);
    product_free(&p);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalar_is_right),
        cmocka_unit_test(levels_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
