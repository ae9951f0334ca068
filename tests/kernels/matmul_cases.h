/* Test data for the matmul kernels: random blocks with sane scales, activations, and a buffer
 * that ends at a page nobody may touch. Included by the tests and benches of this folder. */
#ifndef TESTS_KERNELS_MATMUL_CASES_H
#define TESTS_KERNELS_MATMUL_CASES_H

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/rng.h"
#include "kern/kern.h"
#include "quant/quant.h"

/* Where a block keeps its f16 scales; -1: none. */
struct type_case {
    int type;
    int scale_at[2];
};
static const struct type_case type_cases[] = {
    {QUANT_F32, {-1, -1}},   {QUANT_F16, {-1, -1}},   {QUANT_BF16, {-1, -1}},
    {QUANT_Q4_0, {0, -1}},   {QUANT_Q4_1, {0, 2}},    {QUANT_Q5_0, {0, -1}},
    {QUANT_Q5_1, {0, 2}},    {QUANT_Q8_0, {0, -1}},   {QUANT_IQ4_NL, {0, -1}},
    {QUANT_MXFP4, {-1, -1}}, {QUANT_NVFP4, {-1, -1}}, {QUANT_Q2_K, {80, 82}},
    {QUANT_Q3_K, {108, -1}}, {QUANT_Q4_K, {0, 2}},    {QUANT_Q5_K, {0, 2}},
    {QUANT_Q6_K, {208, -1}}, {QUANT_IQ4_XS, {0, -1}},
};
enum { N_TYPE_CASES = sizeof type_cases / sizeof type_cases[0] };

static inline void store_f16(uint8_t *p, float f) {
    uint16_t h = quant_f32_to_f16(f);
    memcpy(p, &h, 2);
}

/* n weights of a type; every code and scale pattern occurs, only the outer scales are tame. */
static inline void random_weights(const struct type_case *t, uint8_t *out, int64_t n,
                                  struct rng *rng) {
    const struct quant_info *q = quant_info(t->type);
    for (int64_t i = 0; i < n / q->block; i++, out += q->bytes) {
        float v = rng_normal(rng);
        for (int b = 0; b < q->bytes; b++) out[b] = (uint8_t)rng_u64(rng);
        for (int k = 0; k < 2; k++)
            if (t->scale_at[k] >= 0) store_f16(out + t->scale_at[k], 0.01f * rng_normal(rng));
        uint16_t half = t->type == QUANT_F16 ? quant_f32_to_f16(v) : quant_f32_to_bf16(v);
        if (t->type == QUANT_F32) memcpy(out, &v, 4);
        if (t->type == QUANT_F16 || t->type == QUANT_BF16) memcpy(out, &half, 2);
        if (t->type == QUANT_MXFP4) out[0] = (uint8_t)(118 + out[0] % 8);
        if (t->type == QUANT_NVFP4)
            for (int b = 0; b < 4; b++) out[b] = (uint8_t)(out[b] % 72);
    }
}

/* len bytes that end at an unreadable page. */
struct guarded {
    uint8_t *map, *data;
    size_t map_len;
};
static inline struct guarded guarded_alloc(size_t len) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), body = (len + page - 1) / page * page;
    struct guarded g = {.map_len = body + page};
    g.map = mmap(NULL, g.map_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert(g.map != MAP_FAILED);
    mprotect(g.map + body, page, PROT_NONE);
    g.data = g.map + body - len;
    return g;
}
static inline void guarded_free(struct guarded *g) {
    munmap(g->map, g->map_len);
}

/* One product: weights (rows, k), activations (cols, k), in every form the kernels read. */
struct product {
    const struct type_case *type;
    int rows, cols;
    int64_t k;
    size_t row_bytes;
    struct guarded w;
    float *x;
    struct act_block *q;
    struct kern_cols in;
    void *scratch, *packed;
};

static inline void *test_alloc(size_t n) {
    void *p = mem_aligned(n);
    assert(p);
    return p;
}

static inline struct product product_make(const struct type_case *t, int rows, int cols, int64_t k,
                                          uint64_t seed) {
    struct product p = {.type = t, .rows = rows, .cols = cols, .k = k};
    struct rng rng = {seed};
    p.row_bytes = quant_row_bytes(t->type, k);
    p.w = guarded_alloc((size_t)rows * p.row_bytes);
    random_weights(t, p.w.data, rows * k, &rng);
    p.x = test_alloc((size_t)(cols * k) * sizeof *p.x);
    for (int64_t i = 0; i < cols * k; i++) p.x[i] = rng_normal(&rng);
    for (int64_t i = 0; i < cols * k; i += 37) p.x[i] *= 8; /* outliers, as real activations have */
    p.q = test_alloc((size_t)(cols * act_blocks(k)) * sizeof *p.q);
    p.scratch = test_alloc(kern_scratch_bytes(k));
    p.packed = test_alloc(kern_packed_bytes(cols, k) + 64);
    p.in = (struct kern_cols){
        .n_cols = cols, .k = k, .f32 = p.x, .ld = k, .q = p.q, .packed = p.packed};
    return p;
}

/* Quantizes and packs the activations with a level's kernels. */
static inline void product_quantize(struct product *p, const struct kern *kern) {
    if (quant_info(p->type->type)->block == 1) return;
    for (int c = 0; c < p->cols; c++)
        kern->act_quantize(p->x + c * p->k, p->k, 16, p->q + c * act_blocks(p->k));
    for (int c = 0; c < p->cols; c += 8) kern->act_pack(&p->in, c, p->packed);
}

static inline void product_run(const struct product *p, const struct kern *kern, float *y) {
    kern->matmul[p->type->type](p->w.data, p->row_bytes, 0, p->rows, &p->in, y, p->rows,
                                p->scratch);
}

static inline void product_free(struct product *p) {
    guarded_free(&p->w);
    mem_free_aligned(p->x);
    mem_free_aligned(p->q);
    mem_free_aligned(p->scratch);
    mem_free_aligned(p->packed);
}

/* ---- comparing levels (in cmocka programs) ---- */
#if defined(CMOCKA_H_)

static inline const char *type_name(const struct product *p) {
    return quant_info(p->type->type)->name;
}

/* kern's results for one product, its own quantization included, against the scalar level's. */
static inline void check_level(const struct kern *kern, const struct type_case *t, int rows,
                               int cols, int64_t k) {
    struct product p = product_make(t, rows, cols, k, (uint64_t)(rows * 1000 + cols + k));
    size_t n = (size_t)(rows * cols), q_bytes = (size_t)(cols * act_blocks(k)) * sizeof *p.q;
    float *expected = test_alloc(n * sizeof *expected), *y = test_alloc((n + 1) * sizeof *y);
    void *q = test_alloc(q_bytes);
    product_quantize(&p, kern_level("scalar"));
    product_run(&p, kern_level("scalar"), expected);
    memcpy(q, p.q, q_bytes);
    product_quantize(&p, kern);
    assert_memory_equal(q, p.q, q_bytes);
    memset(y, 0xFF, (n + 1) * sizeof *y);
    product_run(&p, kern, y);
    for (size_t i = 0; i < n; i++)
        if (!(y[i] == expected[i]))
            fail_msg("%s %s: %d rows %d cols k %d: row %d col %d is %a, scalar has %a", kern->level,
                     type_name(&p), rows, cols, (int)k, (int)i % rows, (int)i / rows, (double)y[i],
                     (double)expected[i]);
    uint32_t behind;
    memcpy(&behind, y + n, sizeof behind);
    assert_int_equal(behind, 0xFFFFFFFFu);
    mem_free_aligned(expected);
    mem_free_aligned(y);
    mem_free_aligned(q);
    product_free(&p);
}

#endif
#endif
