/* The forward pass: one loop over layers. norm, mixer, norm, ffn, and the residual in between;
 * which mixer and ffn is the layer_spec's business. Between two of these parts the residual is all
 * that a batch needs kept, so that another batch can be computed there (model_continue). */
#include "model/forward.h"
#include "base/fmath.h"

static void (*const mixers[MIXER_COUNT])(struct model *, int, const struct batch *) = {
    [MIXER_ATTN] = mixer_attn,
};
static void (*const ffns[FFN_COUNT])(struct model *, int) = {
    [FFN_GLU] = ffn_glu,
    [FFN_MOE] = ffn_moe,
};

void model_join(struct model *m, struct act *in, struct weight w, const float *post_norm) {
    struct backend *b = m->b;
    bool direct = post_norm == NULL;
    const struct op_linear job = {.w = w,
                                  .out = direct ? m->x.x : m->y.x,
                                  .out_ld = direct ? m->x.ld : m->y.ld,
                                  .add = direct,
                                  .scale = direct ? m->c.residual_scale : 1};
    b->linear(b, in, &job, 1);
    if (direct) return;
    b->norm(b, &m->y, NULL, post_norm, m->c.norm_eps, &m->h);
    b->add(b, &m->x, &m->h, m->c.residual_scale);
}

static void set_rows(struct model *m, int n) {
    struct act *const all[] = {&m->x, &m->h, &m->q, &m->k, &m->v, &m->mixed, &m->inner, &m->y};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        all[i]->n_rows = n;
        all[i]->fresh = false;
    }
}

/* Query temperature by position (spec/architectures.md E9). */
static void set_q_scale(struct model *m, const struct batch *batch) {
    const struct config *c = &m->c;
    if (c->q_temp_scale == 0) return;
    for (int s = 0; s < batch->n_seqs; s++) {
        const struct batch_seq *q = &batch->seqs[s];
        for (int i = 0; i < q->n; i++) {
            double steps = (double)((q->pos + i) / c->q_temp_len) + 1;
            m->q_scale[q->first + i] = (float)(1 + (double)c->q_temp_scale * fmath_log(steps));
        }
    }
}

/* *head: some of them want logits. */
static int rows_wanted(struct model *m, const struct batch *batch, bool *head) {
    int n = 0;
    *head = false;
    for (int r = 0; r < batch->n_rows; r++) {
        if (batch->want_logits[r]) m->rows[n++] = r;
        *head |= batch->want_logits[r] == BATCH_LOGITS;
    }
    return n;
}

static bool fits(struct model *m, const struct batch *batch, struct err *e) {
    if (batch->n_rows < 1 || batch->n_rows > m->n_ubatch)
        return err_set(e, ERR_ARG, "a batch of %d rows, at most %d fit", batch->n_rows,
                       m->n_ubatch);
    bool wants_head;
    int n_want = rows_wanted(m, batch, &wants_head);
    if (n_want > m->n_logits)
        return err_set(e, ERR_ARG, "%d rows want logits, at most %d fit", n_want, m->n_logits);
    return true;
}

/* Everything that is not the residual is made again whenever a batch is taken up. */
static void take_up(struct model *m, const struct batch *batch, bool first) {
    const struct config *c = &m->c;
    set_rows(m, batch->n_rows);
    set_q_scale(m, batch);
    m->b->rope_prepare(m->b, batch, c->rope, c->n_rope);
    if (first) m->b->embed(m->b, m->g.embd.w, batch->token, c->embd_scale, &m->x);
}

int model_parts(const struct model *m) {
    return 2 * m->c.n_layer;
}

/* Part 2 * layer is its mixer, the next one its ffn. */
static void run_part(struct model *m, const struct batch *batch, int part) {
    struct backend *b = m->b;
    int il = part / 2;
    const struct layer_spec *s = &m->c.layer[il];
    const struct layer *l = &m->layers[il];
    if (part % 2 == 0 && s->mixer != MIXER_NONE) {
        b->norm(b, &m->x, NULL, l->attn_norm, m->c.norm_eps, &m->h);
        mixers[s->mixer](m, il, batch);
    }
    if (part % 2 == 1 && s->ffn != FFN_NONE) {
        b->norm(b, &m->x, NULL, l->ffn_norm, m->c.norm_eps, &m->h);
        ffns[s->ffn](m, il);
    }
}

static const float *head(struct model *m, const struct batch *batch) {
    struct backend *b = m->b;
    const struct config *c = &m->c;
    bool wants_head;
    int n_want = rows_wanted(m, batch, &wants_head);
    if (n_want == 0) return m->logits;
    m->final.n_rows = n_want;
    b->norm(b, &m->x, m->rows, m->g.output_norm, c->norm_eps, &m->final);
    if (!wants_head) return m->logits;
    const struct op_linear job = {
        .w = m->g.head, .out = m->logits, .out_ld = c->n_vocab, .scale = c->logit_scale};
    b->linear(b, &m->final, &job, 1);
    if (c->final_softcap != 0)
        b->softcap(b, m->logits, c->final_softcap, (int64_t)n_want * c->n_vocab);
    return m->logits;
}

const float *model_forward(struct model *m, const struct batch *batch, struct err *e) {
    if (!fits(m, batch, e)) return NULL;
    take_up(m, batch, true);
    for (int part = 0; part < model_parts(m); part++) run_part(m, batch, part);
    return head(m, batch);
}

static void swap_residuals(struct model *m) {
    struct act x = m->x;
    m->x = m->aside;
    m->aside = x;
}

bool model_continue(struct model *m, struct model_pass *p, struct err *e) {
    if (p->part == 0 && !fits(m, p->batch, e)) return false;
    swap_residuals(m);
    take_up(m, p->batch, p->part == 0);
    do run_part(m, p->batch, p->part++);
    while (!p->pause(p->ctx, p->part) && p->part < model_parts(m));
    p->logits = p->part == model_parts(m) ? head(m, p->batch) : NULL;
    swap_residuals(m);
    return true;
}

const float *model_hidden(const struct model *m, int64_t *ld) {
    *ld = m->final.ld;
    return m->final.x;
}
