/* Reads what all architectures share (spec/architectures.md B) and hands over to the row of
 * arch_table for the rest. Checks every number against limits.h before it is used. */
#include "model/config.h"
#include "base/fmath.h"
#include "base/limits.h"
#include "base/log.h"
#include "model/arch.h"

#include <math.h>
#include <stdio.h>

enum { KEY_MAX = 160 };

static const char *full(const struct reader *r, const char *key, char out[KEY_MAX]) {
    snprintf(out, KEY_MAX, "%s.%s", r->arch, key);
    return out;
}

static int missing(struct reader *r, const char *key) {
    char k[KEY_MAX];
    if (r->ok)
        r->ok = err_set(r->e, ERR_FORMAT, "metadata key %s is missing; the file is incomplete",
                        full(r, key, k));
    return 1;
}

int read_int(struct reader *r, const char *key, int def) {
    char k[KEY_MAX];
    int64_t v;
    struct err e = {0};
    if (!r->ok) return def == REQUIRED ? 1 : def;
    if (gguf_int(r->g, full(r, key, k), 0, INT32_MAX, &v, &e)) return (int)v;
    if (e.code) {
        *r->e = e;
        r->ok = false;
    } else if (def == REQUIRED) {
        return missing(r, key);
    }
    return def == REQUIRED ? 1 : def;
}

int read_int_at(struct reader *r, const char *key, int il, int n_layer, int def) {
    char k[KEY_MAX];
    const struct gguf_kv *kv = gguf_find(r->g, full(r, key, k));
    if (!kv || kv->kind != GGUF_ARR) return read_int(r, key, def);
    if (!r->ok) return def == REQUIRED ? 1 : def;
    int64_t v = -1;
    if (kv->elem == GGUF_STR || kv->elem == GGUF_F32 || kv->elem == GGUF_F64 ||
        kv->count < (uint64_t)n_layer)
        r->ok = err_set(r->e, ERR_FORMAT, "%s has %llu elements, expected %d integers", k,
                        (unsigned long long)kv->count, n_layer);
    else if ((v = gguf_arr_int(kv, (uint64_t)il)) < 0 || v > INT32_MAX)
        r->ok =
            err_set(r->e, ERR_FORMAT, "%s[%d] is %lld, expected 0 .. 2^31-1", k, il, (long long)v);
    return r->ok ? (int)v : 1;
}

float read_real(struct reader *r, const char *key, double def) {
    char k[KEY_MAX];
    struct err e = {0};
    double v = def;
    if (!r->ok) return (float)def;
    if (!gguf_real(r->g, full(r, key, k), &v, &e) && e.code) {
        *r->e = e;
        r->ok = false;
    } else if (!isfinite(v)) {
        r->ok = err_set(r->e, ERR_FORMAT, "%s is not a finite number", k);
        v = def;
    }
    return (float)v;
}

bool read_bool(struct reader *r, const char *key, bool def) {
    char k[KEY_MAX];
    struct err e = {0};
    bool v = def;
    if (r->ok && !gguf_bool(r->g, full(r, key, k), &v, &e) && e.code) {
        *r->e = e;
        r->ok = false;
    }
    return v;
}

bool read_is(struct reader *r, const char *key, const char *value) {
    char k[KEY_MAX];
    struct err e = {0};
    struct str s;
    return r->ok && gguf_str(r->g, full(r, key, k), &s, &e) && str_is(s, value);
}

bool read_is_sliding(struct reader *r, int il, int n_layer, int default_period) {
    char k[KEY_MAX];
    const struct gguf_kv *kv = gguf_find(r->g, full(r, "attention.sliding_window_pattern", k));
    if (kv && kv->kind == GGUF_ARR)
        return read_int_at(r, "attention.sliding_window_pattern", il, n_layer, 0) != 0;
    int period = read_int(r, "attention.sliding_window_pattern", default_period);
    return period == 0 || il % period < period - 1;
}

void arch_moe(struct reader *r, struct config *c, struct layer_spec *s, const char *ff_key) {
    int il = (int)(s - c->layer);
    struct moe_spec *m = &s->moe;
    m->n_expert = read_int(r, "expert_count", 0);
    if (m->n_expert == 0) return;
    m->n_used = read_int_at(r, "expert_used_count", il, c->n_layer, REQUIRED);
    m->n_ff = read_int_at(r, ff_key, il, c->n_layer, 0);
    m->n_ff_shared = read_int(r, "expert_shared_feed_forward_length", 0);
    m->gating = MOE_SOFTMAX;
    m->norm = true;
    s->ffn = FFN_MOE;
}

void arch_yarn(struct reader *r, struct config *c, bool own_keys) {
    struct rope_spec *p = &c->rope[0];
    if (!r->ok || !read_is(r, "rope.scaling.type", "yarn") || p->freq_scale == 1) return;
    double fast = own_keys ? (double)read_real(r, "rope.scaling.yarn_beta_fast", 32) : 32;
    double slow = own_keys ? (double)read_real(r, "rope.scaling.yarn_beta_slow", 1) : 1;
    double log_mul = own_keys ? (double)read_real(r, "rope.scaling.yarn_log_multiplier", 0) : 0;
    double n_orig = read_int(r, "rope.scaling.original_context_length", c->n_ctx_train);
    double two_pi = 6.283185307179586, step = 2 * fmath_log(p->base),
           log_s = -fmath_log(p->freq_scale);
    double lo = floor(p->n_rot * fmath_log(n_orig / (fast * two_pi)) / step);
    double hi = ceil(p->n_rot * fmath_log(n_orig / (slow * two_pi)) / step);
    p->yarn = true;
    p->yarn_lo = lo > 0 ? lo : 0;
    p->yarn_hi = hi < p->n_rot - 1 ? hi : p->n_rot - 1;
    p->magnitude = (double)read_real(r, "rope.scaling.attn_factor", 1);
    if (log_s > 0) p->magnitude *= (0.1 * log_s + 1) / (0.1 * log_mul * log_s + 1);
}

static void read_rope(struct reader *r, struct config *c, enum rope_kind kind) {
    struct rope_spec *p = &c->rope[0];
    *p = (struct rope_spec){.kind = kind, .freq_scale = 1};
    p->n_rot = read_int(r, "rope.dimension_count", c->layer[0].k_dim);
    p->base = (double)read_real(r, "rope.freq_base", 10000);
    p->magnitude = (double)read_real(r, "rope.scaling.attn_factor", 1);
    double factor = (double)read_real(r, "rope.scaling.factor", 0);
    if (factor == 0) factor = (double)read_real(r, "rope.scale_linear", 0);
    if (factor < 0 || p->base <= 0 || p->n_rot % 2 || p->n_rot > c->layer[0].k_dim)
        if (r->ok)
            r->ok = err_set(r->e, ERR_FORMAT,
                            "rope: base %g, factor %g, %d of %d dimensions make no sense", p->base,
                            factor, p->n_rot, c->layer[0].k_dim);
    if (!r->ok) return;
    if (factor > 0 && !read_is(r, "rope.scaling.type", "none") &&
        !read_is(r, "rope.scaling.type", "longrope"))
        p->freq_scale = 1 / factor;
    c->n_rope = 1;
    arch_yarn(r, c, false);
}

static void read_layer(struct reader *r, struct config *c, int il) {
    struct layer_spec *s = &c->layer[il];
    int n = c->n_layer;
    *s = (struct layer_spec){.mixer = MIXER_ATTN, .ffn = FFN_GLU, .act = OPS_SILU};
    s->n_head = read_int_at(r, "attention.head_count", il, n, REQUIRED);
    s->n_kv = read_int_at(r, "attention.head_count_kv", il, n, s->n_head);
    int def = s->n_head > 0 ? c->n_embd / s->n_head : 0;
    s->k_dim = read_int(r, "attention.key_length", def);
    s->v_dim = read_int(r, "attention.value_length", def);
    s->n_ff = read_int_at(r, "feed_forward_length", il, n, 0);
    if (!r->ok) return;
    if (s->n_head < 1 || s->n_head > LIMIT_HEADS || s->n_kv < 1 || s->n_head % s->n_kv ||
        s->k_dim < 1 || s->k_dim > LIMIT_HEAD_DIM || s->v_dim < 1 || s->v_dim > LIMIT_HEAD_DIM ||
        s->n_ff > LIMIT_DIM)
        r->ok = err_set(r->e, ERR_FORMAT,
                        "layer %d: %d heads, %d kv heads of %d and %d dimensions, feed-forward "
                        "width %d make no sense",
                        il, s->n_head, s->n_kv, s->k_dim, s->v_dim, s->n_ff);
    s->attn_scale = s->k_dim > 0 ? 1 / sqrtf((float)s->k_dim) : 1;
}

static bool check_moe(const struct config *c, struct err *e) {
    for (int il = 0; il < c->n_layer; il++) {
        const struct moe_spec *m = &c->layer[il].moe;
        if (c->layer[il].ffn != FFN_MOE) continue;
        if (m->n_expert > LIMIT_EXPERTS || m->n_used < 1 || m->n_used > m->n_expert ||
            m->n_ff < 1 || m->n_ff > LIMIT_DIM)
            return err_set(e, ERR_FORMAT,
                           "layer %d: %d experts, %d used, of width %d make no sense", il,
                           m->n_expert, m->n_used, m->n_ff);
    }
    return true;
}

static const struct arch *find_arch(const struct gguf *g, struct err *e) {
    struct str name;
    struct err found = {0};
    if (!gguf_str(g, "general.architecture", &name, &found)) {
        err_set(e, ERR_FORMAT,
                "general.architecture is missing: this GGUF holds no language model");
        return NULL;
    }
    for (const struct arch *a = arch_table; a->name; a++)
        if (str_is(name, a->name)) return a;
    char list[256] = "";
    int at = 0;
    for (const struct arch *a = arch_table; a->name; a++)
        at += snprintf(list + at, sizeof list - (size_t)at, "%s%s", at ? ", " : "", a->name);
    err_set(e, ERR_UNSUPPORTED, "architecture '%.*s' is not supported; supported: %s",
            (int)(name.len < 64 ? name.len : 64), name.p, list);
    return NULL;
}

bool config_read(struct config *c, const struct gguf *g, int n_ctx, struct arena *a,
                 struct err *e) {
    const struct arch *arch = find_arch(g, e);
    if (!arch) return false;
    struct reader r = {g, arch->name, e, true};
    *c =
        (struct config){.arch = arch->name, .embd_scale = 1, .residual_scale = 1, .logit_scale = 1};
    c->n_embd = read_int(&r, "embedding_length", REQUIRED);
    c->n_ctx_train = read_int(&r, "context_length", REQUIRED);
    c->norm_eps = read_real(&r, "attention.layer_norm_rms_epsilon", 0);
    c->n_layer = read_int(&r, "block_count", REQUIRED) - read_int(&r, "nextn_predict_layers", 0);
    c->pooling = read_int(&r, "pooling_type", 0);
    if (!r.ok) return false;
    if (c->n_layer < 1 || c->n_layer > LIMIT_LAYERS || c->n_embd < 1 || c->n_embd > LIMIT_DIM ||
        c->n_ctx_train < 1)
        return err_set(e, ERR_FORMAT, "%d layers of width %d with context %d make no sense",
                       c->n_layer, c->n_embd, c->n_ctx_train);
    if (c->norm_eps <= 0)
        return err_set(e, ERR_FORMAT, "%s.attention.layer_norm_rms_epsilon is missing or 0",
                       arch->name);
    c->n_ctx = n_ctx > 0 ? n_ctx : c->n_ctx_train;
    c->layer = arena_calloc(a, (size_t)c->n_layer, sizeof *c->layer);
    if (!c->layer) return err_nomem(e, "layers", (uint64_t)c->n_layer * sizeof *c->layer);
    for (int il = 0; il < c->n_layer && r.ok; il++) read_layer(&r, c, il);
    if (r.ok) read_rope(&r, c, arch->rope);
    if (r.ok) arch->fill(&r, c);
    return r.ok && check_moe(c, e);
}
