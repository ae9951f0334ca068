/* Mixers: what moves information between positions. One function per kind, no architecture's
 * name. */
#include "model/forward.h"

void mixer_attn(struct model *m, int il, const struct batch *batch) {
    const struct layer_spec *s = &m->c.layer[il];
    const struct layer *l = &m->layers[il];
    struct backend *b = m->b;
    const struct op_linear jobs[] = {
        {.w = l->q, .out = m->q.x, .out_ld = m->q.ld, .scale = 1},
        {.w = l->k, .out = m->k.x, .out_ld = m->k.ld, .scale = 1},
        {.w = l->v, .out = m->v.x, .out_ld = m->v.ld, .scale = 1},
    };
    b->linear(b, &m->h, jobs, 3);
    const struct op_attn a = {
        .batch = batch,
        .n_head = s->n_head,
        .n_kv = s->n_kv,
        .k_dim = s->k_dim,
        .v_dim = s->v_dim,
        .q = m->q.x,
        .k = m->k.x,
        .v = m->v.x,
        .out = m->mixed.x,
        .q_ld = m->q.ld,
        .k_ld = m->k.ld,
        .v_ld = m->v.ld,
        .out_ld = m->mixed.ld,
        .q_norm = l->q_norm,
        .k_norm = l->k_norm,
        .norm_eps = m->c.norm_eps,
        .rope = s->rope,
        .scale = s->attn_scale,
        .softcap = s->attn_softcap,
        .window = s->window,
        .sinks = l->sinks,
        .q_scale = m->c.q_temp_scale != 0 ? m->q_scale : NULL,
        .kv = l->kv,
    };
    b->attn(b, &a);
    m->mixed.n = (int64_t)s->n_head * s->v_dim;
    m->mixed.fresh = false;
    model_join(m, &m->mixed, l->o, l->attn_post_norm);
}
