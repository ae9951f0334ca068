/* Feed-forward blocks: what changes each position by itself. */
#include "model/forward.h"

#include <string.h>

static void glu(struct model *m, struct weight gate, struct weight up, struct weight down,
                enum ops_act act, const float *post_norm) {
    m->inner.n = gate.w->dim[1];
    m->b->glu(m->b, &m->h, gate, up, act, &m->inner);
    model_join(m, &m->inner, down, post_norm);
}

void ffn_glu(struct model *m, int il) {
    const struct layer *l = &m->layers[il];
    glu(m, l->gate, l->up, l->down, m->c.layer[il].act, l->ffn_post_norm);
}

void ffn_moe(struct model *m, int il) {
    const struct layer_spec *s = &m->c.layer[il];
    const struct layer *l = &m->layers[il];
    const struct op_moe moe = {
        .router = l->router,
        .gate = l->gate_exps,
        .up = l->up_exps,
        .down = l->down_exps,
        .n_expert = s->moe.n_expert,
        .n_used = s->moe.n_used,
        .n_ff = s->moe.n_ff,
        .gating = s->moe.gating,
        .norm = s->moe.norm,
        .scale = s->moe.scale,
        .act = s->act,
        .out = m->x.x,
        .out_ld = m->x.ld,
        .out_scale = m->c.residual_scale,
    };
    m->b->moe(m->b, &m->h, &moe);
    if (l->gate_sh.w) glu(m, l->gate_sh, l->up_sh, l->down_sh, s->act, NULL);
}
