/* Loading: metadata to config, file to bound weights, workspace. Owns struct model. */
#include "base/limits.h"
#include "base/log.h"
#include "base/str.h"
#include "gguf/gguf.h"
#include "model/forward.h"

#include <stdio.h>
#include <string.h>

/* Puts every layer's K/V into the group of its window and lays the blocks out in a unit. */
static bool lay_out_kv(struct model *m, const struct model_options *o, struct err *e) {
    for (int pass = 0; pass < 2; pass++) { /* layers that see everything come first */
        for (int il = 0; il < m->c.n_layer; il++) {
            const struct layer_spec *s = &m->c.layer[il];
            struct kv_layer *kv = &m->layers[il].kv;
            int g = 0;
            if (s->mixer != MIXER_ATTN || (s->window > 0) != (pass == 1)) continue;
            while (g < m->n_groups && m->group[g].window != s->window) g++;
            if (g == MODEL_GROUPS_MAX)
                return err_set(e, ERR_UNSUPPORTED, "more than %d different windows", g);
            if (g == m->n_groups)
                m->group[m->n_groups++] =
                    (struct model_group){.window = s->window, .page_units = o->page_units};
            *kv = (struct kv_layer){.group = g,
                                    .n_kv = s->n_kv,
                                    .k_dim = s->k_dim,
                                    .v_dim = s->v_dim,
                                    .k_type = o->k_type,
                                    .v_type = o->v_type,
                                    .k_bytes = kv_block_bytes(o->k_type, s->k_dim, false),
                                    .v_bytes = kv_block_bytes(o->v_type, s->v_dim, true),
                                    .offset = m->group[g].unit_bytes};
            m->group[g].unit_bytes += (size_t)s->n_kv * (kv->k_bytes + kv->v_bytes);
        }
    }
    return true;
}

static void grow(int *most, int v) {
    if (v > *most) *most = v;
}

static bool alloc_workspace(struct model *m, struct err *e) {
    const struct config *c = &m->c;
    int64_t q = 1, k = 1, v = 1, mixed = 1, inner = 1;
    struct ops_need need = {.n_rows = m->n_ubatch, .n_embd = c->n_embd, .n_ctx = c->n_ctx};
    for (int il = 0; il < c->n_layer; il++) {
        const struct layer_spec *s = &c->layer[il];
        int64_t w[] = {(int64_t)s->n_head * s->k_dim, (int64_t)s->n_kv * s->k_dim,
                       (int64_t)s->n_kv * s->v_dim, (int64_t)s->n_head * s->v_dim,
                       s->n_ff > s->moe.n_ff_shared ? s->n_ff : s->moe.n_ff_shared};
        int64_t *most[] = {&q, &k, &v, &mixed, &inner};
        for (int i = 0; i < 5; i++)
            if (w[i] > *most[i]) *most[i] = w[i];
        grow(&need.n_head, s->n_head);
        grow(&need.n_kv, s->n_kv);
        grow(&need.head_dim, s->k_dim > s->v_dim ? s->k_dim : s->v_dim);
        grow(&need.n_expert, s->moe.n_expert);
        grow(&need.n_used, s->moe.n_used);
        grow(&need.n_ff_expert, s->moe.n_ff);
    }
    const struct {
        struct act *a;
        int64_t n;
        int rows;
    } all[] = {{&m->x, c->n_embd, m->n_ubatch},
               {&m->h, c->n_embd, m->n_ubatch},
               {&m->q, q, m->n_ubatch},
               {&m->k, k, m->n_ubatch},
               {&m->v, v, m->n_ubatch},
               {&m->mixed, mixed, m->n_ubatch},
               {&m->inner, inner, m->n_ubatch},
               {&m->y, c->n_embd, m->n_ubatch},
               {&m->aside, c->n_embd, m->n_ubatch},
               {&m->final, c->n_embd, m->n_logits}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!m->b->act_alloc(m->b, all[i].a, all[i].rows, all[i].n, e)) return false;
    m->logits = mem_aligned((size_t)m->n_logits * (size_t)c->n_vocab * sizeof(float));
    m->q_scale = mem_array((size_t)m->n_ubatch, sizeof(float));
    m->rows = mem_array((size_t)m->n_ubatch, sizeof *m->rows);
    if (!m->logits || !m->q_scale || !m->rows)
        return err_nomem(e, "logits", (uint64_t)m->n_logits * (uint64_t)c->n_vocab * 4);
    return m->b->reserve(m->b, &need, e);
}

static uint64_t mix(uint64_t h, uint64_t v) {
    return (h ^ v) * 0x9E3779B97F4A7C15u ^ (h >> 31);
}

/* The numbers of the file's metadata: sizes, rope, eps and whatever else config.c reads. */
static uint64_t mix_numbers(uint64_t h, const struct gguf *g) {
    for (uint64_t i = 0; i < gguf_n_kv(g); i++) {
        const struct gguf_kv *kv = gguf_kv_at(g, i);
        enum gguf_kind kind = kv->kind == GGUF_ARR ? kv->elem : kv->kind;
        if (kind == GGUF_STR || kind == GGUF_ARR || kv->count > LIMIT_LAYERS) continue;
        h = mix(h, str_hash(kv->key));
        for (uint64_t k = 0; k < kv->count; k++) {
            double v = gguf_arr_real(kv, k);
            h = mix(h, str_hash((struct str){(const char *)&v, sizeof v}));
        }
    }
    return h;
}

/* What a cached page depends on: metadata, tensor layout, samples of every tensor's bytes, and
 * the version of our arithmetic. Caches on disk outlive the file, so it must know it again. */
static uint64_t fingerprint(const struct gguf *g, const struct config *c) {
    enum { ARITHMETIC_VERSION = 3, SAMPLE = 64, N_SAMPLES = 4 };
    uint64_t h = mix(ARITHMETIC_VERSION, str_hash(str_of(c->arch)));
    h = mix_numbers(mix(h, gguf_file_bytes(g)), g);
    for (uint64_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        uint64_t n = t->bytes < SAMPLE ? t->bytes : SAMPLE;
        h = mix(h, str_hash(str_of(t->name)));
        h = mix(h, (uint64_t)t->t.type << 56 ^ t->bytes);
        for (uint64_t k = 1; k <= N_SAMPLES; k++) {
            const char *at = (const char *)t->t.data + (t->bytes - n) / (N_SAMPLES + 1) * k;
            h = mix(h, str_hash((struct str){at, n}));
        }
    }
    return h;
}

static void fill_info(struct model *m, const struct gguf *g) {
    const struct config *c = &m->c;
    struct str name;
    struct err e = {0};
    if (!gguf_str(g, "general.name", &name, &e)) name = str_of(c->arch);
    snprintf(m->name, sizeof m->name, "%.*s", (int)(name.len < 100 ? name.len : 100), name.p);
    m->info = (struct model_info){.arch = c->arch,
                                  .name = m->name,
                                  .n_layer = c->n_layer,
                                  .n_embd = c->n_embd,
                                  .n_vocab = c->n_vocab,
                                  .n_ctx_train = c->n_ctx_train,
                                  .n_ctx = c->n_ctx,
                                  .pooling = c->pooling,
                                  .fingerprint = fingerprint(g, c)};
    for (uint64_t i = 0; i < gguf_n_tensors(g); i++) {
        m->info.n_params += tensor_count(&gguf_tensor_at(g, i)->t);
        m->info.weight_bytes += gguf_tensor_at(g, i)->bytes;
    }
    for (int i = 0; i < m->n_groups; i++)
        if (m->group[i].window == 0) m->info.kv_bytes_per_token += m->group[i].unit_bytes / KV_UNIT;
}

/* LongRoPE uses the long factors when the context asked for passes the original one (spec C1). */
static void choose_factors(struct model *m, const struct gguf *g) {
    char key[96];
    int64_t n_orig = m->c.n_ctx_train;
    struct err e = {0};
    snprintf(key, sizeof key, "%s.rope.scaling.original_context_length", m->c.arch);
    gguf_int(g, key, 1, INT32_MAX, &n_orig, &e);
    if (m->g.rope_freqs) m->c.rope[0].factors = m->g.rope_freqs;
    if (m->g.rope_long && m->g.rope_short)
        m->c.rope[0].factors = m->c.n_ctx > n_orig ? m->g.rope_long : m->g.rope_short;
}

static bool load(struct model *m, const struct gguf *g, const struct model_options *o,
                 struct err *e) {
    if (!config_read(&m->c, g, o->n_ctx, &m->arena, e)) return false;
    const struct gguf_tensor *embd = gguf_tensor_find(g, "token_embd.weight");
    if (!embd) return err_set(e, ERR_FORMAT, "tensor token_embd.weight is missing");
    if (embd->t.dim[1] < 1 || embd->t.dim[1] > LIMIT_VOCAB)
        return err_set(e, ERR_LIMIT, "a vocabulary of %lld tokens", (long long)embd->t.dim[1]);
    m->c.n_vocab = (int)embd->t.dim[1];
    m->layers = arena_calloc(&m->arena, (size_t)m->c.n_layer, sizeof *m->layers);
    if (!m->layers) return err_nomem(e, "layers", (uint64_t)m->c.n_layer * sizeof *m->layers);
    if (!bind_tensors(&m->c, g, &m->g, m->layers, &m->arena, o->load_copy ? &m->copied : NULL, e))
        return false;
    choose_factors(m, g);
    if (o->n_ctx > m->c.n_ctx_train)
        log_warn("a context of %d is more than the %d the model was trained with; answers may "
                 "degrade beyond that",
                 o->n_ctx, m->c.n_ctx_train);
    m->n_ubatch = o->n_ubatch > 0 ? o->n_ubatch : 512;
    m->n_logits = o->n_logits > 0 ? o->n_logits : 1;
    if (m->n_logits > m->n_ubatch) m->n_logits = m->n_ubatch;
    if (!lay_out_kv(m, o, e) || !alloc_workspace(m, e)) return false;
    fill_info(m, g);
    return true;
}

struct model *model_load(const struct gguf *g, struct backend *b, const struct model_options *o,
                         struct err *e) {
    struct model *m = mem_calloc(1, sizeof *m);
    if (!m) {
        err_nomem(e, "the model", sizeof *m);
        return NULL;
    }
    m->b = b;
    if (load(m, g, o, e)) return m;
    model_free(m);
    return NULL;
}

void model_free(struct model *m) {
    if (!m) return;
    struct act *const all[] = {&m->x,     &m->h,     &m->q, &m->k,     &m->v,
                               &m->mixed, &m->inner, &m->y, &m->final, &m->aside};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) m->b->act_free(m->b, all[i]);
    mem_free_aligned(m->logits);
    mem_free(m->q_scale);
    mem_free(m->rows);
    mem_free_aligned(m->copied);
    arena_free(&m->arena);
    mem_free(m);
}

const struct model_info *model_info(const struct model *m) {
    return &m->info;
}

const struct model_group *model_groups(const struct model *m, int *n) {
    *n = m->n_groups;
    return m->group;
}
