/* A model: what the net is (config, one layer_spec per layer), its bound weights, and the forward
 * pass over a batch. Immutable after model_load except for the workspace, which belongs to the
 * thread that calls model_forward. */
#ifndef HOLDFAST_MODEL_MODEL_H
#define HOLDFAST_MODEL_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "ops/ops.h"

struct gguf;
struct model;

struct model_options {
    int n_ctx;    /* context per sequence asked for: LongRoPE depends on it; 0 = trained */
    int n_ubatch; /* most rows in one forward */
    int n_logits; /* most rows of logits kept by one forward */
    enum kv_type k_type, v_type;
    int page_units; /* units of 64 positions per page */
    bool load_copy; /* copy the weights into huge pages instead of mapping */
    void (*progress)(void *ctx, double fraction);
    void *progress_ctx;
};

/* Binds and checks every weight. g must outlive the model. */
struct model *model_load(const struct gguf *g, struct backend *b, const struct model_options *o,
                         struct err *e);
void model_free(struct model *m);

struct model_info {
    const char *arch, *name;
    int n_layer, n_embd, n_vocab, n_ctx_train, n_ctx;
    int64_t n_params;
    uint64_t weight_bytes;
    uint64_t kv_bytes_per_token; /* over all layers that grow with the context */
    uint64_t state_bytes;        /* recurrent, per sequence */
    int pooling;                 /* see config.h */
    uint64_t fingerprint;        /* of weights' identity and arithmetic, for cache keys */
};
const struct model_info *model_info(const struct model *m);

/* Layer groups: layers that share a page table. Group 0 grows with the context; a group with
 * window > 0 keeps only its last `window` positions. */
struct model_group {
    int window;
    size_t unit_bytes;
    int page_units;
};
const struct model_group *model_groups(const struct model *m, int *n);

/* Runs a batch of at most n_ubatch rows. K and V of the rows are written to the pages in
 * batch->seqs[].kv, which must cover them. Returns the logits (rows that want them, in row order;
 * n_vocab each), valid until the next call, or NULL with e filled. */
const float *model_forward(struct model *m, const struct batch *batch, struct err *e);

/* A batch computed in parts (each a layer's mixer or ffn), other batches in between. One pass at a
 * time may be under way. The batch stays as it is until the last part, except that a sequence may
 * leave it: its n becomes 0, and its rows want nothing. */
struct model_pass {
    const struct batch *batch;
    int part;                           /* the next one; 0 at first */
    bool (*pause)(void *ctx, int part); /* asked after each part, with the number of the next */
    void *ctx;
    const float *logits; /* behind the last part as model_forward returns them, else NULL */
};
int model_parts(const struct model *m);
/* At least one part, then on until pause says so. false with e filled: nothing was done. */
bool model_continue(struct model *m, struct model_pass *p, struct err *e);
/* Final normed hidden state of the same rows, (n_embd) each, *ld apart: embeddings, drafts. */
const float *model_hidden(const struct model *m, int64_t *ld);

#endif
