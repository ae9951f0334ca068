/* The tensor table: name, field, symbolic shape, condition. bind_tensors walks it once per layer,
 * so a wrong file is told which tensor, expected and found. Fused tensors (attn_qkv, phi3's
 * ffn_up, ffn_gate_up_exps) are cut into views, so that nothing below knows of them. */
#include "base/limits.h"
#include "base/log.h"
#include "gguf/gguf.h"
#include "model/config.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* Symbolic dimensions; ORDER DIM: dim_of */
enum dim { D1, D_EMBD, D_Q, D_K, D_V, D_QV, D_KDIM, D_HEAD, D_FF, D_EXPERT, D_FFE, D_FFS, D_VOCAB };

enum need { /* which layers have the tensor */
            IN_ALL,
            IN_ATTN,
            IN_QK_NORM,
            IN_SINKS,
            IN_POST,
            IN_FFN,
            IN_GLU,
            IN_MOE,
            IN_SHARED
};

struct row {
    const char *name; /* after "blk.N.", without ".weight" */
    size_t field;
    bool is_matrix, optional;
    enum need need;
    enum dim dim[3];
};
#define MATRIX(name, field, need, ...)                                                             \
    {                                                                                              \
        name, offsetof(struct layer, field), true, false, need, {                                  \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define VECTOR(name, field, need, ...)                                                             \
    {                                                                                              \
        name, offsetof(struct layer, field), false, false, need, {                                 \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }

static const struct row layer_rows[] = {
    VECTOR("attn_norm", attn_norm, IN_ATTN, D_EMBD),
    MATRIX("attn_q", q, IN_ATTN, D_EMBD, D_Q),
    MATRIX("attn_k", k, IN_ATTN, D_EMBD, D_K),
    MATRIX("attn_v", v, IN_ATTN, D_EMBD, D_V),
    MATRIX("attn_output", o, IN_ATTN, D_QV, D_EMBD),
    VECTOR("attn_q_norm", q_norm, IN_QK_NORM, D_KDIM),
    VECTOR("attn_k_norm", k_norm, IN_QK_NORM, D_KDIM),
    VECTOR("attn_sinks", sinks, IN_SINKS, D_HEAD),
    VECTOR("post_attention_norm", attn_post_norm, IN_POST, D_EMBD),
    VECTOR("ffn_norm", ffn_norm, IN_FFN, D_EMBD),
    MATRIX("ffn_gate", gate, IN_GLU, D_EMBD, D_FF),
    MATRIX("ffn_up", up, IN_GLU, D_EMBD, D_FF),
    MATRIX("ffn_down", down, IN_GLU, D_FF, D_EMBD),
    VECTOR("post_ffw_norm", ffn_post_norm, IN_POST, D_EMBD),
    MATRIX("ffn_gate_inp", router, IN_MOE, D_EMBD, D_EXPERT),
    MATRIX("ffn_gate_exps", gate_exps, IN_MOE, D_EMBD, D_FFE, D_EXPERT),
    MATRIX("ffn_up_exps", up_exps, IN_MOE, D_EMBD, D_FFE, D_EXPERT),
    MATRIX("ffn_down_exps", down_exps, IN_MOE, D_FFE, D_EMBD, D_EXPERT),
    MATRIX("ffn_gate_shexp", gate_sh, IN_SHARED, D_EMBD, D_FFS),
    MATRIX("ffn_up_shexp", up_sh, IN_SHARED, D_EMBD, D_FFS),
    MATRIX("ffn_down_shexp", down_sh, IN_SHARED, D_FFS, D_EMBD),
};

/* One stored tensor that holds several rows of the table, one after the other in dim[1]. */
static const struct fused {
    const char *name;
    const char *part[3];
} fused_rows[] = {
    {"attn_qkv", {"attn_q", "attn_k", "attn_v"}},
    {"ffn_up", {"ffn_gate", "ffn_up", NULL}}, /* only where there is no ffn_gate */
    {"ffn_gate_up_exps", {"ffn_gate_exps", "ffn_up_exps", NULL}},
};

enum { COPY_ALIGN = 64 };

struct binder {
    const struct config *c;
    const struct gguf *g;
    struct arena *a;
    struct err *e;
    uint64_t used;
    unsigned char *copy; /* next free byte of the copy, or NULL: weights stay where they are */
};

static int64_t dim_of(const struct config *c, const struct layer_spec *s, enum dim d) {
    switch (d) {
    case D1:
        return 1;
    case D_EMBD:
        return c->n_embd;
    case D_VOCAB:
        return c->n_vocab;
    case D_Q:
        return (int64_t)s->n_head * s->k_dim;
    case D_K:
        return (int64_t)s->n_kv * s->k_dim;
    case D_V:
        return (int64_t)s->n_kv * s->v_dim;
    case D_QV:
        return (int64_t)s->n_head * s->v_dim;
    case D_KDIM:
        return s->k_dim;
    case D_HEAD:
        return s->n_head;
    case D_FF:
        return s->n_ff;
    case D_EXPERT:
        return s->moe.n_expert;
    case D_FFE:
        return s->moe.n_ff;
    case D_FFS:
        return s->moe.n_ff_shared;
    }
    return 0;
}

static bool needed(const struct layer_spec *s, enum need n) {
    switch (n) {
    case IN_ALL:
        return true;
    case IN_ATTN:
        return s->mixer == MIXER_ATTN;
    case IN_QK_NORM:
        return s->mixer == MIXER_ATTN && s->qk_norm;
    case IN_SINKS:
        return s->mixer == MIXER_ATTN && s->sinks;
    case IN_POST:
        return s->post_norm;
    case IN_FFN:
        return s->ffn != FFN_NONE;
    case IN_GLU:
        return s->ffn == FFN_GLU;
    case IN_MOE:
        return s->ffn == FFN_MOE;
    case IN_SHARED:
        return s->ffn == FFN_MOE && s->moe.n_ff_shared > 0;
    }
    return false;
}

/* The tensor of that name with exactly that shape and a type that we can read. */
static const struct tensor *find(struct binder *b, const char *name, const int64_t want[4],
                                 bool optional, bool *ok) {
    const struct gguf_tensor *t = gguf_tensor_find(b->g, name);
    if (!t) {
        if (!optional)
            *ok = err_set(b->e, ERR_FORMAT,
                          "tensor %s is missing: the file is incomplete or not what its metadata "
                          "says",
                          name);
        return NULL;
    }
    const int64_t *d = t->t.dim;
    if (memcmp(d, want, 4 * sizeof *d) != 0) {
        *ok = err_set(b->e, ERR_FORMAT,
                      "tensor %s has shape [%lld, %lld, %lld], expected [%lld, %lld, %lld]", name,
                      (long long)d[0], (long long)d[1], (long long)d[2], (long long)want[0],
                      (long long)want[1], (long long)want[2]);
        return NULL;
    }
    const struct quant_info *q = quant_info(t->t.type);
    if (!q || !q->decode) {
        *ok = err_set(b->e, ERR_UNSUPPORTED,
                      "tensor %s has type %s, which this build cannot read; use a file of another "
                      "quantization",
                      name, q && q->name ? q->name : "unknown");
        return NULL;
    }
    b->used++;
    if (!b->copy) return &t->t;
    struct tensor *moved = arena_alloc(b->a, sizeof *moved);
    if (!moved) {
        *ok = err_nomem(b->e, "a tensor", sizeof *moved);
        return NULL;
    }
    *moved = t->t;
    moved->data = memcpy(b->copy, t->t.data, t->bytes);
    b->copy += (t->bytes + COPY_ALIGN - 1) / COPY_ALIGN * COPY_ALIGN;
    return moved;
}

/* F32 values of a vector tensor: in place where the type and alignment allow, else a copy. */
static const float *vector(struct binder *b, const struct tensor *t, bool *ok) {
    if (t->type == QUANT_F32 && (uintptr_t)t->data % sizeof(float) == 0) return t->data;
    float *copy = arena_alloc(b->a, (size_t)tensor_count(t) * sizeof *copy);
    if (!copy) {
        *ok = err_nomem(b->e, "a norm", (uint64_t)tensor_count(t) * sizeof *copy);
        return NULL;
    }
    for (int64_t r = 0; r < tensor_rows(t); r++) tensor_row(t, r, copy + r * t->dim[0]);
    return copy;
}

/* Optional companions NAME.bias [out(, n_expert)] and NAME.scale [1 or n_expert]. */
static bool companions(struct binder *b, const char *base, struct weight *w) {
    char name[96];
    bool ok = true;
    const int64_t *d = w->w->dim;
    int64_t bias[4] = {d[1], d[2], 1, 1}, scale[4] = {d[2], 1, 1, 1};
    snprintf(name, sizeof name, "%s.bias", base);
    const struct tensor *t = find(b, name, bias, true, &ok);
    if (t) w->bias = vector(b, t, &ok);
    snprintf(name, sizeof name, "%s.scale", base);
    if (ok && (t = find(b, name, scale, true, &ok))) w->scale = vector(b, t, &ok);
    snprintf(name, sizeof name, "%s.input_scale", base);
    b->used += gguf_tensor_find(b->g, name) != NULL;
    return ok;
}

static bool matrix(struct binder *b, const char *base, const int64_t dim[4], bool optional,
                   struct weight *out) {
    char name[96];
    bool ok = true;
    snprintf(name, sizeof name, "%s.weight", base);
    out->w = find(b, name, dim, optional, &ok);
    if (!ok || !out->w) return ok;
    if (quant_info(out->w->type)->block > 1 && out->w->dim[0] % 32)
        return err_set(b->e, ERR_UNSUPPORTED, "tensor %s: rows of %lld are no multiple of 32", name,
                       (long long)out->w->dim[0]);
    out->expert_rows = out->w->dim[1];
    return companions(b, base, out);
}

static const struct row *row_named(const char *name) {
    for (size_t i = 0; i < sizeof layer_rows / sizeof *layer_rows; i++)
        if (strcmp(layer_rows[i].name, name) == 0) return &layer_rows[i];
    return NULL;
}

static void shape(const struct binder *b, const struct layer_spec *s, const struct row *r,
                  int64_t dim[4]) {
    for (int i = 0; i < 3; i++) dim[i] = dim_of(b->c, s, r->dim[i]);
    dim[3] = 1;
}

/* Rows [first, first + n) of each expert of a fused weight, as a weight of its own. */
static bool cut(struct binder *b, const struct weight *whole, int64_t first, int64_t n,
                struct weight *out) {
    struct tensor *t = arena_alloc(b->a, sizeof *t);
    if (!t) return err_nomem(b->e, "a tensor view", sizeof *t);
    *t = *whole->w;
    t->dim[1] = n;
    t->data = (const char *)t->data + (size_t)first * quant_row_bytes(t->type, t->dim[0]);
    *out = (struct weight){.w = t, .scale = whole->scale, .expert_rows = whole->w->dim[1]};
    if (whole->bias) out->bias = whole->bias + first;
    return true;
}

/* Binds the parts of a fused tensor if the layer has it; *done then. */
static bool bind_fused(struct binder *b, const struct fused *f, const char *prefix,
                       const struct layer_spec *s, struct layer *l, bool *done) {
    char base[80], first[80];
    struct weight whole = {0};
    int64_t dim[4], rows = 0;
    const struct row *part = row_named(f->part[0]);
    *done = false;
    if (!needed(s, part->need)) return true;
    snprintf(base, sizeof base, "%s%s", prefix, f->name);
    snprintf(first, sizeof first, "%s%s.weight", prefix, f->part[0]);
    if (gguf_tensor_find(b->g, first)) return true;
    for (int i = 0; i < 3 && f->part[i]; i++) {
        shape(b, s, row_named(f->part[i]), dim);
        rows += dim[1];
    }
    dim[1] = rows;
    if (!matrix(b, base, dim, true, &whole)) return false;
    if (!whole.w) return true;
    rows = 0;
    for (int i = 0; i < 3 && f->part[i]; i++) {
        part = row_named(f->part[i]);
        shape(b, s, part, dim);
        if (!cut(b, &whole, rows, dim[1], (struct weight *)(void *)((char *)l + part->field)))
            return false;
        rows += dim[1];
    }
    *done = true;
    return true;
}

static bool is_part(const struct fused *f, const char *name) {
    for (int i = 0; i < 3 && f->part[i]; i++)
        if (strcmp(f->part[i], name) == 0) return true;
    return false;
}

static bool bind_layer(struct binder *b, int il, struct layer *l) {
    const struct layer_spec *s = &b->c->layer[il];
    enum { N_FUSED = sizeof fused_rows / sizeof *fused_rows };
    bool done[N_FUSED], ok = true;
    char prefix[32], base[80];
    snprintf(prefix, sizeof prefix, "blk.%d.", il);
    for (int i = 0; i < N_FUSED; i++)
        if (!bind_fused(b, &fused_rows[i], prefix, s, l, &done[i])) return false;
    for (size_t i = 0; ok && i < sizeof layer_rows / sizeof *layer_rows; i++) {
        const struct row *r = &layer_rows[i];
        int64_t dim[4];
        bool have = false;
        for (int f = 0; f < N_FUSED; f++) have |= done[f] && is_part(&fused_rows[f], r->name);
        if (have || !needed(s, r->need)) continue;
        void *field = (char *)l + r->field;
        shape(b, s, r, dim);
        snprintf(base, sizeof base, "%s%s", prefix, r->name);
        if (r->is_matrix) {
            ok = matrix(b, base, dim, r->optional, field);
        } else {
            char name[96];
            snprintf(name, sizeof name, "%s.weight", base);
            const struct tensor *t = find(b, name, dim, r->optional, &ok);
            if (t) *(const float **)field = vector(b, t, &ok);
        }
    }
    return ok;
}

static bool global_vector(struct binder *b, const char *name, int64_t n, bool optional,
                          const float **out) {
    int64_t dim[4] = {n, 1, 1, 1};
    bool ok = true;
    const struct tensor *t = find(b, name, dim, optional, &ok);
    if (t) *out = vector(b, t, &ok);
    return ok;
}

static bool bind_globals(struct binder *b, struct globals *gl) {
    const struct config *c = b->c;
    int64_t dim[4] = {c->n_embd, c->n_vocab, 1, 1};
    int64_t half = c->rope[0].n_rot / 2;
    if (!matrix(b, "token_embd", dim, false, &gl->embd) ||
        !matrix(b, "output", dim, true, &gl->head) ||
        !global_vector(b, "output_norm.weight", c->n_embd, false, &gl->output_norm))
        return false;
    if (!gl->head.w) gl->head = gl->embd;
    if (c->rope_freqs && !global_vector(b, "rope_freqs.weight", half, true, &gl->rope_freqs))
        return false;
    return !c->rope_long ||
           (global_vector(b, "rope_factors_long.weight", half, true, &gl->rope_long) &&
            global_vector(b, "rope_factors_short.weight", half, true, &gl->rope_short));
}

bool bind_list(const struct config *c, const struct layer_spec *s, bind_list_fn fn, void *ctx) {
    for (size_t i = 0; i < sizeof layer_rows / sizeof *layer_rows; i++) {
        const struct row *r = &layer_rows[i];
        int64_t dim[3];
        for (int k = 0; k < 3; k++) dim[k] = dim_of(c, s, r->dim[k]);
        if (needed(s, r->need) && !fn(ctx, r->name, r->is_matrix, dim)) return false;
    }
    return true;
}

bool bind_tensors(const struct config *c, const struct gguf *g, struct globals *gl,
                  struct layer *layers, struct arena *a, void **copied, struct err *e) {
    struct binder b = {c, g, a, e, 0, NULL};
    if (copied) {
        uint64_t bytes = 0;
        for (uint64_t i = 0; i < gguf_n_tensors(g); i++)
            bytes += gguf_tensor_at(g, i)->bytes + COPY_ALIGN;
        *copied = b.copy = mem_aligned(bytes);
        if (!b.copy) return err_nomem(e, "a copy of the weights", bytes);
    }
    if (!bind_globals(&b, gl)) return false;
    for (int il = 0; il < c->n_layer; il++)
        if (!bind_layer(&b, il, &layers[il])) return false;
    if (b.used < gguf_n_tensors(g))
        log_warn("%llu of the file's %llu tensors are not used by the model",
                 (unsigned long long)(gguf_n_tensors(g) - b.used),
                 (unsigned long long)gguf_n_tensors(g));
    return true;
}
