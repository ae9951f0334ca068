/* exp, tanh and the activations in float, per lane, with the same bits at every level. Polynomials
 * are minimax fits (Remez) of our own; errors are in tests/kernels/elem.c. */
#ifndef HOLDFAST_KERN_FMATH_H
#define HOLDFAST_KERN_FMATH_H

#include "kern/simd.h"

/* e^r for |r| <= 0.348: 1 + r + r^2 Q(r), relative error 3e-9 before rounding */
static inline vf v_exp_poly(vf r) {
    vf p = v_set(0.00138141700353f);
    p = v_fma(p, r, v_set(0.00836892163652f));
    p = v_fma(p, r, v_set(0.0416684080236f));
    p = v_fma(p, r, v_set(0.166665189406f));
    p = v_fma(p, r, v_set(0.499999933335f));
    return v_add(v_set(1), v_fma(v_mul(r, r), p, r));
}
/* x - n ln 2 */
static inline vf v_exp_reduce(vf x, vf n) {
    return v_fma(n, v_set(-0x1.7f7d1cp-20f), v_fma(n, v_set(-0x1.62e400p-1f), x));
}

/* e^x; 0 below -104, infinity above 88.73; NaN stays NaN */
static inline vf v_exp(vf x) {
    vf lo = v_set(-105), hi = v_set(90);
    vf c = v_select(v_less(x, lo), lo, v_select(v_less(hi, x), hi, x));
    vf n = v_sub(v_fma(c, v_set(0x1.715476p0f), v_set(V_ROUND)), v_set(V_ROUND));
    /* 2^n in two factors, so that subnormal results round once and large ones overflow */
    vf half = v_fma(n, v_set(0.5f), v_set(V_ROUND));
    vf rest = v_add(v_sub(n, v_sub(half, v_set(V_ROUND))), v_set(V_ROUND));
    vf p = v_exp_poly(v_exp_reduce(c, n));
    return v_mul(v_mul(p, v_pow2(half)), v_pow2(rest));
}
/* e^x for x <= 0; exactly 0 below -87 (and for NaN), so that no weight is subnormal */
static inline vf v_exp_weight(vf x) {
    vf c = v_max(x, v_set(-87));
    vf t = v_fma(c, v_set(0x1.715476p0f), v_set(V_ROUND));
    vf p = v_exp_poly(v_exp_reduce(c, v_sub(t, v_set(V_ROUND))));
    return v_select(v_less(x, v_set(-87)), v_set(0), v_mul(p, v_pow2(t)));
}

static inline vf v_tanh(vf x) {
    vf a = v_abs(x), z = v_mul(x, x);
    vf p = v_set(-0.0057170887244f); /* below 0.625: x + x^3 P(x^2) */
    p = v_fma(p, z, v_set(0.0206506312209f));
    p = v_fma(p, z, v_set(-0.0537435136141f));
    p = v_fma(p, z, v_set(0.133314915108f));
    p = v_fma(p, z, v_set(-0.33333283936f));
    vf small = v_fma(v_mul(x, z), p, x);
    vf e = v_exp(v_add(a, a)); /* above: 1 - 2 / (e^2x + 1) */
    vf large = v_sub(v_set(1), v_div(v_set(2), v_add(e, v_set(1))));
    return v_select(v_less(a, v_set(0.625f)), small, v_sign(large, x));
}

/* x sigma(t), through e^-|t| so that neither tail loses its digits */
static inline vf v_times_sigmoid(vf x, vf t) {
    vf e = v_exp(v_sub(v_set(0), v_abs(t)));
    vf num = v_select(v_less(t, v_set(0)), e, v_set(1));
    return v_div(v_mul(x, num), v_add(v_set(1), e));
}
static inline vf v_silu(vf x) {
    return v_times_sigmoid(x, x);
}
/* 0.5 x (1 + tanh(u)) = x sigma(2u), u = sqrt(2/pi) (x + 0.044715 x^3) */
static inline vf v_gelu(vf x) {
    vf z = v_mul(x, x);
    return v_times_sigmoid(x, v_mul(x, v_fma(z, v_set(0.0713548163f), v_set(1.59576912f))));
}
static inline vf v_relu2(vf x) {
    vf p = v_max(x, v_set(0));
    return v_mul(p, p);
}
/* g' sigma(1.702 g') with g' = min(g, 7): the gate of gpt-oss (spec/architectures.md E8) */
static inline vf v_oai_gate(vf g) {
    vf c = v_min(g, v_set(7));
    return v_times_sigmoid(c, v_mul(c, v_set(1.702f)));
}
/* clamp(u, -7, 7) + 1 */
static inline vf v_oai_up(vf u) {
    return v_add(v_max(v_min(u, v_set(7)), v_set(-7)), v_set(1));
}

#endif
