/* The AVX-512 matmul on machines that lack it: its translation unit is compiled here against
 * SIMDe's emulation (Debian: libsimde-dev) and compared with the scalar level by ==. Built with
 * AVX2 and FMA, so that an emulated fma rounds once. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#if defined(__AVX2__) && !defined(__AVX512F__) && __has_include(<simde/x86/avx512.h>)
#define HOLDFAST_SIMDE 1
#define SIMDE_ENABLE_NATIVE_ALIASES
#pragma GCC diagnostic ignored "-Wpsabi"
#include <simde/x86/avx512.h>
#include <simde/x86/f16c.h>
#include <simde/x86/fma.h>
#undef _mm512_madd_epi16 /* 0.7.4 gives this name to the masked form */
#define _mm512_madd_epi16(a, b) simde_mm512_madd_epi16(a, b)
#undef _mm512_cvtepi32_ps /* which it lacks */
#define _mm512_cvtepi32_ps emulated_cvtepi32_ps
static __m512 emulated_cvtepi32_ps(__m512i v) {
    simde__m512i_private n = simde__m512i_to_private(v);
    simde__m512_private f;
    for (int i = 0; i < 2; i++) f.m256[i] = _mm256_cvtepi32_ps(n.m256i[i]);
    return simde__m512_from_private(f);
}
#define kern_matmul_avx512 emulated_matmul_avx512
#include "kern/matmul_avx512.c"
#endif
#include "tests/kernels/matmul_cases.h"

static void avx512_agrees(void **state) {
    (void)state;
#if defined(HOLDFAST_SIMDE)
    const struct kern *avx2 = kern_level("avx2");
    if (!avx2) skip();
    struct kern emulated = *avx2;
    emulated.level = "avx512 (emulated)";
    kern_act_avx512(&emulated);
    emulated_matmul_avx512(&emulated);
    for (int i = 0; i < N_TYPE_CASES; i++) {
        const struct type_case *t = &type_cases[i];
        int block = quant_info(t->type)->block;
        check_level(&emulated, t, 3, 1, 256);
        check_level(&emulated, t, 5, 3, 512);
        check_level(&emulated, t, 33, 9, 2304);
        check_level(&emulated, t, 16, 16, 512);
        check_level(&emulated, t, 18, 19, 4352);
        if (block < 256) check_level(&emulated, t, 17, 11, 576);
        if (block < 64) check_level(&emulated, t, 17, 13, 352);
    }
#else
    skip();
#endif
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(avx512_agrees)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
