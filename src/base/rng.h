/* SplitMix64 (Steele, Lea, Flood 2014): seeded random numbers for sampling, synth and tests. */
#ifndef HOLDFAST_BASE_RNG_H
#define HOLDFAST_BASE_RNG_H

#include <stdint.h>

struct rng {
    uint64_t state;
};
static inline uint64_t rng_u64(struct rng *r) {
    uint64_t z = (r->state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}
/* Uniform in [0, 1), 53 bits. */
static inline double rng_unit(struct rng *r) {
    return (double)(rng_u64(r) >> 11) * 0x1p-53;
}
/* Uniform in [0, n), n > 0. */
static inline uint64_t rng_below(struct rng *r, uint64_t n) {
    return rng_u64(r) % n;
}
/* Roughly normal with standard deviation 1 (sum of four uniforms): for made-up weights. */
static inline float rng_normal(struct rng *r) {
    double s = rng_unit(r) + rng_unit(r) + rng_unit(r) + rng_unit(r) - 2.0;
    return (float)(s * 1.7320508075688772);
}

#endif
