/* The loaded model and its workspace, shared by model.c, forward.c, mixers.c and ffns.c. */
#ifndef HOLDFAST_MODEL_FORWARD_H
#define HOLDFAST_MODEL_FORWARD_H

#include "model/config.h"
#include "model/model.h"

enum { MODEL_GROUPS_MAX = 8 };

struct model {
    struct config c;
    struct globals g;
    struct layer *layers; /* (c.n_layer) */
    struct backend *b;
    struct model_info info;
    struct model_group group[MODEL_GROUPS_MAX];
    int n_groups;
    struct arena arena;
    void *copied; /* the weights, when they were copied */
    char name[128];

    /* Workspace, rows of one forward: the residual x, its norm h, projections, the mixer's and
     * the ffn's inner rows, y before a post-norm, and the final rows. aside: the residual of a
     * pass that is paused. */
    struct act x, h, q, k, v, mixed, inner, y, final, aside;
    float *logits;  /* (n_logits, n_vocab) */
    float *q_scale; /* (n_ubatch) */
    int32_t *rows;  /* (n_ubatch) rows that want logits */
    int n_ubatch, n_logits;
};

/* Each reads m->h (the normed residual) and adds its result to m->x. */
void mixer_attn(struct model *m, int il, const struct batch *batch);
void ffn_glu(struct model *m, int il);
void ffn_moe(struct model *m, int il);
/* x += residual_scale * (W in), through a norm of the result where post_norm is given. */
void model_join(struct model *m, struct act *in, struct weight w, const float *post_norm);

#endif
