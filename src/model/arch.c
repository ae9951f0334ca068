/* The architecture table: a row per family, each a short list of what differs from llama.
 * Facts: spec/architectures.md E. Below model/arch*.c nothing knows an architecture's name. */
#include "model/arch.h"

#include <math.h>

static void llama(struct reader *r, struct config *c) {
    c->rope_freqs = true;
    for (int il = 0; il < c->n_layer; il++) arch_moe(r, c, &c->layer[il], "feed_forward_length");
}

static void qwen2(struct reader *r, struct config *c) {
    (void)r;
    (void)c;
}

static void qwen3(struct reader *r, struct config *c) {
    (void)r;
    for (int il = 0; il < c->n_layer; il++) c->layer[il].qk_norm = true;
}

static void qwen3moe(struct reader *r, struct config *c) {
    for (int il = 0; il < c->n_layer; il++) {
        struct layer_spec *s = &c->layer[il];
        s->qk_norm = true;
        arch_moe(r, c, s, "expert_feed_forward_length");
        if (s->moe.n_used && !s->moe.n_ff) s->moe.n_ff = s->n_ff / s->moe.n_used;
    }
}

/* Sliding layers have their own rope base and no scaling. */
static void gemma3(struct reader *r, struct config *c) {
    enum { PERIOD = 6, LAYERS_27B = 62 };
    c->embd_scale = sqrtf((float)c->n_embd);
    c->final_softcap = read_real(r, "final_logit_softcapping", 0);
    c->rope[1] = c->rope[0];
    c->rope[1].base = (double)read_real(r, "rope.freq_base_swa", 10000);
    c->rope[1].freq_scale = 1;
    c->n_rope = 2;
    int window = read_int(r, "attention.sliding_window", 0);
    for (int il = 0; il < c->n_layer; il++) {
        struct layer_spec *s = &c->layer[il];
        s->qk_norm = s->post_norm = true;
        s->act = OPS_GELU;
        if (window && read_is_sliding(r, il, c->n_layer, PERIOD)) {
            s->window = window;
            s->rope = 1;
        }
        if (c->n_layer == LAYERS_27B) s->attn_scale = 1 / sqrtf((float)(c->n_embd / s->n_head));
    }
}

static void phi3(struct reader *r, struct config *c) {
    (void)r;
    c->rope_long = true;
}

static void mistral3(struct reader *r, struct config *c) {
    llama(r, c);
    c->rope_freqs = false;
    arch_yarn(r, c, true);
    c->q_temp_scale = read_real(r, "attention.temperature_scale", 0);
    c->q_temp_len = read_int(r, "rope.scaling.original_context_length", c->n_ctx_train);
}

/* Every fourth layer has no positions. */
static void smollm3(struct reader *r, struct config *c) {
    llama(r, c);
    for (int il = 3; il < c->n_layer; il += 4) c->layer[il].rope = -1;
}

static void granite(struct reader *r, struct config *c) {
    float logit = read_real(r, "logit_scale", 0);
    float residual = read_real(r, "residual_scale", 0);
    float embd = read_real(r, "embedding_scale", 0);
    float attn = read_real(r, "attention.scale", 0);
    bool rope = read_bool(r, "rope.scaling.finetuned", true);
    if (r->ok && logit == 0)
        r->ok = err_set(r->e, ERR_FORMAT, "%s.logit_scale is missing or 0", r->arch);
    c->logit_scale = 1 / logit;
    if (residual != 0) c->residual_scale = residual;
    if (embd != 0) c->embd_scale = embd;
    for (int il = 0; il < c->n_layer; il++) {
        struct layer_spec *s = &c->layer[il];
        if (attn != 0) s->attn_scale = attn;
        if (!rope) s->rope = -1;
        arch_moe(r, c, s, "feed_forward_length");
    }
}

const struct arch arch_table[] = {
    {"llama", ROPE_NORM, llama},       {"qwen2", ROPE_NEOX, qwen2},
    {"qwen3", ROPE_NEOX, qwen3},       {"qwen3moe", ROPE_NEOX, qwen3moe},
    {"gemma3", ROPE_NEOX, gemma3},     {"phi3", ROPE_NEOX, phi3},
    {"mistral3", ROPE_NORM, mistral3}, {"smollm3", ROPE_NORM, smollm3},
    {"granite", ROPE_NORM, granite},   {NULL, ROPE_NONE, NULL},
};
