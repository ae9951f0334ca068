/* Published shapes by name (spec/shapes.md): a row of numbers each, from which a config is made
 * and the tensor table lists what a file of that shape holds. For synth: real sizes before a
 * download. Knows no file and no weights. */
#include "model/describe.h"
#include "base/fmath.h"
#include "base/limits.h"
#include "gguf/gguf.h"
#include "model/config.h"

#include <stdio.h>
#include <string.h>

struct shape {
    const char *name, *arch, *summary;
    int n_layer, n_embd, n_head, n_kv, head_dim, n_ff, n_vocab, n_ctx;
    double rope_base, norm_eps;
    bool tied, qk_norm, post_norm;
    int n_expert, n_used, n_ff_expert; /* 0: dense */
    int window;                        /* of sliding layers; 0: none */
    double freq_factor;                /* Llama 3's rope_freqs; 0: none */
};

/* clang-format off */
static const struct shape shapes[] = {
    /* name             arch        about                       L  embd  H   Hk  D    ff     vocab   ctx     base  eps */
    {"smollm2-135m",    "llama",    "134.5 M parameters",      30,  576,  9, 3,  64,  1536,  49152,   8192, 1e5, 1e-5, .tied = true},
    {"gemma3-270m",     "gemma3",   "268.1 M parameters",      18,  640,  4, 1, 256,  2048, 262144,  32768, 1e6, 1e-6, .tied = true, .qk_norm = true, .post_norm = true, .window = 512},
    {"qwen3-0.6b",      "qwen3",    "596 M parameters",        28, 1024, 16, 8, 128,  3072, 151936,  40960, 1e6, 1e-6, .tied = true, .qk_norm = true},
    {"llama3.2-1b",     "llama",    "1.236 B parameters",      16, 2048, 32, 8,  64,  8192, 128256, 131072, 5e5, 1e-5, .tied = true, .freq_factor = 32},
    {"llama3.2-3b",     "llama",    "3.213 B parameters",      28, 3072, 24, 8, 128,  8192, 128256, 131072, 5e5, 1e-5, .tied = true, .freq_factor = 32},
    {"qwen3-4b",        "qwen3",    "4.022 B parameters",      36, 2560, 32, 8, 128,  9728, 151936,  40960, 1e6, 1e-6, .tied = true, .qk_norm = true},
    {"mistral-7b",      "llama",    "7.248 B parameters",      32, 4096, 32, 8, 128, 14336,  32768,  32768, 1e6, 1e-5, .tied = false},
    {"llama3.1-8b",     "llama",    "8.030 B parameters",      32, 4096, 32, 8, 128, 14336, 128256, 131072, 5e5, 1e-5, .freq_factor = 8},
    {"qwen3-8b",        "qwen3",    "8.191 B parameters",      36, 4096, 32, 8, 128, 12288, 151936,  40960, 1e6, 1e-6, .qk_norm = true},
    {"qwen3-30b-a3b",   "qwen3moe", "30.53 B parameters, 128 experts of which 8 are used", 48, 2048, 32, 4, 128, 6144, 151936, 40960, 1e6, 1e-6, .qk_norm = true, .n_expert = 128, .n_used = 8, .n_ff_expert = 768},
};
/* clang-format on */
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

const char *const *describe_shape_names(void) {
    static const char *names[N_SHAPES + 1];
    for (int i = 0; i < N_SHAPES; i++) names[i] = shapes[i].name;
    return names;
}

const struct shape *describe_shape(const char *name) {
    for (int i = 0; i < N_SHAPES; i++)
        if (strcmp(shapes[i].name, name) == 0) return &shapes[i];
    return NULL;
}

const char *describe_shape_summary(const struct shape *s) {
    return s->summary;
}
int64_t describe_vocab(const struct shape *s) {
    return s->n_vocab;
}
bool describe_tied(const struct shape *s) {
    return s->tied;
}

static int layers_of(const struct shape *s, int n_layer) {
    return n_layer > 0 ? n_layer : s->n_layer;
}

/* --- metadata --- */

static bool write_int(struct gguf_writer *w, const struct shape *s, const char *key, int v) {
    char full[96];
    snprintf(full, sizeof full, "%s.%s", s->arch, key);
    return gguf_write_u32(w, full, (uint32_t)v);
}
static bool write_real(struct gguf_writer *w, const struct shape *s, const char *key, double v) {
    char full[96];
    snprintf(full, sizeof full, "%s.%s", s->arch, key);
    return gguf_write_f32(w, full, (float)v);
}

bool describe_write_keys(const struct shape *s, int n_layer, struct gguf_writer *w) {
    const struct {
        const char *key;
        int value; /* 0: not written */
    } ints[] = {
        {"block_count", layers_of(s, n_layer)},  {"context_length", s->n_ctx},
        {"embedding_length", s->n_embd},         {"feed_forward_length", s->n_ff},
        {"attention.head_count", s->n_head},     {"attention.head_count_kv", s->n_kv},
        {"attention.key_length", s->head_dim},   {"attention.value_length", s->head_dim},
        {"rope.dimension_count", s->head_dim},   {"vocab_size", s->n_vocab},
        {"attention.sliding_window", s->window}, {"expert_count", s->n_expert},
        {"expert_used_count", s->n_used},        {"expert_feed_forward_length", s->n_ff_expert},
    };
    char name[64];
    snprintf(name, sizeof name, "%s, random weights", s->name);
    bool ok = gguf_write_str(w, "general.architecture", str_of(s->arch)) &&
              gguf_write_str(w, "general.type", STR("model")) &&
              gguf_write_str(w, "general.name", str_of(name));
    for (size_t i = 0; ok && i < sizeof ints / sizeof *ints; i++)
        if (ints[i].value) ok = write_int(w, s, ints[i].key, ints[i].value);
    return ok && write_real(w, s, "attention.layer_norm_rms_epsilon", s->norm_eps) &&
           write_real(w, s, "rope.freq_base", s->rope_base);
}

/* --- tensors --- */

/* The config that the file's metadata will be read as, as far as the tensor table looks. */
static void fill_config(const struct shape *s, int n_layer, struct config *c,
                        struct layer_spec *layer) {
    *layer = (struct layer_spec){
        .mixer = MIXER_ATTN,
        .ffn = s->n_expert ? FFN_MOE : FFN_GLU,
        .n_head = s->n_head,
        .n_kv = s->n_kv,
        .k_dim = s->head_dim,
        .v_dim = s->head_dim,
        .qk_norm = s->qk_norm,
        .post_norm = s->post_norm,
        .n_ff = s->n_ff,
        .moe = {.n_expert = s->n_expert, .n_used = s->n_used, .n_ff = s->n_ff_expert},
    };
    *c = (struct config){.arch = s->arch,
                         .n_layer = n_layer,
                         .n_embd = s->n_embd,
                         .n_vocab = s->n_vocab,
                         .layer = layer};
}

/* Llama 3's frequency factors (spec/architectures.md C1). */
static void rope_freqs(const struct shape *s, float *out) {
    const double pi = 3.14159265358979323846, low = 1, high = 4, original = 8192;
    for (int i = 0; i < s->head_dim / 2; i++) {
        double wave = 2 * pi * fmath_pow(s->rope_base, 2.0 * i / s->head_dim);
        double smooth = (original / wave - low) / (high - low), f = 1;
        if (wave > original / low) f = s->freq_factor;
        else if (wave >= original / high) f = 1 / ((1 - smooth) / s->freq_factor + smooth);
        out[i] = (float)f;
    }
}

struct listing {
    describe_fn fn;
    void *ctx;
    int layer, n_layer;
};

static bool list_one(struct listing *l, const char *name, bool is_matrix, const int64_t dim[3],
                     const float *values) {
    struct described_tensor t = {
        .is_matrix = is_matrix, .layer = l->layer, .n_layer = l->n_layer, .values = values};
    snprintf(t.name, sizeof t.name, "%s", name);
    for (int i = 0; i < 4; i++) t.dim[i] = i < 3 ? dim[i] : 1;
    for (t.n_dims = 3; t.n_dims > 1 && t.dim[t.n_dims - 1] == 1;) t.n_dims--;
    return l->fn(l->ctx, &t);
}

static bool list_row(void *ctx, const char *base, bool is_matrix, const int64_t dim[3]) {
    struct listing *l = ctx;
    char name[64];
    snprintf(name, sizeof name, "blk.%d.%s.weight", l->layer, base);
    return list_one(l, name, is_matrix, dim, NULL);
}

bool describe_tensors(const struct shape *s, int n_layer, describe_fn fn, void *ctx) {
    struct layer_spec layer;
    struct config c;
    struct listing l = {fn, ctx, -1, layers_of(s, n_layer)};
    float freqs[LIMIT_HEAD_DIM / 2];
    fill_config(s, l.n_layer, &c, &layer);
    const int64_t vocab[3] = {s->n_embd, s->n_vocab, 1}, embd[3] = {s->n_embd, 1, 1};
    const int64_t half[3] = {s->head_dim / 2, 1, 1};
    if (s->freq_factor > 0) {
        rope_freqs(s, freqs);
        if (!list_one(&l, "rope_freqs.weight", false, half, freqs)) return false;
    }
    if (!list_one(&l, "token_embd.weight", true, vocab, NULL) ||
        !list_one(&l, "output_norm.weight", false, embd, NULL))
        return false;
    if (!s->tied && !list_one(&l, "output.weight", true, vocab, NULL)) return false;
    for (l.layer = 0; l.layer < l.n_layer; l.layer++)
        if (!bind_list(&c, &layer, list_row, &l)) return false;
    return true;
}
