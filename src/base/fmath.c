/* exp, log, pow, sin, cos in double precision from + - * / alone, so that every compiler
 * and machine gives the same bits. Argument reduction as in Cody and Waite (1980), the logarithm
 * in two doubles with Dekker's exact products (1971), so that pow keeps its accuracy. */
#include "base/fmath.h"

#include <stdint.h>
#include <string.h>

static const double LN2_HI = 0x1.62e42fee00000p-1;  /* 32 bits: k * LN2_HI is exact */
static const double LN2_LO = 0x1.a39ef35793c76p-33; /* ln 2 - LN2_HI */
static const double ROUND = 0x1.8p52; /* adding and subtracting it rounds to an integer */

static uint64_t bits_of(double x) {
    uint64_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}
static double from_bits(uint64_t u) {
    double x;
    memcpy(&x, &u, sizeof x);
    return x;
}
/* 2^n for -1022 <= n <= 1023 */
static double pow2(int64_t n) {
    return from_bits((uint64_t)(n + 1023) << 52);
}

/* a * b = p + *err exactly (barring overflow) */
static double two_product(double a, double b, double *err) {
    const double split = 0x1p27 + 1;
    double p = a * b;
    double t = split * a, ah = t - (t - a), al = a - ah;
    double u = split * b, bh = u - (u - b), bl = b - bh;
    *err = ((ah * bh - p) + ah * bl + al * bh) + al * bl;
    return p;
}
static double two_sum(double a, double b, double *err) {
    double s = a + b, t = s - a;
    *err = (a - (s - t)) + (b - t);
    return s;
}

double fmath_exp(double x) {
    if (x != x) return x;
    if (x > 709.782712893384) return from_bits(0x7ffull << 52);
    if (x < -745.1332191019412) return 0;
    double n = (x * 0x1.71547652b82fep0 + ROUND) - ROUND;
    double r = (x - n * LN2_HI) - n * LN2_LO;
    /* Taylor to r^13: |r| <= 0.347 leaves 4e-18 */
    static const double inv_fact[] = {
        1.0 / 6227020800, 1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880, 1.0 / 40320,
        1.0 / 5040,       1.0 / 720,       1.0 / 120,      1.0 / 24,      1.0 / 6,      0.5};
    double p = inv_fact[0];
    for (int i = 1; i < 12; i++) p = p * r + inv_fact[i];
    p = 1 + (r + r * r * p);
    int64_t k = (int64_t)n, half = k / 2; /* two steps, so that subnormal results come out */
    return p * pow2(half) * pow2(k - half);
}

/* ln x = result + *lo to about 1e-19 relative, for finite x > 0 */
static double log_two(double x, double *lo) {
    int64_t k = 0;
    if (x < 0x1p-1022) {
        x *= 0x1p54;
        k = -54;
    }
    uint64_t u = bits_of(x);
    k += (int64_t)(u >> 52) - 1023;
    double m = from_bits((u & 0xfffffffffffffull) | 0x3ff0000000000000ull);
    if (m > 1.4142135623730951) {
        m *= 0.5;
        k++;
    }
    /* ln m = 2 atanh(s), s = f / (2 + f) with its rounding error in s_lo */
    double f = m - 1, d_lo, e;
    double d = two_sum(2, f, &d_lo);
    double s = f / d, p = two_product(s, d, &e);
    double s_lo = (((f - p) - e) - s * d_lo) / d;
    double z = s * s, q = 1.0 / 25;
    for (int i = 23; i >= 3; i -= 2) q = q * z + 1.0 / i;
    double hi = two_sum((double)k * LN2_HI, 2 * s, &e);
    e += 2 * s_lo + 2 * s * z * q + (double)k * LN2_LO;
    double sum = hi + e;
    *lo = e - (sum - hi);
    return sum;
}

double fmath_log(double x) {
    double lo;
    if (x != x || x > 0x1.fffffffffffffp1023) return x;
    if (x < 0) return from_bits(0x7ff8ull << 48);
    if (x == 0) return from_bits(0xfff0ull << 48);
    return log_two(x, &lo);
}

double fmath_pow(double x, double y) {
    if (y == 0) return 1;
    if (!(x > 0) || x > 0x1.fffffffffffffp1023) return fmath_exp(y * fmath_log(x));
    double lo, e, hi = log_two(x, &lo);
    double p = two_product(y, hi, &e);
    if (!(p > -800 && p < 800)) return fmath_exp(p);
    return fmath_exp(p) * (1 + (e + y * lo));
}

void fmath_sincos(double x, double *sin_x, double *cos_x) {
    /* pi/2 in parts of 33 bits: n * part is exact for n < 2^20 */
    const double p1 = 0x1.921fb54400000p0, p2 = 0x1.0b4611a600000p-34, p3 = 0x1.3198a2e000000p-69,
                 p4 = 0x1.b839a252049c1p-104;
    if (!(x > -0x1p62 && x < 0x1p62)) {
        *sin_x = *cos_x = x - x;
        return;
    }
    double n = (x * 0x1.45f306dc9c883p-1 + ROUND) - ROUND;
    double r = (((x - n * p1) - n * p2) - n * p3) - n * p4;
    double z = r * r;
    /* Taylor to r^17 and r^16: |r| <= 0.786 leaves 2e-18 */
    double s = 1.0 / 355687428096000, c = 1.0 / 20922789888000;
    s = s * z - 1.0 / 1307674368000;
    s = s * z + 1.0 / 6227020800;
    s = s * z - 1.0 / 39916800;
    s = s * z + 1.0 / 362880;
    s = s * z - 1.0 / 5040;
    s = s * z + 1.0 / 120;
    s = s * z - 1.0 / 6;
    s = r + r * z * s;
    c = c * z - 1.0 / 87178291200;
    c = c * z + 1.0 / 479001600;
    c = c * z - 1.0 / 3628800;
    c = c * z + 1.0 / 40320;
    c = c * z - 1.0 / 720;
    c = c * z + 1.0 / 24;
    double half = 0.5 * z, w = 1 - half; /* w rounds; what it lost comes back first */
    c = w + (((1 - w) - half) + z * z * c);
    int64_t quadrant = (int64_t)n & 3;
    double si = quadrant & 1 ? c : s, co = quadrant & 1 ? s : c;
    *sin_x = quadrant & 2 ? -si : si;
    *cos_x = (quadrant + 1) & 2 ? -co : co;
}

double fmath_sin(double x) {
    double s, c;
    fmath_sincos(x, &s, &c);
    return s;
}
double fmath_cos(double x) {
    double s, c;
    fmath_sincos(x, &s, &c);
    return c;
}

double fmath_softplus(double x) {
    if (x > 20) return x;
    double e = fmath_exp(x), u = 1 + e;
    if (u == 1) return e;
    return fmath_log(u) * (e / (u - 1)); /* the factor repairs what 1 + e lost (Kahan) */
}
