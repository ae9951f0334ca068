/* Double-precision functions with the same bits on every machine: no libm, no fma, only
 * + - * / and fixed polynomials. For RoPE angles, gates computed once per head, samplers.
 * Error at most 1e-15 relative (sin and cos: for |x| <= 1e6; beyond that accuracy falls slowly).
 * Infinities and NaN pass through as in C's <math.h>; results may underflow to 0. */
#ifndef HOLDFAST_BASE_FMATH_H
#define HOLDFAST_BASE_FMATH_H

double fmath_exp(double x);
double fmath_log(double x);           /* x < 0: NaN, 0: -inf */
double fmath_pow(double x, double y); /* x > 0; otherwise as exp(y log x) */
void fmath_sincos(double x, double *sin_x, double *cos_x);
double fmath_sin(double x);
double fmath_cos(double x);
double fmath_softplus(double x); /* ln(1 + e^x), x itself above 20 (spec/architectures.md A) */

#endif
