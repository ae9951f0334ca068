/* The same bits, whatever else runs (design.md section 3): logits of small models with random
 * quantized weights, 4,200 tokens deep, must not depend on threads, batch sizes, page sizes, a
 * fork, or the level of the kernels; and their hashes are the ones stored here, on every machine
 * and with both compilers. */
#include "base/rng.h"
#include "base/str.h"
#include "gguf/gguf.h"
#include "kern/kern.h"
#include "model/model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    DEPTH = 4200,
    SHORT = 700,
    EMBD = 256,
    HEADS = 4,
    KV_HEADS = 2,
    FF = 512,
    VOCAB = 96,
    LAYERS = 2,
    TAIL = 40
};

static const struct golden {
    int head_dim;
    const char *matrix, *down; /* tensor types */
    enum kv_type k, v;
    uint64_t at_short, at_depth; /* of the logits of the last TAIL positions before */
} cases[] = {
    {64, "q4_k", "q6_k", KV_Q8_0, KV_Q8_0, 0x9ba663185f8eb435, 0xd4c54252f0ea573e},
    {80, "q8_0", "q4_0", KV_Q4_0, KV_Q4_0, 0x1b574bbbb1e43712, 0x2ddd53a1fe66e7f8},
    {96, "q5_k", "iq4_nl", KV_F16, KV_Q8_0, 0xf91b57ed2c2c7f0e, 0x9af7c8b7a69bb29e},
    {128, "f16", "q3_k", KV_F32, KV_F32, 0xe899e2cf79d520c9, 0xb6f0e1fbb14f69a},
    {256, "q4_1", "mxfp4", KV_Q8_0, KV_F16, 0xbff27c74ac44a30d, 0xd9c6a0e5c7a7ca1a},
};

/* Where the f16 scales of the types we cannot encode stand, and sane values for them. */
static const struct scale {
    const char *type;
    int at[2];
    float value[2];
} scales[] = {
    {"q4_1", {0, 2}, {0.012f, -0.09f}},
    {"q5_k", {0, 2}, {0.0001f, 0.0015f}},
    {"iq4_nl", {0, 0}, {0.0008f, 0.0008f}},
    {"q3_k", {108, 108}, {0.0008f, 0.0008f}},
};

/* n random weights of a type: encoded floats, or random bits with sane scales. */
static void random_row(struct rng *r, int type, int64_t n, unsigned char *out) {
    const struct quant_info *q = quant_info(type);
    float x[FF * 2];
    if (q->encode) {
        for (int64_t i = 0; i < n; i++) x[i] = rng_normal(r) / 16;
        q->encode(x, out, n);
        return;
    }
    size_t bytes = quant_row_bytes(type, n);
    for (size_t i = 0; i < bytes; i++) out[i] = (unsigned char)rng_u64(r);
    for (int64_t b = 0; b < n / q->block; b++) {
        unsigned char *p = out + b * q->bytes;
        if (strcmp(q->name, "mxfp4") == 0) p[0] = 121; /* the exponent of 2^-7 */
        for (size_t s = 0; s < sizeof scales / sizeof *scales; s++) {
            if (strcmp(scales[s].type, q->name) != 0) continue;
            for (int k = 0; k < 2; k++) {
                uint16_t h = quant_f32_to_f16(scales[s].value[k]);
                memcpy(p + scales[s].at[k], &h, sizeof h);
            }
        }
    }
}

struct plan {
    char name[64];
    int type;
    int64_t in, out;
};

static int make_plan(const struct golden *g, struct plan *p) {
    int n = 0, f32 = quant_by_name("f32"), m = quant_by_name(g->matrix), d = quant_by_name(g->down);
    int64_t q = HEADS * g->head_dim, kv = KV_HEADS * g->head_dim;
    p[n++] = (struct plan){"token_embd.weight", quant_by_name("q8_0"), EMBD, VOCAB};
    p[n++] = (struct plan){"output_norm.weight", f32, EMBD, 0};
    for (int il = 0; il < LAYERS; il++) {
        const struct plan layer[] = {
            {"attn_norm", f32, EMBD, 0},
            {"attn_q", m, EMBD, q},
            {"attn_k", m, EMBD, kv},
            {"attn_v", m, EMBD, kv},
            {"attn_output", quant_by_name("q8_0"), q, EMBD},
            {"ffn_norm", f32, EMBD, 0},
            {"ffn_gate", m, EMBD, FF},
            {"ffn_up", m, EMBD, FF},
            {"ffn_down", d, FF, EMBD},
        };
        for (size_t i = 0; i < sizeof layer / sizeof *layer; i++) {
            p[n] = layer[i];
            snprintf(p[n++].name, sizeof p[0].name, "blk.%d.%.40s.weight", il, layer[i].name);
        }
    }
    return n;
}

static void make_model(const struct golden *g, const char *path) {
    struct err e = {0};
    struct plan plan[64];
    int n = make_plan(g, plan);
    struct rng rng = {(uint64_t)g->head_dim};
    struct gguf_writer *w = gguf_write_open(path, &e);
    assert_non_null(w);
    gguf_write_str(w, "general.architecture", STR("llama"));
    const struct {
        const char *key;
        int value;
    } keys[] = {{"llama.block_count", LAYERS},
                {"llama.context_length", 8192},
                {"llama.embedding_length", EMBD},
                {"llama.feed_forward_length", FF},
                {"llama.attention.head_count", HEADS},
                {"llama.attention.head_count_kv", KV_HEADS},
                {"llama.attention.key_length", g->head_dim},
                {"llama.attention.value_length", g->head_dim},
                {"llama.rope.dimension_count", g->head_dim}};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        gguf_write_u32(w, keys[i].key, (uint32_t)keys[i].value);
    gguf_write_f32(w, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    for (int i = 0; i < n; i++) {
        int64_t dim[2] = {plan[i].in, plan[i].out};
        gguf_write_tensor(w, plan[i].name, plan[i].type, plan[i].out ? 2 : 1, dim);
    }
    for (int i = 0; i < n; i++) {
        unsigned char row[FF * 8];
        for (int64_t r = 0; r < (plan[i].out ? plan[i].out : 1); r++) {
            if (plan[i].out) {
                random_row(&rng, plan[i].type, plan[i].in, row);
            } else {
                float ones[EMBD];
                for (int k = 0; k < EMBD; k++) ones[k] = 1 + rng_normal(&rng) / 8;
                memcpy(row, ones, sizeof ones);
            }
            gguf_write_data(w, row, quant_row_bytes(plan[i].type, plan[i].in));
        }
    }
    if (!gguf_write_close(w, &e)) fail_msg("%s", e.msg);
}

struct run {
    const char *level;
    int depth, threads, step, page_units;
    int fork_at; /* continue from a copy of the pages made after this many tokens; 0: none */
};

static unsigned char **new_pages(const struct model_group *g, int page_units) {
    int n = DEPTH / (KV_UNIT * page_units) + 1;
    unsigned char **pages = calloc((size_t)n + 1, sizeof *pages);
    size_t bytes = (g->unit_bytes * (size_t)page_units + 63) / 64 * 64;
    for (int i = 0; i < n; i++) {
        pages[i] = aligned_alloc(64, bytes);
        memset(pages[i], 0xA5, bytes); /* what is not written must not matter */
    }
    return pages;
}

static void free_pages(unsigned char **pages) {
    for (int i = 0; pages[i]; i++) free(pages[i]);
    free(pages);
}

/* Of the TAIL positions before r->depth. */
static uint64_t hash_logits(const struct golden *g, const char *path, const struct run *r) {
    struct err e = {0};
    int32_t token[DEPTH];
    uint8_t want[DEPTH] = {0};
    struct rng rng = {7};
    uint64_t hash = 14695981039346656037u;
    setenv("HOLDFAST_CPU", r->level, 1);
    struct gguf *file = gguf_open(path, &e);
    struct backend *b = backend_cpu(r->threads, false, &e);
    struct model_options o = {.n_ubatch = 512,
                              .n_logits = 512,
                              .k_type = g->k,
                              .v_type = g->v,
                              .page_units = r->page_units};
    struct model *m = file && b ? model_load(file, b, &o, &e) : NULL;
    if (!m) fail_msg("%s", e.msg);
    int n_groups;
    const struct model_group *group = model_groups(m, &n_groups);
    unsigned char **pages = new_pages(group, r->page_units), **old = NULL;
    struct kv_table table = {pages, r->page_units, group->unit_bytes};
    for (int i = 0; i < DEPTH; i++) token[i] = (int32_t)rng_below(&rng, VOCAB);
    for (int i = r->depth - TAIL; i < r->depth; i++) want[i] = 1;
    for (int at = 0; at < r->depth;) {
        int n = r->depth - at < r->step ? r->depth - at : r->step;
        if (at < r->fork_at && at + n > r->fork_at) n = r->fork_at - at;
        if (at == r->fork_at && at > 0) {
            old = pages;
            pages = new_pages(group, r->page_units);
            for (int i = 0; pages[i]; i++)
                memcpy(pages[i], old[i], group->unit_bytes * (size_t)r->page_units);
            table.pages = pages;
        }
        struct batch_seq s = {.n = n, .pos = at, .kv = {&table}};
        struct batch batch = {n, token + at, want + at, 1, &s};
        const float *x = model_forward(m, &batch, &e);
        if (!x) fail_msg("%s", e.msg);
        for (int i = 0; i < n; i++) {
            if (!want[at + i]) continue;
            for (size_t k = 0; k < VOCAB * sizeof *x; k++)
                hash = (hash ^ ((const unsigned char *)x)[k]) * 1099511628211u;
            x += VOCAB;
        }
        at += n;
    }
    free_pages(pages);
    if (old) free_pages(old);
    model_free(m);
    b->close(b);
    gguf_close(file);
    unsetenv("HOLDFAST_CPU");
    return hash;
}

static void check_case(const struct golden *g) {
    const struct run runs[] = {
        {"avx2", DEPTH, 2, 512, 1, 0},    {"avx512", DEPTH, 2, 512, 1, 0},
        {"avx2", DEPTH, 1, 512, 4, 4127}, {"avx2", SHORT, 2, 7, 1, 65},
        {"avx2", SHORT, 1, 64, 2, 0},     {"avx2", SHORT, 2, 1, 1, 0},
        {"scalar", SHORT, 2, 512, 1, 0},
    };
    char path[] = "/tmp/holdfast-golden-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    make_model(g, path);
    bool hold = true;
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        if (!kern_level(runs[i].level)) continue;
        /* sanitized kernels are some 50 times slower: one short run shows what they can show */
        if (getenv("TEST_SANITIZED") && runs[i].step != 64) continue;
        uint64_t h = hash_logits(g, path, &runs[i]);
        uint64_t stored = runs[i].depth == SHORT ? g->at_short : g->at_depth;
        if (h == stored) continue;
        print_error(
            "head size %d, run %zu (%s, %d threads, %d rows, fork %d): %#llx, stored %#llx\n",
            g->head_dim, i, runs[i].level, runs[i].threads, runs[i].step, runs[i].fork_at,
            (unsigned long long)h, (unsigned long long)stored);
        hold = false;
    }
    remove(path);
    assert_true(hold);
}

static void test_64(void **state) {
    (void)state;
    check_case(&cases[0]);
}
static void test_80(void **state) {
    (void)state;
    check_case(&cases[1]);
}
static void test_96(void **state) {
    (void)state;
    check_case(&cases[2]);
}
static void test_128(void **state) {
    (void)state;
    check_case(&cases[3]);
}
static void test_256(void **state) {
    (void)state;
    check_case(&cases[4]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_64),  cmocka_unit_test(test_80),  cmocka_unit_test(test_96),
        cmocka_unit_test(test_128), cmocka_unit_test(test_256),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
