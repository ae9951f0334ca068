/* Element-wise kernels: accuracy against libm in double, every level against scalar with ==,
 * odd sizes, unaligned pointers; and the double functions of base/fmath.h. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/fmath.h"
#include "base/os.h"
#include "base/rng.h"
#include "kern/kern.h"

enum { N = 4099 };
static const struct kern *scalar, *levels[2];
static int n_levels;

static int setup(void **state) {
    (void)state;
    static const char *const names[] = {"avx2", "avx512"};
    scalar = kern_level("scalar");
    for (int i = 0; i < 2; i++) {
        const struct kern *k = kern_level(names[i]);
        if (k) levels[n_levels++] = k;
    }
    return 0;
}

static double sigmoid(double x) {
    return 1 / (1 + exp(-x));
}
static double ref_act(enum kern_act a, double x) {
    double c = x > 7 ? 7 : x;
    switch (a) {
    case KERN_SILU:
        return x * sigmoid(x);
    case KERN_GELU:
        return x * sigmoid(2 * 0.7978845608028654 * (x + 0.044715 * x * x * x));
    case KERN_RELU2:
        return x > 0 ? x * x : 0;
    case KERN_SWIGLU_OAI:
        return c * sigmoid(1.702 * c);
    }
    return 0;
}
/* Error in units of the last place of the float nearest to want, at least `floor_at` large. */
static double ulps(float got, double want, double floor_at) {
    double mag = fabs(want) > floor_at ? fabs(want) : floor_at;
    if (mag < 0x1p-126) mag = 0x1p-126;
    int e;
    frexp(mag, &e);
    return fabs((double)got - want) / ldexp(1, e - 24);
}

static void activations_are_accurate(void **state) {
    (void)state;
    /* The argument of gelu's sigmoid carries two roundings, so its negative tail (results
     * below |x| / 4) is held to an absolute error. */
    static const struct {
        enum kern_act act;
        double limit, floor_of_x;
    } cases[] = {
        {KERN_SILU, 3, 0}, {KERN_GELU, 3, 0.25}, {KERN_RELU2, 0.5, 0}, {KERN_SWIGLU_OAI, 3, 0.25}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        double worst = 0;
        for (int i = -40000; i <= 40000; i++) {
            float x = (float)i * 0.00237f, y;
            scalar->act(cases[c].act, &x, &y, 1);
            double at_least = fmax(1e-35, cases[c].floor_of_x * fabs((double)x));
            double u = ulps(y, ref_act(cases[c].act, x), at_least);
            if (u > worst) worst = u;
        }
        print_message("activation %d: %.2f ulp\n", (int)cases[c].act, worst);
        assert_true(worst <= cases[c].limit);
    }
}

static void softcap_is_accurate(void **state) {
    (void)state;
    double worst = 0;
    for (int i = -40000; i <= 40000; i++) {
        float x = (float)i * 0.00237f, y = x;
        scalar->softcap(&y, 1, 1);
        double u = ulps(y, tanh((double)x), 0);
        if (u > worst) worst = u;
    }
    print_message("tanh: %.2f ulp\n", worst);
    assert_true(worst <= 2.0);
    float inf[2] = {INFINITY, -INFINITY};
    scalar->softcap(inf, 30, 2);
    assert_true(inf[0] == 30 && inf[1] == -30);
}

static void softmax_and_norm_are_accurate(void **state) {
    (void)state;
    struct rng r = {7};
    for (int n = 1; n < 700; n += 37) {
        float x[700], y[700], w[700];
        double max = -1e30, sum = 0, sq = 0;
        for (int i = 0; i < n; i++) {
            x[i] = y[i] = 8 * rng_normal(&r);
            w[i] = rng_normal(&r);
            max = fmax(max, x[i]);
            sq += (double)x[i] * x[i];
        }
        for (int i = 0; i < n; i++) sum += exp(x[i] - max);
        scalar->softmax(y, n);
        for (int i = 0; i < n; i++) assert_true(ulps(y[i], exp(x[i] - max) / sum, 1e-4) < 8);
        scalar->rms_norm(x, w, y, n, 1e-5f);
        for (int i = 0; i < n; i++)
            assert_true(ulps(y[i], x[i] / sqrt(sq / n + (double)1e-5f) * w[i], 0) < 6);
    }
}

/* Runs every kernel of a level over n values at an unaligned place. */
static void run_all(const struct kern *k, const float *x, const float *y, int64_t n, float *out) {
    for (int a = 0; a < 4; a++, out += 2 * n) {
        k->glu((enum kern_act)a, x, y, out, n);
        k->act((enum kern_act)a, x, out + n, n);
    }
    k->rms_norm(x, y, out, n, 1e-6f);
    k->rms_norm(x, NULL, out + n, n, 1e-6f);
    out += 2 * n;
    for (int i = 0; i < 4; i++) memcpy(out + i * n, x, (size_t)n * sizeof *x);
    k->add(out, y, 0.37f, n);
    k->scale(out + n, 1.7f, n);
    k->softcap(out + 2 * n, 30, n);
    k->softmax(out + 3 * n, n);
}

static void levels_give_the_same_bits(void **state) {
    (void)state;
    static float x[N + 1], y[N + 1], a[14 * N + 1], b[14 * N + 1];
    struct rng r = {11};
    for (int i = 0; i <= N; i++) {
        x[i] = (i % 7 ? 3 : 40) * rng_normal(&r);
        y[i] = 5 * rng_normal(&r);
    }
    static const int sizes[] = {1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100, 576, 1000, N};
    for (int l = 0; l < n_levels; l++)
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            size_t n = (size_t)sizes[s];
            a[14 * n] = b[14 * n] = 5;
            run_all(scalar, x + 1, y + 1, (int64_t)n, a);
            run_all(levels[l], x + 1, y + 1, (int64_t)n, b);
            for (size_t i = 0; i <= 14 * n; i++)
                if (memcmp(a + i, b + i, 4) != 0)
                    fail_msg("%s, n %zu, kernel %zu, element %zu: %a, scalar %a", levels[l]->level,
                             n, i / n, i % n, (double)b[i], (double)a[i]);
        }
}

static void all_floats_give_the_same_bits(void **state) {
    (void)state;
    static float x[4096], a[4096], b[4096];
    for (uint64_t u = 0; u < 0x100000000; u += 4096 * 997) {
        for (uint32_t i = 0; i < 4096; i++) {
            uint32_t bits = (uint32_t)u + i * 997;
            memcpy(x + i, &bits, 4);
            if (x[i] != x[i]) x[i] = 0;
        }
        for (int l = 0; l < n_levels; l++)
            for (int act = 0; act < 5; act++) {
                memcpy(a, x, sizeof x);
                memcpy(b, x, sizeof x);
                if (act < 4) {
                    scalar->act((enum kern_act)act, x, a, 4096);
                    levels[l]->act((enum kern_act)act, x, b, 4096);
                } else {
                    scalar->softcap(a, 50, 4096);
                    levels[l]->softcap(b, 50, 4096);
                }
                for (int i = 0; i < 4096; i++)
                    if (memcmp(a + i, b + i, 4) != 0 && !(a[i] != a[i] && b[i] != b[i]))
                        fail_msg("kernel %d of %s at %a", act, levels[l]->level, (double)x[i]);
            }
    }
}

static double rel(double got, double want) {
    return want == 0 ? fabs(got) : fabs(got - want) / fabs(want);
}

static void doubles_are_accurate(void **state) {
    (void)state;
    struct rng r = {3};
    double e = 0, l = 0, p = 0, s = 0, c = 0, sp = 0;
    for (int i = 0; i < 400000; i++) {
        double x = 1400 * rng_unit(&r) - 700, y = exp(90 * rng_unit(&r) - 45);
        e = fmax(e, rel(fmath_exp(x), exp(x)));
        l = fmax(l, rel(fmath_log(y), log(y)));
        l = fmax(l, rel(fmath_log(1 + x * 1e-6), log(1 + x * 1e-6)));
        double q = -2 * rng_unit(&r), base = 1e4 + 1e7 * rng_unit(&r);
        p = fmax(p, rel(fmath_pow(base, q), pow(base, q)));
        double a = (i & 1 ? 1e6 : 4) * (2 * rng_unit(&r) - 1);
        if (i % 3 == 0) a = (double)(int)a;
        s = fmax(s, rel(fmath_sin(a), sin(a)));
        c = fmax(c, rel(fmath_cos(a), cos(a)));
        double z = x / 20;
        sp = fmax(sp, rel(fmath_softplus(z), z > 20 ? z : log1p(exp(z))));
    }
    print_message("exp %.1e log %.1e pow %.1e sin %.1e cos %.1e softplus %.1e\n", e, l, p, s, c,
                  sp);
    assert_true(e < 1e-15 && l < 1e-15 && p < 1e-15 && s < 1e-15 && c < 1e-15 && sp < 1e-15);
    assert_true(fmath_exp(0) == 1 && fmath_exp(-1000) == 0 && isinf(fmath_exp(1000)));
    assert_true(rel(fmath_exp(-740), exp(-740)) < 1e-2); /* subnormal */
    assert_true(isinf(fmath_log(0)) && fmath_log(1) == 0 && fmath_pow(10, 0) == 1);
    assert_true(isnan(fmath_log(-1)) && isnan(fmath_sin(INFINITY)));
    assert_true(fmath_sin(0) == 0 && fmath_cos(0) == 1);
}

static void print_rates(void **state) {
    (void)state;
    static float x[8192], y[8192];
    struct rng r = {5};
    for (int i = 0; i < 8192; i++) x[i] = y[i] = rng_normal(&r);
    for (int l = -1; l < n_levels; l++) {
        const struct kern *k = l < 0 ? scalar : levels[l];
        uint64_t best[3] = {UINT64_MAX, UINT64_MAX, UINT64_MAX};
        for (int i = 0; i < 20; i++) {
            uint64_t t[4] = {os_now_ns()};
            k->rms_norm(x, x, y, 8192, 1e-5f);
            t[1] = os_now_ns();
            k->glu(KERN_SILU, x, x, y, 8192);
            t[2] = os_now_ns();
            k->glu(KERN_GELU, x, x, y, 8192);
            t[3] = os_now_ns();
            for (int j = 0; j < 3; j++)
                if (t[j + 1] - t[j] < best[j]) best[j] = t[j + 1] - t[j];
        }
        print_message("%s: 8192 values: rms_norm %.1f us, silu glu %.1f us, gelu glu %.1f us\n",
                      k->level, (double)best[0] * 1e-3, (double)best[1] * 1e-3,
                      (double)best[2] * 1e-3);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(activations_are_accurate),
        cmocka_unit_test(softcap_is_accurate),
        cmocka_unit_test(softmax_and_norm_are_accurate),
        cmocka_unit_test(levels_give_the_same_bits),
        cmocka_unit_test(all_floats_give_the_same_bits),
        cmocka_unit_test(doubles_are_accurate),
        cmocka_unit_test(print_rates),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
