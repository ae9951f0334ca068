/* What a net is, as data: config and one layer_spec per layer, filled by model/arch*.c from a
 * file's metadata, and the weights that model/bind.c hangs on it. Private to this room. */
#ifndef HOLDFAST_MODEL_CONFIG_H
#define HOLDFAST_MODEL_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "ops/ops.h"

struct gguf;

enum mixer { MIXER_NONE, MIXER_ATTN, MIXER_COUNT };
enum ffn { FFN_NONE, FFN_GLU, FFN_MOE, FFN_COUNT };

struct moe_spec {
    int n_expert, n_used, n_ff, n_ff_shared;
    enum moe_gating gating;
    bool norm;
    float scale;
};

struct layer_spec {
    enum mixer mixer;
    enum ffn ffn;
    enum ops_act act;

    int n_head, n_kv, k_dim, v_dim;
    bool qk_norm, sinks;
    int rope;   /* index into config.rope, -1: none */
    int window; /* 0: sees everything */
    float attn_scale, attn_softcap;

    bool post_norm; /* norms on the mixer's and the ffn's output (gemma) */
    int n_ff;
    struct moe_spec moe;
};

enum { CONFIG_ROPES = 2 };

struct config {
    const char *arch;
    int n_layer, n_embd, n_vocab;
    int n_ctx_train, n_ctx;
    int pooling; /* of embeddings, as GGUF counts: 0 none, 1 mean, 3 last */
    float norm_eps;
    float embd_scale, residual_scale, logit_scale; /* 1: none; logit_scale multiplies */
    float final_softcap;                           /* 0: none */
    float q_temp_scale;                            /* 0: none (mistral3) */
    int q_temp_len;
    struct rope_spec rope[CONFIG_ROPES];
    int n_rope;
    bool rope_freqs, rope_long; /* which frequency factors rope[0] takes, if the file has them */
    struct layer_spec *layer;
};

/* Bound weights of one layer. Vectors are F32. Fields are listed in bind.c's table. */
struct layer {
    const float *attn_norm, *q_norm, *k_norm, *attn_post_norm, *sinks;
    struct weight q, k, v, o;
    const float *ffn_norm, *ffn_post_norm;
    struct weight gate, up, down;
    struct weight router, gate_exps, up_exps, down_exps;
    struct weight gate_sh, up_sh, down_sh;
    struct kv_layer kv;
};

struct globals {
    struct weight embd, head; /* head is embd when tied */
    const float *output_norm;
    const float *rope_freqs, *rope_long, *rope_short;
};

/* Fills c for the file's architecture; n_ctx as asked (0: trained). layers live in the arena. */
bool config_read(struct config *c, const struct gguf *g, int n_ctx, struct arena *a, struct err *e);

/* Finds, checks and hangs up every tensor of the table. layers: (c->n_layer), zeroed. copied, if
 * not NULL: the data is copied to one huge-page block that the caller frees (mem_free_aligned). */
bool bind_tensors(const struct config *c, const struct gguf *g, struct globals *gl,
                  struct layer *layers, struct arena *a, void **copied, struct err *e);

/* Lists the table's tensors of a layer: base name ("attn_q"), shape as bind_tensors expects it. */
typedef bool (*bind_list_fn)(void *ctx, const char *base, bool is_matrix, const int64_t dim[3]);
bool bind_list(const struct config *c, const struct layer_spec *s, bind_list_fn fn, void *ctx);

#endif
